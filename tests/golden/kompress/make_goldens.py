#!/usr/bin/env python3
"""Goldens of the kompress profile: the real headroom-ai 0.42.0, driven with scripted scores.

    python make_goldens.py [--modernbert TOKENIZER.json] [--check]

Needs headroom-ai 0.42.0, transformers, tokenizers, numpy. Writes beside itself

    tokenizer.json   a byte-level BPE of 1,500 entries, trained on the generated texts (kept when
                     it is there)
    cases.jsonl.gz   one JSON array per line: [text, ratio or null, seed, levels, scale,
                     fnv of the output with tokenizer.json, kept words, the same two with
                     ModernBERT-base's tokenizer, full output or null]

The score of a token is scale * u, cut down to `levels` levels where levels > 0, with u in [0, 1)
from SplitMix64 over (seed, token id, position in the row): the C test computes the same numbers.
The texts come from a seeded generator, so the file can be made again; --check compares.
"""

import argparse
import base64
import gzip
import json
import logging
import os
import random
import sys

os.environ["HEADROOM_COMPRESSION_DEADLINE_MS"] = "0"
os.environ["HEADROOM_KOMPRESS_TIME_BUDGET_SECONDS"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"

HERE = os.path.dirname(os.path.abspath(__file__))
N_CASES = 2400
MASK = (1 << 64) - 1


# --- scores ---------------------------------------------------------------------------------


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def token_score(seed, levels, scale, token, position):
    u = (splitmix64((seed << 40) ^ (token << 16) ^ position) >> 40) / 16777216.0
    if levels > 0:
        u = int(u * levels) / levels
    return scale * u


def fnv1a64(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


# --- texts ----------------------------------------------------------------------------------

PROSE = (
    "the a of to in is it that was for on with as at by from this be are have had has but you "
    "we they he she which their been were there when who more if out so said what up its about "
    "into than them can only other new some could time these two may then do first any my now "
    "such like our over man me even most made after also did many before must through back years "
    "where much your way well down should because each just those people how too little state "
    "good very make world still own see men work long get here between both life being under "
    "never day same another know while last might us great old year off come since against go "
    "came right used take three not without always and or cannot don't isn't won't avoid required"
).split()
IDENT = (
    "request handler buffer index parse token stream window score unit batch worker queue node "
    "cache entry config file path line value result error state model layer weight"
).split()
CJK = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从"
OTHER = [
    "café", "naïve", "e\u0301te\u0301", "Straße", "żółw", "Ωμέγα", "привет", "мир", "שלום", "عالم",
    "हिन्दी", "ไทย", "한국어", "日本語テキスト", "👩‍👩‍👧", "🎉🎉", "ﬁne", "Å", "ǅ", "\u1e9b\u0323", "x\u0301\u0327\u0308",
    "½", "٣٤", "٣.٤", "Ⅷ", "’tis", "“quoted”", "don’t", "—", "…", "İstanbul", "ı", "K", "\ufeffbom",
    "a\u200bb", "zero\u200dwidth", "ſhould", "DİDN'T",
]
CRITICAL = [
    "0x7fff2038", "0xZZ", "42", "3.14", "1.2.3", "v1.2.3", "word0", "4.2GB", "a=5", "SIGILL",
    "libsystem_kernel.dylib", "/usr/lib/python3.so", ".py", "--verbose", "-n", "-O2", "-Wall",
    "EXC_BAD", "IndexError", "ReadFile", "not", "NEVER", "can't", "and/or", "nor", "unless",
    "(must)", "required,", "well-known", "C:\\Temp\\x.log", "/Users/Me", "_", "__", "a.b", "9a.b",
    "9__.b", "{{HEADROOM_TAG_3}}", "user@example.com", "12,5", "1.", ".5", "-5", "--", "/", "//x",
]
SPECIAL = [
    "[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[unused0]", "|||IP_ADDRESS|||", "a[MASK]b",
    "[MASK][MASK]", "x|||EMAIL_ADDRESS|||y", "<|endoftext|>", "[mask]", "[MASK", "<|padding|>",
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u3000", "\x1c", "\x1f", "\x0b", "\x0c",
          "\x85", "\u2028", "\u2003", "\u200a", "   ", "\t\t", " \n ", "\n\n\n\n", "\u1680", "\u205f"]


def camel(r):
    return "".join(w.capitalize() for w in r.choices(IDENT, k=2))


def hexes(r, n):
    return "".join(r.choices("0123456789abcdef", k=n))


def sentence(r, n):
    words = r.choices(PROSE, k=n)
    words[0] = words[0].capitalize()
    if r.random() < 0.3:
        words[r.randrange(n)] += ","
    return " ".join(words) + r.choice([".", ".", "?", "!", ":"])


def prose(r, n):
    out, left = [], n
    while left > 0:
        k = min(left, r.randint(4, 18))
        out.append(sentence(r, k))
        left -= k
    text = out[0]
    for s in out[1:]:
        text += r.choice([" ", " ", " ", "\n", "\n\n", "  "]) + s
    return text


def log(r, n):
    rows, words = [], 0
    second = r.randrange(60)
    while words < n:
        second += r.randrange(3)
        row = "2026-01-%02d 10:%02d:%02d.%03d %s [%s] %s" % (
            r.randint(1, 28), second // 60 % 60, second % 60, r.randrange(1000),
            r.choice(["INFO", "DEBUG", "WARN", "ERROR"]), r.choice(IDENT) + "-%d" % r.randrange(9),
            r.choice([
                "connection refused to 10.0.0.%d:5432 after %d retries" % (r.randrange(255), r.randrange(9)),
                "request /api/v1/%s took %dms status %d" % (r.choice(IDENT), r.randrange(999), r.choice([200, 404, 500])),
                "worker started", "cache miss for key " + hexes(r, 8), "heartbeat ok",
                "commit " + hexes(r, 40), "id=" + hexes(r, 8) + "-" + hexes(r, 4),
            ]))
        rows.append(row)
        words += len(row.split())
    return r.choice(["\n", "\r\n"]).join(rows)


def code(r, n):
    rows, words, depth = [], 0, 0
    while words < n:
        indent = r.choice(["    ", "\t", "  "]) * depth
        row = indent + r.choice([
            "def %s_%s(self, %s):" % tuple(r.choices(IDENT, k=3)),
            "if %s > %d and not %s:" % (r.choice(IDENT), r.randrange(99), r.choice(IDENT)),
            "return self.%s.%s(%s[%d])" % (*r.choices(IDENT, k=3), r.randrange(9)),
            "%s = %s::%s<%s>();" % (r.choice(IDENT), *[camel(r) for _ in range(3)]),
            "// %s" % sentence(r, 5), "#include <%s.h>" % r.choice(IDENT),
            "raise %sError(\"%s failed\")" % (camel(r), r.choice(IDENT)), "}", "",
            "for (int i = 0; i < n; i++) {",
        ])
        depth = max(0, min(4, depth + r.choice([-1, 0, 0, 1])))
        rows.append(row)
        words += len(row.split())
    return "\n".join(rows) + r.choice(["", "\n"])


def table(r, n):
    rows, words = [], 0
    while words < n:
        cols = r.choice([2, 3, 4, 5])
        for _ in range(r.choice([1, 2, 3, 6])):
            cells = [r.choice([r.choice(IDENT), str(r.randrange(9999)), hexes(r, 6), r.choice(PROSE) + " " + r.choice(PROSE)])
                     for _ in range(cols)]
            gap = r.choice(["  ", "    ", " \t", "\t\t"])
            row = r.choice(["", "", "  "]) + gap.join(cells) + r.choice(["", "", "   "])
            rows.append(row)
            words += len(row.split())
        if r.random() < 0.6:
            rows.append(r.choice(["", sentence(r, 6), "total  0", "   "]))
            words += 3
    return "\n".join(rows)


def mixed(r, n, pools, spaces=None):
    out = []
    for _ in range(n):
        out.append(r.choice(r.choice(pools)))
        out.append(r.choice(spaces) if spaces else r.choices([" ", "\n", "  "], [8, 2, 1])[0])
    return "".join(out[: -1 if r.random() < 0.7 else None])


def cjk(r, n):
    return mixed(r, n, [["".join(r.choices(CJK, k=r.randint(1, 30))) for _ in range(20)], PROSE])


def long_words(r, n):
    pool = [base64.b64encode(r.randbytes(r.choice([30, 90, 400, 900]))).decode() for _ in range(3)]
    pool += ["a" * r.choice([60, 500, 2000]), "https://example.com/" + "/".join(r.choices(IDENT, k=40)),
             ",".join(str(r.randrange(10**6)) for _ in range(120)), hexes(r, 700), "-" * 300]
    return mixed(r, n, [PROSE, PROSE, PROSE, IDENT, pool])


def dense(r, n):
    def word():
        return r.choice([hexes(r, 12), camel(r) + "(" + hexes(r, 3) + ")", "x%dy%d" % (r.randrange(10**5), r.randrange(99)),
                         "https://%s.example/%s?q=%s" % (r.choice(IDENT), r.choice(IDENT), hexes(r, 4))])
    return mixed(r, n, [[word() for _ in range(40)], PROSE])


def exact_fill(r, n):
    """Rows that end right at the cut: words of one and of many tokens in turn."""
    size = r.choice([101, 102, 169, 170, 171, 254, 255, 256, 508, 509, 510, 511, 512, 513])
    out = []
    for _ in range(n):
        k = r.random()
        out.append("the" if k < 0.75 else "\u4e02" * (size // 3) if k < 0.85 else "~}" * (size // 2) if k < 0.9 else r.choice(PROSE))
    return " ".join(out)


def plain(r, n):
    """Nothing that a must-keep pattern holds: the way to an empty decision."""
    pool = [w for w in PROSE if w.isalpha() and w not in
            ("and", "or", "not", "never", "must", "only", "should", "without", "always", "cannot", "avoid", "required")]
    return " ".join(r.choices(pool, k=n))


KINDS = [
    prose, log, code, table, cjk, long_words, dense, exact_fill, plain,
    lambda r, n: mixed(r, n, [PROSE, OTHER]),
    lambda r, n: mixed(r, n, [PROSE, CRITICAL]),
    lambda r, n: mixed(r, n, [PROSE, SPECIAL]),
    lambda r, n: mixed(r, n, [PROSE, OTHER, CRITICAL, SPECIAL], SPACES),
    lambda r, n: "\n" * r.randrange(5) + mixed(r, n, [PROSE, IDENT], ["\n\n", "\n", " ", "\t", "\n \n"]) + "\n",
    lambda r, n: "\n".join([prose(r, n // 3 + 1), table(r, n // 3 + 1), log(r, n // 3 + 1)]),
]
SIZES = [0, 1, 9, 10, 63, 64, 65, 90, 120, 200, 349, 350, 351, 400, 700, 701, 900]


def make_case(index):
    r = random.Random(1000003 * index + 17)
    kind = KINDS[index % len(KINDS)]
    n = r.choices(SIZES, [1, 1, 1, 1, 2, 3, 3, 12, 12, 8, 2, 2, 2, 3, 2, 1, 1])[0]
    n = n if kind not in (long_words, cjk, dense, exact_fill) else min(n, r.choice([120, 200, 400]))
    text = kind(r, n) if n > 0 else r.choice(["", " ", "\n\t", "\u3000"])
    ratio = None if r.random() < 0.5 else r.choice([0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.29, 0.9, 1.0, 0.001, 0.999])
    levels = r.choice([0, 0, 0, 2, 8])
    scale = 0.4375 if kind is plain and r.random() < 0.5 else r.choice([1.0, 0.75, 0.625, 0.5625, 0.53125])
    return text, ratio, index + 1, levels, scale


# --- tokenizers and the reference -----------------------------------------------------------


def train_tokenizer(path, texts):
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=specials, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    t.train_from_iterator(texts, trainer)
    t.add_special_tokens([AddedToken("[MASK]", lstrip=True, special=True), AddedToken("<|endoftext|>", special=True)])
    t.add_tokens([AddedToken(" " * n, normalized=True) for n in range(8, 1, -1)]
                 + [AddedToken("|||IP_ADDRESS|||"), AddedToken("|||EMAIL_ADDRESS|||"), AddedToken("[unused0]")])
    cls, sep = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
    t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    t.save(path, pretty=False)


class Session:
    """Stands where the ONNX session stands: scores by rule."""

    def run(self, names, feed):
        import numpy as np

        assert names == ["final_scores"]
        rows = [[token_score(*self.rule, int(token), i) for i, token in enumerate(row)] for row in feed["input_ids"]]
        return [np.array(rows, dtype=np.float32)]


class Reference:
    def __init__(self, tokenizer_file):
        from headroom.transforms import kompress_compressor as kc
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(tokenizer_file=tokenizer_file, cls_token="[CLS]", sep_token="[SEP]",
                                            pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
        config = kc.KompressConfig(enable_ccr=False, model_id="scripted:" + tokenizer_file)
        self.session = Session()
        kc._kompress_cache[config.model_id] = (kc._OnnxModel(self.session), tokenizer, "onnx_cpu")
        self.compressor = kc.KompressCompressor(config)

    def compress(self, text, ratio, *rule):
        self.session.rule = rule
        result = self.compressor.compress(text, target_ratio=ratio, allow_download=False)
        assert self.compressor._inference_failures == 0 if hasattr(self.compressor, "_inference_failures") else True
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modernbert", help="tokenizer.json of answerdotai/ModernBERT-base")
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    cases = [make_case(i) for i in range(N_CASES)]
    small = os.path.join(HERE, "tokenizer.json")
    if not os.path.exists(small):
        train_tokenizer(small, [c[0] for c in cases])
    references = [Reference(small)] + ([Reference(args.modernbert)] if args.modernbert else [])
    lines = []
    for i, (text, ratio, *rule) in enumerate(cases):
        row = [text, ratio, *rule]
        for ref in references:
            result = ref.compress(text, ratio, *rule)
            row += ["%016x" % fnv1a64(result.compressed.encode()), result.compressed_tokens]
        row += [None, None] if len(references) == 1 else []
        full = references[0].compress(text, ratio, *rule).compressed if i % 100 < 15 and len(text) < 1500 else None
        lines.append(json.dumps(row + [full], ensure_ascii=True, separators=(",", ":")))
    data = ("\n".join(lines) + "\n").encode()
    path = os.path.join(HERE, "cases.jsonl.gz")
    if args.check:
        same = gzip.open(path).read() == data
        print("equal" if same else "DIFFERENT")
        return 0 if same else 1
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(data)
    print("%d cases, %d bytes of text, %d bytes written" % (len(lines), sum(len(c[0].encode()) for c in cases), os.path.getsize(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
