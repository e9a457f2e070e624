"""Runs of optimizers that tests compare: torch's class and ours, on the same parameters and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

import lockstep.torch as lt

Step = Callable[[Optimizer, int, Tensor], None]

PAIRS: list[tuple[type[Optimizer], type[lt.LockstepOptimizer]]] = [
    (torch.optim.AdamW, lt.AdamW),
    (torch.optim.Adam, lt.Adam),
    (torch.optim.SGD, lt.SGD),
    (torch.optim.Adagrad, lt.Adagrad),
    (torch.optim.RMSprop, lt.RMSprop),
    (torch.optim.Rprop, lt.Rprop),
    (torch.optim.Adadelta, lt.Adadelta),
    (torch.optim.Adamax, lt.Adamax),
    (torch.optim.RAdam, lt.RAdam),
    (torch.optim.NAdam, lt.NAdam),
    (torch.optim.ASGD, lt.ASGD),
]

# One or two of each optimizer that differ in their state.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("AdamW", {"weight_decay": 0.1}),
    ("AdamW", {"amsgrad": True, "maximize": True}),
    ("Adam", {"weight_decay": 0.1, "eps": 0.1}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.5}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 0.1}),
    ("RMSprop", {"weight_decay": 0.1, "eps": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Rprop", {"lr": 0.03, "etas": (0.6, 1.3), "step_sizes": (1e-3, 0.2)}),
    ("Adadelta", {"weight_decay": 0.1, "eps": 1e-3}),
    ("Adamax", {"lr": 0.02, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("NAdam", {"lr": 0.02, "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "t0": 4, "weight_decay": 0.1}),
]

# One of each optimizer that torch does not have, for parameters of any shapes.
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("Lion", {}),
    ("LAMB", {}),
    ("AdaBelief", {}),
    ("LARS", {"lr": 1.0, "weight_decay": 0.1, "nesterov": True}),
    ("NovoGrad", {"weight_decay": 0.1, "grad_averaging": True}),
    ("StableAdamW", {}),
    ("CautiousAdamW", {"weight_decay": 0.1, "cautious_decay": True}),
    ("CautiousLion", {"weight_decay": 0.1}),
    ("ADOPT", {"weight_decay": 0.1, "decouple": True}),
    ("AdEMAMix", {"alpha_warmup": 10, "beta3_warmup": 10, "weight_decay": 0.1}),
    ("SimplifiedAdEMAMix", {"alpha": 0.5, "weight_decay": 0.1}),
    ("Adan", {"weight_decay": 0.1}),
    ("LaProp", {"weight_decay": 0.1}),
    ("SOAP", {"precondition_frequency": 2}),
    ("Yogi", {"weight_decay": 0.1}),
    ("SignSGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("AddSign", {"sign_decay_steps": 20}),
    ("PowerSign", {"weight_decay": 0.1}),
    ("FTRL", {"l1": 0.01, "l2": 0.1, "lr": 0.1}),
    ("AdagradDA", {"l1": 0.01, "lr": 0.1}),
    ("MADGRAD", {"weight_decay": 0.1}),
    ("Prodigy", {"weight_decay": 0.1, "d0": 1e-3}),
    ("DAdaptAdam", {"weight_decay": 0.1, "d0": 1e-3}),
    ("SophiaG", {"bs": 7}),
]

# One of each optimizer with state of 8 bits.
EIGHT_BITS: list[tuple[str, dict[str, Any]]] = [
    ("Adam8bit", {"weight_decay": 0.1}),
    ("AdamW8bit", {"weight_decay": 0.1, "amsgrad": True}),
    ("SGD8bit", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("RMSprop8bit", {"momentum": 0.9}),
    ("Adagrad8bit", {"initial_accumulator_value": 0.1}),
    ("Lion8bit", {"weight_decay": 0.1}),
]


def names(cases: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """What pytest calls cases."""
    return [" ".join([name, *(f"{k}={v}" for k, v in kwargs.items())]) for name, kwargs in cases]


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    """Parameters of several shapes: a scalar, an empty one and one in another order of memory among them."""
    generator = torch.Generator().manual_seed(1)
    shapes: list[tuple[int, ...]] = [(10, 5), (10,), (), (1,), (0,), (300,), (4, 3, 2, 2)]
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[-1] = tensors[-1].to(memory_format=torch.channels_last)
    return [Parameter(t.to(dtype)) for t in tensors]


def loss(params: Sequence[Tensor], k: int) -> Tensor:
    """A loss of step k: a bowl, and noise that is the same for all who ask."""
    generator = torch.Generator().manual_seed(1000 + k)
    parts = [((p - 1) ** 2).sum() / 2 + (p * torch.randn(p.shape, generator=generator)).sum() for p in params]
    total: Tensor = torch.stack(parts).sum()
    return total


def params_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def run(optimizer: Optimizer, steps: range, after: Step | None = None) -> list[list[Tensor]]:
    """Takes steps with new gradients each, and returns the parameters after every one."""
    way = []
    for k in steps:
        optimizer.zero_grad()
        value = loss(params_of(optimizer), k)
        torch.autograd.backward(value)
        optimizer.step()
        if after:
            after(optimizer, k, value.detach())
        way.append([p.detach().clone() for p in params_of(optimizer)])
    return way


def error(way: Sequence[Sequence[Tensor]], exact: Sequence[Sequence[Tensor]]) -> float:
    """The largest distance of any parameter, in units of 2⁻²⁴ of the largest that its tensor has been."""
    worst = 0.0
    for tensors in zip(zip(*way), zip(*exact)):
        x, y = (torch.stack(t).double() for t in tensors)
        if x.numel():
            worst = max(worst, float((x - y).abs().max() / y.abs().max()) * 2**24)
    return worst


def assert_as_close(ours: Sequence[Sequence[Tensor]], torchs: Any, exact: Any) -> None:
    """Our way is no farther from float64's than torch's is, but for a few roundings."""
    mine, theirs = error(ours, exact), error(torchs, exact)
    assert mine <= 2 * theirs + 8, f"{mine:.1f} units from float64's way, torch's class {theirs:.1f}"
    assert mine < 1e5


def trained(
    cls: Callable[..., Optimizer],
    kwargs: dict[str, Any],
    steps: int,
    dtype: torch.dtype = torch.float32,
    after: Any = None,
) -> Any:
    """The way of a new optimizer. after makes what is done after every step."""
    optimizer = cls(parameters(dtype), **deepcopy(kwargs))
    return run(optimizer, range(steps), after and after(optimizer))
