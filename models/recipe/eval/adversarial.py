"""Texts that lose their meaning with one token: dense paths, hexadecimal, versions, flags and the like.

Written for Pith. A case is a text and the strings in it that a reader cannot do without; names in
the texts are made up, addresses are from the ranges reserved for documentation.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    group: str
    text: str
    must: tuple  # strings that have to come out whole


def _cases(group, *pairs):
    return [Case(group, text, tuple(must.split())) for text, must in pairs]


CASES = [
    *_cases(
        "paths",
        (
            "The unit file moved, so please look at /etc/systemd/system/pith.service.d/override.conf"
            " before you touch /usr/lib/systemd/system/pith.service, and remember that the socket"
            " is still created in /run/pith/pith.sock by the old helper.",
            "/etc/systemd/system/pith.service.d/override.conf /usr/lib/systemd/system/pith.service"
            " /run/pith/pith.sock",
        ),
        (
            "Compare src/net/tls/handshake_client.go with src/net/tls/handshake_server.go line by"
            " line; the third copy under vendor/old/tls/handshake_client.go is dead code that"
            " somebody should delete some day.",
            "src/net/tls/handshake_client.go src/net/tls/handshake_server.go"
            " vendor/old/tls/handshake_client.go",
        ),
        (
            "cp -r ./build/out/linux-x86_64/bin ../release/2026.11/bin\n"
            "cp ./build/out/linux-x86_64/lib/libpith.so.0.1 ../release/2026.11/lib/\n"
            "ls ~/releases/staging",
            "./build/out/linux-x86_64/bin ../release/2026.11/bin"
            " ./build/out/linux-x86_64/lib/libpith.so.0.1",
        ),
        (
            r"The installer wrote its report to C:\ProgramData\Acme\Logs\setup-17.log while the"
            r" share \\fileserver\builds\nightly was still being mounted by the other account.",
            r"C:\ProgramData\Acme\Logs\setup-17.log \\fileserver\builds\nightly",
        ),
    ),
    *_cases(
        "hexadecimal",
        (
            "The fault address was 0x00007f3a9c4d1e20 and the return address 0x55d0c0ffee10, which"
            " lies in the mapping that starts at 0x55d0c0ff0000 according to the map that the"
            " kernel printed a moment later.",
            "0x00007f3a9c4d1e20 0x55d0c0ffee10 0x55d0c0ff0000",
        ),
        (
            "rax 0x0 rbx 0xffffffffffffffda rcx 0x7ffe1b2c rdx 0x1 rsi 0xdeadbeef rdi 0x3 and the"
            " remaining registers held nothing of interest when the core was written",
            "0xffffffffffffffda 0x7ffe1b2c 0xdeadbeef",
        ),
        (
            "The dump shows the bytes as they were on the wire\n"
            "00000000: 7f45 4c46 0201 0100 0000 0000 0000 0000\n"
            "00000010: 0300 3e00 0100 0000 5010 0000 0000 0000\n"
            "and nothing behind them was readable any more",
            "00000010: 4c46 3e00 5010",
        ),
    ),
    *_cases(
        "hashes and identifiers",
        (
            "Bisecting ended at commit 9fceb02d0ae598e95dc970b74767f19372d61af8, whose parent"
            " 3b18e512dba79e4c8300dd08aeb37f8e728b8dad still behaves as everybody expected it to.",
            "9fceb02d0ae598e95dc970b74767f19372d61af8 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
        ),
        (
            "Request 6f1c2d3e-4b5a-4c6d-8e7f-901a2b3c4d5e was retried as"
            " 6f1c2d3e-4b5a-4c6d-8e7f-901a2b3c4d5f by the second worker, and only the later of the"
            " two ever reached the billing service.",
            "6f1c2d3e-4b5a-4c6d-8e7f-901a2b3c4d5e 6f1c2d3e-4b5a-4c6d-8e7f-901a2b3c4d5f",
        ),
        (
            "The image was pinned by digest:"
            " registry.example.com/team/api@sha256:"
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            " and the tag beside it is a courtesy to people who read the file",
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
    ),
    *_cases(
        "versions",
        (
            "It works with libfoo 2.17.4 but breaks with libfoo 2.18.0-rc.1+build.77, while the"
            " packagers still ship v2.9 and have no plan to move before the freeze in spring.",
            "2.17.4 2.18.0-rc.1+build.77 v2.9",
        ),
        (
            "Collecting parser>=3.1,<4\nCollecting lexer==0.12.7\nCollecting tools~=1.4.2\n"
            "the resolver then went back and forth for a while until it gave up",
            "parser>=3.1,<4 lexer==0.12.7 tools~=1.4.2",
        ),
        (
            "Upgrade from 10.6.21-MariaDB-0ubuntu0.22.04.2 to 10.11.8-MariaDB happened overnight"
            " and nobody noticed until the replica stopped",
            "10.6.21-MariaDB-0ubuntu0.22.04.2 10.11.8-MariaDB",
        ),
        (
            "kernel 6.1.0-25-amd64 boots, kernel 6.1.0-26-amd64 hangs at the splash screen, so the"
            " older of the two stays pinned for the time being",
            "6.1.0-25-amd64 6.1.0-26-amd64",
        ),
    ),
    *_cases(
        "flags",
        (
            "Run the tool with --dry-run first, then with --force --no-backup -j8 -O2, but keep"
            " -Wall out of it because that flag belongs to another program altogether.",
            "--dry-run --force --no-backup -j8 -O2 -Wall",
        ),
        (
            "gcc -std=c11 -D_GNU_SOURCE -I../include -fno-strict-aliasing -Wno-unused -o app main.c"
            " -lm -lpthread and then wait",
            "-std=c11 -D_GNU_SOURCE -I../include -fno-strict-aliasing -Wno-unused -lm -lpthread",
        ),
        (
            "curl --retry=5 --max-time=30 -sSfL -H accept:text/plain is what the script runs every"
            " night when the rest of the office sleeps",
            "--retry=5 --max-time=30 -sSfL",
        ),
    ),
    *_cases(
        "advisories",
        (
            "CVE-2021-44228 and CVE-2021-45046 are fixed by the same upgrade, whereas"
            " CVE-2021-45105 needs the one after it and GHSA-jfh8-c2jp-5v3q is a duplicate.",
            "CVE-2021-44228 CVE-2021-45046 CVE-2021-45105 GHSA-jfh8-c2jp-5v3q",
        ),
        (
            "The scanner reports CVE-2014-0160 with a score of 7.5 on host alpha and the very same"
            " entry with a score of 9.8 on host beta, which cannot both be right.",
            "CVE-2014-0160 7.5 9.8",
        ),
        (
            "See RFC 8446 section 4.1.3, ISO/IEC 9899:2011 clause 6.5.16 and bug #48211 for the"
            " reasons why the old behaviour was kept",
            "8446 4.1.3 9899:2011 6.5.16 #48211",
        ),
    ),
    *_cases(
        "chemistry",
        (
            "Dissolve 5.3 g of NaHCO3 in 250 mL of water, then add H2SO4 drop by drop until the pH"
            " has fallen to 6.8 and no more CO2 escapes from the flask.",
            "5.3 NaHCO3 250 H2SO4 6.8 CO2",
        ),
        (
            "The label says KMnO4 but the crystals look like K2Cr2O7, so test a grain with FeSO4"
            " before anything else is done with them",
            "KMnO4 K2Cr2O7 FeSO4",
        ),
        (
            "Glucose, C6H12O6, is oxidised while NAD+ is reduced to NADH, and the cell stores what"
            " it gains as ATP",
            "C6H12O6 NADH ATP",
        ),
    ),
    *_cases(
        "minified JSON",
        (
            '{"id":7319,"ok":false,"err":"E_TIMEOUT","retry":{"max":3,"delay_ms":250},'
            '"path":"/v1/jobs/7319"}',
            "7319 false E_TIMEOUT delay_ms /v1/jobs/7319",
        ),
        (
            '[{"a":1.5e-7,"b":null},{"a":-2,"b":"0xff"},{"a":3,"b":"2026-11-21T04:05:06Z"}] is what'
            " the last call returned before the socket was closed by the peer",
            "1.5e-7 0xff 2026-11-21T04:05:06Z",
        ),
        (
            '{"level":"warn","msg":"disk almost full","mount":"/var","used":0.97,"inode_used":0.41,'
            '"host":"db-03","ts":1763697906}\n'
            '{"level":"info","msg":"cleanup done","mount":"/var","used":0.62,"inode_used":0.40,'
            '"host":"db-03","ts":1763697966}',
            "/var 0.97 0.41 db-03 1763697906 0.62 0.40 1763697966",
        ),
        (
            '{"matrix":[[1,0,0],[0,1,0],[0,0,1]],"scale":2.25,"name":"identity","owner_id":55}',
            "[[1,0,0],[0,1,0],[0,0,1]] 2.25 owner_id 55",
        ),
    ),
    *_cases(
        "addresses",
        (
            "Traffic from 192.0.2.17 to 198.51.100.4:8443 is dropped, but the way back through"
            " 203.0.113.0/24 stays open according to the rules that were loaded last night.",
            "192.0.2.17 198.51.100.4:8443 203.0.113.0/24",
        ),
        (
            "The dashboard moved to https://status.example.org/v2/incidents?id=4711&lang=en and the"
            " old page at http://example.com/status.html only redirects there",
            "https://status.example.org/v2/incidents?id=4711&lang=en http://example.com/status.html",
        ),
        (
            "Interface eth0 has the hardware address 00:1b:44:11:3a:b7 and the link-local address"
            " fe80::21b:44ff:fe11:3ab7%eth0 as of this morning",
            "eth0 00:1b:44:11:3a:b7 fe80::21b:44ff:fe11:3ab7%eth0",
        ),
        (
            "Write to ops@example.com or to oncall+db@example.org, and never again to the list that"
            " used to be called announce",
            "ops@example.com oncall+db@example.org never",
        ),
    ),
    *_cases(
        "numbers and units",
        (
            "Latency rose from 12.5ms to 1.8s at p99 while the heap grew by 340MiB, an increase of"
            " 17% that the alert at 90% of 4GiB did not notice.",
            "12.5ms 1.8s p99 340MiB 17% 90% 4GiB",
        ),
        (
            "Torque the bolts to 25Nm, not to 52Nm, and leave a gap of 0.35mm between plate and"
            " housing at 20°C as the drawing wants it",
            "25Nm not 52Nm 0.35mm 20°C",
        ),
        (
            "Between 03:14:07 and 03:14:09 on 2026-02-28 exactly 1,048,576 rows were written, which"
            " is one page more than the 1,048,575 that the plan allowed",
            "03:14:07 03:14:09 2026-02-28 1,048,576 1,048,575",
        ),
    ),
    *_cases(
        "errors",
        (
            "open failed: EACCES (13), then ENOENT (2) on the second try, and at last errno=11"
            " EAGAIN which the caller took for success by mistake",
            "failed: EACCES ENOENT errno=11 EAGAIN",
        ),
        (
            "ORA-01555 came first, then SQLSTATE 40001, and the driver turned both of them into a"
            " java.sql.SQLException with code 8177 and no cause",
            "ORA-01555 40001 java.sql.SQLException 8177 no",
        ),
        (
            "main.c:214:17: error: use of undeclared identifier\nmain.c:220:5: warning: unused value\n"
            "two diagnostics were printed before the compiler was stopped",
            "main.c:214:17: error: main.c:220:5:",
        ),
        (
            "thread 'main' panicked at src/lib.rs:88:9: index out of bounds: the len is 4 but the"
            " index is 4, and the backtrace is empty because it was switched off",
            "panicked src/lib.rs:88:9: 4",
        ),
    ),
    *_cases(
        "negations and duties",
        (
            "You must not restart the primary unless the replica has caught up, and you should"
            " never delete the journal without a copy of it somewhere else.",
            "must not unless should never without",
        ),
        (
            "The key isn't rotated automatically; nobody does it, nothing reminds you of it, and"
            " neither the console nor the report says a word when it's forgotten.",
            "isn't nobody nothing neither nor",
        ),
        (
            "Only the owner may sign; all others are forbidden to, except during drills, which are"
            " always announced beforehand by the duty officer",
            "Only forbidden except always",
        ),
    ),
    *_cases(
        "code names",
        (
            "The leak is in parse_header_line, which calls XmlReader and then forgets what"
            " _free_all_nodes was meant to do with the buffer that readNextChunk gave it",
            "parse_header_line XmlReader _free_all_nodes readNextChunk",
        ),
        (
            "Set MAX_OPEN_FILES=4096 and net.core.somaxconn=1024, then let ${PITH_HOME} point at"
            " the new place while {{cluster_name}} stays as it is in the template",
            "MAX_OPEN_FILES=4096 net.core.somaxconn=1024 ${PITH_HOME} {{cluster_name}}",
        ),
        (
            "std::vector<int> became std::span<const int> in Frame::append, which breaks every"
            " caller of frame.append that passes a temporary",
            "frame.append",
        ),
    ),
    *_cases(
        "tables",
        (
            "NAME          READY   STATUS             RESTARTS   AGE\n"
            "api-7d9f      1/1     Running            0          3d\n"
            "mail-5c44     0/1     CrashLoopBackOff   17         2h\n"
            "auth-88b1     1/1     Running            1          3d\n",
            "api-7d9f mail-5c44 CrashLoopBackOff 17 auth-88b1",
        ),
        (
            "total 24\n"
            "-rw-r--r--  1 root  root   1204 Nov 21 03:12 config.yaml\n"
            "-rwxr-xr-x  1 root  root  18432 Nov 20 22:40 run.sh\n"
            "drwx------  2 pith  pith   4096 Nov 19 08:01 private\n",
            "1204 config.yaml 18432 run.sh drwx------ 4096",
        ),
    ),
]


# Needed by a reader and held by no class of the floor: whether they survive is up to the model.
UNHELD = ("4c46", "3e00", "K2Cr2O7", "C6H12O6", "p99")


def texts():
    """[(group, text)] of every case."""
    return [(case.group, case.text) for case in CASES]
