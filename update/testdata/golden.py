"""Write golden vectors for optimizer updates and losses by running the real frameworks.

Install exactly these (Python 3.11; CPU is enough, no accelerator is used):

    pip install torch==2.15.0 tensorflow==2.21.0 keras==3.15.1 jax==0.10.2 optax==0.2.8 numpy==2.4.6

Run:

    python golden.py OUTPUT_DIRECTORY

It writes OUTPUT_DIRECTORY/update (optimizer trajectories) and OUTPUT_DIRECTORY/loss
(losses, penalties, linear models). Every .bin file is float32, little endian, no header.

update/gradients.bin   60 rows x 257 columns, row t-1 is the gradient of step t
update/tiny.bin        the same, for gradients of about 1e-20 and 1e-38, whose squares underflow
update/huge.bin        the same, for gradients up to 1e22, whose squares overflow
update/params.bin      257 initial parameters
update/cases.json      one object and line per case, see write_update_case
update/<case>.bin      parameters after each recorded step, then each state buffer
loss/*.bin             inputs (named in "pred" and "target") and one file per case:
                       gradient, then the losses of the elements if reduction is "none"
loss/cases.json        one object per case, see write_loss_case
loss/kinks.json        the gradient each framework picks where none is unique
loss/linear.json       linear models: data, values and gradients in float64

Nothing is random beyond one fixed seed: two runs give the same bytes. PyTorch's AVX2 and
AVX-512 kernels agree bit for bit here; a CPU without either may change last bits.
"""

import inspect
import json
import math
import os
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

PINNED = {
    "torch": "2.15.0",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "jax": "0.10.2",
    "optax": "0.2.8",
    "numpy": "2.4.6",
}
for _package, _wanted in PINNED.items():
    _found = version(_package).split("+")[0]
    assert _found == _wanted, f"{_package} {_wanted} is needed, {_found} is installed"

# PyTorch can do without triton, whose LLVM clashes with TensorFlow's in one process.
sys.modules["triton"] = None

import numpy as np
import torch
import tensorflow as tf
import keras
import jax.numpy as jnp
import optax

PYTORCH = f"pytorch {PINNED['torch']}"
KERAS = f"keras {PINNED['keras']} on tensorflow {PINNED['tensorflow']}"
RAW_OP = f"tensorflow {PINNED['tensorflow']} raw op"
OPTAX = f"optax {PINNED['optax']} on jax {PINNED['jax']}"

SEED = 20240607
STEPS = 60
SIZE = 257
RECORDED = (1, 2, 3, 10, 30, 60)
PEAK = {"SGD": 0.05, "Momentum": 0.05, "AdaGrad": 0.05, "Adam": 0.01}

F32 = np.dtype("<f4")


# ---------------------------------------------------------------- small helpers


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


def make_schedule(peak: float) -> list[float]:
    """Ten warm-up steps, constant to step 30, then a cosine down to a tenth."""
    rates = []
    for t in range(1, STEPS + 1):
        factor = min(t / 10, 1.0)
        if t > 30:
            factor = 0.1 + 0.45 * (1 + math.cos(math.pi * (t - 30) / 30))
        rates.append(single(peak * factor))
    return rates


# ---------------------------------------------------------------- runners
#
# A runner holds one parameter vector and its optimizer. It has
#   step(gradient, rate, t)  one update, t counting from 1
#   params()                 the parameters now
#   state()                  the optimizer's buffers under the names of cases.json


class TorchRunner:
    def __init__(self, optimizer_class, arguments, initial, l1=0.0, loss_scale=0.0):
        self.w = torch.nn.Parameter(torch.tensor(initial))
        self.optimizer = optimizer_class([self.w], **arguments)
        self.default_rate = self.optimizer.param_groups[0]["lr"]
        self.l1 = l1
        self.scaler = None
        if loss_scale and arguments["fused"]:
            self.optimizer.grad_scale = torch.tensor(loss_scale)
            self.optimizer.found_inf = torch.tensor(0.0)
        elif loss_scale:
            self.scaler = torch.amp.GradScaler("cpu", init_scale=loss_scale)
            self.scaler.scale(torch.zeros(1))  # before, it has no scale to take away

    def step(self, gradient, rate, t):
        self.w.grad = torch.tensor(gradient)
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        if self.l1:
            # PyTorch flips the sign of this sum where it maximizes, though not that of weight_decay.
            l1 = -self.l1 if self.optimizer.param_groups[0]["maximize"] else self.l1
            self.w.grad += l1 * torch.sign(self.w.detach())
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        if self.scaler:
            self.scaler.update()

    def params(self):
        return self.w.detach().numpy().copy()

    def state(self):
        names = {
            "momentum_buffer": "momentum",
            "sum": "accumulator",
            "exp_avg": "m",
            "exp_avg_sq": "v",
            "max_exp_avg_sq": "max_v",
        }
        held = self.optimizer.state[self.w]
        return {ours: held[theirs].numpy() for theirs, ours in names.items() if held.get(theirs) is not None}

    def options(self):
        """The options as the optimizer itself holds them, defaults included."""
        group = self.optimizer.param_groups[0]
        decay = "WeightDecay" if isinstance(self.optimizer, torch.optim.AdamW) else "L2"
        beta1, beta2 = group.get("betas", (0, 0))
        return nonzero({
            decay: group["weight_decay"],
            "L1": self.l1,
            "Maximize": group["maximize"],
            "Momentum": group.get("momentum"),
            "Dampening": group.get("dampening"),
            "Nesterov": group.get("nesterov"),
            "LRDecay": group.get("lr_decay"),
            "InitialAccumulator": group.get("initial_accumulator_value"),
            "Beta1": beta1,
            "Beta2": beta2,
            "Eps": group.get("eps"),
            "AMSGrad": group.get("amsgrad"),
        })


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
        buffers = {"m": o._momentums[0].numpy(), "v": o._velocities[0].numpy()}
        if o.amsgrad:
            buffers["max_v"] = o._velocity_hats[0].numpy()
        return buffers

    def options(self):
        """The options as the optimizer itself holds them, defaults included."""
        config = self.optimizer.get_config()
        return nonzero({
            "WeightDecay": config["weight_decay"],
            "Momentum": config.get("momentum"),
            "Nesterov": config.get("nesterov"),
            "LRInside": bool(config.get("momentum")),
            "InitialAccumulator": config.get("initial_accumulator_value"),
            "Beta1": config.get("beta_1"),
            "Beta2": config.get("beta_2"),
            "Eps": config.get("epsilon"),
            "EpsInside": isinstance(self.optimizer, keras.optimizers.Adagrad),
            "EpsHat": isinstance(self.optimizer, keras.optimizers.Adam),
            "AMSGrad": config.get("amsgrad"),
        })


class RawRunner:
    """Calls one tf.raw_ops.ResourceApply* op; `apply` is one of the functions below."""

    def __init__(self, apply, options, names, initial):
        self.apply = apply
        self.given = options
        self.w = tf.Variable(initial)
        start = options.get("InitialAccumulator", 0.0)
        self.buffers = {name: tf.Variable(np.full(SIZE, start, F32)) for name in names}

    def step(self, gradient, rate, t):
        handles = {name: b.handle for name, b in self.buffers.items()}
        self.apply(self.w.handle, handles, tf.constant(gradient), tf.constant(rate), self.given, t)

    def params(self):
        return self.w.numpy().copy()

    def state(self):
        # Like Keras, ResourceApplyKerasMomentum keeps minus the buffer.
        sign = -1 if self.given.get("LRInside") else 1
        return {name: sign * b.numpy() for name, b in self.buffers.items()}

    def options(self):
        return nonzero(self.given)


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


def apply_adam_with_amsgrad(w, s, g, rate, o, t):
    tf.raw_ops.ResourceApplyAdamWithAmsgrad(vhat=s["max_v"], **adam_inputs(w, s, g, rate, o, t))


class OptaxRunner:
    """optax.scale_by_adam followed by w -= lr*update."""

    def __init__(self, options, initial):
        self.given = options
        self.w = jnp.asarray(initial)
        self.transform = optax.scale_by_adam(
            b1=options["Beta1"], b2=options["Beta2"],
            eps=options.get("Eps", 0.0), eps_root=options.get("EpsRoot", 0.0))
        self.held = self.transform.init(self.w)

    def step(self, gradient, rate, t):
        update, self.held = self.transform.update(jnp.asarray(gradient), self.held, self.w)
        self.w = self.w - jnp.float32(rate) * update

    def params(self):
        return np.array(self.w)

    def state(self):
        return {"m": np.array(self.held.mu), "v": np.array(self.held.nu)}

    def options(self):
        return nonzero(self.given)


# ---------------------------------------------------------------- update cases


@dataclass
class UpdateCase:
    name: str
    framework: str
    rule: str
    start: Callable[[np.ndarray], Any]
    grad_scale: float = 1.0
    gradients: str = "gradients.bin"


def torch_case(name, rule, optimizer_class, l1=0.0, loss_scale=0.0, fused=False, **arguments):
    """The for-loop implementation of PyTorch, or the fused one where asked for.

    The one is given its gradients by a GradScaler, the other divides by the scale itself.
    """
    arguments |= {"fused": True} if fused else {"foreach": False, "fused": False}

    def start(initial):
        return TorchRunner(optimizer_class, arguments, initial, l1, loss_scale)

    scale = 1 / loss_scale if loss_scale else 1.0
    return UpdateCase("torch_" + name, PYTORCH, rule, start, scale)


def keras_case(name, rule, optimizer_class, **arguments):
    def start(initial):
        return KerasRunner(optimizer_class, arguments, initial)

    return UpdateCase("keras_" + name, KERAS, rule, start)


def raw_case(name, rule, apply, buffers=(), **options):
    """The op takes float32 scalars, so the options are recorded as those float32 values."""
    rounded = {k: single(v) if isinstance(v, float) else v for k, v in options.items()}

    def start(initial):
        return RawRunner(apply, rounded, buffers, initial)

    return UpdateCase("tf_" + name, RAW_OP, rule, start)


def optax_case(name, **options):
    return UpdateCase("optax_" + name, OPTAX, "Adam", lambda initial: OptaxRunner(options, initial))


def torch_cases():
    sgd, adagrad = torch.optim.SGD, torch.optim.Adagrad
    adam, adamw = torch.optim.Adam, torch.optim.AdamW
    return [
        torch_case("sgd", "SGD", sgd),
        torch_case("sgd_l2", "SGD", sgd, weight_decay=0.01),
        torch_case("sgd_maximize", "SGD", sgd, maximize=True),
        torch_case("sgd_l2_maximize", "SGD", sgd, weight_decay=0.01, maximize=True),
        torch_case("sgd_l1", "SGD", sgd, l1=0.01),
        torch_case("sgd_elastic", "SGD", sgd, l1=0.01, weight_decay=0.02),
        torch_case("momentum", "Momentum", sgd, momentum=0.9),
        torch_case("momentum_dampening", "Momentum", sgd, momentum=0.9, dampening=0.5),
        torch_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True),
        torch_case("momentum_l2", "Momentum", sgd, momentum=0.9, weight_decay=0.01),
        torch_case("momentum_maximize", "Momentum", sgd, momentum=0.9, maximize=True),
        torch_case("momentum_nesterov_l2", "Momentum", sgd, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch_case("momentum_dampening_l2_maximize", "Momentum", sgd, momentum=0.9, dampening=0.5,
                   weight_decay=0.01, maximize=True),
        torch_case("adagrad", "AdaGrad", adagrad),
        torch_case("adagrad_lr_decay", "AdaGrad", adagrad, lr_decay=0.01),
        torch_case("adagrad_initial", "AdaGrad", adagrad, initial_accumulator_value=0.1),
        torch_case("adagrad_l2", "AdaGrad", adagrad, weight_decay=0.01),
        torch_case("adagrad_eps", "AdaGrad", adagrad, eps=1e-6),
        torch_case("adagrad_maximize", "AdaGrad", adagrad, maximize=True),
        torch_case("adagrad_all", "AdaGrad", adagrad, lr_decay=0.01, initial_accumulator_value=0.1,
                   weight_decay=0.01, eps=1e-6, maximize=True),
        torch_case("adam", "Adam", adam),
        torch_case("adam_l2", "Adam", adam, weight_decay=0.01),
        torch_case("adam_amsgrad", "Adam", adam, amsgrad=True),
        torch_case("adam_amsgrad_l2", "Adam", adam, amsgrad=True, weight_decay=0.01),
        torch_case("adam_maximize", "Adam", adam, maximize=True),
        torch_case("adam_l2_maximize", "Adam", adam, weight_decay=0.01, maximize=True),
        torch_case("adam_betas", "Adam", adam, betas=(0.8, 0.99)),
        torch_case("adam_beta1_low", "Adam", adam, betas=(0.3, 0.999)),
        torch_case("adam_beta1_zero", "Adam", adam, betas=(0.0, 0.999)),
        torch_case("adam_l1", "Adam", adam, l1=0.01),
        torch_case("adam_elastic", "Adam", adam, l1=0.01, weight_decay=0.02),
        torch_case("adamw", "Adam", adamw),
        torch_case("adamw_amsgrad", "Adam", adamw, amsgrad=True),
        torch_case("adamw_maximize", "Adam", adamw, maximize=True),
        torch_case("adamw_decay", "Adam", adamw, weight_decay=0.1),
        torch_case("adamw_eps", "Adam", adamw, eps=1e-6),
        torch_case("adamw_fused", "Adam", adamw, fused=True),
        torch_case("adamw_fused_grad_scale", "Adam", adamw, fused=True, loss_scale=1024.0),
        torch_case("sgd_fused_grad_scale", "SGD", sgd, fused=True, loss_scale=1024.0),
        torch_case("momentum_l1", "Momentum", sgd, momentum=0.9, l1=0.01),
        torch_case("momentum_elastic", "Momentum", sgd, momentum=0.9, l1=0.01, weight_decay=0.02),
        torch_case("momentum_elastic_maximize", "Momentum", sgd, momentum=0.9, l1=0.01, weight_decay=0.02,
                   maximize=True),
        torch_case("momentum_nesterov_l1", "Momentum", sgd, momentum=0.9, nesterov=True, l1=0.01),
        torch_case("momentum_nesterov_elastic", "Momentum", sgd, momentum=0.9, nesterov=True, l1=0.01,
                   weight_decay=0.02),
        torch_case("momentum_nesterov_maximize", "Momentum", sgd, momentum=0.9, nesterov=True, maximize=True),
        torch_case("momentum_nesterov_elastic_maximize", "Momentum", sgd, momentum=0.9, nesterov=True, l1=0.01,
                   weight_decay=0.02, maximize=True),
        torch_case("adagrad_l1", "AdaGrad", adagrad, l1=0.01),
        torch_case("adagrad_elastic", "AdaGrad", adagrad, l1=0.01, weight_decay=0.02),
        torch_case("adam_amsgrad_l1", "Adam", adam, amsgrad=True, l1=0.01),
        torch_case("adam_amsgrad_elastic", "Adam", adam, amsgrad=True, l1=0.01, weight_decay=0.02),
        torch_case("adam_amsgrad_maximize", "Adam", adam, amsgrad=True, maximize=True),
        torch_case("adam_amsgrad_elastic_maximize", "Adam", adam, amsgrad=True, l1=0.01, weight_decay=0.02,
                   maximize=True),
        torch_case("adamw_amsgrad_maximize", "Adam", adamw, amsgrad=True, maximize=True),
    ] + torch_scaled_cases() + [case for kind in ("tiny", "huge") for case in torch_extreme_cases(kind)]


def torch_scaled_cases():
    """Loss scales whose reciprocals are no float32, with weight decay, which is not to be scaled."""
    sgd, adagrad = torch.optim.SGD, torch.optim.Adagrad
    adam, adamw = torch.optim.Adam, torch.optim.AdamW
    common = {"loss_scale": 3.0, "weight_decay": 0.01}
    fused = {"loss_scale": 100.0, "weight_decay": 0.01, "fused": True}
    return [
        torch_case("sgd_scale_l2", "SGD", sgd, **common),
        torch_case("sgd_scale_elastic_maximize", "SGD", sgd, l1=0.01, maximize=True, **common),
        torch_case("momentum_scale_l2", "Momentum", sgd, momentum=0.9, **common),
        torch_case("momentum_nesterov_scale_l2", "Momentum", sgd, momentum=0.9, nesterov=True, **common),
        torch_case("adagrad_scale_l2", "AdaGrad", adagrad, **common),
        torch_case("adam_scale_l2", "Adam", adam, **common),
        torch_case("adam_amsgrad_scale_elastic_maximize", "Adam", adam, amsgrad=True, l1=0.01, maximize=True, **common),
        torch_case("adamw_scale", "Adam", adamw, **common),
        torch_case("sgd_fused_scale_l2", "SGD", sgd, **fused),
        torch_case("momentum_nesterov_fused_scale_l2", "Momentum", sgd, momentum=0.9, nesterov=True, **fused),
        torch_case("adagrad_fused_scale_l2", "AdaGrad", adagrad, **fused),
        torch_case("adam_fused_scale_l2", "Adam", adam, **fused),
        torch_case("adam_amsgrad_fused_scale_l2_maximize", "Adam", adam, amsgrad=True, maximize=True, **fused),
        torch_case("adamw_fused_scale", "Adam", adamw, **fused),
    ]


def extreme(kind, case):
    return replace(case, name=f"{case.name}_{kind}", gradients=f"{kind}.bin")


def torch_extreme_cases(kind):
    sgd, adagrad = torch.optim.SGD, torch.optim.Adagrad
    adam, adamw = torch.optim.Adam, torch.optim.AdamW
    return [extreme(kind, case) for case in [
        torch_case("sgd", "SGD", sgd),
        torch_case("momentum", "Momentum", sgd, momentum=0.9),
        torch_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True),
        torch_case("adagrad", "AdaGrad", adagrad),
        torch_case("adam", "Adam", adam),
        torch_case("adam_amsgrad", "Adam", adam, amsgrad=True),
        torch_case("adamw", "Adam", adamw),
        torch_case("adamw_fused", "Adam", adamw, fused=True),
    ]]


def keras_cases():
    sgd, adagrad = keras.optimizers.SGD, keras.optimizers.Adagrad
    adam, adamw = keras.optimizers.Adam, keras.optimizers.AdamW
    return [
        keras_case("sgd", "SGD", sgd),
        keras_case("sgd_weight_decay", "SGD", sgd, weight_decay=0.01),
        keras_case("momentum", "Momentum", sgd, momentum=0.9),
        keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True),
        keras_case("momentum_weight_decay", "Momentum", sgd, momentum=0.9, weight_decay=0.01),
        keras_case("adagrad", "AdaGrad", adagrad),
        # A small start and a big eps tell eps inside the root from eps outside.
        keras_case("adagrad_eps", "AdaGrad", adagrad, initial_accumulator_value=1e-6, epsilon=1e-3),
        keras_case("adagrad_weight_decay", "AdaGrad", adagrad, weight_decay=0.01),
        keras_case("adam", "Adam", adam),
        keras_case("adam_dyadic", "Adam", adam, beta_1=0.875, beta_2=1 - 2**-10),
        keras_case("adam_amsgrad", "Adam", adam, amsgrad=True),
        keras_case("adam_weight_decay", "Adam", adam, weight_decay=0.01),
        keras_case("adamw", "Adam", adamw),
        keras_case("adamw_amsgrad", "Adam", adamw, amsgrad=True),
        keras_case("momentum_nesterov_weight_decay", "Momentum", sgd, momentum=0.9, nesterov=True,
                   weight_decay=0.01),
        extreme("tiny", keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True)),
        extreme("huge", keras_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True)),
        extreme("tiny", keras_case("adagrad", "AdaGrad", adagrad)),
        extreme("huge", keras_case("adagrad", "AdaGrad", adagrad)),
        extreme("tiny", keras_case("adam_dyadic", "Adam", adam, beta_1=0.875, beta_2=1 - 2**-10)),
    ]


def raw_cases():
    momentum, accumulator = ("momentum",), ("accumulator",)
    beta = {"Beta1": 0.9, "Beta2": 0.999, "Eps": 1e-8}
    cases = [
        raw_case("sgd", "SGD", apply_gradient_descent),
        raw_case("momentum", "Momentum", apply_momentum, momentum, Momentum=0.9),
        raw_case("momentum_nesterov", "Momentum", apply_momentum, momentum, Momentum=0.9, Nesterov=True),
        raw_case("keras_momentum", "Momentum", apply_keras_momentum, momentum, Momentum=0.9, LRInside=True),
        raw_case("keras_momentum_nesterov", "Momentum", apply_keras_momentum, momentum,
                 Momentum=0.9, Nesterov=True, LRInside=True),
        raw_case("adagrad", "AdaGrad", apply_adagrad, accumulator, InitialAccumulator=0.1),
        raw_case("adagrad_v2", "AdaGrad", apply_adagrad_v2, accumulator, InitialAccumulator=0.1, Eps=1e-7),
        raw_case("adagrad_v2_eps", "AdaGrad", apply_adagrad_v2, accumulator, InitialAccumulator=1e-6, Eps=1e-3),
        raw_case("adam", "Adam", apply_adam, ("m", "v"), EpsHat=True, **beta),
        raw_case("adam_dyadic", "Adam", apply_adam, ("m", "v"), EpsHat=True,
                 Beta1=0.875, Beta2=1 - 2**-10, Eps=1e-7),
        raw_case("adam_no_bias_correction", "Adam", apply_adam, ("m", "v"), NoBiasCorrection=True, **beta),
        raw_case("adam_amsgrad", "Adam", apply_adam_with_amsgrad, ("m", "v", "max_v"),
                 EpsHat=True, AMSGrad=True, **beta),
    ]
    penalties = {"l1": {"L1": 0.01}, "l2": {"L2": 0.02}, "elastic": {"L1": 0.01, "L2": 0.02}}
    for name, penalty in penalties.items():
        cases += [
            raw_case("proximal_sgd_" + name, "SGD", apply_proximal_gradient_descent,
                     Proximal=True, **penalty),
            raw_case("proximal_adagrad_" + name, "AdaGrad", apply_proximal_adagrad, accumulator,
                     InitialAccumulator=0.1, Proximal=True, **penalty),
        ]
    for kind in ("tiny", "huge"):
        cases += [extreme(kind, raw_case(
            "proximal_adagrad_elastic", "AdaGrad", apply_proximal_adagrad, accumulator,
            InitialAccumulator=0.1, Proximal=True, **penalties["elastic"]))]
    return cases


def optax_cases():
    return [
        optax_case("adam", Beta1=0.9, Beta2=0.999, Eps=1e-8),
        optax_case("adam_eps_root", Beta1=0.9, Beta2=0.999, Eps=1e-8, EpsRoot=1e-6),
        optax_case("adam_eps_root_only", Beta1=0.9, Beta2=0.999, EpsRoot=1e-6),
        extreme("tiny", optax_case("adam_dyadic_eps_root", Beta1=0.875, Beta2=1 - 2**-10, Eps=1e-8, EpsRoot=1e-6)),
    ]


def write_update_case(folder, case, inputs, initial):
    gradients = inputs[case.gradients]
    runner = case.start(initial)
    rates = make_schedule(PEAK[case.rule])
    recorded = []
    for t, rate in enumerate(rates, start=1):
        runner.step(gradients[t - 1], rate, t)
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
        "options": {"LR": PEAK[case.rule], **runner.options()},
        **nonzero({"defaultLR": getattr(runner, "default_rate", None)}),
        "lr": rates,
        "gradients": case.gradients,
        "gradScale": case.grad_scale,
        "steps": list(RECORDED),
        "state": list(state),
    }


def write_updates(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    inputs = {"gradients.bin": make_gradients(rng)}
    initial = make_params(rng)
    rng = np.random.default_rng(SEED + 3)
    inputs["tiny.bin"] = make_extreme_gradients(rng, [1e-20, 1e-38])
    # 5e19 is small enough for sums of (1 - beta2)*g*g to stay finite and too big for g*g.
    inputs["huge.bin"] = make_extreme_gradients(rng, [1e15, 5e19, 1e22])
    for name, values in (inputs | {"params.bin": initial}).items():
        write_array(folder / name, values)
    cases = torch_cases() + keras_cases() + raw_cases() + optax_cases()
    assert len({c.name for c in cases}) == len(cases)
    lines = [json.dumps(write_update_case(folder, c, inputs, initial), allow_nan=False) for c in cases]
    (folder / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


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
    }


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


def torch_reduced(elements, reduction):
    return {"mean": torch.mean, "sum": torch.sum, "none": lambda x: x}[reduction](elements)


def torch_hinge(pred, target, zero_one, power, reduction):
    sign = 2 * target - 1 if zero_one else target
    return torch_reduced(torch.clamp(1 - sign * pred, min=0) ** power, reduction)


def torch_penalty(w, l1, l2):
    return l1 * w.abs().sum() + 0.5 * l2 * (w * w).sum()


def torch_loss_cases(reduction):
    F = torch.nn.functional
    numbers = ("predictions.bin", "targets.bin")
    probabilities, logits = ("probs.bin", "labels01.bin"), ("logits.bin", "labels01.bin")

    def case(name, loss, function, files, **options):
        return LossCase(f"torch_{name}_{reduction}", PYTORCH, loss, reduction, function, *files, options)

    cases = [
        case("mse", "MSE", lambda p, y: F.mse_loss(p, y, reduction=reduction), numbers),
        case("bce", "BCE", lambda p, y: F.binary_cross_entropy(p, y, reduction=reduction),
             probabilities, clamp="torch"),
        case("logits", "BCEWithLogits",
             lambda p, y: F.binary_cross_entropy_with_logits(p, y, reduction=reduction), logits),
    ]
    for weight in (3.0, 0.25):
        cases.append(case(
            f"logits_weight_{weight:g}", "BCEWithLogits",
            lambda p, y, weight=weight: F.binary_cross_entropy_with_logits(
                p, y, pos_weight=torch.tensor(weight), reduction=reduction),
            logits, posWeight=weight))
    for name, loss, power in (("hinge", "Hinge", 1), ("squared_hinge", "SquaredHinge", 2)):
        for zero_one, labels in ((False, "labelspm.bin"), (True, "labelsbinary.bin")):
            cases.append(case(
                name + ("_01" if zero_one else ""), loss,
                lambda p, y, zero_one=zero_one, power=power: torch_hinge(p, y, zero_one, power, reduction),
                ("logits.bin", labels), zeroOne=zero_one))
    return cases


def keras_loss_cases(reduction):
    name_of = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}[reduction]
    losses = keras.losses

    def case(name, loss, made, pred, target, **options):
        return LossCase(f"keras_{name}_{reduction}", KERAS, loss, reduction,
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


def penalty_cases():
    cases = []
    for loss, l1, l2 in (("L1", 0.01, 0.0), ("L2", 0.0, 0.02), ("ElasticNet", 0.01, 0.02)):
        options = nonzero({"l1": l1, "l2": l2})
        # Keras leaves out the factor 1/2 of the squares.
        regularizer = keras.regularizers.L1L2(l1=l1, l2=l2 / 2)
        cases += [
            LossCase(f"torch_{loss.lower()}", PYTORCH, loss, "sum",
                     lambda w, _, l1=l1, l2=l2: torch_penalty(w, l1, l2), "weights.bin", "", options),
            LossCase(f"keras_{loss.lower()}", KERAS, loss, "sum",
                     lambda w, _, r=regularizer: r(w), "weights.bin", "", options),
        ]
    return cases


def torch_gradient(function, pred, target):
    """The value (or values) of function and the gradient of its sum."""
    p = torch.tensor(pred, requires_grad=True)
    value = function(p, torch.tensor(target) if target is not None else None)
    value.sum().backward()
    return value.detach().numpy(), p.grad.numpy()


def keras_gradient(function, pred, target):
    """As torch_gradient; the data is a column, for Keras averages over the last axis."""
    p = tf.Variable(pred.reshape(-1, 1))
    y = tf.constant(target.reshape(-1, 1)) if target is not None else None
    with tf.GradientTape() as tape:
        value = function(p, y)
    return value.numpy(), tape.gradient(value, p).numpy().reshape(-1)


def write_loss_case(folder, case, inputs):
    run = torch_gradient if case.framework == PYTORCH else keras_gradient
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


# ---------------------------------------------------------------- kinks


def kink(name, framework, expression, function, at, label):
    run = torch_gradient if framework == PYTORCH else keras_gradient
    pred, target = np.array([at], F32), np.array([label], F32)
    value, gradient = run(function, pred, target)
    return {
        "name": name, "framework": framework, "expression": expression,
        "pred": single(at), "target": label,
        "value": float(np.sum(value)), "gradient": float(gradient[0]),
    }


def keras_bce(p, y):
    return keras.losses.BinaryCrossentropy()(y, p)


def kinks():
    bce = "BinaryCrossentropy, clip to [1e-7, 1-1e-7]"
    found = [
        kink("torch_clamp_hinge", PYTORCH, "clamp(1-y*p, min=0)",
             lambda p, y: torch.clamp(1 - y * p, min=0), 1.0, 1.0),
        kink("torch_relu_hinge", PYTORCH, "relu(1-y*p)", lambda p, y: torch.relu(1 - y * p), 1.0, 1.0),
        kink("torch_maximum_hinge", PYTORCH, "maximum(1-y*p, 0)",
             lambda p, y: torch.maximum(1 - y * p, torch.zeros(1)), 1.0, 1.0),
        kink("torch_hinge_embedding", PYTORCH, "hinge_embedding_loss, y=-1",
             torch.nn.functional.hinge_embedding_loss, 1.0, -1.0),
        kink("keras_hinge", KERAS, "Hinge", lambda p, y: keras.losses.Hinge()(y, p), 1.0, 1.0),
        kink("keras_hinge_minus", KERAS, "Hinge", lambda p, y: keras.losses.Hinge()(y, p), -1.0, -1.0),
        kink("keras_squared_hinge", KERAS, "SquaredHinge",
             lambda p, y: keras.losses.SquaredHinge()(y, p), -1.0, -1.0),
        kink("torch_abs", PYTORCH, "abs(p)", lambda p, y: p.abs(), 0.0, 0.0),
        kink("keras_l1", KERAS, "regularizers.L1(1)", lambda p, y: keras.regularizers.L1(1.0)(p), 0.0, 0.0),
    ]
    for at in (0.0, 5e-8, 1e-7, 1.1e-7, 1 - 2.4e-7, 1 - 1.2e-7, 1 - 6e-8, 1.0):
        for label in (0.0, 1.0):
            found.append(kink("keras_bce_clip", KERAS, bce, keras_bce, at, label))
    return found


def write_losses(folder: Path) -> None:
    inputs = make_loss_inputs()
    for name, values in inputs.items():
        write_array(folder / name, values)
    cases = [c for r in REDUCTIONS for c in torch_loss_cases(r) + keras_loss_cases(r)] + penalty_cases()
    write_json(folder / "cases.json", [write_loss_case(folder, c, inputs) for c in cases])
    write_json(folder / "kinks.json", kinks())


# ---------------------------------------------------------------- linear models

LINEAR_LOSSES = {
    "Squared": ("y", lambda f, y: ((f - y) ** 2).mean()),
    "Logistic": ("labels01", lambda f, y: torch.nn.functional.binary_cross_entropy_with_logits(f, y)),
    "Hinge": ("labelspm", lambda f, y: torch.clamp(1 - y * f, min=0).mean()),
    "SquaredHinge": ("labelspm", lambda f, y: (torch.clamp(1 - y * f, min=0) ** 2).mean()),
}


def make_linear_data():
    rng = np.random.default_rng(SEED + 2)
    x = rng.normal(size=(37, 5)) * np.array([1.0, 0.3, 2.0, 1.0, 5.0]) + np.array([0, 1.0, 0, -2.0, 0])
    w, b = rng.normal(size=5), 0.37
    noisy = x @ w + b + rng.normal(size=37) * 2
    return {
        "x": x, "w": w * 0.8, "b": b, "y": noisy,
        "labels01": (noisy > 0).astype(float), "labelspm": np.where(noisy > 0, 1.0, -1.0),
    }


def linear_case(data, loss, intercept):
    """Value and gradient at (w, b), or at w alone with b = 0; the intercept comes last."""
    label, function = LINEAR_LOSSES[loss]
    w = torch.tensor(data["w"], dtype=torch.float64, requires_grad=True)
    b = torch.tensor(data["b"] if intercept else 0.0, dtype=torch.float64, requires_grad=True)
    prediction = torch.tensor(data["x"]) @ w + b
    value = function(prediction, torch.tensor(data[label]))
    value.backward()
    gradient = w.grad.tolist() + ([b.grad.item()] if intercept else [])
    return {"loss": loss, "intercept": intercept, "target": label,
            "value": value.item(), "gradient": gradient}


def write_linear(folder: Path) -> None:
    data = make_linear_data()
    lists = {name: np.asarray(values).tolist() for name, values in data.items()}
    cases = [linear_case(data, loss, i) for loss in LINEAR_LOSSES for i in (True, False)]
    write_json(folder / "linear.json", {"framework": PYTORCH, **lists, "cases": cases})


# ---------------------------------------------------------------- main


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python golden.py OUTPUT_DIRECTORY")
    torch.set_num_threads(1)
    update, loss = Path(sys.argv[1], "update"), Path(sys.argv[1], "loss")
    for folder in (update, loss):
        folder.mkdir(parents=True, exist_ok=True)
    write_updates(update)
    write_losses(loss)
    write_linear(loss)


if __name__ == "__main__":
    main()
