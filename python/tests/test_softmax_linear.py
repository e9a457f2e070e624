"""Softmax regression beside its formula in float64 and cross_entropy, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from threads import counted, end, threads

import lockstep.numpy as ln
from lockstep import ArgumentError

Floats = npt.NDArray[np.float32]
Model = tuple[Floats, npt.NDArray[np.int64], Floats, Floats]


def data(rows: int, features: int, classes: int) -> Model:
    rng = np.random.default_rng(features)
    w = rng.standard_normal((classes, features), np.float32) / np.float32(max(features, 1) ** 0.5)
    x = rng.standard_normal((rows, features), np.float32)
    return x, rng.integers(0, classes, rows), w, rng.standard_normal(classes, np.float32)


def gradients(fit: ln.SoftmaxLinear, m: Model, target: Any = None, **options: Any) -> tuple[float, list[Floats]]:
    """The value, and the gradients by w, b and x and the losses of rows."""
    x, labels, w, b = m
    outs = [np.full_like(a, np.nan) for a in (w, b, x)] + [np.full(len(x), np.nan, np.float32)]
    options |= dict(zip(("grad_w", "grad_b", "grad_x", "each"), outs))
    return fit.gradient(x, labels if target is None else target, w, b, **options), outs


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("options", [{}, {"smoothing": 0.1, "class_weights": True, "reduction": "sum"}])
@pytest.mark.parametrize("shape", [(700, 30, 10), (300, 5, 200), (40, 1000, 3), (5, 0, 4), (1, 1, 1)])
def test_formula(shape: tuple[int, int, int], options: dict[str, Any], soft: bool) -> None:
    rows, features, classes = shape
    m = data(*shape)
    x, _, w, b = (a.astype(np.float64) for a in m)
    options = dict(options)
    if options.get("class_weights"):
        options["class_weights"] = np.linspace(0.5, 2, classes, dtype=np.float32)
    soft_target = np.random.default_rng(1).random((rows, classes), np.float32)
    target = soft_target if soft else m[1]
    z = x @ w.T + b
    slopes, losses = z.astype(np.float32), np.empty(rows, np.float32)
    want = ln.cross_entropy(slopes, target, grad=slopes, each=losses, scale=4, **options)
    g = slopes.astype(np.float64)
    value, outs = gradients(ln.SoftmaxLinear(features, classes, **options), m, target, scale=4)
    assert value == pytest.approx(want, rel=1e-5)
    size = np.abs(g).max()
    for got, exact in zip(outs, (g.T @ x, g.sum(0), g @ w)):
        np.testing.assert_allclose(got, exact, rtol=1e-4, atol=2e-5 * size * rows**0.5)
    np.testing.assert_allclose(outs[3], losses, rtol=1e-5, atol=1e-5)


@counted
def test_threads_change_no_bit() -> None:
    m = data(3000, 100, 10)
    want, one = gradients(ln.SoftmaxLinear(100, 10), m)
    before = threads()
    fit = ln.SoftmaxLinear(100, 10, threads=3)
    for f in (fit, copy.deepcopy(fit)):
        value, two = gradients(f, m)
        assert value == want
        for a, b in zip(one, two):
            np.testing.assert_array_equal(a, b)
    helpers = threads() - before
    assert helpers
    del fit, f
    assert end(helpers)


def test_ignored_and_weighted_rows() -> None:
    x, labels, w, b = data(4, 3, 5)
    labels[1], weights = -100, np.array([1, 1, 0, 3], np.float32)
    fit = ln.SoftmaxLinear(3, 5, ignore_index=-100)
    value, outs = gradients(fit, (x, labels, w, b), weights=weights)
    alone = [fit.gradient(x[i : i + 1], labels[i : i + 1], w, b) for i in (0, 3)]
    assert value == pytest.approx((alone[0] + 3 * alone[1]) / 3)
    assert not outs[2][1:3].any()
    none = np.full(4, -100)
    value, outs = gradients(fit, (x, none, w, b))
    assert np.isnan(value)
    assert not any(out.any() for out in outs)
    assert ln.SoftmaxLinear(3, 5, ignore_index=-100, empty="zero").gradient(x, none, w) == 0


def test_refused() -> None:
    x, labels, w, b = data(4, 3, 5)
    out = np.full_like(w, 7)
    fit: Any = ln.SoftmaxLinear(3, 5)
    make: Any = ln.SoftmaxLinear
    calls: dict[str, Callable[[], Any]] = {
        "features is -1": lambda: make(-1, 5),
        "classes is 0": lambda: make(3, 0),
        "classes is 1048577, want at most 1048576": lambda: make(3, (1 << 20) + 1),
        "threads is 0": lambda: make(3, 5, threads=0),
        "class_weights has the shape (3,)": lambda: make(3, 5, class_weights=x[0].copy()),
        "empty is 'no'": lambda: make(3, 5, empty="no"),
        "reduction is 'no'": lambda: make(3, 5, reduction="no"),
        "smoothing is 2": lambda: make(3, 5, smoothing=2).gradient(x, labels, w, grad_w=out),
        "x has the shape (4, 2)": lambda: fit.gradient(x[:, :2], labels, w, grad_w=out),
        "w has the shape (4, 3)": lambda: fit.gradient(x, labels, w[:4], grad_w=out),
        "b has the shape (4,)": lambda: fit.gradient(x, labels, w, b[:4], grad_w=out),
        "target is an array of int32": lambda: fit.gradient(x, labels.astype(np.int32), w, grad_w=out),
        "target has the shape (4, 3), want (4, 5)": lambda: fit.gradient(x, x, w, grad_w=out),
        "weights has the shape (5,)": lambda: fit.gradient(x, labels, w, weights=b, grad_w=out),
        "grad_b has the shape (4,)": lambda: fit.gradient(x, labels, w, grad_w=out, grad_b=b[:4]),
        "labels[0] is 5": lambda: fit.gradient(x, np.full(4, 5), w, grad_w=out),
        "grad_x is 12 elements": lambda: fit.gradient(x, labels, w, grad_w=out, grad_x=x),
    }
    for message, call in calls.items():
        with pytest.raises(ArgumentError) as e:
            call()
        assert message in str(e.value)
    assert (out == 7).all()
    assert make(3, 1 << 20), "as many as there may be"
