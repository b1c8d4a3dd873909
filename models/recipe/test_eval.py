"""Tests of eval/: masks, measures, operating points and the card's tables; they need numpy."""

import itertools
import math
import unittest

import numpy as np

import labels
from eval import measures, scorers, settings, text, thresholds

TEXT = "alpha beta 17 gamma\n\n    delta epsilon\nalpha beta 18 gamma"


class Table:
    """A count table with nothing in it: every word is rare."""

    document_counts = {}

    @staticmethod
    def idf(word):
        return float(len(word))


def made_up(content, domain="log", tokens_of=lambda word: 1, blanks=True):
    """A document of the data set: a token a word (or more), one a line end and one an indent."""
    spans, word, at = labels.word_spans(content), [], 0
    for index, (start, end) in enumerate(spans):
        gap = content[at:start]
        word += [-1] * ((gap.count("\n") + ("    " in gap)) * blanks)
        word += [index] * tokens_of(content[start:end])
        at = end
    return text.document(
        {
            "domain": domain,
            "text": content,
            "spans": spans,
            "word": np.array(word),
            "line": np.array(labels.line_numbers(content, spans)),
        }
    )


class MaskTest(unittest.TestCase):
    def setUp(self):
        self.doc = made_up(TEXT, tokens_of=len)
        self.scores = np.array([9, 8, 0, 7, 6, 5, 4, 3, 0, 2], float)

    def names(self, mask):
        return [self.doc.text[a:b] for (a, b), kept in zip(self.doc.spans, mask) if kept]

    def test_the_floor_and_the_best_share_of_the_other_words_are_kept(self):
        mask = text.keep_words(self.doc, self.scores, 0.25)  # eight words are free
        self.assertEqual(self.names(mask), ["alpha", "beta", "17", "18"])

    def test_tokens_are_filled_until_the_next_word_would_exceed_them(self):
        # 40 free tokens: alpha 5, beta 4, gamma 5, delta 5, epsilon 7, alpha 5, beta 4, gamma 5
        mask = text.keep_tokens(self.doc, self.scores, 0.25)
        self.assertEqual(self.names(mask), ["alpha", "beta", "17", "18"])
        mask = text.keep_tokens(self.doc, self.scores, 14 / 40)
        self.assertEqual(self.names(mask), ["alpha", "beta", "17", "gamma", "18"])

    def test_white_space_of_a_line_goes_with_its_last_word(self):
        everything = np.ones(len(self.doc.spans), bool)
        self.assertEqual(text.kept_tokens(self.doc, everything), 40 + 4 + 4)
        second = self.doc.line == 2
        self.assertEqual(text.kept_tokens(self.doc, ~second), 28 + 4 + 1)

    def test_a_row_of_a_table_has_the_score_of_its_best_word(self):
        doc = made_up("\n".join(f"one  two  {n}" for n in range(3)))
        scores = text.item_scores(doc, [1, 5, 2, 0, 0, 0, 7, 8, 9])
        self.assertEqual(list(scores), [5] * 3 + [0] * 3 + [9] * 3)


class MeasureTest(unittest.TestCase):
    def test_types_count_once_and_critical_words_not_at_all(self):
        doc = made_up(TEXT)
        mask = np.array([True] + [False] * 9)
        types, rare = measures.type_recall(doc, mask, Table)
        self.assertEqual((types, rare), (1 / 5, 1 / 5))  # alpha beta gamma delta epsilon

    def test_a_template_counts_by_its_best_line(self):
        doc = made_up(TEXT)
        mask = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0, 0], bool)  # two of three of the last line
        self.assertEqual(measures.line_recall(doc, mask), 1 / 2)

    def test_everything_kept_is_worth_everything(self):
        doc = made_up(TEXT)
        for value in measures.measures(doc, np.ones(10, bool), Table):
            self.assertEqual(value, 1.0)

    def test_text_rank_prefers_the_word_that_stands_near_the_others(self):
        words = "hub red hub green hub blue hub white lonely".split()
        rank = scorers.text_rank(words)
        self.assertEqual(max(zip(rank, words))[1], "hub")
        self.assertAlmostEqual(sum({w: r for r, w in zip(rank, words)}.values()), 1.0, places=6)

    def test_stop_words_go_first(self):
        scores = scorers.stop_words(["the", "pump", "", "of"], np.random.RandomState(1))
        self.assertEqual(int(np.argmax(scores)), 1)


def scored(domain, score_of, copies=thresholds.DOCUMENTS_MIN):
    doc = made_up(" ".join(f"w{'x' * n}" for n in range(1, 9)) + " 11 12", domain)
    return [(doc, np.array([score_of(i) for i in range(10)]))] * copies


class ThresholdTest(unittest.TestCase):
    """Ten words of one token, two of them critical; the floor alone keeps a fifth."""

    def chosen(self, score_of):
        pairs = scored("prose", score_of)
        chosen = thresholds.from_scores(pairs)
        self.assertEqual(set(chosen), {"default", pairs[0][0].routed})
        return chosen["default"], thresholds.Scored(pairs)

    def test_the_lowest_threshold_that_keeps_few_enough_of_what_the_floor_leaves(self):
        threshold, all_scored = self.chosen(lambda i: 0.1 * i + 0.05 if i < 8 else 0.99)
        self.assertEqual(all_scored.free_tokens(threshold), 0.25)  # 2 of 8, the third is too much
        self.assertEqual(all_scored.free_tokens(threshold - 0.001), 0.375)

    def test_documents_weigh_the_same_within_a_domain_as_routed(self):
        one, other = scored("prose", lambda i: 0.2, copies=1), scored(
            "code", lambda i: 0.8, copies=3
        )
        self.assertEqual(thresholds.Scored(one + other).free_tokens(0.5), 0.75)
        balanced = thresholds.Scored(one + other, balanced=True)
        self.assertAlmostEqual(balanced.free_tokens(0.5), 0.5)

    def test_critical_words_stay_above_the_threshold(self):
        threshold, all_scored = self.chosen(lambda i: 0.9 if i < 8 else 0.3)
        self.assertEqual(all_scored.critical_above(threshold), 1.0)
        self.assertLess(threshold, 0.3)

    def test_few_documents_leave_a_domain_to_the_default(self):
        pairs = scored("prose", lambda i: i / 10, copies=thresholds.DOCUMENTS_MIN - 1)
        self.assertEqual(set(thresholds.from_scores(pairs)), {"default"})


class PriceTest(unittest.TestCase):
    def test_odds_are_divided_by_the_roots_of_tokens_and_uses(self):
        odds = lambda score: score / (1 - score)
        scores = text.priced(np.full(3, math.log(3.0)), np.array([1, 4, 1]), np.array([1, 1, 9]))
        for score, expected in zip(scores, (3.0, 1.5, 1.0)):
            self.assertAlmostEqual(odds(score), expected)

    def test_uses_of_a_word_are_counted_without_punctuation_and_case(self):
        words = "Timeout, again: (timeout) TIMEOUT timeouts -- -- Ärger ärger Ärger!".split()
        self.assertEqual(list(text.uses(words)), [1, 1, 2, 3, 1, 1, 1, 1, 1, 2])
        self.assertEqual(max(text.uses(["again"] * 100)), text.USES_MAX)


class SettingsTest(unittest.TestCase):
    def test_a_span_is_covered_by_one_range_that_holds_all_of_it(self):
        ranges = [(2, 5), (8, 12)]
        covered = {
            (a, b)
            for a, b in itertools.combinations(range(14), 2)
            if settings.covered(ranges, a, b)
        }
        inside = {(a, b) for s, e in ranges for a in range(s, e) for b in range(a + 1, e + 1)}
        self.assertEqual(covered, inside)


if __name__ == "__main__":
    unittest.main()
