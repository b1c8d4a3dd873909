"""Every test of the recipe that needs plain Python alone; one "ok NAME" or "not ok NAME" a test.

python3 test_all.py [MODULE ...]     the tests of floor.py and of the engine want `make model-floor`
"""

import importlib
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Lines(unittest.TextTestResult):
    """One line a test on standard output, as tests/run.py counts them."""

    def _line(self, verdict, test, why=""):
        name = ".".join(test.id().split(".")[-2:]).replace("Test.test_", ".")
        print(verdict, name, why, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._line("ok", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line("not ok", test)

    def addError(self, test, err):
        super().addError(test, err)
        self._line("not ok", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line("not ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line("skip", test, f"({reason})")


def loadable(name):
    """Whether a module's packages are here; one that lacks a package is skipped by name."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if os.path.exists(os.path.join(HERE, f"{missing.name}.py")):
            raise
        print(f"skip {name} (no package {missing.name})", flush=True)
        return False
    return True


def main():
    sys.path.insert(0, HERE)
    names = sys.argv[1:] or sorted(
        f[:-3] for f in os.listdir(HERE) if f.startswith("test_") and f != "test_all.py"
    )
    suite = unittest.defaultTestLoader.loadTestsFromNames(
        [name for name in names if loadable(name)]
    )
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0, resultclass=Lines).run(suite)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
