"""Gradients that are observed as backward makes them: the same norms and bits, and what is read again."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
import torch_runs as runs
from torch.nn import Parameter
from torch.optim import Optimizer

import lockstep.torch as lt
from lockstep import _library as c
from lockstep.torch import _observed

SIZES: list[tuple[int, ...]] = [(300, 200), (40,), (), (0,), (17, 3), (100_000,), (4, 3, 2, 2)]
LARGE = 5
MAX_NORM = 0.5


def parameters() -> list[Parameter]:
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(size, generator=generator) for size in SIZES]
    tensors[6] = tensors[6].to(memory_format=torch.channels_last)
    return [Parameter(t) for t in tensors]


def backward(optimizer: Optimizer, k: int, *, without: tuple[int, ...] = (), factor: float = 1.0) -> None:
    """Gradients of step k, noisy, of all parameters but some."""
    generator = torch.Generator().manual_seed(100 + k)
    parts = []
    for j, p in enumerate(runs.params_of(optimizer)):
        noise = torch.randn(p.shape, generator=generator)
        if j not in without:
            parts.append((factor * (p + noise) ** 2).sum().float())
    torch.autograd.backward(torch.stack(parts).sum())


def clip(optimizer: Any, **kwargs: Any) -> float:
    return float(lt.clip_grad_norm_and_step(optimizer, MAX_NORM, **kwargs))


Make = Callable[[list[Parameter]], Any]


def pair(make: Make = lt.AdamW, steps: int = 2) -> tuple[Any, Any]:
    """Two optimizers of the same parameters after some steps, of which the first observes."""
    both = make(parameters()), make(parameters())
    both[0].observe_gradients()
    for k in range(steps):
        for o in both:
            o.zero_grad()
            backward(o, k)
            clip(o)
    return both


def assert_same(one: Any, other: Any) -> None:
    assert all(map(torch.equal, runs.params_of(one), runs.params_of(other)))


def tamper(optimizer: Any, j: int = LARGE) -> None:
    """Writes to a gradient what nobody notices, where none of its elements is looked at again."""
    grad = runs.params_of(optimizer)[j].grad
    assert grad is not None
    grad.data.view(-1)[-1] = 1e6


MAKERS: list[Any] = [
    lt.AdamW,
    lambda params: lt.SGD(params, lr=0.1, momentum=0.9),
    lambda params: lt.LAMB(params, lr=0.01),
    lambda params: lt.Prodigy(params, d0=1e-3),
    lambda params: lt.AdamW([{"params": params[:3]}, {"params": params[3:], "lr": 0.1}]),
]


@pytest.mark.parametrize("make", MAKERS)
def test_same_norms_and_bits(make: Make) -> None:
    """Of all parameters, and of some: the others have no gradient, which is no part of the norm."""
    observing, reading = pair(make)
    for k in range(12):
        without = ((), (0,), (1, 2, 4), (LARGE, 6))[k % 4]
        norms = []
        for o in (observing, reading):
            o.zero_grad()
            backward(o, k, without=without)
            norms.append(clip(o))
        assert norms[0] == norms[1] > MAX_NORM
        assert_same(observing, reading)


@pytest.mark.parametrize("without", [(), (1, 4)])
def test_gradients_are_not_read_again(without: tuple[int, ...]) -> None:
    observing, reading = pair()
    for o in (observing, reading):
        o.zero_grad()
        backward(o, 2, without=without)
    tamper(observing)
    assert clip(observing) == clip(reading)
    for o in (observing, reading):
        tamper(o)
    assert clip(observing) == clip(reading) > 1e5  # of the same gradients once more, which were let go of


def test_the_first_step_reads() -> None:
    optimizer = lt.AdamW(parameters())
    observer = optimizer.observe_gradients()
    assert optimizer.observe_gradients() is observer
    backward(optimizer, 0)
    tamper(optimizer)
    assert clip(optimizer) > 1e5


# Several calls of backward.


@pytest.mark.parametrize("last", [(), (0,), (1, 2, LARGE)])
def test_accumulation(last: tuple[int, ...]) -> None:
    """The last call of backward is observed; what it does not add to is read in the step."""
    observing, reading = pair()
    for o in (observing, reading):
        o.zero_grad()
        for k in range(3):
            backward(o, k, without=last if k == 2 else ())
    for k in range(3, 6):  # and on, to gradients that stay
        norms = [clip(o) for o in (observing, reading)]
        assert norms[0] == norms[1]
        for o in (observing, reading):
            backward(o, k, without=last)
    assert_same(observing, reading)
    tamper(observing, LARGE if LARGE not in last else 0)
    assert clip(observing) == clip(reading)


def test_paused() -> None:
    observing, reading = pair()
    observer = observing.observe_gradients()
    for o in (observing, reading):
        o.zero_grad()
    with observer.paused():
        backward(observing, 2)
        assert not observer._seen
    backward(observing, 3)
    for k in (2, 3):
        backward(reading, k)
    tamper(observing)
    assert clip(observing) == clip(reading)
    for o in (observing, reading):
        o.zero_grad()
        backward(o, 4)
    with observer.paused():  # what is added where nobody looks is noticed in the step
        backward(observing, 5)
    backward(reading, 5)
    assert clip(observing) == clip(reading)


def test_closure() -> None:
    observing, reading = pair()
    norms = []
    for o in (observing, reading):

        def closure(o: Any = o) -> None:
            o.zero_grad()
            for k in range(2):
                backward(o, k)

        o._clip = c_ = _clipping()
        o.step(closure)
        o._clip = None
        norms.append(c_.norm)
    assert norms[0] == norms[1]
    assert_same(observing, reading)


def _clipping() -> Any:
    from lockstep.torch._plan import Clip

    return Clip(MAX_NORM, False)


# What happens to a gradient after it was observed.


def replace(o: Any) -> None:
    p = runs.params_of(o)[1]
    p.grad = torch.ones_like(p)


def remove(o: Any) -> None:
    runs.params_of(o)[1].grad = None


def multiply(o: Any) -> None:
    torch._foreach_mul_([p.grad for p in runs.params_of(o) if p.grad is not None], 0.5)


def add_to_one(o: Any) -> None:
    runs.params_of(o)[LARGE].grad[-1] += 7  # type: ignore[index]


def clip_before(o: Any) -> None:
    torch.nn.utils.clip_grad_value_(runs.params_of(o), 0.5)


def zero(o: Any) -> None:
    o.zero_grad(set_to_none=False)
    backward(o, 9)


def begin_anew(o: Any) -> None:
    o.zero_grad()
    backward(o, 9)


def another_order(o: Any) -> None:
    p = runs.params_of(o)[0]
    p.grad = torch.ones(200, 300).t()


def change_options(o: Any) -> None:
    o.param_groups[0].update(lr=0.1, betas=(0.5, 0.6))


def other_state(o: Any) -> None:
    o.load_state_dict(copy.deepcopy(o.state_dict()))


def add_group(o: Any) -> None:
    late = Parameter(torch.ones(3000))
    o.add_param_group({"params": [late]})
    torch.autograd.backward((late**2).sum())


def fewer_parameters(o: Any) -> None:
    del o.param_groups[0]["params"][0]


def other_data(o: Any) -> None:
    for p in runs.params_of(o):
        p.data = p.data + 1


CHANGES = [
    *(replace, remove, multiply, add_to_one, clip_before, zero, begin_anew, another_order),
    *(change_options, other_state, add_group, fewer_parameters, other_data),
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(change: Callable[[Any], None]) -> None:
    observing, reading = pair()
    for k in (2, 3):
        norms = []
        for o in (observing, reading):
            o.zero_grad()
            backward(o, k)
            if k == 2:
                change(o)
            norms.append(clip(o))
        assert norms[0] == norms[1]
        assert_same(observing, reading)


def test_groups_that_are_added_are_observed() -> None:
    observing, _ = pair()
    add_group(observing)
    clip(observing)
    backward(observing, 3)
    tamper(observing, len(SIZES))
    assert clip(observing) < 1e5


def test_forget() -> None:
    observing, _ = pair()
    backward(observing, 2)
    tamper(observing)
    observing.observe_gradients().forget()
    assert clip(observing) > 1e5


@pytest.mark.parametrize("other", ["step", "value", "refused"])
def test_other_steps(other: str) -> None:
    """A step that does not clip to a norm does not, and lets go of what was observed."""
    observing, reading = pair()
    for o in (observing, reading):
        backward(o, 2)
        if other == "step":
            o.step()
        elif other == "value":
            lt.clip_grad_value_and_step(o, 0.1)
        else:
            runs.params_of(o)[0].grad[0, 0] = torch.inf  # type: ignore[index]
            with pytest.raises(RuntimeError, match="the norm of the gradients is inf"):
                clip(o, error_if_nonfinite=True)
        assert o._observer is None or not o._observer._seen
        o.zero_grad()
        backward(o, 3)
    assert_same(observing, reading)
    tamper(observing)
    assert clip(observing) == clip(reading)


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_nonfinite(bad: float) -> None:
    norms = []
    for o in pair():
        params = runs.params_of(o)
        params[1].register_hook(lambda grad: grad * bad)  # type: ignore[no-untyped-call]
        o.zero_grad()
        backward(o, 2)
        norms.append(clip(o))
        norms.append(float(params[0].detach()[0, 0]))
    torch.testing.assert_close(norms[:2], norms[2:], rtol=0, atol=0, equal_nan=True)


# GradScaler, which writes to gradients behind autograd's back.


@pytest.mark.parametrize("how", ["in the step", "before", "before, without it"])
def test_grad_scaler(how: str) -> None:
    ways = []
    for observes in (True, False):
        optimizer = lt.AdamW(parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        if observes:
            optimizer.observe_gradients()
        norms = []
        for k in range(8):
            optimizer.zero_grad()
            scale = float(scaler.scale(torch.ones(())))
            overflows = k == 4 and how != "before, without it"
            backward(optimizer, k, factor=torch.inf if overflows else scale)
            if how != "in the step":
                scaler.unscale_(optimizer)
            norms.append(clip(optimizer, **({} if how == "before, without it" else {"scaler": scaler})))
            scaler.update()
            assert (norms[-1] == norms[-1]) == (not overflows)
        ways.append((optimizer, norms))
    (observing, mine), (reading, theirs) = ways
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    assert_same(observing, reading)


def test_zeros_are_read_again() -> None:
    """Where no element that is looked at again is other than 0, GradScaler's factor could not be seen."""
    observing, reading = pair()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    norms = []
    for o in (observing, reading):
        scaler.scale(torch.ones(()))
        o.zero_grad()
        p = runs.params_of(o)[LARGE]
        torch.autograd.backward((p[-100:] * torch.linspace(1, 2, 100)).sum() * 1024)
        scaler.unscale_(o)
        norms.append(clip(o))
        scaler.update()
    assert norms[0] == norms[1] < 1024


# Copies, and what is left.


@pytest.mark.parametrize("how", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_do_not_observe(how: Callable[[Any], Any]) -> None:
    observing, reading = pair()
    twin = copy.deepcopy(reading)
    backward(observing, 2)  # in the middle of it
    other = how(observing)
    other.zero_grad()
    assert other._observer is None
    seen = dict(observing._observer._seen)
    backward(other, 3)
    assert observing._observer._seen == seen
    assert not any(p._post_accumulate_grad_hooks for p in runs.params_of(other))
    assert other.observe_gradients() is not observing.observe_gradients()
    backward(reading, 2)
    assert clip(observing) == clip(reading)
    for o in (other, twin):
        for k in (4, 5):
            o.zero_grad()
            backward(o, k)
            clip(o)
    assert_same(other, twin)


def test_model_is_copied() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Linear(4, 1))
    optimizer = lt.AdamW(model.parameters())
    optimizer.observe_gradients()
    for k in range(3):
        backward(optimizer, k)
        clip(optimizer)
    twin, twins = copy.deepcopy((model, optimizer))
    assert twins.param_groups[0]["params"][0] is next(iter(twin.parameters()))
    for o in (optimizer, twins):
        o.zero_grad()
        backward(o, 4)
    assert clip(optimizer) == clip(twins)
    assert_same(optimizer, twins)


def test_remove() -> None:
    observing, _ = pair()
    observer = observing.observe_gradients()
    backward(observing, 2)
    observer.remove()
    assert observing._observer is None
    assert not any(p._post_accumulate_grad_hooks for p in runs.params_of(observing))
    tamper(observing)
    assert clip(observing) > 1e5
    assert observing.observe_gradients() is not observer
    observer.remove()
    assert observing._observer is not None


def test_nothing_is_kept() -> None:
    """Gradients are let go of by the step; parameters outlive the optimizer."""
    observing, _ = pair()
    params = runs.params_of(observing)
    backward(observing, 2)
    grads = [weakref.ref(p.grad) for p in params]
    clip(observing)
    for p in params:
        p.grad = None
    assert [r() for r in grads] == [None] * len(grads)
    gone = weakref.ref(observing)
    del observing
    gc.collect()
    assert gone() is None
    torch.autograd.backward(torch.stack([(p**2).sum() for p in params]).sum())


def test_frozen_parameters() -> None:
    frozen, trained = Parameter(torch.ones(3), requires_grad=False), Parameter(torch.ones(100))
    optimizer = lt.SGD([frozen, trained], lr=0.1)
    optimizer.observe_gradients()
    for _ in range(3):
        torch.autograd.backward((trained**2).sum())
        clip(optimizer)
    frozen.requires_grad_()
    torch.autograd.backward((frozen.sum() * trained).sum())
    norm = float(torch.linalg.vector_norm(torch.cat([frozen.grad, trained.grad])))  # type: ignore[list-item]
    assert clip(optimizer) == pytest.approx(norm, rel=1e-6)


def test_parameters_that_are_left_to_torch() -> None:
    norms = []
    for observes in (True, False):
        params = [*parameters(), Parameter(torch.ones(7, dtype=torch.float64))]
        optimizer = lt.AdamW(params, fallback=True)
        if observes:
            optimizer.observe_gradients()
        for k in range(4):
            optimizer.zero_grad()
            backward(optimizer, k)
            if observes and k == 3:
                tamper(optimizer)
            norms.append(clip(optimizer))
    assert norms[:4] == norms[4:]


def test_where_there_are_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which add to gradients that have arrived: nothing is observed."""
    observing, _ = pair()
    monkeypatch.setattr(_observed, "_has_others", lambda: True)
    backward(observing, 2)
    tamper(observing)
    assert clip(observing) > 1e5


def test_an_interrupt_within_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    observing, reading = pair()
    usual, calls = c.Optimizer.observe, []

    def interrupted(*args: Any) -> None:
        calls.append(args)
        usual(*args)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(c.Optimizer, "observe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backward(observing, 2)
    for o in (observing, reading):
        o.zero_grad()
        backward(o, 3)
    assert clip(observing) == clip(reading)


def test_backward_on_several_threads() -> None:
    observing, reading = pair()
    for k in range(2, 8):
        for o in (observing, reading):
            o.zero_grad()

        def run(j: int, k: int = k) -> None:
            backward(observing, k, without=tuple(i for i in range(len(SIZES)) if i % 3 != j))

        threads = [threading.Thread(target=run, args=(j,)) for j in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        backward(reading, k)
        assert clip(observing) == clip(reading)
    assert_same(observing, reading)


def test_refused() -> None:
    with pytest.raises(lt.UnsupportedError, match="clipping is no part of a step of SparseAdam"):
        lt.SparseAdam([Parameter(torch.ones(2, 2))]).observe_gradients()
