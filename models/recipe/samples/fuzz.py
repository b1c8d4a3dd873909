"""Call standard library functions with wrong arguments and print tracebacks: python3 fuzz.py SEED

Run it in an empty folder: some calls create files there.
"""

import importlib
import inspect
import random
import sys
import traceback

MODULES = """
json re csv configparser datetime decimal fractions argparse collections textwrap shlex string
statistics ipaddress urllib.parse email.utils zipfile tarfile base64 struct difflib heapq calendar
uuid plistlib ast tokenize http.client xml.dom.minidom sqlite3 pathlib logging.config
xml.etree.ElementTree asyncio concurrent.futures unittest.mock email.message locale
""".split()
VALUES = (
    None,
    -1,
    0,
    "",
    "abc",
    '{"a":',
    "1.2.3",
    "2024-13-45",
    [],
    [1, 2],
    {},
    {"a": 1},
    b"xx",
    3.5,
    object,
    "/no/such/file",
    "[x",
    "x" * 50,
)
TRACEBACKS_MAX, TRIES, LINES_MIN = 9, 400, 6
rng = random.Random(int(sys.argv[1]))


def arguments(low, high):
    return [rng.choice(VALUES) for _ in range(rng.randrange(low, high))]


def some_callable():
    """A public function or class of a module, or a method of an object made from it."""
    module = importlib.import_module(rng.choice(MODULES))
    names = [
        n for n in dir(module) if not n.startswith("_") and n not in ("exit", "main", "run", "test")
    ]
    found = rng.choice([getattr(module, n) for n in names if callable(getattr(module, n))])
    if rng.random() < 0.5 and inspect.isclass(found):
        try:
            made = found(*arguments(0, 3))
            found = getattr(made, rng.choice([n for n in dir(made) if not n.startswith("_")]))
        except BaseException:
            pass
    return found


def handle_request(function, values):
    def step(values):
        return function(*values)

    return step(values)


def main():
    printed = 0
    for _ in range(TRIES):
        function = some_callable()
        try:
            if rng.random() < 0.3:
                handle_request(function, arguments(0, 3))
            else:
                function(*arguments(1, 3))
        except Exception:
            text = traceback.format_exc()
            if text.count("\n") >= LINES_MIN:
                print(text)
                printed += 1
        except BaseException:
            pass
        if printed == TRACEBACKS_MAX:
            break


if __name__ == "__main__":
    main()
