"""What PyTorch tests its optimizers with, where it concerns float32 on the CPU.

optim_db has inputs, errors and schedules of every optimizer. Left out are inputs with differentiable=True, which are
refused (test_differentiable); those with capturable=True are for accelerators, and SparseAdam's are in
test_torch_sparse. ASGD is left out of schedules, since torch's takes the rate of the step before.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="PyTorch's tests need expecttest, which is not installed")

import torch
import torch_runs as runs
from torch.nn import Parameter
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.testing._internal.common_optimizers import (
    _get_optim_inputs_including_global_cliquey_kwargs,
    optim_db,
)

import lockstep.torch as lt

OURS: dict[Any, Any] = {pair[0]: pair[1] for pair in runs.PAIRS}
INFOS = [info for info in optim_db if info.optim_cls in OURS]


def inputs(skip: tuple[str, ...] = ("differentiable",)) -> list[Any]:
    cases = []
    for info in INFOS:
        for given in _get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float32, info, skip=skip):
            name = f"{info.name} {given.desc}"
            cases.append(pytest.param(info.optim_cls, given.kwargs, id=name.replace(" ", "-")))
    return cases


def errors() -> list[Any]:
    return [
        pytest.param(info.optim_cls, e, id=f"{info.name}-{e.optimizer_error_input.desc}".replace(" ", "-"))
        for info in INFOS
        for e in info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    ]


def schedules() -> list[Any]:
    return [
        pytest.param(info.optim_cls, given.kwargs, makers, id=f"{info.name}-{given.desc}-{k}".replace(" ", "-"))
        for info in INFOS
        if info.name != "ASGD"
        for given in info.optim_inputs_func(device="cpu")
        for k, makers in enumerate(info.scheduler_inputs)
    ]


def test_all_there() -> None:
    assert {info.name for info in INFOS} == {cls.__name__ for cls in OURS}
    assert len(inputs()) >= 90  # of PyTorch 2.15
    assert len(errors()) >= 100
    assert len(schedules()) >= 140


def refusal(cls: Any, kwargs: dict[str, Any]) -> Exception | None:
    """What torch's class says to arguments."""
    try:
        runs.trained(cls, kwargs, 1)
    except (ValueError, RuntimeError) as e:
        return e
    return None


@pytest.mark.parametrize(("cls", "kwargs"), inputs())
def test_inputs(cls: Any, kwargs: dict[str, Any]) -> None:
    torchs_refusal = refusal(cls, kwargs)
    if isinstance(torchs_refusal, ValueError):
        with pytest.raises(ValueError, match=str(torchs_refusal)):
            runs.trained(OURS[cls], kwargs, 1)
        return
    assert torchs_refusal is None
    ways = [
        runs.trained(c, kwargs, 40, d)
        for c, d in [(OURS[cls], torch.float32), (cls, torch.float32), (cls, torch.float64)]
    ]
    runs.assert_as_close(*ways)


@pytest.mark.parametrize(("cls", "kwargs"), [c for c in inputs(()) if c.values[1].get("differentiable")])
def test_differentiable(cls: Any, kwargs: dict[str, Any]) -> None:
    with pytest.raises(lt.UnsupportedError, match="differentiable is True, want False"):
        OURS[cls]([Parameter(torch.ones(3))], **kwargs)


@pytest.mark.parametrize(("cls", "error"), errors())
def test_errors(cls: Any, error: Any) -> None:
    given = error.optimizer_error_input
    params = [Parameter(torch.randn(2, 3)), Parameter(torch.randn(2, 3))] if given.params is None else given.params
    assert error.error_on.name == "CONSTRUCTION_ERROR"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error.error_type, match=error.error_regex):
            OURS[cls](params, **given.kwargs)


@pytest.mark.parametrize(("cls", "kwargs", "makers"), schedules())
def test_schedules(cls: Any, kwargs: dict[str, Any], makers: list[Any]) -> None:
    def after(optimizer: Any) -> runs.Step:
        schedulers = [make(optimizer) for make in makers]

        def step(_: Any, k: int, value: torch.Tensor) -> None:
            for s in schedulers:
                s.step(value) if isinstance(s, ReduceLROnPlateau) else s.step()

        return step

    ways = [
        runs.trained(c, kwargs, 30, d, after)
        for c, d in [(OURS[cls], torch.float32), (cls, torch.float32), (cls, torch.float64)]
    ]
    runs.assert_as_close(*ways)
