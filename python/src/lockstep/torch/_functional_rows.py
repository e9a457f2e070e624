"""Losses of rows: the gradient is computed with the value."""

from __future__ import annotations

import threading
from ctypes import c_double, pointer
from typing import Any, Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import _library as c
from ._plan import shared_pool
from ._room import empty_like
from ._tensors import UnsupportedError, refusal

_REDUCTIONS = ("mean", "sum", "none")

# The models of C.
_NLL, _MULTI_MARGIN, _CRAMMER_SINGER, _CATEGORICAL_HINGE, _SOFTMAX_FOCAL = range(1, 6)

_room, _room_lock = c.Room(), threading.Lock()


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    z_loss: float = 0.0,
) -> Tensor:
    """torch.nn.functional.cross_entropy of float32 logits in the CPU's memory, whose backward only multiplies.

    Its arguments and values are those of PyTorch. Value and gradient are computed in one pass over the logits, on as
    many threads as ``torch.get_num_threads()`` says, with bits that do not depend on it. A mean over no rows, or over
    ignored ones alone, is NaN as PyTorch's, but its gradient 0. There is no gradient of the targets or weights, nor
    a second derivative. z_loss times the square of the logarithm of a row's sum of exponentials is added to its loss,
    at least 0. Raises UnsupportedError for other tensors and lockstep.ArgumentError for a class that there is not.
    """
    soft = target.is_floating_point()
    rows, targets, outer = _rows(input, target, weight, size_average, reduce, reduction)
    weights = None if weight is None else weight.contiguous()

    def evaluate(b: c.LossRows) -> float:
        number = _REDUCTIONS.index(reduction)
        o = c.CrossEntropyOptions(number, _data(weights), 1, ignore_index, label_smoothing, z_loss, 0)
        if soft:
            b.labels, b.targets = None, b.labels
        return c.cross_entropy(o, b, 1, shared_pool())

    return _apply(rows, targets, evaluate, reduction, outer)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """torch.nn.functional.nll_loss of float32 logarithms of probabilities, as cross_entropy here.

    Rows of a class of the weight 0 cost nothing, whatever they are.
    """
    options = {"ignores": 1, "ignored": ignore_index}
    return _of_labels(_NLL, input, target, weight, size_average, reduce, reduction, options)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """torch.nn.functional.multi_margin_loss of float32 scores, as cross_entropy here."""
    if p not in (1, 2):
        raise c.ArgumentError(f"p is {p!r}, want 1 or 2")
    if input.dim() > 2:
        raise c.ArgumentError(f"input has the shape {tuple(input.shape)}, want classes, or rows of them")
    options = {"margin": pointer(c_double(margin)), "squared": int(p == 2)}
    return _of_labels(_MULTI_MARGIN, input, target, weight, size_average, reduce, reduction, options)


def crammer_singer_loss(
    input: Tensor,
    target: Tensor,
    *,
    margin: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - input[y] + input[c]) of the largest other class c alone, the first of several, times weight[y].

    Optax' multiclass_hinge_loss, whose gradient several share; torch has none. As cross_entropy here, but that the mean
    is over the rows that are not ignored.
    """
    options = {"margin": pointer(c_double(margin)), "ignores": 1, "ignored": ignore_index}
    return _of_labels(_CRAMMER_SINGER, input, target, weight, None, None, reduction, options)


def categorical_hinge_loss(
    input: Tensor,
    target: Tensor,
    *,
    margin: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - input[y] + max(0, input[c])) of the largest other class c: Keras' CategoricalHinge, of classes.

    torch has none. Else as crammer_singer_loss.
    """
    options = {"margin": pointer(c_double(margin)), "ignores": 1, "ignored": ignore_index}
    return _of_labels(_CATEGORICAL_HINGE, input, target, weight, None, None, reduction, options)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Tensor:
    """torch.nn.functional.linear_cross_entropy of float32: cross_entropy of input @ linear_weight.T + linear_bias.

    input is features, or rows of them, linear_weight has a row for each class. Logits are computed for some hundred
    rows at a time, become their gradient while they are in the caches, and add to those of input, linear_weight and
    linear_bias, which backward only multiplies: no matrix of all logits is made, but with the reduction "none", which
    has the gradient of each row wait for backward. What is infinite or NaN in an ignored row of input makes the
    gradient of linear_weight NaN. z_loss and what is refused are those of cross_entropy here; torch's ``options``,
    which say how it cuts rows, there are none.
    """
    ignored = -100 if ignore_index is None else ignore_index
    for name, tensor in (("input", input), ("linear_weight", linear_weight), ("linear_bias", linear_bias)):
        if tensor is not None:
            _check(tensor, name, torch.float32)
    if linear_weight.dim() != 2 or input.dim() not in (1, 2) or input.shape[-1] != linear_weight.shape[1]:
        shapes = f"{tuple(input.shape)} and {tuple(linear_weight.shape)}"
        raise c.ArgumentError(f"input and linear_weight have the shapes {shapes}, want rows of features, and classes")
    classes = len(linear_weight)
    if linear_bias is not None and linear_bias.shape != (classes,):
        raise c.ArgumentError(f"linear_bias has the shape {tuple(linear_bias.shape)}, want {(classes,)}")
    if reduction == "none":
        logits = torch.nn.functional.linear(input, linear_weight, linear_bias)
        return cross_entropy(logits, target, weight, None, ignored, None, reduction, label_smoothing, z_loss=z_loss)
    logits = input.new_empty(1).expand(*input.shape[:-1], classes)  # which has their shape, and no memory
    _, targets, _ = _rows(logits, target, weight, None, None, reduction)
    weights = None if weight is None else weight.contiguous()
    number = _REDUCTIONS.index(reduction)

    def evaluate(p: c.SoftmaxRows) -> float:
        o = c.CrossEntropyOptions(number, _data(weights), 1, ignored, label_smoothing, z_loss, 0)
        if target.is_floating_point():
            p.labels, p.targets = None, p.labels
        with _room_lock:
            return c.softmax_linear(o, p, 1, _room, shared_pool())

    value: Tensor = _Linear.apply(
        input if input.dim() == 2 else input.unsqueeze(0), linear_weight, linear_bias, targets, evaluate
    )
    return value


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, targets: Tensor, evaluate: Callable[[c.SoftmaxRows], float]
    ) -> Tensor:
        inputs = [None if v is None else v.resolve_neg().contiguous() for v in (x, w, b)]
        grads = [empty_like(v) if wanted and v is not None else None for v, wanted in zip(inputs, ctx.needs_input_grad)]
        by_x, by_w, by_b = map(_data, grads)
        shape = (len(x), x.shape[1], len(w))
        p = c.SoftmaxRows(*map(_data, inputs), *shape, targets.data_ptr(), None, None, by_w, by_b, by_x, None)
        ctx.save_for_backward(*grads)
        return x.new_tensor(evaluate(p))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = upstream
        one = g.item() == 1
        x, w, b = (grad if grad is None or one else grad * g for grad in ctx.saved_tensors)
        return x, w, b, None, None


def softmax_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    *,
    alpha: Tensor | None = None,
    gamma: float = 2,
    ignore_index: int = -100,
    reduction: str = "none",
    probabilities: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The focal loss of the softmax of logits and their classes, whose weights are alpha, as cross_entropy here.

    torch has none: arguments and defaults are those of torchvision's sigmoid_focal_loss, but for alpha. The mean is
    over the rows that are not ignored. Targets may be probabilities too, over which the loss is summed, and labels be
    smoothed: Keras' CategoricalFocalCrossentropy from logits, which clips what is near to 0 and 1, as this does not.
    With probabilities the inputs are these and it is Keras', which divides them by their sum and clips them to
    [1e-7, 1-1e-7].
    """
    options = {
        "ignores": 1,
        "ignored": ignore_index,
        "gamma": gamma,
        "probabilities": probabilities,
        "smoothing": label_smoothing,
    }
    return _of_labels(_SOFTMAX_FOCAL, inputs, targets, alpha, None, None, reduction, options)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """torch.nn.functional.log_softmax of float32 rows along the last dimension, on as many threads as cross_entropy."""
    _check(input, "input", torch.float32)
    if input.dim() == 0 or dim not in (-1, input.dim() - 1):
        raise UnsupportedError(f"dim is {dim} of the shape {tuple(input.shape)}, want the last one")
    if input.numel() and input.shape[-1] > 1 << 20:
        raise c.ArgumentError(f"input has rows of {input.shape[-1]}, want at most {1 << 20}")
    y: Tensor = _LogSoftmax.apply(input)
    return y


class _LogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.resolve_neg().contiguous()
        y = empty_like(x)
        c.of_rows("log_softmax", x.data_ptr(), *_shape(x), y.data_ptr(), shared_pool())
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        grad = empty_like(y)
        grad.copy_(upstream[0])
        c.of_rows("log_softmax_grad", y.data_ptr(), *_shape(y), grad.data_ptr(), shared_pool())
        return grad


def _shape(x: Tensor) -> tuple[int, int]:
    """Rows and columns."""
    return (x.numel() // x.shape[-1], x.shape[-1]) if x.numel() else (0, 1)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """torch.nn.functional.cosine_embedding_loss of float32 rows or of two, with gradients of both.

    Targets that are neither 1 nor -1, which cost nothing in torch, raise ArgumentError.
    """
    if size_average is not None or reduce is not None:
        raise UnsupportedError("size_average and reduce are deprecated, want reduction")
    if reduction not in _REDUCTIONS:
        raise c.ArgumentError(f"reduction is {reduction!r}, want 'mean', 'sum' or 'none'")
    for name, tensor in (("input1", input1), ("input2", input2)):
        _check(tensor, name, torch.float32)
    if target.requires_grad:
        raise UnsupportedError("target requires a gradient, want one that does not")
    if input1.shape != input2.shape or input1.dim() not in (1, 2) or target.shape != input1.shape[:-1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (input1, input2, target))
        raise c.ArgumentError(f"the shapes are {shapes}, want those of rows twice and of a number for each")
    labels = target.to(device="cpu", dtype=torch.float32).reshape(-1).contiguous()
    rows = (len(labels), input1.shape[-1])
    loss: Tensor = _Pairs.apply(input1.reshape(rows), input2.reshape(rows), labels, margin, reduction)
    return loss.reshape(target.shape) if reduction == "none" else loss


class _Pairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, labels: Tensor, margin: float, reduction: str) -> Tensor:
        x, y = x.resolve_neg().contiguous(), y.resolve_neg().contiguous()
        grads = [torch.empty_like(x) if wanted else None for wanted in ctx.needs_input_grad[:2]]
        each = x.new_empty(len(x)) if reduction == "none" else None
        number = _REDUCTIONS.index(reduction)
        b = c.Pairs(
            x.data_ptr(), y.data_ptr(), *x.shape, labels.data_ptr(), None, number, *map(_data, grads), _data(each)
        )
        value = c.cosine_embedding(b, margin, 1e-12, 1, shared_pool())
        ctx.save_for_backward(*grads)
        return x.new_tensor(value) if each is None else each

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = upstream
        x, y = (None if grad is None else grad * (g.unsqueeze(1) if g.dim() else g) for grad in ctx.saved_tensors)
        return x, y, None, None, None


def _of_labels(
    model: int,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    options: dict[str, Any],
) -> Tensor:
    soft = target.is_floating_point()
    if soft and model != _SOFTMAX_FOCAL:
        raise UnsupportedError(f"target is {target.dtype}, want {torch.int64}")
    rows, targets, outer = _rows(input, target, weight, size_average, reduce, reduction)
    weights = None if weight is None else weight.contiguous()

    def evaluate(b: c.LossRows) -> float:
        number = _REDUCTIONS.index(reduction)
        o = c.RowLossOptions(model=model, reduction=number, class_weights=_data(weights), **options)
        if soft:
            b.labels, b.targets = None, b.labels
        return c.loss_of_rows(o, b, 1, shared_pool())

    return _apply(rows, targets, evaluate, reduction, outer)


def _rows(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Checks arguments, and makes rows of classes and of targets; the shape is that of the losses."""
    if size_average is not None or reduce is not None:
        raise UnsupportedError("size_average and reduce are deprecated, want reduction")
    if reduction not in _REDUCTIONS:
        raise c.ArgumentError(f"reduction is {reduction!r}, want 'mean', 'sum' or 'none'")
    _check(input, "input", torch.float32)
    soft = target.is_floating_point()
    _check(target, "target", torch.float32 if soft else torch.int64)
    if weight is not None:
        _check(weight, "weight", torch.float32)
    for name, tensor in (("target", target), ("weight", weight)):
        if tensor is not None and tensor.requires_grad:
            raise UnsupportedError(f"{name} requires a gradient, want one that does not")
    if input.dim() == 0:
        raise c.ArgumentError("input has no dimension, want classes")
    axis = 0 if input.dim() == 1 else 1
    classes = input.shape[axis]
    outer = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape != (input.shape if soft else outer):
        raise c.ArgumentError(
            f"target has the shape {tuple(target.shape)}, want {tuple(input.shape if soft else outer)}"
        )
    if weight is not None and weight.shape != (classes,):
        raise c.ArgumentError(f"weight has the shape {tuple(weight.shape)}, want {(classes,)}")
    rows = input.movedim(axis, -1).reshape(-1, classes)
    targets = (target.movedim(axis, -1).reshape(-1, classes) if soft else target.reshape(-1)).contiguous()
    return rows, targets, outer


Evaluate = Callable[[c.LossRows], float]


def _apply(rows: Tensor, targets: Tensor, evaluate: Evaluate, reduction: str, outer: tuple[int, ...]) -> Tensor:
    loss: Tensor = _RowLoss.apply(rows, targets, evaluate, reduction == "none")
    return loss.reshape(outer) if reduction == "none" else loss


def _check(tensor: Tensor, name: str, dtype: torch.dtype) -> None:
    why = refusal(tensor, dtype) if tensor.dtype is dtype else f"is {tensor.dtype}, want {dtype}"
    if why:
        raise UnsupportedError(f"{name} {why}")


def _evaluate(x: Tensor, targets: Tensor, evaluate: Evaluate, apart: bool, grad: Tensor | None) -> Tensor:
    """The value, or apart the losses of the rows; the gradient of it or their sum goes to grad."""
    each = x.new_empty(len(x)) if apart else None
    b = c.LossRows(x.data_ptr(), *x.shape, targets.data_ptr(), None, None, _data(grad), _data(each))
    value = evaluate(b)
    return x.new_tensor(value) if each is None else each


def _data(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _RowLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, targets: Tensor, evaluate: Evaluate, apart: bool) -> Tensor:
        x = x.resolve_neg().contiguous()
        ctx.options, ctx.grad = (evaluate, apart), None
        if ctx.needs_input_grad[0]:
            ctx.grad = empty_like(x)
            ctx.save_for_backward(x, targets)
        return _evaluate(x, targets, evaluate, apart, ctx.grad)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (g,) = upstream
        x, targets = ctx.saved_tensors
        evaluate, apart = ctx.options
        grad, ctx.grad = ctx.grad, None  # it goes to the caller, who may write over it
        if grad is None:
            grad = empty_like(x)
            _evaluate(x, targets, evaluate, apart, grad)
        if apart:
            return grad.mul_(g.unsqueeze(1)), None, None, None
        return (grad if g.item() == 1 else grad.mul_(g)), None, None, None
