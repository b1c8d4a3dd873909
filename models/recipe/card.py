"""Write CARD.md from the figures: nothing in it is typed by hand but the words around the numbers.

python3 card.py --model models/pith-mini --evaluation evaluation.json --training checkpoint.pt.json
"""

import argparse
import json
import os

from sources import DOMAINS
from train import BATCH_TOKENS, CRITICAL_WEIGHT, LEARNING_RATE, SEED

COLUMNS = (
    ("types", "types25"),
    ("rare", "rare25"),
    ("lines", "lines25"),
    ("key", "key25"),
    ("m25", "m25"),
    ("m50", "m50"),
    ("rho", "rho"),
    ("rho N", "rho_n"),
    ("rho R", "rho_r"),
)


DOMAIN_SCORERS = ("pith-mini", "n-gram N", "rules R", "random")


def number(value):
    return f"{value:.3f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def scorer_table(scorers):
    rows = [
        [f"**{name}**" if name == "pith-mini" else name] + [number(row[key]) for _, key in COLUMNS]
        for name, row in scorers.items()
    ]
    return table(["scorer"] + [title for title, _ in COLUMNS], rows)


def domain_table(figures, thresholds):
    rows = []
    for domain in DOMAINS:
        if domain in figures["default"]:
            row = figures["default"][domain]
            scores = [figures["scorers"][name]["m25_by_domain"][domain] for name in DOMAIN_SCORERS]
            rows.append(
                [domain, str(row["documents"]), f"{thresholds[domain]:.3f}"]
                + [
                    number(row[k])
                    for k in ("critical_words", "free_kept", "all_kept", "critical_above")
                ]
                + [number(s) for s in scores]
            )
    return table(
        [
            "domain",
            "documents",
            "threshold",
            "critical",
            "free kept",
            "all kept",
            "critical above",
            "m25",
            "N",
            "R",
            "random",
        ],
        rows,
    )


def beside_n(scorers):
    """How the model stands beside the n-gram labeller alone, in words that follow the figures."""
    mini, ngram = scorers["pith-mini"], scorers["n-gram N"]
    return ", ".join(f"{key} is {mini[key]:.3f} against {ngram[key]:.3f}" for key in ("m25", "m50"))


def provenance(kinds):
    rows = [
        [d, ", ".join(kinds["train"].get(d, [])), ", ".join(kinds["eval"].get(d, []))]
        for d in DOMAINS
    ]
    return table(["domain", "trained on", "judged on"], rows)


CARD = """# pith-mini

The model that ships with Pith: an extractive token classifier of {parameters:.2f} M parameters that
keeps or drops words. ModernBERT-shaped encoder, 192 wide, 6 layers, 3 heads, windows of {window}
tokens, byte-level BPE of 8,192 pieces, a span convolution and the asymmetric gate
P(evict) = sigmoid(-z_tok - gamma * softplus(z_span)), gamma = {gamma:.4f}. bf16 weights,
{megabytes:.2f} MB. The score of a word is the maximum over its tokens.

This page is generated (`models/recipe/card.py`); `models/recipe/README.md` says how the model was
made and how to make it again.

## What to expect, honestly

- A **first model**: {tokens_m:.2f} M training tokens ({steps} steps, {epochs} passes over
  {train_tokens_m:.2f} M tokens).
- Trained on **English tool text**: manuals, code, logs, listings, traces, JSON, patches. Other
  languages, chat and books are absent or accidental.
- It **does not beat its labeller**. The labels N + R and the rules R, run directly, do better in
  both means below. Beside N alone {beside_n}. It is
  here because it is an encoder: it reads a window in one pass, without counting tables, and it
  runs in the engine.
- N and R were also the teachers and the measures types and rare resemble R, so the table flatters
  R. One seed: treat differences under about .02 as noise.
- Whole line templates survive badly under every scorer (lines): decisions about whole lines want
  a stage of their own.
- The safety floor, not the model, is what protects numbers, paths, identifiers and negations. The
  figures use the recipe's floor (`models/recipe/labels.py`), which is not quite the engine's.

## Figures on held-out sources

{eval_documents} documents of programs, packages and languages that were not trained on. The floor
is on; of the *other* words a share r is kept. types, rare: recall of distinct words, and of those
in at most 8 training documents. lines: distinct line templates that keep half of their words. key:
words of key lines. Those four at r = .25; m25 and m50 are their mean at r = .25 and .50, domains
weighing the same. rho: Spearman correlation with the labels N + R, and with N and R alone, on
words outside the floor.

{scorers}

Repetition, on a made-up log: mean score of the free words of the first of eight heartbeat lines
{first:.2f}, of the seven repeats {repeated:.2f}, of one error line after them {error:.2f}.

## Default thresholds

The rule: the keep bias is shifted until, domains weighing the same, half of the words outside the
floor score above 0.5, the default threshold; each domain's own threshold is the median of its
scores. Both are chosen on validation documents, which come from sources outside training and
outside the judged ones (a domain with fewer than 20 is filled up with training documents).
Measured on the judged sources: critical is the share of words that the floor keeps, free kept the
share of the others that is kept, all kept the two together, critical above the share of critical
words that the model alone would keep. The last four columns are m25.

{domains}

## Training

Labels: in-document percentile of rank(N) + rank(R); no language model took part. Loss: BCE of the
gated score per token, weight 1/sqrt(tokens of the word), times {critical_weight} for critical words
(their target is 1); + 0.3 BCE of the span output against the line mean; + an auxiliary head (token,
pair, triple seen earlier in the document) that is dropped at export. AdamW, peak learning rate
{learning_rate}, batches of {batch_tokens} tokens, seed {seed}, fp32. Train {train_documents}
documents, {train_words} words; validation {validation_documents}; judged {eval_documents}.

## Where the text came from

Files and tool output of a Debian system with the packages of a developer. Host names, home,
scratch and installation folders were replaced. The texts are not part of the repository.

{provenance}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", required=True)
    parser.add_argument(
        "--training", required=True, help="the record that export.py wrote beside the checkpoint"
    )
    args = parser.parse_args()
    figures, training, config = (
        json.load(open(path))
        for path in (args.evaluation, args.training, os.path.join(args.model, "config.json"))
    )
    pith = config["pith"]
    text = CARD.format(
        parameters=training["parameters"] / 1e6,
        window=pith["window_tokens"],
        gamma=pith["gamma"],
        megabytes=os.path.getsize(os.path.join(args.model, "model.safetensors")) / 1e6,
        tokens_m=training["tokens"] / 1e6,
        steps=training["steps"],
        epochs=f"{training['tokens'] / figures['tokens']['train']:.1f}",
        train_tokens_m=figures["tokens"]["train"] / 1e6,
        eval_documents=figures["documents"]["eval"],
        scorers=scorer_table(figures["scorers"]),
        **figures["repetition"],
        beside_n=beside_n(figures["scorers"]),
        domains=domain_table(figures, pith["thresholds"]),
        critical_weight=CRITICAL_WEIGHT,
        learning_rate=LEARNING_RATE,
        batch_tokens=BATCH_TOKENS,
        seed=SEED,
        train_documents=figures["documents"]["train"],
        train_words=figures["words"]["train"],
        validation_documents=figures["documents"]["validation"],
        provenance=provenance(figures["kinds"]),
    )
    with open(os.path.join(args.model, "CARD.md"), "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
