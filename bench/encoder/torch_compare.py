#!/usr/bin/env python3
"""Pith's encoder on the shipped model beside PyTorch's same model, interleaved, full batches.

Usage: torch_compare.py DRIVER MODEL_DIR [--threads 2] [--dtype auto] [--rounds 9] [--json FILE]
PyTorch runs models/recipe/model.py on the same weights: in f32, and where the CPU has bf16 products
in bf16 too, of which the faster counts. A batch is 2048 tokens, the engine's step: four texts of
512. Prints the ratio of median times and the percent of the multiply-add peak measured in the same
run; the same in CPU time, which a busy machine disturbs less. Goals (bf16): 3x and 40 % of the peak.
"""
import argparse
import json
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "..", "models", "recipe"))
import compare  # noqa: E402

TOKENS, TEXTS = 512, 4


def peers(model_dir, threads, bf16):
    """{dtype: a function that runs the batch and gives the sum of its scores}."""
    import export
    import torch

    torch.set_num_threads(threads)
    model = export.load_exported(model_dir)
    vocabulary = model.config.vocabulary
    ids = [((i * 2654435761 + 12345) % (1 << 32) >> 8) % vocabulary for i in range(TOKENS * TEXTS)]
    ids = torch.tensor(ids).view(TEXTS, TOKENS)
    padding = torch.zeros_like(ids, dtype=torch.bool)

    def run(dtype):
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            z_tok, z_span, _ = model(ids, padding)
            return model.keep_logit(z_tok, z_span).float().sigmoid().sum().item()

    found = {"f32": lambda: run(torch.float32)}
    if bf16:
        found["bf16"] = lambda: run(torch.bfloat16)
    print(f"peer: PyTorch {torch.__version__}, {threads} threads")
    return found


def measure(driver, sides, rounds):
    """(seconds of ours, {dtype: seconds of PyTorch's}), rows of wall and CPU time, interleaved."""
    mine, others = [], {name: [] for name in sides}
    for _ in range(rounds):
        mine.append([float(x) for x in driver.ask(f"run {TOKENS} {TEXTS}").split()])
        for name, side in sides.items():
            start = time.perf_counter(), time.process_time()
            side()
            others[name].append([time.perf_counter() - start[0], time.process_time() - start[1]])
    return mine, others


def summary(args, driver, bf16, config):
    sides = peers(args.model, args.threads, bf16)
    sums = [float(driver.ask(f"sum {TOKENS} {TEXTS}")), *(side() for side in sides.values())]
    print("sum of scores: " + ", ".join(f"{x:.3f}" for x in sums))
    if not all(abs(x - sums[0]) <= (0.02 if bf16 else 1e-4) * sums[0] for x in sums):
        sys.exit("the two sides did not compute the same")
    before = [float(x) for x in driver.ask("peak").split()]
    mine, others = measure(driver, sides, args.rounds)
    after = [float(x) for x in driver.ask("peak").split()]
    peak = max(before[bf16], after[bf16])
    flop = compare.flop_per_token(TOKENS, config) * TOKENS * TEXTS
    kind = "bf16" if bf16 else "f32"
    result = {"dtype": kind, "isa": driver.device.split()[0], "threads": args.threads}
    for i, name, capacity in ((0, "wall", peak), (1, "cpu", peak / args.threads)):
        ours = statistics.median(row[i] for row in mine)
        best, theirs = min(
            (statistics.median(row[i] for row in rows), name) for name, rows in others.items()
        )
        result[name] = {
            "ratio": best / ours,
            "percent_of_peak": 100 * flop / ours * 1e-9 / capacity,
            "tokens_per_second": TOKENS * TEXTS / ours,
            "peer_tokens_per_second": TOKENS * TEXTS / best,
        }
        row = result[name]
        print(
            f"{TEXTS} x {TOKENS} tokens, {name} time: {row['tokens_per_second']:.0f} tok/s, "
            f"{row['percent_of_peak']:.0f} % of the {kind} peak {capacity:.0f} GFLOP/s; "
            f"{row['ratio']:.2f}x PyTorch {theirs} ({row['peer_tokens_per_second']:.0f} tok/s)"
        )
    return {**result, **result["wall"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="where to write the figures")
    args = parser.parse_args()
    driver = compare.Driver(args)
    print("pith:", driver.device)
    bf16 = driver.device.split()[1] == "bf16" and driver.device.startswith("avx512-bf16")
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["span_channels"] = config["pith"]["span_channels"]
    result = summary(args, driver, bf16, config)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    if not bf16:
        print("bf16 is native with AVX512-BF16 only: the bf16 goals cannot be measured on this CPU")


if __name__ == "__main__":
    main()
