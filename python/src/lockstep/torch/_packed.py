"""State in fewer bits: of which slots, and what becomes of float32 state."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Union

import torch
from torch import Tensor

from .. import _library as c
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


def pack(rule: c.Rule, slot: str, kind: int, seed: int, values: Tensor, slots: dict[str, Tensor]) -> None:
    """Makes the buffer of a slot, among those of all slots, of float32 values in the order of memory.

    They are rounded as a library's optimizer does that has the tensor alone and has taken no step.
    """
    n = values.numel()
    own = c.Optimizer([rule], [c.Tensor(n)])
    ctypes.memmove(own.state(0, slot) or 0, values.data_ptr(), 4 * n)
    own.set_state_types({slot: kind}, seed)
    types = [kind if name == slot else FLOAT32 for name in slots]
    apart = {name: slots[slot] if name == slot else torch.zeros(n) for name in slots}
    to = c.Optimizer([rule], [c.Tensor(n, 0, None, [t.data_ptr() for t in apart.values()], 0, types)])
    if kind == BFLOAT16:
        halves = torch.empty(n, dtype=torch.int16)
        own.read_halves(0, slot, halves.data_ptr())
        to.write_halves(0, slot, halves.data_ptr())
    else:
        codes, scales = torch.empty(n, dtype=torch.uint8), torch.empty(c.state_scales(n))
        own.read_codes(0, slot, codes.data_ptr(), scales.data_ptr())
        to.write_codes(0, slot, codes.data_ptr(), scales.data_ptr())
