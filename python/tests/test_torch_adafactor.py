"""Adafactor beside torch's class: PyTorch's own inputs, errors and schedules, state both ways, and what is refused.

torch divides by 0 where a tensor is empty, so that it is not among the optimizers that torch_runs compares.
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
from torch.nn import Parameter
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
INFO = next(info for info in DB if info.optim_cls is torch.optim.Adafactor)
INPUTS = _get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float32, INFO, skip=("differentiable",))
SHAPES: list[tuple[int, ...]] = [(10, 5), (10,), (), (1,), (300,), (40, 1), (1, 40), (130, 700)]


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    tensors.append(torch.randn(6, 8, generator=generator).to(dtype)[:, :5])  # with gaps
    return [Parameter(t) for t in tensors]


def trained(cls: Any, kwargs: dict[str, Any], dtype: torch.dtype = torch.float32, makers: Any = ()) -> Any:
    optimizer = cls(parameters(dtype), **copy.deepcopy(kwargs))
    schedulers = [make(optimizer) for make in makers]

    def after(_: Any, k: int, value: torch.Tensor) -> None:
        for s in schedulers:
            s.step(value) if isinstance(s, ReduceLROnPlateau) else s.step()

    return runs.run(optimizer, range(30), after)


def assert_as_close(kwargs: dict[str, Any], makers: Any = ()) -> None:
    torchs = torch.optim.Adafactor
    ways = [(lt.Adafactor, torch.float32), (torchs, torch.float32), (torchs, torch.float64)]
    runs.assert_as_close(*(trained(cls, kwargs, dtype, makers) for cls, dtype in ways))


@pytest.mark.parametrize("given", INPUTS, ids=lambda given: given.desc.replace(" ", "-"))
def test_inputs(given: Any) -> None:
    assert_as_close(given.kwargs)


OTHERS: list[dict[str, Any]] = [
    {"lr": 1.0},
    {"eps": (1e-3, 0.5), "d": 1.5, "weight_decay": 0.1, "beta2_decay": -0.6},
]


@pytest.mark.parametrize("kwargs", OTHERS)
def test_options(kwargs: dict[str, Any]) -> None:
    assert_as_close(kwargs)


def test_schedules() -> None:
    for makers in INFO.scheduler_inputs:
        assert_as_close({"lr": 0.5}, makers)


def test_errors() -> None:
    found = INFO.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    assert len(found) >= 5
    for e in found:
        given = e.optimizer_error_input
        params = [Parameter(torch.randn(2, 3)), Parameter(torch.randn(2, 3))] if given.params is None else given.params
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(e.error_type, match=e.error_regex):
                lt.Adafactor(params, **given.kwargs)


def test_state_is_torchs() -> None:
    ours, torchs = lt.Adafactor(parameters()), torch.optim.Adafactor(parameters())
    runs.run(ours, range(3))
    runs.run(torchs, range(3))
    mine, theirs = ours.state_dict(), torchs.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for k, state in theirs["state"].items():
        kept = {name: value for name, value in state.items() if value is not None}
        assert mine["state"][k].keys() == kept.keys()
        for name, value in kept.items():
            assert mine["state"][k][name].shape == value.shape, name
            torch.testing.assert_close(mine["state"][k][name], value, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("to_ours", [True, False])
def test_state_goes_over(to_ours: bool) -> None:
    first, second = (torch.optim.Adafactor, lt.Adafactor) if to_ours else (lt.Adafactor, torch.optim.Adafactor)
    kwargs: dict[str, Any] = {"lr": 0.1}
    begun = first(parameters(), **kwargs)
    runs.run(begun, range(5))
    moved = second([Parameter(p.detach().clone()) for p in runs.params_of(begun)], **kwargs)
    moved.load_state_dict(copy.deepcopy(begun.state_dict()))
    on, over = runs.run(begun, range(5, 15)), runs.run(moved, range(5, 15))
    assert runs.error(over, on) < 100


def test_checkpoint_goes_to_numpy(tmp_path: Path) -> None:
    path, optimizer = tmp_path / "state", lt.Adafactor(parameters()[:3], lr=0.1)
    runs.run(optimizer, range(4))
    lockstep.checkpoint.save(path, optimizer)
    arrays = [p.detach().numpy().copy() for p in runs.params_of(optimizer)]
    other = ln.Optimizer(arrays, preset("torch", "Adafactor", lr=0.1))
    lockstep.checkpoint.load(path, other)
    assert [other.steps(name) for name in "012"] == [4, 4, 4]
    np.testing.assert_array_equal(other.state("0")["row_var"], optimizer.state_dict()["state"][0]["row_var"].squeeze(1))
    lockstep.checkpoint.save(path, other)
    again = lt.Adafactor([Parameter(torch.from_numpy(a)) for a in arrays], lr=0.1)
    lockstep.checkpoint.load(path, again)
    one, two = runs.run(optimizer, range(4, 9)), runs.run(again, range(4, 9))
    assert all(torch.equal(a, b) for a, b in zip(one[-1], two[-1]))


def test_what_is_refused_goes_to_torch() -> None:
    batch, column_major = Parameter(torch.randn(3, 4, 5)), Parameter(torch.randn(4, 6).t())
    with pytest.raises(lt.UnsupportedError, match="has 3 dimensions, want at most 2"):
        lt.Adafactor([batch])
    with pytest.raises(lt.UnsupportedError, match="want a row-major matrix"):
        lt.Adafactor([column_major])
    params = [batch, column_major, *parameters()[:2]]
    torchs = [Parameter(p.detach().clone()) for p in params]
    ours = lt.Adafactor(params, lr=0.1, fallback=True)
    mine, theirs = runs.run(ours, range(5)), runs.run(torch.optim.Adafactor(torchs, lr=0.1), range(5))
    assert torch.equal(mine[-1][0], theirs[-1][0])
    assert torch.equal(mine[-1][1], theirs[-1][1])
    assert runs.error(mine, theirs) < 100
