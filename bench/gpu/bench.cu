/* Ceilings, gaps between graph nodes and the tile sweep, on a GPU; JSON on standard output.
 *
 *   gpu_bench copy    device, copy and L2 read bandwidth
 *   gpu_bench gaps    time from one node of a graph to the next, with and without dependent launch
 *   gpu_bench attn    global attention of one text, 12 heads, both forms, and the banded form
 *   gpu_bench sweep   every product of the encoder at every size class on every tile, A B A B, as
 *                     bench/gpu/tune.py reads it
 * Not yet measured on a GPU. */
#include "kernels/cuda/attn.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/norm.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <vector>

namespace {

void must(int code, const char *what) {
    if (code != cudaSuccess) {
        fprintf(stderr, "gpu_bench: %s: %s\n", what,
                cudaGetErrorString(static_cast<cudaError_t>(code)));
        exit(1);
    }
}
#define MUST(call) must(call, #call)

cudaStream_t stream;

void *device_bytes(size_t bytes) {
    void *memory;
    MUST(cudaMalloc(&memory, bytes));
    return memory;
}

/* Nanoseconds of one call of `body`, over `count` calls. */
template <class Body> double time_ns(int count, const Body &body) {
    cudaEvent_t from, to;
    float ms = 0.0f;
    MUST(cudaEventCreate(&from));
    MUST(cudaEventCreate(&to));
    MUST(cudaEventRecord(from, stream));
    for (int i = 0; i < count; i++) {
        body();
    }
    MUST(cudaEventRecord(to, stream));
    MUST(cudaEventSynchronize(to));
    MUST(cudaEventElapsedTime(&ms, from, to));
    MUST(cudaEventDestroy(from));
    MUST(cudaEventDestroy(to));
    return 1e6 * double(ms) / count;
}

/* ---- ceilings ---- */

__global__ void __launch_bounds__(256) k_read(const uint4 *data, size_t count, uint32_t *sink) {
    uint32_t sum = 0;
    for (size_t i = blockIdx.x * size_t(256) + threadIdx.x; i < count;
         i += gridDim.x * size_t(256)) {
        const uint4 v = data[i];
        sum ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x12345678u) { /* never, but the compiler does not know */
        *sink = sum;
    }
}

void copy(const cudaDeviceProp &prop) {
    const size_t large = size_t(1) << 30, small = size_t(24) << 20; /* past L2, and inside it */
    auto *from = static_cast<uint8_t *>(device_bytes(large));
    auto *to = static_cast<uint8_t *>(device_bytes(large));
    auto *sink = static_cast<uint32_t *>(device_bytes(4));
    MUST(cudaMemset(from, 1, large));
    auto copy_once = [&] {
        MUST(cudaMemcpyAsync(to, from, large, cudaMemcpyDeviceToDevice, stream));
    };
    auto read_once = [&](size_t bytes) {
        k_read<<<prop.multiProcessorCount * 8, 256, 0, stream>>>(
            reinterpret_cast<const uint4 *>(from), bytes / 16, sink);
    };
    copy_once();
    read_once(small);
    double copied = time_ns(20, copy_once);
    double read = time_ns(20, [&] { read_once(large); });
    double cached = time_ns(200, [&] { read_once(small); });
    MUST(cudaGetLastError());
    printf("{\"device\": \"%s\", \"sm\": \"%d.%d\", \"n_sm\": %d, \"memory_gib\": %.1f, "
           "\"copy_gb_s\": %.1f, \"read_gb_s\": %.1f, \"l2_read_gb_s\": %.1f}\n",
           prop.name, prop.major, prop.minor, prop.multiProcessorCount,
           double(prop.totalGlobalMem) / (1 << 30), 2.0 * double(large) / copied,
           double(large) / read, double(small) / cached);
}

/* ---- gaps between nodes ---- */

double node_ns(bool dependent, int nodes) {
    const uint32_t dim = 768, one = 1;
    pk_norm_cuda_task task = {};
    auto *rows = static_cast<uint32_t *>(device_bytes(4));
    MUST(cudaMemcpy(rows, &one, 4, cudaMemcpyHostToDevice));
    task.x = static_cast<float *>(device_bytes(dim * 4));
    task.out = device_bytes(dim * 2);
    task.delta = static_cast<float *>(device_bytes(dim * 4));
    task.weight = static_cast<float *>(device_bytes(dim * 4));
    MUST(cudaMemset(task.x, 0, dim * 4));
    task.rows = rows;
    task.rows_max = 1;
    task.dim = dim;
    task.eps = 1e-5f;
    task.dtype = PK_F16;
    task.ctas = 1;
    task.dependent = dependent;
    task.stream = stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    MUST(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < nodes; i++) {
        MUST(pk_add_norm_cuda(&task));
    }
    MUST(cudaStreamEndCapture(stream, &graph));
    MUST(cudaGraphInstantiate(&exec, graph, 0));
    MUST(cudaGraphLaunch(exec, stream));
    double ns = time_ns(20, [&] { MUST(cudaGraphLaunch(exec, stream)); });
    MUST(cudaGraphExecDestroy(exec));
    MUST(cudaGraphDestroy(graph));
    return ns / nodes;
}

void gaps() {
    printf("{\"node_ns\": %.1f, \"node_ns_dependent\": %.1f}\n", node_ns(false, 200),
           node_ns(true, 200));
}

/* ---- tiles ---- */

struct Product {
    const char *op;
    uint32_t n, k;
    int (*run)(const pk_linear_cuda_task *task);
    size_t out_bytes; /* of a row */
};

const Product PRODUCTS[] = {
    {"qkv", 2304, 768, pk_qkv_rope_cuda, 2304 * 2},
    {"plain", 768, 768, pk_linear_cuda, 768 * 4},
    {"geglu", 2304, 768, pk_geglu_cuda, 1152 * 2},
    {"plain", 768, 1152, pk_linear_cuda, 768 * 4},
    {"span_conv", 1280, 768, pk_linear_cuda, 1280 * 4},
};
const uint32_t ROWS[] = {512, 2048, 8448}; /* the backend's size classes */

const char *name_of(pk_linear_cuda_tile tile) {
    switch (tile) {
    case PK_LINEAR_128_192:
        return "128x192";
    case PK_LINEAR_64_192:
        return "64x192";
    case PK_LINEAR_64_64:
        return "64x64";
    case PK_LINEAR_SAFE:
        break;
    }
    return "safe";
}

/* Every kernel: the safe one, then those on wgmma. */
std::vector<pk_linear_cuda_choice> choices_of() {
    std::vector<pk_linear_cuda_choice> all = {{PK_LINEAR_SAFE, 0, false, 2}};
    all.insert(all.end(), pk_linear_cuda_choices, pk_linear_cuda_choices + PK_LINEAR_CUDA_CHOICES);
    return all;
}

/* Random halves in about +-1: zeros would make a GPU look faster. */
void *random_halves(size_t count) {
    std::vector<uint16_t> host(count);
    uint32_t state = 1;
    for (uint16_t &half : host) {
        state = state * 1664525u + 1013904223u;
        half = uint16_t((state >> 16 & 0x83ff) | (10 + (state >> 9) % 5) << 10);
    }
    void *memory = device_bytes(count * 2);
    MUST(cudaMemcpy(memory, host.data(), count * 2, cudaMemcpyHostToDevice));
    return memory;
}

void attn(const cudaDeviceProp &prop) {
    const uint32_t heads = 12;
    bool first = true;
    printf("[");
    for (uint32_t len : {512u, 2048u, 8192u}) {
        std::vector<pk_attn_cuda_tile> list;
        for (uint32_t row = 0; row < len; row += PK_ATTN_CUDA_QUERIES) {
            list.push_back({0, int32_t(len), int32_t(row), 0});
        }
        const uint32_t n_tiles = uint32_t(list.size());
        auto *tiles = static_cast<pk_attn_cuda_tile *>(device_bytes(list.size() * sizeof list[0]));
        auto *count = static_cast<uint32_t *>(device_bytes(4));
        MUST(cudaMemcpy(tiles, list.data(), list.size() * sizeof list[0], cudaMemcpyHostToDevice));
        MUST(cudaMemcpy(count, &n_tiles, 4, cudaMemcpyHostToDevice));
        for (int form = 0; form < 3; form++) { /* every key: safe, wgmma; then banded */
            pk_attn_cuda_task task = {};
            task.out = device_bytes(size_t(len) * heads * 64 * 2);
            task.qkv = random_halves(size_t(len) * 3 * heads * 64);
            task.tiles = tiles;
            task.n_tiles = count;
            task.tiles_max = n_tiles;
            task.rows_max = len;
            task.heads = heads;
            task.dtype = PK_F16;
            task.window = form == 2 ? size_t(PK_ATTN_CUDA_WINDOW_MAX) : SIZE_MAX;
            task.form = form == 1 ? PK_ATTN_WGMMA : PK_ATTN_SAFE;
            task.ctas = uint32_t(prop.multiProcessorCount) *
                        (form == 1 ? PK_ATTN_CUDA_WGMMA_CTAS : PK_ATTN_CUDA_SAFE_CTAS);
            task.stream = stream;
            MUST(pk_attn_cuda(&task));
            const double ns = time_ns(50, [&] { MUST(pk_attn_cuda(&task)); });
            const double keys = form == 2 ? 129.0 : len;
            printf("%s{\"form\": \"%s\", \"length\": %u, \"ns\": %.1f, \"tflop_s\": %.1f}",
                   first ? "" : ",\n ",
                   form == 0   ? "global safe"
                   : form == 1 ? "global wgmma"
                               : "banded",
                   len, ns, 4.0 * 64 * heads * len * keys / ns / 1e3);
            first = false;
            MUST(cudaFree(task.out));
            MUST(cudaFree(const_cast<void *>(task.qkv)));
        }
    }
    printf("]\n");
}

uint64_t hash_of(const void *memory, size_t bytes) {
    std::vector<uint8_t> host(bytes);
    MUST(cudaMemcpy(host.data(), memory, bytes, cudaMemcpyDeviceToHost));
    uint64_t hash = 14695981039346656037u;
    for (uint8_t byte : host) {
        hash = (hash ^ byte) * 1099511628211u;
    }
    return hash;
}

void sweep_one(const Product &product, uint32_t rows, pk_linear_cuda_task task, int n_sm,
               bool *first) {
    const std::vector<pk_linear_cuda_choice> choices = choices_of();
    std::vector<double> best(choices.size(), 1e30);
    std::vector<uint64_t> hashes(choices.size());
    std::vector<int> codes(choices.size());
    const int count = rows > 2048 ? 20 : 100;
    for (int round = 0; round < 4; round++) { /* A B A B: drift of the clock hits all alike */
        for (size_t c = 0; c < choices.size(); c++) {
            task.tile = choices[c].tile;
            task.stages = choices[c].stages;
            task.multicast = choices[c].multicast;
            task.ctas = uint32_t(n_sm) * choices[c].ctas_per_sm;
            if (task.multicast) { /* a pair that waits would come last */
                int pairs = 0;
                MUST(pk_linear_cuda_pairs(task.dtype, &pairs));
                task.ctas = std::min(task.ctas, uint32_t(pairs) * 2);
            }
            if (round == 0) {
                MUST(cudaMemset(task.out, 0xff, rows * product.out_bytes));
                codes[c] = product.run(&task);
                MUST(cudaDeviceSynchronize());
                hashes[c] = hash_of(task.out, rows * product.out_bytes);
            }
            if (codes[c] == cudaSuccess) {
                double ns = time_ns(count, [&] { MUST(product.run(&task)); });
                best[c] = std::min(best[c], ns);
            }
        }
    }
    for (size_t c = 0; c < choices.size(); c++) {
        const double flops = 2.0 * rows * product.n * product.k;
        const pk_linear_cuda_choice &choice = choices[c];
        printf("%s{\"op\": \"%s\", \"n\": %u, \"k\": %u, \"rows\": %u, \"tile\": \"%s\", "
               "\"stages\": %u, \"cluster\": %d, \"ctas_per_sm\": %u, \"error\": %d, "
               "\"ns\": %.1f, \"tflop_s\": %.1f, \"hash\": \"%016llx\"}",
               *first ? "" : ",\n  ", product.op, product.n, product.k, rows, name_of(choice.tile),
               choice.stages, choice.multicast ? 2 : 1, choice.ctas_per_sm, codes[c],
               codes[c] == 0 ? best[c] : 0.0, codes[c] == 0 ? flops / best[c] / 1e3 : 0.0,
               static_cast<unsigned long long>(hashes[c]));
        *first = false;
    }
}

void sweep(const cudaDeviceProp &prop) {
    const uint32_t most = ROWS[sizeof ROWS / sizeof *ROWS - 1];
    pk_linear_cuda_task task = {};
    task.act = random_halves(size_t(most) * 1152);
    task.weight = random_halves(size_t(2304) * 1152);
    task.out = device_bytes(size_t(most) * 1280 * 4);
    std::vector<float> angles(size_t(512) * 64); /* of 512 positions: sines and cosines of some */
    for (size_t i = 0; i < angles.size(); i++) {
        angles[i] = float(i * 37 % 201) / 100.0f - 1.0f;
    }
    task.rope = static_cast<float *>(device_bytes(angles.size() * 4));
    MUST(cudaMemcpy(const_cast<float *>(task.rope), angles.data(), angles.size() * 4,
                    cudaMemcpyHostToDevice));
    std::vector<uint32_t> positions(most);
    for (uint32_t i = 0; i < most; i++) {
        positions[i] = i % 512;
    }
    auto *position = static_cast<uint32_t *>(device_bytes(most * 4));
    MUST(cudaMemcpy(position, positions.data(), most * 4, cudaMemcpyHostToDevice));
    task.positions = position;
    auto *rows_memory = static_cast<uint32_t *>(device_bytes(4));
    task.rows = rows_memory;
    task.dtype = PK_F16;
    task.stream = stream;
    bool first = true;
    printf("{\"gpu\": \"%s\", \"sm\": \"%d%d\", \"n_sm\": %d, \"rows\": [\n  ", prop.name,
           prop.major, prop.minor, prop.multiProcessorCount);
    for (const Product &product : PRODUCTS) {
        for (uint32_t rows : ROWS) {
            MUST(cudaMemcpy(rows_memory, &rows, 4, cudaMemcpyHostToDevice));
            task.rows_max = rows;
            task.n = product.n;
            task.k = product.k;
            sweep_one(product, rows, task, prop.multiProcessorCount, &first);
        }
    }
    printf("]}\n");
}

} // namespace

int main(int count, char **arguments) {
    const char *what = count == 2 ? arguments[1] : "";
    cudaDeviceProp prop;
    MUST(cudaSetDevice(0));
    MUST(cudaGetDeviceProperties(&prop, 0));
    MUST(cudaStreamCreate(&stream)); /* not a non-blocking one: uploads come before what it runs */
    if (strcmp(what, "copy") == 0) {
        copy(prop);
    } else if (strcmp(what, "gaps") == 0) {
        gaps();
    } else if (strcmp(what, "attn") == 0) {
        attn(prop);
    } else if (strcmp(what, "sweep") == 0) {
        sweep(prop);
    } else {
        fprintf(stderr, "usage: gpu_bench copy|gaps|attn|sweep\n");
        return 2;
    }
    return 0;
}
