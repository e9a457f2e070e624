"""Losses under the names and with the defaults of ``torch.nn.functional``, whose gradient is computed with the value.

    import lockstep.torch.functional as F

    loss = F.binary_cross_entropy_with_logits(model(x), target)
    loss.backward()

One pass computes the value and, where ``input`` wants one, its gradient; ``backward`` multiplies that by what comes
from later operations, and by nothing where it is 1. Tensors are float32, in the CPU's memory and of one shape, and
targets want no gradient; what is not so raises ``UnsupportedError``, and a number that cannot be ``ArgumentError``.
What follows ``target`` is given by name, ``var`` apart. A gradient has no gradient of its own.

Values are added up in float64 in one order: they do not depend on the number of threads, of which there are as many as
``torch.get_num_threads()`` says from 262144 elements on.
"""

from __future__ import annotations

from ctypes import byref, c_double, c_void_p
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import _library as c
from .._library import ArgumentError
from ._functional_rows import (
    categorical_hinge_loss,
    cosine_embedding_loss,
    crammer_singer_loss,
    cross_entropy,
    linear_cross_entropy,
    log_softmax,
    multi_margin_loss,
    nll_loss,
    softmax_focal_loss,
)
from ._plan import shared_pool
from ._room import empty_like
from ._tensors import UnsupportedError, refusal

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "categorical_hinge_loss",
    "cosine_embedding_loss",
    "crammer_singer_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "log_cosh_loss",
    "log_softmax",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "quantile_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax_focal_loss",
    "squared_hinge_loss",
]

Reduction = Literal["none", "mean", "sum"]
Labels = Literal["plus-minus", "zero-one"]

_CLAMPS = ("log", "probability")
_LABELS = ("plus-minus", "zero-one")
_REDUCTIONS = {"mean": 0, "sum": 1, "none": 2, "batchmean": 3}
_WEIGHTED_MEAN = 4


def mse_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean", weight: Tensor | None = None) -> Tensor:
    """The squared error. With weights the mean is divided by their sum."""
    return _loss("mse", input, target, reduction, weight, divided=True)


def l1_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean", weight: Tensor | None = None) -> Tensor:
    """The absolute error. With weights the mean is divided by their sum."""
    return _loss("mae", input, target, reduction, weight, divided=True)


def huber_loss(
    input: Tensor, target: Tensor, *, reduction: Reduction = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half of the squared error up to a difference of delta, which it follows beyond."""
    return _loss("huber", input, target, reduction, weight, c_double(delta))


def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean", beta: float = 1.0) -> Tensor:
    """Huber's loss divided by its limit; with 0 the absolute error."""
    return _loss("smooth_l1", input, target, reduction, None, c_double(beta))


def log_cosh_loss(
    input: Tensor, target: Tensor, *, reduction: Reduction = "mean", weight: Tensor | None = None
) -> Tensor:
    """log(cosh(input - target)): Keras' LogCosh and Optax' log_cosh, which torch has not, without cancellation."""
    return _loss("log_cosh", input, target, reduction, weight)


def quantile_loss(
    input: Tensor, target: Tensor, *, level: float, reduction: Reduction = "mean", weight: Tensor | None = None
) -> Tensor:
    """The pinball loss, which torch has not: level·d for d = target - input of at least 0, (level - 1)·d below.

    The level is between 0 and 1.
    """
    return _loss("quantile", input, target, reduction, weight, c_double(level))


def hinge_loss(
    input: Tensor,
    target: Tensor,
    *,
    labels: Labels = "plus-minus",
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """max(1 - target·input, 0): Keras' Hinge, which torch has not. At the kink the gradient is 0.

    Targets are 1 and -1, or with labels "zero-one" 1 and 0.
    """
    return _loss("hinge", input, target, reduction, weight, _number("labels", labels, _LABELS))


def squared_hinge_loss(
    input: Tensor,
    target: Tensor,
    *,
    labels: Labels = "plus-minus",
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """max(1 - target·input, 0)²: Keras' SquaredHinge, which torch has not, with targets as hinge_loss has them."""
    return _loss("squared_hinge", input, target, reduction, weight, _number("labels", labels, _LABELS))


def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """log(1 + e^(-target·input)), finite where torch's is not, from 88 on."""
    return _loss("soft_margin", input, target, reduction, None)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    clamp: Literal["log", "probability"] = "log",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy of probabilities. One outside of [0, 1], for which torch raises an error, makes it NaN.

    The clamp "log" is torch's; "probability" is Keras', which clips probabilities to [1e-7, 1-1e-7], where the gradient
    is 0. label_smoothing, from 0 to 1, pulls targets towards ½, as Keras' does.
    """
    option = _number("clamp", clamp, _CLAMPS)
    return _loss("bce", input, target, reduction, weight, option, smoothing=label_smoothing)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy of σ(input). A pos_weight of more than one element is that of the last dimensions' classes.

    label_smoothing is that of binary_cross_entropy.
    """
    if pos_weight is None or pos_weight.numel() == 1:
        option = c_double(1 if pos_weight is None else float(pos_weight))
        return _loss("bce_with_logits", input, target, reduction, weight, option, smoothing=label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing is {label_smoothing!r}, want a number from 0 to 1")
    # With w = 1 + (pos_weight - 1)·target it is w times the loss of the target pos_weight·target/w.
    shape = tuple(pos_weight.shape)
    if len(shape) > input.dim() or any(n not in (1, m) for n, m in zip(shape[::-1], input.shape[::-1])):
        raise ArgumentError(f"pos_weight has the shape {shape}, want one that goes with input")
    _check("target", target, input)
    _check("pos_weight", pos_weight.expand_as(input), input)
    if not bool(((pos_weight >= 0) & (pos_weight < torch.inf)).all()):
        raise ArgumentError("pos_weight has elements that are not finite numbers of at least 0")
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / 2
    positive = pos_weight * target
    factor = 1 - target + positive
    target = torch.where(factor == 0, target, positive / factor)
    weight = factor if weight is None else weight * factor
    return _loss("bce_with_logits", input, target, reduction, weight, c_double(1))


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2,
    reduction: Reduction = "none",
    probabilities: bool = False,
    label_smoothing: float = 0,
) -> Tensor:
    """That of ``torchvision.ops``; an alpha below 0 is none.

    With probabilities the inputs are these: Keras' BinaryFocalCrossentropy, which clips those of the cross-entropy to
    [1e-7, 1-1e-7] and has no alpha by default.
    """
    weight = None if alpha < 0 else byref(c_double(alpha))
    name = "focal_of_probabilities" if probabilities else "focal"
    return _loss(name, inputs, targets, reduction, None, c_double(gamma), weight, smoothing=label_smoothing)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood of counts."""
    return _loss("poisson_nll", input, target, reduction, None, int(not log_input), c_double(eps), int(full))


def kl_div(
    input: Tensor,
    target: Tensor,
    *,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    log_target: bool = False,
    probabilities: bool = False,
) -> Tensor:
    """The divergence of target from the distribution whose logarithms are input.

    With probabilities input has these and both are clipped to [1e-7, 1]: Keras' KLDivergence, whose mean is
    "batchmean".
    """
    if probabilities:
        if log_target:
            raise ArgumentError("log_target is True, want False with probabilities")
        return _loss("kl_divergence_of_probabilities", input, target, reduction, None)
    return _loss("kl_divergence", input, target, reduction, None, int(log_target))


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """The negative log-likelihood of a normal distribution; var has the shape of input, or one that goes with it."""
    if not isinstance(var, Tensor):
        var = torch.full_like(input, var)
    if bool((var < 0).any()):
        raise ArgumentError("var has negative elements, want variances of at least 0")
    if var.shape != input.shape:
        var = (var.unsqueeze(-1) if var.shape == input.shape[:-1] else var).expand_as(input)
    _check("target", target, input)
    _check("var", var, input)
    value: Tensor = _Normal.apply(input, target, var, _reduction(reduction), eps, full)
    return value


def _number(name: str, value: str, choices: tuple[str, ...]) -> int:
    """The number that an option has in C."""
    if value not in choices:
        raise ArgumentError(f"{name} is {value!r}, want {' or '.join(map(repr, choices))}")
    return choices.index(value)


def _reduction(name: str) -> int:
    if name not in _REDUCTIONS:
        raise ArgumentError(f"reduction is {name!r}, want {', '.join(map(repr, _REDUCTIONS))}")
    return _REDUCTIONS[name]


def _check(name: str, tensor: Tensor, input: Tensor) -> None:
    """Refuses what cannot be read with input."""
    for which, x in (("input", input), (name, tensor)):
        why = refusal(x)
        if why:
            raise UnsupportedError(f"{which} {why}")
    if tensor.shape != input.shape:
        raise UnsupportedError(f"{name} has the shape {tuple(tensor.shape)}, want that of input, {tuple(input.shape)}")
    if name != "var" and tensor.requires_grad:
        raise UnsupportedError(f"{name} wants a gradient, which only input has")


def _loss(
    name: str,
    input: Tensor,
    target: Tensor,
    reduction: str,
    weight: Tensor | None,
    *options: Any,
    divided: bool = False,
    smoothing: float = 0,
) -> Tensor:
    """Checks a call and makes it."""
    number = _reduction(reduction)
    if number == _REDUCTIONS["batchmean"] and not name.startswith("kl_divergence"):
        raise ArgumentError("reduction is 'batchmean', want 'mean', 'sum', 'none'")
    _check("target", target, input)
    if weight is not None:
        weight = weight if weight.shape == input.shape else weight.expand_as(input)
        _check("weight", weight, input)
        if divided and reduction == "mean":
            number = _WEIGHTED_MEAN
    value: Tensor = _Loss.apply(input, target, weight, "lockstep_loss_" + name, number, smoothing, options)
    return value


def _predictions(input: Tensor, target: Tensor, weight: Tensor | None, reduction: int) -> c.Predictions:
    p = c.Predictions(input.data_ptr(), target.data_ptr(), input.numel(), reduction)
    p.rows = input.shape[0] if input.dim() else 1
    if weight is not None:
        p.weight, p.weights = weight.data_ptr(), weight.numel()
    return p


def _value(input: Tensor, p: c.Predictions, name: str, options: tuple[Any, ...]) -> Tensor:
    """The reduced value, or the losses."""
    if p.reduction == _REDUCTIONS["none"]:
        each = empty_like(input)
        p.each = each.data_ptr()
        c.loss(name, p, *options, pool=shared_pool())
        return each
    return torch.tensor(c.loss(name, p, *options, pool=shared_pool()), dtype=torch.float32)


def _times(grad: Tensor, upstream: Tensor) -> Tensor:
    """A gradient times what comes from later operations."""
    if upstream.dim() == 0 and upstream.item() == 1:
        return grad
    return grad * upstream


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        name: str,
        reduction: int,
        smoothing: float,
        options: tuple[Any, ...],
    ) -> Tensor:
        input, target = input.contiguous(), target.contiguous()
        weight = None if weight is None else weight.contiguous()
        p = _predictions(input, target, weight, reduction)
        p.smoothing = smoothing
        if ctx.needs_input_grad[0]:
            grad = empty_like(input)
            p.grad = grad.data_ptr()
            ctx.save_for_backward(grad)
        return _value(input, p, name, options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        (grad,) = ctx.saved_tensors
        return _times(grad, upstream), None, None, None, None, None, None


class _Normal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, var: Tensor, reduction: int, eps: float, full: bool) -> Tensor:
        input, target, var = input.contiguous(), target.contiguous(), var.contiguous()
        p = _predictions(input, target, None, reduction)
        grad, by = empty_like(input), empty_like(var)
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
            p.grad = grad.data_ptr()
            ctx.save_for_backward(grad, by)
        options = (c_void_p(var.data_ptr()), c_void_p(by.data_ptr()), c_double(eps), int(full))
        return _value(input, p, "lockstep_loss_gaussian_nll", options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        grad, by = ctx.saved_tensors
        return _times(grad, upstream), None, _times(by, upstream), None, None, None
