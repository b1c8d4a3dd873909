"""Convert a merged.pt checkpoint into a model folder that Pith opens.

    convert.py CHECKPOINT OUT [--dtype f32|bf16|f16] [--name NAME] [--tokenizer FILE]

CHECKPOINT is a merged.pt or the folder that holds one. OUT gets config.json, model.safetensors
(flat layout) and, where one lies beside the checkpoint or is named, tokenizer.json.

A merged.pt is a dict of encoder_state_dict, token_head_state_dict and either span_conv_state_dict
or span_head_state_dict, with an optional "config" dict. It is read with weights_only=True, so that
nothing in it is executed. Sizes come from the tensors; what tensors do not show (RoPE bases, the
window of local layers, special tokens) comes from "config" where it is there, else ModernBERT's.
"""

import argparse
import json
import os
import shutil
import struct
import sys

import torch

HEAD_DIM = 64  # of ModernBERT-base and -large
SPAN_KEYS = ("span_conv_state_dict", "span_head_state_dict")
DTYPES = {
    "f32": (torch.float32, "F32"),
    "bf16": (torch.bfloat16, "BF16"),
    "f16": (torch.float16, "F16"),
}
DEFAULTS = {
    "local_attention": 128,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "norm_eps": 1e-5,
    "max_position_embeddings": 8192,
    "cls_token_id": 50281,
    "sep_token_id": 50282,
    "pad_token_id": 50283,
}


class BadCheckpoint(Exception):
    """The text names what was found and what was expected."""


def state_dict(checkpoint, key):
    """checkpoint[key] as a dict of tensors."""
    table = checkpoint.get(key)
    if not isinstance(table, dict) or not table:
        raise BadCheckpoint(f"{key}: found {type(table).__name__}, expected a dict of tensors")
    for name, tensor in table.items():
        if not isinstance(tensor, torch.Tensor):
            raise BadCheckpoint(f"{key}: {name}: found {type(tensor).__name__}, expected a tensor")
    return table


def flat_tensors(checkpoint):
    """{canonical name: tensor}, sorted by name."""
    present = [key for key in SPAN_KEYS if key in checkpoint]
    if len(present) != 1:
        raise BadCheckpoint(f"found {present or 'neither'}, expected one of {' and '.join(SPAN_KEYS)}")
    parts = {"encoder": "encoder_state_dict", "token_head": "token_head_state_dict",
             "span_conv": present[0]}
    flat = {}
    for prefix, key in parts.items():
        for name, tensor in state_dict(checkpoint, key).items():
            if ".lora_" in name or ".base_layer." in name:
                raise BadCheckpoint(f"{key}: {name}: found an adapter, expected merged weights")
            flat[f"{prefix}.{name}"] = tensor
    return dict(sorted(flat.items()))


def shape_of(flat, name, n_dims):
    if name not in flat:
        raise BadCheckpoint(f"{name}: found nothing of this name, expected {n_dims} dimensions")
    shape = list(flat[name].shape)
    if len(shape) != n_dims:
        raise BadCheckpoint(f"{name}: found shape {shape}, expected {n_dims} dimensions")
    return shape


def sizes_of(flat, config):
    """The keys of config.json that the tensors show."""
    vocab, hidden = shape_of(flat, "encoder.embeddings.tok_embeddings.weight", 2)
    layers = {int(name.split(".")[2]) for name in flat if name.startswith("encoder.layers.")}
    if not layers or layers != set(range(len(layers))):
        raise BadCheckpoint(f"encoder.layers: found {sorted(layers)}, expected 0 to {len(layers)}")
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": shape_of(flat, "encoder.layers.0.mlp.Wo.weight", 2)[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": config.get("num_attention_heads", max(1, hidden // HEAD_DIM)),
    }


def config_json(flat, config, name):
    """config.json in the spelling of transformers 4, with the decisions of published checkpoints."""
    sizes = sizes_of(flat, config)
    for key, value in sizes.items():
        if config.get(key, value) != value:
            raise BadCheckpoint(f"config: {key}: found {config[key]}, expected {value} as in the tensors")
    out = {"model_type": "modernbert", **sizes}
    out.update({key: config.get(key, value) for key, value in DEFAULTS.items()})
    for key in ("cls_token_id", "sep_token_id", "pad_token_id"):
        if not 0 <= out[key] < sizes["vocab_size"]:
            raise BadCheckpoint(f"config: {key}: found {out[key]}, expected under {sizes['vocab_size']}")
    out["pith"] = {
        "format": 1,
        "name": name,
        "word_mode": "split",
        "gate": "multiplicative",
        "span_channels": shape_of(flat, "span_conv.0.weight", 3)[0],
        "window_tokens": 512,
        "halo_tokens": 64,
        "thresholds": {"default": 0.5},
    }
    return out


def write_safetensors(path, flat, dtype):
    kind, label = DTYPES[dtype]
    header, offset = {}, 0
    for name, tensor in flat.items():
        end = offset + tensor.numel() * kind.itemsize
        header[name] = {"dtype": label, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, tensor in flat.items():
            values = tensor.detach().to(kind).contiguous().reshape(-1)
            if not torch.isfinite(values).all():
                raise BadCheckpoint(f"{name}: found NaN or infinity, expected finite numbers in {dtype}")
            out.write(values.view(torch.uint8).numpy().tobytes())


def load(path):
    """The unpickled checkpoint; torch names a bad file by many exception types."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # pylint: disable=broad-except
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BadCheckpoint(
            f"found no checkpoint, expected a torch.save of plain tensors: {lines[0][:200]}") from error


def convert(source, out, dtype="f32", name=None, tokenizer=None):
    path = os.path.join(source, "merged.pt") if os.path.isdir(source) else source
    checkpoint = load(path)
    if not isinstance(checkpoint, dict):
        raise BadCheckpoint(f"found {type(checkpoint).__name__}, expected a dict")
    config = checkpoint.get("config")
    flat = flat_tensors(checkpoint)
    name = name or os.path.basename(os.path.abspath(out))
    settings = config_json(flat, config if isinstance(config, dict) else {}, name)
    tokenizer = tokenizer or os.path.join(os.path.dirname(path), "tokenizer.json")
    os.makedirs(out, exist_ok=True)
    write_safetensors(os.path.join(out, "model.safetensors"), flat, dtype)
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(settings, file, indent=2)
        file.write("\n")
    target = os.path.join(out, "tokenizer.json")
    if os.path.exists(tokenizer) and os.path.abspath(tokenizer) != os.path.abspath(target):
        shutil.copyfile(tokenizer, target)
    return settings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f32")
    parser.add_argument("--name", help="the model's name; by default that of the folder OUT")
    parser.add_argument("--tokenizer", help="tokenizer.json; by default the one beside CHECKPOINT")
    args = parser.parse_args()
    try:
        convert(args.checkpoint, args.out, args.dtype, args.name, args.tokenizer)
    except (BadCheckpoint, OSError) as error:
        sys.exit(f"{args.checkpoint}: {error}")


if __name__ == "__main__":
    main()
