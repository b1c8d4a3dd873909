"""Tests of windows.py. Plain Python: python3 test_windows.py"""

import random
import unittest

import windows
from windows import HALO_TOKENS, NO_WORD, TOKENS_MAX


def text_of(words, rng, tokens_max=6):
    """The word of each token of a made-up text; white space stands between some words."""
    found = []
    for word in range(words):
        found += [word] * rng.randint(1, tokens_max)
        if rng.random() < 0.2:
            found += [NO_WORD] * rng.randint(1, 3)
    return found


class CutTest(unittest.TestCase):
    def test_short_text_is_one_window(self):
        self.assertEqual(windows.cut([0, 0, NO_WORD, 1]), [(0, 4, 0, 2)])

    def test_text_that_just_fits_is_one_window_and_one_token_more_is_two(self):
        room = TOKENS_MAX - 2
        self.assertEqual(len(windows.cut(list(range(room)))), 1)
        self.assertEqual(len(windows.cut(list(range(room + 1)))), 2)

    def test_two_windows_worked_out_by_hand(self):
        # One token a word, 1000 of them: the first ends at 766, the second begins 128 before that;
        # word w is owned by the first while 2w + 1 <= 766 + 638, so up to 701.
        self.assertEqual(windows.cut(list(range(1000))), [(0, 766, 0, 702), (638, 1000, 702, 1000)])

    def test_every_word_is_owned_once_by_a_window_that_holds_it_with_context(self):
        rng = random.Random(3)
        for _ in range(40):
            words = text_of(rng.randint(1, 3000), rng)
            expected = 0
            for begin, end, first, last in windows.cut(words):
                self.assertLessEqual(end - begin, TOKENS_MAX - 2)
                self.assertEqual(first, expected)
                expected = last
                inside = [at for at in range(len(words)) if first <= words[at] < last]
                self.assertTrue(all(begin <= at < end for at in inside))
                if inside and begin > 0:
                    self.assertGreaterEqual(inside[0] - begin, HALO_TOKENS // 2)
                if inside and end < len(words):
                    self.assertGreaterEqual(end - inside[-1], HALO_TOKENS // 2)
            self.assertEqual(expected, max(words) + 1)

    def test_word_that_no_window_holds_is_refused(self):
        with self.assertRaises(ValueError):
            windows.cut([0] * TOKENS_MAX * 2)


if __name__ == "__main__":
    unittest.main()
