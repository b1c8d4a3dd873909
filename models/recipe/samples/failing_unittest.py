"""Unit tests of which most fail: SEED=3 python3 -m unittest failing_unittest.py"""

import os
import random
import unittest

rng = random.Random(int(os.environ.get("SEED", "0")))
WORDS = ["alpha", "shard", "lease", "queue", "token", "frame", "index", "budget"]


class Case(unittest.TestCase):
    def test_dict(self):
        self.assertEqual(
            {w: rng.randrange(9) for w in rng.sample(WORDS, 4)}, {w: 1 for w in WORDS[:4]}
        )

    def test_list(self):
        self.assertListEqual([rng.choice(WORDS) for _ in range(6)], WORDS[:6])

    def test_text(self):
        self.assertMultiLineEqual("\n".join(rng.sample(WORDS, 5)), "\n".join(WORDS[:5]))

    def test_raises(self):
        with self.assertRaises(KeyError):
            {}.get(rng.choice(WORDS))

    def test_error(self):
        self.helper(rng.choice([None, 3, [], "x"]))

    def helper(self, x):
        return self.inner(x)["key"]

    def inner(self, x):
        return x[rng.randrange(9)].name

    def test_regex(self):
        self.assertRegex(rng.choice(WORDS), r"^\d+$")

    def test_cause(self):
        try:
            int(rng.choice(WORDS))
        except ValueError as error:
            raise RuntimeError("cannot read the %s setting" % rng.choice(WORDS)) from error


if __name__ == "__main__":
    unittest.main()
