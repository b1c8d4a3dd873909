#!/usr/bin/env python3
"""Pith's whole text path beside Hugging Face `tokenizers` encoding the same texts, interleaved
A B A B in one run, one core: what Pith does around a model against what a peer takes to encode alone.

Usage: compare.py DRIVER TOKENIZER.json [ROUNDS]
Five kinds of text in documents of 100 bytes and of 64 KiB, both profiles for the large. Prints, in
CPU time: microseconds a text, MB/s, and the stages' ns per byte. The first round warms caches.
Without `tokenizers` the peer's columns are empty. A hash of the replies is printed: equal texts have
equal replies in every round, and a change of speed changes none.
"""
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import texts

os.environ["TOKENIZERS_PARALLELISM"] = "false"
SIZES = {100: 400_000, 65536: 1_000_000}
STAGES = ["all", "prepare", "encode", "critical", "route"]


class Driver:
    def __init__(self, program, vocabulary, profile, docs):
        self.file = tempfile.NamedTemporaryFile()
        for doc in docs:
            self.file.write(struct.pack("<I", len(doc)) + doc)
        self.file.flush()
        self.process = subprocess.Popen([program, vocabulary, profile, self.file.name], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)

    def round(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        *ns, hashed = map(int, self.process.stdout.readline().split())
        return ns, hashed

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def peer_of(vocabulary):
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    return Tokenizer.from_file(vocabulary)


def measure(driver, peer, docs, rounds):
    strings = [doc.decode() for doc in docs]
    ours, theirs, hashes = [], [], set()
    for _ in range(rounds + 1):
        ns, hashed = driver.round()
        ours.append(ns)
        hashes.add(hashed)
        start = time.process_time()
        for text in strings if peer is not None else ():
            peer.encode(text, add_special_tokens=False)
        theirs.append(time.process_time() - start)
    assert len(hashes) == 1, "a text's replies differ"
    stages = [statistics.median(row[i] for row in ours[1:]) for i in range(len(STAGES))]
    return stages, 1e9 * statistics.median(theirs[1:]), hashes.pop()


def main():
    program, vocabulary = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    peer = peer_of(vocabulary)
    print("| text | profile | us a text | MB/s | peer encodes, MB/s | ratio | ns/B: "
          + " | ".join(STAGES[1:]) + " | replies |")
    print("|---" * (6 + len(STAGES)) + "|")
    for size, total in SIZES.items():
        for kind in texts.KINDS:
            docs = texts.documents(kind, size, total)
            n_bytes = sum(map(len, docs))
            for profile in ("faithful", "kompress") if size > 1000 else ("faithful",):
                driver = Driver(program, vocabulary, profile, docs)
                ns, peer_ns, hashed = measure(driver, peer, docs, rounds)
                driver.close()
                their = f"{1e3 * n_bytes / peer_ns:.2f} | {peer_ns / ns[0]:.1f}x" if peer else " | "
                print(f"| {kind}, {size} B | {profile} | {ns[0] / len(docs) / 1e3:.2f} | "
                      f"{1e3 * n_bytes / ns[0]:.1f} | {their} | "
                      + " | ".join(f"{x / n_bytes:.1f}" for x in ns[1:]) + f" | {hashed:016x} |",
                      flush=True)


if __name__ == "__main__":
    main()
