"""ZeRO-1: torch.distributed.optim.ZeroRedundancyOptimizer over our classes."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import distributed  # noqa: E402
from torch.distributed.optim import ZeroRedundancyOptimizer  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from . import models  # noqa: E402
from .ranks import launch  # noqa: E402


@pytest.mark.parametrize("world", [2, 4])
def test_zero_takes_the_steps_of_the_whole(world: int) -> None:
    """Each rank has the state of some tensors: parameters and gathered state are those of one optimizer."""
    launch(world, _train)


def _train() -> None:
    for optimizer_class, options in models.BY_ELEMENT + models.BY_TENSOR:
        whole, parted = (DistributedDataParallel(models.build()) for _ in range(2))
        plain = optimizer_class(models.groups(whole), **options)
        zero = ZeroRedundancyOptimizer(models.groups(parted), optimizer_class=optimizer_class, **options)
        _steps(whole, plain, range(6))
        _steps(parted, zero, range(3))
        zero = _resumed(zero, parted, optimizer_class, options)
        _steps(parted, zero, range(3, 6))
        _same(dict(whole.named_parameters()), dict(parted.named_parameters()))
        _compare_state(plain, zero)


def _steps(model: Any, optimizer: Any, steps: range) -> None:
    for step in steps:
        models.backward(model, step, distributed.get_rank())
        optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        optimizer.step()


def _resumed(zero: Any, model: Any, optimizer_class: Any, options: dict[str, Any]) -> Any:
    """A new optimizer with the state of an old one, which rank 0 gathers and hands out."""
    zero.consolidate_state_dict(to=0)
    box: list[Any] = [zero.state_dict() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(box, src=0)
    new = ZeroRedundancyOptimizer(models.groups(model), optimizer_class=optimizer_class, **options)
    new.load_state_dict(box[0])
    return new


def _compare_state(plain: Any, zero: Any) -> None:
    zero.consolidate_state_dict(to=0)
    if distributed.get_rank() != 0:
        return
    want, got = plain.state_dict(), zero.state_dict()
    assert want["state"].keys() == got["state"].keys()
    for key in want["state"]:
        _same(want["state"][key], got["state"][key])


def _same(want: dict[str, Any], got: dict[str, Any]) -> None:
    assert want.keys() == got.keys()
    for name in want:
        assert torch.equal(want[name], got[name]), name
