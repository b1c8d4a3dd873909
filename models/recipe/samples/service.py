"""A small service that works and fails at random and logs it: python3 service.py SEED"""

import configparser
import json
import logging
import random
import sqlite3
import sys
import urllib.request
import zipfile

rng = random.Random(int(sys.argv[1]))
TABLES = rng.sample(["users", "orders", "invoices", "sessions", "events", "devices"], 3)
COMPONENTS = rng.sample(
    [
        "db.pool",
        "http.client",
        "worker",
        "scheduler",
        "auth",
        "cache",
        "ingest",
        "billing",
        "search.index",
        "mailer",
    ],
    4,
)
PLAIN = (
    "%(asctime)s %(levelname)s [%(name)s] %(message)s",
    "%(asctime)s.%(msecs)03d %(process)d %(levelname)-5s %(name)s - %(message)s",
    "[%(levelname)s] %(asctime)s %(name)s:%(lineno)d: %(message)s",
    "%(levelname).1s%(asctime)s %(threadName)s %(name)s] %(message)s",
)


class JsonLines(logging.Formatter):
    def format(self, record):
        line = {
            "ts": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["exc"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Logfmt(logging.Formatter):
    def format(self, record):
        return 'time=%s level=%s component=%s msg="%s"' % (
            self.formatTime(record),
            record.levelname.lower(),
            record.name,
            record.getMessage(),
        )


def query(log, i):
    log.info("opened connection id=%d host=db-%02d", i, rng.randrange(5))
    table = rng.choice(TABLES)
    sqlite3.connect(":memory:").execute(
        rng.choice(
            ["select 1", "select * from " + table, f"insert into {table} values(1)", "selct 1"]
        )
    )


def health(log, i):
    log.debug("health check ok latency_ms=%d", rng.randrange(3, 90))


def call(log, i):
    urllib.request.urlopen("http://127.0.0.1:%d/" % rng.randrange(2, 90), timeout=0.2)


def load(log, i):
    open("/var/lib/%s/%d" % (rng.choice(["app", "cache", "queue"]), i))


def parse(log, i):
    json.loads(rng.choice(['{"a":1,}', '{"a" 1}', "[1,2", "nul", '"open']))


def job(log, i):
    log.info("job %d finished in %d ms", i, rng.randrange(1000))


def retry(log, i):
    log.warning("retrying request attempt=%d backoff=%.1fs", rng.randrange(5), rng.random() * 8)


def unpack(log, i):
    zipfile.ZipFile(rng.choice(["/etc/passwd", "/nope.zip"]))


def configure(log, i):
    configparser.ConfigParser().read_string(rng.choice(["[a]\nb", "x=1", "[a]\n[a]"]))


def access(log, i):
    log.info(
        "%s %s %d %.3f",
        rng.choice(["GET", "POST", "PUT"]),
        "/api/v1/%s/%d" % (rng.choice(TABLES), rng.randrange(999)),
        rng.choice([200, 200, 201, 404, 500]),
        rng.random(),
    )


def batch(log, i):
    log.info(
        "processed batch of %d %s, %d skipped because the schema version is older than " "expected",
        rng.randrange(500),
        rng.choice(TABLES),
        rng.randrange(9),
    )


def depth(log, i):
    log.warning(
        "queue depth %d is above the high water mark, slowing down producers",
        rng.randrange(1000, 9000),
    )


def row(log, i):
    [{"id": 1}][rng.randrange(3)][rng.choice(["id", "name", "price"])]


def cache(log, i):
    log.debug(
        "cache %s key=user:%d ttl=%d",
        rng.choice(["hit", "miss"]),
        rng.randrange(99),
        rng.randrange(3600),
    )


ACTIONS = (
    query,
    health,
    call,
    load,
    parse,
    job,
    retry,
    unpack,
    configure,
    access,
    batch,
    depth,
    row,
    cache,
)


def main():
    handler = logging.StreamHandler(sys.stdout)
    formatters = [JsonLines(), Logfmt()] + [logging.Formatter(p) for p in PLAIN]
    handler.setFormatter(rng.choice(formatters))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    loggers = [logging.getLogger(name) for name in COMPONENTS]
    weights = [rng.random() ** 2 for _ in ACTIONS]
    for i in range(80):
        log = rng.choice(loggers)
        try:
            rng.choices(ACTIONS, weights)[0](log, i)
        except Exception as error:
            if rng.random() < 0.25:
                log.exception("operation failed")
            else:
                log.error("%s: %s", type(error).__name__, error)


if __name__ == "__main__":
    main()
