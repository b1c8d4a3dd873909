/* SHA-256 blocks with the SHA extensions (Intel SDM 2B: SHA256RNDS2, SHA256MSG1, SHA256MSG2).
 *
 * The instructions keep the state as two registers, {A,B,E,F} and {C,D,G,H} from the highest lane
 * down, and do two rounds each. Four schedule words live in one register. */
#include "runtime/base/sha256.h"

#if defined(__SHA__) && defined(__SSE4_1__)

#include <immintrin.h>

/* Words t..t+3 from the 16 before them: w[0] holds t-16..t-13, ..., w[3] holds t-4..t-1. */
static __m128i next_words(const __m128i w[4]) {
    __m128i partial = _mm_sha256msg1_epu32(w[0], w[1]);
    partial = _mm_add_epi32(partial, _mm_alignr_epi8(w[3], w[2], 4));
    return _mm_sha256msg2_epu32(partial, w[3]);
}

void pith_sha256_blocks_shani(uint32_t state[8], const uint8_t *blocks, size_t n) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    /* state is a..h; lanes from low to high are f,e,b,a and h,g,d,c. */
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    for (; n > 0; n--, blocks += PITH_SHA256_BLOCK_BYTES) {
        __m128i w[4];
        __m128i abef_start = abef;
        __m128i cdgh_start = cdgh;
        for (size_t i = 0; i < 4; i++) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * i)), swap);
        }
        for (size_t t = 0; t < 64; t += 4) {
            __m128i k = _mm_loadu_si128((const __m128i *)(pith_sha256_k + t));
            __m128i rounds = _mm_add_epi32(w[0], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, rounds);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(rounds, 0x0e));
            __m128i next = next_words(w);
            w[0] = w[1];
            w[1] = w[2];
            w[2] = w[3];
            w[3] = next;
        }
        abef = _mm_add_epi32(abef, abef_start);
        cdgh = _mm_add_epi32(cdgh, cdgh_start);
    }
    state[0] = (uint32_t)_mm_extract_epi32(abef, 3);
    state[1] = (uint32_t)_mm_extract_epi32(abef, 2);
    state[4] = (uint32_t)_mm_extract_epi32(abef, 1);
    state[5] = (uint32_t)_mm_extract_epi32(abef, 0);
    state[2] = (uint32_t)_mm_extract_epi32(cdgh, 3);
    state[3] = (uint32_t)_mm_extract_epi32(cdgh, 2);
    state[6] = (uint32_t)_mm_extract_epi32(cdgh, 1);
    state[7] = (uint32_t)_mm_extract_epi32(cdgh, 0);
}

#else

void pith_sha256_blocks_shani(uint32_t state[8], const uint8_t *blocks, size_t n) {
    pith_sha256_blocks_plain(state, blocks, n);
}

#endif
