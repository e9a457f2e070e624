"""PyTorch's cases."""

import sys
from pathlib import Path

from common import *

check_versions(Path(__file__).with_name("torch.txt"))

import inspect

import dadaptation
import prodigyopt
import schedulefree
import torch

FRAMEWORK = f"pytorch {version('torch').split('+')[0]}"


class TorchRunner:
    def __init__(self, optimizer_class, arguments, initial, l1=0.0, loss_scale=0.0):
        self.w = torch.nn.Parameter(torch.tensor(initial))
        self.optimizer = optimizer_class([self.w], **arguments)
        self.default_rate = self.optimizer.param_groups[0]["lr"]
        self.l1 = l1
        self.scaler = None
        if loss_scale and arguments.get("fused"):
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
            "square_avg": "v",
            "grad_avg": "mean",
            "exp_inf": "u",
            "acc_delta": "delta",
            "ax": "ax",
            "prev": "prev",
            "step_size": "step",
            "row_var": "row_var",
            "col_var": "col_var",
            "variance": "variance",
        }
        held = self.optimizer.state[self.w]
        return {ours: held[theirs].numpy() for theirs, ours in names.items() if held.get(theirs) is not None}

    def options(self):
        """The options as the optimizer itself holds them, defaults included."""
        group = self.optimizer.param_groups[0]
        if isinstance(self.optimizer, torch.optim.Adafactor):
            floor, least = group["eps"]
            return nonzero({
                "WeightDecay": group["weight_decay"],
                "Maximize": group["maximize"],
                "DecayRate": -group["beta2_decay"],
                "EpsFloor": floor or torch.finfo(torch.float32).eps,
                "EpsParam": least,
                "ClipThreshold": group["d"],
                "RelativeStep": True,
            })
        decay = "WeightDecay" if group.get("decoupled_weight_decay") else "L2"
        if isinstance(self.optimizer, torch.optim.ASGD):
            return nonzero({"L2": group["weight_decay"], "Maximize": group["maximize"], "Lambda": group["lambd"],
                            "Alpha": group["alpha"], "T0": group["t0"]})
        beta1, beta2 = group.get("betas", (0, 0))
        if isinstance(self.optimizer, torch.optim.Rprop):
            return self.rprop_options(group)
        return nonzero({
            decay: group.get("weight_decay"),
            "L1": self.l1,
            "Maximize": group.get("maximize"),
            "Momentum": group.get("momentum"),
            "Dampening": group.get("dampening"),
            "Nesterov": group.get("nesterov"),
            "LRDecay": group.get("lr_decay"),
            "InitialAccumulator": group.get("initial_accumulator_value"),
            "Beta1": beta1,
            "Beta2": beta2,
            "Rho": group.get("alpha", group.get("rho")),
            "Centered": group.get("centered"),
            "Eps": group.get("eps"),
            "EpsInside": isinstance(self.optimizer, torch.optim.Adamax),
            "AMSGrad": group.get("amsgrad"),
            "MomentumDecay": group.get("momentum_decay"),
            "EpsHat": isinstance(self.optimizer, (torch.optim.RAdam, torch.optim.SparseAdam)),
            "Threshold": isinstance(self.optimizer, torch.optim.RAdam) and 5.0,
        })

    def rprop_options(self, group):
        """Step sizes begin at the rate of the first step."""
        (minus, plus), (least, most) = group["etas"], group["step_sizes"]
        return nonzero({"LR": make_schedule(0.01)[0], "Maximize": group["maximize"], "EtaMinus": minus, "EtaPlus": plus,
                        "MinStep": least, "MaxStep": most, "ClampFirst": True})


class TorchRowsRunner(TorchRunner):
    """Takes steps with sparse gradients of a table."""

    def __init__(self, optimizer_class, arguments, initial):
        super().__init__(optimizer_class, arguments, make_table(initial))

    def step(self, gradient, rate, t):
        rows, values = row_gradients(gradient, t)
        self.w.grad = torch.sparse_coo_tensor(
            torch.tensor(rows[None]), torch.tensor(values), self.w.shape, check_invariants=True)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()


def torch_rows_case(name, rule, optimizer_class, **arguments):
    def start(initial):
        return TorchRowsRunner(optimizer_class, arguments, initial)

    return UpdateCase("torch_rows_" + name, FRAMEWORK, rule, start, columns=COLUMNS)


class ScheduleFreeRunner(TorchRunner):
    """An optimizer of the package schedulefree, by the authors of the method."""

    def __init__(self, optimizer_class, arguments, initial):
        super().__init__(optimizer_class, arguments, initial)
        self.optimizer.train()

    def options(self):
        group = self.optimizer.param_groups[0]
        options = super().options()
        if "betas" in group and group["weight_decay"]:
            options["WeightDecay"] = options.pop("L2")
        return options | nonzero({
            "WarmupSteps": group.get("warmup_steps"),
            "SilentSGDPhase": group.get("silent_sgd_phase"),
            "WeightPower": group["r"],
            "WeightLRPower": group["weight_lr_power"],
        })


class ProdigyRunner(TorchRunner):
    """The optimizer of the package prodigyopt, by the authors of the method."""

    def state(self):
        held = self.optimizer.state[self.w]
        return {name: held[name].numpy() for name in ("p0", "s")} | super().state()

    def numbers(self):
        group = self.optimizer.param_groups[0]
        return {"d": group["d"], "numerator": group["d_numerator"], "d_max": group["d_max"]}

    def options(self):
        group = self.optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        return nonzero({
            "WeightDecay" if group["decouple"] else "L2": group["weight_decay"],
            "Beta1": beta1,
            "Beta2": beta2,
            "Beta3": group["beta3"],
            "Eps": group["eps"],
            "D0": group["d0"],
            "DCoef": group["d_coef"],
            "GrowthRate": group["growth_rate"] if math.isfinite(group["growth_rate"]) else 0.0,
            "NoBiasCorrection": not group["use_bias_correction"],
            "SafeguardWarmup": group["safeguard_warmup"],
        })


class DAdaptRunner(TorchRunner):
    """The optimizer of the package dadaptation, by the authors of the method. It prints that its decay is
    decoupled."""

    def __init__(self, arguments, initial):
        arguments = dict(arguments)
        layer = arguments.pop("layer_scale", None)
        super().__init__(dadaptation.DAdaptAdam, arguments, initial)
        if layer is not None:
            self.optimizer.param_groups[0]["layer_scale"] = layer

    def state(self):
        return super().state() | {"s": self.optimizer.state[self.w]["s"].numpy()}

    def numbers(self):
        group = self.optimizer.param_groups[0]
        return {"d": group["d"], "numerator": group["numerator_weighted"]}

    def options(self):
        group = self.optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        return nonzero({
            "WeightDecay" if group["decouple"] else "L2": group["weight_decay"],
            "Beta1": beta1,
            "Beta2": beta2,
            "Eps": group["eps"],
            "D0": self.optimizer.d0,
            "GrowthRate": group["growth_rate"] if math.isfinite(group["growth_rate"]) else 0.0,
            "LayerScale": group["layer_scale"] if group["layer_scale"] != 1 else 0.0,
            "NoBiasCorrection": not group["use_bias_correction"],
        })


def dadapt_cases():
    def case(name, **arguments):
        framework = f"dadaptation {version('dadaptation')} on {FRAMEWORK}"
        return UpdateCase("torch_" + name, framework, "DAdaptAdamW", lambda initial: DAdaptRunner(arguments, initial))

    return [
        preset("DAdaptAdam", case("dadapt_adam")),
        case("dadapt_adam_l2", weight_decay=0.01, d0=1e-4, growth_rate=1.05, layer_scale=0.5),
        case("dadapt_adamw_corrected", betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, decouple=True, use_bias_correction=True,
             d0=1e-3),
        case("dadapt_adam_limited", d0=1e-3, growth_rate=1.1),
    ]


def prodigy_case(name, **arguments):
    framework = f"prodigyopt {version('prodigyopt')} on {FRAMEWORK}"

    def start(initial):
        return ProdigyRunner(prodigyopt.Prodigy, arguments, initial)

    return UpdateCase("torch_" + name, framework, "Prodigy", start)


def prodigy_cases():
    return [
        preset("Prodigy", prodigy_case("prodigy")),
        prodigy_case("prodigy_corrected", betas=(0.8, 0.99), beta3=0.9, eps=1e-6, weight_decay=0.1, d0=1e-3, d_coef=0.5,
                     use_bias_correction=True, safeguard_warmup=True),
        prodigy_case("prodigy_limited", d0=1e-3, growth_rate=1.1),
        replace(prodigy_case("prodigy_still", d0=1e-2, growth_rate=1.02, weight_decay=0.1), gradients="still.bin"),
    ]


def schedule_free_case(name, rule, optimizer_class, schedule=falling, **arguments):
    framework = f"schedulefree {version('schedulefree')} on {FRAMEWORK}"

    def start(initial):
        return ScheduleFreeRunner(optimizer_class, {"foreach": False} | arguments, initial)

    return UpdateCase("torch_" + name, framework, rule, start, schedule=schedule)


def schedule_free_cases():
    sgd, adamw = schedulefree.SGDScheduleFree, schedulefree.AdamWScheduleFree
    return [
        preset("SGDScheduleFree", schedule_free_case("schedule_free_sgd", "ScheduleFreeSGD", sgd)),
        schedule_free_case("schedule_free_sgd_warm_up", "ScheduleFreeSGD", sgd, momentum=0.75, weight_decay=0.01,
                           warmup_steps=20, r=0.75),
        preset("AdamWScheduleFree", schedule_free_case("schedule_free_adamw", "ScheduleFreeAdamW", adamw)),
        schedule_free_case("schedule_free_adamw_warm_up", "ScheduleFreeAdamW", adamw, betas=(0.75, 0.99), eps=1e-3,
                           weight_decay=0.1, warmup_steps=15, r=1.5, weight_lr_power=1.0),
    ] + schedule_free_radam_cases()


def schedule_free_radam_cases():
    """Weights follow a product of the rate and its rectification, whose greatest is the last where the rate stays."""
    radam, at = schedulefree.RAdamScheduleFree, {"rule": "ScheduleFreeRAdam", "schedule": constant}
    return [
        preset("RAdamScheduleFree", schedule_free_case("schedule_free_radam", optimizer_class=radam, **at)),
        schedule_free_case("schedule_free_radam_loud", optimizer_class=radam, betas=(0.75, 0.9), eps=1e-3,
                           weight_decay=0.1, r=1.5, silent_sgd_phase=False, **at),
        schedule_free_case("schedule_free_radam_powers", optimizer_class=radam, betas=(0.9, 0.95), r=0.75,
                           weight_lr_power=1.0, **at),
    ]


def torch_case(name, rule, optimizer_class, l1=0.0, loss_scale=0.0, fused=False, **arguments):
    """The for-loop implementation of PyTorch, or the fused one where asked for.

    The one is given its gradients by a GradScaler, the other divides by the scale itself.
    """
    if fused:
        arguments["fused"] = True
    else:
        arguments["foreach"] = False
        if "fused" in inspect.signature(optimizer_class).parameters:
            arguments["fused"] = False

    def start(initial):
        return TorchRunner(optimizer_class, arguments, initial, l1, loss_scale)

    scale = 1 / loss_scale if loss_scale else 1.0
    return UpdateCase("torch_" + name, FRAMEWORK, rule, start, scale)


def torch_cases():
    sgd, adagrad = torch.optim.SGD, torch.optim.Adagrad
    adam, adamw = torch.optim.Adam, torch.optim.AdamW
    return [
        preset("SGD", torch_case("sgd", "SGD", sgd)),
        torch_case("sgd_l2", "SGD", sgd, weight_decay=0.01),
        torch_case("sgd_maximize", "SGD", sgd, maximize=True),
        torch_case("sgd_l2_maximize", "SGD", sgd, weight_decay=0.01, maximize=True),
        torch_case("sgd_l1", "SGD", sgd, l1=0.01),
        torch_case("sgd_elastic", "SGD", sgd, l1=0.01, weight_decay=0.02),
        preset("Momentum", torch_case("momentum", "Momentum", sgd, momentum=0.9)),
        torch_case("momentum_dampening", "Momentum", sgd, momentum=0.9, dampening=0.5),
        torch_case("momentum_nesterov", "Momentum", sgd, momentum=0.9, nesterov=True),
        torch_case("momentum_l2", "Momentum", sgd, momentum=0.9, weight_decay=0.01),
        torch_case("momentum_maximize", "Momentum", sgd, momentum=0.9, maximize=True),
        torch_case("momentum_nesterov_l2", "Momentum", sgd, momentum=0.9, nesterov=True, weight_decay=0.01),
        torch_case("momentum_dampening_l2_maximize", "Momentum", sgd, momentum=0.9, dampening=0.5,
                   weight_decay=0.01, maximize=True),
        preset("Adagrad", torch_case("adagrad", "AdaGrad", adagrad)),
        torch_case("adagrad_lr_decay", "AdaGrad", adagrad, lr_decay=0.01),
        torch_case("adagrad_initial", "AdaGrad", adagrad, initial_accumulator_value=0.1),
        torch_case("adagrad_l2", "AdaGrad", adagrad, weight_decay=0.01),
        torch_case("adagrad_eps", "AdaGrad", adagrad, eps=1e-6),
        torch_case("adagrad_maximize", "AdaGrad", adagrad, maximize=True),
        torch_case("adagrad_all", "AdaGrad", adagrad, lr_decay=0.01, initial_accumulator_value=0.1,
                   weight_decay=0.01, eps=1e-6, maximize=True),
        preset("Adam", torch_case("adam", "Adam", adam)),
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
        preset("AdamW", torch_case("adamw", "Adam", adamw)),
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
    ] + rmsprop_cases() + adamax_cases() + nadam_cases() + radam_cases() + adadelta_cases() + schedule_free_cases() + prodigy_cases() + dadapt_cases() + rprop_cases() + adafactor_cases() + asgd_cases() + torch_scaled_cases() + rows_cases() + [case for kind in ("tiny", "huge") for case in torch_extreme_cases(kind)]


def rows_cases():
    adam, adagrad = torch.optim.SparseAdam, torch.optim.Adagrad
    return [
        torch_rows_case("sgd", "SGD", torch.optim.SGD),
        preset("SparseAdam", torch_rows_case("sparse_adam", "Adam", adam)),
        torch_rows_case("sparse_adam_maximize", "Adam", adam, betas=(0.8, 0.99), eps=1e-3, maximize=True),
        torch_rows_case("adagrad", "AdaGrad", adagrad),
        torch_rows_case("adagrad_all", "AdaGrad", adagrad, lr_decay=0.01, initial_accumulator_value=0.1, eps=1e-6,
                        maximize=True),
    ]


def rmsprop_cases():
    rmsprop = torch.optim.RMSprop
    both = {"momentum": 0.9, "centered": True}
    return [
        preset("RMSprop", torch_case("rmsprop", "RMSprop", rmsprop)),
        torch_case("rmsprop_centered", "RMSprop", rmsprop, centered=True),
        torch_case("rmsprop_momentum", "RMSprop", rmsprop, momentum=0.9),
        torch_case("rmsprop_l2", "RMSprop", rmsprop, weight_decay=0.01),
        torch_case("rmsprop_both_l2_maximize", "RMSprop", rmsprop, weight_decay=0.01, maximize=True, **both),
        torch_case("rmsprop_alpha_eps", "RMSprop", rmsprop, alpha=0.9, eps=1e-3),
        extreme("tiny", torch_case("rmsprop", "RMSprop", rmsprop)),
        extreme("huge", torch_case("rmsprop", "RMSprop", rmsprop)),
        extreme("tiny", torch_case("rmsprop_momentum", "RMSprop", rmsprop, momentum=0.9)),
    ]


def adamax_cases():
    adamax = torch.optim.Adamax
    return [
        preset("Adamax", torch_case("adamax", "Adamax", adamax)),
        torch_case("adamax_l2_maximize", "Adamax", adamax, weight_decay=0.01, maximize=True),
        torch_case("adamax_betas_eps", "Adamax", adamax, betas=(0.3, 0.9), eps=1e-3),
        extreme("tiny", torch_case("adamax", "Adamax", adamax)),
        extreme("huge", torch_case("adamax", "Adamax", adamax)),
    ]


def nadam_cases():
    nadam = torch.optim.NAdam
    return [
        preset("NAdam", torch_case("nadam", "NAdam", nadam)),
        torch_case("nadam_l2_maximize", "NAdam", nadam, weight_decay=0.01, maximize=True),
        torch_case("nadam_decoupled", "NAdam", nadam, weight_decay=0.01, decoupled_weight_decay=True),
        torch_case("nadam_betas_decay", "NAdam", nadam, betas=(0.5, 0.99), eps=1e-3, momentum_decay=0.3),
        extreme("tiny", torch_case("nadam", "NAdam", nadam)),
        extreme("huge", torch_case("nadam", "NAdam", nadam)),
    ]


def radam_cases():
    radam = torch.optim.RAdam
    return [
        preset("RAdam", torch_case("radam", "RAdam", radam)),
        torch_case("radam_l2_maximize", "RAdam", radam, weight_decay=0.01, maximize=True),
        torch_case("radam_decoupled", "RAdam", radam, weight_decay=0.01, decoupled_weight_decay=True),
        torch_case("radam_betas_eps", "RAdam", radam, betas=(0.5, 0.95), eps=1e-3),
        extreme("tiny", torch_case("radam", "RAdam", radam)),
        extreme("huge", torch_case("radam", "RAdam", radam)),
    ]


def adafactor_cases():
    adafactor = torch.optim.Adafactor
    default = torch_case("adafactor", "Adafactor", adafactor)
    other = torch_case("adafactor_options", "Adafactor", adafactor, beta2_decay=-0.6, eps=(1e-2, 0.5), d=1.25, weight_decay=0.1)
    return [
        preset("Adafactor", default),
        other,
        torch_case("adafactor_maximize", "Adafactor", adafactor, eps=(1e-12, 1e3), d=2.0, maximize=True),
        matrix(default),
        matrix(other),
    ]


def adadelta_cases():
    adadelta = torch.optim.Adadelta
    return [
        preset("Adadelta", torch_case("adadelta", "Adadelta", adadelta)),
        torch_case("adadelta_l2_maximize", "Adadelta", adadelta, weight_decay=0.01, maximize=True),
        torch_case("adadelta_rho_eps", "Adadelta", adadelta, rho=0.99, eps=1e-3),
        extreme("tiny", torch_case("adadelta", "Adadelta", adadelta)),
        extreme("huge", torch_case("adadelta", "Adadelta", adadelta)),
    ]


def rprop_cases():
    """No tiny gradients: PyTorch takes the product of two for 0 where float32 does."""
    rprop = torch.optim.Rprop
    return [
        preset("Rprop", torch_case("rprop", "Rprop", rprop)),
        torch_case("rprop_clamped_maximize", "Rprop", rprop, etas=(0.7, 1.5), step_sizes=(0.002, 0.01), maximize=True),
        extreme("huge", torch_case("rprop", "Rprop", rprop)),
    ]


def asgd_cases():
    """Rates that stay: PyTorch's eta is of the rate of the step before."""
    asgd = torch.optim.ASGD
    return [steady(case) for case in (
        preset("ASGD", torch_case("asgd", "ASGD", asgd)),
        torch_case("asgd_mean", "ASGD", asgd, lambd=0.01, alpha=0.6, t0=20.5),
        torch_case("asgd_l2_maximize", "ASGD", asgd, lambd=0.1, t0=5, weight_decay=0.01, maximize=True),
        extreme("tiny", torch_case("asgd_mean", "ASGD", asgd, lambd=0.01, t0=20)),
        extreme("huge", torch_case("asgd_mean", "ASGD", asgd, lambd=0.01, t0=20)),
    )]


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


# ---------------------------------------------------------------- losses


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
        return LossCase(f"torch_{name}_{reduction}", FRAMEWORK, loss, reduction, function, *files, options)

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


def torch_likelihood_cases(reduction):
    F = torch.nn.functional
    numbers, logits = ("predictions.bin", "targets.bin"), ("logits.bin", "labels01.bin")
    logs, rates = ("logrates.bin", "counts.bin"), ("rates.bin", "counts.bin")
    weight = torch.tensor(importance())

    def case(name, loss, function, files, **options):
        return LossCase(f"torch_{name}_{reduction}", FRAMEWORK, loss, reduction,
                        lambda p, y: function(p, y, reduction=reduction), *files, nonzero(options))

    def gaussian(p, y, **options):
        return F.gaussian_nll_loss(p[:SIZE], y, p[SIZE:], **options)

    def weighted(name, loss, function, files, **options):
        return case(f"{name}_weights", loss, lambda p, y, reduction: function(p, y, weight=weight, reduction=reduction),
                    files, weights="importance.bin", **options)

    cases = [
        case("mae", "MAE", F.l1_loss, numbers),
        case("soft_margin", "SoftMargin", F.soft_margin_loss, ("predictions.bin", "labelspm.bin")),
        case("gaussian", "GaussianNLL", gaussian, ("normals.bin", "targets.bin"), eps=1e-6),
        case("gaussian_full", "GaussianNLL", lambda p, y, reduction: gaussian(p, y, full=True, eps=1e-3, reduction=reduction),
             ("normals.bin", "targets.bin"), eps=1e-3, full=True),
        case("kl", "KLDivergence", F.kl_div, ("guesses.bin", "shares.bin")),
        case("kl_log", "KLDivergence", lambda p, y, reduction: F.kl_div(p, y, log_target=True, reduction=reduction),
             ("guesses.bin", "logshares.bin"), log=True),
        weighted("mse", "MSE", F.mse_loss, numbers, weighted=True),
        weighted("mae", "MAE", F.l1_loss, numbers, weighted=True),
        weighted("huber", "Huber", F.huber_loss, numbers, delta=1.0),
        weighted("bce", "BCE", F.binary_cross_entropy, ("probs.bin", "labels01.bin"), clamp="torch"),
        weighted("logits", "BCEWithLogits", F.binary_cross_entropy_with_logits, logits),
    ]
    for delta in (1.0, 0.3):
        cases.append(case(f"huber_{delta:g}", "Huber", lambda p, y, reduction, delta=delta: F.huber_loss(
            p, y, delta=delta, reduction=reduction), numbers, delta=delta))
    for beta in (1.0, 0.3, 0.0):
        cases.append(case(f"smooth_l1_{beta:g}", "SmoothL1", lambda p, y, reduction, beta=beta: F.smooth_l1_loss(
            p, y, beta=beta, reduction=reduction), numbers, beta=beta))
    for files, log in ((logs, True), (rates, False)):
        for full in (False, True):
            cases.append(case(
                f"poisson_{'log' if log else 'rates'}{'_full' if full else ''}", "PoissonNLL",
                lambda p, y, reduction, log=log, full=full: F.poisson_nll_loss(p, y, log_input=log, full=full, reduction=reduction),
                files, log=log, full=full, eps=1e-8))
    return cases


def batch_mean_cases():
    def batch_mean(p, y):
        return torch.nn.functional.kl_div(p.reshape(ROWS, COLUMNS), y.reshape(ROWS, COLUMNS), reduction="batchmean")

    return [LossCase("torch_kl_batchmean", FRAMEWORK, "KLDivergence", "batchmean", batch_mean, "guesses.bin", "shares.bin",
                     {"rows": ROWS})]


def penalty_cases():
    return [LossCase(f"torch_{loss.lower()}", FRAMEWORK, loss, "sum",
                     lambda w, _, l1=l1, l2=l2: torch_penalty(w, l1, l2), "weights.bin", "", nonzero({"l1": l1, "l2": l2}))
            for loss, l1, l2 in PENALTIES]


def torch_gradient(function, pred, target):
    """The value (or values) of function and the gradient of its sum."""
    p = torch.tensor(pred, requires_grad=True)
    value = function(p, torch.tensor(target) if target is not None else None)
    value.sum().backward()
    return value.detach().numpy(), p.grad.numpy()


def kinks():
    found = [
        ("torch_clamp_hinge", "clamp(1-y*p, min=0)", lambda p, y: torch.clamp(1 - y * p, min=0), 1.0, 1.0),
        ("torch_relu_hinge", "relu(1-y*p)", lambda p, y: torch.relu(1 - y * p), 1.0, 1.0),
        ("torch_maximum_hinge", "maximum(1-y*p, 0)", lambda p, y: torch.maximum(1 - y * p, torch.zeros(1)), 1.0, 1.0),
        ("torch_hinge_embedding", "hinge_embedding_loss, y=-1", torch.nn.functional.hinge_embedding_loss, 1.0, -1.0),
        ("torch_abs", "abs(p)", lambda p, y: p.abs(), 0.0, 0.0),
    ]
    return [kink(torch_gradient, name, FRAMEWORK, *rest) for name, *rest in found]


# ---------------------------------------------------------------- linear models

LINEAR_LOSSES = {
    "Squared": ("y", lambda f, y: ((f - y) ** 2).mean()),
    "Logistic": ("labels01", lambda f, y: torch.nn.functional.binary_cross_entropy_with_logits(f, y)),
    "Hinge": ("labelspm", lambda f, y: torch.clamp(1 - y * f, min=0).mean()),
    "SquaredHinge": ("labelspm", lambda f, y: (torch.clamp(1 - y * f, min=0) ** 2).mean()),
    "Poisson": ("counts", torch.nn.functional.poisson_nll_loss),
    "Huber": ("y", lambda f, y: torch.nn.functional.huber_loss(f, y, delta=0.75)),
    "Absolute": ("y", torch.nn.functional.l1_loss),
    "Quantile": ("y", lambda f, y: torch.maximum(0.25 * (y - f), 0.75 * (f - y)).mean()),
    "LogCosh": ("y", lambda f, y: (torch.logaddexp(f - y, y - f) - np.log(2)).mean()),
}


def make_linear_data():
    rng = np.random.default_rng(SEED + 2)
    x = rng.normal(size=(37, 5)) * np.array([1.0, 0.3, 2.0, 1.0, 5.0]) + np.array([0, 1.0, 0, -2.0, 0])
    w, b = rng.normal(size=5), 0.37
    noisy = x @ w + b + rng.normal(size=37) * 2
    return {
        "x": x, "w": w * 0.8, "b": b, "y": noisy,
        "labels01": (noisy > 0).astype(float), "labelspm": np.where(noisy > 0, 1.0, -1.0),
        "counts": np.abs(np.round(noisy)),
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
    write_json(folder / "linear.json", {"framework": FRAMEWORK, **lists, "cases": cases})


# ---------------------------------------------------------------- main

if __name__ == "__main__":
    torch.set_num_threads(1)
    update, loss = map(Path, sys.argv[1:])
    write_updates(update, "torch", torch_cases())
    write_losses(loss, "torch", [c for r in REDUCTIONS for c in torch_loss_cases(r)]
                 + [c for r in ("mean", "none") for c in torch_likelihood_cases(r)] + batch_mean_cases() + penalty_cases(), torch_gradient, kinks())
    write_linear(loss)
