"""Parameters of bfloat16 that are trained in float32, with what they lack of it as state: ``split_master=True``."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_runs import CASES, EIGHT_BITS, OTHERS, names

import lockstep
import lockstep.torch as lt
from lockstep import checkpoint
from lockstep.torch import _walk


def takes(name: str) -> bool:
    return "split_master" in inspect.signature(getattr(lt, name)).parameters


EVERY = [(name, kwargs) for name, kwargs in [*CASES, *OTHERS, *EIGHT_BITS] if takes(name)]
BF16 = torch.bfloat16


def test_every_class() -> None:
    """All whose rule the library takes over halves have the argument, but for those whose parameters are means."""
    every = [n for n in lt.__all__ if isinstance(of := getattr(lt, n), type) and issubclass(of, lt.LockstepOptimizer)]
    assert {name for name, _ in EVERY} == {name for name in every if takes(name)}
    none = lockstep._library.pointers(0)
    for name, kwargs in OTHERS:
        optimizer = getattr(lt, name)([Parameter(torch.ones(3))], **kwargs)
        core = lockstep._library.Optimizer([optimizer._rule(optimizer.param_groups[0])], [])
        if takes(name):
            core.step_split(none, none, none)
        else:
            with pytest.raises(lockstep.ArgumentError, match="want one of a single pass"):
                core.step_split(none, none, none)


def drawn(shape: Any, seed: int, dtype: torch.dtype = BF16) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def parameters() -> list[Parameter]:
    """Of several shapes, orders of memory, and one with gaps between elements."""
    shapes: list[tuple[int, ...]] = [(80, 70), (30, 5), (300,), (), (0,), (4, 3, 2, 2), (24,)]
    tensors = [drawn(shape, k) for k, shape in enumerate(shapes)]
    tensors[1] = tensors[1].t()
    tensors[5] = tensors[5].to(memory_format=torch.channels_last)
    tensors[6] = drawn((48,), 6)[::2]
    return [Parameter(t) for t in tensors]


def params_of(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def made(name: str, params: Any, kwargs: dict[str, Any], **more: Any) -> Any:
    return getattr(lt, name)(params, **copy.deepcopy(kwargs), **more)


def widened(params: list[Any]) -> list[Parameter]:
    return [Parameter(p.detach().float()) for p in params]


def give(optimizer: Any, other: Any, step: int) -> None:
    """Gives one optimizer gradients of 16 bits, and another the same as float32; in some steps not of all."""
    for k, (p, q) in enumerate(zip(params_of(optimizer), params_of(other))):
        p.grad = q.grad = None
        if (step + k) % 4 != 3 or step > 2:
            p.grad = torch.empty_like(p).copy_(drawn(tuple(p.shape), 100 * step + k))
            q.grad = torch.empty_like(q).copy_(p.grad)


def assert_alike(optimizer: Any, other: Any) -> None:
    """Parameters and rests are those of float32, joined, and all state is that of these."""
    for p, q in zip(params_of(optimizer), params_of(other)):
        assert p.dtype is BF16
        state, want = dict(optimizer.state[p]), other.state[q]
        if not (want or state):
            continue
        rest = state.pop("rest")
        assert rest.dtype is torch.int16
        assert rest.shape == p.shape
        bits = (p.detach().contiguous().view(torch.int16).int() << 16) + rest
        assert torch.equal(bits.view(torch.float32), q)
        assert torch.equal(optimizer.state_values(p)["master"], q)
        assert p.numel() == 0 or (p.detach().float() - q.detach()).abs().max() <= q.detach().abs().max() / 256
        assert state.keys() == want.keys()
        for key, value in want.items():
            assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(value)), key


def reloaded(name: str, optimizer: Any, kwargs: dict[str, Any], **more: Any) -> Any:
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    saved.seek(0)
    fresh = made(name, params_of(optimizer), kwargs, **more)
    fresh.load_state_dict(torch.load(saved))
    return fresh


@pytest.mark.parametrize(("name", "kwargs"), EVERY, ids=names(EVERY))
def test_steps_are_those_of_float32(name: str, kwargs: dict[str, Any]) -> None:
    params = parameters()
    optimizer = made(name, params, kwargs, split_master=True)
    other = made(name, widened(params), kwargs)
    for step in range(9):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
        assert_alike(optimizer, other)
        if step == 3:
            optimizer = reloaded(name, optimizer, kwargs, split_master=True)
            other = reloaded(name, other, kwargs)
        if step == 5:
            optimizer, other = copy.deepcopy(optimizer), copy.deepcopy(other)
        if step == 6:
            optimizer, other = (pickle.loads(pickle.dumps(o)) for o in (optimizer, other))
            assert optimizer.split_master
        for group in [*optimizer.param_groups, *other.param_groups]:
            group["lr"] = group["lr"] * 0.75


def pair(n: int = 1000) -> tuple[Any, Any, Any, Any]:
    p = Parameter(drawn((n,), 0))
    q = Parameter(p.detach().float())
    return lt.AdamW([p], lr=0.02, split_master=True), lt.AdamW([q], lr=0.02), p, q


def test_bytes() -> None:
    """Parameter and rest are 4 bytes for each element, the state those of float32."""
    optimizer, other, p, _ = pair()
    give(optimizer, other, 5)
    optimizer.step()
    assert {key: v.element_size() for key, v in optimizer.state[p].items() if v.numel() > 1} == {
        "exp_avg": 4,
        "exp_avg_sq": 4,
        "rest": 2,
    }


def test_clipping_and_observing() -> None:
    optimizer, other, p, q = pair()
    observer = optimizer.observe_gradients()
    for step in range(5):
        p.grad = None
        torch.autograd.backward((p * drawn((1000,), step)).sum())
        q.grad = p.grad.float()
        assert len(observer._seen) == (step > 0)
        norm, want = (lt.clip_grad_norm_and_step(o, 1.0) for o in (optimizer, other))
        assert norm == want > 1
        assert_alike(optimizer, other)
    observer.remove()
    lt.clip_grad_value_and_step(optimizer, 0.25)
    lt.clip_grad_value_and_step(other, 0.25)
    assert_alike(optimizer, other)
    p.grad.fill_(float("inf"))
    q.grad.fill_(float("inf"))
    for o in (optimizer, other):
        lt.clip_grad_norm_and_step(o, 1.0)
    assert p.isnan().all()
    assert q.isnan().all()


def test_large_steps_on_threads() -> None:
    optimizer, other, *_ = pair(300_000)
    torch.set_num_threads(2)
    try:
        for step in range(3, 6):
            give(optimizer, other, step)
            optimizer.step()
            other.step()
            assert_alike(optimizer, other)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("in_c", [True, False])
def test_usual_steps_walk(in_c: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if in_c and _walk._interface() is None:
        pytest.skip("Python, PyTorch or the library lack what it takes")
    if not in_c:
        monkeypatch.setattr(_walk, "_interface", lambda: None)
    optimizer, other, *_ = pair()
    for step in range(3, 6):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
    assert_alike(optimizer, other)
    assert isinstance(optimizer._plan._walk, _walk._InC if in_c else _walk._InPython)


def test_loads_in_any_order() -> None:
    """The parameters of a model after the state, or before it."""
    for state_first in (True, False):
        optimizer, other, p, _ = pair()
        for step in range(3, 6):
            give(optimizer, other, step)
            optimizer.step()
            other.step()
        fresh = Parameter(torch.zeros(1000, dtype=BF16))
        loaded = lt.AdamW([fresh], lr=0.02, split_master=True)
        saved = copy.deepcopy(optimizer.state_dict())
        if state_first:
            loaded.load_state_dict(saved)
        with torch.no_grad():
            fresh.copy_(p)
        if not state_first:
            loaded.load_state_dict(saved)
        give(loaded, other, 7)
        loaded.step()
        other.step()
        assert_alike(loaded, other)


def test_what_somebody_writes_to_a_parameter() -> None:
    """Its rest stays, but where a number of another sign would come of it: 0 and a negative rest are NaN."""
    optimizer, other, p, q = pair()
    for step in range(3, 5):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
    rest = optimizer.state[p]["rest"].clone()
    assert (rest[:500] < 0).any()
    with torch.no_grad():
        p[:500] = 0
        p[0] = -0.0
        p[500:] = 3
        q[:500] = torch.where(rest[:500] < 0, 0, (rest[:500].int()).view(torch.float32))
        q[0] = torch.tensor([-(2**31) + max(int(rest[0]), 0)], dtype=torch.int32).view(torch.float32)
        q[500:] = ((torch.full((500,), 0x4040, dtype=torch.int32) << 16) + rest[500:]).view(torch.float32)
    assert (q[500:] - 3).abs().max() <= 1 / 128
    p.grad, q.grad = torch.zeros_like(p), torch.zeros_like(q)
    give(optimizer, other, 9)
    optimizer.step()
    other.step()
    assert p.isfinite().all()
    assert_alike(optimizer, other)


def test_state_of_float32_is_taken() -> None:
    """Torch's own has no rests: they begin as 0. State in fewer bits goes together with halves."""
    params = parameters()
    theirs = torch.optim.AdamW(widened(params), lr=0.02)
    plain = lt.AdamW(widened(params), lr=0.02, state_dtype="float8", state_seed=3)
    optimizer = lt.AdamW(params, lr=0.02, split_master=True, state_dtype="float8", state_seed=3)
    give(theirs, theirs, 3)
    theirs.step()
    for o in (plain, optimizer):
        o.load_state_dict(theirs.state_dict())
    for step in range(4, 7):
        give(optimizer, plain, step)
        optimizer.step()
        plain.step()
        assert_alike(optimizer, plain)


def test_refused(tmp_path: Path) -> None:
    params = parameters()
    with pytest.raises(lt.UnsupportedError, match="is torch.float32, want torch.bfloat16 with split_master"):
        lt.AdamW([*params, Parameter(torch.ones(3))], split_master=True, fallback=True)
    with pytest.raises(lt.UnsupportedError, match="is torch.float16, want torch.bfloat16 with split_master"):
        lt.AdamW([Parameter(torch.ones(3, dtype=torch.float16))], split_master=True)
    with pytest.raises(lt.UnsupportedError, match="split_master is True, want False with these options: .*single pass"):
        lt.AdamW(params, split_master=True, cautious_update=True)
    with pytest.raises(lockstep.ArgumentError, match="master_weights and split_master are True, want one of them"):
        lt.AdamW(params, split_master=True, master_weights=True)
    optimizer, masters = lt.AdamW(params, split_master=True), lt.AdamW(parameters(), master_weights=True)
    give(optimizer, masters, 5)
    optimizer.step()
    masters.step()
    before = [p.detach().clone() for p in params]
    optimizer.param_groups[0]["cautious_update"] = True
    with pytest.raises(lt.UnsupportedError, match="split_master is True, want False"):
        optimizer.step()
    optimizer.param_groups[0]["cautious_update"] = False
    states = [o.state_dict() for o in (optimizer, masters)]
    for o, state, has in ((optimizer, states[1], "master"), (masters, states[0], "rest")):
        o.load_state_dict(state)
        with pytest.raises(lt.UnsupportedError, match=f"the state of parameter 0 of group 0 has a {has}, want that"):
            o.step()
    floats = copy.deepcopy(states[0])
    floats["state"][0]["rest"] = floats["state"][0]["rest"].float()
    optimizer.load_state_dict(floats)
    with pytest.raises(lt.UnsupportedError, match="the state rest of parameter 0 of group 0 is torch.float32, want"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before))
    with pytest.raises(lt.UnsupportedError, match="is torch.bfloat16, want torch.float32"):
        checkpoint.save(tmp_path / "state", optimizer)
