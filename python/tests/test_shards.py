"""Steps by gradients that are sums, and zeros that steps leave of gradients."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lockstep.numpy as ln
from lockstep import ArgumentError, NonFiniteError, preset

Floats = npt.NDArray[np.float32]

SHAPES = {"table": (200, 300), "weights": (40, 50), "bias": (40,), "none": (0,), "large": (300000,)}


def made(seed: int) -> dict[str, Floats]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def optimizer(framework: str = "torch", rule: str = "AdamW") -> ln.Optimizer:
    return ln.Optimizer(made(0), preset(framework, rule, lr=0.01), threads=2)


@pytest.mark.parametrize(("framework", "rule"), [("torch", "AdamW"), ("optax", "Lamb"), ("torch", "Adafactor")])
def test_sums_are_numpys(framework: str, rule: str) -> None:
    shards, summed = optimizer(framework, rule), optimizer(framework, rule)
    for count in range(1, 8):
        parts: list[dict[str, Any]] = [made(10 * count + j) for j in range(count)]
        parts[0]["bias"] = None
        if count > 2:
            del parts[2]["large"]
        if count == 4:
            for part in parts:
                part["weights"] = None
        sums: dict[str, Any] = {}
        for part in parts:
            for name, grad in part.items():
                if grad is not None:
                    sums[name] = sums[name] + grad if name in sums else grad
        for opt in (shards, summed):
            opt.max_norm = 1 if count % 2 else 0
            opt.policy = "propagate" if count % 3 else "skip"
            opt.grad_scale = 1 / count
        shards.step_shards(parts)
        summed.step(sums)
        assert shards.norm == summed.norm
        for name in SHAPES:
            assert shards.steps(name) == summed.steps(name)
            np.testing.assert_array_equal(shards.params[name], summed.params[name])


def test_lists_of_arrays() -> None:
    p = np.ones(3, np.float32)
    opt = ln.Optimizer(p, preset("torch", "SGD", lr=1))
    opt.step_shards([np.full(3, x, np.float32) for x in (1, 2)])
    np.testing.assert_array_equal(p, np.full(3, -2, np.float32))


def test_refused() -> None:
    opt, grads = optimizer(), made(1)
    before = {name: p.copy() for name, p in opt.params.items()}
    for shards, want in (
        (grads, "shards is a dict, want a sequence of gradients"),
        (grads["bias"], "shards is a ndarray, want a sequence"),
        ([], "count is 0, want at least 1"),
        ([grads, {"bais": grads["bias"]}], r"shards\[1\]\['bais'\] is of no parameters"),
        ([grads, [grads["bias"]]], r"len\(shards\[1\]\) is 1, want the number of params, 5"),
        ([grads, {"bias": grads["bias"][1:]}], r"shards\[1\]\['bias'\] has the shape \(39,\)"),
        ([grads, {"bias": opt.params["bias"]}], r"shards\[1\]: grads of tensor 2 \(bias\) is 40 elements"),
    ):
        with pytest.raises(ArgumentError, match=want):
            opt.step_shards(shards)  # type: ignore[arg-type]
    for name, p in before.items():
        assert opt.steps(name) == 0
        np.testing.assert_array_equal(opt.params[name], p)
    opt.max_norm = 1
    opt.observe("bias", grads["bias"])
    with pytest.raises(ArgumentError, match="the gradients is observed, want not observed with shards"):
        opt.step_shards([grads])


def test_zeros() -> None:
    opt, other = optimizer(), optimizer()
    opt.zero_grads = True
    grads: dict[str, Any] = made(1) | {"weights": None}
    other.step(grads)
    opt.step(grads)
    assert not any(grad.any() for grad in grads.values() if grad is not None)
    shards = [made(2), made(3)]
    other.step_shards(shards)
    opt.step_shards(shards)
    assert not any(grad.any() for shard in shards for grad in shard.values())
    for name, p in other.params.items():
        np.testing.assert_array_equal(opt.params[name], p)
    assert pickle.loads(pickle.dumps(opt)).zero_grads
    opt.zero_grads = False
    grads = made(4)
    opt.step(grads)
    assert all(grad.any() for grad in grads.values() if grad.size)


def test_zeros_of_what_is_not_finite() -> None:
    opt, grads = optimizer(), made(1)
    opt.zero_grads = True
    grads["bias"][3] = np.nan
    opt.policy = "refuse"
    with pytest.raises(NonFiniteError):
        opt.step(grads)
    assert all(grad.any() for grad in grads.values() if grad.size)
    opt.policy = "skip"
    opt.step(grads)
    assert not any(grad.any() for grad in grads.values())


def test_zeros_refused() -> None:
    opt, grads = optimizer(), made(1)
    opt.step(grads)
    opt.zero_grads = True
    grads["bias"].flags.writeable = False
    with pytest.raises(ArgumentError, match=r"grads\['bias'\] is read-only, want a writable array"):
        opt.step(grads)
    grads["bias"] = grads["table"][0, :40]
    with pytest.raises(ArgumentError, match=r"grads of tensor \d \(\w+\) is \d+ elements at .*, want a buffer apart"):
        opt.step(grads)
    assert grads["table"].any()
    table = ln.Optimizer(np.zeros((10, 3), np.float32), preset("torch", "SGD"))
    table.zero_grads = True
    with pytest.raises(ArgumentError, match="centralize is set, want none"):
        table.step_rows(np.array([1]), np.ones((1, 3), np.float32))
