"""SOAP's trajectories, in the form that pytorch_optimizer gives its authors' program: python soap.py OUT.

OUT/cases.json has a case an object: the options of our rule, the rows and columns of the matrix (0 columns of a
vector), and the recorded steps, after each of which OUT/CASE.bin has the parameters. Numbers are drawn, so that the
test draws the same, and each preconditioner has full rank after its first gradient: else its eigenvectors are anybody's.
"""

import inspect
import sys
from pathlib import Path

import torch
from common import F32, check_versions, np, nonzero, write_array, write_json
from pytorch_optimizer import SOAP

RECORD, LR = (1, 2, 11, 12, 40), 0.003
CASES = {
    "usual": (16, 16, {}),
    "rows": (12, 30, dict(max_precondition_dim=20, precondition_frequency=3, betas=(0.9, 0.99), shampoo_beta=0.8)),
    "columns": (30, 12, dict(max_precondition_dim=20, normalize_gradient=True, weight_decay=0.3)),
    "plain": (10, 14, dict(max_precondition_dim=5, correct_bias=False, betas=(0.8, 0.9), eps=1e-3)),
    "vector": (33, 0, dict(weight_decay=0.1)),
}


def draws(n: int, seed: int) -> np.ndarray:
    """Multiples of 2⁻²³ in [-1, 1)."""
    x, list = seed, []
    for _ in range(n):
        x = (x * 1664525 + 1013904223) % 2**32
        list.append((x >> 8) / 2**23 - 1)
    return np.array(list, F32)


def options(held: dict) -> dict:
    beta1, beta2 = held["betas"]
    return nonzero({
        "LR": held["lr"], "WeightDecay": held["weight_decay"], "Beta1": beta1, "Beta2": beta2,
        "ShampooBeta": beta2 if held["shampoo_beta"] is None else held["shampoo_beta"], "Eps": held["eps"],
        "PreconditionFrequency": held["precondition_frequency"], "MaxPrecondDim": held["max_precondition_dim"],
        "NormalizeGrads": held["normalize_gradient"], "NoBiasCorrection": not held["correct_bias"],
    })


def main(out: Path) -> None:
    check_versions(Path(__file__).with_name("torch.txt"))
    out.mkdir(exist_ok=True)
    defaults = {name: p.default for name, p in inspect.signature(SOAP).parameters.items()}
    listed = []
    for name, (rows, columns, arguments) in CASES.items():
        n, shape = rows * max(columns, 1), (rows, columns) if columns else (rows,)
        p = torch.nn.Parameter(torch.from_numpy(draws(n, 1).reshape(shape)))
        optimizer = SOAP([p], lr=LR, **arguments)
        kept = []
        for t in range(1, RECORD[-1] + 1):
            p.grad = torch.from_numpy(draws(n, 1000 + t).reshape(shape))
            optimizer.step()
            if t in RECORD:
                kept.append(p.detach().numpy().copy())
        write_array(out / f"{name}.bin", *kept)
        listed.append({"name": name, "rows": rows, "columns": columns, "steps": RECORD, "options": options(defaults | arguments | {"lr": LR})})
    write_json(out / "cases.json", listed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
