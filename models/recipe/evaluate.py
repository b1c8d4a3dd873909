"""Judge the exported model beside simple scorers on held-out sources; writes the figures as JSON.

    python3 evaluate.py --dataset dataset.pickle --model ../pith-mini --out evaluation.json

The safety floor is on in every measure, and it is the server's (floor.py). A scorer ranks the
words that the floor leaves; r is the share of those (or of their tokens) that is kept. The model's
scores come from the engine itself, f32. eval/ holds the parts: text.py, scorers.py, measures.py,
settings.py (default settings as the engine replies), behaviour.py, adversarial.py.
"""

import argparse
import json
import pickle

import numpy as np

import engine
from eval import adversarial, behaviour, folding, measures, scorers, settings, text, thresholds


def token_head_scores(model_dir, documents):
    """The token head without span head and gate, in PyTorch."""
    import export

    model = export.load_exported(model_dir)
    result = []
    for doc in documents:
        logits = export.token_outputs(model, doc.source)[0]
        folded = export.word_logits(logits, doc.source["word"], len(doc.spans))
        result.append(text.priced_words(folded, doc))
    return result


def model_scores(model_dir, documents):
    with engine.Engine(model_dir) as e:
        return [text.engine_scores(e, doc) for doc in documents], behaviour.repetition(e)


def at_thresholds(documents, scores, chosen):
    """Per routed domain, the figures that the rule of thresholds.py looks at."""
    result = {}
    for domain in sorted({doc.routed for doc in documents}):
        pairs = [(d, s) for d, s in zip(documents, scores) if d.routed == domain]
        point = thresholds.Scored(pairs).point(chosen.get(domain, chosen["default"]))
        result[domain] = {"documents": len(pairs), **point}
    return result


def sizes(data):
    names = ("train", "validation", "eval")
    return {
        "documents": {n: len(data[n]) for n in names},
        "words": {n: sum(len(i["spans"]) for i in data[n]) for n in names},
        "tokens": {n: sum(len(i["ids"]) for i in data[n]) for n in names},
    }


def of_the_model(data, model_dir, documents):
    """What one run of training is compared with another by; (scores per document, figures)."""
    scores, repetition = model_scores(model_dir, documents)
    with open(f"{model_dir}/config.json", encoding="utf-8") as file:
        chosen = json.load(file)["pith"]["thresholds"]
    return scores, {
        "scorers": {"pith-mini": measures.judge(documents, scores, data["table"])},
        "thresholds": at_thresholds(documents, scores, chosen),
        "default": settings.at_default_settings(model_dir, [(d.domain, d.text) for d in documents]),
        "repetition": repetition,
        **sizes(data),
    }


def evaluate(data, model_dir, with_torch):
    """Everything that the card says of a model and of what stands beside it."""
    documents = [text.document(item) for item in data["eval"]]
    compared = scorers.simple(documents, data["table"])
    _, figures = of_the_model(data, model_dir, documents)
    if with_torch:
        compared["pith-mini, token head alone"] = token_head_scores(model_dir, documents)
    for name, scores in compared.items():
        figures["scorers"][name] = measures.judge(documents, scores, data["table"])
    return {
        **figures,
        "adversarial": settings.at_default_settings(model_dir, adversarial.texts()),
        "folding": folding.figures(model_dir),
        "floor_words": {
            domain: float(
                np.mean(np.concatenate([d.forced for d in documents if d.domain == domain]))
            )
            for domain in sorted({d.domain for d in documents})
        },
        **{key: data[key] for key in ("kinds", "skipped") if key in data},
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--no-torch", action="store_true", help="leave out the token head alone")
    parser.add_argument("--brief", action="store_true", help="only what compares runs of training")
    args = parser.parse_args()
    with open(args.dataset, "rb") as file:
        data = pickle.load(file)
    if args.brief:
        documents = [text.document(item) for item in data["eval"]]
        result = of_the_model(data, args.model, documents)[1]
    else:
        result = evaluate(data, args.model, not args.no_torch)
    with open(args.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    for name, row in result["scorers"].items():
        print(
            f"{name:30s} m25 {row['words']['25']['m']:.3f} m50 {row['words']['50']['m']:.3f} "
            f"at tokens m25 {row['tokens']['25']['m']:.3f} m50 {row['tokens']['50']['m']:.3f}"
        )
    print("repetition", {k: round(v, 3) for k, v in result["repetition"].items()})
    for domain, row in result["default"].items():
        print(
            f"{domain:12s} kept tokens {row['kept_tokens']:.3f}, the floor alone "
            f"{row['floor_tokens']:.3f}, folded {row['kept_tokens_folded']:.3f}; critical spans "
            f"before the floor {row['critical']['all']['before']:.3f}"
        )


if __name__ == "__main__":
    main()
