"""Checks of the source tree that a compiler does not make. Each rule is a function from
(path, text) to a list of complaints; before it judges the tree it must refuse its own broken
sample, so a rule that has gone blind is noticed."""
import re
import shutil
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)

# Layer -> what its files may include besides the C library (ARCHITECTURE.md, layer order).
LAYERS = {
    "runtime/base/": ["runtime/base/"],
    "kernels/": ["kernels/", "cuda"],
    "runtime/text/": ["runtime/text/", "runtime/base/", "pcre2.h", "utf8proc.h", "jansson.h"],
    "runtime/weights/": ["runtime/weights/", "runtime/base/", "jansson.h"],
    "runtime/ops.h": ["runtime/base/"],
    "runtime/backend/": ["runtime/backend/", "runtime/base/", "kernels/", "runtime/ops.h",
                         "cuda", "nccl.h", "cublas", "dlfcn.h"],
    "runtime/model/": ["runtime/model/", "runtime/base/", "runtime/ops.h", "runtime/weights/"],
    "runtime/decide/": ["runtime/decide/", "runtime/base/", "runtime/text/"],
    "runtime/engine/": ["runtime/"],
    "models/recipe/": ["models/recipe/", "runtime/"],
    "server/": ["server/", "runtime/engine/engine.h", "runtime/engine/stats.h",
                "runtime/text/", "runtime/base/",
                "runtime/decide/compress.h", "grpc/", "protobuf-c/", "pith/v1/", "google/", "grpc/",
                "yaml.h", "jansson.h", "inference/", "microhttpd.h", "curl/", "openssl/"],
}
SYSTEM = re.compile(r"^(assert|ctype|dirent|errno|fcntl|float|getopt|inttypes|limits|locale|math|poll|"
                    r"pthread|sched|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|"
                    r"stdlib|string|strings|time|unistd|immintrin|cpuid|netdb|"
                    r"(sys|netinet|arpa|linux)/\w+)\.h$")
BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "atoi", "atol", "atof",
          "alloca", "regcomp", "rand", "srand", "system", "popen", "tmpnam", "mktemp"]
BELOW_MAIN = ["printf", "puts", "exit", "abort", "_exit"]
# May print; the layers below may not, but for a wait's report in test builds for a GPU.
PRINTERS = ("server/", "tests/", "bench/", "kernels/cuda/prim/mbarrier.cuh")
STRAY = re.compile("|".join(["/wo" + "rk/", "bash_" + "jobs", r"\.lib" + "rary/", "/tmp/" + "w/", "sub" + "agent",
                             "TO" + "DO", "FIX" + "ME", "(?<!X)XX" + "X(?!X)"]))


def strip(text):
    """Source without comments and string literals, line structure kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def layers(path, text):
    allowed = next((v for k, v in LAYERS.items() if path.startswith(k)), None)
    if allowed is None:
        return []
    bad = [i for i in INCLUDE.findall(text)
           if not SYSTEM.match(i) and not any(i.startswith(a) for a in allowed)]
    return [f"{path}: may not include {i}" for i in bad]


def banned(path, text):
    names = BANNED + ([] if path.startswith(PRINTERS) else BELOW_MAIN)
    found = re.findall(r"(?<![\w.>])(%s)\s*\(" % "|".join(names), strip(text))
    return [f"{path}: calls {name}" for name in found]


def long_files(path, text):
    lines = text.count("\n")
    generated = "unicode_data" in path
    return [f"{path}: {lines} lines, at most 800"] if lines > 800 and not generated else []


def stray(path, text):
    return [f"{path}: {m.group(0)}" for m in STRAY.finditer(text)]


def guards(path, text):
    # Bodies that are included once for each instruction set have no guard.
    if not path.endswith(".h") or re.search(r"_body\.h$|/vec_\w+\.h$|_cases\.h$|/pair_isa\.h$", path):
        return []
    base = re.sub(r"\W", "_", path.rsplit("/", 1)[-1]).upper()
    want = re.compile(r"#ifndef (PITH_\w*%s|PK_\w*%s)\n#define \1\n" % (base, base))
    return [] if want.search(text) else [f"{path}: no guard PITH_..._{base}"]


RULES = {
    "layers": (layers, "runtime/base/x.c", '#include "runtime/text/words.h"\n'),
    "banned_calls": (banned, "runtime/base/x.c", "int f(void) { return atoi(s); }\n"),
    "printing_below_main": (banned, "runtime/text/x.c", 'void f(void) { printf("x"); }\n'),
    "file_length": (long_files, "runtime/text/x.c", "\n" * 801),
    "stray_words": (stray, "README.md", "see /wo" + "rk/main\n"),
    "header_guards": (guards, "runtime/base/x.h", "#ifndef X\n#define X\n#endif\n"),
}


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], capture_output=True, text=True,
                         check=True)
    return out.stdout.split()


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def check_rules():
    sources = {p: read(p) for p in tracked("*.c", "*.h", "*.cu", "*.cuh")}
    everything = {p: read(p) for p in tracked(".") if not re.search(
        r"\.(gz|bin|safetensors|npz|json)$|^tests/fuzz/corpus/|^tests/lint/", p)}
    failed = 0
    for name, (rule, sample_path, sample) in RULES.items():
        if not rule(sample_path, sample):
            print(f"not ok lint.{name}: blind to its own broken sample")
            failed += 1
            continue
        files = everything if rule is stray else sources
        complaints = [c for p, text in files.items() for c in rule(p, text)]
        print(f"{'not ok' if complaints else 'ok'} lint.{name}")
        print("\n".join(complaints[:20]), end="\n" if complaints else "")
        failed += bool(complaints)
    return failed


def check_format():
    if shutil.which("clang-format") is None:
        print("skip lint.format (no clang-format)")
        return 0
    files = [p for p in tracked("*.c", "*.h", "*.cu", "*.cuh") if "unicode_data" not in p]
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], capture_output=True,
                          text=True)
    print("ok lint.format" if done.returncode == 0 else "not ok lint.format")
    if done.returncode != 0:
        print(done.stderr[:2000])
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(1 if check_rules() + check_format() else 0)
