"""Makes the committed table of tiles, runtime/backend/cuda/tiles.h, of a sweep's results.

usage: tune.py [bench/gpu/tune/sm_90a-132.json] > runtime/backend/cuda/tiles.h

The fastest tile of each product and size class wins. A tile whose output has other bits than most
tiles of its group is rejected, whatever its speed; a group without a tile, or where no hash has a
majority, ends this with an error: no half table is made. Rows without times stand for what has not
been measured; then there is one to a group.
"""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMITTED = os.path.join(ROOT, "bench/gpu/tune/sm_90a-132.json")
TABLE = os.path.join(ROOT, "runtime/backend/cuda/tiles.h")
CLASSES = [512, 2048, 8448]  # runtime/backend/cuda/step.c: sizes of recorded steps
KINDS = {"qkv": "PITH_PACK_QKV", "geglu": "PITH_PACK_GEGLU", "plain": "PITH_PACK_LINEAR",
         "span_conv": "PITH_PACK_SPAN_CONV"}
TILES = {"128x192": "PK_LINEAR_128_192", "64x192": "PK_LINEAR_64_192", "64x64": "PK_LINEAR_64_64"}


class NoTable(Exception):
    pass


def groups_of(rows):
    """{(op, n, k, class): rows}, wgmma tiles that ran alone: the safe one's bits may differ."""
    groups = {}
    for row in rows:
        group = groups.setdefault((row["op"], row["n"], row["k"], row["rows"]), [])
        if row["tile"] in TILES and row["error"] == 0:
            group.append(row)
    return groups


def alike(key, group):
    """Those of the group with the majority's bits."""
    if len(group) == 1 and group[0]["ns"] is None:
        return group
    if any(row["ns"] is None for row in group):
        raise NoTable(f"{key}: rows without a time beside others")
    hashes = [row["hash"] for row in group]
    good = [row for row in group if hashes.count(row["hash"]) * 2 > len(hashes)]
    if not good:
        raise NoTable(f"{key}: no tile, or no bits that most tiles share")
    return good


def best(rows):
    """{(op, n, k, class): row}"""
    groups = groups_of(rows)
    for op, n, k, _ in list(groups):
        for size in CLASSES:
            if (op, n, k, size) not in groups:
                raise NoTable(f"{op} {n} x {k}: no rows for the class of {size}")
    return {key: min(alike(key, group), key=lambda row: row["ns"] or 0.0)
            for key, group in groups.items()}


def rejected(rows):
    """Rows with other bits than their group's."""
    return [row for key, group in groups_of(rows).items() for row in group
            if row not in alike(key, group)]


def order(key):
    op, n, k, size = key
    return list(KINDS).index(op), n, k, size


def table(sweep):
    chosen = best(sweep["rows"])
    lines = []
    measured = any(row["ns"] is not None for row in sweep["rows"])
    for key in sorted(chosen, key=order):
        op, n, k, size = key
        row = chosen[key]
        pairs = "true" if row["cluster"] == 2 else "false"
        lines.append(f"    {{{KINDS[op]}, {n}, {k}, {size}, {TILES[row['tile']]}, "
                     f"{row['stages']}, {pairs}, {row['ctas_per_sm']}}},")
    return f"""/* Made by bench/gpu/tune.py from bench/gpu/tune/sm_90a-132.json: not to be edited.
 * {sweep["measured"]}. */
#ifndef PITH_BACKEND_CUDA_TILES_H
#define PITH_BACKEND_CUDA_TILES_H

#include "runtime/backend/cuda/kernels.h"

enum {{ CUDA_TILES_MEASURED = {int(measured)} }}; /* on a GPU; else computed, as kernels.c has it */

static const cuda_tile cuda_tiles[] = {{
""" + "\n".join(lines) + """
};

#endif
"""


def main():
    with open(sys.argv[1] if len(sys.argv) > 1 else COMMITTED, encoding="utf-8") as file:
        sweep = json.load(file)
    try:
        text = table(sweep)
    except NoTable as why:
        print(f"tune.py: {why}", file=sys.stderr)
        return 1
    for row in rejected(sweep["rows"]):
        print(f"tune.py: rejected for its bits: {row['op']} {row['n']} x {row['k']}, {row['rows']} "
              f"rows, {row['tile']} of {row['stages']} stages in clusters of {row['cluster']}", file=sys.stderr)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
