/* Tests of kernels, for the emulator and for a GPU: cmocka-like lines, device buffers, seeds. */
#ifndef PK_TESTS_EMU_HARNESS_CUH
#define PK_TESTS_EMU_HARNESS_CUH

#include "kernels/cuda/prim/gpu.cuh"

#include <cstring>
#include <string>
#include <vector>

#ifdef PK_EMULATE
#include <sys/mman.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif
#endif

namespace test {

typedef void Body();

/* Runs `body`, prints its verdict under `name`. */
void run(const char *name, Body *body);
#define TEST_RUN(body) test::run(#body, body)
/* Takes minutes under emulation: runs when --long or the whole name is asked for. */
void run_long(const char *name, Body *body);
#define TEST_RUN_LONG(body) test::run_long(#body, body)

/* Marks the running test failed and prints why. */
void fail(const char *file, int line, const std::string &why);
bool failed();
#define TEST_CHECK(condition, why)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test::fail(__FILE__, __LINE__, why);                                                   \
        }                                                                                          \
    } while (0)

/* PATTERN: by clang, with NaN in what a kernel leaves uninitialised. */
enum Mode { MODE_PLAIN = 1, MODE_RACE = 2, MODE_ASAN = 4, MODE_GPU = 8, MODE_PATTERN = 16 };
Mode mode();
/* The build finds what it finds in one shape, and is slow or beside another: few cases. */
bool brief();

void seed(uint64_t value);
/* Schedules to try: each of the five policies at least once where they are cheap. */
int seeds();

/* Waits for the device; what went wrong since the last call, or "". */
std::string error_after(int launched);
#define TEST_LAUNCHED(launched)                                                                    \
    do {                                                                                           \
        std::string what_ = test::error_after(launched);                                           \
        TEST_CHECK(what_.empty(), what_);                                                          \
    } while (0)

inline pk::Launch config(const char *name, dim3 grid, dim3 block, size_t smem_bytes = 0) {
    return {name, grid, block, smem_bytes, 1, false, nullptr};
}

/* Small integers, exact in f16, bf16 and in sums of f32. */
class Integers {
  public:
    explicit Integers(uint32_t seed_) : state_(seed_ * 2654435761u + 12345u) {
    }
    int next(int limit) { /* -limit .. limit */
        state_ = state_ * 1664525u + 1013904223u;
        return int(state_ >> 16) % (2 * limit + 1) - limit;
    }

  private:
    uint32_t state_;
};

uint16_t half_bits(float value, bool bf16);

/* Device memory. In the emulation an access behind its end faults: an unmapped page, or poison. */
template <class T> class Buffer {
  public:
    Buffer(size_t count, const char *name) : count_(count), bytes_(count * sizeof(T)) {
        open(name);
    }
    Buffer(const std::vector<T> &values, const char *name) : Buffer(values.size(), name) {
        upload(values);
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() {
        close();
    }
    T *get() {
        return data_;
    }
    size_t size() const {
        return count_;
    }

#ifdef PK_EMULATE
    void upload(const std::vector<T> &values) {
        memcpy(static_cast<void *>(data_), values.data(), bytes_);
    }
    std::vector<T> download() const {
        return std::vector<T>(data_, data_ + count_);
    }
    void spoil() { /* as fresh: NaN in every float format */
        memset(static_cast<void *>(data_), 0xff, bytes_);
    }

  private:
    static const size_t PAGE = 4096;
    void open(const char *name) {
        size_t body = (bytes_ + PAGE - 1) / PAGE * PAGE;
        mapped_ = body + PAGE;
        void *memory =
            mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        map_ = static_cast<uint8_t *>(memory);
        mprotect(map_ + body, PAGE, PROT_NONE);
        /* The end lies against the closed page as nearly as 16-byte alignment lets it. */
        uint8_t *start = map_ + body - (bytes_ + 15) / 16 * 16;
        data_ = reinterpret_cast<T *>(start);
#ifdef __SANITIZE_ADDRESS__
        ASAN_POISON_MEMORY_REGION(start + bytes_, (16 - bytes_ % 16) % 16);
#endif
        spoil();
        emu::buffer_add(data_, bytes_, name);
    }
    void close() {
        emu::buffer_remove(data_);
#ifdef __SANITIZE_ADDRESS__
        ASAN_UNPOISON_MEMORY_REGION(map_, mapped_ - PAGE);
#endif
        munmap(map_, mapped_);
    }
    uint8_t *map_ = nullptr;
    size_t mapped_ = 0;
#else
    void upload(const std::vector<T> &values) {
        cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice);
    }
    std::vector<T> download() const {
        std::vector<T> values(count_);
        cudaMemcpy(values.data(), data_, bytes_, cudaMemcpyDeviceToHost);
        return values;
    }
    void spoil() {
        cudaMemset(data_, 0xff, bytes_);
    }

  private:
    void open(const char *) {
        if (cudaMalloc(&data_, bytes_) != cudaSuccess) {
            fail(__FILE__, __LINE__, "no device memory");
        }
        spoil();
    }
    void close() {
        cudaFree(data_);
    }
#endif
    size_t count_, bytes_;
    T *data_ = nullptr;
};

} // namespace test

/* The groups of tests, one for each file. */
void matrix_tests();
void warp_tests();
void bulk_tests();
void wgmma_tests();
void cluster_tests();
void pipeline_tests();
void ladder_tests();
void attn_tests();
void norm_tests();
void linear_tests();
void heads_tests();
void negative_tests();
void negative_async_tests();
void negative_pattern_tests();
void stall_tests();

#endif
