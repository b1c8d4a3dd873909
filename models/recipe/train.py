"""Train pith-mini on the labelled items; checkpoints every few minutes, resumes from the last one.

    python3 train.py --dataset dataset.pickle --checkpoint checkpoint.pt --steps 4000

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

import dataset
import tokenizer as bpe
from model import PithMini

# All from the study that README.md summarises.
BATCH_TOKENS = 2048
BUCKET_SEQUENCES = 256
LEARNING_RATE, LEARNING_RATE_FLOOR = 2e-3, 0.02
WARMUP_STEPS, CONSTANT_SHARE = 40, 0.1
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
SPAN_LOSS, REPEAT_LOSS = 0.3, 1.0
CRITICAL_WEIGHT = 0.3
REPORT_STEPS = 20
PARTS = ("model", "repeat_head", "adam")  # of a checkpoint


def sequences(items):
    """Every window of every document: what one row of a batch is made from."""
    return [
        {"item": item, "begin": begin, "end": end, "repeats": repeats, "tokens": end - begin + 2}
        for item in items
        for (begin, end, _, _), repeats in zip(item["windows"], item["repeats"])
    ]


def batches(rows, epoch, seed):
    """Length-bucketed batches of one epoch, at most BATCH_TOKENS padded tokens each, shuffled."""
    rng = random.Random(f"{seed}:{epoch}")
    order = list(range(len(rows)))
    rng.shuffle(order)
    result = []
    for at in range(0, len(order), BUCKET_SEQUENCES):
        bucket = sorted(order[at : at + BUCKET_SEQUENCES], key=lambda i: rows[i]["tokens"])
        batch = []
        for index in bucket:
            if batch and rows[index]["tokens"] * (len(batch) + 1) > BATCH_TOKENS:
                result.append(batch)
                batch = []
            batch.append(index)
        result.append(batch)
    rng.shuffle(result)
    return [[rows[i] for i in batch] for batch in result]


def token_targets(item, critical_weight):
    """Per-token (keep target, weight, span target); zero weight where a token has no word."""
    critical = item["critical"].astype(np.float32)
    keep = np.maximum(item["target"], critical)
    _, line = np.unique(item["line"], return_inverse=True)
    line_mean = (np.bincount(line, keep) / np.bincount(line))[line]
    has_word = item["word"] >= 0
    word = np.maximum(item["word"], 0)
    tokens = np.maximum(np.bincount(word[has_word], minlength=len(keep)), 1)
    weight = np.where(critical > 0, critical_weight, 1.0) / np.sqrt(tokens)
    return keep[word] * has_word, weight[word] * has_word, line_mean[word] * has_word


def collate(batch, critical_weight):
    """Padded tensors: ids, padding, keep, weight, span [B, T] and repeats [B, T, 3]."""
    rows, tokens = len(batch), max(row["tokens"] for row in batch)
    ids = torch.zeros(rows, tokens, dtype=torch.long)
    padding = torch.ones(rows, tokens, dtype=torch.bool)
    keep, weight, span = (torch.zeros(rows, tokens) for _ in range(3))
    repeats = torch.zeros(rows, tokens, 3)
    for index, row in enumerate(batch):
        item, inside = row["item"], slice(row["begin"], row["end"])
        n = row["tokens"]
        ids[index, :n] = torch.tensor(bpe.framed(item["ids"][inside].tolist()))
        padding[index, :n] = False
        for tensor, values in zip((keep, weight, span), token_targets(item, critical_weight)):
            tensor[index, 1 : n - 1] = torch.from_numpy(values[inside].astype(np.float32))
        repeats[index, 1 : n - 1] = torch.from_numpy(row["repeats"].astype(np.float32))
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


def learning_rate(peak, step, steps):
    """Warm-up, a short constant part, then linear to LEARNING_RATE_FLOOR of the peak."""
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    decay = 1 - max(0.0, step / steps - CONSTANT_SHARE) / (1 - CONSTANT_SHARE)
    return peak * warmup * max(LEARNING_RATE_FLOOR, decay)


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


class Run:
    """Everything that a checkpoint holds, and the steps that change it."""

    def __init__(self, steps, seed=0, critical_weight=CRITICAL_WEIGHT, peak=LEARNING_RATE):
        torch.manual_seed(seed)
        self.seed, self.critical_weight, self.peak = seed, critical_weight, peak
        self.model = PithMini()
        self.repeat_head = nn.Linear(self.model.config.width, 3)
        self.adam = optimiser(self.model, self.repeat_head)
        self.steps = steps
        self.place = {"step": 0, "tokens": 0, "epoch": 0, "at": 0}

    def record(self):
        names = ("steps", "seed", "critical_weight", "peak")
        return {name: getattr(self, name) for name in names}

    def start_from(self, path, device):
        """Another run's weights, and nothing else of it."""
        state = torch.load(path, map_location=device)
        for name in ("model", "repeat_head"):
            getattr(self, name).load_state_dict(state[name])

    def save(self, path):
        """Replace the checkpoint in one step, so that a reader never sees half of it."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        torch.save({**parts, **self.place, **self.record()}, path + ".part")
        os.replace(path + ".part", path)

    def resume(self, path, device):
        state = torch.load(path, map_location=device)
        for name, value in self.record().items():
            if state.get(name, value) != value:
                raise ValueError(f"{path} was begun with {name} {state[name]}, not {value}")
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.place = {name: state[name] for name in self.place}

    def step(self, items):
        """One batch; returns its (keep, span, repeat) losses."""
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.peak, self.place["step"], self.steps)
        batch = collate(items, self.critical_weight)
        parts = losses(self.model, self.repeat_head, batch)
        (parts[0] + SPAN_LOSS * parts[1] + REPEAT_LOSS * parts[2]).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.place["step"] += 1
        self.place["at"] += 1
        self.place["tokens"] += int((~batch[1]).sum())
        return [part.item() for part in parts]

    def epoch(self, rows):
        """The losses of each step from where the epoch stands to its end, or to the last step."""
        todo = batches(rows, self.place["epoch"], self.seed)[self.place["at"] :]
        for batch in todo[: self.steps - self.place["step"]]:
            yield self.step(batch)
        if self.place["step"] < self.steps:
            self.place.update(epoch=self.place["epoch"] + 1, at=0)


def report(run, window, tokens_per_second):
    keep, span, repeat = np.mean(window, 0)
    place = run.place
    print(
        f"step {place['step']} epoch {place['epoch']} tokens {place['tokens']} keep {keep:.4f} "
        f"span {span:.4f} repeat {repeat:.4f} gamma {run.model.gamma.item():.3f} "
        f"{tokens_per_second:.0f} tokens/s",
        flush=True,
    )


def train(run, rows, checkpoint, save_every):
    began, tokens, window = time.time(), run.place["tokens"], []
    while run.place["step"] < run.steps:
        for step_losses in run.epoch(rows):
            window.append(step_losses)
            if len(window) == REPORT_STEPS:
                report(run, window, (run.place["tokens"] - tokens) / (time.time() - began))
                window = []
            if run.place["step"] % save_every == 0 or run.place["step"] == run.steps:
                run.save(checkpoint)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak", type=float, default=LEARNING_RATE, help="learning rate")
    parser.add_argument("--start-from", help="checkpoint whose weights a fresh run begins with")
    parser.add_argument("--critical-weight", type=float, default=CRITICAL_WEIGHT)
    parser.add_argument("--no-generated", action="store_true", help="leave generated rows out")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1, help="more only on an idle machine")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    with open(args.dataset, "rb") as file:
        items = pickle.load(file)["train"]
    if args.no_generated:
        items = [item for item in items if item["kind"] != dataset.GENERATED]
    run = Run(args.steps, args.seed, args.critical_weight, args.peak)
    if os.path.exists(args.checkpoint):
        run.resume(args.checkpoint, args.device)
    elif args.start_from:
        run.start_from(args.start_from, args.device)
    rows = sequences(items)
    print(f"{len(items)} documents, {len(rows)} windows, from step {run.place['step']}", flush=True)
    train(run, rows, args.checkpoint, args.save_every)


if __name__ == "__main__":
    main()
