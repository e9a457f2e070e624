"""What PyTorch's documentation does with optimizers, and models that learn as well as with torch's."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
)

import lockstep.torch as lt


def batch(k: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(k)
    x = torch.randn(16, 8, generator=generator)
    return x, (x.sum(1) > 0).long()


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))


def fit(model: nn.Module, optimizer: Optimizer, steps: range, after: Callable[[], Any] = lambda: None) -> list[float]:
    values = []
    for k in steps:
        x, y = batch(k)
        optimizer.zero_grad()
        value = functional.cross_entropy(model(x), y)
        torch.autograd.backward(value)
        optimizer.step()
        after()
        values.append(value.item())
    return values


def test_resume_from_checkpoint() -> None:
    """A run that is saved, loaded into new objects and gone on with is the run without a break, to the bit."""
    model = network()
    optimizer = lt.AdamW(model.parameters(), lr=0.01)
    scheduler = CosineAnnealingLR(optimizer, 40)
    fit(model, optimizer, range(20), scheduler.step)
    file = io.BytesIO()
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file
    )
    straight = fit(model, optimizer, range(20, 40), scheduler.step)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model = network(1)
    optimizer = lt.AdamW(model.parameters())
    scheduler = CosineAnnealingLR(optimizer, 40)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    assert fit(model, optimizer, range(20, 40), scheduler.step) == straight


def test_rates_of_layers() -> None:
    """Groups with their own options, one of them frozen by a rate of 0."""
    values = []
    for module in (torch.optim, lt):
        model: Any = network()
        groups = [
            {"params": model[0].parameters(), "lr": 0.0},
            {"params": [model[2].weight], "weight_decay": 0.5, "betas": (0.8, 0.9)},
            {"params": [model[2].bias], "maximize": False, "eps": 1e-4},
        ]
        optimizer = module.AdamW(groups, lr=0.01)
        before = model[0].weight.clone()
        values.append(fit(model, optimizer, range(30)))
        assert torch.equal(model[0].weight, before)
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_swapped_schedulers() -> None:
    """From a warm-up to one that looks at the loss, in the middle of a run."""
    values = []
    for module in (torch.optim, lt):
        model = network()
        optimizer = module.SGD(model.parameters(), lr=0.1, momentum=0.9)
        warm: Any = SequentialLR(
            optimizer, [LinearLR(optimizer, 0.1, total_iters=5), ExponentialLR(optimizer, 0.95)], [5]
        )
        values.append(fit(model, optimizer, range(15), warm.step))
        plateau = ReduceLROnPlateau(optimizer, patience=0)
        values[-1] += fit(model, optimizer, range(15, 30), lambda plateau=plateau: plateau.step(1.0))  # type: ignore[misc]
        assert optimizer.param_groups[0]["lr"] < 1e-6
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_steps_in_backward() -> None:
    """An optimizer for each parameter, that steps as soon as its gradient is there."""
    values: list[list[float]] = []
    for module in (torch.optim, lt):
        model = network()
        optimizers = {p: module.AdamW([p], lr=0.01, foreach=False) for p in model.parameters()}

        def hook(p: Tensor, optimizers: dict[Any, Optimizer] = optimizers) -> None:
            optimizers[p].step()
            optimizers[p].zero_grad()

        for p in model.parameters():
            p.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        values.append([])
        for k in range(30):
            x, y = batch(k)
            value = functional.cross_entropy(model(x), y)
            torch.autograd.backward(value)
            values[-1].append(value.item())
            assert all(p.grad is None for p in model.parameters())
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_accumulated_gradients() -> None:
    values: list[list[float]] = []
    for module in (torch.optim, lt):
        model = network()
        optimizer = module.RMSprop(model.parameters())
        values.append([])
        for k in range(40):
            x, y = batch(k)
            value = functional.cross_entropy(model(x), y) / 4
            torch.autograd.backward(value)
            values[-1].append(value.item())
            if k % 4 == 3:
                optimizer.step()
                optimizer.zero_grad(set_to_none=k % 8 == 3)
    assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_transfer() -> None:
    """A layer is frozen and given back, and one is added, as in fine tuning."""
    values = []
    for module in (torch.optim, lt):
        model = network()
        model[0].requires_grad_(False)
        optimizer = module.AdamW(model.parameters(), lr=0.01)
        values.append(fit(model, optimizer, range(10)))
        model[0].requires_grad_(True)
        values[-1] += fit(model, optimizer, range(10, 20))
        torch.manual_seed(7)
        model.append(nn.Linear(2, 2))
        optimizer.add_param_group({"params": model[3].parameters(), "lr": 0.1})
        values[-1] += fit(model, optimizer, range(20, 40))
    assert values[1] == pytest.approx(values[0], rel=1e-3)


def test_averaged_model() -> None:
    model = network()
    optimizer = lt.AdamW(model.parameters(), lr=0.01)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    fit(model, optimizer, range(10), lambda: averaged.update_parameters(model))
    assert averaged.n_averaged == 10


@pytest.mark.filterwarnings("ignore")
def test_compiled_step() -> None:
    """A step within a compiled function is taken outside of its graph."""
    ways = []
    for module in (torch.optim, lt):
        model = network()
        optimizer = module.SGD(model.parameters(), lr=0.1)

        @torch.compile(backend="eager")
        def step(optimizer: Optimizer = optimizer) -> None:
            optimizer.step()

        ways.append(fit(model, optimizer, range(3), step))
    assert ways[1] == pytest.approx(ways[0], rel=1e-5)


# Models.


def learned(
    build: Callable[[], nn.Module], data: tuple[Tensor, Tensor], steps: int, make: Callable[..., Optimizer]
) -> tuple[float, float]:
    """The mean loss of the last tenth of a training, and the share of all data that the model has right then."""
    torch.manual_seed(5)
    model, (x, y) = build(), data
    optimizer = make(model.parameters())
    values = []
    for k in range(steps):
        pick = torch.randint(len(x), (64,), generator=torch.Generator().manual_seed(k))
        optimizer.zero_grad()
        value = functional.cross_entropy(model(x[pick]).flatten(0, -2), y[pick].flatten())
        torch.autograd.backward(value)
        optimizer.step()
        values.append(value.item())
    with torch.no_grad():
        right = (model(x).argmax(-1) == y).float().mean().item()
    return sum(values[-steps // 10 :]) / (steps // 10), right


MAKERS: list[Any] = [
    ("AdamW", {"lr": 3e-3}),
    ("Adam", {"lr": 3e-3, "amsgrad": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr": 0.05}),
    ("RMSprop", {"lr": 1e-3, "momentum": 0.5}),
]


@pytest.mark.parametrize(("name", "kwargs"), MAKERS)
def test_digits(name: str, kwargs: dict[str, Any]) -> None:
    """A perceptron on handwritten digits has torch's loss."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the digits, is not installed")
    images, labels = datasets.load_digits(return_X_y=True)
    data = torch.tensor(images / 16).float(), torch.tensor(labels)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    (torchs, right), (ours, as_right) = (
        learned(build, data, 300, partial(getattr(m, name), **kwargs)) for m in (torch.optim, lt)
    )
    assert min(right, as_right) > 0.97
    assert ours == pytest.approx(torchs, rel=0.05, abs=2e-3)


@pytest.mark.parametrize(
    ("cls", "kwargs"), [(lt.Lion, {"lr": 1e-3}), (lt.LAMB, {"lr": 0.02}), (lt.AdaBelief, {"lr": 3e-3})]
)
def test_digits_of_others(cls: Any, kwargs: dict[str, Any]) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn, which has the digits, is not installed")
    images, labels = datasets.load_digits(return_X_y=True)
    data = torch.tensor(images / 16).float(), torch.tensor(labels)
    model = lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))  # noqa: E731
    assert learned(model, data, 300, lambda p: cls(p, **kwargs))[1] > 0.93


class Transformer(nn.Module):
    """Says which of the earlier tokens is repeated next."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(12, 32), nn.Embedding(16, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        h = self.tokens(x) + self.places.weight
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        out: Tensor = self.head(self.layers(h, mask=mask, is_causal=True))
        return out


def test_transformer() -> None:
    """A small transformer learns to repeat sequences, with torch's loss."""
    first = torch.randint(12, (256, 8), generator=torch.Generator().manual_seed(0))
    data = torch.cat([first, first], 1), torch.cat([first[:, 1:], first, first[:, :1]], 1)
    torchs, ours = (learned(Transformer, data, 250, partial(m.AdamW, lr=3e-3)) for m in (torch.optim, lt))
    assert ours[1] > 0.55  # what repeats is half of it
    assert ours[0] == pytest.approx(torchs[0], rel=0.02)
    assert ours[1] == pytest.approx(torchs[1], abs=0.02)
