"""Train pith-mini on the labelled items; checkpoints every few minutes, resumes from the last one.

    python3 train.py --dataset dataset.pickle --checkpoint checkpoint.pt --steps 2600

fp32 on the CPU, or on a GPU with --device cuda. The budget is steps, never seconds: a busy machine
changes how long it takes, not what comes out.
"""

import argparse
import os
import pickle
import random
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from model import PithMini

# All from the study (README.md), steps 6-8.
BATCH_TOKENS = 2048
BUCKET_DOCUMENTS = 256
LEARNING_RATE, LEARNING_RATE_FLOOR = 2e-3, 0.02
WARMUP_STEPS, CONSTANT_SHARE = 40, 0.1
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
SPAN_LOSS, REPEAT_LOSS = 0.3, 1.0
CRITICAL_WEIGHT = 0.3
SEED = 0


def batches(items, epoch):
    """Length-bucketed batches of one epoch, at most BATCH_TOKENS padded tokens each, shuffled."""
    rng = random.Random(f"{SEED}:{epoch}")
    order = list(range(len(items)))
    rng.shuffle(order)
    result = []
    for at in range(0, len(order), BUCKET_DOCUMENTS):
        bucket = sorted(order[at : at + BUCKET_DOCUMENTS], key=lambda i: len(items[i]["ids"]))
        batch = []
        for index in bucket:
            if batch and len(items[index]["ids"]) * (len(batch) + 1) > BATCH_TOKENS:
                result.append(batch)
                batch = []
            batch.append(index)
        result.append(batch)
    rng.shuffle(result)
    return [[items[i] for i in batch] for batch in result]


def token_targets(item):
    """Per-token (keep target, weight, span target); zero weight where a token has no word."""
    critical = item["critical"].astype(np.float32)
    keep = np.maximum(item["target"], critical)
    _, line = np.unique(item["line"], return_inverse=True)
    line_mean = (np.bincount(line, keep) / np.bincount(line))[line]
    has_word = item["word"] >= 0
    word = np.maximum(item["word"], 0)
    tokens = np.maximum(np.bincount(word[has_word], minlength=len(keep)), 1)
    weight = np.where(critical > 0, CRITICAL_WEIGHT, 1.0) / np.sqrt(tokens)
    return keep[word] * has_word, weight[word] * has_word, line_mean[word] * has_word


def collate(batch):
    """Padded tensors: ids, padding, keep, weight, span [B, T] and repeats [B, T, 3]."""
    rows, tokens = len(batch), max(len(i["ids"]) for i in batch)
    ids, padding = torch.zeros(rows, tokens, dtype=torch.long), torch.ones(
        rows, tokens, dtype=torch.bool
    )
    keep, weight, span = (torch.zeros(rows, tokens) for _ in range(3))
    repeats = torch.zeros(rows, tokens, 3)
    for row, item in enumerate(batch):
        n = len(item["ids"])
        ids[row, :n] = torch.from_numpy(item["ids"].astype(np.int64))
        padding[row, :n] = False
        for tensor, values in zip((keep, weight, span), token_targets(item)):
            tensor[row, :n] = torch.from_numpy(values.astype(np.float32))
        repeats[row, :n] = torch.from_numpy(item["repeats"].astype(np.float32))
    return ids, padding, keep, weight, span, repeats


def losses(model, repeat_head, batch):
    """(keep, span, repeat) losses of one batch."""
    ids, padding, keep, weight, span, repeats = batch
    bce = F.binary_cross_entropy_with_logits
    z_tok, z_span, hidden = model(ids, padding)
    keep_loss = (
        bce(model.keep_logit(z_tok, z_span), keep, reduction="none") * weight
    ).sum() / weight.sum()
    has_word = (weight > 0).float()
    span_loss = (bce(z_span, span, reduction="none") * has_word).sum() / has_word.sum()
    inside = (~padding).float()[..., None]
    repeat_loss = (
        (bce(repeat_head(hidden), repeats, reduction="none") * inside).sum() / inside.sum() / 3
    )
    return keep_loss, span_loss, repeat_loss


def learning_rate(step, steps):
    """Warm-up, a short constant part, then linear to LEARNING_RATE_FLOOR."""
    progress = max(0.0, step / steps - CONSTANT_SHARE) / (1 - CONSTANT_SHARE)
    return (
        LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * max(LEARNING_RATE_FLOOR, 1 - progress)
    )


def optimiser(model, repeat_head):
    parameters = list(model.parameters()) + list(repeat_head.parameters())
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2 or p is repeat_head.weight]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=BETAS,
        fused=True,
    )


def save(path, state):
    """Replace the checkpoint in one step, so that a reader never sees half of it."""
    torch.save(state, path + ".part")
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument(
        "--threads", type=int, default=1, help="more than one only on an idle machine"
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    torch.set_default_device(args.device)
    with open(args.dataset, "rb") as file:
        items = pickle.load(file)["train"]
    model = PithMini()
    repeat_head = nn.Linear(model.config.width, 3)
    adam = optimiser(model, repeat_head)
    step, tokens, epoch, start_at = 0, 0, 0, 0
    if os.path.exists(args.checkpoint):
        state = torch.load(args.checkpoint, map_location=args.device)
        model.load_state_dict(state["model"])
        repeat_head.load_state_dict(state["repeat_head"])
        adam.load_state_dict(state["adam"])
        step, tokens, epoch, start_at = (state[k] for k in ("step", "tokens", "epoch", "at"))
    print(
        f"{sum(p.numel() for p in model.parameters())} parameters, {len(items)} documents, "
        f"from step {step}",
        flush=True,
    )
    began, began_tokens, window = time.time(), tokens, []
    while step < args.steps:
        epoch_batches = batches(items, epoch)
        for at in range(start_at, len(epoch_batches)):
            if step >= args.steps:
                break
            for group in adam.param_groups:
                group["lr"] = learning_rate(step, args.steps)
            batch = collate(epoch_batches[at])
            parts = losses(model, repeat_head, batch)
            loss = parts[0] + SPAN_LOSS * parts[1] + REPEAT_LOSS * parts[2]
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            adam.step()
            adam.zero_grad(set_to_none=True)
            window.append([p.item() for p in parts])
            step += 1
            tokens += int((~batch[1]).sum())
            if step % 20 == 0:
                keep, span, repeat = np.mean(window, 0)
                speed = (tokens - began_tokens) / (time.time() - began)
                print(
                    f"step {step} epoch {epoch} tokens {tokens} keep {keep:.4f} "
                    f"span {span:.4f} repeat {repeat:.4f} "
                    f"gamma {model.gamma.item():.3f} {speed:.0f} tokens/s",
                    flush=True,
                )
                window = []
            if step % args.save_every == 0 or step == args.steps:
                save(
                    args.checkpoint,
                    {
                        "model": model.state_dict(),
                        "repeat_head": repeat_head.state_dict(),
                        "adam": adam.state_dict(),
                        "step": step,
                        "tokens": tokens,
                        "epoch": epoch,
                        "at": at + 1,
                        "steps": args.steps,
                    },
                )
        epoch, start_at = epoch + 1, 0


if __name__ == "__main__":
    main()
