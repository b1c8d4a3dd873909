"""Plants one fault at a time in kernels and asks that the emulator's tests notice it, in the plain
or in the race build. Prints an "ok" or "not ok" line for each.

usage: mutants.py PLAN [NAME]   PLAN: a JSON file that CMake writes (cmake/emu.cmake)
"""
import json
import os
import subprocess
import sys
import tempfile

ATTN, PIPELINE = "kernels/cuda/attn.cu", "tests/kernels/emu/pipeline_test.cu"
FILTER = {ATTN: "attention", PIPELINE: "product"}

# name, file, text, replacement, which occurrence (0 is the first)
MUTANTS = [
    ("attn_band_without_barrier_after_q_and_k", ATTN,
     "__syncthreads(); /* all threads' copies of q and k", "/*", 0),
    ("attn_band_without_barrier_after_v", ATTN,
     "__syncthreads(); /* all threads' copies of v", "/*", 0),
    ("attn_global_without_barrier_after_the_copies", ATTN,
     "__syncthreads(); /* all threads' copies of this step", "/*", 0),
    ("attn_global_without_barrier_before_reuse", ATTN, "__syncthreads(); /* every warp's", "/*", 0),
    ("attn_without_syncwarp_in_the_epilogue", ATTN, "__syncwarp();", "", 0),
    ("attn_band_waits_for_one_group_too_few", ATTN, "cp_async_wait<1>", "cp_async_wait<2>", 0),
    ("attn_global_waits_for_one_group_too_few", ATTN, "cp_async_wait<1>", "cp_async_wait<2>", 1),
    ("attn_band_one_key_short_behind", ATTN, "distance <= window &&", "distance < window &&", 0),
    ("attn_band_one_key_short_ahead", ATTN, "-distance <= window;", "-distance < window;", 0),
    ("attn_band_one_key_past_the_end", ATTN, "key < tile.len && distance",
     "key <= tile.len && distance", 0),
    ("attn_global_one_key_past_the_end", ATTN, "s[n][i] = key < tile.len ?",
     "s[n][i] = key <= tile.len ?", 0),
    ("attn_v_not_transposed", ATTN, "ldmatrix_x4_trans", "ldmatrix_x4", 0),
    ("attn_rows_of_the_next_sequence_loaded", ATTN, "from >= 0 && from < len", "from >= 0", 0),
    ("attn_rows_past_the_end_stored", ATTN, "if (query < tile.len)", "if (query >= 0)", 0),
    ("attn_fragment_registers_swapped", ATTN, "pack<BF16>(p1[0], p1[1])",
     "pack<BF16>(p1[2], p1[3])", 0),
    ("attn_sum_not_rescaled", ATTN, "sum[half] *= shrink;", "", 0),
    ("attn_without_swizzle", ATTN, "(chunk ^ (row & 7))", "chunk", 0),
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
    source = os.path.join(folder, name + ".cu")
    with open(source, "w", encoding="utf-8") as file:
        file.write(mutated)
    for build in ("plain", "race"):
        built, program = os.path.join(folder, "mutant.o"), os.path.join(folder, "mutant")
        flags = ["-std=c++17", "-DPK_EMULATE", "-g", "-w", "-fno-strict-aliasing",
                 "-ffp-contract=off", "-I" + plan["source"]] + plan[build]["flags"]
        subprocess.run([plan["compiler"], *flags, "-x", "c++", "-c", source, "-o", built],
                       check=True)
        others = [o for o in plan[build]["objects"] if not o.endswith("/" + path + ".o")]
        if len(others) + 1 != len(plan[build]["objects"]):
            raise SystemExit(f"mutants.py: {path} is not one of the program's objects")
        subprocess.run([plan["compiler"], *others, built, "-o", program, "-ldl", "-lm"], check=True)
        try:
            status = subprocess.run([program, FILTER[path]], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, timeout=120).returncode
        except subprocess.TimeoutExpired:
            status = 1
        if status != 0:
            return build
    return ""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
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
