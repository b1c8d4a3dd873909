/* kernels/cuda/norm.cu against kernels/ref/norm.c. */
#include "kernels/cuda/norm.h"
#include "kernels/norm.h"
#include "tests/kernels/emu/halves.cuh"

namespace {

const float EPS = 1e-5f;

/* One task with room for rows_max rows, of which `rows` exist; outputs are poisoned before. */
struct Task {
    Task(bool embed_, size_t rows_, size_t rows_max_, size_t dim_, pk_dtype dtype_, uint32_t seed)
        : embed(embed_), rows(rows_), rows_max(rows_max_), dim(dim_), dtype(dtype_),
          x_in(test::uniform(rows_max * dim, 2.0f, seed)),
          delta_in(test::uniform(rows_max * dim, 1.0f, seed + 1)),
          weight(test::uniform(dim, 1.5f, seed + 2)) {
    }

    bool embed;
    size_t rows, rows_max, dim;
    pk_dtype dtype, table_dtype = PK_F32;
    uint32_t ctas = 2;
    bool alias = false; /* out_f32 is delta */
    std::vector<float> x_in, delta_in, weight, table;
    std::vector<uint32_t> ids;

    std::vector<float> x_out, f32_out;
    std::vector<uint16_t> out;
    uint32_t saturated = 0;

    void run() {
        test::Buffer<float> x(rows_max * dim, "x"), f32(rows_max * dim, "out_f32");
        test::Buffer<float> delta(delta_in, "delta"), w(weight, "weight");
        test::Buffer<uint16_t> half(rows_max * dim, "out");
        test::Buffer<uint32_t> count(std::vector<uint32_t>(1, uint32_t(rows)), "rows");
        test::Buffer<uint32_t> over(std::vector<uint32_t>(1, 5), "saturated");
        test::Buffer<uint32_t> id(ids, "ids");
        test::Buffer<float> wide(table, "table");
        test::Buffer<uint16_t> narrow(test::halves_of(table, table_dtype), "table");
        pk_norm_cuda_task task = {};
        task.x = x.get();
        task.out = half.get();
        task.out_f32 = alias ? delta.get() : f32.get();
        task.weight = w.get();
        task.rows = count.get();
        task.saturated = over.get();
        task.rows_max = uint32_t(rows_max);
        task.dim = uint32_t(dim);
        task.eps = EPS;
        task.dtype = dtype;
        task.ctas = ctas;
        if (embed) {
            task.ids = id.get();
            task.table = table_dtype == PK_F32 ? static_cast<void *>(wide.get()) : narrow.get();
            task.table_dtype = table_dtype;
            TEST_LAUNCHED(pk_embed_norm_cuda(&task));
        } else {
            x.upload(x_in);
            task.delta = delta.get();
            TEST_LAUNCHED(pk_add_norm_cuda(&task));
        }
        x_out = x.download();
        f32_out = alias ? delta.download() : f32.download();
        out = half.download();
        saturated = over.download()[0] - 5;
    }
};

/* f32 statistics over chains of at most 48 additions of elements up to `top`: each rounds by at
 * most 2^-24 of it, and the mean, the scale and three products round again. */
float limit(float y, float top, float weight, float scale) {
    return 64 * 0x1p-24f * (std::fabs(y) + top * scale * std::fabs(weight));
}

void compare(const Task &t, const std::vector<float> &expected, const std::vector<float> &rows_in) {
    for (size_t r = 0; r < t.rows; r++) {
        double mean = 0, squares = 0;
        for (size_t d = 0; d < t.dim; d++) {
            mean += double(rows_in[r * t.dim + d]) / double(t.dim);
        }
        for (size_t d = 0; d < t.dim; d++) {
            squares += std::pow(double(rows_in[r * t.dim + d]) - mean, 2);
        }
        float scale = float(1 / std::sqrt(squares / double(t.dim) + double(EPS)));
        for (size_t d = 0; d < t.dim; d++) {
            size_t at = r * t.dim + d;
            float y = expected[at], error = limit(y, 3.0f, t.weight[d], scale);
            TEST_CHECK(std::fabs(t.f32_out[at] - y) <= error, "f32 row " + std::to_string(r));
            TEST_CHECK(std::fabs(test::value_of(t.out[at], t.dtype) - y) <=
                           error + test::rounding(y, t.dtype),
                       "16 bits, row " + std::to_string(r));
        }
    }
    size_t used = t.rows * t.dim, rest = (t.rows_max - t.rows) * t.dim;
    TEST_CHECK(test::poisoned(t.out, used, rest), "rows past the last were written");
    TEST_CHECK(t.alias || test::poisoned(t.f32_out, used, rest), "f32 rows past the last");
    TEST_CHECK(t.saturated == 0, "saturated");
}

void check_add(size_t rows, size_t dim, pk_dtype dtype, uint32_t seed) {
    test::seed(seed);
    Task t(false, rows, rows + 3, dim, dtype, seed);
    t.alias = seed % 2 == 1;
    t.run();
    if (test::failed()) {
        return;
    }
    std::vector<float> x = t.x_in, y(rows * dim);
    pk_add_norm_ref(x.data(), y.data(), PK_F32, t.delta_in.data(), t.weight.data(), rows, dim, EPS);
    compare(t, y, x);
    TEST_CHECK(memcmp(x.data(), t.x_out.data(), rows * dim * 4) == 0, "x is x + delta in f32");
    TEST_CHECK(memcmp(&t.x_in[rows * dim], &t.x_out[rows * dim], 3 * dim * 4) == 0,
               "x past the last row was written");
}

void check_embed(size_t rows, size_t dim, pk_dtype table_dtype, pk_dtype dtype, uint32_t seed) {
    const size_t vocab = 11;
    test::seed(seed);
    Task t(true, rows, rows + 3, dim, dtype, seed);
    t.table_dtype = table_dtype;
    t.table = table_dtype == PK_F32 ? test::uniform(vocab * dim, 2.0f, seed)
                                    : test::uniform_halves(vocab * dim, 2.0f, table_dtype, seed);
    for (size_t i = 0; i < rows + 3; i++) {
        t.ids.push_back(uint32_t(i < rows ? i * 7 % vocab : 4000000000u)); /* never read past */
    }
    t.run();
    if (test::failed()) {
        return;
    }
    std::vector<float> x(rows * dim), y(rows * dim), in;
    pk_embed_norm_ref(x.data(), y.data(), PK_F32, t.ids.data(), t.table.data(), PK_F32,
                      t.weight.data(), rows, dim, EPS);
    for (size_t i = 0; i < rows; i++) {
        in.insert(in.end(), &t.table[t.ids[i] * dim], &t.table[t.ids[i] * dim] + dim);
    }
    compare(t, y, in);
    TEST_CHECK(memcmp(t.x_out.data(), t.f32_out.data(), rows * dim * 4) == 0, "x is the output");
    TEST_CHECK(test::poisoned(t.x_out, rows * dim, 3 * dim), "x past the last row was written");
}

bool brief() {
    return test::brief();
}

void residual_norm_matches_ref_at_every_width_and_number_of_rows() {
    uint32_t seed = 0;
    for (size_t dim : {size_t(192), size_t(768), size_t(1024), size_t(4), size_t(132)}) {
        for (size_t rows : {size_t(1), size_t(8), size_t(49)}) { /* 49: thrice in two CTAs of 8 */
            if (!brief() || (dim != 768 && rows != 8)) {
                check_add(rows, dim, PK_F16, seed++);
                check_add(rows, dim, PK_BF16, seed++);
            }
        }
    }
}

void embedding_norm_matches_ref_for_tables_of_every_type() {
    uint32_t seed = 0;
    for (pk_dtype table : {PK_F32, PK_F16, PK_BF16}) {
        check_embed(33, brief() ? 192 : 768, table, PK_F16, seed++);
        check_embed(17, 192, table, PK_BF16, seed++);
    }
}

void norms_of_few_ctas_take_many_tiles_odd_and_even() { /* 6 and 7 tiles of 8 rows, two CTAs */
    for (size_t rows : {48, 49}) {
        check_add(rows, 132, PK_F16, uint32_t(rows));
        check_embed(rows, 132, PK_F16, PK_BF16, uint32_t(rows));
    }
}

void a_normed_row_alone_has_the_bits_it_has_between_rows_of_nan() {
    Task alone(false, 1, 1, 192, PK_F16, 3);
    alone.run();
    Task packed(false, 21, 21, 192, PK_F16, 4);
    std::fill(packed.x_in.begin(), packed.x_in.end(), NAN);
    std::copy(alone.x_in.begin(), alone.x_in.end(), packed.x_in.begin() + 13 * 192);
    std::copy(alone.delta_in.begin(), alone.delta_in.end(), packed.delta_in.begin() + 13 * 192);
    packed.weight = alone.weight;
    packed.run();
    if (!test::failed()) {
        TEST_CHECK(memcmp(alone.out.data(), &packed.out[13 * 192], 192 * 2) == 0, "bits");
        TEST_CHECK(std::isnan(test::value_of(packed.out[0], PK_F16)), "a NaN stays a NaN");
        TEST_CHECK(packed.saturated == 0, "a NaN is not saturation");
    }
}

/* Two residual norms, the second on what the first writes while it may still be running. */
std::vector<uint16_t> two_norms(bool dependent) {
    const size_t rows = 20, dim = 192;
    std::vector<float> values = test::uniform(rows * dim, 2.0f, 1);
    test::Buffer<float> x(values, "x"), delta(values, "delta");
    test::Buffer<float> weight(test::uniform(dim, 1.5f, 2), "weight");
    test::Buffer<uint16_t> out(rows * dim, "out");
    test::Buffer<uint32_t> count(std::vector<uint32_t>(1, uint32_t(rows)), "rows");
    pk_norm_cuda_task task = {};
    task.x = x.get();
    task.out_f32 = delta.get();
    task.delta = delta.get();
    task.weight = weight.get();
    task.rows = count.get();
    task.rows_max = uint32_t(rows);
    task.dim = uint32_t(dim);
    task.eps = EPS;
    task.dtype = PK_F16;
    task.ctas = 2;
    TEST_CHECK(pk_add_norm_cuda(&task) == 0, "first");
    task.dependent = dependent;
    task.out_f32 = nullptr;
    task.out = out.get();
    TEST_LAUNCHED(pk_add_norm_cuda(&task));
    return out.download();
}

void a_dependent_norm_waits_for_the_grid_before() {
    std::vector<uint16_t> expected = two_norms(false), got = two_norms(true);
    TEST_CHECK(expected == got && !test::poisoned(got, 0, got.size()), "bits");
}

void a_normed_value_too_large_for_f16_is_saturated_and_counted() {
    Task t(false, 9, 9, 192, PK_F16, 5);
    t.weight[3] = 3e9f;
    t.weight[191] = -3e9f;
    t.run();
    if (test::failed()) {
        return;
    }
    for (size_t r = 0; r < 9; r++) {
        float a = test::value_of(t.out[r * 192 + 3], PK_F16), wide = t.f32_out[r * 192 + 3];
        TEST_CHECK(a == (wide > 0 ? PK_F16_MAX : -PK_F16_MAX), "largest number, right sign");
    }
    TEST_CHECK(t.saturated == 18, "counted " + std::to_string(t.saturated));
    Task bf16(false, 9, 9, 192, PK_BF16, 5);
    bf16.weight[3] = 3e9f;
    bf16.run();
    TEST_CHECK(bf16.saturated == 0, "bf16 holds it");
}

void norms_refuse_an_invalid_task_and_skip_an_empty_one() {
    float memory[64] = {};
    uint32_t rows = 1;
    pk_norm_cuda_task task = {};
    TEST_CHECK(pk_add_norm_cuda(&task) == 0, "empty");
    task.x = task.out_f32 = memory;
    task.delta = task.weight = memory;
    task.rows = &rows;
    task.rows_max = task.ctas = 1;
    task.dim = 6;
    TEST_CHECK(pk_add_norm_cuda(&task) == PK_NORM_CUDA_INVALID, "dim no multiple of 4");
    task.dim = 1028;
    TEST_CHECK(pk_add_norm_cuda(&task) == PK_NORM_CUDA_INVALID, "dim too wide");
    task.dim = 4;
    task.dtype = PK_F32;
    TEST_CHECK(pk_add_norm_cuda(&task) == PK_NORM_CUDA_INVALID, "dtype");
    task.dtype = PK_F16;
    TEST_CHECK(pk_embed_norm_cuda(&task) == PK_NORM_CUDA_INVALID, "no table");
    task.ctas = 0;
    TEST_CHECK(pk_add_norm_cuda(&task) == PK_NORM_CUDA_INVALID, "no CTAs");
}

} // namespace

void norm_tests() {
    TEST_RUN(residual_norm_matches_ref_at_every_width_and_number_of_rows);
    TEST_RUN(embedding_norm_matches_ref_for_tables_of_every_type);
    TEST_RUN(norms_of_few_ctas_take_many_tiles_odd_and_even);
    TEST_RUN(a_normed_row_alone_has_the_bits_it_has_between_rows_of_nan);
    TEST_RUN(a_dependent_norm_waits_for_the_grid_before);
    TEST_RUN(a_normed_value_too_large_for_f16_is_saturated_and_counted);
    TEST_RUN(norms_refuse_an_invalid_task_and_skip_an_empty_one);
}
