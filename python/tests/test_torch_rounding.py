"""Parameters of bfloat16 alone, rounded at random: ``bf16_stochastic_round=True``."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from rounding import rounded
from test_torch_split import BF16, EVERY, drawn, give, made, parameters, params_of, reloaded, widened
from torch import Tensor
from torch.nn import Parameter
from torch_runs import names

import lockstep
import lockstep.torch as lt

SEED = 5


def test_every_class() -> None:
    """All that have parameters in two halves have the argument, and its seed."""
    every = [n for n in lt.__all__ if isinstance(of := getattr(lt, n), type) and issubclass(of, lt.LockstepOptimizer)]
    for name in every:
        has = inspect.signature(getattr(lt, name)).parameters
        assert ("split_master" in has) == ("bf16_stochastic_round" in has), name
        assert "bf16_stochastic_round" not in has or "state_seed" in has, name


def in_memory(tensor: Tensor) -> Any:
    """The elements of a dense tensor in the order of memory, which are its own."""
    return tensor.detach().as_strided((tensor.numel(),), (1,)).numpy()


def round_all(other: Any) -> None:
    """Does to float32 parameters what a step does to bfloat16."""
    for k, q in enumerate(params_of(other)):
        if other.state.get(q) and q.numel():
            flat = in_memory(q)
            half = rounded(flat, SEED, k, int(other.state[q]["step"]))
            flat[...] = (half.astype(np.uint32) << np.uint32(16)).view(np.float32)


def assert_alike(optimizer: Any, other: Any) -> None:
    for p, q in zip(params_of(optimizer), params_of(other)):
        assert p.dtype is BF16
        assert torch.equal(p.detach().float(), q.detach())
        state, want = optimizer.state[p], other.state[q]
        assert state.keys() == want.keys()
        for key, value in want.items():
            assert torch.equal(torch.as_tensor(state[key]), torch.as_tensor(value)), key


@pytest.mark.parametrize(("name", "kwargs"), EVERY, ids=names(EVERY))
def test_steps_are_those_of_float32_rounded(name: str, kwargs: dict[str, Any]) -> None:
    params, seed = parameters(), {"state_seed": SEED}
    optimizer = made(name, params, kwargs, bf16_stochastic_round=True, **seed)
    other = made(name, widened(params), kwargs, **seed)
    for step in range(8):
        give(optimizer, other, step)
        optimizer.step()
        other.step()
        round_all(other)
        assert_alike(optimizer, other)
        if step == 3:
            optimizer = reloaded(name, optimizer, kwargs, bf16_stochastic_round=True, **seed)
            other = reloaded(name, other, kwargs, **seed)
        if step == 5:
            optimizer, other = (pickle.loads(pickle.dumps(copy.deepcopy(o))) for o in (optimizer, other))
            assert optimizer.bf16_stochastic_round
            assert optimizer.state_seed == SEED
        for group in [*optimizer.param_groups, *other.param_groups]:
            group["lr"] = group["lr"] * 0.75


def test_the_mean_is_right() -> None:
    """Steps of a 64th of what a bfloat16 near 1 can be told by go on at random, and not to nearest."""
    p, near = Parameter(torch.ones(1 << 14, dtype=BF16)), torch.ones(1 << 14, dtype=BF16)
    optimizer = lt.SGD([p], lr=2**-14, bf16_stochastic_round=True, state_seed=1)
    p.grad = torch.ones_like(p)
    for _ in range(200):
        optimizer.step()
        near -= torch.tensor(2**-14, dtype=BF16)
    assert bool((near == 1).all())
    moved = 1 - p.detach().double()
    assert abs(moved.mean() - 200 * 2**-14) < 4 * moved.std() / 128


def test_refused() -> None:
    params = [Parameter(torch.ones(3, dtype=BF16))]
    with pytest.raises(lt.UnsupportedError, match="is torch.float32, want torch.bfloat16 with bf16_stochastic_round"):
        lt.AdamW([*params, Parameter(torch.ones(3))], bf16_stochastic_round=True, fallback=True)
    with pytest.raises(lt.UnsupportedError, match="bf16_stochastic_round is True, want False with .*single pass"):
        lt.AdamW(params, bf16_stochastic_round=True, cautious_update=True)
    ways: dict[str, Any] = {"master_weights": True, "split_master": True}
    for name, way in ways.items():
        with pytest.raises(lockstep.ArgumentError, match=f"{name} and bf16_stochastic_round are True, want one"):
            made("AdamW", params, {}, bf16_stochastic_round=True, **{name: way})
    with pytest.raises(lockstep.ArgumentError, match="state_seed is -1"):
        lt.AdamW(params, bf16_stochastic_round=True, state_seed=-1)
    for name, way in ways.items():
        p = Parameter(drawn((8,), 1))
        masters = made("AdamW", [p], {}, **{name: way})
        p.grad = torch.ones_like(p)
        masters.step()
        p.grad = torch.ones_like(p)
        alone = lt.AdamW([p], bf16_stochastic_round=True)
        alone.load_state_dict(masters.state_dict())
        with pytest.raises(lt.UnsupportedError, match=f"want that of an optimizer without {name}"):
            alone.step()
