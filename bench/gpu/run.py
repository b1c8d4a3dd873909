"""Runs the stages of stages.py: see bench/gpu/run.sh. A step that fails, hangs or cannot run stops
no other. DIR/result.json is written whole after every step, DIR/result.md beside it."""
import argparse
import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import page  # noqa: E402
import stages  # noqa: E402

TAIL_BYTES = 2000


def write_whole(path, text):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def last_json(text):
    """The last JSON value in the text that begins a line, or None."""
    starts = [i for i in range(len(text)) if text[i] in "[{" and (i == 0 or text[i - 1] == "\n")]
    for start in reversed(starts):
        try:
            return json.loads(text[start:])
        except ValueError:
            continue
    return None


def values(text):
    """{name: number} of the lines "name number", or None."""
    found = re.findall(r"^(\w+) (-?[\d.]+)$", text, re.M)
    return {name: float(number) for name, number in found} or None


def run_step(step):
    missing = [n for n in step.needs if shutil.which(n) is None]
    result = {"name": step.name, "seconds": 0.0}
    if missing:
        return {**result, "status": "skipped", "why": f"{missing[0]} is not here"}
    began = time.monotonic()
    child = subprocess.Popen(step.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", start_new_session=True)
    try:
        output, _ = child.communicate(timeout=step.seconds)
        status = "ok" if child.returncode == 0 else f"failed with {child.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        status = f"no answer within {step.seconds} s"
    result.update(status=status, seconds=round(time.monotonic() - began, 2))
    found = {"json": last_json, "values": values, None: lambda _: None}[step.keep](output)
    if found is not None:
        result["result"] = found
    if status != "ok" or (found is None and step.keep):
        result["output"] = output[-TAIL_BYTES:]
    elif not step.keep:
        result["output"] = output.strip()[-200:]
    return result


def build_programs(build, log):
    """Where no carried build is; "" or why there is none."""
    if os.path.exists(f"{build}/gpu_tests") and os.path.exists(f"{build}/gpu_encoder"):
        return ""
    if shutil.which("nvcc") is None:
        return "no carried build and no nvcc"
    with open(log, "w", encoding="utf-8") as out:
        done = subprocess.run(["make", "-C", "bench/gpu", "-j16", f"OUT={os.path.abspath(build)}"],
                              stdout=out, stderr=subprocess.STDOUT, check=False)
    return "" if done.returncode == 0 else f"the build failed: see {os.path.basename(log)}"


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


def dry_run(plan, build):
    for stage in plan:
        print(f"stage {stage.number}: {stage.title} (about {stage.seconds} s)")
        for step in stage.steps:
            missing = [n for n in step.needs if shutil.which(n) is None]
            note = f"   [would be skipped: {missing[0]} is not here]" if missing else ""
            print(f"  {step.seconds:3d} s  {' '.join(step.argv)}{note}")
    carried = os.path.exists(f"{build}/gpu_tests")
    print("programs: " + (f"carried in {build}" if carried else "make -C bench/gpu -j16" if
                          shutil.which("nvcc") else "no nvcc here and no carried build"))
    print("GPU: " + ("nvidia-smi is here" if shutil.which("nvidia-smi") else "none seen"))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="bench/gpu/run.sh")
    parser.add_argument("--out", required=True, help="folder of the results")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--stage", type=int, action="append", help="this stage alone; repeatable")
    parser.add_argument("--build", default="build/gpu", help="folder of the programs")
    args = parser.parse_args()
    plan = stages.plan(args.build, sys.executable,
                       os.environ.get("PITH_ENGINE_DRIVER", "build/release/engine_driver"))
    if args.stage is not None:
        plan = [s for s in plan if s.number in args.stage]
    if args.dry_run:
        return dry_run(plan, args.build)
    os.makedirs(args.out, exist_ok=True)
    result = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
              "commit": commit(), "stages": []}
    result["build"] = build_programs(args.build, os.path.join(args.out, "build.log")) or "ok"
    failed = 0
    for stage in plan:
        entry = {"stage": stage.number, "title": stage.title, "steps": []}
        result["stages"].append(entry)
        for step in stage.steps:
            entry["steps"].append(run_step(step))
            last = entry["steps"][-1]
            failed += last["status"] not in ("ok", "skipped")
            print(f"stage {stage.number}: {step.name}: {last['status']}", flush=True)
            write_whole(os.path.join(args.out, "result.json"), json.dumps(result, indent=1) + "\n")
            write_whole(os.path.join(args.out, "result.md"), page.page(result))
            if step.name == "sweep" and "result" in last:
                write_whole(os.path.join(args.out, "tune-sm_90a-132.json"),
                            json.dumps(last["result"], indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
