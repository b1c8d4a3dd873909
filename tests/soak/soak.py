"""A server under mixed load for a long time: after it, what is allocated is what was allocated after the
warm-up, and as many descriptors are open. Prints a page and "ok" or "not ok" lines; see `make soak`.

Every few minutes the load stops, every connection is closed, and the server's own metrics are read once
nothing is open any more: heap (jemalloc's `allocated` without the threads' caches), descriptors,
resident memory. The load is a steady rate, so that a run leaves the machine to others."""
import argparse
import collections
import hashlib
import http.client
import json
import os
import queue
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/e2e"))
import hostile_test as hostile
import support

HEAP_SLACK = 64 * 1024
LINE = "2026-11-21 11:02:%02d worker-%d ERROR retry %d of 5 failed for /srv/data/part-%05d after %.1fs: timed out\n"
WORDS = "the build of module parser failed with status 0x1f after 42 retries while reading /etc/pith config".split()


def text_of(n_bytes, rng):
    parts, size = [], 0
    while size < n_bytes:
        one = (LINE % (rng.randrange(60), rng.randrange(9), rng.randrange(5), rng.randrange(99999), rng.random() * 9)
               if rng.random() < 0.5 else " ".join(rng.choices(WORDS, k=12)) + "\n")
        parts.append(one)
        size += len(one)
    return "".join(parts)


class Soak:
    """What the workers share. Each operation returns the word that it is counted under."""

    def __init__(self, args):
        self.messages = support.Messages(args.protoset)
        self.server = support.Server(args.pithd, ["--http", "127.0.0.1:0", "--max-jobs", "64", *args.pithd_args.split()])
        self.counts = collections.Counter()
        self.unexpected = []
        self.lock = threading.Lock()
        self.work = queue.Queue(maxsize=64)
        self.fixed = text_of(3000, random.Random(1))
        self.bytes_seen = collections.Counter()  # of complete answers to `fixed`
        self.channels = []
        self.took = []

    # --- clients

    def open_channels(self):
        self.channels = [support.grpc.insecure_channel(self.server.addr, [*support.UNLIMITED, *support.OWN_CONNECTION,
                                                                        ("grpc.client_channel_backup", i)])
                         for i in range(4)]

    def close_channels(self):
        for one in self.channels:
            one.close()
        self.channels = []

    def request(self, **fields):
        return self.messages["pith.v1.CompressRequest"](**fields)

    def method(self, name, reply, request, service="pith.v1.CompressionService", package="pith.v1"):
        channel = random.choice(self.channels)
        return channel.unary_unary(f"/{service}/{name}",
                                   request_serializer=self.messages[f"{package}.{request}"].SerializeToString,
                                   response_deserializer=self.messages[f"{package}.{reply}"].FromString)

    def compress(self):
        return self.method("Compress", "CompressResponse", "CompressRequest")

    # --- operations

    def small(self, rng):
        began = time.monotonic()
        reply = self.compress()(self.request(text=text_of(rng.randint(50, 2000), rng), target_ratio=0.5), timeout=30)
        with self.lock:
            self.took.append(time.monotonic() - began)
        return "ok" if reply.input_words > 0 else "empty"

    def same(self, rng):
        """Near a deadline what is not scored is kept and counted: a partial answer is another text. Every complete
        one is the same, however little time it was given."""
        seconds = 30 if rng.random() < 0.7 else rng.uniform(0.05, 1)
        reply = self.compress()(self.request(text=self.fixed, explain=rng.random() < 0.3, target_ratio=0.4), timeout=seconds)
        if reply.unscored_words > 0:
            return "partial"
        with self.lock:
            self.bytes_seen[hashlib.sha256(reply.text.encode()).hexdigest()] += 1
        return "ok"

    def large(self, rng):
        reply = self.compress()(self.request(text=text_of(rng.randint(20000, 120000), rng), fold_repeats=True), timeout=60)
        return "ok" if reply.critical_kept == reply.critical_total else "critical lost"

    def dense(self, rng):
        """The longest text that goes by the short ones' way, with a word every other byte."""
        self.compress()(self.request(text="a 1 b 2 " * 8100, target_ratio=0.5), timeout=120)
        return "ok"

    def batch(self, rng):
        call = self.method("BatchCompress", "BatchCompressResponse", "BatchCompressRequest")
        texts = [self.request(id=str(i), text=text_of(300, rng), target_ratio=0.5 if i != 3 else 7) for i in range(6)]
        reply = call(self.messages["pith.v1.BatchCompressRequest"](requests=texts), timeout=30)
        return "ok" if len(reply.results) == 6 and reply.results[3].HasField("error") else "wrong batch"

    def stream(self, rng):
        item = self.messages["pith.v1.StreamCompressRequest"]
        call = random.choice(self.channels).stream_stream(
            "/pith.v1.CompressionService/StreamCompress", request_serializer=item.SerializeToString,
            response_deserializer=self.messages["pith.v1.StreamCompressResponse"].FromString)
        items = [item(request=self.request(id=str(i), text=text_of(300, rng))) for i in range(6)]
        if rng.random() < 0.3:
            replies = call(iter(items), timeout=30)
            next(replies)
            replies.cancel()
            return "left early"
        return "ok" if len(list(call(iter(items), timeout=30))) == 6 else "wrong stream"

    def infer(self, rng):
        message = self.messages["inference.ModelInferRequest"]()
        tensor = message.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(text_of(400, rng).encode())
        self.method("ModelInfer", "ModelInferResponse", "ModelInferRequest", "inference.GRPCInferenceService",
                    "inference")(message, timeout=30)
        return "ok"

    def cancelled(self, rng):
        future = self.compress().future(self.request(text=text_of(rng.randint(100, 20000), rng)), timeout=30)
        time.sleep(rng.random() * 0.02)
        future.cancel()
        return "cancelled"

    def hurried(self, rng):
        self.compress()(self.request(text=text_of(5000, rng)), timeout=0.001 * rng.randint(1, 8))
        return "ok"

    def refused(self, rng):
        self.compress()(self.request(text=text_of(100, rng), target_ratio=5), timeout=30)
        return "taken"

    def over_http(self, rng):
        connection = http.client.HTTPConnection(self.server.http, timeout=30)
        body = json.dumps({"content": text_of(2000, rng), "target_ratio": 0.5}) if rng.random() < 0.9 else "{"
        connection.request("POST", "/compress", body)
        reply = connection.getresponse()
        reply.read()
        connection.close()
        return f"{reply.status}"

    def health(self, rng):
        """A connection of its own each time, as probes have."""
        request = self.messages["grpc.health.v1.HealthCheckRequest"]
        with support.grpc.insecure_channel(self.server.addr, support.OWN_CONNECTION) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=request.SerializeToString,
                                        response_deserializer=self.messages["grpc.health.v1.HealthCheckResponse"].FromString)
            return "serving" if check(request(), timeout=20).status == 1 else "not serving"

    def malformed(self, rng):
        host, port = self.server.addr.rsplit(":", 1)
        name = rng.choice(sorted(hostile.MALFORMED))
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            try:
                sock.settimeout(0.05)
                sock.sendall(hostile.MALFORMED[name])
                while sock.recv(65536):
                    pass
            except OSError:
                pass
        return "survived"

    OPERATIONS = {small: 40, same: 6, large: 1, batch: 5, stream: 6, infer: 6, cancelled: 10, hurried: 5, refused: 4,
                  over_http: 10, health: 4, malformed: 3}
    # The last four, and "partial": a machine that is busy with something else. The page counts them.
    EXPECTED = {"ok", "partial", "left early", "cancelled", "200", "400", "serving", "survived", "DEADLINE_EXCEEDED",
                "RESOURCE_EXHAUSTED", "503", "504"}

    # --- load

    def one(self, operation, rng):
        try:
            outcome = operation(self, rng)
        except support.grpc.RpcError as error:
            outcome = error.code().name
        except (OSError, support.grpc.FutureTimeoutError) as error:
            outcome = type(error).__name__
        name = operation.__name__
        good = outcome in self.EXPECTED or (name, outcome) == ("refused", "INVALID_ARGUMENT")
        with self.lock:
            self.counts[name, outcome] += 1
            if not good:
                self.unexpected.append((name, outcome))

    def worker(self, seed):
        rng = random.Random(seed)
        while (operation := self.work.get()) is not None:
            self.one(operation, rng)

    def start_workers(self, seed):
        self.open_channels()
        threads = [threading.Thread(target=self.worker, args=(seed * 100 + i,)) for i in range(8)]
        for one in threads:
            one.start()
        return threads

    def end_workers(self, threads):
        for _ in threads:
            self.work.put(None)
        for one in threads:
            one.join()
        self.close_channels()

    def burst(self):
        """Every operation as often and as many at once as the load may have it: the engine keeps the memory of
        the longest texts that it held side by side."""
        threads = self.start_workers(0)
        for _ in range(16):
            self.work.put(Soak.dense)
        for operation in self.OPERATIONS:
            for _ in range(24):
                self.work.put(operation)
        self.end_workers(threads)

    def load(self, seconds, rate, seed):
        """`rate` operations a second for so long, then nothing is open."""
        threads = self.start_workers(seed)
        rng, began, n = random.Random(seed), time.monotonic(), 0
        hangup = began + 60
        while time.monotonic() - began < seconds:
            self.work.put(rng.choices(list(self.OPERATIONS), self.OPERATIONS.values())[0])
            n += 1
            if time.monotonic() > hangup:
                self.server.signal(signal.SIGHUP)
                hangup += 60
            time.sleep(max(0, began + n / rate - time.monotonic()))
        self.end_workers(threads)

    # --- what is left

    def page(self):
        connection = http.client.HTTPConnection(self.server.http, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.M)}

    def idle(self):
        """The metrics when nothing is open; the least of a few looks, as the server's threads are not in step."""
        quiet = ("pith_jobs_in_flight", "pith_bytes_in_flight", "pith_grpc_calls_open", "pith_grpc_connections",
                 "pith_http_waiting")
        end = time.monotonic() + 60
        page = self.page()
        while any(page[name] > 0 for name in quiet) and time.monotonic() < end:
            time.sleep(0.5)
            page = self.page()
        left = {name: page[name] for name in quiet if page[name] > 0}
        pages = [page]
        for _ in range(8):
            time.sleep(0.5)
            pages.append(self.page())
        least = min(pages, key=lambda one: one["pith_heap_allocated_bytes"])
        return {"heap": int(least["pith_heap_allocated_bytes"]), "fds": int(min(p["process_open_fds"] for p in pages)),
                "rss": int(pages[-1]["process_resident_memory_bytes"]), "cpu": pages[-1]["process_cpu_seconds_total"],
                "left": left}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pithd", default=os.path.join(ROOT, "build/release/pithd"))
    parser.add_argument("--pithd-args", default="--threads 1")
    parser.add_argument("--protoset", default=os.path.join(ROOT, "build/release/gen/pith.protoset"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=float, default=2, help="minutes")
    parser.add_argument("--every", type=float, default=5, help="minutes between two looks")
    parser.add_argument("--rate", type=float, default=10, help="operations a second")
    return parser.parse_args()


def look(name, minutes, seen, first):
    print(f"| {name} | {minutes:.1f} | {seen['heap']} | {(seen['heap'] - first['heap']) / 1024:+.1f} | {seen['fds']} | "
          f"{seen['rss'] / 2**20:.1f} | {seen['cpu']:.1f} | {seen['left'] or 'nothing'} |", flush=True)


def run(args):
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="ascii") if "model name" in line][0]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"# Soak: {args.minutes:g} minutes of mixed load at {args.rate:g} operations a second\n\n{cpu}, "
          f"{os.cpu_count()} cores, commit {commit}, {time.strftime('%F', time.gmtime())}; warm-up {args.warm_up:g} minutes\n\n"
          "| when | minute | allocated, bytes | against the first look, KiB | descriptors | resident, MiB | "
          "CPU, s | still open |\n| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    soak = Soak(args)
    soak.burst()
    soak.load(args.warm_up * 60, args.rate, 1)
    soak.counts.clear()
    soak.took.clear()
    first = soak.idle()
    look("after the warm-up", 0, first, first)
    began, seed, last = time.monotonic(), 2, first
    while (left := args.minutes * 60 - (time.monotonic() - began)) > 1:
        soak.load(min(left, args.every * 60), args.rate, seed)
        last = soak.idle()
        look("idle", (time.monotonic() - began) / 60, last, first)
        seed += 1
    print("\n| operation | outcome | times |\n| --- | --- | --- |")
    for (name, outcome), n in sorted(soak.counts.items()):
        print(f"| {name} | {outcome} | {n} |")
    took = sorted(soak.took)
    print(f"\nA small text's call, in the middle {took[len(took) // 2] * 1000:.1f} ms, 99 of 100 within "
          f"{took[len(took) * 99 // 100] * 1000:.1f} ms.\n")
    checks = {
        "what_is_allocated_is_what_was_after_the_warm_up": abs(last["heap"] - first["heap"]) <= HEAP_SLACK,
        "as_many_descriptors_are_open": last["fds"] == first["fds"],
        "nothing_is_left_open": not first["left"] and not last["left"],
        "every_operation_ended_as_it_should": not soak.unexpected,
        "the_same_text_gave_the_same_bytes": len(soak.bytes_seen) == 1,
    }
    soak.server.stop()
    for name, held in checks.items():
        print(f"{'ok' if held else 'not ok'} {name}")
    if soak.unexpected:
        print(collections.Counter(soak.unexpected))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(run(parse_args()))
