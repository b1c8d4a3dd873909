#!/usr/bin/env python3
"""Goldens of the kompress profile with a small real encoder instead of scripted scores.

    python make_encoder_goldens.py [--check]

The real headroom-ai 0.42.0 runs a ModernBERT of transformers (fp32, eager attention) with the
published heads: 4 layers of width 64 over tokenizer.json, weights from the integer generator of
tests/support/random_model.py, so that the C test can write the same model. Texts come from
make_goldens.py. A text is left out when moving every score by up to 1e-4 changes its output: two
implementations of one encoder agree to about 1e-6, and a decision that hangs on less is no test.

encoder_cases.jsonl.gz: one JSON array per line: [text, ratio or null, fnv of the output, kept words].
Needs what make_goldens.py needs, and torch.
"""

import gzip
import json
import logging
import os
import sys

import make_goldens as base
import numpy as np
import torch
from transformers import ModernBertConfig, ModernBertModel

sys.path.insert(0, os.path.join(base.HERE, "..", "..", "support"))
import random_model  # noqa: E402

N_CASES = 220
NOISE = 1e-4
NOISY_RUNS = 3


class EncoderSession:
    def __init__(self, config):
        table = random_model.tensors(config)
        settings = {k: v for k, v in random_model.config_json(config).items() if k not in ("pith", "model_type")}
        hf = ModernBertConfig(**settings)
        hf._attn_implementation = "eager"
        self.model = ModernBertModel(hf).eval()
        state = {k[len("encoder."):]: torch.from_numpy(v) for k, v in table.items() if k.startswith("encoder.")}
        _, unexpected = self.model.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        self.heads = {k: torch.from_numpy(v) for k, v in table.items() if not k.startswith("encoder.")}
        self.noise = None

    def run(self, names, feed):
        assert names == ["final_scores"] and len(feed["input_ids"]) == 1
        h, conv = self.heads, torch.nn.functional.conv1d
        with torch.no_grad():
            hidden = self.model(input_ids=torch.from_numpy(feed["input_ids"])).last_hidden_state[0]
            p = torch.softmax(hidden @ h["token_head.weight"].T + h["token_head.bias"], -1)[:, 1]
            span = conv(hidden.T[None], h["span_conv.0.weight"], h["span_conv.0.bias"], padding=2)
            span = conv(torch.nn.functional.gelu(span), h["span_conv.2.weight"], h["span_conv.2.bias"], padding=1)
            scores = (p * (0.5 + 0.5 * torch.sigmoid(span[0, 0]))).numpy()
        if self.noise is not None:
            scores = scores + self.noise.uniform(-NOISE, NOISE, scores.shape).astype(np.float32)
        return [scores[None]]


def main():
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    small = os.path.join(base.HERE, "tokenizer.json")
    reference = base.Reference(small)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(small)
    config = dict(random_model.TINY, vocab_size=tokenizer.get_vocab_size(),
                  cls_token_id=tokenizer.token_to_id("[CLS]"), sep_token_id=tokenizer.token_to_id("[SEP]"),
                  pad_token_id=tokenizer.token_to_id("[PAD]"), max_position_embeddings=512)
    session = EncoderSession(config)
    from headroom.transforms import kompress_compressor as kc

    entry = kc._kompress_cache[reference.compressor.config.model_id]
    kc._kompress_cache[reference.compressor.config.model_id] = (kc._OnnxModel(session), *entry[1:])
    lines, left_out, changed = [], 0, 0
    for i in range(N_CASES):
        text, ratio, *_ = base.make_case(i)
        session.noise = None
        result = reference.compress(text, ratio)
        noisy = set()
        for run in range(NOISY_RUNS):
            session.noise = np.random.default_rng(1000 * i + run)
            noisy.add(reference.compress(text, ratio).compressed)
        if noisy != {result.compressed}:
            left_out += 1
            continue
        changed += result.compressed != text
        lines.append(json.dumps([text, ratio, "%016x" % base.fnv1a64(result.compressed.encode()), result.compressed_tokens],
                                separators=(",", ":")))
    data = ("\n".join(lines) + "\n").encode()
    path = os.path.join(base.HERE, "encoder_cases.jsonl.gz")
    if "--check" in sys.argv:
        same = gzip.open(path).read() == data
        print("equal" if same else "DIFFERENT")
        return 0 if same else 1
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(data)
    print("%d cases, %d compressed, %d left out, %d bytes" % (len(lines), changed, left_out, os.path.getsize(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
