/* White-space words: the white space is that of Python's str.split and str.isspace (29 code
 * points), lines are ended by "\n" alone. Pure functions on valid UTF-8; any thread; linear. */
#ifndef PITH_TEXT_WORDS_H
#define PITH_TEXT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the white-space character at text[pos], pos < len; 0 where there is none. */
size_t pith_space_len(const char *text, size_t len, size_t pos);

/* First position >= pos that is not white space (len when all is), and the number of "\n" passed
 * is added to *n_lines (may be NULL). */
size_t pith_space_skip(const char *text, size_t len, size_t pos, uint32_t *n_lines);

/* First white space at or after pos, or len. */
size_t pith_word_end(const char *text, size_t len, size_t pos);

/* A bound on the words of a text: parted here by whatever white space can begin with, and more. */
size_t pith_words_max(const char *text, size_t len);

/* Bytes of the text [start, end) without leading and trailing white space. */
void pith_space_strip(const char *text, size_t *start, size_t *end);

/* A walk over the words of a text. Start with {.text, .len}; len below 2^32. */
typedef struct pith_word_walk {
    const char *text;
    size_t len;
    size_t pos;    /* the next byte to look at */
    uint32_t line; /* of the last word found */
    uint32_t start;
    uint32_t end; /* the word is text[start, end) */
} pith_word_walk;

/* Finds the next word; false when there is none. */
bool pith_word_next(pith_word_walk *walk);

#endif
