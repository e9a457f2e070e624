"""The worker for Optax's optimizers, compiled by JAX with XLA for the CPU. Parameters and
state are donated: the compiled step writes the new ones where the old ones were."""

import importlib.metadata
import os

import jax
import jax.extend.backend
import jax.numpy as jnp
import numpy as np
import optax

import protocol as p

RULES = ["adamw", "adam", "momentum", "adagrad", "sgd", "adam+l2", "momentum+l2",
         "adamw+clip", "sgd+clip", "adamw+new"]

# Rules with the defaults of their functions.
PRESETS = {
    f"optax.{name}": getattr(optax, name)
    for name in ("adabelief", "adadelta", "adafactor", "adamax", "adan", "amsgrad", "lamb", "lion", "nadam", "radam", "rmsprop", "yogi")
}

MOST = 2000  # tensors: 36 seconds to compile, and four times as many more than ten minutes


def optimizer(task):
    if task.rule in PRESETS:
        return PRESETS[task.rule](p.PRESET_LR)
    adam = {"b1": p.BETA1, "b2": p.BETA2, "eps": p.ADAM_EPS}
    rule = {
        "adamw": lambda: optax.adamw(p.ADAM_LR, weight_decay=p.WEIGHT_DECAY, **adam),
        "adam": lambda: optax.adam(p.ADAM_LR, **adam),
        "momentum": lambda: optax.sgd(p.MOMENTUM_LR, momentum=p.MOMENTUM),
        "adagrad": lambda: optax.adagrad(p.ADAGRAD_LR, initial_accumulator_value=0, eps=p.ADAGRAD_EPS),
        "sgd": lambda: optax.sgd(p.SGD_LR),
    }[task.rule]()
    if task.work == "l2":
        return optax.chain(optax.add_decayed_weights(p.WEIGHT_DECAY), rule)
    if task.work == "clip":
        return optax.chain(optax.clip_by_global_norm(p.MAX_NORM), rule)
    return rule


def limit(threads):
    """Begin anew with a pool of so many threads: XLA makes one for each processor that it
    may use when it starts, and no option changes that."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:threads])
    jax.clear_caches()
    jax.extend.backend.clear_backends()
    jax.block_until_ready(jnp.zeros(1))
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), every)


def job(task):
    if task.tensors > MOST:
        raise ValueError(f"XLA takes more than ten minutes to compile a step of {task.tensors:,} tensors")
    limit(task.threads)
    o = optimizer(task)

    def step(params, state, grads):
        updates, state = o.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params = [jnp.array(x) for x in task.params()]
    buffers = [jnp.array(x) for x in task.grads()]
    state, grads, count = o.init(params), buffers, 0

    def run():
        nonlocal params, state
        params, state = compiled(params, state, grads)
        jax.block_until_ready(params)

    def refill():
        nonlocal grads, count
        grads = p.turned(buffers, count)
        count += 1

    return p.Job(run, lambda: np.concatenate([np.asarray(x).ravel() for x in params]), refill if task.work == "new" else None)


def load():
    version = f"{optax.__version__}, jaxlib {importlib.metadata.version('jaxlib')}"
    return [p.System("optax-xla", version, RULES + list(PRESETS), 0, job, many=True)]


if __name__ == "__main__":
    p.serve(load)
