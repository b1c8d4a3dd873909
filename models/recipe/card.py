"""Write CARD.md from the figures: nothing in it is typed by hand but the words around the numbers.

    python3 card.py --model ../pith-mini --training checkpoint.pt.json \\
        --evaluation seed0.json seed1.json seed2.json [--judge judge.json] \\
        [--weight 0.3=a.json --weight 3.0=b.json] [--self-label before.json after.json] \\
        [--encoder encoder.json]

The first evaluation is that of the shipped weights; the others are of other seeds. What was not
given is said to be not measured.
"""

import argparse
import collections
import json
import os
import statistics

from eval import thresholds
from sources import DOMAINS
from train import BATCH_TOKENS, LEARNING_RATE

MODEL = "pith-mini"
COLUMNS = ("types", "rare", "lines", "key")
DOMAIN_SCORERS = (MODEL, "stop-word deletion", "n-gram N", "rules R", "random")
MISSING = "not measured"
TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "card.md.in")


def number(value):
    return f"{value:.3f}"


def percent(value):
    return f"{100 * value:.1f} %"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def spread(values):
    """ "0.561 ± 0.004": mean and sample deviation over seeds; one seed has no deviation."""
    middle = number(statistics.mean(values))
    return f"{middle} ± {statistics.stdev(values):.3f}" if len(values) > 1 else middle


def bold(name):
    return f"**{name}**" if name == MODEL else name


def scorer_table(scorers, mode):
    rows = [
        [bold(name)]
        + [number(row[mode]["25"][c]) for c in COLUMNS]
        + [number(row[mode][r]["m"]) for r in ("25", "50")]
        + [percent(row[mode][r]["kept_tokens"]) for r in ("25", "50")]
        + [number(row["rho"])]
        for name, row in scorers.items()
    ]
    header = ["scorer", *COLUMNS, "m25", "m50", "tokens kept at .25", "at .50", "rho"]
    return table(header, rows)


def domain_table(scorers, mode):
    rows = []
    for domain in DOMAINS:
        cells = [scorers[n][mode]["25"]["m_by_domain"].get(domain) for n in DOMAIN_SCORERS]
        if None not in cells:
            rows.append([domain, *map(number, cells)])
    return table(["domain", *(bold(n) for n in DOMAIN_SCORERS)], rows)


def settings_table(figures, chosen):
    rows = []
    for name in [d for d in DOMAINS if d in figures] + ["all"]:
        row = figures[name]
        own = number(chosen.get(name, chosen["default"])) if name != "all" else ""
        rows.append(
            [name, str(row["documents"]), str(row["routed_elsewhere"]), own]
            + [percent(row[k]) for k in ("kept_tokens", "floor_tokens", "kept_tokens_folded")]
            + [percent(row["critical"]["all"][k]) for k in ("before", "after")]
        )
    header = ["domain", "documents", "of them routed elsewhere", "threshold"]
    header += ["tokens kept", "by the floor alone", "with fold_repeats"]
    return table(header + ["critical spans before the floor", "after"], rows)


def class_table(default, adversarial):
    """Survival per class of critical span, on held-out sources and on the adversarial texts."""
    names = sorted(set(default) | set(adversarial), key=lambda n: (n != "all", n))
    blank = {"spans": 0}
    rows = []
    for name in names:
        row = [name]
        for figures in (default, adversarial):
            cell = figures.get(name, blank)
            row.append(str(cell["spans"]))
            row += [percent(cell[k]) if cell["spans"] else "" for k in ("before", "after")]
        rows.append(row)
    header = ["class", "spans", "before the floor", "after", "adversarial spans", "before", "after"]
    return table(header, rows)


def group_table(adversarial):
    rows = [
        [name, str(row["documents"])]
        + [percent(row[k]) for k in ("kept_tokens", "floor_tokens")]
        + [percent(row["critical"]["all"][k]) for k in ("before", "after")]
        for name, row in adversarial.items()
    ]
    return table(
        ["kind", "texts", "tokens kept", "by the floor alone", "before the floor", "after"], rows
    )


def folding_table(folding):
    rows = [
        [name, str(row["lines"]), percent(row["kept_tokens"]), percent(row["kept_tokens_folded"])]
        + [f"{row['kinds_left']} of {row['kinds']}", f"{row['errors_left']} of {row['errors']}"]
        for name, row in folding.items()
    ]
    header = ["text", "lines", "tokens kept", "with fold_repeats"]
    return table([*header, "kinds of line left", "error lines left"], rows)


def judge_table(judge):
    if judge is None:
        return f"The language model's judgement was {MISSING}."
    rows = [
        [bold(name), number(row["continuation"]), number(row["recovery"])]
        + [f"{row['context_tokens']:.0f}"]
        for name, row in judge["scorers"].items()
    ]
    return table(["scorer", "continuation", "recovery", "mean tokens of context"], rows)


def above_stop_words(evaluation):
    """Domains in which the model is not above stop-word deletion at r = .25."""
    mine, other = (
        evaluation["scorers"][name]["words"]["25"]["m_by_domain"]
        for name in (MODEL, "stop-word deletion")
    )
    return [domain for domain in mine if not mine[domain] > other[domain]]


def verdict(flags):
    """flags: [(reached, label)] from the goal to the stretch."""
    reached = [label for ok, label in flags if ok]
    return reached[-1] if reached else "missed"


def graded(value, goal, stretch, higher=True):
    better = (lambda limit: value >= limit) if higher else (lambda limit: value <= limit)
    return verdict([(better(goal), "goal"), (better(goal) and better(stretch), "stretch")])


class Goals:
    """The rows of the table of goals: what, goal, stretch, value, verdict."""

    def __init__(self, evaluations, judge, encoder):
        self.first, self.all = evaluations[0], evaluations
        self.judge, self.encoder = judge, encoder

    def values(self, ratio, key):
        return [e["scorers"][MODEL]["words"][ratio][key] for e in self.all]

    def quality(self):
        own = {key: self.values("25", key) for key in ("m", "types", "rare")}
        middle = {key: statistics.mean(values) for key, values in own.items()}
        ngram = self.first["scorers"]["n-gram N"]["words"]["25"]["m"]
        goal = middle["m"] >= 0.58 and middle["types"] >= 0.68 and middle["rare"] >= 0.87
        behind = above_stop_words(self.first)
        stretch = goal and not behind and middle["m"] >= 0.62 and middle["m"] > ngram
        yield [
            "m25 / types / rare at r = .25",
            ".58 / .68 / .87",
            f"m25 .62 and above n-gram N ({number(ngram)})",
            " / ".join(spread(own[key]) for key in ("m", "types", "rare")),
            verdict([(goal, "goal"), (stretch, "stretch")]),
        ]
        yield [
            "m25 above stop-word deletion",
            "in every domain",
            "",
            f"not in {', '.join(behind)}" if behind else "in every domain",
            "missed" if behind else "goal",
        ]
        m50 = self.values("50", "m")
        yield ["m50 at r = .5", ".83", ".86", spread(m50), graded(statistics.mean(m50), 0.83, 0.86)]

    def judged(self):
        what = "language model, r = .25: recovery and continuation over random"
        if self.judge is None:
            yield [what, "+ .10, + .12", "at n-gram N", MISSING, MISSING]
            return
        mine, chance, ngram = (
            self.judge["scorers"][name] for name in (MODEL, "random", "n-gram N")
        )
        gain = [mine[k] - chance[k] for k in ("recovery", "continuation")]
        goal = gain[0] >= 0.10 and gain[1] >= 0.12
        level = all(mine[k] >= ngram[k] for k in ("recovery", "continuation"))
        value = f"{gain[0]:+.3f}, {gain[1]:+.3f}"
        ends = f"at n-gram N ({ngram['recovery'] - chance['recovery']:+.3f}, "
        ends += f"{ngram['continuation'] - chance['continuation']:+.3f})"
        yield [what, "+ .10, + .12", ends, value, verdict([(goal, "goal"), (level, "stretch")])]

    def behaviour(self):
        seeds = [e["repetition"] for e in self.all]
        first = [r["first"] - r["repeated"] for r in seeds]
        error = [r["error"] - r["repeated"] for r in seeds]
        worst = min(statistics.mean(first), statistics.mean(error))
        yield [
            "score of the first of eight repeated lines, and of an error line, over the repeats",
            ".15, .15",
            ".30, .30",
            f"{spread(first)}, {spread(error)}",
            graded(worst, 0.15, 0.30),
        ]

    def settings(self):
        default = self.first["default"]
        named = [name for name in default if name != "all"]
        kept = default["all"]["mean_of_domains"]["kept_tokens"]
        alone = default["all"]["mean_of_domains"]["floor_tokens"]
        over = [name for name in named if default[name]["kept_tokens"] > 0.65]
        text = f"{percent(kept)}; the floor alone keeps {percent(alone)}"
        text += f"; over in {', '.join(over)}" if over else ""
        yield [
            "tokens kept at default settings, mean of domains",
            "at most 65 %",
            "50 %",
            text,
            "missed" if over else graded(kept, 0.65, 0.50, higher=False),
        ]
        worst = min(named, key=lambda name: default[name]["critical"]["all"]["before"])
        before, after = (default["all"]["critical"]["all"][k] for k in ("before", "after"))
        text = f"{percent(before)}, least in {worst} "
        text += f"({percent(default[worst]['critical']['all']['before'])}); {percent(after)}"
        goal = before >= 0.95 and after == 1.0
        what = "critical spans before the floor; after"
        yield [what, "95 %; 100 %", "", text, "goal" if goal else "missed"]

    def folding(self):
        log = self.first["folding"]["log"]
        whole = log["kinds_left"] == log["kinds"] and log["errors_left"] == log["errors"]
        share = log["kept_tokens_folded"]
        yield [
            "tokens kept of a log with fold_repeats, every kind of line and every error left",
            "25 %",
            "15 %",
            percent(share) + ("" if whole else "; lines are missing"),
            graded(share, 0.25, 0.15, higher=False) if whole else "missed",
        ]

    def speed(self):
        what = "our encoder beside PyTorch's same model, 2 cores, bf16, full batches"
        goal, stretch = "3x, 40 % of the bf16 peak", "5x, 60 %"
        if self.encoder is None:
            yield [what, goal, stretch, MISSING, MISSING]
            return
        e = self.encoder
        value = f"{e['ratio']:.2f}x, {e['percent_of_peak']:.0f} % of the {e['dtype']} peak"
        value += (
            f" ({e['isa']}, {e['threads']} threads; in processor time {e['cpu']['ratio']:.2f}x, "
        )
        value += f"{e['cpu']['percent_of_peak']:.0f} %)"
        if e["dtype"] != "bf16":
            yield [what, goal, stretch, value + ": this machine has no bf16 products", MISSING]
            return
        limits = (3.0, 40.0, "goal"), (5.0, 60.0, "stretch")
        flags = [(e["ratio"] >= r and e["percent_of_peak"] >= p, n) for r, p, n in limits]
        yield [what, goal, stretch, value, verdict(flags)]

    def table(self):
        rows = []
        for part in ("quality", "judged", "behaviour", "settings", "folding", "speed"):
            rows += getattr(self, part)()
        return table(["what", "goal", "stretch", "measured", "reached"], rows)


def short(evaluation):
    mine = evaluation["scorers"][MODEL]["words"]
    default = evaluation["default"]["all"]
    return [number(mine["25"]["m"]), number(mine["50"]["m"])] + [
        percent(default["critical"]["all"]["before"]),
        percent(default["mean_of_domains"]["kept_tokens"]),
    ]


def over_seeds(pairs):
    """Mean and spread of m25 and m50 of evaluations named "WEIGHT, seed S" that differ in S alone."""
    groups = collections.defaultdict(list)
    for name, evaluation in pairs:
        groups[name.partition(",")[0]].append(evaluation["scorers"][MODEL]["words"])
    lines = [
        f"Over {len(runs)} seeds at weight {weight}: m25 {spread([r['25']['m'] for r in runs])}, "
        f"m50 {spread([r['50']['m'] for r in runs])}."
        for weight, runs in groups.items()
        if len(runs) > 1
    ]
    return "\n".join(lines)


def comparison(pairs, nothing):
    """A short table of [(name, evaluation)], or the sentence `nothing`."""
    header = ["", "m25", "m50", "critical spans before the floor", "tokens kept at default"]
    return table(header, [[name, *short(e)] for name, e in pairs]) if pairs else nothing


def self_labelling(before, after):
    if before is None:
        return f"Self-labelling was {MISSING}."
    m = [e["scorers"][MODEL]["words"]["25"]["m"] for e in (before, after)]
    kept = "rose, and the round was kept" if m[1] > m[0] else "did not rise: the round was dropped"
    rows = comparison([("before", before), ("after one round", after)], "")
    return f"{rows}\n\nThe held-out m25 {kept}."


def provenance(kinds):
    rows = [
        [d, ", ".join(kinds["train"].get(d, [])), ", ".join(kinds["eval"].get(d, []))]
        for d in DOMAINS
    ]
    return table(["domain", "trained on", "judged on"], rows)


def beside_labeller(scorers):
    """How the model stands beside its labellers, in words that follow the figures."""
    parts = []
    for key, ratio in (("m25", "25"), ("m50", "50")):
        mine, n, r = (scorers[s]["words"][ratio]["m"] for s in (MODEL, "n-gram N", "rules R"))
        parts.append(f"{key} is {number(mine)} against {number(n)} of N and {number(r)} of R")
    behind = scorers[MODEL]["words"]["25"]["m"] < scorers["rules R"]["words"]["25"]["m"]
    words = "does not beat its labeller" if behind else "is above its labellers in m25"
    return f"**It {words}**: {'; '.join(parts)}"


def read(path):
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def values(args):
    evaluations = [read(path) for path in args.evaluation]
    figures, training, judge = evaluations[0], read(args.training), read(args.judge)
    pith = read(os.path.join(args.model, "config.json"))["pith"]
    before, after = (read(p) for p in args.self_label) if args.self_label else (None, None)
    weights = [(pair.split("=")[0], read(pair.split("=", 1)[1])) for pair in args.weight]
    scorers = figures["scorers"]
    return {
        "parameters": training["parameters"] / 1e6,
        "window": pith["window_tokens"],
        "gamma": pith["gamma"],
        "megabytes": os.path.getsize(os.path.join(args.model, "model.safetensors")) / 1e6,
        "tokens_m": training["tokens"] / 1e6,
        "steps": training["steps"],
        "epochs": training["tokens"] / figures["tokens"]["train"],
        "train_tokens_m": figures["tokens"]["train"] / 1e6,
        "eval_documents": figures["documents"]["eval"],
        "train_documents": figures["documents"]["train"],
        "train_words": figures["words"]["train"],
        "validation_documents": figures["documents"]["validation"],
        "seeds": len(evaluations),
        "goals": Goals(evaluations, judge, read(args.encoder)).table(),
        "beside_labeller": beside_labeller(scorers),
        "scorers_words": scorer_table(scorers, "words"),
        "scorers_tokens": scorer_table(scorers, "tokens"),
        "domains_words": domain_table(scorers, "words"),
        "domains_tokens": domain_table(scorers, "tokens"),
        "settings": settings_table(figures["default"], pith["thresholds"]),
        "classes": class_table(
            figures["default"]["all"]["critical"], figures["adversarial"]["all"]["critical"]
        ),
        "groups": group_table(figures["adversarial"]),
        "folding": folding_table(figures["folding"]),
        "judge": judge_table(judge),
        "judge_documents": judge["documents"] if judge else 0,
        "weights": comparison(
            [(f"weight {name}", e) for name, e in weights], f"Other weights were {MISSING}."
        ),
        "over_seeds": over_seeds(weights),
        "self_labelling": self_labelling(before, after),
        "critical_weight": training.get("critical_weight", "?"),
        "free_target": percent(thresholds.FREE_TOKENS),
        "critical_least": percent(thresholds.CRITICAL_SURVIVAL),
        "validation_least": thresholds.DOCUMENTS_MIN,
        "learning_rate": LEARNING_RATE,
        "batch_tokens": BATCH_TOKENS,
        "skipped": ", ".join(figures.get("skipped", [])) or "none",
        "kinds": sum(len(kinds) for kinds in figures["kinds"]["train"].values())
        + sum(len(kinds) for kinds in figures["kinds"]["eval"].values()),
        "provenance": provenance(figures["kinds"]),
        **{name: figures["repetition"][name] for name in ("first", "repeated", "error")},
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--evaluation", required=True, nargs="+", help="one a seed")
    parser.add_argument("--training", required=True, help="what export.py wrote for the checkpoint")
    parser.add_argument("--judge", help="of judge.py")
    parser.add_argument("--encoder", help="of bench/encoder/torch_compare.py")
    parser.add_argument("--weight", action="append", default=[], metavar="NAME=EVALUATION")
    parser.add_argument("--self-label", nargs=2, metavar=("BEFORE", "AFTER"))
    args = parser.parse_args()
    with open(TEMPLATE, encoding="utf-8") as file:
        card = file.read().format(**values(args))
    with open(os.path.join(args.model, "CARD.md"), "w", encoding="utf-8") as file:
        file.write(card)


if __name__ == "__main__":
    main()
