"""State buffers of other types than float32, as state dicts and checkpoints have them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _library as c
from ._library import ArgumentError, Rule


@dataclass(frozen=True)
class TypedState:
    """A state buffer of another type than float32, as state_dict has it."""

    type: str
    """"bfloat16" or "float8"."""
    elements: Any
    """bfloat16's bits, uint16, or codes, uint8, of the array's shape.

    The highest bit of a code is the sign, but of squares. What is left of a code c stands for the float32 with the
    bits (c + 896)·2²⁰, less 2⁻¹⁵, times s/(1.875 - 2⁻¹⁵), where s is the scale of its block; of squares for the one
    with the bits (c + 768)·2²⁰, times s/1.875.
    """
    scales: npt.NDArray[np.float32] | None = None
    """With codes: the largest magnitude of each block of 256 elements, the last of which may be shorter."""


def empty(of: str, shape: tuple[int, ...]) -> TypedState:
    """Room for a buffer of a shape."""
    if of == "bfloat16":
        return TypedState(of, np.empty(shape, np.uint16))
    return TypedState(of, np.empty(shape, np.uint8), np.empty(c.state_scales(prod(shape)), np.float32))


def read(optimizer: c.Optimizer, tensor: int, slot: str, of: str, shape: tuple[int, ...]) -> TypedState:
    """A copy of a buffer of the library's, which is of a type."""
    state = empty(of, shape)
    if state.scales is None:
        optimizer.read_halves(tensor, slot, state.elements.ctypes.data)
    else:
        optimizer.read_codes(tensor, slot, state.elements.ctypes.data, state.scales.ctypes.data)
    return state


def write(optimizer: c.Optimizer, tensor: int, slot: str, state: TypedState) -> None:
    """Copies a buffer, once it is checked, to the library's."""
    if state.scales is None:
        optimizer.write_halves(tensor, slot, state.elements.ctypes.data)
    else:
        optimizer.write_codes(tensor, slot, state.elements.ctypes.data, state.scales.ctypes.data)


@lru_cache(maxsize=256)
def squares(rule: Rule) -> frozenset[str]:
    """The slots of a rule that are squares, of which the library takes no negative half."""
    n = c.STATE_SMALL + 1
    negative, found = np.full(n, 0xBF80, np.uint16), set()
    for slot in rule.slots:
        trial = c.Optimizer([rule], [c.Tensor(n)])
        try:
            trial.set_state_types({slot: c.STATE_TYPES.index("bfloat16")}, 0)
        except ArgumentError:  # it is always float32
            continue
        try:
            trial.write_halves(0, slot, negative.ctypes.data)
        except ArgumentError:
            found.add(slot)
    return frozenset(found)


def begun(rule: Rule, slot: str, of: str, shape: tuple[int, ...]) -> TypedState:
    """What a rule begins with, as an optimizer has it that has the array alone."""
    trial = c.Optimizer([rule], [c.Tensor(prod(shape), columns=c.columns_of(shape))])
    trial.set_state_types({slot: c.STATE_TYPES.index(of)}, 0)
    return read(trial, 0, slot, of, shape)


def check(saved: Any, title: str, shape: tuple[int, ...], of: str, *, squares: bool) -> None:
    """Refuses a buffer that is not of a type and shape, or whose numbers no optimizer takes."""
    check_shape(saved, title, shape, of)
    if saved.scales is not None:
        numbers, negative = saved.scales, True
    else:
        numbers, negative = (saved.elements.astype(np.uint32) << 16).view(np.float32), squares
    if not np.isfinite(numbers).all() or (negative and (numbers < 0).any()):
        raise ArgumentError(f"{title} has numbers that are not finite, or squares or scales below 0")


def check_shape(saved: Any, title: str, shape: tuple[int, ...], of: str) -> None:
    """Refuses a buffer that is not of a type and shape."""
    if not isinstance(saved, TypedState) or saved.type != of:
        kind = saved.type if isinstance(saved, TypedState) else type(saved).__name__
        raise ArgumentError(f"{title} is of {kind}, want {of}, as state_types says")
    _check_array(saved.elements, title, shape, np.uint16 if of == "bfloat16" else np.uint8)
    if (saved.scales is None) != (of == "bfloat16"):
        raise ArgumentError(f"the scales of {title} are {saved.scales!r}, want them with codes alone")
    if saved.scales is not None:
        _check_array(saved.scales, f"the scales of {title}", (c.state_scales(prod(shape)),), np.float32)


def _check_array(array: Any, title: str, shape: tuple[int, ...], dtype: type[Any]) -> None:
    fits = isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape and array.flags.c_contiguous
    if not fits:
        is_array = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ArgumentError(f"{title} is {is_array}, want C-contiguous {np.dtype(dtype)} {shape}")
