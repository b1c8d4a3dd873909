/* kernels/cuda/linear*.cu against kernels/ref/linear.c: every form, every tile. */
#include "kernels/cuda/heads.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_pack.h"
#include "kernels/linear.h"
#include "tests/kernels/emu/halves.cuh"

#include <algorithm>

namespace {

enum Form { PLAIN, GEGLU, QKV };
enum { HEAD = PK_LINEAR_CUDA_HEAD_DIM, HALF = HEAD / 2 };

struct Variant {
    pk_linear_cuda_tile tile;
    bool multicast, dependent;
    bool finish = false; /* sums made here, then pk_finish_cuda */
    uint32_t stages = 0; /* as the tile has them first */
};

const Variant SAFE = {PK_LINEAR_SAFE, false, false};
const Variant WGMMA = {PK_LINEAR_128_192, false, false};
const Variant PAIRED = {PK_LINEAR_128_192, true, false};
const Variant WGMMA_64_192 = {PK_LINEAR_64_192, false, false};
const Variant WGMMA_64_64 = {PK_LINEAR_64_64, false, false};

const Variant DEEP_64_192 = {PK_LINEAR_64_192, false, false, false, 6};
const Variant PAIRED_64_192 = {PK_LINEAR_64_192, true, false, false, 6};
const Variant DEEP_64_64 = {PK_LINEAR_64_64, false, false, false, 12};

const Variant FINISH = {PK_LINEAR_SAFE, false, false, true};

const std::vector<Variant> TILES = {
    SAFE, WGMMA, PAIRED, WGMMA_64_192, DEEP_64_192, PAIRED_64_192, WGMMA_64_64, DEEP_64_64, FINISH};
const std::vector<Variant> EVERY = {SAFE,
                                    WGMMA,
                                    PAIRED,
                                    WGMMA_64_192,
                                    DEEP_64_192,
                                    PAIRED_64_192,
                                    WGMMA_64_64,
                                    DEEP_64_64,
                                    {PK_LINEAR_SAFE, false, true},
                                    {PK_LINEAR_128_192, false, true},
                                    {PK_LINEAR_128_192, true, true},
                                    {PK_LINEAR_64_192, true, true, false, 6},
                                    {PK_LINEAR_64_64, false, true},
                                    {PK_LINEAR_64_64, false, true, false, 12},
                                    FINISH,
                                    {PK_LINEAR_SAFE, false, true, true}};

/* act [rows_max, k] times weight [n, k]; values that dtype holds. */
struct Problem {
    Problem(Form form_, size_t rows_, size_t n_, size_t k_, pk_dtype dtype_, uint32_t seed)
        : form(form_), rows(rows_), rows_max(rows_ + 5), n(n_), k(k_), dtype(dtype_),
          act(test::uniform_halves(rows_max * k, 1.0f, dtype, seed)),
          weight(test::uniform_halves(n * k, WEIGHT_MAX(k), dtype, seed + 1)),
          rope(test::uniform(POSITIONS * HEAD, 1.0f, seed + 2)) {
        for (size_t r = 0; r < rows_max; r++) {
            positions.push_back(uint32_t(r * 5 % POSITIONS));
        }
    }
    static float WEIGHT_MAX(size_t k_) { /* so that outputs are about 1 */
        return 3.0f / std::sqrt(float(k_));
    }

    static const size_t POSITIONS = 7;
    Form form;
    size_t rows, rows_max, n, k;
    pk_dtype dtype;
    std::vector<float> act, weight, rope;
    std::vector<uint32_t> positions;
    uint32_t ctas = 2;

    std::vector<float> f32_out;
    std::vector<uint16_t> out;
    uint32_t saturated = 0;

    size_t out_cols() const {
        return form == GEGLU ? n / 2 : n;
    }
    void run(const Variant &variant);
    int finish(const pk_linear_cuda_task &task, const std::vector<uint16_t> &packed) const;
    std::vector<float> reference() const;
};

/* As a library would: sums in the order of the packed rows; past the last row nothing is written.
 */
int Problem::finish(const pk_linear_cuda_task &task, const std::vector<uint16_t> &packed) const {
    const std::vector<float> columns = test::values_of(packed, dtype);
    std::vector<float> sums(rows_max * n, NAN);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < n; c++) {
            double sum = 0.0;
            for (size_t i = 0; i < k; i++) {
                sum += double(act[r * k + i]) * double(columns[c * k + i]);
            }
            sums[r * n + c] = float(sum);
        }
    }
    test::Buffer<float> device(sums.size(), "sums"), before(sums, "sums of the grid before");
    if (task.dependent) {
        TEST_CHECK(test::copied_by_a_grid(device, before), "the grid before");
    } else {
        device.upload(sums);
    }
    pk_finish_cuda_task t = {};
    t.out = task.out;
    t.sums = device.get();
    t.rope = task.rope;
    t.positions = task.positions;
    t.rows = task.rows;
    t.saturated = task.saturated;
    t.rows_max = task.rows_max;
    t.n = task.n;
    t.form = form == GEGLU ? PK_LINEAR_CUDA_FORM_GEGLU
             : form == QKV ? PK_LINEAR_CUDA_FORM_QKV
                           : PK_LINEAR_CUDA_FORM_PLAIN;
    t.dtype = task.dtype;
    t.ctas = task.ctas;
    t.dependent = task.dependent;
    int launched = pk_finish_cuda(&t);
    TEST_LAUNCHED(launched); /* while the sums are there */
    return launched;
}

void Problem::run(const Variant &variant) {
    pk_linear_cuda_shape shape;
    pk_linear_cuda_kind kind = form == GEGLU ? PK_LINEAR_CUDA_GEGLU
                               : form == QKV ? PK_LINEAR_CUDA_QKV
                                             : PK_LINEAR_CUDA_PLAIN;
    TEST_CHECK(pk_linear_cuda_plan(&shape, kind, n, k), "shape refused");
    std::vector<uint16_t> packed(n * k);
    pk_linear_cuda_pack(packed.data(), dtype, weight.data(), PK_F32, kind, shape);
    test::Buffer<uint16_t> a(rows_max * k, "act"), w(packed, "weight");
    test::Buffer<float> before(act, "act in f32");
    test::Buffer<uint16_t> narrow(form == PLAIN ? 0 : rows_max * out_cols(), "out");
    test::Buffer<float> wide(form == PLAIN ? rows_max * n : 0, "out"), angles(rope, "rope");
    test::Buffer<uint32_t> position(positions, "positions");
    test::Buffer<uint32_t> count(std::vector<uint32_t>(1, uint32_t(rows)), "rows");
    test::Buffer<uint32_t> over(std::vector<uint32_t>(1, 5), "saturated");
    a.upload(test::halves_of(act, dtype));
    if (variant.dependent) { /* a grid before writes act, and may be running still */
        a.spoil();
        pk_round_cuda_task round = {};
        round.out = a.get();
        round.x = before.get();
        round.rows = count.get();
        round.rows_max = uint32_t(rows_max);
        round.dim = uint32_t(k);
        round.dtype = dtype;
        round.ctas = ctas;
        TEST_CHECK(pk_round_cuda(&round) == 0, "the grid before");
    }
    pk_linear_cuda_task task = {};
    task.out = form == PLAIN ? static_cast<void *>(wide.get()) : narrow.get();
    task.act = a.get();
    task.weight = w.get();
    task.rope = angles.get();
    task.positions = position.get();
    task.rows = count.get();
    task.saturated = over.get();
    task.rows_max = uint32_t(rows_max);
    task.n = uint32_t(n);
    task.k = uint32_t(k);
    task.dtype = dtype;
    task.tile = variant.tile;
    task.stages = variant.stages;
    task.ctas = ctas;
    task.multicast = variant.multicast;
    task.dependent = variant.dependent;
    TEST_LAUNCHED(variant.finish  ? finish(task, packed)
                  : form == PLAIN ? pk_linear_cuda(&task)
                  : form == GEGLU ? pk_geglu_cuda(&task)
                                  : pk_qkv_rope_cuda(&task));
#ifdef PK_EMULATE
    TEST_CHECK(emu::stats.ldmatrix_conflicts == 0, "bank conflicts");
#endif
    f32_out = wide.download();
    out = narrow.download();
    saturated = over.download()[0] - 5;
    size_t used = rows * out_cols(), rest = (rows_max - rows) * out_cols();
    TEST_CHECK(form == PLAIN ? test::poisoned(f32_out, used, rest)
                             : test::poisoned(out, used, rest),
               "rows past the last were written");
}

std::vector<float> Problem::reference() const {
    std::vector<float> y(rows * out_cols());
    if (form == PLAIN) {
        pk_linear_ref(y.data(), act.data(), weight.data(), rows, n, k);
    } else if (form == GEGLU) {
        pk_geglu_ref(y.data(), act.data(), weight.data(), rows, n / 2, k);
    } else {
        pk_qkv_rope_ref(y.data(), act.data(), weight.data(), rope.data(), positions.data(), rows,
                        n / (3 * HEAD), HALF, k);
    }
    return y;
}

/* Products of halves are exact in f32; each of k additions rounds by at most 2^-23 (a tensor core
 * may truncate) of what the sum of magnitudes bounds, |act| |weight| <= (k / 3) 3 / sqrt(k) in the
 * mean square (Cauchy and Schwarz), one fifth more for chance. */
float chain_limit(size_t k) {
    return float(k) * 0x1p-23f * 1.2f * std::sqrt(float(k));
}

/* linear: the chain. qkv: two chains, turned by sines of at most 1, and five roundings. geglu:
 * the derivative of gelu is below 1.13, |value|, |gate| <= 8, erf to 2^-21. */
float limit(const Problem &p, float y) {
    float chain = chain_limit(p.k);
    if (p.form == PLAIN) {
        return chain;
    }
    float f32 = p.form == QKV ? 2.0f * chain + 0x1p-21f : 8.0f * 2.13f * chain + 64 * 0x1p-21f;
    return f32 + test::rounding(y, p.dtype) * (1 + 0x1p-10f);
}

void compare(const Problem &p) {
    if (test::failed()) {
        return;
    }
    std::vector<float> expected = p.reference();
    for (size_t i = 0; i < expected.size() && !test::failed(); i++) {
        float got = p.form == PLAIN ? p.f32_out[i] : test::value_of(p.out[i], p.dtype);
        TEST_CHECK(std::fabs(got - expected[i]) <= limit(p, expected[i]),
                   "row " + std::to_string(i / p.out_cols()) + " column " +
                       std::to_string(i % p.out_cols()) + ": " + std::to_string(got) + ", not " +
                       std::to_string(expected[i]));
    }
    TEST_CHECK(p.saturated == 0, "saturated");
}

void check(const std::vector<Variant> &variants, const Problem &problem, uint32_t seed) {
    for (const Variant &variant : variants) {
        test::seed(seed++);
        Problem p = problem;
        p.run(variant);
        compare(p);
    }
}

bool brief() {
    return test::brief();
}

/* Small integers: every sum is exact, so every element must be. */
void check_exact(const std::vector<Variant> &variants, size_t rows, size_t n, size_t k,
                 uint32_t seed) {
    for (const Variant &variant : variants) {
        test::seed(seed);
        Problem p(PLAIN, rows, n, k, seed % 2 ? PK_BF16 : PK_F16, seed);
        test::Integers random(seed);
        for (float &x : p.act) {
            x = float(random.next(3));
        }
        for (float &x : p.weight) {
            x = float(random.next(3));
        }
        p.ctas = 1 + seed % 3 + (variant.multicast ? 1 : 0);
        p.run(variant);
        if (!test::failed()) {
            const std::vector<float> exact = p.reference();
            TEST_CHECK(std::equal(exact.begin(), exact.end(), p.f32_out.begin()),
                       std::to_string(rows) + " x " + std::to_string(n) + " x " +
                           std::to_string(k));
        }
    }
}

void a_product_of_integers_is_exact_at_every_tile_edge() {
    uint32_t seed = 0;
    for (size_t rows : {1, 63, 64, 65, 127, 128, 129}) {
        for (size_t n : {16, 48, 64, 128, 144, 192, 208}) {
            if ((rows + n) % (brief() ? 7 : 3) == 1 || (!brief() && (rows == 129 || n == 208))) {
                check_exact(TILES, rows, n, 16 + seed * 16 % 224, seed);
                seed++;
            }
        }
    }
}

void products_match_ref_at_the_sizes_of_pith_mini() { /* hidden 192, intermediate 288, 3 heads */
    const size_t rows = brief() ? 33 : 130;
    check(TILES, Problem(PLAIN, rows, 192, 288, PK_F16, 1), 1);
    check(TILES, Problem(GEGLU, rows, 576, 192, PK_BF16, 2), 2);
    check(TILES, Problem(QKV, rows, 576, 192, PK_F16, 3), 3);
    if (!brief()) {
        check(TILES, Problem(PLAIN, 40, 192, 192, PK_BF16, 4), 4);
        check(TILES, Problem(GEGLU, 40, 576, 192, PK_F16, 5), 5);
        check(TILES, Problem(QKV, 40, 576, 192, PK_BF16, 6), 6);
    }
}

void products_match_ref_at_the_sizes_of_the_full_model() { /* 768, 1,152, 12 heads */
    if (brief()) {
        return; /* the checked builds are slower and find what they find in the small shapes */
    }
    check({SAFE, WGMMA}, Problem(PLAIN, 129, 768, 1152, PK_F16, 1), 1);
    check({WGMMA_64_192, PAIRED_64_192}, Problem(GEGLU, 63, 2304, 768, PK_F16, 2), 2);
    check({WGMMA_64_64}, Problem(QKV, 65, 2304, 768, PK_BF16, 3), 3);
    check({DEEP_64_64}, Problem(PLAIN, 65, 768, 1152, PK_BF16, 5), 5);
    check({PAIRED}, Problem(PLAIN, 17, 1280, 768, PK_F16, 4), 4); /* the span convolution */
}

void few_ctas_take_many_tiles_odd_and_even() {                 /* two CTAs, or one pair */
    check(EVERY, Problem(GEGLU, 129, 448, 80, PK_BF16, 2), 2); /* 8, 6, 9, 21 tiles */
    check(EVERY, Problem(PLAIN, 770, 16, 16, PK_F16, 5), 5);   /* 7, 13 */
    if (!brief()) {
        check(EVERY, Problem(PLAIN, 300, 256, 64, PK_F16, 1), 1); /* 6, 10, 20 */
        check(EVERY, Problem(PLAIN, 897, 16, 16, PK_BF16, 4), 4); /* 8, 15 */
        Problem five(QKV, 257, 576, 64, PK_F16, 3);               /* 15, 9, 45 */
        five.ctas = 5;
        check(EVERY, five, 3);
    }
}

void a_product_is_exact_under_every_schedule() { /* the ring goes round three times and a half */
    const uint32_t schedules = test::mode() == test::MODE_PLAIN ? 5 : brief() ? 1 : 2;
    for (uint32_t s = 0; s < schedules; s++) {
        check_exact(EVERY, 129, 192, 448, s * 3); /* one CTA */
    }
}

void a_step_of_few_or_no_rows_runs_in_the_grid_of_a_large_class() {
    for (const Variant &variant : EVERY) {
        for (size_t rows : {0, 3}) {
            Problem p(PLAIN, 300, 192, 64, PK_F16, uint32_t(rows));
            p.rows = rows; /* 302 more, neither read nor written */
            std::fill(p.act.begin() + long(rows * p.k), p.act.end(), NAN);
            p.ctas = 4;
            p.run(variant);
            compare(p);
        }
    }
}

/* Bits of row `row` of p. */
std::string row_of(const Problem &p, size_t row) {
    size_t width = p.out_cols() * (p.form == PLAIN ? 4 : 2);
    const void *out = p.form == PLAIN ? static_cast<const void *>(p.f32_out.data()) : p.out.data();
    return std::string(static_cast<const char *>(out) + row * width, width);
}

/* Rows [from, from + rows) of `all` alone, with the rows that follow all NaN. */
Problem part_of(const Problem &all, size_t from, size_t rows) {
    Problem part = all;
    part.rows = rows;
    part.rows_max = rows + 5;
    part.act.assign(all.act.begin() + long(from * all.k),
                    all.act.begin() + long((from + rows) * all.k));
    part.act.resize(part.rows_max * all.k, NAN);
    part.positions.assign(all.positions.begin() + long(from),
                          all.positions.begin() + long(from + rows));
    part.positions.resize(part.rows_max, 0x7fffffff); /* never read */
    return part;
}

void a_row_has_the_same_bits_alone_and_in_every_batch() {
    for (Form form : {PLAIN, GEGLU, QKV}) {
        if (brief() && form != QKV) {
            continue;
        }
        Problem all(form, 512, 192, 96, form == GEGLU ? PK_BF16 : PK_F16, 7);
        all.ctas = 3;
        std::vector<std::string> expected; /* of each instruction family */
        for (const Variant &variant : TILES) {
            if (variant.tile != PK_LINEAR_64_192 && variant.tile != PK_LINEAR_64_64 &&
                !variant.multicast) { /* the others must have the bits of 128 x 192 */
                all.run(variant);
                expected.clear();
                for (size_t r = 0; r < all.rows && !test::failed(); r++) {
                    expected.push_back(row_of(all, r));
                }
            }
            for (size_t rows : {1, 64, 127, 512}) {
                for (size_t from : {0, 1, 77, 385}) {
                    if (from + rows > all.rows || test::failed() || (brief() && rows > 64)) {
                        continue;
                    }
                    Problem part = part_of(all, from, rows);
                    part.run(variant);
                    for (size_t r = 0; r < rows && !test::failed(); r++) {
                        TEST_CHECK(row_of(part, r) == expected[from + r],
                                   std::to_string(rows) + " rows from " + std::to_string(from) +
                                       ", row " + std::to_string(r) + ", tile " +
                                       std::to_string(int(variant.tile)));
                    }
                }
            }
        }
    }
}

void rows_of_nan_and_infinity_leave_their_neighbours_bits_alone() {
    for (const Variant &variant : TILES) {
        for (Form form : {PLAIN, GEGLU, QKV}) {
            Problem clean(form, 40, 192, 64, PK_F16, 11);
            Problem spoiled = clean;
            for (size_t r = 0; r < 40; r++) {
                if (r % 3 != 1) {
                    std::fill(&spoiled.act[r * 64], &spoiled.act[r * 64] + 64,
                              r % 3 == 0 ? NAN : INFINITY);
                }
            }
            clean.run(variant);
            spoiled.run(variant);
            for (size_t r = 1; r < 40 && !test::failed(); r += 3) {
                TEST_CHECK(row_of(clean, r) == row_of(spoiled, r), "row " + std::to_string(r));
            }
            if (form == PLAIN && !test::failed()) {
                TEST_CHECK(std::isnan(spoiled.f32_out[0]), "a NaN stays a NaN");
            }
        }
    }
}

void an_output_too_large_for_f16_is_saturated_and_counted() {
    for (const Variant &variant : TILES) {
        for (Form form : {GEGLU, QKV}) {
            Problem p(form, 3, 192, 64, PK_F16, 1);
            std::fill(p.act.begin(), p.act.end(), 0.0f);
            std::fill(p.weight.begin(), p.weight.end(), 1000.0f);
            std::fill(&p.act[64], &p.act[64] + 64, 2000.0f); /* row 1: sums of 1.28e8 */
            std::fill(p.rope.begin(), p.rope.end(), 0.0f);   /* q and k are 0, v is not */
            p.run(variant);
            if (test::failed()) {
                return;
            }
            size_t expected = form == GEGLU ? 96 : 64;
            TEST_CHECK(p.saturated == expected, "counted " + std::to_string(p.saturated));
            TEST_CHECK(test::value_of(p.out[2 * p.out_cols() - 1], PK_F16) == PK_F16_MAX,
                       "the largest number");
            p.act[64] = NAN;
            p.run(variant);
            TEST_CHECK(std::isnan(test::value_of(p.out[2 * p.out_cols() - 1], PK_F16)) &&
                           p.saturated == 0,
                       "a NaN stays and is not counted");
        }
    }
}

void products_refuse_an_invalid_task_and_skip_an_empty_one() {
    alignas(16) float memory[64] = {};
    uint32_t rows = 1;
    pk_linear_cuda_task task = {};
    TEST_CHECK(pk_linear_cuda(&task) == 0, "empty");
    task.out = memory;
    task.act = task.weight = task.rope = memory;
    task.rows = task.positions = &rows;
    task.rows_max = task.ctas = 1;
    task.n = task.k = 16;
    task.dtype = PK_F16;
    TEST_CHECK(pk_qkv_rope_cuda(&task) == PK_LINEAR_CUDA_INVALID, "n is no three heads");
    task.n = 48;
    TEST_CHECK(pk_geglu_cuda(&task) == PK_LINEAR_CUDA_INVALID, "n no multiple of 64");
    task.n = 24;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "n no multiple of 16");
    task.n = 16;
    task.k = 24;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "k no multiple of 16");
    task.k = 16;
    task.dtype = PK_F32;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "dtype");
    task.dtype = PK_BF16;
    task.multicast = true;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "multicast of a safe tile");
    task.ctas = 2;
    task.tile = PK_LINEAR_64_64;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "no pairs of 64 x 64");
    task.tile = PK_LINEAR_64_192;
    task.stages = 3;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "no pairs of three stages");
    task.multicast = false;
    task.stages = 5;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "no ring of five stages");
    task.tile = PK_LINEAR_SAFE;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "stages of a safe tile");
    task.multicast = true;
    task.stages = 0;
    task.ctas = 1;
    task.tile = PK_LINEAR_128_192;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "multicast by one CTA");
    task.multicast = false;
    task.act = reinterpret_cast<char *>(memory) + 8;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "alignment");
    task.act = memory;
    task.ctas = 0;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "no CTAs");
    pk_finish_cuda_task finish = {};
    TEST_CHECK(pk_finish_cuda(&finish) == 0, "empty");
    finish.out = memory;
    finish.sums = memory;
    finish.rows = &rows;
    finish.rows_max = finish.ctas = 1;
    finish.n = 16;
    TEST_CHECK(pk_finish_cuda(&finish) == PK_LINEAR_CUDA_INVALID, "dtype of sums");
    finish.dtype = PK_F16;
    finish.form = PK_LINEAR_CUDA_FORM_GEGLU;
    TEST_CHECK(pk_finish_cuda(&finish) == PK_LINEAR_CUDA_INVALID, "n no multiple of 64");
    finish.n = 192;
    finish.form = PK_LINEAR_CUDA_FORM_QKV;
    TEST_CHECK(pk_finish_cuda(&finish) == PK_LINEAR_CUDA_INVALID, "no positions");
}

} // namespace

void linear_tests() {
    TEST_RUN(a_product_of_integers_is_exact_at_every_tile_edge);
    TEST_RUN(products_match_ref_at_the_sizes_of_pith_mini);
    TEST_RUN(products_match_ref_at_the_sizes_of_the_full_model);
    TEST_RUN(few_ctas_take_many_tiles_odd_and_even);
    TEST_RUN(a_step_of_few_or_no_rows_runs_in_the_grid_of_a_large_class);
    TEST_RUN(a_product_is_exact_under_every_schedule);
    TEST_RUN(a_row_has_the_same_bits_alone_and_in_every_batch);
    TEST_RUN(rows_of_nan_and_infinity_leave_their_neighbours_bits_alone);
    TEST_RUN(an_output_too_large_for_f16_is_saturated_and_counted);
    TEST_RUN(products_refuse_an_invalid_task_and_skip_an_empty_one);
}
