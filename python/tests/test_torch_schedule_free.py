"""Schedule-Free optimizers: the mean, their two modes, and state that comes from the authors' optimizers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lockstep.torch as lt
from lockstep import checkpoint

ALL: list[Any] = [
    (lt.AdamWScheduleFree, {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "warmup_steps": 8, "r": 0.5}),
    (lt.RAdamScheduleFree, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "r": 0.5}),
    (lt.RAdamScheduleFree, {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "silent_sgd_phase": False}),
    (lt.SGDScheduleFree, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.1, "warmup_steps": 8, "r": 0.5}),
]


def gradient(k: int) -> Any:
    return torch.tensor(np.random.default_rng(k).standard_normal((5, 7), np.float32))


class Authors:
    """The authors' step in float64."""

    def __init__(self, options: dict[str, Any], y: Any) -> None:
        self.options, self.y, self.z, self.v = options, y.double(), y.double(), torch.zeros_like(y, dtype=torch.float64)
        self.k, self.weights, self.most = 0, 0.0, 0.0
        self.beta = options.get("momentum") or options["betas"][0]

    def step(self, g: Any) -> None:
        o, self.k = self.options, self.k + 1
        g = g.double()
        factor, adapts = min(1, self.k / o["warmup_steps"]) if "warmup_steps" in o else 1.0, "betas" in o
        if adapts and "warmup_steps" not in o:
            factor = self.rectified()
            adapts = factor > 0
            factor = factor if adapts or o.get("silent_sgd_phase", True) else 1.0
        rate = o["lr"] * factor
        self.most = max(self.most, rate)
        weight = self.k ** o.get("r", 0) * self.most**2
        self.weights += weight
        if "betas" in o:
            beta2 = o["betas"][1]
            self.v = beta2 * self.v + (1 - beta2) * g * g
        if adapts:
            g = g / ((self.v / (1 - beta2**self.k)).sqrt() + 1e-8)
        g = g + o["weight_decay"] * self.y
        c = weight / self.weights if self.weights else 0.0
        self.y = self.y + c * (self.z - self.y) + rate * (self.beta * (1 - c) - 1) * g
        self.z = self.z - rate * g

    def rectified(self) -> float:
        """What RAdam multiplies a rate by, 0 where it does not adapt."""
        beta2 = self.options["betas"][1]
        most = 2 / (1 - beta2) - 1
        rho = most - 2 * self.k * beta2**self.k / (1 - beta2**self.k)
        square = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
        return float(square**0.5) if rho > 4 else 0.0

    def mean(self) -> Any:
        return self.y + (1 - 1 / self.beta) * (self.z - self.y)

    def state(self) -> dict[str, Any]:
        state = {"z": self.z.float(), "exp_avg_sq": self.v.float()}
        return state if "betas" in self.options else {"z": state["z"]}


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_mean(cls: Any, options: dict[str, Any]) -> None:
    p, alone = (torch.nn.Parameter(gradient(0).clone()) for _ in range(2))  # alone has no gradients
    optimizer = cls([p, alone], **options)
    authors = Authors(options, p.detach())
    optimizer.train()
    for k in range(1, 40):
        p.grad = gradient(k)
        authors.step(p.grad)
        optimizer.step()
        close(p.detach(), authors.y)
        if k % 10 == 0:
            before = p.detach().clone()
            optimizer.eval()
            close(p.detach(), authors.mean())
            optimizer.eval()  # as with the authors', this is no mistake
            close(p.detach(), authors.mean())
            optimizer.train()
            torch.testing.assert_close(p.detach(), before, rtol=1e-6, atol=1e-7)
    assert torch.equal(alone.detach(), gradient(0))


@pytest.mark.parametrize(("cls", "options"), ALL)
def test_mode(cls: Any, options: dict[str, Any]) -> None:
    p = torch.nn.Parameter(gradient(0).clone())
    optimizer = cls([p], **options)
    p.grad = gradient(1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="call optimizer.train\\(\\) before a step"):
            optimizer.step()
        assert torch.equal(p.detach(), gradient(0))
        assert not optimizer.state_dict()["state"]


@pytest.mark.parametrize(("cls", "options"), ALL)
@pytest.mark.parametrize("evaluated", [False, True])
def test_resume(cls: Any, options: dict[str, Any], evaluated: bool) -> None:
    p = torch.nn.Parameter(gradient(0).clone())
    optimizer = cls([p], **options)
    optimizer.train()
    for k in range(1, 20):
        p.grad = gradient(k)
        optimizer.step()
    if evaluated:
        optimizer.eval()
    q = torch.nn.Parameter(p.detach().clone())
    other = cls([q], lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for o in (optimizer, other):
        o.train()
    for k in range(20, 40):
        for o, x in ((optimizer, p), (other, q)):
            x.grad = gradient(k)
            o.step()
    assert torch.equal(p.detach(), q.detach())


def of_the_authors(cls: Any, options: dict[str, Any], *, evaluated: bool) -> tuple[Authors, Any, Any]:
    """19 of their steps, and an optimizer with a parameter that has just loaded their state."""
    authors = Authors(options, gradient(0))
    for k in range(1, 20):
        authors.step(gradient(k))
    p = torch.nn.Parameter((authors.mean() if evaluated else authors.y).float())
    optimizer = cls([p], **options)
    saved = optimizer.state_dict()
    # What their groups have besides, of which k counts the steps.
    saved["param_groups"][0] |= {"k": 19, "train_mode": not evaluated, "weight_sum": authors.weights, "lr_max": 1.0}
    optimizer.load_state_dict({"state": {0: authors.state()}, "param_groups": saved["param_groups"]})
    return authors, optimizer, p


@pytest.mark.parametrize(("cls", "options"), ALL)
@pytest.mark.parametrize("evaluated", [False, True])
def test_state_of_the_authors(cls: Any, options: dict[str, Any], evaluated: bool) -> None:
    authors, optimizer, p = of_the_authors(cls, options, evaluated=evaluated)
    optimizer.train()
    close(p.detach(), authors.y)
    for k in range(20, 40):
        p.grad = gradient(k)
        authors.step(p.grad)
        optimizer.step()
    close(p.detach(), authors.y)
    optimizer.eval()
    close(p.detach(), authors.mean())


@pytest.mark.parametrize(("cls", "options"), ALL)
@pytest.mark.parametrize("evaluated", [False, True])
def test_file_of_the_authors_state(cls: Any, options: dict[str, Any], evaluated: bool, tmp_path: Path) -> None:
    """What has just been loaded is saved as begun, before any step."""
    pytest.importorskip("safetensors")
    _, optimizer, p = of_the_authors(cls, options, evaluated=evaluated)
    checkpoint.save(tmp_path / "file", optimizer)
    (tensor,) = checkpoint.read(tmp_path / "file").tensors
    assert tensor.steps == 19
    assert "behind" in tensor.buffers
    q = torch.nn.Parameter(p.detach().clone())
    other = cls([q], **options)
    checkpoint.load(tmp_path / "file", other)
    for o in (optimizer, other):
        o.train()
    for k in range(20, 30):
        for o, x in ((optimizer, p), (other, q)):
            x.grad = gradient(k)
            o.step()
    assert torch.equal(p.detach(), q.detach())
