#include "runtime/text/pretok.h"

#include "runtime/text/eight.h"
#include "runtime/text/unicode.h"

#include <stdbool.h>
#include <stdint.h>

/* Class of the character at `pos` (< len) and its length in bytes. */
static inline unsigned class_at(const char *text, size_t len, size_t pos, size_t *n) {
    unsigned char byte = (unsigned char)text[pos];
    if (byte < 0x80) {
        *n = 1;
        return pith_unicode_props[byte] & PITH_CHAR_CLASS; /* block 0 stands first */
    }
    return pith_unicode_at(text + pos, len - pos, n) & PITH_CHAR_CLASS;
}

/* Class at `pos`, or PITH_CHAR_SPACE at the end of the text: nothing continues there. */
static inline unsigned class_or_end(const char *text, size_t len, size_t pos, size_t *n) {
    if (pos >= len) {
        *n = 0;
        return PITH_CHAR_SPACE;
    }
    return class_at(text, len, pos, n);
}

/* End of the run of characters of class `class` that starts at `pos`. */
static inline size_t run_end(const char *text, size_t len, size_t pos, unsigned class) {
    while (class == PITH_CHAR_LETTER && len - pos >= 8) { /* of ASCII */
        size_t n = pith_eight_first(pith_eight_no_letter(pith_eight_at(text + pos)));
        pos += n;
        if (n < 8 && (unsigned char)text[pos] < 0x80) {
            return pos;
        }
        if (n < 8) {
            break;
        }
    }
    while (pos < len) {
        size_t n;
        if (class_at(text, len, pos, &n) != class) {
            break;
        }
        pos += n;
    }
    return pos;
}

static inline unsigned char lower(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/* End of the contraction that starts with the apostrophe at `pos`, or 0. Without regard to case
 * U+017F (long s, C5 BF) is an s, by Unicode case folding. */
static size_t contraction_end(const char *text, size_t len, size_t pos, bool any_case) {
    size_t left = len - pos - 1;
    const unsigned char *s = (const unsigned char *)text + pos + 1;
    if (left == 0) {
        return 0;
    }
    unsigned char first = any_case ? lower(s[0]) : s[0];
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return pos + 2;
    }
    if (left < 2) {
        return 0;
    }
    if (any_case && s[0] == 0xC5 && s[1] == 0xBF) {
        return pos + 3;
    }
    unsigned char second = any_case ? lower(s[1]) : s[1];
    bool both = (first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
                (first == 'l' && second == 'l');
    return both ? pos + 3 : 0;
}

/* \s+(?!\S)|\s+ over the white-space run [pos, end): all of it at the end of the text or when it
 * is one character, else all but its last character. */
static size_t space_end(const char *text, size_t len, size_t pos, size_t end) {
    if (end == len) {
        return end;
    }
    size_t last = end - 1;
    while (last > pos && ((unsigned char)text[last] & 0xC0) == 0x80) {
        last--;
    }
    return last > pos ? last : end;
}

static inline bool is_letter(char c) {
    return (unsigned)(((unsigned char)c | 0x20) - 'a') < 26;
}

static size_t gpt2_next(const char *text, size_t len, size_t pos) {
    size_t n;
    size_t at = text[pos] == ' ' && pos + 1 < len ? pos + 1 : pos;
    if (is_letter(text[at])) { /* most pre-tokens; what follows would say the same */
        return run_end(text, len, at + 1, PITH_CHAR_LETTER);
    }
    at = pos;
    unsigned class = class_at(text, len, pos, &n);
    if (text[pos] == '\'') {
        size_t end = contraction_end(text, len, pos, false);
        if (end != 0) {
            return end;
        }
    } else if (text[pos] == ' ') {
        size_t n_after;
        unsigned after = class_or_end(text, len, pos + 1, &n_after);
        if (after != PITH_CHAR_SPACE) {
            class = after;
            at = pos + 1;
            n = n_after;
        }
    }
    size_t end = run_end(text, len, at + n, class);
    return class == PITH_CHAR_SPACE ? space_end(text, len, pos, end) : end;
}

static inline bool is_newline(char c) {
    return c == '\r' || c == '\n';
}

/* A white-space run of the Qwen2 pattern: through its last newline, else as in GPT-2's. */
static size_t qwen2_space_end(const char *text, size_t len, size_t pos) {
    size_t end = run_end(text, len, pos, PITH_CHAR_SPACE);
    for (size_t i = end; i > pos; i--) {
        if (is_newline(text[i - 1])) {
            return i;
        }
    }
    return space_end(text, len, pos, end);
}

static size_t qwen2_next(const char *text, size_t len, size_t pos) {
    size_t n;
    size_t n_after;
    unsigned class = class_at(text, len, pos, &n);
    if (class == PITH_CHAR_LETTER) {
        return run_end(text, len, pos + n, PITH_CHAR_LETTER);
    }
    if (class == PITH_CHAR_NUMBER) {
        return pos + n;
    }
    if (text[pos] == '\'') {
        size_t end = contraction_end(text, len, pos, true);
        if (end != 0) {
            return end;
        }
    }
    unsigned after = class_or_end(text, len, pos + n, &n_after);
    if (after == PITH_CHAR_LETTER && !is_newline(text[pos])) {
        return run_end(text, len, pos + n + n_after, PITH_CHAR_LETTER);
    }
    if (class == PITH_CHAR_SPACE && !(text[pos] == ' ' && after == PITH_CHAR_OTHER)) {
        return qwen2_space_end(text, len, pos);
    }
    size_t end = run_end(text, len, pos + n, PITH_CHAR_OTHER);
    while (end < len && is_newline(text[end])) {
        end++;
    }
    return end;
}

size_t pith_pretok_next(pith_pretok_kind kind, const char *text, size_t len, size_t pos) {
    return kind == PITH_PRETOK_GPT2 ? gpt2_next(text, len, pos) : qwen2_next(text, len, pos);
}
