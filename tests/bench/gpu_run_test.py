"""bench/gpu/run.sh without a GPU: what it would do, what it does when a step fails, hangs or cannot
run, and the page it writes. Prints "ok", "not ok" and "skip" lines."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench/gpu"))
os.chdir(ROOT)
import page  # noqa: E402
import run  # noqa: E402
import stages  # noqa: E402
import tune  # noqa: E402


def launch(*arguments):
    return subprocess.run([sys.executable, "bench/gpu/run.py", *arguments], capture_output=True,
                          text=True, timeout=120, check=False)


def a_dry_run_says_what_each_stage_would_do_and_exits_0():
    with tempfile.TemporaryDirectory() as out:
        done = launch("--out", out + "/none", "--dry-run", "--build", out)
        assert done.returncode == 0, done.stderr
        for number in range(9):
            assert f"stage {number}: " in done.stdout, number
        assert "would be skipped" in done.stdout and "programs: " in done.stdout
        assert not os.path.exists(out + "/none"), "a dry run writes nothing"


def every_test_named_in_the_plan_exists():
    source = "".join(open(path, encoding="utf-8").read()
                     for path in glob.glob("tests/kernels/emu/*.cu"))
    known = re.findall(r"TEST_RUN(?:_LONG)?\((\w+)\)", source)
    for name in stages.INSTRUCTIONS + stages.LADDER + stages.KERNELS + stages.SANITIZED:
        assert any(name in test for test in known), f"no test is named {name}"
    rungs = sorted(test for test in known if test.startswith("rung_"))
    assert len(rungs) == 7 and all(any(n in r for n in stages.LADDER) for r in rungs), rungs


def what_is_tested_has_bounded_waits_and_what_is_timed_has_not():
    done = subprocess.run(["make", "-n", "-C", "bench/gpu", "NVCC=nvcc", "OUT=/nowhere"],
                          capture_output=True, text=True, check=False)
    compiles = [line for line in done.stdout.splitlines() if line.startswith("nvcc ")]
    tested = [line for line in compiles if "-DPK_BOUND_WAITS" in line]
    for source in glob.glob("kernels/cuda/*.cu") + glob.glob("tests/kernels/emu/*_test.cu"):
        assert any(line.split(" -c ")[1].split()[0].endswith(source) for line in tested) or \
            "/negative" in source, source
    links = {os.path.basename(line.split(" -o ")[1].split()[0]): line for line in
             done.stdout.splitlines() if line.startswith("cc ") and " -o " in line
             and " -c " not in line}
    assert set(links) == {"gpu_tests", "gpu_bench", "gpu_encoder"}, links.keys()
    for name, line in links.items():
        objects = [word for word in line.split() if word.endswith(".cu.o") or ".cu.bounded" in word]
        assert objects and all(word.endswith(".bounded.o") == (name == "gpu_tests")
                               for word in objects), name


def the_stages_fit_into_their_eight_minutes():
    plan = stages.plan("b", "python3", "e")
    assert sum(stage.seconds for stage in plan) <= 10 * 60
    assert [stage.number for stage in plan] == list(range(9))


def a_stage_alone_writes_its_results_where_nothing_can_run():
    with tempfile.TemporaryDirectory() as out:
        for name in ("gpu_tests", "gpu_encoder"):  # a build that was carried, and runs nowhere
            open(f"{out}/{name}", "w", encoding="utf-8").close()
        done = launch("--out", out, "--build", out, "--stage", "1", "--stage", "5")
        assert done.returncode == 0, done.stdout + done.stderr
        with open(out + "/result.json", encoding="utf-8") as file:
            result = json.load(file)
        assert [s["stage"] for s in result["stages"]] == [1, 5]
        assert {s["status"] for stage in result["stages"] for s in stage["steps"]} == {"skipped"}
        assert "| 1 | wgmma_m64n192 | skipped" in open(out + "/result.md", encoding="utf-8").read()
        assert len(os.listdir(out)) <= 8


def a_step_that_fails_hangs_or_is_missing_is_told_apart():
    python = sys.executable
    good = run.run_step(stages.Step("good", [python, "-c", "print('noise')\nprint('{\"x\": 1}')"],
                                    30, keep="json"))
    assert good["status"] == "ok" and good["result"] == {"x": 1}, good
    named = run.run_step(stages.Step("named", [python, "-c", "print('a_b 1.5\\nc x')"], 30,
                                     keep="values"))
    assert named["result"] == {"a_b": 1.5}, named
    bad = run.run_step(stages.Step("bad", [python, "-c", "print('why'); raise SystemExit(3)"], 30))
    assert bad["status"] == "failed with 3" and "why" in bad["output"], bad
    slow = run.run_step(stages.Step("slow", [python, "-c", "import time; time.sleep(60)"], 1))
    assert slow["status"] == "no answer within 1 s", slow
    sanitizer = "import sys; print(sys.argv[1]); raise SystemExit(int(sys.argv[2]))"
    for said, code, status in (("========= ERROR SUMMARY: 0 errors", 0, "ok"),
                               ("========= ERROR SUMMARY: 2 errors", 9, "failed with 9"),
                               ("========= Error: device not supported", 1, "refused"),
                               ("========= COMPUTE-SANITIZER", 0, "refused"), ("", 0, "refused")):
        found = run.run_step(stages.Step("s", [python, "-c", sanitizer, said, str(code)], 30,
                                         keep="sanitizer"))
        assert found["status"] == status, (said, found)
        assert ("why" in found) == (status == "refused"), found
    none = run.run_step(stages.Step("none", ["no-such-program"], 1, ["no-such-program"]))
    assert none["status"] == "skipped" and "no-such-program" in none["why"], none


STAND_IN = """#!/bin/sh
case "$(basename "$0") $1 $2" in
"gpu_bench sweep "*) cat "$(dirname "$0")/sweep" ;;
"gpu_bench gaps "*) echo '{"node_ns": 1500.0, "node_ns_dependent": 900.0}' ;;
"gpu_bench attn "*) echo '[{"form": "global wgmma", "length": 8192, "tflop_s": 440.0}]' ;;
"gpu_encoder base cublas"*) echo "gpu_encoder: no cuBLASLt here" >&2; exit 1 ;;
gpu_encoder*) cat "$(dirname "$0")/encoder" ;;
"gpu_tests wgmma_m64n64 "*) echo "[  FAILED  ]"; echo "    swizzle 128, k advance 32"; exit 1 ;;
*) echo "1 passed, 0 failed" ;;
esac
"""


def a_run_of_stand_ins_goes_through_every_stage_whatever_fails():
    rows = sweep_of(sweep_row("128x192", 9.0, "a"), sweep_row("64x192", 8.0, "a"),
                    sweep_row("64x64", 2.0, "b"))
    with tempfile.TemporaryDirectory() as out:
        for name in ("gpu_tests", "gpu_bench", "gpu_encoder"):
            with open(f"{out}/{name}", "w", encoding="utf-8") as file:
                file.write(STAND_IN)
            os.chmod(f"{out}/{name}", 0o755)
        for name, value in (("sweep", {"gpu": "H", "sm": "90", "n_sm": 132, "rows": rows}),
                            ("encoder", encoder_run(1e6, 512, sample=[0.5]))):
            with open(f"{out}/{name}", "w", encoding="utf-8") as file:
                json.dump(value, file)
        chosen = [word for number in (1, 2, 3, 4, 5, 6) for word in ("--stage", str(number))]
        done = launch("--out", out + "/results", "--build", out, *chosen)
        assert done.returncode == 1, done.stdout + done.stderr
        with open(out + "/results/result.json", encoding="utf-8") as file:
            result = json.load(file)
        steps = [step for stage in result["stages"] for step in stage["steps"]]
        failed = {step["name"]: step["output"] for step in steps if step["status"] != "ok"
                  and step["status"] != "skipped"}
        assert set(failed) == {"wgmma_m64n64", "cublas 512"}, failed
        assert "k advance 32" in failed["wgmma_m64n64"], failed
        files = [name for _, _, names in os.walk(out + "/results") for name in names]
        assert sorted(files) == ["result.json", "result.md", "sm_90a-132.json"], files
        with open(out + "/results/result.md", encoding="utf-8") as file:
            text = file.read()
        assert "3 tiles rejected for their bits" in text and "440 TFLOP/s" in text, text
        assert "1.000 M tok/s" in text and "qkv 1.00x, scores 0.0000 off" in text, text


def encoder_run(tok_per_s, length, **more):
    return {"kernels": "sm90a", "tokens": 8192, "texts": 8192 // length,
            "sum_of_squares": 8192 * length, "tok_per_s": tok_per_s, "step_ms": 0.7,
            "wall_ms": 0.75, "changed_alone": 0, **more}


def result_with(**by_name):
    return {"date": "2026-01-01", "commit": "abc", "build": "ok", "stages": [
        {"stage": 4, "title": "t", "steps": [
            {"name": name, "status": "ok", "seconds": 1.0, "result": value}
            for name, value in by_name.items()]}]}


def the_page_fills_its_table_from_the_results():
    text = page.page(result_with(**{
        "auto 512": encoder_run(1.645e6, 512), "peer varlen 512 8448": {"tok_per_s": 1.0e6},
        "peer padded 512 8448": {"tok_per_s": 0.5e6},
        "auto one request of 512": encoder_run(7e5, 512),
        "engine without a socket": {"tokens_per_s": 0.95e6},
        "auto mini": encoder_run(1.0e6, 768),
        "safe 512": encoder_run(1.0e6, 512, sample=[0.5, 0.25]),
        "safe but qkv 512": encoder_run(1.25e6, 512, sample=[0.5, 0.26]),
        "safe but attn 512": encoder_run(1.5e6, 512, sample=[0.5, float("nan")]),
        "attn": [{"form": "global wgmma", "length": 8192, "tflop_s": 440.4}]}))
    assert "qkv 1.25x, scores 0.0100 off, attn 1.50x, scores inf off" in text, text
    assert "1.645 M tok/s, 50 % of the bound (sm90a)" in text, text  # of 3.29 M
    assert "1.65x varlen + compile, 3.29x padded" in text, text
    assert "GPU 0.700 ms, wall 0.750 ms (+50 us)" in text, text
    assert "440 TFLOP/s" in text and "0 texts changed in 6 runs" in text, text
    assert "0.950 M tok/s, 95 % (pith-mini)" in text, text


def a_page_without_results_says_not_measured():
    text = page.page(result_with())
    assert text.count("not measured") >= 7, text
    changed = page.page(result_with(**{"auto 512": encoder_run(1e6, 512, changed_alone=2)}))
    assert "2 texts changed in 1 runs" in changed, changed


def sweep_row(tile, ns, bits, rows=512, cluster=1, error=0):
    return {"op": "plain", "n": 768, "k": 768, "rows": rows, "tile": tile, "stages": 4,
            "cluster": cluster, "ctas_per_sm": 1, "error": error, "ns": ns, "tflop_s": 1.0,
            "hash": bits}


def sweep_of(*rows):
    return [{**row, "rows": size} for size in tune.CLASSES for row in rows]


def no_table_of(rows):
    try:
        tune.table({"measured": "m", "rows": rows})
    except tune.NoTable as why:
        return str(why)
    raise AssertionError("a table was made")


def a_tile_with_other_bits_is_rejected_however_fast():
    rows = sweep_of(sweep_row("safe", 0.5, "s"), sweep_row("128x192", 9.0, "a"),
                    sweep_row("64x192", 8.0, "a"), sweep_row("64x64", 2.0, "b"),
                    sweep_row("128x192", 1.0, "a", cluster=2, error=1))
    assert {r["tile"] for r in tune.best(rows).values()} == {"64x192"}
    assert [r["tile"] for r in tune.rejected(rows)] == ["64x64"] * 3
    text = tune.table({"measured": "m", "rows": rows})
    assert text.count("{PITH_PACK_LINEAR, 768, 768, ") == 3 and "PK_LINEAR_64_64" not in text
    paired = sweep_of(sweep_row("128x192", 9.0, "a"), sweep_row("128x192", 8.0, "a", cluster=2))
    assert "2048, PK_LINEAR_128_192, 4, true, 1}" in tune.table({"measured": "m", "rows": paired})


def a_sweep_that_leaves_a_product_without_a_tile_makes_no_table():
    assert "no tile" in no_table_of(sweep_of(sweep_row("64x64", 2.0, "b", error=700)))
    assert "no tile" in no_table_of(sweep_of(sweep_row("64x64", 2.0, "b"),
                                             sweep_row("64x192", 2.0, "a")))
    assert "class of 8448" in no_table_of(sweep_of(sweep_row("64x64", 2.0, "b"))[:2])
    assert "without a time" in no_table_of(sweep_of(sweep_row("64x64", None, None),
                                                    sweep_row("64x192", 2.0, "a")))


def the_committed_table_is_what_the_script_makes_of_the_committed_sweep():
    made = subprocess.run([sys.executable, "bench/gpu/tune.py"], capture_output=True, text=True,
                          check=True)
    with open(tune.TABLE, encoding="utf-8") as file:
        assert file.read() == made.stdout
    with open(tune.COMMITTED, encoding="utf-8") as file:
        sweep = json.load(file)
    chosen = tune.best(sweep["rows"])
    assert {(op, n, k) for op, n, k, _ in chosen} == {
        ("qkv", 2304, 768), ("geglu", 2304, 768), ("plain", 768, 768), ("plain", 768, 1152),
        ("span_conv", 1280, 768)}, "what bench/gpu/bench.cu sweeps"
    if sweep["gpu"] is None:
        assert "Not yet measured on a GPU" in made.stdout


def a_sweep_is_written_whole_and_makes_a_table():
    rows = sweep_of(sweep_row("128x192", 9.0, "a"), sweep_row("64x192", 8.0, "a"),
                    sweep_row("64x64", 2.0, "b"))
    result = {"date": "2026-01-01", "commit": "abc"}
    with tempfile.TemporaryDirectory() as out:
        run.write_sweep(out, {"gpu": "H", "sm": "90", "n_sm": 132, "rows": rows}, result)
        assert os.listdir(out + "/tune") == ["sm_90a-132.json"]
        done = subprocess.run([sys.executable, "bench/gpu/tune.py", out + "/tune/sm_90a-132.json"],
                              capture_output=True, text=True, check=True)
        assert "Measured on H, 2026-01-01, commit abc" in done.stdout
        assert done.stderr.count("rejected for its bits") == 3, done.stderr
        assert result["tiles"]["rejected"][0] == ["plain", 768, 768, 512, "64x64", 4, 1]
        run.write_sweep(out, {"gpu": "H", "sm": "90", "n_sm": 132, "rows": rows[:1]}, result)
        assert "class of 2048" in result["tiles"]["no_table"]
        bad = subprocess.run([sys.executable, "bench/gpu/tune.py", out + "/tune/sm_90a-132.json"],
                             capture_output=True, text=True, check=False)
        assert bad.returncode == 1 and bad.stdout == "", bad


def the_peers_pack_the_same_texts_as_the_encoder_bench():
    try:
        import peers
    except ImportError:
        return "no PyTorch here"
    assert peers.lengths_of("512", 8448) == [512] * 16
    mixed = peers.lengths_of("mixed", 8448)
    assert sum(mixed) <= 8448 and all(32 <= n <= 2048 for n in mixed), mixed
    return None


def the_packed_peer_is_modernbert():
    """Same weights, same texts: transformers padded and ours packed agree."""
    try:
        import peers
        import torch
        model = peers.padded_model(peers.SHAPES["tiny"]).eval()
    except ImportError:
        return "no PyTorch with transformers here"
    shape, lengths = peers.SHAPES["tiny"], [150, 7, 1]
    ours = peers.Packed(shape).eval()
    names = {"embed.weight": "embeddings.tok_embeddings.weight", "norm.weight":
             "embeddings.norm.weight", "final.weight": "final_norm.weight"}
    theirs = model.state_dict()
    for name in ours.state_dict():
        other = names.get(name, name.replace(".qkv.", ".attn.Wqkv.").replace(".wo.", ".attn.Wo.")
                          .replace(".wi.", ".mlp.Wi.").replace(".mlp_wo.", ".mlp.Wo."))
        ours.state_dict()[name].copy_(theirs[other])
    ids, cu, positions = peers.packed_batch(lengths, shape[4], "cpu")
    tables = [peers.rope_table(positions, ours.head_dim, theta, "cpu", torch.float32)
              for theta in (160000.0, 10000.0)]
    with torch.no_grad():
        found = ours(ids, cu, max(lengths), tables)
        for begin, end in zip(cu[:-1].tolist(), cu[1:].tolist()):
            expected = model(input_ids=ids[None, begin:end]).last_hidden_state[0]
            worst = (found[begin:end] - expected).abs().max().item()
            assert worst < 2e-3, worst
    return None


def main():
    failed = 0
    for test in (a_dry_run_says_what_each_stage_would_do_and_exits_0,
                 every_test_named_in_the_plan_exists,
                 what_is_tested_has_bounded_waits_and_what_is_timed_has_not, the_stages_fit_into_their_eight_minutes,
                 a_stage_alone_writes_its_results_where_nothing_can_run,
                 a_step_that_fails_hangs_or_is_missing_is_told_apart,
                 a_run_of_stand_ins_goes_through_every_stage_whatever_fails,
                 the_page_fills_its_table_from_the_results,
                 a_page_without_results_says_not_measured,
                 a_tile_with_other_bits_is_rejected_however_fast,
                 a_sweep_that_leaves_a_product_without_a_tile_makes_no_table,
                 the_committed_table_is_what_the_script_makes_of_the_committed_sweep,
                 a_sweep_is_written_whole_and_makes_a_table,
                 the_peers_pack_the_same_texts_as_the_encoder_bench,
                 the_packed_peer_is_modernbert):
        try:
            why = test()
            print(f"skip {test.__name__} ({why})" if why else f"ok {test.__name__}", flush=True)
        except Exception:  # noqa: BLE001: each test is told apart, whatever broke it
            failed += 1
            print(f"not ok {test.__name__}", flush=True)
            traceback.print_exc(file=sys.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
