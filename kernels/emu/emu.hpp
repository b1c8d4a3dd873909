/* Runs CUDA kernels that were compiled as host C++: one fiber for each CUDA thread, one cluster at
 * a time, on the host thread that launches.
 *
 * Owns the fibers' stacks, the shared memory of the running cluster and, in the race build, the
 * shadow of shared and global memory. Nothing here is fast or simulates time; it is adversarial:
 * memory starts as NaN, asynchronous copies spoil their destination at issue and land as late as
 * the program allows, and the order of threads comes from a seed.
 *
 * Limits: 1,024 threads in a CTA, clusters of CLUSTER_MAX, 64 mbarriers in a CTA. CTAs outside a
 * cluster never run at the same time, so a kernel that waits for another CTA's flag hangs here and
 * is ended by the poll budget. */
#ifndef PK_EMU_EMU_HPP
#define PK_EMU_EMU_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {
    }
};

namespace emu {

/* Where in a kernel an operation stands; every wrapper takes one as its last, defaulted argument.
 */
struct Site {
    const char *file;
    int line;
};
#define EMU_SITE emu::Site site = {__builtin_FILE(), __builtin_LINE()}

/* Who runs next. They complement each other: a bug that one never shows is common under another. */
enum Policy {
    POLICY_BY_SEED = -1,
    POLICY_ASCENDING,
    POLICY_DESCENDING,
    POLICY_UNIFORM,
    POLICY_PRIORITIES, /* random warp priorities with change points */
    POLICY_STICKY,     /* one warp until it blocks */
    POLICY_COUNT
};

struct Config {
    uint64_t seed = 0;
    int policy = POLICY_BY_SEED;
    uint64_t polls_max = 1u << 18; /* failed polls and atomics in one launch: the spin budget */
    int cpu_ms_max = 60 * 1000;    /* of one launch: ends loops that never call the emulator */
};
extern Config config;

struct Stats {
    uint64_t switches, mma, ldmatrix, ldmatrix_conflicts, barriers, smem_bytes_max;
};
extern Stats stats; /* of the last launch */

extern std::string last_error; /* of the last launch: the first thing found wrong, or empty */

/* True in the race build: a kernel's object was compiled with -fsanitize=thread. */
bool race_build();

/* Indices of the running CUDA thread. */
struct Running {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
};
extern Running running;

struct Shape {
    const char *name;
    dim3 grid, block;
    size_t smem_bytes;
    unsigned cluster; /* CTAs along x, 1 .. CLUSTER_MAX; divides grid.x */
    bool dependent;   /* programmatic dependent launch: may start before the grid before it ends */
};

/* Runs the whole grid. False: last_error says what was found. */
bool run(const Shape &shape, void (*body)(void *), void *context);

/* Where set, pk::launch hands the grid over instead of running it: to streams and graphs that run
 * it later. Returns a cudaError_t. */
extern int (*launch_hook)(void *stream, const Shape &shape, const std::function<void()> &body);

/* The host waited for the device: later launches are ordered after all earlier ones. */
void host_sync();

/* Device memory that kernels may touch; the race build watches it byte by byte. The owner leaves
 * the page behind its end unmapped or poisoned. */
void buffer_add(const void *memory, size_t bytes, const char *name);
void buffer_remove(const void *memory);

/* ---- shared memory ---- */
uint8_t *smem_dynamic(size_t align);
void *smem_static(const void *key, size_t bytes, size_t align);
uint32_t smem_address(const void *pointer);

/* ---- warp collectives: every lane of the mask deposits its operands, the last one executes ----
 */
typedef void CollectiveFn(void **operands, uint32_t mask);
void collective(CollectiveFn *execute, uint32_t mask, void *operands, const char *name, Site site);
uint32_t lane_index();
uint32_t full_mask();

/* ---- barriers ---- */
void sync_warp(uint32_t mask, Site site);
void sync_threads(Site site);
int sync_threads_count(int predicate, Site site); /* how many threads of the CTA passed non-zero */
void barrier_sync(int id, int threads, Site site);
void barrier_arrive(int id, int threads, Site site);
bool elect_one(Site site);

/* ---- memory order ---- */
void thread_fence();
void atomic_access(const void *pointer, size_t bytes, Site site);
void proxy_fence(bool shared, bool global);

/* ---- cp.async ---- */
void copy_async(uint32_t dst, const void *src, int bytes_dst, int bytes_src, Site site);
void copy_async_commit();
void copy_async_wait(int groups_in_flight);

/* ---- matrices ---- */
enum Half { HALF_BF16, HALF_F16 };
void ldmatrix(uint32_t *regs, int matrices, bool transposed, uint32_t address, Site site);
void stmatrix(const uint32_t *regs, int matrices, bool transposed, uint32_t address, Site site);
void mma_m16n8k16(float *d, const uint32_t *a, const uint32_t *b, Half type, Site site);

/* ---- mbarriers ---- */
void mbarrier_init(uint32_t barrier, uint32_t arrivals, Site site);
void mbarrier_init_fence();
void mbarrier_arrive(uint32_t barrier, uint32_t expect_bytes, Site site);
bool mbarrier_test(uint32_t barrier, uint32_t parity, Site site);
void mbarrier_wait(uint32_t barrier, uint32_t parity, Site site);

/* ---- bulk copies ---- */
struct TensorMap {
    uint8_t *base;
    uint64_t rows, cols;   /* elements */
    uint64_t stride_bytes; /* between rows */
    uint32_t box_rows, box_cols;
    uint32_t element_bytes;
    uint32_t swizzle_bytes; /* 0, 32, 64, 128 */
};
/* cta_mask 0: into the issuing CTA; else into the same address of every CTA of the mask. */
void tensor_load(uint32_t dst, const TensorMap &map, int col, int row, uint32_t barrier,
                 uint32_t cta_mask, Site site);
void bulk_load(uint32_t dst, const void *src, uint32_t bytes, uint32_t barrier, Site site);
void tensor_store(const TensorMap &map, int col, int row, uint32_t src, Site site);
void bulk_store_commit();
void bulk_store_wait(int groups_in_flight, bool reads_only);

/* ---- wgmma ---- */
struct Wgmma {
    int n;
    Half type;
    bool accumulate;
    bool a_transposed, b_transposed; /* M- or N-major operands */
    uint64_t a_desc, b_desc;
    const uint32_t *a_regs; /* NULL: A comes from shared memory */
};
void wgmma_fence(Site site);
void wgmma_issue(float *d, const Wgmma &op, Site site);
void wgmma_commit(Site site);
void wgmma_wait(int groups_in_flight, Site site);

/* ---- clusters and dependent launch ---- */
uint32_t cluster_rank();
uint32_t cluster_map(uint32_t address, uint32_t rank);
void cluster_arrive(Site site);
void cluster_wait(Site site);
void grid_wait(Site site);

} // namespace emu

#endif
