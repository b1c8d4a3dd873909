"""What fold_repeats keeps of generated tool output full of repeated lines (tests/e2e/repeats.py),
and whether every kind of line and every line that tells of an error is still there."""

import os
import sys

import engine

HERE = os.path.dirname(os.path.abspath(__file__))
LINES, SEED = 400, 1


def generators():
    folder = os.path.join(HERE, "..", "..", "..", "tests", "e2e")
    if folder not in sys.path:
        sys.path.append(folder)
    import repeats

    return {"log": repeats.service_log, "json": repeats.records, "search": repeats.matches}


def touched(ranges, lines):
    """Per line whether a kept range has a byte of it."""
    flags, at, index = [], 0, 0
    for line in lines:
        end = at + len(line.encode())
        while index < len(ranges) and ranges[index][1] <= at:
            index += 1
        flags.append(index < len(ranges) and ranges[index][0] < end)
        at = end
    return flags


def figures(model_dir):
    result = {}
    with engine.Engine(model_dir) as e:
        for domain, generate in generators().items():
            rows = generate(LINES, SEED)
            text = "".join(line for line, _, _ in rows)
            plain, folded = (e.compress(text, domain=domain, fold=fold) for fold in (False, True))
            seen = touched(folded.ranges, [line for line, _, _ in rows])
            kinds = {kind for _, kind, _ in rows if kind is not None}
            left = {kind for (_, kind, _), flag in zip(rows, seen) if flag}
            errors = [flag for (_, _, error), flag in zip(rows, seen) if error]
            result[domain] = {
                "lines": len(rows),
                "kept_tokens": plain.kept_tokens / plain.input_tokens,
                "kept_tokens_folded": folded.kept_tokens / folded.input_tokens,
                "folded_lines": folded.folded_lines,
                "kinds": len(kinds),
                "kinds_left": len(kinds & left),
                "errors": len(errors),
                "errors_left": sum(errors),
            }
    return result
