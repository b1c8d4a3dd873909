#!/usr/bin/env python3
"""Pith's tokenizer beside Hugging Face `tokenizers`, interleaved A B A B in one run, one core.

Usage: compare.py DRIVER TOKENIZER.json [ROUNDS]
Text: the English that every Python and Debian carry (pydoc's topics and the common licences), cut
into documents of 8 KiB at line ends. Both sides get the same documents one by one, ids must be
equal. The first round starts with empty caches on both sides. Prints the ratio of medians and MB/s
as percent of the goal of 25 MB/s, all in CPU time; exits 1 when the ratio is under its goal.
"""
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
GOAL_MB_S = 25.0
GOAL_RATIO = 6.0
DOC_BYTES = 8192


def documents():
    import pydoc_data.topics

    texts = [pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics)]
    for path in sorted(pathlib.Path("/usr/share/common-licenses").glob("*")):
        if not path.is_symlink():
            texts.append(path.read_text(errors="ignore"))
    doc, docs = "", []
    for line in "\n".join(texts).splitlines(keepends=True):
        doc += line
        if len(doc) >= DOC_BYTES:
            docs.append(doc)
            doc = ""
    return docs + ([doc] if doc else [])


def fnv1a(ids, value):
    for byte in struct.pack(f"<{len(ids)}I", *ids):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def main():
    from tokenizers import Tokenizer

    driver, vocabulary = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    docs = documents()
    n_bytes = sum(len(d.encode()) for d in docs)
    peer = Tokenizer.from_file(vocabulary)
    with tempfile.NamedTemporaryFile() as file:
        for doc in docs:
            file.write(struct.pack("<I", len(doc.encode())) + doc.encode())
        file.flush()
        ours = subprocess.Popen([driver, vocabulary, file.name], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, bufsize=1)
        times = {"pith": [], "peer": []}
        for _ in range(rounds):
            ours.stdin.write("go\n")
            ours.stdin.flush()
            ns, tokens, hashed = map(int, ours.stdout.readline().split())
            times["pith"].append(ns / 1e9)
            start = time.process_time()
            encoded = [peer.encode(doc, add_special_tokens=False) for doc in docs]
            times["peer"].append(time.process_time() - start)
        ours.stdin.close()
        ours.wait()
    value = 0xCBF29CE484222325
    for enc in encoded:
        value = fnv1a(enc.ids, value)
    assert value == hashed, "ids differ"
    mb = n_bytes / 1e6
    speed = {k: mb / statistics.median(v) for k, v in times.items()}
    first = mb / times["pith"][0]
    ratio = speed["pith"] / speed["peer"]
    print(f"vocabulary {vocabulary}")
    print(f"text       {len(docs)} documents, {mb:.2f} MB, {tokens} tokens, ids equal")
    print(f"peer       {speed['peer']:.2f} MB/s  (Hugging Face tokenizers, from Python)")
    print(f"pith       {speed['pith']:.1f} MB/s  ({100 * speed['pith'] / GOAL_MB_S:.0f} % of the "
          f"{GOAL_MB_S:.0f} MB/s goal; {first:.1f} MB/s with an empty cache)")
    print(f"ratio      {ratio:.1f}x  (goal {GOAL_RATIO:.0f}x; by round "
          f"{' '.join(f'{b / a:.1f}' for a, b in zip(times['pith'], times['peer']))})")
    return 0 if ratio >= GOAL_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
