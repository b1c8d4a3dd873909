"""Compress: answers, limits, errors with their details, cancel and deadline."""
import math
import sys
import time

from support import Script

MIB = 1 << 20
LINE = "2026-11-21 11:02:07 worker-3 ERROR retry 4 of 5 failed for /srv/data/part-00017 after 2.5s\n"


def answers(script):
    call = script.compress(script.channel())
    reply = call(script.request(id="a-1", text="the quick brown fox has 42 dogs on it"), timeout=20)
    script.check("a_reply_echoes_the_id", reply.id == "a-1", reply)
    script.check("a_reply_names_its_model", reply.model != "" and reply.model_fingerprint != "", reply)
    script.check("timing_is_present", reply.HasField("timing"), reply)
    script.check("a_reply_without_explain_has_none", not reply.HasField("explanation"), reply)
    script.check("an_empty_id_is_echoed_empty", call(script.request(text="x"), timeout=20).id == "")
    ranges = list(reply.kept_ranges)
    pairs = list(zip(ranges[::2], ranges[1::2]))
    ascending = all(a < b for a, b in pairs) and all(p[1] <= q[0] for p, q in zip(pairs, pairs[1:]))
    script.check("kept_ranges_are_pairs_in_order", len(ranges) % 2 == 0 and pairs and ascending, ranges)
    script.check("counts_are_consistent", reply.kept_words <= reply.input_words == 9 and
                 reply.critical_kept <= reply.critical_total, reply)


def every_option_is_accepted(script):
    call = script.compress(script.channel())
    text = LINE * 20
    for name, fields in {
            "target_ratio": dict(target_ratio=0.5), "max_tokens": dict(max_tokens=100),
            "threshold": dict(threshold=0.4), "threshold_zero": dict(threshold=0.0),
            "question": dict(question="why?"), "domain": dict(domain=3), "profile": dict(profile=2),
            "priority": dict(priority=2), "fold_repeats": dict(fold_repeats=True)}.items():
        reply = call(script.request(text=text, **fields), timeout=30)
        script.check(f"option_{name}_is_accepted", reply.input_words == 260 and not reply.question_used,
                     reply)
    request = script.request(text=text)
    request.keep.add(start=0, end=10)
    script.check("a_keep_range_is_accepted", call(request, timeout=30).input_words == 260)


def explanation(script):
    call = script.compress(script.channel())
    reply = call(script.request(text=LINE * 3, explain=True), timeout=20)
    e = reply.explanation
    n = len(e.word_start)
    script.check("an_explanation_has_parallel_arrays",
                 n >= 39 and n == len(e.word_end) == len(e.score) == len(e.kept) == len(e.critical), e)
    script.check("an_explanation_scores_within_bounds", all(0 <= s <= 1 for s in e.score), e)


def folding(script):
    call = script.compress(script.channel())
    text = "".join(f"12:00:{i:02} worker-{i} took job {i * 37}\n" for i in range(50))
    if not script.args.fake:
        plain = call(script.request(text=text), timeout=20)
        reply = call(script.request(text=text, fold_repeats=True), timeout=20)
        script.check("repeated_lines_fold_and_are_counted", plain.folded_lines == 0 and
                     reply.folded_lines == 48 and reply.folded_critical > 0 and
                     reply.critical_total + reply.folded_critical == plain.critical_total, reply)
    code, text, details, _ = script.failure(
        lambda: call(script.request(text="a b", fold_repeats=True, profile=2), timeout=20))
    field = details["BadRequest"].field_violations[0].field if "BadRequest" in details else None
    script.check("folding_with_kompress_is_an_invalid_argument",
                 code == "INVALID_ARGUMENT" and field == "fold_repeats", (code, text, field))


def odd_texts(script):
    call = script.compress(script.channel())
    text = "alpha\0beta gamma\0\0delta 77\0"
    reply = call(script.request(text=text, target_ratio=1), timeout=20)
    script.check("nul_bytes_survive_the_wire", reply.text == text, repr(reply.text))
    for name, text in {"empty": "", "white_space": " \n\t " * 1000}.items():
        reply = call(script.request(text=text), timeout=20)
        script.check(f"{name}_text_passes_through", reply.passed_through and
                     reply.passthrough_reason == 1 and reply.text == text, reply)
    reply = call(script.request(text="\U0001F600 مرحبا बच्चे e\u0301 中文 " * 50), timeout=20)
    script.check("emoji_rtl_and_combining_marks_are_words", reply.input_words == 250, reply.input_words)


def long_texts(script):
    call = script.compress(script.channel())
    limit = 16 * MIB
    if script.args.fake:
        reply = call(script.request(text="abcd " * (limit // 5)), timeout=60)
        script.check("a_text_of_16_mib_is_served", reply.input_words == limit // 5, reply.input_words)
    code, text, details, _ = script.failure(
        lambda: call(script.request(id="big", text="a" * (limit + 1)), timeout=60))
    field = details["BadRequest"].field_violations[0].field if "BadRequest" in details else None
    script.check("a_text_over_the_limit_is_an_invalid_argument",
                 code == "INVALID_ARGUMENT" and field == "text", (code, text, field))
    code, _, _, _ = script.failure(lambda: call(script.request(text="a" * (limit + MIB)), timeout=60))
    script.check("a_message_over_the_cap_is_refused_by_the_transport", code == "RESOURCE_EXHAUSTED", code)


def bad_values(script):
    call = script.compress(script.channel())
    cases = {
        "ratio_nan": (dict(target_ratio=math.nan), "target_ratio"),
        "ratio_zero": (dict(target_ratio=0.0), "target_ratio"),
        "ratio_negative": (dict(target_ratio=-0.5), "target_ratio"),
        "ratio_over_one": (dict(target_ratio=1.5), "target_ratio"),
        "max_tokens_zero": (dict(max_tokens=0), "max_tokens"),
        "threshold_nan": (dict(threshold=math.nan), "threshold"),
        "threshold_over_one": (dict(threshold=1.01), "threshold"),
        "unknown_domain": (dict(domain=99), "domain"),
        "unknown_profile": (dict(profile=77), "profile"),
        "unknown_priority": (dict(priority=-3), "priority"),
        "long_id": (dict(id="i" * 257), "id"),
    }
    for name, (fields, field) in cases.items():
        code, text, details, _ = script.failure(
            lambda: call(script.request(text="some text", **fields), timeout=20))
        violation = details["BadRequest"].field_violations[0] if "BadRequest" in details else None
        script.check(f"{name}_is_refused_by_name",
                     code == "INVALID_ARGUMENT" and violation is not None and violation.field == field
                     and violation.description != "" and details["ErrorInfo"].domain == "pith.v1",
                     (code, text, details))
    for name, (start, end) in {"outside": (0, 100), "reversed": (5, 2), "cuts_a_character": (1, 3)}.items():
        request = script.request(id="k", text="\u00e9\u00e9 abc")
        request.keep.add(start=start, end=end)
        code, _, details, _ = script.failure(lambda: call(request, timeout=20))
        script.check(f"a_keep_range_that_is_{name}_is_refused",
                     code == "INVALID_ARGUMENT" and
                     details["BadRequest"].field_violations[0].field == "keep[0]" and
                     details["RequestInfo"].request_id == "k", (code, details))
    code, _, details, _ = script.failure(lambda: call(script.request(text="x", model="no-such"), timeout=20))
    script.check("an_unknown_model_is_not_found",
                 code == "NOT_FOUND" and details["ResourceInfo"].resource_name == "no-such", (code, details))
    code, _, details, _ = script.failure(
        lambda: call(script.request(text="w " * 200001, explain=True), timeout=60))
    script.check("explain_over_200000_words_is_refused",
                 code == "INVALID_ARGUMENT" and
                 details["BadRequest"].field_violations[0].field == "explain", (code, details))


def bad_bytes(script):
    raw = script.channel().unary_unary("/pith.v1.CompressionService/Compress")
    code, text, details, _ = script.failure(lambda: raw(b"\x0a\x02id\x12\x04ab\xc3\x28", timeout=20))
    violation = details["BadRequest"].field_violations[0]
    script.check("invalid_utf8_names_field_and_offset",
                 code == "INVALID_ARGUMENT" and violation.field == "text" and "byte 2" in violation.description
                 and details["RequestInfo"].request_id == "id", (code, text, details))
    for name, data in {"truncated": b"\x12\xff", "group": b"\x0b\x0c", "field_zero": b"\x00\x01",
                       "wrong_type": b"\x10\x05", "overlong_tag": b"\xff" * 11}.items():
        code, text, _, _ = script.failure(lambda: raw(data, timeout=20))
        script.check(f"{name}_bytes_are_refused", code == "INVALID_ARGUMENT", (code, text))
    code, _, _, _ = script.failure(lambda: raw(b"\xf8\x07\x01" * 5 + b"\x12\x01a", timeout=20))
    script.check("unknown_fields_are_ignored", code == "OK", code)
    code, _, _, _ = script.failure(lambda: raw(b"\xf8\x07\x01" * (1 << 20), timeout=20))
    script.check("a_million_unknown_fields_are_refused", code == "RESOURCE_EXHAUSTED", code)
    empty = script.channel().stream_unary("/pith.v1.CompressionService/Compress")
    code, _, _, _ = script.failure(lambda: empty(iter([]), timeout=20))
    script.check("a_call_without_a_message_is_refused", code == "INVALID_ARGUMENT", code)
    for path in ("/pith.v1.CompressionService/Nope", "/x.Y/Z", "/x"):
        code, _, _, _ = script.failure(lambda: script.channel().unary_unary(path)(b"", timeout=20))
        script.check(f"unknown_method_{path.split('/')[1]}_is_unimplemented", code == "UNIMPLEMENTED", code)
    gzip = script.channel(own=True, options=[("grpc.default_compression_algorithm", 2)])
    code, _, _, _ = script.failure(lambda: script.compress(gzip)(
        script.request(text="a" * 10000), timeout=20))
    script.check("a_compressed_message_is_unimplemented", code == "UNIMPLEMENTED", code)


def scripted_failures(script):
    if not script.args.fake:
        return
    call = script.compress(script.channel())
    fail = lambda text: script.failure(lambda: call(script.request(id="f", text=text), timeout=20))
    code, _, details, trailers = fail("@refuse=EXHAUSTED x")
    script.check("a_full_queue_is_resource_exhausted_with_a_delay",
                 code == "RESOURCE_EXHAUSTED" and details["RetryInfo"].retry_delay.nanos == 100000000 and
                 details["QuotaFailure"].violations[0].description != "" and
                 trailers["grpc-retry-pushback-ms"] == "100", (code, details, trailers))
    code, _, details, trailers = fail("@status=EXHAUSTED @retry=2500 x")
    script.check("the_engines_own_delay_is_passed_on",
                 details["RetryInfo"].retry_delay.seconds == 2 and
                 trailers["grpc-retry-pushback-ms"] == "2500", (details, trailers))
    code, _, details, _ = fail("@refuse=UNAVAILABLE x")
    script.check("a_draining_engine_is_unavailable",
                 code == "UNAVAILABLE" and details["ErrorInfo"].reason == "DRAINING" and
                 "RetryInfo" in details, (code, details))
    code, text, details, _ = fail("@status=INTERNAL @field=text x")
    script.check("the_text_of_an_internal_error_stays_inside",
                 code == "INTERNAL" and text == "internal error" and "BadRequest" not in details,
                 (code, text, details))
    code, _, details, _ = fail("@status=INVALID @field=explain x")
    script.check("a_late_refusal_names_its_field",
                 code == "INVALID_ARGUMENT" and
                 details["BadRequest"].field_violations[0].field == "explain", (code, details))


def cancel_and_deadline(script):
    if not script.args.fake:
        return
    channel = script.channel()
    call = script.compress(channel)
    began = time.monotonic()
    code, _, _, _ = script.failure(lambda: call(script.request(text="@delay=20000 x"), timeout=0.3))
    script.check("a_deadline_ends_the_call", code == "DEADLINE_EXCEEDED" and time.monotonic() - began < 5, code)
    future = call.future(script.request(text="@delay=20000 x"))
    time.sleep(0.2)
    future.cancel()
    script.check("a_cancelled_call_ends", future.cancelled())
    futures = [call.future(script.request(id=str(i), text=f"@delay=200 word{i}")) for i in range(300)]
    script.check("300_calls_at_once_are_all_answered",
                 all(f.result(timeout=60).id == str(i) for i, f in enumerate(futures)))


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(answers, every_option_is_accepted, explanation, folding, odd_texts, long_texts,
                        bad_values, bad_bytes, scripted_failures, cancel_and_deadline))
