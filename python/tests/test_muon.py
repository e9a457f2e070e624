"""Muon over NumPy arrays: the formula, matrices alone, and the same bits on every table and for any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lockstep
import lockstep.numpy as ln
from lockstep import ArgumentError, Rule, preset

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
SHAPES = [(17, 33), (40, 24), (1, 9), (9, 1), (31, 31)]


def random(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def step(rule: Rule, p: Doubles, m: Doubles, v: Doubles, g: Doubles) -> None:
    """A step of PyTorch's or Keras' Muon, or of NorMuon's authors, in float64."""
    o = rule.options
    m += (1 - o["momentum"]) * (g - m)
    x = o["momentum"] * m + (1 - o["momentum"]) * g
    x = x / max(float(np.linalg.norm(x)) + o["eps"], o["eps_floor"])
    for _ in range(int(o["iterations"])):
        s = x @ x.T
        x = o["a"] * x + (o["b"] * s + o["c"] * s @ s) @ x
    if o["beta2"]:
        before = np.linalg.norm(x)
        v += (1 - o["beta2"]) * ((x * x).mean(axis=1) - v)
        x = x / (np.sqrt(v)[:, None] + o["eps_row"])
        x *= before / (np.linalg.norm(x) + o["eps_row"])
    rows, columns = p.shape
    length = o["rms"] * max(rows, columns) ** 0.5 if o["rms"] else max(1, rows / columns) ** 0.5
    p -= o["lr"] * (length * x + o["weight_decay"] * p)


@pytest.mark.parametrize(("framework", "name"), [("torch", "Muon"), ("keras", "Muon"), ("textbook", "NorMuon")])
def test_formula(framework: str, name: str) -> None:
    rule = preset(framework, name, lr=0.02)
    params = [random(k, *shape) for k, shape in enumerate(SHAPES)]
    want, means = [p.astype(np.float64) for p in params], [np.zeros(shape) for shape in SHAPES]
    squares = [np.zeros(shape[0]) for shape in SHAPES]
    opt = ln.Optimizer(params, rule)
    for t in range(10):
        grads = [random(10 * t + k, *shape) for k, shape in enumerate(SHAPES)]
        opt.step(grads)
        for p, m, v, g in zip(want, means, squares, grads):
            step(rule, p, m, v, g.astype(np.float64))
    for k, (p, m) in enumerate(zip(want, means)):
        np.testing.assert_allclose(params[k], p, rtol=1e-6, atol=2e-6)
        assert [*opt.state(str(k))] == (["momentum", "row_var"] if name == "NorMuon" else ["momentum"])
        if name == "NorMuon":
            np.testing.assert_allclose(opt.state(str(k))["row_var"].ravel(), squares[k], rtol=1e-3)
        np.testing.assert_allclose(opt.state(str(k))["momentum"], m, rtol=1e-5, atol=1e-6)


def test_options() -> None:
    rule = preset("torch", "Muon")
    assert rule.options["iterations"] == 5
    assert type(rule.options["iterations"]) is int
    assert rule.replace(iterations=np.int64(7)).options["iterations"] == 7
    numbers: list[Any] = [5.5, 2**31, float("nan"), float("inf"), "five"]
    for number in numbers:
        with pytest.raises(ArgumentError, match="^iterations is .*, want (an integer|a number)"):
            rule.replace(iterations=number)
    with pytest.raises(ArgumentError, match="^iterations is 100, want from 1 to 99"):
        ln.Optimizer(random(0, 3, 4), rule.replace(iterations=100))


def test_only_matrices() -> None:
    rule = preset("torch", "Muon")
    assert rule.state_shapes((3, 4)) == {"momentum": (3, 4)}
    assert preset("textbook", "NorMuon").state_shapes((3, 4)) == {"momentum": (3, 4), "row_var": (3,)}
    for shape in [(12,), (2, 3, 2), ()]:
        with pytest.raises(ArgumentError, match="the muon rule has no step of vectors"):
            ln.Optimizer(np.asarray(random(0, *shape)), rule)
    adamw = preset("torch", "AdamW")
    opt = ln.Optimizer.of_groups([({"w": random(0, 3, 4)}, rule), ({"b": random(1, 3)}, adamw)])
    opt.step({"w": random(2, 3, 4), "b": random(3, 3)})
    assert [*opt.state("w")] == ["momentum"]
    assert [*opt.state("b")] == ["m", "v"]


def trained(rule: Rule, table: str, threads: int = 1) -> bytes:
    shapes = [(5, 7), (270, 260), (64, 130), (600, 500)]
    params = [random(k, *shape) for k, shape in enumerate(shapes)]
    opt = ln.Optimizer(params, rule, threads=threads)
    opt.table = table
    for t in range(2):
        opt.step([None if (t, k) == (1, 0) else random(10 * t + k, *shape) for k, shape in enumerate(shapes)])
    return b"".join(p.tobytes() for p in params)


@pytest.mark.parametrize(
    "rule",
    [
        preset("torch", "Muon", iterations=2),
        preset("textbook", "NorMuon", iterations=1, aol=True, adaptive=True),
    ],
    ids=["Muon", "NorMuon"],
)
def test_the_same_bits(rule: Rule) -> None:
    want = trained(rule, "portable")
    for table in lockstep.available():
        assert trained(rule, table) == want
        assert trained(rule, table, threads=3) == want


def test_state_goes_on() -> None:
    rule = preset("torch", "Muon")
    params, other = random(0, 20, 30), random(1, 20, 30)
    one, two = ln.Optimizer(params, rule), ln.Optimizer(other, rule)
    one.step(random(2, 20, 30))
    two.load_state_dict(one.state_dict())
    other[:] = params
    for opt in (one, two):
        opt.step(random(3, 20, 30))
    np.testing.assert_array_equal(params, other)


def test_matmul() -> None:
    a, b = random(0, 300, 520), random(1, 520, 70)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    product = ln.matmul(a, b)
    np.testing.assert_allclose(product, exact, rtol=1e-5, atol=1e-4)
    out = np.full((300, 70), np.nan, np.float32)
    assert ln.matmul(np.asfortranarray(a), np.asfortranarray(b), out) is out
    np.testing.assert_array_equal(out, product)
    np.testing.assert_array_equal(ln.matmul(b.T, a.T), product.T)
    large = random(2, 520, 300)  # enough to be shared
    np.testing.assert_array_equal(ln.matmul(a, large, pool=lockstep.Pool(3)), ln.matmul(a, large))
    assert not ln.matmul(a[:, :0], b[:0]).any()
    assert ln.matmul(a[:0], b).shape == (0, 70)
    fused = np.array([[1 + 2**-12, -1]], np.float32)  # whose first product has more bits than a float32
    assert ln.matmul(fused, np.array([[1 + 2**-12], [1 + 2**-11]], np.float32))[0, 0] == 0
    assert ln.matmul(fused[:, ::-1].copy(), np.array([[1 + 2**-11], [1 + 2**-12]], np.float32))[0, 0] == 2**-24
    for one, other, message in [
        (a, b[1:], r"^b has the shape \(519, 70\), want \(520, 70\)"),
        (a[0], b, r"^a has the shape \(520,\), want a matrix"),
        (a, b[:, ::2], "^b has strides"),
        (a.astype(np.float64), b, "^a is an array of float64"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            ln.matmul(one, other)
    with pytest.raises(ArgumentError, match="apart from"):
        ln.matmul(a[:300, :300].copy(), out, out)
