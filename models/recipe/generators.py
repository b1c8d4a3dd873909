"""Seeded tool output with a reference: what a reader needs of it, written together with the rest.

    python3 generators.py --rows 3000 --seed 42 > rows.jsonl

A row: text, reference (its words in order, those that matter), keep (one flag a word), domain,
source, topic. Two invariants hold for every row and are checked before it is given out: every
critical span of the text is in the reference (mk_in_ref = 1.0, by the server's floor), and the text
is at least RATIO_MIN times as long. Plain Python; wants `make model-floor`.
"""

import argparse
import itertools
import json
import random
import sys

import floor

RATIO_MIN = 1.3  # characters of the text to characters of the reference
TEXT_CHARS_MIN = 100
FILLER_MAX = 60  # sentences that a row may be padded with until its ratio is reached

# Words without any critical class, to build sentences that nobody would miss.
SUBJECTS = (
    "the worker|the scheduler|this helper|the old cache|a background task|the loader|the reader"
    "|every session|the first stage|the next stage|the build|the watcher|the parser|the monitor"
).split("|")
VERBS = (
    "keeps going as before|waits for more work|finished its turn quietly|reports normal progress"
    "|picks up where it left off|goes through the list again|looks healthy to the observer"
    "|writes a short note about itself|has seen this kind of input before|takes its usual time"
).split("|")
TAILS = (
    "while the rest of the system is idle|during this part of the run|like it did the day before"
    "|with the settings that came with it|as part of the daily routine|in the same order as usual"
    "|until somebody asks for a change|for the sake of a complete picture|just as the plan says"
).split("|")
NAMES = "order invoice session packet channel ledger bucket worker report filter cursor".split()
VERBS_CODE = "load parse merge flush render decode collect verify".split()
FOLDERS = "src lib core net store api tools".split()
ERRORS = (
    ("ConnectionResetError", "peer closed the connection"),
    ("KeyError", "no such entry"),
    ("TimeoutError", "deadline exceeded"),
    ("ValueError", "invalid literal"),
    ("PermissionError", "access denied"),
)


class RowError(ValueError):
    """A row that breaks an invariant; a mistake of its generator."""


def filler(rng):
    return f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(TAILS)}"


def drop(*fragments):
    return [(fragment, False) for fragment in fragments]


def keep(*fragments):
    return [(fragment, True) for fragment in fragments]


def path(rng, suffix):
    return f"{rng.choice(FOLDERS)}/{rng.choice(NAMES)}/{rng.choice(NAMES)}_{rng.randrange(90)}.{suffix}"


def clock(rng, second):
    return f"2026-11-{1 + second // 86400 % 28:02d}T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def bash_output(rng):
    """find, cargo, git and make, with what they say about themselves."""
    target = rng.choice(NAMES)
    lines = [keep(f"$ cargo test --package {target}-{rng.randrange(9)}")]
    for _ in range(rng.randint(3, 6)):
        lines.append(drop("note:", filler(rng)))
        lines.append(
            keep(f"Compiling {rng.choice(NAMES)} v{rng.randrange(4)}.{rng.randrange(20)}.0")
            + drop("in the background,", filler(rng))
        )
    lines.append(keep(f"test {target}::round_trip ... FAILED"))
    lines.append(drop(filler(rng)))
    lines.append(keep(f"exit status {rng.choice((1, 2, 101))}"))
    return lines


def file_read(rng):
    """A module as an editor shows it, with comments that tell little."""
    lines = [keep(f"import {rng.choice(NAMES)}"), drop("")]
    for _ in range(rng.randint(2, 4)):
        name = f"{rng.choice(VERBS_CODE)}_{rng.choice(NAMES)}_{rng.randrange(30)}"
        lines += [
            keep(f"def {name}(item, limit={rng.randrange(2, 99)}):"),
            drop("    # " + filler(rng)),
            drop("    # " + filler(rng)),
            keep(f"    if item.size > limit: raise {rng.choice(ERRORS)[0]}(item.name)"),
            drop("    # " + filler(rng)),
            keep(f"    return item.value * {rng.randrange(2, 9)}"),
            drop(""),
        ]
    return lines


def error_trace(rng):
    """Python, TypeScript or Rust: frames and the error; what the runner adds goes."""
    error, why = rng.choice(ERRORS)
    kind = rng.choice(("py", "ts", "rs"))
    lines = [drop(filler(rng)), drop(filler(rng))]
    if kind == "py":
        lines.append(keep("Traceback (most recent call last):"))
    for _ in range(rng.randint(2, 5)):
        at, line, name = path(rng, kind), rng.randrange(1, 900), rng.choice(VERBS_CODE)
        frame = {
            "py": f'  File "/srv/{at}", line {line}, in {name}_all',
            "ts": f"    at {name}All (/srv/{at}:{line}:{rng.randrange(1, 80)})",
            "rs": f"   {rng.randrange(30)}: {name}::run at /srv/{at}:{line}",
        }[kind]
        lines += [keep(frame), drop("      called from here, " + filler(rng))]
    lines.append(keep(f"{error}: {why} after {rng.randrange(2, 90)} tries"))
    lines.append(drop(filler(rng)))
    return lines


def search_result(rng):
    """grep -n: file, line and what stands there; the chatter around the matches goes."""
    lines = [drop(filler(rng))]
    for _ in range(rng.randint(4, 8)):
        name = f"{rng.choice(VERBS_CODE)}_{rng.choice(NAMES)}"
        lines.append(
            keep(f"{path(rng, 'go')}:{rng.randrange(1, 2000)}: {name}(ctx)")
            + drop("// " + filler(rng))
        )
    lines += [drop(filler(rng)), keep(f"{len(lines) - 1} matches in {rng.randrange(2, 40)} files")]
    return lines


def json_tool_result(rng):
    """An array of objects: numbers, names and states stay, the descriptions go."""
    lines = [keep("[")]
    for _ in range(rng.randint(3, 6)):
        lines += [
            keep("  {"),
            keep(f'    "id": {rng.randrange(1, 99999)},'),
            keep(f'    "state": "{rng.choice(("FAILED", "READY", "QUEUED"))}",'),
            drop(f'    "summary": "{filler(rng)} so {filler(rng)}",'),
            keep(f'    "cost_ms": {rng.randrange(1, 9000)}'),
            keep("  },"),
        ]
    return lines + [keep("]")]


def code_diff(rng):
    """Changed lines and hunk headers stay; context without names goes."""
    at = path(rng, "c")
    lines = [keep(f"--- a/{at}"), keep(f"+++ b/{at}")]
    for _ in range(rng.randint(2, 4)):
        line, name = rng.randrange(1, 900), f"{rng.choice(NAMES)}_{rng.choice(VERBS_CODE)}"
        lines += [
            keep(f"@@ -{line},6 +{line},7 @@ static int {name}(struct list *list)"),
            drop(" /* " + filler(rng) + " */"),
            keep(f"-    return list->count > {rng.randrange(9)};"),
            keep(f"+    return list->count >= {rng.randrange(9)} && list->open;"),
            drop(" /* " + filler(rng)),
            drop("    " + filler(rng) + " */"),
        ]
    return lines


def log_stream(rng):
    """Heartbeats that say the same each time, and the few lines that do not."""
    second, lines = rng.randrange(86400), []
    for _ in range(rng.randint(6, 12)):
        second += rng.randrange(1, 90)
        if rng.random() < 0.25:
            error, why = rng.choice(ERRORS)
            lines.append(keep(f"{clock(rng, second)} ERROR {error}: {why}") + drop(filler(rng)))
        else:
            lines.append(keep(f"{clock(rng, second)} INFO") + drop(filler(rng), filler(rng)))
    return lines


def prose(rng):
    """A page of instructions: duties, limits and places stay, the rest is encouragement."""
    lines = []
    for _ in range(rng.randint(3, 6)):
        lines.append(drop(filler(rng).capitalize() + "."))
        lines.append(
            keep(
                f"You must set {rng.choice(NAMES)}.{rng.choice(VERBS_CODE)} to {rng.randrange(99)}"
                f" in /etc/{rng.choice(NAMES)}.conf"
            )
            + drop("because " + filler(rng) + ".")
        )
        lines.append(
            keep(f"Never remove {rng.choice(NAMES)}_{rng.choice(NAMES)}") + drop(filler(rng))
        )
    return lines


GENERATORS = {
    "bash_output": bash_output,
    "file_read": file_read,
    "error_trace": error_trace,
    "search_result": search_result,
    "json_tool_result": json_tool_result,
    "code_diff": code_diff,
    "log_stream": log_stream,
    "prose": prose,
}


def assemble(lines):
    """(text, reference, keep flag per word) of lines of (fragment, kept)."""
    text, reference, flags = [], [], []
    for line in lines:
        text.append(" ".join(fragment for fragment, _ in line))
        kept = " ".join(fragment for fragment, flag in line if flag)
        if kept:
            reference.append(kept)
        for fragment, flag in line:
            flags += [flag] * len(fragment.split())
    return "\n".join(text), "\n".join(reference), flags


def kept_share(text, reference):
    """mk_in_ref: the share of the text's critical spans that the reference has, in their order."""
    data, at, found = text.encode(), 0, 0
    spans = floor.look(text).spans
    for span in spans:
        string = data[span.start : span.end].decode()
        place = reference.find(string, at)
        if place >= 0:
            found, at = found + 1, place + len(string)
    return found / len(spans) if spans else 1.0


def check(row):
    """Raises RowError where an invariant does not hold."""
    text, reference = row["text"], row["reference"]
    words = text.split()
    if len(words) != len(row["keep"]) or reference.split() != list(
        itertools.compress(words, row["keep"])
    ):
        raise RowError("the reference is not the kept words of the text")
    if kept_share(text, reference) != 1.0:
        raise RowError(f"a critical span of the text is not in the reference: {text!r}")
    if len(text) < RATIO_MIN * len(reference) or len(text) < TEXT_CHARS_MIN:
        raise RowError(f"{len(text)} characters for a reference of {len(reference)}")


def make(domain, rng):
    """One checked row; sentences that say nothing are added until the ratio is reached."""
    lines = GENERATORS[domain](rng)
    for _ in range(FILLER_MAX):
        text, reference, flags = assemble(lines)
        if len(text) >= RATIO_MIN * len(reference):
            break
        mark = {"file_read": "# ", "code_diff": " "}.get(domain, "")
        lines.insert(rng.randrange(1, len(lines)), drop(mark + filler(rng)))
    row = {
        "text": text,
        "reference": reference,
        "keep": flags,
        "domain": domain,
        "source": "generated",
        "topic": rng.choice(NAMES),
    }
    check(row)
    return row


def rows(count, seed):
    """`count` rows, the domains taking turns; the same seed gives the same rows."""
    names = list(GENERATORS)
    return [
        make(names[index % len(names)], random.Random(f"{seed}:{index}")) for index in range(count)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    for row in rows(args.rows, args.seed):
        json.dump(row, sys.stdout)
        print()


if __name__ == "__main__":
    main()
