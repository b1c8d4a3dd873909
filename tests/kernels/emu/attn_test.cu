/* kernels/cuda/attn.cu and attn_wgmma.cu against kernels/ref/attn.c. */
#include "kernels/cuda/attn.h"
#include "tests/kernels/emu/halves.cuh"

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
    std::vector<uint32_t> starts; /* of each sequence, then the end of the last */
    std::vector<uint16_t> qkv;    /* rows behind the last sequence belong to none */
};

/* Which kernel. */
struct Kernel {
    const char *name;
    size_t window;
    pk_attn_cuda_form form;
};
const Kernel BANDED = {"banded", 64, PK_ATTN_SAFE},
             GLOBAL = {"global", PK_ATTN_GLOBAL, PK_ATTN_SAFE},
             WGMMA = {"wgmma", PK_ATTN_GLOBAL, PK_ATTN_WGMMA};

/* Random rows in about +-2. Marked: one key of each sequence outweighs all others (score about
 * +20), so a query that sees it by one key too many or too few is far off. Unmarked: all weigh
 * about the same, so that a zero row past the end counts. */
Batch batch_of(const std::vector<int> &lens, pk_dtype dtype, uint32_t seed, bool marked) {
    Batch batch;
    test::Integers random(seed);
    batch.starts.push_back(0);
    for (int len : lens) {
        batch.starts.push_back(batch.starts.back() + uint32_t(len));
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

/* Of the sequences' rows [from, to) alone, where not of all. */
std::vector<float> reference(const Batch &batch, pk_dtype dtype, size_t window, size_t from = 0,
                             size_t to = SIZE_MAX) {
    std::vector<float> qkv, out(batch.qkv.size() / 3);
    for (uint16_t bits : batch.qkv) {
        qkv.push_back(value_of(bits, dtype));
    }
    for (size_t s = 0; s + 1 < batch.starts.size(); s++) {
        size_t first = size_t(batch.starts[s]), len = size_t(batch.starts[s + 1]) - first;
        for (size_t head = 0; head < HEADS; head++) {
            pk_attn_task task = {&qkv[first * ROW], len,    HEADS, head, DIM, window, from,
                                 std::min(len, to), nullptr};
            if (from < task.q_end) {
                pk_attn_ref(&out[first * ROW / 3], PK_F32, &task);
            }
        }
    }
    return out;
}

std::vector<pk_attn_cuda_tile> tiles_of(const Batch &batch) {
    std::vector<pk_attn_cuda_tile> tiles;
    for (size_t s = 0; s + 1 < batch.starts.size(); s++) {
        const int32_t begin = int32_t(batch.starts[s]), len = int32_t(batch.starts[s + 1]) - begin;
        for (int32_t first = 0; first < len; first += PK_ATTN_CUDA_QUERIES) {
            tiles.push_back({begin, len, first, -1});
        }
    }
    return tiles;
}

std::vector<uint16_t> run(const Batch &batch, pk_dtype dtype, const Kernel &kernel,
                          uint32_t ctas = 0, bool dependent = false, size_t every = 1) {
    std::vector<pk_attn_cuda_tile> list = tiles_of(batch);
    for (size_t i = 0; i * every < list.size(); i++) { /* one in `every` */
        list[i] = list[i * every];
    }
    list.resize((list.size() + every - 1) / every);
    uint32_t count = uint32_t(list.size());
    /* Behind them some that are none: a replayed grid is larger than its batch. */
    list.insert(list.end(), SPARE_TILES, {1 << 30, 1 << 30, 0, -1});
    test::Buffer<uint16_t> from(batch.qkv, "from"), qkv(batch.qkv.size(), "qkv"),
        out(batch.qkv.size() / 3, "out");
    test::Buffer<pk_attn_cuda_tile> tiles(list, "tiles");
    test::Buffer<uint32_t> n_tiles(std::vector<uint32_t>(1, count), "n_tiles");
    if (dependent) {
        TEST_CHECK(test::copied_by_a_grid(qkv, from), "fill");
    } else {
        qkv.upload(batch.qkv);
    }
    pk_attn_cuda_task task = {};
    task.out = out.get();
    task.qkv = qkv.get();
    task.tiles = tiles.get();
    task.n_tiles = n_tiles.get();
    task.tiles_max = uint32_t(list.size());
    task.rows_max = uint32_t(batch.qkv.size() / ROW);
    task.heads = HEADS;
    task.dtype = dtype;
    task.window = kernel.window;
    task.form = kernel.form;
    task.ctas = ctas;
    task.dependent = dependent;
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

void check(const std::vector<int> &lens, pk_dtype dtype, const Kernel &kernel, uint32_t seed) {
    test::seed(seed);
    Batch batch = batch_of(lens, dtype, seed, kernel.window != PK_ATTN_GLOBAL);
    std::vector<uint16_t> out = run(batch, dtype, kernel);
    if (test::failed()) {
        return;
    }
    std::vector<float> expected = reference(batch, dtype, kernel.window);
    for (size_t i = 0; i < out.size(); i++) {
        float error = std::fabs(value_of(out[i], dtype) - expected[i]);
        TEST_CHECK(error <= limit(dtype), std::string(kernel.name) + " row " +
                                              std::to_string(i / (HEADS * DIM)) + " error " +
                                              std::to_string(error));
    }
}

bool brief() { /* the checked builds are slower and find what they find in one shape */
    return test::brief();
}

/* Lengths at every boundary of 64-row steps and 128-row tiles, and one beside it. */
const std::vector<int> EDGES = {1, 17, 63, 64, 65, 127, 128, 129, 0, 191, 193, 257};

void check_global(const Kernel &kernel) {
    if (!brief()) {
        check(EDGES, PK_F16, kernel, 20);
        check(EDGES, PK_BF16, kernel, 21);
    }
    for (uint32_t s = 0; s < (brief() ? 1u : 5u); s++) { /* each policy of the scheduler */
        check({65, 1, 130}, PK_F16, kernel, s);
        check({128}, PK_BF16, kernel, s + 5);
    }
}

void global_attention_matches_ref_at_every_tile_edge() {
    check_global(GLOBAL);
}

void wgmma_attention_matches_ref_at_every_tile_edge() {
    check_global(WGMMA);
}

void banded_attention_matches_ref_at_every_tile_edge_and_window() {
    uint32_t s = 0;
    for (size_t window : {0, 1, 62, 63, 64}) {
        const Kernel kernel = {"banded", window, PK_ATTN_SAFE};
        if (!brief() || window == 64) {
            check(brief() ? std::vector<int>{65, 1, 130} : EDGES, PK_F16, kernel, s++);
            check(brief() ? std::vector<int>{64} : EDGES, PK_BF16, kernel, s++);
        }
    }
}

/* The longest text there is, behind a short one, in one query tile of `every`. */
void check_8192(const std::vector<Kernel> &kernels, pk_dtype dtype, bool marked, size_t every) {
#ifdef PK_EMULATE
    emu::config.cpu_ms_max = 60 * 60 * 1000; /* each launch takes minutes */
#endif
    const Batch batch = batch_of({3, 8192}, dtype, 8, marked);
    const size_t part = PK_ATTN_CUDA_QUERIES, row = HEADS * DIM;
    std::vector<std::vector<uint16_t>> outs;
    for (const Kernel &kernel : kernels) {
        test::seed(outs.size());
        outs.push_back(run(batch, dtype, kernel, 0, false, every));
    }
    for (size_t tile = every - 1; tile < 8192 / part; tile += every) { /* the list's first: of 3 */
        const size_t from = tile * part, first = (3 + from) * row;
        if (test::failed()) {
            break;
        }
        const std::vector<float> expected =
            reference(batch, dtype, PK_ATTN_GLOBAL, from, from + part);
        for (size_t i = first; i < first + part * row && !test::failed(); i++) {
            for (size_t k = 0; k < kernels.size(); k++) {
                const float got = value_of(outs[k][i], dtype);
                TEST_CHECK(std::fabs(got - expected[i]) <= limit(dtype),
                           std::string(kernels[k].name) + " row " + std::to_string(i / row - 3) +
                               ": " + std::to_string(got) + ", not " + std::to_string(expected[i]));
            }
        }
    }
#ifdef PK_EMULATE
    emu::config.cpu_ms_max = emu::Config().cpu_ms_max;
#endif
}

void every_tile_of_8192_rows_of_global_attention_matches_ref() {
    check_8192({GLOBAL, WGMMA}, PK_F16, true, 1);
}

void some_tiles_of_8192_rows_of_global_attention_match_ref() {
    check_8192({GLOBAL, WGMMA}, PK_F16, true, 64); /* the last */
    check_8192({GLOBAL, WGMMA}, PK_BF16, false, 32);
}

uint64_t hash_of(const uint16_t *values, size_t count) { /* FNV-1a, 64 bits */
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ values[i]) * 0x100000001b3u;
    }
    return hash;
}

uint16_t wild(size_t i, pk_dtype dtype) { /* NaN, infinity, in turns */
    uint16_t infinity = dtype == PK_BF16 ? 0x7f80 : 0x7c00;
    return i % 3 == 0 ? infinity : i % 3 == 1 ? uint16_t(infinity | 0x8000) : uint16_t(0x7fff);
}

/* The same text alone, and behind, between and before neighbours of `neighbour` rows that hold
 * nothing but NaN and infinity, as do the rows of no sequence behind the batch. */
void check_alone(const Kernel &kernel, pk_dtype dtype, int len, int neighbour) {
    Batch alone = batch_of({len}, dtype, uint32_t(len), true), packed;
    std::vector<uint16_t> expected = run(alone, dtype, kernel, 1);
    packed.starts.push_back(0);
    for (int part = 0; part < 3; part++) {
        packed.starts.push_back(packed.starts.back() + uint32_t(part == 1 ? len : neighbour));
    }
    const int padding = 3;
    for (int i = 0; i < (2 * neighbour + padding) * ROW; i++) {
        packed.qkv.push_back(wild(size_t(i), dtype));
    }
    packed.qkv.insert(packed.qkv.begin() + neighbour * ROW, alone.qkv.begin(), alone.qkv.end());
    std::vector<uint16_t> out = run(packed, dtype, kernel, 2);
    if (test::failed()) {
        return;
    }
    std::string what = std::string(kernel.name) + ": " + std::to_string(len) + " rows beside " +
                       std::to_string(neighbour);
    const size_t row = HEADS * DIM, first = size_t(neighbour) * row;
    TEST_CHECK(hash_of(&out[first], expected.size()) == hash_of(expected.data(), expected.size()),
               what + ": bits differ");
    for (size_t i = 0; i < expected.size(); i++) {
        TEST_CHECK(std::isfinite(value_of(expected[i], dtype)), what + ": not finite");
    }
    for (size_t i = out.size() - padding * row; i < out.size(); i++) {
        TEST_CHECK(out[i] == 0xffff, what + ": a row of no sequence was written");
    }
}

void attention_alone_has_the_bits_it_has_between_neighbours_of_nan() {
    for (const Kernel &kernel : {BANDED, GLOBAL, WGMMA}) {
        if (brief()) {
            check_alone(kernel, PK_F16, 100, 1);
            continue;
        }
        for (int len : {1, 63, 65, 127, 128, 129, 200}) {
            check_alone(kernel, PK_F16, len, 1);
            check_alone(kernel, PK_BF16, len, 90);
        }
    }
}

void attention_has_the_same_bits_on_every_grid() {
    const std::vector<int> lens = brief() ? std::vector<int>{129} : std::vector<int>{300, 5, 129};
    Batch batch = batch_of(lens, PK_F16, 11, true);
    const uint32_t items = uint32_t(tiles_of(batch).size()) * HEADS; /* even; odd counts below */
    for (const Kernel &kernel : {BANDED, GLOBAL, WGMMA}) {
        std::vector<uint16_t> expected = run(batch, PK_F16, kernel);
        for (uint32_t ctas : {1u, items / 3, items / 3 - 1}) { /* at least three items each */
            if (ctas > 0) {
                test::seed(ctas);
                TEST_CHECK(run(batch, PK_F16, kernel, ctas) == expected,
                           std::string(kernel.name) + " on " + std::to_string(ctas) + " CTAs");
            }
        }
    }
}

void attention_of_one_token_is_its_value() {
    Batch batch = batch_of({1, 1, 1}, PK_F16, 4, false);
    for (const Kernel &kernel : {BANDED, GLOBAL, WGMMA}) {
        std::vector<uint16_t> out = run(batch, PK_F16, kernel);
        for (size_t i = 0; i < out.size() && !test::failed(); i++) {
            uint16_t v = batch.qkv[i / (HEADS * DIM) * ROW + 2 * HEADS * DIM + i % (HEADS * DIM)];
            TEST_CHECK(out[i] == v, kernel.name);
        }
    }
}

/* A NaN is passed on to exactly the rows that depend on it. */
void attention_passes_on_a_nan_of_its_own_text() {
    const int len = 130, bad = 70;
    for (const Kernel &kernel : {BANDED, GLOBAL, WGMMA}) {
        for (size_t part : {0, 2}) { /* q, v */
            Batch batch = batch_of({len, 20}, PK_F16, 8, false);
            batch.qkv[size_t(bad * ROW) + part * HEADS * DIM] = 0x7fff;
            std::vector<uint16_t> out = run(batch, PK_F16, kernel);
            for (size_t row = 0; row < size_t(len + 20) && !test::failed(); row++) {
                bool nan = false, own = row < size_t(len);
                bool near = own && row >= size_t(bad - 64) && row <= size_t(bad + 64);
                for (size_t i = 0; i < DIM; i++) {
                    nan |= std::isnan(value_of(out[row * HEADS * DIM + i], PK_F16));
                }
                bool all = kernel.window == PK_ATTN_GLOBAL && own;
                bool must = part == 0 ? row == size_t(bad) : all || near;
                bool may = must || (part == 2 && own); /* see the contract */
                TEST_CHECK(nan ? may : !must, std::string(kernel.name) + " row " +
                                                  std::to_string(row) + " part " +
                                                  std::to_string(part));
            }
        }
    }
}

void attention_waits_for_the_grid_before_it() {
    for (const Kernel &kernel : {BANDED, GLOBAL, WGMMA}) {
        Batch batch = batch_of({70}, PK_F16, 9, false);
        std::vector<uint16_t> expected = run(batch, PK_F16, kernel);
        TEST_CHECK(run(batch, PK_F16, kernel, 2, true) == expected, kernel.name);
    }
}

void attention_refuses_an_invalid_task_and_skips_an_empty_one() {
    alignas(16) uint16_t memory[64] = {};
    pk_attn_cuda_task task = {};
    TEST_CHECK(pk_attn_cuda(&task) == 0, "empty");
    task.out = memory;
    task.qkv = memory;
    task.rows_max = task.tiles_max = task.heads = 1;
    task.dtype = PK_F16;
    auto refused = [&](void (*spoil)(pk_attn_cuda_task &)) {
        pk_attn_cuda_task spoiled = task;
        spoil(spoiled);
        return pk_attn_cuda(&spoiled) == PK_ATTN_CUDA_INVALID;
    };
    TEST_CHECK(refused([](auto &t) { t.window = PK_ATTN_CUDA_WINDOW_MAX + 1; }), "window");
    TEST_CHECK(refused([](auto &t) { t.form = PK_ATTN_WGMMA; }), "banded wgmma");
    TEST_CHECK(refused([](auto &t) { t.dtype = PK_F32; }), "dtype");
    TEST_CHECK(refused([](auto &t) { t.rows_max = 0; }), "rows");
    TEST_CHECK(refused([](auto &t) { t.tiles_max = 1u << 30; }), "tiles");
    TEST_CHECK(refused([](auto &t) { t.heads = 0; }), "heads");
    TEST_CHECK(refused([](auto &t) { t.heads = 12, t.rows_max = 1864136; }), "past 32 bits");
    TEST_CHECK(refused([](auto &t) { t.qkv = static_cast<uint16_t *>(t.out) + 1; }), "aligned");
}

} // namespace

void attn_tests() {
    TEST_RUN(global_attention_matches_ref_at_every_tile_edge);
    TEST_RUN(wgmma_attention_matches_ref_at_every_tile_edge);
    TEST_RUN(banded_attention_matches_ref_at_every_tile_edge_and_window);
    TEST_RUN(attention_alone_has_the_bits_it_has_between_neighbours_of_nan);
    TEST_RUN(attention_has_the_same_bits_on_every_grid);
    TEST_RUN(attention_of_one_token_is_its_value);
    TEST_RUN(attention_passes_on_a_nan_of_its_own_text);
    TEST_RUN(attention_waits_for_the_grid_before_it);
    TEST_RUN(attention_refuses_an_invalid_task_and_skips_an_empty_one);
    TEST_RUN_LONG(some_tiles_of_8192_rows_of_global_attention_match_ref);
    TEST_RUN_LONG(every_tile_of_8192_rows_of_global_attention_matches_ref);
}
