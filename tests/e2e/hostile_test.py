"""Bytes and behaviour of peers that mean harm: the server stays up and serves others."""
import random
import socket
import struct
import subprocess
import sys
import threading
import time

from support import Script, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


SETTINGS = frame(4, 0, 0)
OPENING = PREFACE + SETTINGS
HEADERS = b"".join([literal(b":method", b"POST"), literal(b":scheme", b"http"),
                    literal(b":path", b"/pith.v1.CompressionService/Compress"),
                    literal(b":authority", b"x"), literal(b"content-type", b"application/grpc"),
                    literal(b"te", b"trailers")])


def grpc_message(payload, flag=0):
    return bytes([flag]) + struct.pack(">I", len(payload)) + payload


MALFORMED = {
    "nothing": b"",
    "http1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a_tls_hello": bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 190,
    "half_a_preface": PREFACE[:12],
    "garbage_after_the_preface": PREFACE + b"\xa5" * 4096,
    "no_settings": PREFACE + frame(1, 4, 1, HEADERS),
    "an_oversized_frame": OPENING + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100000,
    "data_on_stream_0": OPENING + frame(0, 0, 0, b"xx"),
    "an_even_stream": OPENING + frame(1, 4, 2, HEADERS),
    "headers_without_end": OPENING + frame(1, 0, 1, HEADERS) + frame(6, 0, 0, b"12345678"),
    "bad_hpack": OPENING + frame(1, 4, 1, b"\xff" * 64),
    "a_huge_hpack_number": OPENING + frame(1, 4, 1, b"\xff" + b"\xff" * 20),
    "a_zero_window_update": OPENING + frame(8, 0, 0, b"\0\0\0\0"),
    "a_window_overflow": OPENING + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "short_settings": PREFACE + frame(4, 0, 0, b"abc"),
    "a_short_ping": OPENING + frame(6, 0, 0, b"abc"),
    "a_reset_of_nothing": OPENING + frame(3, 0, 7, b"\0\0\0\1"),
    "a_compressed_flag": OPENING + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, grpc_message(b"\x12\x01a", 1)),
    "a_bad_flag": OPENING + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, grpc_message(b"a", 7)),
    "a_lying_length": OPENING + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, b"\0\xff\xff\xff\xffa"),
    "a_truncated_message": OPENING + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, b"\0\0\0\0\x10abc"),
    "no_path": OPENING + frame(1, 5, 1, literal(b":method", b"POST")),
    "a_bad_timeout": OPENING + frame(1, 4, 1, HEADERS + literal(b"grpc-timeout", b"zzzz")) +
                     frame(0, 1, 1, grpc_message(b"")),
    "an_upper_case_header": OPENING + frame(1, 5, 1, HEADERS + literal(b"X-Foo", b"1")),
    "a_push_promise": OPENING + frame(5, 4, 1, b"\0\0\0\2" + HEADERS),
    "a_lone_continuation": OPENING + frame(9, 4, 1, HEADERS),
    "bad_base64_metadata": OPENING + frame(1, 4, 1, HEADERS + literal(b"x-bin", b"!!!!")) +
                           frame(0, 1, 1, grpc_message(b"")),
}


def connect(script, addr=None):
    host, port = (addr or script.addr).rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout=5)
    return sock


def alive(script, addr=None):
    channel = script.channel(own=True, addr=addr)
    try:
        return script.compress(channel)(script.request(text="still here 1"), timeout=20).input_words == 3
    finally:
        channel.close()


def malformed_bytes(script):
    for name, data in MALFORMED.items():
        sock = connect(script)
        sock.settimeout(0.05)
        try:
            sock.sendall(data)
            while sock.recv(65536):
                pass
        except OSError:
            pass
        sock.close()
        script.check(f"{name}_is_survived", alive(script))
    rng = random.Random(7)
    good = OPENING + frame(1, 4, 1, HEADERS) + frame(0, 1, 1, grpc_message(b"\x12\x05hello"))
    for i in range(500):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(PREFACE) if i % 3 else 0, len(data))] = rng.randrange(256)
        sock = connect(script)
        try:
            sock.sendall(bytes(data[:rng.randint(30, len(data))] if i % 5 == 0 else data))
        except OSError:
            pass
        sock.close()
    script.check("500_mutated_connections_are_survived", alive(script))


def is_cut(sock, seconds):
    sock.settimeout(seconds)
    try:
        return sock.recv(1) == b""
    except socket.timeout:
        return False
    except OSError:
        return True


def wrong_openings_are_cut(script):
    sock = connect(script)
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    script.check("a_peer_of_another_protocol_is_cut_at_once", is_cut(sock, 2))
    mute, slow = connect(script), connect(script)
    slow.sendall(PREFACE[:10])
    script.check("a_mute_peer_is_cut_after_5_seconds", not is_cut(mute, 3) and is_cut(mute, 6))
    script.check("a_peer_that_stops_in_the_preface_is_cut", is_cut(slow, 3))


def reset_flood(sock, seconds, state):
    """HEADERS and RST_STREAM as fast as the socket takes them, until the server cuts us."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not state["cut"]:
        first = state["stream"]
        burst = b"".join(frame(1, 4, s, HEADERS) + frame(3, 0, s, b"\0\0\0\x08")
                         for s in range(first, first + 200, 2))
        state["stream"] += 200
        try:
            sock.sendall(burst)
            sock.setblocking(False)
            try:
                state["cut"] = sock.recv(1 << 20) == b""
            except BlockingIOError:
                pass
            sock.settimeout(5)
        except OSError:
            state["cut"] = True


def rapid_reset(script):
    """The connection is cut at once, every call made meanwhile is answered, and memory stays."""
    before = script.server.rss_mib() if script.server else 0
    sock = connect(script)
    sock.sendall(OPENING)
    state = {"stream": 1, "cut": False}
    flood = threading.Thread(target=reset_flood, args=(sock, 8, state))
    started = time.monotonic()
    flood.start()
    slowest, served = 0, True
    while flood.is_alive():
        began = time.monotonic()
        served = alive(script) and served
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.1)
    flood.join()
    lasted = time.monotonic() - started
    print(f"# rapid reset: {state['stream'] // 2} streams, cut {state['cut']} in {lasted:.2f} s, "
          f"slowest {slowest:.2f} s")
    log = script.server.lines[-5:] if script.server else []
    script.check("rapid_reset_gets_the_connection_cut", state["cut"] and lasted < 2, (state, lasted, log))
    script.check("others_are_served_during_rapid_reset", served and slowest < script.patience(1), slowest)
    began = time.monotonic()
    script.check("others_are_served_after_rapid_reset", alive(script) and time.monotonic() - began < 5)
    if script.server and not script.server.is_sanitized():
        grown = script.server.rss_mib() - before
        script.check("rapid_reset_does_not_grow_memory", grown < 100, grown)


def ask_and_never_read(script, sock):
    """Sixty texts whose answers, some megabytes, are never taken: the core's writes stay under way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(PREFACE + frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(8, 0, 0, b"\x7f\xff\0\0"))
    message = grpc_message(script.request(text="a 1 " * 3900, explain=True).SerializeToString())
    for stream in range(1, 121, 2):
        sock.sendall(frame(1, 4, stream, HEADERS) + frame(0, 1, stream, message))
        time.sleep(0.03)  # the server opens its window again meanwhile


def drains_beside(script, server, sock, name):
    """The server has a grace of a second: a peer that takes nothing does not lengthen it."""
    ask_and_never_read(script, sock)
    began = time.monotonic()
    server.signal()
    try:
        server.wait(20)
        lasted = time.monotonic() - began
    except subprocess.TimeoutExpired:
        lasted = None
        server.process.kill()
    sock.close()
    cut = [line for line in server.lines if "that took nothing" in line]
    script.check(name, lasted is not None and lasted < 10 and len(cut) == 1, (lasted, server.lines[-3:]))


def slowest_meanwhile(script, running):
    """Longest wait of other clients' calls for as long as running() holds; None when one failed."""
    slowest = 0
    while running():
        began = time.monotonic()
        if not alive(script):
            return None
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.05)
    return slowest


def reset_floods_that_come_back(script):
    burst = OPENING + b"".join(frame(1, 4, s, HEADERS) + frame(3, 0, s, b"\0\0\0\x08")
                               for s in range(1, 2400, 2))
    end = time.monotonic() + 3

    def attack():
        while time.monotonic() < end:
            try:
                with connect(script) as sock:
                    sock.sendall(burst)
                    while sock.recv(65536):
                        pass
            except OSError:
                pass

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    for one in attackers:
        one.start()
    slowest = slowest_meanwhile(script, lambda: time.monotonic() < end)
    for one in attackers:
        one.join()
    limit = 5 if script.args.fake else 1  # the sanitizers' share
    script.check("others_are_served_while_reset_floods_come_back",
                 slowest is not None and slowest < limit, slowest)


def endless_header_block(script):
    """One header value that claims 1 GiB, in CONTINUATION frames (CVE-2023-33953)."""
    sock = connect(script)
    value = b"\x00\x01x\x7f" + bytes([0x81, 0xff, 0xff, 0xff, 0x03])
    sock.sendall(OPENING + frame(1, 0, 1, HEADERS + value + b"a" * 8000))
    sent, cut, began = 0, False, time.monotonic()
    while sent < 8 << 20 and not cut and time.monotonic() - began < 5:
        try:
            sock.sendall(frame(9, 0, 1, b"a" * 16000))
            sent += 16000
        except OSError:
            cut = True
    cut = cut or is_cut(sock, 2)
    script.check("a_header_block_without_end_is_cut", cut and time.monotonic() - began < 3, (sent, cut))
    began = time.monotonic()
    script.check("others_are_served_after_a_header_block_without_end",
                 alive(script) and time.monotonic() - began < script.patience(1))


def honest_cancels_are_not_cut(script):
    if not script.args.fake:
        return
    channel = script.channel(own=True)
    call = script.compress(channel)
    call(script.request(text="x"), timeout=20)
    for _ in range(3):
        calls = [call.future(script.request(text="@delay=20000 x")) for _ in range(150)]
        time.sleep(0.3)
        for one in calls:
            one.cancel()
    survivor = call.future(script.request(text="@delay=300 x"), timeout=20)
    script.check("cancelling_450_running_calls_keeps_the_connection", survivor.result().input_words == 2)


def out_of_descriptors(script):
    if script.args.pithd is None:
        return
    server = script.start(limit_fds=96 if script.args.fake else 200)
    kept = script.channel(own=True, addr=server.addr)
    script.compress(kept)(script.request(text="x"), timeout=20)
    flood = []
    for _ in range(300):
        try:
            sock = connect(script, server.addr)
            sock.sendall(OPENING)
            flood.append(sock)
        except OSError:
            pass
    script.check("a_known_connection_is_served_in_a_flood",
                 script.compress(kept)(script.request(text="x"), timeout=20).input_words == 1)
    for sock in flood:
        sock.close()
    script.check("new_connections_are_served_after_a_flood",
                 wait_until(lambda: script.failure(lambda: alive(script, server.addr))[0] == "OK", 20))
    server.stop()


def connection_cap(script):
    if not script.args.fake:
        return
    server = script.start("--max-connections", "8")
    flood = [connect(script, server.addr) for _ in range(20)]
    refused = sum(is_cut(sock, 0.2) for sock in flood)
    script.check("connections_over_the_cap_are_closed", refused >= 12, refused)
    for sock in flood:
        sock.close()
    script.check("the_cap_opens_again", wait_until(
        lambda: script.failure(lambda: alive(script, server.addr))[0] == "OK", 10))
    server.stop()


def gzip_bomb(script):
    before = script.server.rss_mib() if script.server else 0
    channel = script.channel(own=True, options=[("grpc.default_compression_algorithm", 2)])
    code, _, _, _ = script.failure(lambda: channel.unary_unary(
        "/pith.v1.CompressionService/Compress")(bytes(200 << 20), timeout=60))
    script.check("a_compression_bomb_is_not_inflated", code == "UNIMPLEMENTED", code)
    if script.server:
        grown = script.server.rss_mib() - before
        script.check("a_compression_bomb_does_not_grow_memory", grown < 100, grown)


def nesting(script):
    """Unknown fields are not entered; known ones cannot nest deeply: all of it is linear work."""
    raw = script.channel().unary_unary("/pith.v1.CompressionService/Compress")
    data = b""
    for _ in range(3000):
        size, length = len(data), b""
        while True:
            length += bytes([size & 127 | (128 if size > 127 else 0)])
            size >>= 7
            if size == 0:
                break
        data = b"\x62" + length + data
    began = time.monotonic()
    code, text, _, _ = script.failure(lambda: raw(data, timeout=20))
    script.check("3000_nested_messages_are_answered_at_once",
                 code in ("OK", "INVALID_ARGUMENT") and time.monotonic() - began < 5, (code, text))


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(malformed_bytes, wrong_openings_are_cut, rapid_reset, reset_floods_that_come_back,
                        endless_header_block, honest_cancels_are_not_cut, out_of_descriptors,
                        connection_cap, gzip_bomb, nesting))
