"""Write what frameworks do around plain gradient descent: python around.py FRAMEWORK FOLDER.

Parameters and gradients are those of golden, the rate is 0.05. FOLDER/FRAMEWORK_CASE.bin has the parameters after
each of the steps RECORDED of common.py, each with what is kept beside them: an average, or slow parameters.
"""

import os
import sys
from pathlib import Path

import numpy as np
from common import RECORDED, SIZE, STEPS, check_versions, write_array

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
LR = 0.05
ROWS, COLUMNS = 32, 8  # of a matrix: the first parameters


def inputs():
    read = lambda name: np.fromfile(GOLDEN / name, dtype="<f4")
    return read("params.bin"), read("gradients.bin").reshape(STEPS, SIZE)


def torch_cases():
    import torch
    from torch.optim import swa_utils as s

    def run(averages, at=lambda t: True):
        params, gradients = inputs()
        model = torch.nn.Module()
        model.w = torch.nn.Parameter(torch.tensor(params))
        averaged = s.AveragedModel(model, multi_avg_fn=averages)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        for t, g in enumerate(gradients, 1):
            model.w.grad = torch.tensor(g)
            optimizer.step()
            if at(t):
                averaged.update_parameters(model)
            yield model.w.detach().numpy(), averaged.module.w.detach().numpy()

    return {
        "ema": run(s.get_ema_multi_avg_fn(0.9)),
        "ema_low": run(s.get_ema_multi_avg_fn(0.3)),
        "swa": run(s.get_swa_multi_avg_fn(), lambda t: t > 7 and (t - 7) % 3 == 0),
    }


def keras_cases():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    def run(averages=True, **options):
        params, gradients = inputs()
        w = keras.Variable(params)
        optimizer = keras.optimizers.SGD(LR, **options)
        optimizer.build([w])
        for g in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g)])
            beside = optimizer._model_variables_moving_average[0] if averages else w
            yield keras.ops.convert_to_numpy(w), keras.ops.convert_to_numpy(beside)

    return {
        "ema": run(use_ema=True),
        "ema_overwrite": run(use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=7),
        "accumulation": run(False, gradient_accumulation_steps=3),
    }


def tensorflow_cases():
    import tensorflow as tf

    def run(warm, **options):
        params, gradients = inputs()
        w, t = tf.Variable(params), tf.Variable(0)
        average = tf.train.ExponentialMovingAverage(0.9, num_updates=t if warm else None, **options)
        average.apply([w])  # which begins it
        for g in gradients:
            w.assign_sub(tf.constant(LR, tf.float32) * g)
            t.assign_add(1)
            average.apply([w])
            yield w.numpy(), average.average(w).numpy()

    return {"ema": run(False), "ema_warm": run(True)}


def optax_cases():
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax.numpy as jnp
    import optax

    def averaged(decay):
        params, gradients = inputs()
        w, transform, mean = jnp.asarray(params), optax.sgd(LR), optax.ema(decay, debias=True)
        state, held = transform.init(w), mean.init(w)
        for g in gradients:
            updates, state = transform.update(jnp.asarray(g), state, w)
            w = optax.apply_updates(w, updates)
            average, held = mean.update(w, held)
            yield np.array(w), np.array(average)

    def lookahead(period, step):
        params, gradients = inputs()
        w = optax.LookaheadParams.init_synced(jnp.asarray(params))
        transform = optax.lookahead(optax.sgd(LR), period, step)
        state = transform.init(w)
        for g in gradients:
            updates, state = transform.update(jnp.asarray(g), state, w)
            w = optax.apply_updates(w, updates)
            yield np.array(w.fast), np.array(w.slow)

    def accumulated(every):
        params, gradients = inputs()
        w, transform = jnp.asarray(params), optax.MultiSteps(optax.sgd(LR), every)
        state = transform.init(w)
        for g in gradients:
            updates, state = transform.update(jnp.asarray(g), state, w)
            w = optax.apply_updates(w, updates)
            yield np.array(w), np.array(w)

    def matrix(transform):
        params, gradients = (x[..., : ROWS * COLUMNS].reshape(-1, ROWS, COLUMNS) for x in inputs())
        w, transform = jnp.asarray(params[0]), optax.chain(transform, optax.sgd(LR))
        state = transform.init(w)
        for g in gradients:
            updates, state = transform.update(jnp.asarray(g), state, w)
            w = optax.apply_updates(w, updates)
            yield np.array(w), np.array(w)

    return {
        "matrix_adaptive_clip": matrix(optax.adaptive_grad_clip(0.1, axis=1)),
        "matrix_centralize": matrix(optax.centralize()),
        "matrix_both": matrix(optax.chain(optax.centralize(), optax.adaptive_grad_clip(0.5, eps=0.01, axis=1))),
        "ema": averaged(0.9),
        "lookahead": lookahead(5, 0.5),
        "lookahead_far": lookahead(3, 0.8),
        "accumulation": accumulated(3),
    }


def main() -> None:
    framework, folder = sys.argv[1], Path(sys.argv[2])
    check_versions(HERE / f"{framework}.txt")
    cases = {"torch": torch_cases, "keras": keras_cases, "tensorflow": tensorflow_cases, "optax": optax_cases}
    for name, steps in cases[framework]().items():
        kept = [np.array([w, beside]) for t, (w, beside) in enumerate(steps, 1) if t in RECORDED]
        assert np.isfinite(kept).all()
        write_array(folder / f"{framework}_{name}.bin", *kept)


if __name__ == "__main__":
    main()
