"""Losses of rows: the gradient is computed with the value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import _library as c
from ._plan import shared_pool
from ._room import empty_like
from ._tensors import UnsupportedError, refusal

_REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """torch.nn.functional.cross_entropy of float32 logits in the CPU's memory, whose backward only multiplies.

    Its arguments and values are those of PyTorch. Value and gradient are computed in one pass over the logits, on as
    many threads as ``torch.get_num_threads()`` says, with bits that do not depend on it. A mean over no rows, or over
    ignored ones alone, is NaN as PyTorch's, but its gradient 0. There is no gradient of the targets or weights, nor
    a second derivative. Raises UnsupportedError for other tensors and lockstep.ArgumentError for a class that there
    is not.
    """
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
    options = (None if weight is None else weight.contiguous(), ignore_index, reduction, label_smoothing)
    loss: Tensor = _CrossEntropy.apply(rows, targets, options)
    return loss.reshape(outer) if reduction == "none" else loss


def _check(tensor: Tensor, name: str, dtype: torch.dtype) -> None:
    why = refusal(tensor, dtype) if tensor.dtype is dtype else f"is {tensor.dtype}, want {dtype}"
    if why:
        raise UnsupportedError(f"{name} {why}")


def _evaluate(x: Tensor, targets: Tensor, options: tuple[Any, ...], grad: Tensor | None) -> Tensor:
    """The value, or the losses of the rows; the gradient of it or their sum goes to grad."""
    weight, ignored, reduction, smoothing = options
    soft = targets.is_floating_point()
    each = x.new_empty(len(x)) if reduction == "none" else None
    o = c.CrossEntropyOptions(_REDUCTIONS.index(reduction), _data(weight), 1, ignored, smoothing, 0, 0)
    labels, probabilities = (None, targets.data_ptr()) if soft else (targets.data_ptr(), None)
    b = c.LossRows(x.data_ptr(), *x.shape, labels, probabilities, None, _data(grad), _data(each))
    value = c.cross_entropy(o, b, 1, shared_pool())
    return x.new_tensor(value) if each is None else each


def _data(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, targets: Tensor, options: tuple[Any, ...]) -> Tensor:
        x = x.resolve_neg().contiguous()
        ctx.options, ctx.grad = options, None
        if ctx.needs_input_grad[0]:
            ctx.grad = empty_like(x)
            ctx.save_for_backward(x, targets)
        return _evaluate(x, targets, options, ctx.grad)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (g,) = upstream
        x, targets = ctx.saved_tensors
        grad, ctx.grad = ctx.grad, None  # it goes to the caller, who may write over it
        if grad is None:
            grad = empty_like(x)
            _evaluate(x, targets, ctx.options, grad)
        if ctx.options[2] == "none":
            return grad.mul_(g.unsqueeze(1)), None, None
        return (grad if g.item() == 1 else grad.mul_(g)), None, None
