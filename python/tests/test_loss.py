"""Losses, penalties and linear models beside their formulas in float64, and what they refuse."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from threads import counted, end, threads

import lockstep.numpy as ln
from lockstep import ArgumentError, Pool
from lockstep.numpy._loss import Model

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Formula = Callable[[Doubles, Doubles], tuple[Doubles, Doubles]]

N = 70001  # more than a block
RANDOM = np.random.default_rng(0)
LOGITS = 3 * RANDOM.standard_normal(N, np.float32)
PROBABILITIES = RANDOM.random(N, np.float32) * np.float32(0.98) + np.float32(0.01)
CLASSES = (RANDOM.random(N) < 0.3).astype(np.float32)


def mse(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return (x - y) ** 2, 2 * (x - y)


def bce(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return -y * np.log(x) - (1 - y) * np.log1p(-x), (x - y) / (x * (1 - x))


def bce_with_logits(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    sigmoid = 1 / (1 + np.exp(-x))
    loss = (1 - y) * np.logaddexp(0, x) + 3 * y * np.logaddexp(0, -x)
    return loss, (1 - y) * sigmoid - 3 * y * (1 - sigmoid)


def hinge(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    label = 2 * y - 1
    return np.maximum(1 - label * x, 0), np.where(label * x < 1, -label, 0)


def squared_hinge(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    loss, slope = hinge(x, y)
    return loss**2, 2 * loss * slope


def absolute(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return np.abs(x - y), np.sign(x - y)


def huber(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    d, a = x - y, np.abs(x - y)
    return np.where(a < 0.5, d * d / 2, 0.5 * (a - 0.25)), np.clip(d, -0.5, 0.5)


def smooth_l1(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    loss, slope = huber(x, y)
    return 2 * loss, 2 * slope


def quantile(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    d = y - x
    return np.maximum(0.25 * d, -0.75 * d), np.where(d > 0, -0.25, 0.75)


def log_cosh(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return np.logaddexp(x - y, y - x) - np.log(2), np.tanh(x - y)


def smoothed(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return bce(x, 0.75 * y + 0.125)


def poisson(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return np.exp(x) - y * x, np.exp(x) - y


def poisson_rates(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return x - y * np.log(x + 0.5), 1 - y / (x + 0.5)


def divergence(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return np.where(y > 0, y * -x, 0), -y


def divergence_of_logs(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    return np.exp(y) * (y - x), -np.exp(y)


def focal(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    s = 2 * y - 1
    p, right = 1 / (1 + np.exp(s * x)), -np.logaddexp(0, -s * x)  # of the wrong class; the logarithm of the right one
    alpha = np.where(y > 0, 0.25, 0.75)
    return -alpha * p * p * right, s * alpha * p * p * (2 * (1 - p) * right - p)


def focal_smoothed(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    y, p = 0.75 * y + 0.125, 1 / (1 + np.exp(-x))
    alpha, wrong = 0.75 - 0.5 * y, y * (1 - p) + (1 - y) * p
    loss = y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)
    return alpha * wrong**3 * loss, alpha * wrong**2 * (wrong * (p - y) + 3 * (1 - 2 * y) * p * (1 - p) * loss)


def clipped_divergence(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    y = np.clip(y, np.float32(1e-7), 1)
    return y * np.log(y / x), -y / x


def focal_of_probabilities(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    y = 0.75 * y + 0.125
    alpha, wrong = 0.75 - 0.5 * y, y * (1 - x) + (1 - y) * x
    loss, slope = bce(x, y)
    return alpha * wrong**3 * loss, alpha * wrong**2 * (wrong * slope + 3 * (1 - 2 * y) * loss)


LOSSES: dict[str, tuple[Callable[..., float], Floats, dict[str, Any], Formula]] = {
    "mse": (ln.mse, LOGITS, {}, mse),
    "bce": (ln.bce, PROBABILITIES, {}, bce),
    "bce, clamped": (ln.bce, PROBABILITIES, {"clamp": "probability"}, bce),
    "bce_with_logits": (ln.bce_with_logits, LOGITS, {"pos_weight": 3}, bce_with_logits),
    "bce_with_logits, classes": (
        ln.bce_with_logits,
        LOGITS,
        {"pos_weight": np.full(LOGITS.shape[-1], 3, np.float32)},
        bce_with_logits,
    ),
    "hinge": (ln.hinge, LOGITS, {"labels": "zero-one"}, hinge),
    "squared_hinge": (ln.squared_hinge, LOGITS, {"labels": "zero-one"}, squared_hinge),
    "mae": (ln.mae, LOGITS, {}, absolute),
    "huber": (ln.huber, LOGITS, {"delta": 0.5}, huber),
    "smooth_l1": (ln.smooth_l1, LOGITS, {"beta": 0.5}, smooth_l1),
    "quantile": (ln.quantile, LOGITS, {"level": 0.25}, quantile),
    "log_cosh": (ln.log_cosh, LOGITS, {}, log_cosh),
    "bce, smoothed": (ln.bce, PROBABILITIES, {"smoothing": 0.25}, smoothed),
    "poisson": (ln.poisson_nll, LOGITS, {}, poisson),
    "poisson, rates": (ln.poisson_nll, PROBABILITIES, {"rates": True, "eps": 0.5}, poisson_rates),
    "kl_divergence": (ln.kl_divergence, -PROBABILITIES, {}, divergence),
    "kl_divergence, logs": (ln.kl_divergence, -PROBABILITIES, {"log_target": True}, divergence_of_logs),
    "kl_divergence, probabilities": (ln.kl_divergence, PROBABILITIES, {"probabilities": True}, clipped_divergence),
    "focal": (ln.focal, LOGITS, {"alpha": 0.25}, focal),
    "focal, smoothed": (ln.focal, LOGITS, {"alpha": 0.25, "gamma": 3, "smoothing": 0.25}, focal_smoothed),
    "focal, probabilities": (
        ln.focal,
        PROBABILITIES,
        {"alpha": 0.25, "gamma": 3, "probabilities": True, "smoothing": 0.25},
        focal_of_probabilities,
    ),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_formula(name: str, reduction: str) -> None:
    loss, x, options, formula = LOSSES[name]
    losses, slopes = formula(x.astype(np.float64), CLASSES.astype(np.float64))
    factor = 1 / N if reduction == "mean" else 1
    grad, each = np.full((2, N), np.nan, np.float32)
    value = loss(x, CLASSES, reduction=reduction, grad=grad, each=each, **options)
    assert value == pytest.approx(losses.sum() * factor, rel=1e-6)
    np.testing.assert_allclose(each, losses, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(grad, slopes * factor, rtol=2e-5, atol=1e-7 * factor)
    alone = loss(x, CLASSES, reduction="sum" if reduction == "none" else reduction, **options)
    assert alone == value


@counted
@pytest.mark.parametrize("name", LOSSES)
def test_threads_change_no_bit(name: str) -> None:
    loss, pred, options, _ = LOSSES[name]
    x, y = np.resize(pred, (4, N)), np.resize(CLASSES, (4, N))
    keep: list[Floats] = [np.full_like(x, np.nan) for _ in range(4)]
    want = loss(x, y, grad=keep[0], each=keep[1], weight=x[:, 0] ** 2, **options)
    pool, before = Pool(2), threads()
    assert loss(x[:3], y[:3], pool=pool, **options) != want
    assert threads() <= before, "three quarters are fewer than are shared"
    assert loss(x, y, grad=keep[2], each=keep[3], weight=x[:, 0] ** 2, pool=pool, **options) == want
    helpers = threads() - before
    assert len(helpers) == 1
    np.testing.assert_array_equal(keep[:2], keep[2:])
    del pool
    assert end(helpers)


@pytest.mark.parametrize("by_row", [False, True])
def test_weights(by_row: bool) -> None:
    x, y = LOGITS[:69000].reshape(690, 100).copy(), CLASSES[:69000].reshape(690, 100)
    weight = RANDOM.random(690 if by_row else (690, 100), np.float32)
    weight[3] = 0
    x[3] = np.nan
    w = np.broadcast_to(weight.astype(np.float64).reshape(690, -1), x.shape)
    d = np.where(w > 0, x, 0).astype(np.float64) - y
    for reduction, divisor in {"mean": x.size, "batchmean": 690, "weighted mean": w.sum(), "sum": 1}.items():
        grad, each = np.full((2, 690, 100), np.nan, np.float32)
        options: dict[str, Any] = {"reduction": reduction, "weight": weight, "grad_scale": -3}
        value = ln.mse(x, y, grad=grad, each=each, **options)
        assert value == ln.mse(x, y, **options) == pytest.approx((w * d * d).sum() / divisor, rel=1e-6)
        np.testing.assert_allclose(each, w * d * d, rtol=1e-6)
        np.testing.assert_allclose(grad, -6 * w * d / divisor, rtol=1e-6)


def test_normal() -> None:
    x, y, v = LOGITS[:9000], CLASSES[:9000], PROBABILITIES[:9000]
    grad, by, each = np.full((3, 9000), np.nan, np.float32)
    value = ln.gaussian_nll(x, y, v, full=True, grad=grad, grad_variance=by, each=each)
    d, s = x.astype(np.float64) - y, v.astype(np.float64)
    want = (np.log(2 * np.pi * s) + d * d / s) / 2
    assert value == ln.gaussian_nll(x, y, v, full=True) == pytest.approx(want.mean(), rel=1e-6)
    np.testing.assert_allclose(each, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grad, d / s / 9000, rtol=1e-6)
    np.testing.assert_allclose(by, (1 - d * d / s) / s / 18000, rtol=1e-4, atol=1e-7)


def test_labels_are_signs_by_default() -> None:
    x, signs = LOGITS[:100], 2 * CLASSES[:100] - 1
    assert ln.hinge(x, signs) == ln.hinge(x, CLASSES[:100], labels="zero-one")
    assert ln.soft_margin(x, signs) == ln.bce_with_logits(x, CLASSES[:100])


def test_extremes() -> None:
    x = np.array([-0.5, 0, 1, 1.5], np.float32)
    y, grad = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert np.isnan(ln.bce(x, y, grad=grad))
    np.testing.assert_array_equal(np.isnan(grad), [True, False, False, True])
    assert np.isfinite(ln.bce(x, y, clamp="probability", grad=grad))
    assert np.isnan(ln.mse(x[:0], y[:0]))
    assert ln.mse(x[:0], y[:0], reduction="sum") == 0


def test_matrices() -> None:
    x, y = LOGITS[:12].reshape(3, 4), CLASSES[:12].reshape(3, 4)
    grad = np.zeros((3, 4), np.float32)
    assert ln.mse(x, y, grad=grad) == ln.mse(x.ravel(), y.ravel())
    np.testing.assert_allclose(grad, (x - y) / 6, rtol=1e-6)


def test_penalty() -> None:
    w, grad = LOGITS.copy(), np.ones(N, np.float32)
    d = w.astype(np.float64)
    want = 0.5 * np.abs(d).sum() + 0.25 / 2 * (d * d).sum()
    assert ln.penalty(w, l1=0.5, l2=0.25, grad=grad) == ln.penalty(w, l1=0.5, l2=0.25) == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(grad, 1 + 0.25 * d + 0.5 * np.sign(d), rtol=1e-6, atol=1e-6)


def linear(model: str, z: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    if model == "squared":
        return mse(z, y)
    if model == "logistic":
        sigmoid = 1 / (1 + np.exp(-z))
        return (1 - y) * np.logaddexp(0, z) + y * np.logaddexp(0, -z), sigmoid - y
    others = {"hinge": hinge, "squared hinge": squared_hinge, "poisson": poisson, "huber": huber, "absolute": absolute}
    others |= {"quantile": quantile, "log cosh": log_cosh}
    return others[model](z, y)


@pytest.mark.parametrize(("rows", "columns"), [(700, 30), (5, 20000), (40, 0)])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("model", get_args(Model))
def test_linear(model: Any, intercept: bool, rows: int, columns: int) -> None:
    x = RANDOM.standard_normal((rows, columns), np.float32) / np.float32(max(columns, 1)) ** np.float32(0.5)
    w, y = RANDOM.standard_normal(columns + intercept, np.float32), CLASSES[:rows]
    one = np.concatenate([x, np.ones((rows, int(intercept)))], axis=1, dtype=np.float64)
    z = one @ w.astype(np.float64)
    losses, slopes = linear(model, z, y.astype(np.float64))
    grad = np.full(columns + intercept, np.nan, np.float32)
    options: dict[str, Any] = {"huber": {"delta": 0.5}, "quantile": {"level": 0.25}}.get(model, {})
    fit = ln.Linear(model, columns, intercept=intercept, labels="zero-one", **options)
    assert fit.gradient(x, y, w, grad) == pytest.approx(losses.mean(), rel=1e-5)
    np.testing.assert_allclose(grad, one.T @ slopes / rows, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fit.predict(x, w), z, rtol=1e-4, atol=1e-5)
    assert copy.deepcopy(fit).gradient(x, y, w, grad) == fit.gradient(x, y, w, grad)


def test_linear_in_threads() -> None:
    x, y, w = LOGITS[:60000].reshape(2000, 30), CLASSES[:2000], np.zeros(30, np.float32)
    fit, want, got = ln.Linear("logistic", 30), np.zeros(30, np.float32), np.zeros((4, 200, 30), np.float32)
    fit.gradient(x, y, w, want)
    together = threading.Barrier(4)

    def gradients(out: Floats) -> None:
        together.wait()
        for grad in out:
            fit.gradient(x, y, w, grad)

    threads = [threading.Thread(target=gradients, args=(out,)) for out in got]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(got, np.broadcast_to(want, got.shape))


def fit_large(fit: ln.Linear) -> tuple[float, bytes]:
    """The loss and the gradient of a matrix that is just large enough to be shared."""
    x = np.resize(LOGITS, (1 << 14, 64))
    grad = np.full(65, np.nan, np.float32)
    return fit.gradient(x, CLASSES[: 1 << 14], LOGITS[-65:], grad), grad.tobytes()


@counted
def test_linear_shares_threads() -> None:
    want = fit_large(ln.Linear("logistic", 64, intercept=True))
    before = threads()
    fit = ln.Linear("logistic", 64, intercept=True, threads=3)
    assert fit.gradient(np.ones((2, 64), np.float32), CLASSES[:2], LOGITS[:65], np.empty(65, np.float32)) > 0
    assert threads() <= before
    assert fit_large(fit) == want
    helpers = threads() - before
    assert len(helpers) == 2
    assert fit_large(copy.deepcopy(fit)) == want
    del fit
    assert end(helpers)


def test_what_is_refused() -> None:
    x, y, out = LOGITS[:6].copy(), CLASSES[:6].copy(), np.full(6, 5, np.float32)
    fit: Any = ln.Linear("hinge", 2)
    loss: Any = ln
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: loss.mse(x.astype(float), y), "^pred is an array of float64"),
        (lambda: loss.mse(x, y[:3]), r"^target has the shape \(3,\), want \(6,\)"),
        (lambda: loss.mse(x, y, grad=out[:3]), r"^grad has the shape \(3,\), want \(6,\)"),
        (lambda: loss.mse(x, y, reduction="avg"), "^reduction is 'avg', want 'mean', 'sum', 'none'"),
        (lambda: loss.mse(x, y, weight=x[:3]), r"^weight has the shape \(3,\), want \(6,\)"),
        (lambda: loss.mse(x, y, weight=out, grad=out), "^grad is 6 elements at .*, want a buffer apart from weight"),
        (lambda: loss.mse(x, y, grad=out, grad_scale=float("inf")), "^grad_scale is inf"),
        (lambda: loss.bce(x, y, grad=out, smoothing=2), "^smoothing is 2"),
        (lambda: loss.huber(x, y, grad=out, delta=0), "^delta is 0"),
        (lambda: loss.smooth_l1(x, y, grad=out, beta=-1), "^beta is -1"),
        (lambda: loss.quantile(x, y, grad=out, level=1), "^level is 1"),
        (lambda: loss.focal(x, y, grad=out, gamma=-1), "^gamma is -1"),
        (lambda: loss.focal(x, y, grad=out, alpha=2), "^alpha is 2"),
        (lambda: loss.focal(x, y, grad=out, smoothing=2), "^smoothing is 2"),
        (lambda: loss.focal(x, y, grad=out, probabilities=True, smoothing=2), "^smoothing is 2"),
        (lambda: loss.kl_divergence(x, y, grad=out, probabilities=True, log_target=True), "^log_target is True"),
        (lambda: loss.poisson_nll(x, y, grad=out, eps=-1), "^eps is -1"),
        (lambda: loss.gaussian_nll(x, y, y[:3], grad=out), r"^variance has the shape \(3,\)"),
        (lambda: loss.gaussian_nll(x, y, y, grad=out, eps=0), "^eps is 0"),
        (lambda: loss.mse(x, y, reduction="none"), "^each is NULL"),
        (lambda: loss.mse(x, y, grad=x), "^grad is 6 elements at .*, want a buffer apart from pred"),
        (lambda: loss.bce(x, y, clamp="no"), "^clamp is 'no'"),
        (lambda: loss.hinge(x, y, labels="no"), "^labels is 'no'"),
        (lambda: loss.bce_with_logits(x, y, pos_weight=-1, grad=out), "^pos_weight is -1"),
        (lambda: loss.bce_with_logits(x, y, pos_weight=y[:3], grad=out), r"^pos_weight has the shape \(3,\)"),
        (lambda: loss.bce_with_logits(x, y, pos_weight=-np.ones_like(x), grad=out), r"^pos_weights\[0\] is -1"),
        (lambda: loss.penalty(x, l1=-1, grad=out), "^l1 is -1"),
        (lambda: loss.penalty(x, l2=float("nan"), grad=out), "^l2 is "),
        (lambda: loss.Linear("cubic", 2), "^model is 'cubic'"),
        (lambda: loss.Linear("squared", -1), "^columns is -1"),
        (lambda: loss.Linear("squared", 2, delta=1), "^delta is 1, want None but for the model 'huber'"),
        (lambda: loss.Linear("huber", 2, level=0.5), "^level is 0.5, want None"),
        (lambda: loss.Linear("huber", 2, delta=0), "^delta is 0"),
        (lambda: loss.Linear("quantile", 2, level=1), "^level is 1"),
        (lambda: loss.Linear("squared", 2, threads=0), "^threads is 0, want at least 1"),
        (lambda: fit.gradient(x, y, x[:2], out[:2]), r"^x has the shape \(6,\), want rows of 2 columns"),
        (lambda: fit.gradient(x.reshape(2, 3), y[:2], x[:2], out[:2]), r"^x has the shape \(2, 3\), want \(2, 2\)"),
        (lambda: fit.gradient(x.reshape(3, 2), y[:2], x[:2], out[:2]), r"^y has the shape \(2,\), want \(3,\)"),
        (lambda: fit.gradient(x.reshape(3, 2), out[:3], x[:2], out[4:]), r"^y\[0\] is 5, want 1 or -1"),
        (lambda: fit.predict(x.reshape(3, 2), out[:2], x[:3]), "^z is 3 elements at .*, want a buffer apart from x"),
    ]
    for call, message in calls:
        with pytest.raises(ArgumentError, match=message):
            call()
    np.testing.assert_array_equal(out, 5)
