/* Bulk copies between global and shared memory: boxes of a row-major matrix through a tensor map
 * (passed to the kernel by value, as const __grid_constant__), and plain runs of bytes.
 *
 * A box of box_rows x box_cols lies in shared memory row after row, without padding. With a swizzle
 * of S bytes the box is at most S bytes wide, and the 16-byte chunk at address a is stored at
 * a ^ ((a >> 7 & (S / 16 - 1)) << 4), a shared address; so a tile that starts at a multiple of
 * 8 * S keeps its pattern. Elements outside the matrix load as zero and are not stored. */
#ifndef PK_CUDA_PRIM_TMA_CUH
#define PK_CUDA_PRIM_TMA_CUH

#include "kernels/cuda/prim/gpu.cuh"

#ifndef PK_EMULATE
#include <cuda.h>
#endif

namespace pk {

#ifdef PK_EMULATE
typedef emu::TensorMap TensorMap;
#else
typedef CUtensorMap TensorMap;
#endif

/* A row-major matrix of 2-byte elements. */
struct Matrix16 {
    void *data; /* aligned to 16 bytes */
    bool bf16;  /* else f16 */
    uint64_t rows, cols;
    uint64_t stride_bytes; /* between rows, a multiple of 16 */
};

struct Box {
    uint32_t rows, cols;    /* at most 256 each; a row is a multiple of 16 bytes */
    uint32_t swizzle_bytes; /* 0, 32, 64, 128 */
};

#ifdef PK_EMULATE

/* 0, or the reason (a CUresult on a GPU) that the map is refused. */
inline int tensor_map(TensorMap *map, const Matrix16 &m, const Box &box) {
    *map = {static_cast<uint8_t *>(m.data),
            m.rows,
            m.cols,
            m.stride_bytes,
            box.rows,
            box.cols,
            2,
            box.swizzle_bytes};
    return 0; /* checked where it is used */
}

#else

inline int tensor_map(TensorMap *map, const Matrix16 &m, const Box &box) {
    typedef CUresult Encode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                            const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                            const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
    void *entry = nullptr; /* of the driver, which is not linked */
    cudaDriverEntryPointQueryResult found;
    const unsigned since = 12000; /* CUDA 12.0 */
    cudaError_t got = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, since,
                                                       cudaEnableDefault, &found);
    if (got != cudaSuccess || entry == nullptr) {
        return CUDA_ERROR_NOT_FOUND;
    }
    CUtensorMapSwizzle swizzle = box.swizzle_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                 : box.swizzle_bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                 : box.swizzle_bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                           : CU_TENSOR_MAP_SWIZZLE_NONE;
    CUtensorMapDataType type =
        m.bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    const cuuint64_t sizes[2] = {m.cols, m.rows}, strides[1] = {m.stride_bytes};
    const cuuint32_t boxes[2] = {box.cols, box.rows}, ones[2] = {1, 1};
    return reinterpret_cast<Encode *>(entry)(
        map, type, 2, m.data, sizes, strides, boxes, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

#endif

} // namespace pk

namespace ptx {

#ifdef PK_EMULATE

/* The box whose first element is (row, col), into dst; its bytes count on the mbarrier. */
PTX_FN void tensor_load(uint32_t dst, const pk::TensorMap *map, int col, int row,
                        uint32_t barrier PTX_SITE) {
    emu::tensor_load(dst, *map, col, row, barrier, 0, site);
}
/* The same box into the same address of every CTA in the mask, each with its own mbarrier at the
 * same address. */
PTX_FN void tensor_load_multicast(uint32_t dst, const pk::TensorMap *map, int col, int row,
                                  uint32_t barrier, uint16_t cta_mask PTX_SITE) {
    emu::tensor_load(dst, *map, col, row, barrier, cta_mask, site);
}
PTX_FN void bulk_load(uint32_t dst, const void *src, uint32_t bytes, uint32_t barrier PTX_SITE) {
    emu::bulk_load(dst, src, bytes, barrier, site);
}
PTX_FN void tensor_store(const pk::TensorMap *map, int col, int row, uint32_t src PTX_SITE) {
    emu::tensor_store(*map, col, row, src, site);
}
PTX_FN void store_commit() {
    emu::bulk_store_commit();
}
/* Returns when at most N of the thread's store groups are in flight; _read: still read shared
 * memory, which may then be reused. */
template <int N> PTX_FN void store_wait() {
    emu::bulk_store_wait(N, false);
}
template <int N> PTX_FN void store_wait_read() {
    emu::bulk_store_wait(N, true);
}
PTX_FN void tensor_map_prefetch(const pk::TensorMap *) {
}

#else

PTX_FN void tensor_load(uint32_t dst, const pk::TensorMap *map, int col, int row,
                        uint32_t barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(dst),
                 "l"(map), "r"(col), "r"(row), "r"(barrier)
                 : "memory");
}
PTX_FN void tensor_load_multicast(uint32_t dst, const pk::TensorMap *map, int col, int row,
                                  uint32_t barrier, uint16_t cta_mask) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(dst),
                 "l"(map), "r"(col), "r"(row), "r"(barrier), "h"(cta_mask)
                 : "memory");
}
PTX_FN void bulk_load(uint32_t dst, const void *src, uint32_t bytes, uint32_t barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(dst),
                 "l"(src), "r"(bytes), "r"(barrier)
                 : "memory");
}
PTX_FN void tensor_store(const pk::TensorMap *map, int col, int row, uint32_t src) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group "
                 "[%0, {%1, %2}], [%3];" ::"l"(map),
                 "r"(col), "r"(row), "r"(src)
                 : "memory");
}
PTX_FN void store_commit() {
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
template <int N> PTX_FN void store_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
template <int N> PTX_FN void store_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
PTX_FN void tensor_map_prefetch(const pk::TensorMap *map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

#endif

} // namespace ptx

#endif
