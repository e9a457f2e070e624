"""Keras' cases, on TensorFlow."""

import sys
from pathlib import Path

from common import *

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

check_versions(Path(__file__).with_name("keras.txt"))

import inspect

import keras
import tensorflow as tf

FRAMEWORK = f"keras {version('keras')} on tensorflow {version('tensorflow')}"


class KerasRunner:
    def __init__(self, optimizer_class, arguments, initial):
        self.w = keras.Variable(initial)
        self.optimizer = optimizer_class(**arguments)
        # The optimizer itself holds it in float32.
        self.default_rate = inspect.signature(optimizer_class).parameters["learning_rate"].default
        self.optimizer.build([self.w])

    def step(self, gradient, rate, t):
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients([(tf.constant(gradient), self.w)])

    def params(self):
        return self.w.numpy().copy()

    def state(self):
        o = self.optimizer
        if isinstance(o, keras.optimizers.Adagrad):
            return {"accumulator": o._accumulators[0].numpy()}
        if isinstance(o, keras.optimizers.SGD):
            # Keras keeps minus the buffer: m = mu*m - lr*g.
            return {"momentum": -o.momentums[0].numpy()} if o.momentum else {}
        if isinstance(o, keras.optimizers.RMSprop):
            buffers = {"v": o._velocities[0].numpy()}
            if o.centered:
                buffers["mean"] = o._average_gradients[0].numpy()
            if o.momentum:
                buffers["momentum"] = o._momentums[0].numpy()
            return buffers
        if isinstance(o, keras.optimizers.Adadelta):
            return {"v": o._accumulated_grads[0].numpy(), "delta": o._accumulated_delta_vars[0].numpy()}
        if isinstance(o, keras.optimizers.Adamax):
            return {"m": o._m[0].numpy(), "u": o._u[0].numpy()}
        if isinstance(o, keras.optimizers.ScheduleFreeAdamW):
            return {"v": o._velocities[0].numpy()}
        if isinstance(o, keras.optimizers.Ftrl):
            return {"accumulator": o._accumulators[0].numpy(), "linear": o._linears[0].numpy()}
        if isinstance(o, keras.optimizers.Adafactor):
            if len(self.w.shape) > 1:
                return {"row_var": o._r[0].numpy(), "col_var": o._c[0].numpy()}
            return {"variance": o._v[0].numpy()}
        if isinstance(o, keras.optimizers.Lion):
            return {"m": o._momentums[0].numpy()}
        buffers = {"m": o._momentums[0].numpy(), "v": o._velocities[0].numpy()}
        if getattr(o, "amsgrad", False):
            buffers["max_v"] = o._velocity_hats[0].numpy()
        return buffers

    def options(self):
        """The options as the optimizer itself holds them, defaults included."""
        config, o = self.optimizer.get_config(), keras.optimizers
        if isinstance(self.optimizer, o.Adafactor):
            return nonzero({
                "WeightDecay": config["weight_decay"],
                "DecayRate": -config["beta_2_decay"],
                "EpsSquare": config["epsilon_1"],
                "EpsParam": config["epsilon_2"],
                "ClipThreshold": config["clip_threshold"],
                "DecayedScale": True,
                "RelativeStep": True,  # whatever relative_step says
            })
        return nonzero({
            "WeightDecay": config["weight_decay"],
            "Momentum": config.get("momentum"),
            "Nesterov": config.get("nesterov"),
            "LRInside": bool(config.get("momentum")) or isinstance(self.optimizer, o.RMSprop),
            "InitialAccumulator": config.get("initial_accumulator_value"),
            "Beta1": config.get("beta_1"),
            "Beta2": config.get("beta_2"),
            "Eps": config.get("epsilon"),
            "Rho": config.get("rho"),
            "Centered": config.get("centered"),
            "EpsInside": isinstance(self.optimizer, (o.Adagrad, o.RMSprop)),
            "EpsHat": isinstance(self.optimizer, o.Adam),
            "AMSGrad": config.get("amsgrad"),
            "WarmupSteps": config.get("warmup_steps"),
            "MomentumDecay": isinstance(self.optimizer, o.Nadam) and 1.0,
            **(self.ftrl_options(config) if isinstance(self.optimizer, o.Ftrl) else {}),
        })

    def ftrl_options(self, config):
        """Those of Ftrl, of which the squares have no half."""
        assert config["learning_rate_power"] == -0.5
        return {"Proximal": True, "Eps": config["beta"], "L1": config["l1_regularization_strength"],
                "L2": 2 * config["l2_regularization_strength"],
                "L2Shrinkage": 2 * config["l2_shrinkage_regularization_strength"]}


def keras_case(name, rule, optimizer_class, **arguments):
    def start(initial):
        return KerasRunner(optimizer_class, arguments, initial)

    return UpdateCase("keras_" + name, FRAMEWORK, rule, start)


def keras_cases():
    sgd, adagrad = keras.optimizers.SGD, keras.optimizers.Adagrad
    adam, adamw = keras.optimizers.Adam, keras.optimizers.AdamW
    return [
        preset("SGD", keras_case("sgd", "SGD", sgd)),
        keras_case("sgd_weight_decay", "SGD", sgd, weight_decay=0.01),
        preset("Momentum", keras_case("momentum", "Momentum", sgd, momentum=0.9)),
        keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True),
        keras_case("momentum_weight_decay", "Momentum", sgd, momentum=0.9, weight_decay=0.01),
        preset("Adagrad", keras_case("adagrad", "AdaGrad", adagrad)),
        # A small start and a big eps tell eps inside the root from eps outside.
        keras_case("adagrad_eps", "AdaGrad", adagrad, initial_accumulator_value=1e-6, epsilon=1e-3),
        keras_case("adagrad_weight_decay", "AdaGrad", adagrad, weight_decay=0.01),
        preset("Adam", keras_case("adam", "Adam", adam)),
        keras_case("adam_dyadic", "Adam", adam, beta_1=0.875, beta_2=1 - 2**-10),
        keras_case("adam_amsgrad", "Adam", adam, amsgrad=True),
        keras_case("adam_weight_decay", "Adam", adam, weight_decay=0.01),
        preset("AdamW", keras_case("adamw", "Adam", adamw)),
        keras_case("adamw_amsgrad", "Adam", adamw, amsgrad=True),
        keras_case("momentum_nesterov_weight_decay", "Momentum", sgd, momentum=0.9, nesterov=True,
                   weight_decay=0.01),
        extreme("tiny", keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True)),
        extreme("huge", keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True)),
        extreme("tiny", keras_case("adagrad", "AdaGrad", adagrad)),
        extreme("huge", keras_case("adagrad", "AdaGrad", adagrad)),
        extreme("tiny", keras_case("adam_dyadic", "Adam", adam, beta_1=0.875, beta_2=1 - 2**-10)),
    ] + newer_cases()


def newer_cases():
    rmsprop, lion, lamb = keras.optimizers.RMSprop, keras.optimizers.Lion, keras.optimizers.Lamb
    return [
        preset("RMSprop", keras_case("rmsprop", "RMSprop", rmsprop)),
        keras_case("rmsprop_centered", "RMSprop", rmsprop, centered=True, epsilon=1e-5),
        keras_case("rmsprop_momentum", "RMSprop", rmsprop, momentum=0.9),
        keras_case("rmsprop_both_weight_decay", "RMSprop", rmsprop, momentum=0.9, centered=True, epsilon=1e-5,
                   weight_decay=0.01),
        extreme("tiny", keras_case("rmsprop", "RMSprop", rmsprop)),
        preset("Lion", keras_case("lion", "Lion", lion)),
        keras_case("lion_weight_decay", "Lion", lion, weight_decay=0.01, beta_1=0.95, beta_2=0.98),
        preset("Lamb", keras_case("lamb", "LAMB", lamb)),
        keras_case("lamb_dyadic", "LAMB", lamb, beta_1=0.875, beta_2=1 - 2**-10),
    ] + adamax_cases() + nadam_cases() + adadelta_cases() + schedule_free_cases() + ftrl_cases() + adafactor_cases()


def ftrl_cases():
    ftrl = keras.optimizers.Ftrl
    return [
        preset("Ftrl", keras_case("ftrl", "FTRL", ftrl)),
        keras_case("ftrl_all", "FTRL", ftrl, beta=0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02,
                   l2_shrinkage_regularization_strength=0.03),
        extreme("tiny", keras_case("ftrl", "FTRL", ftrl)),
    ]


def nadam_cases():
    nadam = keras.optimizers.Nadam
    return [
        preset("Nadam", keras_case("nadam", "NAdam", nadam)),
        keras_case("nadam_weight_decay", "NAdam", nadam, weight_decay=0.01, epsilon=1e-3, beta_1=0.5, beta_2=0.99),
        extreme("tiny", keras_case("nadam_dyadic", "NAdam", nadam, beta_1=0.875, beta_2=1 - 2**-10)),
    ]


def adafactor_cases():
    adafactor = keras.optimizers.Adafactor
    default = keras_case("adafactor", "Adafactor", adafactor)
    other = keras_case("adafactor_options", "Adafactor", adafactor, beta_2_decay=-0.6, epsilon_1=1e-4, epsilon_2=0.5, clip_threshold=0.5,
                       relative_step=False, weight_decay=0.1)
    # With 1e-30 the element of a row and a column of zeros is 0/0 in Keras.
    added = keras_case("adafactor_added", "Adafactor", adafactor, epsilon_1=1e-12)
    return [preset("Adafactor", default), other, matrix(added), matrix(other)]


def adadelta_cases():
    adadelta = keras.optimizers.Adadelta
    return [
        preset("Adadelta", keras_case("adadelta", "Adadelta", adadelta)),
        keras_case("adadelta_weight_decay", "Adadelta", adadelta, weight_decay=0.01, rho=0.9, epsilon=1e-3),
    ]


def schedule_free_cases():
    adamw = keras.optimizers.ScheduleFreeAdamW
    return [
        preset("ScheduleFreeAdamW", keras_case("schedule_free_adamw", "ScheduleFreeAdamW", adamw)),
        keras_case("schedule_free_adamw_warm_up", "ScheduleFreeAdamW", adamw, beta_1=0.75, beta_2=0.99, epsilon=1e-3,
                   warmup_steps=15),
    ]


def adamax_cases():
    adamax = keras.optimizers.Adamax
    return [
        preset("Adamax", keras_case("adamax", "Adamax", adamax)),
        keras_case("adamax_weight_decay", "Adamax", adamax, weight_decay=0.01, epsilon=1e-3, beta_2=0.9),
        extreme("tiny", keras_case("adamax", "Adamax", adamax)),
    ]


# ---------------------------------------------------------------- losses


def keras_loss_cases(reduction):
    name_of = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}[reduction]
    losses = keras.losses

    def case(name, loss, made, pred, target, **options):
        return LossCase(f"keras_{name}_{reduction}", FRAMEWORK, loss, reduction,
                        lambda p, y: made(y, p), pred, target, options)

    return [
        case("mse", "MSE", losses.MeanSquaredError(reduction=name_of), "predictions.bin", "targets.bin"),
        case("bce", "BCE", losses.BinaryCrossentropy(reduction=name_of),
             "probs.bin", "labels01.bin", clamp="keras"),
        case("logits", "BCEWithLogits", losses.BinaryCrossentropy(from_logits=True, reduction=name_of),
             "logits.bin", "labels01.bin"),
        case("hinge", "Hinge", losses.Hinge(reduction=name_of), "logits.bin", "labelspm.bin", zeroOne=False),
        case("hinge_01", "Hinge", losses.Hinge(reduction=name_of),
             "logits.bin", "labelsbinary.bin", zeroOne=True),
        case("squared_hinge", "SquaredHinge", losses.SquaredHinge(reduction=name_of),
             "logits.bin", "labelspm.bin", zeroOne=False),
        case("squared_hinge_01", "SquaredHinge", losses.SquaredHinge(reduction=name_of),
             "logits.bin", "labelsbinary.bin", zeroOne=True),
    ]


def keras_likelihood_cases(reduction):
    name_of = {"mean": "sum_over_batch_size", "none": None, "weightedmean": "mean_with_sample_weight"}[reduction]
    losses = keras.losses
    numbers, weight = ("predictions.bin", "targets.bin"), importance()

    def case(name, loss, made, files, **options):
        return LossCase(f"keras_{name}_{reduction}", FRAMEWORK, loss, reduction, lambda p, y: made(y, p), *files, options)

    def weighted(name, loss, made, files, **options):
        return case(f"{name}_weights", loss, lambda y, p: made(y, p, sample_weight=weight), files,
                    weights="importance.bin", **options)

    cases = [weighted("mse", "MSE", losses.MeanSquaredError(reduction=name_of), numbers)]
    if reduction == "weightedmean":
        return cases
    smoothed = {"label_smoothing": 0.1, "reduction": name_of}
    return cases + [
        case("mae", "MAE", losses.MeanAbsoluteError(reduction=name_of), numbers),
        case("huber", "Huber", losses.Huber(delta=0.7, reduction=name_of), numbers, delta=0.7),
        case("log_cosh", "LogCosh", losses.LogCosh(reduction=name_of), numbers),
        case("poisson", "PoissonNLL", losses.Poisson(reduction=name_of), ("rates.bin", "counts.bin"), eps=1e-7),
        case("bce_smoothed", "BCE", losses.BinaryCrossentropy(**smoothed), ("probs.bin", "labels01.bin"),
             clamp="keras", smoothing=0.1),
        case("logits_smoothed", "BCEWithLogits", losses.BinaryCrossentropy(from_logits=True, **smoothed),
             ("logits.bin", "labels01.bin"), smoothing=0.1),
    ]


def probability_cases():
    losses, probs, cases = keras.losses, ("probs.bin", "labels01.bin"), []

    def add(name, reduction, loss, function, files, **options):
        cases.append(LossCase(f"keras_{name}_{reduction}", FRAMEWORK, loss, reduction, function, *files, {"probabilities": True, **options}))

    # Of columns a divergence is that of an element, of rows their sum.
    divergence, rows = losses.KLDivergence(), lambda x: tf.reshape(x, (ROWS, COLUMNS))
    add("kl", "batchmean", "KLDivergence", lambda p, y: divergence(rows(y), rows(p)), ("estimates.bin", "shares.bin"), rows=ROWS)
    for reduction, name in (("mean", "sum_over_batch_size"), ("none", None)):
        made = losses.KLDivergence(reduction=name)
        add("kl", reduction, "KLDivergence", lambda p, y, l=made: l(y, p), probs)
        made = losses.BinaryFocalCrossentropy(gamma=2.0, reduction=name)
        add("focal", reduction, "Focal", lambda p, y, l=made: l(y, p), probs, gamma=2.0)
        made = losses.BinaryFocalCrossentropy(True, alpha=0.25, gamma=1.5, label_smoothing=0.1, reduction=name)
        add("focal_smoothed", reduction, "Focal", lambda p, y, l=made: l(y, p), probs, gamma=1.5, alpha=0.25, smoothing=0.1)
        made = losses.BinaryFocalCrossentropy(True, alpha=0.25, gamma=1.5, from_logits=True, label_smoothing=0.1, reduction=name)
        add("focal_logits", reduction, "Focal", lambda p, y, l=made: l(y, p), ("predictions.bin", "labels01.bin"),
            gamma=1.5, alpha=0.25, smoothing=0.1, probabilities=False)
    return cases


def penalty_cases():
    cases = []
    for loss, l1, l2 in PENALTIES:
        # Keras leaves out the factor 1/2 of the squares.
        regularizer = keras.regularizers.L1L2(l1=l1, l2=l2 / 2)
        cases.append(LossCase(f"keras_{loss.lower()}", FRAMEWORK, loss, "sum",
                              lambda w, _, r=regularizer: r(w), "weights.bin", "", nonzero({"l1": l1, "l2": l2})))
    return cases


def keras_gradient(function, pred, target):
    """The value (or values) of function and the gradient of its sum; the data is a column, for Keras averages over the last axis."""
    p = tf.Variable(pred.reshape(-1, 1))
    y = tf.constant(target.reshape(-1, 1)) if target is not None else None
    with tf.GradientTape() as tape:
        value = function(p, y)
    return value.numpy(), tape.gradient(value, p).numpy().reshape(-1)


def keras_bce(p, y):
    return keras.losses.BinaryCrossentropy()(y, p)


def kinks():
    losses = keras.losses
    found = [
        ("keras_hinge", "Hinge", lambda p, y: losses.Hinge()(y, p), 1.0, 1.0),
        ("keras_hinge_minus", "Hinge", lambda p, y: losses.Hinge()(y, p), -1.0, -1.0),
        ("keras_squared_hinge", "SquaredHinge", lambda p, y: losses.SquaredHinge()(y, p), -1.0, -1.0),
        ("keras_l1", "regularizers.L1(1)", lambda p, y: keras.regularizers.L1(1.0)(p), 0.0, 0.0),
    ]
    for at in (0.0, 5e-8, 1e-7, 1.1e-7, 1 - 2.4e-7, 1 - 1.2e-7, 1 - 6e-8, 1.0):
        for label in (0.0, 1.0):
            found.append(("keras_bce_clip", "BinaryCrossentropy, clip to [1e-7, 1-1e-7]", keras_bce, at, label))
    for label in (0.0, 0.5, 1.0):
        for at in (-1.0, 0.0, 5e-8, 1e-7, 1.1e-7, 1 - 6e-8, 1.0, 1 + 1.2e-7, 2.0):
            found.append(("keras_kl_clip", "KLDivergence, clip to [1e-7, 1]", lambda p, y: losses.KLDivergence()(y, p), at, label))
        for at in (0.0, 5e-8, 1e-7, 1.1e-7, 1 - 2.4e-7, 1 - 1.2e-7, 1 - 6e-8, 1.0):
            found.append(("keras_focal_clip", "BinaryFocalCrossentropy, gamma 2, cross-entropy clipped to [1e-7, 1-1e-7]",
                          lambda p, y: losses.BinaryFocalCrossentropy()(y, p), at, label))
    return [kink(keras_gradient, name, FRAMEWORK, *rest) for name, *rest in found]


# ---------------------------------------------------------------- main

if __name__ == "__main__":
    update, loss = map(Path, sys.argv[1:])
    write_updates(update, "keras", keras_cases())
    write_losses(loss, "keras", [c for r in REDUCTIONS for c in keras_loss_cases(r)]
                 + [c for r in ("mean", "none", "weightedmean") for c in keras_likelihood_cases(r)] + probability_cases() + penalty_cases(),
                 keras_gradient, kinks())
