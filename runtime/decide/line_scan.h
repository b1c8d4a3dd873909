/* Scanners of runtime/decide/line_template.c: each looks at the text from byte `at` on and returns
 * where the thing it looks for ends, or 0 where it is not. Private to runtime/decide. */
#ifndef PITH_DECIDE_LINE_SCAN_H
#define PITH_DECIDE_LINE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

static inline bool pith_scan_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Bytes of characters beyond ASCII are taken for letters. */
static inline bool pith_scan_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static inline bool pith_scan_word(char c) {
    return pith_scan_letter(c) || pith_scan_digit(c) || c == '_';
}

static inline bool pith_scan_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

size_t pith_scan_word_end(const char *s, size_t len, size_t at);
size_t pith_scan_uuid(const char *s, size_t len, size_t at);
size_t pith_scan_time(const char *s, size_t len, size_t at);
size_t pith_scan_version(const char *s, size_t len, size_t at); /* 1.2.3, not 1.2 or 10.0.0.1 */
size_t pith_scan_number(const char *s, size_t len, size_t at);
size_t pith_scan_hex(const char *s, size_t len, size_t at);

/* Looks only where no character of a path stands before: what was refused once is not read again
 * from each of its words. */
size_t pith_scan_path(const char *s, size_t len, size_t at);

/* The closing quote of the string that s[open] opens, or 0. */
size_t pith_scan_close(const char *s, size_t len, size_t open);

/* Whether a string that opens there is text of its own: not the value of a key, or that of a key
 * which holds messages. */
bool pith_scan_sentence_place(const char *s, size_t open);

#endif
