"""Threads, forks, and memory: what is large enough to be shared, and who may step meanwhile."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from threads import counted, threads
from torch.nn import Parameter

import lockstep.torch as lt
import lockstep.torch.functional as ours
from lockstep.torch import _layout, _plan


@pytest.fixture(autouse=True)
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def large(n: int = 1 << 20) -> Parameter:
    p = Parameter(torch.linspace(-1, 1, n))
    p.grad = torch.linspace(1, 2, n)
    return p


def stepped(n_threads: int, steps: int = 4) -> torch.Tensor:
    """Steps on so many threads; torch's own operations stay on one, because its threads do not survive fork."""
    torch.set_num_threads(1)
    p = large()
    optimizer = lt.AdamW([p, large(100)])
    optimizer.step()
    torch.set_num_threads(n_threads)
    for _ in range(steps):
        optimizer.step()
    torch.set_num_threads(1)
    return p.detach()


def test_same_bits() -> None:
    one = stepped(1)
    for n in (2, 3):
        assert torch.equal(stepped(n), one)


@counted
def test_threads_begin_when_needed() -> None:
    torch.set_num_threads(1)
    stepped(1)
    small, optimizer = lt.AdamW([large(1000)]), lt.AdamW([large()])
    torch.set_num_threads(4)
    before = threads()
    small.step()
    assert threads() <= before
    optimizer.step()
    assert 1 <= len(threads() - before) <= 3


def evaluated(n_threads: int) -> list[torch.Tensor]:
    """Losses of elements, of variances, of pairs and of rows, and their gradients."""
    torch.set_num_threads(1)
    x, y, v = (torch.linspace(0.01, k, 1 << 19).reshape(-1, 64).requires_grad_() for k in (0.9, 1, 2))
    target, signs = y.detach(), torch.ones(len(x))
    torch.set_num_threads(n_threads)
    values = [
        ours.mse_loss(x, target),
        ours.binary_cross_entropy(x, target, reduction="none"),
        ours.gaussian_nll_loss(x, target, v),
    ]
    values.append(ours.cosine_embedding_loss(x, y, signs))
    values += [ours.cross_entropy(x, target), ours.softmax_focal_loss(x, target), ours.log_softmax(x)]
    torch.set_num_threads(1)
    torch.stack([value.sum() for value in values]).sum().backward()  # type: ignore[no-untyped-call]
    grads = [leaf.grad for leaf in (x, y, v) if leaf.grad is not None]
    assert len(grads) == 3
    return [value.detach() for value in values] + grads


@counted
def test_losses() -> None:
    one = evaluated(1)
    before = threads()
    for n in (2, 4):
        assert all(map(torch.equal, evaluated(n), one))
    assert threads() - before


def test_threads_sleep() -> None:
    stepped(2)
    assert any(seconds_asleep() < 0.1 for _ in range(5))


def seconds_asleep() -> float:
    """What all threads compute for in half a second in which nothing is asked of them."""
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    return time.process_time() - before


def test_follows_set_num_threads() -> None:
    for n in (2, 3, 1):
        torch.set_num_threads(n)
        pool = _plan.shared_pool()
        assert (pool.threads if pool else 1) == n


def child(n_threads: int, queue: Any) -> None:
    queue.put(stepped(n_threads).sum().item())


def test_fork() -> None:
    """Children of a process whose threads have stepped have threads of their own."""
    want = stepped(2).sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=child, args=(2, queue)) for _ in range(4)]
    for process in children:
        process.start()
    for process in children:
        process.join(300)
    assert [process.exitcode for process in children] == [0] * 4
    assert [queue.get() for _ in children] == [want] * 4
    assert stepped(2).sum().item() == want


def test_optimizers_on_many_threads() -> None:
    """Steps of several optimizers at the same time share the pool, or do without."""
    want = stepped(2)
    params = [large() for _ in range(6)]
    optimizers = [lt.AdamW([p, large(100)]) for p in params]
    torch.set_num_threads(2)
    workers = [threading.Thread(target=lambda o=o: [o.step() for _ in range(5)]) for o in optimizers]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    torch.set_num_threads(1)
    assert all(torch.equal(p, want) for p in params)


def test_others_run_meanwhile() -> None:
    """The interpreter is free during a step: another thread goes on, though nobody is made to let go of it."""
    torch.set_num_threads(1)
    optimizer = lt.AdamW([large(1 << 24)])
    optimizer.step()
    turns, stop = 0, threading.Event()

    def others() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            time.sleep(0)

    def turns_in_a_step() -> int:
        before = turns
        optimizer.step()
        return turns - before

    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    thread = threading.Thread(target=others)
    thread.start()
    try:
        assert any(turns_in_a_step() >= 10 for _ in range(100))  # it may not get a CPU in many of them
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()


def test_nothing_is_kept() -> None:
    p = large(10)
    optimizer = lt.AdamW([p])
    optimizer.step()
    optimizer.step()
    gone: list[Any] = [weakref.ref(optimizer), weakref.ref(p)]
    gc.disable()
    try:
        del optimizer, p
        assert [r() for r in gone] == [None, None]
    finally:
        gc.enable()


def test_shared_state() -> None:
    """State that is shared with other processes stays where it is, as Adagrad.share_memory wants."""
    p = large(1000)
    optimizer = lt.Adagrad([p])
    other = copy.deepcopy(optimizer)
    q = other.param_groups[0]["params"][0]
    q.grad = p.grad
    for o in (optimizer, other):
        o.step()
    optimizer.share_memory()
    for o in (optimizer, other, optimizer, other):
        o.step()
    state = optimizer.state[p]["sum"]
    assert state.is_shared()
    assert torch.equal(state, other.state[q]["sum"])
    assert torch.equal(p, q)


# Where state lies.


@pytest.mark.parametrize(
    "sizes", [[1 << 20], [1, 5, 0, 64, 4096], [3] * 50, [2000, 300_000, 7, 5000], [1 << 21, 1 << 20]]
)
def test_layout(sizes: list[int]) -> None:
    shapes = [_layout.Shape((n,), (1,), n) for n in sizes]
    buffers = _layout.lay_out([(s, [0.0, 0.5]) for s in shapes])
    ends = []
    for n, slots in zip(sizes, buffers):
        assert [len(b) for b in slots] == [n, n]
        assert all((b == first).all() for b, first in zip(slots, (0.0, 0.5)))
        assert all(b.data_ptr() % 64 == 0 for b in slots)
        ends += [(b.data_ptr(), b.data_ptr() + 4 * n) for b in slots if n]
        if n >= 1024:  # apart within a page, from the beginnings of others too
            one, other = (b.data_ptr() % 4096 for b in slots)
            assert 256 <= (one - other) % 4096 <= 4096 - 256
            assert 256 <= one <= 4096 - 256
    ends.sort()
    assert all(a[1] <= b[0] for a, b in zip(ends, ends[1:]))
    assert len({b.untyped_storage().data_ptr() for slots in buffers for b in slots}) == 1


def test_dense() -> None:
    t = torch.zeros(4, 3, 2, 2)
    for dense in (t, t.to(memory_format=torch.channels_last), t.permute(2, 0, 3, 1), t[:0], t[:1, :, :1]):
        assert _layout.Shape.of(dense).is_dense() == (dense.numel() != 6)
    for gaps in (t[:, :2], t[..., ::2], t[:, :, :, 0]):
        assert not _layout.Shape.of(gaps).is_dense()
