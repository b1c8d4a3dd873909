#include "runtime/weights/finite.h"

#include <stdint.h>
#include <string.h>

/* A value is not finite when its exponent bits are all ones. Adding one to the lowest exponent bit
 * of the masked exponents then carries into the sign bit, and never further, so that several values
 * are tested in one 64-bit word. */
typedef struct exponent_test {
    uint64_t mask;  /* the exponent bits of every lane */
    uint64_t one;   /* the lowest exponent bit of every lane */
    uint64_t carry; /* the sign bit of every lane */
} exponent_test;

enum {
    WORD_BYTES = 8,
    BLOCK_WORDS = 512 /* 4 KiB between two looks at the result: one page, still in L1 */
};

static exponent_test test_of(pith_dtype dtype) {
    const uint64_t halves = 0x0001000100010001u;
    const uint64_t words = 0x0000000100000001u;
    switch (dtype) {
    case PITH_F32:
        return (exponent_test){words * 0x7f800000u, words * 0x00800000u, words * 0x80000000u};
    case PITH_F16:
        return (exponent_test){halves * 0x7c00u, halves * 0x0400u, halves * 0x8000u};
    case PITH_BF16:
        break;
    }
    return (exponent_test){halves * 0x7f80u, halves * 0x0080u, halves * 0x8000u};
}

static uint64_t load(const unsigned char *bytes, size_t len) {
    uint64_t word = 0;
    memcpy(&word, bytes, len);
    return word;
}

static uint64_t block_carries(const unsigned char *bytes, const exponent_test *test) {
    uint64_t carries = 0;
    for (size_t i = 0; i < BLOCK_WORDS; i++) {
        carries |= (load(bytes + i * WORD_BYTES, WORD_BYTES) & test->mask) + test->one;
    }
    return carries & test->carry;
}

size_t pith_finite_prefix(const void *data, pith_dtype dtype, size_t count) {
    const unsigned char *bytes = data;
    const exponent_test test = test_of(dtype);
    const size_t size = pith_dtype_bytes(dtype);
    const size_t len = count * size;
    size_t pos = 0;
    while (len - pos >= BLOCK_WORDS * WORD_BYTES && block_carries(bytes + pos, &test) == 0) {
        pos += BLOCK_WORDS * WORD_BYTES;
    }
    for (; pos < len; pos += size) {
        if ((((load(bytes + pos, size) & test.mask) + test.one) & test.carry) != 0) {
            return pos / size;
        }
    }
    return count;
}
