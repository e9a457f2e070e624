"""Losses with their gradients, penalties and linear models."""

from __future__ import annotations

import ctypes
import threading
from ctypes import c_double, c_size_t, c_void_p
from typing import Any, Literal

import numpy as np

from .. import _library as c
from .._library import ArgumentError, Pool
from ._arrays import Array, address, address_of

Reduction = Literal["mean", "sum", "none", "batchmean", "weighted mean"]
Labels = Literal["plus-minus", "zero-one"]
Model = Literal["squared", "logistic", "hinge", "squared hinge", "poisson", "huber", "absolute", "quantile", "log cosh"]


def mse(
    pred: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The squared error (pred - target)².

    Of this and the other losses: ``pred`` and ``target`` have one shape, the first dimension of which counts rows.
    ``grad``, if it is given, is overwritten with the gradient of the value by ``pred``, times ``grad_scale``, and
    ``each`` with the losses of the elements. ``weight`` multiplies losses: it has the shape of ``pred``, or a number
    for each row. What has the weight 0 counts for nothing, even NaN.

    With the reduction "none", which wants ``each``, the value is the sum and the gradient that of the sum. "batchmean"
    divides the sum by rows, "weighted mean" by the sum of the weights. The mean of no elements is NaN. Numbers are not
    looked at: a NaN reaches the value. The threads of a ``lockstep.Pool`` share 262144 elements or more, with the same
    bits.
    """
    return _eval("lockstep_loss_mse", pred, target, reduction, grad, each, weight, grad_scale, pool=pool)


def mae(
    pred: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The absolute error |pred - target|, whose gradient is 0 where it is."""
    return _eval("lockstep_loss_mae", pred, target, reduction, grad, each, weight, grad_scale, pool=pool)


def huber(
    pred: Array,
    target: Array,
    *,
    delta: float = 1,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """Huber's loss of d = pred - target: ½d², or delta·(|d| - ½delta) beyond a difference of ``delta``."""
    return _eval(
        "lockstep_loss_huber", pred, target, reduction, grad, each, weight, grad_scale, c_double(delta), pool=pool
    )


def smooth_l1(
    pred: Array,
    target: Array,
    *,
    beta: float = 1,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """Huber's loss divided by its limit: ½d²/beta, or |d| - ½beta from ``beta`` on, which may be 0."""
    return _eval(
        "lockstep_loss_smooth_l1", pred, target, reduction, grad, each, weight, grad_scale, c_double(beta), pool=pool
    )


def quantile(
    pred: Array,
    target: Array,
    *,
    level: float,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The pinball loss: level·d for d = target - pred of at least 0, (level - 1)·d below."""
    return _eval(
        "lockstep_loss_quantile", pred, target, reduction, grad, each, weight, grad_scale, c_double(level), pool=pool
    )


def log_cosh(
    pred: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """log(cosh(pred - target)), right to a few units in the last place."""
    return _eval("lockstep_loss_log_cosh", pred, target, reduction, grad, each, weight, grad_scale, pool=pool)


def soft_margin(
    pred: Array,
    target: Array,
    *,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """log(1 + e^(-target·pred)), for targets of 1 and -1."""
    return _eval("lockstep_loss_soft_margin", pred, target, reduction, grad, each, weight, grad_scale, pool=pool)


def bce(
    pred: Array,
    target: Array,
    *,
    clamp: Literal["log", "probability"] = "log",
    smoothing: float = 0,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The binary cross-entropy of probabilities, -target·log pred - (1-target)·log(1-pred).

    The clamp "log" keeps logarithms above -100 and the gradient's divisor above 1e-12, as PyTorch does;
    "probability" clips probabilities to [1e-7, 1-1e-7], outside which the gradient is 0, as Keras does. A prediction
    outside of [0, 1] is NaN with the first, and counts as the nearer of 0 and 1 with the second. ``smoothing``, from 0
    to 1, pulls targets towards ½.
    """
    option = _choice("clamp", clamp)
    return _eval(
        "lockstep_loss_bce",
        pred,
        target,
        reduction,
        grad,
        each,
        weight,
        grad_scale,
        option,
        smoothing=smoothing,
        pool=pool,
    )


def bce_with_logits(
    pred: Array,
    target: Array,
    *,
    pos_weight: float | Array = 1,
    smoothing: float = 0,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The binary cross-entropy of σ(pred), right to a few units in the last place for any prediction.

    ``pos_weight`` multiplies the loss of positive targets: a number, or one for each class, which the last dimension
    has; of these targets are from 0 to 1, and losses of those between may be off by some pred units of the weight.
    ``smoothing`` is that of ``bce``.
    """
    name = "lockstep_loss_bce_with_logits"
    option: list[Any] = [c_double(1 if isinstance(pos_weight, np.ndarray) else pos_weight)]
    if isinstance(pos_weight, np.ndarray):
        classes = np.shape(pred)[-1:]
        name = "lockstep_loss_bce_with_class_logits"
        option = [c_void_p(address_of(pos_weight, "pos_weight", classes)), c_size_t(pos_weight.size)]
    return _eval(name, pred, target, reduction, grad, each, weight, grad_scale, *option, smoothing=smoothing, pool=pool)


def focal(
    pred: Array,
    target: Array,
    *,
    gamma: float = 2,
    alpha: float | None = None,
    probabilities: bool = False,
    smoothing: float = 0,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The binary cross-entropy of σ(pred) times the power ``gamma`` of the probability of the wrong class.

    ``alpha`` weights positive targets and 1 - alpha negative ones. torchvision's is 0.25; Optax has none by default.
    ``smoothing`` is that of ``bce``. With ``probabilities`` it is Keras' BinaryFocalCrossentropy of these: the
    cross-entropy's are clipped to [1e-7, 1-1e-7], where it has the gradient 0, and one outside of [0, 1] counts as the
    nearer of 0 and 1 and has the gradient 0.
    """
    weight_of = None if alpha is None else ctypes.byref(c_double(alpha))
    return _eval(
        "lockstep_loss_focal_of_probabilities" if probabilities else "lockstep_loss_focal",
        pred,
        target,
        reduction,
        grad,
        each,
        weight,
        grad_scale,
        c_double(gamma),
        weight_of,
        smoothing=smoothing,
        pool=pool,
    )


def poisson_nll(
    pred: Array,
    target: Array,
    *,
    rates: bool = False,
    eps: float = 1e-8,
    full: bool = False,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The negative log-likelihood of counts: e^pred - target·pred, or of ``rates`` pred - target·log(pred + eps).

    ``full`` adds Stirling's approximation of log target!, for targets above 1. The eps is PyTorch's; Keras has 1e-7.
    """
    options = (int(rates), c_double(eps), int(full))
    return _eval(
        "lockstep_loss_poisson_nll", pred, target, reduction, grad, each, weight, grad_scale, *options, pool=pool
    )


def gaussian_nll(
    pred: Array,
    target: Array,
    variance: Array,
    *,
    eps: float = 1e-6,
    full: bool = False,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    grad_variance: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The negative log-likelihood of a normal distribution, ½(log v + (pred - target)²/v).

    v is the variance of the element and at least ``eps``, of which the gradient by the variance does not know, as in
    PyTorch. ``full`` adds ½log 2π.
    """
    by = None if grad_variance is None else address_of(grad_variance, "grad_variance", pred.shape, writable=True)
    options = (c_void_p(address_of(variance, "variance", pred.shape)), c_void_p(by), c_double(eps), int(full))
    return _eval(
        "lockstep_loss_gaussian_nll", pred, target, reduction, grad, each, weight, grad_scale, *options, pool=pool
    )


def kl_divergence(
    pred: Array,
    target: Array,
    *,
    log_target: bool = False,
    probabilities: bool = False,
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The divergence of ``target`` from the distribution of which ``pred`` has the logarithms.

    target·(log target - pred), or with ``log_target`` e^target·(target - pred). With ``probabilities`` pred has these
    and both are clipped to [1e-7, 1], target·log(target/pred), and where pred is the gradient is 0: Keras'
    KLDivergence, whose mean is "batchmean".
    """
    if probabilities:
        if log_target:
            raise ArgumentError("log_target is True, want False with probabilities")
        name = "lockstep_loss_kl_divergence_of_probabilities"
        return _eval(name, pred, target, reduction, grad, each, weight, grad_scale, pool=pool)
    return _eval(
        "lockstep_loss_kl_divergence",
        pred,
        target,
        reduction,
        grad,
        each,
        weight,
        grad_scale,
        int(log_target),
        pool=pool,
    )


def hinge(
    pred: Array,
    target: Array,
    *,
    labels: Labels = "plus-minus",
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The hinge loss max(1 - label·pred, 0), whose gradient at the kink is 0.

    Targets are 1 and -1, or with "zero-one" 1 and 0.
    """
    return _eval(
        "lockstep_loss_hinge",
        pred,
        target,
        reduction,
        grad,
        each,
        weight,
        grad_scale,
        _choice("labels", labels),
        pool=pool,
    )


def squared_hinge(
    pred: Array,
    target: Array,
    *,
    labels: Labels = "plus-minus",
    reduction: Reduction = "mean",
    grad: Array | None = None,
    each: Array | None = None,
    weight: Array | None = None,
    grad_scale: float = 1,
    pool: Pool | None = None,
) -> float:
    """The squared hinge loss max(1 - label·pred, 0)², with targets as hinge has them."""
    return _eval(
        "lockstep_loss_squared_hinge",
        pred,
        target,
        reduction,
        grad,
        each,
        weight,
        grad_scale,
        _choice("labels", labels),
        pool=pool,
    )


def penalty(w: Array, *, l1: float = 0, l2: float = 0, grad: Array | None = None) -> float:
    """The elastic net l1·‖w‖₁ + ½l2·‖w‖², whose gradient is added to ``grad``, if it is given.

    The gradient of |0| is 0. Both parts are computed even where a coefficient is 0, so that an infinite parameter
    shows as NaN.
    """
    source = address(w, "w")
    target = None if grad is None else address_of(grad, "grad", w.shape, writable=True)
    return c.penalty(l1, l2, source, w.size, target)


_CHOICES = {
    "reduction": ("mean", "sum", "none", "batchmean", "weighted mean"),
    "clamp": ("log", "probability"),
    "labels": ("plus-minus", "zero-one"),
    "model": (
        "squared",
        "logistic",
        "hinge",
        "squared hinge",
        "poisson",
        "huber",
        "absolute",
        "quantile",
        "log cosh",
    ),
}


def _choice(argument: str, value: str) -> int:
    """The number that an option has in C."""
    choices = _CHOICES[argument]
    if value not in choices:
        raise ArgumentError(f"{argument} is {value!r}, want {', '.join(map(repr, choices))}")
    return choices.index(value)


def _eval(
    name: str,
    pred: Array,
    target: Array,
    reduction: str,
    grad: Array | None,
    each: Array | None,
    weight: Array | None,
    grad_scale: float,
    *option: Any,
    smoothing: float = 0,
    pool: Pool | None,
) -> float:
    p = c.Predictions(
        address(pred, "pred"),
        address_of(target, "target", pred.shape),
        pred.size,
        _choice("reduction", reduction),
        None if grad is None else address_of(grad, "grad", pred.shape, writable=True),
        None if each is None else address_of(each, "each", pred.shape, writable=True),
    )
    if weight is not None:
        p.weight = address_of(weight, "weight", _shape_of_weights(weight, pred))
        p.weights = weight.size
    p.rows = len(pred) if pred.ndim else 1
    p.grad_scale = ctypes.pointer(c_double(grad_scale))
    p.smoothing = smoothing
    return c.loss(name, p, *option, pool=pool)


def _shape_of_weights(weight: Array, pred: Array) -> tuple[int, ...]:
    """The shape that weights should have: that of rows if they have one dimension, or else that of elements."""
    return pred.shape[:1] if np.ndim(weight) == 1 else pred.shape


class Linear:
    """The mean loss of a linear model over the rows of a matrix, with its gradient, in one pass over the matrix.

    The model "squared" is linear regression; "logistic" logistic regression, with targets from 0 to 1; "hinge" and
    "squared hinge" are linear support vector machines, with targets as ``labels`` says: 1 and -1, or for "zero-one"
    1 and 0. "poisson" is Poisson regression of counts, whose predictions are the logarithms of rates. "huber", with
    its ``delta``, "absolute" and "log cosh" are robust regressions, and "quantile" predicts the quantile ``level``.
    With an intercept, parameters have one element more than there are columns, the last one.

    The bits depend on the inputs alone. Any thread may use it, one at a time: others wait.
    """

    def __init__(
        self,
        model: Model,
        columns: int,
        *,
        intercept: bool = False,
        labels: Labels = "plus-minus",
        delta: float | None = None,
        level: float | None = None,
        threads: int = 1,
    ) -> None:
        """Makes a model; gradients of large matrices are shared by so many threads, of which the caller's is one.

        A ``delta`` that is not given is 1, a ``level`` ½; models that have none refuse one.
        """
        self._arguments = (model, columns, intercept, labels, delta, level, threads)
        if columns < 0:
            raise ArgumentError(f"columns is {columns}, want at least 0")
        self._linear = c.Linear(_choice("model", model), columns, intercept, _choice("labels", labels))
        if delta is not None:
            _of_model("delta", delta, model, "huber")
            self._linear.set_delta(delta)
        if level is not None:
            _of_model("level", level, model, "quantile")
            self._linear.set_level(level)
        self._columns, self._length = columns, columns + bool(intercept)
        self._pool = None if threads == 1 else Pool(threads)
        self._lock = threading.Lock()

    def gradient(self, x: Array, y: Array, w: Array, grad: Array) -> float:
        """The mean loss of w over the rows of x, whose gradient is written to grad.

        The mean over no rows is NaN, and its gradient 0. Raises ArgumentError for a y that the model has no meaning
        for, and has written nothing.
        """
        matrix, rows = self._matrix(x)
        targets, parameters = address_of(y, "y", (rows,)), address_of(w, "w", (self._length,))
        out = address_of(grad, "grad", (self._length,), writable=True)
        with self._lock:
            return self._linear.gradient(matrix, targets, rows, parameters, out, self._pool)

    def predict(self, x: Array, w: Array, out: Array | None = None) -> Array:
        """The products x @ w, the intercept included, for each row of x."""
        matrix, rows = self._matrix(x)
        parameters = address_of(w, "w", (self._length,))
        if out is None:
            out = np.empty(rows, np.float32)
        self._linear.predict(matrix, rows, parameters, address_of(out, "out", (rows,), writable=True))
        return out

    def _matrix(self, x: Array) -> tuple[int, int]:
        if not isinstance(x, np.ndarray) or x.ndim != 2:
            raise ArgumentError(f"x has the shape {np.shape(x)}, want rows of {self._columns} columns")
        return address_of(x, "x", (x.shape[0], self._columns)), x.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return _linear, self._arguments


def _of_model(option: str, value: float, model: Model, has: Model) -> None:
    if model != has:
        raise ArgumentError(f"{option} is {value}, want None but for the model {has!r}")


def _linear(
    model: Model,
    columns: int,
    intercept: bool,
    labels: Labels,
    delta: float | None,
    level: float | None,
    threads: int,
) -> Linear:
    return Linear(model, columns, intercept=intercept, labels=labels, delta=delta, level=level, threads=threads)
