"""Arrays as addresses, without copies."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from .._library import BF16, F16, FLOAT32, ArgumentError, Rows

Array = npt.NDArray[np.float32]
Arrays = Union[Array, Sequence[Array], Mapping[str, Array]]

Half = Union[npt.NDArray[np.float16], npt.NDArray[np.uint16], npt.NDArray[Any]]
"""An array of float16, of ml_dtypes.bfloat16, or of uint16, which are taken for bfloat16's bits."""

Rest = Union[npt.NDArray[np.int16], npt.NDArray[np.uint16]]
"""What parameters in bfloat16 lack of the bits of float32: see Optimizer."""

Indices = Union[npt.NDArray[np.int32], npt.NDArray[np.int64]]

_FLOAT32 = np.dtype(np.float32).str
_FLOAT16, _UINT16, _INT16 = np.dtype(np.float16).str, np.dtype(np.uint16).str, np.dtype(np.int16).str
_INDICES = (np.dtype(np.int32).str, np.dtype(np.int64).str)


def address(array: Array, name: str, *, writable: bool = False) -> int:
    """The address of an array's elements, or an ArgumentError that says what it must be.

    It must be a float32 array in C's order without gaps, aligned, and writable where it is written.
    """
    data, read_only = _memory(array, name, (_FLOAT32,), "float32")
    if writable and read_only:
        raise ArgumentError(f"{name} is read-only, want a writable array")
    return data


def half_address(array: Any, name: str, shape: tuple[int, ...], *, writable: bool = False) -> tuple[int, int]:
    """The address of an array of 16 bits and a shape, and its type, as the library has it."""
    return _typed(array, name, shape, (_FLOAT16, _UINT16), "float16, bfloat16 or uint16", writable)


def bfloat16_address(array: Any, name: str, shape: tuple[int, ...], *, writable: bool = False) -> int:
    """The address of an array of bfloat16 and a shape."""
    return _typed(array, name, shape, (_UINT16,), "bfloat16 or uint16", writable)[0]


def rest_address(array: Any, name: str, shape: tuple[int, ...], *, writable: bool = False) -> int:
    """The address of what an array of bfloat16 lacks."""
    return _typed(array, name, shape, (_INT16, _UINT16), "int16 or uint16", writable)[0]


def typed_address(array: Any, name: str, shape: tuple[int, ...], *, writable: bool = False) -> tuple[int, int]:
    """The same of an array of float32 or 16 bits."""
    wish = "float32, float16, bfloat16 or uint16"
    return _typed(array, name, shape, (_FLOAT32, _FLOAT16, _UINT16), wish, writable)


def typed_part(array: Any, name: str) -> tuple[int, int]:
    """The same of any shape."""
    return typed_address(array, name, getattr(array, "shape", ()))


def _typed(
    array: Any, name: str, shape: tuple[int, ...], types: tuple[str, ...], wish: str, writable: bool
) -> tuple[int, int]:
    dtype: Any = getattr(array, "dtype", None)
    if getattr(dtype, "name", "") == "bfloat16":  # of ml_dtypes, which NumPy takes for some bytes
        types = (*types, dtype.str)
    data, read_only = _memory(array, name, types, wish)
    if writable and read_only:
        raise ArgumentError(f"{name} is read-only, want a writable array")
    if array.shape != shape:
        raise ArgumentError(f"{name} has the shape {array.shape}, want {shape}")
    return data, {_FLOAT32: FLOAT32, _FLOAT16: F16}.get(array.dtype.str, BF16)


def _memory(array: npt.NDArray[Any], name: str, types: tuple[str, ...], wish: str) -> tuple[int, bool]:
    """Where an array of one of some types is, and whether it is read-only."""
    if type(array) is not np.ndarray and (not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray)):
        raise ArgumentError(f"{name} is a {type(array).__name__}, want a numpy.ndarray")
    interface = array.__array_interface__
    if interface["typestr"] not in types:
        raise ArgumentError(f"{name} is an array of {array.dtype}, want {wish}")
    if interface["strides"] is not None:
        raise ArgumentError(f"{name} has strides {array.strides}, want a C-contiguous array")
    data: int
    data, read_only = interface["data"]
    if data % array.itemsize:
        raise ArgumentError(f"{name} is at {data:#x}, want an aligned array")
    return data, read_only


def rows_of(indices: Indices, name: str) -> Rows:
    """A list of rows, or an ArgumentError that says what it must be."""
    data, _ = _memory(indices, name, _INDICES, "int32 or int64")
    if indices.ndim != 1:
        raise ArgumentError(f"{name} has the shape {indices.shape}, want one dimension")
    return Rows(data, len(indices), indices.itemsize)


def address_of(array: Array, name: str, shape: tuple[int, ...], *, writable: bool = False) -> int:
    """The address of an array of a shape."""
    data = address(array, name, writable=writable)
    if array.shape != shape:
        raise ArgumentError(f"{name} has the shape {array.shape}, want {shape}")
    return data


def apart(arrays: Iterable[tuple[str, Array | Half | Rest]]) -> None:
    """Refuses arrays that overlap others."""
    intervals = sorted((a.__array_interface__["data"][0], a.nbytes, name) for name, a in arrays if a.size)
    for (first, size, name), (second, _, other) in zip(intervals, intervals[1:]):
        if second < first + size:
            raise ArgumentError(f"{other} is at {second:#x}, want memory apart from {name}")


def view(address: int, shape: tuple[int, ...], owner: object) -> Array:
    """An array over memory of an owner, which lives at least as long."""
    if 0 in shape:
        return np.empty(shape, np.float32)
    memory: Any = (ctypes.c_float * int(np.prod(shape, dtype=np.intp))).from_address(address)
    memory.owner = owner
    return np.frombuffer(memory, np.float32).reshape(shape)
