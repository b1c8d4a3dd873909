/* UTF-8: strict validation (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF),
 * decoding and encoding. Pure functions on caller memory. */
#ifndef PITH_BASE_UTF8_H
#define PITH_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length of the longest valid prefix: equal to `len` when all of it is valid UTF-8. */
size_t pith_utf8_valid(const char *text, size_t len);

/* Decodes the code point at text[pos], pos < len. Returns its length in bytes (1-4) and stores
 * the code point. Bytes that are not valid UTF-8 yield length 1 and U+FFFD. */
size_t pith_utf8_decode(const char *text, size_t len, size_t pos, uint32_t *code);

/* Encodes `code` (at most U+10FFFF) into out[4]; returns its length in bytes. */
size_t pith_utf8_encode(uint32_t code, char out[4]);

#endif
