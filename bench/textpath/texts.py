"""Texts of five kinds for bench/textpath, the same in every run: made from what every Python carries
(its topics and its own source) and from a seed."""
import difflib
import json
import pathlib
import random
import sysconfig

SOURCES = ["argparse", "ast", "datetime", "decimal", "enum", "heapq", "inspect", "json/decoder",
           "logging/__init__", "pathlib", "pickle", "random", "socket", "ssl", "subprocess", "tarfile",
           "threading", "typing", "unittest/mock", "zipfile"]


def prose(size):
    import pydoc_data.topics

    topics = pydoc_data.topics.topics
    return "\n".join(topics[name] for name in sorted(topics))[:size]


def code(size):
    root = pathlib.Path(sysconfig.get_path("stdlib"))
    paths = [root / f"{name}.py" for name in SOURCES]
    text = "".join(p.read_text() for p in paths if p.is_file())
    return text[:size]


def log(size):
    rng, lines, total, second = random.Random(1), [], 0, 0
    levels = ["INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"]
    shapes = ["worker {n} finished job {h} in {n}ms, {n} rows kept",
              "GET /api/v1/users/{n}/orders?page={n} 200 {n} bytes from 10.0.{b}.{b}",
              "connection to db-{b}.internal:5432 refused, retrying in {n}ms",
              "cache miss for key session:{h} (size={n}, ttl={n}s)",
              "com.acme.http.RequestTimeoutException: no answer from upstream after {n} ms",
              "reloaded configuration from /etc/acme/server.yaml and kept the old certificates",
              "user_id={n} action=login status=ok request_id={h}-{h}"]
    while total < size:
        second += rng.randrange(3)
        text = rng.choice(shapes)
        for mark in ("{n}", "{b}", "{h}"):
            while mark in text:
                value = {"{n}": rng.randrange(10000), "{b}": rng.randrange(256)}.get(mark)
                text = text.replace(mark, f"{rng.getrandbits(32):08x}" if value is None
                                    else str(value), 1)
        lines.append(f"2026-02-03 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}."
                     f"{rng.randrange(1000):03} {rng.choice(levels):5} [main-{rng.randrange(16)}] "
                     f"{text}\n")
        total += len(lines[-1])
    return "".join(lines)[:size]


def as_json(size):
    rng, items, total = random.Random(2), [], 0
    names = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald"]
    while total < size:
        items.append({"id": rng.randrange(10**6), "name": rng.choice(names), "active":
                      rng.random() < 0.5, "score": round(rng.random(), 4), "tags":
                      rng.sample(["alpha", "beta", "gamma", "delta"], 2), "note":
                      "Customer asked for a refund and was told to wait five days.",
                      "created_at": f"2026-01-{rng.randrange(1, 29):02}T10:{rng.randrange(60):02}:00Z",
                      "address": {"street": f"{rng.randrange(900)} Main St", "zip": "12345"}})
        total += len(json.dumps(items[-1], indent=2)) + 40
    return json.dumps(items, indent=2)[:size]


def diff(size):
    rng, old = random.Random(3), code(4 * size).splitlines(keepends=True)
    new = [line.replace("self", "this") if rng.random() < 0.05 else line for line in old
           if rng.random() > 0.02]
    out, total = [], 0
    for begin in range(0, len(old), 400):
        for line in difflib.unified_diff(old[begin:begin + 400], new[begin:begin + 400],
                                         f"a/src/part_{begin}.py", f"b/src/part_{begin}.py"):
            out.append(line)
            total += len(line)
        if total >= size:
            break
    return "".join(out)[:size]


KINDS = {"prose": prose, "code": code, "log": log, "json": as_json, "diff": diff}


def documents(kind, doc_bytes, total):
    """`total` bytes of a kind, cut into documents of about doc_bytes at characters."""
    data = KINDS[kind](total).encode()
    docs, at = [], 0
    while at < len(data):
        end = min(at + doc_bytes, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        docs.append(data[at:end])
        at = end
    return docs if len(docs) == 1 or len(docs[-1]) * 2 > doc_bytes else docs[:-1]
