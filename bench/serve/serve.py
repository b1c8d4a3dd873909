"""Load on a whole server, driven by ghz: closed loop, open loop around capacity, mixed lengths, streams,
cancelled calls; beside the engine without a server and the peers of peer.py, interleaved in one run.

The clients share the machine with what they drive, so what is printed is a floor of the server's share.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from support import Server  # noqa: E402

SERVICE = "pith.v1.CompressionService"
LINE = "2026-11-21 11:{:02}:{:02} worker-{} ERROR retry {} of 5 failed for /srv/data/part-{:05} after {}.5s: " \
       "the bucket was slow again and nobody knows why\n"


def make_text(seed, size):
    text, i = "", seed * 7919
    while len(text) < size:
        text += LINE.format(i % 60, i * 7 % 60, i % 9, i % 5, i * 31 % 99991, i % 13)
        i += 1
    return text[:size].rsplit(" ", 1)[0]


def data_file(folder, name, texts, wrap=None):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump([wrap(t) if wrap else {"text": t} for t in texts], file)
    return path


class Bench:
    def __init__(self, args):
        self.args, self.folder, self.notes = args, tempfile.mkdtemp(), []
        self.short = data_file(self.folder, "short.json", [make_text(i, 2000) for i in range(32)])
        self.mixed = data_file(self.folder, "mixed.json", [
            make_text(i, (100, 500, 2000, 8000, 64000)[i % 5]) for i in range(50)])
        self.items = data_file(self.folder, "items.json", [make_text(i, 2000) for i in range(8)],
                               lambda t: {"request": {"text": t}})

    def start(self, *flags, program="pithd"):
        return Server(os.path.join(self.args.build, program), ["--http", "127.0.0.1:0", *flags])

    def ghz(self, server, *flags, data=None, call="Compress", timeout="60s"):
        """ghz's report; its own exit status says nothing about calls that failed."""
        done = subprocess.run(["ghz", "--insecure", "--protoset", self.args.protoset, "--call", f"{SERVICE}.{call}",
                               "-D", data or self.short, "--format", "json", "--timeout", timeout, *map(str, flags), server.addr],
                              stdout=subprocess.PIPE, check=True)
        report = json.loads(done.stdout)
        tail = {p["percentage"]: p["latency"] / 1e6 for p in report.get("latencyDistribution") or []}
        codes = report.get("statusCodeDistribution") or {}
        ok = sorted(d["latency"] / 1e6 for d in report.get("details") or [] if d["status"] == "OK")
        refused = sorted(d["latency"] / 1e6 for d in report.get("details") or [] if d["status"] == "ResourceExhausted")
        return {"rps": report["rps"], "p50": tail.get(50, 0), "p99": tail.get(99, 0), "codes": codes,
                "seconds": report["total"] / 1e9, "ok": ok, "refused": refused,
                "goodput": codes.get("OK", 0) / (report["total"] / 1e9)}

    def metric(self, server, series):
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=20) as page:
            return float(re.search("^" + re.escape(series) + r" (\S+)$", page.read().decode(), re.M).group(1))

    def engine(self, program, clients, size):
        done = subprocess.run([os.path.join(self.args.build, program), self.args.model, "load", "--clients", str(clients),
                               "--bytes", str(size), "--seconds", str(self.args.seconds)], text=True,
                              stdout=subprocess.PIPE, check=True)
        return {k: float(v) for k, v in (line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)}

    def seconds(self):
        return ("-z", f"{self.args.seconds}s", "--duration-stop", "wait")


def at(sorted_values, share):
    return sorted_values[int(share * (len(sorted_values) - 1))] if sorted_values else float("nan")


def closed_loop(b):
    print("\n### Closed loop, texts of 2 kB, 50 in flight\n\n| connections | calls/s | p50 ms | p99 ms | not OK |\n|---|---|---|---|---|")
    server = b.start("--max-jobs", "512")
    best = 0
    for connections in (1, 8, 50):
        r = b.ghz(server, "-c", 50, "--connections", connections, *b.seconds())
        bad = {k: v for k, v in r["codes"].items() if k != "OK"}
        best = max(best, r["goodput"])
        print(f"| {connections} | {r['rps']:.1f} | {r['p50']:.1f} | {r['p99']:.1f} | {bad or 0} |", flush=True)
    server.stop()
    return best


def beside_the_engine(b):
    print("\n### The server beside the engine alone, tokens/s at saturation, A B A B\n")
    rows = {"engine": [], "server": []}
    for _ in range(b.args.rounds):
        rows["engine"].append(b.engine("engine_driver", 50, 2000)["tokens_per_s"])
        server = b.start("--max-jobs", "512")
        before = b.metric(server, 'pith_tokens_total{kind="input"}')
        r = b.ghz(server, "-c", 50, "--connections", 8, *b.seconds())
        rows["server"].append((b.metric(server, 'pith_tokens_total{kind="input"}') - before) / r["seconds"])
        server.stop()
    engine, served = (statistics.median(rows[k]) for k in ("engine", "server"))
    print(f"engine {engine:.0f} tokens/s, server {served:.0f} tokens/s: {served / engine:.2f}x "
          "(the texts differ; ghz takes its share of the same cores)", flush=True)


def null_model(b):
    print("\n### Null model: what surrounds the model\n")
    engine = b.engine("engine_driver_null", 64, 65536)["MB_per_s"]
    server = b.start("--max-jobs", "512", program="pithd_null")
    big = data_file(b.folder, "big.json", [make_text(i, 65536) for i in range(8)])
    r = b.ghz(server, "-c", 64, "--connections", 8, *b.seconds(), data=big)
    served = r["goodput"] * 65536 / 1e6
    print(f"64 kB texts, 64 clients: engine {engine:.1f} MB/s, server {served:.1f} MB/s: {served / engine:.2f}x")
    tiny = data_file(b.folder, "tiny.json", [make_text(i, 100) for i in range(8)])
    for in_flight in (1, 64):
        r = b.ghz(server, "-c", in_flight, "--connections", min(in_flight, 8), *b.seconds(), data=tiny)
        print(f"100 B texts, {in_flight} in flight: {r['rps']:.0f} calls/s, p50 {r['p50'] * 1e3:.0f} us", flush=True)
    server.stop()


def open_loop(b, capacity):
    print(f"\n### Open loop around a capacity of {capacity:.1f} calls/s, queue of 64\n\n"
          "| load | OK/s | of capacity | refused | p99 OK ms | p99 refusal ms | other |\n|---|---|---|---|---|---|---|")
    server = b.start("--max-jobs", "64")
    for share in (0.5, 0.8, 1.2):
        r = b.ghz(server, "--async", "--rps", max(1, int(capacity * share)), "-c", 512, "--connections", 8, *b.seconds())
        other = {k: v for k, v in r["codes"].items() if k not in ("OK", "ResourceExhausted")}
        print(f"| {share:.0%} | {r['goodput']:.1f} | {r['goodput'] / capacity:.0%} | {r['codes'].get('ResourceExhausted', 0)} | "
              f"{at(r['ok'], 0.99):.1f} | {at(r['refused'], 0.99):.1f} | {other or 0} |", flush=True)
    server.stop()


def mixed_and_streams(b):
    print("\n### Mixed lengths (100 B to 64 kB), streams, cancelled calls\n\n| scenario | calls/s | p50 ms | p99 ms | codes |\n|---|---|---|---|---|")
    server = b.start("--max-jobs", "512")
    for name, flags, options in (
            ("mixed lengths, 16 in flight", ("-c", 16, "--connections", 8, *b.seconds()), {"data": b.mixed}),
            ("streams of 16 texts, 8 open", ("-c", 8, "-n", 16, "--connections", 8, "--stream-call-count", 16),
             {"data": b.items, "call": "StreamCompress"}),
            ("calls given up after 20 ms", ("-c", 64, "--connections", 8, *b.seconds()), {"timeout": "20ms"})):
        r = b.ghz(server, *flags, **options)
        print(f"| {name} | {r['rps']:.1f} | {r['p50']:.1f} | {r['p99']:.1f} | {r['codes']} |", flush=True)
    left = b.metric(server, "pith_jobs_in_flight")
    print(f"\nleft in flight after the cancelled calls: {left:.0f}", flush=True)
    server.stop()


def peers(b):
    print("\n### Peers with the same weights and texts, 16 clients, interleaved\n")
    peer, rows = os.path.join(HERE, "peer.py"), {"pithd": [], "onnxruntime": [], "headroom": []}
    common = [b.args.model, "--texts", b.short, "--threads", "1"]
    pithd = b.start("--max-jobs", "512")
    try:
        served = Server(sys.executable, [peer, "serve", *common, "--protoset", b.args.protoset], listen=None)
    except RuntimeError as missing:
        print(f"skipped: ONNX Runtime behind Python gRPC ({str(missing).splitlines()[-1]})")
        served = None
    for _ in range(b.args.rounds):
        rows["pithd"].append(b.ghz(pithd, "-c", 16, "--connections", 4, *b.seconds()))
        if served is not None:
            rows["onnxruntime"].append(b.ghz(served, "-c", 16, "--connections", 4, *b.seconds()))
        done = subprocess.run([sys.executable, peer, "headroom", *common, "--clients", "16", "--seconds",
                               str(b.args.seconds)], text=True, capture_output=True)
        if done.returncode == 0:
            report = json.loads(done.stdout.splitlines()[-1])
            rows["headroom"].append({"goodput": report["rps"], "p50": report["p50_ms"] or 0, "p99": report["p99_ms"] or 0,
                                     "codes": {"passed through": report["passed_through"]}})
        else:
            print(f"skipped: Headroom's own path ({done.stderr.strip().splitlines()[-1]})")
    pithd.stop()
    if served is not None:
        served.stop()
    print("| server | texts/s | p50 ms | p99 ms | answers | pithd / it |\n|---|---|---|---|---|---|")
    own = statistics.median(r["goodput"] for r in rows["pithd"])
    for name, seen in rows.items():
        if seen:
            rate = statistics.median(r["goodput"] for r in seen)
            print(f"| {name} | {rate:.1f} | {statistics.median(r['p50'] for r in seen):.1f} | "
                  f"{statistics.median(r['p99'] for r in seen):.1f} | {seen[-1]['codes']} | {own / rate:.1f}x |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--model", default="models/pith-mini")
    parser.add_argument("--protoset", default="build/release/gen/pith.protoset")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement; 60 for a page to be cited")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="closed, engine, null, open, mixed, peers")
    bench = Bench(parser.parse_args())
    wanted = lambda name: bench.args.only in ("", name)
    capacity = closed_loop(bench) if wanted("closed") or wanted("open") else 0
    for name, part in (("engine", beside_the_engine), ("null", null_model)):
        if wanted(name):
            part(bench)
    if wanted("open"):
        open_loop(bench, capacity)
    for name, part in (("mixed", mixed_and_streams), ("peers", peers)):
        if wanted(name):
            part(bench)
