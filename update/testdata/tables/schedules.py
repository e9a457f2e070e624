"""Write the learning rates that a framework's schedules have, in float64: python schedules.py FRAMEWORK FOLDER.

FOLDER/FRAMEWORK.json has an object of cases, each a list of the rates of steps from 0 on; of a plateau after each
of the measures in its list. Versions are those of FRAMEWORK.txt.
"""

import json
import math
import os
import sys
from pathlib import Path

STEPS = 70
MEASURES = [5, 4, 4.5, 4.2, 3.9996, 3.9, 3.9, 3.9, 3.9, 3.89995, 3.8, 3.7, 3.9, 3.9, 3.9, 3.9, 3.9, 3.9, 3.9, 3.9,
            3.69999, 3.6, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1, 0.9999, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # fmt: skip


def torch_cases():
    import torch
    from torch.optim import lr_scheduler as s

    def optimizer(lr):
        return torch.optim.SGD([torch.zeros(1)], lr=lr)

    def rates(make, lr, steps=STEPS):
        o = optimizer(lr)
        schedule, list_ = make(o), []
        for _ in range(steps):
            list_.append(float(o.param_groups[0]["lr"]))
            o.step()
            schedule.step()
        return list_

    def plateau(**options):
        o, list_ = optimizer(0.5), []
        schedule = s.ReduceLROnPlateau(o, **options)
        for x in MEASURES:
            schedule.step(-x if options.get("mode") == "max" else x)
            list_.append(float(o.param_groups[0]["lr"]))
        return list_

    def sequence(o):
        list_ = [s.LinearLR(o, 0.1, 1.0, 10), s.ExponentialLR(o, 0.9), s.StepLR(o, 10)]
        return s.SequentialLR(o, list_, milestones=[10, 30])

    one_cycle = {"max_lr": 0.1, "total_steps": STEPS + 1}
    return {
        "constant": rates(lambda o: s.ConstantLR(o, 1.0, 5), 0.3),
        "step": rates(lambda o: s.StepLR(o, 13, 0.3), 0.3),
        "multi-step": rates(lambda o: s.MultiStepLR(o, [7, 20, 21], 0.1), 0.3),
        "linear": rates(lambda o: s.LinearLR(o, 0.25, 1.0, 17), 0.3),
        "exponential": rates(lambda o: s.ExponentialLR(o, 0.83), 0.3),
        "cosine": rates(lambda o: s.CosineAnnealingLR(o, 23, 0.01), 0.3),
        "restarts": rates(lambda o: s.CosineAnnealingWarmRestarts(o, 9, 1, 0.01), 0.3),
        "restarts that double": rates(lambda o: s.CosineAnnealingWarmRestarts(o, 9, 2, 0.01), 0.3),
        "polynomial": rates(lambda o: s.PolynomialLR(o, 40, 2.5), 0.3),
        "one-cycle": rates(lambda o: s.OneCycleLR(o, **one_cycle), 0.3),
        "one-cycle, linear": rates(lambda o: s.OneCycleLR(o, anneal_strategy="linear", **one_cycle), 0.3),
        "one-cycle, three phases": rates(lambda o: s.OneCycleLR(o, three_phase=True, **one_cycle), 0.3),
        "joined": rates(sequence, 0.3),
        "plateau": plateau(),
        "plateau, cooldown": plateau(patience=2, cooldown=3, factor=0.5, min_lr=0.01),
        "plateau, absolute": plateau(patience=3, threshold=0.05, threshold_mode="abs"),
        "plateau, maximize": plateau(patience=0, cooldown=1, factor=0.7, mode="max", eps=0.01),
    }


def optax_cases():
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import optax

    def rates(schedule):
        return [float(schedule(jnp.asarray(t, jnp.int64))) for t in range(STEPS)]

    def plateau(**options):
        t = optax.contrib.reduce_on_plateau(**options)
        params = jnp.ones((), jnp.float64)
        state, list_ = t.init(params), []
        for x in MEASURES:
            updates, state = t.update(params, state, value=jnp.asarray(x, jnp.float64))
            list_.append(0.5 * float(updates))
        return list_

    cosine = {"init_value": 0.01, "peak_value": 0.3, "warmup_steps": 8, "decay_steps": 40}
    return {
        "constant": rates(optax.constant_schedule(0.3)),
        "multi-step": rates(optax.piecewise_constant_schedule(0.3, {7: 0.1, 20: 0.1, 21: 0.1})),
        "linear": rates(optax.linear_schedule(0.01, 0.3, 17)),
        "polynomial": rates(optax.polynomial_schedule(0.3, 0.02, 2.5, 40)),
        "exponential": rates(optax.exponential_decay(0.3, 12, 0.37)),
        "exponential, bounded": rates(optax.exponential_decay(0.3, 12, 0.37, 5, False, 0.05)),
        "exponential, staircase": rates(optax.exponential_decay(0.3, 12, 0.37, 5, True)),
        "exponential, rising": rates(optax.exponential_decay(0.3, 12, 1.5, 0, False, 0.9)),
        "cosine": rates(optax.cosine_decay_schedule(0.3, 40, 0.1)),
        "cosine, exponent": rates(optax.cosine_decay_schedule(0.3, 40, 0.1, 1.3)),
        "warm-up, constant": rates(optax.warmup_constant_schedule(0.01, 0.3, 17)),
        "warm-up, cosine": rates(optax.warmup_cosine_decay_schedule(end_value=0.02, **cosine)),
        "warm-up, exponential": rates(optax.warmup_exponential_decay_schedule(0.01, 0.3, 8, 12, 0.37)),
        "restarts": rates(optax.sgdr_schedule([cosine, {**cosine, "peak_value": 0.2, "decay_steps": 24}])),
        "one-cycle": rates(optax.cosine_onecycle_schedule(61, 0.1)),
        "one-cycle, linear": rates(optax.linear_onecycle_schedule(61, 0.1)),
        "wsd": rates(
            optax.join_schedules(
                [
                    optax.linear_schedule(0.01, 0.3, 10),
                    optax.constant_schedule(0.3),
                    optax.cosine_decay_schedule(0.3, 20, 0.1),
                ],
                [10, 35],
            )
        ),
        "plateau": plateau(),
        "plateau, cooldown": plateau(patience=3, cooldown=3, factor=0.5, min_scale=0.02, rtol=0.01, atol=0.05),
    }


def keras_cases():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import numpy as np

    f = np.array  # of Python's floats schedules make float32, whatever floatx is
    lr = f(0.3)
    keras.config.set_floatx("float64")
    s = keras.optimizers.schedules

    def rates(schedule):
        return [float(schedule(t)) for t in range(STEPS)]

    def plateau(**options):
        callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", mode="min", **options)
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.5), "mse")
        callback.set_model(model)
        callback.on_train_begin()
        list_ = []
        for epoch, x in enumerate(MEASURES):
            callback.on_epoch_end(epoch, {"loss": x})
            list_.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        return list_

    return {
        "piecewise": rates(s.PiecewiseConstantDecay([7, 20, 21], [f(0.3), f(0.2), f(0.25), f(0.1)])),
        "exponential": rates(s.ExponentialDecay(lr, 12, f(0.37))),
        "exponential, staircase": rates(s.ExponentialDecay(lr, 12, f(0.37), staircase=True)),
        "inverse time": rates(s.InverseTimeDecay(lr, 12, f(0.37))),
        "inverse time, staircase": rates(s.InverseTimeDecay(lr, 12, f(0.37), staircase=True)),
        "polynomial": rates(s.PolynomialDecay(lr, 40, f(0.02), f(2.5))),
        "polynomial, cycle": rates(s.PolynomialDecay(lr, 16, f(0.02), f(1.5), cycle=True)),
        "cosine": rates(s.CosineDecay(lr, 40, f(0.1))),
        "warm-up, cosine": rates(s.CosineDecay(f(0.01), 32, f(0.1), warmup_target=f(0.3), warmup_steps=8)),
        "restarts": rates(s.CosineDecayRestarts(lr, 9, f(1.0), f(0.8), f(0.1))),
        "restarts that double": rates(s.CosineDecayRestarts(lr, 9, f(2.0), f(0.8), f(0.1))),
        "restarts that grow": rates(s.CosineDecayRestarts(lr, 9, f(1.3), f(0.8), f(0.1))),
        "plateau": plateau(),
        "plateau, cooldown": plateau(patience=3, cooldown=3, factor=0.5, min_lr=0.01, min_delta=0.05),
    }


def main() -> None:
    framework, folder = sys.argv[1:]
    cases = {"torch": torch_cases, "optax": optax_cases, "keras": keras_cases}[framework]()
    cases["measures"] = MEASURES
    assert all(math.isfinite(x) for rates in cases.values() for x in rates)
    lines = [f"{json.dumps(name)}: {json.dumps(rates)}" for name, rates in cases.items()]
    Path(folder, f"{framework}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
