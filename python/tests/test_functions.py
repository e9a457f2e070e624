"""Elementary functions and products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threads import counted, end, threads

import lockstep.numpy as ln
from lockstep import ArgumentError, Pool

X = np.random.default_rng(0).standard_normal((300, 7), np.float32) * 9
FUNCTIONS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "exp": (ln.exp, np.exp, X),
    "log": (ln.log, np.log, np.abs(X)),
    "log1p": (ln.log1p, np.log1p, np.abs(X)),
    "expm1": (ln.expm1, np.expm1, X),
    "tanh": (ln.tanh, np.tanh, X / 9),
    "sigmoid": (ln.sigmoid, lambda x: 1 / (1 + np.exp(-x)), X),
    "softplus": (ln.softplus, lambda x: np.logaddexp(0, x), X),
    "sqrt": (ln.sqrt, np.sqrt, np.abs(X)),
}


@pytest.mark.parametrize(("rows", "columns"), [(7, 1), (300, 10), (70, 4100), (0, 3)])
def test_rows(rows: int, columns: int) -> None:
    random = np.random.default_rng(3)
    x, g = (4 * random.standard_normal((rows, columns), np.float32) for _ in range(2))
    wide = x.astype(np.float64)
    sums = np.logaddexp.reduce(wide, 1) if rows else np.zeros(0)
    logs = wide - sums[:, None]
    np.testing.assert_allclose(ln.softmax(x), np.exp(logs), rtol=5e-6)
    np.testing.assert_allclose(ln.log_softmax(x), logs, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ln.log_sum_exp(x), sums, rtol=1e-6, atol=1e-6)
    y, grad = ln.log_softmax(x), g.copy()
    ln.log_softmax_grad(grad, y)
    np.testing.assert_allclose(grad, g - np.exp(logs) * g.sum(1, dtype=np.float64)[:, None], rtol=1e-5, atol=1e-4)
    pool = Pool(2)
    for function in (ln.softmax, ln.log_softmax):
        want, place = function(x), x.copy()
        assert function(place, place, pool=pool) is place
        np.testing.assert_array_equal(place, want)
    again = g.copy()
    ln.log_softmax_grad(again, y, pool=pool)
    np.testing.assert_array_equal(again, grad)
    np.testing.assert_array_equal(ln.log_sum_exp(x, pool=pool), ln.log_sum_exp(x))


@counted
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "log_sum_exp", "log_softmax_grad"])
def test_rows_on_threads(name: str) -> None:
    """Rows are shared by the threads of a pool, and by no others."""
    x = np.linspace(-3, 3, 1 << 19, dtype=np.float32).reshape(1 << 9, 1 << 10)

    def call(pool: Pool | None) -> Any:
        if name != "log_softmax_grad":
            return getattr(ln, name)(x, pool=pool)
        grad = x.copy()
        ln.log_softmax_grad(grad, x, pool=pool)
        return grad

    pool, before = Pool(3), threads()
    alone = call(None)
    assert not threads() - before
    np.testing.assert_array_equal(call(pool), alone)
    helpers = threads() - before
    assert len(helpers) == 2
    del pool
    assert end(helpers)


def test_rows_refused() -> None:
    x = np.zeros((2, 3), np.float32)
    calls: list[tuple[Any, str]] = [
        (lambda: ln.softmax(x[0]), "x has the shape"),
        (lambda: ln.log_softmax(np.zeros((2, 0), np.float32)), "columns is 0"),
        (lambda: ln.log_softmax(x, x.reshape(3, 2)), "out has the shape"),
        (lambda: ln.log_softmax_grad(x, x), "grad is 6 elements"),
        (lambda: ln.log_sum_exp(x, x[0]), "out has the shape"),
    ]
    for call, message in calls:
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    f, exact, x = FUNCTIONS[name]
    want = exact(x.astype(np.float64)).astype(np.float32)
    out = np.full_like(x, np.nan)
    assert f(x, out) is out
    np.testing.assert_array_max_ulp(out, want, maxulp=0 if name == "sqrt" else 1)
    np.testing.assert_array_equal(f(x), out)
    with pytest.raises(ArgumentError, match="^(x|out) is at .*, want memory apart from (x|out)"):
        f(x, x)
    with pytest.raises(ArgumentError, match=r"^out has the shape \(3,\), want \(300, 7\)"):
        f(x, out[0, :3])


def test_products() -> None:
    w, z = X[0].copy(), X[:, 0].copy()
    np.testing.assert_allclose(ln.dots(X, w), X @ w, rtol=1e-4, atol=1e-4)
    g = np.ones(7, np.float32)
    ln.add_rows(g, X, z)
    np.testing.assert_allclose(g, 1 + z @ X, rtol=1e-4, atol=1e-2)
    with pytest.raises(ArgumentError, match=r"^w has the shape \(300,\), want \(7,\)"):
        ln.dots(X, z)
    with pytest.raises(ArgumentError, match=r"^x has the shape \(7,\), want a matrix"):
        ln.dots(w, w)
    with pytest.raises(ArgumentError, match="apart from"):
        ln.add_rows(X[0], X, z)


def test_sum_squares() -> None:
    assert ln.sum_squares(X) == pytest.approx((X.astype(np.float64) ** 2).sum(), rel=1e-12)
