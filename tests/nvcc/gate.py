"""Compiles every .cu file for the GPUs we ship to and judges what ptxas made of it.

A kernel is refused for: spills, a stack frame, any ptxas line marked (C75..) (wgmma waits that ptxas
added or moved), registers x threads above a multiprocessor's 65,536, another number of HGMMA
instructions than expected.txt says. Files that include prim/tma.cuh or prim/wgmma.cuh, and the
emulator's tests, are compiled for sm_90a alone; the others for sm_90a, sm_80 and compute_80 PTX. The
emulator's tests are then linked into a program for a GPU, which runs where there is one. What the
backend declares of cuBLASLt and NCCL is held against their headers (interfaces.c).

Each check is proved on a broken file first (tests/nvcc/broken): its first line names what it must be
refused for. Prints "ok", "not ok" and "skip" lines; without a toolkit every test is skipped by name.

usage: gate.py [--print] [PART]   --print: the lines for expected.txt; PART: of a source's path
"""
import argparse
import glob
import multiprocessing.pool
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXPECTED = os.path.join(ROOT, "tests/nvcc/expected.txt")
JOBS = int(os.environ.get("JOBS", "2"))
REGISTERS_MAX = 65536  # of a multiprocessor, 32 bits each (CUDA programming guide, sm_80 and sm_90)
THREADS_MAX = 1024     # of a block: what a kernel without __launch_bounds__ may be launched with
TESTS = "tests/kernels/emu/"
SOURCES = ["kernels/cuda/*.cu", "runtime/backend/cuda/*.cu", "bench/gpu/*.cu", TESTS + "*.cu"]
FLAGS = ["-std=c++17", "-O3", "-I" + ROOT, "-Xptxas", "-v", "--Werror", "all-warnings",
         "-Xcompiler", "-Wall,-Wextra"]
LIBRARY_HEADERS = ["cublasLt.h", "nccl.h"]
SM90A = ["-gencode", "arch=compute_90a,code=sm_90a"]
SM80 = ["-gencode", "arch=compute_80,code=[sm_80,compute_80]"]


class Kernel:
    def __init__(self, arch):
        self.arch, self.stack, self.spills, self.registers = arch, 0, 0, 0
        self.threads, self.hgmma, self.name = THREADS_MAX, 0, ""


def toolkit():
    """The folder with nvcc, or None: on the path, or where deploy/bootstrap.sh --cuda puts it."""
    found = shutil.which("nvcc")
    if found:
        return os.path.dirname(found)
    wheels = glob.glob(ROOT + "/build/tools/cuda/lib/python*/site-packages/nvidia/cu13/bin/nvcc")
    return os.path.dirname(wheels[0]) if wheels else None


def install():
    """"" or why it could not be had."""
    try:
        done = subprocess.run([ROOT + "/deploy/bootstrap.sh", "--cuda"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return "its wheels did not install within 600 s"
    lines = done.stdout.strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else "bootstrap.sh failed")


def ptxas_report(text):
    """Kernels by (mangled name, arch), and the lines marked (C75..)."""
    kernels, current = {}, None
    for line in text.splitlines():
        entry = re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line)
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill",
                          line)
        used = re.search(r"Used (\d+) registers", line)
        if entry:
            current = kernels[entry.groups()] = Kernel(entry.group(2))
        elif frame and current:  # a function that was not inlined counts for the kernel before it
            current.stack = max(current.stack, int(frame.group(1)))
            current.spills += int(frame.group(2)) + int(frame.group(3))
        elif used and current:
            current.registers = int(used.group(1))
    return kernels, re.findall(r"^.*\(C75\d\d\).*$", text, re.M)


def add_launch_bounds(kernels, folder):
    """.maxntid stands in the PTX of the kernel's own architecture."""
    for path in glob.glob(folder + "/*.ptx"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        target = re.search(r"^\.target (\w+)", text, re.M).group(1)
        for name, header in re.findall(r"\.entry (\w+)\(([^{]*)\{", text):
            bounds = re.search(r"\.maxntid (\d+)(?:, (\d+), (\d+))?", header)
            if bounds and (name, target) in kernels:
                x, y, z = (int(n or 1) for n in bounds.groups())
                kernels[name, target].threads = x * y * z


def add_hgmma(kernels, folder, disassembler):
    for path in glob.glob(folder + "/*.cubin"):
        if ".sm_80" in path:
            continue
        done = subprocess.run([disassembler, "-c", path], stdout=subprocess.PIPE, text=True,
                              check=True)
        for part in done.stdout.split("\t.section\t")[1:]:
            name = re.match(r"\.text\.(\w+)", part)
            if name and (name.group(1), "sm_90a") in kernels:
                kernels[name.group(1), "sm_90a"].hgmma = len(re.findall(r"\bHGMMA\b", part))


def readable(mangled):
    """k_attn<true> of a mangled name in an anonymous namespace."""
    text = subprocess.run(["c++filt", mangled], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.strip()
    text = re.sub(r"_GLOBAL__N__\w+::", "", re.sub(r"^void ", "", text))
    text = text.replace("(anonymous namespace)::", "")
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            return text[:i].replace(" ", "")
    return text.replace(" ", "")


def compile_one(nvcc, source, output, both, more=()):
    """(kernels, complaints) of one file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, *FLAGS, *more, *SM90A, *(SM80 if both else []), "-c", "--keep",
                   "--keep-dir", folder, "-o", output, source]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        kernels, marked = ptxas_report(done.stdout)
        complaints = [("marked", line.strip()) for line in marked]
        if done.returncode != 0:
            complaints.append(("compile", done.stdout[-3000:]))
            return {}, complaints
        add_launch_bounds(kernels, folder)
        disassembler = os.path.join(os.path.dirname(nvcc), "nvdisasm")
        if os.path.exists(disassembler):
            add_hgmma(kernels, folder, disassembler)
        else:
            complaints.append(("hgmma", "no nvdisasm beside nvcc"))
    for (mangled, _), kernel in kernels.items():
        kernel.name = readable(mangled)
        where = f"{kernel.name} for {kernel.arch}"
        if kernel.spills:
            complaints.append(("spill", f"{where}: {kernel.spills} bytes spilled"))
        elif kernel.stack:
            complaints.append(("stack", f"{where}: a stack frame of {kernel.stack} bytes"))
        if kernel.registers * kernel.threads > REGISTERS_MAX:
            complaints.append(("registers", f"{where}: {kernel.registers} registers x "
                                            f"{kernel.threads} threads"))
    return kernels, complaints


def hgmma_complaints(kernels, expected):
    """expected: name -> count, of one file. A kernel that is not named has none."""
    found = {k.name: k.hgmma for k in kernels.values() if k.arch == "sm_90a"}
    return [("hgmma", f"{name}: {found.get(name, 'no such kernel')} HGMMA, expected "
                      f"{expected.get(name, 0)}")
            for name in sorted(set(found) | set(expected))
            if found.get(name, -1) != expected.get(name, 0)]


def expected_table():
    """expected.txt: path, kernel, count a line."""
    table = {}
    with open(EXPECTED, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                path, name, count = line.split()
                table.setdefault(path, {})[name] = int(count)
    return table


def sm90a_alone(source):
    with open(source, encoding="utf-8") as file:
        return TESTS in source or re.search(r'"kernels/cuda/prim/(tma|wgmma)\.cuh"', file.read())


def test_name(source):
    return "nvcc." + re.sub(r"\W", "_", os.path.relpath(source, ROOT))


def broken_files():
    """(path, what it must be refused for)"""
    found = []
    for path in sorted(glob.glob(ROOT + "/tests/nvcc/broken/*.cu")):
        with open(path, encoding="utf-8") as file:
            found.append((path, re.match(r"/\* refused for: (\w+) \*/", file.readline()).group(1)))
    return found


def verdict(name, complaints):
    print(f"{'not ok' if complaints else 'ok'} {name}")
    for kind, text in complaints:
        print(f"    {kind}: {text}")
    sys.stdout.flush()
    return bool(complaints)


def check_broken(nvcc, folder, pool):
    def one(broken):
        path, kind = broken
        kernels, complaints = compile_one(nvcc, path, os.path.join(folder, "broken_" + kind + ".o"),
                                          False)
        if kind == "hgmma":  # none of them is in the table
            complaints += hgmma_complaints(kernels, {})
        return {k for k, _ in complaints}
    files = broken_files()
    failed = 0
    for (path, kind), found in zip(files, pool.map(one, files)):
        wrong = [] if found == {kind} else [("refused for", ", ".join(sorted(found)) or "nothing")]
        failed += verdict("nvcc.refuses_" + os.path.basename(path)[:-3], wrong)
    stale = hgmma_complaints({}, {"k_gone": 4})
    failed += verdict("nvcc.refuses_a_table_line_without_its_kernel",
                      [] if stale else [("refused for", "nothing")])
    return failed


def object_of(source, folder):
    return os.path.join(folder, re.sub(r"\W", "_", os.path.relpath(source, ROOT)) + ".o")


def link_tests(nvcc, folder, sources):
    """The instruction tests as a program for a GPU; runs where there is one."""
    name = "nvcc.instruction_tests_link_for_a_gpu"
    objects = [object_of(s, folder) for s in sources
               if os.path.relpath(s, ROOT).startswith((TESTS, "kernels/cuda/"))]
    refs = sorted(glob.glob(ROOT + "/kernels/ref/*.c") + glob.glob(ROOT + "/kernels/cuda/*.c"))
    program = os.path.join(folder, "kernels.gpu")
    commands = [["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-I" + ROOT, "-c", ref, "-o",
                 object_of(ref, folder)] for ref in refs]
    commands.append([nvcc, *SM90A, "-L" + os.path.join(os.path.dirname(nvcc), "../lib"), *objects,
                     *(object_of(ref, folder) for ref in refs), "-o", program])
    for command in commands:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            return verdict(name, [("link", done.stdout[-3000:])])
    failed = verdict(name, [])
    if not glob.glob("/dev/nvidia[0-9]*"):
        print("skip nvcc.instruction_tests_run_on_a_gpu (no GPU)")
        return failed
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=300, check=False)
        complaints = [("run", done.stdout[-3000:])] if done.returncode != 0 else []
    except subprocess.TimeoutExpired:
        complaints = [("run", "did not end within 300 s")]
    return failed + verdict("nvcc.instruction_tests_run_on_a_gpu", complaints)


def check_bounded_waits(nvcc, folder, pool):
    """What bench/gpu builds its tests with: every wait ends and says where it stood, and the kernels
    are judged as those that are served: no spills, no serialized wgmma, the same products."""
    table, complaints = expected_table(), []
    paths = ["kernels/cuda/linear_wgmma.cu", "kernels/cuda/attn_wgmma.cu", TESTS + "stall_test.cu"]

    def one(path):
        return compile_one(nvcc, os.path.join(ROOT, path), os.path.join(folder, "bounded_" +
                           os.path.basename(path) + ".o"), False, ["-DPK_BOUND_WAITS"])
    for path, (kernels, found) in zip(paths, pool.map(one, paths)):
        complaints += found + hgmma_complaints(kernels, table.get(path, {}))
    return verdict("nvcc.bounded_waits_cost_no_spill_and_no_serialized_wgmma", complaints)


def check_interfaces(nvcc, folder):
    """What we declare of libraries that are opened at run time is what their headers say."""
    names = ["nvcc.declared_interfaces_are_those_of_the_libraries",
             "nvcc.refuses_a_declaration_that_differs"]
    root = os.path.dirname(os.path.dirname(nvcc))
    places = [root + "/include", root + "/targets/x86_64-linux/include",
              os.path.dirname(root) + "/nccl/include"]
    for header in LIBRARY_HEADERS:
        if not any(os.path.exists(os.path.join(place, header)) for place in places):
            for name in names:
                print(f"skip {name} (no {header})")
            return 0
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-I" + ROOT,
               *(f"-isystem{place}" for place in places), "-c", "-o",
               os.path.join(folder, "interfaces.o"), ROOT + "/tests/nvcc/interfaces.c"]
    failed = 0
    for name, more in zip(names, ([], ["-DBROKEN"])):
        done = subprocess.run(command + more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        good = (done.returncode == 0) != bool(more)
        failed += verdict(name, [] if good else [("compile", done.stdout[-3000:] or "accepted")])
    return failed


def skip_all(sources, reason):
    names = ["nvcc.refuses_" + os.path.basename(path)[:-3] for path, _ in broken_files()]
    names += ["nvcc.refuses_a_table_line_without_its_kernel"] + [test_name(s) for s in sources]
    names += ["nvcc.declared_interfaces_are_those_of_the_libraries",
              "nvcc.refuses_a_declaration_that_differs"]
    names += ["nvcc.every_line_of_the_table_names_a_source",
              "nvcc.bounded_waits_cost_no_spill_and_no_serialized_wgmma",
              "nvcc.instruction_tests_link_for_a_gpu", "nvcc.instruction_tests_run_on_a_gpu"]
    for name in names:
        print(f"skip {name} (no CUDA toolkit: {reason})")


def check_sources(nvcc, folder, pool, sources, printing):
    table, failed = expected_table(), 0

    def one(source):
        return compile_one(nvcc, source, object_of(source, folder), not sm90a_alone(source))
    for source, (kernels, complaints) in zip(sources, pool.imap(one, sources)):
        path = os.path.relpath(source, ROOT)
        complaints += hgmma_complaints(kernels, table.pop(path, {}))
        failed += verdict(test_name(source), complaints)
        for kernel in sorted(kernels.values(), key=lambda k: (k.name, k.arch)):
            if printing and kernel.hgmma:
                print(f"{path} {kernel.name} {kernel.hgmma}")
            if not path.startswith(TESTS):
                print(f"    {kernel.name} {kernel.arch}: {kernel.registers} registers, "
                      f"{kernel.threads} threads, {kernel.hgmma} HGMMA")
    return failed, table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--print", action="store_true", dest="printing")
    parser.add_argument("part", nargs="?", default="")
    args = parser.parse_args()
    sources = sorted(s for pattern in SOURCES for s in glob.glob(os.path.join(ROOT, pattern))
                     if args.part in s)
    reason = "" if toolkit() else install()
    if not toolkit():
        skip_all(sources, reason or "nvcc is still absent")
        return 0
    nvcc = os.path.join(toolkit(), "nvcc")
    with tempfile.TemporaryDirectory() as folder, multiprocessing.pool.ThreadPool(JOBS) as pool:
        failed = check_broken(nvcc, folder, pool) if not args.part else 0
        wrong, unused = check_sources(nvcc, folder, pool, sources, args.printing)
        failed += wrong
        if not args.part:
            failed += verdict("nvcc.every_line_of_the_table_names_a_source",
                              [("table", path) for path in sorted(unused)])
            failed += check_bounded_waits(nvcc, folder, pool)
            failed += check_interfaces(nvcc, folder)
            failed += link_tests(nvcc, folder, sources)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
