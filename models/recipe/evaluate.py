"""Judge the exported model beside simple scorers on held-out sources; writes the figures as JSON.

    python3 evaluate.py --dataset dataset.pickle --model models/pith-mini --out evaluation.json

The safety floor is on in every measure: critical words are always kept, and a scorer ranks the
others. r is the share of those that is kept. Measures, all between 0 and 1, per document, averaged:

  types  recall of distinct words that are neither stop-words nor critical
  rare   the same, of those that at most 8 training documents hold
  lines  distinct line templates of which at least half of the free words survive
  key    free words of the domain's key lines (errors, changes, definitions, headings, singletons)
  m25, m50  mean of the four, domains weighing the same, at r = .25 and .50
  rho    Spearman correlation with the labels N + R (and N, R alone) on free words
"""

import argparse
import collections
import json
import math
import pickle
import re

import numpy as np
import torch
from tokenizers import Tokenizer

import export
import labels
import tokenizer as bpe
from sources import DOMAINS

RATIOS = (0.25, 0.50)
RARE_DOCUMENTS = 8
MEASURES = ("types", "rare", "lines", "key")

TROUBLE = re.compile(
    r"error|warn|fail|fatal|exception|panic|caused by|cannot|denied|assert|undefined|traceback",
    re.I,
)
DEFINITION = re.compile(
    r"^\s*(async |public |static |export |private )*(def|class|func|type|sub|package|struct|"
    r"#\s*define|return|raise|throw|function|typedef|if|for)\b"
)


def words_of(item):
    return [item["text"][a:b] for a, b in item["spans"]]


def kept(item, scores, ratio):
    """The floor and the best `ratio` of the free words."""
    free = np.flatnonzero(~item["critical"])
    best = free[np.argsort(-np.asarray(scores)[free], kind="stable")[: round(ratio * len(free))]]
    mask = item["critical"].copy()
    mask[best] = True
    return mask


def is_key_line(lines, index, domain, counts):
    """Whether a reader of this kind of text would look at the line first."""
    line = lines[index]
    text = line.strip()
    if not text:
        return False
    if domain == "prose":
        heading = len(text.split()) <= 7 and text[-1] not in ".,;:"
        return (
            heading
            or text[0] == "#"
            or text.isupper()
            or (index > 0 and lines[index - 1].strip()[:1] == "-")
        )
    if domain == "code":
        return bool(DEFINITION.match(line))
    if domain == "error_trace":
        return bool(TROUBLE.search(line))
    if domain == "diff":
        return line[0] in "+-" and not line.startswith(("+++", "---"))
    single = counts[labels.template(line)] == 1
    if domain == "json":
        return bool(re.search(r':\s*"[^"]{3,}', line)) and counts[labels.template(line)] <= 2
    return single or (domain in ("log", "shell") and bool(TROUBLE.search(line)))


def key_words(item):
    """Indices of the free words, stop-words apart, on key lines."""
    lines = item["text"].split("\n")
    counts = collections.Counter(labels.template(line) for line in lines)
    key = {i for i in range(len(lines)) if is_key_line(lines, i, item["domain"], counts)}
    normal = [labels.normal(w) for w in words_of(item)]
    return [
        i
        for i, word in enumerate(normal)
        if item["line"][i] in key
        and not item["critical"][i]
        and word not in labels.STOP_WORDS
        and len(word) > 1
    ]


def type_recall(item, mask, table):
    """(share of distinct words kept at least once, the same for rare ones)."""
    survived = {}
    for index, word in enumerate(map(labels.normal, words_of(item))):
        if len(word) >= 3 and word not in labels.STOP_WORDS and not item["critical"][index]:
            survived[word] = survived.get(word, False) or bool(mask[index])
    rare = [v for w, v in survived.items() if table.document_counts.get(w, 0) <= RARE_DOCUMENTS]
    return mean(list(survived.values())), mean(rare)


def line_recall(item, mask):
    lines, best, by_line = item["text"].split("\n"), {}, collections.defaultdict(list)
    for index in np.flatnonzero(~item["critical"]):
        by_line[item["line"][index]].append(mask[index])
    for line, flags in by_line.items():
        key = labels.template(lines[line])
        best[key] = max(best.get(key, 0), np.mean(flags))
    return mean([share >= 0.5 for share in best.values()])


def mean(values):
    return float(np.mean(values)) if len(values) else math.nan


def measures(item, mask, table):
    types, rare = type_recall(item, mask, table)
    return types, rare, line_recall(item, mask), mean(mask[key_words(item)])


def simple_scorers(items, table):
    """{name: [scores per word]} of everything the model is compared with."""
    rng = np.random.RandomState(0)
    normal = [[labels.normal(w) for w in words_of(item)] for item in items]
    found = {"random": [rng.rand(len(words)) for words in normal]}
    found["stop-word deletion"] = [
        np.array([0.0 if not w or w in labels.STOP_WORDS else 1.0 for w in words])
        + 0.5 * rng.rand(len(words))
        for words in normal
    ]
    found["TF-IDF"] = []
    for words in normal:
        counts = collections.Counter(words)
        found["TF-IDF"].append(
            np.array([(1 + math.log(counts[w])) * table.idf(w) if w else 0.0 for w in words])
        )
    found["rules R"] = [item["rules"] for item in items]
    found["n-gram N"] = [item["surprisal"] for item in items]
    found["labels N + R"] = [item["target"] for item in items]
    return found


def spearman(a, b):
    a, b = np.array(labels.percentiles(list(a))), np.array(labels.percentiles(list(b)))
    return np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else math.nan


def correlation(items, scores, label):
    pairs = [
        (np.asarray(s)[~i["critical"]], i[label][~i["critical"]]) for i, s in zip(items, scores)
    ]
    return float(np.nanmean([spearman(a, b) for a, b in pairs if len(a) > 8]))


def judge(items, scores, table):
    """All measures of one scorer."""
    result = {}
    for ratio in RATIOS:
        rows = np.array([measures(i, kept(i, s, ratio), table) for i, s in zip(items, scores)])
        by_domain = {
            d: float(np.nanmean(rows[[n for n, i in enumerate(items) if i["domain"] == d]]))
            for d in DOMAINS
            if any(i["domain"] == d for i in items)
        }
        percent = round(ratio * 100)
        result.update(
            {f"{name}{percent}": float(v) for name, v in zip(MEASURES, np.nanmean(rows, 0))}
        )
        result[f"m{percent}"] = float(np.mean(list(by_domain.values())))
        result[f"m{percent}_by_domain"] = by_domain
    for name, label in (("rho", "target"), ("rho_n", "surprisal"), ("rho_r", "rules")):
        result[name] = correlation(items, scores, label)
    return result


def at_default_thresholds(items, probabilities, thresholds):
    """Per domain: shares of free and all words kept, and of critical words above threshold."""
    result = {}
    for domain in DOMAINS:
        pairs = [(p, i["critical"]) for i, p in zip(items, probabilities) if i["domain"] == domain]
        if pairs:
            score = np.concatenate([p for p, _ in pairs])
            critical = np.concatenate([c for _, c in pairs])
            above = score > thresholds[domain]
            result[domain] = {
                "documents": len(pairs),
                "critical_words": mean(critical),
                "free_kept": mean(above[~critical]),
                "all_kept": mean(above | critical),
                "critical_above": mean(above[critical]),
            }
    return result


def repetition(model, tokenizer):
    """Mean score of free words: first of eight heartbeat lines, the other seven, an error line."""
    beat = "2026-01-0{} INFO scheduler heartbeat accepted from remote worker process"
    lines = [beat.format(i) for i in range(1, 9)]
    lines.append("ERROR worker lost lease for shard alpha while flushing the queue to disk")
    text = "\n".join(lines)
    spans = labels.word_spans(text)
    ids, word = bpe.encode(tokenizer, text, spans)
    logits = export.word_logits(export.token_outputs(model, ids)[2], np.array(word), len(spans))
    line = labels.line_numbers(text, spans)
    found = {"first": [], "repeated": [], "error": []}
    for (start, end), at, logit in zip(spans, line, logits):
        if not labels.is_critical(text[start:end]):
            group = "error" if at == len(lines) - 1 else "repeated" if at else "first"
            found[group].append(1 / (1 + np.exp(-logit)))
    return {group: mean(scores) for group, scores in found.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with open(args.dataset, "rb") as file:
        data = pickle.load(file)
    with open(f"{args.model}/config.json") as file:
        thresholds = json.load(file)["pith"]["thresholds"]
    items, table = data["eval"], data["table"]
    model = export.load_exported(args.model)
    outputs = [export.token_outputs(model, i["ids"]) for i in items]
    fold = lambda item, logits: export.word_logits(logits, item["word"], len(item["spans"]))
    scores = [fold(i, o[2]) for i, o in zip(items, outputs)]
    scorers = simple_scorers(items, table)
    scorers["pith-mini"] = scores
    scorers["pith-mini, token head alone"] = [fold(i, o[0]) for i, o in zip(items, outputs)]
    result = {
        "scorers": {name: judge(items, s, table) for name, s in scorers.items()},
        "default": at_default_thresholds(items, [1 / (1 + np.exp(-s)) for s in scores], thresholds),
        "repetition": repetition(model, Tokenizer.from_file(f"{args.model}/tokenizer.json")),
        "documents": {n: len(data[n]) for n in ("train", "validation", "eval")},
        "words": {
            n: sum(len(i["spans"]) for i in data[n]) for n in ("train", "validation", "eval")
        },
        "tokens": {n: sum(len(i["ids"]) for i in data[n]) for n in ("train", "validation", "eval")},
        "kinds": data["kinds"],
    }
    with open(args.out, "w") as file:
        json.dump(result, file, indent=1)
    for name, row in result["scorers"].items():
        print(
            f"{name:28} "
            + " ".join(
                f"{k} {row[k]:.3f}"
                for k in (
                    "types25",
                    "rare25",
                    "lines25",
                    "key25",
                    "m25",
                    "m50",
                    "rho",
                    "rho_n",
                    "rho_r",
                )
            )
        )


if __name__ == "__main__":
    main()
