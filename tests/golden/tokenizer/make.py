#!/usr/bin/env python3
"""Token ids of generated strings, from Hugging Face `tokenizers` 0.23, in parity mode.

Usage: make.py FOLDER-WITH-VOCABULARIES   (FOLDER/{modernbert,qwen2.5}/tokenizer.json)

Reads models/pith-mini/tokenizer.json too: run it again when that file changes.
Writes beside itself:
  strings.gz         u32 count; then for each string u32 length in bytes and its UTF-8
  small-*.json       two small vocabularies trained here: one with every added-token flag and the
                     GPT-2 pattern, one with the Qwen2 pattern, ignore_merges and no normalizer
  <vocabulary>.gz    u32 count; then for each string u32 number of ids and u64 FNV-1a over the ids
                     as little-endian u32. The small ones cover the first strings only.
All numbers are little-endian. The seed is fixed: the same versions write the same bytes.
"""
import gzip
import json
import pathlib
import random
import struct
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parents[2] / "models" / "pith-mini"
N_STRINGS = 20600
N_SMALL = 5000
RNG = random.Random(20261121)

ENGLISH = """the of and to in is that it was for on are as with his they be at one have this from or
had by hot but some what there we can out other were all your when up use word how said an each she
which do their time if will way about many then them would write like so these her long make thing
see him two has look more day could go come did my sound no most number who over know water than
call first people may down side been now find connection timeout exception failed warning retry
deployment kubernetes transformer compression server latency request throughput""".split()
CONTRACTIONS = "'s 't 're 've 'm 'll 'd 'S 'T 'RE 'VE 'M 'LL 'D 'Re 'vE 'lL 'ſ 'x 'r 'l ' '' 's's".split()
ADDED = """[CLS] [SEP] [MASK] [PAD] [UNK] [unused0] [unused82] <|endoftext|> <|padding|> <|im_start|>
<|im_end|> <|fim_middle|> <|object_ref_start|> |||IP_ADDRESS||| |||EMAIL_ADDRESS||| |||PHONE_NUMBER|||
<|vision_pad|> <tool_call> </tool_call> [CLS [unused83] <|im_start |||IP""".split()
SPACES = [" ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\r\n\r\n", " \n", "\n ", "\n\t",
          "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u00a0", "\u1680", "\u2000", "\u2003", "\u200a",
          "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", "\u180e"]
DIGITS = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "๐๑๒๓๔๕๖๗๘๙", "０１２３４５６７８９", "①②③ⅣⅤ½¾",
          "〇一二三四五", "𝟎𝟏𝟐𝟑", "൦൧൨", "᠐᠑᠒", "৳৴৵৶"]
EMOJI = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇯🇵", "❤️", "☕", "🤷🏿‍♀️", "🧑‍💻", "1️⃣", "✈️✂️", "🫠🫡", "😀😂🥲"]
# (first, last) code points of scripts; letters, marks and signs as they come.
SCRIPTS = [(0x41, 0x7A), (0xC0, 0x24F), (0x250, 0x2FF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A),
           (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1), (0x8A0, 0x8FF),
           (0x900, 0x97F), (0x980, 0x9FE), (0xA01, 0xA76), (0xA81, 0xAFF), (0xB01, 0xB77),
           (0xB82, 0xBFA), (0xC00, 0xC7F), (0xC80, 0xCF3), (0xD00, 0xD7F), (0xD81, 0xDF4),
           (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF),
           (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FD), (0x1780, 0x17F9), (0x1800, 0x18AA),
           (0x1B00, 0x1B7C), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2000, 0x206F), (0x2070, 0x20CF),
           (0x2100, 0x214F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2C60, 0x2DFF),
           (0x3000, 0x30FF), (0x3130, 0x318E), (0x31F0, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
           (0xA000, 0xA4C6), (0xA640, 0xA7FF), (0xA960, 0xA97C), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FB),
           (0xF900, 0xFAD9), (0xFB00, 0xFDFF), (0xFE00, 0xFFEF), (0x10000, 0x1005D),
           (0x10330, 0x1034A), (0x10400, 0x1049D), (0x10A00, 0x10A58), (0x11000, 0x110C2),
           (0x11100, 0x11147), (0x11300, 0x11374), (0x11930, 0x11946), (0x12000, 0x12399),
           (0x1D100, 0x1D1E8), (0x1D400, 0x1D7FF), (0x1E100, 0x1E14F), (0x1E900, 0x1E95F),
           (0x1F300, 0x1F6FF), (0x1F900, 0x1FAFF), (0x20000, 0x2A6DF), (0x2F800, 0x2FA1D),
           (0x30000, 0x3134A), (0xE000, 0xF8FF), (0xE0100, 0xE01EF), (0xF0000, 0xF0100)]
MARKS = [c for c in range(0x110000) if unicodedata.combining(chr(c))]
DECOMPOSING = [c for c in range(0x110000) if unicodedata.normalize("NFD", chr(c)) != chr(c)]
CODE = ["def {0}({1}, *args): return {1}['{0}']", "for (size_t i = 0; i < n; i++) {{ {0}[i] += {1}; }}",
        "#include <{0}.h>", "    if {0} != None and not {1}:", "\treturn &{0}{{{1}: {2}}}, nil",
        "SELECT {0}, COUNT(*) FROM {1} WHERE id >= {2};", "const {0} = async ({1}) => await {0}({2});",
        "git commit -m \"{0}: {1}\" && git push origin main", "std::vector<{0}> {1}(0x{2:x});",
        '{{"{0}": {2}, "{1}": [true, null, -1.5e-3]}}', "@@ -{2},7 +{2},8 @@ class {0}:",
        "+++ b/src/{0}/{1}.rs", "http://example.com/{0}?{1}={2}#x", "{0}_{1} = {2}.{2}e-{2} // {0}"]
LOGS = ["2026-11-21T10:{2:02d}:07.{2:03d}Z ERROR [{0}-{2}] {1} failed: code={2} path=/var/log/{0}.log",
        "[{2:8d}.{2:06d}] {0} {1}: link is down", "Nov 21 10:00:{2:02d} host sshd[{2}]: Failed {0} for {1}",
        "  File \"/srv/{0}/{1}.py\", line {2}, in {0}", "{0}/{1}-7d9f{2}   0/1   CrashLoopBackOff   {2}",
        "10.0.{2}.1 - - \"GET /{0}/{1} HTTP/1.1\" 200 {2}", "{0}::{1} ... ok ({2}ms)",
        "-rw-r--r-- 1 {0} {1} {2:>8d} Nov 21 {0}.{1}"]


def fill(template):
    return template.format(RNG.choice(ENGLISH), RNG.choice(ENGLISH), RNG.randrange(1000))


def sentence():
    words = [RNG.choice(ENGLISH) for _ in range(RNG.randint(1, 12))]
    if RNG.random() < 0.4:
        words = [w.capitalize() if RNG.random() < 0.3 else w.upper() if RNG.random() < 0.1 else w
                 for w in words]
    if RNG.random() < 0.4:
        words[RNG.randrange(len(words))] += RNG.choice(CONTRACTIONS)
    return RNG.choice([" ", " ", " ", "  ", ", ", ". "]).join(words) + RNG.choice(["", ".", "!", "?"])


def script_word():
    first, last = RNG.choice(SCRIPTS)
    return "".join(chr(RNG.randint(first, last)) for _ in range(RNG.randint(1, 7)))


def script_text():
    return RNG.choice(SPACES[:3] + ["", "\u3000"]).join(script_word() for _ in range(RNG.randint(1, 5)))


def marked():
    base = "".join(RNG.choice("aeiouAEINOsSxzкие가각ᄀकनবοω ") + "".join(
        chr(RNG.choice(MARKS)) for _ in range(RNG.choice([0, 1, 1, 2, 3]))) for _ in range(RNG.randint(1, 6)))
    return base


def decomposed():
    text = "".join(chr(RNG.choice(DECOMPOSING)) if RNG.random() < 0.6 else RNG.choice("ab 1가")
                   for _ in range(RNG.randint(1, 6)))
    return unicodedata.normalize(RNG.choice(["NFD", "NFC", "NFKD"]), text) if RNG.random() < 0.7 else text


def jamo():
    return "".join(chr(RNG.choice([RNG.randint(0x1100, 0x1112), RNG.randint(0x1161, 0x1175),
                                   RNG.randint(0x11A7, 0x11C2), RNG.randint(0xAC00, 0xD7A3)]))
                   for _ in range(RNG.randint(1, 10)))


def numbers():
    return RNG.choice(["", " ", "."]).join("".join(RNG.choice(RNG.choice(DIGITS)) for _ in range(
        RNG.randint(1, 6))) for _ in range(RNG.randint(1, 4)))


def spaces():
    kind = RNG.random()
    if kind < 0.5:
        return " " * RNG.randint(1, 60)
    return "".join(RNG.choice(SPACES) for _ in range(RNG.randint(1, 6)))


def anything():
    return "".join(chr(c) for c in (RNG.randrange(0x110000) for _ in range(RNG.randint(1, 6)))
                   if not 0xD800 <= c < 0xE000)


def control():
    return "".join(chr(RNG.choice([RNG.randrange(0x20), RNG.randrange(0x7F, 0xA1)]))
                   for _ in range(RNG.randint(1, 5)))


def punctuation():
    return "".join(RNG.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ …—“”") for _ in range(RNG.randint(1, 9)))


MAKERS = [(sentence, 7), (lambda: fill(RNG.choice(CODE)), 4), (lambda: fill(RNG.choice(LOGS)), 4),
          (script_text, 7), (marked, 3), (decomposed, 3), (jamo, 2), (numbers, 2), (spaces, 5),
          (anything, 2), (control, 1), (punctuation, 2), (lambda: RNG.choice(ADDED), 4),
          (lambda: RNG.choice(EMOJI), 2), (lambda: RNG.choice(CONTRACTIONS), 2)]


def mixed():
    makers, weights = zip(*MAKERS)
    n = RNG.choice([1, 1, 2, 3, 4])
    return "".join(make() for make in RNG.choices(makers, weights, k=n))


def long_strings():
    """Single pre-tokens of thousands of bytes, and long runs."""
    out = []
    for unit in ["a", "A", "=", "-", "0", "\n", "\t", "\u00a0", " ", "é", "e\u0301", "中", "가", "ᄀ",
                 "\u0301", "\u0301\u0323", "ab", "abc", "abcabcab", "xyzzy", "'s", "😀", "а", "ก",
                 "Ã", "the", "=-", "\u0300" * 40]:
        for n in (100, 9000, 40000):
            out.append(unit * (n // len(unit.encode())))
    for n in (500, 8192, 8193, 30000):
        out.append("".join(RNG.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(n)))
        out.append("".join(RNG.choice("=-#*_/\\") for _ in range(n)))
        out.append("".join(chr(RNG.randint(0x4E00, 0x9FFF)) for _ in range(n // 3)))
        out.append("".join(RNG.choice("ACGT") for _ in range(n)))
    return out


def make_strings():
    strings = ["", " ", "a", "\0", "a\0b", "\ufeff", "ſ'ſ", "<|endoftext|>", "  [MASK]  ", "[MASK]\u00a0"]
    strings += [make() for make, weight in MAKERS for _ in range(30 * weight)]
    strings += long_strings()
    while len(strings) < N_STRINGS:
        strings.append(mixed())
    return strings


def save_gz(path, data):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write(data)


def fnv1a(ids):
    value = 0xCBF29CE484222325
    for byte in struct.pack(f"<{len(ids)}I", *ids):
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def save_ids(name, tokenizer, strings):
    data = struct.pack("<I", len(strings))
    for text in strings:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        data += struct.pack("<IQ", len(ids), fnv1a(ids))
    save_gz(HERE / f"{name}.gz", data)


def small(pre_tokenizer, normalizer, ignore_merges, added, strings):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre_tokenizer
    tok.decoder = tokenizers.decoders.ByteLevel()
    tok.train_from_iterator(strings, trainers.BpeTrainer(
        vocab_size=700, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.add_tokens(added)
    return tok


def small_vocabularies(qwen, strings):
    texts = [sentence() for _ in range(500)] + [fill(t) for t in CODE + LOGS for _ in range(5)]
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    flags = [AddedToken("[MASK]", lstrip=True, normalized=False, special=True),
             AddedToken("[CLS]", rstrip=True, normalized=False, special=True),
             AddedToken("[SEP]", lstrip=True, rstrip=True, normalized=False, special=True),
             AddedToken("the", single_word=True, normalized=False),
             AddedToken("connection", single_word=True, normalized=True),
             AddedToken("e\u0301", normalized=True), AddedToken("e\u0301x", normalized=False),
             AddedToken("  ", normalized=True), AddedToken("    ", normalized=True),
             AddedToken("\n\n", normalized=False), AddedToken("<|im_start|>", rstrip=True),
             AddedToken("<|im_", normalized=True), AddedToken("<|im", normalized=False),
             AddedToken("\u00a0", normalized=False)]
    yield "small-flags", small(gpt2, tokenizers.normalizers.NFC(), False, flags, texts)
    yield "small-qwen2", small(qwen.pre_tokenizer, None, True,
                               [AddedToken("<|im_start|>", normalized=False, special=True)], texts)


def main():
    folder = pathlib.Path(sys.argv[1])
    assert tokenizers.__version__.startswith("0.23."), tokenizers.__version__
    strings = make_strings()
    blobs = [text.encode() for text in strings]
    save_gz(HERE / "strings.gz", struct.pack("<I", len(blobs)) + b"".join(
        struct.pack("<I", len(b)) + b for b in blobs))
    for name in ("modernbert", "qwen2.5"):
        save_ids(name, Tokenizer.from_file(str(folder / name / "tokenizer.json")), strings)
    save_ids("pith-mini", Tokenizer.from_file(str(MODEL / "tokenizer.json")), strings)
    qwen = Tokenizer.from_file(str(folder / "qwen2.5" / "tokenizer.json"))
    for name, tok in small_vocabularies(qwen, strings):
        # Through the file, as our side sees it.
        text = json.dumps(json.loads(tok.to_str()), ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n")
        save_ids(name, Tokenizer.from_file(str(HERE / f"{name}.json")), strings[:N_SMALL])


if __name__ == "__main__":
    main()
