#!/usr/bin/env python3
"""Writes unicode_data.c: what the Hugging Face `tokenizers` library sees in each code point.

The tables are read off the library itself (0.23), so that our pre-tokenizers and NFC agree with it
whatever Unicode version it was built with:
  class  \\p{L}, \\p{N}, \\s of its regex engine (Oniguruma)
  nfc    how its NFC treats the code point; Python's own tables (>= 14.0) tell which code points
         can compose with the one before
  word   \\w of the Rust regex crate, seen through the single_word flag of an added token
Usage: unicode_tables.py > unicode_data.c    (needs `tokenizers`; takes about a minute)
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BLOCK = 128
LETTER, NUMBER, SPACE = 1, 2, 3
NFC_STABLE, NFC_MARK, NFC_CHANGES, NFC_INERT = 0, 1, 2, 3
WORD = 16


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = set()
    for low in range(0, len(CODES), 4096):
        text = "".join(map(chr, CODES[low : low + 4096]))
        for piece, _ in split.pre_tokenize_str(text):
            found.update(map(ord, piece))
    return found


def added_token_members(**flags):
    """Code points c for which an added token with `flags` matches differently after c."""
    tok = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
    tok.add_tokens([AddedToken("Q#", normalized=False, **flags)])
    found = set()
    for low in range(0, len(CODES), 65536):
        part = CODES[low : low + 65536]
        plain = tok.encode_batch([chr(c) + "Q#" for c in part])
        found.update(c for c, enc in zip(part, plain) if len(enc.ids) == 1)
    return found


def nfc_values():
    nfc = normalizers.NFC().normalize_str
    marks, changes, inert = set(), set(), set()
    for c in CODES:
        ch = chr(c)
        # U+0334 has class 1 and U+0345 class 240: a mark moves past one or the other.
        if nfc(ch + "\u0334") != ch + "\u0334" or nfc("\u0345" + ch) != "\u0345" + ch:
            if nfc(ch) == ch:
                marks.add(c)
        if nfc(ch) != ch:
            changes.add(c)
        if unicodedata.category(ch) == "Cn":
            assert c not in marks and c not in changes, "Python's Unicode is older"
            inert.add(c)
        elif unicodedata.combining(ch) and c not in marks and c not in changes:
            inert.add(c)
    # Second halves of primary composites can change what stands before them.
    for c in CODES:
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) != 2 or parts[0].startswith("<"):
            continue
        first, second = (int(p, 16) for p in parts)
        if unicodedata.normalize("NFC", chr(first) + chr(second)) != chr(c):
            continue
        if nfc(chr(first) + chr(second)) == chr(c):
            changes.add(second)
        else:
            inert.update((first, second, c))
    changes.update(range(0x1161, 0x1176))  # Hangul V
    changes.update(range(0x11A8, 0x11C3))  # Hangul T
    assert not changes & inert, sorted(map(hex, changes & inert))
    assert not any(c < 0x300 for c in marks | changes | inert)
    return marks, changes, inert


def main():
    letters, numbers, spaces = members(r"\p{L}"), members(r"\p{N}"), members(r"\s")
    assert not letters & numbers and not letters & spaces and not numbers & spaces
    assert members(r"[^\s\p{L}\p{N}]") == set(CODES) - letters - numbers - spaces
    assert added_token_members(lstrip=True) == spaces
    words = set(CODES) - single_word_blind()
    marks, changes, inert = nfc_values()
    props = bytearray(0x110000)
    for value, codes in (
        (LETTER, letters),
        (NUMBER, numbers),
        (SPACE, spaces),
        (NFC_MARK << 2, marks - changes),
        (NFC_CHANGES << 2, changes),
        (NFC_INERT << 2, inert),
        (WORD, words),
    ):
        for c in codes:
            props[c] |= value
    blocks, index = {}, []
    for low in range(0, 0x110000, BLOCK):
        block = bytes(props[low : low + BLOCK])
        index.append(blocks.setdefault(block, len(blocks)))
    emit(index, list(blocks), len(letters), len(numbers))


def single_word_blind():
    """Code points after which a single_word token still matches: those outside \\w."""
    tok = Tokenizer(models.WordLevel({"u": 0}, unk_token="u"))
    tok.add_tokens([AddedToken("Q#", normalized=False, single_word=True)])
    token = tok.token_to_id("Q#")
    found = set()
    for low in range(0, len(CODES), 65536):
        part = CODES[low : low + 65536]
        for c, enc in zip(part, tok.encode_batch([chr(c) + "Q#" for c in part])):
            if token in enc.ids:
                found.add(c)
    return found


def emit(index, blocks, n_letters, n_numbers):
    out = sys.stdout
    out.write(
        "/* Made by unicode_tables.py: do not edit.\n"
        " *\n"
        f" * Read off Hugging Face tokenizers {tokenizers.__version__}: its regex engine knows Unicode 16.0\n"
        f" * ({n_letters} letters, {n_numbers} numbers, 25 white-space characters); its NFC knows Unicode 9.0\n"
        " * and takes later characters as they are. */\n"
        '#include "runtime/text/unicode.h"\n\n'
        "/* clang-format off */\n"
    )
    assert len(blocks) <= 256, "the index no longer fits bytes"
    out.write(f"const uint8_t pith_unicode_index[PITH_UNICODE_BLOCKS] = {{\n")
    rows(out, index)
    out.write("};\n\n")
    flat = [b for block in blocks for b in block]
    out.write(f"const uint8_t pith_unicode_props[{len(blocks)} * PITH_UNICODE_BLOCK] = {{\n")
    rows(out, flat)
    out.write("};\n")


def rows(out, values):
    line = ""
    for v in values:
        item = f"{v},"
        if len(line) + len(item) > 100:
            out.write(line + "\n")
            line = ""
        line += item
    out.write(line + "\n")


if __name__ == "__main__":
    main()
