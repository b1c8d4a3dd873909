"""Copy the better of two exported models to where the shipped one lies, if it is better at all.

    python3 adopt.py --first build/model/seed-0 --second build/model/self --out models/pith-mini

Better: a higher m25 and a higher m50 of the evaluation beside it, at the same kept words. Between
equals the first stays. Prints the folder that was chosen.
"""

import argparse
import json
import os
import shutil

FILES = ("config.json", "model.safetensors", "tokenizer.json")


def means(folder):
    with open(os.path.join(folder, "evaluation.json"), encoding="utf-8") as file:
        words = json.load(file)["scorers"]["pith-mini"]["words"]
    return words["25"]["m"], words["50"]["m"]


def better(first, second):
    """Whether the second pair of means beats the first in both."""
    return all(new > old for old, new in zip(first, second))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", required=True)
    parser.add_argument("--second", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    wins = better(means(args.first), means(args.second))
    chosen = args.second if wins else args.first
    os.makedirs(args.out, exist_ok=True)
    for name in FILES:
        shutil.copy(os.path.join(chosen, name), os.path.join(args.out, name + ".part"))
        os.replace(os.path.join(args.out, name + ".part"), os.path.join(args.out, name))
    print(chosen)


if __name__ == "__main__":
    main()
