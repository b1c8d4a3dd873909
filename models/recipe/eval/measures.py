"""What a mask of kept words is worth. All measures lie between 0 and 1, higher is better:

types  recall of distinct words that are neither stop-words nor held by the floor
rare   the same, of those that at most 8 training documents hold
lines  distinct line templates of which at least half of the free words survive
key    free words of the domain's key lines (errors, changes, definitions, headings, singletons)
m      mean of the four, domains weighing the same
rho    Spearman correlation with the labels N + R (and N, R alone) on free words
"""

import collections
import functools
import math
import re

import numpy as np

import labels
from eval import text

RATIOS = (0.25, 0.50)
RARE_DOCUMENTS = 8
NAMES = ("types", "rare", "lines", "key")
CORRELATION_WORDS_MIN = 8  # free words under which a rank correlation says nothing

TROUBLE = re.compile(
    r"error|warn|fail|fatal|exception|panic|caused by|cannot|denied|assert|undefined|traceback",
    re.I,
)
DEFINITION = re.compile(
    r"^\s*(async |public |static |export |private )*(def|class|func|type|sub|package|struct|"
    r"#\s*define|return|raise|throw|function|typedef|if|for)\b"
)


def mean(values):
    return float(np.mean(values)) if len(values) else math.nan


def is_key_line(lines, index, domain, counts):
    """Whether a reader of this kind of text would look at the line first."""
    line = lines[index]
    stripped = line.strip()
    if not stripped:
        return False
    if domain == "prose":
        heading = len(stripped.split()) <= 7 and stripped[-1] not in ".,;:"
        listed = index > 0 and lines[index - 1].strip()[:1] == "-"
        return heading or stripped[0] == "#" or stripped.isupper() or listed
    if domain == "code":
        return bool(DEFINITION.match(line))
    if domain == "error_trace":
        return bool(TROUBLE.search(line))
    if domain == "diff":
        return line[0] in "+-" and not line.startswith(("+++", "---"))
    count = counts[labels.template(line)]
    if domain == "json":
        return bool(re.search(r':\s*"[^"]{3,}', line)) and count <= 2
    return count == 1 or (domain in ("log", "shell") and bool(TROUBLE.search(line)))


@functools.lru_cache(maxsize=None)
def key_words(doc):
    """Indices of the free words, stop-words apart, on key lines."""
    lines = doc.text.split("\n")
    counts = collections.Counter(labels.template(line) for line in lines)
    key = {i for i in range(len(lines)) if is_key_line(lines, i, doc.domain, counts)}
    return [
        i
        for i, word in enumerate(text.normal_words(doc))
        if doc.line[i] in key
        and not doc.forced[i]
        and word not in labels.STOP_WORDS
        and len(word) > 1
    ]


def type_recall(doc, mask, table):
    """(share of distinct words kept at least once, the same for rare ones)."""
    survived = {}
    for index, word in enumerate(text.normal_words(doc)):
        if len(word) >= 3 and word not in labels.STOP_WORDS and not doc.forced[index]:
            survived[word] = survived.get(word, False) or bool(mask[index])
    rare = [v for w, v in survived.items() if table.document_counts.get(w, 0) <= RARE_DOCUMENTS]
    return mean(list(survived.values())), mean(rare)


@functools.lru_cache(maxsize=None)
def templates(doc):
    return [labels.template(line) for line in doc.text.split("\n")]


def line_recall(doc, mask):
    best, by_line = {}, collections.defaultdict(list)
    for index in np.flatnonzero(~doc.forced):
        by_line[doc.line[index]].append(mask[index])
    for line, flags in by_line.items():
        key = templates(doc)[line]
        best[key] = max(best.get(key, 0), sum(flags) / len(flags))
    return mean([share >= 0.5 for share in best.values()])


def measures(doc, mask, table):
    types, rare = type_recall(doc, mask, table)
    return types, rare, line_recall(doc, mask), mean(mask[key_words(doc)])


def spearman(a, b):
    a, b = np.array(labels.percentiles(list(a))), np.array(labels.percentiles(list(b)))
    return np.corrcoef(a, b)[0, 1] if a.std() > 0 and b.std() > 0 else math.nan


def correlation(documents, scores, label):
    pairs = [
        (np.asarray(s)[~d.forced], np.asarray(d.source[label])[~d.forced])
        for d, s in zip(documents, scores)
    ]
    return float(np.nanmean([spearman(a, b) for a, b in pairs if len(a) > CORRELATION_WORDS_MIN]))


def at_ratio(documents, scores, table, keep, ratio):
    """Means over documents, over domains, and the share of all tokens that is kept."""
    masks = [keep(d, s, ratio) for d, s in zip(documents, scores)]
    rows = np.array([measures(d, m, table) for d, m in zip(documents, masks)])
    domains = sorted({d.domain for d in documents})
    by_domain = {
        domain: float(np.nanmean(rows[[n for n, d in enumerate(documents) if d.domain == domain]]))
        for domain in domains
    }
    total = sum(text.kept_tokens(d, np.ones(len(d.spans), bool)) for d in documents)
    return {
        **{name: float(v) for name, v in zip(NAMES, np.nanmean(rows, 0))},
        "m": float(np.mean(list(by_domain.values()))),
        "m_by_domain": by_domain,
        "kept_tokens": sum(text.kept_tokens(d, m) for d, m in zip(documents, masks)) / total,
        "kept_words": mean(np.concatenate(masks)),
    }


def judge(documents, scores, table):
    """All measures of one scorer: {"words": {"25": ...}, "tokens": {...}, "rho": ...}."""
    result = {
        name: {
            str(round(100 * ratio)): at_ratio(documents, scores, table, keep, ratio)
            for ratio in RATIOS
        }
        for name, keep in text.KEEP.items()
    }
    for name, label in (("rho", "target"), ("rho_n", "surprisal"), ("rho_r", "rules")):
        result[name] = correlation(documents, scores, label)
    return result
