"""Spans over OTLP/HTTP to a collector of our own: identity, order, what a slow or absent one costs."""
import http.server
import json
import sys
import threading
import time

import http_test
from support import Script, wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, delay=0):
        self.bodies, self.paths, self.delay = [], [], delay
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self):
        return [span for body in self.bodies for r in body["resourceSpans"] for scope in r["scopeSpans"]
                for span in scope["spans"]]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay)
        self.server.bodies.append(body)
        self.server.paths.append((self.path, self.headers["Content-Type"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


def spans(script):
    collector = Collector()
    server = http_test.start(script, "--otlp", collector.url)
    http_test.compress(server, "a text with 42 words", headers={
        "traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "id-9"})
    http_test.compress(server, "not sampled", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    http_test.compress(server, "of no trace 42")
    http_test.compress(server, "bad", 7)
    call = script.compress(script.channel(own=True, addr=server.addr))
    call(script.request(id="g", text="a text over grpc"), timeout=20,
         metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")])
    script.check("spans_arrive", wait_until(lambda: len(collector.spans()) >= 4, 10), collector.bodies)
    seen = collector.spans()
    attributes = [{a["key"]: list(a["value"].values())[0] for a in s["attributes"]} for s in seen]
    first = seen[0]
    script.check("a_span_continues_the_callers_trace",
                 first["traceId"] == TRACE and first["parentSpanId"] == PARENT and
                 len(first["spanId"]) == 16 and first["name"] == "POST /compress", first)
    script.check("a_span_has_its_times_and_counts",
                 0 < int(first["endTimeUnixNano"]) - int(first["startTimeUnixNano"]) < 20e9 and
                 abs(int(first["endTimeUnixNano"]) / 1e9 - time.time()) < 60 and
                 attributes[0]["pith.request_id"] == "id-9" and int(attributes[0]["pith.input_tokens"]) >= 5,
                 (first, attributes[0]))
    script.check("what_is_not_sampled_is_not_sent", len(seen) == 4, seen)
    script.check("a_request_without_a_trace_begins_one",
                 len(seen[1]["traceId"]) == 32 and seen[1]["traceId"] != TRACE and "parentSpanId" not in seen[1])
    script.check("a_refusal_is_a_span_but_no_failure_of_ours",
                 attributes[2]["pith.code"] == "INVALID_ARGUMENT" and "status" not in seen[2], seen[2])
    script.check("grpc_metadata_carries_the_trace", seen[3]["traceId"] == TRACE and
                 seen[3]["name"].endswith("/Compress"), seen[3])
    script.check("the_request_is_otlp_http", set(collector.paths) == {("/v1/traces", "application/json")} and
                 collector.bodies[0]["resourceSpans"][0]["resource"]["attributes"][0]["value"] ==
                 {"stringValue": "pith"}, collector.paths)
    script.check("no_span_has_a_requests_text", "words" not in json.dumps(collector.bodies))
    http_test.compress(server, "the last one")
    server.stop()
    script.check("what_is_left_is_sent_at_the_end", len(collector.spans()) == 5, len(collector.spans()))


def absent_and_slow(script):
    if not script.args.fake:
        return
    server = http_test.start(script, "--otlp", "http://127.0.0.1:1/custom/path")
    began = time.monotonic()
    codes = {http_test.compress(server, f"text {i}")[0] for i in range(50)}
    script.check("an_absent_collector_costs_a_request_nothing", codes == {200} and time.monotonic() - began < 5)
    script.check("its_spans_are_counted", wait_until(
        lambda: http_test.metric(server, 'pith_trace_spans_total{outcome="failed"}') == 50, 10))
    server.stop()
    collector = Collector(delay=30)
    server = http_test.start(script, "--otlp", collector.url)
    call = script.compress(script.channel(own=True, addr=server.addr))
    futures = [call.future(script.request(text="x"), timeout=60) for _ in range(6000)]
    answered = sum(f.result().input_words for f in futures)
    dropped = http_test.metric(server, 'pith_trace_spans_total{outcome="dropped"}')
    script.check("a_slow_collector_drops_spans_and_no_request", answered == 6000 and dropped > 0,
                 (answered, dropped))
    began = time.monotonic()
    server.stop()
    script.check("and_does_not_hold_up_the_end", time.monotonic() - began < 15, time.monotonic() - began)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(spans, absent_and_slow))
