"""Write Optax' Sophia: python sophia.py FOLDER.

Parameters and gradients are those of golden, and an estimate of the Hessian, after every tenth step, is the gradient's
square. FOLDER/CASE.bin has parameters, m and h after each of the steps RECORDED of common.py.
"""

import os
import sys
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import RECORDED, check_versions, write_array
from around import HERE, inputs

CASES = {"optax": {}, "optax_clip": {"b1": 0.8, "b2": 0.9, "gamma": 0.5, "eps": 0.01, "clip_threshold": 0.3, "update_interval": 3}}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    check_versions(HERE / "optax.txt")
    squares = optax.stateless(lambda g, _: jax.tree.map(jnp.square, g))
    for name, options in CASES.items():
        params, gradients = inputs()
        w, transform = jnp.asarray(params), optax.contrib.sophia(0.01, hessian_diagonal_fn=squares, **options)
        state, kept = transform.init(w), []
        for t, g in enumerate(gradients, 1):
            updates, state = transform.update(jnp.asarray(g), state, w)
            w = optax.apply_updates(w, updates)
            if t in RECORDED:
                kept += [np.array(x) for x in (w, state[0].mu, state[0].nu)]
        assert np.isfinite(kept).all()
        write_array(folder / f"{name}.bin", *kept)


if __name__ == "__main__":
    main()
