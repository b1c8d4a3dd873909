"""Makes the fixtures beside this script; run it from the repository's root.

    python tests/golden/weights/make_goldens.py

Made with torch 2.15, transformers 5.23, peft 0.21.2, safetensors 0.8 and numpy 2.4. One tiny
ModernBERT with heads (2 layers of width 8) in every published layout:

    flat/           model.safetensors written by safetensors; config.json as transformers 4 wrote it
    peft/           the same weights before the merge, as the peft library names them
    converted/      models/convert.py on a merged.pt with span_head_state_dict, f32
    converted-v2/   models/convert.py on a merged.pt with span_conv_state_dict and config, bf16
    peft-pattern/   random f32 weights, rslora, rank_pattern and alpha_pattern; merged.safetensors is
                    what peft's own merge_and_unload gives

The weights of the first four are multiples of 1/64 below 2, and so are the merged ones: every path
gives the same numbers without rounding. random_model.txt holds digests of random_model.py's files,
fingerprints.txt those that runtime/weights/fingerprint.h describes.
"""

import hashlib
import json
import os
import shutil
import struct
import sys
import tempfile

import numpy as np
import peft
import torch
from safetensors.torch import save_file
from transformers import ModernBertConfig, ModernBertModel

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "models"), os.path.join(ROOT, "tests", "support")]

import convert  # noqa: E402
import random_model  # noqa: E402

TINY = dict(
    vocab_size=32, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
    cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
CHANNELS = 4
TARGETS = ["Wqkv", "Wo", "Wi"]


class Compressor(torch.nn.Module):
    """The published module: an encoder, a token head and a span convolution."""

    def __init__(self):
        super().__init__()
        self.encoder = ModernBertModel(ModernBertConfig(**TINY))
        self.token_head = torch.nn.Linear(8, 2)
        self.span_conv = torch.nn.Sequential(
            torch.nn.Conv1d(8, CHANNELS, 5, padding=2), torch.nn.GELU(),
            torch.nn.Conv1d(CHANNELS, 1, 3, padding=1), torch.nn.Sigmoid())


def exact(rng, tensor, top, unit):
    """Fills with multiples of 1/unit, at most top/unit."""
    values = rng.integers(-top, top + 1, tuple(tensor.shape)) / unit
    tensor.data.copy_(torch.from_numpy(values.astype(np.float32)))


def fill(model, rng, exactly):
    for name, tensor in sorted(model.named_parameters()):
        if not exactly:
            tensor.data.copy_(torch.from_numpy(rng.standard_normal(tuple(tensor.shape))))
        elif "lora_" in name:
            exact(rng, tensor, 1, 8)
        else:
            exact(rng, tensor, 64, 64)


def with_pith(config):
    """The published defaults, except that the span convolution is as narrow as the fixture's."""
    return dict(config, pith={"format": 1, "name": "tiny", "word_mode": "split",
                              "span_channels": CHANNELS})


def write_json(directory, name, value):
    with open(os.path.join(HERE, directory, name), "w") as out:
        json.dump(value, out, indent=1, sort_keys=True, default=str)
        out.write("\n")


def fresh(directory):
    path = os.path.join(HERE, directory)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def adapted(seed, exactly, **lora):
    """A compressor whose encoder carries adapters, filled, and its adapter config."""
    model = Compressor().eval()
    config = peft.LoraConfig(target_modules=TARGETS, **lora)
    model.encoder = peft.get_peft_model(model.encoder, config)
    fill(model, np.random.default_rng(seed), exactly)
    settings = model.encoder.peft_config["default"].to_dict()
    settings["target_modules"] = TARGETS
    settings["peft_type"] = "LORA"
    return model, settings


def save(directory, name, tensors):
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, os.path.join(HERE, directory, name), metadata={"format": "pt"})


def layouts():
    model, settings = adapted(7, True, r=4, lora_alpha=8)
    fresh("peft")
    # The adapter's name is left out, as peft does when it saves an adapter alone.
    save("peft", "model.safetensors",
         {key.replace(".default.", "."): value for key, value in model.state_dict().items()})
    write_json("peft", "adapter_config.json", settings)
    new = ModernBertConfig(**TINY).to_dict()
    write_json("peft", "config.json", with_pith(new))

    model.encoder = model.encoder.merge_and_unload()
    fresh("flat")
    save("flat", "model.safetensors", model.state_dict())
    old = {key: new[key] for key in new if key not in ("rope_parameters", "layer_types")}
    old.update(global_rope_theta=160000.0, local_rope_theta=10000.0, global_attn_every_n_layers=3,
               model_type="modernbert", transformers_version="4.48.0")
    write_json("flat", "config.json", with_pith(old))
    pickles(model, TINY)


def pickles(model, config):
    """Both key variants of merged.pt, through models/convert.py."""
    parts = {"encoder_state_dict": model.encoder.state_dict(),
             "token_head_state_dict": model.token_head.state_dict()}
    span = model.span_conv.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "merged.pt")
        # Without a config the special tokens would be ModernBERT's: a tiny vocabulary needs one.
        torch.save(dict(parts, span_head_state_dict=span, config=config), path)
        convert.convert(folder, fresh("converted"), "f32", name="tiny")
        torch.save(dict(parts, span_conv_state_dict=span, config=config,
                        checkpoint_kind="merged"), path)
        convert.convert(path, fresh("converted-v2"), "bf16", name="tiny")


def patterns():
    model, settings = adapted(11, False, r=3, lora_alpha=5, use_rslora=True,
                              rank_pattern={"layers.0.attn.Wqkv": 2, "mlp.Wo": 1},
                              alpha_pattern={"Wi": 7})
    fresh("peft-pattern")
    save("peft-pattern", "model.safetensors", model.state_dict())
    write_json("peft-pattern", "adapter_config.json", settings)
    write_json("peft-pattern", "config.json", with_pith(ModernBertConfig(**TINY).to_dict()))
    model.encoder = model.encoder.merge_and_unload()
    save("peft-pattern", "merged.safetensors", model.state_dict())


def digests():
    """sha256 of two tiny models, and a few elements of ModernBERT-base's tensors as f32 bits."""
    lines = []
    for dtype in ("f32", "bf16"):
        with tempfile.TemporaryDirectory() as folder:
            random_model.write(folder, random_model.TINY, dict(random_model.OPTS, dtype=dtype, seed=5))
            with open(os.path.join(folder, "model.safetensors"), "rb") as file:
                lines.append(f"file {dtype} {hashlib.sha256(file.read()).hexdigest()}")
    for name in ("encoder.layers.21.mlp.Wi.weight", "span_conv.0.weight",
                 "encoder.final_norm.weight"):
        shape = random_model.shapes(random_model.BASE)[name]
        moments = random_model.moments(random_model.OPTS, name, shape)
        flat = random_model.tensor(name, shape, 0, *moments).reshape(-1)
        for i in (0, 1, flat.size - 1):
            lines.append(f"element {name} {i} {int(flat[i:i + 1].view(np.uint32)[0]):08x}")
    with open(os.path.join(HERE, "random_model.txt"), "w") as out:
        out.write("\n".join(lines) + "\n")


def fingerprints():
    """The fingerprint of peft/ alone and with a tokenizer.json of "{}" and of "[]"."""
    names = ("adapter_config.json", "config.json", "model.safetensors")
    lines = b""
    for name in names:
        with open(os.path.join(HERE, "peft", name), "rb") as file:
            lines += f"{hashlib.sha256(file.read()).hexdigest()}  {name}\n".encode()
    with open(os.path.join(HERE, "fingerprints.txt"), "w") as out:
        for tokenizer in (b"", b"{}", b"[]"):
            last = f"{hashlib.sha256(tokenizer).hexdigest()}  tokenizer.json\n".encode()
            out.write(hashlib.sha256(lines + (last if tokenizer else b"")).hexdigest() + "\n")


def corpus():
    """Seeds of tests/fuzz/fuzz_safetensors.c: a digit that chooses the reader, then a file."""
    folder = os.path.join(ROOT, "tests", "fuzz", "corpus", "safetensors")
    os.makedirs(folder, exist_ok=True)

    def seed(name, digit, content):
        with open(os.path.join(folder, name), "wb") as out:
            out.write(digit + content)

    def tensors(header, data=b"\0" * 12, length=None):
        text = header.encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    for name in ("converted-v2", "peft-pattern"):
        with open(os.path.join(HERE, name, "model.safetensors"), "rb") as file:
            seed(name, b"0", file.read())
    for name in ("flat", "peft", "converted"):
        with open(os.path.join(HERE, name, "config.json"), "rb") as file:
            seed("config-" + name, b"1", file.read())
    with open(os.path.join(HERE, "peft-pattern", "adapter_config.json"), "rb") as file:
        seed("adapter", b"2", file.read())
    a = '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
    b = '"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[%d,%d]}'
    seed("small", b"0", tensors("{" + a + "," + b % (8, 12) + "}"))
    seed("overlap", b"0", tensors("{" + a + "," + b % (6, 10) + "}"))
    seed("gap", b"0", tensors("{" + a + "," + b % (9, 13) + "}"))
    seed("nan", b"0", tensors("{" + a + "," + b % (8, 12) + "}", b"\xff" * 12))
    seed("lying-length", b"0", tensors("{" + a + "}", length=1 << 63))
    seed("overflow", b"0", tensors("{" + a.replace("[2]", "[4611686018427387906]") + "}"))
    seed("negative", b"0", tensors("{" + a.replace("[0,8]", "[-8,0]") + "}"))
    seed("deep", b"0", tensors('{"a":' + "[" * 3000))
    seed("pith", b"1", b'{"pith":{"format":1,"gate":"asymmetric","gamma":1.27,"thresholds":{"log":0.5}}}')


if __name__ == "__main__":
    layouts()
    patterns()
    digests()
    fingerprints()
    corpus()
