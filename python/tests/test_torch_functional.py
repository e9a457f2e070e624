"""Losses beside those of torch.nn.functional: values, gradients, reductions, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch

import lockstep.torch.functional as ours
from lockstep import ArgumentError
from lockstep.torch import UnsupportedError
from lockstep.torch._room import _SERVES, LEAST, empty_like

theirs = torch.nn.functional
SHAPE = (301, 17)  # more elements than a part
torch.manual_seed(0)
NUMBERS, OTHERS = 2 * torch.randn(SHAPE), 2 * torch.randn(SHAPE)
PROBABILITIES = 0.98 * torch.rand(SHAPE) + 0.01
CLASSES = (torch.rand(SHAPE) < 0.4).float()
COUNTS = torch.poisson(4 * torch.rand(SHAPE))
LOGS, SHARES = torch.log_softmax(NUMBERS, 1), torch.softmax(OTHERS, 1)
WEIGHTS = 2 * torch.rand(SHAPE)

Case = tuple[str, Any, Any, dict[str, Any]]
CASES: list[Case] = [
    ("mse_loss", NUMBERS, OTHERS, {}),
    ("mse_loss", NUMBERS, OTHERS, {"weight": WEIGHTS}),
    ("l1_loss", NUMBERS, OTHERS, {}),
    ("l1_loss", NUMBERS, OTHERS, {"weight": WEIGHTS}),
    ("huber_loss", NUMBERS, OTHERS, {}),
    ("huber_loss", NUMBERS, OTHERS, {"delta": 0.3, "weight": WEIGHTS}),
    ("smooth_l1_loss", NUMBERS, OTHERS, {}),
    ("smooth_l1_loss", NUMBERS, OTHERS, {"beta": 0.0}),
    ("soft_margin_loss", NUMBERS, 2 * CLASSES - 1, {}),
    ("binary_cross_entropy", PROBABILITIES, CLASSES, {}),
    ("binary_cross_entropy", PROBABILITIES, CLASSES, {"weight": WEIGHTS[:, :1]}),
    ("binary_cross_entropy_with_logits", NUMBERS, CLASSES, {}),
    ("binary_cross_entropy_with_logits", NUMBERS, CLASSES, {"weight": WEIGHTS[0], "pos_weight": torch.tensor(3.0)}),
    ("binary_cross_entropy_with_logits", NUMBERS, CLASSES, {"pos_weight": 3 * WEIGHTS[1], "weight": WEIGHTS}),
    ("binary_cross_entropy_with_logits", NUMBERS, PROBABILITIES, {"pos_weight": WEIGHTS[:, :1]}),
    ("binary_cross_entropy_with_logits", NUMBERS, CLASSES, {"pos_weight": torch.arange(17.0)}),  # one is 0
    ("poisson_nll_loss", NUMBERS, COUNTS, {}),
    ("poisson_nll_loss", PROBABILITIES, COUNTS, {"log_input": False, "full": True}),
    ("kl_div", LOGS, SHARES, {}),
    ("kl_div", LOGS, SHARES.log(), {"log_target": True}),
]
REDUCTIONS = ["mean", "sum", "none"]


def run(loss: Callable[..., Any], x: Any, upstream: float, *args: Any, **options: Any) -> tuple[Any, Any]:
    leaf = x.clone().requires_grad_()
    value = loss(leaf, *args, **options)
    (value * upstream).sum().backward()
    return value.detach(), leaf.grad


def close(got: Any, want: Any) -> None:
    scale = want.abs().max().item()
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("upstream", [1, -2.5])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(case[3])}")
@pytest.mark.filterwarnings("ignore:reduction")
def test_beside_torch(case: Case, reduction: str, upstream: float) -> None:
    name, x, y, options = case
    options = {**options, "reduction": reduction}
    value, grad = run(getattr(ours, name), x, upstream, y, **options)
    want, slope = run(getattr(theirs, name), x, upstream, y, **options)
    assert value.shape == want.shape
    assert value.dtype == want.dtype
    close(value, want)
    close(grad, slope)
    assert torch.equal(getattr(ours, name)(x, y, **options), value)  # without a gradient
    across = getattr(ours, name)(x.t().contiguous().t(), y, **options)  # other strides
    assert torch.equal(across, value)


def keras_bce(x: Any, y: Any, smoothing: float) -> Any:
    q, y = x.clamp(1e-7, 1 - 1e-7), y * (1 - smoothing) + smoothing / 2
    return -y * q.log() - (1 - y) * (1 - q).log()


FORMULAS: list[tuple[str, Any, Any, dict[str, Any], Any]] = [
    ("log_cosh_loss", NUMBERS, OTHERS, {}, lambda x, y: (x - y).cosh().log()),
    ("quantile_loss", NUMBERS, OTHERS, {"level": 0.3}, lambda x, y: torch.maximum(0.3 * (y - x), 0.7 * (x - y))),
    ("hinge_loss", NUMBERS, 2 * CLASSES - 1, {}, lambda x, y: (1 - x * y).relu()),
    ("hinge_loss", NUMBERS, CLASSES, {"labels": "zero-one"}, lambda x, y: (1 - x * (2 * y - 1)).relu()),
    ("squared_hinge_loss", NUMBERS, 2 * CLASSES - 1, {}, lambda x, y: (1 - x * y).relu() ** 2),
    ("squared_hinge_loss", NUMBERS, CLASSES, {"labels": "zero-one"}, lambda x, y: (1 - x * (2 * y - 1)).relu() ** 2),
    ("binary_cross_entropy", PROBABILITIES, CLASSES, {"label_smoothing": 0.2}, lambda x, y: keras_bce(x, y, 0.2)),
    (
        "binary_cross_entropy",
        torch.where(CLASSES > WEIGHTS, 0, PROBABILITIES),
        CLASSES,
        {"clamp": "probability", "label_smoothing": 0.1},
        lambda x, y: keras_bce(x, y, 0.1),
    ),
    (
        "binary_cross_entropy_with_logits",
        NUMBERS,
        CLASSES,
        {"label_smoothing": 0.2},
        lambda x, y: keras_bce(x.sigmoid(), y, 0.2),
    ),
    (
        "binary_cross_entropy_with_logits",
        NUMBERS,
        CLASSES,
        {"label_smoothing": 0.2, "pos_weight": 3 * WEIGHTS[1]},
        lambda x, y: theirs.binary_cross_entropy_with_logits(
            x, 0.8 * y + 0.1, pos_weight=3 * WEIGHTS[1].double(), reduction="none"
        ),
    ),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", FORMULAS, ids=lambda case: f"{case[0]}-{'-'.join(case[3])}")
def test_beside_formulas(case: tuple[str, Any, Any, dict[str, Any], Any], reduction: str, weighted: bool) -> None:
    """What torch has not, in float64 as its formula says."""
    name, x, y, options, formula = case
    if weighted:
        options = {**options, "weight": WEIGHTS}

    def reduced(x: Any, y: Any) -> Any:
        each = formula(x, y) * (WEIGHTS if weighted else 1)
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    value, grad = run(getattr(ours, name), x, -2.5, y, reduction=reduction, **options)
    want, slope = run(reduced, x.double(), -2.5, y.double())
    close(value, want.float())
    close(grad, slope.float())


def test_formulas_refused() -> None:
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("clamp is 'most'", lambda: ours.binary_cross_entropy(PROBABILITIES, CLASSES, clamp="most")),  # type: ignore[arg-type]
        ("labels is 'most'", lambda: ours.hinge_loss(NUMBERS, CLASSES, labels="most")),  # type: ignore[arg-type]
        ("level is 1", lambda: ours.quantile_loss(NUMBERS, OTHERS, level=1)),
        ("smoothing is 2", lambda: ours.binary_cross_entropy(PROBABILITIES, CLASSES, label_smoothing=2)),
        (
            "label_smoothing is 2",
            lambda: ours.binary_cross_entropy_with_logits(NUMBERS, CLASSES, label_smoothing=2, pos_weight=WEIGHTS[0]),
        ),
    ]
    for message, call in calls:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_batch_mean() -> None:
    value, grad = run(ours.kl_div, LOGS, 1, SHARES, reduction="batchmean")
    want, slope = run(theirs.kl_div, LOGS, 1, SHARES, reduction="batchmean")
    close(value, want)
    close(grad, slope)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[:1], (SHAPE[0], 1)])
@pytest.mark.parametrize("full", [False, True])
def test_gaussian(reduction: str, shape: tuple[int, ...], full: bool) -> None:
    spread = torch.rand(shape) + 0.1
    spread.view(-1)[:3] = 0
    results = []
    for module in (ours, theirs):
        x, var = NUMBERS.clone().requires_grad_(), spread.clone().requires_grad_()
        value = module.gaussian_nll_loss(x, OTHERS, var, full=full, eps=1e-3, reduction=reduction)
        (value * 3).sum().backward()
        results.append((value.detach(), x.grad, var.grad))
    for got, want in zip(*results):
        close(got, want)
    number = ours.gaussian_nll_loss(NUMBERS, OTHERS, 0.5)
    close(number, theirs.gaussian_nll_loss(NUMBERS, OTHERS, 0.5))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("alpha", [0.25, -1])
def test_focal(alpha: float, smoothing: float) -> None:
    def formula(x: Any, y: Any) -> Any:
        p, y = x.sigmoid(), y * (1 - smoothing) + smoothing / 2
        wrong = 1 - (p * y + (1 - p) * (1 - y))
        loss = theirs.binary_cross_entropy_with_logits(x, y, reduction="none") * wrong**2
        return loss if alpha < 0 else loss * (alpha * y + (1 - alpha) * (1 - y))

    value, grad = run(ours.sigmoid_focal_loss, NUMBERS, 1, CLASSES, alpha=alpha, label_smoothing=smoothing)
    want, slope = run(formula, NUMBERS.double(), 1, CLASSES.double())
    close(value, want.float())
    close(grad, slope.float())


def keras_divergence(x: Any, y: Any) -> Any:
    y = y.clamp(1e-7, 1)
    return y * (y / x.clamp(1e-7, 1)).log()


def keras_focal(x: Any, y: Any) -> Any:
    y, q = 0.9 * y + 0.05, x.clamp(1e-7, 1 - 1e-7)
    loss = -y * q.log() - (1 - y) * (1 - q).log()
    return (0.25 * y + 0.75 * (1 - y)) * (y * (1 - x) + (1 - y) * x) ** 1.5 * loss


def test_probabilities() -> None:
    x = PROBABILITIES.clone()
    x[::3, ::2] = 0
    for function, formula, options in (
        (ours.kl_div, keras_divergence, {}),
        (ours.sigmoid_focal_loss, keras_focal, {"gamma": 1.5, "label_smoothing": 0.1}),
    ):
        value, grad = run(function, x, 2, CLASSES, probabilities=True, reduction="none", **options)
        want, slope = run(formula, x.double(), 2, CLASSES.double())
        close(value, want.float())
        close(grad, slope.float())
    mean, sum = (ours.kl_div(x, CLASSES, probabilities=True, reduction=r) for r in ("batchmean", "sum"))
    close(mean, sum / len(x))


def test_extremes() -> None:
    x, y = torch.tensor([1e4, -1e4, float("inf")]), torch.tensor([0.0, 1.0, 1.0])
    value, grad = run(ours.binary_cross_entropy_with_logits, x, 1, y, reduction="none")
    assert value.tolist() == [1e4, 1e4, 0]
    assert grad.tolist() == [1, -1, 0]
    assert ours.mse_loss(x[:0], y[:0]).isnan()
    assert ours.mse_loss(x[0], y[0]) == 1e8


def test_gradient_twice() -> None:
    x = NUMBERS.clone().requires_grad_()
    value = ours.mse_loss(x, OTHERS)
    value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    assert x.grad is not None
    once = x.grad.clone()
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.equal(x.grad, 2 * once)


def test_what_is_refused() -> None:
    x, y = NUMBERS.clone(), OTHERS.clone()
    unsupported: list[tuple[Callable[[], Any], str]] = [
        (lambda: ours.mse_loss(x.double(), y), "^input is torch.float64"),
        (lambda: ours.mse_loss(x, y.half()), "^target is torch.float16"),
        (lambda: ours.mse_loss(x, y[:1]), "^target has the shape"),
        (lambda: ours.mse_loss(x, y.clone().requires_grad_()), "^target wants a gradient"),
        (lambda: ours.mse_loss(x.to("meta"), y), "^input is on meta"),
        (lambda: ours.huber_loss(x, y, weight=x.double()), "^weight is torch.float64"),
    ]
    for call, message in unsupported:
        with pytest.raises(UnsupportedError, match=message):
            call()
    arguments: list[tuple[Callable[[], Any], str]] = [
        (lambda: ours.mse_loss(x, y, reduction="avg"), "^reduction is 'avg'"),  # type: ignore[arg-type]
        (lambda: ours.mse_loss(x, y, reduction="batchmean"), "^reduction is 'batchmean'"),  # type: ignore[arg-type]
        (lambda: ours.huber_loss(x, y, delta=0), "^delta is 0"),
        (lambda: ours.gaussian_nll_loss(x, y, -1.0), "^var has negative"),
        (lambda: ours.poisson_nll_loss(x, y, log_input=False, eps=-1), "^eps is -1"),
        (lambda: ours.binary_cross_entropy_with_logits(x, y, pos_weight=torch.ones(2)), "^pos_weight has the shape"),
        (lambda: ours.binary_cross_entropy_with_logits(x, y, pos_weight=-torch.ones(17)), "^pos_weight has elements"),
    ]
    for call, message in arguments:
        with pytest.raises(ArgumentError, match=message):
            call()


def test_memory_of_large_results() -> None:
    """Memory is another's once nothing is in it, not before, and of what is much smaller never."""
    large = torch.zeros(LEAST // 2)
    first, second = empty_like(large), empty_like(large)
    at = first.data_ptr()
    assert (first.shape, first.dtype) == (large.shape, large.dtype)
    assert abs(at - second.data_ptr()) >= 2 * LEAST
    part = first[5:]
    del first
    part.fill_(3)
    third = empty_like(large)
    third.zero_()
    assert third.data_ptr() != at
    assert bool((part == 3).all())
    if not _SERVES:
        return
    del part
    again = empty_like(large)
    assert again.data_ptr() == at
    del again
    half = empty_like(large[: LEAST // 4])
    assert half.data_ptr() != at, "half of a mapping lies idle"


def test_large_gradients() -> None:
    """Gradients that a caller keeps stay as they are when others are made."""
    y = torch.zeros(LEAST // 4)
    kept = []
    for k in range(3):
        x = torch.full((LEAST // 4,), float(k), requires_grad=True)
        ours.mse_loss(x, y, reduction="sum").backward()  # type: ignore[no-untyped-call]
        kept.append(x.grad)
    for k, grad in enumerate(kept):
        assert grad is not None
        assert bool((grad == 2 * k).all())
