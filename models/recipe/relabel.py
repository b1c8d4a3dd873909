"""One round of self-labelling: the targets of the training documents, seen again by a model.

    python3 relabel.py --dataset dataset.pickle --checkpoint checkpoint.pt --out relabelled.pickle

The new target of a word is its percentile of rank(old target) + rank(model score) within the
document; critical words stay kept, by the engine's floor. Validation and evaluation stay as they
are, so that both rounds are judged alike.
"""

import argparse
import pickle

import numpy as np
import torch

import export
import labels


def relabelled(item, logits):
    """The item with its targets mixed with the model's order of the words."""
    ranks = zip(labels.percentiles(list(item["target"])), labels.percentiles(list(logits)))
    mixed = labels.percentiles([old + new for old, new in ranks])
    return {**item, "target": np.array(mixed, np.float32)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, state = export.load(args.checkpoint)
    with open(args.dataset, "rb") as file:
        data = pickle.load(file)
    moved = []
    for index, item in enumerate(data["train"]):
        logits = export.token_outputs(model, item)[2]
        new = relabelled(item, export.word_logits(logits, item["word"], len(item["spans"])))
        moved.append(float(np.abs(new["target"] - item["target"]).mean()))
        data["train"][index] = new
    data["relabelled"] = {"step": state["step"], "mean_move": float(np.mean(moved))}
    with open(args.out, "wb") as file:
        pickle.dump(data, file)
    print(f"{len(moved)} documents, targets moved by {np.mean(moved):.3f} on average")


if __name__ == "__main__":
    main()
