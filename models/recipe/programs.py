"""Commands whose real output becomes log, session and trace text.

Nothing here is text for the model by itself: each program runs, in the scratch folder, and what the
tool printed is used. The programs that fail on purpose lie in samples/.
"""

import pathlib

import sources

SAMPLES = pathlib.Path(__file__).resolve().parent / "samples"

# Output of builds and sessions rather than logs of running programs.
BUILD_KINDS = frozenset(
    (
        "CMake and make output",
        "ninja output",
        "compiler driver log",
        "shell trace log",
        "Go build log",
        "archive listing log",
        "npm log",
        "go build log",
        "apt simulation log",
    )
)

_IDENTITY = "-c user.name=a -c user.email=a@example.org"

# Commits, branches and statistics of a throw-away repository; the author is fixed.
GIT_HISTORY = f"""
rm -rf history && git init -q history && cd history
for i in $(seq 1 14); do
  for f in parser lexer cache worker; do echo "step $i of $f $((i * 7 % 5))" >> src_$f.txt; done
  git add -A
  git {_IDENTITY} commit -qm "Adjust $(ls | sed -n "$((i % 4 + 1))p") in step $i"
done
git checkout -q -b topic HEAD~5; echo x > topic.txt; git add -A
git {_IDENTITY} commit -qm 'Start a topic'
git log --stat; git status; git branch -avv; git log --graph --oneline --all; git reflog
git show --stat HEAD~2; git blame src_parser.txt
"""

CLANG_AST = """
cat > ast.c <<'X'
struct p { int a; char *b; };
int f(struct p *q, int n) {
  for (int i = 0; i < n; i++) if (q[i].a > n) return q[i].a * 2;
  return -1;
}
X
clang -Xclang -ast-dump=json -fsyntax-only ast.c
"""


def place(scratch, sample, name, **parts):
    """Write a sample into the scratch folder, @PART@ replaced; returns its name there."""
    text = (SAMPLES / sample).read_text()
    for part, value in parts.items():
        text = text.replace(f"@{part}@", value)
    target = pathlib.Path(scratch) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return name


def log_commands(scratch, python):
    """(kind, command, windows): training logs of real tools."""
    for folder in ("make", "ninja"):
        place(scratch, "CMakeLists.txt.in", f"{folder}/CMakeLists.txt")
        (pathlib.Path(scratch) / folder / "a.c").write_text("int main(int c){return c-1;}\n")
    place(scratch, "leak.c.in", "leak.c")
    place(scratch, "node_test.js.in", "node_test.js")
    yield (
        "verbose Go tests",
        """cd "$(go env GOROOT)/src" &&
        go test -short -v strings sort net/url 2>&1 | head -900""",
        16,
    )
    yield (
        "verbose Python unit tests",
        f"""{python} -m test -v test_json test_textwrap test_shlex \
        test_configparser 2>&1 | head -1200""",
        16,
    )
    yield (
        "Python import log",
        f"""{python} -v -c 'import http.server' 2>&1
        {python} -X importtime -c 'import asyncio' 2>&1""",
        10,
    )
    yield (
        "CMake and make output",
        """cd make; cmake --trace . 2>&1 | tail -300; cmake .
        make VERBOSE=1; ctest -V; make clean; make -d 2>&1 | head -400
        cmake --build . --verbose""",
        14,
    )
    yield (
        "ninja output",
        """cd ninja; cmake -G Ninja .; ninja -v; touch a.c
        ninja -d explain -v; ninja -t commands; ninja -t deps""",
        2,
    )
    yield (
        "HTTP server log",
        f"""
        ({python} -u -m http.server 18999 -d /usr/share/doc > http.log 2>&1 & server=$!; sleep 2
        for i in $(ls /usr/share/doc | sed -n '1~5p' | head -140); do
          curl -s -o /dev/null "http://127.0.0.1:18999/$i/copyright"
          curl -s -o /dev/null "http://127.0.0.1:18999/api/v1/$i?id=${{#i}}"
        done; kill $server); cat http.log""",
        12,
    )
    yield (
        "HTTP client log",
        f"""
        {python} -m http.server 18997 -d /usr/share/doc > /dev/null 2>&1 & server=$!; sleep 2
        for i in bash apt none curl git; do curl -v http://127.0.0.1:18997/$i/ 2>&1 | head -40; done
        kill $server""",
        4,
    )
    yield "dynamic loader log", "LD_DEBUG=libs,files,versions curl --version 2>&1 | head -500", 8
    yield (
        "system call log",
        """strace -f -s 60 ls /usr/share/doc 2>&1 | cut -c1-200 | head -300
        strace git --version 2>&1 | head -200""",
        8,
    )
    yield (
        "compiler driver log",
        """printf '#include <stdio.h>\\nint main(){return 0;}' > driver.c
        gcc -v driver.c -o driver; clang -v driver.c -o driver
        gcc -Wl,--verbose driver.c 2>&1 | tail -150; clang -ftime-report -c driver.c""",
        8,
    )
    yield (
        "shell trace log",
        """bash -x /usr/bin/ldd /usr/bin/git 2>&1 | head -200
        bash -xv /usr/bin/zgrep --help 2>&1 | head -250""",
        6,
    )
    yield (
        "memory checker log",
        "gcc -g leak.c -o leak && valgrind -v --leak-check=full ./leak 2>&1",
        5,
    )
    yield (
        "archive listing log",
        """cd /usr/share/doc
        tar cf - bash curl cmake git 2>/dev/null | tar -tvf - | head -150
        tar cvvf /dev/null apt bash 2>&1 | head -80""",
        3,
    )
    yield (
        "database shell log",
        """sqlite3 :memory: '.trace stdout' '.echo on' \
        'create table a(x integer primary key,y text)' 'insert into a values(1,2),(2,3)' \
        'explain select * from a join a b on a.x=b.y order by 2' '.dbinfo' 'select * from nope' \
        'explain query plan select count(*) from a group by y' '.schema' '.stats on' 'select 1'""",
        3,
    )
    yield (
        "Node test log",
        """node --test --test-reporter=tap node_test.js
        node --test --test-reporter=spec node_test.js""",
        5,
    )
    yield (
        "Go build log",
        """cd "$(go env GOROOT)/src"
        go vet -x strings 2>&1 | cut -c1-300 | head -200; go list -deps net/http | head -150
        GODEBUG=inittrace=1,gctrace=1 go list std 2>&1 >/dev/null | head -80""",
        6,
    )
    yield "asyncio debug log", f"{python} -X dev '{SAMPLES}/async_service.py' 2>&1", 6


def eval_log_commands(scratch):
    """(kind, command, windows): held-out logs."""
    place(scratch, "Heap.java.in", "heap/Heap.java")
    yield (
        "Java runtime log",
        """cd heap && javac Heap.java &&
        java -Xmx64m -Xlog:gc*,class+load:stdout Heap | head -700""",
        7,
    )
    yield (
        "git trace log",
        f"""rm -rf trace && git init -q trace && cd trace
        export GIT_TRACE=1 GIT_TRACE_PERFORMANCE=1
        for i in 1 2 3 4 5 6; do
          echo $i > f$i; GIT_TRACE_SETUP=1 git add .; git {_IDENTITY} commit -m c$i
        done; git gc""",
        5,
    )
    yield (
        "npm log",
        """mkdir -p npm && cd npm; npm --loglevel silly --offline ls -g --all 2>&1 | head -300
        npm --loglevel silly --offline install express 2>&1 | head -200""",
        4,
    )
    yield (
        "go build log",
        """mkdir -p gobuild && cd gobuild
        printf 'package main\\nfunc main(){println(1)}' > main.go
        (go mod init x; GOFLAGS=-p=1 go build -x -a -n .) 2>&1 | cut -c1-400 | head -250""",
        5,
    )
    yield (
        "apt simulation log",
        """apt-get -o Debug::pkgProblemResolver=1 -s install apache2 2>&1
        apt-get -o Debug::pkgDepCache::AutoInstall=1 -s install emacs-nox 2>&1 | head -300""",
        4,
    )


def damaged(domain, kind, name, pick_file, edits, command, windows_max):
    """A source: a real file with lines changed by `edits`, given to one of the commands."""

    def produce(rng):
        path = pick_file(rng)
        lines = sources.read(path).split("\n")
        for _ in range(edits.count):
            i = rng.randrange(len(lines))
            old, new = rng.choice(edits.changes)
            lines[i] = lines[i].replace(old, new, 1)
        pathlib.Path(name).write_text("\n".join(lines))
        return sources.run(
            rng.choice(command).format(
                file=name, folder=pathlib.Path(path).parent, module=pathlib.Path(name).stem
            ),
            16,
        )

    return sources.Source("train", domain, kind, f"{kind} {name}", windows_max, produce)


class Edits:
    """How many lines change, and the (old, new) pairs one of which is applied to each."""

    def __init__(self, count, *changes):
        self.count, self.changes = count, changes


def broken_python(python, modules, seed):
    """A standard module with two lines damaged, compiled and run."""
    edits = (Edits(2, ("(", "")), Edits(2, ("self.", "self.x_")), Edits(2, (":", "")))[seed % 3]
    command = (
        f"timeout 5 {python} {{file}} -h; timeout 5 {python} -m py_compile {{file}}; "
        f"timeout 5 {python} -c 'import {{module}}; {{module}}.main(1)'",
    )
    return damaged(
        "error_trace",
        "damaged Python modules",
        f"module_{seed}.py",
        lambda rng: rng.choice(modules),
        edits,
        command,
        2,
    )


def broken_c(files, seed):
    """A C file or header with four lines damaged, given to a compiler."""
    edits = Edits(4, (";", ""), (")", ""), ("int ", "itn "))
    command = tuple(
        f"{compiler} -c {{file}} -o /dev/null -I{{folder}} 2>&1 | head -150"
        for compiler in ("gcc -Wall", "clang -Wall", "gcc -Wextra -Wpedantic", "g++ -x c++")
    )
    return damaged(
        "error_trace",
        "C compiler diagnostics",
        f"damaged_{seed}.c",
        lambda rng: rng.choice(files),
        edits,
        command,
        2,
    )


def broken_shell(scripts, seed):
    """A shell script with three lines damaged, parsed but not run."""
    edits = Edits(3, ("fi", ""), ('"', ""), ("then", ""), (" ", " ) "))
    command = ("for s in bash dash; do $s -n {file}; $s -nv {file} 2>&1 | tail -30; done",)
    return damaged(
        "error_trace",
        "shell diagnostics",
        f"script_{seed}.sh",
        lambda rng: rng.choice(scripts),
        edits,
        command,
        1,
    )


RUST_PARTS = (
    ("u8", '"hi"', "1"),
    ("String", "300", '"a"'),
    ("&str", "-1", "1"),
    ("f64", "vec![1]", '"a"'),
    ("u8", "-1", '"a"'),
    ("Vec<u8>", "3.5", "x"),
)
C_FAULTS = (
    "free(h);",
    "v[argc + 3] = 1;",
    'fill(h, "a name that is too long");',
    "struct item *n = NULL; n->key = argc;",
    "int s = h->key; s += argc; v[0] = s << 33;",
    "char *p = malloc(3); p[3] = 1;",
    "free(h); free(h);",
    "v[0] = 1 / (argc - 1);",
)
SQL_MISTAKES = (
    "select * from t",
    "selct 1",
    "create table a(x); insert into a values(1,2)",
    "create table a(x unique); insert into a values(1),(1)",
    'select json("{")',
    "with r as (select 1) select y from r",
    "select a.b.c.d from x",
    "create table a(x check(x>3)); insert into a values(1)",
)
GIT_MISTAKES = (
    "checkout nope",
    "log",
    "merge x",
    "push",
    "rebase -i",
    "apply /etc/passwd",
    "cherry-pick abc",
    "stash pop",
    "commit -m x",
    "clone /no/where",
    f"{_IDENTITY} commit --allow-empty -qm a",
    "branch -d b",
    "tag -d v",
    "rm z",
    "mv a b",
    "bisect good",
    "worktree add .",
    "diff a..b",
    "show HEAD:none",
    "remote get-url origin",
)


def trace_commands(scratch, python):
    """(kind, command, windows): training traces of compilers, sanitizers, builds, databases."""
    for i, (kind, value, argument) in enumerate(RUST_PARTS):
        place(scratch, "broken.rs.in", f"broken{i}.rs", KIND=kind, VALUE=value, ARGUMENT=argument)
        yield "Rust compiler diagnostics", f"rustc broken{i}.rs -o broken{i} 2>&1", 4
    for i, fault in enumerate(C_FAULTS):
        place(scratch, "faults.c.in", f"fault{i}.c", FAULT=fault)
        yield (
            "sanitizer reports",
            f"""gcc -g -fsanitize=address,undefined fault{i}.c -o fault{i}
            ./fault{i}""",
            2,
        )
        yield (
            "static analyser reports",
            f"""gcc -fanalyzer -Wall -c fault{i}.c -o /dev/null
            clang-tidy --checks='clang-analyzer-*,bugprone-*,cert-*' fault{i}.c --""",
            3,
        )
        yield (
            "memory checker reports",
            f"""gcc -g fault{i}.c -o plain{i}
            valgrind --leak-check=full ./plain{i}""",
            2,
        )
        yield (
            "linker errors",
            f"""
            sed -e 's/strcpy/str_copy_{i}/' -e 's/malloc/pool_take_{i}/' fault{i}.c > link{i}.c
            gcc -w link{i}.c -o link{i}; clang -w -Wno-everything link{i}.c -o link{i}
            gcc link{i}.c fault{i}.c -lnosuch{i}""",
            2,
        )
    for seed in range(10):
        yield (
            "failed Python unit tests",
            f"""cp '{SAMPLES}/failing_unittest.py' unit{seed}.py
            SEED={seed} {python} -m unittest unit{seed}.py""",
            3,
        )
    place(scratch, "broken.cmake.in", "broken_cmake/CMakeLists.txt")
    yield (
        "CMake errors",
        """cd broken_cmake; cmake .; printf 'set(\\n' >> CMakeLists.txt; cmake .
        printf 'cmake_minimum_required(VERSION 3.99)\\nfind_package(N REQUIRED)\\n' > CMakeLists.txt
        cmake .""",
        4,
    )
    yield "SQL errors", "\n".join(f"sqlite3 :memory: '{query}'" for query in SQL_MISTAKES), 2
    yield (
        "git errors",
        "rm -rf mistakes && git init -q mistakes && cd mistakes\n"
        + "\n".join(f"git {command}" for command in GIT_MISTAKES),
        2,
    )


JAVA_FAULTS = (
    "q[5]=1;",
    'Object o="s"; Integer i=(Integer)o;',
    "new ArrayList<Integer>(List.of(1)).iterator().remove();",
    'Map.of("a",1).put("b",2);',
    'Integer.parseInt("x9");',
    'new Scanner("").next();',
    'new java.io.FileReader("/no/file").read();',
)
NODE_FAULTS = (
    "null.foo()",
    'require("./nope")',
    'JSON.parse("{a:1}")',
    'fs.readFileSync("/no/such")',
    'new URL("::bad")',
    "Buffer.alloc(-1)",
    "[].reduce((a,b)=>a)",
    "x.y.z=1",
)


def eval_trace_commands(scratch, python):
    """(kind, command, windows): held-out traces: pytest, Go, Java and Node."""
    place(scratch, "failing_pytest.py", "test_cases.py")
    place(scratch, "failing_test.go.in", "p_test.go")
    yield "Go test failures", "go test -v p_test.go 2>&1", 2
    for options in ("", "-v", "--tb=short", "--tb=long -l", "-q --tb=native"):
        options += " -p no:cacheprovider test_cases.py"
        yield "pytest failures", f"pytest {options} || {python} -m pytest {options}", 3
    for i, fault in enumerate(JAVA_FAULTS):
        place(scratch, "Failing.java.in", f"java{i}/Failing.java", FAULT=fault)
        yield "Java stack traces", f"cd java{i} && javac Failing.java && java -cp . Failing", 1
    for i, fault in enumerate(NODE_FAULTS):
        place(scratch, "failing.js.in", f"failing{i}.js", FAULT=fault)
        yield "Node stack traces", f"node failing{i}.js", 1
