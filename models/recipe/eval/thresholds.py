"""Operating points: the threshold of each domain, chosen on validation documents.

The rule, per domain as the server routes it. Critical survival before the floor falls and kept
tokens fall as the threshold rises; the floor keeps its own share whatever the threshold, and that
share differs from source to source, so the rule looks at what the floor leaves:

  1. the lowest threshold at which at most FREE_TOKENS of the tokens outside the floor are kept;
  2. but not so high that under CRITICAL_SURVIVAL of the critical words score above it.

A domain with fewer than DOCUMENTS_MIN validation documents gets the default, which the same rule
chooses over all of them, domains weighing the same.
"""

import math

import numpy as np

from eval import text

# .35 keeps a point more of the judged tokens, floor included, .40 two and a half.
FREE_TOKENS = 0.30
CRITICAL_SURVIVAL = 0.965  # goal .95 on unseen sources, which cost about a point
DOCUMENTS_MIN = 20
DIGITS = 3  # of a threshold in config.json


class Scored:
    """Documents with the score of each word's item."""

    def __init__(self, pairs, balanced=False):
        """pairs: [(document, scores per word)]. balanced: domains weigh the same, else documents."""
        self.documents = [doc for doc, _ in pairs]
        self.scores = [text.item_scores(doc, scores) for doc, scores in pairs]
        domains = [doc.domain for doc in self.documents]
        self.weight = [1 / domains.count(d) if balanced else 1.0 for d in domains]

    def share(self, of, count):
        """Weighted share over documents: count(document, scores) of of(document)."""
        total = sum(w * of(d) for w, d in zip(self.weight, self.documents))
        part = sum(w * count(d, s) for w, d, s in zip(self.weight, self.documents, self.scores))
        return float(part / total) if total > 0 else math.nan

    def kept_tokens(self, threshold):
        return self.share(
            lambda d: text.kept_tokens(d, np.ones(len(d.spans), bool)),
            lambda d, s: text.kept_tokens(d, d.forced | (s > threshold)),
        )

    def free_tokens(self, threshold):
        return self.share(
            lambda d: d.tokens[~d.forced].sum(),
            lambda d, s: d.tokens[~d.forced & (s > threshold)].sum(),
        )

    def critical_above(self, threshold):
        return self.share(
            lambda d: d.critical.sum(), lambda d, s: (d.critical & (s > threshold)).sum()
        )

    def point(self, threshold):
        """The figures at a threshold; "floor" is what is kept when the model keeps nothing."""
        return {
            "threshold": threshold,
            "kept_tokens": self.kept_tokens(threshold),
            "free_tokens": self.free_tokens(threshold),
            "critical_above": self.critical_above(threshold),
            "floor": self.kept_tokens(math.inf),
        }


def lowest(holds):
    """The lowest step of the grid that config.json has digits for; holds(step) once true stays so."""
    low, high = -1, 10**DIGITS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle / 10**DIGITS) else (middle, high)
    return high


def choose(scored):
    """The threshold of the rule above."""
    few_enough = lowest(lambda t: not scored.free_tokens(t) > FREE_TOKENS)
    too_high = lowest(lambda t: scored.critical_above(t) < CRITICAL_SURVIVAL)
    return max(0, min(few_enough, too_high - 1)) / 10**DIGITS


def from_scores(pairs):
    """{domain: threshold} with "default", of [(document, scores per word)]."""
    thresholds = {"default": choose(Scored(pairs, balanced=True))}
    for domain in sorted({doc.routed for doc, _ in pairs}):
        own = [(doc, scores) for doc, scores in pairs if doc.routed == domain]
        if len(own) >= DOCUMENTS_MIN:
            thresholds[domain] = choose(Scored(own))
    return thresholds


def operating_points(model, items):
    """{domain: threshold} and "default" for config.json, of a PyTorch model and validation items."""
    import export

    pairs = []
    for item in items:
        logits = export.token_outputs(model, item)[2]
        folded = export.word_logits(logits, item["word"], len(item["spans"]))
        doc = text.document(item)
        pairs.append((doc, text.priced_words(folded, doc)))
    return from_scores(pairs)
