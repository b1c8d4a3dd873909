"""Labels without a language model: n-gram surprisal N, rules R, and the soft target made of both.

Plain Python, no packages. A word is a run of non-space characters. Sources of the constants: the
study that chose this recipe, measured once on held-out text (see README.md).
"""

import collections
import math
import re

WORD = re.compile(r"\S+")

STOP_WORDS = frozenset("""
a about after again all also am an and any are as at be because been before being between both but
by can could did do does don done down during each else etc few for from further had has have
having he her here his how i if in into is it it's its just may me might more most must my now of
off on once only or other our out over own per s same shall she should so some such t than that
the their them then there these they this those through to too under until up upon very via was we
were what when where which while who whom whose why will with within would you your
""".split())

# Character prior of an unseen word: exp(-2.4 * length - 1), length clamped (study).
CHAR_NATS, WORD_NATS, WORD_CHARS_MAX = 2.4, 1.0, 40
# Weight of each distinct type in a mixture: how much of the coarser estimate stays (step 2).
GLOBAL_BIGRAM_TYPES, DOC_UNIGRAM_TYPES, DOC_BIGRAM_TYPES, DOC_TRIGRAM_TYPES = 0.5, 2.0, 1.0, 0.7
# Weight of a word in a line whose template was seen earlier in the document (study).
REPEATED_LINE = 0.25
# Weight of R beside N in the target. R judges better on held-out text (m25 .633 against .574).
RULES_SHARE = 1.5

TEMPLATE_PART = re.compile(r'0x[0-9a-f]+|\b[0-9a-f]{7,}\b|\d+|(/[\w.\-]+)+|"[^"]*"')


def word_spans(text):
    """[(start, end)] of every word, in characters."""
    return [match.span() for match in WORD.finditer(text)]


def normal(word):
    """A word without punctuation at its ends, lower case; may be empty."""
    return re.sub(r"^\W+|\W+$", "", word).lower()


def line_numbers(text, spans):
    """The line that each word starts in."""
    numbers, line, at = [], 0, 0
    for start, _ in spans:
        line += text.count("\n", at, start)
        at = start
        numbers.append(line)
    return numbers


def template(line):
    """A line with numbers, hexadecimal, paths and quoted strings replaced by #."""
    return re.sub(r"\s+", " ", TEMPLATE_PART.sub("#", line)).strip()


def percentiles(scores):
    """Rank of each score in (0, 1); ties get their average rank."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    result, start = [0.0] * len(scores), 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        for position in order[start:end]:
            result[position] = ((start + end - 1) / 2 + 0.5) / len(scores)
        start = end
    return result


class NGram:
    """Word counts of the training documents, and the surprisal of a document's words."""

    def __init__(self, documents):
        self.unigrams = collections.Counter()
        self.bigrams = collections.defaultdict(collections.Counter)
        self.document_counts = collections.Counter()
        for text in documents:
            words = text.split()
            self.unigrams.update(words)
            self.document_counts.update({normal(w) for w in words})
            for left, right in zip(words, words[1:]):
                self.bigrams[left][right] += 1
        self.total = sum(self.unigrams.values())
        self.types = len(self.unigrams)
        self.documents = len(documents)

    def idf(self, word):
        """Inverse document frequency of a normalised word."""
        return math.log((self.documents + 1) / (self.document_counts.get(word, 0) + 0.5))

    def _global(self, previous, word, own, own_bigrams):
        """p(word) from prior, unigrams and bigrams, without the document's own counts."""
        prior = math.exp(-CHAR_NATS * min(len(word), WORD_CHARS_MAX) - WORD_NATS)
        total = self.total - sum(own.values())
        count = max(self.unigrams.get(word, 0) - own.get(word, 0), 0)
        p = (count + self.types * prior) / (total + self.types)
        successors = self.bigrams.get(previous)
        if successors:
            seen = self.unigrams.get(previous, 0) - own.get(previous, 0)
            count = max(successors.get(word, 0) - own_bigrams.get((previous, word), 0), 0)
            weight = max(1.0, GLOBAL_BIGRAM_TYPES * len(successors))
            if seen > 0:
                p = (count + weight * p) / (seen + weight)
        return p

    def surprisal(self, words, in_training=False):
        """-ln p of each word given those before; in_training leaves out the document itself."""
        own = collections.Counter(words) if in_training else collections.Counter()
        own_bigrams = collections.Counter(zip(words, words[1:])) if in_training else {}
        cache, after_one = collections.Counter(), collections.defaultdict(collections.Counter)
        after_two = collections.defaultdict(collections.Counter)
        result, before, previous = [], "\n", "\n"
        for at, word in enumerate(words):
            p = self._global(previous, word, own, own_bigrams)
            if at:
                p = _mix(cache[word], at, DOC_UNIGRAM_TYPES * len(cache), p)
            for table, key, weight in (
                (after_one, previous, DOC_BIGRAM_TYPES),
                (after_two, (before, previous), DOC_TRIGRAM_TYPES),
            ):
                seen = table.get(key)
                if seen:
                    p = _mix(seen[word], sum(seen.values()), weight * len(seen), p)
            result.append(-math.log(p))
            cache[word] += 1
            after_one[previous][word] += 1
            after_two[(before, previous)][word] += 1
            before, previous = previous, word
        return result


def _mix(count, total, weight, coarser):
    """One step from a coarse estimate to a finer one."""
    return (count + weight * coarser) / (total + weight)


def rules(text, spans, table):
    """R: 0 for stop-words and punctuation, else idf / (1 + uses), less in repeated lines."""
    seen_templates, repeated = set(), []
    for line in text.split("\n"):
        key = template(line)
        repeated.append(key in seen_templates)
        seen_templates.add(key)
    scores, uses = [], collections.Counter()
    for (start, end), line in zip(spans, line_numbers(text, spans)):
        word = normal(text[start:end])
        score = 0.0 if not word or word in STOP_WORDS else table.idf(word) / (1 + uses[word])
        uses[word] += 1
        scores.append(score * REPEATED_LINE if repeated[line] else score)
    return scores


def targets(surprisal, rule_scores):
    """The soft keep target of each word: its percentile of rank(N) + RULES_SHARE * rank(R)."""
    pairs = zip(percentiles(surprisal), percentiles(rule_scores))
    return percentiles([n + RULES_SHARE * r for n, r in pairs])
