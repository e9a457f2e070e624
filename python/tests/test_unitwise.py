"""Gradients whose rows are clipped and centered, and noise: NumPy's numbers, what is saved, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lockstep.numpy as ln
from lockstep import ArgumentError, preset

Floats = npt.NDArray[np.float32]

SHAPES = {"table": (200, 300), "weights": (40, 5), "kernel": (3, 3, 8), "bias": (40,), "none": (0,), "wide": (3, 70000)}


def made(seed: int) -> dict[str, Floats]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def optimizer(rule: str = "SGD", threads: int = 2) -> ln.Optimizer:
    return ln.Optimizer(made(0), preset("torch", rule, lr=1), threads=threads)


def rows(x: Floats) -> npt.NDArray[np.float64]:
    return x.astype(float).reshape(len(x) if x.ndim == 2 else 1, -1)


def test_rows_are_clipped() -> None:
    opt, before, grads = optimizer(), made(0), made(1)
    opt.adaptive_clip = ln.AdaptiveClip(0.02)
    grads["table"][7] *= 1e-5  # which is below
    for params in (opt.params, before):
        params["table"][3] = 0
    opt.step(grads)
    for name, p in opt.params.items():
        g, w = rows(grads[name]), rows(before[name])
        norm, most = (np.linalg.norm(x, axis=1, keepdims=True) for x in (g, w))
        most = 0.02 * np.maximum(most, 1e-3)
        want = np.where(norm < most, g, g * (most / np.maximum(norm, 1e-6)))
        np.testing.assert_allclose(rows(before[name]) - rows(p), want, rtol=1e-4, atol=3e-7)


def test_rows_are_centered() -> None:
    opt, params, grads = optimizer(), made(0), made(1)
    opt.centralize = True
    opt.step(grads)
    for name, p in params.items():
        g = grads[name]
        if g.ndim == 2:
            g = g - g.astype(float).mean(axis=1, keepdims=True).astype(np.float32)
        np.testing.assert_array_equal(opt.params[name], p - g)


def test_noise() -> None:
    opt, params, zeros = optimizer(), made(0), {name: np.zeros_like(p) for name, p in made(0).items()}
    opt.noise = ln.Noise(4, gamma=0.5, seed=3)
    stds = []
    for _ in range(3):
        before = {name: p.astype(float) for name, p in opt.params.items()}
        opt.step(zeros)
        moves = np.concatenate([(before[name] - p).ravel() for name, p in opt.params.items()])
        stds.append(moves.std())
        assert abs(moves.mean()) < 0.02
        np.testing.assert_allclose((np.abs(moves) < stds[-1]).mean(), 0.6827, atol=0.005)
    np.testing.assert_allclose(stds, [2 / t**0.25 for t in (1, 2, 3)], rtol=0.01)
    opt.noise = None
    for name, p in opt.params.items():
        params[name][...] = p
    opt.step(zeros)
    for name, p in params.items():
        np.testing.assert_array_equal(opt.params[name], p)


@pytest.mark.parametrize("setting", ["noise", "adaptive_clip", "centralize"])
def test_threads_copies_and_state(setting: str) -> None:
    values: dict[str, Any] = {
        "noise": ln.Noise(0.1, seed=(1 << 64) - 1),
        "adaptive_clip": ln.AdaptiveClip(0.1, eps=0.01),
        "centralize": True,
    }
    opt, alone = optimizer("AdamW"), optimizer("AdamW", threads=1)
    for each in (opt, alone):
        setattr(each, setting, values[setting])
        each.max_norm = 3
        for step in range(3):
            each.step(made(step))
    others = [copy.deepcopy(opt), pickle.loads(pickle.dumps(opt)), alone, optimizer("AdamW")]
    for name, p in opt.params.items():
        others[-1].params[name][...] = p
    others[-1].load_state_dict(opt.state_dict())
    opt.step(made(4))
    for other in others:
        assert getattr(other, setting) == values[setting]
        other.step(made(4))
        assert other.norm == opt.norm
        for name, p in opt.params.items():
            np.testing.assert_array_equal(other.params[name], p)


def test_observed_is_forgotten() -> None:
    opt, other, grads = optimizer(), optimizer(), made(1)
    opt.max_norm = other.max_norm = 1
    opt.observe("bias", made(2)["bias"])
    opt.centralize = other.centralize = True
    assert not opt._observed
    for name, grad in grads.items():
        opt.observe(name, grad)
    opt.step(grads)
    other.step(grads)
    assert opt.norm == other.norm
    for name, p in other.params.items():
        np.testing.assert_array_equal(opt.params[name], p)


def test_refused() -> None:
    opt = optimizer()
    noises: list[tuple[dict[str, Any], str]] = [
        ({"eta": 0}, "eta is 0, want a number above 0"),
        ({"eta": -1}, "eta is -1, want a finite float of at least 0"),
        ({"eta": 1, "gamma": 9}, "gamma is 9, want from 0 to 8"),
        ({"eta": 1, "seed": -1}, "seed is -1, want an integer from 0"),
        ({"eta": 1, "seed": 1 << 64}, "seed is 18446744073709551616, want"),
    ]
    for options, want in noises:
        with pytest.raises(ArgumentError, match=want):
            opt.noise = ln.Noise(**options)
    for clipping, eps, want in (
        (0, 0, "clipping is 0, want"),
        (np.nan, 0, "clipping is nan"),
        (1, -1, "eps is -1, want a finite"),
    ):
        with pytest.raises(ArgumentError, match=want):
            opt.adaptive_clip = ln.AdaptiveClip(clipping, eps)
    assert opt.noise is None
    assert opt.adaptive_clip is None
    for setting, value in (("noise", ln.Noise(1)), ("adaptive_clip", ln.AdaptiveClip(1)), ("centralize", True)):
        table = ln.Optimizer(np.zeros((10, 3), np.float32), preset("torch", "SGD"))
        setattr(table, setting, value)
        with pytest.raises(ArgumentError, match="centralize is set, want none of them with steps on rows"):
            table.step_rows(np.array([1]), np.ones((1, 3), np.float32))
