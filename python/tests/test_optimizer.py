"""Optimizers over arrays: formulas, settings, state, copies, threads, and what is refused."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import pickle
import re
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from threads import counted, end, threads

import lockstep
import lockstep.numpy as ln
from lockstep import ArgumentError, Rule, preset

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def random(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def zeros(n: int, count: int) -> list[Doubles]:
    return [np.zeros(n) for _ in range(count)]


# The formulas of the papers, in float64: f(p, g, state, t) is the step.

Step = Callable[[Doubles, Doubles, list[Doubles], int], Doubles]


def sgd(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    return 0.1 * g


def momentum(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.9 * state[0] + g
    return 0.1 * state[0]


def adagrad(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = state[0] + g * g
    return 0.01 * g / (np.sqrt(state[0]) + 1e-10)


def rowwise_adagrad(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = state[0][..., :1] + np.mean(g * g, axis=-1, keepdims=True)
    return 0.01 * g / (np.sqrt(state[0]) + 1e-8)


def rowwise_adam(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.999 * state[0][..., :1] + 0.001 * np.mean(g * g, axis=-1, keepdims=True)
    state[1] = 0.9 * state[1] + 0.1 * g
    return 0.001 / (1 - 0.9**t) * state[1] / (np.sqrt(state[0] / (1 - 0.999**t)) + 1e-8)


def rowwise_lamb(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    u = 1000 * rowwise_adam(p, g, state, t) + 0.1 * p
    norms = [np.sqrt((x * x).sum(axis=-1, keepdims=True)) for x in (p, u)]
    return np.asarray(0.001 * norms[0] / norms[1] * u)


def rmsprop(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.99 * state[0] + 0.01 * g * g
    return 0.01 * g / (np.sqrt(state[0]) + 1e-8)


def moments(g: Doubles, state: list[Doubles], t: int, eps: float) -> Doubles:
    state[0] = 0.9 * state[0] + 0.1 * g
    state[1] = 0.999 * state[1] + 0.001 * g * g
    return state[0] / (1 - 0.9**t) / (np.sqrt(state[1] / (1 - 0.999**t)) + eps)


def adamw(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    return 0.001 * moments(g, state, t, 1e-8) + 0.001 * 0.01 * p


def adabelief(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.9 * state[0] + 0.1 * g
    state[1] = 0.999 * state[1] + 0.001 * (g - state[0]) ** 2 + 1e-16
    return 0.001 * state[0] / (1 - 0.9**t) / (np.sqrt(state[1] / (1 - 0.999**t)) + 1e-16)


def lion(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    direction = np.sign(0.9 * state[0] + 0.1 * g)
    state[0] = 0.99 * state[0] + 0.01 * g
    return 0.001 * direction + 0.001 * 0.001 * p


def lamb(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    u = moments(g, state, t, 1e-6)
    return np.asarray(0.001 * np.linalg.norm(p) / np.linalg.norm(u) * u)


def lars(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.9 * state[0] + 100 * 0.001 * np.linalg.norm(p) / np.linalg.norm(g) * g
    return state[0]


def stable_adamw(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.9 * state[0] + 0.1 * g
    state[1] = 0.99 * state[1] + 0.01 * g * g
    v = state[1] / (1 - 0.99**t)
    rms = np.sqrt(np.mean(g * g / np.maximum(v, 1e-16)))
    return np.asarray(0.001 / max(1.0, rms) * (state[0] / (1 - 0.9**t) / (np.sqrt(v) + 1e-8) + 0.2 * p))


def schedule_free(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[1] = 0.999 * state[1] + 0.001 * g * g
    z, x = p - state[0], p + (1 / 0.9 - 1) * state[0]
    z = z - 0.0025 * g / (np.sqrt(state[1] / (1 - 0.999**t)) + 1e-8)
    x = x + (z - x) / t
    state[0] = 0.9 * (x - z)
    return p - (0.1 * z + 0.9 * x)


def adafactor(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    weight, square = t**-0.8, g * g
    if p.ndim == 1:
        state[0] = state[0] + weight * (square - state[0])
        v = state[0]
    else:
        state[0] = state[0] + weight * (square.mean(1) - state[0])
        state[1] = state[1] + weight * (square.mean(0) - state[1])
        v = np.outer(state[0], state[1]) / max(state[0].mean(), 2**-23)
    u = g / np.sqrt(np.maximum(v, 2**-46))
    rate = max(1e-3, float(np.sqrt(np.mean(p * p)))) * min(0.01, t**-0.5)
    return np.asarray(rate / max(1, float(np.sqrt(np.mean(u * u)))) * u)


def rprop(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    prev, step = state[0], np.full_like(g, 0.01) if t == 1 else state[1]
    same = np.sign(prev) * np.sign(g)
    step = np.clip(step * np.choose((same + 1).astype(int), [0.5, 1.0, 1.2]), 1e-6, 50)
    state[0], state[1] = np.where(same < 0, 0, g), step
    return np.asarray(step * np.sign(state[0]))


def asgd(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    eta = 0.01 / (1 + 1e-4 * 0.01 * (t - 1)) ** 0.75
    step = eta * (g + 1e-4 * p)
    state[0] = p - step  # t0 is a million
    return np.asarray(step)


def ftrl(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    a = state[0] if t > 1 else np.full_like(g, 0.1)
    state[1] = state[1] + g - (np.sqrt(a + g * g) - np.sqrt(a)) / 0.001 * p
    state[0] = a + g * g
    return np.asarray(p + 0.001 * state[1] / np.sqrt(state[0]))


def signum(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.9 * state[0] + 0.1 * g
    return 0.001 * np.sign(state[0])


def laprop(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[1] = 0.999 * state[1] + 0.001 * g * g
    state[0] = 0.9 * state[0] + 0.1 * g / (np.sqrt(state[1] / (1 - 0.999**t)) + 1e-15)
    return 0.001 * state[0] / (1 - 0.9**t)


def adagrad_da(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = state[0] + g
    state[1] = (state[1] if t > 1 else 0.1) + g * g
    kept = np.sign(state[0]) * np.maximum(np.abs(state[0]) - 0.01 * t, 0)
    return np.asarray(p + 0.1 * kept / (np.sqrt(state[1]) + 0.1 * 0.02 * t))


def sign_factor(g: Doubles, state: list[Doubles]) -> Doubles:
    state[0] = 0.9 * state[0] + 0.1 * g
    return np.asarray(np.sign(g) * np.sign(state[0]))


def sophia(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    state[0] = 0.965 * state[0] + 0.035 * g
    return 0.001 * (np.clip(state[0] / (1 - 0.965**t) / np.maximum(0.01 * state[1], 1e-8), -1, 1) + 1e-4 * p)


def madgrad(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    if t == 1:
        state.append(p.copy())
    weight = (0.001 + 1e-6) * np.sqrt(t)
    state[0], state[1] = state[0] + weight * g, state[1] + weight * g * g
    return np.asarray(0.1 * (p - state[2] + state[0] / (np.cbrt(state[1]) + 1e-6)))


def addsign(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    return 0.01 * (1 + sign_factor(g, state)) * g


def powersign(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    return np.asarray(0.01 * np.exp(sign_factor(g, state)) * g)


def cautious(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    u = moments(g, state, t, 1e-6)
    agree = state[0] * g > 0
    return np.asarray(0.001 * u * agree / agree.mean())


def novograd(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    square = np.sum(g * g)
    state[1] = np.array([square if t == 1 else 0.25 * state[1][0] + 0.75 * square])
    state[0] = 0.9 * state[0] + g / (np.sqrt(state[1][0]) + 1e-6)
    return 0.001 * state[0]


def prodigy(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    if t == 1:
        state[:] = [p.copy(), *zeros(1000, 3), np.array([0.01]), np.array([0.0])]
    p0, s, m, v, d, r = state
    eta, beta3 = d, np.sqrt(0.999)
    state[1] = s = beta3 * s + d / 0.01 * eta * g
    state[2] = m = 0.9 * m + 0.1 * d * g
    state[3] = v = 0.999 * v + 0.001 * (d * g) ** 2
    state[5] = r = beta3 * r + d / 0.01 * eta * np.sum(g * (p0 - p))
    state[4] = d = np.maximum(d, r / np.sum(np.abs(s)))
    return np.asarray(eta * m / (np.sqrt(v) + d * 1e-8))


def d_adapt(p: Doubles, g: Doubles, state: list[Doubles], t: int) -> Doubles:
    if t == 1:
        state[:] = [*zeros(1000, 3), np.array([0.01]), np.array([0.0])]
    m, v, s, d, r = state
    root = np.sqrt(0.999)
    state[4] = r = root * r + (1 - root) * d * np.sum(g * s / (np.sqrt(v) + 1e-8))
    state[0] = m = 0.9 * m + 0.1 * d * g
    state[1] = v = 0.999 * v + 0.001 * g * g
    state[2] = s = root * s + (1 - root) * d * g
    state[3] = np.maximum(d, r / ((1 - root) * np.sum(np.abs(s))))
    return np.asarray(m / (np.sqrt(v) + 1e-8))


FORMULAS: dict[str, tuple[Rule, Step]] = {
    "SGD": (preset("torch", "SGD", lr=0.1), sgd),
    "Momentum": (preset("torch", "Momentum", lr=0.1), momentum),
    "AdaGrad": (preset("torch", "Adagrad"), adagrad),
    "RMSprop": (preset("torch", "RMSprop"), rmsprop),
    "Adam": (preset("torch", "AdamW"), adamw),
    "AdaBelief": (preset("optax", "AdaBelief", lr=1e-3), adabelief),
    "Lion": (preset("optax", "Lion", lr=1e-3), lion),
    "SignSGD": (preset("optax", "SignSGD", lr=1e-3), lambda p, g, state, t: 0.001 * np.sign(g)),
    "Signum": (preset("optax", "Signum", lr=1e-3), signum),
    "Rprop": (preset("torch", "Rprop"), rprop),
    "ASGD": (preset("torch", "ASGD"), asgd),
    "FTRL": (preset("keras", "Ftrl"), ftrl),
    "LaProp": (preset("textbook", "LaProp", lr=1e-3), laprop),
    "AdaGradDA": (preset("tensorflow", "AdagradDA", lr=0.1), adagrad_da),
    "Sophia": (preset("optax", "Sophia", lr=1e-3), sophia),
    "MADGRAD": (preset("optax", "MADGRAD", lr=1e-3), madgrad),
    "AddSign": (preset("tensorflow", "AddSign", lr=0.01), addsign),
    "PowerSign": (preset("tensorflow", "PowerSign", lr=0.01), powersign),
    "LAMB": (preset("optax", "Lamb", lr=1e-3), lamb),
    "StableAdamW": (preset("textbook", "StableAdamW", lr=1e-3), stable_adamw),
    "NovoGrad": (preset("optax", "Novograd", lr=1e-3), novograd),
    "Prodigy": (preset("torch", "Prodigy", d0=0.01), prodigy),
    "DAdaptAdamW": (preset("torch", "DAdaptAdam", d0=0.01), d_adapt),
    "RowwiseAdaGrad": (preset("textbook", "RowwiseAdaGrad", lr=0.01), rowwise_adagrad),
    "RowwiseAdam": (preset("textbook", "RowwiseAdam", lr=1e-3), rowwise_adam),
    "RowwiseLAMB": (preset("textbook", "RowwiseLAMB", lr=1e-3, decay=0.1), rowwise_lamb),
    "LARS": (preset("optax", "Lars", lr=100), lars),
    "Adam, cautious": (preset("textbook", "CautiousAdamW", lr=1e-3), cautious),
    "ScheduleFreeAdamW": (preset("torch", "AdamWScheduleFree"), schedule_free),
    "Adafactor": (preset("torch", "Adafactor"), adafactor),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name: str) -> None:
    rule, formula = FORMULAS[name]
    p = random(1, 1000)
    want, state = p.astype(np.float64), zeros(1000, 2)
    opt = ln.Optimizer(p, rule)
    for t in range(1, 31):
        g = random(t, 1000)
        opt.step(g)
        want -= formula(want, g.astype(np.float64), state, t)
    np.testing.assert_allclose(p, want, rtol=1e-6, atol=5e-6)
    assert opt.steps("0") == 30
    for slot, expected in zip(opt.state("0").values(), state):
        np.testing.assert_allclose(slot, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["RowwiseAdaGrad", "RowwiseAdam", "RowwiseLAMB"])
def test_rows_of_a_matrix_have_a_number_each(name: str) -> None:
    rule, formula = FORMULAS[name]
    p = random(1, 40, 700)
    want, state = p.astype(np.float64), [np.zeros((40, 1)), np.zeros((40, 700))]
    decoupled = 0 if name == "RowwiseLAMB" else 0.01
    opt = ln.Optimizer({"table": p}, rule.replace(l2=0.1, weight_decay=decoupled))
    for t in range(1, 31):
        g = random(t, 40, 700)
        opt.step({"table": g})
        decay = decoupled * rule.options["lr"] * want
        want -= decay + formula(want, g + 0.1 * want, state, t)
    np.testing.assert_allclose(p, want, rtol=1e-6, atol=5e-6)
    first, *others = opt.state("table").values()
    assert first.shape == (40,)
    np.testing.assert_allclose(first[:, None], state[0], rtol=1e-4)
    for other in others:
        np.testing.assert_allclose(other, state[1], rtol=1e-4, atol=1e-6)
    slot = rule.slots[0]
    for shape, length in [((40, 700), 40), ((700,), 1), ((), 1), ((0,), 0), ((0, 7), 0), ((3, 1), 3), ((2, 3, 4), 1)]:
        assert rule.state_shapes(shape) == {slot: (length,)} | dict.fromkeys(rule.slots[1:], shape)
        assert ln.Optimizer(np.zeros(shape, np.float32), rule).state("0")[slot].shape == (length,)
    with pytest.raises(ArgumentError, match="proximal is true"):
        ln.Optimizer(p, rule.replace(proximal=True))


def test_update_hessian() -> None:
    p, other = random(1, 3, 7), random(2, 5)
    want, state = p.astype(np.float64), [np.zeros((3, 7)), np.zeros((3, 7))]
    opt = ln.Optimizer([p, other], preset("optax", "Sophia", lr=1e-3))
    for t in range(1, 31):
        if t % 5 == 0:
            estimate = random(100 + t, 3, 7)
            opt.update_hessian([estimate, None])
            state[1] += 0.01 * (estimate - state[1])
        g = random(t, 3, 7)
        opt.step([g, None])
        want -= sophia(want, g.astype(np.float64), state, t)
    np.testing.assert_allclose(opt.state("0")["h"], state[1], rtol=1e-5)
    np.testing.assert_allclose(p, want, rtol=1e-6, atol=5e-6)
    refused: list[tuple[Any, str]] = [
        ([None], "len(estimates) is 1"),
        ([np.ones(3, np.float32), None], "estimates[0]"),
        ([opt.state("0")["m"], None], "estimates of tensor 0"),
    ]
    for bad, message in refused:
        with pytest.raises(lockstep.ArgumentError, match=re.escape(message)):
            opt.update_hessian(bad)
    sgd = ln.Optimizer(p, preset("torch", "SGD", lr=0.1))
    with pytest.raises(lockstep.ArgumentError, match="no use"):
        sgd.update_hessian(np.ones((3, 7), np.float32))


@pytest.mark.parametrize("shape", [(17, 33), (1, 40), (40, 1), (300, 5), (3, 20000)])
def test_matrices_are_factored(shape: tuple[int, int]) -> None:
    p = random(1, *shape)
    want, state = p.astype(np.float64), [np.zeros(shape[0]), np.zeros(shape[1])]
    opt = ln.Optimizer(p, preset("torch", "Adafactor"))
    for t in range(1, 11):
        g = random(t, *shape)
        opt.step(g)
        want -= adafactor(want, g.astype(np.float64), state, t)
    np.testing.assert_allclose(p, want, rtol=1e-6, atol=5e-6)
    assert [*opt.state("0")] == ["row_var", "col_var"]
    for found, expected in zip(opt.state("0").values(), state):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_state_of_one_number() -> None:
    rule = preset("optax", "Novograd", lr=1)
    for shape in [(3,), (2, 3), (2, 3, 4), (0,), (0, 3), ()]:
        assert rule.state_shapes(shape) == {"m": shape, "v": (1,)}
    opt = ln.Optimizer(random(0, 2, 3), rule)
    opt.step(np.full((2, 3), 2, np.float32))
    assert opt.state("0")["v"] == [24]


def test_what_is_factored() -> None:
    rule = preset("optax", "Adafactor", lr=1)
    assert rule.state_shapes((128, 200)) == {"row_var": (128,), "col_var": (200,)}
    assert rule.state_shapes((127, 200)) == {"variance": (127, 200)}
    assert rule.state_shapes((2, 128, 200)) == {"variance": (2, 128, 200)}
    factored = {"row_var": (128,), "col_var": (200,), "momentum": (128, 200)}
    assert rule.replace(momentum=0.9).state_shapes((128, 200)) == factored
    opt = ln.Optimizer(random(0, 128, 200), rule)
    with pytest.raises(ArgumentError, match="factors the same tensors"):
        opt.groups[0].rule = rule.replace(min_dim=129)
    opt.groups[0].rule = rule.replace(clip_threshold=2)


def first_presets() -> dict[str, Rule]:
    """A preset of each rule, by the rule's name."""
    found: dict[str, Rule] = {}
    for framework, name in lockstep.presets():
        rule = preset(framework, name)
        found.setdefault(rule.name, rule if rule.options["lr"] else rule.replace(lr=1e-3))
    return found


PRESETS = first_presets()


def test_every_rule_has_a_preset() -> None:
    assert PRESETS.keys() == set(lockstep.rules())


SIZES = [(3, 5), (17161,), (), (0,), (64, 64), (1,)]
TAKERS = {name: rule for name, rule in PRESETS.items() if name != "Muon"}  # of any shapes: see test_muon
RULES = list(TAKERS.values())


def problem(rule: Rule, **options: Any) -> tuple[list[Floats], ln.Optimizer]:
    params = [np.asarray(random(k, *shape)) for k, shape in enumerate(SIZES)]
    return params, ln.Optimizer(params, rule, **options)


def gradients(step: int, missing: bool = False) -> list[Floats | None]:
    grads = [np.asarray(random(100 * step + k, *shape)) for k, shape in enumerate(SIZES)]
    return [None if missing and (step + k) % 3 == 0 else g for k, g in enumerate(grads)]


def train(rule: Rule, steps: int = 20, **options: Any) -> bytes:
    """The bytes of parameters and state after some steps, in which gradients are missing and clipped."""
    params, opt = problem(rule, **options)
    for t in range(steps):
        opt.max_norm = 5 if t > steps / 2 else 0
        opt.step(gradients(t, missing=True))
    return result(params, opt)


def result(params: list[Floats], opt: ln.Optimizer) -> bytes:
    return b"".join(a.tobytes() for a in [*params, *(a for n in opt.params for a in opt.state(n).values())])


@pytest.mark.parametrize("rule", RULES, ids=TAKERS)
def test_tables_have_the_same_bits(rule: Rule) -> None:
    def on(table: str) -> bytes:
        params, opt = problem(rule)
        opt.table = table
        opt.step(gradients(0))
        return result(params, opt)

    assert len({on(table) for table in lockstep.available()}) == 1


def test_names_and_shapes() -> None:
    w, b = random(0, 2, 3), random(1, 3)
    by_name = ln.Optimizer({"w": w.copy(), "b": b.copy()}, preset("torch", "AdamW"))
    by_name.step({"b": b})
    by_name.step({"b": b, "w": w})
    assert (by_name.steps("w"), by_name.steps("b")) == (1, 2)
    assert by_name.state("w")["m"].shape == (2, 3)

    in_order = ln.Optimizer([w.copy(), b.copy()], preset("torch", "AdamW"))
    in_order.step((None, b))
    in_order.step([w, b])
    assert list(in_order.params) == ["0", "1"]
    np.testing.assert_array_equal(in_order.params["0"], by_name.params["w"])
    np.testing.assert_array_equal(in_order.params["1"], by_name.params["b"])


def test_a_missing_gradient_leaves_an_array_alone() -> None:
    params, opt = problem(preset("torch", "AdamW"))
    before = params[1].copy()
    opt.step([random(0, 3, 5), None, None, None, None, None])
    np.testing.assert_array_equal(params[1], before)
    assert [opt.steps(name) for name in "01245"] == [1, 0, 0, 0, 0]


def test_gradients_may_be_read_only_and_shared() -> None:
    a, b, g = random(0, 7), random(0, 7), random(1, 7)
    g.flags.writeable = False
    ln.Optimizer([a, b], preset("torch", "SGD", lr=0.5)).step([g, g])
    np.testing.assert_array_equal(a, random(0, 7) - np.float32(0.5) * g)
    np.testing.assert_array_equal(a, b)


def test_a_gradient_may_be_another_array_in_each_step() -> None:
    p = np.zeros(3, np.float32)
    opt = ln.Optimizer(p, preset("torch", "SGD", lr=1))
    for value in (1, 2, 4):
        opt.step(np.full(3, value, np.float32))
    np.testing.assert_array_equal(p, [-7, -7, -7])


def test_clipping_and_scale() -> None:
    p, g = np.zeros(4, np.float32), np.full(4, 4, np.float32)
    opt = ln.Optimizer(p, preset("torch", "SGD", lr=1))
    opt.grad_scale, opt.max_norm = 0.5, 1
    opt.step(g)
    assert opt.norm == pytest.approx(4)
    np.testing.assert_allclose(p, -0.5, rtol=1e-6)
    np.testing.assert_array_equal(g, 4)
    assert (opt.grad_scale, opt.max_norm) == (0.5, 1)


def test_clipping_of_elements_and_arrays() -> None:
    p, q = np.zeros(2, np.float32), np.zeros(5000, np.float32)
    opt = ln.Optimizer([p, q], preset("torch", "SGD", lr=1))
    grads = [np.array([6, 8], np.float32), np.full(5000, 1e-3, np.float32)]
    opt.grad_scale, opt.max_tensor_norm = 0.5, 1
    opt.step(grads)
    np.testing.assert_allclose(p, [-0.6, -0.8], rtol=1e-6)  # its norm was 5
    np.testing.assert_allclose(q, -5e-4, rtol=1e-6)  # and that of the other less than 1
    opt.max_value = 0.7
    opt.step(grads)
    np.testing.assert_allclose(p, [-1.2, -1.5], rtol=1e-6)
    with pytest.raises(ArgumentError, match="max_norm is 1, want 0 while max_tensor_norm"):
        opt.max_norm = 1
    saved = opt.state_dict()
    opt.max_tensor_norm, opt.max_norm = 0, 1
    opt.load_state_dict(saved)
    assert (opt.max_norm, opt.max_tensor_norm, opt.max_value) == (0, 1, 0.7)
    np.testing.assert_array_equal(grads[0], [6, 8])


def test_policies() -> None:
    p, bad = np.ones(4, np.float32), np.array([1, np.nan, np.inf, 1e30], np.float32)
    opt = ln.Optimizer({"w": p}, preset("torch", "AdamW", lr=1))
    opt.policy = "skip"
    opt.step({"w": bad})
    assert (opt.skipped, opt.non_finite, opt.steps("w"), p.tolist()) == (1, 3, 0, [1] * 4)
    opt.policy = "refuse"
    with pytest.raises(lockstep.NonFiniteError, match=r"have 3 elements that are NaN .* tensor 0 \(w\)"):
        opt.step({"w": bad})
    assert (opt.skipped, opt.steps("w"), p.tolist()) == (2, 0, [1] * 4)
    opt.step({"w": np.ones(4, np.float32)})
    assert (opt.skipped, opt.non_finite, opt.steps("w")) == (2, 0, 1)
    other = pickle.loads(pickle.dumps(opt))
    assert other.policy == "refuse"
    opt.policy = "propagate"
    opt.step({"w": bad})
    assert np.isnan(p[1])


def test_groups() -> None:
    w, b, g = np.zeros(2, np.float32), np.zeros(2, np.float32), np.ones(2, np.float32)
    sgd = preset("torch", "SGD", lr=1)
    opt = ln.Optimizer.of_groups([({"w": w}, sgd), ({"b": b}, sgd.replace(lr=2))])
    opt.step([g, g])
    opt.groups[1].lr = 4
    opt.step([g, g])
    np.testing.assert_array_equal([w[0], b[0]], [-2, -6])
    assert [group.names for group in opt.groups] == [("w",), ("b",)]
    with pytest.raises(ArgumentError, match="2 learning rates"):
        _ = opt.lr
    opt.lr = 8
    assert opt.lr == opt.groups[0].lr == opt.groups[1].rule.options["lr"] == 8
    opt.groups[0].rule = sgd.replace(lr=8, maximize=True)
    opt.step([g, g])
    np.testing.assert_array_equal([w[0], b[0]], [6, -14])
    assert "of w" in repr(opt)


def test_groups_without_names() -> None:
    a, b, c = (np.zeros(2, np.float32) for _ in range(3))
    sgd = preset("torch", "SGD")
    assert list(ln.Optimizer.of_groups([([a, b], sgd), ([c], sgd)]).params) == ["0", "1", "2"]


def test_settings_that_cannot_be() -> None:
    _, opt = problem(preset("torch", "AdamW"))
    group = opt.groups[0]
    for name, value in [("lr", -1), ("lr", float("nan")), ("max_norm", -1), ("grad_scale", float("inf"))]:
        before = getattr(opt, name)
        with pytest.raises(ArgumentError, match=f"^{name.removeprefix('grad_')} is "):
            setattr(opt, name, value)
        assert getattr(opt, name) == before
    others: list[tuple[str, Any]] = [("max_tensor_norm", -1), ("max_value", 1e39), ("policy", "stop")]
    for name, other in others:
        before = getattr(opt, name)
        with pytest.raises(ArgumentError, match=" is .*, want "):
            setattr(opt, name, other)
        assert getattr(opt, name) == before
    with pytest.raises(ArgumentError, match="beta1 is "):
        group.rule = group.rule.replace(beta1=2)
    with pytest.raises(ArgumentError, match="want one of Adam"):
        group.rule = preset("torch", "SGD")
    with pytest.raises(ArgumentError):
        group.rule = group.rule.replace(amsgrad=True)
    with pytest.raises(lockstep.TableError):
        opt.table = "sse9"
    assert group.rule == preset("torch", "AdamW")
    assert opt.table is None


@pytest.mark.parametrize("rule", RULES, ids=TAKERS)
def test_state_goes_from_one_to_another(rule: Rule) -> None:
    params, opt = problem(rule)
    for t in range(5):
        opt.step(gradients(t, missing=True))
    opt.lr, opt.max_norm, opt.grad_scale = 0.01, 3, 2
    others, other = problem(rule)
    for p, o in zip(params, others):
        o[...] = p
    saved = opt.state_dict()
    copied = pickle.dumps(saved)
    other.load_state_dict(saved)
    for t in range(5, 10):
        opt.step(gradients(t))
        other.step(gradients(t))
    assert result(params, opt) == result(others, other)
    assert [other.steps(n) for n in other.params] == [opt.steps(n) for n in opt.params]
    assert pickle.dumps(saved) == copied
    assert saved["arrays"]["1"]["steps"] == 4


def test_state_that_cannot_be() -> None:
    _, opt = problem(preset("torch", "AdamW"))
    before = pickle.dumps(opt.state_dict())

    def refused(change: Callable[[dict[str, Any]], Any], message: str) -> None:
        saved = opt.state_dict()
        change(saved)
        with pytest.raises(ArgumentError, match=message):
            opt.load_state_dict(saved)
        assert pickle.dumps(opt.state_dict()) == before

    refused(lambda s: s["arrays"].pop("1"), "of 1 groups with 0, 2")
    refused(lambda s: s["groups"].append(s["groups"][0]), "of 2 groups")
    refused(lambda s: s["groups"][0].update(state="adam, amsgrad"), "is of adam, amsgrad, want adam")
    refused(lambda s: s["groups"][0]["options"].update(beta1=2) or s.update(grad_scale=2), "beta1 is 2")
    refused(lambda s: s["arrays"]["1"].update(group=1), "1 is of group 1")
    refused(lambda s: s["arrays"]["1"].update(steps=-1), "the steps of 1 are -1")
    refused(lambda s: s["arrays"]["1"]["state"].pop("v"), "the state of 1 has m, want m, v")
    refused(lambda s: s["arrays"]["1"]["state"].update(v=random(0, 3)), r"the state v of 1 has the shape \(3,\)")
    refused(lambda s: s.update(max_norm=-1), "max_norm is -1")
    refused(lambda s: s.update(max_norm=1, max_tensor_norm=1), "max_tensor_norm is 1, want 0 while")
    refused(lambda s: s.update(grad_scale=2, policy="stop"), "policy is 'stop', want 'propagate'")


def test_state_is_no_copy() -> None:
    p = np.zeros(3, np.float32)
    opt = ln.Optimizer(p, preset("torch", "Momentum", lr=1))
    state = opt.state("0")
    state["momentum"][...] = 10
    opt.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(p, -9)
    owner = weakref.ref(opt._optimizer)
    del opt
    gc.collect()
    np.testing.assert_array_equal(state["momentum"], 9)
    assert owner() is not None
    del state
    assert owner() is None


def test_steps_can_be_set() -> None:
    _, opt = problem(preset("torch", "AdamW"))
    opt.set_steps("1", 100)
    assert [opt.steps(name) for name in ("0", "1")] == [0, 100]
    with pytest.raises(ArgumentError, match="steps is -1"):
        opt.set_steps("1", -1)
    with pytest.raises(ArgumentError, match="name is 'w', want one of 0, 1"):
        opt.steps("w")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_its_own_way(copied: Callable[[ln.Optimizer], ln.Optimizer]) -> None:
    _, opt = problem(preset("torch", "AdamW"), threads=2)
    for t in range(3):
        opt.step(gradients(t))
    opt.lr, opt.max_norm, opt.table = 0.5, 3, "portable"
    other = copied(opt)
    assert (other.lr, other.max_norm, other.table) == (0.5, 3, "portable")
    opt.step(gradients(3))
    before = result(list(opt.params.values()), opt)
    other.step(gradients(3))
    assert result(list(other.params.values()), other) == before
    other.step(gradients(4))
    assert result(list(opt.params.values()), opt) == before


BIG = [preset("torch", "AdamW"), preset("optax", "Lamb", lr=1e-3)]


def train_big(rule: Rule, threads: int) -> bytes:
    p = random(0, 1 << 20)
    opt = ln.Optimizer(p, rule, threads=threads)
    for t in range(4):
        opt.step(random(t, 1 << 20))
    return p.tobytes()


@pytest.mark.parametrize("rule", BIG, ids=["AdamW", "Lamb"])
def test_threads_have_the_same_bits(rule: Rule) -> None:
    assert train_big(rule, 4) == train_big(rule, 1)


@counted
def test_threads_are_used() -> None:
    p, before = np.zeros(1 << 20, np.float32), threads()
    opt = ln.Optimizer(p, BIG[0], threads=3)
    assert threads() <= before
    opt.step(p + 1)
    helpers = threads() - before
    assert len(helpers) == 2
    del opt
    assert end(helpers)


def test_optimizers_in_threads() -> None:
    want = {rule: train(rule) for rule in RULES}
    got: dict[Rule, bytes] = {}
    threads = [threading.Thread(target=lambda r=rule: got.update({r: train(r, threads=2)})) for rule in RULES]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == want


def test_an_optimizer_in_threads() -> None:
    p, g = np.zeros(1 << 16, np.float32), np.ones(1 << 16, np.float32)
    opt = ln.Optimizer(p, preset("torch", "SGD", lr=1), threads=2)

    def steps() -> None:
        for _ in range(25):
            opt.step(g)

    threads = [threading.Thread(target=steps) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_array_equal(p, -100)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_after_fork() -> None:
    want = train_big(BIG[0], 2)  # the pool's threads, which a child does not have
    p = random(0, 1 << 20)
    opt = ln.Optimizer(p, BIG[0], threads=2)
    opt.step(random(0, 1 << 20))

    def child(queue: Any) -> None:
        for t in range(1, 4):
            opt.step(random(t, 1 << 20))
        queue.put((p.tobytes() == want, train_big(BIG[0], 3) == want))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=300) == (True, True)
    process.join()


def not_aligned(n: int) -> Floats:
    return np.zeros(4 * n + 1, np.uint8)[1:].view(np.float32)


def read_only(n: int) -> Floats:
    a = np.zeros(n, np.float32)
    a.flags.writeable = False
    return a


BAD: dict[str, tuple[Any, str]] = {
    "list": ([1.0, 2.0, 3.0, 4.0], "is a list, want a numpy.ndarray"),
    "masked": (np.ma.zeros(4, np.float32), "is a MaskedArray, want a numpy.ndarray"),
    "float64": (np.zeros(4), "is an array of float64, want float32"),
    "swapped": (np.zeros(4, np.dtype(np.float32).newbyteorder()), "is an array of .f4, want float32"),
    "strided": (np.zeros(8, np.float32)[::2], r"has strides \(8,\), want a C-contiguous array"),
    "unaligned": (not_aligned(4), "is at 0x.*, want an aligned array"),
}


@pytest.mark.parametrize("kind", BAD)
def test_arrays_that_cannot_be(kind: str) -> None:
    bad, message = BAD[kind]
    sgd = preset("torch", "SGD")
    with pytest.raises(ArgumentError, match=rf"^params\[1\] {message}"):
        ln.Optimizer([np.zeros(4, np.float32), bad], sgd)
    with pytest.raises(ArgumentError, match=rf"^params\['w'\] {message}"):
        ln.Optimizer({"w": bad}, sgd)
    p = np.zeros(4, np.float32)
    with pytest.raises(ArgumentError, match=rf"^grads\[0\] {message}"):
        ln.Optimizer([p], sgd).step([bad])
    np.testing.assert_array_equal(p, 0)


def test_params_that_cannot_be() -> None:
    sgd, a = preset("torch", "SGD"), np.zeros(8, np.float32)
    with pytest.raises(ArgumentError, match=r"^params\[0\] is read-only, want a writable array"):
        ln.Optimizer([read_only(3)], sgd)
    with pytest.raises(ArgumentError, match=r"^params\[1\] is at 0x.*, want memory apart from params\[0\]"):
        ln.Optimizer([a[:5], a[4:]], sgd)
    with pytest.raises(ArgumentError, match="^params is a str"):
        ln.Optimizer("weights", sgd)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="a name is in two groups"):
        ln.Optimizer.of_groups([({"w": a[:4]}, sgd), ({"w": a[4:]}, sgd)])
    with pytest.raises(ArgumentError, match="^threads is 0"):
        ln.Optimizer(a, sgd, threads=0)
    ln.Optimizer([a[:4], a[4:]], sgd)


def test_grads_that_cannot_be() -> None:
    p = np.zeros(8, np.float32)
    opt = ln.Optimizer({"w": p[:4], "b": p[6:]}, preset("torch", "AdamW"))
    g = np.zeros(2, np.float32)
    for grads, message in [
        ([g], "len.grads. is 1, want the number of params, 2"),
        ({"x": g}, r"grads\['x'\] is of no parameters, want w, b"),
        ({"w": g}, r"grads\['w'\] has the shape \(2,\), want \(4,\)"),
        ({"w": p[4:]}, "(grad|param).* apart"),
        ({"w": p[:4]}, "(grad|param).* apart"),
        ({"w": opt.state("w")["v"]}, "grad.* apart"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            opt.step(grads)  # type: ignore[arg-type]
        assert opt.steps("w") == opt.steps("b") == 0
    np.testing.assert_array_equal(p, 0)


def test_eval_and_train() -> None:
    p = random(1, 1000)
    opt = ln.Optimizer({"p": p}, preset("torch", "SGDScheduleFree", lr=0.1))
    start = copy.deepcopy(opt)
    assert opt.training
    x = z = p.astype(np.float64)
    for t in range(1, 31):
        y, g = 0.1 * z + 0.9 * x, random(t, 1000)
        np.testing.assert_allclose(p, y, atol=1e-6)
        opt.step({"p": g})
        z = z - 0.1 * g
        x = x + (z - x) / t
    before = p.copy()
    opt.eval()
    np.testing.assert_allclose(p, x, atol=1e-6)
    assert not opt.training
    for refused in (
        lambda: opt.step({"p": g}),
        opt.eval,
        opt.state_dict,
        lambda: copy.deepcopy(opt),
        lambda: opt.load_state_dict(start.state_dict()),
        lambda: setattr(opt.groups[0], "rule", opt.groups[0].rule),
    ):
        with pytest.raises(ArgumentError, match="the mode of the parameters is eval, want"):
            refused()
    opt.train()
    assert np.count_nonzero(p != before) < 50
    np.testing.assert_allclose(p, before, rtol=1e-6, atol=1e-7)
    with pytest.raises(ArgumentError, match="the mode of the parameters is train, want"):
        opt.train()
    opt.step({"p": g})
