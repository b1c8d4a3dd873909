/* kernels/cuda/heads.cu, with the product before it, against kernels/ref/heads.c. */
#include "kernels/cuda/heads.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/linear_pack.h"
#include "tests/kernels/emu/halves.cuh"

namespace {

/* Sequences in one batch, and the heads' weights. hidden and conv0 hold halves, so that rounding
 * them changes nothing. */
struct Batch {
    Batch(const std::vector<int> &lens_, size_t dim_, size_t channels_, pk_dtype dtype_,
          uint32_t seed)
        : lens(lens_), dim(dim_), channels(channels_), dtype(dtype_) {
        for (int len : lens) {
            for (int i = 0; i < len; i++) {
                positions.push_back(uint32_t(i));
            }
        }
        const float each = 2.0f / std::sqrt(float(dim));
        hidden = test::uniform_halves(positions.size() * dim, 1.0f, dtype, seed);
        conv0 = test::uniform_halves(channels * dim * PK_SPAN_TAPS, each, dtype, seed + 1);
        token_weight = test::uniform(2 * dim, each, seed + 2);
        token_bias = {0.1f, -0.2f};
        conv0_bias = test::uniform(channels, 0.5f, seed + 3);
        conv2_weight = test::uniform(channels * 3, 2.0f / std::sqrt(float(channels)), seed + 4);
        conv2_bias = {0.3f};
    }

    std::vector<int> lens;
    size_t dim, channels;
    pk_dtype dtype;
    std::vector<uint32_t> positions;
    std::vector<float> hidden, conv0, token_weight, token_bias, conv0_bias, conv2_weight,
        conv2_bias;
    pk_gate gate = PK_GATE_ASYMMETRIC;
    float gamma = 0.9f;
    uint32_t ctas = 2;
    bool dependent = false; /* each launch on the one before */

    std::vector<float> z_tok, z_span, score;
    void run();
    void reference();
};

void Batch::run() {
    const size_t rows = positions.size(), rows_max = rows + 4;
    pk_linear_cuda_shape shape;
    TEST_CHECK(pk_linear_cuda_plan(&shape, PK_LINEAR_CUDA_SPAN_CONV, channels, dim * PK_SPAN_TAPS),
               "shape refused");
    std::vector<uint16_t> packed(shape.n * shape.k);
    pk_linear_cuda_pack(packed.data(), dtype, conv0.data(), PK_F32, PK_LINEAR_CUDA_SPAN_CONV,
                        shape);
    std::vector<float> padded = hidden;
    padded.resize(rows_max * dim, NAN);
    std::vector<uint32_t> padded_positions = positions;
    padded_positions.resize(rows_max, 7);
    test::Buffer<float> before(padded, "hidden of the grid before"), h(padded, "hidden"),
        conv(rows_max * shape.n, "conv");
    test::Buffer<uint16_t> half(rows_max * dim, "act"), w(packed, "conv0");
    test::Buffer<uint32_t> position(padded_positions, "positions");
    test::Buffer<uint32_t> count(std::vector<uint32_t>(1, uint32_t(rows)), "rows");
    test::Buffer<float> tw(token_weight, "token_weight"), tb(token_bias, "token_bias");
    test::Buffer<float> b0(conv0_bias, "conv0_bias"), w2(conv2_weight, "conv2_weight");
    test::Buffer<float> b2(conv2_bias, "conv2_bias");
    test::Buffer<float> out_tok(rows_max, "z_tok"), out_span(rows_max, "z_span");
    test::Buffer<float> out_score(rows_max, "score");

    if (dependent) {
        h.spoil();
        TEST_CHECK(test::copied_by_a_grid(h, before), "the grid before");
    }
    pk_round_cuda_task round = {};
    round.out = half.get();
    round.x = h.get();
    round.rows = count.get();
    round.rows_max = uint32_t(rows_max);
    round.dim = uint32_t(dim);
    round.dtype = dtype;
    round.ctas = ctas;
    round.dependent = dependent;
    TEST_CHECK(pk_round_cuda(&round) == 0, "round"); /* no waiting between the launches */

    pk_linear_cuda_task product = {};
    product.out = conv.get();
    product.act = half.get();
    product.weight = w.get();
    product.rows = count.get();
    product.rows_max = uint32_t(rows_max);
    product.n = uint32_t(shape.n);
    product.k = uint32_t(shape.k);
    product.dtype = dtype;
    product.ctas = ctas;
    product.dependent = dependent;
    TEST_CHECK(pk_linear_cuda(&product) == 0, "product");

    pk_heads_cuda_task task = {};
    task.z_tok = out_tok.get();
    task.z_span = out_span.get();
    task.score = out_score.get();
    task.hidden = h.get();
    task.conv = conv.get();
    task.positions = position.get();
    task.token_weight = tw.get();
    task.token_bias = tb.get();
    task.conv0_bias = b0.get();
    task.conv2_weight = w2.get();
    task.conv2_bias = b2.get();
    task.rows = count.get();
    task.rows_max = uint32_t(rows_max);
    task.dim = uint32_t(dim);
    task.channels = uint32_t(channels);
    task.gate = gate;
    task.gamma = gamma;
    task.ctas = ctas;
    task.dependent = dependent;
    TEST_LAUNCHED(pk_heads_cuda(&task));

    z_tok = out_tok.download();
    z_span = out_span.download();
    score = out_score.download();
    std::vector<uint16_t> rounded = half.download();
    TEST_CHECK(test::poisoned(z_tok, rows, 4) && test::poisoned(z_span, rows, 4) &&
                   test::poisoned(score, rows, 4) && test::poisoned(rounded, rows * dim, 4 * dim),
               "rows past the last were written");
}

void Batch::reference() {
    std::vector<float> rows(channels * dim * PK_SPAN_TAPS);
    pk_span_conv_reorder(rows.data(), conv0.data(), channels, dim);
    pk_heads_weights weights = {};
    weights.token_weight = token_weight.data();
    weights.token_bias = token_bias.data();
    weights.conv0_rows = rows.data();
    weights.conv0_bias = conv0_bias.data();
    weights.conv2_weight = conv2_weight.data();
    weights.conv2_bias = conv2_bias.data();
    weights.dim = dim;
    weights.channels = channels;
    weights.gate = gate;
    weights.gamma = gamma;
    z_tok.assign(positions.size(), NAN);
    z_span = score = z_tok;
    size_t first = 0;
    for (int len : lens) {
        pk_heads_task task = {};
        task.z_tok = &z_tok[first];
        task.z_span = &z_span[first];
        task.score = &score[first];
        task.hidden = &hidden[first * dim];
        task.len = task.end = size_t(len);
        pk_heads_ref(&task, &weights);
        first += size_t(len);
    }
}

/* z_tok: chains of dim / 32 + 5 additions of terms that sum to at most 2 sqrt(dim) / 3 in the mean
 * square, twice. z_span: five chains of dim additions of the same size reach each of 3 channels
 * terms, whose weights sum to at most 6 sqrt(channels); gelu's slope is below 1.13. 1.2: chance. */
float token_limit(const Batch &b) {
    return 2 * (float(b.dim) / 32 + 8) * 0x1p-24f * 1.2f * std::sqrt(float(b.dim));
}
float span_limit(const Batch &b) {
    float each = float(b.dim) * 0x1p-23f * 1.2f * std::sqrt(float(b.dim) * 5) * 1.13f + 0x1p-21f;
    return each * 3 * std::sqrt(float(b.channels)) +
           (float(b.channels) / 32 + 8) * 0x1p-24f * 6 * std::sqrt(float(b.channels));
}

void check(const Batch &batch, uint32_t seed) {
    test::seed(seed);
    Batch got = batch, expected = batch;
    got.run();
    if (test::failed()) {
        return;
    }
    expected.reference();
    for (size_t i = 0; i < batch.positions.size() && !test::failed(); i++) {
        std::string where =
            "row " + std::to_string(i) + " at " + std::to_string(batch.positions[i]);
        TEST_CHECK(std::fabs(got.z_tok[i] - expected.z_tok[i]) <= token_limit(batch),
                   "z_tok, " + where);
        TEST_CHECK(std::fabs(got.z_span[i] - expected.z_span[i]) <= span_limit(batch),
                   "z_span, " + where + ": " + std::to_string(got.z_span[i]) + ", not " +
                       std::to_string(expected.z_span[i]));
        float score = pk_gate_score(batch.gate, batch.gamma, got.z_tok[i], got.z_span[i]);
        TEST_CHECK(std::fabs(got.score[i] - score) <= 0x1p-23f, "score, " + where);
    }
}

bool brief() {
    return test::brief();
}

const std::vector<int> EDGES = {1, 2, 3, 4, 5, 13, 14, 15, 28, 1, 1, 30, 0, 6};

void heads_match_ref_for_sequences_of_every_length() {
    check(Batch(EDGES, 192, 32, PK_F16, 1), 1); /* 123 rows: nine tiles, two CTAs */
    Batch dependent({9, 12}, 64, 32, PK_F16, 6);
    dependent.dependent = true;
    check(dependent, 6);
    if (!brief()) {
        check(Batch(EDGES, 192, 32, PK_BF16, 2), 2);
        check(Batch({14}, 64, 48, PK_F16, 3), 3);
        check(Batch({15, 13}, 768, 256, PK_F16, 4), 4);
    }
}

/* 8 and 9 tiles of 14 rows for two CTAs; k_round's, of 256 times 4 values, are 7 and 8. */
void heads_of_few_ctas_take_many_tiles_odd_and_even() {
    check(Batch({100, 12}, 64, 32, PK_F16, 7), 7);
    check(Batch({100, 13}, 64, 32, PK_BF16, 8), 8);
}

void heads_match_ref_with_every_gate() {
    for (pk_gate gate : {PK_GATE_MULTIPLICATIVE, PK_GATE_ASYMMETRIC, PK_GATE_OR_BOOST}) {
        Batch batch({9, 20}, 64, 32, PK_F16, uint32_t(gate) + 5);
        batch.gate = gate;
        check(batch, 0);
    }
}

void heads_of_a_sequence_have_the_same_bits_alone_and_between_sequences_of_nan() {
    Batch alone({17}, 64, 32, PK_F16, 9);
    alone.run();
    for (int neighbour : {1, 2, 13, 14}) {
        Batch packed({neighbour, 17, neighbour}, 64, 32, PK_F16, 10);
        std::vector<float> poison(size_t(neighbour) * 64, NAN);
        for (size_t i = 0; i < poison.size(); i += 5) {
            poison[i] = INFINITY;
        }
        packed.hidden = poison;
        packed.hidden.insert(packed.hidden.end(), alone.hidden.begin(), alone.hidden.end());
        packed.hidden.insert(packed.hidden.end(), poison.begin(), poison.end());
        packed.conv0 = alone.conv0;
        packed.token_weight = alone.token_weight;
        packed.conv0_bias = alone.conv0_bias;
        packed.conv2_weight = alone.conv2_weight;
        packed.run();
        if (test::failed()) {
            return;
        }
        size_t first = size_t(neighbour);
        TEST_CHECK(memcmp(&packed.z_tok[first], alone.z_tok.data(), 17 * 4) == 0 &&
                       memcmp(&packed.z_span[first], alone.z_span.data(), 17 * 4) == 0 &&
                       memcmp(&packed.score[first], alone.score.data(), 17 * 4) == 0,
                   "bits differ beside " + std::to_string(neighbour));
        TEST_CHECK(std::isnan(packed.score[0]), "a NaN gives a NaN");
    }
}

void rounding_saturates_f16_and_keeps_nan() {
    std::vector<float> x = {1e9f, -1e9f, NAN, 65504.0f, INFINITY, 1.0f, 0x1p-25f, -2.5f};
    test::Buffer<float> in(x, "x");
    test::Buffer<uint16_t> out(x.size(), "out");
    test::Buffer<uint32_t> rows(std::vector<uint32_t>(1, 1), "rows"),
        over(std::vector<uint32_t>(1, 0), "saturated");
    pk_round_cuda_task task = {};
    task.out = out.get();
    task.x = in.get();
    task.rows = rows.get();
    task.saturated = over.get();
    task.rows_max = task.ctas = 1;
    task.dim = uint32_t(x.size());
    task.dtype = PK_F16;
    TEST_LAUNCHED(pk_round_cuda(&task));
    std::vector<uint16_t> got = out.download();
    TEST_CHECK(got[0] == 0x7bff && got[1] == 0xfbff && got[3] == 0x7bff && got[4] == 0x7bff,
               "the largest number");
    TEST_CHECK(std::isnan(test::value_of(got[2], PK_F16)), "NaN");
    TEST_CHECK(got[5] == 0x3c00 && got[7] == 0xc100, "exact values");
    TEST_CHECK(over.download()[0] == 3, "counted");
    in.upload({1.0f, 2.0f, 65505.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f});
    TEST_LAUNCHED(pk_round_cuda(&task));
    TEST_CHECK(over.download()[0] == 4, "one alone, added to what there is");
}

void heads_refuse_an_invalid_task_and_skip_an_empty_one() {
    alignas(16) float memory[64] = {};
    uint32_t rows = 1;
    pk_heads_cuda_task task = {};
    TEST_CHECK(pk_heads_cuda(&task) == 0, "empty");
    task.rows_max = 1;
    TEST_CHECK(pk_heads_cuda(&task) == PK_HEADS_CUDA_INVALID, "no buffers");
    task.z_tok = task.z_span = task.score = memory;
    task.hidden = task.conv = task.token_weight = task.token_bias = memory;
    task.conv0_bias = task.conv2_weight = task.conv2_bias = memory;
    task.positions = task.rows = &rows;
    task.channels = task.ctas = 1;
    task.dim = 6;
    TEST_CHECK(pk_heads_cuda(&task) == PK_HEADS_CUDA_INVALID, "dim no multiple of 4");
    pk_round_cuda_task round = {};
    TEST_CHECK(pk_round_cuda(&round) == 0, "empty");
    round.rows_max = 1;
    TEST_CHECK(pk_round_cuda(&round) == PK_HEADS_CUDA_INVALID, "no buffers");
    round.out = memory;
    round.x = memory;
    round.dim = 4;
    round.ctas = 1;
    round.dtype = PK_F16;
    TEST_CHECK(pk_round_cuda(&round) == PK_HEADS_CUDA_INVALID, "no rows");
    round.rows = &rows;
    round.dim = 0;
    TEST_CHECK(pk_round_cuda(&round) == PK_HEADS_CUDA_INVALID, "no dim");
    round.dim = 6;
    TEST_CHECK(pk_round_cuda(&round) == PK_HEADS_CUDA_INVALID, "dim of rounding");
}

} // namespace

void heads_tests() {
    TEST_RUN(heads_match_ref_for_sequences_of_every_length);
    TEST_RUN(heads_of_few_ctas_take_many_tiles_odd_and_even);
    TEST_RUN(heads_match_ref_with_every_gate);
    TEST_RUN(heads_of_a_sequence_have_the_same_bits_alone_and_between_sequences_of_nan);
    TEST_RUN(rounding_saturates_f16_and_keeps_nan);
    TEST_RUN(heads_refuse_an_invalid_task_and_skip_an_empty_one);
}
