"""The README's hashes come out of NumPy too, on every table."""

from __future__ import annotations

import csv
import hashlib
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from clone import ROOT, lines, published, rule

import lockstep
import lockstep.numpy as ln

STEPS = 200
RULES = {name: rule(words) for name, *words in lines("verified")}

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


def train(r: lockstep.Rule, table: str) -> str:
    """What bench/verify does: a rate that falls, gradients that are scaled and clipped half of the time."""
    x, y = data()
    columns = x.shape[1]
    w, grad = np.zeros((2, columns + 1), np.float32)
    model = ln.Linear("logistic", columns, intercept=True)
    shapes = [(6, 5), (1, 1)] if r.name in ("Muon", "SOAP") else [columns, 1]  # which are for matrices
    params, grads = (
        {"weights": a[:columns].reshape(shapes[0]), "intercept": a[columns:].reshape(shapes[1])} for a in (w, grad)
    )
    opt = ln.Optimizer(params, r)
    opt.table, rate = table, opt.lr
    for step in range(STEPS):
        model.gradient(x, y, w, grad)
        if step == STEPS // 2:
            opt.max_norm, opt.grad_scale = 0.05, 0.5
        opt.lr = rate / (1 + step / STEPS)
        opt.step(grads)
    buffers = [w, *opt.state("weights").values(), *opt.state("intercept").values()]
    return hashlib.sha256(b"".join(b.astype("<f4").tobytes() for b in buffers)).hexdigest()


@pytest.mark.parametrize("table", lockstep.available())
@pytest.mark.parametrize("name", RULES)
def test_hash(name: str, table: str) -> None:
    assert train(RULES[name], table) == published()[name]


def test_all_rules_are_there() -> None:
    assert RULES.keys() == published().keys()
    assert {r.name for r in RULES.values()} | {"Momentum"} == set(lockstep.rules())
