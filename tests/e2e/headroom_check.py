"""The real Headroom client (headroom-ai from PyPI) against a Pith HTTP port, both ways in: the router's
compressor and the public headroom.compress. Run by a Python that has the package. Its placeholders are
tested in http_test.py, which needs no package.
"""
import argparse
import importlib.util
import json
import os
import re
import sys
import urllib.request

if importlib.util.find_spec("headroom") is None:
    print("skip headroom: the package headroom-ai is not installed (deploy/bootstrap.sh --clients)")
    sys.exit(0)

LINE = "2026-11-21 11:02:{:02} worker-{} retried the upload of part {} because the bucket was slow again"
failed = []


def check(name, held, seen=""):
    print(f"ok headroom.{name}" if held else f"not ok headroom.{name}: {' '.join(str(seen).split())[:500]}", flush=True)
    if not held:
        failed.append(name)


def post(addr, content, ratio):
    request = urllib.request.Request(f"http://{addr}/compress",
                                     json.dumps({"content": content, "target_ratio": ratio}).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def answered(addr):
    with urllib.request.urlopen(f"http://{addr}/metrics", timeout=20) as page:
        found = re.search(r'^pith_requests_total{method="POST /compress",code="OK",reason=""} (\d+)$',
                          page.read().decode(), re.M)
    return int(found.group(1))


def the_router(addr):
    from headroom.transforms.content_router import ContentRouter
    before = answered(addr)
    text = "\n".join(LINE.format(i, i % 7, i * 31) for i in range(60))
    compressor = ContentRouter()._get_kompress()
    result = compressor.compress(text)
    own = post(addr, text, None)
    check("the_router_takes_the_remote_compressor", "Remote" in type(compressor).__name__, compressor)
    # It adds a marker of its own behind the text, made of our counts.
    marker = f"[{own['original_tokens']} words compressed to {own['compressed_tokens']} "
    check("the_router_gets_pith_s_text_and_counts", result.compressed.startswith(own["compressed"]) and
          marker in result.compressed, result.compressed[-300:])
    check("the_router_sent_one_request", answered(addr) == before + 2, answered(addr) - before)
    short = compressor.compress("too short to be sent 42")
    check("a_short_text_is_not_sent", short.compressed == "too short to be sent 42" and
          answered(addr) == before + 2)


def the_public_call(addr):
    import headroom
    before = answered(addr)
    prose = " ".join(f"The committee met again on day {i} and everybody agreed, more or less, that the "
                     f"weather had been really quite nice for the season in town {i * 3}." for i in range(60))
    messages = [{"role": "user", "content": "What happened?"},
                {"role": "assistant", "content": "", "tool_calls": [{"id": "t", "type": "function", "function": {
                    "name": "read_report", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "t", "content": prose}]
    result = headroom.compress(messages=messages, model="gpt-4o")
    check("headroom_compress_saves_tokens_through_pith", answered(addr) > before and
          result.tokens_after < result.tokens_before, (result.tokens_before, result.tokens_after))
    tool = [m for m in result.messages if m.get("role") == "tool"][0]["content"]
    check("and_numbers_are_still_there", all(str(i * 3) in tool for i in range(60)), tool[:300])
    print(f"# headroom.compress: {result.tokens_before} tokens before, {result.tokens_after} after", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", required=True)
    args = parser.parse_args()
    os.environ["HEADROOM_KOMPRESS_ENDPOINT"] = f"http://{args.http}"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    the_router(args.http)
    the_public_call(args.http)
    sys.exit(1 if failed else 0)
