"""Runs the stages of stages.py: see bench/gpu/run.sh. A step that fails, hangs or cannot run stops
no other. DIR/result.json is written whole after every step, DIR/result.md beside it, and the tile
sweep as DIR/tune/sm_90a-132.json, which bench/gpu/tune.py makes the committed table of."""
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
import tune  # noqa: E402

TAIL_BYTES = 6000  # of a failed step's output: a sweep of descriptors fits


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


def refusal(text):
    """Of a compute-sanitizer that looked at nothing: what it said last; "" where it looked."""
    if "ERROR SUMMARY" in text:
        return ""
    lines = [line.strip("= ") for line in text.splitlines() if line.strip("= ")]
    said = [line for line in lines if re.search(r"error|support|permi|fail|unable", line, re.I)]
    return (said or lines or ["it said nothing"])[-1]


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
    if step.keep == "sanitizer" and not status.startswith("no answer"):
        why = refusal(output)
        return {**result, "status": "refused" if why else status, **({"why": why} if why else {}),
                "output": output[-TAIL_BYTES:] if status != "ok" else ""}
    found = {"json": last_json, "values": values}.get(step.keep, lambda _: None)(output)
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


def write_sweep(out, sweep, result):
    """DIR/tune/sm_90a-132.json, a line a row, and what became of it beside the step's result."""
    rows = ",\n".join("  " + json.dumps(row) for row in sweep["rows"])
    measured = f"Measured on {sweep['gpu']}, {result['date']}, commit {result['commit']}"
    name = f"sm_{sweep['sm']}a-{sweep['n_sm']}.json"
    os.makedirs(os.path.join(out, "tune"), exist_ok=True)
    write_whole(os.path.join(out, "tune", name),
                f'{{\n "gpu": {json.dumps(sweep["gpu"])},\n "measured": {json.dumps(measured)},\n'
                f' "rows": [\n{rows}\n ]\n}}\n')
    try:
        bad = tune.rejected(sweep["rows"])
        tune.best(sweep["rows"])
        result["tiles"] = {"rejected": [[r["op"], r["n"], r["k"], r["rows"], r["tile"],
                                         r["stages"], r["cluster"]] for r in bad]}
    except tune.NoTable as why:
        result["tiles"] = {"no_table": str(why)}


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
            failed += last["status"] not in ("ok", "skipped", "refused")
            print(f"stage {stage.number}: {step.name}: {last['status']}"
                  + (f": {last['why']}" if "why" in last else ""), flush=True)
            write_whole(os.path.join(args.out, "result.json"), json.dumps(result, indent=1) + "\n")
            write_whole(os.path.join(args.out, "result.md"), page.page(result))
            if step.name == "sweep" and "result" in last:
                write_sweep(args.out, last["result"], result)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
