"""State in fewer bits: of which slots, and what becomes of float32 state."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Union

import torch
from torch import Tensor

from .. import _library as c
from .. import _typed as typed
from .._typed import TypedState
from ._layout import Shape

StateType = Union[torch.dtype, str]

FLOAT32, BFLOAT16, FLOAT8 = range(3)
_NAMES = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}


def number_of(state_dtype: StateType) -> int:
    """The number that a type of state has in the library. Raises ArgumentError for others."""
    if state_dtype == "float8":
        return FLOAT8
    if not isinstance(state_dtype, torch.dtype) or state_dtype not in _NAMES:
        raise c.ArgumentError(f"state_dtype is {state_dtype!r}, want torch.float32, torch.bfloat16 or 'float8'")
    return _NAMES[state_dtype]


@lru_cache(maxsize=256)
def packable(rule: c.Rule) -> frozenset[str]:
    """The slots of a rule that may have fewer bits."""
    trial = c.Optimizer([rule], [])
    slots = set()
    for slot in rule.slots:
        try:
            trial.set_state_types({slot: BFLOAT16}, 0)
        except c.ArgumentError:
            continue
        slots.add(slot)
    return frozenset(slots)


def shape_of(kind: int, numel: int) -> Shape:
    """The shape of a buffer of so many elements: bytes."""
    room = c.state_room(kind, numel)
    return Shape((room,), (1,), room, torch.uint8)


def pack(rule: c.Rule, slot: str, kind: int, seed: int, values: Tensor, buffer: Tensor) -> None:
    """Fills the buffer of a slot with float32 values in the order of memory.

    They are rounded as a library's optimizer does that has the tensor alone and has taken no step.
    """
    n = values.numel()
    own = c.Optimizer([rule], [c.Tensor(n)])
    ctypes.memmove(own.state(0, slot) or 0, values.data_ptr(), 4 * n)
    own.set_state_types({slot: kind}, seed)
    to = _over(rule, slot, kind, n, buffer)
    if kind == BFLOAT16:
        halves = torch.empty(n, dtype=torch.int16)
        own.read_halves(0, slot, halves.data_ptr())
        to.write_halves(0, slot, halves.data_ptr())
    else:
        codes, scales = torch.empty(n, dtype=torch.uint8), torch.empty(c.state_scales(n))
        own.read_codes(0, slot, codes.data_ptr(), scales.data_ptr())
        to.write_codes(0, slot, codes.data_ptr(), scales.data_ptr())


class _Over(c.Optimizer):
    """A library's optimizer over the bytes of one slot, and over nothing that matters of the others."""

    held: list[Tensor]


def _over(rule: c.Rule, slot: str, kind: int, n: int, buffer: Tensor) -> c.Optimizer:
    types = [kind if name == slot else FLOAT32 for name in rule.slots]
    held = [buffer if name == slot else torch.zeros(n) for name in rule.slots]
    optimizer = _Over([rule], [c.Tensor(n, 0, None, [t.data_ptr() for t in held], 0, types)])
    optimizer.held = held
    return optimizer


def of_typed(rule: c.Rule, slot: str, state: TypedState) -> Tensor:
    """The bytes of a slot, whose elements are in the order of memory. Raises ArgumentError for what cannot be."""
    kind, n = c.STATE_TYPES.index(state.type), state.elements.size
    buffer = torch.zeros(c.state_room(kind, n), dtype=torch.uint8)
    typed.write(_over(rule, slot, kind, n, buffer), 0, slot, state)
    return buffer


def floats_of(rule: c.Rule, slot: str, kind: int, n: int, buffer: Tensor) -> Tensor:
    """The n elements of the bytes of a slot, in the order of memory. Raises ArgumentError if they are not these."""
    if buffer.shape != (c.state_room(kind, n),):
        raise c.ArgumentError(f"{tuple(buffer.shape)} bytes of state, want {c.state_room(kind, n)}")
    floats = torch.empty(n)
    _over(rule, slot, kind, n, buffer.contiguous().clone()).read_floats(0, slot, floats.data_ptr())
    return floats
