/* One launch: clusters one after another, and the ways in which one can end. */
#include "kernels/emu/race.hpp"

#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sys/time.h>

namespace emu {

Config config;
Stats stats;
Shape shape;
bool aborting;
int (*launch_hook)(void *stream, const Shape &shape, const std::function<void()> &body);

static void (*kernel_body)(void *);
static void *kernel_context;

static void fiber_entry() {
    fiber_entered();
    kernel_body(kernel_context);
    leave_cta();
    abort(); /* nobody resumes a thread that has left */
}

static void start_thread(uint32_t rank, uint32_t linear) {
    uint32_t warp = rank * cluster.cta_warps + linear / LANES;
    uint32_t id = warp * LANES + linear % LANES;
    Thread &thread = cluster.threads[id];
    thread = Thread();
    const dim3 &b = shape.block;
    thread.index = {linear % b.x, linear / b.x % b.y, linear / (b.x * b.y)};
    thread.id = id;
    thread.lane = linear % LANES;
    thread.warp = warp;
    thread.cta = rank;
    thread.store_slot = NO_THREAD;
    cluster.warps[warp].exist |= 1u << thread.lane;
    fiber_prepare(thread, fiber_entry);
    make_runnable(thread);
}

static void start_cta(uint32_t rank, uint3 index) {
    Cta &cta = cluster.cta[rank];
    cta.index = index;
    cta.alive = cluster.cta_threads;
    cta.remote_arrivals.clear();
    cta.exit_clock.clear();
    cta.mbarriers.clear();
    cta.mbarriers.reserve(MBARRIERS_MAX); /* references stay good */
    for (Barrier &barrier : cta.barriers) {
        barrier = Barrier();
    }
    for (uint32_t t = 0; t < cluster.cta_threads; t++) {
        start_thread(rank, t);
    }
}

static void start_cluster(uint32_t index, uint32_t placement) {
    cluster.epoch++;
    cluster.alive = cluster.ctas * cluster.cta_threads;
    cluster.loads.clear();
    cluster.mbarrier_waits.clear();
    cluster.storers = 0;
    cluster.barrier_count = cluster.barrier_phase = 0;
    cluster.barrier_arriving.clear();
    cluster.barrier_published.clear();
    for (uint32_t w = 0; w < cluster.ctas * cluster.cta_warps; w++) {
        cluster.warps[w] = Warp();
    }
    for (uint32_t t = 0; t < threads_padded(); t++) {
        cluster.threads[t].id = t;
        cluster.threads[t].waits_for = nullptr;
    }
    scheduler_start_cluster();
    smem_start_cluster(placement);
    race_start_cluster();
    uint32_t row = shape.grid.x / cluster.ctas;
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        start_cta(rank, {index % row * cluster.ctas + rank, index / row % shape.grid.y,
                         index / row / shape.grid.y});
    }
    grids_hide();
}

static void check_end() {
    for (uint32_t rank = 0; rank < cluster.ctas; rank++) {
        for (const MBarrier &barrier : cluster.cta[rank].mbarriers) {
            if (barrier.copies_observed < barrier.copies) {
                note_error(std::string(shape.name) +
                           ": the block ended with bulk copies on the "
                           "mbarrier of " +
                           text_of(barrier.init_site) + " that no thread waited for");
            }
        }
    }
    for (uint32_t w = 0; w < cluster.ctas * cluster.cta_warps; w++) {
        const Warp &first = cluster.warps[w - w % cluster.cta_warps % 4];
        if (cluster.warps[w].wgmma_clock != first.wgmma_clock) {
            note_error(std::string(shape.name) +
                       ": the warps of a warpgroup issued different numbers of wgmma");
        }
    }
}

static void run_cluster(uint32_t index, uint32_t placement) {
    aborting = false;
    start_cluster(index, placement);
    fiber_switch(nullptr, scheduler_pick());
    self = nullptr;
    smem_end_cluster();
    grids_end_cluster();
    if (aborting) {
        fibers_forget();
    } else {
        check_end();
    }
}

/* ---- signals: a wild access, and a loop that never ends ---- */

static sigjmp_buf way_out;
static volatile sig_atomic_t caught;

static void on_signal(int number) {
    if (self == nullptr) { /* not a kernel's doing */
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    caught = number;
    siglongjmp(way_out, 1);
}

static void watch(bool on) {
#ifdef __SANITIZE_ADDRESS__
    (void)on; /* the sanitizer reports, and its fibers cannot be jumped out of */
    (void)on_signal;
#else
    static uint8_t stack[64 * 1024];
    stack_t alternate = {};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    static stack_t before; /* the thread's own, which a sanitizer may have given it */
    sigaltstack(on ? &alternate : &before, on ? &before : nullptr);
    struct sigaction action = {};
    action.sa_handler = on ? on_signal : SIG_DFL;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    sigaction(SIGVTALRM, &action, nullptr);
    itimerval budget = {};
    budget.it_value.tv_sec = on ? config.cpu_ms_max / 1000 : 0;
    budget.it_value.tv_usec = on ? config.cpu_ms_max % 1000 * 1000 : 0;
    setitimer(ITIMER_VIRTUAL, &budget, nullptr);
#endif
}

static void describe_signal() {
    const uint3 &b = own_cta().index, &t = self->index;
    std::string where = std::string(shape.name) + " block (" + std::to_string(b.x) + "," +
                        std::to_string(b.y) + "," + std::to_string(b.z) + ") thread (" +
                        std::to_string(t.x) + "," + std::to_string(t.y) + "," +
                        std::to_string(t.z) + "): ";
    note_error(where + (caught == SIGVTALRM ? "a loop outran the launch's CPU budget"
                                            : "an access outside every buffer"));
    self = nullptr;
}

/* ---- the launch ---- */

static const char *refusal(const Shape &s) {
    uint64_t threads = uint64_t(s.block.x) * s.block.y * s.block.z;
    if (threads == 0 || threads > CTA_THREADS_MAX) {
        return "threads per block";
    }
    if (s.grid.x == 0 || s.grid.y == 0 || s.grid.z == 0 || s.grid.y > 65535 || s.grid.z > 65535) {
        return "grid";
    }
    if (s.cluster == 0 || s.cluster > CLUSTER_MAX || s.grid.x % s.cluster != 0) {
        return "cluster";
    }
    return s.smem_bytes > SMEM_BYTES_MAX ? "shared memory" : nullptr;
}

static void run_clusters(uint32_t count) {
    for (uint32_t i = 0; i < count && last_error.empty(); i++) {
        bool descending = (config.seed / 2) % 2 != 0;
        run_cluster(descending ? count - 1 - i : i, uint32_t(config.seed % 3));
    }
}

bool run(const Shape &shape_, void (*body)(void *), void *context) {
    last_error.clear();
    stats = Stats();
    shape = shape_;
    if (const char *what = refusal(shape)) {
        last_error = std::string(shape.name) + ": invalid launch, " + what;
        return false;
    }
    fibers_open();
    kernel_body = body;
    kernel_context = context;
    cluster.ctas = shape.cluster;
    cluster.cta_threads = shape.block.x * shape.block.y * shape.block.z;
    cluster.cta_warps = (cluster.cta_threads + LANES - 1) / LANES;
    running.block_dim = shape.block;
    running.grid_dim = shape.grid;
    race_on = race_build();
    scheduler_seed();
    race_start_launch(shape.dependent);
    grids_start_launch(shape.dependent);
    watch(true);
    if (sigsetjmp(way_out, 1) == 0) {
        run_clusters(shape.grid.x / shape.cluster * shape.grid.y * shape.grid.z);
    } else {
        describe_signal();
        grids_end_cluster();
    }
    watch(false);
    return last_error.empty();
}

void host_sync() {
    race_host_sync();
}

} // namespace emu
