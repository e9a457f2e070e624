"""Losses of rows beside their formula in float64, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from threads import counted, end, threads

import lockstep.numpy as ln
from lockstep import ArgumentError, Pool

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def data(rows: int, classes: int) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    rng = np.random.default_rng(classes)
    logits = 3 * rng.standard_normal((rows, classes), np.float32)
    targets = rng.random((rows, classes), np.float32) / np.float32(classes)
    return logits, rng.integers(0, classes, rows), targets


def formula(z: Floats, t: Doubles, w: Doubles, z_loss: float) -> tuple[Doubles, Doubles]:
    """The losses of rows and their gradient."""
    x = z.astype(np.float64)
    lse = np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) + x.max(1, keepdims=True)
    t = t * w
    each = (t * (lse - x)).sum(1) + z_loss * lse[:, 0] ** 2
    return each, np.exp(x - lse) * (t.sum(1, keepdims=True) + 2 * z_loss * lse) - t


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize(
    "options", [{}, {"smoothing": 0.1}, {"z_loss": 0.01}, {"class_weights": True, "smoothing": 0.2}]
)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("rows", "classes"), [(40, 10), (6, 1000), (3, 9001), (1, 1)])
def test_formula(rows: int, classes: int, soft: bool, options: dict[str, Any], reduction: Any) -> None:
    logits, labels, targets = data(rows, classes)
    options = dict(options)
    if options.get("class_weights"):
        options["class_weights"] = np.linspace(0.5, 2, classes, dtype=np.float32)
    w = np.asarray(options.get("class_weights", np.ones(classes, np.float32))).astype(np.float64)
    t = targets.astype(np.float64) if soft else np.eye(classes)[labels]
    s = options.get("smoothing", 0)
    each, grad = formula(logits, (1 - s) * t + s / classes, w, options.get("z_loss", 0))
    divisor = w[labels].sum() if reduction == "mean" and not soft else rows if reduction.endswith("mean") else 1
    got, losses = np.full_like(logits, np.nan), np.full(rows, np.nan, np.float32)
    target = targets if soft else labels
    value = ln.cross_entropy(logits, target, reduction=reduction, grad=got, each=losses, scale=4, **options)
    assert value == pytest.approx(each.sum() / divisor, rel=2e-6)
    np.testing.assert_allclose(losses, each, rtol=4e-6, atol=1e-7)
    np.testing.assert_allclose(got, 4 * grad / divisor, rtol=2e-5, atol=1e-6 / divisor)
    place = logits.copy()
    assert ln.cross_entropy(place, target, reduction=reduction, grad=place, each=losses, scale=4, **options) == value
    np.testing.assert_array_equal(place, got)


def of_labels(name: str, z: Doubles, y: int) -> Any:
    """The loss of a row as its formula says."""
    others = np.delete(z, y)
    p = np.exp(z[y]) / np.exp(z).sum()
    return {
        "nll": -z[y],
        "multi_margin": np.maximum(0, 1 - z[y] + others).sum() / len(z),
        "multi_margin 2": (np.maximum(0, 0.5 - z[y] + others) ** 2).sum() / len(z),
        "crammer_singer": max(0, 2 - z[y] + others.max()),
        "categorical_hinge": max(0, 1 - z[y] + max(0, others.max())),
        "softmax_focal": -((1 - p) ** 1.5) * np.log(p),
    }[name]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nll", {}),
        ("multi_margin", {}),
        ("multi_margin 2", {"p": 2, "margin": 0.5}),
        ("crammer_singer", {"margin": 2}),
        ("categorical_hinge", {}),
        ("softmax_focal", {"gamma": 1.5}),
    ],
)
@pytest.mark.parametrize(("rows", "classes"), [(40, 10), (3, 4500)])
def test_losses_of_labels(rows: int, classes: int, name: str, options: dict[str, Any]) -> None:
    loss = getattr(ln, name.split()[0])
    logits, labels, _ = data(rows, classes)
    weights, factors = np.linspace(0.5, 2, classes, dtype=np.float32), np.linspace(1, 2, rows, dtype=np.float32)
    labels[1] = 3
    w = weights[labels].astype(np.float64)
    each = np.array([of_labels(name, z, y) for z, y in zip(logits.astype(np.float64), labels)]) * w * factors
    each[labels == 3] = 0
    counts = (w if name == "nll" else np.ones(rows))[labels != 3].sum()
    grad, losses = np.full_like(logits, np.nan), np.full(rows, np.nan, np.float32)
    keep: dict[str, Any] = {"class_weights": weights, "weights": factors, "ignore_index": 3, **options}
    value = loss(logits, labels, grad=grad, each=losses, scale=4, **keep)
    assert value == pytest.approx(each.sum() / counts, rel=2e-6)
    np.testing.assert_allclose(losses, each, rtol=4e-6, atol=1e-6)
    place, step = logits.copy(), np.float32(2**-7)
    assert loss(place, labels, grad=place, scale=4, pool=Pool(2), **keep) == value
    np.testing.assert_array_equal(place, grad)
    for column in (0, int(labels[0])):
        up, down = logits.copy(), logits.copy()
        up[0, column] += step
        down[0, column] -= step
        slope = (loss(up, labels, **keep) - loss(down, labels, **keep)) / (2 * step)
        assert grad[0, column] == pytest.approx(4 * slope, abs=1e-3)  # there are kinks between
    assert np.isnan(loss(logits[:0], labels[:0], **options))
    assert loss(logits[:0], labels[:0], empty="zero", **options) == 0


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize(("rows", "classes"), [(40, 10), (3, 4500), (2, 1)])
def test_focal_of_all_classes(rows: int, classes: int, smoothing: float, soft: bool) -> None:
    x, labels, targets = data(rows, classes)
    x[0, 0], alpha = 40, np.linspace(0.5, 2, classes, dtype=np.float32)  # which is nearly sure
    t = targets.astype(np.float64) if soft else np.eye(classes)[labels]
    t = (t * (1 - smoothing) + smoothing / classes) * alpha
    above = x.astype(np.float64) - x.max(1, keepdims=True)
    log = above - np.log(np.exp(above).sum(1, keepdims=True))
    p, unlike = np.exp(log), -np.expm1(log)
    each = -(t * unlike**1.5 * log).sum(1)
    slope = t * np.sqrt(unlike) * (unlike - 1.5 * p * log)
    grad = 4 * (p * slope.sum(1, keepdims=True) - slope) / rows
    got, losses, target = np.full_like(x, np.nan), np.full(rows, np.nan, np.float32), targets if soft else labels
    keep: dict[str, Any] = {"gamma": 1.5, "smoothing": smoothing, "class_weights": alpha, "scale": 4}
    value = ln.softmax_focal(x, target, grad=got, each=losses, **keep)
    assert value == pytest.approx(each.mean(), rel=4e-6, abs=1e-12)
    np.testing.assert_allclose(losses, each, rtol=2e-5, atol=1e-12)
    np.testing.assert_allclose(got, grad, rtol=2e-5, atol=2e-6 * np.abs(grad).max())
    assert ln.softmax_focal(x, target, grad=x, each=losses, **keep) == value
    np.testing.assert_array_equal(x, got)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize(("rows", "classes"), [(40, 10), (3, 4500), (2, 1)])
def test_focal_of_probabilities(rows: int, classes: int, reduction: Any, soft: bool) -> None:
    logits, labels, targets = data(rows, classes)
    x, alpha = np.abs(logits) + np.float32(0.1), np.linspace(0.5, 2, classes, dtype=np.float32)
    x[:, 1:2] = 0
    t = (targets.astype(np.float64) if soft else np.eye(classes)[labels]) * 0.9 + 0.1 / classes
    s = x.sum(1, keepdims=True, dtype=np.float64)
    q = np.clip(x / s, np.float32(1e-7), np.float32(1 - 1e-7)).astype(np.float64)
    w, log = t * alpha, np.log(q)
    each = -(w * (1 - q) ** 1.5 * log).sum(1)
    slope = w * np.sqrt(1 - q) * (1.5 * log - (1 - q) / q) * (q == x / s)
    grad = (slope - (slope * q).sum(1, keepdims=True)) / s / (rows if reduction == "mean" else 1)
    got, losses, target = np.full_like(x, np.nan), np.full(rows, np.nan, np.float32), targets if soft else labels
    keep: dict[str, Any] = {"gamma": 1.5, "probabilities": True, "smoothing": 0.1, "class_weights": alpha}
    value = ln.softmax_focal(x, target, grad=got, each=losses, reduction=reduction, **keep)
    assert value == pytest.approx(each.mean() if reduction == "mean" else each.sum(), rel=4e-6)
    np.testing.assert_allclose(losses, each, rtol=4e-6, atol=1e-9)
    np.testing.assert_allclose(got, grad, rtol=2e-5, atol=2e-6 * np.abs(grad).max())
    assert ln.softmax_focal(x, target, grad=x, each=losses, reduction=reduction, **keep) == value
    np.testing.assert_array_equal(x, got)


@pytest.mark.parametrize(("rows", "columns"), [(40, 10), (3, 4500)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
def test_cosine_embedding(rows: int, columns: int, reduction: Any) -> None:
    x, _, _ = data(rows, columns)
    y, target = x[::-1] + np.float32(1), np.where(np.arange(rows) % 2, -1, 1).astype(np.float32)
    w = np.linspace(1, 2, rows, dtype=np.float32)

    def losses(x: Any, y: Any) -> Any:
        c = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
        return w * np.where(target > 0, 1 - c, np.maximum(0, c - 0.05))

    p, q, divisor = x.astype(np.float64), y.astype(np.float64), rows if reduction.endswith("mean") else 1
    grads, each = [np.full_like(x, np.nan) for _ in range(2)], np.full(rows, np.nan, np.float32)
    value = ln.cosine_embedding(
        x, y, target, margin=0.05, weights=w, reduction=reduction, scale=4, grad_x=grads[0], grad_y=grads[1], each=each
    )
    assert value == pytest.approx(losses(p, q).sum() / divisor, rel=1e-6)
    np.testing.assert_allclose(each, losses(p, q), atol=1e-6)
    for column in (0, columns - 1):
        step = np.zeros(columns)
        step[column] = 1e-5
        by_x, by_y = losses(p + step, q) - losses(p - step, q), losses(p, q + step) - losses(p, q - step)
        np.testing.assert_allclose(grads[0][:, column], 4 * by_x / 2e-5 / divisor, atol=1e-6)
        np.testing.assert_allclose(grads[1][:, column], 4 * by_y / 2e-5 / divisor, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"labels\[0\] is 0"):
        ln.cosine_embedding(x, y, np.zeros(rows, np.float32))
    with pytest.raises(ArgumentError, match="y has the shape"):
        ln.cosine_embedding(x, y[:1])
    with pytest.raises(ArgumentError, match="x has the shape"):
        ln.cosine_embedding(x[0], y[0])


@counted
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cross_entropy", {}),
        ("nll", {}),
        ("multi_margin", {}),
        ("crammer_singer", {}),
        ("categorical_hinge", {}),
        ("softmax_focal", {}),
        ("softmax_focal", {"probabilities": True}),
        ("softmax_focal", {"smoothing": 0.1}),
    ],
)
def test_threads_change_no_bit(name: str, options: dict[str, Any]) -> None:
    loss = getattr(ln, name)
    logits, labels, _ = data(600, 1000)
    one, two = np.empty_like(logits), np.empty_like(logits)
    value = loss(logits, labels, grad=one, **options)
    pool, before = Pool(2), threads()
    assert loss(logits, labels, grad=two, pool=pool, **options) == value
    helpers = threads() - before
    assert len(helpers) == 1
    np.testing.assert_array_equal(one, two)
    del pool
    assert end(helpers)


@counted
def test_threads_change_no_bit_of_pairs() -> None:
    x, _, _ = data(3000, 100)
    y, keep = x[::-1] + np.float32(1), [np.full_like(x, np.nan) for _ in range(4)]
    each = np.empty((2, 3000), np.float32)
    value = ln.cosine_embedding(x, y, grad_x=keep[0], grad_y=keep[1], each=each[0])
    pool, before = Pool(2), threads()
    assert ln.cosine_embedding(x, y, grad_x=keep[2], grad_y=keep[3], each=each[1], pool=pool) == value
    helpers = threads() - before
    assert len(helpers) == 1
    np.testing.assert_array_equal(keep[:2], keep[2:])
    np.testing.assert_array_equal(each[0], each[1])
    del pool
    assert end(helpers)


def test_ignored_and_weighted_rows() -> None:
    logits, labels, _ = data(4, 5)
    labels[1], weights = -100, np.array([1, 1, 0, 3], np.float32)
    grad, each = np.full_like(logits, np.nan), np.full(4, np.nan, np.float32)
    value = ln.cross_entropy(logits, labels, ignore_index=-100, weights=weights, grad=grad, each=each)
    whole = np.empty(1, np.float32)
    alone = [ln.cross_entropy(logits[i : i + 1], labels[i : i + 1], each=whole) for i in (0, 3)]
    assert value == pytest.approx((alone[0] + 3 * alone[1]) / 3)
    assert not grad[1:3].any()
    assert not each[1:3].any()
    none = np.full(4, -100)
    assert np.isnan(ln.cross_entropy(logits, none, ignore_index=-100))
    assert ln.cross_entropy(logits, none, ignore_index=-100, empty="zero") == 0


def test_refused() -> None:
    logits, labels, targets = data(4, 5)
    grad = np.full_like(logits, 7)
    for message, arguments in {
        "target is an array of int32": (logits, labels.astype(np.int32)),
        "target has the shape (3,)": (logits, labels[:3]),
        "target has the shape (3, 5)": (logits, targets[:3]),
        "logits has the shape (20,)": (logits.ravel(), labels),
        "labels[0] is 5": (logits, np.array([5, 0, 0, 0])),
        "labels[3] is -1": (logits, np.array([0, 0, 0, -1])),
    }.items():
        with pytest.raises(ArgumentError) as e:
            ln.cross_entropy(*arguments, grad=grad)  # type: ignore[arg-type]
        assert message in str(e.value)
    for loss in (ln.nll, ln.multi_margin, ln.crammer_singer, ln.categorical_hinge, ln.softmax_focal):
        with pytest.raises(ArgumentError, match=r"labels\[0\] is 5"):
            loss(logits, np.array([5, 0, 0, 0]), grad=grad)
    for loss in (ln.nll, ln.multi_margin, ln.crammer_singer, ln.categorical_hinge):
        with pytest.raises(ArgumentError, match="targets are given"):
            loss(logits, targets, grad=grad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="p is 3"):
        ln.multi_margin(logits, labels, p=3, grad=grad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="gamma is -1"):
        ln.softmax_focal(logits, labels, gamma=-1, grad=grad)
    with pytest.raises(ArgumentError, match="smoothing is 1.1, want from 0 to 1"):
        ln.softmax_focal(logits, labels, smoothing=1.1, grad=grad)
    with pytest.raises(ArgumentError, match="reduction is 4"):
        ln.cross_entropy(logits, labels, reduction="weighted mean", grad=grad)
    with pytest.raises(ArgumentError, match="empty is 'no'"):
        ln.cross_entropy(logits, labels, empty="no", grad=grad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="smoothing is 2"):
        ln.cross_entropy(logits, labels, smoothing=2, grad=grad)
    with pytest.raises(ArgumentError, match="want a buffer apart from logits"):
        ln.cross_entropy(logits[:3], labels[:3], grad=logits[1:])
    assert (grad == 7).all()
