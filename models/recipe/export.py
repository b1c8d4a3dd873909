"""Write the shipped files from a checkpoint: model.safetensors (bf16), config.json, thresholds.

    python3 export.py --dataset dataset.pickle --checkpoint checkpoint.pt --out models/pith-mini

tokenizer.json is written into the same folder by dataset.py, before training. The engine opens the
files before they take the place of what is there: a shape that it does not know is refused with the
line of its manifest, and nothing changes.
"""

import argparse
import json
import os
import pickle
import shutil
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file

import engine
import tokenizer as bpe
import windows
from model import Config, PithMini
from eval import text, thresholds

MODEL_BYTES_MAX = 12_000_000


def load(path):
    """(model with bf16-rounded weights in fp32, the checkpoint's own record)."""
    state = torch.load(path, map_location="cpu")
    model = PithMini()
    model.load_state_dict(
        {
            name: tensor if name == "gamma_raw" else round_bf16(tensor)
            for name, tensor in state["model"].items()
        }
    )
    return model.eval(), state


def round_bf16(tensor):
    return tensor.to(torch.bfloat16).float()


@torch.no_grad()
def window_outputs(model, ids):
    """(z_tok, z_span, keep logit) of one window's ids, [CLS] and [SEP] among them; arrays [T]."""
    ids = torch.as_tensor(np.asarray(ids, np.int64))[None]
    z_tok, z_span, _ = model(ids, torch.zeros_like(ids, dtype=torch.bool))
    return [v[0].numpy() for v in (z_tok, z_span, model.keep_logit(z_tok, z_span))]


def token_outputs(model, item):
    """(z_tok, z_span, keep logit) of a document's tokens, each from the window that decides it.

    Arrays [T]; white space holds minus infinity.
    """
    found = np.full((3, len(item["ids"])), -np.inf, np.float32)
    for begin, end, first, last in item["windows"]:
        outputs = window_outputs(model, bpe.framed(item["ids"][begin:end]))
        word = item["word"][begin:end]
        owned = (word >= first) & (word < last) & (word != windows.NO_WORD)
        found[:, begin:end][:, owned] = np.stack(outputs)[:, 1:-1][:, owned]
    return found


def word_logits(logits, word, words):
    """The keep logit of each word: the maximum over its tokens, as the engine folds them."""
    result = np.full(words, -np.inf, np.float32)
    inside = word >= 0
    np.maximum.at(result, word[inside], logits[inside])
    return result


def threshold_documents(data):
    """The validation documents, and training documents where a routed domain has too few of them."""
    chosen = list(data["validation"])
    for domain in sorted({item["routed"] for item in data["train"]}):
        missing = thresholds.DOCUMENTS_MIN - sum(i["routed"] == domain for i in chosen)
        chosen += [i for i in data["train"] if i["routed"] == domain][: max(0, missing)]
    return chosen


def tensors(model):
    """The tensors of the file; the learned gamma goes to config.json instead."""
    return {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "gamma_raw"
    }


def config_json(model, points):
    sizes = Config()
    return {
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "torch_dtype": "bfloat16",
        "vocab_size": sizes.vocabulary,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp_width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "local_attention": 2 * sizes.local_window,
        "global_attn_every_n_layers": sizes.global_every,
        "global_rope_theta": sizes.global_theta,
        "local_rope_theta": sizes.local_theta,
        "norm_eps": sizes.norm_eps,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_activation": "gelu",
        "max_position_embeddings": windows.TOKENS_MAX,
        "pad_token_id": bpe.PAD_ID,
        "cls_token_id": bpe.CLS_ID,
        "sep_token_id": bpe.SEP_ID,
        "bos_token_id": bpe.CLS_ID,
        "eos_token_id": bpe.SEP_ID,
        "pith": {
            "format": 1,
            "name": "pith-mini",
            "word_mode": "raw",
            "gate": "asymmetric",
            "gamma": round(model.gamma.item(), 6),
            "length_exponent": text.LENGTH_EXPONENT,
            "repeat_exponent": text.REPEAT_EXPONENT,
            "span_channels": sizes.span_channels,
            "window_tokens": windows.TOKENS_MAX,
            "halo_tokens": windows.HALO_TOKENS,
            "thresholds": points,
        },
    }


def set_gamma(model, gamma):
    """Make the model use the very number of config.json: softplus(raw) = gamma."""
    with torch.no_grad():
        model.gamma_raw.copy_(torch.tensor(gamma, dtype=torch.float64).expm1().log())


def load_exported(folder):
    """The shipped model as fp32 PyTorch, weights as rounded in the file."""
    from safetensors.torch import load_file

    with open(os.path.join(folder, "config.json")) as file:
        gamma = json.load(file)["pith"]["gamma"]
    model = PithMini()
    state = {
        name: t.float() for name, t in load_file(os.path.join(folder, "model.safetensors")).items()
    }
    model.load_state_dict({**state, "gamma_raw": torch.zeros(())})
    set_gamma(model, gamma)
    return model.eval()


def save_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


FILES = ("model.safetensors", "config.json")


def publish(folder, files, config):
    """Replaces the files of a folder, each in one step, if the engine opens them; else ValueError."""
    with tempfile.TemporaryDirectory(dir=folder) as new:
        save_file(files, os.path.join(new, FILES[0]), metadata={"format": "pt"})
        save_json(os.path.join(new, FILES[1]), config)
        shutil.copy(os.path.join(folder, "tokenizer.json"), new)
        engine.Engine(new).close()
        for name in FILES:  # a server may be reading the old one
            os.chmod(os.path.join(new, name), 0o644)
            os.replace(os.path.join(new, name), os.path.join(folder, name))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--started-from", help="exported run whose weights this one began with")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, state = load(args.checkpoint)
    before = {"steps": 0, "tokens": 0}
    if args.started_from:
        with open(args.started_from + ".json", encoding="utf-8") as file:
            before = json.load(file)
    with open(args.dataset, "rb") as file:
        points = thresholds.operating_points(model, threshold_documents(pickle.load(file)))
    files = tensors(model)
    assert sum(t.numel() * 2 for t in files.values()) <= MODEL_BYTES_MAX
    try:
        publish(args.out, files, config_json(model, points))
    except ValueError as refusal:
        sys.exit(f"export: the engine refuses this model: {refusal}")
    save_json(
        args.checkpoint + ".json",
        {
            "steps": before["steps"] + state["step"],
            "planned_steps": before["steps"] + state["steps"],
            "tokens": before["tokens"] + state["tokens"],
            "epochs": state["epoch"],
            "seed": state["seed"],
            "critical_weight": state["critical_weight"],
            "parameters": sum(t.numel() for t in files.values()),
        },
    )
    print(
        f"exported step {state['step']} ({state['tokens']} tokens), "
        f"gamma {model.gamma.item():.4f}, thresholds {points}"
    )


if __name__ == "__main__":
    main()
