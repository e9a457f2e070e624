"""A look at every parameter and its gradient before a step: in C, where PyTorch and Python have what it takes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Sequence
from ctypes import Structure, addressof, byref, c_int64, c_size_t, c_uint8, c_uint32, c_void_p
from functools import cache
from operator import attrgetter, is_
from typing import Any, NamedTuple, Protocol

from torch import Tensor
from torch.autograd.graph import increment_version

from .. import _library as c
from ._tensors import element_of

PART = 32  # tensors whose change is noted together, while they are in the cache
CHUNK = 128  # tensors that Python looks at together
LONG = 16  # parameters of a list that C compares faster

_data_ptr, _is_contiguous, _stride = Tensor.data_ptr, Tensor.is_contiguous, Tensor.stride
_get_grad, _get_nbytes, _get_dtype = attrgetter("grad"), attrgetter("nbytes"), attrgetter("dtype")
_has_any_type = hasattr(Tensor, "grad_dtype")  # gradients need not have that of their parameters


class Walk(Protocol):
    """Parameters as they were."""

    def find(self, grads: c.Pointers) -> bool:
        """Writes where the gradients are, and notes that the parameters change, or is False.

        It is True if parameters lie where they did, with the shapes that they had, and each has a gradient that is
        of its type in the CPU's memory, of its shape and order of elements.
        """


def walk_over(params: Sequence[Tensor], where: c.Pointers) -> Walk:
    """A walk over parameters, which are without gaps and lie at these addresses."""
    interface = _interface()
    if interface and all(getattr(type(p), _EXCHANGE, None) is getattr(Tensor, _EXCHANGE) for p in params):
        return _InC(interface, params, where)
    return _InPython(params)


# In C.

_EXCHANGE = "__dlpack_c_exchange_api__"


class _Exchange(Structure):
    """DLPackExchangeAPI of DLPack 1."""

    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("prev_api", c_void_p),
        ("managed_tensor_allocator", c_void_p),
        ("managed_tensor_from_py_object_no_sync", c_void_p),
        ("managed_tensor_to_py_object_no_sync", c_void_p),
        ("dltensor_from_py_object_no_sync", c_void_p),
        ("current_work_stream", c_void_p),
    ]


_OF_PYTHON = (
    *("PyList_Size", "PyList_GetItem", "PyObject_GetAttr", "PyObject_Type", "Py_DecRef"),
    *("PyObject_CallObject", "PyErr_Clear", "PyGC_Disable", "PyGC_Enable"),
)


class _Python(Structure):
    """What the library calls: lockstep_python."""

    _fields_ = [(name, c_void_p) for name in (*_OF_PYTHON, "tensor_of", "grad", "tensor_type", "change")]


class _Arguments(Structure):
    """Parameters of a walk: lockstep_walk."""

    _fields_ = [
        ("params", c_void_p),
        ("data", c_void_p),
        ("shapes", c_void_p),
        ("count", c_size_t),
        ("parts", c_void_p),
        ("part", c_size_t),
        ("grads", c_void_p),
        ("hints", c_void_p),
        ("elements", c_void_p),
    ]


class _Interface(NamedTuple):
    """The two functions of the library, with their first argument."""

    same: Any
    walk: Any
    python: _Python


_GRAD = sys.intern("grad")  # which, as the others, lives as long as its address is in use


@cache
def _interface() -> _Interface | None:
    """The functions of the library, or None where Python, PyTorch or the library lacks some of what they take."""
    python = getattr(ctypes, "pythonapi", None)
    capsule = getattr(Tensor, _EXCHANGE, None)
    has_lock = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
    if python is None or capsule is None or not has_lock:
        return None
    pointer_of = ctypes.PYFUNCTYPE(c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", python))
    exchange = _Exchange.from_address(pointer_of(capsule, b"dlpack_exchange_api"))
    tensor_of = exchange.dltensor_from_py_object_no_sync
    if exchange.major != 1 or not tensor_of:
        return None
    try:
        functions = [ctypes.cast(getattr(python, name), c_void_p).value for name in _OF_PYTHON]
        same, walk = (c.holding_lock(f"lockstep_python_{name}") for name in ("same", "walk"))
    except AttributeError:
        return None
    return _Interface(same, walk, _Python(*functions, tensor_of, id(_GRAD), id(Tensor), id(increment_version)))


def _addresses(addresses: Iterable[int]) -> c.Pointers:
    some: list[Any] = list(addresses)
    pointers = c.pointers(len(some))
    pointers[:] = some
    return pointers


class _InC:
    """A walk in the library."""

    __slots__ = ("_arguments", "_first", "_held", "_numbers", "_second", "_walk")

    def __init__(self, interface: _Interface, params: Sequence[Tensor], where: c.Pointers) -> None:
        parts = [(list(params[k : k + PART]),) for k in range(0, len(params), PART)]
        numbers = [n for p in params for n in (p.dim(), *(n for pair in zip(p.shape, p.stride()) for n in pair))]
        shapes = (c_int64 * len(numbers))(*numbers)
        objects, arguments = _addresses(map(id, params)), _addresses(map(id, parts))
        hints = _addresses(getattr(p.untyped_storage(), "_cdata", 0) for p in params)
        elements = (c_uint8 * len(params))(*map(element_of, params))
        self._held = (parts, shapes, objects, arguments, where, hints, elements)
        self._arguments = _Arguments(
            *(addressof(objects), addressof(where), addressof(shapes), len(params)),
            *(addressof(arguments), PART, None, addressof(hints), addressof(elements)),
        )
        self._walk, self._first, self._second = interface.walk, byref(interface.python), byref(self._arguments)
        self._numbers = [p for p in params if p.numel() == 1]

    def find(self, grads: c.Pointers) -> bool:
        self._arguments.grads = addressof(grads)
        return bool(self._walk(self._first, self._second)) and not _any_negative(map(_get_grad, self._numbers))


def _any_negative(tensors: Any) -> bool:
    """Whether a tensor of one element has its sign outside of its memory: others with such have other strides."""
    return any(map(Tensor.is_neg, tensors))


def same_list(params: Sequence[Tensor]) -> Callable[[Any], bool]:
    """A function that tells whether a list is that of some parameters, which must be alive."""
    interface = _interface()
    if interface is None or len(params) < LONG:
        return lambda other: len(other) == len(params) and all(map(is_, other, params))
    same, python, objects = interface.same, byref(interface.python), _addresses(map(id, params))
    count = c_size_t(len(params))
    return lambda other: isinstance(other, list) and bool(same(python, ctypes.py_object(other), objects, count))


# In Python.


class _Chunk:
    """Some tensors after one another."""

    __slots__ = ("dtypes", "empty", "first", "has_numbers", "last", "nbytes", "params", "strides", "where")

    def __init__(self, params: list[Tensor], first: int) -> None:
        self.first, self.last, self.params = first, first + len(params), params
        self.where = list(map(_data_ptr, params))
        self.nbytes = list(map(_get_nbytes, params))
        self.dtypes = list(map(_get_dtype, params))
        self.has_numbers = any(p.numel() == 1 for p in params)
        self.empty = self.where.count(0)  # which have no memory
        self.strides = None if all(map(_is_contiguous, params)) else list(map(_stride, params))

    def find(self, pointers: c.Pointers) -> bool:
        grads = list(map(_get_grad, self.params))
        if list(map(_data_ptr, self.params)) != self.where or list(map(_get_nbytes, grads)) != self.nbytes:
            return False
        if _has_any_type and list(map(_get_dtype, grads)) != self.dtypes:
            return False
        if self.has_numbers and _any_negative(grads):
            return False
        addresses: list[Any] = list(map(_data_ptr, grads))
        pointers[self.first : self.last] = addresses
        in_order = all(map(_is_contiguous, grads)) if self.strides is None else self.strides == [*map(_stride, grads)]
        if in_order and addresses.count(0) == self.empty:
            increment_version(self.params)  # which autograd looks at; here they are in the cache
            return True
        return False


class _InPython:
    """A walk over chunks, with functions that map calls."""

    __slots__ = ("_chunks",)

    def __init__(self, params: Sequence[Tensor]) -> None:
        self._chunks = [_Chunk(list(params[k : k + CHUNK]), k) for k in range(0, len(params), CHUNK)]

    def find(self, grads: c.Pointers) -> bool:
        try:
            return all(chunk.find(grads) for chunk in self._chunks)
        except (AttributeError, RuntimeError, TypeError):  # None, or a gradient without memory
            return False
