"""StreamCompress: completion order, errors of single items, ids, flow control, cancel."""
import queue
import sys
import time

from support import Script, grpc, wait_until


def outcome(reply):
    return reply.error.code if reply.WhichOneof("result") == "error" else "ok"


def every_item_is_answered(script):
    stream = script.stream(script.channel())
    texts = {f"id{i}": f"word{i} " * (1 + i * 7 % 50) for i in range(200)}
    replies = list(stream((script.item(id=k, text=v) for k, v in texts.items()), timeout=60))
    script.check("200_items_get_200_replies",
                 sorted(r.id for r in replies) == sorted(texts) and
                 all(outcome(r) == "ok" and r.response.id == r.id and
                     r.response.input_words == len(texts[r.id].split()) for r in replies), len(replies))
    script.check("an_empty_stream_ends_ok", list(stream(iter([]), timeout=20)) == [])


def errors_stay_with_their_item(script):
    stream = script.stream(script.channel())
    items = [script.item(id="a", text="first 1"), script.item(id="b", text="x", target_ratio=7),
             script.item(id="c", text="x", model="no-such"), script.item(id="d", text="last 2"),
             script.messages["pith.v1.StreamCompressRequest"]()]
    replies = {r.id: r for r in stream(iter(items), timeout=30)}
    details = script.details(replies["b"].error)
    script.check("an_error_of_an_item_does_not_end_the_stream",
                 {k: outcome(r) for k, r in replies.items()} ==
                 {"a": "ok", "b": 3, "c": 5, "d": "ok", "": 3}, replies)
    script.check("an_error_of_an_item_names_its_field",
                 details["BadRequest"].field_violations[0].field == "request.target_ratio" and
                 details["RequestInfo"].request_id == "b", details)
    raw = script.channel().stream_stream(
        "/pith.v1.CompressionService/StreamCompress",
        response_deserializer=script.messages["pith.v1.StreamCompressResponse"].FromString)
    bad = b"\x0a\x08\x0a\x02u8\x12\x02\xc3\x28"
    good = script.item(id="ok", text="fine 3").SerializeToString()
    replies = {r.id: r for r in raw(iter([bad, b"\x0b", good]), timeout=30)}
    script.check("a_malformed_item_keeps_its_id_and_the_stream",
                 {k: outcome(r) for k, r in replies.items()} == {"u8": 3, "": 3, "ok": "ok"}, replies)
    field = script.details(replies["u8"].error)["BadRequest"].field_violations[0].field
    script.check("invalid_utf8_in_an_item_names_the_path", field == "request.text", field)


def completion_order_and_ids(script):
    if not script.args.fake:
        return
    stream = script.stream(script.channel())
    began = time.monotonic()
    items = [script.item(id="slow", text="@delay=600 x"), script.item(id="fast", text="@delay=50 x"),
             script.item(id="slow", text="again"), script.item(text="@delay=300 one"),
             script.item(text="@delay=300 two"), script.item(id="bad", text="@refuse=EXHAUSTED x")]
    replies = list(stream(iter(items), timeout=30))
    order = [(r.id, outcome(r)) for r in replies]
    script.check("replies_come_in_completion_order",
                 order.index(("fast", "ok")) < order.index(("slow", "ok")) == len(order) - 1, order)
    script.check("an_id_in_flight_is_that_items_invalid_argument", ("slow", 3) in order, order)
    script.check("empty_ids_do_not_clash", order.count(("", "ok")) == 2, order)
    refused = [r for r in replies if r.id == "bad"][0]
    script.check("a_full_queue_is_that_items_error_with_a_delay",
                 refused.error.code == 8 and "RetryInfo" in script.details(refused.error), refused)
    script.check("items_run_side_by_side", time.monotonic() - began < 3)

    to_send = queue.Queue()
    call = stream(iter(to_send.get, None), timeout=30)
    seen = []
    for _ in range(50):  # an id is free again as soon as its reply is out
        to_send.put(script.item(id="again", text="word 1"))
        seen.append(outcome(next(call)))
    to_send.put(None)
    script.check("an_id_can_be_used_again_after_its_reply", seen == ["ok"] * 50, seen)
    script.check("the_stream_ends_after_half_close", list(call) == [])


def flow_control(script):
    if not script.args.fake:
        return
    sent = []

    def items():
        for i in range(200):
            sent.append(i)
            yield script.item(id=str(i), text=f"@delay=800 {'w' * 200000}")

    call = script.stream(script.channel(own=True))(items(), timeout=60)
    time.sleep(0.6)
    ahead = len(sent)
    replies = list(call)
    script.check("the_server_stops_reading_at_its_window", ahead < 200, ahead)
    script.check("every_item_is_answered_behind_the_window", len(replies) == 200 and
                 all(outcome(r) == "ok" for r in replies), len(replies))
    # A peer that does not read: the server must not keep taking its requests.
    sent.clear()

    def chatty():
        for i in range(3000):
            sent.append(i)
            yield script.item(id=str(i), text="wordy " * 20000)

    before = script.server.rss_mib() if script.server else 0
    call = script.stream(script.channel(own=True))(chatty(), timeout=60)
    time.sleep(2)
    grown = script.server.rss_mib() - before if script.server else 0
    script.check("a_peer_that_does_not_read_is_not_read_from", len(sent) < 3000 and grown < 400,
                 (len(sent), grown))
    call.cancel()


def slow_readers(script):
    """A peer that does not read its answers costs what one stream may hold, and then its stream."""
    if not script.args.fake:
        return
    server = script.start("--send-stall-ms", "1500", "--max-text-bytes", "1000000")
    slow = [script.channel(own=True, addr=server.addr) for _ in range(5)]
    wordy = lambda: (script.item(text="wordy " * 100000, explain=True) for _ in range(500))
    calls = [script.stream(channel)(wordy(), timeout=60) for channel in slow]
    other = script.compress(script.channel(own=True, addr=server.addr))
    before, slowest, end = server.rss_mib(), 0, time.monotonic() + (9 if server.is_sanitized() else 4)
    peak = before
    while time.monotonic() < end:
        began = time.monotonic()
        other(script.request(text="a quick 1"), timeout=20)
        slowest = max(slowest, time.monotonic() - began)
        peak = max(peak, server.rss_mib())
        time.sleep(0.1)
    # Of 5 streams that ask for 1.3 GB of answers each: 4 MB, a text and its answer that are over, the
    # buffers of both ends and the engine's copies.
    script.check("slow_readers_cost_a_bounded_memory", peak - before < (600 if server.is_sanitized() else 200),
                 (before, peak))
    script.check("others_are_served_beside_slow_readers", slowest < (5 if server.is_sanitized() else 1), slowest)
    codes = []
    for call in calls:
        code, text, _, _ = script.failure(lambda: list(call))
        codes.append((code, text))
    script.check("a_slow_reader_loses_its_stream", {c for c, _ in codes} == {"RESOURCE_EXHAUSTED"}, codes[:2])
    for channel in slow:
        channel.close()
    server.stop()


def cancel(script):
    if not script.args.fake:
        return
    stream = script.stream(script.channel(own=True))
    to_send = queue.Queue()
    call = stream(iter(to_send.get, None), timeout=60)
    for i in range(20):
        to_send.put(script.item(id=str(i), text="@delay=30000 x"))
    to_send.put(script.item(id="now", text="x"))
    first = next(call)
    call.cancel()
    to_send.put(None)
    script.check("a_stream_with_open_items_can_be_cancelled", first.id == "now", first)
    # The jobs are gone when the drain at the end of this script does not wait for them.
    code, _, _, _ = script.failure(lambda: list(script.stream(script.channel())(
        iter([script.item(id="late", text="@delay=30000 x")]), timeout=0.4)))
    script.check("a_deadline_ends_a_stream", code == "DEADLINE_EXCEEDED", code)
    dropped = script.channel(own=True)
    call = script.stream(dropped)(iter([script.item(text="@delay=30000 x")]), timeout=60)
    time.sleep(0.2)
    dropped.close()
    script.check("a_closed_connection_cancels_its_stream",
                 wait_until(lambda: call.code() is grpc.StatusCode.CANCELLED))


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(every_item_is_answered, errors_stay_with_their_item, completion_order_and_ids,
                        flow_control, slow_readers, cancel))
