"""Gradients that are observed as they arrive: the bits of steps that read them, and what is refused."""

from __future__ import annotations

import copy
import gc
import threading
import weakref

import numpy as np
import numpy.typing as npt
import pytest

import lockstep.numpy as ln
from lockstep import ArgumentError, NonFiniteError, preset

Floats = npt.NDArray[np.float32]

SHAPES = {"table": (200, 300), "weights": (40, 50), "bias": (40,), "none": (0,), "large": (100000,)}
PARTS = 997  # elements of a part


def made(seed: int) -> dict[str, Floats]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def optimizer() -> ln.Optimizer:
    opt = ln.Optimizer(made(0), preset("torch", "AdamW"), threads=2)
    opt.max_norm = 0.5
    return opt


def observe(opt: ln.Optimizer, grads: dict[str, Floats], threads: int, seed: int) -> None:
    """Observes arrays whole and in parts, in any order, that nobody else keeps."""
    parts = [(name, lo) for name in ("bias", "large", "weights") for lo in range(0, grads[name].size, PARTS)]
    np.random.default_rng(seed).shuffle(parts)

    def take(first: int) -> None:
        for name, lo in parts[first::threads]:
            opt.observe(name, grads[name].ravel()[lo : lo + PARTS].copy(), first=lo)

    running = [threading.Thread(target=take, args=(k,)) for k in range(threads)]
    for t in running:
        t.start()
    opt.observe("none", grads["none"])
    opt.observe("table", grads["table"].copy())
    for t in running:
        t.join()


@pytest.mark.parametrize("threads", [1, 4])
def test_order_changes_no_bit(threads: int) -> None:
    read, observed = optimizer(), optimizer()
    for step in range(4):
        grads = made(step + 1)
        observe(observed, grads, threads, step)
        observed.step(grads)
        read.step(grads)
        assert observed.norm == read.norm > 0.5
        for name, array in read.params.items():
            np.testing.assert_array_equal(observed.params[name], array)


def test_gradients_are_not_read_again() -> None:
    opt, grads = optimizer(), made(1)
    for name, grad in grads.items():
        opt.observe(name, grad)
    opt.step({name: grad if name == "bias" else 2 * grad for name, grad in grads.items()})
    read = optimizer()
    read.step(grads)
    assert opt.norm == read.norm


@pytest.mark.parametrize("call", ["observe", "step", "forget_observed"])
def test_interrupts_leave_what_c_points_to(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opt, read, grads = optimizer(), optimizer(), made(1)
    parts = [grads["bias"][:7].copy()]
    kept = weakref.ref(parts[0])
    if call != "observe":
        opt.observe("bias", parts[0], first=0)
    usual = getattr(opt._optimizer, call)

    def interrupted(_: object, *args: object) -> None:
        if call == "observe":
            usual(*args)
        raise KeyboardInterrupt

    attempts = {
        "observe": lambda: opt.observe("bias", parts[0], first=0),
        "step": lambda: opt.step(grads),
        "forget_observed": opt.forget_observed,
    }
    with monkeypatch.context() as patched:
        patched.setattr(type(opt._optimizer), call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            attempts[call]()
    parts.clear()
    gc.collect()
    assert kept() is not None
    opt.observe("bias", grads["bias"][7:].copy(), first=7)
    for name in grads.keys() - {"bias"}:
        opt.observe(name, grads[name])
    opt.step(grads)
    read.step(grads)
    assert opt.norm == read.norm
    gc.collect()
    assert kept() is None


def test_what_is_forgotten() -> None:
    opt, grads = optimizer(), made(1)
    opt.observe("bias", grads["bias"])
    opt.forget_observed()
    opt.step(grads)
    opt.observe("bias", grads["bias"])
    opt.max_norm = 0
    opt.max_norm = 0.5
    opt.step(grads)
    for name, grad in grads.items():
        opt.observe(name, grad)
    copy.deepcopy(opt).step({})  # which has observed nothing
    opt.policy = "refuse"
    grads["bias"][3] = np.inf
    opt.forget_observed()
    for name, grad in grads.items():
        opt.observe(name, grad)
    with pytest.raises(NonFiniteError):
        opt.step(grads)
    opt.observe("bias", grads["bias"])  # of the next step
    assert opt.steps("bias") == 2


def test_what_is_refused() -> None:
    opt, grads = optimizer(), made(1)
    before = {name: array.copy() for name, array in opt.params.items()}
    opt.max_norm = 0
    with pytest.raises(ArgumentError, match="^max_norm is 0, want a number above 0"):
        opt.observe("bias", grads["bias"])
    opt.max_norm = 0.5
    opt.observe("weights", grads["weights"][:7], first=100)
    for name, grad, first, message in [
        ("wide", grads["bias"], None, "^name is 'wide'"),
        ("bias", grads["weights"], None, r"^grads\['bias'\] has the shape \(40, 50\), want \(40,\)"),
        ("bias", grads["bias"].astype(float), 0, r"^grads\['bias'\] is an array of float64"),
        ("bias", grads["bias"][::2], 0, r"^grads\['bias'\] has strides"),
        ("bias", grads["bias"][:2], 39, "^count is 2, want at most the 1 elements of tensor 2 from 39 on"),
        ("bias", grads["bias"], -1, "^first is -1, want at least 0"),
        ("weights", grads["bias"], 420, "^first is 420, .* apart from 100 to 450, which has been observed"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            opt.observe(name, grad, first=first)
    with pytest.raises(ArgumentError, match=r"^tensor 0 \(table\) is not observed from 0 on, want all of its 60000"):
        opt.step(grads)
    for name, array in before.items():
        np.testing.assert_array_equal(opt.params[name], array)
    rows = ln.Optimizer(np.ones((4, 5), np.float32), preset("torch", "SGD", lr=1))
    rows.max_norm = 1
    rows.observe("0", np.ones(2, np.float32), first=0)
    with pytest.raises(ArgumentError, match="^the gradient is observed, want not observed with steps on rows"):
        rows.step_rows(np.array([1]), np.ones((1, 5), np.float32))
