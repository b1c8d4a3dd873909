"""nginx before pithd, with the configuration that users begin with (deploy/nginx/pith.conf): calls, streams
and refusals pass; rapid reset and header blocks without end are nginx's, and others do not notice; out of
descriptors, nginx and pithd each serve on and recover."""
import collections
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import hostile_test as hostile
import http_test
from support import OWN_CONNECTION, ROOT, UNLIMITED, Script, grpc, wait_until


def find_nginx():
    ours = os.path.join(ROOT, "build/tools/bin/nginx")
    return os.environ.get("PITH_NGINX") or shutil.which("nginx") or shutil.which("/usr/sbin/nginx") or (
        ours if os.access(ours, os.X_OK) else None)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Front:
    """nginx on a free port before a pithd of its own; `fds` and `pithd_fds`: how many they may open."""

    def __init__(self, script, fds=None, pithd_fds=None):
        self.script = script
        self.folder = tempfile.mkdtemp()
        self.chain, key = f"{self.folder}/tls.crt", f"{self.folder}/tls.key"
        http_test.self_signed(self.chain, key)
        self.server = script.start("--http", "127.0.0.1:0", "--max-connections", "2048", limit_fds=pithd_fds)
        self.port = free_port()
        with open(os.path.join(ROOT, "deploy/nginx/pith.conf"), encoding="utf-8") as file:
            text = file.read()
        for theirs, ours in (("listen 443 ", f"listen 127.0.0.1:{self.port} "), ("127.0.0.1:50051", self.server.addr),
                             ("127.0.0.1:8080", self.server.http), ("/etc/pith/", self.folder + "/"),
                             ("/var/lib/nginx/", self.folder + "/"), ("/run/pith-nginx.pid", self.folder + "/pid"),
                             ("worker_processes auto", "worker_processes 1"),
                             ("worker_rlimit_nofile 65536;", f"worker_rlimit_nofile {fds};" if fds else "")):
            assert theirs in text, theirs
            text = re.sub(r"(?m)^(?!#)(.*)" + re.escape(theirs), lambda m: m.group(1) + ours, text)
        config = f"{self.folder}/nginx.conf"
        with open(config, "w", encoding="utf-8") as file:
            file.write("daemon off;\n" + text)
        self.log = open(f"{self.folder}/log", "w+", encoding="utf-8")
        self.process = subprocess.Popen([find_nginx(), "-p", self.folder, "-c", config, "-e", "stderr"],
                                        stderr=self.log, stdout=self.log)
        self.up = wait_until(lambda: self.opens() or self.process.poll() is not None, 10) and self.opens()

    def opens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def said(self):
        self.log.seek(0)
        return self.log.read()[-600:]

    def channel(self):
        with open(self.chain, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, [*UNLIMITED, *OWN_CONNECTION])

    def raw(self):
        context = ssl.create_default_context(cafile=self.chain)
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=5))

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
        self.server.stop()
        shutil.rmtree(self.folder)


def passes(script, front):
    channel = front.channel()
    call = script.compress(channel)
    reply = call(script.request(id="n", text="a text of 4 words"), timeout=20)
    script.check("a_text_is_compressed_through_nginx", reply.id == "n" and reply.input_words == 5, reply)
    replies = list(script.stream(channel)((script.item(id=str(i), text=f"item {i} 42") for i in range(50)), timeout=30))
    script.check("a_stream_of_50_passes_through_nginx", len(replies) == 50, len(replies))
    code, _, details, trailers = script.failure(lambda: call(script.request(text="x", target_ratio=5), timeout=20))
    script.check("a_refusal_passes_with_its_details", code == "INVALID_ARGUMENT" and "BadRequest" in details and
                 "RequestInfo" in details, (code, details))
    futures = [call.future(script.request(id=str(i), text=f"word {i}"), timeout=30) for i in range(60)]
    script.check("60_calls_at_once_pass_through_nginx", [f.result().id for f in futures] == [str(i) for i in range(60)])
    if script.args.fake:
        code, _, details, trailers = script.failure(lambda: call(script.request(text="@refuse=EXHAUSTED x"), timeout=20))
        script.check("a_full_queue_passes_with_its_delay", code == "RESOURCE_EXHAUSTED" and "RetryInfo" in details and
                     "grpc-retry-pushback-ms" in trailers, (code, trailers))
        code, _, _, _ = script.failure(lambda: call(script.request(text="@delay=5000 x"), timeout=0.2))
        script.check("a_deadline_passes", code == "DEADLINE_EXCEEDED", code)
        script.check("its_work_is_given_up_behind_nginx", wait_until(
            lambda: http_test.metric(front.server, "pith_jobs_in_flight") == 0, 5))
    context = ssl.create_default_context(cafile=front.chain)
    connection = http.client.HTTPSConnection("127.0.0.1", front.port, timeout=20, context=context)
    seen = {}
    for method, path, body in (("POST", "/compress", b'{"content": "a text of 4 words"}'), ("GET", "/metrics", None)):
        connection.request(method, path, body)
        answer = connection.getresponse()
        seen[path] = (answer.status, b"pith_jobs" in answer.read())
    script.check("headrooms_endpoint_passes_and_metrics_stay_inside",
                 seen["/compress"][0] == 200 and not seen["/metrics"][1], seen)


class Listener:
    """Reads what a connection is told; nginx says GOAWAY, then discards what still comes for a while."""

    def __init__(self, sock):
        self.sock, self.data, self.over = sock, b"", False

    def goodbye(self, seconds=0.0):
        """Whether the connection has been ended."""
        end = time.monotonic() + seconds
        while not self.over:
            try:
                self.sock.settimeout(max(0.001, end - time.monotonic()))
                piece = self.sock.recv(65536)
                self.over = not piece
                self.data += piece
            except (socket.timeout, ssl.SSLWantReadError):
                pass
            except OSError:
                self.over = True
            while len(self.data) >= 9 and len(self.data) >= 9 + int.from_bytes(self.data[:3], "big"):
                self.over = self.over or self.data[3] == 7
                self.data = self.data[9 + int.from_bytes(self.data[:3], "big"):]
            if time.monotonic() > end:
                break
        self.sock.settimeout(5)
        return self.over


def calls_seen(front):
    return http_test.metric(front.server, "pith_grpc_calls_total")


def served_meanwhile(script, front, attack):
    """Runs the attack step by step; the slowest call of another client beside it, None where one failed."""
    call, slowest = script.compress(front.channel()), 0
    call(script.request(text="warm"), timeout=20)
    for _ in attack:
        began = time.monotonic()
        if script.failure(lambda: call(script.request(text="beside 1"), timeout=20))[0] != "OK":
            return None
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def rapid_reset(script, front):
    """HEADERS and RST_STREAM for three seconds or until the connection is ended."""
    state = {"pairs": 0, "ended": None}

    def attack():
        sock, stream = front.raw(), 1
        listener = Listener(sock)
        sock.sendall(hostile.OPENING)
        began = time.monotonic()
        while time.monotonic() - began < 3 and state["ended"] is None:
            try:
                sock.sendall(b"".join(hostile.frame(1, 4, s, hostile.HEADERS) + hostile.frame(3, 0, s, b"\0\0\0\x08")
                                      for s in range(stream, stream + 1000, 2)))
                state["pairs"] += 500
                stream += 1000
            except OSError:
                listener.over = True
            if listener.goodbye():
                state["ended"] = time.monotonic() - began
            yield
        sock.close()

    before, rss = calls_seen(front), front.server.rss_mib()
    slowest = served_meanwhile(script, front, attack())
    reached = calls_seen(front) - before
    print(f"# rapid reset through nginx: {state['pairs']} pairs sent, connection ended after {state['ended']} s, "
          f"{reached:.0f} calls reached pithd, slowest other {slowest} s")
    script.check("nginx_ends_a_connection_of_resets", state["ended"] is not None, state)
    script.check("few_of_the_resets_reach_pithd", reached < state["pairs"] / 2 + 500, (reached, state))
    script.check("others_are_served_beside_resets_at_nginx", slowest is not None and slowest < 5, slowest)
    grown = front.server.rss_mib() - rss
    script.check("resets_at_nginx_do_not_grow_pithd", grown < (300 if front.server.is_sanitized() else 60), grown)


def header_blocks(script, front):
    """Blocks that are too long or never end are answered or cut by nginx; pithd does not see them."""
    before = calls_seen(front)
    sock = front.raw()
    sent, ended, began = 0, False, time.monotonic()
    value = b"\x00\x01x\x7f" + bytes([0x81, 0xff, 0xff, 0xff, 0x03])
    listener = Listener(sock)
    try:
        sock.sendall(hostile.OPENING + hostile.frame(1, 0, 1, hostile.HEADERS + value + b"a" * 8000))
        while sent < 4 << 20 and not ended:
            sock.sendall(hostile.frame(9, 0, 1, b"a" * 16000))
            sent += 16000
            ended = listener.goodbye()
    except OSError:
        ended = True
    ended = ended or listener.goodbye(3)
    print(f"# header block without end at nginx: ended {ended} after {sent} bytes and {time.monotonic() - began:.2f} s")
    script.check("nginx_ends_a_header_block_without_end", ended, sent)
    big = [("x-big", "a" * 17000)]
    call = script.compress(front.channel())
    code, text, _, _ = script.failure(lambda: call(script.request(text="x"), timeout=20, metadata=big))
    script.check("a_header_over_the_bound_fails_its_call", code != "OK", (code, text))
    print(f"# a header of 17,000 bytes at nginx: {code} {text}")
    script.check("pithd_sees_none_of_it", calls_seen(front) == before, (before, calls_seen(front)))
    script.check("others_are_served_after_header_blocks",
                 script.compress(front.channel())(script.request(text="x 1"), timeout=20).input_words == 2)


def gone(script, front):
    call = script.compress(front.channel())
    call(script.request(text="x"), timeout=20)
    front.server.stop()
    code, _, _, _ = script.failure(lambda: call(script.request(text="x"), timeout=20))
    script.check("behind_nginx_a_server_that_is_gone_is_unavailable", code == "UNAVAILABLE", code)


def count(codes):
    return dict(collections.Counter(codes))


def out_of_descriptors(script):
    """Connections that take every descriptor nginx has, then calls that take every one pithd has."""
    front = Front(script, fds=100, pithd_fds=96 if script.args.fake else None)
    known = script.compress(front.channel())
    ask = lambda call, text="x": script.failure(lambda: call(script.request(text=text), timeout=20))[0]
    ask(known)
    flood = []
    for _ in range(300):
        try:
            flood.append(socket.create_connection(("127.0.0.1", front.port), timeout=5))
        except OSError:
            pass
    full = wait_until(lambda: "Too many open files" in front.said(), 5)
    codes = [ask(known) for _ in range(5)]
    print(f"# nginx out of descriptors: {len(flood)} connections, a known one's calls: {count(codes)}")
    script.check("nginx_says_that_it_is_out_of_descriptors", full, front.said())
    script.check("a_known_connection_is_served_while_nginx_is_out_of_descriptors", codes == ["OK"] * 5, codes)
    for sock in flood:
        sock.close()
    script.check("nginx_serves_new_connections_after_the_flood",
                 wait_until(lambda: ask(script.compress(front.channel())) == "OK", 20), front.said())
    if script.args.fake:
        calls = [known.future(script.request(text="@delay=1500 x"), timeout=20) for _ in range(40)]
        codes = [script.failure(one.result)[0] for one in calls]
        print(f"# 40 calls at once where pithd takes 24 connections: {count(codes)}")
        script.check("calls_over_pithds_descriptors_are_unavailable_and_the_others_answered",
                     10 <= codes.count("OK") <= 24 and set(codes) == {"OK", "UNAVAILABLE"}, count(codes))
        script.check("every_call_is_served_once_they_are_free_again",
                     wait_until(lambda: ask(known) == "OK", 10) and [ask(known) for _ in range(20)] == ["OK"] * 20)
    front.stop()


def nginx(script):
    if script.args.pithd is None:
        return
    if find_nginx() is None or shutil.which("openssl") is None:
        print("skip nginx: not installed (deploy/bootstrap.sh gets it)")
        return
    front = Front(script)
    script.check("nginx_takes_our_configuration", front.up, front.said())
    if front.up:
        for part in (passes, rapid_reset, header_blocks, gone):
            part(script, front)
    front.stop()
    out_of_descriptors(script)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(nginx))
