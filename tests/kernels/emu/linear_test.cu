/* kernels/cuda/linear*.cu against kernels/ref/linear.c: every form, every tile. */
#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_pack.h"
#include "kernels/linear.h"
#include "tests/kernels/emu/halves.cuh"

namespace {

enum Form { PLAIN, GEGLU, QKV };
enum { HEAD = PK_LINEAR_CUDA_HEAD_DIM, HALF = HEAD / 2 };

/* The kernels that this build can run. */
std::vector<pk_linear_cuda_tile> tiles() {
    return {PK_LINEAR_SAFE};
}

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
    bool multicast = false, dependent = false;

    std::vector<float> f32_out;
    std::vector<uint16_t> out;
    uint32_t saturated = 0;

    size_t out_cols() const {
        return form == GEGLU ? n / 2 : n;
    }
    void run(pk_linear_cuda_tile tile);
    std::vector<float> reference() const;
};

void Problem::run(pk_linear_cuda_tile tile) {
    pk_linear_cuda_shape shape;
    pk_linear_cuda_kind kind = form == GEGLU ? PK_LINEAR_CUDA_GEGLU
                               : form == QKV ? PK_LINEAR_CUDA_QKV
                                             : PK_LINEAR_CUDA_PLAIN;
    TEST_CHECK(pk_linear_cuda_plan(&shape, kind, n, k), "shape refused");
    std::vector<uint16_t> packed(n * k);
    pk_linear_cuda_pack(packed.data(), dtype, weight.data(), PK_F32, kind, shape);
    test::Buffer<uint16_t> a(test::halves_of(act, dtype), "act"), w(packed, "weight");
    test::Buffer<uint16_t> narrow(form == PLAIN ? 0 : rows_max * out_cols(), "out");
    test::Buffer<float> wide(form == PLAIN ? rows_max * n : 0, "out"), angles(rope, "rope");
    test::Buffer<uint32_t> position(positions, "positions");
    test::Buffer<uint32_t> count(std::vector<uint32_t>(1, uint32_t(rows)), "rows");
    test::Buffer<uint32_t> over(std::vector<uint32_t>(1, 5), "saturated");
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
    task.tile = tile;
    task.ctas = ctas;
    task.multicast = multicast;
    task.dependent = dependent;
    TEST_LAUNCHED(form == PLAIN   ? pk_linear_cuda(&task)
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

void check(Form form, size_t rows, size_t n, size_t k, pk_dtype dtype, uint32_t seed,
           uint32_t ctas = 2) {
    for (pk_linear_cuda_tile tile : tiles()) {
        test::seed(seed);
        Problem p(form, rows, n, k, dtype, seed);
        p.ctas = ctas;
        p.run(tile);
        compare(p);
    }
}

bool brief() {
    return test::mode() == test::MODE_RACE || test::mode() == test::MODE_ASAN;
}

/* Small integers: every sum is exact, so every element must be. */
void check_exact(size_t rows, size_t n, size_t k, uint32_t seed) {
    for (pk_linear_cuda_tile tile : tiles()) {
        test::seed(seed);
        Problem p(PLAIN, rows, n, k, seed % 2 ? PK_BF16 : PK_F16, seed);
        test::Integers random(seed);
        for (float &x : p.act) {
            x = float(random.next(3));
        }
        for (float &x : p.weight) {
            x = float(random.next(3));
        }
        p.ctas = 1 + seed % 3;
        p.run(tile);
        if (!test::failed()) {
            TEST_CHECK(std::vector<float>(p.f32_out.begin(), p.f32_out.begin() + long(rows * n)) ==
                           p.reference(),
                       std::to_string(rows) + " x " + std::to_string(n) + " x " +
                           std::to_string(k));
        }
    }
}

void a_product_of_integers_is_exact_at_every_tile_edge() {
    uint32_t seed = 0;
    for (size_t rows : {1, 63, 64, 65, 127, 128, 129}) {
        for (size_t n : {16, 48, 64, 128, 144, 192, 208}) {
            if ((rows + n) % 3 == 1 || (!brief() && (rows == 129 || n == 208))) {
                check_exact(rows, n, 16 + seed * 16 % 224, seed);
                seed++;
            }
        }
    }
}

void products_match_ref_at_the_sizes_of_pith_mini() { /* hidden 192, intermediate 288, 3 heads */
    const size_t rows = brief() ? 33 : 130;
    check(PLAIN, rows, 192, 288, PK_F16, 1);
    check(PLAIN, 70, 192, 192, PK_BF16, 2);
    check(GEGLU, rows, 576, 192, PK_F16, 3);
    check(GEGLU, 70, 576, 192, PK_BF16, 4);
    check(QKV, rows, 576, 192, PK_F16, 5);
    check(QKV, 70, 576, 192, PK_BF16, 6);
}

void products_match_ref_at_the_sizes_of_the_full_model() { /* 768, 1,152, 12 heads */
    if (brief()) {
        return; /* the checked builds are slower and find what they find in the small shapes */
    }
    check(PLAIN, 129, 768, 1152, PK_F16, 1);
    check(GEGLU, 65, 2304, 768, PK_F16, 2);
    check(QKV, 65, 2304, 768, PK_BF16, 3);
    check(PLAIN, 17, 1280, 768, PK_F16, 4); /* the span convolution */
}

void few_ctas_take_many_tiles_odd_and_even() {
    check(PLAIN, 300, 256, 64, PK_F16, 1);   /* safe: 6 tiles, two CTAs */
    check(GEGLU, 129, 448, 80, PK_BF16, 2);  /* 8 */
    check(QKV, 257, 576, 64, PK_F16, 3, 5);  /* 15 tiles, five CTAs */
    check(PLAIN, 897, 16, 16, PK_BF16, 4);   /* 8 */
    check(PLAIN, 770, 16, 16, PK_F16, 5, 2); /* 7 */
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
        Problem all(form, 512, 192, 96, form == GEGLU ? PK_BF16 : PK_F16, 7);
        all.ctas = 3;
        bool first = true;
        std::vector<std::string> expected; /* of each instruction family */
        for (pk_linear_cuda_tile tile : tiles()) {
            if (first || tile == PK_LINEAR_128_192) { /* the other tiles of a family follow it */
                all.run(tile);
                expected.clear();
                for (size_t r = 0; r < all.rows && !test::failed(); r++) {
                    expected.push_back(row_of(all, r));
                }
            }
            first = false;
            for (size_t rows : {1, 64, 127, 512}) {
                for (size_t from : {0, 1, 77, 385}) {
                    if (from + rows > all.rows || test::failed() || (brief() && rows > 64)) {
                        continue;
                    }
                    Problem part = part_of(all, from, rows);
                    part.run(tile);
                    for (size_t r = 0; r < rows && !test::failed(); r++) {
                        TEST_CHECK(row_of(part, r) == expected[from + r],
                                   std::to_string(rows) + " rows from " + std::to_string(from) +
                                       ", row " + std::to_string(r) + ", tile " +
                                       std::to_string(int(tile)));
                    }
                }
            }
        }
    }
}

void rows_of_nan_and_infinity_leave_their_neighbours_bits_alone() {
    for (pk_linear_cuda_tile tile : tiles()) {
        for (Form form : {PLAIN, GEGLU, QKV}) {
            Problem clean(form, 40, 192, 64, PK_F16, 11);
            Problem spoiled = clean;
            for (size_t r = 0; r < 40; r++) {
                if (r % 3 != 1) {
                    std::fill(&spoiled.act[r * 64], &spoiled.act[r * 64] + 64,
                              r % 3 == 0 ? NAN : INFINITY);
                }
            }
            clean.run(tile);
            spoiled.run(tile);
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
    for (pk_linear_cuda_tile tile : tiles()) {
        for (Form form : {GEGLU, QKV}) {
            Problem p(form, 3, 192, 64, PK_F16, 1);
            std::fill(p.act.begin(), p.act.end(), 0.0f);
            std::fill(p.weight.begin(), p.weight.end(), 1000.0f);
            std::fill(&p.act[64], &p.act[64] + 64, 2000.0f); /* row 1: sums of 1.28e8 */
            std::fill(p.rope.begin(), p.rope.end(), 0.0f);   /* q and k are 0, v is not */
            p.run(tile);
            if (test::failed()) {
                return;
            }
            size_t expected = form == GEGLU ? 96 : 64;
            TEST_CHECK(p.saturated == expected, "counted " + std::to_string(p.saturated));
            TEST_CHECK(test::value_of(p.out[2 * p.out_cols() - 1], PK_F16) == PK_F16_MAX,
                       "the largest number");
            p.act[64] = NAN;
            p.run(tile);
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
    task.multicast = false;
    task.act = reinterpret_cast<char *>(memory) + 8;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "alignment");
    task.act = memory;
    task.ctas = 0;
    TEST_CHECK(pk_linear_cuda(&task) == PK_LINEAR_CUDA_INVALID, "no CTAs");
}

} // namespace

void linear_tests() {
    TEST_RUN(a_product_of_integers_is_exact_at_every_tile_edge);
    TEST_RUN(products_match_ref_at_the_sizes_of_pith_mini);
    TEST_RUN(products_match_ref_at_the_sizes_of_the_full_model);
    TEST_RUN(few_ctas_take_many_tiles_odd_and_even);
    TEST_RUN(a_row_has_the_same_bits_alone_and_in_every_batch);
    TEST_RUN(rows_of_nan_and_infinity_leave_their_neighbours_bits_alone);
    TEST_RUN(an_output_too_large_for_f16_is_saturated_and_counted);
    TEST_RUN(products_refuse_an_invalid_task_and_skip_an_empty_one);
}
