#include "runtime/text/unicode.h"

#include "runtime/base/size.h"
#include "runtime/base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct pith_nfc_char {
    uint32_t code;
    uint32_t src_start;
    uint32_t src_end;
    uint32_t ccc; /* canonical combining class */
};

enum {
    CANONICAL_MAX = 4,  /* code points in the longest canonical decomposition, UAX #15 */
    INSERTION_MAX = 24, /* marks sorted by insertion; longer runs are counted */
    CCC_VALUES = 256
};

/* Makes room for `need` elements of `size` bytes in a growing array. */
static bool grow(void **items, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return true;
    }
    size_t bytes;
    size_t cap_new = *cap * 2 > need ? *cap * 2 : need + 64;
    if (!pith_size_mul(cap_new, size, &bytes)) {
        return false;
    }
    void *moved = realloc(*items, bytes);
    if (moved == NULL) {
        return false;
    }
    *items = moved;
    *cap = cap_new;
    return true;
}

static bool append(pith_nfc *nfc, const char *bytes, size_t n) {
    void *items = nfc->text;
    if (!grow(&items, &nfc->cap, nfc->len + n, 1)) {
        return false;
    }
    nfc->text = items;
    if (n > 0) {
        memcpy(nfc->text + nfc->len, bytes, n);
    }
    nfc->len += n;
    return true;
}

/* A stretch that NFC may change: [start, end), a starter (if one can compose) and what follows. */
typedef struct segment {
    size_t start;
    size_t end;
    bool ordered; /* marks alone, in canonical order: unchanged */
} segment;

/* Skips characters that are stable whatever stands around them. Returns the offset of the first
 * other one; *head is the start of the character before it. All of U+0000-U+02FF is stable. */
static size_t skip_stable(const char *text, size_t len, size_t pos, size_t *head) {
    const unsigned char *s = (const unsigned char *)text;
    size_t last = pos;
    while (pos < len) {
        uint64_t eight;
        if (len - pos >= sizeof eight) {
            memcpy(&eight, s + pos, sizeof eight);
            if ((eight & 0x8080808080808080U) == 0) {
                pos += sizeof eight;
                last = pos - 1;
                continue;
            }
        }
        size_t n = 1;
        if (s[pos] >= 0xCC) {
            unsigned nfc = pith_unicode_at(text + pos, len - pos, &n) & PITH_NFC_MASK;
            if (nfc == PITH_NFC_INERT) {
                last = pos + n; /* nothing composes with it */
                pos += n;
                continue;
            }
            if (nfc != PITH_NFC_STABLE) {
                break;
            }
        } else if (s[pos] >= 0x80) {
            n = 2;
        }
        last = pos;
        pos += n;
    }
    *head = last;
    return pos < len ? pos : len;
}

static uint32_t combining_class(uint32_t code) {
    return (uint32_t)utf8proc_get_property((utf8proc_int32_t)code)->combining_class;
}

/* The next segment at or after `pos`; false when there is none. */
static bool next_segment(const char *text, size_t len, size_t pos, segment *seg) {
    size_t at = skip_stable(text, len, pos, &seg->start);
    if (at >= len) {
        return false;
    }
    seg->ordered = true;
    uint32_t ccc_last = 0;
    while (at < len) {
        size_t n;
        unsigned nfc = pith_unicode_at(text + at, len - at, &n) & PITH_NFC_MASK;
        if (nfc == PITH_NFC_STABLE || nfc == PITH_NFC_INERT) {
            break;
        }
        if (nfc == PITH_NFC_MARK) {
            uint32_t code;
            (void)pith_utf8_decode(text, len, at, &code);
            uint32_t ccc = combining_class(code);
            seg->ordered = seg->ordered && ccc >= ccc_last;
            ccc_last = ccc;
        } else {
            seg->ordered = false;
        }
        at += n;
    }
    seg->end = at;
    return true;
}

/* Canonical decomposition of a segment into nfc->chars; the number of them, or SIZE_MAX. */
static size_t decompose(pith_nfc *nfc, const char *text, const segment *seg) {
    size_t n = 0;
    for (size_t at = seg->start; at < seg->end;) {
        uint32_t code;
        size_t step = pith_utf8_decode(text, seg->end, at, &code);
        utf8proc_int32_t parts[CANONICAL_MAX];
        int boundary = 0;
        utf8proc_ssize_t count =
            utf8proc_decompose_char((utf8proc_int32_t)code, parts, CANONICAL_MAX,
                                    UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
        if (count < 1 || count > CANONICAL_MAX) {
            parts[0] = (utf8proc_int32_t)code;
            count = 1;
        }
        void *items = nfc->chars;
        /* Twice the room: sort_marks needs a second copy. */
        if (!grow(&items, &nfc->cap_chars, (n + (size_t)count) * 2, sizeof *nfc->chars)) {
            return SIZE_MAX;
        }
        nfc->chars = items;
        for (utf8proc_ssize_t i = 0; i < count; i++) {
            uint32_t part = (uint32_t)parts[i];
            nfc->chars[n++] = (pith_nfc_char){.code = part,
                                              .src_start = (uint32_t)at,
                                              .src_end = (uint32_t)(at + step),
                                              .ccc = combining_class(part)};
        }
        at += step;
    }
    return n;
}

/* Stable sort of a run of marks by combining class. `spare` has room for n. */
static void sort_run(pith_nfc_char *run, size_t n, pith_nfc_char *spare) {
    if (n <= INSERTION_MAX) {
        for (size_t i = 1; i < n; i++) {
            pith_nfc_char moving = run[i];
            size_t j = i;
            for (; j > 0 && run[j - 1].ccc > moving.ccc; j--) {
                run[j] = run[j - 1];
            }
            run[j] = moving;
        }
        return;
    }
    size_t first[CCC_VALUES + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        first[(run[i].ccc & 0xFF) + 1]++;
    }
    for (size_t c = 1; c <= CCC_VALUES; c++) {
        first[c] += first[c - 1];
    }
    for (size_t i = 0; i < n; i++) {
        spare[first[run[i].ccc & 0xFF]++] = run[i];
    }
    memcpy(run, spare, n * sizeof *run);
}

static void sort_marks(pith_nfc_char *chars, size_t n) {
    size_t i = 0;
    while (i < n) {
        size_t end = i;
        while (end < n && chars[end].ccc != 0) {
            end++;
        }
        sort_run(chars + i, end - i, chars + n);
        i = end + 1;
    }
}

/* The primary composite of two code points, or 0. */
static uint32_t compose_pair(uint32_t first, uint32_t second) {
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)first, (utf8proc_int32_t)second};
    utf8proc_ssize_t n = utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return n == 1 ? (uint32_t)pair[0] : 0;
}

/* Canonical composition in place (UAX #15, D117); the number of characters left. */
static size_t compose(pith_nfc_char *chars, size_t n) {
    size_t out = 0;
    size_t starter = SIZE_MAX;
    int ccc_last = -1; /* of the last character kept after the starter; -1: none */
    for (size_t i = 0; i < n; i++) {
        pith_nfc_char c = chars[i];
        if (starter != SIZE_MAX && ccc_last < (int)c.ccc) {
            uint32_t joined = compose_pair(chars[starter].code, c.code);
            if (joined != 0) {
                pith_nfc_char *s = &chars[starter];
                s->code = joined;
                s->src_start = s->src_start < c.src_start ? s->src_start : c.src_start;
                s->src_end = s->src_end > c.src_end ? s->src_end : c.src_end;
                continue;
            }
        }
        if (c.ccc == 0) {
            starter = out;
            ccc_last = -1;
        } else {
            ccc_last = (int)c.ccc;
        }
        chars[out++] = c;
    }
    return out;
}

/* Reordering may have interleaved the sources: widen spans until both ends ascend. */
static void make_monotone(pith_nfc_char *chars, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (chars[i].src_end < chars[i - 1].src_end) {
            chars[i].src_end = chars[i - 1].src_end;
        }
    }
    for (size_t i = n; i-- > 1;) {
        if (chars[i - 1].src_start > chars[i].src_start) {
            chars[i - 1].src_start = chars[i].src_start;
        }
    }
}

/* Appends the characters and one edit for each. */
static bool append_chars(pith_nfc *nfc, size_t n) {
    void *items = nfc->edits;
    if (!grow(&items, &nfc->cap_edits, nfc->n_edits + n, sizeof *nfc->edits)) {
        return false;
    }
    nfc->edits = items;
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        size_t len = pith_utf8_encode(nfc->chars[i].code, bytes);
        uint32_t start = (uint32_t)nfc->len;
        if (!append(nfc, bytes, len)) {
            return false;
        }
        nfc->edits[nfc->n_edits++] = (pith_nfc_edit){.norm_start = start,
                                                     .norm_end = (uint32_t)nfc->len,
                                                     .src_start = nfc->chars[i].src_start,
                                                     .src_end = nfc->chars[i].src_end};
    }
    return true;
}

/* True when the characters spell the segment's own bytes. */
static bool unchanged(const pith_nfc *nfc, size_t n, const char *text, const segment *seg) {
    size_t at = seg->start;
    for (size_t i = 0; i < n; i++) {
        uint32_t code;
        if (at >= seg->end) {
            return false;
        }
        at += pith_utf8_decode(text, seg->end, at, &code);
        if (code != nfc->chars[i].code) {
            return false;
        }
    }
    return at == seg->end;
}

pith_status pith_nfc_apply(pith_nfc *nfc, const char *text, size_t len, bool *same) {
    segment seg;
    size_t copied = 0; /* text[0, copied) stands in nfc->text already */
    size_t pos = 0;
    nfc->len = 0;
    nfc->n_edits = 0;
    while (next_segment(text, len, pos, &seg)) {
        pos = seg.end;
        if (seg.ordered) {
            continue;
        }
        size_t n = decompose(nfc, text, &seg);
        if (n == SIZE_MAX) {
            return PITH_NO_MEMORY;
        }
        sort_marks(nfc->chars, n);
        n = compose(nfc->chars, n);
        if (unchanged(nfc, n, text, &seg)) {
            continue;
        }
        make_monotone(nfc->chars, n);
        if (!append(nfc, text + copied, seg.start - copied) || !append_chars(nfc, n)) {
            return PITH_NO_MEMORY;
        }
        copied = seg.end;
    }
    *same = nfc->n_edits == 0;
    if (!*same && !append(nfc, text + copied, len - copied)) {
        return PITH_NO_MEMORY;
    }
    return PITH_OK;
}

void pith_nfc_free(pith_nfc *nfc) {
    free(nfc->text);
    free(nfc->edits);
    free(nfc->chars);
    *nfc = (pith_nfc){0};
}
