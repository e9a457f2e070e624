"""What PyTorch tests its optimizers with, where it concerns float32 on the CPU.

optim_db has inputs, errors and schedules of every optimizer. Left out are inputs with differentiable=True, which are
refused (test_differentiable); those with capturable=True are for accelerators, and SparseAdam's are in
test_torch_sparse. ASGD is left out of schedules, since torch's takes the rate of the step before.

Classes of 8 bits have those of the classes that they are named after, where they have the options: parameters are so
few here that their state is float32, and steps are as near to those of float64.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
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
from lockstep.torch._eight_bits import EightBits

OURS: dict[Any, Any] = {pair[0]: pair[1] for pair in runs.PAIRS}
INFOS = [info for info in optim_db if info.optim_cls in OURS]

OF_TORCH = {"foreach", "fused", "capturable", "differentiable"}  # which classes of 8 bits have not


def classes(cls: Any, kwargs: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Our classes that a case of torch's is one of, with its arguments."""
    yield OURS[cls], kwargs
    eight: Any = getattr(lt, f"{cls.__name__}8bit", None)
    own = {name: value for name, value in kwargs.items() if name not in OF_TORCH}
    if eight is None or not own.keys() <= inspect.signature(eight).parameters.keys():
        return
    if not own.get("centered") and (eight is not lt.SGD8bit or own.get("momentum")):  # which they refuse
        yield eight, {"lr": 1e-3, **own} if eight is lt.SGD8bit else own  # which has no default


def inputs(skip: tuple[str, ...] = ("differentiable",)) -> list[Any]:
    cases, seen = [], set()
    for info in INFOS:
        for given in _get_optim_inputs_including_global_cliquey_kwargs("cpu", torch.float32, info, skip=skip):
            for ours, kwargs in classes(info.optim_cls, given.kwargs):
                name = f"{ours.__name__} {given.desc}"
                if ours is not OURS[info.optim_cls] and (ours, str(kwargs)) in seen:
                    continue  # it differs in what changes nothing
                seen.add((ours, str(kwargs)))
                cases.append(pytest.param(info.optim_cls, given.kwargs, ours, kwargs, id=name.replace(" ", "-")))
    return cases


def errors() -> list[Any]:
    return [
        pytest.param(ours, kwargs, e, id=f"{ours.__name__}-{e.optimizer_error_input.desc}".replace(" ", "-"))
        for info in INFOS
        for e in info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
        for ours, kwargs in classes(info.optim_cls, e.optimizer_error_input.kwargs)
        if ours is OURS[info.optim_cls] or not OF_TORCH & e.optimizer_error_input.kwargs.keys()
    ]


def schedules() -> list[Any]:
    return [
        pytest.param(
            *(info.optim_cls, given.kwargs, ours, kwargs, makers),
            id=f"{ours.__name__}-{given.desc}-{k}".replace(" ", "-"),
        )
        for info in INFOS
        if info.name != "ASGD"
        for given in info.optim_inputs_func(device="cpu")
        for ours, kwargs in classes(info.optim_cls, given.kwargs)
        for k, makers in enumerate(info.scheduler_inputs)
    ]


def test_all_there() -> None:
    assert {info.name for info in INFOS} == {cls.__name__ for cls in OURS}
    cases = [[c.values[2] for c in inputs()], [c.values[0] for c in errors()], [c.values[2] for c in schedules()]]
    eight = [sum(issubclass(ours, EightBits) for ours in of) for of in cases]
    for of, n, least, least_of_eight in zip(cases, eight, (90, 100, 140), (25, 35, 75)):  # of PyTorch 2.15
        assert len(of) - n >= least
        assert n >= least_of_eight


def refusal(cls: Any, kwargs: dict[str, Any]) -> Exception | None:
    """What torch's class says to arguments."""
    try:
        runs.trained(cls, kwargs, 1)
    except (ValueError, RuntimeError) as e:
        return e
    return None


@pytest.mark.parametrize(("cls", "kwargs", "ours", "own"), inputs())
def test_inputs(cls: Any, kwargs: dict[str, Any], ours: Any, own: dict[str, Any]) -> None:
    torchs_refusal = refusal(cls, kwargs)
    if isinstance(torchs_refusal, ValueError):
        with pytest.raises(ValueError, match=str(torchs_refusal)):
            runs.trained(ours, own, 1)
        return
    assert torchs_refusal is None
    ways = [
        runs.trained(c, k, 40, d)
        for c, k, d in [(ours, own, torch.float32), (cls, kwargs, torch.float32), (cls, kwargs, torch.float64)]
    ]
    runs.assert_as_close(*ways)


@pytest.mark.parametrize(("ours", "own"), [c.values[2:] for c in inputs(()) if c.values[3].get("differentiable")])
def test_differentiable(ours: Any, own: dict[str, Any]) -> None:
    with pytest.raises(lt.UnsupportedError, match="differentiable is True, want False"):
        ours([Parameter(torch.ones(3))], **own)


@pytest.mark.parametrize(("cls", "kwargs", "error"), errors())
def test_errors(cls: Any, kwargs: dict[str, Any], error: Any) -> None:
    given = error.optimizer_error_input
    params = [Parameter(torch.randn(2, 3)), Parameter(torch.randn(2, 3))] if given.params is None else given.params
    assert error.error_on.name == "CONSTRUCTION_ERROR"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error.error_type, match=error.error_regex):
            cls(params, **kwargs)


@pytest.mark.parametrize(("cls", "kwargs", "ours", "own", "makers"), schedules())
def test_schedules(cls: Any, kwargs: dict[str, Any], ours: Any, own: dict[str, Any], makers: list[Any]) -> None:
    def after(optimizer: Any) -> runs.Step:
        schedulers = [make(optimizer) for make in makers]

        def step(_: Any, k: int, value: torch.Tensor) -> None:
            for s in schedulers:
                s.step(value) if isinstance(s, ReduceLROnPlateau) else s.step()

        return step

    ways = [
        runs.trained(c, k, 30, d, after)
        for c, k, d in [(ours, own, torch.float32), (cls, kwargs, torch.float32), (cls, kwargs, torch.float64)]
    ]
    runs.assert_as_close(*ways)
