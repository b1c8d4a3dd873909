/* Body of kernels/attn.h for one ISA; included after its vec header. With PK_NATIVE_BF16 both
 * products have bf16 operands and f32 sums; everything between them is f32 either way. */
#include "kernels/attn.h"
#include "kernels/cpu/tile_body.h"

#include <math.h>

enum { KEYS = 2 * VW }; /* keys of one panel of scores */

#ifdef PK_NATIVE_BF16
enum { PER_WORD = 2 }; /* operands in 32 bits */
#else
enum { PER_WORD = 1 };
#endif

/* Operands are handled as 32-bit words: one f32, or two bf16 that are neighbours along the sum. */
typedef struct attn_scratch {
    float *keys;   /* [PK_ATTN_CHUNK / KEYS][head_dim / PER_WORD][KEYS] words of k by panel */
    float *values; /* [PK_ATTN_CHUNK / PER_WORD][padded] words of v, columns past head_dim zero */
    float *sums;   /* [PK_ATTN_QUERIES][padded] running sum of p v */
    float *tops;   /* [PK_ATTN_QUERIES] running maximum */
    float *totals; /* [PK_ATTN_QUERIES] running sum of p */
    float *scores; /* [PK_MR][PK_ATTN_CHUNK] scores, then p, of one tile */
    size_t padded; /* head_dim rounded up to whole panels */
} attn_scratch;

static attn_scratch lay_out(const pk_attn_task *task) {
    attn_scratch s = {.padded = pk_attn_padded(task->head_dim)};
    s.keys = task->scratch;
    s.values = s.keys + PK_ATTN_CHUNK * s.padded;
    s.sums = s.values + PK_ATTN_CHUNK * s.padded;
    s.tops = s.sums + PK_ATTN_QUERIES * s.padded;
    s.totals = s.tops + PK_ATTN_QUERIES;
    s.scores = s.totals + PK_ATTN_QUERIES;
    return s;
}

/* First key that query i sees, and one past the last. */
static inline size_t first_key(const pk_attn_task *task, size_t i) {
    return task->window < i ? i - task->window : 0;
}
static inline size_t end_key(const pk_attn_task *task, size_t i) {
    return task->window < task->len - 1 - i ? i + task->window + 1 : task->len;
}
static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}
static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Row `at` of the sequence: part 0 q, 1 k, 2 v of the task's head. */
static inline const float *part_of(const pk_attn_task *task, size_t at, size_t part) {
    size_t dim = task->heads * task->head_dim;
    return task->qkv + (at * 3 + part) * dim + task->head * task->head_dim;
}

/* 8 rows of 8 f32 with `from_stride` -> their transpose with `to_stride`. */
static inline void transpose8(float *to, size_t to_stride, const float *from, size_t from_stride) {
    __m256 r[8];
    __m256 t[8];
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm256_loadu_ps(from + i * from_stride);
    }
    for (size_t i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (size_t i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

/* Stores `n` f32 as operands. */
static inline void store_operands(float *words, const float *from, size_t n) {
#ifdef PK_NATIVE_BF16
    for (size_t d = 0; d < n; d += VW) {
        size_t lanes = smaller(VW, n - d);
        v_store_bf16_n((uint16_t *)words + d, v_load_n(from + d, lanes), lanes);
    }
#else
    memcpy(words, from, n * sizeof *from);
#endif
}

/* Packs keys [begin, end) of the chunk at c0; begin is a multiple of KEYS. Panel columns past
 * `end` are zero. */
static void pack_keys(const pk_attn_task *task, const attn_scratch *s, size_t c0, size_t begin,
                      size_t end) {
    size_t words = task->head_dim / PER_WORD;
    float rows[8 * PK_ATTN_HEAD_DIM_MAX];
    for (size_t j = begin; j < end || j % KEYS != 0; j += 8) {
        float *to = s->keys + j / KEYS * KEYS * words + j % KEYS;
        for (size_t lane = 0; lane < 8; lane++) {
            if (j + lane < end) {
                store_operands(rows + lane * words, part_of(task, c0 + j + lane, 1),
                               task->head_dim);
            } else {
                memset(rows + lane * words, 0, words * sizeof *rows);
            }
        }
        size_t d = 0;
        for (; d + 8 <= words; d += 8) {
            transpose8(to + d * KEYS, KEYS, rows + d, words);
        }
        for (; d < words; d++) {
            for (size_t lane = 0; lane < 8; lane++) {
                to[d * KEYS + lane] = rows[lane * words + d];
            }
        }
    }
}

#ifdef PK_NATIVE_BF16

/* Rows j and j + 1 share words; where j + 1 does not exist its half is zero. */
static void pack_values(const pk_attn_task *task, const attn_scratch *s, size_t c0, size_t begin,
                        size_t end) {
    size_t dim = task->head_dim;
    for (size_t j = begin; j < end; j += 2) {
        float *to = s->values + j / 2 * s->padded;
        const float *even = part_of(task, c0 + j, 2);
        const float *odd = j + 1 < end ? part_of(task, c0 + j + 1, 2) : NULL;
        for (size_t d = 0; d < s->padded; d += VW) {
            size_t lanes = d < dim ? smaller(VW, dim - d) : 0;
            v_store_pairs((uint16_t *)(to + d), v_load_n(even + d, lanes),
                          odd != NULL ? v_load_n(odd + d, lanes) : v_zero());
        }
    }
}

#else

static void pack_values(const pk_attn_task *task, const attn_scratch *s, size_t c0, size_t begin,
                        size_t end) {
    size_t dim = task->head_dim;
    for (size_t j = begin; j < end; j++) {
        float *to = s->values + j * s->padded;
        memcpy(to, part_of(task, c0 + j, 2), dim * sizeof *to);
        memset(to + dim, 0, (s->padded - dim) * sizeof *to);
    }
}

#endif

/* One tile of queries against part of a chunk; key numbers are relative to the chunk. */
typedef struct attn_tile {
    size_t query; /* first row in the sequence */
    size_t local; /* first row in the task */
    size_t rows;
    size_t c0;
    size_t begin; /* keys [begin, end), begin a multiple of KEYS */
    size_t end;
} attn_tile;

/* t += a b: a[r] rows of `words` words, b [words][stride] words. */
PK_INLINE void tile_words(tile *t, const float *const a[PK_MR], const float *b, size_t stride,
                          size_t words) {
#ifdef PK_NATIVE_BF16
    const uint16_t *pairs[PK_MR];
    for (size_t r = 0; r < PK_MR; r++) {
        pairs[r] = (const uint16_t *)a[r];
    }
    tile_dot_bf16(t, pairs, (const uint16_t *)b, 2 * stride, 2 * words);
#else
    tile_f32(t, a, b, stride, words);
#endif
}

static void score_tile(const pk_attn_task *task, const attn_scratch *s, const attn_tile *at) {
    const float *q[PK_MR];
    size_t words = task->head_dim / PER_WORD;
#ifdef PK_NATIVE_BF16
    float queries[PK_MR * PK_ATTN_HEAD_DIM_MAX / PER_WORD];
    for (size_t r = 0; r < at->rows; r++) {
        store_operands(queries + r * words, part_of(task, at->query + r, 0), task->head_dim);
    }
    tile_rows(q, queries, words, 0, at->rows);
#else
    tile_rows(q, part_of(task, at->query, 0), 3 * task->heads * task->head_dim, 0, at->rows);
#endif
    const vf none = v_set1(-INFINITY);
    /* Keys that every row of the tile sees, relative to the chunk: no selection needed. */
    size_t last = at->query + at->rows - 1;
    size_t seen_begin = larger(first_key(task, last), at->c0) - at->c0;
    size_t seen_end = larger(smaller(end_key(task, at->query), at->c0 + at->end), at->c0) - at->c0;
    for (size_t j = at->begin; j < at->end; j += KEYS) {
        tile t;
        tile_zero(&t);
        tile_words(&t, q, s->keys + j * words, KEYS, words);
        if (j >= seen_begin && j + KEYS <= seen_end) {
            for (size_t r = 0; r < at->rows; r++) {
                v_store(s->scores + r * PK_ATTN_CHUNK + j, t.at[r][0]);
                v_store(s->scores + r * PK_ATTN_CHUNK + j + VW, t.at[r][1]);
            }
            continue;
        }
        for (size_t r = 0; r < at->rows; r++) {
            size_t i = at->query + r;
            /* Sequences are shorter than 2^30, so the differences fit an int. */
            int lo = (int)larger(first_key(task, i), at->c0) - (int)at->c0 - (int)j;
            int hi = (int)smaller(end_key(task, i), at->c0 + at->end) - (int)at->c0 - (int)j;
            float *row = s->scores + r * PK_ATTN_CHUNK + j;
            v_store(row, v_select(v_lane_range(lo, hi), t.at[r][0], none));
            v_store(row + VW, v_select(v_lane_range(lo - VW, hi - VW), t.at[r][1], none));
        }
    }
}

/* p as the operand that will be multiplied, at the score's place or before it; returns its value.
 */
PK_INLINE vf store_p(float *row, size_t j, vf p) {
#ifdef PK_NATIVE_BF16
    v_store_bf16_n((uint16_t *)row + j, p, VW);
    return v_load_bf16((const uint16_t *)row + j);
#else
    v_store(row + j, p);
    return p;
#endif
}

/* Scores become p; the running maximum and sum move on. Returns the factor for earlier sums. */
static float softmax_row(float *row, size_t begin, size_t end, float *top, float *total) {
    vf most = v_set1(*top);
    for (size_t j = begin; j < end; j += VW) {
        most = v_max(most, v_load(row + j));
    }
    float now = v_max_lane(most);
    vf shift = v_set1(now);
    vf sum = v_zero();
    for (size_t j = begin; j < end; j += VW) {
        sum = v_add(sum, store_p(row, j, v_exp(v_sub(v_load(row + j), shift))));
    }
    float lanes[VW];
    v_store(lanes, v_exp(v_set1(*top - now)));
    *total = *total * lanes[0] + v_sum(sum);
    *top = now;
    return lanes[0];
}

static void value_tile(const attn_scratch *s, const attn_tile *at, const float *factors) {
    const float *p[PK_MR];
    tile_rows(p, s->scores + at->begin / PER_WORD, PK_ATTN_CHUNK, 0, at->rows);
    size_t words = (at->end - at->begin + PER_WORD - 1) / PER_WORD;
    for (size_t d = 0; d < s->padded; d += KEYS) {
        tile t;
        tile_zero(&t);
        for (size_t r = 0; r < at->rows; r++) {
            const float *sums = s->sums + (at->local + r) * s->padded + d;
            vf factor = v_set1(factors[r]);
            t.at[r][0] = v_mul(v_load(sums), factor);
            t.at[r][1] = v_mul(v_load(sums + VW), factor);
        }
        tile_words(&t, p, s->values + at->begin / PER_WORD * s->padded + d, s->padded, words);
        for (size_t r = 0; r < at->rows; r++) {
            float *sums = s->sums + (at->local + r) * s->padded + d;
            v_store(sums, t.at[r][0]);
            v_store(sums + VW, t.at[r][1]);
        }
    }
}

static void attend_chunk(const pk_attn_task *task, const attn_scratch *s, size_t c0) {
    for (size_t i = task->q_begin; i < task->q_end; i += PK_MR) {
        size_t rows = smaller(PK_MR, task->q_end - i);
        size_t first = larger(first_key(task, i), c0);
        size_t end = smaller(end_key(task, i + rows - 1), c0 + PK_ATTN_CHUNK);
        if (first >= end) {
            continue;
        }
        attn_tile at = {.query = i,
                        .local = i - task->q_begin,
                        .rows = rows,
                        .c0 = c0,
                        .begin = (first - c0) / KEYS * KEYS,
                        .end = end - c0};
        float factors[PK_MR];
        score_tile(task, s, &at);
        for (size_t r = 0; r < rows; r++) {
            factors[r] = softmax_row(s->scores + r * PK_ATTN_CHUNK, at.begin,
                                     (at.end + KEYS - 1) / KEYS * KEYS, s->tops + at.local + r,
                                     s->totals + at.local + r);
        }
        value_tile(s, &at, factors);
    }
}

static void finish(void *out, pk_dtype out_dtype, const pk_attn_task *task, const attn_scratch *s) {
    for (size_t i = task->q_begin; i < task->q_end; i++) {
        size_t local = i - task->q_begin;
        size_t at = (i * task->heads + task->head) * task->head_dim;
        vf scale = v_set1(1.0f / s->totals[local]);
        for (size_t d = 0; d < task->head_dim; d += VW) {
            size_t n = smaller(VW, task->head_dim - d);
            vf y = v_mul(v_load(s->sums + local * s->padded + d), scale);
            if (out_dtype == PK_F32) {
                v_store_n((float *)out + at + d, y, n);
            } else {
                v_store_bf16_n((uint16_t *)out + at + d, y, n);
            }
        }
    }
}

void PK_ISA(pk_attn)(void *out, pk_dtype out_dtype, const pk_attn_task *task) {
    attn_scratch s = lay_out(task);
    size_t queries = task->q_end - task->q_begin;
    if (queries == 0) {
        return;
    }
    memset(s.sums, 0, queries * s.padded * sizeof *s.sums);
    for (size_t i = 0; i < queries; i++) {
        s.tops[i] = -0x1p100f; /* below any finite score; finite, so that top - top is 0 */
        s.totals[i] = 0.0f;
    }
    size_t first = first_key(task, task->q_begin);
    size_t end = end_key(task, task->q_end - 1);
    for (size_t c0 = first / PK_ATTN_CHUNK * PK_ATTN_CHUNK; c0 < end; c0 += PK_ATTN_CHUNK) {
        size_t begin = (larger(first, c0) - c0) / KEYS * KEYS;
        size_t stop = smaller(end, c0 + PK_ATTN_CHUNK) - c0;
        pack_keys(task, &s, c0, begin, stop);
        pack_values(task, &s, c0, begin, stop);
        attend_chunk(task, &s, c0);
    }
    finish(out, out_dtype, task, &s);
}
