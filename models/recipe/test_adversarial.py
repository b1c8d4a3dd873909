"""The adversarial texts through the engine: after the floor every critical span is there."""

import os
import unittest

import engine
import floor
from eval import adversarial, settings

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "pith-mini")
HARD_RATIO = 0.05  # less than any floor: nothing but the floor is left
CASES_MIN, GROUPS_MIN = 40, 10


class AdversarialTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = engine.Engine(MODEL)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def test_the_set_is_as_large_as_the_card_says(self):
        self.assertGreaterEqual(len(adversarial.CASES), CASES_MIN)
        self.assertGreaterEqual(len({case.group for case in adversarial.CASES}), GROUPS_MIN)
        for case in adversarial.CASES:
            for string in case.must:
                self.assertIn(string, case.text)

    def replies(self):
        for case in adversarial.CASES:
            yield case, self.engine.compress(case.text)
            yield case, self.engine.compress(
                case.text, budget=engine.TARGET_RATIO, value=HARD_RATIO
            )

    def test_every_critical_span_is_in_the_output(self):
        for case, reply in self.replies():
            data, spans = case.text.encode(), floor.look(case.text).spans
            self.assertGreater(len(spans), 0, case.text)
            self.assertEqual((reply.critical_total, reply.critical_kept), (len(spans),) * 2)
            at = 0
            for span in spans:  # in their order: a later copy does not stand for an earlier one
                self.assertTrue(settings.covered(reply.ranges, span.start, span.end), case.text)
                at = reply.text.find(data[span.start : span.end].decode(), at)
                self.assertGreaterEqual(at, 0, case.text)

    def test_strings_that_a_reader_needs_are_in_the_output_but_for_those_no_class_holds(self):
        lost = set()
        for case, reply in self.replies():
            lost.update(string for string in case.must if string not in reply.text)
        self.assertEqual(lost, set(adversarial.UNHELD))

    def test_words_that_no_rule_holds_do_go(self):
        kept = [
            self.engine.compress(case.text, budget=engine.TARGET_RATIO, value=HARD_RATIO)
            for case in adversarial.CASES
            if case.group != "tables"
        ]
        dropped = sum(reply.input_words - reply.kept_words for reply in kept)
        self.assertGreater(dropped, sum(reply.input_words for reply in kept) / 4)


if __name__ == "__main__":
    unittest.main()
