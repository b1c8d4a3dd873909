/* The built-in classes of critical spans on words of ASCII, without PCRE2: the same matches, an
 * order of magnitude sooner. The patterns of critical_classes.c say what a class is; what stands
 * here is held to them by tests/runtime/text/critical_ascii_test.c. Private to
 * runtime/text/critical*.c and that test.
 *
 * A pith_critical_ascii is immutable once initialised: any thread. */
#ifndef PITH_TEXT_CRITICAL_ASCII_H
#define PITH_TEXT_CRITICAL_ASCII_H

#include "runtime/text/critical.h"

enum {
    PITH_BYTE_KINDS = 1 << 8,  /* sets of kinds that words are judged by: bits 0-7 */
    PITH_BYTE_SPACE = 1 << 8,  /* ASCII's white space, as in runtime/text/words.h */
    PITH_BYTE_FOREIGN = 1 << 9 /* of a character that is not ASCII */
};

/* Sets of classes: bit i is class i of pith_critical_classes. */
typedef struct pith_critical_ascii {
    uint32_t sets[256];                 /* the sets a byte is in; bits 0-9 as above */
    uint32_t first[256];                /* classes of which a match can begin with the byte */
    uint32_t after[256];                /* classes of which a match can begin behind the byte */
    uint32_t possible[PITH_BYTE_KINDS]; /* classes that a word of such kinds of bytes can hold */
    uint16_t lengths[26];               /* bit n: a listed word of the letter has n bytes */
    uint8_t listed[27];                 /* where the listed words of each letter begin; their end */
} pith_critical_ascii;

void pith_critical_ascii_init(pith_critical_ascii *ascii);

/* End of the word that starts at text[start], and the kinds of its bytes. Words are parted by ASCII
 * white space alone: one with a foreign byte may hold white space of another kind. */
static inline size_t pith_ascii_word(const pith_critical_ascii *ascii, const char *text,
                                     size_t start, size_t end, uint32_t *kinds) {
    uint32_t all = 0;
    size_t pos = start;
    for (; pos < end; pos++) {
        uint32_t sets = ascii->sets[(unsigned char)text[pos]];
        if ((sets & PITH_BYTE_SPACE) != 0) {
            break;
        }
        all |= sets;
    }
    *kinds = all;
    return pos;
}

/* Appends what scans with two alternations find in the word text[start, end), ASCII without white
 * space: what that of classes[k] finds, in the order of the classes, goes to spans[k]. kinds: of
 * the word's bytes. False when the arena is over its bound. Linear in the word. */
PITH_MUST_USE bool pith_critical_ascii_find(const pith_critical_ascii *ascii,
                                            const uint32_t classes[2], uint32_t kinds,
                                            const char *text, size_t start, size_t end,
                                            pith_span_list spans[2], pith_arena *arena);

#endif
