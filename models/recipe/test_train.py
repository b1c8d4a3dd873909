"""Tests of training and export; they need the packages of the recipe: python3 test_train.py"""

import os
import shutil
import tempfile
import unittest

import numpy as np
import torch

import dataset
import export
import floor
import labels
import model
import train
import windows

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pith-mini")


def made_up_items(count, seed=5):
    """Labelled documents of random tokens, one word each, one of them over two windows."""
    rng = np.random.RandomState(seed)
    items = []
    for index in range(count):
        n = 900 if index == 0 else int(rng.randint(20, 60))
        word = np.arange(n, dtype=np.int32)
        pieces = windows.cut(list(word))
        items.append(
            {
                "ids": rng.randint(5, 300, n).astype(np.int32),
                "word": word,
                "windows": pieces,
                "target": np.array(labels.percentiles(list(rng.rand(n))), np.float32),
                "critical": rng.rand(n) < 0.3,
                "line": np.arange(n, dtype=np.int32) // 10,
                "repeats": [rng.rand(end - begin, 3) < 0.5 for begin, end, _, _ in pieces],
                "spans": [(2 * i, 2 * i + 1) for i in range(n)],
            }
        )
    return items


def weights_after(rows, steps, checkpoint, stop_at=None):
    run = train.Run(steps, seed=3)
    if os.path.exists(checkpoint):
        run.resume(checkpoint, "cpu")
    for _ in range(1000):
        for _ in run.epoch(rows):
            if run.place["step"] == stop_at:
                run.save(checkpoint)
                return None
        if run.place["step"] >= steps:
            break
    return run.model.state_dict()


class ResumeTest(unittest.TestCase):
    def test_interrupted_training_resumes_to_the_same_weights(self):
        torch.set_num_threads(1)
        rows = train.sequences(made_up_items(12))
        with tempfile.TemporaryDirectory() as folder:
            through = weights_after(rows, 5, os.path.join(folder, "a"))
            self.assertIsNone(weights_after(rows, 5, os.path.join(folder, "b"), stop_at=3))
            resumed = weights_after(rows, 5, os.path.join(folder, "b"))
        for name, tensor in through.items():
            self.assertTrue(torch.equal(tensor, resumed[name]), name)

    def test_run_of_another_plan_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "c")
            train.Run(5, seed=3).save(path)
            with self.assertRaises(ValueError):
                train.Run(5, seed=4).resume(path, "cpu")


class GeneratedTest(unittest.TestCase):
    def test_generated_rows_are_the_share_that_was_asked_for_and_in_domains_of_the_engine(self):
        pairs = dataset.generated(0.2, 32)
        self.assertEqual(len(pairs), 8)
        self.assertEqual({domain for domain, _ in pairs}, set(floor.DOMAINS) - {"auto"})
        self.assertEqual(dataset.generated(0.0, 32), [])


class ExportTest(unittest.TestCase):
    def setUp(self):
        self.net = model.PithMini()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copy(os.path.join(SHIPPED, "tokenizer.json"), self.folder)
        self.config = export.config_json(self.net, {"default": 0.5})

    def test_the_engine_opens_what_is_exported(self):
        export.publish(self.folder, export.tensors(self.net), self.config)
        self.assertEqual(
            set(os.listdir(self.folder)), {"tokenizer.json", "model.safetensors", "config.json"}
        )

    def test_a_shape_that_the_engine_does_not_know_is_refused_by_name_and_changes_nothing(self):
        files = export.tensors(self.net)
        files["token_head.weight"] = torch.zeros(3, self.net.config.width, dtype=torch.bfloat16)
        with self.assertRaisesRegex(ValueError, "token_head.weight"):
            export.publish(self.folder, files, self.config)
        self.assertEqual(os.listdir(self.folder), ["tokenizer.json"])


class AttentionTest(unittest.TestCase):
    def test_banded_attention_equals_the_masked_one(self):
        torch.manual_seed(1)
        q, k, v = (torch.randn(2, 3, 450, 8) for _ in range(3))
        padding = torch.arange(450)[None] >= torch.tensor([450, 391])[:, None]
        banded = model.banded_attention(q, k, v, 64, padding)
        mask = model.allowed_pairs(padding, 64)
        plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        inside = (~padding)[:, None, :, None].expand_as(plain)
        self.assertLess((banded - plain)[inside].abs().max().item(), 1e-5)


class WindowTest(unittest.TestCase):
    def test_every_token_of_a_long_document_gets_its_own_windows_output(self):
        torch.manual_seed(2)
        net, item = model.PithMini().eval(), made_up_items(1)[0]
        logits = export.token_outputs(net, item)[2]
        self.assertTrue(np.isfinite(logits).all())
        begin, end, first, _ = item["windows"][1]
        alone = export.window_outputs(net, [1, *item["ids"][begin:end], 2])[2][1:-1]
        np.testing.assert_array_equal(logits[first:], alone[first - begin :])


if __name__ == "__main__":
    unittest.main()
