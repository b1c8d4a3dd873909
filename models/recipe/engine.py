"""The engine in process: what `pith compress` replies, called from Python. Plain Python.

with engine.Engine("models/pith-mini") as e:
    reply = e.compress(text)             # default settings
    reply.kept_tokens, reply.units[0].score
"""

import ctypes
import dataclasses

import floor

DEFAULT, THRESHOLD, TARGET_RATIO = range(3)  # pith_budget
PASS_NOTHING_KEPT = 4  # pith_passthrough
NO_PATTERNS = '{"only": []}'  # the model alone decides
DEVICE_BYTES = 64


class _Options(ctypes.Structure):
    _fields_ = [
        ("model_dir", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("patterns", ctypes.c_char_p),
        ("n_threads", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
    ]


class _Ask(ctypes.Structure):
    _fields_ = [
        ("text", ctypes.c_char_p),
        ("text_len", ctypes.c_size_t),
        ("domain", ctypes.c_char_p),
        ("budget_value", ctypes.c_double),
        ("budget", ctypes.c_uint32),
        ("fold_repeats", ctypes.c_uint8),
        ("explain", ctypes.c_uint8),
        ("unused", ctypes.c_uint8 * 2),
    ]


class _Unit(ctypes.Structure):
    _fields_ = [
        ("start", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
        ("score", ctypes.c_float),
        ("kept", ctypes.c_uint8),
        ("critical", ctypes.c_uint8),
        ("unused", ctypes.c_uint8 * 2),
    ]


class _Range(ctypes.Structure):
    _fields_ = [("start", ctypes.c_uint32), ("end", ctypes.c_uint32)]


COUNTS = (
    "input_words",
    "kept_words",
    "input_tokens",
    "kept_tokens",
    "critical_total",
    "critical_kept",
    "folded_lines",
    "folded_critical",
    "passthrough",
)


class _Reply(ctypes.Structure):
    _fields_ = [
        ("text", ctypes.POINTER(ctypes.c_char)),
        ("text_len", ctypes.c_size_t),
        ("units", ctypes.POINTER(_Unit)),
        ("ranges", ctypes.POINTER(_Range)),
        ("n_units", ctypes.c_uint32),
        ("n_ranges", ctypes.c_uint32),
        *[(name, ctypes.c_uint32) for name in COUNTS],
        ("domain", ctypes.c_uint32),
    ]


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of decision, in bytes of the UTF-8 text."""

    start: int
    end: int
    score: float
    kept: bool
    critical: bool


@dataclasses.dataclass(frozen=True)
class Reply:
    text: str
    domain: str
    units: list
    ranges: list  # [(start, end)] bytes of the input that are kept
    input_words: int
    kept_words: int
    input_tokens: int
    kept_tokens: int
    critical_total: int
    critical_kept: int
    folded_lines: int
    folded_critical: int
    passthrough: int


class Engine:
    """dtype "f32" gives the figures of a machine without bf16 products; patterns as --patterns."""

    def __init__(self, model_dir, dtype="f32", patterns=None, threads=1):
        self.lib, self.handle = floor.shared_object(), ctypes.c_void_p()
        self.lib.pith_recipe_engine_close.argtypes = [ctypes.c_void_p]
        self.lib.pith_recipe_engine_compress.argtypes = [ctypes.c_void_p] + [ctypes.c_void_p] * 3
        options = _Options(
            str(model_dir).encode(), dtype.encode(), patterns and patterns.encode(), threads
        )
        device, error = ctypes.create_string_buffer(DEVICE_BYTES), floor.Error()
        floor.check(
            self.lib.pith_recipe_engine_open(
                ctypes.byref(self.handle),
                ctypes.byref(options),
                device,
                ctypes.c_size_t(DEVICE_BYTES),
                ctypes.byref(error),
            ),
            error,
        )
        self.device = device.value.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.lib.pith_recipe_engine_close(self.handle)
        self.handle = None

    def compress(self, text, domain="auto", budget=DEFAULT, value=0.0, fold=False, explain=False):
        data, reply, error = text.encode(), _Reply(), floor.Error()
        ask = _Ask(data, len(data), domain.encode(), value, budget, fold, explain)
        floor.check(
            self.lib.pith_recipe_engine_compress(
                self.handle, ctypes.byref(ask), ctypes.byref(reply), ctypes.byref(error)
            ),
            error,
        )
        result = Reply(
            text=reply.text[: reply.text_len].decode() if reply.text_len else "",
            domain=floor.DOMAINS[reply.domain],
            units=[
                Unit(u.start, u.end, u.score, bool(u.kept), bool(u.critical))
                for u in reply.units[: reply.n_units]
            ],
            ranges=[(r.start, r.end) for r in reply.ranges[: reply.n_ranges]],
            **{name: getattr(reply, name) for name in COUNTS},
        )
        self.lib.pith_recipe_reply_free(ctypes.byref(reply))
        return result
