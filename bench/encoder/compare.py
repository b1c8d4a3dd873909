#!/usr/bin/env python3
"""Pith's encoder beside ONNX Runtime fp32, interleaved A B A B in one run on the same model.

Usage: compare.py DRIVER MODEL_DIR [--threads 2] [--dtype auto] [--isa auto] [--rounds 7]
MODEL_DIR: the ModernBERT-base shape written by tests/support/random_model.py. Prints for 512 and
2048 tokens the ratio of median times, tokens per second, and the percent of the multiply-add peak
measured in the same run (f32's, or bf16's where that is the dtype); the same in CPU time, which a busy
machine disturbs less. Without onnxruntime the peer is left out. Goals (bf16): 2.0x at 512 and 70 % of the bf16 peak bound, 2.5x at 2048.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "support"))
import random_model  # noqa: E402

ROUNDS = {512: 7, 2048: 3}


class Driver:
    def __init__(self, args):
        command = [args.driver, args.model, str(args.threads), args.dtype, args.isa, "2048"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.device = self.process.stdout.readline().strip()
        if not self.device:
            sys.exit("the driver did not start")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


def session(length, threads, dtype):
    try:
        import numpy as np
        import onnxruntime as ort

        import onnx_graph
    except ImportError as missing:
        print(f"skipped: ONNX Runtime as a peer ({missing})")
        return None
    table = random_model.tensors(random_model.BASE, dict(random_model.OPTS, dtype=dtype))
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = onnx_graph.build(random_model.BASE, table, length)
    ids = np.array([((i * 2654435761 + 12345) % (1 << 32) >> 8) % random_model.BASE["vocab_size"] for i in range(length)])
    s = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    print(f"peer: onnxruntime {ort.__version__} fp32, {threads} threads")
    return lambda: s.run(None, {"ids": ids})[0]


def flop_per_token(length, config):
    d, layers, window = config["hidden_size"], config["num_hidden_layers"], config["local_attention"] // 2
    linear = layers * (4 * d * d + 3 * d * config["intermediate_size"])
    heads = 5 * d * config["span_channels"] + 3 * config["span_channels"] + 2 * d
    keys_local = sum(min(i + window, length - 1) - max(i - window, 0) + 1 for i in range(length)) / length
    n_global = (layers + config["global_attn_every_n_layers"] - 1) // config["global_attn_every_n_layers"]
    keys = n_global * length + (layers - n_global) * keys_local
    return 2 * (linear + heads) + 4 * d * keys


def compare(driver, length, threads, rounds, stored, bf16):
    peer = session(length, threads, stored)
    if peer is not None:
        ours, theirs = float(driver.ask(f"sum {length}")), float(peer().sum())
        print(f"sum of scores: pith {ours:.4f}, peer {theirs:.4f}")
        if not abs(ours - theirs) <= (0.02 if bf16 else 1e-4) * theirs:
            sys.exit("the two sides did not compute the same")
    peaks = [float(x) for x in driver.ask("peak").split()]
    mine, other = [], []
    for _ in range(rounds):
        mine.append([float(x) for x in driver.ask(f"run {length}").split()])
        if peer is not None:
            start = time.perf_counter(), time.process_time()
            peer()
            other.append([time.perf_counter() - start[0], time.process_time() - start[1]])
    again = [float(x) for x in driver.ask("peak").split()]
    peak = max(peaks[bf16], again[bf16])
    flop = flop_per_token(length, random_model.BASE) * length
    kind = "bf16" if bf16 else "f32"
    for i, name, capacity in ((0, "wall time", peak), (1, "CPU time", peak / threads)):
        ours = statistics.median(row[i] for row in mine)
        line = f"{length} tokens, {name}: {length / ours:.0f} tok/s, {flop / ours * 1e-9:.0f} GFLOP/s = "
        line += f"{100 * flop / ours * 1e-9 / capacity:.0f} % of the {kind} peak {capacity:.0f}"
        if other:
            theirs = statistics.median(row[i] for row in other)
            line += f"; {theirs / ours:.2f}x ONNX Runtime fp32 ({length / theirs:.0f} tok/s)"
        print(line)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--isa", default="auto")
    parser.add_argument("--stored", default="bf16", help="dtype of MODEL_DIR's tensors")
    parser.add_argument("--rounds", type=int, default=0)
    args = parser.parse_args()
    driver = Driver(args)
    print("pith:", driver.device)
    bf16 = driver.device.split()[1] == "bf16"
    native = driver.device.startswith("avx512-bf16")
    for length, rounds in ROUNDS.items():
        compare(driver, length, args.threads, args.rounds or rounds, args.stored, bf16 and native)
    print(f"peak memory of the driver: {int(driver.ask('hwm')) / 1024:.0f} MiB")
    if not native:
        print("bf16 is native with AVX512-BF16 only: the bf16 goals cannot be measured on this CPU")


if __name__ == "__main__":
    main()
