/* Runs the tests, or those whose name holds the first argument, or with --long those that take
 * minutes under emulation; exit status 1 when one failed or none was run. */
#include "tests/kernels/emu/harness.cuh"

#include <cstdio>

namespace test {

static bool this_failed;
static int failures, passes;
static const char *wanted = ""; /* part of a name */

static void run_named(const char *name, Body *body) {
    printf("[ RUN      ] %s\n", name);
    fflush(stdout);
    this_failed = false;
    body();
    printf(this_failed ? "[  FAILED  ] %s\n" : "[       OK ] %s\n", name);
    fflush(stdout);
    failures += this_failed;
    passes += !this_failed;
}

void run(const char *name, Body *body) {
    if (strstr(name, wanted) != nullptr) {
        run_named(name, body);
    }
}

void run_long(const char *name, Body *body) {
    if (strcmp(wanted, "--long") == 0 || strcmp(wanted, name) == 0) {
        run_named(name, body);
    }
}

void fail(const char *file, int line, const std::string &why) {
    if (!this_failed) { /* the first reason is enough */
        printf("%s:%d: %s\n", file, line, why.c_str());
    }
    this_failed = true;
}

bool failed() {
    return this_failed;
}

#ifdef PK_EMULATE

Mode mode() {
#ifdef __SANITIZE_ADDRESS__
    return MODE_ASAN;
#elif defined(PK_EMU_PATTERN)
    return MODE_PATTERN;
#else
    return emu::race_build() ? MODE_RACE : MODE_PLAIN;
#endif
}

void seed(uint64_t value) {
    emu::config.seed = value;
}

int seeds() {
    return mode() == MODE_PLAIN ? 20 : mode() == MODE_RACE ? 5 : 3;
}

std::string error_after(int launched) {
    std::string found = launched == pk::LAUNCH_OK ? "" : emu::last_error;
    emu::host_sync();
    return found;
}

#else

Mode mode() {
    return MODE_GPU;
}
void seed(uint64_t) {
}
int seeds() {
    return 1;
}

std::string error_after(int launched) {
    cudaError_t error = static_cast<cudaError_t>(launched);
    if (error == cudaSuccess) {
        error = cudaDeviceSynchronize();
    }
    std::string found = error == cudaSuccess ? "" : cudaGetErrorString(error);
#ifdef PK_BOUND_WAITS
    found += error == cudaSuccess ? "" : pk::stall_text(pk::stall_records());
#endif
    return found;
}

#endif

bool brief() {
    return mode() == MODE_RACE || mode() == MODE_ASAN || mode() == MODE_PATTERN;
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Of integers up to 256, which both formats hold exactly. */
uint16_t half_bits(float value, bool bf16) {
    uint32_t bits = float_bits(value);
    if (bf16 || value == 0.0f) {
        return uint16_t(bits >> 16);
    }
    uint32_t exponent = (bits >> 23 & 0xff) - 127 + 15;
    return uint16_t((bits >> 16 & 0x8000) | exponent << 10 | (bits >> 13 & 0x3ff));
}

} // namespace test

int main(int count, char **arguments) {
    test::wanted = count > 1 ? arguments[1] : "";
    matrix_tests();
    warp_tests();
    bulk_tests();
    wgmma_tests();
    cluster_tests();
    pipeline_tests();
    ladder_tests();
    attn_tests();
    norm_tests();
    linear_tests();
    heads_tests();
#ifdef PK_EMU_PATTERN
    negative_pattern_tests();
#elif defined(PK_EMULATE)
    negative_tests();
    negative_async_tests();
#endif
    stall_tests(); /* the last: it ends a GPU's context */
    printf("%d passed, %d failed\n", test::passes, test::failures);
    return test::failures != 0 || test::passes == 0; /* no test of that name is no success */
}
