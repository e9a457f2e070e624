"""Muon beside torch's class: PyTorch's own inputs, errors and schedules, state both ways, and what is refused.

torch rounds to bfloat16 in each product, and we do not: BFLOAT16 says how far it goes.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="PyTorch's tests need expecttest, which is not installed")

import numpy as np
import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter
from torch.optim import _muon
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.testing._internal.common_optimizers import (
    _get_optim_inputs_including_global_cliquey_kwargs,
    optim_db,
)

import lockstep.checkpoint
import lockstep.numpy as ln
import lockstep.torch as lt
from lockstep import preset

DB: Any = optim_db
INFO = next(info for info in DB if info.optim_cls is torch.optim.Muon)
INPUTS = _get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float32, INFO, skip=("differentiable",))
SHAPES = [(10, 5), (5, 10), (1, 40), (40, 1), (1, 1), (30, 30), (130, 70)]
STEPS = range(30)

# The largest distances from the way of float64 in 30 steps, in lengths of a step's element, lr·ρ. A number of 8 bits
# is off by up to 2⁻⁹ of itself, and an iteration enlarges what is off up to 3.4445 times: five of them 500 times, to
# about 1 in the worst case of a step. Errors that do not know of each other come to 0.16 in all; ours, of 24 bits,
# are smaller than what parameters are rounded by.
BFLOAT16, FLOAT32 = 0.3, 1e-3


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    tensors.append(torch.randn(6, 8, generator=generator).to(dtype)[:, :5])  # with gaps
    return [Parameter(t) for t in tensors]


class Exact(torch.optim.Muon):
    """torch's class without bfloat16."""

    def step(self, closure: Any = None) -> Any:
        rounded = torch.bfloat16
        try:
            torch.bfloat16 = torch.float64
            return super().step(closure)  # type: ignore[no-untyped-call]
        finally:
            torch.bfloat16 = rounded


def trained(cls: Any, kwargs: dict[str, Any], dtype: torch.dtype = torch.float32, makers: Any = ()) -> Any:
    optimizer = cls(parameters(dtype), **copy.deepcopy(kwargs))
    schedulers = [make(optimizer) for make in makers]

    def after(_: Any, k: int, value: Tensor) -> None:
        for s in schedulers:
            s.step(value) if isinstance(s, ReduceLROnPlateau) else s.step()

    return runs.run(optimizer, STEPS, after)


def distance(way: Any, exact: Any, kwargs: dict[str, Any]) -> float:
    """The largest of a parameter, in lengths of a step's element."""
    worst, lr = 0.0, float(kwargs.get("lr", 1e-3))
    for x, y in zip(zip(*way), zip(*exact)):
        length = _muon._adjust_lr(lr, kwargs.get("adjust_lr_fn"), x[0].shape)
        far = float((torch.stack(x).double() - torch.stack(y)).abs().max())
        rounding = 2.0**-24 * len(x) * float(torch.stack(y).abs().max())
        worst = max(worst, max(0.0, far - rounding) / length)
    return worst


def assert_as_close(kwargs: dict[str, Any], makers: Any = ()) -> None:
    exact = trained(Exact, kwargs, torch.float64, makers)
    ours, torchs = trained(lt.Muon, kwargs, makers=makers), trained(torch.optim.Muon, kwargs, makers=makers)
    assert distance(ours, exact, kwargs) < FLOAT32
    assert FLOAT32 < distance(torchs, exact, kwargs) < BFLOAT16


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: given.desc.replace(" ", "-"))
def test_inputs(given: Any) -> None:
    assert_as_close(given.kwargs)


OTHERS: list[dict[str, Any]] = [{"nesterov": False}, {"eps": 1e3}, {"adjust_lr_fn": "original", "ns_steps": 2}]


@pytest.mark.parametrize("kwargs", OTHERS)
def test_options(kwargs: dict[str, Any]) -> None:
    assert_as_close(kwargs)


def test_schedules() -> None:
    for makers in INFO.scheduler_inputs:
        assert_as_close({"lr": 0.02}, makers)


def test_errors() -> None:
    found = INFO.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    assert len(found) >= 10
    for e in found:
        given = e.optimizer_error_input
        params = [Parameter(torch.randn(2, 3)), Parameter(torch.randn(2, 3))] if given.params is None else given.params
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(e.error_type, match=e.error_regex):
                lt.Muon(params, **given.kwargs)


def test_state_is_torchs() -> None:
    ours, torchs = lt.Muon(parameters()), torch.optim.Muon(parameters())
    runs.run(ours, range(3))
    runs.run(torchs, range(3))
    mine, theirs = ours.state_dict(), torchs.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for k, state in theirs["state"].items():
        assert mine["state"][k].keys() == {"step", *state}
        torch.testing.assert_close(mine["state"][k]["momentum_buffer"], state["momentum_buffer"], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("to_ours", [True, False])
def test_state_goes_over(to_ours: bool) -> None:
    first, second = (torch.optim.Muon, lt.Muon) if to_ours else (lt.Muon, torch.optim.Muon)
    kwargs: dict[str, Any] = {"lr": 0.1}
    begun = first(parameters(), **kwargs)
    runs.run(begun, range(5))
    moved = second([Parameter(p.detach().clone()) for p in runs.params_of(begun)], **kwargs)
    moved.load_state_dict(copy.deepcopy(begun.state_dict()))
    on, over = runs.run(begun, range(5, 15)), runs.run(moved, range(5, 15))
    assert distance(over, [[p.double() for p in params] for params in on], kwargs) < BFLOAT16


def test_checkpoint_goes_to_numpy(tmp_path: Path) -> None:
    path, optimizer = tmp_path / "state", lt.Muon(parameters()[:3], lr=0.1)
    runs.run(optimizer, range(4))
    lockstep.checkpoint.save(path, optimizer)
    arrays = [p.detach().numpy().copy() for p in runs.params_of(optimizer)]
    other = ln.Optimizer(arrays, preset("torch", "Muon", lr=0.1))
    lockstep.checkpoint.load(path, other)
    assert [other.steps(name) for name in "012"] == [4, 4, 4]
    np.testing.assert_array_equal(other.state("0")["momentum"], optimizer.state_dict()["state"][0]["momentum_buffer"])
    lockstep.checkpoint.save(path, other)
    again = lt.Muon([Parameter(torch.from_numpy(a)) for a in arrays], lr=0.1)
    lockstep.checkpoint.load(path, again)
    one, two = runs.run(optimizer, range(4, 9)), runs.run(again, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(one[-1], two[-1]))


def test_what_is_refused_goes_to_torch() -> None:
    column_major = Parameter(torch.randn(4, 6).t())
    with pytest.raises(lt.UnsupportedError, match="want a row-major matrix"):
        lt.Muon([column_major])
    with pytest.raises(lockstep.ArgumentError, match="momentum is 1.5, want"):
        lt.Muon(parameters(), momentum=1.5)
    with pytest.raises(lockstep.ArgumentError, match="iterations is 0, want from 1 to 99"):
        lt.Muon(parameters(), ns_steps=0)
    optimizer = lt.Muon(parameters())
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        optimizer.add_param_group({"params": [Parameter(torch.randn(3))]})
    assert len(optimizer.param_groups) == 1
    params = [column_major, *parameters()[:2]]
    torchs = [Parameter(p.detach().clone()) for p in params]
    ours = lt.Muon(params, lr=0.1, fallback=True)
    mine, theirs = runs.run(ours, range(5)), runs.run(torch.optim.Muon(torchs, lr=0.1), range(5))
    assert torch.equal(mine[-1][0], theirs[-1][0])
    assert distance(mine, [[p.double() for p in params] for params in theirs], {"lr": 0.1}) < BFLOAT16


# NorMuon, beside its authors' program.


class Authors(torch.optim.Optimizer):
    """NorMuon of the authors' program, in the precision of its parameters where that rounds to bfloat16."""

    def __init__(self, params: Any, lr: float = 0.02, weight_decay: float = 0.0, beta2: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95, "beta2": beta2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                    state["second_momentum_buffer"] = torch.zeros_like(p[:, :1])
                mean, squares = state["momentum_buffer"], state["second_momentum_buffer"]
                mean.lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(mean, group["momentum"])
                x = x / (x.norm() + 1e-7)
                for _ in range(5):
                    s = x @ x.T
                    x = 3.4445 * x + (-4.775 * s + 2.0315 * s @ s) @ x
                squares.lerp_(x.square().mean(1, keepdim=True), 1 - group["beta2"])
                y = x / (squares.sqrt() + 1e-10)
                y *= x.norm() / (y.norm() + 1e-10) * max(1, p.shape[0] / p.shape[1]) ** 0.5
                p.sub_(group["lr"] * (y + group["weight_decay"] * p))


NORMUON: list[dict[str, Any]] = [{}, {"lr": 0.1, "weight_decay": 0.1}, {"lr": 0.1, "beta2": 0.5}]


@pytest.mark.parametrize("kwargs", NORMUON)
def test_normuon(kwargs: dict[str, Any]) -> None:
    exact = trained(Authors, kwargs, torch.float64)
    kwargs = {"lr": 0.02, **kwargs}
    assert distance(trained(lt.NorMuon, kwargs), exact, kwargs) < FLOAT32
    assert distance(trained(Authors, kwargs), exact, kwargs) < FLOAT32
    assert distance(trained(lt.NorMuon, {**kwargs, "beta2": 0.9}), exact, kwargs) > FLOAT32


def test_normuon_of_the_paper() -> None:
    """Steps have the root mean square that is asked for, whatever the shape."""
    params = parameters()
    before = [p.detach().clone() for p in params]
    runs.run(lt.NorMuon(params, lr=0.5, rms=0.2, weight_decay=0.1), range(1))
    for p, q in zip(params, before):
        taken = (q * (1 - 0.5 * 0.1) - p.detach()).double()
        assert abs(float(taken.square().mean().sqrt()) - 0.1) < 1e-5


@pytest.mark.parametrize("to_ours", [True, False])
def test_normuons_state_goes_over(to_ours: bool) -> None:
    first, second = (Authors, lt.NorMuon) if to_ours else (lt.NorMuon, Authors)
    begun = first(parameters(), lr=0.1)
    runs.run(begun, range(5))
    saved = copy.deepcopy(begun.state_dict())
    assert {"momentum_buffer", "second_momentum_buffer"} <= saved["state"][0].keys()
    assert saved["state"][0]["second_momentum_buffer"].shape == (10, 1)
    moved = second([Parameter(p.detach().clone()) for p in runs.params_of(begun)])
    moved.load_state_dict(
        saved
        if to_ours
        else {
            **saved,
            "param_groups": [
                {
                    k: v
                    for k, v in saved["param_groups"][0].items()
                    if k in ("lr", "weight_decay", "momentum", "beta2", "params")
                }
            ],
        }
    )
    on, over = runs.run(begun, range(5, 15)), runs.run(moved, range(5, 15))
    assert distance(over, [[p.double() for p in params] for params in on], {"lr": 0.1}) < 2 * FLOAT32


def test_normuons_checkpoint_goes_to_numpy(tmp_path: Path) -> None:
    path, optimizer = tmp_path / "state", lt.NorMuon(parameters()[:3], lr=0.1)
    runs.run(optimizer, range(4))
    lockstep.checkpoint.save(path, optimizer)
    arrays = [p.detach().numpy().copy() for p in runs.params_of(optimizer)]
    other = ln.Optimizer(arrays, preset("textbook", "NorMuon", lr=0.1))
    lockstep.checkpoint.load(path, other)
    squares = optimizer.state_dict()["state"][0]["second_momentum_buffer"]
    np.testing.assert_array_equal(other.state("0")["row_var"], squares.numpy().ravel())
    lockstep.checkpoint.save(path, other)
    again = lt.NorMuon([Parameter(torch.from_numpy(a)) for a in arrays], lr=0.1)
    lockstep.checkpoint.load(path, again)
    one, two = runs.run(optimizer, range(4, 9)), runs.run(again, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(one[-1], two[-1]))


def test_what_normuon_refuses() -> None:
    for made, message in [
        (torch.ones(3), "parameter 0 of group 0 has 1 dimensions, want a matrix"),
        (torch.ones(2, 3, 1), "parameter 0 of group 0 has 3 dimensions, want a matrix"),
        (torch.ones(3, 4).t(), "want a row-major matrix"),
    ]:
        with pytest.raises(lt.UnsupportedError, match=message):
            lt.NorMuon([Parameter(made)])
