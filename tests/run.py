"""Runs the suite in stages and counts single tests, not programs.

A stage is a command; its tests are the cmocka lines in its output ("[ OK ]", "[ FAILED ]",
"[ SKIPPED ]"), the "ok NAME" / "not ok NAME" / "skip NAME" lines of the scripts, or else the
command itself as one test. A stage that fails without naming a failed test is one failure.
"""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

CMOCKA = re.compile(r"^\[ *(OK|FAILED|SKIPPED) *\] ([\w.]+)")
SCRIPT = re.compile(r"^(ok|not ok|skip) (\S.*)$")
# The distribution's, which has what bootstrap installs for it.
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"
JOBS = os.environ.get("JOBS", "2")


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def line(self, where, line):
        """Counts one line of output; True when it named a failed test."""
        cmocka, script = CMOCKA.match(line), SCRIPT.match(line)
        if cmocka:
            verdict, name = cmocka.groups()
        elif script:
            verdict, name = script.groups()
        else:
            return False
        if verdict in ("OK", "ok"):
            self.passed += 1
        elif verdict in ("SKIPPED", "skip"):
            self.skipped.append(f"{where}: {name}")
        else:
            self.failed.append(f"{where}: {name}")
            return True
        return False

    def program(self, where, output, ok):
        """Counts a program's output; a program without test lines is one test."""
        before = (self.passed, len(self.failed), len(self.skipped))
        named = [self.line(where, line) for line in output.splitlines()]
        if not ok and not any(named):
            self.failed.append(where)
        elif ok and before == (self.passed, len(self.failed), len(self.skipped)):
            self.passed += 1


def run(command, env=None):
    merged = {**os.environ, **(env or {})}
    done = subprocess.run(command, shell=True, text=True, errors="replace", env=merged,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    return done.returncode == 0, done.stdout


def stage_command(tally, name, command):
    ok, output = run(command)
    tally.program(name, output, ok)
    if not ok:
        print(output[-6000:], flush=True)
    return ok


def stage_ctest(tally, name, preset, select):
    """Builds a preset and runs its tests; each cmocka test counts."""
    ok, output = run(f"cmake --preset {preset} && cmake --build build/{preset} -j {JOBS}")
    if not ok:
        print(output[-6000:], flush=True)
        tally.failed.append(f"{name}: build")
        return
    report = f"build/{preset}/junit.xml"
    if os.path.exists(report):
        os.remove(report)
    run(f"cd build/{preset} && ctest -j {JOBS} {select} --output-junit junit.xml "
        "--test-output-size-passed 1000000 --test-output-size-failed 1000000")
    if not os.path.exists(report):
        tally.failed.append(f"{name}: ctest wrote no report")
        return
    cases = list(xml.parse(report).getroot().iter("testcase"))
    if not cases:
        tally.failed.append(f"{name}: no tests")
    for case in cases:
        output = case.findtext("system-out") or ""
        good = case.get("status") == "run"
        tally.program(f"{name}: {case.get('name')}", output, good)
        if not good:
            print(f"--- {case.get('name')}\n{output[-6000:]}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", help="run the stages whose name contains this")
    args = parser.parse_args()
    long_label = "" if args.long else "-LE long"
    seconds = 300 if args.long else 30
    stages = [
        ("lint", lambda t, n: stage_command(t, n, "tests/lint/run.sh")),
        ("gpu bench", lambda t, n: stage_command(t, n, "python3 tests/bench/gpu_run_test.py")),
        ("asan", lambda t, n: stage_ctest(t, n, "dev", long_label)),
        ("nvcc", lambda t, n: stage_command(t, n, "python3 tests/nvcc/gate.py")),
        ("layers", lambda t, n: stage_command(
            t, n, f"cmake --preset release && cmake --build build/release -j {JOBS} --target layers pithd pith")),
        ("recipe", lambda t, n: stage_command(t, n, f"{PYTHON} models/recipe/test_all.py")),
        ("tsan", lambda t, n: stage_ctest(
            t, n, "tsan", f"{long_label} -R 'runtime.engine|server|runtime.base|runtime.backend'")),
        ("e2e", lambda t, n: stage_command(t, n, "tests/e2e/run.sh")),
        ("fuzz", lambda t, n: stage_command(t, n, f"tests/fuzz/run.sh {seconds}")),
    ]
    if args.long:
        stages += [
            ("overload", lambda t, n: stage_command(t, n, "bench/serve/run.sh --only overload --check")),
            ("soak", lambda t, n: stage_command(t, n, f"{PYTHON} tests/soak/soak.py --minutes 10")),
        ]
    tally = Tally()
    for name, body in stages:
        if args.only and args.only not in name:
            continue
        began = time.monotonic()
        body(tally, name)
        print(f"stage {name}: {time.monotonic() - began:.0f} s", flush=True)
    for name in tally.skipped:
        print(f"skipped {name}")
    for name in tally.failed:
        print(f"FAILED {name}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
