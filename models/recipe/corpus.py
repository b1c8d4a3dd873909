"""Collect real text from the machine this runs on: the train and evaluation documents.

    python3 corpus.py --out corpus.json --scratch /tmp/pith-corpus [--python PREFIX ...]

Every source is declared in sources.py; one whose tool or folder is missing is skipped and named.
A document is a line-aligned window of one source's output. What identifies a machine or a person
(home folder, host name, scratch folder, Python prefixes) is replaced before a window is kept.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import socket
import sys

import sources

# Document length in characters, drawn evenly: most fit one window of the model (768 tokens, about
# 3 characters each), a third needs several.
WINDOW_CHARS = (500, 900, 1300, 1900, 2400, 2400, 4500, 8000)
WINDOW_CHARS_MIN = 250
WINDOW_CHARS_MAX = 8200
WINDOW_WORDS_MIN = 40
LINE_CHARS_MAX = 600
SOURCE_CHARS_MAX = 400_000
TRAIN_WINDOWS = 3  # of a training source, for each one that sources.py grants
SEED = 7

ANSI_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
OVERSTRIKE = re.compile(r".\x08")


def scrubber(places):
    """A function that replaces machine-specific strings by neutral ones, longest first."""
    pairs = {str(places.scratch): "/tmp/build", socket.gethostname(): "host-1"}
    pairs.update({str(p): "/usr/local" for p in places.python_prefixes})
    pairs[str(pathlib.Path.home())] = "/home/user"
    pairs[sys.prefix] = "/srv/venv"
    ordered = sorted((old for old in pairs if len(old) > 2), key=len, reverse=True)

    def scrub(text):
        for old in ordered:
            text = text.replace(old, pairs[old])
        return text

    return scrub


def clean(text):
    """Plain lines: no terminal escapes, no overstrikes, no carriage returns, no NUL."""
    text = OVERSTRIKE.sub("", ANSI_ESCAPE.sub("", text))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


def windows(text, rng, count_max):
    """Up to count_max line-aligned windows of text, at random, the first one usually among them."""
    found, current, chars = [], [], 0
    limit = rng.choice(WINDOW_CHARS)
    for line in text.split("\n"):
        line = line[:LINE_CHARS_MAX]
        if chars + len(line) > limit and chars > WINDOW_CHARS_MIN:
            found.append("\n".join(current))
            current, chars, limit = [], 0, rng.choice(WINDOW_CHARS)
        current.append(line)
        chars += len(line) + 1
    if chars > WINDOW_CHARS_MIN:
        found.append("\n".join(current))
    if len(found) > count_max:
        first = found[0]
        found = rng.sample(found, count_max)
        if count_max > 1 and first not in found:
            found[0] = first
    found = [w.strip("\n")[:WINDOW_CHARS_MAX] for w in found]
    return [w for w in found if len(w) >= WINDOW_CHARS_MIN and len(w.split()) >= WINDOW_WORDS_MIN]


def documents_of(source, scrub):
    """All documents of one source; an empty list when its tool failed or printed too little."""
    rng = random.Random(f"{SEED}:{source.name}")
    try:
        text = source.produce(rng)
    except (OSError, ValueError):
        return []
    text = scrub(clean(text[:SOURCE_CHARS_MAX]))
    count = source.windows_max * (TRAIN_WINDOWS if source.split == "train" else 1)
    return [
        {"kind": source.kind, "source": scrub(source.name), "text": w}
        for w in windows(text, rng, count)
    ]


def collect(all_sources, scrub, workers):
    """{split: {domain: [document]}} without duplicates, shuffled, and the skipped kinds."""
    corpus = {"train": collections.defaultdict(list), "eval": collections.defaultdict(list)}
    empty, used, seen = collections.Counter(), collections.Counter(), set()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for source, docs in zip(
            all_sources, pool.map(lambda s: documents_of(s, scrub), all_sources)
        ):
            (used if docs else empty)[source.kind] += 1
            for doc in docs:
                key = doc["text"][:300]
                if key not in seen:
                    seen.add(key)
                    corpus[source.split][source.domain].append(doc)
    skipped = sorted(set(empty) - set(used))
    for kind in skipped:
        print(f"skipped: {kind} (nothing usable found)")
    print(f"{len(used)} kinds of source")
    for split in corpus:
        for domain, docs in corpus[split].items():
            random.Random(SEED).shuffle(docs)
            chars = sum(len(d["text"]) for d in docs)
            kinds = len({d["kind"] for d in docs})
            print(
                f"{split:5} {domain:12} {len(docs):5} documents "
                f"{chars // 1000:6} KB {kinds:3} kinds"
            )
    return {**corpus, "skipped": skipped}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--scratch", required=True, help="folder for files that tools write")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        help="prefix of another Python installation (repeatable; for diffs and traces)",
    )
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    out, scratch = os.path.abspath(args.out), os.path.abspath(args.scratch)
    os.makedirs(scratch, exist_ok=True)
    os.chdir(scratch)  # whatever the tools write by a relative name lands here
    places = sources.Places.find(scratch, args.python)
    prepared = list(sources.all_sources(places))
    corpus = collect(prepared, scrubber(places), args.workers)
    with open(out, "w") as file:
        json.dump(corpus, file)


if __name__ == "__main__":
    main()
