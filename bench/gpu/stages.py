"""What bench/gpu/run.sh does: stages of steps, each step a process of its own with a time limit."""

# Names of tests/kernels/emu, as parts of names. A rung stands on those before it.
INSTRUCTIONS = [
    "nothing_ends", "every_block_of_a_grid_runs_once", "shuffles_and_votes", "packing_to_",
    "mma_bf16", "mma_f16",
    "ldmatrix_and_stmatrix", "cp_async_lands", "named_barriers", "tensor_load_", "tensor_store",
    "multicast_loads", "dependent_launches", "wgmma_m64n64", "wgmma_m64n128", "wgmma_m64n192",
    "wgmma_reads_k_major", "wgmma_reads_mn_major",
]
LADDER = [f"rung_{number}_" for number in range(1, 8)] + [
    "a_persistent_wgmma_product_is_exact", "few_ctas_take_many_tiles"]
KERNELS = [
    "embedding_norm_matches", "residual_norm_matches", "a_normed_row_alone", "a_normed_value",
    "products_match_ref_at_the_sizes_of_pith_mini", "products_match_ref_at_the_sizes_of_the_full",
    "a_row_has_the_same_bits", "rows_of_nan", "an_output_too_large", "global_attention_matches",
    "wgmma_attention_matches", "banded_attention_matches", "attention_alone",
    "attention_has_the_same_bits", "attention_of_one_token", "attention_passes_on_a_nan",
    "heads_match_ref_for", "heads_match_ref_with", "heads_of_a_sequence", "rounding_saturates",
]
SANITIZED = ["embedding_norm_matches", "heads_match_ref_with", "a_product_of_integers",
             "attention_of_one_token"]
# Fast one at a time among safe ones, as bench/gpu/swap.c names them.
SWAPPED = ["qkv", "geglu", "linear", "attn", "heads"]
TEST_SECONDS = 20


class Step:
    def __init__(self, name, argv, seconds, needs=(), keep=None):
        self.name, self.argv, self.seconds = name, argv, seconds
        self.needs = needs  # programs that must be there, else the step is skipped by name
        # The result: the output's last "json", its "values", name by name, or None: the verdict.
        # "sanitizer": a run that looked at nothing is "refused", with what it said.
        self.keep = keep


class Stage:
    def __init__(self, number, title, seconds, steps):
        self.number, self.title, self.seconds, self.steps = number, title, seconds, steps


def tests(build, names):
    program = f"{build}/gpu_tests"
    return [Step(name, [program, name], TEST_SECONDS, [program]) for name in names]


def sanitized(build, names):
    program, tool = f"{build}/gpu_tests", "compute-sanitizer"
    return [Step(f"{tool} {name}", [tool, "--error-exitcode", "9", program, name],
                 3 * TEST_SECONDS, [program, tool], "sanitizer") for name in names]


def encoder(build, name, kernels, length, tokens, steps, dtype="f16", model="base"):
    program = f"{build}/gpu_encoder"
    return Step(name, [program, model, kernels, dtype, str(length), str(tokens), str(steps)],
                TEST_SECONDS, [program], "json")


def bench(build, what, seconds=TEST_SECONDS):
    program = f"{build}/gpu_bench"
    return Step(what, [program, what], seconds, [program], "json")


def peer(python, what, seconds, *rest):
    return Step(f"peer {what} {' '.join(rest)}".strip(),
                [python, "bench/gpu/peers.py", what, *rest], seconds, [python], "json")


def plan(build, python, engine_driver):
    lengths = [("512", 512, 8448, 100), ("8192", 8192, 8448, 30), ("mixed", "mixed", 8448, 60),
               ("one request of 512", 512, 512, 300)]
    whole = [encoder(build, f"{kernels} {name}", kernels, length, tokens, steps)
             for kernels in ("safe", "auto") for name, length, tokens, steps in lengths]
    swapped = [encoder(build, f"safe but {name} 512", name, 512, 8448, 30) for name in SWAPPED]
    engine = Step("engine without a socket",
                  ["env", "PITH_DEVICE=cuda:0", engine_driver, "models/pith-mini", "load",
                   "--clients", "256", "--bytes", "2000", "--seconds", "10"], 60,
                  [engine_driver], "values")
    return [
        Stage(0, "clocks, copy and matmul ceilings", 15, [
            Step("nvidia-smi", ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm,"
                                "clocks.max.sm,clocks.mem,power.limit,temperature.gpu",
                                "--format=csv,noheader"], 10, ["nvidia-smi"]),
            bench(build, "copy"), peer(python, "matmul", 60)]),
        Stage(1, "instructions, integer-exact", 15, tests(build, INSTRUCTIONS)),
        Stage(2, "ladder to the product on wgmma", 60, tests(build, LADDER)),
        Stage(3, "every kernel against its oracle", 60, tests(build, KERNELS)),
        Stage(4, "whole encoder: safe kernels, cuBLASLt, fast ones singly and all; engine", 110,
              whole + swapped + [
                  encoder(build, "cublas 512", "cublas", 512, 8448, 100),
                  encoder(build, "auto bf16 512", "auto", 512, 8448, 100, "bf16"),
                  encoder(build, "auto mini", "auto", 768, 8448, 200, model="mini"), engine]),
        Stage(5, "tile sweep", 60, [bench(build, "sweep", 60)]),
        Stage(6, "gaps between nodes, global attention alone", 15,
              [bench(build, "gaps"), bench(build, "attn")]),
        Stage(7, "peers in PyTorch", 150, [
            peer(python, "varlen", 100, "512", "8448"), peer(python, "varlen", 100, "8192", "8448"),
            peer(python, "padded", 60, "512", "8448"), peer(python, "padded", 60, "8192", "8448"),
            peer(python, "varlen", 60, "mixed", "8448"),
            peer(python, "padded", 60, "mixed", "8448"), peer(python, "varlen", 60, "512", "512"),
            peer(python, "attention", 30, "8192")]),
        Stage(8, "compute-sanitizer on the smallest cases", 60,
              sanitized(build, SANITIZED)),
    ]
