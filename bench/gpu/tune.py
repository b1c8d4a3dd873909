"""The best tile of each product and size from a measured sweep, for the table in
runtime/backend/cuda/kernels.c. A tile whose bits differ from the other wgmma tiles' is left out.

usage: tune.py tune-sm_90a-132.json
"""
import json
import sys


def best(rows):
    """{(op, n, k, rows): row}; a tile that failed, or has other bits than most, cannot win."""
    groups, chosen = {}, {}
    for row in rows:
        groups.setdefault((row["op"], row["n"], row["k"], row["rows"]), []).append(row)
    for key, group in groups.items():
        fast = [r for r in group if r["error"] == 0 and r["tile"] != "safe"]
        hashes = [r["hash"] for r in fast]
        alike = [r for r in fast if hashes.count(r["hash"]) * 2 > len(hashes)]
        if alike:
            chosen[key] = min(alike, key=lambda r: r["ns"])
    return chosen


def rejected(rows):
    kept = best(rows)
    return [r for r in rows if r["error"] == 0 and r["tile"] != "safe"
            and kept.get((r["op"], r["n"], r["k"], r["rows"]), {}).get("hash") != r["hash"]]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = json.load(file)
    for (op, n, k, size), row in sorted(best(rows).items()):
        print(f"{op} n {n} k {k} rows {size}: {row['tile']} {row['ns']:.0f} ns "
              f"{row['tflop_s']:.0f} TFLOP/s")
    for row in rejected(rows):
        print(f"left out, other bits: {row['op']} n {row['n']} rows {row['rows']} {row['tile']}")


if __name__ == "__main__":
    main()
