"""What the tables share: inputs, schedules, and the files that cases are written to."""

import json
import math
import os
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np

SEED = 20240607
STEPS = 60
SIZE = 257
SHAPE = (17, 33)  # of matrices
RECORDED = (1, 2, 3, 10, 30, 60)
STILL = 5  # steps of still.bin in which all gradients are 0
PEAK = {"SGD": 0.05, "Momentum": 0.05, "AdaGrad": 0.05, "Adafactor": 0.3, "Prodigy": 1.0, "DAdaptAdamW": 1.0}  # 0.01 for the others

# Cases of rows: a table of so many, of which each step takes a list, some of them twice.
ROWS, COLUMNS, LISTED = 42, 6, 21

F32 = np.dtype("<f4")


def check_versions(requirements: Path) -> None:
    """The versions that are installed must be those of a requirements file."""
    for line in requirements.read_text().split():
        package, wanted = line.split("==")
        found = version(package).split("+")[0]
        assert found == wanted, f"{package} {wanted} is needed, {found} is installed"


def single(x: float) -> float:
    """The float64 that equals x rounded to float32."""
    return float(np.float32(x))


def write_array(path: Path, *arrays: np.ndarray) -> None:
    flat = [np.asarray(a, dtype=F32).reshape(-1) for a in arrays]
    path.write_bytes(np.concatenate(flat).tobytes())


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def nonzero(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


# ---------------------------------------------------------------- update inputs


def make_gradients(rng: np.random.Generator) -> np.ndarray:
    """Gradients of all steps: mixed sizes, zeros, tiny and huge columns."""
    shape = (STEPS, SIZE)
    g = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 1, size=shape)
    column = np.arange(SIZE)
    for j in column[column % 32 == 5]:
        g[:, j] = signed_about(rng, 10.0 ** rng.uniform(-12, -8))
    for j in column[column % 64 == 17]:
        g[:, j] = signed_about(rng, 10.0 ** rng.uniform(4, 8))
    g[rng.uniform(size=shape) < 0.1] = 0
    g[:, column % 10 == 0] = 0
    return g.astype(F32)


def signed_about(rng: np.random.Generator, size: float) -> np.ndarray:
    sign = np.where(rng.uniform(size=STEPS) < 0.5, -1.0, 1.0)
    return sign * size * rng.uniform(0.5, 1.0, size=STEPS)


def make_extreme_gradients(rng: np.random.Generator, sizes: list[float]) -> np.ndarray:
    """Columns of each size in turn, then two of the last size: the one is ordinary for some steps, the
    other in every second."""
    g = np.empty((STEPS, SIZE))
    for j in range(SIZE):
        kind = j % (len(sizes) + 2)
        g[:, j] = signed_about(rng, sizes[min(kind, len(sizes) - 1)])
        if kind == len(sizes):
            g[:STEPS // 3, j] = signed_about(rng, 1.0)[:STEPS // 3]
        elif kind == len(sizes) + 1:
            g[::2, j] = signed_about(rng, 1.0)[::2]
    return g.astype(F32)


def make_params(rng: np.random.Generator) -> np.ndarray:
    """Initial parameters; each block of special ones spans a column without gradient."""
    w = rng.normal(size=SIZE) * 10.0 ** rng.uniform(-2, 0.5, size=SIZE)
    signs = np.array([1, -1, 1, -1, 1, -1])
    w[20:26] = 0.0
    w[48:54] = -0.0
    w[78:84] = 1e3 * signs
    w[100:106] = 1e-6 * signs
    return w.astype(F32)


def make_rows(rng: np.random.Generator) -> np.ndarray:
    """The rows of all steps. None is there more than twice, so that sums have one order."""
    return np.stack([rng.permutation(np.repeat(np.arange(ROWS), 2))[:LISTED] for _ in range(STEPS)])


def row_gradients(gradient: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a step and the gradient of each, which is a part of the step's."""
    return make_rows(np.random.default_rng(SEED + 4))[t - 1], gradient[:LISTED * COLUMNS].reshape(LISTED, COLUMNS)


def make_table(initial: np.ndarray) -> np.ndarray:
    return initial[:ROWS * COLUMNS].reshape(ROWS, COLUMNS)


def make_matrix(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Gradients and parameters of a matrix, with rows and columns of other sizes and of zeros."""
    rows, columns = SHAPE
    g = rng.normal(size=(STEPS, rows, columns)) * 10.0 ** rng.uniform(-3, 0, size=(STEPS, rows, columns))
    g *= 10.0 ** rng.uniform(-2, 2, size=(rows, 1)) * 10.0 ** rng.uniform(-2, 2, size=columns)
    g[rng.uniform(size=g.shape) < 0.1] = 0
    g[:, 3], g[:, :, 7] = 0, 0
    w = rng.normal(size=SHAPE) * 10.0 ** rng.uniform(-2, 0.5, size=SHAPE)
    return {"matrix.bin": g.astype(F32).reshape(STEPS, -1), "matrix_params.bin": w.astype(F32).reshape(-1)}


def make_schedule(peak: float) -> list[float]:
    """Ten warm-up steps, constant to step 30, then a cosine down to a tenth."""
    rates = []
    for t in range(1, STEPS + 1):
        factor = min(t / 10, 1.0)
        if t > 30:
            factor = 0.1 + 0.45 * (1 + math.cos(math.pi * (t - 30) / 30))
        rates.append(single(peak * factor))
    return rates


def falling(peak: float) -> list[float]:
    """make_schedule without its warm-up."""
    return [single(peak)] * 10 + make_schedule(peak)[10:]


def constant(peak: float) -> list[float]:
    return [single(peak)] * STEPS


# ---------------------------------------------------------------- update cases
#
# A runner holds one parameter vector and its optimizer. It has
#   step(gradient, rate, t)  one update, t counting from 1
#   params()                 the parameters now
#   state()                  the optimizer's buffers under the names of our rules
#   options()                the options as the optimizer itself holds them, defaults included
#   numbers()                if it has some, what it keeps of the vector as a whole


@dataclass
class UpdateCase:
    name: str
    framework: str
    rule: str
    start: Callable[[np.ndarray], Any]
    grad_scale: float = 1.0
    gradients: str = "gradients.bin"
    schedule: Callable[[float], list[float]] = make_schedule
    matrix: bool = False  # of SHAPE
    steady: bool = False  # the rate stays what it is
    preset: str = ""  # of ours, if the framework was called with nothing but what its function takes
    columns: int = 0  # of the table, if each step takes some of its rows alone


def preset(name, case):
    """A case of which the framework's function was told no more than the preset of that name is."""
    return replace(case, preset=name)


def steady(case):
    return replace(case, steady=True)


def extreme(kind, case):
    return replace(case, name=f"{case.name}_{kind}", gradients=f"{kind}.bin")


def matrix(case):
    return replace(case, name=f"{case.name}_matrix", gradients="matrix.bin", matrix=True)


def write_update_case(folder, case, inputs, initial):
    gradients = inputs[case.gradients]
    if case.matrix:
        gradients, initial = gradients.reshape(STEPS, *SHAPE), inputs["matrix_params.bin"].reshape(SHAPE)
    runner = case.start(initial)
    peak = PEAK.get(case.rule, 0.01)
    rates = [single(peak)] * STEPS if case.steady else case.schedule(peak)
    recorded, numbers = [], {}
    for t, rate in enumerate(rates, start=1):
        runner.step(gradients[t - 1], rate, t)
        for name, x in runner.numbers().items() if hasattr(runner, "numbers") else ():
            numbers.setdefault(name, []).append(float(x))
        if t in RECORDED:
            recorded.append(runner.params())
    state = runner.state()
    arrays = recorded + list(state.values())
    # The square of a huge gradient is infinite, and the parameter then stays where it is.
    finite = recorded if case.gradients == "huge.bin" else arrays
    assert all(np.isfinite(a).all() for a in finite), case.name
    write_array(folder / f"{case.name}.bin", *arrays)
    return {
        "name": case.name,
        "framework": case.framework,
        "rule": case.rule,
        **nonzero({"preset": case.preset}),
        "options": {"LR": peak, **runner.options()},
        **nonzero({"defaultLR": getattr(runner, "default_rate", None)}),
        "lr": rates,
        "gradients": case.gradients,
        **nonzero({"columns": SHAPE[1] if case.matrix else case.columns}),
        "gradScale": case.grad_scale,
        "steps": list(RECORDED),
        "state": list(state),
        **nonzero({"numbers": numbers}),
    }


def write_updates(folder: Path, name: str, cases: list[UpdateCase]) -> None:
    """Write the inputs, which are the same for all, and the cases of one framework."""
    rng = np.random.default_rng(SEED)
    inputs = {"gradients.bin": make_gradients(rng)}
    inputs["still.bin"] = inputs["gradients.bin"].copy()
    inputs["still.bin"][:STILL] = 0
    initial = make_params(rng)
    rng = np.random.default_rng(SEED + 3)
    inputs["tiny.bin"] = make_extreme_gradients(rng, [1e-20, 1e-38])
    # 5e19 is small enough for sums of (1 - beta2)*g*g to stay finite and too big for g*g.
    inputs["huge.bin"] = make_extreme_gradients(rng, [1e15, 5e19, 1e22])
    inputs |= make_matrix(np.random.default_rng(SEED + 4))
    folder.mkdir(parents=True, exist_ok=True)
    for file, values in (inputs | {"params.bin": initial}).items():
        write_array(folder / file, values)
    rows = make_rows(np.random.default_rng(SEED + 4)).tolist()
    (folder / "rows.json").write_text("[\n" + ",\n".join(map(str, rows)) + "\n]\n")
    assert len({c.name for c in cases}) == len(cases)
    lines = [json.dumps(write_update_case(folder, c, inputs, initial), allow_nan=False) for c in cases]
    (folder / f"{name}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


# ---------------------------------------------------------------- loss inputs

LOGITS = [0.0, -0.0, 1e-3, -1e-3, 0.03, -0.03, 0.5, -0.5, 3.0, -3.0, 20.0, -20.0,
          90.0, -90.0, 110.0, -110.0, 1e4, -1e4]
PROBABILITIES = [0.0, 1.0, 1e-8, 1 - 6e-8, 1e-7, 5e-8, 2e-7, 1 - 1.2e-7, 1 - 2.4e-7,
                 1e-30, 1e-12, 1e-6, 1 - 1e-6, 0.5, 0.25, 0.01, 0.99]


def thrice(special: list[float], rest: np.ndarray) -> np.ndarray:
    """Each special value three times in a row, so that it meets three labels; then rest."""
    head = np.repeat(special, 3)
    return np.concatenate([head, rest[len(head):]]).astype(F32)


def make_loss_inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED + 1)
    third = np.arange(SIZE) % 3
    soft = rng.uniform(size=SIZE)
    return {
        "logits.bin": thrice(LOGITS, rng.normal(size=SIZE) * 4),
        "probs.bin": thrice(PROBABILITIES, rng.uniform(0.001, 0.999, size=SIZE)),
        "labels01.bin": np.choose(third, [0.0, 1.0, soft]).astype(F32),
        "labelsbinary.bin": np.choose(third, [0.0, 1.0, np.round(soft)]).astype(F32),
        "labelspm.bin": np.choose(third, [-1.0, 1.0, np.sign(soft - 0.5)]).astype(F32),
        "predictions.bin": (rng.normal(size=SIZE) * 3).astype(F32),
        "targets.bin": (rng.normal(size=SIZE) * 3).astype(F32),
        "weights.bin": make_params(rng),
        **make_likelihood_inputs(np.random.default_rng(SEED + 5)),
    }


def make_likelihood_inputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Counts with their rates, means with their variances, and distributions over rows of COLUMNS, with zeros."""
    small = rng.uniform(size=SIZE) < 0.1
    variances = np.where(small, 1e-7, 10.0 ** rng.uniform(-2, 1, size=SIZE))
    shares = rng.dirichlet(np.full(COLUMNS, 0.5), size=ROWS)
    shares[rng.uniform(size=shares.shape) < 0.1] = 0
    guesses = rng.dirichlet(np.ones(COLUMNS), size=ROWS)
    return {
        "rates.bin": np.where(small, 1e-6, rng.gamma(2, 3, size=SIZE)).astype(F32),
        "logrates.bin": rng.normal(size=SIZE).astype(F32),
        "counts.bin": rng.poisson(rng.gamma(2, 3, size=SIZE)).astype(F32),
        "normals.bin": np.concatenate([rng.normal(size=SIZE) * 3, variances]).astype(F32),
        "guesses.bin": np.log(guesses).reshape(-1).astype(F32),
        "shares.bin": shares.reshape(-1).astype(F32),
        "logshares.bin": np.log(rng.dirichlet(np.ones(COLUMNS), size=ROWS)).reshape(-1).astype(F32),
        "estimates.bin": np.where(guesses < 0.02, 0, guesses).reshape(-1).astype(F32),
        "importance.bin": np.where(rng.uniform(size=SIZE) < 0.2, 0, rng.uniform(0, 2, size=SIZE)).astype(F32),
    }


def importance() -> np.ndarray:
    """The weights of elements."""
    return make_loss_inputs()["importance.bin"]


# ---------------------------------------------------------------- losses


@dataclass
class LossCase:
    name: str
    framework: str
    loss: str
    reduction: str
    function: Callable[[Any, Any], Any]
    pred: str
    target: str = ""
    options: dict[str, Any] = field(default_factory=dict)


REDUCTIONS = ("mean", "sum", "none")


PENALTIES = (("L1", 0.01, 0.0), ("L2", 0.0, 0.02), ("ElasticNet", 0.01, 0.02))


def write_loss_case(folder, case, inputs, run):
    value, gradient = run(case.function, inputs[case.pred], inputs.get(case.target))
    assert value.dtype == gradient.dtype == np.float32, case.name
    elements = [value] if case.reduction == "none" else []
    write_array(folder / f"{case.name}.bin", gradient, *elements)
    return {
        "name": case.name,
        "framework": case.framework,
        "loss": case.loss,
        **case.options,
        "reduction": case.reduction,
        "pred": case.pred,
        "target": case.target,
        "value": float(np.sum(value, dtype=np.float64)),
    }


def kink(run, name, framework, expression, function, at, label):
    pred, target = np.array([at], F32), np.array([label], F32)
    value, gradient = run(function, pred, target)
    return {
        "name": name, "framework": framework, "expression": expression,
        "pred": single(at), "target": label,
        "value": float(np.sum(value)), "gradient": float(gradient[0]),
    }


def write_losses(folder: Path, name: str, cases: list[LossCase], run, kinks: list[dict[str, Any]]) -> None:
    inputs = make_loss_inputs()
    folder.mkdir(parents=True, exist_ok=True)
    for file, values in inputs.items():
        write_array(folder / file, values)
    write_json(folder / f"{name}.json", {"cases": [write_loss_case(folder, c, inputs, run) for c in cases], "kinks": kinks})
