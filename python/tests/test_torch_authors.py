"""Optimizers beside those of their authors: the way, state that goes over and back, and what they have besides."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter

import lockstep.numpy as ln
import lockstep.torch as lt
from lockstep import ArgumentError, Rule, checkpoint

# A second beta that float32 has: where the bias is corrected, v is of the nearest that it has, and so off by up to 1e-5
# for others who go on with it.
EXACT = 1 - 2**-10

# Packages of authors, which .ci/run installs.
PACKAGES: list[tuple[str, str, dict[str, Any]]] = [
    ("prodigyopt", "Prodigy", {"d0": 1e-3}),
    ("prodigyopt", "Prodigy", {"d0": 1e-3, "d_coef": 2.0, "use_bias_correction": True, "weight_decay": 0.1}),
    ("prodigyopt", "Prodigy", {"weight_decay": 0.1, "decouple": False, "growth_rate": 1.5, "safeguard_warmup": True}),
    ("prodigyopt", "Prodigy", {"d0": 1e-3, "betas": (0.5, 0.99), "beta3": 0.9}),
    ("dadaptation", "DAdaptAdam", {"d0": 1e-3}),
    ("dadaptation", "DAdaptAdam", {"d0": 1e-3, "use_bias_correction": True, "betas": (0.9, EXACT)}),
    ("dadaptation", "DAdaptAdam", {"d0": 1e-3, "weight_decay": 0.01, "decouple": True}),
    ("dadaptation", "DAdaptAdam", {"d0": 1e-3, "weight_decay": 0.1, "growth_rate": 1.02, "betas": (0.5, 0.99)}),
    ("madgrad", "MADGRAD", {}),
    ("madgrad", "MADGRAD", {"momentum": 0.0, "weight_decay": 0.1}),
    ("madgrad", "MADGRAD", {"lr": 0.1, "weight_decay": 0.1, "decouple_decay": True}),
]
BESIDE_PACKAGES = pytest.mark.parametrize(("package", "name", "kwargs"), PACKAGES)


def authors(package: str, name: str) -> Any:
    pytest.importorskip(package)
    return getattr(importlib.import_module(package), name)


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    """Those of runs, and one of zeros, of which Prodigy's authors keep one number."""
    return [*runs.parameters(dtype)[:-3], Parameter(torch.zeros(3, 2, dtype=dtype))]


@BESIDE_PACKAGES
def test_beside_packages(package: str, name: str, kwargs: dict[str, Any]) -> None:
    theirs = authors(package, name)
    ways = []
    for cls, dtype in ((getattr(lt, name), torch.float32), (theirs, torch.float32), (theirs, torch.float64)):
        ways.append(runs.run(cls(parameters(dtype), **kwargs), range(40)))
    runs.assert_as_close(*ways)


def relay(classes: list[Any], kwargs: dict[str, Any], dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
    params, way, state = parameters(dtype), [], None
    for k, cls in enumerate(classes):
        optimizer = cls(params, **kwargs)
        if state:
            file = io.BytesIO()
            torch.save(state, file)
            file.seek(0)
            optimizer.load_state_dict(torch.load(file, weights_only=True))
        way += runs.run(optimizer, range(9 * k, 9 * k + 9))
        state = optimizer.state_dict()
    return way


@BESIDE_PACKAGES
def test_packages_state_goes_both_ways(package: str, name: str, kwargs: dict[str, Any]) -> None:
    theirs, ours = authors(package, name), getattr(lt, name)
    if kwargs.get("momentum") == 0:
        kwargs = {**kwargs, "lr": 0.1}
    exact = relay([theirs] * 3, kwargs, torch.float64)
    for classes in ([ours, theirs, ours], [theirs, ours, theirs]):
        runs.assert_as_close(relay(classes, kwargs), relay([theirs] * 3, kwargs), exact)


def prodigy(steps: int, kwargs: dict[str, Any] | None = None) -> lt.Prodigy:
    optimizer = lt.Prodigy(runs.parameters(), **(kwargs or {"d0": 1e-3}))
    runs.run(optimizer, range(steps))
    return optimizer


def test_prodigys_groups_show_d() -> None:
    optimizer = prodigy(30)
    p = runs.params_of(optimizer)[0]
    for group in optimizer.param_groups:
        assert group["d"] == float(optimizer.state[p]["d"]) > 1e-3
        assert group["d_max"] >= group["d"]
        assert group["k"] == 30
    saved = optimizer.state_dict()
    assert set(saved["state"][0]) == {"step", "s", "p0", "exp_avg", "exp_avg_sq"}
    assert saved["state"][0]["s"].shape == (50,)
    assert saved["param_groups"][0]["d_numerator"] == float(optimizer.state[p]["d_numerator"])


def test_layer_scales() -> None:
    """A group's steps are as much longer, and count as much for d, which has no more than one value."""
    theirs = authors("dadaptation", "DAdaptAdam")
    ways = []
    for cls, dtype in ((lt.DAdaptAdam, torch.float32), (theirs, torch.float32), (theirs, torch.float64)):
        params = parameters(dtype)
        groups: list[dict[str, Any]] = [{"params": params[:3]}, {"params": params[3:], "layer_scale": 0.25}]
        optimizer = cls(groups, d0=1e-3, growth_rate=1.1)
        ways.append(runs.run(optimizer, range(40)))
        (d,) = {group["d"] for group in optimizer.param_groups}
        assert d > 1e-3
        assert {group["k"] for group in optimizer.param_groups} == {40}
    runs.assert_as_close(*ways)


def test_prodigy_has_one_d() -> None:
    """A parameter whose first gradient comes late steps by the d of those before it, however often all is prepared."""
    ways = []
    for again in (False, True):
        params = runs.parameters()
        optimizer = lt.Prodigy(params, d0=1e-3)
        for k in range(12):
            for j, p in enumerate(params):
                late = j == 2 and k < 8
                p.grad = None if late else torch.full_like(p, 1.0 + k)
            if again:
                optimizer._plan = None
            optimizer.step()
        assert len({float(s["d"]) for p, s in optimizer.state.items() if p.numel()}) == 1
        ways.append([p.detach() for p in params])
    assert all(map(torch.equal, *ways))


def test_prodigys_slices_are_refused() -> None:
    optimizer = prodigy(1)
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0]["s"] = saved["state"][0]["s"][::11]
    optimizer.load_state_dict(saved)
    with pytest.raises(ValueError, match="has 5 elements, want 50: slice_p is no option here"):
        optimizer.step()


class Adan(torch.optim.Optimizer):
    """The authors' formulas, with their state: the gradient before has the opposite sign, and groups count."""

    def __init__(self, params: Any, lr: float, betas: Any, eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["step"] = t = group.get("step", 0) + 1
            b1, b2, b3 = group["betas"]
            for p in group["params"]:
                s, g = self.state[p], p.grad
                if not s:
                    s.update({k: torch.zeros_like(p) for k in ("exp_avg", "exp_avg_diff", "exp_avg_sq")})
                    s["neg_pre_grad"] = -g
                y = s["neg_pre_grad"] + g
                s["exp_avg"] = b1 * s["exp_avg"] + (1 - b1) * g
                s["exp_avg_diff"] = b2 * s["exp_avg_diff"] + (1 - b2) * y
                s["exp_avg_sq"] = b3 * s["exp_avg_sq"] + (1 - b3) * (g + b2 * y) ** 2
                s["neg_pre_grad"] = -g
                root = (s["exp_avg_sq"] / (1 - b3**t)).sqrt() + group["eps"]
                move = s["exp_avg"] / (1 - b1**t) + b2 * s["exp_avg_diff"] / (1 - b2**t)
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * move / root)


def test_adans_state_goes_both_ways() -> None:
    kwargs = {"lr": 0.01, "betas": (0.9, 0.8, 0.95), "weight_decay": 0.1}
    exact = relay([Adan] * 3, kwargs, torch.float64)
    for classes in ([lt.Adan, Adan, lt.Adan], [Adan, lt.Adan, Adan], [lt.Adan] * 3):
        runs.assert_as_close(relay(classes, kwargs), relay([Adan] * 3, kwargs), exact)


# Sophia's estimates.


class SophiaG(torch.optim.Optimizer):
    """The authors' formulas and state."""

    def __init__(self, params: Any, lr: float = 1e-4, rho: float = 0.04, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "weight_decay": weight_decay})

    def begun(self, p: Tensor) -> dict[str, Any]:
        s: dict[str, Any] = self.state[p]
        if not s:
            s.update(step=torch.tensor(0.0), exp_avg=torch.zeros_like(p), hessian=torch.zeros_like(p))
        return s

    @torch.no_grad()
    def update_hessian(self) -> None:
        for p in runs.params_of(self):
            if p.grad is not None:
                s = self.begun(p)
                s["hessian"] = 0.99 * s["hessian"] + 0.01 * p.grad * p.grad

    @torch.no_grad()
    def step(self, closure: Any = None, bs: int = 5120) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                s = self.begun(p)
                s["step"] += 1
                s["exp_avg"] = 0.965 * s["exp_avg"] + 0.035 * p.grad
                p.mul_(1 - group["lr"] * group["weight_decay"])
                ratio = s["exp_avg"].abs() / (group["rho"] * bs * s["hessian"] + 1e-15)
                p.sub_(group["lr"] * s["exp_avg"].sign() * ratio.clamp(None, 1))


Sophias = Callable[..., Any]


def sophia(classes: list[Sophias], dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
    """Runs with an estimate before the first step and every four steps, each optimizer from the state of the last."""
    params, way, state = runs.parameters(dtype), [], None
    for j, cls in enumerate(classes):
        optimizer = cls(params, lr=0.01, rho=0.3)
        if state:
            optimizer.load_state_dict(copy.deepcopy(state))
        for k in range(10 * j, 10 * j + 10):
            for which in ("estimate", "gradient") if k % 4 == 0 else ("gradient",):
                optimizer.zero_grad()
                runs.loss(params, k + (100 if which == "estimate" else 0)).backward()  # type: ignore[no-untyped-call]
                params[1].grad = None if k < 6 else params[1].grad
                optimizer.update_hessian() if which == "estimate" else optimizer.step(bs=2)
            way.append([p.detach().clone() for p in params])
        state = optimizer.state_dict()
    return way


def test_sophia() -> None:
    exact, theirs = sophia([SophiaG] * 3, torch.float64), sophia([SophiaG] * 3)
    relays: list[list[Sophias]] = [[lt.SophiaG] * 3, [lt.SophiaG, SophiaG, lt.SophiaG], [SophiaG, lt.SophiaG, SophiaG]]
    for classes in relays:
        runs.assert_as_close(sophia(classes), theirs, exact)


def test_sophias_estimates() -> None:
    """As lockstep.numpy moves them; squares of gradients unless they are given; state that is not stepped yet."""
    p, q = Parameter(torch.ones(3, 2)), Parameter(torch.ones(4))
    optimizer = lt.SophiaG([p, q], betas=(0.9, 0.75))
    estimate = torch.arange(6.0).reshape(3, 2)
    optimizer.update_hessian([estimate, None])
    assert torch.equal(optimizer.state[p]["hessian"], estimate / 4)
    assert int(optimizer.state[p]["step"]) == 0
    assert q not in optimizer.state
    q.grad = torch.full((4,), 2.0)
    optimizer.update_hessian()
    assert torch.equal(optimizer.state[q]["hessian"], torch.ones(4))
    assert torch.equal(optimizer.state[p]["hessian"], estimate / 4)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        first, _ = runs.params_of(other)
        assert torch.equal(other.state[first]["hessian"], estimate / 4)
    with pytest.raises(ArgumentError, match=r"len\(estimates\) is 1, want the number of parameters, 2"):
        optimizer.update_hessian([estimate])
    with pytest.raises(lt.UnsupportedError, match=r"the estimate of parameter 0 of group 0 has shape \(6,\)"):
        optimizer.update_hessian([estimate.flatten(), q.grad])
    assert torch.equal(optimizer.state[q]["hessian"], torch.ones(4))
    optimizer.step(bs=7)
    assert [group["bs"] for group in optimizer.param_groups] == [7]


def test_sophia_in_another_order_of_memory() -> None:
    p = Parameter(torch.ones(2, 3).t().contiguous().t())
    optimizer = lt.SophiaG([p], betas=(0.9, 0.75))
    optimizer.update_hessian([torch.arange(6.0).reshape(2, 3)])
    assert torch.equal(optimizer.state[p]["hessian"], torch.arange(6.0).reshape(2, 3) / 4)


# Tables with a number of state for each row.

TABLES: list[tuple[Any, dict[str, Any], Rule]] = [
    (lt.RowWiseAdagrad, {"lr": 0.1}, Rule("RowwiseAdaGrad", lr=0.1, eps=1e-10)),
    (lt.RowWiseAdam, {"lr": 0.1}, Rule("RowwiseAdam", lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8)),
    (
        lt.RowWiseLAMB,
        {"lr": 0.1, "weight_decay": 0.2},
        Rule("RowwiseLAMB", lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.2),
    ),
]


@pytest.mark.parametrize(("cls", "kwargs", "rule"), TABLES)
def test_rows_of_tables(cls: Any, kwargs: dict[str, Any], rule: Rule) -> None:
    """Sparse gradients, not coalesced, have the bits of lockstep.numpy's steps on rows; a dense one is a whole step."""
    table = torch.nn.Embedding(50, 8, sparse=True)
    array = table.weight.detach().numpy().copy()
    optimizer, numpys = cls(table.parameters(), **kwargs), ln.Optimizer(array, rule)
    random = np.random.default_rng(1)
    for step in range(12):
        rows = random.integers(0, 50, 9)
        optimizer.zero_grad()
        table.sparse = step % 4 != 3
        (table(torch.from_numpy(rows)) * torch.linspace(-1, 1, 8)).square().sum().backward()
        grad: Any = table.weight.grad
        if grad.is_sparse:
            numpys.step_rows(grad._indices()[0].numpy(), grad._values().numpy())
        else:
            numpys.step(grad.numpy())
        optimizer.step()
        np.testing.assert_array_equal(table.weight.detach().numpy(), array)
    state = optimizer.state[table.weight]
    for slot, expected in numpys.state("0").items():
        np.testing.assert_array_equal(state[optimizer._state_names[slot]].numpy(), expected)
    assert int(state["step"]) == 12
    assert state[optimizer._state_names[rule.slots[0]]].shape == (50,)


@pytest.mark.parametrize(("cls", "kwargs", "rule"), TABLES)
def test_tables_go_on(cls: Any, kwargs: dict[str, Any], rule: Rule, tmp_path: Path) -> None:
    """From state_dict, copies and files, in the middle of a run."""
    pytest.importorskip("safetensors")

    def stepped(optimizer: Any, steps: range) -> Any:
        (p,) = runs.params_of(optimizer)
        for k in steps:
            rows = torch.tensor([[k % 5, 3, 3]])
            values = torch.full((3, 4), 1.0 + k)
            p.grad = torch.sparse_coo_tensor(rows, values, p.shape, check_invariants=True)
            optimizer.step()
        return p.detach()

    optimizer = cls([Parameter(torch.linspace(0, 1, 24).reshape(6, 4))], **kwargs)
    others = [cls([Parameter(stepped(optimizer, range(5)).clone())], lr=0.5)]
    others[0].load_state_dict(copy.deepcopy(optimizer.state_dict()))
    others += [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    checkpoint.save(tmp_path / "file", optimizer)
    others.append(cls([Parameter(runs.params_of(optimizer)[0].detach().clone())], **kwargs))
    checkpoint.load(tmp_path / "file", others[-1])
    want = stepped(optimizer, range(5, 9))
    for other in others:
        assert torch.equal(stepped(other, range(5, 9)), want)


def test_tables_that_are_refused() -> None:
    with pytest.raises(lt.UnsupportedError, match="has 1 dimensions, want a table of 2"):
        lt.RowWiseAdam([Parameter(torch.ones(3))])
    with pytest.raises(lt.UnsupportedError, match="want a row-major matrix"):
        lt.RowWiseAdagrad([Parameter(torch.ones(3, 4).t())])
    p = Parameter(torch.ones(4, 3))
    optimizer = lt.RowWiseAdagrad([p])
    p.grad = torch.ones(4, 3).to_sparse()
    with pytest.raises(lt.UnsupportedError, match="the gradient of parameter 0 of group 0 has 2 sparse dimensions"):
        optimizer.step()
    p.grad = torch.ones(4, 3)
    with pytest.raises(lt.UnsupportedError, match="clipping is no part of a step of RowWiseAdagrad"):
        lt.clip_grad_norm_and_step(optimizer, 1)
    assert torch.equal(p, torch.ones(4, 3))
    gaps = Parameter(torch.ones(4, 6)[:, :3])
    gaps.grad = torch.ones(4, 3)
    with pytest.raises(lt.UnsupportedError, match="is of a table that is not contiguous, want one row after row"):
        lt.RowWiseAdagrad([gaps]).step()


@pytest.mark.parametrize(("name", "kwargs"), runs.OTHERS, ids=runs.names(runs.OTHERS))
def test_files(name: str, kwargs: dict[str, Any], tmp_path: Path) -> None:
    """A run that goes on from a safetensors file has the bits of one that does not stop."""
    pytest.importorskip("safetensors")
    optimizer = getattr(lt, name)(runs.parameters(), **kwargs)
    runs.run(optimizer, range(7))
    checkpoint.save(tmp_path / "file", optimizer)
    other = getattr(lt, name)([Parameter(p.detach().clone()) for p in runs.params_of(optimizer)], **kwargs)
    checkpoint.load(tmp_path / "file", other)
    for mine, theirs in zip(runs.run(other, range(7, 14)), runs.run(optimizer, range(7, 14))):
        assert all(map(torch.equal, mine, theirs))


def test_prodigy_waits_for_a_gradient() -> None:
    """Where all gradients have been 0 nothing moves, and nothing decays, as of the authors' class."""
    theirs = authors("prodigyopt", "Prodigy")
    ways = []
    for cls, dtype in ((lt.Prodigy, torch.float32), (theirs, torch.float32), (theirs, torch.float64)):
        params = parameters(dtype)
        before = [p.detach().clone() for p in params]
        optimizer = cls(params, d0=1e-2, weight_decay=1.0)
        for _ in range(3):
            for p in params:
                p.grad = torch.zeros_like(p)
            optimizer.step()
        assert all(map(torch.equal, params, before))
        ways.append(runs.run(optimizer, range(20)))
    runs.assert_as_close(*ways)
