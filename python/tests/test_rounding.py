"""Parameters of bfloat16 alone, rounded at random."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
from typing import Any

import numpy as np
import pytest
from rounding import rounded

import lockstep
import lockstep.numpy as ln
from lockstep import ArgumentError

SHAPES: dict[str, tuple[int, ...]] = {"weights": (540, 50), "bias": (7,), "scale": (), "none": (0, 3)}
ADAMW = lockstep.preset("torch", "AdamW", lr=0.01)


def drawn(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: np.asarray(random.standard_normal(shape), np.float32) for name, shape in SHAPES.items()}


def halves(params: dict[str, Any]) -> dict[str, Any]:
    return {name: ln.split_bf16(x)[0] for name, x in params.items()}


def wide(half: Any) -> Any:
    return np.asarray(np.asarray(half).astype(np.uint32) << np.uint32(16)).view(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_are_those_of_float32_rounded(threads: int) -> None:
    """With a tensor that is left out, gradients of 16 bits, clipping, an average and state of the same seed."""
    params = halves(drawn(0))
    plain = {name: wide(x) for name, x in params.items()}
    o = ln.Optimizer(params, ADAMW, rounding=9, threads=threads)
    other = ln.Optimizer(plain, ADAMW)
    for x in (o, other):
        x.max_norm, x.average = 3, ln.Averaging.torch_ema(0.9)
        x.set_state_types({"m": "bfloat16", "v": "bfloat16"}, 9)
    for step in range(1, 6):
        grads: dict[str, Any] = {name: g.astype(np.float16) for name, g in drawn(step).items()}
        if step == 3:
            del grads["bias"]
        for x in (o, other):
            x.step(grads)
        for k, (name, want) in enumerate(plain.items()):
            half = rounded(want, 9, k, other.steps(name))
            assert params[name].tobytes() == half.tobytes(), (step, name)
            want[...] = wide(half)
        assert o.state("weights")["params_average"].tobytes() == other.state("weights")["params_average"].tobytes()
    assert (o.norm, o.rounding) == (other.norm, 9)


def test_bits_of_go_and_c() -> None:
    """Those of TestBF16Known."""
    x = np.full(20000, 0x3F80, np.uint16)
    o = ln.Optimizer(x, lockstep.preset("torch", "SGD", lr=2**-10), rounding=5)
    for _ in range(3):
        o.step(np.ones(20000, np.float32))
    known = 0xCBF29CE484222325
    for byte in x.astype("<u2").tobytes():
        known = (known ^ byte) * 0x100000001B3 & (1 << 64) - 1
    assert known == 0x1EE90100C6E0E558


def test_goes_on() -> None:
    """From a state dict, a copy, a pickle, and in groups."""
    o = ln.Optimizer(halves(drawn(0)), ADAMW, rounding=4)
    for step in range(3):
        o.step(drawn(step))
    params, names = {name: x.copy() for name, x in o.params.items()}, [*SHAPES]
    groups: Any = [({n: params[n] for n in names[:2]}, ADAMW), ({n: params[n] for n in names[2:]}, ADAMW)]
    other, saved = ln.Optimizer.of_groups(groups, rounding=4), o.state_dict()
    saved["groups"] *= 2
    for entry in [*saved["arrays"].values()][2:]:
        entry["group"] = 1
    other.load_state_dict(saved)
    copies = [other, copy.deepcopy(o), pickle.loads(pickle.dumps(o))]
    for x in (o, *copies):
        x.step(drawn(7))
        assert [p.tobytes() for p in x.params.values()] == [p.tobytes() for p in o.params.values()]


def test_ml_dtypes() -> None:
    if not importlib.util.find_spec("ml_dtypes"):
        pytest.skip("ml_dtypes is not installed")
    params = halves(drawn(0))
    typed = {name: x.copy().view(importlib.import_module("ml_dtypes").bfloat16) for name, x in params.items()}
    for of in (params, typed):
        ln.Optimizer(of, ADAMW, rounding=1).step(drawn(1))
    assert [x.tobytes() for x in params.values()] == [x.tobytes() for x in typed.values()]


def test_refused() -> None:
    params = halves(drawn(0))

    def refuses(match: str, rule: Any = ADAMW, params: Any = params, **kwargs: Any) -> None:
        with pytest.raises(ArgumentError, match=match):
            ln.Optimizer(params, rule, **{"rounding": 1, **kwargs})

    refuses("rounding is -1, want an integer from 0", rounding=-1)
    refuses("rests and rounding are given, want one", rests={n: x.view(np.int16).copy() for n, x in params.items()})
    refuses("is an array of float32, want bfloat16 or uint16", params=drawn(0))
    refuses("want one of a single pass", lockstep.preset("optax", "Lamb", lr=0.1))
    o = ln.Optimizer(params, lockstep.Rule("ScheduleFreeSGD", lr=0.1, momentum=0.9), rounding=1)
    settings = {"adaptive_clip": ln.AdaptiveClip(0.1), "centralize": True, "copies": {"bias": np.zeros(7, np.uint16)}}
    for name, value in settings.items():
        with pytest.raises(ArgumentError, match=f"{name} .* set with rounding, want parameters of float32"):
            setattr(o, name, value)
    with pytest.raises(ArgumentError, match="step_shards is called with rounding"):
        o.step_shards([drawn(1)])
    o.average = ln.Averaging.torch_ema(0.9)
    o.step(drawn(1))
    for call in (o.swap_average, o.eval):
        with pytest.raises(ArgumentError, match="of bfloat16 alone, want float32, or rests"):
            call()
    o.step(drawn(2))
