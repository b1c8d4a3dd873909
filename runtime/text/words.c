#include "runtime/text/words.h"

#include "runtime/text/eight.h"

/* What a byte can start: 0 no white space, 1 a one-byte one, 2 perhaps a longer one. UTF-8
 * continuation bytes are 0, so a walk by bytes never stops inside a character. */
static const unsigned char start_class[256] = {
    [0x09] = 1, [0x0A] = 1, [0x0B] = 1, [0x0C] = 1, [0x0D] = 1, [0x1C] = 1, [0x1D] = 1,
    [0x1E] = 1, [0x1F] = 1, [0x20] = 1, [0xC2] = 2, [0xE1] = 2, [0xE2] = 2, [0xE3] = 2,
};

/* U+2000-200A, U+2028, U+2029, U+202F (E2 80 xx) and U+205F (E2 81 9F). */
static bool general_punctuation_space(unsigned char b1, unsigned char b2) {
    if (b1 == 0x81) {
        return b2 == 0x9F;
    }
    return b1 == 0x80 && (b2 <= 0x8A || b2 == 0xA8 || b2 == 0xA9 || b2 == 0xAF);
}

static size_t long_space(const unsigned char *s, size_t left) {
    if (s[0] == 0xC2) { /* U+0085, U+00A0 */
        return left >= 2 && (s[1] == 0x85 || s[1] == 0xA0) ? 2 : 0;
    }
    if (left < 3) {
        return 0;
    }
    if (s[0] == 0xE1) { /* U+1680 */
        return s[1] == 0x9A && s[2] == 0x80 ? 3 : 0;
    }
    if (s[0] == 0xE2) {
        return general_punctuation_space(s[1], s[2]) ? 3 : 0;
    }
    return s[1] == 0x80 && s[2] == 0x80 ? 3 : 0; /* U+3000 */
}

size_t pith_space_len(const char *text, size_t len, size_t pos) {
    const unsigned char *s = (const unsigned char *)text + pos;
    unsigned char kind = start_class[s[0]];
    return kind < 2 ? kind : long_space(s, len - pos);
}

size_t pith_space_skip(const char *text, size_t len, size_t pos, uint32_t *n_lines) {
    while (pos < len) {
        size_t step = pith_space_len(text, len, pos);
        if (step == 0) {
            break;
        }
        if (n_lines != NULL && text[pos] == '\n') {
            (*n_lines)++;
        }
        pos += step;
    }
    return pos;
}

size_t pith_word_end(const char *text, size_t len, size_t pos) {
    while (pos < len) {
        if (len - pos >= 8) {
            size_t n = pith_eight_first(pith_eight_no_mark(pith_eight_at(text + pos)));
            pos += n;
            if (n == 8) {
                continue;
            }
        }
        unsigned char kind = start_class[(unsigned char)text[pos]];
        if (kind == 1 || (kind == 2 && pith_space_len(text, len, pos) > 0)) {
            break;
        }
        pos++;
    }
    return pos;
}

size_t pith_words_max(const char *text, size_t len) {
    size_t n = 0;
    bool open = false; /* the byte before is in a word */
    for (size_t i = 0; i < len;) {
        uint64_t eight = len - i >= 8 ? pith_eight_at(text + i) : UINT64_MAX;
        if ((eight & PITH_EIGHT(0x80)) == 0) {
            uint64_t inside = ~pith_eight_no_mark(eight) & PITH_EIGHT(0x80);
            n += pith_eight_count(inside & ~(inside << 8 | (open ? 0x80 : 0)));
            open = inside >> 63 != 0;
            i += 8;
            continue;
        }
        for (size_t end = len - i >= 8 ? i + 8 : len; i < end; i++) {
            bool inside = start_class[(unsigned char)text[i]] == 0;
            n += inside && !open;
            open = inside;
        }
    }
    return n;
}

/* Length of the white-space character that ends at text[end), start < end; 0 where there is none.
 */
static size_t space_before(const char *text, size_t start, size_t end) {
    for (size_t n = 1; n <= 3 && n <= end - start; n++) {
        if (pith_space_len(text, end, end - n) == n) {
            return n;
        }
    }
    return 0;
}

void pith_space_strip(const char *text, size_t *start, size_t *end) {
    *start = pith_space_skip(text, *end, *start, NULL);
    while (*end > *start) {
        size_t step = space_before(text, *start, *end);
        if (step == 0) {
            break;
        }
        *end -= step;
    }
}

bool pith_word_next(pith_word_walk *walk) {
    size_t start = pith_space_skip(walk->text, walk->len, walk->pos, &walk->line);
    if (start == walk->len) {
        walk->pos = start;
        return false;
    }
    walk->start = (uint32_t)start;
    walk->pos = pith_word_end(walk->text, walk->len, start);
    walk->end = (uint32_t)walk->pos;
    return true;
}
