"""Softmax regression, with its gradients in one pass over the matrix."""

from __future__ import annotations

import threading
from typing import Any, Literal

import numpy as np

from .. import _library as c
from .._library import ArgumentError, Pool
from ._arrays import Array, address, address_of
from ._loss import Reduction
from ._row_loss import Classes, _labels, _optional, _options


class SoftmaxLinear:
    """Softmax regression, also called multinomial logistic regression: cross_entropy of x @ w.T + b.

    Rows of x are taken some hundred at a time, and while they are in the caches their logits are computed, become
    their gradient, and add to the gradients: x is read from memory once, as long as 256 rows are no more than the
    caches hold. Options are those of ``cross_entropy``; rows that cost nothing take part in the products too, where
    what is infinite or NaN makes ``grad_w`` NaN. The bits depend on the inputs alone. Any thread may use it,
    one at a time: others wait.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        class_weights: Array | None = None,
        ignore_index: int | None = None,
        smoothing: float = 0,
        z_loss: float = 0,
        reduction: Reduction = "mean",
        empty: Literal["nan", "zero"] = "nan",
        threads: int = 1,
    ) -> None:
        """Makes a model; large matrices are shared by so many threads, of which the caller's is one."""
        for name, n, least in (("features", features, 0), ("classes", classes, 1)):
            if n < least:
                raise ArgumentError(f"{name} is {n}, want at least {least}")
        if classes > 1 << 20:
            raise ArgumentError(f"classes is {classes}, want at most {1 << 20}")
        if class_weights is not None:
            address_of(class_weights, "class_weights", (classes,))
            class_weights = class_weights.copy()
        self._arguments = (features, classes, class_weights, ignore_index, smoothing, z_loss, reduction, empty, threads)
        self._options = _options(classes, reduction, class_weights, ignore_index, smoothing, z_loss, empty)
        self._features, self._classes = features, classes
        self._room = c.Room()
        self._pool = None if threads == 1 else Pool(threads)
        self._lock = threading.Lock()

    def gradient(
        self,
        x: Array,
        target: Array | Classes,
        w: Array,
        b: Array | None = None,
        *,
        weights: Array | None = None,
        scale: float = 1,
        grad_w: Array | None = None,
        grad_b: Array | None = None,
        grad_x: Array | None = None,
        each: Array | None = None,
    ) -> float:
        """The loss of rows of features, of which the gradients times ``scale`` are written to those that are given.

        ``w`` has a row for each class, ``b`` its intercept. ``target`` has the class of each row, as int64, or the
        probability of each class in each row, as float32; ``weights`` are factors of the rows' losses, which go to
        ``each``. Raises ArgumentError for a class that there is not, and has written nothing.
        """
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != self._features:
            raise ArgumentError(f"x has the shape {np.shape(x)}, want rows of {self._features} features")
        rows, classes = len(x), self._classes
        right: Any = target
        labels = isinstance(right, np.ndarray) and right.dtype.kind in "iu"
        p = c.SoftmaxRows(
            address(x, "x"),
            address_of(w, "w", (classes, self._features)),
            _optional(b, "b", (classes,)),
            rows,
            self._features,
            classes,
            _labels(right, rows) if labels else None,
            None if labels else address_of(right, "target", (rows, classes)),
            _optional(weights, "weights", (rows,)),
            _written(grad_w, "grad_w", (classes, self._features)),
            _written(grad_b, "grad_b", (classes,)),
            _written(grad_x, "grad_x", x.shape),
            _written(each, "each", (rows,)),
        )
        with self._lock:
            return c.softmax_linear(self._options, p, scale, self._room, self._pool)

    def __reduce__(self) -> tuple[Any, ...]:
        return _softmax_linear, self._arguments


def _softmax_linear(
    features: int,
    classes: int,
    class_weights: Array | None,
    ignore_index: int | None,
    smoothing: float,
    z_loss: float,
    reduction: Reduction,
    empty: Literal["nan", "zero"],
    threads: int,
) -> SoftmaxLinear:
    return SoftmaxLinear(
        features,
        classes,
        class_weights=class_weights,
        ignore_index=ignore_index,
        smoothing=smoothing,
        z_loss=z_loss,
        reduction=reduction,
        empty=empty,
        threads=threads,
    )


def _written(array: Array | None, name: str, shape: tuple[int, ...]) -> int | None:
    return None if array is None else address_of(array, name, shape, writable=True)
