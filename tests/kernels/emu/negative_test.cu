/* Planted faults of barriers, shared and global memory, and cp.async. */
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mma.cuh"

#ifdef PK_EMULATE

#include "tests/kernels/emu/negative.cuh"

using namespace negative;

namespace {

/* ---- shared memory and barriers ---- */

__global__ void k_reused_sums(float *out, const float *x) {
    PK_SMEM_STATIC(float, sums, [4]);
    float value = x[threadIdx.x];
    for (int pass = 0; pass < 2; pass++) { /* no barrier before the second pass writes */
        float sum = value;
        for (int d = 16; d > 0; d /= 2) {
            sum += __shfl_xor_sync(ALL, sum, d);
        }
        if (threadIdx.x % 32 == 0) {
            FIRST sums[threadIdx.x / 32] = sum;
        }
        __syncthreads();
        SECOND value = sums[0] + sums[1] + sums[2] + sums[3] + x[threadIdx.x];
    }
    out[threadIdx.x] = value;
}

__global__ void k_no_syncwarp(float *out) {
    PK_SMEM_STATIC(float, s, [32]);
    s[threadIdx.x] = 0.0f;
    __syncwarp();
    FIRST s[threadIdx.x] = float(threadIdx.x);
    SECOND out[threadIdx.x] = s[31 - threadIdx.x];
}

__global__ void k_shuffle_taken_for_a_fence(float *out) {
    PK_SMEM_STATIC(float, s, [32]);
    FIRST s[threadIdx.x] = float(threadIdx.x);
    float zero = __shfl_xor_sync(ALL, 0.0f, 1);
    SECOND out[threadIdx.x] = s[31 - threadIdx.x] + zero;
}

__global__ void k_shuffle_in_a_branch(float *out) {
    float value = float(threadIdx.x);
    if (threadIdx.x < 16) {
        value += __shfl_down_sync(ALL, value, 8);
    }
    out[threadIdx.x] = value;
}

__global__ void k_two_syncthreads(float *out) {
    if (threadIdx.x < 32) {
        out[threadIdx.x] = 1.0f;
        FIRST __syncthreads();
    } else {
        SECOND __syncthreads();
        out[threadIdx.x] = 2.0f;
    }
}

__global__ void k_syncthreads_in_a_lane_branch(float *out) {
    if (threadIdx.x & 1) {
        __syncthreads();
    }
    out[threadIdx.x] = 0.0f;
    __syncthreads();
}

__global__ void k_missing_arrival(float *out) {
    if (threadIdx.x < 64) {
        FIRST ptx::barrier_sync(1, 96);
    }
    out[threadIdx.x] = 0.0f;
}

__global__ void k_ring_without_empty(int *out, int rounds) {
    PK_SMEM_STATIC(int, slots, [2][32]);
    int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, sum = 0;
    for (int i = 0; i < rounds; i++) {
        if (warp == 0) { /* does not wait for the slot */
            FIRST slots[i & 1][lane] = i * 100 + lane;
            ptx::barrier_arrive(1 + (i & 1), 96);
        } else {
            ptx::barrier_sync(1 + (i & 1), 96);
            SECOND sum += slots[i & 1][(lane + warp) % 32];
        }
    }
    if (warp > 0) {
        out[(warp - 1) * 32 + lane] = sum;
    }
}

__global__ void k_unwritten_shared(float *out) {
    PK_SMEM_STATIC(float, s, [64]);
    s[threadIdx.x] = 1.0f;
    __syncwarp();
    SECOND out[threadIdx.x] = s[threadIdx.x + 32];
}

__global__ void k_past_static(float *out, int past) {
    PK_SMEM_STATIC(float, s, [32]);
    s[threadIdx.x] = 1.0f;
    __syncwarp();
    if (threadIdx.x == 31) {
        SECOND s[int(threadIdx.x) + past] = 1.0f;
    }
    out[threadIdx.x] = s[threadIdx.x];
}

__global__ void k_past_dynamic(float *out) {
    PK_SMEM_DYNAMIC(bytes, 128);
    float *s = reinterpret_cast<float *>(bytes);
    SECOND s[threadIdx.x * 2] = 1.0f;
    out[threadIdx.x] = 0.0f;
}

__global__ void k_ldmatrix_past_the_end(float *out) {
    PK_SMEM_DYNAMIC(bytes, 128);
    reinterpret_cast<float *>(bytes)[threadIdx.x] = 0.0f;
    __syncwarp();
    uint32_t r[4];
    SECOND ptx::ldmatrix_x4(r, ptx::smem_address(bytes) + threadIdx.x * 16);
    out[threadIdx.x] = __uint_as_float(r[0]);
}

/* ---- global memory ---- */

__global__ void k_blocks_write_one_place(float *out) {
    FIRST SECOND out[0] = float(blockIdx.x);
}

__global__ void k_block_reads_what_another_writes(float *out) {
    if (blockIdx.x == 0) {
        FIRST out[1 + threadIdx.x] = out[0];
    } else {
        SECOND out[0] = 3.0f;
    }
}

__global__ void k_plain_and_atomic(int *out) {
    if (threadIdx.x & 1) {
        FIRST atomicAdd(out, 1);
    } else {
        SECOND out[0] += 1;
    }
}

__global__ void k_last_block_without_fence(float *out, unsigned *count) {
    FIRST out[1 + blockIdx.x] = 1.0f;
    if (atomicAdd(count, 1u) == gridDim.x - 1) {
        SECOND out[0] = out[1] + out[2] + out[3];
    }
}

__global__ void k_past_the_buffer(float *out) {
    SECOND out[threadIdx.x + 481] = 1.0f;
}

__global__ void k_misaligned_vector(float *out, const float *x) {
    SECOND float4 v = *reinterpret_cast<const float4 *>(x + 1);
    out[threadIdx.x] = v.x + v.w;
}

__global__ void k_spins_on_a_flag(unsigned *flag) {
    while (atomicAdd(flag, 0u) == 0) { /* set by a block that never runs beside this one */
    }
}

__global__ void k_endless_loop(const float *x) {
    while (*reinterpret_cast<const volatile float *>(x) != 2.0f) {
    }
}

/* ---- cp.async ---- */

__global__ void k_misaligned_copy(float *out, const float *x) {
    PK_SMEM_DYNAMIC(s, 128);
    SECOND ptx::cp_async16(ptx::smem_address(s) + threadIdx.x * 16, x + threadIdx.x * 4 + 1, 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    out[threadIdx.x] = reinterpret_cast<float *>(s)[threadIdx.x * 4];
}

__global__ void k_copy_read_before_its_wait(float *out, const float *x) {
    PK_SMEM_DYNAMIC(s, 128);
    FIRST ptx::cp_async16(ptx::smem_address(s) + threadIdx.x * 16, x + threadIdx.x * 4, 16);
    ptx::cp_async_commit();
    SECOND out[threadIdx.x] = reinterpret_cast<float *>(s)[threadIdx.x * 4];
    ptx::cp_async_wait<0>();
}

__global__ void k_copy_read_after_one_wait_too_few(float *out, const float *x) {
    PK_SMEM_DYNAMIC(s, 128);
    uint32_t own = ptx::smem_address(s) + threadIdx.x * 16;
    ptx::cp_async16(own, x + threadIdx.x * 4, 16);
    ptx::cp_async_commit();
    FIRST ptx::cp_async16(own + 512, x + threadIdx.x * 4 + 128, 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<1>();
    SECOND out[threadIdx.x] = reinterpret_cast<float *>(s)[128 + threadIdx.x * 4];
    ptx::cp_async_wait<0>();
}

__global__ void k_copy_of_a_neighbour(float *out, const float *x) {
    PK_SMEM_DYNAMIC(s, 128);
    for (int i = 0; i < 4; i++) {
        reinterpret_cast<float *>(s)[threadIdx.x * 4 + unsigned(i)] = 0.0f;
    }
    __syncwarp();
    FIRST ptx::cp_async16(ptx::smem_address(s) + threadIdx.x * 16, x + threadIdx.x * 4, 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>(); /* covers the thread's own copies only */
    SECOND out[threadIdx.x] = reinterpret_cast<float *>(s)[(31 - threadIdx.x) * 4];
}

__global__ void k_copy_never_waited_for(float *out, const float *x) {
    PK_SMEM_DYNAMIC(s, 128);
    ptx::cp_async16(ptx::smem_address(s) + threadIdx.x * 16, x + threadIdx.x * 4, 16);
    ptx::cp_async_commit();
    out[threadIdx.x] = 0.0f;
}

std::vector<Case> barrier_cases() {
    return {
        {"a_missing_barrier_before_reuse_is_noticed", PLAIN | RACE, true,
         [] {
             Buffers b;
             return good(k_reused_sums, 1, 128, 0, b.out.get(), b.x.get()) &&
                    b.equal(128 * (128 * 1.5f + 1.5f) + 1.5f);
         }},
        {"a_missing_syncwarp_is_noticed", PLAIN | RACE, true,
         [] {
             Buffers b;
             return good(k_no_syncwarp, 1, 32, 0, b.out.get()) && b.mirrored();
         }},
        {"a_shuffle_taken_for_a_fence_is_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_shuffle_taken_for_a_fence, 1, 32, 0, b.out.get()) && b.mirrored();
         }},
        {"a_shuffle_in_a_divergent_branch_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_shuffle_in_a_branch, 1, 32, 0, b.out.get());
         }},
        {"two_different_syncthreads_are_noticed", EVERY, true,
         [] {
             Buffers b;
             return good(k_two_syncthreads, 1, 64, 0, b.out.get());
         }},
        {"syncthreads_in_a_lane_branch_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_syncthreads_in_a_lane_branch, 1, 64, 0, b.out.get());
         }},
        {"a_barrier_that_nobody_completes_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_missing_arrival, 1, 96, 0, b.out.get());
         }},
        {"a_ring_without_its_empty_barrier_is_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_ring_without_empty, 1, 96, 0, b.ints.get(), 9);
         }},
        {"unwritten_shared_memory_is_noticed", PLAIN | RACE, false,
         [] {
             Buffers b;
             return good(k_unwritten_shared, 1, 32, 0, b.out.get()) && b.equal(1.0f);
         }},
        {"a_write_past_static_shared_memory_is_noticed", RACE | ASAN, false,
         [] {
             Buffers b;
             return good(k_past_static, 1, 32, 0, b.out.get(), 1);
         }},
        {"a_write_past_dynamic_shared_memory_is_noticed", RACE | ASAN, false,
         [] {
             Buffers b;
             return good(k_past_dynamic, 1, 32, 128, b.out.get());
         }},
        {"ldmatrix_past_shared_memory_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_ldmatrix_past_the_end, 1, 32, 128, b.out.get());
         }},
    };
}

std::vector<Case> memory_cases() {
    return {
        {"two_blocks_writing_one_place_are_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_blocks_write_one_place, 3, 1, 0, b.out.get());
         }},
        {"a_block_overwriting_what_another_reads_is_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_block_reads_what_another_writes, 2, 1, 0, b.x.get());
         }},
        {"a_mix_of_plain_and_atomic_is_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_plain_and_atomic, 1, 64, 0, b.ints.get());
         }},
        {"a_last_block_without_a_fence_is_noticed", RACE, true,
         [] {
             Buffers b;
             return good(k_last_block_without_fence, 3, 1, 0, b.out.get(), b.flag.get());
         }},
        {"a_write_past_a_buffer_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_past_the_buffer, 1, 32, 0, b.out.get());
         }},
        {"a_misaligned_vector_load_is_noticed", ASAN, false,
         [] {
             Buffers b;
             return good(k_misaligned_vector, 1, 32, 0, b.out.get(), b.x.get());
         }},
        {"a_misaligned_cp_async_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_misaligned_copy, 1, 32, 512, b.out.get(), b.x.get());
         }},
        {"a_spin_on_another_blocks_flag_is_ended", EVERY, false,
         [] {
             Buffers b;
             return good(k_spins_on_a_flag, 1, 1, 0, b.flag.get());
         }},
        {"a_loop_that_never_calls_the_emulator_is_ended", PLAIN | RACE, false,
         [] {
             Buffers b;
             emu::config.cpu_ms_max = 20;
             bool ended = good(k_endless_loop, 1, 1, 0, b.x.get());
             emu::config.cpu_ms_max = 500;
             return ended;
         }},
        {"a_cp_async_read_before_its_wait_is_noticed", PLAIN | RACE, true,
         [] {
             Buffers b;
             return good(k_copy_read_before_its_wait, 1, 32, 512, b.out.get(), b.x.get()) &&
                    b.equal(1.5f);
         }},
        {"a_cp_async_group_left_in_flight_is_noticed", PLAIN | RACE, true,
         [] {
             Buffers b;
             return good(k_copy_read_after_one_wait_too_few, 1, 32, 1024, b.out.get(), b.x.get()) &&
                    b.equal(1.5f);
         }},
        {"a_cp_async_of_another_thread_without_barrier_is_noticed", PLAIN | RACE, true,
         [] {
             Buffers b;
             return good(k_copy_of_a_neighbour, 1, 32, 512, b.out.get(), b.x.get()) &&
                    b.equal(1.5f);
         }},
        {"a_cp_async_never_waited_for_is_noticed", EVERY, false,
         [] {
             Buffers b;
             return good(k_copy_never_waited_for, 1, 32, 512, b.out.get(), b.x.get());
         }},
    };
}

} // namespace

void negative_tests() {
    run_cases(barrier_cases(), "negative_test.cu");
    run_cases(memory_cases(), "negative_test.cu");
}

#endif
