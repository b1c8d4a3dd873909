"""The engine's floor, called from Python: what pithd keeps whatever the model says.

The code is that of runtime/text and runtime/decide, in a shared library that `make model` builds
(build/release/libpith_recipe.so; PITH_RECIPE_LIBRARY names another). Plain Python, no packages.

    floor.critical(text, spans)          -> [bool] per word: kept whatever its score
    floor.look(text).words[i].classes    -> {"number", "path"}: why
    floor.look(text).domain              -> "log": how pithd routes the text

Two degrees: a word is critical when it holds part of a critical span; it is forced when it is
critical or stands in a row of a table with a critical word (a row is kept or dropped whole). The
faithful profile, which is pithd's default, keeps the forced ones: that is the floor of every
figure of the recipe. Words over 64 tokens are cut by the engine and kept in part; here they count
as one.
"""

import ctypes
import dataclasses
import functools
import os

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LIBRARY = os.path.join(ROOT, "build", "release", "libpith_recipe.so")
ERR_TEXT_BYTES = 512  # PITH_ERR_TEXT_BYTES
DOMAINS = ("auto", "prose", "code", "log", "json", "diff", "search", "shell", "error_trace")


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("text", ctypes.c_char * ERR_TEXT_BYTES)]


class _Word(ctypes.Structure):
    _fields_ = [
        ("classes", ctypes.c_uint64),
        ("start", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("line", ctypes.c_uint32),
        ("item", ctypes.c_uint32),
        ("critical", ctypes.c_uint8),
        ("forced", ctypes.c_uint8),
        ("unused", ctypes.c_uint8 * 6),
    ]


class _Span(ctypes.Structure):
    _fields_ = [
        ("classes", ctypes.c_uint64),
        ("start", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
    ]


class _Look(ctypes.Structure):
    _fields_ = [
        ("words", ctypes.POINTER(_Word)),
        ("spans", ctypes.POINTER(_Span)),
        ("n_words", ctypes.c_uint32),
        ("n_spans", ctypes.c_uint32),
        ("domain", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
    ]


@dataclasses.dataclass(frozen=True)
class Word:
    start: int  # characters of the text, half open
    end: int
    critical: bool
    forced: bool
    item: int  # words of one item are kept or dropped as one
    classes: frozenset


@dataclasses.dataclass(frozen=True)
class Span:
    """A critical span as the reply counts it, in bytes of the UTF-8 text."""

    start: int
    end: int
    classes: frozenset


@dataclasses.dataclass(frozen=True)
class Look:
    words: list
    spans: list
    domain: str


def check(status, error):
    if status != 0:
        raise ValueError(error.text.decode("utf-8", "replace"))


@functools.lru_cache(maxsize=None)
def shared_object():
    path = os.environ.get("PITH_RECIPE_LIBRARY", LIBRARY)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: build it with `make model-floor`")
    lib = ctypes.CDLL(path)
    lib.pith_recipe_class_name.restype = ctypes.c_char_p
    lib.pith_recipe_floor_look.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.POINTER(_Look),
        ctypes.POINTER(Error),
    ]
    return lib


@functools.lru_cache(maxsize=None)
def _opened():
    """(the library, its compiled patterns, class names by bit); open until the process ends."""
    lib, handle, error = shared_object(), ctypes.c_void_p(), Error()
    check(lib.pith_recipe_floor_open(ctypes.byref(handle), ctypes.byref(error)), error)
    names = []
    while (name := lib.pith_recipe_class_name(len(names))) is not None:
        names.append(name.decode())
    return lib, handle, tuple(names)


def classes():
    """Names of the critical classes."""
    return _opened()[2]


@functools.lru_cache(maxsize=None)
def _class_set(bits):
    return frozenset(name for i, name in enumerate(_opened()[2]) if bits >> i & 1)


def character_offsets(text, data):
    """A function from byte offsets of data = text in UTF-8 to characters of text."""
    if len(data) == len(text):
        return lambda offset: offset
    starts, at = {}, 0
    for index, character in enumerate(text):
        starts[at] = index
        at += len(character.encode())
    starts[at] = len(text)
    return starts.__getitem__


def look(text, domain="auto"):
    """What the floor sees in a text. domain: "auto" routes it as pithd does."""
    lib, handle, _ = _opened()
    data, found, error = text.encode(), _Look(), Error()
    check(
        lib.pith_recipe_floor_look(
            handle,
            data,
            len(data),
            domain.encode(),
            ctypes.byref(found),
            ctypes.byref(error),
        ),
        error,
    )
    at = character_offsets(text, data)
    words = [
        Word(
            at(w.start),
            at(w.end),
            bool(w.critical),
            bool(w.forced),
            w.item,
            _class_set(w.classes),
        )
        for w in found.words[: found.n_words]
    ]
    spans = [Span(s.start, s.end, _class_set(s.classes)) for s in found.spans[: found.n_spans]]
    result = Look(words, spans, DOMAINS[found.domain])
    lib.pith_recipe_look_free(ctypes.byref(found))
    return result


def critical(text, spans, domain="auto"):
    """Per word whether pithd keeps it whatever its score. spans: labels.word_spans(text)."""
    words = look(text, domain).words
    if [(w.start, w.end) for w in words] != [tuple(span) for span in spans]:
        raise ValueError("the engine's words are not the recipe's")
    return [word.forced for word in words]
