"""Changes one operator, number or statement of a CUDA kernel at a time and asks that the emulator's
tests notice it. The mutants are made of the sources' text in a fixed order; a sample takes every
n-th. Survivors stand with their reasons in survivors.txt, by what was changed and not by line.
Prints "ok" or "not ok" for each mutant, and how many of how many were killed.

usage: mutate.py PLAN [--every N] [--from I] [--only PART] [--builds plain,race] [--list]
  PLAN    a JSON file that CMake writes (cmake/emu.cmake)
  --every one in N of all mutants, from the I-th on; --only: of the sources with PART in their path
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

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
    (CUDA + "prim/mma.cuh", ["ma"], ["tests/kernels/emu/matrix_test.cu"]),
    (CUDA + "prim/tma.cuh", ["tensor_"], ["tests/kernels/emu/bulk_test.cu"]),
    (CUDA + "prim/wgmma.cuh", ["wgmma_m", "wgmma_r"], ["tests/kernels/emu/wgmma_test.cu"]),
]
# What an operator or number becomes; spaces around it tell < from a template's.
SWAPS = {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == ",
         " + ": " - ", " - ": " + ", " * ": " + ", " / ": " * ", " % ": " / ", " && ": " || ",
         " || ": " && ", " ^ ": " | ", " += ": " = ", " << ": " >> "}
CALL = re.compile(r"^\s*(?:ptx::|pk::)?[a-z_]\w*(?:<[\w, ]*>)?\(.*\);(?:\s*/\*.*)?$")
SECONDS = 120  # of one run: above, it hangs


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
        if not comment and not device and "static_assert" not in text and "asm" not in text:
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
        ["-O0" if build == "plain" else "-O1"]
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
    subprocess.run([plan["compiler"], *others, *objects, "-o", program, "-ldl", "-lm"], check=True)
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("plan")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--builds", default="plain,race", help="that may notice it, in turn")
    args = parser.parse_args()
    with open(args.plan, encoding="utf-8") as file:
        plan = json.load(file)
    chosen = every_mutant(plan["source"], args.only)[args.first::args.every]
    known, killed, uncompiled, missed = survivors(), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for mutant, source, target in chosen:
            if args.list:
                print(f"{mutant.line} {mutant.name()}")
                continue
            by = verdict(plan, args.builds.split(","), mutant, source, target, folder)
            killed += by in ("plain", "race")
            uncompiled += by == "compiler"
            if by == "":
                missed.append(mutant.name())
            if by != "compiler":
                good = by or mutant.name() in known
                print(f"{'ok' if good else 'not ok'} {mutant.name()} "
                      f"[{by or 'survives: ' + known.get(mutant.name(), 'no reason known')}]",
                      flush=True)
    if not args.list:
        print(f"{killed} of {len(chosen) - uncompiled} killed, {uncompiled} do not compile, "
              f"{len(missed)} survive")
    return 1 if any(name not in known for name in missed) else 0


if __name__ == "__main__":
    sys.exit(main())
