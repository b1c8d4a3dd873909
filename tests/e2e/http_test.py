"""The HTTP port: Headroom's contract, bounds, probes, metrics, log lines."""
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from support import Script, wait_until

MIB = 1 << 20
CAP = 300000 # --max-text-bytes of the servers here
WORDS = "2026-11-21 11:02:07 worker-3 ERROR retry 4 of 5 failed for /srv/data/part-00017 after 2.5s\n"


def start(script, *args):
    return script.start("--http", "127.0.0.1:0", "--max-text-bytes", str(CAP), *args)


def ask(server, method, path, body=None, headers=None, timeout=30):
    """(status, headers, body) over a connection of its own."""
    connection = http.client.HTTPConnection(server.http, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def compress(server, content, ratio=None, **kwargs):
    status, headers, body = ask(server, "POST", "/compress",
                                json.dumps({"content": content, "target_ratio": ratio}), **kwargs)
    return status, headers, json.loads(body)


def metric(server, series):
    _, _, page = ask(server, "GET", "/metrics")
    found = re.search("^" + re.escape(series) + r" (\S+)$", page.decode(), re.M)
    return float(found.group(1)) if found else None


def raw(server, data, seconds=20, half_close=False):
    """Sends bytes, reads until the server closes or is silent."""
    host, port = server.http.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=seconds) as peer:
        peer.sendall(data)
        if half_close:
            peer.shutdown(socket.SHUT_WR)
        seen = b""
        try:
            while True:
                piece = peer.recv(65536)
                if not piece:
                    return seen
                seen += piece
        except OSError: # silent, or reset
            return seen


def answers(script):
    server = start(script)
    status, headers, reply = compress(server, WORDS * 20)
    script.check("compress_answers_with_the_contracts_fields",
                 status == 200 and headers["Content-Type"] == "application/json" and
                 set(reply) == {"compressed", "original_tokens", "compressed_tokens",
                                "compression_ratio", "model_used"}, (status, headers, reply))
    script.check("tokens_are_words_and_the_ratio_is_their_quotient",
                 reply["original_tokens"] == 260 and
                 abs(reply["compression_ratio"] - reply["compressed_tokens"] / 260) < 1e-5 and
                 len(reply["compressed"].split()) <= 260, reply)
    grpc_reply = script.compress(script.channel(own=True, addr=server.addr))(
        script.request(text=WORDS * 20), timeout=30)
    script.check("the_bytes_are_those_of_grpc", grpc_reply.text == reply["compressed"], reply)
    odd = "tab\tquote\" back\\slash nul\0 7 ünïcode 語 \u2028 end42"
    _, _, reply = compress(server, odd, 1.0)
    script.check("odd_characters_survive", "nul\0" in reply["compressed"] and
                 "end42" in reply["compressed"], reply)
    status, _, reply = compress(server, "", 0.5)
    script.check("an_empty_text_passes_through", status == 200 and reply["compressed"] == "" and
                 reply["compression_ratio"] == 1.0, reply)
    _, headers, _ = compress(server, "x", headers={"x-request-id": "abc-123"})
    script.check("a_request_id_is_echoed", headers.get("x-request-id") == "abc-123", headers)
    server.stop()


def bad_bodies(script):
    server = start(script)
    deep = b"[" * 5000 + b"]" * 5000
    many = b'{"content":"a","x":[' + b",".join([b"1"] * 5000) + b"]}"
    for name, body in {
            "empty": b"", "no_json": b"content=x", "cut": b'{"content":"a', "list": b"[]", "text": b'"a"',
            "no_content": b"{}", "null_content": b'{"content":null}', "number": b'{"content":5}',
            "twice": b'{"content":"a","content":"b"}', "more_behind": b'{"content":"a"} x',
            "bad_utf8": b'{"content":"\xff\xfe"}', "surrogate": b'{"content":"\\ud800"}',
            "utf16": '{"content":"a"}'.encode("utf-16"), "deep": b'{"content":"a","x":' + deep + b"}",
            "many": many, "ratio_text": b'{"content":"a","target_ratio":"0.5"}',
            "ratio_zero": b'{"content":"a","target_ratio":0}',
            "ratio_over_one": b'{"content":"a","target_ratio":1.01}',
            "ratio_negative": b'{"content":"a","target_ratio":-0.5}',
            "ratio_huge": b'{"content":"a","target_ratio":1e999}',
            "ratio_nan": b'{"content":"a","target_ratio":NaN}',
            "ratio_true": b'{"content":"a","target_ratio":true}'}.items():
        status, _, reply = ask(server, "POST", "/compress", body)
        script.check(f"a_body_that_is_{name}_is_refused", status == 400 and
                     json.loads(reply)["error"]["code"] == "INVALID_ARGUMENT", (status, reply))
    status, _, reply = ask(server, "POST", "/compress", b'{"content":"abcd 42","x":{"y":[1,2]},"ratio":7}')
    script.check("keys_that_are_not_known_are_ignored", status == 200, (status, reply))
    for path, method, expected in (("/compress", "GET", 405), ("/metrics", "POST", 405), ("/", "GET", 404),
                                   ("/compress/", "POST", 404), ("/v1/../compress", "POST", 404)):
        status, headers, _ = ask(server, method, path, b"" if method == "POST" else None)
        script.check(f"{method}_{path}_is_{expected}", status == expected and
                     (expected != 405 or "Allow" in headers), (status, headers))
    server.stop()


def bounds(script):
    server = start(script)
    at_cap = "word 42" + " " * (CAP - 7) # little for a model to do
    status, _, _ = compress(server, at_cap)
    script.check("a_text_at_the_cap_is_accepted", status == 200, status)
    status, _, reply = compress(server, at_cap + " ")
    script.check("one_byte_over_the_cap_is_refused", status == 413, (status, reply))
    escaped = '{"content":"' + "word 42" + "\\u0020" * (CAP // 2) + '"}'
    status, _, reply = ask(server, "POST", "/compress", escaped)
    script.check("an_escaped_text_at_the_cap_is_accepted", status == 200, (status, reply))
    head = b"POST /compress HTTP/1.1\r\nHost: x\r\n"
    seen = raw(server, head + b"Content-Length: 99999999999\r\n\r\n")
    script.check("an_announced_body_over_the_cap_is_refused_unread", b" 413 " in seen.split(b"\r\n")[0], seen)
    seen = raw(server, head + b"Content-Length: 99999999999999999999999999\r\n\r\n")
    script.check("an_absurd_length_is_refused", seen[9:10] == b"4", seen)
    chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    seen = raw(server, head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunk * 16 + b"0\r\n\r\n")
    script.check("a_chunked_body_over_the_cap_is_refused", b" 413 " in seen.split(b"\r\n")[0], seen[:300])
    seen = raw(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"x-a: " + b"b" * 100000 + b"\r\n\r\n")
    script.check("a_header_block_over_the_bound_is_refused", b" 431 " in seen.split(b"\r\n")[0], seen[:300])
    for name, data in {"noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
                       "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64,
                       "nul_in_header": b"GET /livez HTTP/1.1\r\nHo\0st: x\r\n\r\n",
                       "bad_chunk": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"}.items():
        raw(server, data, seconds=2, half_close=True)
        status, _, _ = ask(server, "GET", "/livez")
        script.check(f"the_server_lives_after_{name}", status == 200, status)
    server.stop()


def connections(script):
    server = start(script)
    one = b'POST /compress HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s'
    bodies = [json.dumps({"content": f"first{i} 42"}).encode() for i in range(5)]
    burst = b"".join(one % (len(b), b) for b in bodies) + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    seen = raw(server, burst)
    order = [m.decode() for m in re.findall(rb"first\d", seen)]
    script.check("pipelined_requests_are_answered_in_order",
                 order == [f"first{i}" for i in range(5)] and seen.endswith(b"live\n"), seen)
    kept = http.client.HTTPConnection(server.http, timeout=20)
    codes = []
    for path in ("/livez", "/readyz", "/v1/models", "/metrics", "/livez"):
        kept.request("GET", path)
        reply = kept.getresponse()
        reply.read()
        codes.append((reply.status, kept.sock is not None))
    script.check("a_connection_is_kept_between_requests", codes == [(200, True)] * 5, codes)
    kept.close()
    server.stop()
    if not script.args.fake:
        return
    server = start(script, "--http-connections", "8", "--http-receive-ms", "1500")
    host, port = server.http.rsplit(":", 1)
    open_ones = [socket.create_connection((host, int(port))) for _ in range(8)]
    for peer in open_ones[:4]:
        peer.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
    for peer in open_ones[4:]:
        peer.sendall(b"POST /compress HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    end = time.monotonic() + 8
    alive = list(open_ones)
    while alive and time.monotonic() < end:
        for peer in list(alive):
            try:
                peer.settimeout(0.01)
                peer.sendall(b"x")
                if peer.recv(100) == b"":
                    alive.remove(peer)
            except socket.timeout:
                pass
            except OSError:
                alive.remove(peer)
        time.sleep(0.1)
    script.check("a_peer_that_sends_a_byte_now_and_then_is_cut", not alive, len(alive))
    script.check("and_makes_room_for_others",
                 wait_until(lambda: ask(server, "GET", "/livez")[0] == 200), "")
    server.stop()


def waiting(script):
    if not script.args.fake:
        return
    server = start(script, "--max-jobs", "120")
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        futures = [pool.submit(compress, server, f"@delay=800 word{i}") for i in range(100)]
        time.sleep(0.5)
        with open(f"/proc/{server.process.pid}/status") as status:
            threads = [int(line.split()[1]) for line in status if line.startswith("Threads")][0]
        began = time.monotonic()
        ask(server, "GET", "/livez")
        probe = time.monotonic() - began
        replies = [f.result() for f in futures]
    script.check("a_hundred_texts_wait_without_a_thread_each", threads < 40 and probe < 0.5, (threads, probe))
    script.check("each_gets_its_own_answer", all(r[0] == 200 and r[2]["compressed"].endswith(f"word{i}")
                                                 for i, r in enumerate(replies)), replies[:3])
    status, headers, reply = compress(server, "@refuse=EXHAUSTED x")
    script.check("a_full_queue_is_503_with_retry_after", status == 503 and int(headers["Retry-After"]) >= 1 and
                 reply["error"]["code"] == "RESOURCE_EXHAUSTED", (status, headers, reply))
    status, headers, reply = compress(server, "@status=EXHAUSTED @retry=2500 x")
    script.check("the_engines_delay_is_rounded_up", headers["Retry-After"] == "3", headers)
    for name, expected in (("INTERNAL", 500), ("DEADLINE", 504), ("UNAVAILABLE", 503), ("INVALID", 400)):
        status, _, reply = compress(server, f"@status={name} x")
        script.check(f"a_reply_of_{name}_is_{expected}", status == expected and
                     (name != "INTERNAL" or reply["error"]["message"] == "internal error"), (status, reply))
    before = metric(server, "pith_jobs_cancelled_total")
    host, port = server.http.rsplit(":", 1)
    body = b'{"content":"@delay=15000 x"}'
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"POST /compress HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        time.sleep(0.5)
    script.check("a_peer_that_leaves_has_its_text_cancelled",
                 wait_until(lambda: metric(server, "pith_jobs_cancelled_total") == before + 1), before)
    script.check("nothing_is_left_in_flight", metric(server, "pith_jobs_in_flight") == 0)
    server.stop()


def metrics(script):
    server = start(script, "--log", "json")
    _, headers, page = ask(server, "GET", "/metrics")
    page = page.decode()
    script.check("metrics_have_their_content_type",
                 headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers)
    missing = [name for name in (
        'pith_requests_total{method="POST /compress",code="OK",reason=""} 0',
        'pith_requests_total{method="pith.v1.CompressionService/Compress",code="RESOURCE_EXHAUSTED",reason="QUEUE_FULL"} 0',
        'pith_requests_waiting{class="interactive"} 0', "pith_requests_running 0",
        'pith_request_duration_seconds_count{method="POST /compress"} 0', "pith_request_queue_seconds_count 0",
        "pith_request_tokenize_seconds_count 0", 'pith_request_inference_seconds_count{phase="encode"} 0',
        "pith_batch_size_count 0", "pith_batch_tokens_count 0", 'pith_tokens_total{kind="kept"} 0',
        'pith_passed_through_total{reason="too_short"} 0', "pith_drain_seconds 0", "pith_grpc_calls_refused_total 0",
        'grpc_server_call_duration_seconds_count{grpc_method="pith.v1.CompressionService/Compress",'
        'grpc_status="UNAVAILABLE"} 0', 'grpc_server_call_duration_seconds_count{grpc_method="other",'
        'grpc_status="OK"} 0', "pith_http_peers_gone_total 0",
        "pith_gpu_saturated_values_total 0", "pith_gpu_kernel_mismatch 0") if name not in page]
    if not script.args.fake: # the warm-up has run a batch
        missing = [name for name in missing if not name.startswith("pith_batch")]
    script.check("every_series_is_there_from_the_start_at_zero", not missing, missing)
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True)
        script.check("promtool_finds_nothing", done.returncode == 0 and not done.stdout + done.stderr,
                     done.stdout + done.stderr)
    else:
        print("skip promtool_finds_nothing: promtool is not installed")
    secret = "swordfish9000"
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    compress(server, f"{secret} is the text", headers={"traceparent": trace, "x-request-id": "id-7"})
    compress(server, secret, 7)
    call = script.compress(script.channel(own=True, addr=server.addr))
    call(script.request(id="g-1", text=f"{secret} again"), timeout=20)
    script.failure(lambda: call(script.request(text=secret, target_ratio=3), timeout=20))
    name = 'pith_requests_total{method="%s",code="%s",reason="%s"}'
    counts = [metric(server, name % key) for key in (
        ("POST /compress", "OK", ""), ("POST /compress", "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ("pith.v1.CompressionService/Compress", "OK", ""),
        ("pith.v1.CompressionService/Compress", "INVALID_ARGUMENT", "INVALID_REQUEST"))]
    script.check("requests_are_counted_by_method_code_and_reason", counts == [1, 1, 1, 1], counts)
    health = script.unary(script.channel(own=True, addr=server.addr), "/grpc.health.v1.Health/Check",
                          "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")
    health(script.messages["grpc.health.v1.HealthCheckRequest"](), timeout=10)
    ended = 'grpc_server_call_duration_seconds_count{grpc_method="%s",grpc_status="%s"}'
    own = "pith.v1.CompressionService/Compress"
    script.check("calls_are_timed_by_method_and_status", wait_until(lambda: [
        metric(server, ended % key) for key in ((own, "OK"), (own, "INVALID_ARGUMENT"), ("other", "OK"))] == [1, 1, 1]),
                 [line for line in ask(server, "GET", "/metrics")[2].decode().splitlines() if "grpc_server" in line and
                  "_count" in line and not line.endswith(" 0")])
    if script.args.fake:
        script.failure(lambda: call(script.request(text="@delay=5000 late"), timeout=1))
        wait_until(lambda: metric(server, "pith_jobs_in_flight") == 0)
        slow = call.future(script.request(text="@delay=5000 late"))
        wait_until(lambda: metric(server, "pith_jobs_in_flight") == 1)
        slow.cancel()
        script.check("calls_that_ran_out_of_time_or_were_cancelled_are_told_apart", wait_until(lambda: [
            metric(server, ended % (own, code)) for code in ("DEADLINE_EXCEEDED", "CANCELLED")] == [1, 1]))
    n_requests = 6 if script.args.fake else 4
    server.stop()
    lines = [json.loads(line) for line in server.lines if line.startswith("{")]
    requests = [line for line in lines if line["message"] == "request"]
    script.check("each_request_is_one_json_line", len(requests) == n_requests, server.lines)
    script.check("a_line_has_the_id_the_trace_and_the_time",
                 requests[0]["id"] == "id-7" and requests[0]["trace"] == trace[3:35] and requests[0]["ms"] > 0 and
                 requests[0]["text_bytes"] == 25 and requests[1]["field"] == "target_ratio", requests[:2])
    script.check("no_line_has_a_requests_text", secret not in "".join(server.lines), server.lines)


def keys(script):
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
        file.write("free 0123456789abcdef-free\npoor 0123456789abcdef-poor 1 40\n")
        file.flush()
        server = start(script, "--keys", file.name)
        show = lambda key: {"Authorization": f"Bearer {key}"}
        body = json.dumps({"content": "word 42 " * 10})
        for name, headers in {"no_key": {}, "another_key": show("0123456789abcdef-none"),
                              "another_scheme": {"Authorization": "Basic 0123456789abcdef-free"}}.items():
            status, headers, _ = ask(server, "POST", "/compress", body, headers)
            script.check(f"{name}_is_401", status == 401 and headers.get("WWW-Authenticate") == "Bearer", headers)
        script.check("models_want_a_key_too", ask(server, "GET", "/v1/models")[0] == 401 and
                     ask(server, "GET", "/v1/models", headers=show("0123456789abcdef-free"))[0] == 200)
        script.check("probes_and_metrics_want_none",
                     [ask(server, "GET", p)[0] for p in ("/livez", "/readyz", "/metrics")] == [200] * 3)
        codes = [ask(server, "POST", "/compress", body, show("0123456789abcdef-free"))[0] for _ in range(5)]
        script.check("a_key_without_a_rate_has_no_limit", codes == [200] * 5, codes)
        replies = [ask(server, "POST", "/compress", body, show("0123456789abcdef-poor")) for _ in range(5)]
        last = replies[-1]
        script.check("a_key_that_has_used_up_its_tokens_is_429",
                     replies[0][0] == 200 and last[0] == 429 and int(last[1]["Retry-After"]) >= 1, last)
        server.stop()


def placeholders(script):
    """Headroom puts {{HEADROOM_TAG_n}} where a protected tag stood; a lost one is a lost block."""
    if script.args.fake:
        return
    words = [f"w{i} ordinary filler text that nobody needs to keep" for i in range(80)]
    tags = ["{{HEADROOM_TAG_%d}}" % k for k in (0, 3, 4, 5, 12, 40)]
    for tag, at, form in zip(tags, (0, 20, 21, 22, 50, 79), ("%s", "%s", "\n%s\n", ",%s.", "(%s)", "<%s>")):
        words[at] += " " + form % tag
    text = " ".join(words)
    for profile in ("faithful", "kompress"):
        server = start(script, "--http-profile", profile)
        for ratio in (None, 0.05, 0.3, 0.6, 1.0):
            _, _, reply = compress(server, text, ratio)
            found = re.findall(r"\{\{HEADROOM_TAG_\d+\}\}", reply["compressed"])
            script.check(f"placeholders_come_back_whole_in_{profile}_at_{ratio}", found == tags, reply)
        server.stop()


def self_signed(chain, key):
    """Both files anew, each in place at once."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key + ".new", "-out", chain + ".new"], check=True, capture_output=True)
    for name in (key, chain):
        os.replace(name + ".new", name)


def tls(script):
    if shutil.which("openssl") is None:
        print("skip tls: no openssl program to make a certificate with")
        return
    folder = tempfile.mkdtemp()
    chain, key = f"{folder}/chain.pem", f"{folder}/key.pem"
    self_signed(chain, key)
    server = start(script, "--tls-cert", chain, "--tls-key", key)
    first = ssl.create_default_context(cafile=chain)

    def secure(method, path, body=None, context=first):
        connection = http.client.HTTPSConnection(server.http, timeout=30, context=context)
        connection.request(method, path, body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    status, body = secure("POST", "/compress", json.dumps({"content": WORDS * 400}))
    script.check("compress_works_over_tls", status == 200 and json.loads(body)["original_tokens"] == 5200, status)
    script.check("probes_are_behind_tls_too", secure("GET", "/livez") == (200, b"live\n"))
    script.check("plain_text_gets_nothing", not raw(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 12).startswith(b"HTTP"))
    kept = http.client.HTTPSConnection(server.http, timeout=30, context=first)
    kept.request("GET", "/livez")
    kept.getresponse().read()
    self_signed(chain, key)
    second = ssl.create_default_context(cafile=chain)

    def trusted(context):
        try:
            return secure("GET", "/readyz", context=context)[0] == 200
        except ssl.SSLError:
            return False
    script.check("new_certificates_are_taken_up_by_http", wait_until(lambda: trusted(second), 15))
    script.check("the_old_certificate_of_http_is_gone", not trusted(first))
    kept.request("GET", "/livez")
    script.check("an_open_http_connection_outlives_its_certificate", kept.getresponse().read() == b"live\n")
    kept.close()
    with open(chain, "w", encoding="utf-8") as file:
        file.write("not a certificate\n")
    script.check("a_broken_certificate_of_http_changes_nothing", wait_until(
        lambda: any("http/1.1: the old certificates stay" in line for line in server.lines), 10) and trusted(second))
    if script.args.fake:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            slow = json.dumps({"content": "@delay=1500 word"})
            futures = [pool.submit(secure, "POST", "/compress", slow, second) for _ in range(4)]
            time.sleep(0.5)
            server.signal()
            codes = [f.result()[0] for f in futures]
        script.check("texts_in_flight_over_tls_are_answered_in_a_drain", codes == [200] * 4, codes)
    server.stop()


def refuses(server):
    try:
        ask(server, "GET", "/livez", timeout=3)
        return False
    except OSError:
        return True


def drain(script):
    if not script.args.fake:
        return
    server = start(script, "--drain-ms", "5000")
    kept = http.client.HTTPConnection(server.http, timeout=20)
    kept.request("GET", "/readyz")
    script.check("a_server_that_serves_is_ready", kept.getresponse().read() == b"ready\n")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(compress, server, f"@delay=3000 word{i}") for i in range(8)]
        time.sleep(0.3)
        server.signal()
        time.sleep(0.1)
        kept.request("GET", "/readyz")
        reply = kept.getresponse()
        reply.read()
        script.check("a_draining_server_is_not_ready", reply.status == 503, reply.status)
        script.check("metrics_say_how_long_the_drain_has_lasted", 0 < metric(server, "pith_drain_seconds") < 5)
        time.sleep(0.8) # the lame duck is over
        script.check("a_draining_server_takes_no_connections", refuses(server))
        script.check("texts_in_flight_are_answered", all(f.result()[0] == 200 for f in futures))
    began = time.monotonic()
    server.stop()
    script.check("the_process_leaves_soon_after", time.monotonic() - began < 4)
    server = start(script, "--drain-ms", "300")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(compress, server, "@delay=15000 x")
        time.sleep(0.3)
        began = time.monotonic()
        server.signal()
        status, headers, _ = future.result()
    script.check("a_text_over_the_grace_is_cut_with_503", status == 503 and time.monotonic() - began < 8 and
                 "Retry-After" in headers, (status, headers))
    server.stop()
    script.check("the_cut_is_counted", any("cut 1" in line for line in server.lines), server.lines)


def stalled(script):
    """An engine thread that stands for four seconds: both ports say so and answer, then it goes on."""
    if not script.args.fake:
        return
    server = start(script, "--health", "127.0.0.1:0")
    check = script.unary(script.channel(own=True, addr=server.health), "/grpc.health.v1.Health/Check",
                         "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")

    def look():
        """(/livez, its text, /readyz, gRPC's liveness, the metric)."""
        live, ready = ask(server, "GET", "/livez"), ask(server, "GET", "/readyz")
        status = check(script.messages["grpc.health.v1.HealthCheckRequest"](service="liveness"), timeout=10).status
        return live[0], live[2], ready[0], status, metric(server, 'pith_engine_state{state="stalled"}')

    before = look()
    script.check("an_engine_that_beats_is_live_and_ready", before == (200, b"live\n", 200, 1, 0), before)
    seen, slowest, began = [before], 0, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        text = pool.submit(compress, server, "@freeze=4000 word")
        while time.monotonic() - began < 6 and (len(seen) < 3 or seen[-1] != before):
            asked = time.monotonic()
            now = look()
            slowest = max(slowest, time.monotonic() - asked)
            seen += [now] if now != seen[-1] else []
            time.sleep(0.05)
        status = text.result()[0]
    script.check("livez_of_a_stalled_engine_is_503", any(one[:3] == (503, b"stalled\n", 503) for one in seen), seen)
    script.check("all_of_them_say_that_it_stalls", (503, b"stalled\n", 503, 2, 1) in seen, seen)
    script.check("and_live_again_when_it_moves", seen[-1] == before and status == 200, (seen, status))
    script.check("probes_of_a_stalled_engine_are_answered_at_once", slowest < 2, slowest)
    server.stop()


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(answers, bad_bodies, bounds, connections, waiting, metrics, keys, placeholders, tls, stalled, drain))
