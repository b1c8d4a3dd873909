"""Operating points: the threshold of each domain, chosen on validation documents.

The rule, per domain as the server routes it. Critical survival before the floor falls and kept
tokens fall as the threshold rises; the floor keeps its own share whatever the threshold.

  1. the lowest threshold at which the kept tokens, floor included, are at most KEPT_TOKENS;
  2. but not so high that under FREE_WORDS of the words that the floor leaves are kept;
  3. and not so high that under CRITICAL_SURVIVAL of the critical words score above it.

A domain with fewer than DOCUMENTS_MIN validation documents gets the default, which the same rule
chooses over all of them, domains weighing the same.
"""

import math

import numpy as np

from eval import text

KEPT_TOKENS = 0.60  # goal .65 on unseen sources, which keep more than validation documents
FREE_WORDS = 0.15  # less would leave the floor alone; words kept are long, so this is more of tokens
CRITICAL_SURVIVAL = 0.965  # goal .95 on unseen sources, which cost about a point
DOCUMENTS_MIN = 20
DIGITS = 3  # of a threshold in config.json


class Scored:
    """Documents of one domain with the score of each word's item; domains weigh the same."""

    def __init__(self, pairs):
        """pairs: [(document, scores per word)]."""
        self.documents = [doc for doc, _ in pairs]
        self.scores = [text.item_scores(doc, scores) for doc, scores in pairs]
        domains = [doc.domain for doc in self.documents]
        self.weight = [1 / domains.count(domain) for domain in domains]

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

    def free_kept(self, threshold):
        return self.share(
            lambda d: (~d.forced).sum(), lambda d, s: (~d.forced & (s > threshold)).sum()
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
            "free_kept": self.free_kept(threshold),
            "critical_above": self.critical_above(threshold),
            "floor": self.kept_tokens(math.inf),
        }


def choose(scored):
    """The threshold of the rule above, on the grid that config.json has digits for."""
    low, high = 0, 10**DIGITS
    fits = lambda step: (
        not scored.free_kept(step / 10**DIGITS) < FREE_WORDS
        and not scored.critical_above(step / 10**DIGITS) < CRITICAL_SURVIVAL
    )
    while high - low > 1:  # the highest threshold that rules 2 and 3 allow
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    highest, low = low, -1
    while highest - low > 1:  # the lowest one under it that keeps few enough tokens
        middle = (low + highest) // 2
        small = scored.kept_tokens(middle / 10**DIGITS) <= KEPT_TOKENS
        low, highest = (low, middle) if small else (middle, highest)
    return highest / 10**DIGITS


def from_scores(pairs):
    """{domain: threshold} with "default", of [(document, scores per word)]."""
    thresholds = {"default": choose(Scored(pairs))}
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
        folded = export.word_logits(logits, item["word"], len(item["spans"])).astype(np.float64)
        pairs.append((text.document(item), 1 / (1 + np.exp(-folded))))
    return from_scores(pairs)
