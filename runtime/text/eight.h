/* Eight bytes of a text at a time, in plain C. A set of bytes is the top bit of each that is in it;
 * the first byte of the text is the lowest. Pure functions; private to runtime/text. */
#ifndef PITH_TEXT_EIGHT_H
#define PITH_TEXT_EIGHT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PITH_EIGHT(byte) ((uint64_t)(byte)*UINT64_C(0x0101010101010101))

/* text[0, 8). */
static inline uint64_t pith_eight_at(const char *text) {
    uint64_t bytes;
    memcpy(&bytes, text, sizeof bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

/* Index of the first byte of a set, 8 where it is empty. */
static inline size_t pith_eight_first(uint64_t set) {
    return set == 0 ? 8 : (size_t)__builtin_ctzll(set) / 8;
}

/* Bytes in a set. */
static inline size_t pith_eight_count(uint64_t set) {
    return (size_t)((set >> 7) * PITH_EIGHT(1) >> 56);
}

/* Bytes that are `byte`. */
static inline uint64_t pith_eight_equal(uint64_t bytes, unsigned char byte) {
    uint64_t other = bytes ^ PITH_EIGHT(byte); /* 0 where it is */
    return ~(((other & PITH_EIGHT(0x7F)) + PITH_EIGHT(0x7F)) | other) & PITH_EIGHT(0x80);
}

/* Bytes that are not ASCII letters. No sum below carries into the next byte. */
static inline uint64_t pith_eight_no_letter(uint64_t bytes) {
    uint64_t small = (bytes & PITH_EIGHT(0x7F)) | PITH_EIGHT(0x20);
    uint64_t from_a = small + PITH_EIGHT(0x80 - 'a');
    uint64_t after_z = small + PITH_EIGHT(0x80 - 'z' - 1);
    return (~from_a | after_z | bytes) & PITH_EIGHT(0x80);
}

/* Bytes up to the blank, and those that are not ASCII. */
static inline uint64_t pith_eight_no_mark(uint64_t bytes) {
    uint64_t above_blank = (bytes & PITH_EIGHT(0x7F)) + PITH_EIGHT(0x80 - ' ' - 1);
    return (~above_blank | bytes) & PITH_EIGHT(0x80);
}

#endif
