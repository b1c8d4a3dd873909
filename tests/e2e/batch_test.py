"""BatchCompress: order, errors of single texts, limits, overload, cancel; and what goes beside messages:
request ids, usage, timings."""
import re
import sys
import time

from support import Script, grpc, wait_until

PATH = "/pith.v1.CompressionService/BatchCompress"


def batch(script, channel):
    return script.unary(channel, PATH, "pith.v1.BatchCompressRequest", "pith.v1.BatchCompressResponse")


def a_batch(script, *requests):
    return script.messages["pith.v1.BatchCompressRequest"](requests=requests)


def outcome(result):
    return result.error.code if result.WhichOneof("result") == "error" else "ok"


def results_come_in_request_order(script):
    texts = [f"word{i} 7 " * (1 + i * 13 % 40) for i in range(100)]
    if script.args.fake:
        texts = [f"@delay={(100 - i) * 3} {text}" for i, text in enumerate(texts)]
    call = batch(script, script.channel())
    reply = call(a_batch(script, *(script.request(id=f"i{i}", text=t) for i, t in enumerate(texts))),
                 timeout=60)
    script.check("a_batch_has_a_result_for_each_request_in_order",
                 [r.id for r in reply.results] == [f"i{i}" for i in range(100)] and
                 all(outcome(r) == "ok" and r.response.id == r.id and
                     r.response.input_words == len(t.split()) for r, t in zip(reply.results, texts)),
                 [outcome(r) for r in reply.results])
    single = script.compress(script.channel())
    same = all(single(script.request(id=f"i{i}", text=texts[i]), timeout=20).text ==
               reply.results[i].response.text for i in (90, 95, 99))
    script.check("a_batch_gives_the_bytes_of_single_calls", same)


def an_error_is_its_texts_own(script):
    raw = script.channel().unary_unary(
        PATH, response_deserializer=script.messages["pith.v1.BatchCompressResponse"].FromString)
    good = script.request(id="fine", text="still 4 fine")
    data = a_batch(script, script.request(id="a", text="first 1"), script.request(id="b", text="x", target_ratio=7),
                   script.request(id="c", text="x", model="no-such")).SerializeToString()
    bad = b"\x0a\x08\x0a\x02u8\x12\x02\xc3\x28"  # a request whose text is not UTF-8
    reply = raw(data + bad + b"\x0a\x01\x0b" + a_batch(script, good, good).SerializeToString(), timeout=30)
    seen = [(r.id, outcome(r)) for r in reply.results]
    script.check("an_error_of_a_text_is_its_own",
                 seen == [("a", "ok"), ("b", 3), ("c", 5), ("u8", 3), ("", 3), ("fine", "ok"), ("fine", "ok")], seen)
    details = script.details(reply.results[1].error)
    script.check("an_error_of_a_text_names_its_field_and_request",
                 details["BadRequest"].field_violations[0].field == "target_ratio" and
                 details["RequestInfo"].request_id == "b", details)
    unnamed = script.details(reply.results[4].error)
    script.check("an_error_of_a_text_without_id_names_the_call",
                 unnamed["RequestInfo"].request_id != "", unnamed)


def limits(script):
    call = batch(script, script.channel())
    for name, n in {"no_text": 0, "257_texts": 257}.items():
        code, text, details, _ = script.failure(
            lambda: call(a_batch(script, *[script.request(text="x")] * n), timeout=30))
        script.check(f"a_batch_of_{name}_is_refused", code == "INVALID_ARGUMENT" and
                     details["BadRequest"].field_violations[0].field == "requests", (code, text))
    reply = call(a_batch(script, *[script.request(text="x 1")] * 256), timeout=60)
    script.check("a_batch_of_256_texts_is_taken", len(reply.results) == 256)
    raw = script.channel().unary_unary(PATH)
    code, _, _, _ = script.failure(lambda: raw(b"\x0a\x7f", timeout=20))
    script.check("a_malformed_batch_is_refused", code == "INVALID_ARGUMENT", code)


def overload_and_cancel(script):
    if not script.args.fake:
        return
    server = script.start("--max-jobs", "10")
    channel = script.channel(own=True, addr=server.addr)
    reply = batch(script, channel)(a_batch(script, *[script.request(text="@delay=300 x")] * 30), timeout=30)
    codes = [outcome(r) for r in reply.results]
    refused = [r for r in reply.results if outcome(r) == 8]
    script.check("texts_over_the_queue_are_refused_and_the_others_answered",
                 codes.count("ok") >= 10 and len(refused) == 30 - codes.count("ok") > 0 and
                 all("RetryInfo" in script.details(r.error) for r in refused), codes)
    future = batch(script, channel).future(a_batch(script, *[script.request(text="@delay=60000 x")] * 10))
    time.sleep(0.3)
    future.cancel()
    free = lambda: script.failure(lambda: script.compress(channel)(script.request(text="x"), timeout=5))[0] == "OK"
    script.check("a_cancelled_batch_frees_its_places", wait_until(free, 5))
    code, _, _, _ = script.failure(lambda: batch(script, channel)(
        a_batch(script, *[script.request(text="@delay=60000 x")] * 3), timeout=0.3))
    script.check("a_batch_has_one_deadline", code == "DEADLINE_EXCEEDED", code)
    server.stop()


def beside_the_messages(script):
    call = script.compress(script.channel())
    request = script.request(text="a text of 4 words")
    _, done = call.with_call(request, timeout=20, metadata=[("x-request-id", "trace.me-7")])
    script.check("a_request_id_comes_back", ("x-request-id", "trace.me-7") in
                 [tuple(m) for m in done.initial_metadata()], done.initial_metadata())
    made = []
    for sent in ([], [("x-request-id", "a b")], [("x-request-id", "x" * 129)]):
        _, done = call.with_call(request, timeout=20, metadata=sent)
        made.append(dict(done.initial_metadata())["x-request-id"])
    script.check("a_request_id_is_made_where_none_can_be_used",
                 len(set(made)) == 3 and all(re.fullmatch("[0-9a-f]{16}", m) for m in made), made)
    trailers = dict(done.trailing_metadata())
    script.check("usage_and_timings_are_in_the_trailers",
                 re.fullmatch(r"input_tokens=\d+, kept_tokens=\d+", trailers["pith-usage"]) and
                 re.fullmatch(r"(\w+;dur=\d+\.\d{3}, ){4}total;dur=\d+\.\d{3}", trailers["server-timing"]),
                 trailers)
    code, _, details, _ = script.failure(lambda: call(script.request(text="x", target_ratio=9), timeout=20,
                                                      metadata=[("x-request-id", "err-1")]))
    script.check("an_error_names_the_calls_id", code == "INVALID_ARGUMENT" and
                 details["RequestInfo"].request_id == "err-1", details)
    code, _, details, _ = script.failure(lambda: script.channel().unary_unary("/pith.v1.No/Such")(b"", timeout=20))
    script.check("an_unknown_method_has_details_too", code == "UNIMPLEMENTED" and
                 details["ErrorInfo"].domain == "pith.v1" and details["RequestInfo"].request_id, details)
    stream = script.stream(script.channel())(
        iter([script.item(text="one 1"), script.item(text="two 2 three")]), timeout=20)
    n = len(list(stream))
    usage = dict(stream.trailing_metadata()).get("pith-usage")
    script.check("a_stream_sums_its_usage", n == 2 and usage is not None and
                 (not script.args.fake or usage == "input_tokens=5, kept_tokens=3"), usage)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(results_come_in_request_order, an_error_is_its_texts_own, limits,
                        overload_and_cancel, beside_the_messages))
