"""TensorFlow's raw training operations."""

import sys
from pathlib import Path

from common import *

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

check_versions(Path(__file__).with_name("tensorflow.txt"))

import tensorflow as tf

FRAMEWORK = f"tensorflow {version('tensorflow')} raw op"


class RawRunner:
    """Calls one tf.raw_ops.ResourceApply* op; `apply` is one of the functions below."""

    def __init__(self, apply, options, names, initial):
        self.apply = apply
        self.given = options
        self.w = tf.Variable(initial)
        start = {"accumulator": options.get("InitialAccumulator", 0.0), "v": options.get("InitialScale", 0.0)}
        self.buffers = {name: tf.Variable(np.full(initial.shape, start.get(name, 0.0), F32)) for name in names}
        self.unused = tf.Variable(np.zeros(initial.shape, F32))  # what an op keeps and our rule does not

    def step(self, gradient, rate, t):
        handles = {name: b.handle for name, b in self.buffers.items()} | {"unused": self.unused.handle}
        self.apply(self.w.handle, handles, tf.constant(gradient), tf.constant(rate), self.given, t)

    def params(self):
        return self.w.numpy().copy()

    def state(self):
        # Like Keras, ResourceApplyKerasMomentum keeps minus the buffer.
        sign = -1 if self.apply == apply_keras_momentum else 1
        return {name: sign * b.numpy() for name, b in self.buffers.items()}

    def options(self):
        return nonzero(self.given)


class RawRowsRunner(RawRunner):
    """Calls one tf.raw_ops.ResourceSparseApply* op, which takes rows that are there twice one after the
    other and not their sum: it is given sums."""

    def __init__(self, apply, options, names, initial):
        super().__init__(apply, options, names, make_table(initial))

    def step(self, gradient, rate, t):
        rows, values = row_gradients(gradient, t)
        unique, places = np.unique(rows, return_inverse=True)
        sums = np.zeros((len(unique), COLUMNS), F32)
        np.add.at(sums, places, values)
        handles = {name: b.handle for name, b in self.buffers.items()} | {"unused": self.unused.handle}
        given = {"var": self.w.handle, "grad": tf.constant(sums), "indices": tf.constant(unique.astype(np.int32))}
        self.apply(given, handles, tf.constant(rate), self.given)


def sparse_proximal_gradient_descent(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyProximalGradientDescent(
        alpha=rate, l1=o.get("L1", 0.0), l2=o.get("L2", 0.0), **given)


def sparse_momentum(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyMomentum(
        accum=s["momentum"], lr=rate, momentum=o["Momentum"], use_nesterov=o.get("Nesterov", False), **given)


def sparse_adagrad(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyAdagradV2(accum=s["accumulator"], lr=rate, epsilon=o["Eps"], **given)


def sparse_proximal_adagrad(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyProximalAdagrad(
        accum=s["accumulator"], lr=rate, l1=o.get("L1", 0.0), l2=o.get("L2", 0.0), **given)


def sparse_centered_rmsprop(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyCenteredRMSProp(
        ms=s["v"], mg=s["mean"], mom=s["momentum"], lr=rate, rho=o["Rho"], momentum=o["Momentum"],
        epsilon=o["Eps"], **given)


def sparse_adadelta(given, s, rate, o):
    tf.raw_ops.ResourceSparseApplyAdadelta(
        accum=s["v"], accum_update=s["delta"], lr=rate, rho=o["Rho"], epsilon=o["Eps"], **given)


def apply_gradient_descent(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyGradientDescent(var=w, alpha=rate, delta=g)


def apply_proximal_gradient_descent(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyProximalGradientDescent(
        var=w, alpha=rate, l1=o.get("L1", 0.0), l2=o.get("L2", 0.0), delta=g)


def apply_momentum(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyMomentum(
        var=w, accum=s["momentum"], lr=rate, grad=g,
        momentum=o["Momentum"], use_nesterov=o.get("Nesterov", False))


def apply_keras_momentum(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=w, accum=s["momentum"], lr=rate, grad=g,
        momentum=o["Momentum"], use_nesterov=o.get("Nesterov", False))


def apply_adagrad(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdagrad(var=w, accum=s["accumulator"], lr=rate, grad=g)


def apply_adagrad_v2(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdagradV2(
        var=w, accum=s["accumulator"], lr=rate, epsilon=o["Eps"], grad=g)


def apply_proximal_adagrad(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyProximalAdagrad(
        var=w, accum=s["accumulator"], lr=rate, l1=o.get("L1", 0.0), l2=o.get("L2", 0.0), grad=g)


def rmsprop_inputs(w, s, g, rate, o):
    return {"var": w, "ms": s["v"], "mom": s.get("momentum", s["unused"]), "lr": rate, "rho": o["Rho"],
            "momentum": o.get("Momentum", 0.0), "epsilon": o["Eps"], "grad": g}


def apply_rmsprop(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyRMSProp(**rmsprop_inputs(w, s, g, rate, o))


def apply_centered_rmsprop(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyCenteredRMSProp(mg=s["mean"], **rmsprop_inputs(w, s, g, rate, o))


def adam_inputs(w, s, g, rate, o, t):
    correct = not o.get("NoBiasCorrection", False)
    return {
        "var": w, "m": s["m"], "v": s["v"], "lr": rate, "grad": g,
        "beta1_power": o["Beta1"] ** t if correct else 0.0,
        "beta2_power": o["Beta2"] ** t if correct else 0.0,
        "beta1": o["Beta1"], "beta2": o["Beta2"], "epsilon": o["Eps"],
    }


def apply_adam(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdam(**adam_inputs(w, s, g, rate, o, t))


def apply_nesterov_adam(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdam(use_nesterov=True, **adam_inputs(w, s, g, rate, o, t))


def apply_adam_with_amsgrad(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdamWithAmsgrad(vhat=s["max_v"], **adam_inputs(w, s, g, rate, o, t))


def apply_adadelta(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdadelta(
        var=w, accum=s["v"], accum_update=s["delta"], lr=rate, rho=o["Rho"], epsilon=o["Eps"], grad=g)


def apply_ada_max(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdaMax(
        var=w, m=s["m"], v=s["u"], beta1_power=o["Beta1"] ** t, lr=rate, beta1=o["Beta1"], beta2=o["Beta2"],
        epsilon=o["Eps"], grad=g)


def ftrl_inputs(w, s, g, rate, o):
    return {"var": w, "accum": s["accumulator"], "linear": s["linear"], "grad": g, "lr": rate, "l1": o.get("L1", 0.0),
            "l2": o.get("L2", 0.0) / 2, "lr_power": -0.5, "multiply_linear_by_lr": o.get("MultiplyLinearByLR", False)}


def apply_ftrl(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyFtrl(**ftrl_inputs(w, s, g, rate, o))


def apply_ftrl_v2(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyFtrlV2(l2_shrinkage=o["L2Shrinkage"] / 2, **ftrl_inputs(w, s, g, rate, o))


def apply_adagrad_da(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdagradDA(
        var=w, gradient_accumulator=s["sum"], gradient_squared_accumulator=s["accumulator"], grad=g, lr=rate,
        l1=o.get("L1", 0.0), l2=o.get("L2", 0.0), global_step=tf.constant(t, tf.int64))


def sign_inputs(w, s, g, rate, o, t):
    decay, steps = o["SignDecay"], o.get("SignDecaySteps")
    left = max(0.0, 1 - (t - 1) / steps) if steps else 1.0
    return {"var": w, "m": s["m"], "lr": rate, "sign_decay": decay * left, "beta": o["Beta"], "grad": g}


def apply_add_sign(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAddSign(alpha=o["Alpha"], **sign_inputs(w, s, g, rate, o, t))


def apply_power_sign(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyPowerSign(logbase=o["LogBase"], **sign_inputs(w, s, g, rate, o, t))


def raw_case(name, rule, apply, buffers=(), runner=RawRunner, columns=0, **options):
    """The op takes float32 scalars, so the options are recorded as those float32 values."""
    rounded = {k: single(v) if isinstance(v, float) else v for k, v in options.items()}

    def start(initial):
        return runner(apply, rounded, buffers, initial)

    return UpdateCase("tf_" + name, FRAMEWORK, rule, start, columns=columns)


def rows_cases():
    def case(name, rule, apply, buffers=(), **options):
        return raw_case("rows_" + name, rule, apply, buffers, RawRowsRunner, COLUMNS, **options)

    elastic = {"L1": 0.01, "L2": 0.02, "Proximal": True}
    centered = {"Rho": 0.9, "Eps": 1e-3, "EpsInside": True, "LRInside": True, "Momentum": 0.9, "Centered": True}
    return [
        case("proximal_sgd_elastic", "SGD", sparse_proximal_gradient_descent, **elastic),
        case("momentum", "Momentum", sparse_momentum, ("momentum",), Momentum=0.9),
        case("momentum_nesterov", "Momentum", sparse_momentum, ("momentum",), Momentum=0.9, Nesterov=True),
        case("adagrad_v2", "AdaGrad", sparse_adagrad, ("accumulator",), InitialAccumulator=0.1, Eps=1e-7),
        case("proximal_adagrad_elastic", "AdaGrad", sparse_proximal_adagrad, ("accumulator",),
             InitialAccumulator=0.1, **elastic),
        case("rmsprop_centered", "RMSprop", sparse_centered_rmsprop, ("v", "mean", "momentum"), **centered),
        case("adadelta", "Adadelta", sparse_adadelta, ("v", "delta"), Rho=0.95, Eps=1e-6),
    ]


def raw_cases():
    momentum, accumulator = ("momentum",), ("accumulator",)
    beta = {"Beta1": 0.9, "Beta2": 0.999, "Eps": 1e-8}
    cases = [
        preset("GradientDescent", raw_case("sgd", "SGD", apply_gradient_descent)),
        preset("Momentum", raw_case("momentum", "Momentum", apply_momentum, momentum, Momentum=0.9)),
        raw_case("momentum_nesterov", "Momentum", apply_momentum, momentum, Momentum=0.9, Nesterov=True),
        preset("KerasMomentum", raw_case("keras_momentum", "Momentum", apply_keras_momentum, momentum,
                                         Momentum=0.9, LRInside=True)),
        raw_case("keras_momentum_nesterov", "Momentum", apply_keras_momentum, momentum,
                 Momentum=0.9, Nesterov=True, LRInside=True),
        raw_case("adagrad", "AdaGrad", apply_adagrad, accumulator, InitialAccumulator=0.1),
        preset("AdagradV2", raw_case("adagrad_v2", "AdaGrad", apply_adagrad_v2, accumulator,
                                     InitialAccumulator=0.1, Eps=1e-7)),
        raw_case("adagrad_v2_eps", "AdaGrad", apply_adagrad_v2, accumulator, InitialAccumulator=1e-6, Eps=1e-3),
        preset("Adam", raw_case("adam", "Adam", apply_adam, ("m", "v"), EpsHat=True, **beta)),
        raw_case("adam_dyadic", "Adam", apply_adam, ("m", "v"), EpsHat=True,
                 Beta1=0.875, Beta2=1 - 2**-10, Eps=1e-7),
        raw_case("adam_no_bias_correction", "Adam", apply_adam, ("m", "v"), NoBiasCorrection=True, **beta),
        raw_case("adam_amsgrad", "Adam", apply_adam_with_amsgrad, ("m", "v", "max_v"),
                 EpsHat=True, AMSGrad=True, **beta),
    ]
    penalties = {"l1": {"L1": 0.01}, "l2": {"L2": 0.02}, "elastic": {"L1": 0.01, "L2": 0.02}}
    for name, penalty in penalties.items():
        cases += [
            preset("ProximalGradientDescent" if name == "elastic" else "", raw_case(
                "proximal_sgd_" + name, "SGD", apply_proximal_gradient_descent, Proximal=True, **penalty)),
            preset("ProximalAdagrad" if name == "elastic" else "", raw_case(
                "proximal_adagrad_" + name, "AdaGrad", apply_proximal_adagrad, accumulator,
                InitialAccumulator=0.1, Proximal=True, **penalty)),
        ]
    for kind in ("tiny", "huge"):
        cases += [extreme(kind, raw_case(
            "proximal_adagrad_elastic", "AdaGrad", apply_proximal_adagrad, accumulator,
            InitialAccumulator=0.1, Proximal=True, **penalties["elastic"]))]
    return cases + rmsprop_cases() + adamax_cases() + nadam_cases() + adadelta_cases() + rows_cases() + ftrl_cases() + adagrad_da_cases() + sign_cases()


def ftrl_cases():
    """The op's l2 and l2_shrinkage are half of ours."""
    buffers, given = ("accumulator", "linear"), {"InitialAccumulator": 0.1, "Proximal": True}
    penalties = {"L1": 0.01, "L2": 2 * 0.02}
    return [
        preset("Ftrl", raw_case("ftrl", "FTRL", apply_ftrl, buffers, **given, **penalties)),
        preset("FtrlV2", raw_case("ftrl_v2", "FTRL", apply_ftrl_v2, buffers, L2Shrinkage=2 * 0.03, **given, **penalties)),
        raw_case("ftrl_multiplied", "FTRL", apply_ftrl, buffers, MultiplyLinearByLR=True, **given, **penalties),
        raw_case("ftrl_v2_multiplied", "FTRL", apply_ftrl_v2, buffers, MultiplyLinearByLR=True, L2Shrinkage=2 * 0.03,
                 **given, **penalties),
        extreme("tiny", raw_case("ftrl", "FTRL", apply_ftrl, buffers, **given, **penalties)),
    ]


def adagrad_da_cases():
    buffers, given = ("sum", "accumulator"), {"InitialAccumulator": 0.1, "Proximal": True}
    return [
        preset("AdagradDA", raw_case("adagrad_da", "AdaGradDA", apply_adagrad_da, buffers, L1=0.01, L2=0.02, **given)),
        raw_case("adagrad_da_plain", "AdaGradDA", apply_adagrad_da, buffers, **given),
        extreme("tiny", raw_case("adagrad_da", "AdaGradDA", apply_adagrad_da, buffers, L1=1e-3, L2=0.02, **given)),
    ]


def sign_cases():
    beta, falling = {"Beta": 0.9}, {"SignDecay": 0.5, "SignDecaySteps": 40.0}
    return [
        preset("AddSign", raw_case("add_sign", "AddSign", apply_add_sign, ("m",), Alpha=1.0, SignDecay=1.0, **beta)),
        raw_case("add_sign_decay", "AddSign", apply_add_sign, ("m",), Alpha=1.5, **falling, **beta),
        preset("PowerSign", raw_case("power_sign", "PowerSign", apply_power_sign, ("m",), LogBase=1.0, SignDecay=1.0,
                                     **beta)),
        raw_case("power_sign_decay", "PowerSign", apply_power_sign, ("m",), LogBase=0.7, **falling, **beta),
    ]


def nadam_cases():
    options = {"EpsHat": True, "ConstantMomentum": True, "SameCorrection": True}
    return [
        preset("NesterovAdam", raw_case("adam_nesterov", "NAdam", apply_nesterov_adam, ("m", "v"),
                                        Beta1=0.9, Beta2=0.999, Eps=1e-8, **options)),
        raw_case("adam_nesterov_dyadic", "NAdam", apply_nesterov_adam, ("m", "v"),
                 Beta1=0.875, Beta2=1 - 2**-10, Eps=1e-3, **options),
    ]


def adadelta_cases():
    return [
        preset("Adadelta", raw_case("adadelta", "Adadelta", apply_adadelta, ("v", "delta"), Rho=0.95, Eps=1e-6)),
        raw_case("adadelta_eps", "Adadelta", apply_adadelta, ("v", "delta"), Rho=0.9, Eps=1e-3),
    ]


def adamax_cases():
    beta = {"Beta1": 0.9, "Beta2": 0.999}
    return [
        preset("AdaMax", raw_case("ada_max", "Adamax", apply_ada_max, ("m", "u"), Eps=1e-7, **beta)),
        raw_case("ada_max_eps", "Adamax", apply_ada_max, ("m", "u"), Eps=1e-3, **beta),
    ]


def rmsprop_cases():
    """The op keeps a buffer in any case; without momentum our rule has none."""
    options = {"Rho": 0.9, "Eps": 1e-7, "EpsInside": True, "LRInside": True}
    momentum = options | {"Momentum": 0.9}
    return [
        raw_case("rmsprop_plain", "RMSprop", apply_rmsprop, ("v",), **options),
        preset("RMSProp", raw_case("rmsprop", "RMSprop", apply_rmsprop, ("v", "momentum"), **momentum)),
        # tf.compat.v1.train.RMSPropOptimizer begins with squares of 1.
        raw_case("rmsprop_initial", "RMSprop", apply_rmsprop, ("v", "momentum"), InitialScale=1.0, **momentum),
        preset("CenteredRMSProp", raw_case("rmsprop_centered", "RMSprop", apply_centered_rmsprop,
                                           ("v", "mean", "momentum"), Centered=True, **momentum)),
        raw_case("rmsprop_centered_eps", "RMSprop", apply_centered_rmsprop, ("v", "mean", "momentum"),
                 Centered=True, **momentum | {"Eps": 1e-3}),
    ]


if __name__ == "__main__":
    write_updates(Path(sys.argv[1]), "tensorflow", raw_cases())
