"""Memory, traffic and seconds of a step, measured on this machine and scaled to the sizes of models.

    python examples/step_time.py --parameters 128Mi --threads 1,2

The parameters should be many times the last cache: what is measured is memory. Seconds grow with the number of
parameters from there on, so that a model's are those of its share on each machine.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np

import lockstep
from lockstep.numpy import Optimizer

RULES = {
    "SGD": lockstep.preset("torch", "SGD", lr=1e-3),
    "SGD, momentum": lockstep.preset("torch", "Momentum", lr=1e-3, momentum=0.9),
    "Lion": lockstep.preset("optax", "Lion", lr=1e-4),
    "Adagrad": lockstep.preset("torch", "Adagrad"),
    "RMSprop": lockstep.preset("torch", "RMSprop"),
    "AdamW": lockstep.preset("torch", "AdamW"),
    "Adam, AMSGrad": lockstep.preset("torch", "Adam", amsgrad=True),
    "LAMB": lockstep.preset("optax", "Lamb", lr=1e-3),
}
SIZES = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
MODELS = {"7 B": 7e9, "70 B": 70e9}


def traffic(rule: lockstep.Rule) -> int:
    """Bytes that a step must load and store for a parameter."""
    slots = len(rule.slots)
    if rule.name == "LAMB":
        return 40  # a pass for the moments and the norms, and one that reads them and moves
    return 4 * (3 + 2 * slots)  # parameter and gradient in, parameter out, state in and out


def seconds(rule: lockstep.Rule, params: np.ndarray, grads: np.ndarray, threads: int, rounds: int) -> float:
    """The median time of a step, after two that touch all memory."""
    optimizer = Optimizer(params, rule, threads=threads)
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        optimizer.step(grads)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def row(name: str, params: np.ndarray, grads: np.ndarray, threads: list[int], rounds: int) -> str:
    """A line of the table."""
    rule = RULES[name]
    slots, moved = len(rule.slots), traffic(rule)
    cells = [name, f"{4 * slots}", f"{8 + 4 * slots}", f"{moved}"]
    cells += [f"{(8 + 4 * slots) * n / 1e9:.0f}" for n in MODELS.values()]
    for count in threads:
        each = seconds(rule, params, grads, count, rounds) / params.size
        cells += [f"{moved / each / 1e9:.1f}", *(f"{each * n:.2f}" for n in MODELS.values())]
    return "| " + " | ".join(cells) + " |"


def header(threads: list[int]) -> str:
    """The first two lines of the table."""
    cells = ["rule", "state, B", "with parameter and gradient, B", "traffic, B"]
    cells += [f"{model}: GB" for model in MODELS]
    for count in threads:
        cells += [f"{count} thread{'s'[: count > 1]}: GB/s", *(f"{model}: s" for model in MODELS)]
    return "| " + " | ".join(cells) + " |\n|" + "---|" * len(cells)


def processor() -> str:
    """The name of the CPU, where Linux tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def size(text: str) -> int:
    """A number such as 128Mi."""
    unit = SIZES.get(text[-2:], 1)
    return int(text.removesuffix(text[-2:]) if unit > 1 else text) * unit


def main() -> None:
    """Reads the arguments, measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=size, default="128Mi")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default="1")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rules", type=lambda text: text.split(";"), default=list(RULES), help="such as 'AdamW;Lion'")
    arguments = parser.parse_args()

    rng = np.random.default_rng(1)
    params = rng.standard_normal(arguments.parameters, dtype=np.float32)
    grads = rng.standard_normal(arguments.parameters, dtype=np.float32)
    print(f"{processor()}, {lockstep.isa()}, {params.size:,} parameters, medians of {arguments.rounds} steps\n")
    print(header(arguments.threads))
    for name in arguments.rules:
        print(row(name, params, grads, arguments.threads, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
