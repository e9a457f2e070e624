"""Checkpoints of optimizers over PyTorch's tensors, and the way to those over NumPy's arrays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import lockstep.torch
from lockstep import checkpoint
from lockstep.checkpoint import CheckpointError
from lockstep.numpy import Optimizer
from lockstep.torch import LAMB, SGD, AdaBelief, Adagrad, Adam, AdamW, Lion, RMSprop

CASES: list[tuple[Any, dict[str, Any]]] = [
    (AdaBelief, {"eps": 1e-8}),
    (Adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    (Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (AdamW, {"lr": torch.tensor(1e-2), "betas": (0.8, 0.9)}),
    (LAMB, {}),
    (Lion, {}),
    (RMSprop, {"centered": True, "momentum": 0.9}),
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]
SHAPES = {"weights": (7, 5), "bias": (5,), "scale": (), "late": (3,), "never": (2, 2)}


def _parameters() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def _optimizer(cls: Any, params: dict[str, Any], options: dict[str, Any]) -> Any:
    named = list(params.items())
    groups = [{"params": named[:2]}, {"params": named[2:], "lr": 1e-2}]
    return cls(groups, **copy.deepcopy(options))


def _gradient(name: str, step: int) -> Any:
    generator = torch.Generator().manual_seed(step * 31 + len(name))
    return torch.randn(SHAPES[name], generator=generator)


def _steps(optimizer: Any, params: dict[str, Any], steps: range) -> None:
    for step in steps:
        for name, p in params.items():
            absent = name == "never" or (name == "late" and step < 6)
            p.grad = None if absent else _gradient(name, step)
        optimizer.step()


def _copied(params: dict[str, Any]) -> dict[str, Any]:
    return {name: torch.nn.Parameter(p.detach().clone()) for name, p in params.items()}


def _same(want: dict[str, Any], got: dict[str, Any]) -> None:
    assert want.keys() == got.keys()
    for name in want:
        assert torch.equal(want[name], got[name]), name


@pytest.mark.parametrize(("cls", "options"), CASES)
def test_goes_on_to_the_same_bits(cls: Any, options: dict[str, Any], tmp_path: Path) -> None:
    """Five steps, a file, five steps more, with parameters that join late or never: those of one run."""
    straight = _parameters()
    whole = _optimizer(cls, straight, options)
    _steps(whole, straight, range(5))
    whole.param_groups[0]["lr"] = 5e-3
    whole.param_groups[1]["initial_lr"] = 1.0  # of schedulers
    checkpoint.save(tmp_path / "half", whole)
    halves = _copied(straight)
    resumed = _optimizer(cls, halves, options)
    checkpoint.load(tmp_path / "half", resumed)
    for optimizer, params in (whole, straight), (resumed, halves):
        _steps(optimizer, params, range(5, 10))
    _same(straight, halves)
    for ours, theirs in zip(resumed.param_groups, whole.param_groups):
        assert _options(ours) == _options(theirs)


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


@pytest.mark.parametrize(("cls", "options"), CASES)
def test_to_numpy_and_back(cls: Any, options: dict[str, Any], tmp_path: Path) -> None:
    """One format: steps in torch, then over arrays, then in torch again, are those of one run."""
    straight = _parameters()
    whole = _optimizer(cls, straight, options)
    _steps(whole, straight, range(4))
    checkpoint.save(tmp_path / "torch", whole)

    arrays = {name: p.detach().numpy().copy() for name, p in straight.items()}
    named = list(arrays.items())
    rules = [whole._rule(group) for group in whole.param_groups]
    over_arrays = Optimizer.of_groups([(dict(named[:2]), rules[0]), (dict(named[2:]), rules[1])])
    checkpoint.load(tmp_path / "torch", over_arrays)
    for step in range(4, 7):
        grads = {name: _gradient(name, step).numpy() for name in SHAPES if name not in ("late", "never")}
        over_arrays.step(grads if step < 6 else {**grads, "late": _gradient("late", step).numpy()})
    over_arrays.groups[0].lr = whole.param_groups[0]["lr"] = 3e-3
    checkpoint.save(tmp_path / "numpy", over_arrays)

    back = {name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in arrays.items()}
    resumed = _optimizer(cls, back, options)
    checkpoint.load(tmp_path / "numpy", resumed)
    assert float(resumed.param_groups[0]["lr"]) == 3e-3
    whole.param_groups[0]["lr"] = options.get("lr", whole.defaults["lr"])
    _steps(whole, straight, range(4, 7))
    whole.param_groups[0]["lr"] = 3e-3
    for optimizer, params in (whole, straight), (resumed, back):
        _steps(optimizer, params, range(7, 10))
    _same(straight, back)


def test_before_the_first_step(tmp_path: Path) -> None:
    """There is no state yet, and none afterwards."""
    params = _parameters()
    checkpoint.save(tmp_path / "new", _optimizer(AdamW, params, {}))
    optimizer = _optimizer(AdamW, params, {})
    _steps(optimizer, params, range(3))
    checkpoint.load(tmp_path / "new", optimizer)
    assert not optimizer.state


def test_scheduler_goes_on(tmp_path: Path) -> None:
    """The rate of a schedule is part of a group; the schedule's own state goes into extra."""
    runs = []
    for interrupted in False, True:
        params = _parameters()
        optimizer = _optimizer(AdamW, params, {})
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        for step in range(8):
            if interrupted and step == 4:
                checkpoint.save(tmp_path / "half", optimizer, extra={"schedule": scheduler.state_dict()})
                optimizer = _optimizer(AdamW, params, {})
                scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
                scheduler.load_state_dict(checkpoint.load(tmp_path / "half", optimizer)["schedule"])
            _steps(optimizer, params, range(step, step + 1))
            scheduler.step()
        runs.append(params)
    _same(*runs)


def test_parameters_without_names_have_numbers(tmp_path: Path) -> None:
    params = _parameters()
    optimizer = AdamW([{"params": [params["weights"]]}, {"params": [params["bias"], params["scale"]]}])
    checkpoint.save(tmp_path / "numbers", optimizer)
    assert [(t.name, t.group, t.shape) for t in checkpoint.read(tmp_path / "numbers").tensors] == [
        ("0", 0, (7, 5)),
        ("1", 1, (5,)),
        ("2", 1, ()),
    ]


def test_other_orders_of_memory(tmp_path: Path) -> None:
    """State has the order of its parameter in memory, and that of its shape in a file."""
    runs = []
    for order in torch.contiguous_format, torch.channels_last:
        p = torch.nn.Parameter(torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=order))
        optimizer = AdamW([p])
        p.grad = torch.sin(p.detach())
        optimizer.step()
        checkpoint.save(tmp_path / "file", optimizer)
        runs.append(checkpoint.read(tmp_path / "file").tensors[0].buffers["m"])
        checkpoint.load(tmp_path / "file", optimizer)
        np.testing.assert_array_equal(optimizer.state[p]["exp_avg"].numpy(), runs[-1])
    np.testing.assert_array_equal(runs[0], runs[1])


def _refuses(path: Path, optimizer: Any, match: str) -> None:
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(CheckpointError, match=match):
        checkpoint.load(path, optimizer)
    assert str(optimizer.state_dict()) == str(before)


def test_another_optimizer(tmp_path: Path) -> None:
    """Other rules, groups, names and shapes, and options that cannot be: nothing changes."""
    path, params = tmp_path / "file", _parameters()
    optimizer = _optimizer(AdamW, params, {})
    _steps(optimizer, params, range(2))
    checkpoint.save(path, optimizer)
    _refuses(path, _optimizer(Lion, params, {}), "group 0 is of adam, want lion")
    _refuses(path, _optimizer(AdamW, params, {"amsgrad": True}), "group 0 is of adam, want amsgrad")
    _refuses(path, AdamW(params.items()), "it is of 2 groups, want 1")
    renamed = {f"{name}_": p for name, p in params.items()}
    _refuses(path, _optimizer(AdamW, renamed, {}), "group 0 lacks \\['bias_', 'weights_'\\]")
    other = {**params, "weights": torch.nn.Parameter(torch.zeros(5, 7))}
    _refuses(path, _optimizer(AdamW, other, {}), "'weights' has the shape \\[7, 5\\], want \\[5, 7\\]")
    state = checkpoint.read(path)
    slot = state.tensors[0].buffers.pop("v")
    checkpoint.write(path, state)
    _refuses(path, optimizer, "'weights' has the state \\['m'\\], want \\['m', 'v'\\]")
    state.tensors[0].buffers["v"] = slot
    state.groups[1].framework["torch"]["eps"] = -1
    checkpoint.write(path, state)
    _refuses(path, optimizer, "[Ee]ps")


def test_torch_s_own_optimizers_are_refused(tmp_path: Path) -> None:
    """They go over by state_dict."""
    params = _parameters()
    theirs = torch.optim.AdamW(params.values())
    with pytest.raises(TypeError, match="optimizer is a AdamW, want one of lockstep.numpy or lockstep.torch"):
        checkpoint.save(tmp_path / "file", theirs)
    ours = lockstep.torch.AdamW(params.values())
    ours.load_state_dict(theirs.state_dict())
    checkpoint.save(tmp_path / "file", ours)


def test_averages_are_refused(tmp_path: Path) -> None:
    """What Go's optimizers keep beside state is no state here."""
    params = _parameters()
    optimizer = _optimizer(Adam, params, {})
    _steps(optimizer, params, range(3))
    checkpoint.save(tmp_path / "file", optimizer)
    state = checkpoint.read(tmp_path / "file")
    for tensor in state.tensors:
        tensor.buffers["params_slow"] = np.zeros(tensor.shape, np.float32)
    checkpoint.write(tmp_path / "file", state)
    before = copy.deepcopy(optimizer.state_dict()["state"])
    with pytest.raises(CheckpointError, match="'weights' has params_slow, which this optimizer does not keep"):
        checkpoint.load(tmp_path / "file", optimizer)
    torch.testing.assert_close(optimizer.state_dict()["state"], before, rtol=0, atol=0)
