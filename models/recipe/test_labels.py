"""Tests of labels.py against numbers worked out by hand. Plain Python: python3 test_labels.py"""

import math
import unittest

import labels

PRIOR_OF_ONE_LETTER = math.exp(-2.4 * 1 - 1)


class NGramTest(unittest.TestCase):
    """The mixture, one level at a time, on tables small enough to count on fingers."""

    def setUp(self):
        self.table = labels.NGram(
            ["a b a"]
        )  # a: 2, b: 1, pairs a-b and b-a, two types, three words

    def assert_surprisal(self, value, probability):
        self.assertAlmostEqual(value, -math.log(probability), places=12)

    def test_first_word_is_unigram_over_prior(self):
        p = (2 + 2 * PRIOR_OF_ONE_LETTER) / (3 + 2)
        self.assert_surprisal(self.table.surprisal(["a"])[0], p)

    def test_second_word_adds_global_bigram_then_document_unigram(self):
        unigram = (1 + 2 * PRIOR_OF_ONE_LETTER) / 5
        bigram = (1 + 1 * unigram) / (2 + 1)  # "b" once after two "a"; weight max(1, .5 * 1)
        document = (0 + 2 * bigram) / (1 + 2)  # one earlier word, one type, none of them "b"
        self.assert_surprisal(self.table.surprisal(["a", "b"])[1], document)

    def test_training_document_does_not_count_itself(self):
        first, second, third = self.table.surprisal(["a", "b", "a"], in_training=True)
        self.assertAlmostEqual(first, 3.4, places=12)  # nothing left but the prior exp(-3.4)
        self.assert_surprisal(second, (0 + 2 * PRIOR_OF_ONE_LETTER) / (1 + 2))
        self.assert_surprisal(
            third, (1 + 4 * PRIOR_OF_ONE_LETTER) / (2 + 4)
        )  # in document: a 1 of 2

    def test_repeated_pair_uses_document_bigram(self):
        table = labels.NGram(["q"])
        unseen = PRIOR_OF_ONE_LETTER / (1 + 1)
        unigram = (1 + 4 * unseen) / (3 + 4)  # x 2, y 1 before; two types, weight 2 each
        bigram = (1 + 1 * unigram) / (1 + 1)  # "y" once after one "x"; no trigram seen yet
        self.assert_surprisal(table.surprisal(["x", "y", "x", "y"])[3], bigram)

    def test_repeated_triple_uses_document_trigram(self):
        table = labels.NGram(["q"])
        unseen = PRIOR_OF_ONE_LETTER / 2
        unigram = (1 + 6 * unseen) / (5 + 6)  # x 2, y 2, z 1 before; the sixth word is "z"
        bigram = (1 + 1 * unigram) / (1 + 1)
        trigram = (1 + 0.7 * bigram) / (1 + 0.7)
        self.assert_surprisal(table.surprisal(["x", "y", "z", "x", "y", "z"])[5], trigram)

    def test_long_words_share_one_prior(self):
        table = labels.NGram(["q"])
        self.assertEqual(table.surprisal(["w" * 41]), table.surprisal(["w" * 400]))

    def test_idf(self):
        self.assertAlmostEqual(labels.NGram(["a b", "a"]).idf("b"), math.log(3 / 1.5), places=12)


class RulesTest(unittest.TestCase):
    def rules(self, text):
        table = labels.NGram(["a b"])  # every other word: idf = ln(2 / .5)
        return labels.rules(text, labels.word_spans(text), table)

    def test_stop_words_and_punctuation_are_zero(self):
        self.assertEqual(self.rules("the --- of")[0:3], [0.0, 0.0, 0.0])

    def test_repeated_words_count_less(self):
        idf = math.log(4)
        for found, expected in zip(self.rules("disk full, disk"), [idf, idf, idf / 2]):
            self.assertAlmostEqual(found, expected, places=12)

    def test_repeated_line_template_counts_a_quarter(self):
        idf = math.log(4)
        scores = self.rules("worker 17 ready\nworker 18 ready")
        self.assertAlmostEqual(scores[3], idf / 2 / 4, places=12)  # second "worker"
        self.assertAlmostEqual(scores[4], idf / 4, places=12)  # "18" is new, its line is not


class TargetTest(unittest.TestCase):
    def test_percentiles_average_ties(self):
        for found, expected in zip(labels.percentiles([3, 1, 1]), [5 / 6, 1 / 3, 1 / 3]):
            self.assertAlmostEqual(found, expected, places=12)

    def test_targets_rank_the_sum_of_ranks(self):
        # ranks of N: 1/6 3/6 5/6; of R: 5/6 3/6 1/6; R weighs more, so its order wins
        self.assertGreater(labels.RULES_SHARE, 1)
        for found, rank in zip(labels.targets([1, 2, 3], [9, 5, 1]), (5 / 6, 3 / 6, 1 / 6)):
            self.assertAlmostEqual(found, rank, places=12)
        # N 1/8 3/8 5/8 7/8, R 3/8 3/8 3/8 7/8 (ties share): N decides where R does not
        self.assertEqual(labels.targets([1, 2, 3, 4], [0, 0, 0, 1]), [0.125, 0.375, 0.625, 0.875])


class TextTest(unittest.TestCase):
    def test_template(self):
        self.assertEqual(labels.template('  GET  /a/b.c "x y" 0xff deadbeef 12 '), "GET # # # # #")

    def test_line_numbers(self):
        text = "a b\n\nc"
        self.assertEqual(labels.line_numbers(text, labels.word_spans(text)), [0, 0, 2])


if __name__ == "__main__":
    unittest.main()
