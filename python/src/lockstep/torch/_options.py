"""What the optimizers' arguments are, and the options that many rules have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Union

from torch import Tensor

from .._library import ArgumentError

Params = Union[Iterable[Tensor], Iterable[dict[str, Any]], Iterable[tuple[str, Tensor]]]
Number = Union[float, Tensor]
Betas = tuple[Number, Number]
Names = Mapping[str, str]

CAUTIONS: tuple[str, ...] = ("cautious_update", "cautious_decay")


def common(group: Mapping[str, Any], decay: str = "weight_decay") -> dict[str, Any]:
    """The options that all rules have, where weight_decay has another name in some, and caution of classes that can."""
    cautions = {name: group[name] for name in CAUTIONS if name in group}
    if cautions.get("cautious_decay") and decay == "l2":
        raise ArgumentError("cautious_decay is True, want False: weight_decay is L2's here, a part of the gradient")
    return {"lr": group["lr"], "maximize": group["maximize"], decay: group["weight_decay"], **cautions}


def is_cautious(group: Mapping[str, Any]) -> bool:
    """Whether steps of a group are cautious in any way."""
    return any(group.get(name) for name in CAUTIONS)


def means(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of rules with two running means."""
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2}


def row_major_refusal(param: Tensor) -> str | None:
    """Why a matrix cannot be stepped that lies column after column."""
    if param.dim() == 2 and param.stride(1) != 1 and min(param.shape) > 1:
        return f"has strides {param.stride()}, want a row-major matrix"
    return None
