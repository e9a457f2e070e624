"""Which tensors can be stepped over: in the memory of the CPU, float32 or 16 bits, each element once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .. import _library as c

HALVES = {torch.bfloat16: c.BF16, torch.float16: c.F16}
"""Types of 16 bits."""

MASTER = "master"
"""The state of a parameter of 16 bits that is the float32 one which is trained."""


REST = "rest"
"""The state of a parameter of bfloat16 that is what it lacks of the bits of the float32 one which is trained."""


class UnsupportedError(NotImplementedError):
    """A tensor or an option that this package does not have. Nothing was changed."""


def is_distributed(tensor: Tensor) -> bool:
    """Whether it is a DTensor, of which a part is on this process."""
    return hasattr(type(tensor), "to_local")


def is_sharded(tensor: Tensor) -> bool:
    """Whether other processes have other parts of it."""
    return is_distributed(tensor) and not all(p.is_replicate() for p in tensor.placements)  # type: ignore[attr-defined]


def local(tensor: Tensor) -> Tensor:
    """The part of a DTensor that is on this process; any other tensor itself."""
    if not is_distributed(tensor):
        return tensor
    with torch.no_grad():
        part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return part


def wrapped(part: Tensor, like: Tensor) -> Tensor:
    """A tensor that is to part as a parameter is to its local part."""
    if not is_distributed(like):
        return part
    options: dict[str, Any] = {"run_check": False, "shape": like.shape, "stride": like.stride()}
    whole: Tensor = type(like).from_local(part, like.device_mesh, like.placements, **options)  # type: ignore[attr-defined]
    return whole


def torch_shape(slot: str, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that torch gives to a slot, which here has one dimension if it is of rows, columns or pairs of them."""
    if slot == "row_var":
        return (*size, 1)
    if slot in ("left", "right", "left_basis", "right_basis"):
        return (math.isqrt(size[0]),) * 2
    return (1, *size) if slot == "col_var" else size


def element_of(tensor: Tensor) -> int:
    """The type of a tensor's elements, as the library has it."""
    return HALVES.get(tensor.dtype, c.FLOAT32)


def refusal(tensor: Tensor, dtype: torch.dtype = torch.float32) -> str | None:
    """Why the memory of a tensor cannot be read as float32 or another type, or None if it can."""
    if tensor.layout is not torch.strided:
        return f"is {tensor.layout}, want a dense tensor"
    if tensor.device.type != "cpu":
        return f"is on {tensor.device}, want the CPU"
    if tensor.dtype is not torch.float32 and tensor.dtype is not dtype:
        or_dtype = "" if dtype is torch.float32 else f" or {dtype}"
        return f"is {tensor.dtype}, want torch.float32{or_dtype}"
    if tensor.numel() and not tensor.data_ptr():
        return f"is a {type(tensor).__name__} without memory of its own"
    return None


def joined(half: Tensor, rest: Tensor) -> Tensor:
    """The float32 numbers of a parameter of bfloat16 and its rest, of the same order in memory."""
    return (half.view(torch.int16).to(torch.int32).bitwise_left_shift(16) + rest).view(torch.float32)


def param_refusal(param: Tensor, masters: bool) -> str | None:
    """Why a parameter cannot be stepped, or None if it can. Where it is a DTensor, its part is looked at."""
    part = local(param)
    half = part.dtype in HALVES
    why = refusal(part, part.dtype if half and masters else torch.float32)
    if why and half and not masters and part.device.type == "cpu" and part.layout is torch.strided:
        why += ", or master_weights=True, which trains a float32 copy of it"
    strides = zip(part.stride(), part.shape) if part.numel() else ()
    if why is None and any(stride == 0 and size > 1 for stride, size in strides):
        return "is expanded: several elements are one number"
    if why is None and (part.is_neg() or part.is_conj()):
        return "is a view with the opposite sign"
    return why


def grad_refusal(param: Tensor, grad: Tensor) -> str | None:
    """Why a parameter's gradient cannot be taken, or None if it can."""
    if is_distributed(param) != is_distributed(grad):
        return f"is a {type(grad).__name__}, want a {type(param).__name__}, as its parameter"
    if is_distributed(param) and (param.placements, param.device_mesh) != (grad.placements, grad.device_mesh):  # type: ignore[attr-defined]
        return f"has placements {grad.placements}, want those of its parameter, {param.placements}"  # type: ignore[attr-defined]
    if grad.shape != param.shape:
        return f"has shape {tuple(grad.shape)}, want that of its parameter, {tuple(param.shape)}"
    return refusal(local(grad), local(param).dtype)
