/* SHA-256 (FIPS 180-4). Plain memory of the caller, one thread at a time per state. Uses the CPU's
 * SHA instructions where it has them; both paths give the same digest. */
#ifndef PITH_BASE_SHA256_H
#define PITH_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum {
    PITH_SHA256_BYTES = 32,
    PITH_SHA256_BLOCK_BYTES = 64,
    PITH_SHA256_HEX_BYTES = 2 * PITH_SHA256_BYTES + 1 /* digits and a NUL */
};

/* Absorbs n whole blocks of 64 bytes into state[8]. */
typedef void (*pith_sha256_blocks_fn)(uint32_t state[8], const uint8_t *blocks, size_t n);

typedef struct pith_sha256 {
    uint32_t state[8];
    uint64_t bytes; /* absorbed so far */
    uint8_t block[PITH_SHA256_BLOCK_BYTES];
    pith_sha256_blocks_fn blocks;
} pith_sha256;

void pith_sha256_init(pith_sha256 *sha);
void pith_sha256_update(pith_sha256 *sha, const void *data, size_t len);
/* The digest; the state must be initialised again before further use. */
void pith_sha256_final(pith_sha256 *sha, uint8_t digest[PITH_SHA256_BYTES]);

/* Lower-case hex digits and a NUL. */
void pith_sha256_hex(const uint8_t digest[PITH_SHA256_BYTES], char hex[PITH_SHA256_HEX_BYTES]);

/* The two block functions, for their tests; shani only where pith_sha256_has_shani. */
void pith_sha256_blocks_plain(uint32_t state[8], const uint8_t *blocks, size_t n);
void pith_sha256_blocks_shani(uint32_t state[8], const uint8_t *blocks, size_t n);
int pith_sha256_has_shani(void);

/* The 64 round constants (FIPS 180-4, 4.2.2). */
extern const uint32_t pith_sha256_k[64];

#endif
