"""Losses of rows of logits, with their gradients."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import _library as c
from .._library import ArgumentError, Pool
from ._arrays import Array, address, address_of
from ._loss import Reduction, _choice

Classes = npt.NDArray[np.int64]


def cross_entropy(
    logits: Array,
    target: Array | Classes,
    *,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    smoothing: float = 0,
    z_loss: float = 0,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """The cross-entropy of the softmax of each row of logits, with its gradient.

    ``target`` has the class of each row, as int64, or the probability of each class in each row, as float32, which
    need not add up to 1. ``class_weights`` are factors of the classes' losses and ``weights`` of the rows'; rows of
    the label ``ignore_index`` cost nothing; ``smoothing`` is the part of each target that is spread over all classes;
    ``z_loss`` times the square of the logarithm of a row's sum of exponentials is added to its loss. The mean of
    classes is over the sum of the class weights of the rows that are not ignored, as PyTorch's, and that of
    probabilities over the rows; over nothing it is ``empty``, and the gradient 0.

    ``grad`` is overwritten with the gradient, times ``scale``: it may be ``logits``, or memory apart. ``each`` is
    overwritten with the losses of the rows. With the reduction "none", which wants ``each``, the value is the sum.
    The threads of a ``lockstep.Pool`` share the rows, with the same bits. Raises ArgumentError for a class that there
    is not, and has written nothing.
    """
    if not isinstance(logits, np.ndarray) or logits.ndim != 2:
        raise ArgumentError(f"logits has the shape {np.shape(logits)}, want rows of classes")
    rows, classes = logits.shape
    o = _options(classes, reduction, class_weights, ignore_index, smoothing, z_loss, empty)
    right: Any = target
    labels = isinstance(right, np.ndarray) and right.dtype.kind in "iu"
    b = c.LossRows(
        address(logits, "logits"),
        rows,
        classes,
        _labels(right, rows) if labels else None,
        None if labels else address_of(right, "target", logits.shape),
        _optional(weights, "weights", (rows,)),
        None if grad is None else address_of(grad, "grad", logits.shape, writable=True),
        None if each is None else address_of(each, "each", (rows,), writable=True),
    )
    return c.cross_entropy(o, b, scale, pool)


def _options(
    classes: int,
    reduction: str,
    class_weights: Array | None,
    ignore_index: int | None,
    smoothing: float,
    z_loss: float,
    empty: str,
) -> c.CrossEntropyOptions:
    if empty not in ("nan", "zero"):
        raise ArgumentError(f"empty is {empty!r}, want 'nan' or 'zero'")
    return c.CrossEntropyOptions(
        _choice("reduction", reduction),
        _optional(class_weights, "class_weights", (classes,)),
        ignore_index is not None,
        ignore_index or 0,
        smoothing,
        z_loss,
        empty == "zero",
    )


def _optional(array: Array | None, name: str, shape: tuple[int, ...]) -> int | None:
    return None if array is None else address_of(array, name, shape)


def _labels(target: Any, rows: int) -> int:
    """The address of the classes."""
    if target.dtype != np.int64 or not target.flags.c_contiguous or not target.flags.aligned:
        raise ArgumentError(f"target is an array of {target.dtype}, want int64 without gaps")
    if target.shape != (rows,):
        raise ArgumentError(f"target has the shape {target.shape}, want {(rows,)}")
    data: int = target.__array_interface__["data"][0]
    return data
