"""Where state lies in memory: all of it in one allocation, apart from parameters and gradients within pages."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LINE, PAGE, HUGE_PAGE = 64, 4 << 10, 2 << 20
STAGGER = 17 * LINE  # buffers at the same place of a page get in each other's way
ALONE = 1 << 20  # bytes of a tensor whose state does not lie beside that of others
HUGE_LEAST = 40 * HUGE_PAGE


class Shape(NamedTuple):
    """How a tensor lies in memory: without gaps, in some order of its dimensions."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    numel: int
    dtype: torch.dtype = torch.float32  # uint8, where it is laid out as the library has it, or int16

    @staticmethod
    def of(tensor: Tensor) -> Shape:
        """The shape of a tensor."""
        return Shape(tuple(tensor.shape), tensor.stride(), tensor.numel())

    def is_dense(self) -> bool:
        """Whether its elements fill their memory, each once."""
        expected = 1
        for stride, size in sorted((s, n) for s, n in zip(self.stride, self.size) if n != 1):
            if stride != expected:
                return self.numel == 0
            expected *= size
        return True

    def same_order(self, stride: Sequence[int]) -> bool:
        """Whether a tensor of this size with other strides has its elements in the same order."""
        return all(n == 1 or a == b for n, a, b in zip(self.size, self.stride, stride)) or self.numel == 0


def _round_up(n: int, to: int) -> int:
    return -(-n // to) * to


def _is_near(x: int, y: int) -> bool:
    d = (x - y) % PAGE
    return d < 4 * LINE or d > PAGE - 4 * LINE


def _staggered(at: int, others: Sequence[int]) -> int:
    """The first place from one on that is some lines away from others within a page."""
    while any(_is_near(at, other) for other in others):
        at += LINE
    return at


def _place(end: int, size: int, slots: int, alone: bool) -> list[int]:
    """The places of a tensor's slots, each of so many bytes, in a room that ends at end so far."""
    places: list[int] = []
    for j in range(slots):
        if alone and size >= PAGE:
            places.append(_round_up(end, PAGE) + (2 + j) * STAGGER)
        elif size >= PAGE:
            places.append(_staggered(end, [0, STAGGER, *places]))
        else:
            places.append(end)
        end = places[-1] + _round_up(size, LINE)
    return places


def _room(size: int) -> Tensor:
    """Zeros, on huge pages where the system has them on request; the first byte begins a page."""
    boundary = HUGE_PAGE if size >= HUGE_LEAST else PAGE
    if size >= 2 * HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        pages = mmap.mmap(-1, size + boundary, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        pages.madvise(mmap.MADV_HUGEPAGE)
        room = torch.frombuffer(pages, dtype=torch.uint8)
    else:
        room = torch.zeros(size + boundary, dtype=torch.uint8)
    first = -room.data_ptr() % boundary
    return room[first : first + size]


def lay_out(tensors: Sequence[tuple[Shape, Sequence[float]]]) -> list[list[Tensor]]:
    """Makes state: for each tensor a buffer for every number given, which fills it.

    The buffers have the tensor's order of elements, and are views of one allocation for each type: torch.save wants
    no more of a storage.
    """
    views: list[list[Tensor]] = [[] for _ in tensors]
    for dtype in (torch.float32, torch.uint8, torch.int16):
        places = [k for k, (shape, _) in enumerate(tensors) if shape.dtype is dtype]
        for k, of in zip(places, _lay_out_alike([tensors[k] for k in places])):
            views[k] = of
    return views


def _lay_out_alike(tensors: Sequence[tuple[Shape, Sequence[float]]]) -> list[list[Tensor]]:
    """The same of one type."""
    places, end = [], 0
    for shape, first in tensors:
        size = shape.dtype.itemsize * shape.numel
        places.append(_place(end, size, len(first), len(tensors) == 1 or size > ALONE))
        end = max([end, *(at + _round_up(size, LINE) for at in places[-1])])
    room = _room(_round_up(end, LINE))
    return [_views(room, at, shape, first) for at, (shape, first) in zip(places, tensors)]


def _views(room: Tensor, places: Sequence[int], shape: Shape, first: Sequence[float]) -> list[Tensor]:
    if shape.dtype is torch.uint8:
        return [room[at : at + shape.numel] for at in places]
    typed, width = room.view(shape.dtype), shape.dtype.itemsize
    views = [typed.as_strided(shape.size, shape.stride, typed.storage_offset() + at // width) for at in places]
    for view, value in zip(views, first):
        if value:
            view.fill_(value)
    return views
