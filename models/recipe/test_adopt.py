"""Tests of adopt.py. Plain Python: python3 test_adopt.py"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import adopt

HERE = os.path.dirname(os.path.abspath(__file__))


def made_up_model(folder, m25, m50):
    os.makedirs(folder)
    for name in adopt.FILES:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(folder)
    words = {"25": {"m": m25}, "50": {"m": m50}}
    with open(os.path.join(folder, "evaluation.json"), "w", encoding="utf-8") as file:
        json.dump({"scorers": {"pith-mini": {"words": words}}}, file)


class AdoptTest(unittest.TestCase):
    def test_second_must_win_both_means(self):
        self.assertTrue(adopt.better((0.5, 0.8), (0.51, 0.81)))
        self.assertFalse(adopt.better((0.5, 0.8), (0.6, 0.8)))
        self.assertFalse(adopt.better((0.5, 0.8), (0.6, 0.79)))
        self.assertFalse(adopt.better((0.5, 0.8), (float("nan"), 0.9)))

    def test_files_of_the_better_model_are_copied(self):
        with tempfile.TemporaryDirectory() as root:
            first, second, out = (os.path.join(root, name) for name in ("first", "second", "out"))
            made_up_model(first, 0.5, 0.8)
            made_up_model(second, 0.6, 0.9)
            command = [sys.executable, os.path.join(HERE, "adopt.py")]
            command += ["--first", first, "--second", second, "--out", out]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            self.assertEqual(printed.strip(), second)
            self.assertEqual(sorted(os.listdir(out)), sorted(adopt.FILES))
            with open(os.path.join(out, "config.json"), encoding="utf-8") as file:
                self.assertEqual(file.read(), second)


if __name__ == "__main__":
    unittest.main()
