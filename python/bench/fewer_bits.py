"""Steps of AdamW in several types beside those of others, in turn, as a table: python bench/fewer_bits.py [-h].

Needs torch; bitsandbytes, torchao and DeepSpeed are measured if they are there, and what cannot be is said beside the table.
Each has one parameter of its own, with the same gradient in every step. Numbers are medians, ratios of steps after one
another. Each number of threads is a process, since every library has an OpenMP of its own, with threads that spin.
Bytes are those of a parameter, its gradient and its state, less what 8 bits have beside blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from losses import in_turn, spread

import lockstep
import lockstep.torch as lt

LR = 1e-5


class System(NamedTuple):
    """What takes a step."""

    name: str
    bytes: int
    dtype: torch.dtype  # of the parameter and its gradient
    make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]


def peer(module: str, name: str, **options: Any) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """Makes an optimizer of a package that need not be there."""

    def make(params: list[torch.Tensor]) -> torch.optim.Optimizer:
        return getattr(importlib.import_module(module), name)(params, lr=LR, **options)  # type: ignore[no-any-return]

    return make


def ours(**options: Any) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """Makes Lockstep's."""
    return lambda params: lt.AdamW(params, lr=LR, **options)


BASE, BNB, AO = "torch, `fused`, float32", "bitsandbytes, `AdamW8bit`", "torchao, `AdamW8bit`"
SYSTEMS = [
    System("float32", 16, torch.float32, ours()),
    System("bfloat16, `master_weights`", 16, torch.bfloat16, ours(master_weights=True)),
    System("bfloat16, `split_master`", 14, torch.bfloat16, ours(split_master=True)),
    System("float32, state in bfloat16", 12, torch.float32, ours(state_dtype=torch.bfloat16)),
    System("float32, state in 8 bits", 10, torch.float32, ours(state_dtype="float8")),
    System(BASE, 16, torch.float32, peer("torch.optim", "AdamW", fused=True)),
    System("torch, `fused`, bfloat16", 8, torch.bfloat16, peer("torch.optim", "AdamW", fused=True)),
    System("DeepSpeed, `DeepSpeedCPUAdam`", 16, torch.float32, peer("deepspeed.ops.adam", "DeepSpeedCPUAdam")),
    System(BNB, 10, torch.float32, peer("bitsandbytes.optim", "AdamW8bit")),
    System(AO, 10, torch.float32, peer("torchao.optim", "AdamW8bit")),
]
PACKAGES = ("torch", "deepspeed", "bitsandbytes", "torchao")


def measure(n: int, rounds: int, only: str) -> dict[str, list[float]]:
    """Seconds of each system in each round."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    steps = {}
    for system in SYSTEMS:
        if not re.search(only, system.name) and system.name != BASE:
            continue
        param = torch.nn.Parameter(torch.randn(n).to(system.dtype))
        param.grad = torch.randn(n).to(system.dtype)
        try:
            optimizer = system.make([param])
            optimizer.step()
        except Exception as error:  # of a package that is missing, or cannot be compiled
            print(f"{system.name}: {type(error).__name__}: {str(error).splitlines()[:1]}", file=sys.stderr)
            continue
        steps[system.name] = optimizer.step
    return dict(zip(steps, in_turn(list(steps.values()), rounds)))


def apart(threads: int, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """What another process measures."""
    command = [sys.executable, __file__, "--child", f"--mi={arguments.mi}", f"--rounds={arguments.rounds}"]
    done = subprocess.run(
        [*command, f"--only={arguments.only}"],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def processor() -> str:
    """The name of the CPU."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mi", type=float, default=16, help="parameters, in units of 2^20")
    parser.add_argument("--rounds", type=int, default=9, help="steps of each")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", default="", help="systems whose name this pattern matches, beside torch in float32")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    n = int(arguments.mi * (1 << 20))
    if arguments.child:
        print(json.dumps(measure(n, arguments.rounds, arguments.only)))
        return
    there = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            there.append(f"{name} {importlib.metadata.version(name)}")
    print(f"{processor()}, lockstep {lockstep.version()} ({lockstep.isa()}), {', '.join(there)}\n")
    head = "".join(f" Mparam/s, threads: {t} | times as fast as {BASE} |" for t in arguments.threads)
    print(f"| AdamW, {arguments.mi:g} Mi parameters | bytes |{head}\n|---|---|" + "---|---|" * len(arguments.threads))
    times = [apart(t, arguments) for t in arguments.threads]
    for system in SYSTEMS:
        if system.name in times[0]:
            cells = [
                f"{n / statistics.median(t[system.name]) / 1e6:.3g} | {spread(t[system.name], t[BASE])}" for t in times
            ]
            print(f"| {system.name} | {system.bytes} | {' | '.join(cells)} |")
    eight = "float32, state in 8 bits"
    for name in (BNB, AO):
        for threads, t in zip(arguments.threads, times):
            if name in t and eight in t:
                print(f"\nState in 8 bits is {spread(t[eight], t[name])} times as fast as {name}, threads: {threads}.")


if __name__ == "__main__":
    main()
