/* The subset of CUDA C++ that our kernels use, for a host compiler: keywords, vector types,
 * indices, warp and atomic intrinsics. Shared memory and PTX come through kernels/cuda/prim only,
 * so a kernel that says __shared__ or asm does not compile here. */
#ifndef PK_EMU_CUDA_HPP
#define PK_EMU_CUDA_HPP

#include "kernels/emu/emu.hpp"
#include "kernels/emu/half.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

#define threadIdx (emu::running.thread)
#define blockIdx  (emu::running.block)
#define blockDim  (emu::running.block_dim)
#define gridDim   (emu::running.grid_dim)

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
static inline float2 make_float2(float x, float y) {
    return {x, y};
}
static inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
static inline float2 __bfloat1622float2(__nv_bfloat162 value) {
    return {__bfloat162float(value.x), __bfloat162float(value.y)};
}
static inline float2 __half22float2(__half2 value) {
    return {__half2float(value.x), __half2float(value.y)};
}

/* ---- barriers and fences ---- */

static inline void __syncthreads(EMU_SITE) {
    emu::sync_threads(site);
}
static inline int __syncthreads_count(int predicate, EMU_SITE) {
    return emu::sync_threads_count(predicate, site);
}
static inline int __syncthreads_or(int predicate, EMU_SITE) {
    return emu::sync_threads_count(predicate, site) != 0;
}
static inline void __syncwarp(uint32_t mask = 0xffffffffu, EMU_SITE) {
    emu::sync_warp(mask, site);
}
static inline void __threadfence() {
    emu::thread_fence();
}
static inline void __threadfence_block() {
    emu::thread_fence();
}

/* ---- shuffles and votes ---- */

namespace emu {

template <class T> struct Shuffle {
    T value;
    int source; /* lane, or -1: outside the segment, the lane keeps its own value */
    T result;
};

template <class T> void shuffle_execute(void **operands, uint32_t mask) {
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) {
            continue;
        }
        auto *own = static_cast<Shuffle<T> *>(operands[lane]);
        if (own->source < 0) {
            own->result = own->value;
        } else if (mask >> own->source & 1) {
            own->result = static_cast<Shuffle<T> *>(operands[own->source])->value;
        } else { /* undefined on the device */
            memset(static_cast<void *>(&own->result), 0xff, sizeof own->result);
        }
    }
}

template <class T> T shuffle(uint32_t mask, T value, int source, Site site) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    Shuffle<T> operands{value, source, value};
    collective(shuffle_execute<T>, mask, &operands, "shfl.sync", site);
    return operands.result;
}

struct Vote {
    uint32_t value, ballot, sum, top, alike;
};

inline void vote_execute(void **operands, uint32_t mask) {
    uint32_t ballot = 0, sum = 0, top = 0;
    for (int lane = 0; lane < 32; lane++) {
        if (mask >> lane & 1) {
            uint32_t value = static_cast<Vote *>(operands[lane])->value;
            ballot |= uint32_t(value != 0) << lane;
            sum += value;
            top = std::max(top, value);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        if (mask >> lane & 1) {
            auto *own = static_cast<Vote *>(operands[lane]);
            own->ballot = ballot;
            own->sum = sum;
            own->top = top;
            own->alike = 0;
            for (int other = 0; other < 32; other++) {
                if (mask >> other & 1) {
                    bool same = static_cast<Vote *>(operands[other])->value == own->value;
                    own->alike |= uint32_t(same) << other;
                }
            }
        }
    }
}

inline Vote vote(uint32_t mask, uint32_t value, const char *name, Site site) {
    Vote operands{value, 0, 0, 0, 0};
    collective(vote_execute, mask, &operands, name, site);
    return operands;
}

} // namespace emu

template <class T> T __shfl_sync(uint32_t mask, T value, int lane, int width = 32, EMU_SITE) {
    int segment = int(emu::lane_index()) & ~(width - 1);
    return emu::shuffle(mask, value, segment | (lane & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, EMU_SITE) {
    int lane = int(emu::lane_index()), source = lane - int(delta);
    return emu::shuffle(mask, value, source < (lane & ~(width - 1)) ? -1 : source, site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, EMU_SITE) {
    int lane = int(emu::lane_index()), source = lane + int(delta);
    return emu::shuffle(mask, value, source >= (lane & ~(width - 1)) + width ? -1 : source, site);
}
template <class T> T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, EMU_SITE) {
    int lane = int(emu::lane_index()), source = lane ^ bits;
    return emu::shuffle(mask, value, source >= (lane & ~(width - 1)) + width ? -1 : source, site);
}
static inline unsigned __ballot_sync(uint32_t mask, int predicate, EMU_SITE) {
    return emu::vote(mask, predicate != 0, "vote.ballot", site).ballot;
}
static inline int __any_sync(uint32_t mask, int predicate, EMU_SITE) {
    return emu::vote(mask, predicate != 0, "vote.any", site).ballot != 0;
}
static inline int __all_sync(uint32_t mask, int predicate, EMU_SITE) {
    return emu::vote(mask, predicate != 0, "vote.all", site).ballot == mask;
}
static inline unsigned __reduce_add_sync(uint32_t mask, unsigned value, EMU_SITE) {
    return emu::vote(mask, value, "redux.add", site).sum;
}
static inline unsigned __reduce_max_sync(uint32_t mask, unsigned value, EMU_SITE) {
    return emu::vote(mask, value, "redux.max", site).top;
}
static inline unsigned __match_any_sync(uint32_t mask, unsigned value, EMU_SITE) {
    return emu::vote(mask, value, "match.any", site).alike;
}

/* ---- atomics: relaxed; with __threadfence before and after they order other accesses ---- */

/* The emulator is told that these are atomic; the compiler's hooks would call them plain. */
#define EMU_UNWATCHED __attribute__((no_sanitize("thread"), noinline))

template <class T> EMU_UNWATCHED T atomicAdd(T *place, std::common_type_t<T> value, EMU_SITE) {
    emu::atomic_access(place, sizeof(T), site);
    T before = *place;
    *place = T(before + value);
    return before;
}
template <class T> EMU_UNWATCHED T atomicMax(T *place, std::common_type_t<T> value, EMU_SITE) {
    emu::atomic_access(place, sizeof(T), site);
    T before = *place;
    *place = std::max(before, value);
    return before;
}
template <class T> EMU_UNWATCHED T atomicExch(T *place, std::common_type_t<T> value, EMU_SITE) {
    emu::atomic_access(place, sizeof(T), site);
    T before = *place;
    *place = value;
    return before;
}
template <class T>
EMU_UNWATCHED T atomicCAS(T *place, std::common_type_t<T> expected, std::common_type_t<T> value,
                          EMU_SITE) {
    emu::atomic_access(place, sizeof(T), site);
    T before = *place;
    *place = before == expected ? value : before;
    return before;
}

/* ---- loads and arithmetic ---- */

template <class T> static inline T __ldg(const T *place) {
    return *place;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return std::fma(a, b, c);
}
static inline float __fdividef(float a, float b) {
    return a / b;
}
static inline float rsqrtf(float a) {
    return 1.0f / std::sqrt(a);
}
static inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}
static inline unsigned __float_as_uint(float value) {
    return pk_bits_of_f32(value);
}
static inline float __uint_as_float(unsigned bits) {
    return pk_f32_of_bits(bits);
}
using std::max;
using std::min;

#endif
