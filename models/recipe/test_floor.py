"""Tests of floor.py: the engine's floor as the recipe sees it. Wants build/release/libpith_recipe.so
(make model-floor)."""

import json
import os
import random
import unicodedata
import unittest

import floor
import labels

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "pith-mini", "golden.json")
SPACES = [chr(c) for c in range(0x3001) if chr(c).isspace()]


def spans_of(look):
    return [(word.start, word.end) for word in look.words]


class FloorTest(unittest.TestCase):
    def classes_of(self, word, domain="prose"):
        found = floor.look(f"plain {word} plain", domain).words
        self.assertEqual(len(found), 3)
        self.assertFalse(found[0].forced or found[2].forced)
        return found[1].classes

    def test_words_are_the_recipes_words_at_every_kind_of_white_space(self):
        self.assertEqual(len(SPACES), 29)
        for space in SPACES:
            text = f"{space}one{space}{space}tw\u00f6 \u4e09{space}"
            self.assertEqual(spans_of(floor.look(text)), labels.word_spans(text), repr(space))

    def test_words_are_the_recipes_words_in_texts_of_any_characters(self):
        rng = random.Random(4)
        letters = "ab1/_-.\u00e9\u0301\u6771\U0001f680\u200b" + "".join(SPACES)
        for _ in range(300):
            text = "".join(rng.choice(letters) for _ in range(rng.randrange(60)))
            for form in ("NFC", "NFD"):
                shaped = unicodedata.normalize(form, text)
                self.assertEqual(spans_of(floor.look(shaped)), labels.word_spans(shaped))

    def test_words_are_the_recipes_words_in_the_golden_texts(self):
        with open(GOLDEN, encoding="utf-8") as file:
            for case in json.load(file)["cases"]:
                text = case["text"]
                flags = floor.critical(text, labels.word_spans(text))
                self.assertEqual(len(flags), len(labels.word_spans(text)))

    def test_other_words_than_the_engines_are_refused(self):
        with self.assertRaises(ValueError):
            floor.critical("two words", [(0, 9)])

    def test_classes_say_why(self):
        for word, name in (
            ("0xdeadbeef", "hex"),
            ("42", "number"),
            ("ENOENT", "allcaps"),
            ("/etc/passwd", "path"),
            ("--verbose", "flag"),
            ("never", "directive"),
            ("or", "connective"),
            ("v1.2.3", "version"),
            ("snake_case", "snake_case"),
            ("parseJson", "lower_camel"),
            ("KeyError:", "error_name"),
            ("isn't", "directive"),
            ("nothing", "negation"),
        ):
            self.assertIn(name, self.classes_of(word), word)
        self.assertEqual(self.classes_of("plain"), frozenset())

    def test_domain_decides_which_classes_hold(self):
        self.assertIn("quoted", self.classes_of('"name"', "log"))
        self.assertNotIn("quoted", self.classes_of('"name"', "json"))
        self.assertNotIn("snake_case", self.classes_of("snake_case", "code"))

    def test_a_row_of_a_table_is_forced_whole_and_critical_in_part(self):
        text = "\n".join(f"alpha  beta  {n}" for n in range(1, 5))
        words = floor.look(text, "log").words
        self.assertEqual([w.critical for w in words], [False, False, True] * 4)
        self.assertTrue(all(w.forced for w in words))
        text = "\n".join(f"alpha beta {n}" for n in range(1, 5))
        words = floor.look(text, "log").words
        self.assertEqual([w.forced for w in words], [False, False, True] * 4)

    def test_a_word_is_critical_exactly_where_a_class_has_a_span_in_it(self):
        with open(GOLDEN, encoding="utf-8") as file:
            for case in json.load(file)["cases"]:
                for word in floor.look(case["text"]).words:
                    self.assertEqual(word.critical, bool(word.classes))

    def test_spans_are_bytes_of_the_text(self):
        text = "na\u00efve caf\u00e9 costs 42 units"
        (span,) = floor.look(text, "prose").spans
        self.assertEqual(text.encode()[span.start : span.end], b"42")

    def test_routing_is_the_servers(self):
        self.assertEqual(floor.look('{"a": [1, 2], "b": "c"}').domain, "json")
        self.assertEqual(floor.look("").domain, "prose")

    def test_an_unknown_domain_is_refused(self):
        with self.assertRaises(ValueError):
            floor.look("text", "poetry")


if __name__ == "__main__":
    unittest.main()
