"""Every rule as an optimizer of PyTorch: its class makes the rule that is written here, and steps with its bits."""

from __future__ import annotations

import copy
import inspect
import pickle
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
    (
        "Adam",
        {**TAKEN, "weight_decay": 0.1, "decoupled_weight_decay": True},
        Rule("Adam", **ADAM, **ZERO, weight_decay=0.1),
    ),
    ("AdamW", {**TAKEN, "amsgrad": True}, Rule("Adam", **ADAM, **ZERO, weight_decay=0.01, amsgrad=True)),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}, Rule("SGD", lr=0.1, l2=0.1)),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, Rule("Momentum", lr=0.1, momentum=0.9, nesterov=True)),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}, Rule("AdaGrad", lr=0.1, lr_decay=0.1, eps=1e-10, **ZERO)),
    ("RMSprop", {"alpha": 0.9, "eps": 1e-3}, Rule("RMSprop", lr=0.01, rho=0.9, eps=1e-3, **ZERO)),
    ("RMSprop", {"momentum": 0.9}, Rule("RMSprop", lr=0.01, rho=0.99, momentum=0.9, eps=1e-8, **ZERO)),
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
    (
        "NorMuon",
        {"lr": 0.1, "weight_decay": 0.1, "ns_steps": 2, "beta2": 0.9, "momentum": 0.8},
        Rule(
            "Muon",
            **{"lr": 0.1, "weight_decay": 0.1, "momentum": 0.8, "nesterov": True, "a": 3.4445, "b": -4.775},
            **{"c": 2.0315, "eps": 1e-7, "iterations": 2, "spectral": True, "beta2": 0.9, "eps_row": 1e-10},
        ),
    ),
    (
        "NorMuon",
        {"nesterov": False, "rms": 0.2, "eps": 1e-3, "eps_row": 1e-4},
        Rule(
            "Muon",
            **{"lr": 0.02, "momentum": 0.95, "a": 3.4445, "b": -4.775, "c": 2.0315, "eps": 1e-3, "iterations": 5},
            **{"rms": 0.2, "exact_rms": True, "beta2": 0.95, "eps_row": 1e-4},
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
    ("Adam8bit", {**TAKEN, "weight_decay": 0.1}, Rule("Adam", **ADAM, **ZERO, l2=0.1)),
    ("AdamW8bit", {**TAKEN, "amsgrad": True}, Rule("Adam", **ADAM, **ZERO, weight_decay=0.01, amsgrad=True)),
    ("SGD8bit", {"lr": 0.1, "momentum": 0.9, "nesterov": True}, Rule("Momentum", lr=0.1, momentum=0.9, nesterov=True)),
    ("RMSprop8bit", {"momentum": 0.9}, Rule("RMSprop", lr=0.01, rho=0.99, momentum=0.9, eps=1e-8, **ZERO)),
    ("Adagrad8bit", {"lr": 0.1, "lr_decay": 0.1}, Rule("AdaGrad", lr=0.1, lr_decay=0.1, eps=1e-10, **ZERO)),
    ("Lion8bit", {"weight_decay": 0.1}, Rule("Lion", lr=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.1)),
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
    ("RowWiseLAMB", {**TAKEN, "weight_decay": 0.1}, Rule("RowwiseLAMB", **ADAM, decay=0.1)),
]
EACH = pytest.mark.parametrize(
    ("name", "kwargs", "rule"), CASES, ids=[" ".join([name, *map(str, kwargs)]) for name, kwargs, _ in CASES]
)
MATRICES_ALONE = ("Muon", "NorMuon", "RowWiseAdagrad", "RowWiseAdam", "RowWiseLAMB")
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
    if "maximize" not in OPTIMIZERS[name]([Parameter(torch.ones(2, 2))], **kwargs).param_groups[0]:
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
    ("NorMuon", {"beta2": 0.0}, "beta2 is 0, want"),
    ("NorMuon", {"beta2": 1.0}, "beta2 is 1, want"),
    ("NorMuon", {"eps_row": 0.0}, "eps_row is 0, want"),
    ("NorMuon", {"ns_steps": 100}, "iterations is 100, want from 1 to 99"),
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
    ("RowWiseLAMB", {"eps": 1e-38}, "eps is 1e-38, want one that divides"),
    ("NAdam", {"betas": (0.9, 1.5)}, "Invalid beta parameter"),
    ("Adadelta", {"eps": 0.0}, "eps is 0, want"),
]


@pytest.mark.parametrize(("name", "kwargs", "message"), REFUSED)
def test_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name]([Parameter(torch.ones(2, 2))], **kwargs)


CAUTIONS = ({"cautious_update": True}, {"cautious_decay": True}, {"cautious_update": True, "cautious_decay": True})


def is_made(rule: Rule) -> bool:
    try:
        ln.Optimizer([np.ones(2, np.float32)], rule)
    except lockstep.ArgumentError:
        return False
    return True


def cautious() -> Iterator[Any]:
    """Cases of classes that can be cautious, in each way that says something of them."""
    for name, kwargs, rule in CASES:
        parameters = inspect.signature(OPTIMIZERS[name]).parameters
        off = {option: False for option in ("cautious_update", "cautious_decay") if option in parameters}
        for caution in CAUTIONS:
            given = rule.replace(**{**off, **caution})
            decays = rule.options["weight_decay"] or not caution.get("cautious_decay")
            if decays and caution.keys() <= off.keys() and is_made(given):
                title = " ".join([name, *map(str, {**kwargs, **caution})])
                yield pytest.param(name, {**kwargs, **off, **caution}, given, id=title)


CAUTIOUS = list(cautious())


def test_every_class_that_can_be_cautious_takes_it() -> None:
    """Where any case of a class can have it: a cautious decay of a decay that is decoupled."""
    for name, cls in OPTIMIZERS.items():
        rules = [rule for of, _, rule in CASES if of == name]
        decays = [r for r in rules if r.options["weight_decay"]]
        can = {
            "cautious_update": any(is_made(r.replace(cautious_update=True)) for r in rules),
            "cautious_decay": any(is_made(r.replace(cautious_decay=True)) for r in decays),
        }
        parameters = inspect.signature(cls).parameters
        for option, is_there in can.items():
            assert (option in parameters) == is_there, (name, option)
            if is_there:
                assert parameters[option].default is (name.startswith("Cautious") and option == "cautious_update")
                assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(("name", "kwargs", "rule"), CAUTIOUS)
def test_cautious_bits(name: str, kwargs: dict[str, Any], rule: Rule) -> None:
    test_bits(name, kwargs, rule)


MOMENTA: list[tuple[str, dict[str, Any], float]] = [
    ("Adam", {"betas": (0.8, 0.9), "amsgrad": True}, 0.0),
    ("Adam", {"decoupled_weight_decay": True}, 0.3),
    ("AdamW", {"betas": (0.5, 0.9), "maximize": True}, 0.3),
    ("SGD", {"momentum": 0.8, "nesterov": True}, 0.0),
    ("SGD", {"momentum": 0.9, "dampening": 0.5}, 0.0),
    ("RMSprop", {"momentum": 0.8, "centered": True}, 0.0),
    ("Adamax", {}, 0.0),
    ("RAdam", {"decoupled_weight_decay": True}, 0.3),
    ("NAdam", {"decoupled_weight_decay": True, "momentum_decay": 0.1}, 0.3),
]


BESIDE_TORCH = [(*case, c) for case in MOMENTA for c in CAUTIONS if case[2] or not c.get("cautious_decay")]


@pytest.mark.parametrize(("name", "kwargs", "decay", "caution"), BESIDE_TORCH)
def test_cautious_formula(name: str, kwargs: dict[str, Any], decay: float, caution: dict[str, bool]) -> None:
    """Beside torch's class, of which float64's steps from 0 say where a cautious one goes."""
    optimizer: Any = OPTIMIZERS[name]
    ours = optimizer([Parameter(torch.from_numpy(a)) for a in arrays(name, 1)], weight_decay=decay, **kwargs, **caution)
    params = ours.param_groups[0]["params"]
    lr, sign = 0.05, -1.0 if kwargs.get("maximize") else 1.0
    ours.param_groups[0]["lr"] = lr
    exact = [p.detach().double() for p in params]
    zeros = [Parameter(torch.zeros_like(p)) for p in exact]
    torchs = getattr(torch.optim, name)(zeros, lr=lr, weight_decay=0, **kwargs)
    held = 0
    for t in range(20):
        grads = list(gradients(name, t))
        step(ours, grads)
        for z in zeros:
            torch.nn.init.zeros_(z)
        step(torchs, [None if g is None else g.astype(np.float64) for g in grads])
        for k, (g, z) in enumerate(zip(grads, zeros)):
            if g is None:
                continue
            p, u = exact[k], -z.detach()
            factor, decays = torch.ones_like(u), torch.ones_like(u)
            if caution.get("cautious_update"):
                agrees = (u * sign * torch.from_numpy(g) > 0).double()
                factor = agrees / agrees.mean().clamp_min(1e-3) if agrees.numel() else agrees
                held += int((factor == 0).sum())
            if caution.get("cautious_decay"):
                decays = (u * p >= 0).double()
                held += int((decays == 0).sum())
            exact[k] = p - (factor * u + lr * decay * decays * p)
    assert held > 1000
    for p, want in zip(params, exact):
        torch.testing.assert_close(p.detach().double(), want, rtol=1e-4, atol=1e-4)


def test_caution_is_an_option_of_groups() -> None:
    """Of one group alone; changed between steps, saved, pickled, and set by the constructor over torch's state."""

    def new(**kwargs: Any) -> lt.AdamW:
        tensors = [Parameter(torch.tensor(a)) for a in arrays("AdamW", 1)]
        groups: list[dict[str, Any]] = [{"params": tensors[:3], "cautious_update": True}, {"params": tensors[3:]}]
        return lt.AdamW(groups, lr=0.1, **kwargs)

    def after(optimizer: Any, steps: range) -> list[Tensor]:
        for t in steps:
            step(optimizer, list(gradients("AdamW", t)))
        return [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]

    def same(x: list[Tensor], y: list[Tensor]) -> bool:
        return all(map(torch.equal, x, y))

    optimizer = new()
    assert [group["cautious_update"] for group in optimizer.param_groups] == [True, False]
    params = arrays("AdamW", 1)
    rule = Rule("Adam", lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, allow_zero_eps=True)
    numpys = ln.Optimizer.of_groups([(params[:3], rule.replace(cautious_update=True)), (params[3:], rule)])
    after(optimizer, range(6))
    for t in range(6):
        numpys.step(list(gradients("AdamW", t)))
    for p, array in zip([p for g in optimizer.param_groups for p in g["params"]], params):
        np.testing.assert_array_equal(p.detach().numpy(), array)

    optimizer.param_groups[0]["cautious_update"] = False
    optimizer.param_groups[1]["cautious_decay"] = True
    saved, copied = copy.deepcopy(optimizer.state_dict()), pickle.loads(pickle.dumps(optimizer))
    want = after(optimizer, range(6, 12))
    assert same(after(copied, range(6, 12)), want)
    loaded = new()
    for p, q in zip([p for g in loaded.param_groups for p in g["params"]], params):
        p.detach().copy_(torch.from_numpy(q))
    loaded.load_state_dict(saved)
    assert [(g["cautious_update"], g["cautious_decay"]) for g in loaded.param_groups] == [(False, False), (False, True)]
    assert same(after(loaded, range(6, 12)), want)

    torchs = torch.optim.AdamW([Parameter(torch.ones(2))])
    ours = lt.AdamW([Parameter(torch.ones(2))], cautious_decay=True)
    ours.load_state_dict(torchs.state_dict())
    assert ours.param_groups[0]["cautious_decay"] is True
    torchs.load_state_dict(ours.state_dict())
    ours.add_param_group({"params": [Parameter(torch.ones(1))]})
    assert ours.param_groups[1]["cautious_decay"] is True
    late = copy.deepcopy(ours)
    late.add_param_group({"params": [Parameter(torch.ones(1))]})
    assert late.param_groups[2]["cautious_decay"] is True


def test_pickles_from_before_there_was_caution() -> None:
    for cls in (lt.AdamW, lt.Lion):
        optimizer: Any = cls([Parameter(torch.ones(2))])
        state = copy.deepcopy(optimizer.__getstate__())
        for options in (state["defaults"], state["param_groups"][0]):
            del options["cautious_update"], options["cautious_decay"]
        again = cls.__new__(cls)
        again.__setstate__(state)
        assert again.param_groups[0]["cautious_update"] is again.defaults["cautious_decay"] is False
        step(again, [np.ones(2, np.float32)])
        step(optimizer, [np.ones(2, np.float32)])
        assert torch.equal(again.param_groups[0]["params"][0], optimizer.param_groups[0]["params"][0])


def test_caution_that_is_refused() -> None:
    """Where there is no momentum, or a decay that is L2's; and it is not left to torch, which does not know it."""
    p = Parameter(torch.ones(2))
    with pytest.raises(lockstep.ArgumentError, match="cautious_update is true, want false: this rule has no momentum"):
        lt.SGD([p], cautious_update=True)
    with pytest.raises(lockstep.ArgumentError, match="cautious_decay is True, want False: weight_decay is L2's"):
        lt.Adam([p], cautious_decay=True, fallback=True)
    for momentum in (0.0, 1.5):
        with pytest.raises(lockstep.ArgumentError, match="cautious_update is|momentum is"):
            lt.SGD([p], momentum=momentum, cautious_update=True, fallback=True)
    with pytest.raises(TypeError, match="params argument given to the optimizer"):
        lt.AdamW(torch.ones(2), cautious_update=True)
    with pytest.raises(TypeError, match="param_group must be a dict"):
        lt.AdamW([p]).add_param_group([p])  # type: ignore[arg-type]
    doubles = [p, Parameter(torch.ones(2, dtype=torch.float64))]
    with pytest.raises(lt.UnsupportedError, match=r"is torch.float64, want torch.float32"):
        lt.AdamW(doubles, cautious_update=True, fallback=True)
    optimizer = lt.AdamW(doubles, fallback=True)
    for q in doubles:
        q.grad = torch.ones_like(q)
    optimizer.step()
    before = [q.detach().clone() for q in doubles]
    optimizer.param_groups[0]["cautious_decay"] = True
    with pytest.raises(lt.UnsupportedError, match=r"is torch.float64, want torch.float32"):
        optimizer.step()
    assert all(map(torch.equal, doubles, before))
    sparse = lt.AdamW([p], fallback=True, cautious_decay=True)
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(lt.UnsupportedError, match=r"is torch.sparse_coo, want a dense tensor"):
        sparse.step()


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
