"""Changes one operator, number or statement of a CUDA kernel at a time and asks that the emulator's
tests notice it. The mutants are made of the sources' text; a seed draws as many of each source, by
what is changed and not by line, so that a draw outlives edits elsewhere. Survivors stand with their
reasons in survivors.txt, likewise by what was changed. Prints "ok" or "not ok" for each mutant, and
how many of how many were killed, source by source.

usage: mutate.py PLAN [--each N] [--seed S] [--seconds T] [--jobs J] [--only PART] [--name PART]
                 [--builds plain,asan,race] [--list]
  PLAN      a JSON file that CMake writes (cmake/emu.cmake)
  --each    so many of each source, drawn by --seed; 0: all
  --seconds no mutant is begun later; those that were not are counted
  --only    of the sources with PART in their path; --name: mutants with PART in their name
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CUDA = "kernels/cuda/"
PRODUCTS = ["rung_", "a_product", "few_ctas", "saturated", "products", "a_row_has", "rows_of"]
ATTENTION = ["attention"]
# Sources, names of the tests that judge them in the order to try, and what includes a header.
TARGETS = [
    (CUDA + "norm.cu", ["norm"], []),
    (CUDA + "heads.cu", ["heads", "rounding"], []),
    (CUDA + "linear.cu", PRODUCTS[1:], []),
    (CUDA + "linear_finish.cu", PRODUCTS[1:], []),
    (CUDA + "linear_wgmma.cu", PRODUCTS, []),
    (CUDA + "linear_epilogue.cuh", PRODUCTS,
     [CUDA + "linear.cu", CUDA + "linear_finish.cu", CUDA + "linear_wgmma.cu"]),
    (CUDA + "linear_round.cuh", ["rounding", "norm"], [CUDA + "heads.cu", CUDA + "norm.cu"]),
    (CUDA + "attn.cu", ATTENTION, []),
    (CUDA + "attn_tile.cuh", ATTENTION, [CUDA + "attn.cu", CUDA + "attn_wgmma.cu"]),
    (CUDA + "attn_wgmma.cu", ATTENTION, []),
    (CUDA + "prim/mma.cuh", ["ma", "packing", "rounding"],
     ["tests/kernels/emu/matrix_test.cu", CUDA + "heads.cu"]),
    (CUDA + "prim/tma.cuh", ["tensor_", "rung_7"],
     ["tests/kernels/emu/bulk_test.cu", CUDA + "linear_wgmma.cu"]),
    (CUDA + "prim/wgmma.cuh", ["wgmma_m", "wgmma_r"], ["tests/kernels/emu/wgmma_test.cu"]),
]
# What an operator or number becomes; spaces around it tell < from a template's.
SWAPS = {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == ",
         " + ": " - ", " - ": " + ", " * ": " + ", " / ": " * ", " % ": " / ", " && ": " || ",
         " || ": " && ", " ^ ": " | ", " += ": " = ", " << ": " >> "}
CALL = re.compile(r"^\s*(?:ptx::|pk::)?[a-z_]\w*(?:<[\w, ]*>)?\(.*\);(?:\s*/\*.*)?$")
SECONDS = 120  # of one run: above, it hangs
# Hints, which order nothing and change no value: without them a GPU is slower, and nobody can tell.
HINTS = re.compile(r"grid_launch_dependents|tensor_map_prefetch|registers_(?:raise|lower)|#pragma")


class Mutant:
    def __init__(self, path, line, start, end, text, what):
        self.path, self.line, self.start, self.end, self.text = path, line, start, end, text
        self.what = what  # "text of the line -> what it becomes", stable as lines move

    def name(self):
        return f"{self.path}: {self.what}"


def code_lines(source, path):
    """(number, offset, text) of lines of emulated code: no comments, directives, device bodies."""
    offset, comment, device, nesting = 0, False, False, []
    for number, line in enumerate(source.splitlines(keepends=True), 1):
        text, at = line.rstrip("\n"), offset
        offset += len(line)
        if text.startswith("#"):
            if text.startswith("#if"):
                nesting.append(text)
            elif text.startswith("#else") and "PK_EMULATE" in nesting[-1]:
                device = "ifdef" in nesting[-1]
            elif text.startswith("#endif") and "PK_EMULATE" in nesting.pop():
                device = False
            continue
        comment = comment or text.lstrip().startswith("/*")
        if not comment and not device and not HINTS.search(text) and \
                "static_assert" not in text and "asm" not in text:
            yield number, at, text
        comment = comment and "*/" not in text


def mutants_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        source = file.read()
    for number, at, text in code_lines(source, path):
        code = text.split("/*")[0]
        said = " ".join(text.split())
        found = []
        if CALL.match(text) and "return" not in code:
            found.append((0, len(text), ";", "removed"))
        for old, new in SWAPS.items():
            for hit in re.finditer(re.escape(old), code):
                what = f"{old.strip()} {hit.start()} {new.strip()}"
                found.append((hit.start(), hit.end(), new, what))
        for hit in re.finditer(r"(?<![\w.<])\d+(?![\w.>])", code):
            grown = str(int(hit.group()) + 1)
            found.append((hit.start(), hit.end(), grown, f"{hit.group()} {hit.start()} {grown}"))
        for start, end, new, what in sorted(found):
            yield Mutant(path, number, at + start, at + end, new, f"{said} -> {what}"), source


def every_mutant(root, part):
    return [(m, source, target) for target in TARGETS if part in target[0]
            for m, source in mutants_of(root, target[0])]


def fails(program, name):
    """Whether a test fails; ends the program at the first."""
    child = subprocess.Popen([program, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True, errors="replace")
    clock = threading.Timer(SECONDS, child.kill)
    clock.start()
    bad = False
    for line in child.stdout:
        if line.startswith("[  FAILED"):
            bad = True
            child.kill()
            break
    child.stdout.close()
    code = child.wait()
    clock.cancel()
    return bad or code != 0


def built(plan, build, mutant, source, target, folder):
    """The program with the mutant in it, or "" where it does not compile."""
    path, _, includers = target
    place = os.path.join(folder, "tree")
    file = os.path.join(place, path)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "w", encoding="utf-8") as out:
        out.write(source[:mutant.start] + mutant.text + source[mutant.end:])
    units, objects = includers or [path], []
    flags = [f for f in plan[build]["flags"] if not f.startswith("-O")] + \
        ["-O1" if build == "race" else "-O0"]
    for unit in units:
        objects.append(os.path.join(folder, os.path.basename(unit) + ".o"))
        done = subprocess.run(
            [plan["compiler"], "-std=c++17", "-DPK_EMULATE", "-g1", "-w", "-fno-strict-aliasing",
             "-ffp-contract=off", "-I" + place, "-I" + plan["source"], *flags, "-x", "c++", "-c",
             os.path.join(place if unit == path else plan["source"], unit), "-o", objects[-1]],
            check=False, stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            os.remove(file)
            return ""
    os.remove(file)
    others = [o for o in plan[build]["objects"] if not any(o.endswith("/" + u + ".o")
                                                           for u in units)]
    if len(others) + len(units) != len(plan[build]["objects"]):
        raise SystemExit(f"mutate.py: {units} are not among the program's objects")
    program = os.path.join(folder, "program")
    subprocess.run([plan["compiler"], *others, *objects, "-o", program, *plan[build]["link"], "-ldl",
                    "-lm"], check=True)
    return program


def verdict(plan, builds, mutant, source, target, folder):
    """Which build noticed it, "" for none, "compiler" where it does not compile."""
    for build in builds:
        program = built(plan, build, mutant, source, target, folder)
        if not program:
            return "compiler"
        if any(fails(program, name) for name in target[1]):
            return build
    return ""


def survivors():
    """{name: reason} of survivors.txt: a mutant's name, then its reason, indented by two."""
    known, name = {}, ""
    with open(os.path.join(HERE, "survivors.txt"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("  ") and name:
                known[name] = line.strip()
            elif line.strip() and not line.startswith("#"):
                name = line.rstrip("\n")
    return known


def drawn(mutants, each, seed):
    """`each` of every source: those whose names, hashed with the seed, come first."""
    ranks = {}
    for entry in mutants:
        mutant = entry[0]
        rank = hashlib.sha256(f"{seed} {mutant.name()}".encode()).hexdigest()
        ranks.setdefault(mutant.path, []).append((rank, mutant.start, entry))
    return [entry for of_one in ranks.values()
            for _, _, entry in sorted(of_one, key=lambda r: r[:2])[:each or None]]


class Count:
    def __init__(self):
        self.killed, self.explained, self.missed, self.uncompiled, self.late = 0, 0, 0, 0, 0

    def add(self, name, by, known):
        """Of one mutant; prints its line. by: as verdict says, or "late"."""
        why = known.get(name, "")
        if by == "late":
            self.late += 1
            print(f"skip {name} [out of time]", flush=True)
        elif by == "compiler":
            self.uncompiled += 1
        else:
            self.killed += by != ""
            self.explained += by == "" and why != ""
            self.missed += by == "" and why == ""
            print(f"{'ok' if by or why else 'not ok'} {name} "
                  f"[{by or 'survives: ' + (why or 'no reason known')}]", flush=True)

    def text(self):
        return (f"{self.killed} of {self.killed + self.explained + self.missed} killed, "
                f"{self.explained} cannot be, {self.missed} missed; {self.uncompiled} do not "
                f"compile, {self.late} not begun")


def judge(plan, args, chosen):
    """Mutants that lived without a reason."""
    known, counts = survivors(), {}
    until = time.monotonic() + args.seconds

    def one(entry):
        if time.monotonic() > until:
            return "late"
        with tempfile.TemporaryDirectory() as folder:
            return verdict(plan, args.builds.split(","), *entry, folder)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (mutant, _, _), by in zip(chosen, pool.map(one, chosen)):
            counts.setdefault(mutant.path, Count()).add(mutant.name(), by, known)
    for path, count in counts.items():
        print(f"{path}: {count.text()}")
    return sum(count.missed for count in counts.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("plan")
    parser.add_argument("--each", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--builds", default="plain,asan,race", help="that may notice it, in turn")
    args = parser.parse_args()
    with open(args.plan, encoding="utf-8") as file:
        plan = json.load(file)
    chosen = [entry for entry in drawn(every_mutant(plan["source"], args.only), args.each, args.seed)
              if args.name in entry[0].name()]
    if args.list:
        for mutant, _, _ in chosen:
            print(f"{mutant.line} {mutant.name()}")
        return 0
    return 1 if judge(plan, args, chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
