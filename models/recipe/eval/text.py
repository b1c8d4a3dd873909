"""Evaluation documents: an item of the data set with the server's floor and the cost of each word."""

import collections
import dataclasses
import functools
import string

import numpy as np

import floor
import labels

# Goes to config.json. On validation documents m25 at equal words / at equal tokens is .524 / .342
# without it, .529 / .359 at .25, .528 / .368 at .5, .509 / .396 at 1.
LENGTH_EXPONENT = 0.5
# The same: .559 / .399 without it, .577 / .419 at .5, .587 / .427 at 1; m50 .830, .832, .826.
REPEAT_EXPONENT = 0.5
USES_MAX = 64  # as far as the engine counts
PUNCTUATION = "".join(chr(c) for c in range(128) if not chr(c).isalnum() and chr(c) != "_")
LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclasses.dataclass(frozen=True, eq=False)
class Document:
    """One judged text. Arrays have one entry per word; a table's row is one item of decision."""

    domain: str  # where the text came from
    routed: str  # what pithd takes it for
    text: str
    spans: list  # characters
    line: np.ndarray
    critical: np.ndarray  # holds part of a critical span
    forced: np.ndarray  # the floor keeps it
    item: np.ndarray
    tokens: np.ndarray  # tokens whose last non-space character is in the word
    space: np.ndarray  # tokens of white space before the word
    source: dict  # the item of the data set


def uses(words):
    """1 for the first use of each word, 2 for its second; the engine's rule (runtime/decide/odds.c)."""
    seen, result = collections.Counter(), []
    for word in words:
        bare = word.strip(PUNCTUATION).translate(LOWER)
        seen[bare] += 1
        result.append(min(seen[bare], USES_MAX) if bare else 1)
    return np.array(result)


def priced(logits, tokens, nth):
    """Scores of words as the engine decides by them: the odds divided by tokens ** LENGTH_EXPONENT
    and, of the nth use of a word, by nth ** REPEAT_EXPONENT."""
    price = LENGTH_EXPONENT * np.log(np.maximum(1, tokens)) + REPEAT_EXPONENT * np.log(nth)
    return 1 / (1 + np.exp(price - np.asarray(logits, np.float64)))


def priced_words(logits, doc):
    return priced(logits, doc.tokens, uses(doc.text[a:b] for a, b in doc.spans))


def document(item):
    """The item with what the engine says about its text."""
    seen = floor.look(item["text"])
    spans = [tuple(span) for span in item["spans"]]
    if [(w.start, w.end) for w in seen.words] != spans:
        raise ValueError(f"{item['domain']}: the engine's words are not the data set's")
    word = np.asarray(item["word"])
    inside = np.flatnonzero(word >= 0)
    after = np.searchsorted(inside, np.flatnonzero(word < 0))  # white space behind the last: none
    blank = word[inside[after[after < len(inside)]]]
    return Document(
        domain=item["domain"],
        routed=seen.domain,
        text=item["text"],
        spans=spans,
        line=np.asarray(item["line"]),
        critical=np.array([w.critical for w in seen.words], bool),
        forced=np.array([w.forced for w in seen.words], bool),
        item=np.array([w.item for w in seen.words]),
        tokens=np.bincount(word[inside], minlength=len(spans)),
        space=np.bincount(blank, minlength=len(spans)),
        source=item,
    )


@functools.lru_cache(maxsize=None)
def normal_words(doc):
    return [labels.normal(doc.text[a:b]) for a, b in doc.spans]


def ranked(doc, scores):
    """Indices of the words that the floor leaves, best first; ties to the earlier."""
    free = np.flatnonzero(~doc.forced)
    return free[np.argsort(-np.asarray(scores)[free], kind="stable")]


def keep_words(doc, scores, ratio):
    """The floor and the best `ratio` of the free words."""
    order = ranked(doc, scores)
    mask = doc.forced.copy()
    mask[order[: round(ratio * len(order))]] = True
    return mask


def keep_tokens(doc, scores, ratio):
    """The floor and the best free words until the next would exceed `ratio` of their tokens."""
    order = ranked(doc, scores)
    cost = np.cumsum(doc.tokens[order])
    mask = doc.forced.copy()
    if len(order):
        mask[order[: np.searchsorted(cost, ratio * cost[-1], side="right")]] = True
    return mask


def kept_tokens(doc, mask):
    """Tokens of the kept words, and of the white space of lines of which something is kept: what
    the reply counts, but for neighbours that merge differently once a word between them is gone."""
    lines = np.zeros(doc.line.max() + 1 if len(doc.line) else 0, bool)
    lines[doc.line[mask]] = True
    return int(doc.tokens[mask].sum() + doc.space[lines[doc.line]].sum())


KEEP = {"words": keep_words, "tokens": keep_tokens}


def item_scores(doc, scores):
    """Each word's score as the engine decides: a row of a table has that of its best word."""
    best = np.full(doc.item.max() + 1 if len(doc.item) else 0, -np.inf)
    np.maximum.at(best, doc.item, np.asarray(scores, float))
    return best[doc.item]


def engine_scores(engine, doc):
    """The model's score of each word, from the engine: the highest of its units."""
    at = floor.character_offsets(doc.text, doc.text.encode())
    units = engine.compress(doc.text, domain=doc.routed, explain=True).units
    scores, word = np.full(len(doc.spans), -np.inf), 0
    for unit in units:
        while doc.spans[word][1] <= at(unit.start):
            word += 1
        scores[word] = max(scores[word], unit.score)
    return scores
