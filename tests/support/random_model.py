"""Weights from an integer generator: the twin of tests/support/random_model.h, bit for bit.

The generator is written down there. As a program it writes a model directory:
    random_model.py DIR [--shape base|tiny] [--dtype f32|bf16] [--seed N] [--gain-head G] ...
As a module: tensors(config, opts) gives {canonical name: float32 array}, config_json(config) the
content of config.json; write(dir, config, opts) both. Needs numpy alone.
"""

import argparse
import json
import math
import os
import struct

import numpy as np

BASE = {
    "name": "random-base",
    "vocab_size": 50368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "cls_token_id": 50281,
    "sep_token_id": 50282,
    "pad_token_id": 50283,
    "span_channels": 256,
    "window_tokens": 512,
    "halo_tokens": 64,
    "gate": "multiplicative",
    "gamma": 0.0,
    "thresholds": {"default": 0.5},
}
TINY = dict(
    BASE,
    name="random-tiny",
    vocab_size=512,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=4,
    num_attention_heads=2,
    cls_token_id=1,
    sep_token_id=2,
    pad_token_id=0,
    span_channels=16,
    window_tokens=64,
    halo_tokens=8,
)
OPTS = {
    "seed": 0,
    "dtype": "f32",
    "gain_linear": 1.0,
    "gain_residual": 1.0,
    "gain_head": 4.0,
    "std_embedding": 1.0,
    "std_norm": 0.1,
    "std_bias": 0.1,
    "word_mode": "raw",
}
BLOCK = 1 << 20
MASK = (1 << 64) - 1


def key(name, seed):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h ^ seed


def tensor(name, shape, seed, mean, std):
    """float32 array of `shape`: uniform in mean +- sqrt(3) std."""
    count = int(np.prod(shape))
    out = np.empty(count, np.float32)
    scale = np.float32(math.sqrt(3.0) * std / 16777216.0)
    k = np.uint64(key(name, seed))
    for start in range(0, count, BLOCK):
        i = np.arange(start + 1, min(count, start + BLOCK) + 1, dtype=np.uint64)
        x = k + i * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
        v = 2 * (x >> np.uint64(40)).astype(np.int64) - 16777215
        out[start : start + len(i)] = np.float32(mean) + v.astype(np.float32) * scale
    return out.reshape(shape)


def shapes(config):
    """{canonical name: shape}, sorted by name."""
    d, f, c = config["hidden_size"], config["intermediate_size"], config["span_channels"]
    table = {
        "encoder.embeddings.tok_embeddings.weight": (config["vocab_size"], d),
        "encoder.embeddings.norm.weight": (d,),
        "encoder.final_norm.weight": (d,),
        "token_head.weight": (2, d),
        "token_head.bias": (2,),
        "span_conv.0.weight": (c, d, 5),
        "span_conv.0.bias": (c,),
        "span_conv.2.weight": (1, c, 3),
        "span_conv.2.bias": (1,),
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{i}."
        if i > 0:
            table[layer + "attn_norm.weight"] = (d,)
        table[layer + "attn.Wqkv.weight"] = (3 * d, d)
        table[layer + "attn.Wo.weight"] = (d, d)
        table[layer + "mlp_norm.weight"] = (d,)
        table[layer + "mlp.Wi.weight"] = (2 * f, d)
        table[layer + "mlp.Wo.weight"] = (d, f)
    return dict(sorted(table.items()))


def moments(opts, name, shape):
    fan_in = int(np.prod(shape[1:]))
    if "norm.weight" in name:
        return 1.0, opts["std_norm"]
    if ".bias" in name:
        return 0.0, opts["std_bias"]
    if "tok_embeddings" in name:
        return 0.0, opts["std_embedding"]
    if "token_head" in name or "span_conv" in name:
        return 0.0, opts["gain_head"] / math.sqrt(float(fan_in))
    if ".Wo." in name:
        return 0.0, opts["gain_residual"] / math.sqrt(float(fan_in))
    return 0.0, opts["gain_linear"] / math.sqrt(float(fan_in))


def bf16_bits(array):
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_round(array):
    """float32 array with the values that a bf16 file holds."""
    return (bf16_bits(array).astype(np.uint32) << 16).view(np.float32)


def tensors(config, opts=OPTS):
    """{canonical name: float32 array}, rounded to bf16 values when opts["dtype"] is "bf16"."""
    table = {}
    for name, shape in shapes(config).items():
        w = tensor(name, shape, opts["seed"], *moments(opts, name, shape))
        table[name] = bf16_round(w) if opts["dtype"] == "bf16" else w
    return table


def config_json(config, opts=OPTS):
    """transformers 4 spelling plus the pith object."""
    own = ("name", "span_channels", "window_tokens", "halo_tokens", "gate", "gamma", "thresholds")
    out = {"model_type": "modernbert"}
    out.update({k: v for k, v in config.items() if k not in own})
    out["bos_token_id"], out["eos_token_id"] = config["cls_token_id"], config["sep_token_id"]
    if opts["word_mode"] is not None:
        out["pith"] = {"format": 1, "word_mode": opts["word_mode"]}
        out["pith"].update({k: config[k] for k in own})
    return out


def write_safetensors(path, table, dtype="f32"):
    """`table` float32 arrays in the given order; dtype "f32" or "bf16"."""
    header, offset = {}, 0
    size = 4 if dtype == "f32" else 2
    for name, array in table.items():
        end = offset + array.size * size
        header[name] = {
            "dtype": {"f32": "F32", "bf16": "BF16"}[dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for array in table.values():
            out.write((array if dtype == "f32" else bf16_bits(array)).tobytes())


def write(directory, config, opts=OPTS):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w") as out:
        json.dump(config_json(config, opts), out, indent=2)
    path = os.path.join(directory, "model.safetensors")
    write_safetensors(path, tensors(config, opts), opts["dtype"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir")
    parser.add_argument("--shape", choices=("base", "tiny"), default="tiny")
    for name, value in OPTS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    args = parser.parse_args()
    opts = {name: getattr(args, name) for name in OPTS}
    write(args.dir, BASE if args.shape == "base" else TINY, opts)


if __name__ == "__main__":
    main()
