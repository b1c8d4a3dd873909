"""Tests of generators.py: the invariants on 3,000 rows, and that the check can fail."""

import collections
import random
import unittest

import floor
import generators

ROWS, SEED = 3000, 42


class GeneratorTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = generators.rows(ROWS, SEED)

    def test_every_critical_span_of_every_row_is_in_its_reference(self):
        spans = 0
        for row in self.rows:
            self.assertEqual(generators.kept_share(row["text"], row["reference"]), 1.0)
            spans += len(floor.look(row["text"]).spans)
        self.assertGreater(spans, 5 * ROWS)

    def test_every_row_is_at_least_the_ratio_longer_than_its_reference(self):
        shortest = min(len(row["text"]) / len(row["reference"]) for row in self.rows)
        self.assertGreaterEqual(shortest, generators.RATIO_MIN)

    def test_references_are_the_kept_words_in_order(self):
        for row in self.rows:
            words = row["text"].split()
            self.assertEqual(row["reference"].split(), [w for w, k in zip(words, row["keep"]) if k])
            self.assertEqual(len(words), len(row["keep"]))

    def test_domains_take_turns(self):
        counts = collections.Counter(row["domain"] for row in self.rows)
        self.assertEqual(set(counts), set(generators.GENERATORS))
        self.assertLessEqual(max(counts.values()) - min(counts.values()), 1)

    def test_texts_differ(self):
        self.assertEqual(len({row["text"] for row in self.rows}), ROWS)

    def test_the_same_seed_gives_the_same_rows(self):
        self.assertEqual(generators.rows(40, SEED), self.rows[:40])
        self.assertNotEqual(generators.rows(40, SEED + 1), self.rows[:40])

    def test_sentences_that_may_go_hold_nothing_critical(self):
        for seed in range(300):
            text = generators.filler(random.Random(seed))
            self.assertEqual(floor.look(text, "prose").spans, [], text)

    def test_a_row_that_loses_a_critical_word_is_refused(self):
        row = dict(self.rows[0])
        words = row["text"].split()
        critical = next(
            i
            for i, word in enumerate(floor.look(row["text"]).words)
            if word.critical and words.count(words[i]) == 1
        )
        flags = list(row["keep"])
        flags[critical] = False
        reference = " ".join(w for w, k in zip(words, flags) if k)
        with self.assertRaisesRegex(generators.RowError, "critical span"):
            generators.check({**row, "keep": flags, "reference": reference})

    def test_a_row_that_is_hardly_shorter_is_refused(self):
        row = dict(self.rows[0])
        flags = [True] * len(row["keep"])
        with self.assertRaisesRegex(generators.RowError, "characters for a reference"):
            generators.check({**row, "keep": flags, "reference": row["text"]})


if __name__ == "__main__":
    unittest.main()
