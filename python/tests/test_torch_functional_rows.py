"""lockstep.torch.functional's losses of rows beside PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lockstep import ArgumentError
from lockstep.torch import UnsupportedError, functional

F = torch.nn.functional


def both(x: Any, target: Any, upstream: Any = None, name: str = "cross_entropy", **options: Any) -> None:
    """Compares value and gradient with PyTorch's."""
    compare(getattr(functional, name), getattr(F, name), x, target, upstream, **options)


def compare(
    ours: Any, torchs: Any, x: Any, target: Any, upstream: Any = None, rtol: float = 2e-5, **options: Any
) -> None:
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, want = ours(mine, target, **options), torchs(theirs, target, **options)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, equal_nan=True)
    g = torch.ones_like(want) if upstream is None else upstream.expand_as(want)
    got.backward(g)
    want.backward(g)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (40, 10), (2, 3, 5000), (300, 1000), (0, 4)])
def test_log_softmax(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x, g = 3 * torch.randn(shape), torch.randn(shape)
    grads = []
    for function in (functional.log_softmax, torch.log_softmax):
        leaf = x.clone().requires_grad_()
        y = function(leaf, -1)
        y.backward(g)
        grads.append((y.detach(), leaf.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-5)
    with pytest.raises(UnsupportedError, match="want the last one"):
        functional.log_softmax(x, -2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3), (64, 10)])
def test_like_torch(shape: tuple[int, ...], weighted: bool, smoothing: float, reduction: str) -> None:
    torch.manual_seed(1)
    x, classes = 3 * torch.randn(shape), shape[0] if len(shape) == 1 else shape[1]
    outer = shape[:0] + shape[2:] if len(shape) == 1 else (shape[0], *shape[2:])
    labels = torch.randint(classes, outer)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = torch.rand(classes) + 0.5
    both(x, labels, **options)
    both(x, labels, torch.tensor(0.25), **options)
    if len(shape) > 1:
        labels.view(-1)[0] = -100
        both(x, labels, **options)
        both(x, torch.where(labels == -100, 2, labels), ignore_index=2, **options)
    both(x, torch.rand(shape), **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3), (64, 10)])
def test_losses_of_labels_like_torch(shape: tuple[int, ...], weighted: bool, reduction: str) -> None:
    torch.manual_seed(3)
    x, classes = 2 * torch.randn(shape), shape[0] if len(shape) == 1 else shape[1]
    outer = () if len(shape) == 1 else (shape[0], *shape[2:])
    labels = torch.randint(classes, outer)
    options: dict[str, Any] = {"reduction": reduction}
    if weighted:
        options["weight"] = torch.rand(classes) + 0.5
    upstream = torch.tensor(0.25)
    for p, margin in ((1, 1.0), (2, 0.4)) if len(shape) < 3 else ():
        # torch adds the label's gradient up in float32, one by one
        both(x, labels, upstream, "multi_margin_loss", rtol=1e-4, p=p, margin=margin, **options)
    logs = x.log_softmax(-1 if len(shape) == 1 else 1)
    both(logs, labels, upstream, "nll_loss", **options)
    if len(shape) > 1:
        labels.view(-1)[0] = -100
        both(logs, labels, None, "nll_loss", **options)
        both(logs, torch.where(labels == -100, 2, labels), None, "nll_loss", ignore_index=2, **options)
    alpha = options.pop("weight", None)

    def focal(x: Any, labels: Any, *, gamma: float, reduction: str, **_: Any) -> Any:
        cross = F.cross_entropy(x, labels, reduction="none")
        weight = torch.ones_like(cross) if alpha is None else alpha[labels.clamp(min=0)]
        each = weight * (1 - torch.exp(-cross)) ** gamma * cross
        return each if reduction == "none" else each.sum() / ((labels >= 0).sum() if reduction == "mean" else 1)

    for gamma in (0, 1.5, 2):
        compare(functional.softmax_focal_loss, focal, x, labels, upstream, alpha=alpha, gamma=gamma, **options)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_z_loss(reduction: str, soft: bool) -> None:
    torch.manual_seed(5)
    x, target = 3 * torch.randn(9, 40), torch.rand(9, 40) if soft else torch.randint(40, (9,))

    def formula(x: Any, target: Any, *, z_loss: float, reduction: str) -> Any:
        each = F.cross_entropy(x, target, reduction="none") + z_loss * x.logsumexp(1) ** 2
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    compare(functional.cross_entropy, formula, x, target, torch.tensor(0.25), z_loss=0.01, reduction=reduction)
    with pytest.raises(ArgumentError, match="z_loss is -1"):
        functional.cross_entropy(x, target, z_loss=-1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3)])
@pytest.mark.parametrize("categorical", [False, True])
def test_largest_margins(categorical: bool, shape: tuple[int, ...], reduction: str) -> None:
    """Keras' hinge, and Optax', beside their formulas."""
    torch.manual_seed(6)
    axis = min(1, len(shape) - 1)
    x, alpha = torch.randn(shape) - 2, torch.rand(shape[axis]) + 0.5  # some rows of which have none above 0
    labels = torch.randint(shape[axis], (*shape[:axis], *shape[axis + 1 :]))
    if labels.dim():
        labels.view(-1)[0] = -100

    def formula(x: Any, labels: Any, *, margin: float, reduction: str, weight: Any) -> Any:
        x, y = x.movedim(axis, -1), labels.clamp(min=0).unsqueeze(-1)
        top = x.scatter(-1, y, -torch.inf).amax(-1)
        loss = (margin - x.gather(-1, y)[..., 0] + (top.clamp(min=0) if categorical else top)).clamp(min=0)
        each = torch.where(labels < 0, torch.zeros(()), loss * weight[y[..., 0]])
        return each if reduction == "none" else each.sum() / ((labels >= 0).sum() if reduction == "mean" else 1)

    ours = functional.categorical_hinge_loss if categorical else functional.crammer_singer_loss
    for margin in (1.0, 0.3):
        compare(ours, formula, x, labels, torch.tensor(0.25), margin=margin, reduction=reduction, weight=alpha)
    with pytest.raises(UnsupportedError, match="target is torch.float32"):
        ours(x, x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("rows", "features", "classes"), [((), 6, 5), ((40,), 6, 5), ((3,), 20, 5000), ((2000,), 70, 9)]
)
def test_linear_cross_entropy(
    rows: tuple[int, ...], features: int, classes: int, smoothing: float, soft: bool, reduction: str
) -> None:
    torch.manual_seed(7)
    data = [torch.randn(*rows, features), torch.randn(classes, features), torch.randn(classes)]
    target = torch.rand(*rows, classes) if soft else torch.randint(classes, rows)
    if rows and not soft:
        target[1] = -100
    weight = torch.rand(classes) + 0.5

    def reference(x: Any, w: Any, target: Any, *, linear_bias: Any, **options: Any) -> Any:
        return F.cross_entropy(F.linear(x, w, linear_bias), target, **options)

    theirs = getattr(F, "linear_cross_entropy", reference)  # which not every torch has
    for wanted in ((True, True, True), (True, False, False), (False, True, None)):
        results = []
        for function in (functional.linear_cross_entropy, theirs):
            leaves = [v.clone().requires_grad_(bool(k)) for v, k in zip(data, wanted)]
            options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
            bias = None if wanted[2] is None else leaves[2]
            value = function(leaves[0], leaves[1], target, linear_bias=bias, **options)
            (value * torch.linspace(-1, 2, value.numel()).reshape(value.shape)).sum().backward()
            results.append([value.detach(), *(v.grad for v in leaves if v.grad is not None)])
        assert len(results[0]) == 1 + sum(map(bool, wanted))
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * max(1, want.abs().max().item()))


def test_linear_cross_entropy_of_logits() -> None:
    """It is cross_entropy of the product, on any number of threads, and there a second time."""
    torch.manual_seed(8)
    x, w, labels = torch.randn(3000, 64), torch.randn(128, 64), torch.randint(128, (3000,))
    before, grads = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            leaf = w.clone().requires_grad_()
            loss = functional.linear_cross_entropy(x, leaf, labels, z_loss=0.01)
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            first = leaf.grad.clone()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.testing.assert_close(leaf.grad, 2 * first)
            grads.append((loss.detach(), first))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *grads))
    leaf = w.clone().requires_grad_()
    want = functional.cross_entropy(x @ leaf.t(), labels, z_loss=0.01)
    want.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(grads[0][0], want.detach())
    torch.testing.assert_close(grads[0][1], leaf.grad, rtol=1e-4, atol=1e-6)
    leaf.grad = None
    none = functional.linear_cross_entropy(x, leaf, torch.full((3000,), -100))
    none.backward()  # type: ignore[no-untyped-call]
    assert none.isnan()
    assert not leaf.grad.any()
    empty = functional.linear_cross_entropy(x[:0], leaf, labels[:0], reduction="sum")
    assert empty == 0


def test_linear_cross_entropy_refused() -> None:
    x, w, labels = torch.randn(4, 6), torch.randn(5, 6), torch.randint(5, (4,))
    call = functional.linear_cross_entropy
    for message, arguments, options in (
        (r"labels\[0\] is 5", (x, w, labels.fill_(5)), {}),
        ("want rows of features", (x, w[:, :5], labels), {}),
        ("want rows of features", (x.view(2, 2, 6), w, labels), {}),
        ("target has the shape", (x, w, labels[:3]), {}),
        ("weight has the shape", (x, w, labels), {"weight": torch.ones(4)}),
        ("linear_bias has the shape", (x, w, labels), {"linear_bias": torch.ones(4)}),
        ("reduction is 'most'", (x, w, labels), {"reduction": "most"}),
        ("smoothing is 2", (x, w, labels), {"label_smoothing": 2}),
    ):
        with pytest.raises(ArgumentError, match=message):
            call(*arguments, **options)
    with pytest.raises(UnsupportedError, match="linear_weight is torch.float64"):
        call(x, w.double(), labels)
    with pytest.raises(UnsupportedError, match="target is torch.int32"):
        call(x, w, labels.int())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3)])
def test_focal_of_all_classes(shape: tuple[int, ...], soft: bool, reduction: str) -> None:
    torch.manual_seed(4)
    axis = min(1, len(shape) - 1)
    x, classes = 2 * torch.randn(shape), shape[axis]
    targets = torch.rand(shape) if soft else torch.randint(classes, (*shape[:axis], *shape[axis + 1 :]))
    alpha = torch.rand(classes) + 0.5

    def keras(x: Any, targets: Any, *, gamma: float, label_smoothing: float, reduction: str, **_: Any) -> Any:
        y = targets if soft else F.one_hot(targets, classes).movedim(-1, axis).float()
        y = y * (1 - label_smoothing) + label_smoothing / classes
        log = x.log_softmax(axis)
        each = (-y * log * (1 - log.exp()) ** gamma).movedim(axis, -1) @ alpha
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    for gamma, smoothing in ((0.0, 0.1), (1.5, 0.0), (2.0, 0.2)):
        options = {"gamma": gamma, "label_smoothing": smoothing, "reduction": reduction, "alpha": alpha}
        compare(functional.softmax_focal_loss, keras, x, targets, torch.tensor(0.25), **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (4, 6, 2, 3)])
def test_focal_of_probabilities(shape: tuple[int, ...], soft: bool, reduction: str) -> None:
    torch.manual_seed(4)
    axis = min(1, len(shape) - 1)
    x, classes = torch.rand(shape) + 0.1, shape[axis]
    targets = torch.rand(shape) if soft else torch.randint(classes, (*shape[:axis], *shape[axis + 1 :]))
    alpha = torch.rand(classes) + 0.5
    x.select(axis, 0)[...] = 0

    def keras(x: Any, targets: Any, *, gamma: float, label_smoothing: float, reduction: str, **_: Any) -> Any:
        y = targets if soft else F.one_hot(targets, classes).movedim(-1, axis).float()
        y = y * (1 - label_smoothing) + label_smoothing / classes
        q = (x / x.sum(axis, keepdim=True)).clamp(1e-7, 1 - 1e-7)
        each = (-y * q.log() * (1 - q) ** gamma).movedim(axis, -1) @ alpha
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    for gamma, smoothing in ((0.0, 0.1), (1.5, 0.0), (2.0, 0.2)):
        options = {"gamma": gamma, "label_smoothing": smoothing, "reduction": reduction, "alpha": alpha}
        compare(functional.softmax_focal_loss, keras, x, targets, torch.tensor(0.25), probabilities=True, **options)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 5000), (64, 10)])
def test_cosine_embedding_like_torch(shape: tuple[int, ...], reduction: str) -> None:
    torch.manual_seed(4)
    x, y = torch.randn(shape) + 0.3, torch.randn(shape) + 0.3
    target = torch.where(torch.arange(shape[0]) % 2 == 0, -1, 1) if len(shape) > 1 else torch.tensor(1)
    for which in ((True, True), (True, False), (False, True)):
        mine = [v.clone().requires_grad_(wanted) for v, wanted in zip((x, y), which)]
        theirs = [v.clone().requires_grad_(wanted) for v, wanted in zip((x, y), which)]
        got = functional.cosine_embedding_loss(mine[0], mine[1], target, 0.1, reduction=reduction)
        want = F.cosine_embedding_loss(*theirs, target, 0.1, reduction=reduction)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
        up = torch.rand_like(want)
        got.backward(up)  # type: ignore[no-untyped-call]
        want.backward(up)
        for a, b in zip(mine, theirs):
            assert (a.grad is None) == (b.grad is None)
            if b.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, rtol=2e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"labels\[0\] is 2"):
        functional.cosine_embedding_loss(x, y, 2 * torch.ones(target.shape))
    with pytest.raises(ArgumentError, match="the shapes are"):
        functional.cosine_embedding_loss(x, y[:1], target)
    with pytest.raises(UnsupportedError, match="input2 is torch.float64"):
        functional.cosine_embedding_loss(x, y.double(), target)


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
    with pytest.raises(ArgumentError, match=r"labels\[0\] is 5"):
        functional.multi_margin_loss(x, labels)
    with pytest.raises(ArgumentError, match="p is 3"):
        functional.multi_margin_loss(x, labels, p=3)
    with pytest.raises(ArgumentError, match="input has the shape"):
        functional.multi_margin_loss(x.view(4, 5, 1), labels)
    with pytest.raises(UnsupportedError, match="target is torch.float32"):
        functional.nll_loss(x, x)
    with pytest.raises(ArgumentError, match="gamma is -1"):
        functional.softmax_focal_loss(x, labels, gamma=-1)
    with pytest.raises(UnsupportedError, match="target is torch.float64"):
        functional.softmax_focal_loss(x, x.double())
    with pytest.raises(ArgumentError, match=r"smoothing is 1\.1, want from 0 to 1"):
        functional.softmax_focal_loss(x, labels, label_smoothing=1.1)
    with pytest.raises(UnsupportedError, match="size_average"):
        functional.cross_entropy(x, labels, size_average=True)
    with pytest.raises(UnsupportedError, match="target requires a gradient"):
        functional.cross_entropy(x, torch.rand(4, 5, requires_grad=True))
