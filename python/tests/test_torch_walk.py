"""The look at every parameter and gradient before a step, in C and in Python."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter

import lockstep.torch as lt
from lockstep import _library as c
from lockstep.torch import _walk

WAYS = ["in C", "in Python"]


@pytest.fixture(params=WAYS)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in Python":
        monkeypatch.setattr(_walk, "_interface", lambda: None)
    elif _walk._interface() is None:
        pytest.skip("PyTorch, Python or the library lacks what it takes")


def test_in_c_where_it_can_be() -> None:
    assert (_walk._interface() is not None) == hasattr(Tensor, "__dlpack_c_exchange_api__")


def some(n: int = 40) -> list[Parameter]:
    """Parameters with gradients, which autograd has made."""
    params = [*runs.parameters(), *(Parameter(torch.ones(k % 3 + 1, 2)) for k in range(n))]
    runs.loss(params, 0).backward()  # type: ignore[no-untyped-call]
    return params


def walked(params: list[Parameter]) -> Callable[[], list[int] | None]:
    """A walk over parameters, which gives the addresses of their gradients."""
    where, grads = c.pointers(len(params)), c.pointers(len(params))
    where[:] = [p.data_ptr() for p in params]
    walk = _walk.walk_over(params, where)
    return lambda: [address or 0 for address in grads] if walk.find(grads) else None


@pytest.mark.usefixtures("_way")
def test_finds_gradients_and_notes_changes() -> None:
    params = some()
    walk = walked(params)
    for k in range(3):
        versions = [p._version for p in params]
        for p in params:
            p.grad = None
        runs.loss(params, k).backward()  # type: ignore[no-untyped-call]
        assert walk() == [p.grad.data_ptr() for p in params if p.grad is not None]
        assert [p._version for p in params] == [v + 1 for v in versions]


class Other(Tensor):
    """A subclass of tensors, of which nothing is known."""


def replaced(p: Parameter, grad: Tensor) -> None:
    p.grad_dtype = None  # a gradient of any type
    p.grad = grad


UNUSUAL: dict[str, Callable[[Parameter], Any]] = {
    "no gradient": lambda p: setattr(p, "grad", None),
    "gradient in another order": lambda p: setattr(p, "grad", torch.ones(2, 3).t()),
    "gradient with gaps": lambda p: setattr(p, "grad", torch.ones(3, 4)[:, ::2]),
    "expanded gradient": lambda p: setattr(p, "grad", torch.ones(1, 1).expand(3, 2)),
    "sparse gradient": lambda p: setattr(p, "grad", torch.ones(3, 2).to_sparse()),
    "gradient of a subclass": lambda p: setattr(p, "grad", torch.ones(3, 2).as_subclass(Other)),
    "bfloat16": lambda p: replaced(p, torch.ones(3, 2, dtype=torch.bfloat16)),
    "float64": lambda p: replaced(p, torch.ones(3, 2, dtype=torch.float64)),
    "complex": lambda p: replaced(p, torch.ones(3, 2, dtype=torch.complex64)),
    "integers": lambda p: replaced(p, torch.ones(3, 2, dtype=torch.int32)),
    "other parameters": lambda p: setattr(p, "data", torch.ones(3, 2)),
    "parameters of another shape": lambda p: setattr(p, "data", p.data.view(2, 3)),
    "parameters of another type": lambda p: setattr(p, "data", p.data.double()),
}
if not hasattr(Tensor, "grad_dtype"):
    for _name in ("bfloat16", "float64", "complex", "integers"):
        del UNUSUAL[_name]
HARMLESS = ("gradient of a subclass", "parameters of another shape")  # the same numbers, which Python's way takes


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("what", UNUSUAL)
@pytest.mark.parametrize("at", [0, 77, 159])
def test_unusual(what: str, at: int, request: pytest.FixtureRequest) -> None:
    if what in HARMLESS and "in Python" in request.node.name:
        pytest.skip("Python's way takes it")
    params = [Parameter(torch.ones(3, 2)) for _ in range(160)]
    for p in params:
        p.grad = torch.ones(3, 2)
    walk = walked(params)
    assert walk() is not None
    UNUSUAL[what](params[at])
    assert walk() is None


@pytest.mark.usefixtures("_way")
def test_sign_outside_of_memory() -> None:
    param = Parameter(torch.ones(1))
    walk = walked([param])
    param.grad = torch.ones(1, dtype=torch.complex64).conj().imag
    assert param.grad.is_neg()
    assert walk() is None


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who interrupts the walk is heard, and the collector works on."""
    interface = _walk._interface()
    if interface is None:
        pytest.skip("there is no walk in C")
    python = _walk._Python.from_buffer_copy(interface.python)
    python.change = id(interrupt)
    monkeypatch.setattr(_walk, "_interface", lambda: interface._replace(python=python))
    with pytest.raises(KeyboardInterrupt):
        walked(some())()
    assert gc.isenabled()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("n", [0, 1, 100])
def test_lists(n: int) -> None:
    params = [Parameter(torch.ones(1)) for _ in range(n)]
    same = _walk.same_list(params)
    assert same(list(params))
    assert not same([*params, Parameter(torch.ones(1))])
    if n:
        assert not same(params[1:])
        assert not same([*params[:-1], Parameter(torch.ones(1))])  # which is equal and another


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("name", "kwargs"), runs.CASES, ids=runs.names(runs.CASES))
def test_steps(name: str, kwargs: dict[str, Any]) -> None:
    """Steps that are prepared are those that look at every parameter by itself, to the bit."""
    usual, unusual = some(), some()
    ours, other = (getattr(lt, name)(params, **kwargs) for params in (usual, unusual))
    for k in range(20):
        for params in (usual, unusual):
            for p in params:
                p.grad = None
            runs.loss(params, k).backward()  # type: ignore[no-untyped-call]
        ours.step()
        other._plan = None
        other.step()
    assert all(torch.equal(p, q) for p, q in zip(usual, unusual))
    assert {float(s["step"]) for s in ours.state.values()} == {20.0}


@pytest.mark.usefixtures("_way")
def test_many_counts() -> None:
    """Counts of many tensors, alike, set by hand, and apart."""
    params = [Parameter(torch.ones(2)) for _ in range(300)]
    optimizer = lt.AdamW(params)
    for p in params:
        p.grad = torch.ones(2)
    for _ in range(3):
        optimizer.step()
    optimizer.state[params[7]]["step"].fill_(10)
    optimizer.step()
    optimizer.step()
    counts = [int(optimizer.state[p]["step"]) for p in params]
    assert counts == [5] * 7 + [12] + [5] * 292
    params[0].grad = None
    optimizer.step()
    assert [int(optimizer.state[p]["step"]) for p in params[:9]] == [5, *[6] * 6, 13, 6]
    steps = [optimizer._plan.core.steps(k) for k in range(300)] if optimizer._plan else []
    assert steps == [int(optimizer.state[p]["step"]) for p in params]
