"""Memory for large results, which an allocator would get from the system anew for each.

The first touch of each new page costs more than a loss that is computed into it, and memory that comes back is in
the cache where it fits. So the last mapping that was given up is kept for the next result of about its size, marked
as one that the system may take back whenever it is short of memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
import weakref

import torch
from torch import Tensor

LEAST = 4 << 20
"""Bytes of a result that has a mapping of its own: two huge pages."""

_SERVES = all(hasattr(mmap, name) for name in ("MADV_HUGEPAGE", "MADV_FREE"))

_lock = threading.Lock()
_kept: mmap.mmap | None = None


def empty_like(tensor: Tensor) -> Tensor:
    """torch.empty_like of a contiguous tensor."""
    size = tensor.numel() * tensor.element_size()
    if size < LEAST or not _SERVES:
        return torch.empty_like(tensor)
    pages = _take(size)
    room = (ctypes.c_char * len(pages)).from_buffer(pages)
    weakref.finalize(room, _keep, pages).atexit = False
    return torch.frombuffer(room, dtype=tensor.dtype, count=tensor.numel()).view(tensor.shape)


def _take(size: int) -> mmap.mmap:
    """The kept mapping if it fits and no half of it would lie idle, or a new one."""
    global _kept
    with _lock:
        pages, _kept = _kept, None
    if pages is not None and size <= len(pages) < 2 * size:
        return pages
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def _keep(pages: mmap.mmap) -> None:
    global _kept
    try:
        pages.madvise(mmap.MADV_FREE)
    except OSError:  # as where memory is locked: what the system cannot take back is not kept
        return
    with _lock:
        _kept = pages
