"""Optax's cases."""

import sys
from pathlib import Path

from common import *

os.environ["JAX_PLATFORMS"] = "cpu"

check_versions(Path(__file__).with_name("optax.txt"))

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import optax
import optax.contrib

FRAMEWORK = f"optax {version('optax')} on jax {version('jax')}"


class OptaxRunner:
    """One of optax's own functions, whose learning rate is a schedule."""

    def __init__(self, function, arguments, names, initial):
        self.w = jnp.asarray(initial)
        self.arguments = {name: p.default for name, p in inspect.signature(function).parameters.items()} | arguments
        self.function, self.names = function, names
        self.rates = jnp.zeros(STEPS, F32)
        scheduled = {} if function is optax.rprop else {"learning_rate": lambda count: self.rates[count]}
        self.transform = function(**scheduled, **arguments)
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
        if self.function is optax.adafactor:
            scales = a["multiply_by_parameter_scale"]
            return nonzero({
                "DecayRate": a["decay_rate"],
                "EpsSquare": a["eps"],
                "ClipThreshold": a["clipping_threshold"],
                "EpsParam": scales and 1e-3,  # of transform.scale_by_param_block_rms
                "NoParamScale": not scales,
                "MinDim": a["min_dim_size_to_factor"],
                "Momentum": a["momentum"],
                "Decay": a["weight_decay_rate"],
            })
        momentum, rmsprop = a.get("momentum", a.get("beta")), "eps_in_sqrt" in a
        decay = {optax.lamb: "Decay", optax.adadelta: "L2", optax.lars: "L2", optax.novograd: "Decay", optax.contrib.madgrad: "L2"}.get(self.function, "WeightDecay")
        return nonzero({
            decay: a.get("weight_decay"),
            "Momentum": momentum,
            "Nesterov": a.get("nesterov") and self.function not in (optax.nadam, optax.nadamw),
            "LRInside": rmsprop or self.function is optax.lars,
            "Trust": a.get("trust_coefficient"),
            "InitialAccumulator": a.get("initial_accumulator_value", self.function is optax.yogi and 1e-6),
            "InitialScale": a.get("initial_scale"),
            "Rho": a.get("decay", a.get("rho")),
            "Centered": a.get("centered"),
            "Gamma": a.get("gamma"),
            "Clip": a.get("clip_threshold"),
            "BiasCorrected": self.function is optax.contrib.sophia,
            "Beta1": a.get("b1"),
            "Beta2": a.get("b2"),
            "TrustEps" if self.function is optax.lars else "Eps": a.get("eps"),
            "EpsInside": a.get("eps_in_sqrt", "initial_accumulator_value" in a or self.function in (optax.adamax, optax.adamaxw)),
            "EpsRoot": a.get("eps_root"),
            "OptaxAhead": self.function is optax.adan,
            **self.mixture(),
            **self.step_sizes(),
            "NoClipping": not a.get("use_clipping", True),
            "AMSGrad": self.function is optax.amsgrad,
            "CorrectedMax": self.function is optax.amsgrad,
            "Threshold": a.get("threshold"),
            "ConstantMomentum": self.function in (optax.nadam, optax.nadamw),
        })

    def step_sizes(self):
        """Those of Rprop, which begin at a rate that is no schedule."""
        a = self.arguments
        if self.function is not optax.rprop:
            return {}
        return {"LR": a["learning_rate"], "EtaMinus": a["eta_minus"], "EtaPlus": a["eta_plus"],
                "MinStep": a["min_step_size"], "MaxStep": a["max_step_size"], "OptaxLate": True}

    def mixture(self):
        """What AdEMAMix has besides: schedules are given as partial(function, end, steps, ...)."""
        b3, alpha = self.arguments.get("b3"), self.arguments.get("alpha")
        if self.function is not optax.contrib.ademamix:
            return {"Beta3": b3, "Alpha": alpha}
        end = lambda x: x.args[0] if callable(x) else x
        steps = lambda x: float(x.args[1]) if callable(x) else 0.0
        return {"Beta3": end(b3), "Alpha": end(alpha), "WarmupBeta3": steps(b3), "WarmupAlpha": steps(alpha)}


class ScheduleFreeRunner(OptaxRunner):
    """One of the functions whose warm-up is an argument, beside a learning rate that is a number."""

    def __init__(self, function, arguments, initial, rate):
        self.default_rate = inspect.signature(function).parameters["learning_rate"].default
        square = {"nu": ("v", 1)} if "b2" in inspect.signature(function).parameters else {}
        super().__init__(partial(self.at, function, rate), arguments, square, initial)
        self.function = function
        self.arguments = {name: p.default for name, p in inspect.signature(function).parameters.items()} | arguments

    def state(self):
        return {"v": np.array(self.held.base_optimizer_state[0].nu)} if self.names else {}

    @staticmethod
    def at(function, rate, learning_rate, **arguments):
        return function(learning_rate=rate, **arguments)

    def options(self):
        a = self.arguments
        adamw = self.function is optax.contrib.schedule_free_adamw
        return nonzero({
            "WeightDecay" if adamw else "L2": a["weight_decay"],
            "Beta1" if adamw else "Momentum": a["b1"],
            "Beta2": a.get("b2"),
            "Eps": a.get("eps"),
            "WarmupSteps": a["warmup_steps"],
            "WarmupFromZero": True,
            "WeightLRPower": a["weight_lr_power"],
        })


def schedule_free_case(name, rule, function, **arguments):
    def start(initial):
        return ScheduleFreeRunner(function, arguments, initial, PEAK.get(rule, 0.01))

    return UpdateCase("optax_" + name, FRAMEWORK, rule, start, schedule=constant)


def schedule_free_cases():
    sgd, adamw = optax.contrib.schedule_free_sgd, optax.contrib.schedule_free_adamw
    return [
        preset("ScheduleFreeSGD", schedule_free_case("schedule_free_sgd", "ScheduleFreeSGD", sgd)),
        schedule_free_case("schedule_free_sgd_warm_up", "ScheduleFreeSGD", sgd, b1=0.75, weight_decay=0.01,
                           warmup_steps=20),
        preset("ScheduleFreeAdamW", schedule_free_case("schedule_free_adamw", "ScheduleFreeAdamW", adamw)),
        schedule_free_case("schedule_free_adamw_warm_up", "ScheduleFreeAdamW", adamw, b1=0.75, b2=0.99, eps=1e-3,
                           weight_decay=0.1, warmup_steps=15, weight_lr_power=1.0),
    ]


def rising_alpha(end, steps, count):
    return end * min(1.0, (int(count) + 1) / steps)


def rising_b3(end, steps, b1, count):
    """From b1 to end, so that half-lives rise in proportion."""
    part = min(1.0, (int(count) + 1) / steps)
    return math.exp(1 / ((1 - part) / math.log(b1) + part / math.log(end)))


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
    ] + adamax_cases() + nadam_cases() + radam_cases() + adadelta_cases() + yogi_cases() + amsgrad_cases() + adopt_cases() + ademamix_cases() + adan_cases() + lars_cases() + novograd_cases() + prodigy_cases() + dadapt_cases() + schedule_free_cases() + rprop_cases() + sign_cases() + adafactor_cases() + sophia_cases() + madgrad_cases()


class ProdigyRunner(OptaxRunner):
    """Prodigy's arguments and state have names of their own, and its learning rate is 1 if nobody gives it."""

    default_rate = 1.0

    def state(self):
        held = self.held
        return {"p0": np.array(held.params0), "s": np.array(held.grad_sum), "m": np.array(held.exp_avg),
                "v": np.array(held.exp_avg_sq)}

    def numbers(self):
        return {"d": self.held.estim_lr, "numerator": self.held.numerator_weighted, "d_max": self.held.estim_lr}

    def options(self):
        a = self.arguments
        (beta1, beta2), beta3 = a["betas"], a["beta3"]
        return nonzero({"WeightDecay": a["weight_decay"], "Beta1": beta1, "Beta2": beta2, "Beta3": beta3, "Eps": a["eps"],
                        "D0": a["estim_lr0"], "DCoef": a["estim_lr_coef"], "SafeguardWarmup": a["safeguard_warmup"]})


def prodigy_cases():
    def case(name, **arguments):
        return UpdateCase("optax_" + name, FRAMEWORK, "Prodigy",
                          lambda initial: ProdigyRunner(optax.contrib.prodigy, arguments, {}, initial))

    return [
        preset("Prodigy", case("prodigy")),
        case("prodigy_decay", betas=(0.8, 0.99), beta3=0.9, eps=1e-6, weight_decay=0.1, estim_lr0=1e-3, estim_lr_coef=0.5,
             safeguard_warmup=True),
    ]


class DAdaptRunner(OptaxRunner):
    """D-Adapt AdamW's arguments and state have names of their own, and its learning rate is 1 if nobody gives it."""

    default_rate = 1.0

    def state(self):
        held = self.held
        return {"m": np.array(held.exp_avg), "v": np.array(held.exp_avg_sq), "s": np.array(held.grad_sum)}

    def numbers(self):
        return {"d": self.held.estim_lr, "numerator": self.held.numerator_weighted}

    def options(self):
        a = self.arguments
        beta1, beta2 = a["betas"]
        return nonzero({"WeightDecay": a["weight_decay"], "Beta1": beta1, "Beta2": beta2, "Eps": a["eps"], "D0": a["estim_lr0"]})


def dadapt_cases():
    def case(name, **arguments):
        return UpdateCase("optax_" + name, FRAMEWORK, "DAdaptAdamW",
                          lambda initial: DAdaptRunner(optax.contrib.dadapt_adamw, arguments, {}, initial))

    return [
        preset("DAdaptAdamW", case("dadapt_adamw")),
        case("dadapt_adamw_decay", betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, estim_lr0=1e-3),
    ]


def sophia_cases():
    """Without estimates, with which sophia.py goes on."""
    state, none = {"mu": ("m", 1), "nu": ("h", 1)}, optax.set_to_zero()
    return [
        preset("Sophia", optax_case("sophia", "Sophia", optax.contrib.sophia, state, hessian_diagonal_fn=none)),
        optax_case("sophia_eps", "Sophia", optax.contrib.sophia, state, hessian_diagonal_fn=none, b1=0.8, eps=0.05, clip_threshold=0.5, weight_decay=0.0),
    ]


def madgrad_cases():
    state = {name: (name, 1) for name in ("s", "grad_sum_sq", "x0")}
    return [
        preset("MADGRAD", optax_case("madgrad", "MADGRAD", optax.contrib.madgrad, state)),
        optax_case("madgrad_decay", "MADGRAD", optax.contrib.madgrad, state, momentum=0.5, eps=1e-3, weight_decay=0.001),
    ]


def nadam_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1)}
    return [
        preset("NAdam", optax_case("nadam", "NAdam", optax.nadam, moments)),
        optax_case("nadam_eps_root", "NAdam", optax.nadam, moments, b1=0.5, b2=0.99, eps=1e-3, eps_root=1e-6),
        preset("NAdamW", optax_case("nadamw", "NAdam", optax.nadamw, moments)),
    ]


def radam_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1)}
    return [
        preset("RAdam", optax_case("radam", "RAdam", optax.radam, moments)),
        optax_case("radam_eps_root", "RAdam", optax.radam, moments, b1=0.5, b2=0.95, eps=1e-3, eps_root=1e-6),
        optax_case("radam_nesterov", "RAdam", optax.radam, moments, b2=0.95, nesterov=True),
    ]


def adafactor_cases():
    vector, factors = {"v": ("variance", 1)}, {"v_row": ("row_var", 1), "v_col": ("col_var", 1)}
    mean = {"ema": ("momentum", 1)}
    other = {"decay_rate": 0.6, "multiply_by_parameter_scale": False, "clipping_threshold": 0.5, "eps": 1e-4}
    momentum = {"min_dim_size_to_factor": 16, "multiply_by_parameter_scale": False, "momentum": 0.9, "weight_decay_rate": 0.01}

    def adafactor(name, buffers, **arguments):
        return optax_case(name, "Adafactor", optax.adafactor, buffers, **arguments)

    return [
        preset("Adafactor", adafactor("adafactor", vector)),
        adafactor("adafactor_options", vector, **other),
        adafactor("adafactor_momentum", mean | vector, clipping_threshold=None, momentum=0.9, weight_decay_rate=0.01),
        matrix(adafactor("adafactor", factors, min_dim_size_to_factor=16)),
        matrix(adafactor("adafactor_options", factors, min_dim_size_to_factor=16, **other)),
        matrix(adafactor("adafactor_momentum", mean | factors, **momentum)),
        matrix(adafactor("adafactor_small", vector)),
    ]


def adadelta_cases():
    means = {"e_g": ("v", 1), "e_x": ("delta", 1)}
    return [
        preset("Adadelta", optax_case("adadelta", "Adadelta", optax.adadelta, means)),
        optax_case("adadelta_decay", "Adadelta", optax.adadelta, means, rho=0.99, eps=1e-3, weight_decay=0.01),
    ]


def yogi_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1)}
    return [
        preset("Yogi", optax_case("yogi", "Yogi", optax.yogi, moments)),
        optax_case("yogi_eps", "Yogi", optax.yogi, moments, b1=0.5, b2=0.95, eps=1e-5),
    ]


def amsgrad_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1), "nu_max": ("max_v", 1)}
    return [
        preset("AMSGrad", optax_case("amsgrad", "Adam", optax.amsgrad, moments)),
        optax_case("amsgrad_eps_root", "Adam", optax.amsgrad, moments, b1=0.5, b2=0.95, eps=1e-3, eps_root=1e-6),
    ]


def adopt_cases():
    adopt, moments = optax.contrib.adopt, {"mu": ("m", 1), "nu": ("v", 1)}
    return [
        preset("ADOPT", optax_case("adopt", "ADOPT", adopt, moments)),
        optax_case("adopt_nesterov", "ADOPT", adopt, moments, b1=0.8, b2=0.95, eps=1e-3, nesterov=True),
        optax_case("adopt_no_clipping", "ADOPT", adopt, moments, b2=0.95, eps=1e-3, use_clipping=False),
    ]


def ademamix_cases():
    ademamix, simplified = optax.contrib.ademamix, optax.contrib.simplified_ademamix
    means, moments = {"m1": ("m", 1), "m2": ("slow", 1), "nu": ("v", 1)}, {"m": ("m", 1), "n": ("v", 1)}

    return [
        preset("AdEMAMix", optax_case("ademamix", "AdEMAMix", ademamix, means)),
        optax_case("ademamix_eps_root", "AdEMAMix", ademamix, means, b1=0.5, b2=0.95, b3=0.99, alpha=2.0, eps=1e-3,
                   eps_root=1e-6, weight_decay=0.01),
        optax_case("ademamix_warm_up", "AdEMAMix", ademamix, means, b2=0.95,
                   b3=partial(rising_b3, 0.999, 40.0, 0.9), alpha=partial(rising_alpha, 5.0, 30.0)),
        preset("SimplifiedAdEMAMix", optax_case("simplified_ademamix", "SimplifiedAdEMAMix", simplified, moments)),
        optax_case("simplified_ademamix_alpha", "SimplifiedAdEMAMix", simplified, moments, b1=0.9, b2=0.99, alpha=2.0,
                   eps=1e-3, eps_root=1e-6, weight_decay=0.01),
    ]


def adan_cases():
    buffers = {"m": ("m", 1), "v": ("diff", 1), "n": ("v", 1), "g": ("prev", 1)}
    return [
        preset("Adan", optax_case("adan", "Adan", optax.adan, buffers)),
        optax_case("adan_eps", "Adan", optax.adan, buffers, b1=0.5, b2=0.8, b3=0.95, eps=1e-3, eps_root=1e-6,
                   weight_decay=0.01),
    ]


def novograd_cases():
    moments = {"mu": ("m", 1), "nu": ("v", 1)}
    return [
        preset("Novograd", optax_case("novograd", "NovoGrad", optax.novograd, moments)),
        optax_case("novograd_decay", "NovoGrad", optax.novograd, moments, b1=0.5, b2=0.98, eps=1e-3, eps_root=1e-6, weight_decay=0.1),
    ]


def lars_cases():
    trace = {"trace": ("momentum", -1)}
    return [
        preset("Lars", optax_case("lars", "LARS", optax.lars, trace)),
        optax_case("lars_decay", "LARS", optax.lars, trace, weight_decay=0.1, trust_coefficient=0.1, eps=1e-3),
        optax_case("lars_nesterov", "LARS", optax.lars, trace, trust_coefficient=0.1, momentum=0.5, nesterov=True),
    ]


def sign_cases():
    return [
        preset("SignSGD", optax_case("sign_sgd", "SignSGD", optax.sign_sgd, {})),
        preset("Signum", optax_case("signum", "SignSGD", optax.signum, {"ema": ("m", 1)})),
        optax_case("signum_beta", "SignSGD", optax.signum, {"ema": ("m", 1)}, beta=0.75),
    ]


def rprop_cases():
    """Without the gradients before, of which Optax keeps the step that was taken."""
    sizes = {"step_sizes": ("step", 1)}
    return [
        preset("Rprop", optax_case("rprop", "Rprop", optax.rprop, sizes, learning_rate=0.001)),
        optax_case("rprop_unclamped", "Rprop", optax.rprop, sizes, learning_rate=0.0001, eta_minus=0.7, eta_plus=1.5,
                   min_step_size=0.002, max_step_size=0.01),
    ]


def adamax_cases():
    norm = {"mu": ("m", 1), "nu": ("u", 1)}
    return [
        preset("Adamax", optax_case("adamax", "Adamax", optax.adamax, norm)),
        optax_case("adamax_eps", "Adamax", optax.adamax, norm, b2=0.9, eps=1e-3),
        preset("AdamaxW", optax_case("adamaxw", "Adamax", optax.adamaxw, norm)),
    ]


# ---------------------------------------------------------------- losses


def optax_loss_cases(reduction):
    losses = optax.losses
    numbers, logits = ("predictions.bin", "targets.bin"), ("logits.bin", "labels01.bin")
    reduced = {"mean": jnp.mean, "none": lambda x: x}[reduction]

    def case(name, loss, function, files, **options):
        return LossCase(f"optax_{name}_{reduction}", FRAMEWORK, loss, reduction,
                        lambda p, y: reduced(function(p, y)), *files, nonzero(options))

    return [
        case("mae", "MAE", lambda p, y: jnp.abs(p - y), numbers),
        case("huber", "Huber", losses.huber_loss, numbers, delta=1.0),
        case("log_cosh", "LogCosh", losses.log_cosh, numbers),
        case("focal", "Focal", losses.sigmoid_focal_loss, logits, gamma=2.0),
        case("focal_alpha", "Focal", partial(losses.sigmoid_focal_loss, alpha=0.25, gamma=1.5), logits, gamma=1.5, alpha=0.25),
    ]


def divergence_cases():
    def rows(function):
        return lambda p, y: function(p.reshape(ROWS, COLUMNS), y.reshape(ROWS, COLUMNS)).mean()

    def case(name, function, target, **options):
        return LossCase(f"optax_{name}_batchmean", FRAMEWORK, "KLDivergence", "batchmean", rows(function), "guesses.bin", target,
                        {"rows": ROWS, **options})

    return [
        case("kl", optax.losses.kl_divergence, "shares.bin"),
        case("kl_log", optax.losses.kl_divergence_with_log_targets, "logshares.bin", log=True),
    ]


def optax_gradient(function, pred, target):
    """The value (or values) of function and the gradient of its sum."""
    p, y = jnp.asarray(pred), jnp.asarray(target)
    return np.asarray(function(p, y)), np.asarray(jax.grad(lambda p: function(p, y).sum())(p))


if __name__ == "__main__":
    update, loss = map(Path, sys.argv[1:])
    write_updates(update, "optax", optax_cases())
    write_losses(loss, "optax", [c for r in ("mean", "none") for c in optax_loss_cases(r)] + divergence_cases(), optax_gradient, [])
