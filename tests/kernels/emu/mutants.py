"""Plants one fault at a time in kernels and asks that the emulator's tests notice it, in the plain
or in the race build. Prints an "ok" or "not ok" line for each.

usage: mutants.py PLAN [NAME]   PLAN: a JSON file that CMake writes (cmake/emu.cmake)
"""
import json
import os
import sys
import tempfile

import mutate

ATTN, TILE = "kernels/cuda/attn.cu", "kernels/cuda/attn_tile.cuh"
ATTN_WGMMA, PIPELINE = "kernels/cuda/attn_wgmma.cu", "tests/kernels/emu/pipeline_test.cu"
LINEAR, WGMMA = "kernels/cuda/linear.cu", "kernels/cuda/linear_wgmma.cu"
EPILOGUE, FINISH = "kernels/cuda/linear_epilogue.cuh", "kernels/cuda/linear_finish.cu"
NORM, HEADS = "kernels/cuda/norm.cu", "kernels/cuda/heads.cu"
ROUND = "kernels/cuda/linear_round.cuh"
# Names of the tests that are to notice, part by part.
FILTER = {ATTN: ["attention"], TILE: ["attention"], ATTN_WGMMA: ["attention"],
          PIPELINE: ["product"], LINEAR: ["a_product"],
          WGMMA: ["products_refuse", "a_product"],
          EPILOGUE: ["few_ctas", "an_output"], FINISH: ["few_ctas"], NORM: ["norm"],
          HEADS: ["heads"], ROUND: ["rounding", "norm"]}
# What is compiled where a header is mutated.
INCLUDERS = {TILE: [ATTN, ATTN_WGMMA], EPILOGUE: [LINEAR, WGMMA, FINISH], ROUND: [HEADS, NORM]}

# name, file, text, replacement, which occurrence (0 is the first)
MUTANTS = [
    ("attn_band_without_barrier_after_q_and_k", ATTN,
     "__syncthreads(); /* all threads' copies of q and k", "/*", 0),
    ("attn_band_without_barrier_after_v", ATTN,
     "__syncthreads(); /* all threads' copies of v", "/*", 0),
    ("attn_global_without_barrier_after_the_copies", ATTN,
     "__syncthreads(); /* all threads' copies of this step", "/*", 0),
    ("attn_global_without_barrier_before_reuse", ATTN,
     "__syncthreads(); /* every warp's reads of this stage", "/*", 0),
    ("attn_global_without_barrier_between_items", ATTN,
     "__syncthreads(); /* every warp's reads of its rows", "/*", 0),
    ("attn_band_without_barrier_between_items", ATTN,
     "__syncthreads(); /* every warp's reads of q", "/*", 0),
    ("attn_without_syncwarp_in_the_epilogue", TILE, "__syncwarp(); /* the stores", "/*", 0),
    ("attn_band_waits_for_one_group_too_few", ATTN, "cp_async_wait<1>", "cp_async_wait<2>", 0),
    ("attn_global_waits_for_one_group_too_few", ATTN, "cp_async_wait<1>", "cp_async_wait<2>", 1),
    ("attn_band_one_key_short_behind", ATTN, "distance <= window &&", "distance < window &&", 0),
    ("attn_band_one_key_short_ahead", ATTN, "-distance <= window;", "-distance < window;", 0),
    ("attn_band_one_key_past_the_end", ATTN, "key < work.len && distance",
     "key <= work.len && distance", 0),
    ("attn_global_one_key_past_the_end", ATTN, "s[i] = key < work.len ?",
     "s[i] = key <= work.len ?", 0),
    ("attn_v_not_transposed", ATTN, "ldmatrix_x4_trans", "ldmatrix_x4", 0),
    ("attn_rows_of_the_next_sequence_loaded", ATTN, "from >= 0 && from < len", "from >= 0", 0),
    ("attn_rows_past_the_end_stored", TILE, "if (query < work.len)", "if (query >= 0)", 0),
    ("attn_fragment_registers_swapped", ATTN, "pack<BF16>(p[k + 4], p[k + 5])",
     "pack<BF16>(p[k + 6], p[k + 7])", 0),
    ("attn_sum_not_rescaled", TILE, "sum[half] *= shrink[half];", "", 0),
    ("attn_without_swizzle", TILE, "(chunk ^ (row & 7))", "chunk", 0),
    ("attn_output_not_rescaled", ATTN, "o[i] *= shrink[i / 2 % 2];", "", 0),
    ("attn_grid_wait_missing", ATTN, "ptx::grid_wait();", "", 1),
    ("attn_wgmma_grid_wait_missing", ATTN_WGMMA, "ptx::grid_wait();", "", 0),
    ("attn_wgmma_without_init_fence", ATTN_WGMMA, "ptx::mbarrier_init_fence();", "", 0),
    ("attn_wgmma_without_barrier_after_init", ATTN_WGMMA, "__syncthreads(); /* the inits", "/*", 0),
    ("attn_wgmma_last_values_with_what_lies_behind", ATTN_WGMMA, "if (first + KEYS <= work.len) {",
     "if (true) {", 0),
    ("attn_wgmma_last_values_not_zeroed", ATTN_WGMMA, "const bool inside = row < rows;",
     "const bool inside = true;", 0),
    ("attn_wgmma_last_values_without_proxy_fence", ATTN_WGMMA,
     "ptx::fence_proxy_async_shared();", "", 0),
    ("attn_wgmma_last_values_without_their_wait", ATTN_WGMMA, "ptx::cp_async_wait<0>();", "", 0),
    ("attn_wgmma_last_values_without_syncwarp", ATTN_WGMMA,
     "__syncwarp();                    /* every",
     "/*", 0),
    ("attn_wgmma_slots_taken_without_waiting", ATTN_WGMMA,
     "ptx::mbarrier_wait(barrier, parity ^ 1);", "", 0),
    ("attn_wgmma_slots_waited_for_with_the_wrong_parity", ATTN_WGMMA,
     "mbarrier_wait(barrier, parity ^ 1)",
     "mbarrier_wait(barrier, parity)", 0),
    ("attn_wgmma_queries_released_too_early", ATTN_WGMMA,
     "    release(shared.q_empty + query_slot * 8);\n",
     "", 0),
    ("attn_wgmma_scores_not_waited_for", ATTN_WGMMA, "ptx::wgmma_wait<1>();", "", 0),
    ("attn_wgmma_values_waited_for_one_group_too_few", ATTN_WGMMA, "ptx::wgmma_wait<0>();",
     "ptx::wgmma_wait<1>();", 1),
    ("attn_wgmma_without_fence", ATTN_WGMMA, "ptx::wgmma_fence();", "", 0),
    ("attn_wgmma_keys_released_early", ATTN_WGMMA, "release_slot(shared, position + 2);",
     "release_slot(shared, position + 1);", 0),
    ("attn_wgmma_keys_never_waited_for", ATTN_WGMMA, "wait_full(shared, position + 2);", "", 0),
    ("attn_wgmma_values_never_waited_for", ATTN_WGMMA, "wait_full(shared, position + 1);", "", 1),
    ("attn_wgmma_end_not_masked", ATTN_WGMMA, "mask_end(s, tile * KEYS, work.len);", "", 0),
    ("attn_wgmma_one_key_past_the_end", ATTN_WGMMA, "s[i] = key < len", "s[i] = key <= len", 0),
    ("attn_wgmma_output_not_rescaled", ATTN_WGMMA, "o[i] *= shrink[i / 2 % 2];", "", 0),
    ("attn_wgmma_turn_never_given", ATTN_WGMMA, "ptx::barrier_arrive(TURN, 2 * 128);", "", 0),
    ("attn_wgmma_turn_owed_at_the_end", ATTN_WGMMA,
     "last && group == 1 && tile", "group == 1 && tile", 0),
    ("attn_wgmma_values_not_transposed", ATTN_WGMMA, "bf16_rs<1>", "bf16_rs<0>", 0),
    ("attn_wgmma_values_off_by_a_step", ATTN_WGMMA,
     "v + step * 16 * ROW_BYTES", "v + step * 8 * ROW_BYTES",
     0),
    ("attn_wgmma_second_warpgroup_with_the_first_ones_queries", ATTN_WGMMA,
     "+ uint32_t(group) * GROUP_BYTES;", ";", 0),
    ("attn_wgmma_scores_of_the_tile_before", ATTN_WGMMA, "step != 0);", "1);", 1),
    ("attn_wgmma_value_columns_of_the_keys", ATTN_WGMMA, "v_col = k_col + int(heads) * DIM",
     "v_col = k_col", 0),
    ("pipeline_producer_waits_for_the_wrong_parity", PIPELINE, "ring.parity(step) ^ 1",
     "ring.parity(step)", 0),
    ("pipeline_producer_never_waits", PIPELINE,
     "ptx::mbarrier_wait(ring.empty + stage * 8, ring.parity(step) ^ 1);", "", 0),
    ("pipeline_consumer_never_waits", PIPELINE,
     "ptx::mbarrier_wait(ring.full + stage * 8, ring.parity(*step));", "", 0),
    ("pipeline_without_init_fence", PIPELINE, "ptx::mbarrier_init_fence();", "", 0),
    ("pipeline_without_barrier_after_init", PIPELINE, "__syncthreads();", "", 0),
    ("pipeline_without_proxy_fence_before_the_store", PIPELINE, "ptx::fence_proxy_async_shared();",
     "", 0),
    ("pipeline_boxes_reused_too_early", PIPELINE, "ptx::store_wait_read<0>();", "", 0),
    ("pipeline_without_barrier_before_the_boxes", PIPELINE, "ptx::barrier_sync(1 + group, 128);",
     "", 0),
    ("pipeline_without_barrier_before_the_store", PIPELINE, "ptx::barrier_sync(1 + group, 128);",
     "", 1),
    ("pipeline_exits_with_stores_in_flight", PIPELINE, "ptx::store_wait<0>();", "", 0),
    ("pipeline_without_wgmma_fence", PIPELINE, "ptx::wgmma_fence();", "", 0),
    ("pipeline_without_wgmma_wait", PIPELINE, "ptx::wgmma_wait<0>();", "", 0),
    ("pipeline_releases_a_stage_still_read", PIPELINE, "ptx::wgmma_wait<0>();",
     "ptx::wgmma_wait<1>();", 0),
    ("pipeline_expects_too_many_bytes", PIPELINE, "mbarrier_arrive_expect(full, STAGE_BYTES)",
     "mbarrier_arrive_expect(full, STAGE_BYTES + 16)", 0),
    ("pipeline_wrong_stride_in_the_descriptor", PIPELINE, "16, 1024, ptx::SWIZZLE_128",
     "16, 512, ptx::SWIZZLE_128", 0),
    ("pipeline_tiles_off_their_pattern", PIPELINE, "PK_SMEM_DYNAMIC(smem, 1024)",
     "PK_SMEM_DYNAMIC(smem, 128)", 0),
    ("pipeline_one_arrival_too_few", PIPELINE, "ring.empty + s * 8, 8", "ring.empty + s * 8, 7", 0),
    ("linear_without_barrier_before_a_stage_is_read", LINEAR,
     "__syncthreads(); /* copies of this stage", "/*", 0),
    ("linear_without_barrier_before_the_next_tile", LINEAR,
     "__syncthreads(); /* reads of the last stages", "/*", 0),
    ("linear_waits_for_one_group_too_few", LINEAR, "cp_async_wait<STAGES - 2>",
     "cp_async_wait<STAGES - 1>", 0),
    ("linear_reads_k_past_the_end", LINEAR, "at < k ? rows - first - row : 0",
     "rows - first - row", 0),
    ("linear_without_swizzle", LINEAR, "(chunk ^ (row & 7))", "chunk", 0),
    ("linear_does_not_wait_for_the_grid_before", LINEAR, "ptx::grid_wait();", "", 0),
    ("wgmma_producer_never_waits", WGMMA,
     "ptx::mbarrier_wait(ring.empty + stage * 8, parity_of<T>(count) ^ 1);", "", 0),
    ("wgmma_consumer_never_waits", WGMMA,
     "ptx::mbarrier_wait(ring.full + stage * 8, parity_of<T>(*count));", "", 0),
    ("wgmma_releases_a_stage_still_read", WGMMA, "release<T>(ring, *count - 1);",
     "release<T>(ring, *count);", 0),
    ("wgmma_waits_for_one_step_too_few", WGMMA, "wgmma_wait<1>", "wgmma_wait<2>", 0),
    ("wgmma_stores_accumulators_in_flight", WGMMA, "ptx::wgmma_wait<0>();", "", 0),
    ("wgmma_without_fence", WGMMA, "ptx::wgmma_fence();", "", 0),
    ("wgmma_never_starts_from_zero", WGMMA, "k > 0 || step > 0", "1", 0),
    ("wgmma_without_init_fence", WGMMA, "ptx::mbarrier_init_fence();", "", 0),
    ("wgmma_one_arrival_too_few", WGMMA, "T::GROUPS * 4 * T::CLUSTER", "T::GROUPS * 4 * T::CLUSTER - 1",
     0),
    ("wgmma_pair_releases_its_own_stage_only", WGMMA, "ptx::cluster_map(empty, threadIdx.x % 32)",
     "ptx::cluster_map(empty, ptx::cluster_rank())", 0),
    ("wgmma_pair_waits_for_its_own_consumers_only", WGMMA, "T::GROUPS * 4 * T::CLUSTER",
     "T::GROUPS * 4", 0),
    ("wgmma_pair_loads_one_half_twice", WGMMA, "col + int(part), full", "col, full", 0),
    ("wgmma_pair_without_barrier_before_the_first_load", WGMMA,
     "ptx::cluster_arrive();\n        ptx::cluster_wait();", "__syncthreads();", 0),
    ("wgmma_pair_leaves_while_its_peer_works", WGMMA,
     "ptx::cluster_arrive();\n        ptx::cluster_wait();", "", 1),
    ("wgmma_pair_takes_the_same_rows", WGMMA, "* T::CLUSTER + rank)", "* T::CLUSTER)", 0),
    ("wgmma_second_group_is_never_let_go", WGMMA, "ptx::barrier_arrive(1, 2 * GROUP_THREADS);", "",
     0),
    ("wgmma_loads_the_first_weights_twice", WGMMA, "if (count >= early)", "if (true)", 0),
    ("wgmma_loads_act_before_the_grid_before_is_complete", WGMMA, "ptx::grid_wait();", "", 0),
    ("wgmma_deep_rings_are_one_stage_short", WGMMA, "size_t(STAGES) * STAGE_BYTES;",
     "size_t(STAGES - 1) * STAGE_BYTES;", 0),
    ("wgmma_a_ring_of_another_depth_serves", WGMMA,
     "(task.stages == 0 || choice.stages == task.stages)", "true", 0),
    ("epilogue_rotates_the_wrong_way", EPILOGUE, "- y.x * sine[j].x", "+ y.x * sine[j].x", 0),
    ("epilogue_scales_k_as_q", EPILOGUE, "part == 0 ? Q_SCALE : 1.0f", "Q_SCALE", 0),
    ("epilogue_rotates_v", EPILOGUE, "if (part < 2) {", "if (true) {", 0),
    ("epilogue_takes_the_first_position_for_all", EPILOGUE, "size_t(p.positions[row]) *",
     "size_t(0) *", 0),
    ("epilogue_halves_of_a_head_in_one_place", EPILOGUE, "(out + c + HALF_HEAD) =", "(out + c) =",
     0),
    ("epilogue_gates_are_values", EPILOGUE, "gelu(d[i]) * d[i + 4]", "gelu(d[i + 4]) * d[i]", 0),
    ("epilogue_gelu_without_its_half", EPILOGUE, "return 0.5f * x *", "return x *", 0),
    ("epilogue_stores_rows_past_the_last", EPILOGUE, "if (r < rows) {", "if (true) {", 0),
    ("epilogue_stores_columns_past_the_last", EPILOGUE, "if (col + 8 * q < p.n) {", "if (true) {",
     0),
    ("finish_does_not_wait_for_the_grid_before", FINISH, "ptx::grid_wait();", "", 0),
    ("finish_takes_the_columns_of_another_lane", FINISH, "lane % 4 * 2;", "lane % 4;", 0),
    ("finish_leaves_strips_out", FINISH, "strip += int(gridDim.x) * WARPS)",
     "strip += int(gridDim.x) * WARPS * 2)", 0),
    ("round_saturates_nothing", ROUND, "ptx::clamp_nan(lo, PK_F16_MAX)", "lo", 0),
    ("round_counts_the_lower_half_alone", ROUND, "+ uint32_t(fabsf(hi) > PK_F16_MAX)", "", 0),
    ("round_every_lane_adds", ROUND, "&& threadIdx.x % 32 == 0", "", 0),
    ("norm_does_not_wait_for_the_grid_before", NORM, "ptx::grid_wait();", "", 0),
    ("norm_forgets_what_it_added", NORM, "                    x[at] = v[i];\n", "", 0),
    ("norm_takes_one_chunk_s_weights_for_all", NORM, "d[i] = a.weight[at];",
     "d[i] = a.weight[lane];", 0),
    ("norm_sums_half_a_warp", NORM, "distance = 16", "distance = 8", 0),
    ("norm_writes_rows_past_the_last", NORM, "row < rows;", "row <= rows;", 0),
    ("heads_without_barrier_before_the_terms_are_read", HEADS,
     "__syncthreads(); /* terms and logits", "/*", 0),
    ("heads_without_barrier_before_the_next_tile", HEADS, "__syncthreads(); /* those reads", "/*",
     0),
    ("heads_take_the_next_sequence_for_their_own", HEADS,
     "&& int(h.positions[row + distance]) == position + distance", "", 0),
    ("heads_take_the_sequence_before_for_their_own", HEADS, "return position + distance >= 0;",
     "return row + distance >= 0;", 0),
    ("heads_do_not_wait_for_the_grid_before", HEADS, "ptx::grid_wait();", "", 0),
    ("rounding_does_not_wait_for_the_grid_before", HEADS, "ptx::grid_wait();", "", 1),
    ("heads_leave_rounded_vectors_out", HEADS, "at += gridDim.x * size_t(THREADS)",
     "at += gridDim.x * size_t(THREADS) * 2", 0),
]


def planted(plan, line):
    """A line of MUTANTS as a mutant of mutate.py, and its source."""
    name, path, text, replacement, occurrence = line
    with open(os.path.join(plan["source"], path), encoding="utf-8") as file:
        source = file.read()
    at = -1
    for _ in range(occurrence + 1):
        at = source.find(text, at + 1)
    if at < 0:
        raise SystemExit(f"mutants.py: no longer in the source: {text}")
    return mutate.Mutant(path, 0, at, at + len(text), replacement, name), source


def check_distinct(plan):
    """Two names of one mutant would hide that a line has none."""
    seen = {}
    for line in MUTANTS:
        mutant, source = planted(plan, line)
        mutated = source[:mutant.start] + mutant.text + source[mutant.end:]
        other = seen.setdefault((mutant.path, mutated), line[0])
        if other != line[0]:
            raise SystemExit(f"mutants.py: {line[0]} and {other} are the same")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    check_distinct(plan)
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    missed = 0
    for line in MUTANTS:
        if wanted in line[0]:
            mutant, source = planted(plan, line)
            target = (mutant.path, FILTER[mutant.path], INCLUDERS.get(mutant.path, []))
            with tempfile.TemporaryDirectory() as folder:
                by = mutate.verdict(plan, ["plain", "race"], mutant, source, target, folder)
            noticed = by in ("plain", "race")
            print(f"{'ok' if noticed else 'not ok'} {line[0]} {by}", flush=True)
            missed += not noticed
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
