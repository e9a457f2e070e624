"""Products of matrices beside NumPy's OpenBLAS, and Muon's step beside torch's, in turn: python bench/matmul.py [-h].

Products are of square matrices, on the same arrays, each with the threads that the row says. A ratio is of two
calls after one another; the tables have the median and the quartiles of all rounds. It needs threadpoolctl, and
PyTorch for Muon.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import threadpoolctl

import lockstep
import lockstep.numpy as ln


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of both."""
    calls, times = (ours, theirs), ([], [])  # type: tuple[Any, Any], tuple[list[float], list[float]]
    for k in range(rounds + 2):
        for which in (0, 1) if k % 2 else (1, 0):
            begin = time.perf_counter()
            calls[which]()
            times[which].append(time.perf_counter() - begin)
    return times[0][2:], times[1][2:]


def spread(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Times as fast, and the milliseconds of both."""
    low, middle, high = statistics.quantiles([b / a for a, b in zip(ours, theirs)], n=4)
    a, b = (statistics.median(x) * 1e3 for x in (ours, theirs))
    return f"{middle:.2f} ({low:.2f} to {high:.2f}) | {a:.2f} | {b:.2f}"


def products(size: int, threads: int, rounds: int) -> str:
    """A product of two matrices."""
    random = np.random.default_rng(0)
    a, b, out = (random.standard_normal((size, size), dtype=np.float32) for _ in range(3))
    pool = lockstep.Pool(threads)
    with threadpoolctl.threadpool_limits(threads):
        return spread(*in_turn(lambda: ln.matmul(a, b, out, pool=pool), lambda: np.matmul(a, b, out), rounds))


def muon(size: int, threads: int, rounds: int) -> str:
    """A step of Muon on one matrix."""
    import torch

    import lockstep.torch as lt

    torch.set_num_threads(threads)
    params = [torch.nn.Parameter(torch.randn(size, size) * 0.02) for _ in range(2)]
    for p in params:
        p.grad = torch.randn(size, size) * 1e-2
    one, other = lt.Muon(params[:1]), torch.optim.Muon(params[1:])
    return spread(*in_turn(one.step, other.step, rounds))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="pairs of calls of each row")
    arguments = parser.parse_args()
    print(f"lockstep {lockstep.version()} ({lockstep.isa()}), NumPy {np.__version__}, {platform.machine()}\n")
    print("| work | threads | times as fast: median (quartiles) | ms, ours | ms, theirs |\n|---|---|---|---|---|")
    for size in (256, 1024, 2048):
        for threads in (1, 2):
            print(f"| {size} x {size}, beside OpenBLAS | {threads} | {products(size, threads, arguments.rounds)} |")
    for threads in (1, 2):
        print(f"| Muon, 1024 x 1024, beside torch.optim.Muon | {threads} | {muon(1024, threads, arguments.rounds)} |")


if __name__ == "__main__":
    main()
