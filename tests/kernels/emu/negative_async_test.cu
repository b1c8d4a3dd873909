/* Planted faults of wgmma, mbarriers, bulk copies, clusters and dependent launches. */
#include "kernels/cuda/prim/cluster.cuh"
#include "kernels/cuda/prim/copy.cuh"
#include "kernels/cuda/prim/mbarrier.cuh"
#include "kernels/cuda/prim/tma.cuh"
#include "kernels/cuda/prim/wgmma.cuh"

#ifdef PK_EMULATE

#include "tests/kernels/emu/negative.cuh"

using namespace negative;

namespace {

/* ---- wgmma ---- */

/* Zeroes A and B; fenced says whether the async proxy may read them. */
__device__ uint32_t zero_operands(uint8_t *smem, bool fenced) {
    for (int i = int(threadIdx.x); i < 16384 / 4; i += 128) {
        FIRST reinterpret_cast<uint32_t *>(smem)[i] = 0;
    }
    if (fenced) {
        ptx::fence_proxy_async_shared();
    }
    __syncthreads();
    return ptx::smem_address(smem);
}

__device__ uint64_t tile(uint32_t address) {
    return ptx::matrix_descriptor(address, 16, 1024, ptx::SWIZZLE_128);
}

enum WgmmaFault {
    NO_PROXY_FENCE,
    INIT_FENCE_FOR_PROXY,
    GLOBAL_FENCE_FOR_SHARED,
    READ_EARLY,
    THREE_WARPS,
    NO_WGMMA_FENCE,
    NEVER_WAITED,
    OPERAND_OVERWRITTEN,
    WRONG_ALIGNMENT
};

template <int FAULT> __global__ void __launch_bounds__(128) k_wgmma_fault(float *out) {
    PK_SMEM_DYNAMIC(smem, FAULT == WRONG_ALIGNMENT ? 128 : 1024);
    bool unfenced = FAULT == NO_PROXY_FENCE || FAULT == INIT_FENCE_FOR_PROXY ||
                    FAULT == GLOBAL_FENCE_FOR_SHARED;
    uint32_t base = zero_operands(smem, !unfenced);
    if (FAULT == INIT_FENCE_FOR_PROXY) {
        ptx::mbarrier_init_fence();
    }
    if (FAULT == GLOBAL_FENCE_FOR_SHARED) {
        ptx::fence_proxy_async_global();
    }
    __syncthreads();
    float d[32] = {};
    if (FAULT == THREE_WARPS && threadIdx.x >= 96) {
        return;
    }
    if (FAULT != NO_WGMMA_FENCE) {
        ptx::wgmma_fence();
    }
    if (FAULT == OPERAND_OVERWRITTEN) {
        FIRST ptx::wgmma_m64n64k16_bf16_ss<0, 0>(d, tile(base), tile(base + 8192), 1);
        ptx::wgmma_commit();
        SECOND reinterpret_cast<uint32_t *>(smem)[threadIdx.x] = 0x3f803f80u;
    } else {
        SECOND ptx::wgmma_m64n64k16_bf16_ss<0, 0>(d, tile(base), tile(base + 8192), 1);
        ptx::wgmma_commit();
    }
    if (FAULT == READ_EARLY) {
        out[threadIdx.x] = d[0];
    }
    if (FAULT != NEVER_WAITED) {
        ptx::wgmma_wait<0>();
    }
    if (FAULT != READ_EARLY) {
        out[threadIdx.x] = d[0];
    }
}

/* ---- mbarriers and bulk copies ---- */

enum BulkFault {
    WRONG_PROXY_ORDER,
    INIT_NOT_FENCED,
    INIT_NOT_SYNCED,
    WRONG_BYTES,
    NOT_WAITED,
    WRONG_PARITY,
    OVER_ARRIVAL,
    POLLS_FOREVER,
    GLOBAL_NOT_FENCED,
    MISPLACED,
    GOOD
};

/* One bulk load of 512 bytes, read by 32 threads. */
template <int FAULT> __global__ void k_bulk_fault(float *out, float *x) {
    PK_SMEM_DYNAMIC(smem, 128);
    PK_SMEM_STATIC(uint64_t, barriers, [1]);
    float *tile_values = reinterpret_cast<float *>(smem);
    uint32_t dst = ptx::smem_address(smem) + (FAULT == MISPLACED ? 8 : 0);
    uint32_t barrier = ptx::smem_address(barriers);
    if (FAULT == WRONG_PROXY_ORDER) { /* a generic write that the copy may overtake */
        FIRST tile_values[threadIdx.x] = 0.0f;
    }
    if (FAULT == GLOBAL_NOT_FENCED) {
        FIRST x[threadIdx.x] = float(threadIdx.x);
    }
    if (threadIdx.x == 0) {
        const int init_line = __LINE__ + 1;
        ptx::mbarrier_init(barrier, 1);
        if (FAULT == INIT_NOT_FENCED || FAULT == INIT_NOT_SYNCED) {
            first_line = init_line;
        }
        if (FAULT != INIT_NOT_FENCED) {
            ptx::mbarrier_init_fence();
        }
    }
    if (FAULT != INIT_NOT_SYNCED) {
        __syncthreads();
    }
    if (threadIdx.x == 32) {
        SECOND ptx::mbarrier_arrive_expect(barrier, FAULT == WRONG_BYTES ? 528 : 512);
        SECOND ptx::bulk_load(dst, x, 512, barrier);
        if (FAULT == OVER_ARRIVAL) {
            ptx::mbarrier_arrive(barrier);
            ptx::mbarrier_arrive(barrier);
        }
    }
    if (FAULT == POLLS_FOREVER) {
        while (!ptx::mbarrier_test(barrier, 1) || !ptx::mbarrier_test(barrier, 0)) {
        }
    } else if (FAULT == WRONG_PARITY) {
        ptx::mbarrier_wait(barrier, 1);
    } else if (FAULT != NOT_WAITED) {
        SECOND ptx::mbarrier_wait(barrier, 0);
    }
    out[threadIdx.x] = tile_values[threadIdx.x];
}

enum StoreFault { NO_STORE_FENCE, SOURCE_REUSED, EXIT_WHILE_READING, READ_BEFORE_WRITTEN };

template <int FAULT>
__global__ void k_store_fault(uint16_t *out, const __grid_constant__ pk::TensorMap map) {
    PK_SMEM_DYNAMIC(smem, 128);
    uint16_t *box = reinterpret_cast<uint16_t *>(smem);
    for (int i = int(threadIdx.x); i < 512; i += 32) { /* 8 x 64 */
        FIRST box[i] = uint16_t(i);
    }
    if (FAULT != NO_STORE_FENCE) {
        ptx::fence_proxy_async_shared();
    }
    __syncwarp();
    if (threadIdx.x != 0) {
        return;
    }
    if (FAULT == NO_STORE_FENCE) {
        SECOND ptx::tensor_store(&map, 0, 0, ptx::smem_address(smem));
    } else {
        FIRST ptx::tensor_store(&map, 0, 0, ptx::smem_address(smem));
    }
    ptx::store_commit();
    if (FAULT == SOURCE_REUSED) {
        SECOND box[0] = 9;
    }
    if (FAULT == READ_BEFORE_WRITTEN) {
        ptx::store_wait_read<0>();
        SECOND out[600] = out[1];
    }
    if (FAULT != EXIT_WHILE_READING) {
        ptx::store_wait<0>();
    }
}

/* ---- clusters ---- */

enum ClusterFault { PEER_EXITS, INIT_NOT_VISIBLE, NO_CLUSTER_SYNC };

template <int FAULT> __global__ void k_cluster_fault(float *out) {
    PK_SMEM_STATIC(uint64_t, barriers, [1]);
    uint32_t barrier = ptx::smem_address(barriers), rank = ptx::cluster_rank();
    if (threadIdx.x == 0) {
        FIRST ptx::mbarrier_init(barrier, 1);
        if (FAULT != INIT_NOT_VISIBLE) {
            ptx::mbarrier_init_fence();
        }
    }
    if (FAULT == NO_CLUSTER_SYNC) {
        __syncthreads();
    } else {
        ptx::cluster_arrive();
        ptx::cluster_wait();
    }
    if (FAULT == PEER_EXITS && rank == 1) {
        return;
    }
    if (threadIdx.x == 0) {
        SECOND ptx::mbarrier_arrive_cluster(ptx::cluster_map(barrier, rank ^ 1));
    }
    if (FAULT != PEER_EXITS) {
        ptx::mbarrier_wait(barrier, 0);
    }
    out[blockIdx.x * 32 + threadIdx.x] = 1.0f;
    ptx::cluster_arrive();
    ptx::cluster_wait();
}

enum MulticastFault { PEER_STILL_READS, PEER_EXPECTS_NOTHING, OUTSIDE_THE_CLUSTER, MULTICAST_GOOD };

/* The first CTA loads a box of 8 x 64 for both, twice into the same place. */
template <int FAULT>
__global__ void k_multicast_fault(float *out, const __grid_constant__ pk::TensorMap map) {
    PK_SMEM_DYNAMIC(smem, 128);
    PK_SMEM_STATIC(uint64_t, barriers, [1]);
    const uint32_t barrier = ptx::smem_address(barriers), rank = ptx::cluster_rank();
    const uint16_t mask = FAULT == OUTSIDE_THE_CLUSTER ? 7 : 3;
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(barrier, 1);
        ptx::mbarrier_init_fence();
    }
    ptx::cluster_arrive();
    ptx::cluster_wait();
    float sum = 0.0f;
    for (uint32_t pass = 0; pass < 2; pass++) {
        if (threadIdx.x == 0 && !(FAULT == PEER_EXPECTS_NOTHING && rank == 1)) {
            ptx::mbarrier_arrive_expect(barrier, 1024);
        }
        if (threadIdx.x == 0 && rank == 0) {
            SECOND ptx::tensor_load_multicast(ptx::smem_address(smem), &map, 0, 0, barrier, mask);
        }
        ptx::mbarrier_wait(barrier, pass);
        FIRST sum += float(reinterpret_cast<const uint16_t *>(smem)[threadIdx.x]);
        if (FAULT == PEER_STILL_READS) {
            __syncthreads(); /* of one CTA alone */
        } else {
            ptx::cluster_arrive();
            ptx::cluster_wait();
        }
    }
    out[blockIdx.x * 32 + threadIdx.x] = sum;
    ptx::cluster_arrive();
    ptx::cluster_wait();
}

/* ---- dependent launch ---- */

__global__ void k_writer(float *y, const float *x) {
    FIRST y[threadIdx.x] = x[threadIdx.x] + 1.0f;
}

enum GridFault { READ_TOO_EARLY, WRITE_TOO_EARLY, OVERWRITE_INPUT, NEVER_WAITS };

template <int FAULT> __global__ void k_dependent(float *z, float *y, float *x) {
    float value = 0.0f;
    if (FAULT == READ_TOO_EARLY) {
        SECOND value = y[threadIdx.x];
    }
    if (FAULT == WRITE_TOO_EARLY) {
        SECOND y[threadIdx.x] = 5.0f;
    }
    if (FAULT == OVERWRITE_INPUT) { /* the earlier grid may still read it */
        SECOND x[threadIdx.x] = 5.0f;
    }
    if (FAULT != NEVER_WAITS) {
        ptx::grid_wait();
        value = FAULT == READ_TOO_EARLY ? value : y[threadIdx.x];
    }
    z[threadIdx.x] = value;
}

template <int FAULT> bool wgmma_good() {
    Buffers b;
    return good(k_wgmma_fault<FAULT>, 1, 128, 16384, b.out.get()) && b.equal(0.0f);
}

std::vector<Case> wgmma_cases() {
    return {
        {"wgmma_without_a_proxy_fence_is_noticed", RACE, true, wgmma_good<NO_PROXY_FENCE>},
        {"an_mbarrier_init_fence_is_no_proxy_fence", RACE, true, wgmma_good<INIT_FENCE_FOR_PROXY>},
        {"a_global_proxy_fence_does_not_cover_shared_memory", RACE, true,
         wgmma_good<GLOBAL_FENCE_FOR_SHARED>},
        {"wgmma_accumulators_read_in_flight_are_noticed", EVERY, false, wgmma_good<READ_EARLY>},
        {"wgmma_by_three_of_four_warps_is_noticed", EVERY, false, wgmma_good<THREE_WARPS>},
        {"wgmma_without_its_fence_is_noticed", EVERY, false, wgmma_good<NO_WGMMA_FENCE>},
        {"wgmma_never_waited_for_is_noticed", EVERY, false, wgmma_good<NEVER_WAITED>},
        {"wgmma_operands_overwritten_in_flight_are_noticed", EVERY, true,
         wgmma_good<OPERAND_OVERWRITTEN>},
        {"a_swizzled_operand_off_its_pattern_is_noticed", EVERY, false,
         wgmma_good<WRONG_ALIGNMENT>},
    };
}

template <int FAULT> bool bulk_good() {
    Buffers b;
    return good(k_bulk_fault<FAULT>, 1, 64, 512, b.out.get(), b.x.get()) &&
           (FAULT == GLOBAL_NOT_FENCED || b.equal(1.5f));
}

template <int FAULT> bool store_good() {
    Buffers b;
    pk::TensorMap map;
    if (pk::tensor_map(&map, {b.matrix.get(), false, 8, 64, 128}, {8, 64, 0}) != 0) {
        return false;
    }
    return good(k_store_fault<FAULT>, 1, 32, 1024, b.matrix.get(), map) &&
           (FAULT != READ_BEFORE_WRITTEN || b.matrix.download()[600] == 1);
}

std::vector<Case> bulk_cases() {
    return {
        {"a_generic_write_under_a_bulk_load_is_noticed", RACE, true, bulk_good<WRONG_PROXY_ORDER>},
        {"a_bulk_load_of_unfenced_global_writes_is_noticed", RACE, true,
         bulk_good<GLOBAL_NOT_FENCED>},
        {"an_mbarrier_init_without_its_fence_is_noticed", EVERY, true, bulk_good<INIT_NOT_FENCED>},
        {"an_mbarrier_init_without_a_barrier_is_noticed", RACE, true, bulk_good<INIT_NOT_SYNCED>},
        {"a_wrong_transaction_count_deadlocks_with_a_report", EVERY, false, bulk_good<WRONG_BYTES>},
        {"a_bulk_load_not_waited_for_is_noticed", EVERY, false, bulk_good<NOT_WAITED>},
        {"a_wait_for_the_wrong_parity_is_noticed", EVERY, false, bulk_good<WRONG_PARITY>},
        {"too_many_arrivals_are_noticed", EVERY, false, bulk_good<OVER_ARRIVAL>},
        {"a_poll_that_never_succeeds_is_ended", EVERY, false, bulk_good<POLLS_FOREVER>},
        {"a_misaligned_bulk_load_is_noticed", EVERY, false, bulk_good<MISPLACED>},
        {"a_bulk_store_without_a_proxy_fence_is_noticed", RACE, true, store_good<NO_STORE_FENCE>},
        {"a_bulk_store_whose_source_is_reused_is_noticed", EVERY, true, store_good<SOURCE_REUSED>},
        {"a_bulk_store_that_outlives_its_block_is_noticed", EVERY, false,
         store_good<EXIT_WHILE_READING>},
        {"a_bulk_store_read_back_too_early_is_noticed", PLAIN | RACE, true,
         store_good<READ_BEFORE_WRITTEN>},
    };
}

template <int FAULT> bool cluster_good() {
    Buffers b;
    pk::Launch config = test::config("kernel", 2, 32);
    config.cluster = 2;
    return pk::launch(k_cluster_fault<FAULT>, config, b.out.get()) == pk::LAUNCH_OK;
}

template <int FAULT> bool multicast_good() {
    Buffers b;
    b.matrix.upload(std::vector<uint16_t>(1024, 3));
    pk::TensorMap map;
    if (pk::tensor_map(&map, {b.matrix.get(), false, 8, 64, 128}, {8, 64, 0}) != 0) {
        return false;
    }
    pk::Launch config = test::config("kernel", 2, 32, 1024);
    config.cluster = 2;
    return pk::launch(k_multicast_fault<FAULT>, config, b.out.get(), map) == pk::LAUNCH_OK &&
           b.equal(6.0f);
}

template <int FAULT> bool grid_good() {
    Buffers b;
    pk::Launch config = test::config("kernel", 1, 32);
    if (pk::launch(k_writer, config, b.y.get(), b.x.get()) != pk::LAUNCH_OK) {
        return true; /* noticed in the wrong kernel */
    }
    config.dependent = true;
    return pk::launch(k_dependent<FAULT>, config, b.out.get(), b.y.get(), b.x.get()) ==
               pk::LAUNCH_OK &&
           b.equal(FAULT == WRITE_TOO_EARLY ? 5.0f : 2.5f);
}

std::vector<Case> cluster_cases() {
    return {
        {"an_arrival_on_an_exited_peer_is_noticed", PLAIN | RACE, false, cluster_good<PEER_EXITS>},
        {"an_init_not_visible_to_the_cluster_is_noticed", EVERY, true,
         cluster_good<INIT_NOT_VISIBLE>},
        {"a_remote_arrival_without_a_cluster_barrier_is_noticed", RACE, false,
         cluster_good<NO_CLUSTER_SYNC>},
        {"a_multicast_over_what_the_peer_still_reads_is_noticed", RACE, true,
         multicast_good<PEER_STILL_READS>},
        {"a_multicast_that_the_peer_does_not_expect_is_noticed", EVERY, false,
         multicast_good<PEER_EXPECTS_NOTHING>},
        {"a_multicast_to_a_block_outside_the_cluster_is_noticed", EVERY, false,
         multicast_good<OUTSIDE_THE_CLUSTER>},
        {"reading_the_earlier_grid_before_the_wait_is_noticed", PLAIN | RACE, true,
         grid_good<READ_TOO_EARLY>},
        {"overwriting_the_earlier_grid_before_the_wait_is_noticed", EVERY, true,
         grid_good<WRITE_TOO_EARLY>},
        {"overwriting_the_earlier_grids_input_before_the_wait_is_noticed", RACE, true,
         grid_good<OVERWRITE_INPUT>},
        {"a_dependent_grid_that_never_waits_is_noticed", EVERY, false, grid_good<NEVER_WAITS>},
    };
}

void the_same_bulk_load_without_a_fault_passes() {
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        TEST_CHECK(bulk_good<GOOD>(), emu::last_error);
    }
}

void the_same_multicast_without_a_fault_passes() {
    for (int s = 0; s < test::seeds(); s++) {
        test::seed(uint64_t(s));
        TEST_CHECK(multicast_good<MULTICAST_GOOD>(), emu::last_error);
    }
}

} // namespace

void negative_async_tests() {
    TEST_RUN(the_same_bulk_load_without_a_fault_passes);
    TEST_RUN(the_same_multicast_without_a_fault_passes);
    run_cases(wgmma_cases(), "negative_async_test.cu");
    run_cases(bulk_cases(), "negative_async_test.cu");
    run_cases(cluster_cases(), "negative_async_test.cu");
}

#endif
