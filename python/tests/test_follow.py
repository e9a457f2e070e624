"""Averages of the parameters and lookahead: plain NumPy's bits, exchanges, what is saved, and what is refused."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lockstep.numpy as ln
from lockstep import ArgumentError, preset

Floats = npt.NDArray[np.float32]

SHAPES = {"table": (200, 300), "weights": (40, 50), "bias": (40,), "none": (0,), "large": (300000,)}


def made(seed: int) -> dict[str, Floats]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def optimizer(rule: str = "SGD", threads: int = 2) -> ln.Optimizer:
    return ln.Optimizer(made(0), preset("torch", rule, lr=0.1), threads=threads)


def moved(x: Floats, towards: Floats, keeps: float) -> Floats:
    """x a part of the way towards others, in float32, from the end that is nearer."""
    if keeps >= 0.5:
        return x + (towards - x) * np.float32(1 - keeps)
    return towards - (towards - x) * np.float32(keeps)


def decays(a: ln.Averaging, n: int) -> float:
    if a.equal:
        return n / (n + 1)
    if a.bias_corrected:
        return a.decay * ((1 - a.decay**n) / (1 - a.decay ** (n + 1)))
    return min(a.decay, (1 + n) / (10 + n)) if a.warm_up else a.decay


AVERAGES = {
    "torch": ln.Averaging.torch_ema(0.9),
    "swa": ln.Averaging.torch_swa(2),
    "keras": replace(ln.Averaging.keras_ema(), overwrite=3),
    "tensorflow": replace(ln.Averaging.tensorflow_ema(0.75), warm_up=True),
    "late": ln.Averaging(every=2, after=3, decay=0.25, from_start=True),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_average_is_numpys(name: str) -> None:
    a, opt, params = AVERAGES[name], optimizer(), made(0)
    opt.average = a
    average: dict[str, Floats] = {}
    count = 0
    for step in range(1, 9):
        grads: dict[str, Any] = made(step)
        if step == 5:
            grads["weights"] = None
        if a.from_start and not average and step > a.after:
            average, count = {name: p.copy() for name, p in params.items()}, 1
        opt.step(grads)
        for key, p in params.items():
            if grads[key] is not None:
                p -= grads[key] * np.float32(0.1)
        if step > a.after and (step - a.after) % a.every == 0:
            d = decays(a, count) if count else 0
            average = {key: moved(average[key], p, d) if count else p.copy() for key, p in params.items()}
            count += 1
        if a.overwrite and step % a.overwrite == 0:
            params = {key: x.copy() for key, x in average.items()}
        assert opt.averages == count
        for key, p in params.items():
            np.testing.assert_array_equal(opt.params[key], p)
            assert [*opt.state(key)] == ["params_average"] * (count > 0)
            if count:
                np.testing.assert_array_equal(opt.state(key)["params_average"], average[key])
    assert count > 2


def test_bias_corrected() -> None:
    opt, a = optimizer(), ln.Averaging.optax_ema(0.99)
    opt.average = a
    sums = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(1, 7):
        opt.step(made(step))
        for name, x in sums.items():
            x[...] = x * a.decay + (1 - a.decay) * opt.params[name]
            np.testing.assert_allclose(opt.state(name)["params_average"], x / (1 - a.decay**step), rtol=2e-6, atol=1e-6)


def test_lookahead_is_numpys() -> None:
    opt, fast = optimizer(), made(0)
    slow = {name: p.copy() for name, p in fast.items()}
    opt.lookahead = ln.Lookahead(3, 0.5)
    opt.average = ln.Averaging.torch_swa()
    for step in range(1, 8):
        grads = made(step)
        opt.step(grads)
        for name, p in fast.items():
            p -= grads[name] * np.float32(0.1)
            if step % 3 == 0:
                slow[name] = moved(slow[name], p, 0.5)
                p[...] = slow[name]
            np.testing.assert_array_equal(opt.params[name], p)
            np.testing.assert_array_equal(opt.state(name)["params_slow"], slow[name])
            if step == 1:  # the average takes parameters as they are then
                np.testing.assert_array_equal(opt.state(name)["params_average"], p)
    opt.lookahead = None
    assert [*opt.state("bias")] == ["params_average"]


def test_swapped() -> None:
    opt = optimizer("AdamW")
    with pytest.raises(ArgumentError, match="the number of averages is 0, want at least 1"):
        opt.swap_average()
    opt.average = ln.Averaging.torch_ema(0.5)
    for step in range(3):
        opt.step(made(step))
    params = {name: p.copy() for name, p in opt.params.items()}
    averages = {name: opt.state(name)["params_average"].copy() for name in SHAPES}
    opt.swap_average()
    for name in SHAPES:
        np.testing.assert_array_equal(opt.params[name], averages[name])
        np.testing.assert_array_equal(opt.state(name)["params_average"], params[name])
    for attempt in (lambda: opt.step(made(0)), opt.state_dict, opt.eval, lambda: copy.deepcopy(opt)):
        with pytest.raises(ArgumentError, match="swapped for their averages, want those of the last step"):
            attempt()
    with pytest.raises(ArgumentError, match="swapped for their averages"):
        opt.average = None
    opt.swap_average()
    for name in SHAPES:
        np.testing.assert_array_equal(opt.params[name], params[name])
    opt.step(made(4))


@pytest.mark.parametrize("how", ["load", "pickle", "deepcopy"])
def test_goes_on(how: str) -> None:
    opt = optimizer("AdamW")
    opt.average, opt.lookahead = ln.Averaging(every=2, after=1, decay=0.9, bias_corrected=True), ln.Lookahead(4, 0.75)
    for step in range(5):
        opt.step(made(step) if step else {"bias": made(step)["bias"]})
    if how == "load":
        other = ln.Optimizer({name: p.copy() for name, p in opt.params.items()}, preset("torch", "AdamW", lr=0.1))
        other.load_state_dict(opt.state_dict())
    else:
        other = pickle.loads(pickle.dumps(opt)) if how == "pickle" else copy.deepcopy(opt)
    assert (other.average, other.lookahead, other.averages) == (opt.average, opt.lookahead, 2)
    for step in range(5, 10):
        opt.step(made(step))
        other.step(made(step))
    assert opt.averages == other.averages == 4
    for name in SHAPES:
        np.testing.assert_array_equal(opt.params[name], other.params[name])
        for slot, x in opt.state(name).items():
            np.testing.assert_array_equal(x, other.state(name)[slot])


def test_state_that_is_not_kept() -> None:
    opt, other = optimizer(), optimizer()
    opt.average, opt.lookahead = ln.Averaging.keras_ema(), ln.Lookahead(2, 0.5)
    opt.step(made(1))
    saved = opt.state_dict()
    for setting, slot in (("average", "params_average"), ("lookahead", "params_slow")):
        without = {key: value for key, value in saved.items() if key != setting}
        with pytest.raises(ArgumentError, match=f"the state has {slot}, want none: the optimizer's {setting} is None"):
            other.load_state_dict(without)
    with pytest.raises(ArgumentError, match="averages is 0 in the state, want above 0 with params_average"):
        other.load_state_dict(saved | {"averages": 0})
    with pytest.raises(ArgumentError, match="steps is -1 in the state"):
        other.load_state_dict(saved | {"steps": -1})
    assert other.average is None
    assert other.averages == 0
    other.load_state_dict(saved)
    assert other.averages == 1
    other.load_state_dict(optimizer().state_dict())
    assert other.average is None
    assert other.lookahead is None


def test_refused() -> None:
    opt = optimizer()
    for name in ("every", "after", "overwrite"):
        for value, want in ((1.5, "an integer"), (-1, "at least")):
            options: dict[str, Any] = {name: value}
            with pytest.raises(ArgumentError, match=f"{name} is {value}, want {want}"):
                opt.average = ln.Averaging(**options)
    for period in (0, -3):
        with pytest.raises(ArgumentError, match=f"period is {period}, want at least 1"):
            ln.Lookahead(period, 0.5)
    with pytest.raises(ArgumentError, match="step is 0, want above 0 and at most 1"):
        opt.lookahead = ln.Lookahead(5, 0)
    with pytest.raises(ArgumentError, match="decay is 2, want from 0 to 1"):
        opt.average = ln.Averaging.torch_ema(2)
    assert opt.average is None
    assert opt.lookahead is None
    table = ln.Optimizer(np.zeros((10, 3), np.float32), preset("torch", "SGD"))
    table.average = ln.Averaging.torch_ema()
    with pytest.raises(
        ArgumentError, match="an average, .* or centralize is set, want none of them with steps on rows"
    ):
        table.step_rows(np.array([1]), np.ones((1, 3), np.float32))
