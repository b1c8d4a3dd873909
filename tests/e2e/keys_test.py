"""Bearer keys: who is let in, who is not, what a key may use, reload; and what needs no key."""
import concurrent.futures
import os
import signal
import sys
import tempfile
import time

import http_test
from support import Script, wait_until

GOOD = [("authorization", "Bearer first-key-0123456789")]
SMALL = [("authorization", "Bearer small-key-0123456789")]
NEW = [("authorization", "Bearer newer-key-0123456789")]


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def health(script, addr):
    check = script.unary(script.channel(own=True, addr=addr), "/grpc.health.v1.Health/Check",
                         "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")
    return check(script.messages["grpc.health.v1.HealthCheckRequest"](), timeout=10).status


def both_ports(script, server):
    """Connections come and go on two accept loops, which are given each other's descriptor numbers."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        states = list(pool.map(lambda addr: health(script, addr), [server.addr, server.health] * 30))
    script.check("probes_of_both_ports_are_answered_side_by_side", states == [1] * 60, states)


def keys(script):
    if script.args.pithd is None:
        return
    path = os.path.join(tempfile.mkdtemp(), "keys")
    write(path, "# two\nalice first-key-0123456789\nbob small-key-0123456789 100 300\n")
    server = http_test.start(script, "--keys", path, "--health", "127.0.0.1:0")
    channel = script.channel(own=True, addr=server.addr)
    call = script.compress(channel)
    ask = lambda metadata, text="a text of 4 words": script.failure(
        lambda: call(script.request(text=text), timeout=20, metadata=metadata))
    for name, metadata in {"no_key": [], "an_unknown_key": NEW,
                           "another_scheme": [("authorization", "Basic first-key-0123456789")]}.items():
        code, _, details, _ = ask(metadata)
        script.check(f"a_call_with_{name}_is_unauthenticated", code == "UNAUTHENTICATED" and
                     details["ErrorInfo"].reason == "NO_KEY" and details["RequestInfo"].request_id,
                     (code, details))
    script.check("a_call_with_a_key_is_served", ask(GOOD)[0] == "OK", ask(GOOD))
    stream = script.stream(channel)
    code, _, _, _ = script.failure(lambda: list(stream(iter([script.item(text="x")]), timeout=20)))
    script.check("a_stream_without_a_key_is_unauthenticated", code == "UNAUTHENTICATED", code)
    refused = {method: http_test.metric(server, f'pith_requests_total{{method="pith.v1.CompressionService/{method}",'
                                                'code="UNAUTHENTICATED",reason="NO_KEY"}')
               for method in ("Compress", "StreamCompress")}
    script.check("calls_without_a_key_are_counted", refused == {"Compress": 3, "StreamCompress": 1}, refused)
    n = len(list(stream(iter([script.item(text="x")]), timeout=20, metadata=GOOD)))
    script.check("a_stream_with_a_key_is_served", n == 1, n)
    script.check("health_needs_no_key", health(script, server.addr) == 1)
    script.check("the_port_of_health_needs_no_key", health(script, server.health) == 1)
    both_ports(script, server)
    code, _, _, _ = script.failure(lambda: script.compress(script.channel(own=True, addr=server.health))(
        script.request(text="x"), timeout=10, metadata=GOOD))
    script.check("the_port_of_health_serves_nothing_else", code == "UNIMPLEMENTED", code)
    buckets(script, ask)
    reload(script, server, path, ask)
    server.stop()


def buckets(script, ask):
    """300 tokens at once, 100 a second: 200 four-byte words are charged 250 each and are 200."""
    text = "word " * 200
    codes, refusal = [], None
    for _ in range(6):
        code, _, details, trailers = ask(SMALL, text)
        codes.append(code)
        refusal = (details, trailers) if code == "RESOURCE_EXHAUSTED" else refusal
    script.check("a_key_over_its_tokens_is_refused", codes[0] == "OK" and refusal is not None and
                 set(codes) <= {"OK", "RESOURCE_EXHAUSTED"}, codes)
    if refusal is None:
        return
    details, trailers = refusal
    wait = details["RetryInfo"].retry_delay.ToTimedelta().total_seconds()
    script.check("a_refusal_names_the_key_and_the_delay",
                 details["ErrorInfo"].reason == "KEY_QUOTA" and 0 < wait < 4 and
                 details["QuotaFailure"].violations[0].subject == "key:bob" and
                 int(trailers["grpc-retry-pushback-ms"]) == int(wait * 1000), (details, trailers))
    time.sleep(wait + 0.05)
    script.check("after_the_delay_it_is_served", ask(SMALL, text)[0] == "OK")
    script.check("another_key_is_not_touched", all(ask(GOOD, text)[0] == "OK" for _ in range(5)))


def reload(script, server, path, ask):
    write(path, "carol newer-key-0123456789\nalice first-key-0123456789\n")
    server.signal(signal.SIGHUP)
    script.check("a_new_key_is_known_after_a_hangup", wait_until(lambda: ask(NEW)[0] == "OK", 5))
    script.check("a_key_that_is_gone_is_unknown", ask(SMALL)[0] == "UNAUTHENTICATED")
    write(path, "carol newer-key-0123456789\nalice\n")
    before = len(server.lines)
    server.signal(signal.SIGHUP)
    wait_until(lambda: len(server.lines) > before, 5)
    script.check("a_broken_file_changes_nothing", ask(NEW)[0] == "OK" and ask(GOOD)[0] == "OK")


def loading(script):
    """The port answers before the model is there, and says so."""
    if not script.args.fake:
        return
    server = http_test.start(script, "--load-ms", "1500", "--health", "127.0.0.1:0")
    call = script.compress(script.channel(own=True, addr=server.addr))
    names = {"": 2, "pith.v1.CompressionService": 2, "liveness": 1}
    check = script.unary(script.channel(own=True, addr=server.health), "/grpc.health.v1.Health/Check",
                         "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")
    ask = lambda name: check(script.messages["grpc.health.v1.HealthCheckRequest"](service=name), timeout=10).status
    seen = {name: ask(name) for name in names}
    script.check("before_warm_up_it_lives_and_does_not_serve", seen == names, seen)
    code, _, details, _ = script.failure(lambda: call(script.request(text="x"), timeout=10))
    script.check("before_warm_up_a_call_is_unavailable", code == "UNAVAILABLE" and
                 details["ErrorInfo"].reason == "LOADING" and "RetryInfo" in details, (code, details))
    pages = {path: http_test.ask(server, "GET", path)[0] for path in ("/livez", "/readyz", "/v1/models", "/metrics")}
    script.check("before_warm_up_http_lives_and_is_not_ready",
                 pages == {"/livez": 200, "/readyz": 503, "/v1/models": 200, "/metrics": 200}, pages)
    status, headers, reply = http_test.compress(server, "x")
    script.check("before_warm_up_http_compresses_nothing", status == 503 and int(headers["Retry-After"]) >= 1 and
                 reply["error"]["reason"] == "LOADING", (status, headers, reply))
    name = 'pith_requests_total{method="%s",code="UNAVAILABLE",reason="%s"}'
    counts = [http_test.metric(server, name % (method, reason)) for reason in ("LOADING", "DRAINING", "DEVICE_LOST")
              for method in ("pith.v1.CompressionService/Compress", "POST /compress")]
    script.check("before_warm_up_refusals_are_counted_as_such", counts == [1, 1, 0, 0, 0, 0], counts)
    states = [http_test.metric(server, f'pith_engine_state{{state="{name}"}}') for name in ("loading", "serving")]
    script.check("metrics_say_that_the_model_loads", states == [1, 0], states)
    script.check("after_warm_up_http_is_ready", wait_until(lambda: http_test.ask(server, "GET", "/readyz")[0] == 200, 10) and
                 http_test.compress(server, "x")[0] == 200 and
                 http_test.metric(server, 'pith_engine_state{state="loading"}') == 0)
    script.check("after_warm_up_it_serves", wait_until(lambda: ask("") == 1, 10) and
                 call(script.request(text="x"), timeout=10).input_words == 1)
    server.stop()


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(keys, loading))
