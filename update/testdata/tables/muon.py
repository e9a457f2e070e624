"""Muon's trajectories, of one framework: python muon.py FRAMEWORK OUT, where OUT is golden's neighbor.

OUT/FRAMEWORK.json has a case an object: the options of our rule, the columns of the matrix, and the recorded steps,
after each of which OUT/CASE.bin has the parameters. Gradients and first parameters are those of golden/matrix.bin
and golden/matrix_params.bin. PyTorch multiplies in bfloat16: all cases but one run its own code with float32 there.
"""

import inspect
import sys
from pathlib import Path

from common import *

LR, RECORD = 0.02, (1, 10, 60)
MATRIX = Path(__file__).resolve().parents[1] / "golden"


def torch_cases():
    import torch
    from torch.optim import _muon

    def run(precision="float32", **arguments):
        def start(w):
            exec(source.replace("torch.bfloat16", f"torch.{precision}"), _muon.__dict__)
            p = torch.nn.Parameter(torch.from_numpy(w.copy()))
            o = torch.optim.Muon([p], lr=LR, **arguments)

            def step(g):
                p.grad = torch.from_numpy(g.copy())
                o.step()
                return p.detach().numpy().copy()

            return step, o.param_groups[0]

        return start

    def options(held):
        a, b, c = held["ns_coefficients"]
        adjust = held["adjust_lr_fn"]
        return {
            "LR": held["lr"], "WeightDecay": held["weight_decay"], "Momentum": held["momentum"], "Nesterov": held["nesterov"],
            "A": a, "B": b, "C": c, "Iterations": held["ns_steps"], "EpsFloor": held["eps"],
            "Spectral": adjust != "match_rms_adamw", "Unclamped": adjust == "spectral_unclamped",
            "RMS": 0.2 if adjust == "match_rms_adamw" else 0.0,
        }

    source = inspect.getsource(_muon._zeropower_via_newtonschulz)
    assert source.count("torch.bfloat16") == 1
    return options, {
        "torch": (33, run()),
        "torch_bfloat16": (33, run("bfloat16")),
        "torch_tall": (17, run(weight_decay=0.0)),
        "torch_rms": (33, run(nesterov=False, adjust_lr_fn="match_rms_adamw", momentum=0.9)),
        "torch_unclamped": (33, run(adjust_lr_fn="spectral_unclamped", ns_steps=4)),
    }


def keras_cases():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    def run(**arguments):
        def start(w):
            v = keras.Variable(w)
            o = keras.optimizers.Muon(learning_rate=LR, **arguments)
            o.build([v])

            def step(g):
                o.apply_gradients([(keras.ops.convert_to_tensor(g), v)])
                return keras.ops.convert_to_numpy(v).copy()

            return step, o

        return start

    def options(o):
        return {
            "LR": LR, "WeightDecay": o.weight_decay or 0.0, "Momentum": o.momentum, "Nesterov": o.nesterov,
            "A": o.muon_a, "B": o.muon_b, "C": o.muon_c, "Iterations": o.ns_steps, "Eps": 1e-7 * (1 - o.momentum),
            "RMS": o.rms_rate or 0.0,
        }

    return options, {
        "keras": (33, run()),
        "keras_tall": (17, run(nesterov=False, rms_rate=None, ns_steps=4, weight_decay=None)),
    }


def optax_cases():
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax.numpy as jnp
    import optax
    from optax.contrib import muon

    def run(**arguments):
        held = {name: p.default for name, p in inspect.signature(muon).parameters.items()} | arguments

        def start(w):
            transform = muon(learning_rate=LR, **arguments)
            now = [jnp.asarray(w), transform.init(jnp.asarray(w))]

            def step(g):
                change, now[1] = transform.update(jnp.asarray(g), now[1], now[0])
                now[0] = optax.apply_updates(now[0], change)
                return np.array(now[0])

            return step, held

        return start

    def options(held):
        dion = held["ns_coeffs"] == "dion"
        a, b, c = (0.0, 0.0, 0.0) if dion else held["ns_coeffs"]
        norm = held["preconditioning"]
        given = norm in ("frobenius", "spectral")  # the others have an eps of their own, below a square
        return {
            "LR": LR, "WeightDecay": held["weight_decay"], "Momentum": held["beta"], "Nesterov": held["nesterov"],
            "BiasCorrection": True, "A": a, "B": b, "C": c, "Dion": dion, "Iterations": held["ns_steps"],
            "Eps": held["eps"] if given else 0.0, "EpsFloor": 0.0 if given else 1e-4,
            "SchattenNorm": norm == "schatten", "SpectralNorm": norm == "spectral", "AOL": norm == "aol",
            "Adaptive": held["adaptive"], "Spectral": held["consistent_rms"] is None,
            "Transposed": held["consistent_rms"] is None, "RMS": held["consistent_rms"] or 0.0,
        }

    return options, {
        "optax": (33, run()),
        "optax_tall": (17, run(weight_decay=0.1)),
        "optax_rms": (33, run(nesterov=False, consistent_rms=0.2, beta=0.9)),
        "optax_adaptive": (33, run(adaptive=True, eps=1e-3)),
        "optax_dion": (17, run(ns_coeffs="dion", adaptive=True, weight_decay=0.1)),
        "optax_schatten": (33, run(preconditioning="schatten", ns_steps=4)),
        "optax_aol": (17, run(preconditioning="aol", nesterov=False)),
        "optax_aol_wide": (33, run(preconditioning="aol", ns_steps=4)),
        "optax_spectral": (17, run(preconditioning="spectral")),
    }


def main(framework: str, out: Path) -> None:
    check_versions(Path(__file__).with_name(f"{framework}.txt"))
    options, cases = {"torch": torch_cases, "keras": keras_cases, "optax": optax_cases}[framework]()
    out.mkdir(exist_ok=True)
    gradients = np.fromfile(MATRIX / "matrix.bin", F32).reshape(STEPS, -1)
    first = np.fromfile(MATRIX / "matrix_params.bin", F32)
    listed = []
    for name, (columns, start) in cases.items():
        step, held = start(first.reshape(-1, columns))
        after = [step(g.reshape(-1, columns)) for g in gradients]
        write_array(out / f"{name}.bin", *(after[t - 1] for t in RECORD))
        listed.append({"name": name, "columns": columns, "steps": RECORD, "options": nonzero(options(held))})
    write_json(out / f"{framework}.json", listed)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
