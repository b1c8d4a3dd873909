"""Print a syntax tree, the members of a module or a folder as JSON: python3 json_dump.py SEED"""

import ast
import importlib
import inspect
import json
import os
import random
import stat
import sys

rng = random.Random(int(sys.argv[1]))
MODULES = "json csv shlex textwrap string glob fnmatch queue sched bisect heapq copy".split()


def tree(node):
    found = {"kind": type(node).__name__}
    if hasattr(node, "lineno"):
        found["line"] = node.lineno
    for name, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            found[name] = tree(value)
        elif isinstance(value, list):
            found[name] = [tree(x) if isinstance(x, ast.AST) else repr(x) for x in value[:6]]
        elif value is not None:
            found[name] = value if isinstance(value, (int, str, float, bool)) else repr(value)
    return found


def members(module):
    return [
        {
            "name": name,
            "type": type(value).__name__,
            "doc": (inspect.getdoc(value) or "")[:200],
            "signature": str(inspect.signature(value)) if inspect.isfunction(value) else None,
        }
        for name, value in vars(module).items()
        if not name.startswith("__")
    ]


def files(folder):
    rows = []
    for name in sorted(os.listdir(folder))[:60]:
        path = os.path.join(folder, name)
        info = os.lstat(path)
        rows.append(
            {
                "path": path,
                "bytes": info.st_size,
                "mode": stat.filemode(info.st_mode),
                "mtime": info.st_mtime,
            }
        )
    return rows


def main():
    module = importlib.import_module(rng.choice(MODULES))
    kind = rng.randrange(3)
    if kind == 0:
        value = tree(ast.parse(inspect.getsource(module)).body[-1])
    elif kind == 1:
        value = members(module)
    else:
        value = files(rng.choice(["/usr/bin", "/usr/lib", "/usr/include", "/usr/sbin"]))
    print(json.dumps(value, indent=rng.choice([1, 2, 4, None])))


if __name__ == "__main__":
    main()
