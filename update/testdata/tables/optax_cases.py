"""Optax's cases."""

import sys
from pathlib import Path

from common import *

os.environ["JAX_PLATFORMS"] = "cpu"

check_versions(Path(__file__).with_name("optax.txt"))

import inspect

import jax
import jax.numpy as jnp
import optax

FRAMEWORK = f"optax {version('optax')} on jax {version('jax')}"


class OptaxRunner:
    """One of optax's own functions, whose learning rate is a schedule."""

    def __init__(self, function, arguments, names, initial):
        self.w = jnp.asarray(initial)
        self.arguments = {name: p.default for name, p in inspect.signature(function).parameters.items()} | arguments
        self.function, self.names = function, names
        self.rates = jnp.zeros(STEPS, F32)
        self.transform = function(learning_rate=lambda count: self.rates[count], **arguments)
        self.held = self.transform.init(self.w)

    def step(self, gradient, rate, t):
        self.rates = self.rates.at[t - 1].set(rate)
        update, self.held = self.transform.update(jnp.asarray(gradient), self.held, self.w)
        self.w = optax.apply_updates(self.w, update)

    def params(self):
        return np.array(self.w)

    def state(self):
        """The buffers, wherever they are in the state. After the learning rate, which has a minus sign, the
        momentum has one too."""
        found = {}
        for part in jax.tree.leaves(self.held, is_leaf=lambda x: hasattr(x, "_fields")):
            for theirs, (ours, sign) in self.names.items():
                if hasattr(part, theirs):
                    found[ours] = sign * np.array(getattr(part, theirs))
        return {ours: found[ours] for ours, _ in self.names.values()}

    def options(self):
        """The options as the function takes them, defaults included."""
        a = self.arguments
        momentum, rmsprop = a.get("momentum"), "eps_in_sqrt" in a
        decay = "Decay" if self.function is optax.lamb else "WeightDecay"
        return nonzero({
            decay: a.get("weight_decay"),
            "Momentum": momentum,
            "Nesterov": a.get("nesterov"),
            "LRInside": rmsprop,
            "InitialAccumulator": a.get("initial_accumulator_value"),
            "InitialScale": a.get("initial_scale"),
            "Rho": a.get("decay"),
            "Centered": a.get("centered"),
            "Beta1": a.get("b1"),
            "Beta2": a.get("b2"),
            "Eps": a.get("eps"),
            "EpsInside": a.get("eps_in_sqrt", "initial_accumulator_value" in a),
            "EpsRoot": a.get("eps_root"),
        })


def optax_case(name, rule, function, names, **arguments):
    return UpdateCase("optax_" + name, FRAMEWORK, rule, lambda initial: OptaxRunner(function, arguments, names, initial))


def optax_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1)}
    trace, accumulator, square = {"trace": ("momentum", 1)}, {"sum_of_squares": ("accumulator", 1)}, {"nu": ("v", 1)}
    mean, buffer, m = {"mu": ("mean", 1)}, {"trace": ("momentum", -1)}, {"mu": ("m", 1)}
    belief, outside = {"mu": ("m", 1), "nu": ("s", 1)}, {"eps_in_sqrt": False}

    def adam(name, **arguments):
        return optax_case(name, "Adam", optax.adam, moments, **arguments)

    return [
        preset("SGD", optax_case("sgd", "SGD", optax.sgd, {})),
        preset("Momentum", optax_case("momentum", "Momentum", optax.sgd, trace, momentum=0.9)),
        optax_case("momentum_nesterov", "Momentum", optax.sgd, trace, momentum=0.9, nesterov=True),
        preset("Adagrad", optax_case("adagrad", "AdaGrad", optax.adagrad, accumulator)),
        preset("Adam", adam("adam")),
        adam("adam_eps_root", eps_root=1e-6),
        adam("adam_eps_root_only", eps=0.0, eps_root=1e-6),
        extreme("tiny", adam("adam_dyadic_eps_root", b1=0.875, b2=1 - 2**-10, eps_root=1e-6)),
        preset("AdamW", optax_case("adamw", "Adam", optax.adamw, moments)),
        preset("AdaBelief", optax_case("adabelief", "AdaBelief", optax.adabelief, belief)),
        optax_case("adabelief_eps", "AdaBelief", optax.adabelief, belief, b1=0.4, b2=0.99, eps=1e-3, eps_root=1e-6),
        optax_case("adabelief_paper", "AdaBelief", optax.adabelief, belief, eps=1e-8, eps_root=0.0),
        preset("RMSprop", optax_case("rmsprop", "RMSprop", optax.rmsprop, square)),
        optax_case("rmsprop_outside", "RMSprop", optax.rmsprop, square, **outside),
        optax_case("rmsprop_initial", "RMSprop", optax.rmsprop, square, initial_scale=0.1),
        optax_case("rmsprop_momentum", "RMSprop", optax.rmsprop, square | buffer, momentum=0.9),
        optax_case("rmsprop_centered", "RMSprop", optax.rmsprop, square | mean, centered=True, eps=1e-5),
        optax_case("rmsprop_both_outside", "RMSprop", optax.rmsprop, square | mean | buffer, centered=True,
                   momentum=0.9, eps=1e-3, **outside),
        preset("Lion", optax_case("lion", "Lion", optax.lion, m)),
        optax_case("lion_betas", "Lion", optax.lion, m, b1=0.95, b2=0.98, weight_decay=0.1),
        preset("Lamb", optax_case("lamb", "LAMB", optax.lamb, moments)),
        optax_case("lamb_decay", "LAMB", optax.lamb, moments, weight_decay=0.01),
        optax_case("lamb_dyadic", "LAMB", optax.lamb, moments, b1=0.875, b2=1 - 2**-10),
    ]


if __name__ == "__main__":
    write_updates(Path(sys.argv[1]), "optax", optax_cases())
