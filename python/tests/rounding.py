"""How steps round parameters of bfloat16 alone, as the library says."""

from __future__ import annotations

from typing import Any

import numpy as np


def following(x: int) -> int:
    """The number of SplitMix64 behind one."""
    most = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & most
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & most
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & most
    return x ^ x >> 31


def rounded(x: Any, seed: int, tensor: int, step: int) -> Any:
    """The bits of what a step makes of float32 parameters."""
    key = following(seed)
    for part in (tensor, 1 << 32, step):
        key = following(key ^ part)
    flat = x.reshape(-1).view(np.uint32)
    place = np.arange(flat.size, dtype=np.uint32) % np.uint32(1024)
    place = (place ^ place >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    place = (place ^ place >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    place ^= place >> np.uint32(16)
    blocks = [following(key ^ k) for k in range(-(-flat.size // 1024))]
    factor = np.repeat(np.array([b & 0xFFFFFFFF | 1 for b in blocks], np.uint32), 1024)[: flat.size]
    add = np.repeat(np.array([b >> 32 for b in blocks], np.uint32), 1024)[: flat.size]
    return ((flat + (place * factor + add >> np.uint32(16))) >> np.uint32(16)).astype(np.uint16).reshape(x.shape)
