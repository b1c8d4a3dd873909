/* runtime.h without a GPU: kernels run in kernels/emu, on the thread that waits for them.
 *
 * Unkind where CUDA may be: nothing of a stream runs before somebody waits for it, so a block of
 * host memory that is filled again too early, or read too early, gives wrong results; device memory
 * is out of the host's reach but while the stream runs, starts as NaN, and ends at a closed page.
 * One lock: several threads may have devices, one runs at a time. A stream of another device than
 * the thread's own is refused, and a kernel finds the memory of its own device alone. */
#include "runtime/backend/cuda/emulated.h"

#include "kernels/emu/emu.hpp"
#include "runtime/backend/cuda/runtime.h"

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

enum { DEVICES = 2, PAGE = 4096, FOREIGN = 400 /* cudaErrorInvalidResourceHandle */ };
const size_t MEMORY_BYTES = size_t(1) << 30;

typedef std::function<int()> Item;

struct Stream {
    int device;
    std::deque<Item> queue;
    bool capturing = false;
    std::vector<Item> recorded;
};

struct Block {
    int device;
    uint8_t *map;
    size_t mapped; /* with the closed page */
    size_t bytes;
};

std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Guard;

std::map<void *, Block> blocks;
size_t memory_bytes = MEMORY_BYTES;
size_t in_use[DEVICES];
int reach[DEVICES]; /* streams of the device that are running */
int sticky[DEVICES], capability[DEVICES][2] = {{8, 0}, {8, 0}}, only = -1;
thread_local int current;
const char *libraries[PITH_CU_LIBRARY_COUNT];
struct {
    const char *kernel;
    int device; /* -1: any */
} muted;
struct {
    bool set;
    unsigned calls;
    int code, device;
} faults[PITH_EMULATED_CALL_COUNT];
pith_emulated_stats stats;

/* The planted or the sticky error of a call, or 0. */
int fault(pith_emulated_call call, int device) {
    if (sticky[device] != 0) {
        return sticky[device];
    }
    auto &planted = faults[call];
    bool here = planted.device < 0 || planted.device == device;
    if (!planted.set || !here || planted.calls-- > 0) {
        return PITH_CU_OK;
    }
    planted.set = false;
    sticky[device] = pith_cu_is_sticky(planted.code) ? planted.code : 0;
    return planted.code;
}

/* The device's memory alone is in reach while a stream of it runs. */
class Reach {
  public:
    explicit Reach(int device) : device_(device) {
        if (reach[device_]++ == 0) {
            protect(PROT_READ | PROT_WRITE);
        }
    }
    ~Reach() {
        if (--reach[device_] == 0) {
            protect(PROT_NONE);
        }
    }
    Reach(const Reach &) = delete;

  private:
    void protect(int how) const {
        for (auto &entry : blocks) {
            if (entry.second.device == device_) {
                mprotect(entry.second.map, entry.second.mapped - PAGE, how);
            }
        }
    }
    int device_;
};

int step(Stream *stream) {
    Item item = std::move(stream->queue.front());
    stream->queue.pop_front();
    return sticky[stream->device] != 0 ? sticky[stream->device] : item();
}

/* Runs a stream until `done` says so, or to its end. */
int drain(Stream *stream, const std::function<bool()> &done) {
    int code = sticky[stream->device];
    Reach held(stream->device);
    while (!done() && !stream->queue.empty()) {
        int found = step(stream);
        code = code != 0 ? code : found;
    }
    return code;
}

/* Of the calling thread's device, as CUDA wants it. */
bool foreign(const void *stream) {
    return static_cast<const Stream *>(stream)->device != current;
}

int enqueue(void *stream, Item item) {
    if (foreign(stream)) {
        return FOREIGN;
    }
    static_cast<Stream *>(stream)->queue.push_back(std::move(item));
    return PITH_CU_OK;
}

/* Every pk::launch of the process comes here. */
int launch(void *stream_, const emu::Shape &shape, const std::function<void()> &body) {
    Guard guard(lock);
    auto *stream = static_cast<Stream *>(stream_);
    const int device = stream->device;
    int code = foreign(stream) ? FOREIGN : fault(PITH_EMULATED_LAUNCH, device);
    if (code != PITH_CU_OK) {
        return code;
    }
    Item item = [device, shape, body]() -> int {
        int planted = fault(PITH_EMULATED_RUN, device);
        if (planted != PITH_CU_OK) {
            return planted;
        }
        stats.kernels++;
        stats.kernels_on[device]++;
        if (muted.kernel != nullptr && strcmp(shape.name, muted.kernel) == 0 &&
            (muted.device < 0 || muted.device == device)) {
            return PITH_CU_OK;
        }
        auto call = [](void *context) { (*static_cast<std::function<void()> *>(context))(); };
        auto copy = body;
        if (!emu::run(shape, call, &copy)) {
            sticky[device] = PITH_CU_LAUNCH_FAILURE;
        }
        emu::host_sync();
        return sticky[device];
    };
    if (stream->capturing) {
        stream->recorded.push_back(item);
        return PITH_CU_OK;
    }
    return enqueue(stream, item);
}

} // namespace

struct pith_cu_event {
    Stream *stream;
    uint64_t recorded, reached;
};

struct pith_cu_graph {
    std::vector<Item> items;
};

extern "C" {

pith_status pith_cu_open(int ordinal, pith_cu_info *info, pith_err *err) {
    if (ordinal < 0 || ordinal >= DEVICES) {
        return pith_fail(err, PITH_UNSUPPORTED, "device \"cuda:%d\": this machine has %d", ordinal,
                         int(DEVICES));
    }
    Guard guard(lock);
    emu::launch_hook = launch;
    current = ordinal;
    *info = {"emulated", "", capability[ordinal][0], capability[ordinal][1], 2};
    snprintf(info->uuid, sizeof info->uuid, "GPU-emulated-%d", ordinal);
    return PITH_OK;
}

int pith_cu_count(void) {
    return DEVICES;
}

int pith_cu_use(int ordinal) {
    Guard guard(lock);
    current = ordinal;
    return sticky[ordinal];
}

const char *pith_cu_library_file(pith_cu_library library) {
    Guard guard(lock);
    return libraries[library] != nullptr ? libraries[library] : "no-such-library.so";
}

bool pith_cu_is_sticky(int code) {
    return code >= 700 && code != 701;
}

const char *pith_cu_text(int code) {
    switch (code) {
    case PITH_CU_NO_MEMORY:
        return "out of memory";
    case PITH_CU_LAUNCH_FAILURE:
        return emu::last_error.empty() ? "unspecified launch failure" : emu::last_error.c_str();
    default:
        return "error of the emulation";
    }
}

int pith_cu_stream_open(void **stream) {
    Guard guard(lock);
    *stream = new Stream{current, {}, false, {}};
    stats.streams_events++;
    return sticky[current];
}

void pith_cu_stream_close(void *stream) {
    Guard guard(lock);
    if (stream != nullptr) {
        (void)pith_cu_stream_sync(stream);
        delete static_cast<Stream *>(stream);
        stats.streams_events--;
    }
}

int pith_cu_stream_sync(void *stream) {
    Guard guard(lock);
    return drain(static_cast<Stream *>(stream), [] { return false; });
}

int pith_cu_malloc(void *stream, size_t bytes, void **mem) {
    Guard guard(lock);
    *mem = nullptr;
    const int device = static_cast<Stream *>(stream)->device;
    int code = fault(PITH_EMULATED_MALLOC, device);
    if (code == PITH_CU_OK && bytes > memory_bytes - in_use[device]) {
        code = PITH_CU_NO_MEMORY;
    }
    if (code != PITH_CU_OK) {
        return code;
    }
    /* The end lies against the closed page as nearly as 16-byte alignment lets it, so that a read
     * or write behind it faults; 256-byte alignment is promised, so sizes are rounded up to it. */
    size_t rounded = (bytes + 255) / 256 * 256, body = (rounded + PAGE - 1) / PAGE * PAGE;
    Block block = {device, nullptr, body + PAGE, bytes};
    block.map = static_cast<uint8_t *>(
        mmap(nullptr, block.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(block.map, 0xff, body); /* NaN in every float format */
    mprotect(block.map, block.mapped, PROT_NONE);
    *mem = block.map + body - rounded;
    blocks[*mem] = block;
    in_use[device] += bytes;
    stats.bytes_in_use += bytes;
    return PITH_CU_OK;
}

int pith_cu_free(void *stream, void *mem) {
    Guard guard(lock);
    Item item = [mem] {
        auto found = blocks.find(mem);
        in_use[found->second.device] -= found->second.bytes;
        stats.bytes_in_use -= found->second.bytes;
        munmap(found->second.map, found->second.mapped);
        blocks.erase(found);
        return PITH_CU_OK;
    };
    const int device = static_cast<Stream *>(stream)->device;
    if (sticky[device] != 0) {
        item();
        return sticky[device];
    }
    return enqueue(stream, item);
}

int pith_cu_memory(size_t *free_bytes, size_t *total_bytes) {
    Guard guard(lock);
    *free_bytes = memory_bytes - in_use[current];
    *total_bytes = memory_bytes;
    return sticky[current];
}

int pith_cu_let_peer(int ordinal, int peer) {
    Guard guard(lock);
    stats.peers += ordinal != peer;
    return sticky[ordinal];
}

int pith_cu_host_alloc(size_t bytes, void **mem) {
    Guard guard(lock);
    *mem = nullptr;
    int code = fault(PITH_EMULATED_HOST_ALLOC, current);
    if (code == PITH_CU_OK) {
        *mem = malloc(bytes);
        memset(*mem, 0xff, bytes);
        stats.streams_events++;
    }
    return code;
}

void pith_cu_host_free(void *mem) {
    Guard guard(lock);
    stats.streams_events -= mem != nullptr;
    free(mem);
}

int pith_cu_copy_in(void *stream, void *mem, const void *host, size_t bytes) {
    Guard guard(lock);
    int code = fault(PITH_EMULATED_COPY, static_cast<Stream *>(stream)->device);
    return code != PITH_CU_OK ? code : enqueue(stream, [mem, host, bytes] {
        memcpy(mem, host, bytes);
        stats.copies_in++;
        return PITH_CU_OK;
    });
}

int pith_cu_copy_out(void *stream, void *host, const void *mem, size_t bytes) {
    Guard guard(lock);
    int code = fault(PITH_EMULATED_COPY, static_cast<Stream *>(stream)->device);
    return code != PITH_CU_OK ? code : enqueue(stream, [mem, host, bytes] {
        memcpy(host, mem, bytes);
        return PITH_CU_OK;
    });
}

int pith_cu_event_open(pith_cu_event **event) {
    Guard guard(lock);
    *event = new pith_cu_event();
    stats.streams_events++;
    return sticky[current];
}

void pith_cu_event_close(pith_cu_event *event) {
    Guard guard(lock);
    stats.streams_events -= event != nullptr;
    delete event;
}

int pith_cu_event_record(pith_cu_event *event, void *stream) {
    Guard guard(lock);
    event->stream = static_cast<Stream *>(stream);
    uint64_t generation = ++event->recorded;
    const int lost = sticky[event->stream->device];
    return lost != 0 ? lost : enqueue(stream, [event, generation] {
        event->reached = generation;
        return PITH_CU_OK;
    });
}

int pith_cu_event_sync(pith_cu_event *event) {
    Guard guard(lock);
    uint64_t wanted = event->recorded;
    return event->stream == nullptr
               ? PITH_CU_OK
               : drain(event->stream, [event, wanted] { return event->reached >= wanted; });
}

int pith_cu_stream_wait(void *stream, pith_cu_event *event) {
    Guard guard(lock);
    uint64_t wanted = event->recorded;
    const int lost = sticky[static_cast<Stream *>(stream)->device];
    return lost != 0 ? lost : enqueue(stream, [event, wanted] {
        int code = PITH_CU_OK;
        Reach held(event->stream->device);
        while (event->reached < wanted && !event->stream->queue.empty()) {
            int found = step(event->stream);
            code = code != 0 ? code : found;
        }
        return code;
    });
}

int pith_cu_capture_begin(void *stream_) {
    Guard guard(lock);
    auto *stream = static_cast<Stream *>(stream_);
    stream->capturing = true;
    stream->recorded.clear();
    return sticky[stream->device];
}

int pith_cu_capture_end(void *stream_, pith_cu_graph **graph) {
    Guard guard(lock);
    auto *stream = static_cast<Stream *>(stream_);
    *graph = nullptr;
    stream->capturing = false;
    int code = fault(PITH_EMULATED_CAPTURE, stream->device);
    if (code == PITH_CU_OK) {
        *graph = new pith_cu_graph{std::move(stream->recorded)};
        stats.streams_events++;
        stats.graphs++;
    }
    stream->recorded.clear();
    return code;
}

int pith_cu_graph_launch(pith_cu_graph *graph, void *stream) {
    Guard guard(lock);
    int code = fault(PITH_EMULATED_LAUNCH, static_cast<Stream *>(stream)->device);
    for (size_t i = 0; code == PITH_CU_OK && i < graph->items.size(); i++) {
        Item item = graph->items[i];
        code = enqueue(stream, [item] {
            stats.graph_nodes++;
            return item();
        });
    }
    return code;
}

void pith_cu_graph_close(pith_cu_graph *graph) {
    Guard guard(lock);
    stats.streams_events -= graph != nullptr;
    delete graph;
}

void pith_emulated_fail(pith_emulated_call call, unsigned calls, int code) {
    Guard guard(lock);
    faults[call] = {true, calls, code, only};
}

void pith_emulated_only(int ordinal) {
    Guard guard(lock);
    only = ordinal;
}

void pith_emulated_reset(size_t bytes) {
    Guard guard(lock);
    memset(faults, 0, sizeof faults);
    memset(sticky, 0, sizeof sticky);
    memset(libraries, 0, sizeof libraries);
    memset(stats.kernels_on, 0, sizeof stats.kernels_on);
    only = -1;
    muted = {nullptr, -1};
    for (auto &c : capability) {
        c[0] = 8;
        c[1] = 0;
    }
    stats.kernels = stats.graph_nodes = stats.graphs = stats.copies_in = stats.peers = 0;
    memory_bytes = bytes > 0 ? bytes : MEMORY_BYTES;
}

void pith_emulated_capability(int major, int minor) {
    Guard guard(lock);
    for (int device = 0; device < DEVICES; device++) {
        if (only < 0 || only == device) {
            capability[device][0] = major;
            capability[device][1] = minor;
        }
    }
}

void pith_emulated_mute(const char *kernel) {
    Guard guard(lock);
    muted = {kernel, only};
}

void pith_emulated_library(pith_cu_library library, const char *file) {
    Guard guard(lock);
    libraries[library] = file;
}

int pith_emulated_enqueue(void *stream, int (*run)(void *arg), void *arg) {
    Guard guard(lock);
    const int device = static_cast<Stream *>(stream)->device;
    int code = fault(PITH_EMULATED_LAUNCH, device);
    std::shared_ptr<void> held(arg, free);
    return code != PITH_CU_OK ? code : enqueue(stream, [device, run, held] {
        int planted = fault(PITH_EMULATED_RUN, device);
        return planted != PITH_CU_OK ? planted : run(held.get());
    });
}

pith_emulated_stats pith_emulated_read(void) {
    Guard guard(lock);
    return stats;
}
}
