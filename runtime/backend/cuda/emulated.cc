/* runtime.h without a GPU: kernels run in kernels/emu, on the thread that waits for them.
 *
 * Unkind where CUDA may be: nothing of a stream runs before somebody waits for it, so a block of
 * host memory that is filled again too early, or read too early, gives wrong results; device memory
 * is out of the host's reach but while the stream runs, starts as NaN, and ends at a closed page.
 * One lock: several threads may have devices, one runs at a time. */
#include "runtime/backend/cuda/emulated.h"

#include "kernels/emu/emu.hpp"
#include "runtime/backend/cuda/runtime.h"

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

enum { DEVICES = 2, PAGE = 4096 };
const size_t MEMORY_BYTES = size_t(1) << 30;

typedef std::function<int()> Item;

struct Stream {
    std::deque<Item> queue;
    bool capturing = false;
    std::vector<Item> recorded;
};

struct Block {
    uint8_t *map;
    size_t mapped; /* with the closed page */
    size_t bytes;
};

std::recursive_mutex lock;
typedef std::lock_guard<std::recursive_mutex> Guard;

std::map<void *, Block> blocks;
size_t memory_bytes = MEMORY_BYTES;
int sticky, capability[2] = {8, 0};
const char *muted;
struct {
    bool set;
    unsigned calls;
    int code;
} faults[PITH_EMULATED_CALL_COUNT];
pith_emulated_stats stats;

/* The planted or the sticky error of a call, or 0. */
int fault(pith_emulated_call call) {
    if (sticky != 0) {
        return sticky;
    }
    auto &planted = faults[call];
    if (!planted.set || planted.calls-- > 0) {
        return PITH_CU_OK;
    }
    planted.set = false;
    sticky = pith_cu_is_sticky(planted.code) ? planted.code : 0;
    return planted.code;
}

void protect(int how) {
    for (auto &entry : blocks) {
        mprotect(entry.second.map, entry.second.mapped - PAGE, how);
    }
}

int step(Stream *stream) {
    Item item = std::move(stream->queue.front());
    stream->queue.pop_front();
    return sticky != 0 ? sticky : item();
}

/* Runs a stream until `done` says so, or to its end. */
int drain(Stream *stream, const std::function<bool()> &done) {
    int code = sticky;
    protect(PROT_READ | PROT_WRITE);
    while (!done() && !stream->queue.empty()) {
        int found = step(stream);
        code = code != 0 ? code : found;
    }
    protect(PROT_NONE);
    return code;
}

int enqueue(void *stream, Item item) {
    static_cast<Stream *>(stream)->queue.push_back(std::move(item));
    return PITH_CU_OK;
}

/* Every pk::launch of the process comes here. */
int launch(void *stream_, const emu::Shape &shape, const std::function<void()> &body) {
    Guard guard(lock);
    int code = fault(PITH_EMULATED_LAUNCH);
    if (code != PITH_CU_OK) {
        return code;
    }
    auto *stream = static_cast<Stream *>(stream_);
    Item item = [shape, body]() -> int {
        int planted = fault(PITH_EMULATED_RUN);
        if (planted != PITH_CU_OK) {
            return planted;
        }
        stats.kernels++;
        if (muted != nullptr && strcmp(shape.name, muted) == 0) {
            return PITH_CU_OK;
        }
        auto call = [](void *context) { (*static_cast<std::function<void()> *>(context))(); };
        auto copy = body;
        if (!emu::run(shape, call, &copy)) {
            sticky = PITH_CU_LAUNCH_FAILURE;
        }
        emu::host_sync();
        return sticky;
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
    emu::launch_hook = launch;
    *info = {"emulated", capability[0], capability[1], 2};
    return PITH_OK;
}

int pith_cu_use(int) {
    Guard guard(lock);
    return sticky;
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
    *stream = new Stream;
    stats.streams_events++;
    return sticky;
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

int pith_cu_malloc(void *, size_t bytes, void **mem) {
    Guard guard(lock);
    *mem = nullptr;
    int code = fault(PITH_EMULATED_MALLOC);
    if (code == PITH_CU_OK && bytes > memory_bytes - stats.bytes_in_use) {
        code = PITH_CU_NO_MEMORY;
    }
    if (code != PITH_CU_OK) {
        return code;
    }
    /* The end lies against the closed page as nearly as 16-byte alignment lets it, so that a read
     * or write behind it faults; 256-byte alignment is promised, so sizes are rounded up to it. */
    size_t rounded = (bytes + 255) / 256 * 256, body = (rounded + PAGE - 1) / PAGE * PAGE;
    Block block = {nullptr, body + PAGE, bytes};
    block.map = static_cast<uint8_t *>(
        mmap(nullptr, block.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(block.map, 0xff, body); /* NaN in every float format */
    mprotect(block.map, block.mapped, PROT_NONE);
    *mem = block.map + body - rounded;
    blocks[*mem] = block;
    stats.bytes_in_use += bytes;
    return PITH_CU_OK;
}

int pith_cu_free(void *stream, void *mem) {
    Guard guard(lock);
    Item item = [mem] {
        auto found = blocks.find(mem);
        stats.bytes_in_use -= found->second.bytes;
        munmap(found->second.map, found->second.mapped);
        blocks.erase(found);
        return PITH_CU_OK;
    };
    if (sticky != 0) {
        item();
        return sticky;
    }
    return enqueue(stream, item);
}

int pith_cu_memory(size_t *free_bytes, size_t *total_bytes) {
    Guard guard(lock);
    *free_bytes = memory_bytes - stats.bytes_in_use;
    *total_bytes = memory_bytes;
    return sticky;
}

int pith_cu_host_alloc(size_t bytes, void **mem) {
    Guard guard(lock);
    *mem = nullptr;
    int code = fault(PITH_EMULATED_HOST_ALLOC);
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
    int code = fault(PITH_EMULATED_COPY);
    return code != PITH_CU_OK ? code : enqueue(stream, [mem, host, bytes] {
        memcpy(mem, host, bytes);
        stats.copies_in++;
        return PITH_CU_OK;
    });
}

int pith_cu_copy_out(void *stream, void *host, const void *mem, size_t bytes) {
    Guard guard(lock);
    int code = fault(PITH_EMULATED_COPY);
    return code != PITH_CU_OK ? code : enqueue(stream, [mem, host, bytes] {
        memcpy(host, mem, bytes);
        return PITH_CU_OK;
    });
}

int pith_cu_event_open(pith_cu_event **event) {
    Guard guard(lock);
    *event = new pith_cu_event();
    stats.streams_events++;
    return sticky;
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
    return sticky != 0 ? sticky : enqueue(stream, [event, generation] {
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
    return sticky != 0 ? sticky : enqueue(stream, [event, wanted] {
        int code = PITH_CU_OK;
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
    return sticky;
}

int pith_cu_capture_end(void *stream_, pith_cu_graph **graph) {
    Guard guard(lock);
    auto *stream = static_cast<Stream *>(stream_);
    *graph = nullptr;
    stream->capturing = false;
    int code = fault(PITH_EMULATED_CAPTURE);
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
    int code = fault(PITH_EMULATED_LAUNCH);
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
    faults[call] = {true, calls, code};
}

void pith_emulated_reset(size_t bytes) {
    Guard guard(lock);
    memset(faults, 0, sizeof faults);
    sticky = 0;
    muted = nullptr;
    capability[0] = 8;
    capability[1] = 0;
    stats.kernels = stats.graph_nodes = stats.graphs = stats.copies_in = 0;
    memory_bytes = bytes > 0 ? bytes : MEMORY_BYTES;
}

void pith_emulated_capability(int major, int minor) {
    Guard guard(lock);
    capability[0] = major;
    capability[1] = minor;
}

void pith_emulated_mute(const char *kernel) {
    Guard guard(lock);
    muted = kernel;
}

pith_emulated_stats pith_emulated_read(void) {
    Guard guard(lock);
    return stats;
}
}
