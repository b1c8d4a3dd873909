"""The sources of text, by domain: what is read or run, and whether it trains or judges.

Train and evaluation never share a source kind: evaluation text comes from other programs,
packages or languages than training text. Folders and tools are found at run time; what is missing
yields nothing.
"""

import dataclasses
import glob
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import Callable

import programs
import tools

SEED = 7
# Packages whose code is held out of training and used for evaluation only.
HELD_OUT_PACKAGES = ("flask", "docker", "moto", "joserfc", "jedi")
DOMAINS = ("prose", "code", "log", "json", "diff", "search", "shell", "error_trace")


@dataclasses.dataclass(frozen=True)
class Source:
    """One text: where it belongs, and a function (of a random generator) that produces it."""

    split: str
    domain: str
    kind: str
    name: str
    windows_max: int
    produce: Callable[[random.Random], str]


@dataclasses.dataclass(frozen=True)
class Places:
    """Folders with text, found at run time. Empty strings and lists mean: not on this machine."""

    scratch: pathlib.Path
    python_prefixes: tuple
    stdlib: str
    site_packages: tuple
    go_src: str
    go_modules: str

    @staticmethod
    def find(scratch, extra_pythons):
        stdlib = sysconfig.get_path("stdlib")
        sites = dict.fromkeys(
            [sysconfig.get_path("purelib"), os.path.join(stdlib, "site-packages")]
        )
        go_root, go_modules = (run(["go", "env", key]).strip() for key in ("GOROOT", "GOMODCACHE"))
        return Places(
            pathlib.Path(scratch),
            tuple([sys.base_prefix] + list(extra_pythons)),
            stdlib,
            tuple(s for s in sites if os.path.isdir(s)),
            os.path.join(go_root, "src") if go_root else "",
            go_modules,
        )


def run(command, seconds=40):
    """All output of a command (a list, or a string for bash), up to a timeout."""
    shell = isinstance(command, str)
    if not shell and not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(
            command,
            shell=shell,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            executable="/bin/bash" if shell else None,
        )
        return done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode("utf-8", "replace")


def read(path):
    with open(path, errors="replace") as file:
        return file.read(200_000)


def find(root, suffix, bytes_min=2000, bytes_max=400_000, without=()):
    """Files under root with this suffix and size, sorted, without the paths that hold `without`."""
    found = []
    for folder, _, names in os.walk(root) if root else ():
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(suffix) and not any(part in path for part in without):
                if os.path.isfile(path) and bytes_min <= os.path.getsize(path) <= bytes_max:
                    found.append(path)
    return sorted(found)


def pick(items, count, key):
    """At most count of items, the same ones on every run over the same items."""
    return random.Random(f"{SEED}:{key}").sample(items, min(count, len(items)))


def from_file(split, domain, kind, path, windows_max):
    return Source(split, domain, kind, path, windows_max, lambda rng: read(path))


def from_command(split, domain, kind, command, windows_max, seconds=40, name=""):
    return Source(
        split,
        domain,
        kind,
        name or f"{kind}: {command}",
        windows_max,
        lambda rng: run(command, seconds),
    )


def manual_page(split, kind, path, windows_max):
    def produce(rng):
        width = rng.choice([78, 90, 100])
        return run(f"MANWIDTH={width} man -l '{path}' 2>/dev/null | col -bx", 10)

    return Source(split, "prose", kind, path, windows_max, produce)


def prose(places):
    pages = sorted(glob.glob("/usr/share/man/man[1578]/*.gz"))
    held_out = [p for p in pages if re.search(r"/(git|cmake)", p)]
    for path in pick([p for p in pages if p not in set(held_out)], 260, "man"):
        yield manual_page("train", "manual pages", path, 4)
    for path in pick(held_out, 14, "man-eval"):
        yield manual_page("eval", "git and cmake manual pages", path, 2)
    docs = [
        f
        for f in sorted(glob.glob("/usr/share/doc/*/*"))
        if os.path.isfile(f) and not f.endswith((".gz", ".html", ".png", ".svg", ".pdf"))
    ]
    for path in pick(docs, 260, "doc"):
        yield from_file("train", "prose", "package documentation and licences", path, 2)
    for site in places.site_packages:
        for path in pick(sorted(glob.glob(site + "/*.dist-info/METADATA")), 60, site):
            yield from_file("train", "prose", "Python package descriptions", path, 3)
    for path in pick(find(places.go_modules, ".md", without=("/cache/",)), 30, "go-md"):
        yield from_file("eval", "prose", "Go module documents", path, 1)
    for path in pick(find("/usr/share/perl", ".pod"), 10, "pod"):
        yield from_command("eval", "prose", "Perl documentation", f"pod2text '{path}'", 1)


def code(places):
    own = find(places.stdlib, ".py", 3000, without=("/test/", "/tests/", "site-packages"))
    for path in pick(own, 200, "stdlib"):
        yield from_file("train", "code", "Python standard library", path, 3)
    package_files = [
        f for site in places.site_packages for f in find(site, ".py", 3000, without=("/test",))
    ]
    is_held_out = lambda f: any(f"/site-packages/{name}/" in f for name in HELD_OUT_PACKAGES)
    for path in pick([f for f in package_files if not is_held_out(f)], 160, "packages"):
        yield from_file("train", "code", "Python packages", path, 2)
    for path in pick([f for f in package_files if is_held_out(f)], 16, "packages-eval"):
        yield from_file("eval", "code", "other Python packages", path, 1)
    for path in pick(find(places.go_src, ".go", 3000), 130, "go"):
        yield from_file("train", "code", "Go standard library", path, 2)
    modules = find(places.go_modules, ".go", 3000, without=("/cache/", ".pb.go", "zz_"))
    for path in pick(modules, 16, "go-eval"):
        yield from_file("eval", "code", "Go modules", path, 1)
    for path in pick(find("/usr/lib/node_modules", ".js", without=(".min.js",)), 90, "js"):
        yield from_file("train", "code", "JavaScript packages", path, 2)
    for path in pick(find("/usr/include", ".h", 3000), 90, "headers"):
        yield from_file("train", "code", "C and C++ headers", path, 2)
    perl = find("/usr/share/perl5", ".pm", 3000) + find("/usr/share/perl", ".pm", 3000)
    for path in pick(perl, 12, "perl"):
        yield from_file("eval", "code", "Perl modules", path, 1)


GREP_WORDS = (
    "error",
    "deprecated",
    "return nil",
    "include",
    "timeout",
    "def __init__",
    "struct",
    "size_t",
    "import",
    "malloc",
    "open\\(",
    "raise",
    "lock",
    "version",
    "func ",
    "http",
    "retry",
    "cache",
    "assert",
    "class ",
    "const ",
    "unsigned",
)


def subfolders(root):
    """root's folders, or root itself when it has none; [] when root is missing."""
    if not root or not os.path.isdir(root):
        return []
    return sorted(f for f in glob.glob(root + "/*") if os.path.isdir(f)) or [root]


def search(places):
    rng = random.Random(f"{SEED}:search")
    roots = [
        r
        for r in (
            "/usr/include",
            places.go_src,
            places.stdlib,
            "/usr/lib/node_modules/npm/node_modules",
            "/usr/share/vim",
        )
        if subfolders(r)
    ]
    forms = (
        "grep -rnI {p} . | head -60",
        "grep -rnI {p} . | head -25",
        "grep -rnI -A1 {p} . | head -60",
        "grep -rnIi {p} . | head -60",
        "grep -rnI -C2 {p} . | head -80",
        "grep -rlI {p} . | head -80",
        "grep -rcI {p} . | grep -v ':0$' | head -80",
        "grep -rnIw {p} . | sed 's|^./||' | head -60",
    )
    for _ in range(1100):
        folder = rng.choice(subfolders(rng.choice(roots)))
        command = rng.choice(forms).format(p=f"-E '{rng.choice(GREP_WORDS)}'")
        yield from_command(
            "train", "search", "grep over system sources", f"cd {folder} && {command}", 3, 10
        )
    held_out = [
        f
        for site in places.site_packages
        for name in HELD_OUT_PACKAGES
        for f in [os.path.join(site, name)]
        if os.path.isdir(f)
    ]
    held_out += [
        f
        for root in subfolders(places.go_modules)
        if not root.endswith("cache")
        for f in subfolders(root)
    ] + subfolders("/usr/share/perl")
    for _ in range(45 if held_out else 0):
        word = rng.choice(
            (
                "Error",
                "context",
                "config",
                "parse",
                "Client",
                "status",
                "def get",
                "func New",
                "warn",
            )
        )
        command = rng.choice(("grep -rnI '{w}' . | head -40", "grep -rnI -B1 '{w}' . | head -60"))
        yield from_command(
            "eval",
            "search",
            "grep over held-out packages",
            f"cd '{rng.choice(held_out)}' && " + command.format(w=word),
            1,
            10,
        )


def shell(places):
    """Listings (they count as search), package queries, inspection tools, version control."""
    rng = random.Random(f"{SEED}:shell")
    roots = [
        r
        for r in ("/usr/lib", "/usr/share", "/usr/include", places.go_src, places.stdlib)
        if subfolders(r)
    ]
    forms = (
        "ls -la {f} | head -60",
        "find {f} -type f | head -70",
        "ls -lR {f} | head -80",
        "ls {f} | head -150",
        "find {f} -type f -printf '%M %u %s %TY-%Tm-%Td %p\\n' | head -50",
        "du -ah {f} | head -60",
        "wc -l $(find {f} -type f | head -50)",
        "file $(find {f} -type f | head -40)",
        "stat $(find {f} -type f | head -8)",
        "sha1sum $(find {f} -type f | head -40)",
        "ls -lhS {f} | head -60",
    )
    for _ in range(260):
        folder = rng.choice(subfolders(rng.choice(roots)))
        yield from_command(
            "train", "search", "file listings", rng.choice(forms).format(f=folder), 2, 10
        )
    packages = run(["dpkg-query", "-W", "-f", "${Package}\n"]).split()
    for name in pick(packages, 80, "dpkg"):
        form = rng.choice(
            ("dpkg -s {n}", "dpkg -L {n}", "apt-cache show {n}", "apt-cache depends {n}")
        )
        yield from_command("train", "shell", "package queries", form.format(n=name), 1)
    for path in pick(sorted(glob.glob("/usr/bin/*")), 50, "help"):
        form = rng.choice(
            (
                "readelf -Wd -h {p} 2>/dev/null | head -60",
                "objdump -d {p} 2>/dev/null | sed -n '40,90p'",
                "nm -D {p} 2>/dev/null | head -80",
                "strings -n 8 {p} | sed -n '50,130p'",
                "ldd {p} 2>/dev/null",
            )
        )
        yield from_command("train", "shell", "binary inspection", form.format(p=path), 1, 8)
    yield from_command("train", "shell", "apt-cache search", "apt-cache search lib | head -300", 6)
    yield from_command("eval", "shell", "dpkg -l", "dpkg -l | head -400", 5)
    yield from_command("eval", "shell", "pip list", [sys.executable, "-m", "pip", "list", "-v"], 2)
    yield from_command("eval", "shell", "git history", programs.GIT_HISTORY, 4)
    yield from_command(
        "eval",
        "shell",
        "go list",
        "go list -m -versions all 2>/dev/null; go env; go doc net/http | head -150",
        4,
    )
    for folder in pick(
        [
            f
            for root in subfolders(places.go_modules)
            if not root.endswith("cache")
            for f in subfolders(root)
        ],
        8,
        "eval-ls",
    ):
        yield from_command(
            "eval", "search", "listings of Go modules", f"ls -lR '{folder}' | head -70", 1
        )


def log(places):
    for path in ("/var/log/dpkg.log", "/var/log/apt/term.log", "/var/log/alternatives.log"):
        if os.path.isfile(path):
            yield from_file("train", "log", "package manager logs", path, 40)
    scratch, python = places.scratch, sys.executable
    commands = programs.log_commands(scratch, python)
    for kind, command, windows_max in commands:
        yield from_command("train", session_or_log(kind), kind, command, windows_max, 75)
    for seed in range(70):
        yield from_command(
            "train",
            "log",
            "application logs of a small service",
            [python, f"{programs.SAMPLES}/service.py", str(seed)],
            3,
            20,
        )
    for kind, command, windows_max in programs.eval_log_commands(scratch):
        yield from_command("eval", session_or_log(kind), kind, command, windows_max, 75)


def session_or_log(kind):
    """The domain of a command's output: what a build or a session prints is "shell"."""
    return "shell" if kind in programs.BUILD_KINDS else "log"


def pythons(places):
    """Interpreters of the given prefixes, this one first."""
    found = [sys.executable]
    for prefix in places.python_prefixes:
        found += sorted(glob.glob(os.path.join(prefix, "bin", "python3.[0-9]*[0-9]")))[:1]
    return list(dict.fromkeys(found))


def traces(places):
    scratch, interpreters = places.scratch, pythons(places)
    for seed in range(110):
        python = interpreters[seed % len(interpreters)]
        yield from_command(
            "train",
            "error_trace",
            "Python tracebacks",
            [python, "-W", "ignore", f"{programs.SAMPLES}/fuzz.py", str(seed)],
            4,
            8,
        )
    modules = find(places.stdlib, ".py", 4000, 100_000, without=("/test", "site-packages"))
    for seed in range(60):
        yield programs.broken_python(interpreters[seed % len(interpreters)], modules, seed)
    c_files = (
        find(places.go_modules, ".c")
        + find("/usr/share/doc", ".c")
        + find("/usr/include", ".h", 3000, 60_000)
    )
    for seed in range(100 if c_files else 0):
        yield programs.broken_c(c_files, seed)
    for kind, command, windows_max in programs.trace_commands(scratch, sys.executable):
        yield from_command("train", "error_trace", kind, command, windows_max, 30)
    shell_scripts = [
        f for f in sorted(glob.glob("/usr/bin/*")) if os.path.isfile(f) and is_shell_script(f)
    ]
    for seed in range(30 if shell_scripts else 0):
        yield programs.broken_shell(shell_scripts, seed)
    for kind, command, windows_max in programs.eval_trace_commands(scratch, sys.executable):
        yield from_command("eval", "error_trace", kind, command, windows_max, 60)


def is_shell_script(path):
    with open(path, "rb") as file:
        return file.read(12).startswith((b"#!/bin/sh", b"#!/bin/bash"))


def json_file(split, kind, path, windows_max):
    def produce(rng):
        with open(path, errors="replace") as file:
            return json.dumps(json.load(file), indent=rng.choice([1, 2, 2, 4, None]))

    return Source(split, "json", kind, path, windows_max, produce)


def json_text(places):
    files = [
        f
        for root in list(places.site_packages) + ["/usr/lib/node_modules", "/usr/share"]
        for f in find(root, ".json", 1000)
    ]
    held_out = [f for f in files if "cfnlint" in f]
    for path in pick([f for f in files if f not in set(held_out)], 330, "json"):
        yield json_file("train", "JSON files of packages", path, 3)
    for path in pick(held_out, 10, "json-eval"):
        yield json_file("eval", "JSON schemas", path, 1)
    for seed in range(30):
        yield from_command(
            "train",
            "json",
            "JSON written by Python tools",
            [sys.executable, f"{programs.SAMPLES}/json_dump.py", str(seed)],
            3,
            20,
        )
    yield from_command(
        "eval", "json", "go list -json", "go list -json net/http encoding/json os/exec strings", 5
    )
    yield from_command("eval", "json", "pip inspect", [sys.executable, "-m", "pip", "inspect"], 6)
    yield from_command("eval", "json", "compiler syntax trees", programs.CLANG_AST, 4)


def diff(places):
    """Releases of Python's library, neighbours in version order; the newest pair is held out."""
    versions = {}
    for prefix in places.python_prefixes:
        for folder in glob.glob(os.path.join(prefix, "lib", "python3.*")):
            match = re.search(r"python3\.(\d+)$", folder)
            if match:
                versions.setdefault(int(match.group(1)), folder)
    ordered = sorted(versions.items())
    for (old, old_folder), (new, new_folder) in zip(ordered, ordered[1:]):
        held_out = new == ordered[-1][0] and len(ordered) > 2
        files = [
            f
            for f in find(
                old_folder, ".py", 1000, without=("/test", "site-packages", "lib2to3", "idlelib")
            )
            if os.path.isfile(f.replace(old_folder, new_folder))
        ]
        if held_out:
            files = [f for f in files if "/asyncio/" in f or "/email/" in f or "/importlib/" in f]
        for path in pick(files, 10 if held_out else 150, f"diff{old}"):
            yield python_diff(
                "eval" if held_out else "train",
                path,
                path.replace(old_folder, new_folder),
                held_out,
            )
    by_module = {}
    for folder in sorted(
        glob.glob(places.go_modules + "/*/*@*") + glob.glob(places.go_modules + "/*/*/*@*")
    ):
        by_module.setdefault(folder.rsplit("@", 1)[0], []).append(folder)
    for folders in [f for f in by_module.values() if len(f) > 1]:
        yield from_command(
            "eval",
            "diff",
            "Go module releases",
            f"diff -urN -x testdata '{folders[0]}' '{folders[-1]}' | head -4000",
            4,
            20,
        )


def python_diff(split, old, new, held_out):
    kind = "newest Python library release" if held_out else "Python library releases"

    def produce(rng):
        tool = rng.choice(
            ("diff -u", "diff -u", "git diff --no-index", "git diff --no-index -U1", "diff -uw")
        )
        return run(f"{tool} '{old}' '{new}'", 10)

    return Source(split, "diff", kind, old, 2, produce)


def more_tools(places):
    """The table of tools.py."""
    for tool in tools.all_tools():
        for command in tool.commands:
            yield from_command(
                tool.split, tool.domain, tool.kind, command, tool.windows, tool.seconds
            )


def all_sources(places):
    """Every source of every domain, in a fixed order."""
    for domain in (prose, code, search, shell, log, traces, json_text, diff, more_tools):
        yield from domain(places)
