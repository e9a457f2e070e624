"""Losses of rows of logits as PyTorch has them, with their gradients.

rows.json has the logits, labels, targets and class weights, in rows, and of each case its options,
value and gradient, and for the reduction "none" the losses of the rows; that of "sum" is their sum.
softmax_linear.json has softmax regression in float64: data, values and gradients.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from common import SEED, write_json

ROWS, CLASSES, IGNORED = 6, 7, -100


def make_inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED + 3)
    logits = (3 * rng.normal(size=(ROWS, CLASSES))).astype(np.float32)
    logits[1] *= 10
    logits[2, 3] = -np.inf
    labels = rng.integers(0, CLASSES, ROWS)
    labels[1] = int(logits[1].argmax())
    labels[4] = IGNORED
    targets = rng.random(size=(ROWS, CLASSES)).astype(np.float32)
    return {"logits": logits, "labels": labels, "targets": targets / targets.sum(1, keepdims=True),
            "weights": rng.uniform(0.25, 2, size=CLASSES).astype(np.float32)}


def short(x):
    return float(f"{float(x):.9g}")  # which a float32 comes back from


def numbers(tensor):
    return [short(x) for x in tensor.flatten()]


def case(data, reduction, smoothing, weighted, soft):
    # An infinite logit has no smoothed or soft loss.
    x = torch.tensor(data["logits"] if not soft and smoothing == 0 else np.nan_to_num(data["logits"], neginf=-4), requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        x, torch.tensor(data["targets"] if soft else data["labels"]),
        torch.tensor(data["weights"]) if weighted else None,
        ignore_index=IGNORED, reduction=reduction, label_smoothing=smoothing)
    loss.sum().backward()
    return {"reduction": reduction, "smoothing": smoothing, "weighted": weighted, "soft": soft,
            "value": short(loss.detach().sum()), "each": numbers(loss.detach()) if reduction == "none" else [], "gradient": numbers(x.grad)}


def write(folder: Path) -> None:
    data = make_inputs()
    cases = [case(data, r, s, w, t) for r in ("mean", "none") for s in (0.0, 0.1) for w in (False, True) for t in (False, True)]
    lists = {name: numbers(values) for name, values in data.items()}
    lists["labels"] = data["labels"].tolist()
    lists["logits"] = [x if np.isfinite(x) else None for x in lists["logits"]]  # minus infinity
    write_json(folder / "rows.json", {"framework": f"pytorch {torch.__version__.split('+')[0]}", **lists, "cases": cases})


def softmax_case(data, smoothing, weighted, soft, intercept):
    x, w, b = (torch.tensor(data[k], dtype=torch.float64, requires_grad=True) for k in "xwb")
    loss = torch.nn.functional.cross_entropy(
        torch.nn.functional.linear(x, w, b if intercept else None), torch.tensor(data["targets" if soft else "labels"]),
        torch.tensor(data["weights"], dtype=torch.float64) if weighted else None, ignore_index=IGNORED, label_smoothing=smoothing)
    loss.backward()
    gradients = {f"grad_{k}": v.grad.flatten().tolist() for k, v in zip("xwb", (x, w, b)) if v.grad is not None}
    return {"smoothing": smoothing, "weighted": weighted, "soft": soft, "intercept": intercept, "value": loss.item(), **gradients}


def write_softmax(folder: Path) -> None:
    rng = np.random.default_rng(SEED + 4)
    data = {k: rng.normal(size=size).astype(np.float32) for k, size in (("x", (9, 4)), ("w", (5, 4)), ("b", 5))}
    labels, targets = rng.integers(0, 5, 9), rng.random(size=(9, 5)).astype(np.float32)
    labels[4] = IGNORED
    data |= {"labels": labels, "targets": targets.astype(np.float64), "weights": rng.uniform(0.25, 2, size=5).astype(np.float32)}
    cases = [softmax_case(data, *c) for c in ((0.0, False, False, True), (0.1, True, False, True), (0.1, False, True, False))]
    lists = {name: numbers(values) for name, values in data.items()}
    lists["labels"] = labels.tolist()
    write_json(folder / "softmax_linear.json", {"framework": f"pytorch {torch.__version__.split('+')[0]}", **lists, "cases": cases})


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(Path(sys.argv[1]))
    write_softmax(Path(sys.argv[1]))
