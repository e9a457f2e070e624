"""Steps of lockstep.torch beside torch's fastest, in turn, on the same parameters: python bench/speed.py [-h].

torch allocates parameters, and autograd new gradients for every step, which both find in the caches as autograd
leaves them. A ratio is of two steps after one another; the table has the median and the quartiles of all rounds.
With --cpu it is of the seconds that the one thread was running: for machines that are shared.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

import lockstep
import lockstep.torch as lt

Step = Callable[[], Any]


class Row(NamedTuple):
    """Two ways to take a step."""

    work: str
    beside: str
    goal: float
    threads: int
    sizes: Sequence[int]
    ours: Callable[[list[Parameter]], Step]
    torchs: Callable[[list[Parameter]], Step]
    columns: int = 0  # of tables of which each step takes some rows
    listed: int = 0  # so many


def transformer() -> list[int]:
    """The sizes of the tensors of a transformer of 124 M parameters: 12 layers of width 768, 50,257 tokens."""
    layer = [768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768]
    return [50257 * 768, 1024 * 768, *layer * 12, 768, 768]


def step_of(cls: Any, **options: Any) -> Callable[[list[Parameter]], Step]:
    """How to make an optimizer's step."""
    return lambda params: cls(params, lr=1e-3, **options).step


def clipped(params: list[Parameter]) -> Step:
    """torch's step after its clipping."""
    optimizer = torch.optim.AdamW(params, lr=1e-3, fused=True)

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return step


def clipping(params: list[Parameter]) -> Step:
    """Our step that clips."""
    optimizer = lt.AdamW(params, lr=1e-3)
    return lambda: lt.clip_grad_norm_and_step(optimizer, 1.0)


def rows() -> Iterator[Row]:
    """All rows of the table."""
    ours, fused = step_of(lt.AdamW), step_of(torch.optim.AdamW, fused=True)
    for threads, goal in ((1, 3.0), (2, 4.0)):
        yield Row("AdamW, 148 tensors of 4,512", "fused", goal, threads, [4512] * 148, ours, fused)
    yield Row("AdamW, 10,000 tensors of 64", "fused", 10, 1, [64] * 10_000, ours, fused)
    for threads in (1, 2):
        yield Row("AdamW, transformer of 124 M", "fused", 1.05, threads, transformer(), ours, fused)
    for threads, goal in ((1, 1.2), (2, 1.3)):
        yield Row("AdamW, the same, clipped", "fused", goal, threads, transformer(), clipping, clipped)
    for name, options in (("RMSprop", {}), ("RMSprop, centered, momentum", {"centered": True, "momentum": 0.9})):
        theirs = step_of(torch.optim.RMSprop, foreach=True, **options)
        yield Row(f"{name}, 16 Mi", "foreach", 4, 1, [16 << 20], step_of(lt.RMSprop, **options), theirs)
    sparse = step_of(lt.SparseAdam), step_of(torch.optim.SparseAdam)
    for threads in (1, 2):
        yield Row("SparseAdam, 8,192 of 1 Mi rows of 64", "SparseAdam", 5, threads, [64 << 20], *sparse, 64, 8192)


Clock = Callable[[], float]


def timed(step: Step, params: list[Parameter], grads: list[torch.Tensor], clock: Clock) -> float:
    """Seconds of a step with new gradients."""
    for p in params:
        p.grad = None
    torch.autograd.backward(params, grads)
    begin = clock()
    step()
    return clock() - begin


def timed_rows(step: Step, table: Parameter, row: Row, clock: Clock) -> float:
    """Seconds of a step with a new gradient of random rows, not coalesced, as an embedding leaves it."""
    places = torch.randint(0, len(table), (1, row.listed))
    values = torch.randn(row.listed, row.columns) * 1e-2
    table.grad = torch.sparse_coo_tensor(places, values, table.shape, check_invariants=False)
    begin = clock()
    step()
    return clock() - begin


def measured(row: Row, rounds: int, clock: Clock) -> tuple[list[float], list[float]]:
    """Seconds of our steps and of torch's, in turn."""
    torch.set_num_threads(row.threads)
    params = [Parameter(torch.randn((n // row.columns, row.columns) if row.columns else n)) for n in row.sizes]
    grads = [] if row.columns else [torch.randn(n) * 1e-2 for n in row.sizes]
    steps = row.ours(params), row.torchs(params)
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(rounds + 2):
        for which in (0, 1) if k % 2 else (1, 0):
            seconds = (
                timed_rows(steps[which], params[0], row, clock)
                if row.columns
                else timed(steps[which], params, grads, clock)
            )
            times[which].append(seconds)
    return times[0][2:], times[1][2:]


def spread(ratios: Sequence[float]) -> str:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


class Empty(Optimizer):
    """An optimizer that does nothing."""

    def __init__(self, params: list[Parameter]) -> None:
        """Takes parameters."""
        super().__init__(params, {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Does nothing."""


def overhead(rounds: int, clock: Clock) -> tuple[float, float, float]:
    """Microseconds of a step over one tensor of 16 parameters: nothing, ours, torch's."""
    torch.set_num_threads(1)
    params = [Parameter(torch.randn(16))]
    params[0].grad = torch.randn(16)
    steps = [Empty(params).step, lt.AdamW(params).step, torch.optim.AdamW(params, fused=True).step]
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, found in zip(steps, times):
            begin = clock()
            for _ in range(2000):
                step()
            found.append((clock() - begin) / 2000 * 1e6)
    empty, ours, torchs = map(statistics.median, times)
    return empty, ours, torchs


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="pairs of steps of each row")
    parser.add_argument("--only", default="", help="rows whose work has this in its name")
    parser.add_argument("--cpu", action="store_true", help="seconds of the thread, for rows of one thread")
    arguments = parser.parse_args()
    clock = time.thread_time if arguments.cpu else time.perf_counter
    cpu, python = platform.processor() or platform.machine(), sys.version.split()[0]
    print(f"lockstep {lockstep.version()} ({lockstep.isa()}), PyTorch {torch.__version__}, Python {python}, {cpu}\n")
    print("| work | threads | beside | goal | times as fast: median (quartiles) | ms, ours | ms, torch's |")
    print("|---|---|---|---|---|---|---|")
    for row in rows():
        if arguments.only in row.work and not (arguments.cpu and row.threads > 1):
            ours, torchs = measured(row, arguments.rounds, clock)
            ratio = spread([b / a for a, b in zip(ours, torchs)])
            a, b = (statistics.median(x) * 1e3 for x in (ours, torchs))
            print(
                f"| {row.work} | {row.threads} | {row.beside} | {row.goal:g} | {ratio} | {a:.2f} | {b:.2f} |",
                flush=True,
            )
    if arguments.only in "overhead":
        empty, ours_us, torchs_us = overhead(arguments.rounds, clock)
        print("\nOne tensor of 16, in µs:", end=" ")
        print(f"an empty optimizer's step {empty:.1f}, ours {ours_us:.1f}, torch's fused {torchs_us:.1f}.")


if __name__ == "__main__":
    main()
