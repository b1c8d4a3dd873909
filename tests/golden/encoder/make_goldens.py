"""Golden outputs of the encoder from Hugging Face transformers (ModernBertModel, fp32, eager
attention) with weights from the integer generator of tests/support/random_model.py.

    python3 tests/golden/encoder/make_goldens.py [NAME...]  writes NAME.bin beside this file

Each sequence is run alone, without padding. The heads are torch's Linear and Conv1d, the gate the
multiplicative one. Stages: 0 after the embedding norm, i + 1 after layer i, the last after the
final norm; every STRIDE-th row of the packed batch is kept.

NAME.bin, little-endian: u32 n_seq, n_tok, n_stages, hidden, stride; u32 cu_seqlens[n_seq + 1];
u32 ids[n_tok]; f32 z_tok[n_tok]; f32 z_span[n_tok]; f32 score[n_tok];
f32 stage[n_stages][ceil(n_tok / stride)][hidden]. `base`, the full ModernBERT-base shape, has no
stages; its weights are rounded to bf16 as a file that stores bf16 holds them, the rest is f32.
"""

import os
import struct
import sys

import numpy as np
import torch
import transformers
from transformers import ModernBertConfig, ModernBertModel

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "support"))
import random_model  # noqa: E402

STRIDE = 5

# name: (changes to random_model.TINY, sequence lengths). The same table is in
# tests/runtime/model/golden_cases.h.
TINY = {
    "heads32": ({}, [200, 5, 1]),
    "heads64": (
        {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 3, "local_attention": 16},
        [130, 64, 2],
    ),
    "shallow": ({"num_attention_heads": 1, "num_hidden_layers": 1}, [65, 1, 129]),
    "ragged": (
        {
            "hidden_size": 96,
            "num_attention_heads": 3,
            "intermediate_size": 102,
            "num_hidden_layers": 2,
            "local_attention": 4,
            "span_channels": 5,
        },
        [63, 127, 3],
    ),
    "narrow_heads": (
        {"hidden_size": 72, "num_attention_heads": 6, "num_hidden_layers": 4, "local_attention": 32,
         "global_attn_every_n_layers": 2},
        [100, 17],
    ),
}
# The full shape: residual branches scaled by depth (near 1 / sqrt(2 layers), as such networks are
# initialised; at 1 the 22 random layers amplify rounding as no trained model does) and heads that
# spread the scores over (0, 1) without saturating them.
BASE_OPTS = {"dtype": "bf16", "gain_residual": 0.2, "gain_head": 2.0}
BASE_LENGTHS = [512, 400, 300, 128, 65, 64, 31]


def token_ids(count, vocab):
    """Words of a pseudo text: multiplicative hashing of the position."""
    return [int((i * 2654435761 + 12345) % (1 << 32) >> 8) % vocab for i in range(count)]


def model_of(config, table):
    settings = {k: v for k, v in random_model.config_json(config).items() if k not in ("pith", "model_type")}
    hf = ModernBertConfig(**settings)
    hf._attn_implementation = "eager"
    model = ModernBertModel(hf).eval()
    state = {k[len("encoder.") :]: torch.from_numpy(v) for k, v in table.items() if k.startswith("encoder.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all("rotary" in name or "inv_freq" in name for name in missing), missing
    print(hf.rope_parameters, hf.layer_types[:4], getattr(hf, "sliding_window", None))
    return model


def record_stages(model):
    stages = []
    keep = lambda module, args, out: stages.append((out[0] if isinstance(out, tuple) else out).detach()[0])
    for module in [model.embeddings, *model.layers, model.final_norm]:
        module.register_forward_hook(keep)
    return stages


def run(config, lengths, with_stages, opts):
    table = random_model.tensors(config, dict(random_model.OPTS, **(opts or {})))
    model = model_of(config, table)
    stages = record_stages(model)
    ids = token_ids(sum(lengths), config["vocab_size"])
    weights = {k: torch.from_numpy(v) for k, v in table.items() if not k.startswith("encoder.")}
    per_stage, z_tok, z_span, start = None, [], [], 0
    for length in lengths:
        stages.clear()
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([ids[start : start + length]])).last_hidden_state[0]
            logits = hidden @ weights["token_head.weight"].T + weights["token_head.bias"]
            span = torch.nn.functional.conv1d(
                hidden.T[None], weights["span_conv.0.weight"], weights["span_conv.0.bias"], padding=2)
            span = torch.nn.functional.conv1d(
                torch.nn.functional.gelu(span), weights["span_conv.2.weight"], weights["span_conv.2.bias"], padding=1)
        z_tok.append((logits[:, 1] - logits[:, 0]).numpy())
        z_span.append(span[0, 0].numpy())
        per_stage = per_stage or [[] for _ in stages]
        for into, stage in zip(per_stage, stages):
            into.append(stage.numpy())
        start += length
    z_tok, z_span = np.concatenate(z_tok), np.concatenate(z_span)
    sigma = lambda z: 1.0 / (1.0 + np.exp(-z.astype(np.float64)))
    score = (sigma(z_tok) * (0.5 + 0.5 * sigma(z_span))).astype(np.float32)
    kept = [np.concatenate(stage)[::STRIDE] for stage in per_stage] if with_stages else []
    return ids, z_tok, z_span, score, kept


def write(name, config, lengths, with_stages=True, opts=None):
    ids, z_tok, z_span, score, stages = run(config, lengths, with_stages, opts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("<u4")
    with open(os.path.join(HERE, name + ".bin"), "wb") as out:
        out.write(struct.pack("<5I", len(lengths), len(ids), len(stages), config["hidden_size"], STRIDE))
        out.write(offsets.tobytes() + np.array(ids, "<u4").tobytes())
        for array in (z_tok, z_span, score, *stages):
            out.write(array.astype("<f4").tobytes())
    print(f"{name}: {len(ids)} tokens, score quartiles {np.quantile(score, [0, 0.25, 0.5, 0.75, 1])}")


def main():
    only = sys.argv[1:]  # names; all of them by default
    print("transformers", transformers.__version__, "torch", torch.__version__)
    for name, (changes, lengths) in TINY.items():
        if only and name not in only:
            continue
        write(name, dict(random_model.TINY, **changes), lengths)
    if not only or "base" in only:
        write("base", random_model.BASE, BASE_LENGTHS, with_stages=False, opts=BASE_OPTS)


if __name__ == "__main__":
    main()
