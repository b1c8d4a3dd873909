#include "runtime/base/sha256.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

const uint32_t pith_sha256_k[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u,
};

static uint32_t rotate(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static uint32_t load_be32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           (uint32_t)bytes[3];
}

static void store_be32(uint8_t *bytes, uint32_t x) {
    bytes[0] = (uint8_t)(x >> 24);
    bytes[1] = (uint8_t)(x >> 16);
    bytes[2] = (uint8_t)(x >> 8);
    bytes[3] = (uint8_t)x;
}

/* The message schedule of one block (FIPS 180-4, 6.2.2 step 1). */
static void expand(uint32_t w[64], const uint8_t *block) {
    for (size_t t = 0; t < 16; t++) {
        w[t] = load_be32(block + 4 * t);
    }
    for (size_t t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
}

void pith_sha256_blocks_plain(uint32_t state[8], const uint8_t *blocks, size_t n) {
    uint32_t w[64];
    for (; n > 0; n--, blocks += PITH_SHA256_BLOCK_BYTES) {
        expand(w, blocks);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (size_t t = 0; t < 64; t++) {
            uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
            uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + pith_sha256_k[t] + w[t];
            uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
            uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + t2;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

int pith_sha256_has_shani(void) {
#if defined(__x86_64__)
    /* CPUID leaf 7 EBX bit 29: SHA; leaf 1 ECX bits 9 and 19: SSSE3 and SSE4.1 (Intel SDM 2A). */
    unsigned a, b, c, d;
    bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1u) != 0;
    bool sse = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 9 & 1u) != 0 && (c >> 19 & 1u) != 0;
    return sha && sse;
#else
    return 0;
#endif
}

void pith_sha256_init(pith_sha256 *sha) {
    *sha = (pith_sha256){.state = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu,
                                   0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u},
                         .blocks = pith_sha256_has_shani() ? pith_sha256_blocks_shani
                                                           : pith_sha256_blocks_plain};
}

void pith_sha256_update(pith_sha256 *sha, const void *data, size_t len) {
    const uint8_t *bytes = data;
    size_t held = (size_t)(sha->bytes % PITH_SHA256_BLOCK_BYTES);
    sha->bytes += len;
    if (held > 0) {
        size_t room = PITH_SHA256_BLOCK_BYTES - held;
        size_t take = len < room ? len : room;
        memcpy(sha->block + held, bytes, take);
        bytes += take;
        len -= take;
        if (take < room) {
            return;
        }
        sha->blocks(sha->state, sha->block, 1);
    }
    size_t n = len / PITH_SHA256_BLOCK_BYTES;
    if (n > 0) {
        sha->blocks(sha->state, bytes, n);
        bytes += n * PITH_SHA256_BLOCK_BYTES;
        len -= n * PITH_SHA256_BLOCK_BYTES;
    }
    if (len > 0) {
        memcpy(sha->block, bytes, len);
    }
}

void pith_sha256_final(pith_sha256 *sha, uint8_t digest[PITH_SHA256_BYTES]) {
    uint64_t bits = sha->bytes * 8;
    uint8_t pad[2 * PITH_SHA256_BLOCK_BYTES] = {0x80};
    size_t held = (size_t)(sha->bytes % PITH_SHA256_BLOCK_BYTES);
    /* One bit, zeros, and the length in the last 8 bytes of a block. */
    size_t pad_len = (held < 56 ? 56 : 120) - held;
    store_be32(pad + pad_len, (uint32_t)(bits >> 32));
    store_be32(pad + pad_len + 4, (uint32_t)bits);
    pith_sha256_update(sha, pad, pad_len + 8);
    for (size_t i = 0; i < 8; i++) {
        store_be32(digest + 4 * i, sha->state[i]);
    }
}

void pith_sha256_hex(const uint8_t digest[PITH_SHA256_BYTES], char hex[PITH_SHA256_HEX_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < PITH_SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15u];
    }
    hex[PITH_SHA256_HEX_BYTES - 1] = '\0';
}
