"""Load on a whole server: closed loop, open loop around capacity, mixed lengths, streams, cancelled calls,
texts beside a giant; beside the engine without a server, a bare echo on the same C core, and the peers of
peer.py, interleaved in one run.

ghz drives what is printed as "ghz"; the rest is driven by load_client and http_client, which cost little and
compare every reply with the engine's own for that text. Where ghz drives, they do so beside it. The clients
share the machine with what they drive.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from support import Server  # noqa: E402

SERVICE = "pith.v1.CompressionService"
SIZE = 2000  # bytes of a text where nothing else is said
GIANT_SHORT = 2300  # of the texts beside a giant: 512 tokens of pith-mini's


def data_file(folder, name, texts, wrap=None):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump([wrap(t) if wrap else {"text": t} for t in texts], file)
    return path


def at(sorted_values, share):
    return sorted_values[int(share * (len(sorted_values) - 1))] if sorted_values else float("nan")


def spread(values):
    """The median, and the extremes where there are several."""
    middle = statistics.median(values)
    return f"{middle:.4g}" + (f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else "")


class Bench:
    def __init__(self, args):
        self.args, self.folder, self.different, self.compared = args, tempfile.mkdtemp(), 0, 0
        texts = self.texts(SIZE)
        self.short = data_file(self.folder, "short.json", texts)
        sizes = [self.texts(100), self.texts(500), texts, self.texts(8000), self.texts(64000)]
        self.mixed = data_file(self.folder, "mixed.json", [text for round in zip(*sizes) for text in round][:50])
        self.items = data_file(self.folder, "items.json", texts[:8], lambda t: {"request": {"text": t}})
        self.kept = {}
        self.goals = []  # (name, held) of parts that have some

    def texts(self, size):
        """The texts of our own clients, for those of others."""
        done = subprocess.run([os.path.join(self.args.build, "engine_driver"), self.args.model, "texts", "--bytes", str(size)],
                              stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().split("\0")[:-1]

    def start(self, *flags, program="pithd", ready=True):
        server = Server(os.path.join(self.args.build, program),
                        ["--http", "127.0.0.1:0", *map(str, flags)] if ready else [], listen="127.0.0.1:0" if ready else None)
        for _ in range(600 if ready else 0):
            try:
                urllib.request.urlopen(f"http://{server.http}/readyz", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        return server

    def program(self, name, *words):
        """The "name value" lines that a program prints; replies that differ are counted for the page."""
        done = subprocess.run([os.path.join(self.args.build, name), *map(str, words)], text=True,
                              stdout=subprocess.PIPE, check=False)
        pairs = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
        out = {k: float(v) for k, v in pairs.items() if k != "replies_hash"}
        if "different" not in out:
            raise RuntimeError(f"{name} {words} ended with {done.returncode}")
        self.different += int(out["different"])
        self.compared += int(out.get("ok", 0))
        return out

    def engine(self, program, clients, size):
        """A closed loop on the engine; its replies are what servers are compared with from then on."""
        kept = os.path.join(self.folder, f"{program}.{size}")
        out = self.program(program, self.args.model, "load", "--clients", clients, "--bytes", size,
                           "--seconds", self.args.seconds, "--replies", kept)
        self.kept[program, size] = kept
        return out

    def replies(self, program, size):
        if (program, size) not in self.kept:
            self.engine(program, 8, size)
        return ["--replies", self.kept[program, size]]

    def client(self, server, *words, size=SIZE, program="engine_driver", warm=0.5):
        known = self.replies(program, size) if program else []
        return self.program("load_client", server.addr, "--bytes", size, "--seconds", self.args.seconds,
                            "--warm-s", warm, *known, *words)

    def ghz(self, server, *flags, data=None, call="Compress", timeout="60s", beside=True):
        """ghz's report; its own exit status says nothing about calls that failed. Beside it a call every half second
        looks whether the replies still are the engine's."""
        known = self.replies("engine_driver", SIZE) if beside else []
        stop, checked = threading.Event(), []

        def check():
            while not stop.is_set():
                checked.append(self.program("load_client", server.addr, "--bytes", SIZE, "--seconds", 1, "--rps", 2,
                                            "--warm-s", 0, "--deadline-ms", 30000, *known))
        checker = threading.Thread(target=check)
        if beside:
            checker.start()
        done = subprocess.run(["ghz", "--insecure", "--protoset", self.args.protoset, "--call", f"{SERVICE}.{call}",
                               "-D", data or self.short, "--format", "json", "--timeout", timeout, *map(str, flags), server.addr],
                              stdout=subprocess.PIPE, check=True)
        stop.set()
        if beside:
            checker.join()
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

    def seconds(self):
        return ("-z", f"{self.args.seconds}s", "--duration-stop", "wait")


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def closed_loop(b):
    print(f"\n### Closed loop, texts of {SIZE} bytes, 50 in flight, ghz\n\n"
          "| connections | calls/s | p50 ms | p99 ms | not OK |\n|---|---|---|---|---|")
    server = b.start("--max-jobs", "512")
    for connections in (1, 8, 50):
        r = b.ghz(server, "-c", 50, "--connections", connections, *b.seconds())
        bad = {k: v for k, v in r["codes"].items() if k != "OK"}
        print(f"| {connections} | {r['rps']:.1f} | {r['p50']:.1f} | {r['p99']:.1f} | {bad or 0} |", flush=True)
    server.stop()


def beside_the_engine(b):
    print(f"\n### The server beside the engine alone: texts of {SIZE} bytes, 50 in flight, A B A B\n")
    shares, rates = [], []
    for _ in range(b.args.rounds):
        engine = b.engine("engine_driver", 50, SIZE)
        server = b.start("--max-jobs", "512")
        r = b.client(server, "--in-flight", 50, "--connections", 8, warm=1)
        server.stop()
        shares.append(r["calls_per_s"] / engine["texts_per_s"])
        rates.append((engine["tokens_per_s"], engine["texts_per_s"], r["calls_per_s"]))
    tokens, texts, calls = (statistics.median(x) for x in zip(*rates))
    print(f"Engine {tokens:.0f} tokens/s ({texts:.1f} texts/s), server {calls:.1f} of the same texts/s: "
          f"**{spread(shares)}x** (goal 0.95x)", flush=True)


def null_model(b):
    print("\n### Null model, texts of 100 bytes: pithd beside a bare echo on the same C core, A B A B\n\n"
          "| in flight | connections | pithd CPU us/call | echo | ratio | pithd p50 us | echo | ratio | pithd calls/s | echo |\n"
          "|---|---|---|---|---|---|---|---|---|---|")
    b.replies("engine_driver_null", 100)
    for in_flight, connections in ((64, 8), (1, 1)):
        rows = {"echo": [], "pithd": []}
        for _ in range(b.args.rounds):
            for name, program in (("echo", "echo_server"), ("pithd", "pithd_null")):
                server = b.start("--max-jobs", "512", program=program, ready=True) if name == "pithd" else \
                    b.start(program=program, ready=False)
                known = "engine_driver_null" if name == "pithd" else None
                load = ("--in-flight", in_flight, "--connections", connections)
                b.client(server, *load, "--seconds", 0.5, size=100, program=known)
                before = cpu_seconds(server)
                r = b.client(server, *load, size=100, program=known, warm=0)
                r["cpu_us"] = (cpu_seconds(server) - before) * 1e6 / r["calls_begun"]
                rows[name].append(r)
                server.stop()
        middle = lambda name, key: statistics.median(r[key] for r in rows[name])
        ratio = lambda key: spread([p[key] / e[key] for p, e in zip(rows["pithd"], rows["echo"])])
        print(f"| {in_flight} | {connections} | {middle('pithd', 'cpu_us'):.0f} | {middle('echo', 'cpu_us'):.0f} | **{ratio('cpu_us')}x** | "
              f"{middle('pithd', 'p50_us'):.0f} | {middle('echo', 'p50_us'):.0f} | **{ratio('p50_us')}x** | "
              f"{middle('pithd', 'calls_per_s'):.0f} | {middle('echo', 'calls_per_s'):.0f} |", flush=True)
    alone = [b.engine("engine_driver_null", 64, 100)["cpu_us_per_text"] for _ in range(b.args.rounds)]
    print(f"\nGoals 1.6x of CPU at 64 in flight, 1.7x of p50 at one. The text path alone, without any server, takes {spread(alone)} us of "
          "CPU a text (64 in flight).", flush=True)


def null_http(b):
    print("\n### Null model, texts of 64 KiB, 64 clients on POST /compress, A B A B\n")
    rows = []
    for _ in range(b.args.rounds):
        engine = b.engine("engine_driver_null", 64, 65536)["MB_per_s"]
        server = b.start("--max-jobs", "512", program="pithd_null")
        r = b.program("http_client", server.http, "--in-flight", 64, "--bytes", 65536, "--seconds", b.args.seconds,
                      "--warm-s", 1, *b.replies("engine_driver_null", 65536))
        server.stop()
        rows.append((engine, r["MB_per_s"], r["MB_per_s"] / engine, r["not_ok"]))
    print(f"In-process text path {spread([r[0] for r in rows])} MB/s, /compress {spread([r[1] for r in rows])} MB/s: "
          f"**{spread([r[2] for r in rows])}x** (goal 0.6x); not 200: {sum(r[3] for r in rows):.0f}", flush=True)


def capacity_of(b):
    server = b.start("--max-jobs", "512")
    r = b.client(server, "--in-flight", 50, "--connections", 8, warm=1)
    server.stop()
    return r["calls_per_s"]


def open_loop(b):
    queue, capacity = 64, capacity_of(b)
    print(f"\n### Open loop around a capacity of {capacity:.1f} calls/s, queue of {queue}\n\n"
          "| client | load | OK/s | of capacity | refused | p50 OK ms | p99 OK ms | p99 refusal ms | other |\n|---|---|---|---|---|---|---|---|---|")
    server = b.start("--max-jobs", queue)
    for share in (0.5, 0.8, 1.2):
        r = b.ghz(server, "--async", "--rps", max(1, int(capacity * share)), "-c", 512, "--connections", 8, *b.seconds())
        other = {k: v for k, v in r["codes"].items() if k not in ("OK", "ResourceExhausted")}
        print(f"| ghz | {share:.0%} | {r['goodput']:.1f} | {r['goodput'] / capacity:.0%} | {r['codes'].get('ResourceExhausted', 0)} | "
              f"{at(r['ok'], 0.5):.1f} | {at(r['ok'], 0.99):.1f} | {at(r['refused'], 0.99):.1f} | {other or 0} |", flush=True)
    server.stop()


def overload(b):
    """Capacity is taken before and after, since other work on the machine moves it."""
    queue, before = 64, capacity_of(b)
    server = b.start("--max-jobs", queue)
    seconds = b.args.overload_seconds
    r = b.client(server, "--in-flight", 4096, "--connections", 8, "--rps", 1.2 * before, "--seconds", seconds, warm=5)
    server.stop()
    capacity = statistics.mean((before, capacity_of(b)))
    other = {k: int(v) for k, v in r.items() if k.startswith("code_") and k not in ("code_OK", "code_RESOURCE_EXHAUSTED")}
    bound = queue / capacity * 1e3
    b.goals += [("goodput_at_120_percent_is_95_percent_of_capacity", r["calls_per_s"] >= 0.95 * capacity),
                ("refusals_are_answered_within_10_ms", 0 < r["refused_p99_us"] < 10e3),
                ("every_call_is_answered_or_refused_as_exhausted", not other and r.get("code_RESOURCE_EXHAUSTED", 0) > 0),
                ("accepted_calls_wait_no_longer_than_the_queue_is", r["p99_us"] / 1e3 < 1.5 * bound)]
    print(f"\n### 120 % of capacity for {seconds} s, queue of {queue}\n\n"
          f"Capacity {capacity:.1f} calls/s (mean of before and after), offered {1.2 * before:.1f}. Goodput {r['calls_per_s']:.1f}: "
          f"**{r['calls_per_s'] / capacity:.1%}** (goal 95 %). RESOURCE_EXHAUSTED: {r.get('code_RESOURCE_EXHAUSTED', 0):.0f}, answered with a p99 of "
          f"**{r['refused_p99_us'] / 1e3:.2f} ms** (goal under 10); other codes: {other or 'none'}. Accepted: p50 {r['p50_us'] / 1e3:.0f} ms, p99 "
          f"**{r['p99_us'] / 1e3:.0f} ms**, where {queue} texts in the queue take {bound:.0f} ms: {r['p99_us'] / 1e3 / bound:.2f}x.", flush=True)


def mixed_and_streams(b, wanted):
    print("\n### Mixed lengths (100 B to 64 kB), streams, cancelled calls, ghz\n\n| scenario | calls/s | p50 ms | p99 ms | codes |\n|---|---|---|---|---|")
    server = b.start("--max-jobs", "512")
    for part, name, flags, options in (
            ("mixed", "mixed lengths, 16 in flight", ("-c", 16, "--connections", 8, *b.seconds()), {"data": b.mixed}),
            ("streams", "streams of 16 texts, 8 open", ("-c", 8, "-n", 16, "--connections", 8, "--stream-call-count", 16),
             {"data": b.items, "call": "StreamCompress"}),
            ("cancel", "calls given up after 20 ms", ("-c", 64, "--connections", 8, *b.seconds()), {"timeout": "20ms"})):
        if wanted(part):
            r = b.ghz(server, *flags, **options)
            print(f"| {name} | {r['rps']:.1f} | {r['p50']:.1f} | {r['p99']:.1f} | {r['codes']} |", flush=True)
    time.sleep(0.5)
    left = b.metric(server, "pith_jobs_in_flight")
    print(f"\nIn flight when all is over: {left:.0f}", flush=True)
    server.stop()


def giant(b):
    """A giant as long as the machine computes in about a minute."""
    tokens_per_s = b.engine("engine_driver", 8, SIZE)["tokens_per_s"]
    size = int(min(4_400_000, b.args.giant_seconds * tokens_per_s * 3.6))
    r = b.program("engine_driver", b.args.model, "giant", "--bytes", GIANT_SHORT, "--giant-bytes", size,
                  "--every-ms", b.args.every_ms, "--seconds", b.args.giant_seconds)
    print(f"\n### A giant of {size / 1e6:.1f} MB (1 M tokens are about 4.4 MB) and texts of {GIANT_SHORT} bytes, one every {b.args.every_ms} ms, in process\n\n"
          f"Short texts: p50 {r['short_p50_ms_alone']:.1f} ms alone, {r['short_p50_ms_beside']:.1f} beside; p99 {r['short_p99_ms_alone']:.1f} alone "
          f"(n = {r['short_n_alone']:.0f}), {r['short_p99_ms_beside']:.1f} beside (n = {r['short_n_beside']:.0f}): **{r['short_p99_ratio']:.2f}x** "
          f"(goal 2x). Giant: {r['giant_s_alone']:.1f} s alone, {r['giant_s_beside']:.1f} s beside: **{r['giant_ratio']:.2f}x** (goal 1.2x). "
          f"{r['steps_aside']:.0f} of {r['steps']:.0f} steps went in front of another.", flush=True)


def peers(b):
    print("\n### Peers with the same weights and texts, 16 clients, interleaved; ghz on the two servers\n")
    peer, rows = os.path.join(HERE, "peer.py"), {"pithd": [], "onnxruntime": [], "headroom": []}
    common = [b.args.model, "--texts", b.short, "--threads", str(b.args.peer_threads)]
    pithd = b.start("--max-jobs", "512")
    try:
        served = Server(sys.executable, [peer, "serve", *common, "--protoset", b.args.protoset], listen=None)
    except RuntimeError as missing:
        print(f"skipped: ONNX Runtime behind Python gRPC ({str(missing).splitlines()[-1]})")
        served = None
    for _ in range(b.args.rounds):
        rows["pithd"].append(b.ghz(pithd, "-c", 16, "--connections", 4, *b.seconds()))
        if served is not None:
            rows["onnxruntime"].append(b.ghz(served, "-c", 16, "--connections", 4, *b.seconds(), beside=False))
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
                  f"{statistics.median(r['p99'] for r in seen):.1f} | {seen[-1]['codes']} | {own / max(rate, 1e-9):.1f}x |", flush=True)


PARTS = ("closed", "engine", "null", "http", "open", "overload", "mixed", "streams", "cancel", "giant", "peers")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--model", default="models/pith-mini")
    parser.add_argument("--protoset", default="build/release/gen/pith.protoset")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement; 60 for a page to be cited")
    parser.add_argument("--overload-seconds", type=int, default=60)
    parser.add_argument("--giant-seconds", type=int, default=60, help="the giant alone takes about so long")
    parser.add_argument("--every-ms", type=int, default=250, help="between two short texts beside the giant")
    parser.add_argument("--peer-threads", type=int, default=1, help="of the peers' ONNX Runtime")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="parts, comma-separated: " + ", ".join(PARTS))
    parser.add_argument("--check", action="store_true", help="goals that are missed fail the run")
    bench = Bench(parser.parse_args())
    parts = [p for p in bench.args.only.split(",") if p] or PARTS
    if not set(parts) <= set(PARTS):
        parser.error(f"--only: {bench.args.only}")
    for part, run in (("closed", closed_loop), ("engine", beside_the_engine), ("null", null_model), ("http", null_http),
                      ("open", open_loop), ("overload", overload)):
        if part in parts:
            run(bench)
    if {"mixed", "streams", "cancel"} & set(parts):
        mixed_and_streams(bench, lambda name: name in parts)
    for part, run in (("giant", giant), ("peers", peers)):
        if part in parts:
            run(bench)
    print(f"\nReplies compared byte for byte with the engine's own for the same text: {bench.compared}; different: **{bench.different}**",
          flush=True)
    missed = [name for name, held in bench.goals if not held]
    for name, held in bench.goals if bench.args.check else []:
        print(f"{'ok' if held else 'not ok'} {name}", flush=True)
    sys.exit(bench.different > 0 or (bench.args.check and len(missed) > 0))
