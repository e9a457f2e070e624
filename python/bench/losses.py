"""Functions and losses beside torch's and NumPy's, in turn, on the same tensors: python bench/losses.py [-h].

Functions write to a buffer that is kept, of torch by out=, of NumPy too. Losses are forward and backward of
lockstep.torch.functional and of torch.nn.functional, after which the gradient is dropped. A ratio is of two calls
after one another; the tables have the median and the quartiles of all rounds. On two threads each begins once those
of OpenMP have stopped spinning, which they do for some milliseconds after an operation of torch, on processors that
other threads want. Beside a loss is the time of copying its input to its gradient, which no loss can do without.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

import lockstep
import lockstep.numpy as ln
import lockstep.torch.functional as ours

Call = Callable[[], Any]
theirs = torch.nn.functional

FUNCTIONS = {"exp": 2.0, "expm1": None, "log": 1.3, "log1p": 1.3, "tanh": 3.0, "sigmoid": 1.0, "softplus": None}
"""Times as fast as torch that each is to be."""


def in_turn(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    """Seconds of each call in each round."""
    times: list[list[float]] = [[] for _ in calls]
    for k in range(rounds + 2):
        for which in range(len(calls)):
            which = (which + k) % len(calls)
            if torch.get_num_threads() > 1:
                time.sleep(0.02)
            begin = time.perf_counter()
            calls[which]()
            times[which].append(time.perf_counter() - begin)
    return [t[2:] for t in times]


def spread(first: Sequence[float], second: Sequence[float]) -> str:
    """How many times as fast the first is."""
    low, middle, high = statistics.quantiles([b / a for a, b in zip(first, second)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def function(name: str, n: int, rounds: int) -> str:
    """A row of the table of functions: elements in a nanosecond, times as fast as torch and NumPy."""
    x = torch.randn(n)
    if name.startswith("log"):
        x = x.abs_().add_(0.1)
    a, out, y = x.numpy(), torch.empty(n), np.empty(n, np.float32)
    calls: list[Call] = [lambda: getattr(ln, name)(a, y)]
    if name == "softplus":
        calls += [lambda: theirs.softplus(x), lambda: np.logaddexp(a, np.float32(0), y)]
    else:
        calls.append(lambda: getattr(torch, name)(x, out=out))
    if name not in ("sigmoid", "softplus"):
        calls.append(lambda: getattr(np, name)(a, y))
    times = in_turn(calls, rounds)
    beside = [spread(times[0], t) for t in times[1:]] + ["-"] * (3 - len(times))
    goal = FUNCTIONS[name]
    return f"| {name} | {n / statistics.median(times[0]) / 1e9:.2f} | {' | '.join(beside)} | {goal or ''} |"


def losses() -> Iterator[tuple[str, dict[int, float], torch.Tensor, torch.Tensor, Any, Any]]:
    """The loss, its goals by threads, and how it is called."""
    for rows, classes in ((512, 32_000), (128, 128_000), (4096, 1_000)):
        x, y = torch.randn(rows, classes), torch.randint(classes, (rows,))
        name = f"cross_entropy, {rows:,} x {classes:,}"
        yield name, {1: 4.0, 2: 2.0}, x, y, ours.cross_entropy, theirs.cross_entropy
    x = torch.randn(16 << 20)
    for name, y in (
        ("mse_loss", torch.randn_like(x)),
        ("huber_loss", torch.randn_like(x)),
        ("binary_cross_entropy_with_logits", torch.rand_like(x)),
        ("soft_margin_loss", torch.randint(2, x.shape) * 2.0 - 1),
        ("poisson_nll_loss", torch.randint(9, x.shape).float()),
    ):
        yield f"{name}, 16 Mi", {}, x, y, getattr(ours, name), getattr(theirs, name)


def loss(threads: int, x: torch.Tensor, y: torch.Tensor, a: Any, b: Any, rounds: int) -> str:
    """Times as fast, the nanoseconds an element of both, and of a copy."""
    torch.set_num_threads(threads)
    x = x.clone().requires_grad_()
    to = torch.empty_like(x)

    def call(f: Any) -> Call:
        def both() -> None:
            x.grad = None
            f(x, y).backward()

        return both

    times = in_turn([call(a), call(b), lambda: to.copy_(x.detach())], rounds)
    each = [f"{statistics.median(t) / x.numel() * 1e9:.2f}" for t in times]
    return f"{spread(times[0], times[1])} | {' | '.join(each)}"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each in each row")
    parser.add_argument("--only", default="", help="rows that have this in their name")
    arguments = parser.parse_args()
    print(
        f"lockstep {lockstep.version()} ({lockstep.isa()}), PyTorch {torch.__version__}, NumPy {np.__version__}, "
        f"{platform.machine()}\n"
    )
    torch.set_num_threads(1)
    print(
        "| function, 1 Mi, one thread | elements a ns | times as fast as torch | as NumPy | goal |\n|---|---|---|---|---|"
    )
    for name in FUNCTIONS:
        if arguments.only in name:
            print(function(name, 1 << 20, arguments.rounds), flush=True)
    print(
        "\n| loss, with gradient | threads | goal | times as fast as torch | ns an element, ours | torch's | a copy |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, goals, x, y, a, b in losses():
        for threads in (1, 2):
            if arguments.only in name:
                goal = goals.get(threads, "")
                print(f"| {name} | {threads} | {goal} | {loss(threads, x, y, a, b, arguments.rounds)} |", flush=True)


if __name__ == "__main__":
    main()
