"""Calls per second, latency and server CPU per call: pithd's transport beside grpcio's.

The client shares the machine, so calls per second are a ceiling of both; CPU per call is the honest
column. Each row is the median of the rounds, A and B in turn.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "e2e"))
from support import Messages, Server  # noqa: E402

TEXT = "2026-11-21 11:02:07 worker-3 ERROR retry 4 of 5 failed for /srv/data/part-00017 after 2.5s"
HERTZ = os.sysconf("SC_CLK_TCK")


def serve_peer(protoset):
    """The same answer from a thread pool of grpcio."""
    import concurrent.futures
    import signal

    import grpc
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    messages = Messages(protoset)
    request, response = messages["pith.v1.CompressRequest"], messages["pith.v1.CompressResponse"]

    def compress(asked, context):
        words = asked.text.split()
        kept = [w for w in words if len(w) >= 4 or any(c.isdigit() for c in w)]
        ranges, at = [], 0
        for word in kept:
            at = asked.text.index(word, at)
            ranges += [at, at + len(word)]
            at += len(word)
        return response(id=asked.id, text=" ".join(kept), input_words=len(words), kept_words=len(kept),
                        kept_ranges=ranges, model="peer")

    handler = grpc.unary_unary_rpc_method_handler(compress, request_deserializer=request.FromString,
                                                  response_serializer=response.SerializeToString)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(os.cpu_count()))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "pith.v1.CompressionService", {"Compress": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(1).wait()


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


def drive(server, protoset, in_flight, connections, calls):
    before = cpu_seconds(server.process.pid)
    done = subprocess.run(
        ["ghz", "--insecure", "--protoset", protoset, "--call", "pith.v1.CompressionService.Compress",
         "-d", json.dumps({"text": TEXT}), "-n", str(calls), "-c", str(in_flight),
         "--connections", str(connections), "--format", "json", server.addr],
        stdout=subprocess.PIPE, check=True)
    cpu = cpu_seconds(server.process.pid) - before
    report = json.loads(done.stdout)
    if report["statusCodeDistribution"] != {"OK": calls}:
        raise RuntimeError(f"not every call was answered: {report['statusCodeDistribution']}")
    tail = {p["percentage"]: p["latency"] / 1e3 for p in report["latencyDistribution"]}
    return {"rps": report["rps"], "p50": tail[50], "p99": tail[99], "cpu": cpu / calls * 1e6}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pithd")
    parser.add_argument("--protoset", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="be the peer")
    args = parser.parse_args()
    if args.peer:
        serve_peer(args.protoset)
        return
    command = [sys.executable, os.path.abspath(__file__), "--peer", "--protoset", args.protoset]
    servers = {"pithd": Server(args.pithd), "grpcio": Server(command[0], command[1:], listen=None)}
    print("| in flight | connections | server | calls/s | p50 us | p99 us | server us CPU/call |")
    print("|---|---|---|---|---|---|---|")
    for in_flight, connections, calls in ((1, 1, 2000), (16, 4, 8000), (200, 50, 8000)):
        rows = {name: [] for name in servers}
        for _ in range(args.rounds):
            for name, server in servers.items():
                rows[name].append(drive(server, args.protoset, in_flight, connections, calls))
        median = {name: {k: statistics.median(r[k] for r in seen) for k in seen[0]}
                  for name, seen in rows.items()}
        for name, m in median.items():
            print(f"| {in_flight} | {connections} | {name} | {m['rps']:.0f} | {m['p50']:.0f} | "
                  f"{m['p99']:.0f} | {m['cpu']:.1f} |")
        print(f"| {in_flight} | {connections} | ratio | "
              f"{median['pithd']['rps'] / median['grpcio']['rps']:.2f}x | | | "
              f"{median['grpcio']['cpu'] / median['pithd']['cpu']:.2f}x less |", flush=True)
    for server in servers.values():
        server.stop()


if __name__ == "__main__":
    main()
