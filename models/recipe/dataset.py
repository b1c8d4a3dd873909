"""Turn the corpus into tokenizer, n-gram table and labelled items.

python3 dataset.py --corpus corpus.json --out dataset.pickle --tokenizer tokenizer.json
"""

import argparse
import collections
import hashlib
import itertools
import json
import os
import pickle
import unicodedata

import numpy as np

import floor
import generators
import labels
import tokenizer as bpe
import windows

VALIDATION_PERCENT = 5  # of the training sources, for thresholds; never trained on
# Occurrence flags per token: the token, the pair, the triple occurred earlier in the document.
REPEAT_ORDERS = 3
# Training text of one domain, at most: prose and code are plentiful, traces and sessions are not.
DOMAIN_CHARS_MAX = 2_600_000
GENERATED = "generated"  # kind of the documents of generators.py
GENERATED_SEED = 42
# Names of generators.py that differ from the engine's domains.
DOMAIN_OF_ROW = {
    "bash_output": "shell",
    "file_read": "code",
    "search_result": "search",
    "json_tool_result": "json",
    "code_diff": "diff",
    "log_stream": "log",
}


def is_validation(document):
    """By source, so that windows of one file never lie on both sides."""
    digest = hashlib.sha256(document["source"].encode()).digest()
    return digest[0] * 100 < VALIDATION_PERCENT * 256


def earlier_occurrences(ids):
    """[T, 3] bool: did this token, this bigram, this trigram end here before?"""
    seen = [set() for _ in range(REPEAT_ORDERS)]
    flags = np.zeros((len(ids), REPEAT_ORDERS), bool)
    for at in range(len(ids)):
        for order in range(REPEAT_ORDERS):
            gram = tuple(ids[max(0, at - order) : at + 1])
            flags[at, order] = gram in seen[order]
            seen[order].add(gram)
    return flags


def item(document, domain, table, tokenizer, in_training):
    """One labelled document; every per-word array has one entry per word."""
    text = unicodedata.normalize("NFC", document["text"])
    spans = labels.word_spans(text)
    ids, word_of_token = bpe.encode(tokenizer, text, spans)
    words = [text[a:b] for a, b in spans]
    surprisal = table.surprisal(words, in_training)
    rule_scores = labels.rules(text, spans, table)
    pieces = windows.cut(word_of_token)
    return {
        "domain": domain,
        "routed": floor.look(text).domain,
        "kind": document["kind"],
        "text": text,
        "spans": spans,
        "ids": np.array(ids, np.int32),
        "word": np.array(word_of_token, np.int32),
        "windows": pieces,
        "target": np.array(labels.targets(surprisal, rule_scores), np.float32),
        "critical": np.array(floor.critical(text, spans)),
        "line": np.array(labels.line_numbers(text, spans), np.int32),
        "surprisal": np.array(surprisal, np.float32),
        "rules": np.array(rule_scores, np.float32),
        "repeats": [earlier_occurrences(ids[begin:end]) for begin, end, _, _ in pieces],
    }


def items_of(pairs, table, tokenizer, in_training):
    """The items of (domain, document) pairs, without the few whose words the engine cuts."""
    found = []
    for domain, document in pairs:
        try:
            found.append(item(document, domain, table, tokenizer, in_training))
        except ValueError:
            continue
    return found


def capped(documents):
    """The first documents of a shuffled list, DOMAIN_CHARS_MAX characters at most."""
    ends = itertools.accumulate(len(document["text"]) for document in documents)
    return [document for document, end in zip(documents, ends) if end <= DOMAIN_CHARS_MAX]


def generated(share, count):
    """(domain, document) pairs of generators.py, so many that they are `share` of all."""
    rows = generators.rows(round(count * share / (1 - share)), GENERATED_SEED)
    return [
        (
            DOMAIN_OF_ROW.get(row["domain"], row["domain"]),
            {"kind": GENERATED, "text": row["text"]},
        )
        for row in rows
    ]


def by_turns(documents):
    """The documents, kinds taking turns, so that the first few hold every kind."""
    kinds = collections.defaultdict(list)
    for document in documents:
        kinds[document["kind"]].append(document)
    rounds = itertools.zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [document for turn in rounds for document in turn if document is not None]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json; written if missing")
    parser.add_argument("--generated", type=float, default=0.0, help="share of training documents")
    parser.add_argument("--eval-per-domain", type=int, default=24)
    args = parser.parse_args()
    with open(args.corpus) as file:
        corpus = json.load(file)
    split = {"train": [], "validation": [], "eval": []}
    for domain, documents in corpus["train"].items():
        for document in capped(documents):
            split["validation" if is_validation(document) else "train"].append((domain, document))
    for domain, documents in corpus["eval"].items():
        split["eval"] += [(domain, d) for d in by_turns(documents)[: args.eval_per_domain]]
    texts = [d["text"] for _, d in split["train"]]
    if not os.path.exists(args.tokenizer):
        bpe.train(texts).save(args.tokenizer)
    tokenizer = bpe.load(args.tokenizer)
    table = labels.NGram(texts)
    split["train"] += generated(args.generated, len(texts))
    data = {
        name: items_of(pairs, table, tokenizer, name == "train") for name, pairs in split.items()
    }
    for name, items in data.items():
        print(
            f"{name}: {len(items)} documents, {sum(len(i['spans']) for i in items)} words, "
            f"{sum(len(i['ids']) for i in items)} tokens"
        )
    data["table"] = table
    data["kinds"] = {
        name: {domain: sorted({d["kind"] for d in docs}) for domain, docs in corpus[name].items()}
        for name in ("train", "eval")
    }
    data["skipped"] = corpus["skipped"]
    with open(args.out, "wb") as file:
        pickle.dump(data, file)


if __name__ == "__main__":
    main()
