"""More tools, a table: what each prints when run, and where that belongs.

Commands run by bash in the scratch folder, one after the other within a kind. The first part of a
kind's tuple says which split and domain its text joins; windows bounds its documents.
"""

import dataclasses
import pathlib

SAMPLES = pathlib.Path(__file__).resolve().parent / "samples"
POSTGRES = "$(ls -d /usr/lib/postgresql/*/bin | tail -1)"


@dataclasses.dataclass(frozen=True)
class Tool:
    """One kind of text: the commands that print it, at most `windows` documents of each."""

    split: str
    domain: str
    kind: str
    windows: int
    commands: tuple
    seconds: int = 40


def _a_database(script):
    """Runs script with a throw-away PostgreSQL server up, its log in pg/log; $PSQL reaches it."""
    return f"""
    PG={POSTGRES}; test -x $PG/postgres || exit; D=$PWD/pg; rm -rf $D; mkdir -p $D; as=""
    [ $(id -u) = 0 ] && {{ chmod 777 . $D; chown postgres $D; as="runuser -u postgres --"; }}
    $as $PG/initdb -D $D/data -A trust > $D/initdb.txt 2>&1
    $as $PG/pg_ctl -s -w -D $D/data -l $D/log -o "-k $D -p 15432 -c listen_addresses= \
      -c log_statement=all -c log_duration=on -c log_connections=on -c log_checkpoints=on \
      -c log_line_prefix='%m [%p] %q%u@%d '" start
    PSQL="$as $PG/psql -h $D -p 15432 -d postgres"; BENCH="$as $PG/pgbench -h $D -p 15432"
    {script}
    $as $PG/pg_ctl -s -D $D/data -m fast stop"""


_SQL_SESSION = """
$PSQL -c 'create table item(id serial primary key, name text unique, price numeric check(price>0))'
for i in $(seq 1 25); do
  $PSQL -c "insert into item(name, price) values('part $((i * 7 % 11))', $((i % 9)))"
done
$PSQL -c 'select count(*), name from item group by name' -c 'select 1/0' -c 'select * from nope'
$PSQL -c 'update item set price = price * 1.1 where id % 3 = 0' -c 'vacuum analyze item'
$BENCH -i -s 1 postgres; $BENCH -t 12 -c 2 postgres; $PSQL -c checkpoint
"""

_CARGO_PROJECT = """
rm -rf crate && mkdir -p crate/src crate/tests && cd crate
printf '[package]\\nname = "ledger"\\nversion = "0.3.1"\\nedition = "2021"\\n' > Cargo.toml
cat > src/lib.rs <<'X'
//! Sums entries.
pub fn total(entries: &[i64]) -> i64 { entries.iter().sum() }
pub fn parse(line: &str) -> Result<i64, std::num::ParseIntError> { line.trim().parse() }
#[cfg(test)] mod tests { use super::*;
  #[test] fn sums() { assert_eq!(total(&[1, 2, 3]), 6); }
  #[test] fn refuses_words() { assert!(parse("seven").is_err()); }
  #[test] fn wrong_on_purpose() { assert_eq!(total(&[2, 2]), 5, "ledger out of balance"); }
  #[test] fn panics() { parse("x").unwrap(); } }
X
printf 'fn main() { println!("{}", ledger::total(&[1])); let unused = 3; }\\n' > src/main.rs
"""

_DEBUGGED = """
cat > crash.c <<'X'
#include <stdio.h>
#include <stdlib.h>
struct node { int key; struct node *next; char label[16]; };
static struct node *push(struct node *head, int key) {
  struct node *n = malloc(sizeof *n); n->key = key; n->next = head;
  snprintf(n->label, sizeof n->label, "node-%d", key); return n; }
static int sum(struct node *n) { int s = 0; while (1) { s += n->key; n = n->next; } return s; }
int main(void) { struct node *h = 0; for (int i = 0; i < 5; i++) h = push(h, i * 3);
  return sum(h); }
X
gcc -g -O0 crash.c -o crash
"""

_COVERED = """
cat > cover.c <<'X'
#include <stdio.h>
#include <string.h>
static int classify(const char *s) {
  if (!strcmp(s, "add")) return 1;
  if (!strcmp(s, "remove")) return 2;
  if (strlen(s) > 8) return 3;
  return 0; }
int main(int n, char **v) { int t = 0;
  for (int i = 1; i < n; i++) { switch (classify(v[i])) { case 1: t++; break; case 2: t--; break;
    default: printf("skipped %s\\n", v[i]); } }
  return t < 0; }
X
rm -f *.gcda *.gcno
gcc --coverage -pg cover.c -o cover && ./cover add add remove unknown-command
gcov -b -c cover*.gcda; cat cover.c.gcov; gprof ./cover gmon.out | head -150
"""

_CERTIFICATE = """
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 \
  -subj '/O=Example Works/CN=api.example.org' \
  -addext 'subjectAltName=DNS:api.example.org,DNS:www.example.org' 2>&1
openssl x509 -in cert.pem -noout -text; openssl ciphers -v | head -40
openssl asn1parse -in cert.pem | head -60; openssl verify cert.pem; openssl version -a
"""

_PERL_FAULTS = (
    "use strict; $x = 1; print $y;",
    "my %h = (a => 1); print $h{a}{b}{c}; die { code => 4 };",
    "open(my $f, '<', '/no/such') or die \"cannot open: $!\";",
    "use warnings; my @a = (1, 2); print $a[5] + undef;",
    "use Carp; sub inner { confess 'deep trouble' } sub outer { inner(@_) } outer(1, 'two');",
    "print 1 / 0;",
    "use Nope::Module;",
    "sub { my $s = shift; $s->method }->('Missing');",
    "if (1) { print 'a' ",
    "my $r = [1]; print $r->{key};",
)
_SHELL_FAULTS = (
    "tar xf /etc/hostname; tar tf nope.tar; gzip -t /etc/hostname; unzip -t /etc/hostname",
    "jq . <<< '{a: 1}'; jq '.[' <<< '{}'; jq .a.b <<< '{\"a\": 1}'; jq -e .x <<< '{}'",
    "awk 'BEGIN { print substr( }'; sed 's/a' /etc/hostname; grep -E '(' /etc/hostname",
    "curl -sS http://127.0.0.1:1/x; curl -sS nohost.invalid; wget -nv http://127.0.0.1:1/y",
    "openssl x509 -in /etc/hostname; openssl s_client -connect 127.0.0.1:1 < /dev/null",
    "cp -r /no/a /tmp/b; mv x y; mkdir /proc/x; cat /no; ls --nope; chmod 999 .; ln -s a a; rmdir /",
    "docker ps; docker run --rm -it no/such:image; docker build . ; psql -h 127.0.0.1 -p 1 x",
    "find . -exec; xargs -n; date -d 'not a day'; kill -s NOPE 1; mount /x /y; nice -n 99 ls",
    "valgrind --tool=nope ls; strace -e bad ls; gdb -batch -ex 'run' /no/program; make -f /no/file",
    "python3 -c 'import yaml_nope'; python3 -m nope; pip download --no-index nope==1.2; pip check",
)
_MAKEFILE = """
mkdir -p mk; cd mk; printf 'A = $(B)\\nall: one two\\none: missing.c\\n\\tgcc -c $<\\n' > Makefile
make; make -k; make nothing; printf 'all:\\n  echo spaces\\n' > M2; make -f M2
printf 'A = $(A)\\nall:\\n\\techo $(A)\\n' > M3; make -f M3
printf 'x: y\\ny: x\\n\\tfalse\\nall: x\\n' > M4; make -f M4 all
"""

_TRAIN = (
    # log
    Tool("train", "log", "database server log", 14, (_a_database(_SQL_SESSION + "cat $D/log"),)),
    Tool(
        "train",
        "log",
        "pip debug log",
        4,
        (
            "python3 -m pip -vvv download --no-deps --no-index --find-links . nope 2>&1",
            "python3 -m pip -vvv install --dry-run --no-index --find-links /usr/share x y 2>&1",
        ),
    ),
    Tool(
        "train",
        "log",
        "download log",
        5,
        (
            """python3 -m http.server 18995 -d /usr/share/doc > /dev/null 2>&1 & s=$!; sleep 2
         wget -d -r -l 1 -O /dev/null http://127.0.0.1:18995/ 2>&1 | head -400
         wget --spider -S http://127.0.0.1:18995/bash/ 2>&1; kill $s""",
        ),
    ),
    Tool("train", "log", "Rust test log", 4, (_CARGO_PROJECT + "cargo test --offline -v 2>&1",)),
    Tool(
        "train",
        "log",
        "version control maintenance log",
        3,
        (
            """rm -rf pack && git init -q pack && cd pack && cp -r /usr/share/doc/git/* . ; git add -A
         git -c user.name=a -c user.email=a@example.org commit -qm all; git gc 2>&1
         git fsck --verbose 2>&1 | head -150; git count-objects -vH
         git verify-pack -v .git/objects/pack/*.idx | head -100""",
        ),
    ),
    # shell
    Tool(
        "train",
        "shell",
        "Rust build log",
        4,
        (
            _CARGO_PROJECT + "cargo build --offline -vv 2>&1\n"
            "cargo clean -v 2>&1; cargo doc --offline -v 2>&1; cargo clippy --offline 2>&1",
        ),
    ),
    Tool("train", "shell", "certificate inspection", 6, (_CERTIFICATE,)),
    Tool("train", "shell", "coverage and profile reports", 5, (_COVERED,)),
    Tool(
        "train",
        "shell",
        "debugger session",
        5,
        (
            _DEBUGGED
            + """gdb -q -batch -ex 'break sum' -ex run -ex bt -ex 'info locals' -ex 'p *n' \
         -ex 'info registers' -ex 'disassemble' -ex 'ptype struct node' -ex 'info frame' \
         -ex 'info sharedlibrary' -ex 'x/24xw n' -ex 'info line' -ex list ./crash 2>&1""",
        ),
    ),
    Tool(
        "train",
        "shell",
        "database session",
        5,
        (
            _a_database(
                _SQL_SESSION
                + "$PSQL -c '\\d+ item' -c '\\l' -c '\\dt+' -c 'explain analyze select * from "
                "pgbench_accounts where bid = 1 order by abalance limit 5' -c 'select name, setting, unit "
                "from pg_settings limit 60'"
            ),
        ),
    ),
    Tool(
        "train",
        "shell",
        "kernel tables",
        8,
        (
            "cat /proc/meminfo; vmstat -s; cat /proc/vmstat | head -120",
            "ip -s link; ss -s",
            "cat /proc/interrupts | head -40; cat /proc/softirqs",
            "cat /proc/self/smaps | head -200",
            "sysctl -a 2>/dev/null | sed -n '1~4p' | head -150",
            "cat /proc/self/status /proc/stat",
        ),
    ),
    Tool(
        "train",
        "shell",
        "tool configuration dumps",
        10,
        (
            "gcc -Q --help=optimizers | head -200",
            "rustc --print cfg; rustc --print target-list",
            "python3 -m sysconfig | head -200",
            "apt-config dump | head -200",
            "ldconfig -p | head -200",
            "cmake -LAH -N make 2>/dev/null; cmake --help-variable-list | head -150",
            "update-alternatives --get-selections; locale -a; getent services | head -80",
            "make -p -f /dev/null 2>/dev/null | head -300",
            "gcc -dumpspecs | head -80",
            "npm config ls -l 2>/dev/null | head -150",
            "openssl list -commands -digest-algorithms",
        ),
    ),
    Tool(
        "train",
        "shell",
        "compressed archive details",
        4,
        (
            "cd /usr/share/doc/bash && zip -v ../../../../tmp/x.zip . 2>&1",
            "rm -f a.zip; zip -r a.zip /usr/share/doc/c* | head -120; unzip -v a.zip | head -120",
            "zipinfo -v a.zip | head -150",
            "xz -lvv /usr/share/man/man1/*.xz 2>/dev/null | head -80",
        ),
    ),
    Tool(
        "train",
        "shell",
        "package metadata",
        8,
        (
            "python3 -m pip show -f pip | head -150",
            "apt-cache policy | head -120",
            "apt-cache showpkg bash | head -120",
            "apt-cache rdepends libc6 | head -150",
            "apt-cache stats; apt-cache madison gcc cmake curl",
            "dpkg-query -L coreutils | head -200",
            "dpkg -V 2>/dev/null | head -80; dpkg --get-selections | head -200",
        ),
    ),
    # search
    Tool(
        "train",
        "search",
        "symbol and text search",
        14,
        tuple(
            f"cd /usr/lib/x86_64-linux-gnu && nm -D --with-symbol-versions lib{lib}.so* | "
            "grep -i -E 'open|read|init|free' | head -120"
            for lib in ("c", "curl", "ssl", "sqlite3", "z", "m", "stdc++", "xml2")
        )
        + tuple(
            f"strings -f -n 6 /usr/bin/{p} | grep -i -E 'error|usage|cannot' | head -80"
            for p in ("tar", "git", "gcc", "ssh", "bash", "find", "curl", "make")
        ),
    ),
    Tool(
        "train",
        "search",
        "manual and package search",
        10,
        tuple(f"man -k {w} | head -80" for w in ("file", "list", "signal", "socket", "archive"))
        + tuple(
            f"apt-cache search -f {w} | grep -E '^(Package|Description|Version|Size)' | head -120"
            for w in ("jpeg", "proxy", "parser")
        )
        + tuple(
            f"python3 -m pydoc -k {w} 2>/dev/null | head -60" for w in ("json", "time", "file")
        ),
    ),
    Tool(
        "train",
        "search",
        "configuration search",
        8,
        tuple(
            f"grep -rnI -E '{w}' /etc --include='*.conf' --include='*.d' --include='*rc' "
            "2>/dev/null | head -70"
            for w in ("^[a-z]", "path", "#.*default", "=", "enable", "yes")
        )
        + (
            "find /etc -type f -size -4k -printf '%p %s %TY-%Tm-%Td\\n' | head -120",
            "find / -xdev -name '*.service' 2>/dev/null | head -100; whereis gcc bash git curl",
        ),
    ),
    # json
    Tool(
        "train",
        "json",
        "compiler diagnostics as JSON",
        8,
        tuple(
            f"sed 's/free(h)/fre(h)/; s/int /itn /' fault{i}.c > json{i}.c; "
            f"gcc -Wall -fdiagnostics-format=json -c json{i}.c 2>&1 | jq . | head -200"
            for i in range(4)
        )
        + tuple(f"rustc --error-format=json broken{i}.rs 2>&1 | head -c 6000" for i in range(4)),
    ),
    Tool(
        "train",
        "json",
        "package lists as JSON",
        8,
        (
            """dpkg-query -W -f '{"name":"${Package}","version":"${Version}","size":${Installed-Size},\
"section":"${Section}","maintainer":"Maintainers"}\\n' | head -200 | jq -s . | head -600""",
            "python3 -m pip list --format=json | jq .",
            "npm ls -g --all --json 2>/dev/null | head -400",
            "npm config ls --json 2>/dev/null | head -200",
            "go env -json | jq 'del(.GOFLAGS)'",
            _CARGO_PROJECT + "cargo metadata --offline --format-version 1 | jq .",
        ),
    ),
    Tool(
        "train",
        "json",
        "system tables as JSON",
        8,
        (
            "ip -j -s -d link | jq .",
            "ip -j route | jq .; lsblk -J 2>/dev/null",
            "findmnt -J -t proc,sysfs,tmpfs 2>/dev/null",
            "lscpu -J; lsipc -J 2>/dev/null",
            """find /usr/share/doc -maxdepth 2 -type f -printf \
'{"path":"%p","size":%s,"mode":"%m","modified":"%TY-%Tm-%TdT%TH:%TM"}\\n' | head -150 | jq -s .""",
            """find /usr/include -maxdepth 1 -type f -printf '{"file":"%f","bytes":%s}\\n' | head -200""",
        ),
    ),
    Tool(
        "train",
        "json",
        "database rows as JSON",
        5,
        (
            """sqlite3 -json :memory: 'create table t(id integer primary key, name text, price real);
         insert into t(name, price) with recursive c(i) as (select 1 union all select i + 1 from c
         where i < 60) select printf("item-%03d", i * 37 % 101), round(i * 1.37, 2) from c;
         select *, case when price > 50 then "high" else "low" end as band from t'""",
            "sqlite3 -json :memory: 'select name, builtin, type, narg from pragma_function_list' | jq .",
            "sqlite3 -json :memory: 'pragma compile_options; pragma pragma_list' | jq -c .",
        ),
    ),
    Tool(
        "train",
        "json",
        "test events as JSON",
        4,
        ('cd "$(go env GOROOT)/src" && go test -short -json path bufio 2>&1 | head -300',),
        75,
    ),
    # diff
    Tool(
        "train",
        "diff",
        "patches of this project",
        60,
        (f"git -C '{SAMPLES}' log -p -n 40 -- ':/runtime' ':/server' ':/tests/e2e' | head -9000",),
    ),
    Tool(
        "train",
        "diff",
        "settings before and after",
        6,
        (
            "gcc -Q -O1 --help=optimizers > o1; gcc -Q -O3 --help=optimizers > o3; diff -u o1 o3",
            "gcc -dM -E - < /dev/null | sort > m1; g++ -x c++ -dM -E - < /dev/null | sort > m2; "
            "diff -u m1 m2 | head -300",
            "diff -y -W 120 --suppress-common-lines o1 o3",
            "sysctl -a 2>/dev/null | sort > s1; sed 's/ = 0$/ = 1/' s1 > s2; diff -u s1 s2 | head -200",
            "diff -rq /usr/lib/gcc/x86_64-linux-gnu/*/include /usr/lib/llvm-*/lib/clang/*/include",
        ),
    ),
    # traces
    Tool(
        "train",
        "error_trace",
        "Perl errors",
        2,
        tuple(
            f"printf '%s' '{code}' > fault.pl; perl fault.pl; perl -c fault.pl; "
            "perl -MCarp=verbose fault.pl"
            for code in (c.replace("'", '"') for c in _PERL_FAULTS)
        ),
    ),
    Tool("train", "error_trace", "command line errors", 2, _SHELL_FAULTS),
    Tool("train", "error_trace", "make errors", 3, (_MAKEFILE,)),
    Tool(
        "train",
        "error_trace",
        "debugger backtraces",
        4,
        (
            _DEBUGGED + "gdb -q -batch -ex run -ex 'bt full' -ex 'info threads' ./crash 2>&1\n"
            "valgrind --track-origins=yes ./crash 2>&1",
        ),
    ),
    Tool(
        "train",
        "error_trace",
        "Rust panics and failed tests",
        4,
        (
            _CARGO_PROJECT + "RUST_BACKTRACE=1 cargo test --offline 2>&1",
            _CARGO_PROJECT
            + "sed -i 's/i64/u8/; s/total(&/totals(\\&/' src/*.rs; cargo build --offline",
        ),
    ),
    Tool(
        "train",
        "error_trace",
        "database errors",
        4,
        (
            _a_database(
                "\n".join(
                    f'$PSQL -c "{q}" 2>&1'
                    for q in (
                        "select * from nope",
                        "selec 1",
                        "create table t(a int primary key); insert into t " "values(1),(1)",
                        "select 'x'::int",
                        "select count(*) over (order by) from t",
                        "begin; select 1/0; select 1; commit",
                        "alter table t drop column zz",
                        "insert into t values(null)",
                        "select pg_sleep('a')",
                        "set search_path to 3; show x",
                        "create index on t(nope)",
                        "select array[1,2][3] + 'b'",
                        "grant all on t to nobody1",
                        "do $$ begin perform 1/0; end $$",
                    )
                )
            ),
        ),
    ),
    Tool(
        "train",
        "error_trace",
        "Tcl errors",
        2,
        tuple(
            f"echo '{c}' | tclsh 2>&1"
            for c in (
                "proc f {a} { g $a }; proc g {b} { expr {$b + $c} }; if {[catch {f 1} e o]} "
                "{ puts $e; puts $o; puts $::errorInfo }; error boom; nope; set x; lindex; "
                "package require Nope; open /no/such; dict get {a 1} b; expr {1 / 0}",
            )
        ),
    ),
    # code and prose
    Tool(
        "train",
        "code",
        "shell scripts",
        3,
        tuple(
            f"sed -n '1,400p' $(grep -lE '^#! ?/bin/(ba)?sh' /usr/bin/* | sed -n '{i}p')"
            for i in range(1, 26)
        ),
    ),
    Tool(
        "train",
        "code",
        "SQL scripts",
        2,
        tuple(
            f"cat $(ls -S /usr/share/postgresql/*/extension/*.sql | sed -n '{i}p') | head -300"
            for i in range(1, 16)
        ),
    ),
    Tool(
        "train",
        "code",
        "configuration files",
        2,
        tuple(
            f"cat $(find /etc -name '*.conf' -size +1k -size -40k | sort | sed -n '{i}p')"
            for i in range(1, 26)
        ),
    ),
    Tool(
        "train",
        "prose",
        "editor documentation",
        3,
        tuple(
            f"cat $(ls -S /usr/share/vim/vim*/doc/*.txt | sed -n '{i}p') | head -1500"
            for i in range(1, 40)
        ),
    ),
    Tool(
        "train",
        "prose",
        "package change logs",
        2,
        tuple(
            f"zcat $(ls /usr/share/doc/*/changelog*.gz | sed -n '{i * 17}p') | head -400"
            for i in range(1, 46)
        ),
    ),
    Tool(
        "train",
        "prose",
        "JavaScript package documents",
        2,
        tuple(
            f"cat $(find /usr/lib/node_modules -name '*.md' -size +2k | sort | sed -n '{i * 3}p')"
            for i in range(1, 40)
        ),
    ),
)

_GO_FAULTS = (
    'func f() int { return "a" }',
    'import "os"\nvar x int = y + 1',
    "type T struct{ a int }\nfunc (t T) M() { t.b = 1; undefined(t) }",
    "type I interface{ M(int) }\ntype S struct{}\nvar _ I = S{}",
    "func g() { for i := range 3 { i := i } ; return 1 }",
)
_JAVA_FAULTS = (
    'int x = "a"; String s = 3; undefined();',
    "List<String> l = new ArrayList<Integer>(); final int k = 1; k = 2;",
    'switch (1) { case "a": break; } throw new Exception("unhandled");',
    "Object o = new Runnable() { }; int y; System.out.println(y);",
)

_EVAL = (
    Tool(
        "eval",
        "error_trace",
        "Go compiler diagnostics",
        1,
        tuple(
            f"mkdir -p gofault; printf '%s' 'package p\n{c}\n' > gofault/p{i}.go; "
            f"go vet gofault/p{i}.go; go build -gcflags=-e gofault/p{i}.go; "
            f"gofmt -d gofault/p{i}.go; go run gofault/p{i}.go; go build -gcflags=-m gofault/p{i}.go"
            for i, c in enumerate(_GO_FAULTS)
        ),
    ),
    Tool(
        "eval",
        "error_trace",
        "Java compiler diagnostics",
        1,
        tuple(
            f"mkdir -p jf{i}; printf '%s' 'import java.util.*; class Bad {{ void run() {{ {c} }}\n"
            f"int twice(int a) {{ return a + nope; }}\nString name() {{ if (true) return null; }} }}' "
            f"> jf{i}/Bad.java; javac -Xlint:all -Xdiags:verbose jf{i}/Bad.java"
            for i, c in enumerate(_JAVA_FAULTS)
        ),
    ),
    Tool(
        "eval",
        "log",
        "Java build tool log",
        5,
        (
            """mkdir -p mvn && cd mvn; printf '<project><modelVersion>4.0.0</modelVersion>\
<groupId>g</groupId><artifactId>a</artifactId><version>1</version></project>' > pom.xml
         mvn -o -X -B compile 2>&1 | head -400""",
        ),
        75,
    ),
    Tool(
        "eval",
        "log",
        "Go runtime trace log",
        5,
        (
            """mkdir -p gort && cd gort; printf 'package main\\nfunc main(){m:=map[int][]byte{}
for i:=0;i<4000;i++{m[i]=make([]byte,20000);if i%%3==0{delete(m,i-9)}}}' > main.go
         GODEBUG=gctrace=1,schedtrace=100,inittrace=1 go run main.go 2>&1 | head -250""",
        ),
        75,
    ),
    Tool(
        "eval",
        "log",
        "library initialisation log",
        4,
        (
            "perl -MDevel::Peek -e 'Dump([1,{a=>2}])' 2>&1; PERL_DEBUG_MSTATS=1 perl -v",
            "perl -Mre=debug -e '\"foobarbaz\" =~ /(fo+)(ba[rz])+$/' 2>&1 | head -200",
            "perl -MO=Concise -e 'for my $i (1..3) { print $i * 2, \"\\n\" }' 2>&1",
        ),
    ),
    Tool(
        "eval",
        "shell",
        "Java class inspection",
        4,
        (
            "javap -v java.lang.Integer 2>/dev/null | head -250",
            "javap -p -c java.util.Optional | " "head -150",
            "java -XX:+PrintFlagsFinal -version 2>&1 | head -150; jcmd -l",
            "java -XshowSettings:all -version 2>&1 | head -120; jdeps --list-deps jf0 2>&1",
        ),
    ),
    Tool("eval", "shell", "Perl build settings", 3, ("perl -V", "perl -V:.* | head -200")),
    Tool(
        "eval",
        "json",
        "toolchain reports as JSON",
        4,
        (
            "go version -m -json $(command -v go) 2>/dev/null | head -200",
            "go mod download -json golang.org/x/none@v0 2>&1; go list -m -json all 2>&1 | head -80",
            "perl -MJSON::PP -MConfig -e 'print JSON::PP->new->pretty->canonical->encode({%Config})' "
            "2>/dev/null | head -300",
        ),
    ),
    Tool(
        "eval",
        "search",
        "Perl module search",
        1,
        tuple(
            f"grep -rnE '{w}' /usr/share/perl/ 2>/dev/null | head -45"
            for w in ("croak", "sub new", "deprecated", "=head2", "require ", "wantarray")
        ),
    ),
    Tool(
        "eval",
        "code",
        "Tcl programs",
        1,
        tuple(
            f"cat $(find /usr/share/tcltk /usr/lib/tcltk -name '*.tcl' -size +3k | sort | "
            f"sed -n '{i * 5}p')"
            for i in range(1, 9)
        ),
    ),
    Tool(
        "eval",
        "diff",
        "differences between Perl and Tcl files",
        2,
        (
            "diff -u /usr/share/perl/*/unicore/Name.pm /usr/share/perl/*/unicore/UCD.pl | head -300",
            "diff -u /usr/share/tcltk/tcl8.6/init.tcl /usr/share/tcltk/tcl8.6/auto.tcl | head -400",
            "diff -u /usr/share/tcltk/tcl8.6/word.tcl /usr/share/tcltk/tcl8.6/parray.tcl",
            "diff -u /usr/share/perl/*/Text/Wrap.pm /usr/share/perl/*/Text/Tabs.pm",
        ),
    ),
)


def all_tools():
    return _TRAIN + _EVAL
