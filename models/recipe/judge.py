"""A language model judges what is left: continuation and recovery. Writes the figures as JSON.

    python3 judge.py --dataset dataset.pickle --model ../pith-mini --out judge.json --cache nll.json

For a document, its first 65 % of words are compressed at r = .25 by each scorer, floor on. Then
SmolLM2-135M gives the mean NLL of
  continuation   the next 100 tokens of the document,
  recovery       four lines of the uncompressed beginning, after a separator.
The share of the gap recovered is (NLL without context - NLL) / (NLL without - NLL with all of it).
A pair of context and targets that was judged once is read from the cache.
"""

import argparse
import hashlib
import json
import os
import pickle
import random
import time

import numpy as np
import torch

import engine
from eval import scorers, smollm, text

RATIO = 0.25
PREFIX_WORDS = 0.65
CONTINUATION_TOKENS, RECOVERY_TOKENS = 100, 110
CONTEXT_TOKENS_MAX = 500  # of the whole beginning: a document with a longer one is not chosen
RECOVERY_LINES, LINE_WORDS_MIN = 4, 4
DOCUMENT_WORDS_MIN = 60
SEPARATOR = "\n\n---\n"
SCORERS = ("random", "stop-word deletion", "rules R", "n-gram N", "labels N + R", "pith-mini")
SAVE_EVERY = 20


def joined(doc, mask, words):
    """The first `words` words as the server joins what is kept of them."""
    parts, previous = [], None
    for index in range(words):
        if not mask[index]:
            continue
        start, end = doc.spans[index]
        if previous is not None and previous == index - 1:
            parts.append(doc.text[doc.spans[previous][1] : start])
        elif previous is not None and doc.line[previous] == doc.line[index]:
            parts.append(" ")
        elif previous is not None:
            line = doc.text.rfind("\n", 0, start) + 1
            indent = doc.text[line:start]
            parts.append("\n" + (indent if not indent.strip() else ""))
        parts.append(doc.text[start:end])
        previous = index
    return "".join(parts)


def tasks(judge, doc):
    """(words of the beginning, tokens to continue with, tokens to recover)."""
    words = int(PREFIX_WORDS * len(doc.spans))
    following = judge.encode("\n" + doc.text[doc.spans[words][0] :])[:CONTINUATION_TOKENS]
    lines = [x for x in beginning(doc, words).split("\n") if len(x.split()) >= LINE_WORDS_MIN]
    random.Random(doc.text).shuffle(lines)
    lost = judge.encode(SEPARATOR + "\n".join(lines[:RECOVERY_LINES]))[:RECOVERY_TOKENS]
    return words, following, lost


class Cache:
    """NLLs by context and targets, on disk."""

    def __init__(self, path, judge):
        self.path, self.judge, self.new = path, judge, 0
        self.values = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.values = json.load(file)

    def nll(self, context, targets):
        key = hashlib.sha256(json.dumps([context, targets]).encode()).hexdigest()[:32]
        if key not in self.values:
            self.values[key] = self.judge.nll(context, targets)
            self.new += 1
            if self.new % SAVE_EVERY == 0:
                self.save()
        return self.values[key]

    def save(self):
        with open(self.path + ".part", "w", encoding="utf-8") as file:
            json.dump(self.values, file)
        os.replace(self.path + ".part", self.path)


def beginning(doc, words):
    return doc.text[: doc.spans[words - 1][1]]


def fits(judge, doc):
    """Long enough to be compressed, and short enough for the judge to see the whole beginning."""
    if len(doc.spans) < DOCUMENT_WORDS_MIN:
        return False
    whole = beginning(doc, int(PREFIX_WORDS * len(doc.spans)))
    return len(judge.encode(whole)) <= CONTEXT_TOKENS_MAX


def chosen(judge, items, per_domain):
    """The first documents of each domain that fit."""
    found = {}
    for item in items:
        own = found.setdefault(item["domain"], [])
        if len(own) < per_domain:
            doc = text.document(item)
            own += [doc] if fits(judge, doc) else []
    return [doc for own in found.values() for doc in own]


def recovered(rows, none, full):
    """Share of the gap, of sums over documents: (continuation, recovery)."""
    a, n, f = (np.sum(x, 0) for x in (rows, none, full))
    return [float(x) for x in (n - a) / (n - f)]


def summary(documents, rows, none, full):
    by_domain = {}
    for domain in dict.fromkeys(d.domain for d in documents):
        own = [i for i, d in enumerate(documents) if d.domain == domain]
        by_domain[domain] = recovered(*([x[i] for i in own] for x in (rows, none, full)))
    continuation, recovery = recovered(rows, none, full)
    return {"continuation": continuation, "recovery": recovery, "by_domain": by_domain}


def judge_all(cache, documents, compared):
    """{scorer: figures}; prints each as it is done."""
    plans = [tasks(cache.judge, doc) for doc in documents]

    def run(context):
        rows, lengths = [], []
        for doc, (words, *targets), index in zip(documents, plans, range(len(plans))):
            ids = cache.judge.encode(context(doc, words, index))
            rows.append(cache.nll(ids, targets))
            lengths.append(len(ids))
        cache.save()
        return rows, float(np.mean(lengths))

    full, length = run(lambda doc, words, _: beginning(doc, words))
    none, _ = run(lambda doc, words, _: "")
    result = {
        "documents": len(documents),
        "context_tokens": length,
        "nll_full": [float(x) for x in np.mean(full, 0)],
        "nll_none": [float(x) for x in np.mean(none, 0)],
        "scorers": {},
    }
    for name, scores in compared.items():
        rows, length = run(
            lambda doc, words, index: joined(doc, text.keep_words(doc, scores[index], RATIO), words)
        )
        figures = {**summary(documents, rows, none, full), "context_tokens": length}
        result["scorers"][name] = figures
        print(
            f"{name:20s} continuation {figures['continuation']:.3f} recovery "
            f"{figures['recovery']:.3f} context {length:.0f} tokens",
            flush=True,
        )
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--per-domain", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    began = time.process_time()
    with open(args.dataset, "rb") as file:
        data = pickle.load(file)
    judge = smollm.Judge(smollm.find_file())
    documents = chosen(judge, data["eval"], args.per_domain)
    compared = scorers.simple(documents, data["table"])
    with engine.Engine(args.model) as e:
        compared["pith-mini"] = [text.engine_scores(e, doc) for doc in documents]
    cache = Cache(args.cache, judge)
    result = judge_all(cache, documents, {name: compared[name] for name in SCORERS})
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print(f"{cache.new} judged, {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
