"""Steps on rows of a table of NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from clone import ROOT

import lockstep
import lockstep.numpy as ln
from lockstep import ArgumentError, Rule, preset

ROWS, WIDTH = 50, (3, 4)
RULES = [
    preset("torch", "SparseAdam"),
    preset("torch", "Adagrad"),
    preset("torch", "SGD", lr=0.1, l1=0.01),
    preset("torch", "AdamW", lr=0.01),
    Rule("Lion", lr=0.01, beta1=0.9, beta2=0.99),
]
BY_ROW = [
    preset("textbook", "RowwiseAdaGrad", lr=0.1, l2=0.1),
    preset("textbook", "RowwiseAdam", lr=0.01, weight_decay=0.1),
    preset("textbook", "RowwiseLAMB", lr=0.01, l2=0.1, decay=0.1),
]


def uniform(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("rule", RULES + BY_ROW, ids=lambda r: str(r.name))
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rows_are_arrays(rule: Rule, dtype: Any) -> None:
    """A row that is in a step takes it as an array of its own does, with the sum of its gradients."""
    width = WIDTH[-1:] if rule in BY_ROW else WIDTH
    table = uniform(1, ROWS, *width)
    alone = {row: table[row].copy() for row in range(ROWS)}
    whole = ln.Optimizer(table, rule)
    ones = {row: ln.Optimizer(array, rule) for row, array in alone.items()}
    rng = np.random.default_rng(2)
    for step in range(40):
        rows = rng.integers(0, ROWS, rng.integers(0, 30)).astype(dtype)
        grads = uniform(100 + step, len(rows), *width)
        whole.step_rows(rows, grads)
        for row in np.unique(rows):
            first, *others = grads[rows == row]
            total = first.copy()
            for g in others:
                total += g
            ones[row].set_steps("0", step)
            ones[row].step(total)
    assert whole.steps("0") == 40
    for row, array in alone.items():
        assert np.array_equal(table[row], array)
        if ones[row].steps("0"):
            for slot, state in ones[row].state("0").items():
                assert np.array_equal(whole.state("0")[slot][row], state.reshape(whole.state("0")[slot].shape[1:]))


@pytest.mark.parametrize("rule", BY_ROW, ids=lambda r: str(r.name))
def test_formulas_by_row(rule: Rule) -> None:
    """FBGEMM's formulas in float64, of the rows of a batch."""
    table, m, v = uniform(1, ROWS, 5).astype(float), np.zeros((ROWS, 5)), np.zeros((ROWS, 1))
    ours = table.astype(np.float32)
    optimizer = ln.Optimizer(ours, rule)
    rng = np.random.default_rng(3)
    for t in range(1, 61):
        rows = rng.integers(0, ROWS, 20)
        grads = uniform(t, 20, 5)
        optimizer.step_rows(rows, grads)
        total = np.zeros((ROWS, 5))
        np.add.at(total, rows, grads)
        r = np.unique(rows)
        g = total[r] + rule.options["l2"] * table[r]
        square = (g**2).mean(axis=1, keepdims=True)
        if rule.name == "RowwiseAdaGrad":
            v[r] += square
            table[r] -= 0.1 * g / (np.sqrt(v[r]) + 1e-8)
            continue
        v[r] += 0.001 * (square - v[r])
        m[r] += 0.1 * (g - m[r])
        u = m[r] / (1 - 0.9**t) / (np.sqrt(v[r] / (1 - 0.999**t)) + 1e-8) + 0.1 * table[r]
        if rule.name == "RowwiseLAMB":
            u *= np.linalg.norm(table[r], axis=1, keepdims=True) / np.linalg.norm(u, axis=1, keepdims=True)
        table[r] -= 0.01 * u
    assert np.abs(ours - table).max() < 1e-5
    assert np.abs(optimizer.state("0")[rule.slots[0]] - v[:, 0]).max() < 1e-5


def test_formula() -> None:
    """SparseAdam, from PyTorch's formula in float64."""
    table, m, v = uniform(1, ROWS, 5).astype(float), np.zeros((ROWS, 5)), np.zeros((ROWS, 5))
    ours = table.astype(np.float32)
    optimizer = ln.Optimizer({"table": ours}, preset("torch", "SparseAdam", lr=0.01))
    rng = np.random.default_rng(3)
    for t in range(1, 61):
        rows = rng.integers(0, ROWS, 20)
        grads = uniform(t, 20, 5)
        optimizer.step_rows(rows, grads)
        total = np.zeros((ROWS, 5))
        np.add.at(total, rows, grads)
        r = np.unique(rows)
        m[r] += 0.1 * (total[r] - m[r])
        v[r] += 0.001 * (total[r] ** 2 - v[r])
        table[r] -= 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[r] / (np.sqrt(v[r]) + 1e-8)
    assert np.abs(ours - table).max() < 1e-5


@pytest.mark.parametrize("rule", RULES + BY_ROW, ids=lambda r: str(r.name))
def test_threads_and_tables_have_the_same_bits(rule: Rule) -> None:
    rows = np.random.default_rng(1).integers(0, 30_000, 9000)
    grads = uniform(1, 9000, 64)
    found = []
    for threads, table in [(1, None), (2, None), *((1, name) for name in lockstep.available())]:
        params = uniform(2, 30_000, 64)
        optimizer = ln.Optimizer(params, rule, threads=threads)
        optimizer.table, optimizer.max_norm = table, 1.0
        for _ in range(2):
            optimizer.step_rows(rows, grads)
        found.append((params.tobytes(), optimizer.norm))
    assert len(set(found)) == 1


def test_refusals() -> None:
    table = uniform(1, 10, 3)
    before = table.copy()
    optimizer = ln.Optimizer(table, RULES[0])
    grads = uniform(2, 2, 3)
    good = np.array([1, 2])

    def refused(message: str, rows: Any, given: Any = grads) -> None:
        with pytest.raises(ArgumentError, match=message):
            optimizer.step_rows(rows, given)
        assert np.array_equal(table, before)
        assert optimizer.steps("0") == 0

    refused(r"indices\[1\] is 10, want at least 0 and below the number of rows, 10", np.array([1, 10]))
    refused(r"indices\[0\] is -1, want", np.array([-1, 1], np.int32))
    refused("indices is an array of float64, want int32 or int64", np.array([1.0, 2.0]))
    refused("indices is a list, want a numpy.ndarray", [1, 2])
    refused("indices has strides", np.arange(4)[::2])
    refused("indices has the shape", np.array([[1, 2]]))
    refused("grads has the shape", good, grads[:1])
    refused("grads is an array of float64", good, grads.astype(float))
    refused("grads of tensor 0 .* want a buffer apart from params", good, table[4:6])
    for params in ([table, uniform(3, 2)], np.ones((), np.float32)):
        with pytest.raises(ArgumentError, match="want one, of rows"):
            ln.Optimizer(params, RULES[0]).step_rows(good, grads)
    with pytest.raises(ArgumentError, match="columns is 12, want those of the tensor, 600"):
        ln.Optimizer(uniform(1, ROWS, *WIDTH), BY_ROW[0]).step_rows(good, uniform(2, 2, *WIDTH))
    with pytest.raises(ArgumentError, match="rule is lamb, want one of a single pass"):
        ln.Optimizer(table, preset("keras", "Lamb")).step_rows(good, grads)
    optimizer.step_rows(good, grads)
    assert not np.array_equal(table, before)


def test_documents_name_the_rules_of_several_passes() -> None:
    """Docstring and header name those that are refused, and no others."""
    refused, taken = set(), set()
    for framework, name in lockstep.presets():
        rule = preset(framework, name, lr=0.01).replace(cautious_update=False)
        optimizer = ln.Optimizer(np.zeros((4, 3), np.float32), rule)
        try:
            optimizer.step_rows(np.array([1]), np.ones((1, 3), np.float32))
            taken.add(rule.name)
        except ArgumentError:
            refused.add(rule.name)
    assert len(refused) == 9
    assert not refused & taken
    header = (ROOT / "c/include/lockstep_optimizer.h").read_text()
    about = header[header.index("A step on some rows alone") : header.index("lockstep_optimizer_step_rows(")]
    for text in (ln.Optimizer.step_rows.__doc__ or "", about):
        words = set(re.findall(r"\w+", text))
        assert refused <= words
        assert not taken & words - {"SparseAdam"}
        assert {"max_tensor_norm", "max_value", "policy", "cautious_update"} <= words


def test_cautious_updates_are_refused() -> None:
    for name in ["CautiousAdamW", "CautiousLion"]:
        table = np.zeros((4, 3), np.float32)
        optimizer = ln.Optimizer(table, preset("textbook", name, lr=1))
        with pytest.raises(ArgumentError, match="want one of a single pass without sums or cautious_update"):
            optimizer.step_rows(np.array([1]), np.ones((1, 3), np.float32))
        assert not table.any()


def test_clipping_and_policies_are_refused() -> None:
    for name, value in [("max_tensor_norm", 1), ("max_value", 1), ("policy", "skip")]:
        table = np.zeros((4, 3), np.float32)
        optimizer = ln.Optimizer(table, preset("torch", "SGD", lr=1))
        setattr(optimizer, name, value)
        with pytest.raises(ArgumentError, match="want none of them with steps on rows"):
            optimizer.step_rows(np.array([1]), np.ones((1, 3), np.float32))
        assert not table.any()
