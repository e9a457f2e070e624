"""How far optimizers of 8 bits are from state of float32: python bench/eight_bits.py.

Needs bitsandbytes and torchao. The cases are those of update/testdata/tables/bitsandbytes_cases.py, with gradients whose
sizes differ by elements as e^(σ·N(0, 1)) does. Each number is a distance of parameters, as a part of how far those with
state of float32 have come.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bitsandbytes
import numpy as np
import torch
import torchao.optim

import lockstep.torch as lt

sys.path.insert(0, str(Path(__file__).parents[2] / "update" / "testdata" / "tables"))
import bitsandbytes_cases as cases

SPREADS = (0, 0.5, 1, 1.5)
LARGE = 17 * 256  # which torchao has codes for


def moved(cls: Any, options: dict[str, Any], spread: float) -> Any:
    """How far the parameters come."""
    return cases.train(lambda params: cls(params, **options), large=LARGE, spread=spread)[1][0]


def row(title: str, cls: Any, plain: Any, options: dict[str, Any]) -> None:
    """Prints how far a class is from state of float32, for each spread of gradients."""
    far = []
    for spread in SPREADS:
        floats = moved(plain, options, spread)
        far.append(np.linalg.norm(moved(cls, options, spread) - floats) / np.linalg.norm(floats))
    print(f"| {title} | " + " | ".join(f"{x:.2g}" for x in far) + " |", flush=True)


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    print("| | " + " | ".join(f"σ = {s}" for s in SPREADS) + " |\n|---|" + "---|" * len(SPREADS))
    for name, options in cases.CASES.items():
        plain = lt.AdamW if name == "AdamW8bit" else getattr(lt, name.removesuffix("8bit"))
        row(f"`{name}` here", getattr(lt, name), plain, options)
        row("of bitsandbytes", getattr(bitsandbytes.optim, name), plain, options)
        if name == "AdamW8bit":
            row("of torchao", torchao.optim.AdamW8bit, plain, options)


if __name__ == "__main__":
    main()
