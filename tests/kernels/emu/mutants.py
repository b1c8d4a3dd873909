"""Plants one fault at a time in kernels and asks that the emulator's tests notice it, in the plain
or in the race build. Prints an "ok" or "not ok" line for each.

usage: mutants.py PLAN [NAME]   PLAN: a JSON file that CMake writes (cmake/emu.cmake)
"""
import json
import os
import subprocess
import sys
import tempfile

ATTN, TILE = "kernels/cuda/attn.cu", "kernels/cuda/attn_tile.cuh"
ATTN_WGMMA, PIPELINE = "kernels/cuda/attn_wgmma.cu", "tests/kernels/emu/pipeline_test.cu"
LINEAR, WGMMA = "kernels/cuda/linear.cu", "kernels/cuda/linear_wgmma.cu"
NORM, HEADS = "kernels/cuda/norm.cu", "kernels/cuda/heads.cu"
FILTER = {ATTN: "attention", TILE: "attention", ATTN_WGMMA: "attention", PIPELINE: "product",
          LINEAR: "a_product", WGMMA: "a_product", NORM: "norm", HEADS: "heads"}
# What is compiled where a header is mutated.
INCLUDERS = {TILE: [ATTN, ATTN_WGMMA]}

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
    ("attn_without_syncwarp_before_the_epilogue", TILE, "__syncwarp(); /* what the warp", "/*", 0),
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
     "+ uint32_t(group) * GROUP_BYTES;", "", 0),
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
    ("norm_does_not_wait_for_the_grid_before", NORM, "ptx::grid_wait();", "", 0),
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
]


def mutate(source, text, replacement, occurrence):
    at = -1
    for _ in range(occurrence + 1):
        at = source.find(text, at + 1)
    if at < 0:
        raise SystemExit(f"mutants.py: no longer in the source: {text}")
    return source[:at] + replacement + source[at + len(text):]


def noticed(plan, mutant, folder):
    """The build that notices it, "" when none does."""
    name, path, text, replacement, occurrence = mutant
    with open(os.path.join(plan["source"], path), encoding="utf-8") as file:
        mutated = mutate(file.read(), text, replacement, occurrence)
    place = os.path.join(folder, name)  # searched before the tree, so a header is found there
    source = os.path.join(place, path)
    os.makedirs(os.path.dirname(source))
    with open(source, "w", encoding="utf-8") as file:
        file.write(mutated)
    compiled = INCLUDERS.get(path, [path])
    for build in ("plain", "race"):
        program = os.path.join(folder, "mutant")
        flags = ["-std=c++17", "-DPK_EMULATE", "-g", "-w", "-fno-strict-aliasing",
                 "-ffp-contract=off", "-I" + place, "-I" + plan["source"]] + plan[build]["flags"]
        built = []
        for unit in compiled:
            built.append(os.path.join(folder, os.path.basename(unit) + ".o"))
            text = source if unit == path else os.path.join(plan["source"], unit)
            subprocess.run([plan["compiler"], *flags, "-x", "c++", "-c", text, "-o", built[-1]],
                           check=True)
        others = [o for o in plan[build]["objects"]
                  if not any(o.endswith("/" + unit + ".o") for unit in compiled)]
        if len(others) + len(compiled) != len(plan[build]["objects"]):
            raise SystemExit(f"mutants.py: {compiled} are not among the program's objects")
        subprocess.run([plan["compiler"], *others, *built, "-o", program, "-ldl", "-lm"],
                       check=True)
        try:
            status = subprocess.run([program, FILTER[path]], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, timeout=120).returncode
        except subprocess.TimeoutExpired:
            status = 1
        if status != 0:
            return build
    return ""


def check_distinct(plan):
    """Two names of one mutant would hide that a line has none."""
    seen = {}
    for name, path, text, replacement, occurrence in MUTANTS:
        with open(os.path.join(plan["source"], path), encoding="utf-8") as file:
            mutated = mutate(file.read(), text, replacement, occurrence)
        other = seen.setdefault((path, mutated), name)
        if other != name:
            raise SystemExit(f"mutants.py: {name} and {other} are the same")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    check_distinct(plan)
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for mutant in MUTANTS:
            if wanted in mutant[0]:
                build = noticed(plan, mutant, folder)
                print(f"{'ok' if build else 'not ok'} {mutant[0]} {build}", flush=True)
                missed += not build
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
