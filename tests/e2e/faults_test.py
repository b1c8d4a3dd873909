"""Faults of clients, networks and operators: what was taken is answered once, what is gone leaves nothing,
and the others do not notice. PITH_LONG=1: as many calls as a bad day has."""
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import hostile_test as hostile
from support import Script, Server, grpc, wait_until

LONG = os.environ.get("PITH_LONG") == "1"


def counters(server):
    """What a server with the scripted engine says of itself when it has drained."""
    line = [one for one in server.lines if "drained, cut" in one][-1]
    return {name.strip(): int(value) for name, value in re.findall(r"([a-z ]+) (\d+)", line)}


def storm_of_cancels(script):
    if not script.args.fake:
        return
    total, per_channel = (100000, 40) if LONG else (2000, 20)
    # What AddressSanitizer keeps of freed memory, 256 MiB unless it is told, is no growth of ours.
    server = script.start("--max-jobs", "100000",
                          env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"})
    channels = [script.channel(own=True, addr=server.addr) for _ in range(8)]
    call = [script.compress(channel) for channel in channels]
    for one in call:
        one(script.request(text="warm 1"), timeout=20)
    rng, before, sent, slow = random.Random(3), server.rss_mib(), 0, 0
    while sent < total:
        futures = [one.future(script.request(text=f"@delay={rng.randint(0, 60)} {'word ' * rng.randint(1, 300)}"))
                   for one in call for _ in range(per_channel)]
        sent += len(futures)
        time.sleep(rng.random() * 0.05)
        for future in futures:
            future.cancel()
        if sent % 5 == 0:
            began = time.monotonic()
            call[0](script.request(text="and 1"), timeout=20)
            slow = max(slow, time.monotonic() - began)
    grown = server.rss_mib() - before
    server.stop()
    seen = counters(server)
    script.check("nothing_is_left_of_cancelled_calls", seen["in flight"] == seen["calls open"] == seen["cut"] == 0 and
                 seen["accepted"] == seen["answered"], seen)
    script.check("cancelled_calls_do_not_grow_memory", grown < (150 if script.server.is_sanitized() else 60), grown)
    print(f"# {sent} calls cancelled, slowest other {slow:.3f} s, {grown} MiB grown")


def storm_of_deadlines(script):
    if not script.args.fake:
        return
    server = script.start("--max-jobs", "100000")
    channels = [script.channel(own=True, addr=server.addr) for _ in range(8)]
    codes = {}
    for round_number in range(5):
        futures = [script.compress(channel).future(script.request(text="@delay=200 x"), timeout=0.001 * (1 + i % 20))
                   for i in range(20) for channel in channels]
        for future in futures:
            code = script.failure(future.result)[0]
            codes[code] = codes.get(code, 0) + 1
    script.check("calls_with_short_deadlines_end_by_them", set(codes) == {"DEADLINE_EXCEEDED"}, codes)
    answer = script.compress(channels[0])(script.request(text="then 1"), timeout=script.patience(20))
    script.check("a_call_after_a_storm_of_deadlines_is_served", answer.input_words == 2)
    server.stop()
    seen = counters(server)
    script.check("nothing_is_left_of_late_calls", seen["in flight"] == seen["calls open"] == seen["cut"] == 0, seen)


def full_queue(script):
    """A minute, or in short three seconds, with four times the calls that the queue holds."""
    if not script.args.fake:
        return
    seconds = 60 if LONG else 3
    server = script.start("--max-jobs", "8")
    channel = script.channel(own=True, addr=server.addr)
    call = script.compress(channel)
    end, seen, lock = time.monotonic() + seconds, [], threading.Lock()

    def caller():
        mine = []
        while time.monotonic() < end:
            began = time.monotonic()
            code, _, details, trailers = script.failure(
                lambda: call(script.request(text="@delay=100 x 1"), timeout=20))
            whole = "RetryInfo" in details and "grpc-retry-pushback-ms" in trailers
            mine.append((code, whole, time.monotonic() - began))
            time.sleep(0.01)
        with lock:
            seen.extend(mine)

    threads = [threading.Thread(target=caller) for _ in range(32)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    refused = sorted(took for code, _, took in seen if code == "RESOURCE_EXHAUSTED")
    answered = sum(code == "OK" for code, _, _ in seen)
    script.check("a_full_queue_answers_or_refuses_with_a_delay",
                 {code for code, _, _ in seen} == {"OK", "RESOURCE_EXHAUSTED"} and
                 all(whole for code, whole, _ in seen if code != "OK"), {code for code, _, _ in seen})
    # 8 places, 100 ms each: 80 a second.
    script.check("a_full_queue_goes_on_working", answered > 20 * seconds, (answered, len(refused)))
    print(f"# {answered} answered, {len(refused)} refused, median refusal {refused[len(refused) // 2] * 1000:.1f} ms")
    script.check("after_a_full_queue_there_is_room",
                 wait_until(lambda: script.failure(lambda: call(script.request(text="x"), timeout=5))[0] == "OK", 5))
    server.stop()
    after = counters(server)
    script.check("every_accepted_call_was_answered", after["accepted"] == after["answered"] > answered,
                 (after, answered))


def raw_call(script, addr):
    """One Compress call in bytes, over a connection that stays open: (socket, whether it was answered)."""
    sock = hostile.connect(script, addr)
    message = script.request(text="raw words 12345").SerializeToString()
    sock.sendall(hostile.OPENING + hostile.frame(1, 4, 1, hostile.HEADERS) +
                 hostile.frame(0, 1, 1, hostile.grpc_message(message)))
    return sock


def answered(sock, marker=b"12345"):
    sock.settimeout(20)
    data = b""
    try:
        while marker not in data:
            piece = sock.recv(65536)
            if not piece:
                return False
            data += piece
    except OSError:
        return False
    return True


def a_thousand_connections(script):
    if script.args.pithd is None:
        return
    n, need = 1000, 4200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        print(f"skip a_thousand_connections: the limit on file descriptors is {hard}")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    server = script.start("--max-jobs", "4096", limit_fds=need)
    socks = [raw_call(script, server.addr) for _ in range(n)]
    served = sum(answered(sock) for sock in socks)
    script.check("a_thousand_connections_are_answered_each", served == n, served)
    began = time.monotonic()
    script.check("one_more_client_is_served_beside_them", hostile.alive(script, server.addr) and
                 time.monotonic() - began < 2, time.monotonic() - began)
    for sock in socks:
        sock.close()
    server.stop()


def half_open_connections(script):
    """Peers that are there no more and never said so: they do not answer a ping."""
    if not script.args.fake:
        return
    server = script.start("--keepalive-ms", "600")
    busy = raw_call(script, server.addr)
    message = script.request(text="@delay=60000 never").SerializeToString()
    busy.sendall(hostile.frame(1, 4, 3, hostile.HEADERS) + hostile.frame(0, 1, 3, hostile.grpc_message(message)))

    def is_gone(sock):
        sock.settimeout(5)
        try:
            while sock.recv(65536):
                pass
        except socket.timeout:
            return False
        except OSError:
            pass
        return True

    script.check("a_silent_connection_with_a_call_is_closed", is_gone(busy))
    alive = script.channel(own=True, addr=server.addr)
    call = script.compress(alive)
    script.check("a_peer_that_answers_pings_stays",
                 call(script.request(text="@delay=2500 x"), timeout=20).input_words == 2)
    server.stop()
    seen = counters(server)
    script.check("the_job_of_a_silent_peer_is_cancelled", seen["in flight"] == 0 and seen["cut"] == 0, seen)


def one_byte_over(script):
    if not script.args.fake:
        return
    server = script.start("--max-text-bytes", "100000")
    channel = script.channel(own=True, addr=server.addr)
    call = script.compress(channel)
    for size, expected in ((100000, "OK"), (100001, "INVALID_ARGUMENT")):
        code, _, _, _ = script.failure(lambda: call(script.request(text="w" * size), timeout=20))
        script.check(f"a_text_of_{size}_bytes_is_{expected.lower()}", code == expected, code)
    raw = channel.unary_unary("/pith.v1.CompressionService/Compress")
    for extra, expected in ((0, "INVALID_ARGUMENT"), (1, "RESOURCE_EXHAUSTED")):
        code, _, _, _ = script.failure(lambda: raw(bytes(100000 + 65536 + extra), timeout=20))
        script.check(f"a_message_{extra}_bytes_over_the_cap_is_{expected.lower()}", code == expected, code)
    script.check("the_connection_outlives_it", call(script.request(text="x"), timeout=20).input_words == 1)
    server.stop()


def the_same_id_twice(script):
    call = script.compress(script.channel())
    futures = [call.future(script.request(id="same", text=f"word {i}"), timeout=30,
                           metadata=[("x-request-id", "same")]) for i in range(50)]
    replies = [future.result() for future in futures]
    script.check("calls_of_one_id_are_answered_each", all(r.id == "same" and r.input_words == 2 for r in replies))


def killed_and_started_again(script):
    if script.args.pithd is None:
        return
    first = script.start()
    channel = script.channel(own=True, addr=first.addr, options=[("grpc.max_reconnect_backoff_ms", 200)])
    call = script.compress(channel)
    call(script.request(text="x"), timeout=20)
    # Long enough to be at work when the server is killed. No deadline: a machine that was busy when the server
    # calibrated itself would refuse what it could not promise in time.
    text = "@delay=30000 x" if script.args.fake else "word 1 " * 5000
    futures = [call.future(script.request(text=text)) for _ in range(20)]
    time.sleep(0.2)
    first.signal(signal.SIGKILL)
    codes = {script.failure(lambda: future.result(timeout=30))[0] for future in futures}
    first.process.wait()
    script.check("calls_of_a_killed_server_are_unavailable", codes == {"UNAVAILABLE"}, codes)
    words = [*script.args.pithd_args.split()]
    second = Server(script.args.pithd, words, listen=first.addr)
    served = lambda: script.failure(lambda: call(script.request(text="x 1"), timeout=5))[0] == "OK"
    script.check("the_same_client_is_served_by_its_successor", wait_until(served, 20))
    second.stop()


def find_ghz():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/tools/bin/ghz")
    return shutil.which("ghz") or (here if os.access(here, os.X_OK) else None)


def drain_under_ghz(script):
    """SIGTERM while ghz runs: what the engine took is answered once, the rest is told to go elsewhere."""
    if not script.args.fake:
        return
    if find_ghz() is None:
        print("skip drain_under_ghz: no ghz")
        return
    server = script.start("--drain-ms", "8000")
    load = subprocess.Popen([find_ghz(), "--insecure", "--call", "pith.v1.CompressionService.Compress", "-d",
                             '{"text": "@delay=20 a text of 5 words"}', "-c", "24", "--connections", "6", "-z", "4s",
                             "--duration-stop", "wait", "--timeout", "10s", "--format", "json", server.addr],
                            stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    server.stop()
    output, _ = load.communicate(timeout=60)
    codes = json.loads(output)["statusCodeDistribution"]
    seen = counters(server)
    print(f"# ghz across SIGTERM: {codes}, {seen}")
    script.check("calls_under_load_end_ok_unavailable_or_cancelled",
                 codes.get("OK", 0) > 20 and set(codes) <= {"OK", "Unavailable", "Canceled"}, codes)
    script.check("every_accepted_call_gets_its_answer_once", seen["cut"] == 0 and
                 seen["accepted"] == seen["answered"] == codes.get("OK", 0), (codes, seen))


def retrying_client(script):
    """Two servers, one after the other sent away and replaced: a client that retries sees no failure."""
    if not script.args.fake:
        return
    servers = [script.start("--drain-ms", "5000") for _ in range(2)]
    channels = [script.channel(own=True, addr=server.addr, options=[("grpc.max_reconnect_backoff_ms", 200)])
                for server in servers]
    calls = [script.compress(channel) for channel in channels]
    end, results, retries = time.monotonic() + 5, [], [0]

    def client(number):
        i = number
        while time.monotonic() < end:
            i += 1
            text = f"@delay=10 client {number} call {i}"
            for attempt in range(10):
                code, _, _, _ = script.failure(lambda: results.append(
                    calls[(i + attempt) % 2](script.request(id=f"{number}-{i}", text=text), timeout=10).id == f"{number}-{i}"))
                if code not in ("UNAVAILABLE", "CANCELLED"):
                    break
                retries[0] += 1
                time.sleep(0.02)
            if code != "OK":
                results.append(code)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for k in range(2):
        time.sleep(1)
        servers[k].stop()
        servers[k] = Server(script.args.pithd, script.args.pithd_args.split(), listen=servers[k].addr)
    for one in threads:
        one.join()
    script.check("a_client_that_retries_sees_no_failure", len(results) > 100 and all(r is True for r in results),
                 [r for r in results if r is not True][:5])
    print(f"# {len(results)} calls across two restarts, {retries[0]} retries")
    for server in servers:
        server.stop()


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(storm_of_cancels, storm_of_deadlines, full_queue, a_thousand_connections, half_open_connections,
                        one_byte_over, the_same_id_twice, killed_and_started_again, drain_under_ghz, retrying_client))
