"""Every rule as an optimizer of PyTorch: its class makes the rule that is written here, and steps with its bits."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor
from torch.nn import Parameter

import lockstep
import lockstep.numpy as ln
import lockstep.torch as lt
from lockstep import Rule

# Rules that no class makes, each with the reason.
WITHOUT_A_CLASS: dict[str, str] = {}

ADAM = {"lr": 0.02, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
TAKEN = {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-3}
ZERO = {"allow_zero_eps": True}
AVERAGED = {"weight_lr_power": 1.5, "weight_power": 0.5}
TAKEN_AVERAGED = {"weight_lr_power": 1.5, "r": 0.5}

# Arguments of classes, and the rules that they stand for in the options of C.
CASES: list[tuple[str, dict[str, Any], Rule]] = [
    ("Adam", {**TAKEN, "weight_decay": 0.1}, Rule("Adam", **ADAM, **ZERO, l2=0.1)),
    ("AdamW", {**TAKEN, "amsgrad": True}, Rule("Adam", **ADAM, **ZERO, weight_decay=0.01, amsgrad=True)),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}, Rule("SGD", lr=0.1, l2=0.1)),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, Rule("Momentum", lr=0.1, momentum=0.9, nesterov=True)),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}, Rule("AdaGrad", lr=0.1, lr_decay=0.1, eps=1e-10, **ZERO)),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3}, Rule("RMSprop", lr=0.01, rho=0.9, eps=1e-3, **ZERO)),
    (
        "Rprop",
        {"lr": 0.1},
        Rule("Rprop", lr=0.1, eta_minus=0.5, eta_plus=1.2, min_step=1e-6, max_step=50, clamp_first=True),
    ),
    (
        "Adafactor",
        {"lr": 0.1, "eps": (1e-3, 0.5), "d": 2},
        Rule("Adafactor", lr=0.1, decay_rate=0.8, eps_floor=1e-3, eps_param=0.5, clip_threshold=2, relative_step=True),
    ),
    (
        "Muon",
        {"lr": 0.1, "ns_steps": 2},
        Rule(
            "Muon",
            **{"lr": 0.1, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "a": 3.4445, "b": -4.775},
            **{"c": 2.0315, "eps_floor": 1e-7, "iterations": 2, "spectral": True},
        ),
    ),
    ("Adadelta", {"eps": 1e-3, "rho": 0.8}, Rule("Adadelta", lr=1, rho=0.8, eps=1e-3)),
    ("Adamax", {**TAKEN, "weight_decay": 0.1}, Rule("Adamax", **ADAM, **ZERO, l2=0.1, eps_inside=True)),
    ("RAdam", TAKEN, Rule("RAdam", **ADAM, **ZERO, eps_hat=True, threshold=5)),
    (
        "RAdam",
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        Rule("RAdam", lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.1, eps_hat=True, threshold=5, **ZERO),
    ),
    ("NAdam", {**TAKEN, "momentum_decay": 0.5}, Rule("NAdam", **ADAM, **ZERO, momentum_decay=0.5)),
    (
        "NAdam",
        {**TAKEN, "weight_decay": 0.1, "decoupled_weight_decay": True},
        Rule("NAdam", **ADAM, **ZERO, momentum_decay=0.004, weight_decay=0.1),
    ),
    ("ASGD", {"lr": 0.1, "t0": 3}, Rule("ASGD", lr=0.1, alpha=0.75, t0=3, **{"lambda": 1e-4})),
    ("Lion", {"weight_decay": 0.1}, Rule("Lion", lr=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.1)),
    ("LAMB", {**TAKEN, "weight_decay": 0.1}, Rule("LAMB", **ADAM, decay=0.1)),
    ("LAMB", {**TAKEN, "bias_correction": False}, Rule("LAMB", **ADAM, decay=0.01, no_bias_correction=True)),
    ("AdaBelief", {**TAKEN, "weight_decay": 0.1}, Rule("AdaBelief", **ADAM, **ZERO, eps_root=1e-3, weight_decay=0.1)),
    (
        "AdamWScheduleFree",
        {**TAKEN, **TAKEN_AVERAGED, "weight_decay": 0.1, "warmup_steps": 5},
        Rule("ScheduleFreeAdamW", **ADAM, **ZERO, **AVERAGED, weight_decay=0.1, warmup_steps=5),
    ),
    (
        "RAdamScheduleFree",
        {**TAKEN, **TAKEN_AVERAGED, "silent_sgd_phase": False},
        Rule("ScheduleFreeRAdam", **ADAM, **ZERO, **AVERAGED),
    ),
    (
        "SGDScheduleFree",
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.1, **TAKEN_AVERAGED},
        Rule("ScheduleFreeSGD", lr=0.1, momentum=0.8, l2=0.1, **AVERAGED),
    ),
    (
        "LARS",
        {"lr": 0.5, "weight_decay": 0.1, "nesterov": True, "eps": 0.5},
        Rule("LARS", lr=0.5, momentum=0.9, l2=0.1, nesterov=True, trust=1e-3, trust_eps=0.5, separate_norms=True),
    ),
    ("NovoGrad", {**TAKEN, "weight_decay": 0.1}, Rule("NovoGrad", **ADAM, **ZERO, decay=0.1)),
    ("NovoGrad", {**TAKEN, "grad_averaging": True}, Rule("NovoGrad", **ADAM, **ZERO, averaging=True)),
    ("StableAdamW", TAKEN, Rule("StableAdamW", **ADAM, **ZERO, weight_decay=0.2)),
    ("CautiousAdamW", TAKEN, Rule("Adam", **ADAM, **ZERO, keep_subnormals=True, cautious_update=True)),
    (
        "CautiousAdamW",
        {**TAKEN, "weight_decay": 0.1, "cautious_update": False, "cautious_decay": True},
        Rule("Adam", **ADAM, **ZERO, weight_decay=0.1, keep_subnormals=True, cautious_decay=True),
    ),
    (
        "CautiousLion",
        {"weight_decay": 0.1},
        Rule("Lion", lr=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.1, cautious_update=True),
    ),
    ("ADOPT", {**TAKEN, "weight_decay": 0.1}, Rule("ADOPT", **ADAM, **ZERO, l2=0.1)),
    (
        "ADOPT",
        {**TAKEN, "weight_decay": 0.1, "decouple": True, "clip": False},
        Rule("ADOPT", **ADAM, **ZERO, weight_decay=0.1, no_clipping=True),
    ),
    (
        "AdEMAMix",
        {"alpha_warmup": 9, "beta3_warmup": 8, "weight_decay": 0.1},
        Rule(
            "AdEMAMix",
            **{"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "alpha": 2, "eps": 1e-8},
            **{"weight_decay": 0.1, "warmup_alpha": 9, "warmup_beta3": 8, "allow_zero_eps": True},
        ),
    ),
    (
        "SimplifiedAdEMAMix",
        {**TAKEN, "alpha": 0.5, "weight_decay": 0.1},
        Rule("SimplifiedAdEMAMix", **ADAM, **ZERO, alpha=0.5, weight_decay=0.1),
    ),
    (
        "Adan",
        {**TAKEN, "betas": (0.8, 0.9, 0.7), "weight_decay": 0.1},
        Rule("Adan", **ADAM, **ZERO, beta3=0.7, weight_decay=0.1),
    ),
    ("LaProp", {**TAKEN, "weight_decay": 0.1}, Rule("LaProp", **ADAM, **ZERO, weight_decay=0.1)),
    ("SOAP", {}, lockstep.preset("textbook", "SOAP")),
    (
        "SOAP",
        {**TAKEN, "shampoo_beta": 0.5, "weight_decay": 0.1, "precondition_frequency": 3, "max_precond_dim": 7}
        | {"normalize_grads": True, "correct_bias": False},
        Rule(
            "SOAP",
            **ADAM,
            **{"weight_decay": 0.1, "shampoo_beta": 0.5, "precondition_frequency": 3, "max_precond_dim": 7},
            **{"normalize_grads": True, "no_bias_correction": True},
        ),
    ),
    (
        "Yogi",
        {**TAKEN, "weight_decay": 0.1, "initial_accumulator": 0.5},
        Rule("Yogi", **ADAM, **ZERO, l2=0.1, initial_accumulator=0.5),
    ),
    ("SignSGD", {"weight_decay": 0.1}, Rule("SignSGD", lr=1e-4, weight_decay=0.1)),
    ("SignSGD", {"lr": 0.1, "momentum": 0.5}, Rule("SignSGD", lr=0.1, momentum=0.5)),
    (
        "AddSign",
        {"lr": 0.1, "beta": 0.8, "alpha": 0.7, "sign_decay": 0.9, "sign_decay_steps": 9, "weight_decay": 0.1},
        Rule("AddSign", lr=0.1, beta=0.8, alpha=0.7, sign_decay=0.9, sign_decay_steps=9, weight_decay=0.1),
    ),
    (
        "PowerSign",
        {"lr": 0.1, "beta": 0.8, "log_base": 0.7, "sign_decay": 0.9, "sign_decay_steps": 9, "weight_decay": 0.1},
        Rule("PowerSign", lr=0.1, beta=0.8, log_base=0.7, sign_decay=0.9, sign_decay_steps=9, weight_decay=0.1),
    ),
    (
        "FTRL",
        {"lr": 0.1, "l1": 0.01, "l2": 0.1, "l2_shrinkage": 0.2, "beta": 0.5},
        Rule("FTRL", lr=0.1, proximal=True, initial_accumulator=0.1, l1=0.01, l2=0.1, l2_shrinkage=0.2, eps=0.5),
    ),
    (
        "AdagradDA",
        {"lr": 0.1, "l1": 0.01, "l2": 0.1},
        Rule("AdaGradDA", lr=0.1, proximal=True, initial_accumulator=0.1, l1=0.01, l2=0.1),
    ),
    ("MADGRAD", {"weight_decay": 0.1}, Rule("MADGRAD", lr=0.01, momentum=0.9, eps=1e-6, l2=0.1, **ZERO)),
    (
        "MADGRAD",
        {"momentum": 0, "weight_decay": 0.1, "decouple_decay": True},
        Rule("MADGRAD", lr=0.01, eps=1e-6, weight_decay=0.1, **ZERO),
    ),
    (
        "Prodigy",
        {"weight_decay": 0.1, "d0": 1e-3, "d_coef": 2.0, "growth_rate": 1.5, "use_bias_correction": True},
        Rule(
            "Prodigy",
            **{"lr": 1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "d0": 1e-3, "d_coef": 2},
            **{"growth_rate": 1.5, "allow_zero_eps": True},
        ),
    ),
    (
        "Prodigy",
        {"weight_decay": 0.1, "decouple": False, "beta3": 0.9, "safeguard_warmup": True},
        Rule(
            "Prodigy",
            **{"lr": 1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "l2": 0.1, "d0": 1e-6, "d_coef": 1, "beta3": 0.9},
            **{"safeguard_warmup": True, "no_bias_correction": True, "allow_zero_eps": True},
        ),
    ),
    (
        "DAdaptAdam",
        {"weight_decay": 0.1, "d0": 1e-3, "growth_rate": 1.5, "use_bias_correction": True, "decouple": True},
        Rule(
            "DAdaptAdamW",
            **{"lr": 1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "d0": 1e-3},
            **{"growth_rate": 1.5, "layer_scale": 1},
        ),
    ),
    (
        "DAdaptAdam",
        {"weight_decay": 0.1},
        Rule(
            "DAdaptAdamW",
            **{"lr": 1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "l2": 0.1, "d0": 1e-6},
            **{"no_bias_correction": True, "layer_scale": 1},
        ),
    ),
    (
        "SophiaG",
        {"rho": 0.5, "bs": 10},
        Rule("Sophia", lr=1e-4, beta1=0.965, beta2=0.99, weight_decay=0.1, gamma=5, eps=1e-15, clip=1),
    ),
    (
        "RowWiseAdagrad",
        {"weight_decay": 0.1, "initial_accumulator_value": 0.5},
        Rule("RowwiseAdaGrad", lr=0.01, l2=0.1, initial_accumulator=0.5, eps=1e-10),
    ),
    ("RowWiseAdam", {**TAKEN, "weight_decay": 0.1}, Rule("RowwiseAdam", **ADAM, weight_decay=0.1)),
]
EACH = pytest.mark.parametrize(
    ("name", "kwargs", "rule"), CASES, ids=[" ".join([name, *map(str, kwargs)]) for name, kwargs, _ in CASES]
)
MATRICES_ALONE = ("Muon", "RowWiseAdagrad", "RowWiseAdam")
OPTIMIZERS: dict[str, Any] = {
    name: value
    for name, value in vars(lt).items()
    if isinstance(value, type) and issubclass(value, lt.LockstepOptimizer) and value is not lt.LockstepOptimizer
}


def test_every_rule_has_a_class_or_a_reason() -> None:
    made = {rule.name for _, _, rule in CASES}
    assert not made & WITHOUT_A_CLASS.keys()
    assert made | WITHOUT_A_CLASS.keys() == set(lockstep.rules())
    assert all(len(reason) > 20 for reason in WITHOUT_A_CLASS.values())


def test_every_class_is_here_and_in_the_readme() -> None:
    assert {name for name, _, _ in CASES} | {"SparseAdam"} == OPTIMIZERS.keys()
    assert OPTIMIZERS.keys() < set(lt.__all__)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (table,) = re.findall(r"^\| class \|.*?\n\n", readme, re.MULTILINE | re.DOTALL)
    first = "".join(row.split("|")[1] for row in table.strip().splitlines()[2:])
    assert sorted(re.findall(r"`(\w+)`", first)) == sorted(OPTIMIZERS)


def shapes(name: str) -> list[tuple[int, ...]]:
    if name in MATRICES_ALONE:
        return [(10, 5), (1, 1), (0, 3), (30, 40)]
    return [(10, 5), (10,), (), (1,), (0,), (30, 40)]


def arrays(name: str, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    return [np.asarray(random.standard_normal(shape, np.float32)) for shape in shapes(name)]


def gradients(name: str, step: int) -> Iterator[Any]:
    """Those of a step, in which one is missing: in the first steps, that of a parameter that begins later."""
    absent = 0 if step < 3 else step % 5
    for k, grad in enumerate(arrays(name, 100 + step)):
        yield None if k == absent else grad


def step(optimizer: torch.optim.Optimizer, grads: list[Any]) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for p, grad in zip(params, grads):
        p.grad = None if grad is None else torch.from_numpy(grad)
    optimizer.step()


def made(name: str, kwargs: dict[str, Any]) -> Any:
    optimizer = OPTIMIZERS[name]([Parameter(torch.tensor(a)) for a in arrays(name, 1)], **kwargs)
    if isinstance(optimizer, (lt.AdamWScheduleFree, lt.RAdamScheduleFree, lt.SGDScheduleFree)):
        optimizer.train()
    return optimizer


@EACH
def test_bits(name: str, kwargs: dict[str, Any], rule: Rule) -> None:
    """Those of lockstep.numpy, whose formulas are tested; a plan that is made anew in the middle changes none."""
    optimizer, params = made(name, kwargs), arrays(name, 1)
    numpys = ln.Optimizer(params, rule)
    for t in range(12):
        grads = list(gradients(name, t))
        step(optimizer, grads)
        numpys.step(grads)
        if t in (1, 7):
            optimizer._plan = None
        for p, array in zip(optimizer.param_groups[0]["params"], params):
            np.testing.assert_array_equal(p.detach().numpy(), array)
    for k, p in enumerate(optimizer.param_groups[0]["params"]):
        if p.numel():
            assert int(optimizer.state[p]["step"]) == numpys.steps(str(k))
        for slot, array in numpys.state(str(k)).items():
            mine = optimizer.state[p][optimizer._state_names[slot]].numpy()
            np.testing.assert_array_equal(mine.reshape(array.shape), array)


@EACH
def test_maximize_and_options_that_change(name: str, kwargs: dict[str, Any], rule: Rule) -> None:
    if "maximize" not in OPTIMIZERS[name]([Parameter(torch.ones(2, 2))]).param_groups[0]:
        pytest.skip("the class has no maximize")
    optimizer, params = made(name, {**kwargs, "maximize": True}), arrays(name, 1)
    rule = rule.replace(maximize=True)
    numpys = ln.Optimizer(params, rule)
    for t in range(6):
        if t == 3:
            optimizer.param_groups[0]["lr"] = 0.03
            numpys.groups[0].lr = 0.03
        grads = list(gradients(name, t))
        step(optimizer, grads)
        numpys.step(grads)
    for p, array in zip(optimizer.param_groups[0]["params"], params):
        np.testing.assert_array_equal(p.detach().numpy(), array)


@EACH
def test_groups_that_are_added(name: str, kwargs: dict[str, Any], rule: Rule) -> None:
    """In the middle of a run, as those of an optimizer of its own; of those that estimate d as of one that has it."""
    optimizer = made(name, kwargs)
    for t in range(4):
        step(optimizer, list(gradients(name, t)))
    late = Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    group = {"params": [late], **({"train_mode": True} if "train_mode" in optimizer.param_groups[0] else {})}
    optimizer.add_param_group(group)
    others = copy.deepcopy(optimizer)
    for o in (optimizer, others):
        for t in range(4, 8):
            step(o, [*gradients(name, t), np.ones((3, 4), np.float32)])
    assert int(optimizer.state[late]["step"]) == 4
    assert torch.equal(late, others.param_groups[1]["params"][0])
    if name in ("Prodigy", "DAdaptAdam"):
        assert len({float(s["d"]) for p, s in optimizer.state.items() if p.numel()}) == 1
        return
    alone = Parameter(torch.linspace(-1, 1, 12).reshape(3, 4).clone())
    own: Any = OPTIMIZERS[name]([alone], **kwargs)
    own.param_groups[0].update({k: v for k, v in group.items() if k == "train_mode"})
    for _ in range(4):
        step(own, [np.ones((3, 4), np.float32)])
    assert torch.equal(late, alone)


@EACH
def test_closure(name: str, kwargs: dict[str, Any], rule: Rule) -> None:
    optimizer = made(name, kwargs)
    params = optimizer.param_groups[0]["params"]

    def closure() -> Tensor:
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        value = torch.stack([((p - 0.5) ** 2).sum() for p in params]).sum()
        torch.autograd.backward(value)
        return value

    assert optimizer.step(closure).item() > 0
    assert all(int(optimizer.state[p]["step"]) == 1 for p in params)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *((name, {"lr": -1.0}, "lr is -1, want|[Ll]earning rate") for name in OPTIMIZERS),
    ("LARS", {"momentum": 1.0}, "momentum is 1, want"),
    ("NovoGrad", {"betas": (0.9, 1.0)}, "beta2 is 1, want"),
    ("StableAdamW", {"betas": (1.0, 0.9)}, "beta1 is 1, want"),
    ("CautiousLion", {"betas": (1.0, 0.9)}, "beta1 is 1, want"),
    ("ADOPT", {"eps": -1.0}, "eps is -1, want"),
    ("AdEMAMix", {"betas": (0.9, 0.9, 1.0)}, "beta3 is 1, want"),
    ("Adan", {"betas": (0.9, 0.9, 1.0)}, "beta3 is 1, want"),
    ("LaProp", {"eps": -1.0}, "eps is -1, want"),
    ("Yogi", {"initial_accumulator": -1.0}, "initial_accumulator is -1, want"),
    ("SOAP", {"shampoo_beta": 1.0}, "shampoo_beta is 1, want"),
    ("SOAP", {"precondition_frequency": 0}, "precondition_frequency is 0, want"),
    ("SignSGD", {"momentum": 1.0}, "momentum is 1, want"),
    ("FTRL", {"lr": 0.0}, "lr is 0, want"),
    ("AdagradDA", {"initial_accumulator_value": 0.0}, "initial_accumulator is 0, want"),
    ("MADGRAD", {"momentum": 1.0}, "momentum is 1, want"),
    ("Prodigy", {"d0": -1.0}, "d0 is -1, want"),
    ("Prodigy", {"growth_rate": 0.5}, "growth_rate is 0.5, want"),
    ("DAdaptAdam", {"d0": -1.0}, "d0 is -1, want"),
    ("DAdaptAdam", {"eps": 0.0}, "eps is 0, want"),
    ("SophiaG", {"rho": -1.0}, "gamma is -5120, want"),
    ("RowWiseAdagrad", {"eps": 0.0}, "eps is 0, want"),
    ("RowWiseAdam", {"eps": 0.0}, "eps is 0, want"),
    ("NAdam", {"betas": (0.9, 1.5)}, "Invalid beta parameter"),
    ("Adadelta", {"eps": 0.0}, "eps is 0, want"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), REFUSED)
def test_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name]([Parameter(torch.ones(2, 2))], **kwargs)


def test_fallback_of_torchs() -> None:
    """An eps that is torch's alone, with state that was begun here; and parameters that are torch's from the first."""
    for name, options in [("Adadelta", {"eps": 0.0}), ("NAdam", {"capturable": False}), ("ASGD", {"t0": 2.0})]:
        ways = []
        for cls, more in ((OPTIMIZERS[name], {"fallback": True}), (getattr(torch.optim, name), {})):
            params = [Parameter(torch.linspace(1, 2, 5)), Parameter(torch.linspace(1, 2, 5, dtype=torch.float64))]
            optimizer: Any = cls(params, **more)
            for t in range(10):
                if t == 5:
                    optimizer.param_groups[0].update(options)
                for p in params:
                    p.grad = torch.full_like(p, (t + 1) / 10)
                optimizer.step()
            ways.append(params)
        for mine, theirs in zip(*ways):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
