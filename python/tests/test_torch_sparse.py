"""SparseAdam: steps on the rows of embedding tables, beside torch's class."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Embedding, Parameter

import lockstep.torch as lt

CASES: list[dict[str, Any]] = [
    {},
    {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3},
    {"lr": 0.1, "maximize": True},
]
Maker = Callable[..., torch.optim.Optimizer]


def tables(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    generator = torch.Generator().manual_seed(1)
    shapes: list[tuple[int, ...]] = [(40, 6), (7,), (9, 2, 3), (0, 4), (5, 1)]
    return [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def gradient(p: Tensor, k: int) -> Tensor | None:
    """A gradient of step k, of rows of which some are there twice; none of some tables in some steps."""
    generator = torch.Generator().manual_seed(1000 * k + p.numel())
    n = int(torch.randint(0, 8, (), generator=generator)) if len(p) else 0
    if n == 7:
        return None
    rows = torch.randint(0, max(1, len(p)), (1, n), generator=generator)
    values = torch.randn((n, *p.shape[1:]), generator=generator)
    return torch.sparse_coo_tensor(rows, values.to(p.dtype), p.shape, check_invariants=True)


def run(optimizer: torch.optim.Optimizer, steps: range) -> list[list[Tensor]]:
    way = []
    for k in steps:
        for p in runs.params_of(optimizer):
            p.grad = gradient(p, k)
        optimizer.step()
        way.append([p.detach().clone() for p in runs.params_of(optimizer)])
    return way


def trained(cls: Maker, kwargs: dict[str, Any], steps: int, dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
    return run(cls(tables(dtype), **deepcopy(kwargs)), range(steps))


@pytest.mark.parametrize("kwargs", CASES)
def test_trajectories(kwargs: dict[str, Any]) -> None:
    ours, torchs = (trained(cls, kwargs, 60) for cls in (lt.SparseAdam, torch.optim.SparseAdam))
    runs.assert_as_close(ours, torchs, trained(torch.optim.SparseAdam, kwargs, 60, torch.float64))


def test_optim_db() -> None:
    pytest.importorskip("expecttest", reason="PyTorch's tests need expecttest, which is not installed")
    from torch.testing._internal.common_optimizers import optim_db

    infos: Any = optim_db
    info = next(i for i in infos if i.optim_cls is torch.optim.SparseAdam)
    assert info.only_supports_sparse_grads
    given = info.optim_inputs_func(device="cpu")
    assert len(given) >= 4
    for g in given:
        ours, torchs = (trained(cls, g.kwargs, 30) for cls in (lt.SparseAdam, torch.optim.SparseAdam))
        runs.assert_as_close(ours, torchs, trained(torch.optim.SparseAdam, g.kwargs, 30, torch.float64))
    errors = info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
    assert len(errors) >= 6
    for e in errors:
        bad = e.optimizer_error_input
        params = [Parameter(torch.randn(2, 3))] if bad.params is None else bad.params
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(e.error_type, match=e.error_regex):
                lt.SparseAdam(params, **bad.kwargs)


@pytest.mark.parametrize("back", [False, True])
def test_state_goes_both_ways(back: bool) -> None:
    first, second = (torch.optim.SparseAdam, lt.SparseAdam) if back else (lt.SparseAdam, torch.optim.SparseAdam)
    one = first(tables(), lr=0.01)
    run(one, range(20))
    file = io.BytesIO()
    torch.save([one.state_dict(), runs.params_of(one)], file)
    file.seek(0)
    saved, params = torch.load(file, weights_only=False)
    other = second(params, lr=0.5)
    other.load_state_dict(saved)
    assert {k: int(s["step"]) for k, s in saved["state"].items()} == {
        k: int(s["step"]) for k, s in other.state_dict()["state"].items()
    }
    exact = torch.optim.SparseAdam(tables(torch.float64), lr=0.01)
    run(exact, range(20))
    runs.assert_as_close(run(other, range(20, 60)), run(one, range(20, 60)), run(exact, range(20, 60)))


def test_schedules_and_groups() -> None:
    def way(cls: Maker, dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
        a, b, *rest = tables(dtype)
        optimizer: Any = cls([{"params": [a, *rest]}, {"params": [b], "lr": 0.2, "betas": (0.5, 0.5)}], lr=0.01)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        found = []
        for k in range(30):
            found += run(optimizer, range(k, k + 1))
            schedule.step()
            if k == 10:
                optimizer.param_groups[0]["betas"] = (0.8, 0.9)
        return found

    runs.assert_as_close(way(lt.SparseAdam), way(torch.optim.SparseAdam), way(torch.optim.SparseAdam, torch.float64))


def test_embedding() -> None:
    torch.manual_seed(1)
    table = Embedding(1000, 64, sparse=True)
    before = table.weight.detach().clone()
    version = table.weight._version
    optimizer = lt.SparseAdam(table.parameters(), lr=0.1)
    words = torch.tensor([3, 999, 3, 0])
    for _ in range(3):
        optimizer.zero_grad()
        table(words).square().sum().backward()
        optimizer.step()
    changed = (table.weight.detach() != before).any(1).nonzero().flatten().tolist()
    assert changed == [0, 3, 999]
    assert (optimizer.state[table.weight]["exp_avg"] != 0).any(1).nonzero().flatten().tolist() == [0, 3, 999]
    assert table.weight._version == version + 3
    assert int(optimizer.state[table.weight]["step"]) == 3


def test_values_with_the_sign_outside() -> None:
    """Which PyTorch's own operations on sparse tensors turn, but not all that may make them."""
    guard: Any = torch._C
    ways = []
    for outside in (False, True):
        p = Parameter(torch.ones(4, 3))
        optimizer = lt.SparseAdam([p], lr=0.1)
        values = torch.tensor([[1.0, -2.0, 3.0]]).neg()
        if outside:
            values = torch._neg_view(values.neg())
        with guard._ExcludeDispatchKeyGuard(guard.DispatchKeySet(guard.DispatchKey.Negative)):
            p.grad = torch.sparse_coo_tensor(torch.tensor([[2]]), values, (4, 3), check_invariants=False)
        assert p.grad._values().is_neg() == outside
        optimizer.step()
        ways.append(p.detach())
    assert torch.equal(*ways)


def test_refusals() -> None:
    p, q = Parameter(torch.ones(4, 3)), Parameter(torch.ones(5, 2))
    optimizer = lt.SparseAdam([p, q])

    def sparse(rows: list[int], like: Tensor) -> Tensor:
        values = torch.ones(len(rows), *like.shape[1:])
        return torch.sparse_coo_tensor(torch.tensor([rows]), values, like.shape, check_invariants=False)

    def refused(error: type[Exception], match: str) -> None:
        with pytest.raises(error, match=match):
            optimizer.step()
        assert torch.equal(p, torch.ones(4, 3))
        assert torch.equal(q, torch.ones(5, 2))

    p.grad, q.grad = sparse([1, 1], p), torch.ones(5, 2)
    refused(lt.UnsupportedError, "gradient of parameter 1 of group 0 is dense, want torch.sparse_coo: take Adam for it")
    q.grad = sparse([0, 5], q)
    refused(IndexError, "gradient of parameter 1 of group 0 has rows from 0 to 5, want some of 5")
    q.grad = sparse([0, -1], q)
    refused(IndexError, "has rows from -1 to 0")
    q.grad = torch.ones(5, 2).to_sparse()
    refused(lt.UnsupportedError, "has 2 sparse dimensions")
    with pytest.raises(lt.UnsupportedError, match="clipping is no part of a step of SparseAdam, want torch.nn.utils"):
        lt.clip_grad_norm_and_step(optimizer, 1.0)
    q.grad = None
    optimizer.step()
    assert (p[1] != 1).all()
    assert optimizer.state[p]["step"] == 1
    assert q not in optimizer.state


@pytest.mark.parametrize("threads", [1, 2])
def test_large(threads: int) -> None:
    """So many rows that threads share the step."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        generator = torch.Generator().manual_seed(1)
        start = torch.randn(20_000, 64, generator=generator)
        rows = torch.randint(0, 20_000, (1, 8192), generator=generator)
        values = torch.randn(8192, 64, generator=generator)
        ways = []
        for cls, dtype in [
            (lt.SparseAdam, torch.float32),
            (torch.optim.SparseAdam, torch.float32),
            (torch.optim.SparseAdam, torch.float64),
        ]:
            p = Parameter(start.clone().to(dtype))
            optimizer: Any = cls([p], lr=0.01)
            for _ in range(3):
                p.grad = torch.sparse_coo_tensor(rows, values.to(dtype), p.shape, check_invariants=True)
                optimizer.step()
            ways.append([[p.detach()]])
        runs.assert_as_close(*ways)
    finally:
        torch.set_num_threads(before)
