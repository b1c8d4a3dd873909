"""Golden outputs of the exported model: what another engine must reproduce within 1e-3.

    python3 golden.py --model models/pith-mini --out models/pith-mini/golden.json

PyTorch, fp32, one sequence at a time, on the bf16-rounded weights of the file. Each case carries
its text, the ids of its first window ([CLS] ... [SEP]) and, per id, z_tok, z_span, score = 1 - P(evict).
"""

import argparse
import json

import numpy as np
import torch
from tokenizers import Tokenizer

import export
import labels
import tokenizer as bpe
import windows

DIGITS = 6


def long_log():
    lines = [
        f"2026-01-{i % 28 + 1:02d} 10:{i % 60:02d}:07 INFO scheduler heartbeat from worker {i % 5}"
        for i in range(30)
    ]
    lines[17] = "2026-01-18 10:17:07 ERROR worker 3 lost its lease in /var/lib/queue"
    return "\n".join(lines)


def long_prose(sentences):
    """Sentences that repeat their parts in changing order."""
    subjects = ("The compressor", "A reader", "Every session", "The old cache", "Nobody")
    verbs = ("keeps", "drops", "repeats", "measures", "forgets")
    objects = (
        "the words that carry the answer",
        "a line it has already seen",
        "what was promised to the caller",
        "the budget of the whole request",
        "nothing without saying so",
    )
    return " ".join(
        f"{subjects[i % 5]} {verbs[i // 2 % 5]} {objects[(i * 3 + i // 5) % 5]}."
        for i in range(sentences)
    )


CODE = """def read_config(path):
    \"\"\"Read a JSON file and return its settings.\"\"\"
    with open(path) as file:
        settings = json.load(file)
    if not settings.get("enabled"):
        raise ValueError(f"{path}: disabled")
    return settings
"""

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/main.py", line 41, in handle
    user = load(request.id)
  File "/srv/app/store.py", line 12, in load
    return table[key]
           ~~~~~^^^^^
KeyError: 'u-1932'
"""

DIFF = """--- a/queue.c
+++ b/queue.c
@@ -10,7 +10,8 @@ static int push(struct queue *q, int item)
 {
-    if (q->len > q->cap)
+    if (q->len >= q->cap) {
         return -1;
+    }
     q->items[q->len++] = item;
     return 0;
 }
"""

ROWS = [
    {"id": i, "name": f"item {i}", "cost": i * 1.5, "tags": ["new", "sale"][: i % 3], "left": None}
    for i in range(12)
]

TEXTS = {
    "one word": "hello",
    "one sentence": "The server did not start because port 8080 was already in use.",
    "white space": "  indented\n\n\n\ttabs and   runs of spaces \n",
    "not ASCII": "Größe 42 µm – naïve café, 東京の天気, 🚀 and e\u0301 decomposed",
    "code": CODE,
    "traceback": TRACEBACK,
    "diff": DIFF,
    "json": json.dumps(ROWS, indent=2),
    "grep": "\n".join(
        f'./src/module_{i % 4}.go:{17 + 9 * i}:\treturn fmt.Errorf("open {i}: %w", err)'
        for i in range(14)
    ),
    "log": long_log(),
    "prose": long_prose(40),
    "over the window": long_prose(90),
}


def case(name, text, model, tokenizer):
    ids, words = bpe.encode(tokenizer, text, labels.word_spans(text))
    begin, end, _, _ = windows.cut(words)[0] if any(w >= 0 for w in words) else (0, len(ids), 0, 0)
    ids = bpe.framed(ids[begin:end])
    z_tok, z_span, logit = export.window_outputs(model, ids)
    score = 1 / (1 + np.exp(-logit.astype(np.float64)))
    digits = lambda values: [round(float(v), DIGITS) for v in values]
    return {
        "name": name,
        "text": text,
        "ids": ids,
        "z_tok": digits(z_tok),
        "z_span": digits(z_span),
        "score": digits(score),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = export.load_exported(args.model)
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    cases = [case(name, text, model, tokenizer) for name, text in TEXTS.items()]
    with open(args.out, "w") as file:
        file.write('{"model": "pith-mini", "gamma": %r, "cases": [\n' % model.gamma.item())
        file.write(
            ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases)
        )
        file.write("\n]}\n")
    print(f"{len(cases)} cases, {[len(c['ids']) for c in cases]} ids")


if __name__ == "__main__":
    main()
