"""Losses of rows of logits, with their gradients."""

from __future__ import annotations

from ctypes import c_double, pointer
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import _library as c
from .._library import ArgumentError, Pool
from ._arrays import Array, address, address_of
from ._loss import Reduction, _choice

Classes = npt.NDArray[np.int64]

# The models of C.
_NLL, _MULTI_MARGIN, _CRAMMER_SINGER, _CATEGORICAL_HINGE, _SOFTMAX_FOCAL = range(1, 6)


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
    probabilities over the rows; over nothing it is ``empty``, and the gradient 0. "batchmean" is over all rows, and
    there is no "weighted mean".

    ``grad`` is overwritten with the gradient, times ``scale``: it may be ``logits``, or memory apart. ``each`` is
    overwritten with the losses of the rows. With the reduction "none", which wants ``each``, the value is the sum.
    The threads of a ``lockstep.Pool`` share the rows, with the same bits. Raises ArgumentError for a class that there
    is not, and has written nothing.
    """
    b = _rows(logits, target, weights, grad, each)
    o = _options(logits.shape[1], reduction, class_weights, ignore_index, smoothing, z_loss, empty)
    return c.cross_entropy(o, b, scale, pool)


def nll(
    log_probabilities: Array,
    target: Classes,
    *,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """The negative log-likelihood of the class of each row, of logarithms of probabilities.

    This and the losses below have the arguments of ``cross_entropy``, ``target`` classes alone. A row whose class has
    the weight 0 costs nothing. The mean is over the sum of the class weights as PyTorch's; that of the others is over
    the rows that are not ignored.
    """
    return _of_labels(
        _NLL,
        log_probabilities,
        target,
        class_weights=class_weights,
        ignore_index=ignore_index,
        weights=weights,
        reduction=reduction,
        empty=empty,
        scale=scale,
        grad=grad,
        each=each,
        pool=pool,
    )


def multi_margin(
    scores: Array,
    target: Classes,
    *,
    p: Literal[1, 2] = 1,
    margin: float = 1,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """max(0, margin - z[y] + z[c])ᵖ, summed over the other classes c and divided by the number of classes.

    PyTorch's multi_margin_loss.
    """
    return _of_labels(
        _MULTI_MARGIN,
        scores,
        target,
        margin=margin,
        squared=p,
        class_weights=class_weights,
        ignore_index=ignore_index,
        weights=weights,
        reduction=reduction,
        empty=empty,
        scale=scale,
        grad=grad,
        each=each,
        pool=pool,
    )


def crammer_singer(
    scores: Array,
    target: Classes,
    *,
    margin: float = 1,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """max(0, margin - z[y] + z[c]) of the largest other class c alone, the first of several.

    Optax' multiclass_hinge_loss, whose gradient several share.
    """
    return _of_labels(
        _CRAMMER_SINGER,
        scores,
        target,
        margin=margin,
        class_weights=class_weights,
        ignore_index=ignore_index,
        weights=weights,
        reduction=reduction,
        empty=empty,
        scale=scale,
        grad=grad,
        each=each,
        pool=pool,
    )


def categorical_hinge(
    scores: Array,
    target: Classes,
    *,
    margin: float = 1,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """max(0, margin - z[y] + max(0, z[c])) of the largest other class c: Keras' CategoricalHinge."""
    return _of_labels(
        _CATEGORICAL_HINGE,
        scores,
        target,
        margin=margin,
        class_weights=class_weights,
        ignore_index=ignore_index,
        weights=weights,
        reduction=reduction,
        empty=empty,
        scale=scale,
        grad=grad,
        each=each,
        pool=pool,
    )


def softmax_focal(
    logits: Array,
    target: Array | Classes,
    *,
    gamma: float = 2,
    probabilities: bool = False,
    smoothing: float = 0,
    class_weights: Array | None = None,
    ignore_index: int | None = None,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    empty: Literal["nan", "zero"] = "nan",
    scale: float = 1,
    grad: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """The cross-entropy of the softmax times (1-p)^gamma, p the probability of the row's class.

    ``target`` may have the probability of each class too, over which the loss is summed, and ``smoothing`` is that of
    ``cross_entropy``, which the loss is for a ``gamma`` of 0; ``class_weights`` are the paper's alphas. It is Keras'
    CategoricalFocalCrossentropy from logits, but that value and gradient are right where p is near to 1 or 0 too, at
    which Keras clips it. With ``probabilities`` rows are these and it is Keras' of them: each row is divided by its sum
    and clipped to [1e-7, 1-1e-7], where it is constant then.
    """
    return _of_labels(
        _SOFTMAX_FOCAL,
        logits,
        target,
        gamma=gamma,
        probabilities=probabilities,
        smoothing=smoothing,
        class_weights=class_weights,
        ignore_index=ignore_index,
        weights=weights,
        reduction=reduction,
        empty=empty,
        scale=scale,
        grad=grad,
        each=each,
        pool=pool,
    )


def cosine_embedding(
    x: Array,
    y: Array,
    target: Array | None = None,
    *,
    margin: float = 0,
    eps: float = 1e-12,
    weights: Array | None = None,
    reduction: Reduction = "mean",
    scale: float = 1,
    grad_x: Array | None = None,
    grad_y: Array | None = None,
    each: Array | None = None,
    pool: Pool | None = None,
) -> float:
    """1 - c of pairs of rows whose target is 1, max(0, c - margin) of -1, c the cosine of the angle between them.

    Without targets they are 1. ``eps`` is added to the squares of norms: PyTorch's, or 0 for Optax' cosine_distance.
    ``grad_x`` and ``grad_y`` are overwritten with the gradients, times ``scale``, ``each`` with the losses of the rows,
    of which ``weights`` are factors. The threads of a ``lockstep.Pool`` share the rows, with the same bits.
    """
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        raise ArgumentError(f"x has the shape {np.shape(x)}, want rows of columns")
    rows, columns = x.shape
    pairs = c.Pairs(
        address(x, "x"),
        address_of(y, "y", x.shape),
        rows,
        columns,
        _optional(target, "target", (rows,)),
        _optional(weights, "weights", (rows,)),
        _choice("reduction", reduction),
        None if grad_x is None else address_of(grad_x, "grad_x", x.shape, writable=True),
        None if grad_y is None else address_of(grad_y, "grad_y", x.shape, writable=True),
        None if each is None else address_of(each, "each", (rows,), writable=True),
    )
    return c.cosine_embedding(pairs, margin, eps, scale, pool)


def _of_labels(
    model: int,
    scores: Array,
    target: Array | Classes,
    *,
    class_weights: Array | None,
    ignore_index: int | None,
    weights: Array | None,
    reduction: str,
    empty: str,
    scale: float,
    grad: Array | None,
    each: Array | None,
    pool: Pool | None,
    margin: float | None = None,
    squared: int = 1,
    gamma: float = 0,
    probabilities: bool = False,
    smoothing: float = 0,
) -> float:
    b = _rows(scores, target, weights, grad, each)
    if squared not in (1, 2):
        raise ArgumentError(f"p is {squared!r}, want 1 or 2")
    o = c.RowLossOptions(
        model,
        _choice("reduction", reduction),
        _optional(class_weights, "class_weights", scores.shape[1:]),
        ignore_index is not None,
        ignore_index or 0,
        _is_zero(empty),
        None if margin is None else pointer(c_double(margin)),
        squared == 2,
        gamma,
        probabilities,
        smoothing,
    )
    return c.loss_of_rows(o, b, scale, pool)


def _rows(scores: Array, target: Any, weights: Array | None, grad: Array | None, each: Array | None) -> c.LossRows:
    """The rows of a call, whose target is classes if they are whole numbers."""
    if not isinstance(scores, np.ndarray) or scores.ndim != 2:
        raise ArgumentError(f"logits has the shape {np.shape(scores)}, want rows of classes")
    rows, classes = scores.shape
    labels = isinstance(target, np.ndarray) and target.dtype.kind in "iu"
    return c.LossRows(
        address(scores, "logits"),
        rows,
        classes,
        _labels(target, rows) if labels else None,
        None if labels else address_of(target, "target", scores.shape),
        _optional(weights, "weights", (rows,)),
        None if grad is None else address_of(grad, "grad", scores.shape, writable=True),
        None if each is None else address_of(each, "each", (rows,), writable=True),
    )


def _options(
    classes: int,
    reduction: str,
    class_weights: Array | None,
    ignore_index: int | None,
    smoothing: float,
    z_loss: float,
    empty: str,
) -> c.CrossEntropyOptions:
    return c.CrossEntropyOptions(
        _choice("reduction", reduction),
        _optional(class_weights, "class_weights", (classes,)),
        ignore_index is not None,
        ignore_index or 0,
        smoothing,
        z_loss,
        _is_zero(empty),
    )


def _is_zero(empty: str) -> bool:
    if empty not in ("nan", "zero"):
        raise ArgumentError(f"empty is {empty!r}, want 'nan' or 'zero'")
    return empty == "zero"


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
