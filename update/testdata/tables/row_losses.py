"""Losses of rows of logits as a framework has them, with their gradients.

rows.json has the logits, labels, targets, class weights and estimates, which are probabilities but for a factor of
each row, in rows, and PyTorch's cases, rows_keras.json and
rows_optax.json those of the others: of each its options, value and gradient, and for the reduction "none" the losses
of the rows; that of "sum" is their sum. Where "clean" is true an infinite logit was -4, where "every" is the label
that is ignored was 0, and where there is a "limit" logits were clipped to it and its negative, so that the framework
clips no probability.
softmax_linear.json has softmax regression in float64: data, values and gradients.
"""

import sys
from pathlib import Path

import numpy as np

from common import *

ROWS, CLASSES, IGNORED = 6, 7, -100
REDUCTIONS = ("mean", "none")
SIGNS, MARGIN = [1.0, -1.0] * (ROWS // 2), -0.5  # of cosine embeddings, of logits and targets


def make_inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED + 3)
    logits = (3 * rng.normal(size=(ROWS, CLASSES))).astype(np.float32)
    logits[1] *= 10
    logits[2, 3] = -np.inf
    labels = rng.integers(0, CLASSES, ROWS)
    labels[1] = int(logits[1].argmax())
    labels[4] = IGNORED
    targets = rng.random(size=(ROWS, CLASSES)).astype(np.float32)
    weights = rng.uniform(0.25, 2, size=CLASSES).astype(np.float32)
    estimates = rng.dirichlet(np.full(CLASSES, 0.5), size=ROWS) * rng.uniform(0.5, 2, size=(ROWS, 1))
    estimates[0, :3], estimates[3] = 0, 0.75 * np.eye(CLASSES)[labels[3]]  # which are clipped
    return {"logits": logits, "labels": labels, "targets": targets / targets.sum(1, keepdims=True),
            "weights": weights, "estimates": estimates.astype(np.float32)}


def short(x):
    return float(f"{float(x):.9g}")  # which a float32 comes back from


def numbers(array):
    return [short(x) for x in np.asarray(array).flatten()]


class Inputs:
    """What a case takes."""

    def __init__(self, data, clean=False, every=False):
        self.estimates = data["estimates"]
        self.logits = np.nan_to_num(data["logits"], neginf=-4) if clean else data["logits"]
        self.labels = np.where(data["labels"] == IGNORED, 0, data["labels"]) if every else data["labels"]
        self.targets, self.weights = data["targets"], data["weights"]
        self.hot = np.eye(CLASSES, dtype=np.float32)[self.labels.clip(0)]


def case(options, reduction, value, gradient):
    return {"reduction": reduction, **options, "value": short(value.sum()),
            "each": numbers(value) if reduction == "none" else [], "gradient": numbers(gradient)}


def torch_cases(data):
    import torch
    F = torch.nn.functional
    torch.set_num_threads(1)
    cases = []

    def add(function, reduction, options, clean, every, by=lambda x: x):
        i = Inputs(data, clean, every)
        x = by(torch.tensor(i.logits)).detach().requires_grad_()
        loss = function(x, i, torch.tensor(i.weights) if options["weighted"] else None, reduction)
        loss.sum().backward()
        cases.append(case({**options, "clean": clean, "every": every}, reduction, loss.detach(), x.grad))

    for r in REDUCTIONS:
        for s in (0.0, 0.1):
            for w in (False, True):
                for soft in (False, True):
                    add(lambda x, i, w, r: F.cross_entropy(x, torch.tensor(i.targets if soft else i.labels), w, ignore_index=IGNORED,
                                                           reduction=r, label_smoothing=s),
                        r, {"smoothing": s, "weighted": w, "soft": soft}, soft or s > 0, False)
        for w in (False, True):
            add(lambda x, i, w, r: F.nll_loss(x, torch.tensor(i.labels), w, ignore_index=IGNORED, reduction=r),
                r, {"loss": "NLL", "weighted": w}, False, False)
            for p, margin in ((1, 1.0), (2, 0.5)):
                add(lambda x, i, w, r: F.multi_margin_loss(x, torch.tensor(i.labels), p, margin, w, reduction=r),
                    r, {"loss": "MultiMargin", "weighted": w, "squared": p == 2, "margin": margin}, False, True)
        add(lambda x, i, w, r: F.cosine_embedding_loss(x, torch.tensor(i.targets), torch.tensor(SIGNS), MARGIN, reduction=r),
            r, {"loss": "CosineEmbedding", "margin": MARGIN, "eps": 1e-12, "weighted": False}, True, True)
    return f"pytorch {torch.__version__.split('+')[0]}", cases


def keras_cases(data):
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    import keras
    import tensorflow as tf
    losses, cases = keras.losses, []

    def add(loss, reduction, options, target, clean=True, every=True):
        i = Inputs(data, clean, every)
        limit = options.get("limit", np.inf)
        x = tf.constant(i.estimates if "probabilities" in options else i.logits.clip(-limit, limit))
        made = loss(reduction="sum_over_batch_size" if reduction == "mean" else None)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = made(target(i), x)
        cases.append(case({**options, "clean": clean, "every": every}, reduction, value.numpy(), tape.gradient(value, x).numpy()))

    for r in REDUCTIONS:
        add(lambda **r: losses.SparseCategoricalCrossentropy(from_logits=True, **r), r, {}, lambda i: i.labels)
        add(lambda **r: losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORED, **r), r, {}, lambda i: i.labels, every=False)
        add(lambda **r: losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, **r), r, {"smoothing": 0.1, "soft": True}, lambda i: i.targets)
        add(losses.CategoricalHinge, r, {"loss": "CategoricalHinge"}, lambda i: i.hot)
        for gamma in (2.0, 1.5):
            add(lambda **r: losses.CategoricalFocalCrossentropy(from_logits=True, alpha=1.0, gamma=gamma, **r), r,
                {"loss": "SoftmaxFocal", "gamma": gamma}, lambda i: i.hot)
        probable = {"loss": "SoftmaxFocal", "probabilities": True}
        add(lambda **r: losses.CategoricalFocalCrossentropy(alpha=1.0, **r), r, {**probable, "gamma": 2.0}, lambda i: i.hot)
        add(lambda **r: losses.CategoricalFocalCrossentropy(alpha=data["weights"].tolist(), gamma=1.5, label_smoothing=0.1, **r), r,
            {**probable, "gamma": 1.5, "smoothing": 0.1, "weighted": True}, lambda i: i.hot)
        add(lambda **r: losses.CategoricalFocalCrossentropy(alpha=data["weights"].tolist(), gamma=3.0, label_smoothing=0.1, **r), r,
            {**probable, "gamma": 3.0, "smoothing": 0.1, "weighted": True, "soft": True}, lambda i: i.targets)
        add(losses.CategoricalCrossentropy, r, {**probable, "soft": True}, lambda i: i.targets)
        mild = {"loss": "SoftmaxFocal", "limit": 5.0}
        add(lambda **r: losses.CategoricalFocalCrossentropy(from_logits=True, alpha=1.0, label_smoothing=0.1, **r), r,
            {**mild, "gamma": 2.0, "smoothing": 0.1}, lambda i: i.hot)
        add(lambda **r: losses.CategoricalFocalCrossentropy(from_logits=True, alpha=data["weights"].tolist(), gamma=1.5, label_smoothing=0.2, **r), r,
            {**mild, "gamma": 1.5, "smoothing": 0.2, "weighted": True}, lambda i: i.hot)
        add(lambda **r: losses.CategoricalFocalCrossentropy(from_logits=True, alpha=data["weights"].tolist(), gamma=3.0, **r), r,
            {**mild, "gamma": 3.0, "weighted": True, "soft": True}, lambda i: i.targets)
    return f"keras {version('keras')} on tensorflow {version('tensorflow')}", cases


def optax_cases(data):
    import jax
    import optax
    losses, cases = optax.losses, []

    def add(function, reduction, options, target, clean=True, every=True, **arguments):
        i = Inputs(data, clean, every)
        reduced = lambda x: (lambda each: each.mean() if reduction == "mean" else each)(function(x, target(i), **arguments))
        gradient = jax.grad(lambda x: reduced(x).sum())(i.logits)
        cases.append(case({**options, "clean": clean, "every": every}, reduction, reduced(i.logits), gradient))

    for r in REDUCTIONS:
        add(losses.softmax_cross_entropy_with_integer_labels, r, {}, lambda i: i.labels, clean=False)
        add(losses.softmax_cross_entropy, r, {"soft": True}, lambda i: i.targets)
        add(losses.cosine_distance, r, {"loss": "CosineEmbedding"}, lambda i: i.targets)
        add(losses.multiclass_hinge_loss, r, {"loss": "CrammerSinger"}, lambda i: i.labels)
    return f"optax {version('optax')} on jax {version('jax')}", cases


def write(framework: str, folder: Path) -> None:
    data = make_inputs()
    name, cases = {"torch": torch_cases, "keras": keras_cases, "optax": optax_cases}[framework](data)
    if framework != "torch":
        write_json(folder / f"rows_{framework}.json", {"framework": name, "cases": cases})
        return
    lists = {name: numbers(values) for name, values in data.items()}
    lists["labels"] = data["labels"].tolist()
    lists["logits"] = [x if np.isfinite(x) else None for x in lists["logits"]]  # minus infinity
    write_json(folder / "rows.json", {"framework": name, **lists, "cases": cases})


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
    write(sys.argv[1], Path(sys.argv[2]))
    if sys.argv[1] == "pytorch":
        write_softmax(Path(sys.argv[2]))
