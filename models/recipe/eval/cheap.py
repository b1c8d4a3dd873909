"""The cheap half of the evaluation: the committed weights on texts that anybody can make again.

    python3 -m eval.cheap --model ../pith-mini --out ../pith-mini/cheap.json

The texts are the rows of generators.py for a seed that nothing was trained on and the adversarial
ones; the figures need the engine alone, no package. `make test` computes them anew and compares
them with the committed ones; whoever changes the weights or the thresholds writes them again.
"""

import argparse
import json

import engine
import generators
from eval import adversarial, behaviour, settings

ROWS, SEED = 40, 20261121
DIGITS = 4
# Products in another order (AVX2, AVX-512) move a score by less than 1e-3; a word at the threshold
# may then change sides: one of the hundreds of a domain.
TOLERANCE = 0.01


def figures(model_dir):
    """{name: number}, flat."""
    result = {}
    with engine.Engine(model_dir) as model:
        for group, score in behaviour.repetition(model).items():
            result[f"repetition {group}"] = score
    texts = [(row["domain"], row["text"]) for row in generators.rows(ROWS, SEED)]
    texts += [("adversarial", text) for _, text in adversarial.texts()]
    for name, row in settings.at_default_settings(model_dir, texts).items():
        for key in ("kept_tokens", "floor_tokens", "kept_tokens_folded"):
            result[f"{name} {key}"] = row[key]
        for key in ("before", "after"):
            result[f"{name} critical {key}"] = row["critical"]["all"][key]
    return {name: round(value, DIGITS) for name, value in result.items()}


def differences(found, committed):
    """Names whose figures differ by more than the tolerance, or stand on one side alone."""
    same = lambda name: (
        name in found and name in committed and abs(found[name] - committed[name]) <= TOLERANCE
    )
    return [name for name in sorted(set(found) | set(committed)) if not same(name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump(figures(args.model), file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
