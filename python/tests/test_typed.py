"""Gradients of 16 bits, and copies of parameters."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
from typing import Any

import numpy as np
import pytest

import lockstep.numpy as ln
from lockstep import ArgumentError

SHAPES: dict[str, tuple[int, ...]] = {"weights": (131, 150), "bias": (7,), "scale": (1,), "none": (0,)}
HAS_ML_DTYPES = importlib.util.find_spec("ml_dtypes") is not None


def numbers(seed: int) -> dict[str, Any]:
    """Numbers that both types have, as float32."""
    random = np.random.default_rng(seed)
    return {
        name: (random.integers(-127, 128, shape) / np.float32(32)).astype(np.float32) for name, shape in SHAPES.items()
    }


def bfloat16(x: Any) -> Any:
    """The upper halves of floats, as uint16."""
    return (np.ascontiguousarray(x).view(np.uint32) >> 16).astype(np.uint16).reshape(x.shape)


def rounded(x: Any) -> Any:
    """Floats rounded to bfloat16, as uint16."""
    bits = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).reshape(x.shape)


def of_ml_dtypes(x: Any) -> Any:
    return x.astype(importlib.import_module("ml_dtypes").bfloat16)


KINDS = {
    "float16": lambda x: x.astype(np.float16),
    "uint16": bfloat16,
    "ml_dtypes": pytest.param(of_ml_dtypes, marks=pytest.mark.skipif(not HAS_ML_DTYPES, reason="no ml_dtypes")),
}


def made(rule: str = "AdamW") -> Any:
    framework = "keras" if rule == "Lamb" else "torch"
    return ln.Optimizer(numbers(0), ln.preset(framework, rule, lr=0.01))


def assert_alike(opt: Any, other: Any) -> None:
    for name, array in opt.params.items():
        assert array.tobytes() == other.params[name].tobytes()
        for slot, state in opt.state(name).items():
            assert state.tobytes() == other.state(name)[slot].tobytes()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("rule", ["AdamW", "Adafactor", "Lamb", "SGD"])
def test_steps(kind: Any, rule: str) -> None:
    opt, other = made(rule), made(rule)
    for o in (opt, other):
        o.max_norm = 0.5
        o.policy = "skip"
    for step in range(6):
        grads: dict[str, Any] = numbers(step + 1)
        if step == 4:
            grads["bias"][3] = np.nan
        half: dict[str, Any] = {name: np.array(kind(g)) for name, g in grads.items()}
        if step % 3 == 1:
            half["weights"] = grads["weights"]
        if step == 2:
            half["bias"] = grads["bias"] = None
        before = {name: g.tobytes() for name, g in half.items() if g is not None}
        opt.step(half)
        other.step(grads)
        assert opt.norm == other.norm or step == 4
        assert_alike(opt, other)
        assert before == {name: g.tobytes() for name, g in half.items() if g is not None}
    assert opt.skipped == other.skipped == 1
    of = "float16" if half["bias"].dtype == np.float16 else "bfloat16"
    assert opt.grad_types == dict.fromkeys(SHAPES, of)


def test_the_same_arrays_after_one_that_was_refused() -> None:
    opt, other = made(), made()
    grads = numbers(1)
    half = {name: bfloat16(g) for name, g in grads.items()}
    opt.step(grads)
    with pytest.raises(
        ArgumentError, match=r"grads\['none'\] is an array of float64, want float32, float16, bfloat16 or uint16"
    ):
        opt.step({**half, "none": np.zeros(0)})
    opt.step({**half, "none": grads["none"]})
    opt.step_shards([grads, grads])
    opt.step({**half, "none": grads["none"]})
    for k in (1, 1, 2, 1):
        other.step({name: k * g for name, g in grads.items()})
    assert_alike(opt, other)


def test_shards() -> None:
    opt, other = made(), made()
    shards = [numbers(k) for k in range(3)]
    opt.step_shards([{name: g.astype(np.float16) for name, g in shard.items()} for shard in shards])
    other.step_shards(shards)
    assert_alike(opt, other)
    with pytest.raises(
        ArgumentError, match=r"shards\[1\]\['weights'\] is of float32, want float16, as shards before it"
    ):
        opt.step_shards([{"weights": shards[0]["weights"].astype(np.float16)}, shards[1]])


def test_observing() -> None:
    opt, other = made(), made()
    opt.max_norm = other.max_norm = 0.5
    for step in range(3):
        grads = numbers(step)
        half = {name: g.astype(np.float16) if name == "bias" else bfloat16(g) for name, g in grads.items()}
        if step == 0:
            with pytest.raises(ArgumentError, match=r"grads\['bias'\] is of float16, want float32: see grad_types"):
                opt.observe("bias", half["bias"])
            opt.grad_types = "bfloat16"
            opt.grad_types = {"bias": "float16"}
        opt.observe("weights", half["weights"].reshape(-1)[5:], first=5)
        for name in ("bias", "scale", "none"):
            opt.observe(name, half[name])
        opt.observe("weights", half["weights"].reshape(-1)[:5], first=0)
        opt.step(half)
        other.step(grads)
        assert opt.norm == other.norm > 0.5
        assert_alike(opt, other)
    with pytest.raises(ArgumentError, match=r"grad_types\['bias'\] is 'double', want 'float32', 'bfloat16', 'float16'"):
        opt.grad_types = {"bias": "double"}


def test_zeros() -> None:
    opt = made()
    opt.zero_grads = True
    half = {name: g.astype(np.float16) for name, g in numbers(1).items()}
    opt.step(half)
    assert not any(g.any() for g in half.values())
    half["weights"] = half["weights"].copy()
    half["weights"].flags.writeable = False
    with pytest.raises(ArgumentError, match=r"grads\['weights'\] is read-only"):
        opt.step(dict(half))


def test_copies() -> None:
    opt = made()
    with pytest.raises(ArgumentError, match="copies is none"):
        opt.write_copies()
    copies = {"weights": np.zeros((131, 150), np.float16), "bias": np.zeros(7, np.uint16)}
    opt.copies = copies
    opt.write_copies()
    grads: dict[str, Any] = numbers(1)
    for step in range(4):
        weights, bias = opt.params["weights"], opt.params["bias"]
        assert copies["weights"].tobytes() == weights.astype(np.float16).tobytes()
        assert copies["bias"].tobytes() == rounded(bias).tobytes()
        opt.step({**grads, "bias": None if step == 1 else grads["bias"]})
    again = pickle.loads(pickle.dumps(opt))
    clone = copy.deepcopy(opt)
    for o in (again, clone):
        o.step(grads)
        assert o.copies["weights"] is not copies["weights"]
        assert o.copies["weights"].tobytes() == o.params["weights"].astype(np.float16).tobytes()
    opt.copies = {}
    before = copies["weights"].tobytes()
    opt.step(grads)
    assert copies["weights"].tobytes() == before


@pytest.mark.skipif(not HAS_ML_DTYPES, reason="no ml_dtypes")
def test_copies_of_ml_dtypes() -> None:
    opt = made()
    opt.copies = {"weights": of_ml_dtypes(np.zeros((131, 150), np.float32))}
    opt.step(numbers(1))
    assert opt.copies["weights"].view(np.uint16).tobytes() == rounded(opt.params["weights"]).tobytes()


def test_refused() -> None:
    opt = made()
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"bias": np.zeros(7, np.float32)},
            r"copies\['bias'\] is an array of float32, want float16, bfloat16 or uint16",
        ),
        ({"bias": np.zeros(8, np.float16)}, r"copies\['bias'\] has the shape \(8,\), want \(7,\)"),
        ({"other": np.zeros(7, np.float16)}, "name is 'other', want one of"),
        ({"bias": opt.params["weights"].reshape(-1)[:4].view(np.float16)[:7]}, r"copies of tensor 1 \(bias\) "),
        ({"bias": np.zeros(14, np.float16)[::2]}, r"copies\['bias'\] has strides"),
    ]
    for copies, want in cases[:3] + cases[4:]:
        with pytest.raises(ArgumentError, match=want):
            opt.copies = copies
    assert opt.copies == {}
    opt.copies = cases[3][0]
    with pytest.raises(ArgumentError, match=cases[3][1]):
        opt.step(numbers(1))
    shared = np.zeros(14, np.float16)
    opt = made()
    with pytest.raises(ArgumentError, match="want memory apart from"):
        opt.copies = {"bias": shared[:7], "scale": shared[6:7]}


def test_rows() -> None:
    table, grads = np.ones((10, 3), np.float32), np.ones((2, 3), np.float32)
    opt = ln.Optimizer(table, ln.preset("torch", "Adagrad", lr=0.1))
    opt.copies = {"0": np.zeros((10, 3), np.float16)}
    opt.step(np.ones((10, 3), np.float16))
    with pytest.raises(ArgumentError, match="grads is an array of float16, want float32"):
        opt.step_rows(np.array([1, 2]), grads.astype(np.float16))
    opt.step_rows(np.array([1, 2]), grads)
    assert opt.copies["0"].tobytes() == table.astype(np.float16).tobytes()
    opt.step(np.ones((10, 3), np.float16))
    assert opt.copies["0"].tobytes() == table.astype(np.float16).tobytes()
