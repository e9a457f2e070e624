"""lockstep.torch.functional's losses of rows beside PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lockstep import ArgumentError
from lockstep.torch import UnsupportedError, functional

F = torch.nn.functional


def both(x: Any, target: Any, upstream: Any = None, **options: Any) -> None:
    """Compares value and gradient."""
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, want = functional.cross_entropy(mine, target, **options), F.cross_entropy(theirs, target, **options)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, equal_nan=True)
    g = torch.ones_like(want) if upstream is None else upstream.expand_as(want)
    got.backward(g)  # type: ignore[no-untyped-call]
    want.backward(g)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3), (64, 10)])
def test_like_torch(shape: tuple[int, ...], weighted: bool, smoothing: float, reduction: str) -> None:
    torch.manual_seed(1)
    x, classes = 3 * torch.randn(shape), shape[0] if len(shape) == 1 else shape[1]
    outer = shape[:0] + shape[2:] if len(shape) == 1 else (shape[0], *shape[2:])
    labels = torch.randint(classes, outer)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = torch.rand(classes) + 0.5
    both(x, labels, **options)
    both(x, labels, torch.tensor(0.25), **options)
    if len(shape) > 1:
        labels.view(-1)[0] = -100
        both(x, labels, **options)
        both(x, torch.where(labels == -100, 2, labels), ignore_index=2, **options)
    both(x, torch.rand(shape), **options)


def test_strided_and_each_upstream() -> None:
    x, labels = torch.randn(8, 5).t()[:, ::2].t(), torch.randint(5, (4,))
    both(x, labels, torch.rand(4), reduction="none")
    both(torch.randn(4, 10)[:, ::2], labels)


def test_through_a_model_and_again() -> None:
    """The gradient is the logits' in a graph, is there a second time, and is not written over by who has it."""
    torch.manual_seed(2)
    w, x, labels = torch.randn(6, 5, requires_grad=True), torch.randn(9, 6), torch.randint(5, (9,))
    loss = functional.cross_entropy(x @ w, labels)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    first = w.grad.clone()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(w.grad, 2 * first)
    leaf = torch.randn(9, 5, requires_grad=True)
    loss = functional.cross_entropy(leaf, labels)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    once = leaf.grad.clone()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(leaf.grad, 2 * once)
    leaf.grad = None
    half = functional.cross_entropy(leaf, labels) / 2  # an upstream gradient that is not 1
    half.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    half.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(leaf.grad, once)


def test_without_a_gradient_and_in_float64() -> None:
    x, labels = torch.randn(4, 5), torch.randint(5, (4,))
    with torch.no_grad():
        torch.testing.assert_close(functional.cross_entropy(x, labels), F.cross_entropy(x, labels))
    for bad in (x.double(), x.half()):
        with pytest.raises(UnsupportedError, match="input is torch"):
            functional.cross_entropy(bad, labels)


def test_nothing_counts() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    loss = functional.cross_entropy(x, torch.full((3,), -100))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isnan()
    assert not x.grad.any()


def test_refused() -> None:
    x, labels = torch.randn(4, 5), torch.randint(5, (4,))
    with pytest.raises(ArgumentError, match=r"labels\[0\] is 5"):
        functional.cross_entropy(x, labels.fill_(5))
    with pytest.raises(ArgumentError, match="target has the shape"):
        functional.cross_entropy(x, labels[:3])
    with pytest.raises(ArgumentError, match="weight has the shape"):
        functional.cross_entropy(x, labels, torch.ones(4))
    with pytest.raises(ArgumentError, match="reduction is 'most'"):
        functional.cross_entropy(x, labels, reduction="most")
    with pytest.raises(UnsupportedError, match="target is torch.int32"):
        functional.cross_entropy(x, labels.int())
    with pytest.raises(UnsupportedError, match="size_average"):
        functional.cross_entropy(x, labels, size_average=True)
    with pytest.raises(UnsupportedError, match="target requires a gradient"):
        functional.cross_entropy(x, torch.rand(4, 5, requires_grad=True))
