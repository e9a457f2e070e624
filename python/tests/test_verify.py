"""The README's hashes come out of NumPy too, on every table."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clone import ROOT, lines, published, rule

import lockstep
import lockstep.numpy as ln

STEPS, MIXED_STEPS, MODELS, HALVINGS = 200, 50, 140, 16
RULES = {name: rule(words) for name, *words in lines("verified")}
MIXES = {name: (rest[:4], rule(rest[4:])) for name, *rest in lines("mixed")}
HALVES: dict[str, Any] = {"bfloat16": np.uint16, "float16": np.float16}

Floats = npt.NDArray[np.float32]


@cache
def data() -> tuple[Floats, Floats]:
    """The data of bench/data, with columns of mean 0 and variance 1: sums are taken in order."""
    with (ROOT / "bench/data/breast_cancer.csv").open(newline="") as f:
        table = np.array([[float(v) for v in row] for row in list(csv.reader(f))[1:]])
    x = table[:, :-1]
    mean = np.cumsum(x, axis=0)[-1] / len(x)
    deviation = np.sqrt(np.cumsum((x - mean) * (x - mean), axis=0)[-1] / len(x))
    return ((x - mean) / deviation).astype(np.float32), table[:, -1].astype(np.float32)


def take_steps(opt: ln.Optimizer, steps: int, take: Callable[[], None]) -> None:
    """Takes steps: the rate falls, and half of the time gradients are scaled and clipped."""
    rate = opt.lr
    for step in range(steps):
        if step == steps // 2:
            opt.max_norm, opt.grad_scale = 0.05, 0.5
        opt.lr = rate / (1 + step / steps)
        take()


def hashed(arrays: Iterable[npt.NDArray[Any]]) -> str:
    """The hash of arrays as little-endian bytes."""
    return hashlib.sha256(b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)).hexdigest()


def train(r: lockstep.Rule, table: str) -> str:
    """What bench/verify does."""
    x, y = data()
    columns = x.shape[1]
    w, grad = np.zeros((2, columns + 1), np.float32)
    model = ln.Linear("logistic", columns, intercept=True)
    shapes = [(6, 5), (1, 1)] if r.name in ("Muon", "SOAP") else [columns, 1]  # which are for matrices
    params, grads = (
        {"weights": a[:columns].reshape(shapes[0]), "intercept": a[columns:].reshape(shapes[1])} for a in (w, grad)
    )
    opt = ln.Optimizer(params, r)
    opt.table = table

    def take() -> None:
        model.gradient(x, y, w, grad)
        opt.step(grads)

    take_steps(opt, STEPS, take)
    return hashed([w, *opt.state("weights").values(), *opt.state("intercept").values()])


def narrowed(x: Floats, of: str) -> npt.NDArray[Any]:
    """Numbers in another type, rounded to nearest even."""
    if of != "bfloat16":
        return x.astype(of)
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def train_mix(types: list[str], r: lockstep.Rule, table: str) -> str:
    """The same of many models in one tensor, whose gradients are halved from one to the next."""
    of_grads, of_copies, of_params, of_state = types
    x, y = data()
    one = x.shape[1] + 1
    w, grad = np.zeros(MODELS * one, np.float32), np.empty(one, np.float32)
    model = ln.Linear("logistic", x.shape[1], intercept=True)
    upper, rests = ln.split_bf16(w)
    opt = ln.Optimizer(
        {"w": w if of_params == "float32" else upper},
        r,
        rests={"w": rests} if of_params == "halves" else None,
        rounding=1 if of_params == "bfloat16" else None,
    )
    opt.table = table
    if of_state != "float32":
        opt.set_state_types(dict.fromkeys(opt.state("w"), of_state), seed=1)
    if of_copies != "float32":
        opt.copies = {"w": np.zeros(w.size, HALVES[of_copies])}
    scales = np.repeat(0.5 ** (np.arange(MODELS) % HALVINGS), one).astype(np.float32)

    def take() -> None:
        model.gradient(x, y, w[:one], grad)
        opt.step({"w": narrowed(np.tile(grad, MODELS) * scales, of_grads)})
        if of_params == "halves":
            w[:] = ln.join_bf16(upper, rests)
        elif of_params == "bfloat16":
            w.view(np.uint32)[:] = upper.astype(np.uint32) << 16

    take_steps(opt, MIXED_STEPS, take)
    state = opt.state_dict()["arrays"]["w"]["state"].values()
    parts = [b for s in state for b in ([s] if isinstance(s, np.ndarray) else [s.elements, s.scales]) if b is not None]
    return hashed([w, *opt.copies.values(), *parts])


@pytest.mark.parametrize("table", lockstep.available())
@pytest.mark.parametrize("name", RULES)
def test_hash(name: str, table: str) -> None:
    assert train(RULES[name], table) == published()[name]


@pytest.mark.parametrize("table", lockstep.available())
@pytest.mark.parametrize("name", MIXES)
def test_hash_of_types(name: str, table: str) -> None:
    assert train_mix(*MIXES[name], table) == published()[name]


def test_all_rules_are_there() -> None:
    assert RULES.keys() | MIXES.keys() == published().keys()
    assert {r.name for r in RULES.values()} | {"Momentum"} == set(lockstep.rules())
