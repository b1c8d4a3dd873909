"""Seeded tool outputs full of lines that repeat: what fold_repeats is for.

Each function returns a list of (line, kind, is_error): the kind names the template that the line
was written with, None that it has none worth keeping.
"""
import json
import random


def hex_digits(r, n):
    return "".join(r.choice("0123456789abcdef") for _ in range(n))


def service_message(r):
    """One message of a web service, as (kind, level, text, is_error)."""
    served = (f"http request served method=GET path=/api/v1/orders/{r.randrange(9999)} status=%d "
              f"duration={r.uniform(1, 90):.1f}ms request_id={hex_digits(r, 12)}")
    uuid = "-".join(hex_digits(r, n) for n in (8, 4, 4, 4, 12))
    forms = [
        (38, "served", "INFO ", served % 200, False),
        (14, "cache", "DEBUG", f"cache hit for key 'user:{r.randrange(999)}' in "
         f"shard-{r.randrange(8)} ({r.randrange(10, 900)} bytes)", False),
        (14, "worker", "INFO ", f"worker-{r.randrange(12)} picked job {uuid} from queue emails, "
         f"{r.randrange(40)} waiting", False),
        (10, "heartbeat", "INFO ", f"heartbeat accepted from node{r.randrange(4)} "
         f"load={r.random():.2f}", False),
        (10, "segment", "DEBUG", f"wrote segment /var/lib/store/seg-{r.randrange(99999):05}.dat "
         f"({r.randrange(1, 64)}MiB in {r.uniform(.1, 3):.2f}s)", False),
        (4, "client", "INFO ", f"client 10.0.{r.randrange(4)}.{r.randrange(255)} connected, "
         f"{r.randrange(100)} open sessions", False),
        (2, "slow", "WARN ", f"slow query took {r.uniform(1, 9):.2f}s on replica {r.randrange(3)}",
         True),
        (2, "payment", "ERROR", f"payment gateway refused charge {hex_digits(r, 10)}: "
         f"code=E40{r.randrange(20, 23)}", True),
        (1, "served", "INFO ", served % 503, True),
        (1, "config", "INFO ", f"config reloaded from /etc/app/config.yaml, {r.randrange(5)} keys "
         "changed", False),
        (1, "quiet", "INFO ", "nothing to do, going back to sleep", False),
    ]
    return r.choices(forms, [f[0] for f in forms])[0][1:]


def service_log(n, seed):
    r, t, out = random.Random(seed), 43200.0, []
    for _ in range(n):
        t += r.expovariate(4)
        s = int(t)
        kind, level, text, bad = service_message(r)
        clock = f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}.{int(t * 1000) % 1000:03}"
        out.append((f"2026-11-21T{clock}Z {level} {text}\n", level + kind, bad))
    return out


def records(n, seed):
    """A JSON array of objects, indented; a kind is a key, brackets have none."""
    r = random.Random(seed)
    rows = [{"id": i, "name": f"svc-{r.choice(['auth', 'cart', 'mail', 'pay'])}-{i}",
             "replicas": r.randrange(1, 9), "cpu_percent": round(r.uniform(0, 100), 1),
             "started": f"2026-11-{r.randrange(1, 28):02}T0{r.randrange(9)}:15:00Z",
             "status": "failed" if r.random() < .04 else "running",
             "labels": {"zone": r.choice(["eu1", "us1"]), "tier": r.choice(["web", "db"])}}
            for i in range(n)]
    lines = json.dumps(rows, indent=2).splitlines(keepends=True)
    return [(line, line.split(":")[0].strip() if ":" in line else None, "failed" in line)
            for line in lines]


def matches(n, seed):
    """Output of grep -n; a kind is what stands behind file and line."""
    r, out = random.Random(seed), []
    forms = ["#include <stdio.h>", "    if (rc != 0) {", "        return rc;",
             "    lock(&self->mutex);", "    unlock(&self->mutex);", "        goto cleanup;",
             "    log_info(\"value %d\", value);"]
    for folder in ("net", "disk", "core", "ui"):
        for name in ("open", "close", "read", "write", "poll", "util"):
            line = 1
            for _ in range(n // 24):
                line += r.randrange(1, 40)
                text = r.choice(forms)
                if r.random() < .1:
                    verb, noun = r.choice(["parse", "merge", "probe"]), r.choice(["head", "tail"])
                    text = f"    {verb}_{noun}(ctx);"
                out.append((f"src/{folder}/{name}.c:{line}:{text}\n", text, False))
    return out
