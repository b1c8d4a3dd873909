"""The committed weights still give the committed figures: the evaluation's cheap half."""

import json
import math
import os
import unittest

from eval import cheap

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "repetition first"
FIRST_ABOVE_REPEATS = ERROR_ABOVE_REPEATS = 0.15  # the goals of the model card
MODEL = os.path.join(HERE, "..", "pith-mini")


class CheapTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(MODEL, "cheap.json"), encoding="utf-8") as file:
            cls.committed = json.load(file)
        cls.found = cheap.figures(MODEL)

    def test_the_figures_are_the_committed_ones(self):
        names = cheap.differences(self.found, self.committed)
        self.assertEqual([(n, self.found.get(n), self.committed.get(n)) for n in names], [])

    def test_every_critical_span_survives_in_every_domain(self):
        after = [v for name, v in self.found.items() if name.endswith("critical after")]
        self.assertGreater(len(after), 8)
        self.assertEqual(set(after), {1.0})

    def test_repeats_score_lower_than_the_first_and_than_an_error(self):
        repeated = self.found["repetition repeated"]
        self.assertGreaterEqual(self.found["repetition first"] - repeated, FIRST_ABOVE_REPEATS)
        self.assertGreaterEqual(self.found["repetition error"] - repeated, ERROR_ABOVE_REPEATS)

    def test_a_figure_that_moved_is_told(self):
        for value in (self.committed[NAME] + 2 * cheap.TOLERANCE, math.nan):
            moved = {**self.committed, NAME: value}
            self.assertEqual(cheap.differences(moved, self.committed), [NAME])
        fewer = {n: v for n, v in self.committed.items() if n != NAME}
        self.assertEqual(cheap.differences(fewer, self.committed), [NAME])


if __name__ == "__main__":
    unittest.main()
