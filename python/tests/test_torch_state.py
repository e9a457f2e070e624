"""State: torch's names, checkpoints both ways in the middle of a run, copies, and what a checkpoint cannot be."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

import lockstep.torch as lt

CASES = pytest.mark.parametrize(("name", "kwargs"), runs.CASES, ids=runs.names(runs.CASES))
EVERY = runs.CASES + runs.OTHERS
ALL = pytest.mark.parametrize(("name", "kwargs"), EVERY, ids=runs.names(EVERY))

# State that a step does not change: what remembers the first parameters, what state_dict makes anew, and what moves
# when somebody estimates it.
STILL = {"x0", "p0", "s", "mu_product", "eta", "mu", "neg_pre_grad", "hessian"}


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    """What torch.load makes of a checkpoint, without trusting it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def relay(classes: list[Any], kwargs: dict[str, Any], dtype: torch.dtype = torch.float32) -> list[list[Tensor]]:
    """A run in which each optimizer takes over from the one before through a checkpoint, after 9 steps."""
    params, way, state = runs.parameters(dtype), [], None
    for k, cls in enumerate(classes):
        optimizer = cls(params, **kwargs)
        if state:
            optimizer.load_state_dict(through_file(state))
        way += runs.run(optimizer, range(9 * k, 9 * k + 9))
        state = optimizer.state_dict()
    return way


@CASES
def test_both_ways(name: str, kwargs: dict[str, Any]) -> None:
    torchs, ours = getattr(torch.optim, name), getattr(lt, name)
    exact = relay([torchs, torchs, torchs], kwargs, torch.float64)
    for classes in ([ours, torchs, ours], [torchs, ours, torchs]):
        runs.assert_as_close(relay(classes, kwargs), relay([torchs] * 3, kwargs), exact)


@ALL
def test_resumed_to_the_bit(name: str, kwargs: dict[str, Any]) -> None:
    cls = getattr(lt, name)
    straight = runs.run(cls(runs.parameters(), **kwargs), range(27))
    for x, y in zip(straight, relay([cls] * 3, kwargs)):
        assert all(map(torch.equal, x, y))


@CASES
def test_names(name: str, kwargs: dict[str, Any]) -> None:
    states = []
    for module in (torch.optim, lt):
        optimizer = getattr(module, name)(runs.parameters(), **kwargs)
        runs.run(optimizer, range(3))
        states.append(optimizer.state_dict())
    torchs, ours = states
    for group in ours["param_groups"]:  # of which torch knows nothing
        assert not any(group.pop(option, False) for option in ("cautious_update", "cautious_decay"))
    assert torchs["param_groups"] == ours["param_groups"]
    for k, state in torchs["state"].items():
        assert set(state) <= set(ours["state"][k]) <= {*state, "step"}
        for key, value in state.items():
            mine = ours["state"][k][key]
            assert (mine.shape, mine.dtype) == (value.shape, value.dtype)
            assert mine.stride() == value.stride()
            torch.testing.assert_close(mine, value, rtol=1e-5, atol=1e-6)


@ALL
def test_state_is_live(name: str, kwargs: dict[str, Any]) -> None:
    """state_dict has references, as torch's: steps show in it, and what is written to it counts."""
    optimizer = getattr(lt, name)(runs.parameters(), **kwargs)
    runs.run(optimizer, range(2))
    state = optimizer.state_dict()["state"][0]
    assert state["step"] == 2
    before = {key: value.clone() for key, value in state.items() if key != "step"}
    runs.run(optimizer, range(2, 3))
    assert optimizer.state_dict()["state"][0]["step"] == 3
    assert all(not torch.equal(before[key], state[key]) for key in state.keys() - STILL - {"step"})


@pytest.mark.parametrize("how", ["fill", "replace", "clear", "delete", "all"])
def test_state_changed_by_hand(how: str) -> None:
    """Whatever a user does to the state between steps is what the next step begins with, as in torch."""
    ways = []
    for cls, dtype in [
        (lt.AdamW, torch.float32),
        (torch.optim.AdamW, torch.float32),
        (torch.optim.AdamW, torch.float64),
    ]:
        optimizer = cls(runs.parameters(dtype))
        way = runs.run(optimizer, range(5))
        first, last = optimizer.param_groups[0]["params"][0], optimizer.param_groups[0]["params"][-1]
        if how == "fill":
            for s in optimizer.state.values():
                s["exp_avg"].zero_()
                s["step"].fill_(3)
        elif how == "replace":
            optimizer.state[first]["exp_avg"] = torch.ones_like(first)
            optimizer.state[last]["step"] = torch.tensor(1.0)
        elif how == "clear":
            optimizer.state[last].clear()
        elif how == "delete":
            del optimizer.state[last]
        else:
            optimizer.state.clear()
        ways.append(way + runs.run(optimizer, range(5, 12)))
    runs.assert_as_close(*ways)


@ALL
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_copies(name: str, kwargs: dict[str, Any], how: str) -> None:
    params = runs.parameters()
    optimizer = getattr(lt, name)(params, **kwargs)
    runs.run(optimizer, range(5))
    if how == "deepcopy":
        other = copy.deepcopy(optimizer)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(optimizer))
    else:
        file = io.BytesIO()
        torch.save(optimizer, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert type(other) is type(optimizer)
    assert not {p.data_ptr() for p in runs.params_of(other) if p.numel()} & {p.data_ptr() for p in params if p.numel()}
    for x, y in zip(runs.run(optimizer, range(5, 15)), runs.run(other, range(5, 15))):
        assert all(map(torch.equal, x, y))


def test_fallback_is_copied() -> None:
    optimizer = lt.AdamW([Parameter(torch.ones(2))], fallback=True)
    assert copy.deepcopy(optimizer).fallback
    assert not copy.deepcopy(lt.AdamW([Parameter(torch.ones(2))])).fallback


def test_loaded_state_is_a_copy() -> None:
    one, other = (lt.AdamW(runs.parameters()) for _ in range(2))
    runs.run(one, range(3))
    other.load_state_dict(one.state_dict())
    runs.run(other, range(3, 4))
    assert one.state_dict()["state"][0]["step"] == 3
    assert other.state_dict()["state"][0]["step"] == 4


def test_no_state_before_a_gradient() -> None:
    p, q = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = lt.AdamW([p, q])
    optimizer.step()
    assert not optimizer.state
    p.grad = torch.ones(3)
    optimizer.step()
    assert list(optimizer.state) == [p]
    q.grad = torch.ones(3)
    optimizer.step()
    assert (optimizer.state[p]["step"], optimizer.state[q]["step"]) == (2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exp_avg": None}, "the state of parameter 0 of group 0 has no exp_avg, which AdamW needs"),
        ({"step": None}, "has no step, which AdamW needs"),
        (
            {"exp_avg": torch.ones(3)},
            r"the state exp_avg of parameter 0 of group 0 has shape \(3,\), want that of its parameter, \(2,\)",
        ),
        ({"exp_avg_sq": -torch.ones(2)}, "element 0 of the state v .* is -1, want a finite number of at least 0"),
        ({"exp_avg_sq": torch.tensor([1, torch.nan])}, "element 1 of the state v .* is -?nan"),
    ],
)
def test_bad_state(change: dict[str, Any], message: str) -> None:
    p = Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    optimizer = lt.AdamW([p])
    optimizer.step()
    optimizer.state[p].update(change)
    before = p.detach().clone()
    with pytest.raises((ValueError, lt.UnsupportedError), match=message):
        optimizer.step()
    assert torch.equal(before, p)


def test_momentum_without_a_count() -> None:
    """torch's SGD has no count: a buffer that is there is that of a second step or later."""
    p = Parameter(torch.zeros(2))
    optimizer = lt.SGD([p], lr=1, momentum=0.5, dampening=0.75)
    optimizer.state[p]["momentum_buffer"] = torch.ones(2)
    p.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(p.detach(), torch.full((2,), -0.75))


def test_toggled_momentum() -> None:
    """Momentum that begins in the middle begins with the gradient."""
    ways = []
    for cls, dtype in [(lt.SGD, torch.float32), (torch.optim.SGD, torch.float32), (torch.optim.SGD, torch.float64)]:
        optimizer: Optimizer = cls(runs.parameters(dtype), lr=0.1, dampening=0.5)
        way = runs.run(optimizer, range(3))
        optimizer.param_groups[0]["momentum"] = 0.9
        way += runs.run(optimizer, range(3, 8))
        optimizer.param_groups[0]["momentum"] = 0
        ways.append(way + runs.run(optimizer, range(8, 12)))
    runs.assert_as_close(*ways)
