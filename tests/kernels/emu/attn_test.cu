/* kernels/cuda/attn.cu against kernels/ref/attn.c. */
#include "kernels/cuda/attn.h"
#include "tests/kernels/emu/harness.cuh"

extern "C" {
#include "kernels/attn.h"
}

#include <cmath>

namespace {

enum { DIM = PK_ATTN_CUDA_HEAD_DIM, HEADS = 2, ROW = 3 * HEADS * DIM, SPARE_TILES = 2 };

/* Nearest half to x, of moderate size; ties and subnormals do not matter here. */
uint16_t half_near(float x, pk_dtype dtype) {
    if (dtype == PK_BF16) {
        return pk_bf16_of_f32(x);
    }
    float step = std::ldexp(1.0f, std::max(std::ilogb(x == 0.0f ? 1.0f : x), -14) - 10);
    float exact = std::nearbyint(x / step) * step; /* 11 bits: what half_bits wants */
    return std::fabs(exact) < 0x1p-14f ? uint16_t(0) : test::half_bits(exact, false);
}

float value_of(uint16_t bits, pk_dtype dtype) {
    return dtype == PK_BF16 ? pk_f32_of_bf16(bits) : pk_f32_of_f16(bits);
}

struct Batch {
    std::vector<int32_t> starts;
    std::vector<uint16_t> qkv;
};

/* Random rows in about +-2. Marked: one key of each sequence outweighs all others (score about
 * +20), so a query that sees it by one key too many or too few is far off. Unmarked: all weigh
 * about the same, so that a zero row past the end counts. */
Batch batch_of(const std::vector<int> &lens, pk_dtype dtype, uint32_t seed, bool marked) {
    Batch batch;
    test::Integers random(seed);
    batch.starts.push_back(0);
    for (int len : lens) {
        batch.starts.push_back(batch.starts.back() + len);
        int marker = marked ? len * 2 / 3 : -1;
        for (int i = 0; i < len * ROW; i++) {
            int part = i % ROW / (HEADS * DIM);
            float x = float(random.next(1000)) / (part == 0 ? 2000.0f : 500.0f);
            if (i % DIM == 0 && part == 0) {
                x = 2.0f;
            } else if (i % DIM == 0 && part == 1) {
                x = i / ROW == marker ? 10.0f : 0.0f;
            }
            batch.qkv.push_back(half_near(x, dtype));
        }
    }
    return batch;
}

std::vector<float> reference(const Batch &batch, pk_dtype dtype, size_t window) {
    std::vector<float> qkv, out(batch.qkv.size() / 3);
    for (uint16_t bits : batch.qkv) {
        qkv.push_back(value_of(bits, dtype));
    }
    for (size_t s = 0; s + 1 < batch.starts.size(); s++) {
        size_t first = size_t(batch.starts[s]), len = size_t(batch.starts[s + 1]) - first;
        for (size_t head = 0; head < HEADS; head++) {
            pk_attn_task task = {&qkv[first * ROW], len, HEADS, head, DIM, window, 0, len, nullptr};
            pk_attn_ref(&out[first * ROW / 3], PK_F32, &task);
        }
    }
    return out;
}

/* The batch's tiles, and behind them some that are none: a replayed grid is larger than its batch.
 */
std::vector<pk_attn_cuda_tile> tiles_of(const Batch &batch) {
    std::vector<pk_attn_cuda_tile> tiles;
    for (size_t s = 0; s + 1 < batch.starts.size(); s++) {
        const int32_t begin = batch.starts[s], len = batch.starts[s + 1] - begin;
        for (int32_t first = 0; first < len; first += PK_ATTN_CUDA_QUERIES) {
            tiles.push_back({begin, len, first, -1});
        }
    }
    tiles.insert(tiles.end(), SPARE_TILES, {1 << 30, 1 << 30, 0, -1});
    return tiles;
}

std::vector<uint16_t> run(const Batch &batch, pk_dtype dtype, size_t window) {
    test::Buffer<uint16_t> qkv(batch.qkv, "qkv"), out(batch.qkv.size() / 3, "out");
    std::vector<pk_attn_cuda_tile> list = tiles_of(batch);
    test::Buffer<pk_attn_cuda_tile> tiles(list, "tiles");
    test::Buffer<uint32_t> n_tiles(std::vector<uint32_t>{uint32_t(list.size() - SPARE_TILES)},
                                   "n_tiles");
    pk_attn_cuda_task task = {};
    task.out = out.get();
    task.qkv = qkv.get();
    task.tiles = tiles.get();
    task.n_tiles = n_tiles.get();
    task.tiles_max = uint32_t(list.size());
    task.heads = HEADS;
    task.dtype = dtype;
    task.window = window;
    TEST_LAUNCHED(pk_attn_cuda(&task));
#ifdef PK_EMULATE
    TEST_CHECK(emu::stats.ldmatrix_conflicts == 0, "bank conflicts");
#endif
    return out.download();
}

/* |v| <= 2. Each weight p and the output are rounded once (u: half a unit in the last place), and
 * f32 scores of up to 21 carry 2^-19 into the exponent: |error| <= 2 (2 u + 2^-15). */
float limit(pk_dtype dtype) {
    float u = dtype == PK_BF16 ? 0x1p-8f : 0x1p-11f;
    return 2.0f * (2.0f * u + 0x1p-15f);
}

void check(const std::vector<int> &lens, pk_dtype dtype, size_t window, uint32_t seed) {
    test::seed(seed);
    Batch batch = batch_of(lens, dtype, seed, window != PK_ATTN_GLOBAL);
    std::vector<uint16_t> out = run(batch, dtype, window);
    if (test::failed()) {
        return;
    }
    std::vector<float> expected = reference(batch, dtype, window);
    for (size_t i = 0; i < out.size(); i++) {
        float error = std::fabs(value_of(out[i], dtype) - expected[i]);
        TEST_CHECK(error <= limit(dtype), "window " + std::to_string(window) + " row " +
                                              std::to_string(i / (HEADS * DIM)) + " error " +
                                              std::to_string(error));
    }
}

const std::vector<int> EDGES = {1, 17, 63, 64, 65, 129, 0, 200};

bool brief() { /* the checked builds are slower and find what they find in one shape */
    return test::mode() == test::MODE_RACE || test::mode() == test::MODE_ASAN;
}

void global_attention_matches_ref_at_every_tile_edge() {
    for (uint32_t s = 0; s < (brief() ? 1u : 5u); s++) {
        check(brief() ? std::vector<int>{65, 1, 130} : EDGES, PK_F16, PK_ATTN_GLOBAL, s);
        check(brief() ? std::vector<int>{64} : EDGES, PK_BF16, PK_ATTN_GLOBAL, s);
    }
}

void banded_attention_matches_ref_at_every_tile_edge_and_window() {
    uint32_t s = 0;
    for (size_t window : {0, 1, 62, 63, 64}) {
        if (!brief() || window == 64) {
            check(brief() ? std::vector<int>{65, 1, 130} : EDGES, PK_F16, window, s++);
            check(brief() ? std::vector<int>{64} : EDGES, PK_BF16, window, s++);
        }
    }
}

void attention_alone_has_the_bits_it_has_between_neighbours_of_nan() {
    const size_t len = 100;
    for (size_t window : {size_t(64), PK_ATTN_GLOBAL}) {
        Batch alone = batch_of({int(len)}, PK_F16, 3, true);
        std::vector<uint16_t> expected = run(alone, PK_F16, window);
        for (int neighbour : {1, 64, 90}) {
            Batch packed;
            packed.starts = {0, neighbour, neighbour + int(len), 2 * neighbour + int(len)};
            std::vector<uint16_t> poison(size_t(neighbour * ROW), 0x7fff); /* NaN */
            for (size_t i = 0; i < poison.size(); i += 3) {
                poison[i] = 0x7c00; /* infinity */
            }
            packed.qkv = poison;
            packed.qkv.insert(packed.qkv.end(), alone.qkv.begin(), alone.qkv.end());
            packed.qkv.insert(packed.qkv.end(), poison.begin(), poison.end());
            std::vector<uint16_t> out = run(packed, PK_F16, window);
            if (test::failed()) {
                return;
            }
            size_t first = size_t(neighbour * HEADS * DIM);
            TEST_CHECK(memcmp(&out[first], expected.data(), expected.size() * 2) == 0,
                       "bits differ beside " + std::to_string(neighbour) + " rows");
        }
    }
}

void attention_refuses_an_invalid_task_and_skips_an_empty_one() {
    alignas(16) uint16_t memory[64] = {};
    pk_attn_cuda_task task = {};
    TEST_CHECK(pk_attn_cuda(&task) == 0, "empty");
    task.out = memory;
    task.qkv = memory;
    task.tiles_max = task.heads = 1;
    task.dtype = PK_F16;
    task.window = PK_ATTN_CUDA_WINDOW_MAX + 1;
    TEST_CHECK(pk_attn_cuda(&task) == PK_ATTN_CUDA_INVALID, "window");
    task.window = 1;
    task.dtype = PK_F32;
    TEST_CHECK(pk_attn_cuda(&task) == PK_ATTN_CUDA_INVALID, "dtype");
    task.dtype = PK_BF16;
    task.heads = 65536;
    TEST_CHECK(pk_attn_cuda(&task) == PK_ATTN_CUDA_INVALID, "heads");
    task.heads = 12;
    task.len_max = 1864136; /* 2,304 elements each: just past 32 bits */
    TEST_CHECK(pk_attn_cuda(&task) == PK_ATTN_CUDA_INVALID, "length");
}

} // namespace

void attn_tests() {
    TEST_RUN(global_attention_matches_ref_at_every_tile_edge);
    TEST_RUN(banded_attention_matches_ref_at_every_tile_edge_and_window);
    TEST_RUN(attention_alone_has_the_bits_it_has_between_neighbours_of_nan);
    TEST_RUN(attention_refuses_an_invalid_task_and_skips_an_empty_one);
}
