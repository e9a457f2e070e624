"""The C library through ctypes, which lets other Python threads run during a call.

Rules, options, presets and kernels are tables of the library, and are read from there: a new rule in C
needs no line of Python. Addresses and lengths are not checked here, but by the modules for NumPy and
PyTorch, which know whose memory it is.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from ctypes import (
    POINTER,
    Array,
    Structure,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Union

LANES = 32  # of a reduction: LOCKSTEP_LANES


class LockstepError(Exception):
    """What the library refused, in its words. Nothing was changed."""


class ArgumentError(LockstepError, ValueError):
    """An argument that cannot be: which one, its value, and what it must be."""


class TableError(LockstepError, RuntimeError):
    """A table of kernels that is unknown or that this CPU cannot run."""


class NonFiniteError(LockstepError, ArithmeticError):
    """Gradients with NaN or infinities, which an optimizer's policy refuses."""


class OutOfMemoryError(LockstepError, MemoryError):
    """No memory for an optimizer's state or for a pool."""


_UNKNOWN_TABLE, _CANNOT_RUN, _BAD_ARGUMENT, _NO_MEMORY, _NON_FINITE = 1, 2, 7, 8, 9
_EXCEPTIONS = {
    _UNKNOWN_TABLE: TableError,
    _CANNOT_RUN: TableError,
    _NO_MEMORY: OutOfMemoryError,
    _NON_FINITE: NonFiniteError,
}


FLOAT32, BF16, F16 = range(3)  # types of elements: lockstep_element

STATE_TYPES = ("float32", "bfloat16", "float8")  # of state buffers: lockstep_state_type, in order
STATE_SCALE = 256  # elements of state that share a scale: LOCKSTEP_STATE_SCALE
STATE_SMALL = 4096  # the largest tensor whose state stays float32: LOCKSTEP_STATE_SMALL


class _Option(Structure):
    _fields_ = [("name", c_char_p), ("kind", c_int), ("offset", c_size_t)]


class _Rule(Structure):
    _fields_ = [("name", c_char_p), ("size", c_size_t), ("options", POINTER(_Option)), ("option_count", c_size_t)]


class _Preset(Structure):
    _fields_ = [("framework", c_char_p), ("name", c_char_p), ("rule", POINTER(_Rule)), ("options", c_void_p)]


class _Group(Structure):
    _fields_ = [("rule", c_char_p), ("options", c_void_p), ("size", c_size_t)]


class _Tensor(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("size", c_size_t),
        ("group", c_size_t),
        ("state", c_void_p),
        ("columns", c_size_t),
        ("types", c_void_p),
    ]


class _SlotType(Structure):
    _fields_ = [("slot", c_char_p), ("type", c_int)]


class _Parameter(Structure):
    _fields_ = [("name", c_char_p), ("kind", c_int)]


class _Kernel(Structure):
    _fields_ = [
        ("name", c_char_p),
        ("buffers", POINTER(_Parameter)),
        ("buffer_count", c_size_t),
        ("scalars", POINTER(_Parameter)),
        ("scalar_count", c_size_t),
        ("lanes", POINTER(_Parameter)),
        ("lane_count", c_size_t),
    ]


class _Buffer(Structure):
    _fields_ = [("data", c_void_p), ("len", c_size_t), ("unused", c_size_t)]


class Predictions(Structure):
    """Predictions, targets, and where the gradient and the losses go."""

    _fields_ = [
        ("pred", c_void_p),
        ("target", c_void_p),
        ("n", c_size_t),
        ("reduction", c_int),
        ("grad", c_void_p),
        ("each", c_void_p),
        ("weight", c_void_p),
        ("weights", c_size_t),
        ("rows", c_size_t),
        ("grad_scale", POINTER(c_double)),
        ("smoothing", c_double),
        ("pool", c_void_p),
    ]


class CrossEntropyOptions(Structure):
    """Which cross-entropy of rows it is."""

    _fields_ = [
        ("reduction", c_int),
        ("class_weights", c_void_p),
        ("ignores", c_int),
        ("ignored", c_int64),
        ("smoothing", c_double),
        ("z_loss", c_double),
        ("empty_is_zero", c_int),
    ]


class RowLossOptions(Structure):
    """Which loss of rows and labels it is."""

    _fields_ = [
        ("model", c_int),
        ("reduction", c_int),
        ("class_weights", c_void_p),
        ("ignores", c_int),
        ("ignored", c_int64),
        ("empty_is_zero", c_int),
        ("margin", POINTER(c_double)),
        ("squared", c_int),
        ("gamma", c_double),
        ("probabilities", c_int),
        ("smoothing", c_double),
    ]


class LossRows(Structure):
    """Rows of logits, what is right, and where the gradient and the losses go."""

    _fields_ = [
        ("logits", c_void_p),
        ("rows", c_size_t),
        ("classes", c_size_t),
        ("labels", c_void_p),
        ("targets", c_void_p),
        ("weights", c_void_p),
        ("grad", c_void_p),
        ("each", c_void_p),
    ]


class SoftmaxRows(Structure):
    """Rows of softmax regression, what is right, and where the gradients and the losses go."""

    _fields_ = [
        *((name, c_void_p) for name in "xwb"),
        *((name, c_size_t) for name in ("rows", "features", "classes")),
        *((name, c_void_p) for name in ("labels", "targets", "weights", "grad_w", "grad_b", "grad_x", "each")),
    ]


class Pairs(Structure):
    """Pairs of rows, and where their gradients and losses go."""

    _fields_ = [
        ("x", c_void_p),
        ("y", c_void_p),
        ("rows", c_size_t),
        ("columns", c_size_t),
        ("labels", c_void_p),
        ("weights", c_void_p),
        ("reduction", c_int),
        ("grad_x", c_void_p),
        ("grad_y", c_void_p),
        ("each", c_void_p),
        ("pool", c_void_p),
    ]


class Matrix(Structure):
    """Where the elements of a matrix are: strides count elements."""

    _fields_ = [
        ("data", c_void_p),
        ("rows", c_size_t),
        ("columns", c_size_t),
        ("row_stride", c_size_t),
        ("column_stride", c_size_t),
    ]


class _Product(Structure):
    _fields_ = [
        *((name, Matrix) for name in "cdab"),
        ("alpha", c_float),
        ("beta", c_float),
        ("symmetric", c_int),
    ]


class _Averaging(Structure):
    _fields_ = [
        ("every", c_int64),
        ("after", c_int64),
        ("decay", c_double),
        ("equal", c_int),
        ("bias_corrected", c_int),
        ("warm_up", c_int),
        ("from_start", c_int),
        ("overwrite", c_int64),
    ]


class _Lookahead(Structure):
    _fields_ = [("period", c_int64), ("step", c_double)]


class _Noise(Structure):
    _fields_ = [("eta", c_double), ("gamma", c_double), ("seed", c_uint64)]


class _Progress(Structure):
    _fields_ = [("steps", c_int64), ("averages", c_int64), ("slow", c_int)]


class _Error(Structure):
    _fields_ = [("status", c_int), ("message", c_char * 236)]


def _load() -> ctypes.CDLL:
    """Loads the library of this package, or the build of it that LOCKSTEP_LIBRARY names."""
    suffix = {"win32": "dll", "darwin": "dylib"}.get(sys.platform, "so")
    path = os.environ.get("LOCKSTEP_LIBRARY") or str(Path(__file__).with_name(f"liblockstep.{suffix}"))
    try:
        return ctypes.CDLL(path)
    except OSError as e:
        raise ImportError(f"lockstep's C library cannot be loaded: {e}", name="lockstep", path=path) from e


_dll = _load()
_P = c_void_p


def _function(name: str, result: Any, *arguments: Any) -> Any:
    f = _dll[name]
    f.restype, f.argtypes = result, arguments
    return f


_message = _function("lockstep_message", c_char_p, c_int)
_version = _function("lockstep_version", c_char_p)
_isa = _function("lockstep_isa", c_char_p, _P)
_active = _function("lockstep_active", c_int, POINTER(_P))
_find = _function("lockstep_find", c_int, c_char_p, POINTER(_P))
_available = _function("lockstep_available", c_size_t, _P, c_size_t)
_info = _function("lockstep_info", c_size_t, c_char_p, c_size_t)
_kernels = _function("lockstep_kernels", POINTER(_Kernel), POINTER(c_size_t))
_run = _function("lockstep_run", c_int, _P, _P, _P, c_size_t, _P, _P)
_total = _function("lockstep_total", c_double, _P)
_rules = _function("lockstep_rules", POINTER(_Rule), POINTER(c_size_t))
_presets = _function("lockstep_presets", POINTER(_Preset), POINTER(c_size_t))
_slots = _function("lockstep_slots", c_size_t, POINTER(_Group), POINTER(c_char_p), c_size_t)
_matrix_slots = _function(
    "lockstep_matrix_slots",
    c_size_t,
    POINTER(_Group),
    c_size_t,
    c_size_t,
    POINTER(c_char_p),
    POINTER(c_size_t),
    c_size_t,
)
_new = _function("lockstep_optimizer_new", c_int, _P, c_size_t, _P, c_size_t, POINTER(_P), POINTER(_Error))
_free = _function("lockstep_optimizer_free", None, _P)
_measure = _function("lockstep_optimizer_measure", c_int, _P, _P, _P, POINTER(c_double), POINTER(_Error))
_ROWS = (_P, _P, c_size_t, _P, c_size_t, _P, _P, POINTER(_Error))
_step_rows = _function("lockstep_optimizer_step_rows", c_int, *_ROWS)
_step_rows32 = _function("lockstep_optimizer_step_rows32", c_int, *_ROWS)
_begin = _function("lockstep_optimizer_begin", c_int, _P, c_double, POINTER(_Error))
_apply = _function("lockstep_optimizer_apply", c_int, _P, c_size_t, c_size_t, c_size_t, _P, _P, POINTER(_Error))
_end = _function("lockstep_optimizer_end", c_int, _P, POINTER(_Error))
_observe = _function("lockstep_optimizer_observe", c_int, _P, c_size_t, c_size_t, c_size_t, _P, POINTER(_Error))
_forget_observed = _function("lockstep_optimizer_forget_observed", None, _P)
_eval = _function("lockstep_optimizer_eval", c_int, _P, _P, POINTER(_Error))
_train = _function("lockstep_optimizer_train", c_int, _P, _P, POINTER(_Error))
_step_shards = _function("lockstep_optimizer_step_shards", c_int, _P, _P, _P, c_size_t, _P, POINTER(_Error))
_step_split = _function("lockstep_optimizer_step_split", c_int, _P, _P, _P, _P, _P, POINTER(_Error))
_step_bf16 = _function("lockstep_optimizer_step_bf16", c_int, _P, _P, _P, _P, POINTER(_Error))
_set_rounding = _function("lockstep_optimizer_set_rounding", c_int, _P, c_uint64, POINTER(_Error))
_set_zero_grads = _function("lockstep_optimizer_set_zero_grads", c_int, _P, c_int, POINTER(_Error))
_set_grad_elements = _function("lockstep_optimizer_set_grad_elements", c_int, _P, _P, POINTER(_Error))
_set_copies = _function("lockstep_optimizer_set_copies", c_int, _P, _P, _P, POINTER(_Error))
_write_copies = _function("lockstep_optimizer_write_copies", c_int, _P, _P, _P, POINTER(_Error))
_set_state_types = _function("lockstep_optimizer_set_state_types", c_int, _P, _P, c_size_t, c_uint64, POINTER(_Error))
_state_type = _function("lockstep_optimizer_state_type", c_int, _P, c_size_t, c_char_p)
_state_bytes = _function("lockstep_optimizer_state_bytes", c_size_t, _P)
_state_room = _function("lockstep_optimizer_state_room", c_size_t, c_int, c_size_t)
_STATE = (_P, c_size_t, c_char_p, _P)
_read_halves = _function("lockstep_optimizer_read_halves", c_int, *_STATE, POINTER(_Error))
_write_halves = _function("lockstep_optimizer_write_halves", c_int, *_STATE, POINTER(_Error))
_read_codes = _function("lockstep_optimizer_read_codes", c_int, *_STATE, _P, POINTER(_Error))
_write_codes = _function("lockstep_optimizer_write_codes", c_int, *_STATE, _P, POINTER(_Error))
_read_floats = _function("lockstep_optimizer_read_floats", c_int, *_STATE, POINTER(_Error))
_set_noise = _function("lockstep_optimizer_set_noise", c_int, _P, POINTER(_Noise), POINTER(_Error))
_set_adaptive_clip = _function("lockstep_optimizer_set_adaptive_clip", c_int, _P, c_double, c_double, POINTER(_Error))
_set_centralize = _function("lockstep_optimizer_set_centralize", c_int, _P, c_int, POINTER(_Error))
_set_average = _function("lockstep_optimizer_set_average", c_int, _P, POINTER(_Averaging), POINTER(_Error))
_swap_average = _function("lockstep_optimizer_swap_average", c_int, _P, _P, _P, POINTER(_Error))
_set_lookahead = _function("lockstep_optimizer_set_lookahead", c_int, _P, POINTER(_Lookahead), POINTER(_Error))
_progress = _function("lockstep_optimizer_progress", None, _P, POINTER(_Progress))
_set_progress = _function("lockstep_optimizer_set_progress", c_int, _P, POINTER(_Progress), POINTER(_Error))
_update_hessian = _function("lockstep_optimizer_update_hessian", c_int, _P, _P, POINTER(_Error))
_sum_squares = _function("lockstep_sum_squares", c_double, _P, c_size_t)
_set_lr = _function("lockstep_optimizer_set_lr", c_int, _P, c_size_t, c_double, POINTER(_Error))
_set_options = _function("lockstep_optimizer_set_options", c_int, _P, c_size_t, _P, c_size_t, POINTER(_Error))
_set_grad_scale = _function("lockstep_optimizer_set_grad_scale", c_int, _P, c_double, POINTER(_Error))
_set_max_norm = _function("lockstep_optimizer_set_max_norm", c_int, _P, c_double, POINTER(_Error))
_set_max_tensor_norm = _function("lockstep_optimizer_set_max_tensor_norm", c_int, _P, c_double, POINTER(_Error))
_set_max_value = _function("lockstep_optimizer_set_max_value", c_int, _P, c_double, POINTER(_Error))
_set_policy = _function("lockstep_optimizer_set_policy", c_int, _P, c_int, POINTER(_Error))
_skipped = _function("lockstep_optimizer_skipped", c_int64, _P)
_non_finite = _function("lockstep_optimizer_non_finite", c_int64, _P)
_set_table = _function("lockstep_optimizer_set_table", c_int, _P, _P, POINTER(_Error))
_lr = _function("lockstep_optimizer_lr", c_double, _P, c_size_t)
_norm = _function("lockstep_optimizer_norm", c_double, _P)
_steps = _function("lockstep_optimizer_steps", c_int64, _P, c_size_t)
_set_steps = _function("lockstep_optimizer_set_steps", c_int, _P, c_size_t, c_int64, POINTER(_Error))
_state = _function("lockstep_optimizer_state", c_void_p, _P, c_size_t, c_char_p)
_state_name = _function("lockstep_optimizer_rule", c_char_p, _P, c_size_t)
_penalty = _function(
    "lockstep_penalty", c_int, _P, c_double, c_double, _P, c_size_t, _P, POINTER(c_double), POINTER(_Error)
)
_matmul_room = _function("lockstep_matmul_room", c_size_t, _P, c_size_t, c_size_t, c_size_t)
_matmul = _function("lockstep_matmul", c_int, _P, POINTER(_Product), _P, c_size_t, _P, POINTER(_Error))
_cross_entropy = _function(
    "lockstep_loss_cross_entropy",
    c_int,
    _P,
    POINTER(CrossEntropyOptions),
    POINTER(LossRows),
    c_double,
    _P,
    POINTER(c_double),
    POINTER(_Error),
)
_softmax_linear_room = _function("lockstep_loss_softmax_linear_room", c_size_t, _P, POINTER(SoftmaxRows))
_softmax_linear = _function(
    "lockstep_loss_softmax_linear",
    c_int,
    _P,
    POINTER(CrossEntropyOptions),
    POINTER(SoftmaxRows),
    c_double,
    _P,
    c_size_t,
    _P,
    POINTER(c_double),
    POINTER(_Error),
)
_loss_of_rows = _function(
    "lockstep_loss_of_rows",
    c_int,
    _P,
    POINTER(RowLossOptions),
    POINTER(LossRows),
    c_double,
    _P,
    POINTER(c_double),
    POINTER(_Error),
)
_cosine_embedding = _function(
    "lockstep_loss_cosine_embedding",
    c_int,
    _P,
    POINTER(Pairs),
    c_double,
    c_double,
    c_double,
    POINTER(c_double),
    POINTER(_Error),
)
_OF_ROWS = (c_int, _P, _P, c_size_t, c_size_t, _P, _P, POINTER(_Error))
_of_rows = {
    "softmax": _function("lockstep_loss_softmax", *_OF_ROWS),
    "log_softmax": _function("lockstep_loss_log_softmax", *_OF_ROWS),
    "log_softmax_grad": _function("lockstep_loss_log_softmax_grad", *_OF_ROWS),
    "log_sum_exp": _function("lockstep_loss_log_sum_exp", *_OF_ROWS),
}
_linear_new = _function("lockstep_linear_new", c_int, c_int, c_size_t, c_int, c_int, POINTER(_P), POINTER(_Error))
_linear_free = _function("lockstep_linear_free", None, _P)
_linear_set_delta = _function("lockstep_linear_set_delta", c_int, _P, c_double, POINTER(_Error))
_linear_set_level = _function("lockstep_linear_set_level", c_int, _P, c_double, POINTER(_Error))
_linear_gradient = _function(
    "lockstep_linear_gradient_shared", c_int, _P, _P, _P, _P, c_size_t, _P, _P, _P, POINTER(c_double), POINTER(_Error)
)
_linear_predict = _function("lockstep_linear_predict", c_int, _P, _P, _P, c_size_t, _P, _P, POINTER(_Error))
_pool_new = _function("lockstep_pool_new", c_int, c_size_t, POINTER(_P))
_pool_free = _function("lockstep_pool_free", None, _P)

# The one call that is hot has no argtypes: what it is given are ctypes objects already, which costs less.
_step = _dll["lockstep_optimizer_step"]


def holding_lock(name: str) -> Any:
    """A function of this package's library whose calls hold Python's lock. AttributeError if it has not this one."""
    return ctypes.PYFUNCTYPE(c_int)((name, _dll))


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode()


def _exception(status: int, message: str) -> LockstepError:
    return _EXCEPTIONS.get(status, ArgumentError)(message or _text(_message(status)))


def _check(status: int, error: _Error | None = None) -> None:
    """Raises what a status stands for, with the error's message if there is one."""
    if status:
        raise _exception(status, _text(error.message) if error and error.status == status else "")


def version() -> str:
    """The version of the C library."""
    return _text(_version())


# Tables.


def isa() -> str:
    """The name of the table of kernels in use. TableError if LOCKSTEP_ISA names one that cannot run."""
    _check(_active(byref(_P())))
    return _text(_isa(None))


def available() -> tuple[str, ...]:
    """The names of the tables that can run here, best first, "portable" last."""
    tables = (_P * int(_available(None, 0)))()
    _available(tables, len(tables))
    return tuple(_text(_isa(table)) for table in tables)


def info() -> str:
    """What runs and why, and what each other table lacks, for reports of bugs."""
    text = ctypes.create_string_buffer(int(_info(None, 0)) + 1)
    _info(text, len(text))
    return _text(text.value)


def table(name: str | None) -> c_void_p | None:
    """A table by its name, to call kernels by; None is the one in use."""
    if name is None:
        return None
    found = _P()
    _check(_find(name.encode(), byref(found)))
    return found


# Rules.


class Option(NamedTuple):
    """An option of a rule."""

    name: str
    type: type[float] | type[bool] | type[int]
    offset: int  # in the struct


class Definition(NamedTuple):
    """A rule as the library defines it."""

    name: str
    size: int  # bytes, of its struct
    options: Mapping[str, Option]

    def read(self, address: int) -> dict[str, float | bool]:
        """Reads all options from a struct."""
        raw = ctypes.string_at(address, self.size)
        return {o.name: o.type(_field(o).from_buffer_copy(raw, o.offset).value) for o in self.options.values()}

    def write(self, options: Mapping[str, float | bool]) -> Array[c_char]:
        """Makes a struct of options; those not given are 0."""
        struct = ctypes.create_string_buffer(self.size)
        for name, value in options.items():
            o = self.options[name]
            _field(o).from_buffer(struct, o.offset).value = value
        return struct

    def checked(self, options: Mapping[str, float | bool]) -> dict[str, float | bool]:
        """The options with the types that they have here, or an ArgumentError."""
        return {name: self._checked(name, value) for name, value in options.items()}

    def _checked(self, name: str, value: float | bool) -> float | bool:
        if name not in self.options:
            raise ArgumentError(f"{name} is not an option of {self.name}, which has {', '.join(self.options)}")
        kind = self.options[name].type
        try:
            checked = kind(value)
        except (TypeError, ValueError, OverflowError):
            raise ArgumentError(f"{name} is {value!r}, want a number") from None
        if kind is int and (checked != value or not -(2**31) <= checked < 2**31):
            raise ArgumentError(f"{name} is {value!r}, want an integer of 32 bits")
        return checked


_Field = Union[type[c_double], type[c_int]]


def _field(o: Option) -> _Field:
    return c_double if o.type is float else c_int


@cache
def definitions() -> Mapping[str, Definition]:
    """All rules by name, in the library's order."""
    count = c_size_t()
    table = _rules(byref(count))
    return {d.name: d for d in (_definition(table[k]) for k in range(count.value))}


def _definition(rule: _Rule) -> Definition:
    kinds: tuple[type[float], type[bool], type[int]] = (float, bool, int)
    options = (Option(_text(o.name), kinds[o.kind], o.offset) for o in rule.options[: rule.option_count])
    return Definition(_text(rule.name), rule.size, {o.name: o for o in options})


class Rule:
    """A rule with its options, such as ``Rule("Adam", lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8)``.

    Options that are not given are 0 or False. ``preset`` has the defaults of frameworks. What the rule does
    not allow is refused when an optimizer is made.
    """

    __slots__ = ("_name", "_options")

    def __init__(self, name: str, **options: float | bool) -> None:
        """Raises ArgumentError if there is no such rule or no such option."""
        definition = definitions().get(name)
        if definition is None:
            raise ArgumentError(f"{name!r} is not a rule: there are {', '.join(definitions())}")
        self._name = name
        zeros = {o.name: o.type(0) for o in definition.options.values()}
        self._options = MappingProxyType(zeros | definition.checked(options))

    @property
    def name(self) -> str:
        """The name of the rule."""
        return self._name

    @property
    def options(self) -> Mapping[str, float | bool]:
        """All of its options."""
        return self._options

    def replace(self, **options: float | bool) -> Rule:
        """The same rule with some options changed."""
        return Rule(self.name, **{**self.options, **options})

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its state buffers, most with an element for every parameter.

        Of matrices a rule may have others, and some are one number of a row or a tensor: see state_shapes.
        """
        struct = self.struct()
        group = _c_group(self, struct)
        names = (c_char_p * int(_slots(byref(group), None, 0)))()
        _slots(byref(group), names, len(names))
        return tuple(_text(name) for name in names)

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of the state buffers of parameters of a shape, by name: that shape or a length.

        Adafactor has a number for each row and each column of what has two dimensions, RowwiseAdaGrad,
        RowwiseAdam and RowwiseLAMB one for each row, or for all of what has another number of dimensions, NovoGrad
        one for all, DAdaptAdamW two, and Prodigy three. SOAP has one for each pair of rows and each pair of columns.
        """
        pair, columns = self._lengths(2, 0), columns_of(shape)
        lengths = self._lengths(shape[0] if columns else math.prod(shape), columns)
        return {slot: shape if pair.get(slot) == 2 else (length,) for slot, length in lengths.items()}

    def _lengths(self, rows: int, columns: int) -> dict[str, int]:
        """How many numbers each slot has of a matrix, or with 0 columns of a vector of so many elements."""
        struct = self.struct()
        group = _c_group(self, struct)
        count = int(_matrix_slots(byref(group), rows, columns, None, None, 0))
        names, lengths = (c_char_p * count)(), (c_size_t * count)()
        _matrix_slots(byref(group), rows, columns, names, lengths, count)
        return dict(zip(map(_text, names), lengths))

    def struct(self) -> Array[c_char]:
        """Its options as C has them."""
        return definitions()[self.name].write(self.options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rule) and self.name == other.name and dict(self.options) == dict(other.options)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.options.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rule, (self.name, dict(self.options))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value}" for name, value in self.options.items() if value)
        return f"Rule({self.name!r}{options})"


def _rule(name: str, options: dict[str, float | bool]) -> Rule:
    return Rule(name, **options)


def rules() -> tuple[str, ...]:
    """The names of all rules."""
    return tuple(definitions())


@cache
def _preset_table() -> Mapping[tuple[str, str], tuple[str, Mapping[str, float | bool]]]:
    count = c_size_t()
    table = _presets(byref(count))
    return dict(_preset(table[k]) for k in range(count.value))


def _preset(p: _Preset) -> tuple[tuple[str, str], tuple[str, Mapping[str, float | bool]]]:
    rule = _text(p.rule.contents.name)
    return (_text(p.framework), _text(p.name)), (rule, definitions()[rule].read(p.options or 0))


def presets() -> tuple[tuple[str, str], ...]:
    """All presets, as frameworks and names."""
    return tuple(_preset_table())


def preset(framework: str, name: str, **options: float | bool) -> Rule:
    """A framework's optimizer with its defaults, such as ``preset("torch", "AdamW", lr=3e-4)``.

    Options have the names of ``Rule``. Where the framework has no default for the learning rate, give one.
    Raises ArgumentError if there is no such preset or no such option.
    """
    found = _preset_table().get((framework, name))
    if found is None:
        there = [n for f, n in presets() if f == framework] or sorted({f for f, _ in presets()})
        raise ArgumentError(f"{framework}'s {name} is not a preset: there are {', '.join(there)}")
    return Rule(found[0], **{**found[1], **options})


# Optimizers.


def columns_of(shape: tuple[int, ...]) -> int:
    """The columns of parameters with two dimensions, or 0."""
    return shape[1] if len(shape) == 2 else 0


class Tensor(NamedTuple):
    """A tensor of parameters, for an optimizer."""

    size: int
    group: int = 0
    name: str | None = None
    state: Sequence[int] | None = None  # the addresses of its slots, if the caller owns them
    columns: int = 0  # of a row-major matrix
    types: Sequence[int] | None = None  # of state that the caller owns, if some is not float32


@dataclass(frozen=True)
class Averaging:
    """How a running average of the parameters is kept, beside them: ``a ← a + (1 - d)·(p - a)``.

    d is decay, unless one of the other fields has it be less. The first average is a copy of the parameters. Begin
    with ``torch_ema``, ``torch_swa``, ``keras_ema``, ``optax_ema`` or ``tensorflow_ema``, and change what differs
    with ``dataclasses.replace``.
    """

    every: int = 1
    """How many steps lie between averages, at least 1."""
    after: int = 0
    """How many steps come before: averages are taken after the steps after + every, after + 2·every, ..."""
    decay: float = 0.0
    """What an average leaves of the one before, from 0 to 1."""
    equal: bool = False
    """All parameters have the same weight, as in stochastic weight averaging; decay must be 0."""
    bias_corrected: bool = False
    """The average is what one that begins at 0 is once it is divided by 1 - decayⁿ."""
    warm_up: bool = False
    """d is at most (1+n)/(10+n) after n averages, as in TensorFlow with num_updates."""
    from_start: bool = False
    """The average begins as the parameters before the first step behind after, which count as the first one."""
    overwrite: int = 0
    """How many steps lie between those after which the parameters become the average; 0 is for never."""

    def __post_init__(self) -> None:
        for name in ("every", "after", "overwrite"):
            _checked_count(name, getattr(self, name))
        if self.every < 1:
            raise ArgumentError(f"every is {self.every}, want at least 1")

    @classmethod
    def torch_ema(cls, decay: float = 0.999) -> Averaging:
        """What AveragedModel with get_ema_multi_avg_fn keeps, whose update_parameters follows every step."""
        return cls(decay=decay)

    @classmethod
    def torch_swa(cls, after: int = 0) -> Averaging:
        """What AveragedModel with get_swa_multi_avg_fn keeps, after so many steps."""
        return cls(after=after, equal=True)

    @classmethod
    def keras_ema(cls) -> Averaging:
        """What Keras' optimizers keep with use_ema=True, without ema_overwrite_frequency (overwrite)."""
        return cls(decay=0.99)

    @classmethod
    def optax_ema(cls, decay: float) -> Averaging:
        """What optax.ema makes of the parameters, with debias=True."""
        return cls(decay=decay, bias_corrected=True)

    @classmethod
    def tensorflow_ema(cls, decay: float) -> Averaging:
        """What tf.train.ExponentialMovingAverage keeps; with num_updates, the number of steps, it is warm_up."""
        return cls(decay=decay, from_start=True)


@dataclass(frozen=True)
class Lookahead:
    """Slow parameters that follow, and from which those that steps move begin anew every period steps.

    ``s ← s + step·(p - s)``, and then ``p ← s``: optax.lookahead with its sync_period and slow_step_size.
    """

    period: int
    step: float
    """Above 0, and at most 1."""

    def __post_init__(self) -> None:
        _checked_count("period", self.period)
        if self.period < 1:
            raise ArgumentError(f"period is {self.period}, want at least 1")


def _checked_count(name: str, n: int) -> None:
    if not isinstance(n, int) or not -(1 << 63) <= n < 1 << 63:
        raise ArgumentError(f"{name} is {n!r}, want an integer of 64 bits")


@dataclass(frozen=True)
class Noise:
    """Normal noise that steps add to gradients, of the variance eta/t^gamma in step t of an array.

    That of an element follows from seed, the number of its array, t and its own number: the same bits for any number
    of threads, and again for a step that is taken again. Where several processes have parts of the parameters, each
    wants a seed of its own. optax.add_noise has such, but with other numbers.
    """

    eta: float
    """The variance at first, above 0."""
    gamma: float = 0.55
    """The power by which it falls, from 0 to 8."""
    seed: int = 0
    """From 0 to 2⁶⁴-1."""

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        if self.eta == 0:
            raise ArgumentError(f"eta is {self.eta}, want a number above 0")


@dataclass(frozen=True)
class AdaptiveClip:
    """What the gradient of each row of a matrix, or of a whole other array, is clipped to, by its parameters.

    Where its norm is not below ``clipping·max(‖w‖, eps)`` it is scaled to that, as optax.adaptive_grad_clip does.
    """

    clipping: float
    """Above 0."""
    eps: float = 1e-3
    """What the norm of parameters counts as at least."""

    def __post_init__(self) -> None:
        if not self.clipping > 0:
            raise ArgumentError(f"clipping is {self.clipping}, want a number above 0")


class Progress(NamedTuple):
    """What an optimizer counts beside the steps of each tensor."""

    steps: int  # that it has taken
    averages: int
    slow: bool  # whether slow parameters have begun


class Rows(NamedTuple):
    """A list of rows of a table: where it is, how many there are, and the bytes of each."""

    address: int
    length: int
    itemsize: int  # 4 or 8


Pointers = Array[c_void_p]


def pointers(n: int) -> Pointers:
    """An array of n addresses, all NULL, to be filled with ``p[:] = list_of_int`` for each step."""
    return (c_void_p * n)()


class Pool:
    """Threads that share the work of large steps, products and gradients of linear models: the caller's is one.

    They begin with the first call that is worth it, sleep when there is nothing to do, and begin anew in a
    child after fork. Any number of optimizers and models may use one.
    """

    __slots__ = ("__weakref__", "handle", "threads")

    def __init__(self, threads: int) -> None:
        """Makes a pool of so many threads, none of which begins yet."""
        self.threads, self.handle = threads, None
        if threads < 1:
            raise ArgumentError(f"threads is {threads}, want at least 1")
        handle = _P()
        _check(_pool_new(threads, byref(handle)))
        self.handle = handle

    def __del__(self, free: Any = _pool_free) -> None:
        if self.handle:
            free(self.handle)

    def __reduce__(self) -> tuple[type[Pool], tuple[int]]:
        return Pool, (self.threads,)


class Optimizer:
    """An optimizer of the library, over addresses.

    One thread at a time may use it. State that it owns lives as long as it does.
    """

    __slots__ = ("__weakref__", "_error", "_error_ref", "_handle", "group_count", "tensor_count")

    def __init__(self, groups: Sequence[Rule], tensors: Sequence[Tensor]) -> None:
        """Makes an optimizer: groups have the rules, tensors their groups. Raises LockstepError."""
        self._handle = _P()
        self._error = _Error()
        self._error_ref = byref(self._error)
        self.group_count, self.tensor_count = len(groups), len(tensors)
        structs = [rule.struct() for rule in groups]
        c_groups = (_Group * len(groups))(*map(_c_group, groups, structs))
        states = [None if t.state is None else (c_void_p * len(t.state))(*t.state) for t in tensors]
        types = [None if t.types is None else (c_int * len(t.types))(*t.types) for t in tensors]
        c_tensors = (_Tensor * len(tensors))(*map(_c_tensor, tensors, states, types))
        out = byref(self._handle)
        self._check(_new(c_groups, len(c_groups), c_tensors, len(c_tensors), out, self._error_ref))

    def __del__(self, free: Any = _free) -> None:
        if self._handle:
            free(self._handle)

    def _check(self, status: int) -> None:
        if status:
            _check(status, self._error)

    def step(self, params: Pointers, grads: Pointers, pool: Pool | None = None) -> None:
        """Takes a step over all tensors; a gradient that is NULL leaves its tensor out."""
        if _step(self._handle, params, grads, None if pool is None else pool.handle, self._error_ref):
            _check(self._error.status, self._error)

    def step_shards(self, params: Pointers, shards: Sequence[Pointers], pool: Pool | None = None) -> None:
        """Takes a step over all tensors by the sums of several lists of gradients."""
        lists = (c_void_p * len(shards))(*map(ctypes.addressof, shards))
        handle = None if pool is None else pool.handle
        self._check(_step_shards(self._handle, params, lists, len(shards), handle, self._error_ref))

    def step_split(self, params: Pointers, rests: Pointers, grads: Pointers, pool: Pool | None = None) -> None:
        """Takes a step over all tensors, of which params has the halves of 16 bits, and rests what these lack."""
        handle = None if pool is None else pool.handle
        self._check(_step_split(self._handle, params, rests, grads, handle, self._error_ref))

    def step_bf16(self, params: Pointers, grads: Pointers, pool: Pool | None = None) -> None:
        """Takes a step over all tensors, of which params are bfloat16 alone."""
        handle = None if pool is None else pool.handle
        self._check(_step_bf16(self._handle, params, grads, handle, self._error_ref))

    def set_rounding(self, seed: int) -> None:
        """Sets the seed by which step_bf16 rounds."""
        self._check(_set_rounding(self._handle, seed, self._error_ref))

    def step_rows(self, params: int, columns: int, rows: Rows, grads: int, pool: Pool | None = None) -> None:
        """Takes a step on some rows alone of the only tensor, of which these are addresses."""
        f = _step_rows if rows.itemsize == 8 else _step_rows32
        handle = None if pool is None else pool.handle
        self._check(f(self._handle, params, columns, rows.address, rows.length, grads, handle, self._error_ref))

    def measure(self, grads: Pointers, pool: Pool | None = None) -> float:
        """The norm of gradients, scaled, as a step with a max_norm measures it, or has observed it."""
        norm = c_double()
        handle = None if pool is None else pool.handle
        self._check(_measure(self._handle, grads, handle, byref(norm), self._error_ref))
        return norm.value

    def begin(self, sum_squares: float = -1) -> None:
        """Begins a step on threads of the caller's; sum_squares is of all gradients, if they are clipped."""
        self._check(_begin(self._handle, sum_squares, self._error_ref))

    def apply(self, tensor: int, first: int, count: int, params: int, grads: int) -> None:
        """Takes a begun step on a range of a tensor, whose addresses these are. Any thread may."""
        error = _Error()
        _check(_apply(self._handle, tensor, first, count, params, grads, byref(error)), error)

    def end(self) -> None:
        """Ends a begun step, once its ranges have covered each tensor."""
        self._check(_end(self._handle, self._error_ref))

    def observe(self, tensor: int, first: int, count: int, grads: int) -> None:
        """Takes a range of a tensor's gradient, whose address this is, as it arrives. Any thread may."""
        error = _Error()
        _check(_observe(self._handle, tensor, first, count, grads, byref(error)), error)

    def forget_observed(self) -> None:
        """Lets go of gradients that no step will have."""
        _forget_observed(self._handle)

    def eval(self, params: Pointers) -> None:
        """Makes parameters of rules that take gradients elsewhere what is to be evaluated."""
        self._check(_eval(self._handle, params, self._error_ref))

    def train(self, params: Pointers) -> None:
        """Makes parameters that eval has turned again what a step wants."""
        self._check(_train(self._handle, params, self._error_ref))

    def set_average(self, a: Averaging | None) -> None:
        """Has steps keep an average of the parameters, or with None gives it up."""
        struct = None if a is None else _Averaging(*astuple(a))
        self._check(_set_average(self._handle, struct, self._error_ref))

    def swap_average(self, params: Pointers, pool: Pool | None = None) -> None:
        """Exchanges the parameters with their averages."""
        self._check(_swap_average(self._handle, params, None if pool is None else pool.handle, self._error_ref))

    def set_lookahead(self, lookahead: Lookahead | None) -> None:
        """Has slow parameters follow, or with None gives them up."""
        struct = None if lookahead is None else _Lookahead(*astuple(lookahead))
        self._check(_set_lookahead(self._handle, struct, self._error_ref))

    def progress(self) -> Progress:
        """How many steps and averages there were, and whether slow parameters have begun."""
        p = _Progress()
        _progress(self._handle, byref(p))
        return Progress(p.steps, p.averages, bool(p.slow))

    def set_progress(self, p: Progress) -> None:
        """Sets it, to go on from a checkpoint, after the steps of all tensors."""
        self._check(_set_progress(self._handle, _Progress(*p), self._error_ref))

    def update_hessian(self, estimates: Pointers) -> None:
        """Moves the estimates that a rule divides by towards new ones."""
        self._check(_update_hessian(self._handle, estimates, self._error_ref))

    def set_lr(self, group: int, lr: float) -> None:
        """Sets the learning rate of a group."""
        self._check(_set_lr(self._handle, self._group(group), lr, self._error_ref))

    def lr(self, group: int) -> float:
        """The learning rate of a group."""
        return float(_lr(self._handle, self._group(group)))

    def set_rule(self, group: int, rule: Rule) -> None:
        """Changes the options of a group, but not its rule nor what changes its state."""
        struct = rule.struct()
        self._check(_set_options(self._handle, self._group(group), struct, len(struct), self._error_ref))

    def set_grad_scale(self, scale: float) -> None:
        """Sets a factor of all gradients, before penalties are added."""
        self._check(_set_grad_scale(self._handle, scale, self._error_ref))

    def set_max_norm(self, max_norm: float) -> None:
        """Clips all gradients by their global norm, without writing them; 0 does not."""
        self._check(_set_max_norm(self._handle, max_norm, self._error_ref))

    def set_max_tensor_norm(self, max_norm: float) -> None:
        """Clips the gradient of each tensor by its own norm, without writing it; 0 does not."""
        self._check(_set_max_tensor_norm(self._handle, max_norm, self._error_ref))

    def set_max_value(self, limit: float) -> None:
        """Clips each element of the gradients, without writing it; 0 does not."""
        self._check(_set_max_value(self._handle, limit, self._error_ref))

    def set_zero_grads(self, on: bool) -> None:
        """Has steps leave zeros of the gradients that they have taken."""
        self._check(_set_zero_grads(self._handle, on, self._error_ref))

    def set_grad_elements(self, elements: Sequence[int]) -> None:
        """Says of what types gradients are from now on, one for each tensor."""
        self._check(_set_grad_elements(self._handle, (c_int * len(elements))(*elements), self._error_ref))

    def set_copies(self, copies: Sequence[int], elements: Sequence[int]) -> None:
        """Has steps leave copies of 16 bits at addresses, one for each tensor, or 0 for none of it."""
        to = pointers(len(copies))
        to[:] = list(copies)
        self._check(_set_copies(self._handle, to, (c_int * len(elements))(*elements), self._error_ref))

    def write_copies(self, params: Pointers, pool: Pool | None = None) -> None:
        """Makes the copies of all parameters."""
        self._check(_write_copies(self._handle, params, None if pool is None else pool.handle, self._error_ref))

    def set_noise(self, noise: Noise | None) -> None:
        """Has steps add noise to gradients, or with None not."""
        struct = None if noise is None else _Noise(*astuple(noise))
        self._check(_set_noise(self._handle, struct, self._error_ref))

    def set_adaptive_clip(self, clip: AdaptiveClip | None) -> None:
        """Clips the gradient of each row by its parameters, without writing it; None does not."""
        clipping, eps = (0, 0) if clip is None else astuple(clip)
        self._check(_set_adaptive_clip(self._handle, clipping, eps, self._error_ref))

    def set_centralize(self, on: bool) -> None:
        """Takes the mean of each row off the gradient of a matrix, without writing it."""
        self._check(_set_centralize(self._handle, on, self._error_ref))

    def set_policy(self, policy: int) -> None:
        """Sets what steps do with gradients that are not finite: 0 lets them through, 1 skips, 2 refuses."""
        self._check(_set_policy(self._handle, policy, self._error_ref))

    def skipped(self) -> int:
        """How many steps were skipped or refused."""
        return int(_skipped(self._handle))

    def non_finite(self) -> int:
        """How many NaN and infinities the last step's gradients had, if the policy looks for them."""
        return int(_non_finite(self._handle))

    def set_table(self, name: str | None) -> None:
        """Chooses a table of kernels, or with None the one in use everywhere."""
        self._check(_set_table(self._handle, table(name), self._error_ref))

    def norm(self) -> float:
        """The norm of the last step's gradients before clipping, if there is a max_norm."""
        return float(_norm(self._handle))

    def steps(self, tensor: int) -> int:
        """How many steps a tensor has taken."""
        return int(_steps(self._handle, self._tensor(tensor)))

    def set_steps(self, tensor: int, steps: int) -> None:
        """Sets how many steps a tensor has taken, to go on from a checkpoint."""
        self._check(_set_steps(self._handle, self._tensor(tensor), steps, self._error_ref))

    def state(self, tensor: int, slot: str) -> int | None:
        """The address of a tensor's state buffer, or None if there is none of this name."""
        address: int | None = _state(self._handle, self._tensor(tensor), slot.encode())
        return address

    def set_state_types(self, types: Mapping[str, int], seed: int) -> None:
        """Has steps keep state in other types, by the names of slots, and round it by a seed."""
        items = (_SlotType * len(types))(*(_SlotType(slot.encode(), kind) for slot, kind in types.items()))
        self._check(_set_state_types(self._handle, items, len(items), seed, self._error_ref))

    def state_type(self, tensor: int, slot: str) -> int:
        """The type of a tensor's state buffer."""
        return int(_state_type(self._handle, self._tensor(tensor), slot.encode()))

    def state_bytes(self) -> int:
        """The bytes that all state takes."""
        return int(_state_bytes(self._handle))

    def read_halves(self, tensor: int, slot: str, halves: int) -> None:
        """Copies the bits of a buffer of bfloat16 to an address."""
        self._check(_read_halves(self._handle, self._tensor(tensor), slot.encode(), halves, self._error_ref))

    def write_halves(self, tensor: int, slot: str, halves: int) -> None:
        """Copies bits of bfloat16 at an address to a buffer."""
        self._check(_write_halves(self._handle, self._tensor(tensor), slot.encode(), halves, self._error_ref))

    def read_codes(self, tensor: int, slot: str, codes: int, scales: int) -> None:
        """Copies the codes of a buffer of float8, and the scales of its blocks, to addresses."""
        self._check(_read_codes(self._handle, self._tensor(tensor), slot.encode(), codes, scales, self._error_ref))

    def write_codes(self, tensor: int, slot: str, codes: int, scales: int) -> None:
        """Copies codes and scales at addresses to a buffer of float8."""
        self._check(_write_codes(self._handle, self._tensor(tensor), slot.encode(), codes, scales, self._error_ref))

    def read_floats(self, tensor: int, slot: str, floats: int) -> None:
        """Copies the elements of a buffer of any type, as float32, to an address."""
        self._check(_read_floats(self._handle, self._tensor(tensor), slot.encode(), floats, self._error_ref))

    def state_name(self, group: int) -> str:
        """What an exported state calls the rule of a group, such as "rmsprop, centered"."""
        return _text(_state_name(self._handle, self._group(group)))

    def _group(self, group: int) -> int:
        return _index("group", group, self.group_count)

    def _tensor(self, tensor: int) -> int:
        return _index("tensor", tensor, self.tensor_count)


def _index(name: str, k: int, count: int) -> int:
    if not 0 <= k < count:
        raise ArgumentError(f"{name} is {k}, want less than {count}")
    return k


def _c_group(rule: Rule, struct: Array[c_char]) -> _Group:
    return _Group(rule.name.encode(), ctypes.addressof(struct), len(struct))


def _c_tensor(t: Tensor, state: Pointers | None, types: Array[c_int] | None) -> _Tensor:
    name = None if t.name is None else t.name.encode()
    return _Tensor(name, t.size, t.group, _address_if(state), t.columns, _address_if(types))


def _address_if(array: Array[Any] | None) -> int | None:
    return None if array is None else ctypes.addressof(array)


def state_type(name: str, of: str) -> int:
    """The number of a type of state, of which errors call the argument so."""
    if name not in STATE_TYPES:
        raise ArgumentError(f"{of} is {name!r}, want {', '.join(map(repr, STATE_TYPES))}")
    return STATE_TYPES.index(name)


def state_room(kind: int, n: int) -> int:
    """The bytes of a state buffer of n elements that the caller owns."""
    return int(_state_room(kind, n))


def state_scales(n: int) -> int:
    """How many scales a buffer of n elements has."""
    return -(-n // STATE_SCALE)


def checked_seed(seed: int, name: str = "seed") -> int:
    """A seed, or an ArgumentError."""
    if not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ArgumentError(f"{name} is {seed!r}, want an integer from 0 to 2⁶⁴-1")
    return seed


def first_state(rule: Rule) -> dict[str, float]:
    """What each slot of a matrix holds before the first step. Where vectors have others, these begin at 0."""
    o = Optimizer([rule], [Tensor(1, columns=1)])
    return {slot: c_float.from_address(o.state(0, slot) or 0).value for slot in rule.state_shapes((1, 1))}


def multiply(out: Matrix, a: Matrix, b: Matrix, pool: Pool | None = None) -> None:
    """Makes out the product of two matrices."""
    error, product = _Error(), _Product(c=out, a=a, b=b, alpha=1)
    n = int(_matmul_room(None, out.rows, out.columns, a.columns))
    try:
        room = (c_float * n)()
    except (MemoryError, OverflowError):
        raise OutOfMemoryError(f"no memory for a product of {out.rows} x {out.columns} elements") from None
    handle = None if pool is None else pool.handle
    _check(_matmul(None, byref(product), room, n, handle, byref(error)), error)


def sum_squares(address: int, n: int) -> float:
    """The sum of squares of n float32, in float64 and in one order."""
    return float(_sum_squares(address, n))


def sum_squares_of(address: int, n: int, element: int) -> float:
    """The same of a few numbers of any type."""
    if element == FLOAT32:
        return sum_squares(address, n)
    wide = (c_float * n)()
    kernels()["WidenBF16" if element == BF16 else "WidenF16"].run([(ctypes.addressof(wide), n), (address, n)])
    return sum_squares(ctypes.addressof(wide), n)


# Kernels.


class Kernel:
    """A kernel: ``kernel("Exp").run([(y, n), (x, n)])``, with addresses and lengths."""

    __slots__ = ("_address", "_lists", "buffers", "lanes", "name", "scalars")

    def __init__(self, raw: _Kernel) -> None:
        """Reads what the library says of it."""
        self._address = ctypes.addressof(raw)
        self.name = _text(raw.name)
        self.buffers = tuple(_names(raw.buffers, raw.buffer_count))
        self.scalars = tuple(_names(raw.scalars, raw.scalar_count))
        self.lanes = tuple(_names(raw.lanes, raw.lane_count))

    def run(
        self,
        buffers: Sequence[tuple[int, int]],
        scalars: Array[Any] | None = None,
        lanes: Sequence[Array[Any]] = (),
        table: c_void_p | None = None,
    ) -> None:
        """Runs it over tensors, each an address and a length for every buffer."""
        items = (_Buffer * len(buffers))(*(_Buffer(address, n) for address, n in buffers))
        sums = (c_void_p * len(lanes))(*(ctypes.addressof(a) for a in lanes)) if lanes else None
        _check(_run(table, self._address, items, len(items), scalars, sums))


def _names(parameters: Any, count: int) -> Iterator[str]:
    return (_text(parameters[k].name) for k in range(count))


@cache
def kernels() -> Mapping[str, Kernel]:
    """All kernels by name."""
    count = c_size_t()
    all_of_them = _kernels(byref(count))
    return {k.name: k for k in (Kernel(all_of_them[i]) for i in range(count.value))}


def lanes() -> Array[c_double]:
    """The lanes of a reduction, all 0."""
    return (c_double * LANES)()


def total(sums: Array[c_double]) -> float:
    """The sum of lanes in their one order."""
    return float(_total(sums))


# Losses.


def loss(name: str, p: Predictions, *option: Any, pool: Pool | None = None) -> float:
    """The value of a loss; an option is a number or an address as ctypes passes it."""
    value, error = c_double(), _Error()
    p.pool = None if pool is None else pool.handle
    _check(getattr(_dll, name)(None, byref(p), *option, byref(value), byref(error)), error)
    return value.value


def cross_entropy(options: CrossEntropyOptions, rows: LossRows, scale: float, pool: Pool | None = None) -> float:
    """The value of a cross-entropy of rows, whose gradient is multiplied by the scale."""
    value, error = c_double(), _Error()
    handle = None if pool is None else pool.handle
    _check(_cross_entropy(None, byref(options), byref(rows), scale, handle, byref(value), byref(error)), error)
    return value.value


class Room:
    """Memory of a call, kept for later ones that need no more."""

    __slots__ = ("_floats",)

    def __init__(self) -> None:
        self._floats: Any = ()

    def of(self, n: int) -> Any:
        """At least so many floats."""
        if len(self._floats) < n:
            try:
                self._floats = (c_float * n)()
            except (MemoryError, OverflowError):
                raise OutOfMemoryError(f"no memory for {n} floats") from None
        return self._floats


def softmax_linear(
    options: CrossEntropyOptions, rows: SoftmaxRows, scale: float, room: Room, pool: Pool | None = None
) -> float:
    """The value of softmax regression, whose gradients are multiplied by the scale."""
    value, error = c_double(), _Error()
    n = _softmax_linear_room(None, byref(rows))
    floats = room.of(n)
    handle = None if pool is None else pool.handle
    arguments = (byref(options), byref(rows), scale, floats, n, handle, byref(value), byref(error))
    _check(_softmax_linear(None, *arguments), error)
    return value.value


def loss_of_rows(options: RowLossOptions, rows: LossRows, scale: float, pool: Pool | None = None) -> float:
    """The value of a loss of rows and labels, whose gradient is multiplied by the scale."""
    value, error = c_double(), _Error()
    handle = None if pool is None else pool.handle
    _check(_loss_of_rows(None, byref(options), byref(rows), scale, handle, byref(value), byref(error)), error)
    return value.value


def of_rows(name: str, x: int, rows: int, columns: int, out: int, pool: Pool | None = None) -> None:
    """A function of rows from one matrix to another, or to a number for each row."""
    error = _Error()
    handle = None if pool is None else pool.handle
    _check(_of_rows[name](None, x, rows, columns, out, handle, byref(error)), error)


def cosine_embedding(pairs: Pairs, margin: float, eps: float, scale: float, pool: Pool | None = None) -> float:
    """The value of the cosine embedding loss of pairs, whose gradients are multiplied by the scale."""
    value, error = c_double(), _Error()
    pairs.pool = None if pool is None else pool.handle
    _check(_cosine_embedding(None, byref(pairs), margin, eps, scale, byref(value), byref(error)), error)
    return value.value


def penalty(l1: float, l2: float, w: int, n: int, grad: int | None) -> float:
    """The elastic net of parameters, whose gradient is added to grad."""
    value, error = c_double(), _Error()
    _check(_penalty(None, l1, l2, w, n, grad, byref(value), byref(error)), error)
    return value.value


class Linear:
    """A linear model, over addresses. One thread at a time may use it."""

    __slots__ = ("__weakref__", "_handle")

    def __init__(self, model: int, columns: int, intercept: bool, labels: int) -> None:
        """Makes a model, with all the memory that it needs."""
        self._handle = _P()
        error = _Error()
        _check(_linear_new(model, columns, intercept, labels, byref(self._handle), byref(error)), error)

    def __del__(self, free: Any = _linear_free) -> None:
        if self._handle:
            free(self._handle)

    def set_delta(self, delta: float) -> None:
        """Sets the delta of Huber's loss."""
        error = _Error()
        _check(_linear_set_delta(self._handle, delta, byref(error)), error)

    def set_level(self, level: float) -> None:
        """Sets the level of a quantile."""
        error = _Error()
        _check(_linear_set_level(self._handle, level, byref(error)), error)

    def gradient(self, x: int, y: int, rows: int, w: int, grad: int, pool: Pool | None = None) -> float:
        """The mean loss over the rows of x; its gradient goes to grad."""
        value, error = c_double(), _Error()
        handle = None if pool is None else pool.handle
        _check(_linear_gradient(self._handle, None, x, y, rows, w, grad, handle, byref(value), byref(error)), error)
        return value.value

    def predict(self, x: int, rows: int, w: int, z: int) -> None:
        """Stores the products in z."""
        error = _Error()
        _check(_linear_predict(self._handle, None, x, rows, w, z, byref(error)), error)
