"""A result page from result.json: the goals of the encoder on a GPU with what was measured, then
every step.

usage: page.py result.json > page.md
"""
import json
import sys

H200_FLOPS = 790e12   # bf16 matmul, measured on an H200
GEMM_FLOP = 222.6e6   # of a token: 22 layers and the heads (ModernBERT-base)
LOCAL_FLOP = 14 * 4 * 768 * 128.5
GLOBAL_FLOP = 8 * 4 * 768  # and key of the text
NOT_MEASURED = "not measured"


def steps(result):
    return [(s["stage"], step) for s in result["stages"] for step in s["steps"]]


def found(result, name):
    """The JSON of the step of that name, or None."""
    for _, step in steps(result):
        if step["name"] == name and step["status"] == "ok":
            return step.get("result")
    return None


def bound(run, flops):
    """Tokens a second if nothing but the tensor cores counted."""
    mean_keys = run["sum_of_squares"] / run["tokens"]
    return flops / (GEMM_FLOP + LOCAL_FLOP + GLOBAL_FLOP * mean_keys)


def ceiling(result):
    matmul = found(result, "peer matmul")
    return matmul["tflop_s"] * 1e12 if matmul else H200_FLOPS


def ratio(ours, peer):
    return f"{ours['tok_per_s'] / peer['tok_per_s']:.2f}x" if ours and peer else NOT_MEASURED


def throughput_row(result, what, name, length, goal):
    ours = found(result, f"auto {name}") or found(result, f"safe {name}")
    varlen = found(result, f"peer varlen {length} 8448")
    padded = found(result, f"peer padded {length} 8448")
    if not ours:
        return [what, goal, NOT_MEASURED, NOT_MEASURED]
    share = 100.0 * ours["tok_per_s"] / bound(ours, ceiling(result))
    return [what, goal, f"{ours['tok_per_s'] / 1e6:.3f} M tok/s, {share:.0f} % of the bound "
            f"({ours['kernels']})",
            f"{ratio(ours, varlen)} varlen + compile, {ratio(ours, padded)} padded"]


def latency_row(result):
    goal = "GPU time <= 0.8 ms; wall <= GPU time + 60 us"
    ours = found(result, "auto one request of 512") or found(result, "safe one request of 512")
    peer = found(result, "peer varlen 512 512")
    if not ours:
        return ["one 512-token request", goal, NOT_MEASURED, NOT_MEASURED]
    beside = f"{peer['step_ms']:.3f} ms as a PyTorch graph" if peer else NOT_MEASURED
    over = 1e3 * (ours["wall_ms"] - ours["step_ms"])
    return ["one 512-token request", goal,
            f"GPU {ours['step_ms']:.3f} ms, wall {ours['wall_ms']:.3f} ms (+{over:.0f} us)", beside]


def attention_row(result):
    ours, peer = found(result, "attn"), found(result, "peer attention 8192")
    best = max((r["tflop_s"] for r in ours or []
                if r["length"] == 8192 and r["form"] != "banded"), default=None)
    return ["global attention, head dim 64, 8k", ">= 430 TFLOP/s",
            f"{best:.0f} TFLOP/s" if best else NOT_MEASURED,
            ", ".join(f"{k} {v:.0f}" for k, v in peer.items()) if peer else NOT_MEASURED]


def bits_row(result):
    runs = [s["result"] for _, s in steps(result) if isinstance(s.get("result"), dict)
            and "changed_alone" in s["result"]]
    changed = sum(r["changed_alone"] for r in runs)
    return ["alone equals packed", "every bit",
            f"{changed} texts changed in {len(runs)} runs" if runs else NOT_MEASURED, "-"]


def swapped_row(result):
    """Tokens a second of the safe kernels, and with one fast kernel among them; by how much its
    scores differ from theirs: a large number names the kernel that is off."""
    safe, texts = found(result, "safe 512"), []
    for _, step in steps(result):
        name = step["name"].removeprefix("safe but ").removesuffix(" 512")
        ours = step.get("result") if step["name"].startswith("safe but ") else None
        if ours and safe and step["status"] == "ok":
            off = max(abs(a - b) if a == a and b == b else float("inf")
                      for a, b in zip(ours["sample"], safe["sample"]))
            speed = ours["tok_per_s"] / safe["tok_per_s"]
            texts.append(f"{name} {speed:.2f}x, scores {off:.4f} off")
    return ["one fast kernel among safe ones, 512", "-", ", ".join(texts) or NOT_MEASURED,
            f"safe alone {safe['tok_per_s'] / 1e6:.3f} M tok/s" if safe else NOT_MEASURED]


def tiles_row(result):
    tiles = result.get("tiles")
    text = NOT_MEASURED
    if tiles:
        text = tiles.get("no_table") or f"{len(tiles['rejected'])} tiles rejected for their bits"
    return ["tile sweep", "every tile the same bits", text, "-"]


def engine_row(result):
    ours, bare = found(result, "engine without a socket"), found(result, "auto mini")
    text = NOT_MEASURED
    if ours and bare:
        text = (f"{ours['tokens_per_s'] / 1e6:.3f} M tok/s, "
                f"{100.0 * ours['tokens_per_s'] / bare['tok_per_s']:.0f} % (pith-mini)")
    return ["engine end to end without a socket", ">= 95 % of the bare encoder", text, "-"]


def table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def page(result):
    device = found(result, "copy") or {}
    rows = [["what", "goal", "measured", "beside, in one run"],
            throughput_row(result, "512 tokens a text, full batches", "512", "512",
                           ">= 1.7 M tok/s, 52 %"),
            throughput_row(result, "8,192 tokens a text", "8192", "8192", ">= 0.95 M tok/s"),
            throughput_row(result, "uniform 32-2048", "mixed", "mixed", ">= 50 % of its bound"),
            latency_row(result), attention_row(result), engine_row(result), bits_row(result),
            swapped_row(result), tiles_row(result)]
    every = [["stage", "step", "status", "seconds"]] + [
        [str(number), step["name"], step["status"] + (f": {step['why']}" if "why" in step else ""),
         f"{step['seconds']:.1f}"] for number, step in steps(result)]
    return (f"# {device.get('device', 'GPU not seen')}, {result['date']}, "
            f"commit {result['commit']}\n\n{table(rows)}\n\nBuild: {result['build']}. "
            f"Ceilings: {json.dumps(device) if device else NOT_MEASURED}\n\n{table(every)}\n")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        sys.stdout.write(page(json.load(source)))
