"""A model, its data and its optimizers for tests, with sizes that no number of ranks divides."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lockstep.torch import LAMB, SGD, AdaBelief, Adagrad, Adam, AdamW, Lion, RMSprop

FEATURES, CLASSES = 13, 5

# Rules that look at one element at a time, so that it does not matter how tensors are sharded.
BY_ELEMENT: list[tuple[Any, dict[str, Any]]] = [
    (AdamW, {"lr": 1e-2}),
    (AdamW, {"lr": 1e-2, "cautious_decay": True}),
    (Adam, {"lr": 1e-2, "amsgrad": True}),
    (AdaBelief, {"lr": 1e-2}),
    (Adagrad, {"lr": 1e-2}),
    (Lion, {"lr": 1e-3}),
    (RMSprop, {"lr": 1e-3, "centered": True, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1}),
]
BY_TENSOR: list[tuple[Any, dict[str, Any]]] = [(LAMB, {"lr": 1e-2}), (AdamW, {"lr": 1e-2, "cautious_update": True})]


def build() -> nn.Sequential:
    """The same model in every process."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(FEATURES, 37), nn.Tanh(), nn.Linear(37, 37), nn.Tanh(), nn.Linear(37, CLASSES))


def batch(step: int, rank: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """What a rank trains on in a step."""
    generator = torch.Generator().manual_seed(1000 * step + rank)
    inputs = torch.randn(8, FEATURES, generator=generator)
    return inputs, inputs[:, :CLASSES].argmax(1)


def backward(model: nn.Module, step: int, rank: int) -> None:
    """Leaves new gradients in a model's parameters."""
    inputs, labels = batch(step, rank)
    model.zero_grad()
    functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]


def gradient(step: int, name: str, like: torch.Tensor) -> torch.Tensor:
    """A gradient without a model: a function of the step and the name alone."""
    generator = torch.Generator().manual_seed(step * 7919 + sum(name.encode()))
    return torch.randn(like.shape, generator=generator)


def groups(model: nn.Module) -> list[dict[str, object]]:
    """Biases without decay, as everybody has them."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
