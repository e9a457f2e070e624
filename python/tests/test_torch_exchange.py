"""The classes of 8 bits beside bitsandbytes and torchao: arguments, steps, and state that goes both ways.

What bitsandbytes has computed is in testdata/bitsandbytes.npz, which update/testdata/golden.py writes; where it is
installed, it is run too.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import numpy as np
import torch
import torch_runs as runs
from clone import ROOT
from torch import Tensor
from torch.nn import Parameter

import lockstep
import lockstep.torch as lt
from lockstep.torch._exchange import dynamic_map


def _cases() -> Any:
    path = ROOT / "update/testdata/tables/bitsandbytes_cases.py"
    spec = importlib.util.spec_from_file_location("bitsandbytes_cases", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = _cases()
GOLDEN = np.load(Path(__file__).with_name("testdata") / "bitsandbytes.npz")
SIGNED, UNSIGNED = GOLDEN["maps"]
HAS_BITSANDBYTES = importlib.util.find_spec("bitsandbytes") is not None
HAS_TORCHAO = importlib.util.find_spec("torchao") is not None
live = pytest.mark.skipif(not HAS_BITSANDBYTES, reason="bitsandbytes is not installed")
live_torchao = pytest.mark.skipif(not HAS_TORCHAO, reason="torchao is not installed")
EVERY = pytest.mark.parametrize("name", [*cases.CASES])

# How far steps may be from those of bitsandbytes, and from those of float32, as parts of how far they have come.
APART = {
    **{"Adam8bit": (0.075, 0.065), "AdamW8bit": (0.075, 0.065), "SGD8bit": (0.055, 0.05)},
    **{"RMSprop8bit": (0.045, 0.04), "Adagrad8bit": (0.045, 0.04), "Lion8bit": (0.07, 0.065)},
}
NAMES = {
    **dict.fromkeys(("Adam8bit", "AdamW8bit"), ("exp_avg", "exp_avg_sq")),
    **{"SGD8bit": ("momentum_buffer",), "RMSprop8bit": ("square_avg",)},
    **{"Adagrad8bit": ("sum",), "Lion8bit": ("exp_avg",)},
}
SQUARES = {"exp_avg_sq", "square_avg", "sum"}


def theirs() -> Any:
    return importlib.import_module("bitsandbytes").optim


def made(name: str, params: Any, **more: Any) -> Any:
    return getattr(lt, name)(params, **{**cases.CASES[name], **more})


def params_of(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def apart(a: Any, b: Any, moved: Any) -> float:
    a, b, moved = (np.asarray(x, np.float64) for x in (a, b, moved))
    return float(np.linalg.norm(a - b) / np.linalg.norm(moved))


# Arguments.

ADAM = {
    **{"params": inspect.Parameter.empty, "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0},
    **{"amsgrad": False, "optim_bits": 32, "args": None, "min_8bit_size": 4096, "is_paged": False},
}
SIGNATURES: dict[str, dict[str, Any]] = {
    "Adam8bit": ADAM,
    "AdamW8bit": {**ADAM, "weight_decay": 1e-2},
    "SGD8bit": {
        **{"params": inspect.Parameter.empty, "lr": inspect.Parameter.empty, "momentum": 0, "dampening": 0},
        **{"weight_decay": 0, "nesterov": False, "args": None, "min_8bit_size": 4096},
    },
    "RMSprop8bit": {
        **{"params": inspect.Parameter.empty, "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0},
        **{"momentum": 0, "centered": False, "args": None, "min_8bit_size": 4096},
    },
    "Adagrad8bit": {
        **{"params": inspect.Parameter.empty, "lr": 1e-2, "lr_decay": 0, "weight_decay": 0},
        **{"initial_accumulator_value": 0, "eps": 1e-10, "optim_bits": 8, "args": None, "min_8bit_size": 4096},
    },
    "Lion8bit": {
        **{"params": inspect.Parameter.empty, "lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0},
        **{"args": None, "min_8bit_size": 4096, "is_paged": False},
    },
}
TORCHAO = {
    **{"params": inspect.Parameter.empty, "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2},
    **{"amsgrad": False, "block_size": 256, "bf16_stochastic_round": False},
}


def defaults(cls: Any, kind: Any = None) -> list[tuple[str, Any]]:
    parameters = inspect.signature(cls).parameters.values()
    return [(p.name, p.default) for p in parameters if kind is None or p.kind is kind]


@EVERY
def test_arguments(name: str) -> None:
    """Those of bitsandbytes 0.50 in its order, and none but by name after them."""
    assert defaults(getattr(lt, name), inspect.Parameter.POSITIONAL_OR_KEYWORD) == [*SIGNATURES[name].items()]
    if HAS_BITSANDBYTES:
        assert defaults(getattr(theirs(), name)) == [*SIGNATURES[name].items()]


def test_arguments_of_torchao() -> None:
    mine = dict(defaults(lt.AdamW8bit))
    assert {name: mine[name] for name in TORCHAO} == TORCHAO
    if HAS_TORCHAO:
        assert defaults(importlib.import_module("torchao.optim").AdamW8bit) == [*TORCHAO.items()]


# Steps.


def trained(cls: Any, options: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    optimizer, moved = cases.train(lambda params: cls(params, **options), **more)
    return optimizer, moved


@EVERY
def test_steps(name: str) -> None:
    """Large parameters within a bound; small ones, with state of float32 in both, to a few roundings.

    These tell the weight decay, where eps is and how biases are corrected.
    """
    _, ours = trained(getattr(lt, name), cases.CASES[name])
    plain = getattr(lt, "AdamW" if name == "AdamW8bit" else name.removesuffix("8bit"))
    options = cases.CASES[name]
    _, floats = trained(plain, options)
    beside, from_floats = APART[name]
    assert apart(ours[0], GOLDEN[f"{name}/moved"], floats[0]) < beside
    assert apart(ours[0], floats[0], floats[0]) < from_floats
    assert apart(ours[1], GOLDEN[f"{name}/small"], floats[1]) < 1e-4
    if HAS_BITSANDBYTES:
        _, now = trained(getattr(theirs(), name), options)
        assert apart(now[1], GOLDEN[f"{name}/small"], floats[1]) < 1e-4
        assert apart(ours[0], now[0], floats[0]) < beside


def test_steps_beside_torchao() -> None:
    large = len(GOLDEN["torchao/moved"])
    _, ours = trained(lt.AdamW8bit, cases.TORCHAO, large=large)
    _, floats = trained(lt.AdamW, cases.TORCHAO, large=large)
    assert apart(ours[0], GOLDEN["torchao/moved"], floats[0]) < APART["AdamW8bit"][0]


def test_weight_decay_of_adam() -> None:
    """That of bitsandbytes' Adam8bit is decoupled, as AdamW8bit's, and ours L2's, as torch's and torchao's."""
    options = {"lr": 1e-3, "weight_decay": 0.1}
    _, ours = trained(lt.Adam8bit, options)
    _, torchs = trained(torch.optim.Adam, options)
    assert apart(ours[1], torchs[1], torchs[1]) < 1e-4
    assert apart(ours[1], GOLDEN["AdamW8bit/small"], torchs[1]) > 0.1


# State.


def test_map() -> None:
    for signed, want in ((True, SIGNED), (False, UNSIGNED)):
        assert dynamic_map(signed).numpy().tobytes() == want.tobytes()
        if HAS_BITSANDBYTES:
            create = importlib.import_module("bitsandbytes.functional").create_dynamic_map
            assert torch.equal(dynamic_map(signed), create(signed=signed))


def golden(name: str, wrapped: bool = True) -> dict[str, Any]:
    """The state dict that bitsandbytes had."""
    states = {}
    for k, prefix in enumerate((name, f"{name}/small")):
        keys = [key for key in GOLDEN.files if key.rpartition("/")[0] == prefix and key.split("/")[-1][-1] in "12"]
        state = {key.split("/")[-1]: torch.from_numpy(GOLDEN[key]) for key in keys}
        if k == 0:
            state |= {
                f"qmap{j}": torch.from_numpy(m) for j, m in zip((1, 2), (SIGNED, UNSIGNED)) if f"state{j}" in state
            }
        states[k] = {"step": cases.STEPS, **({cases.WRAPPED: state} if wrapped else state)}
    return {"state": states, "param_groups": [json.loads(str(GOLDEN[f"{name}/group"]))]}


def numbers(name: str, j: int) -> Any:
    """What a state of a large parameter stands for."""
    of = SIGNED if j == 1 else UNSIGNED
    return of[GOLDEN[f"{name}/state{j}"]] * np.repeat(GOLDEN[f"{name}/absmax{j}"], 256)[: cases.LARGE]


def fresh(name: str, **more: Any) -> Any:
    return made(name, [Parameter(torch.from_numpy(p)) for p in cases.parameters()], **more)


@EVERY
@pytest.mark.parametrize("wrapped", [True, False])
def test_takes_what_bitsandbytes_has_saved(name: str, wrapped: bool) -> None:
    """As of version 0.50, and as before 0.49."""
    file = io.BytesIO()
    torch.save(golden(name, wrapped), file)
    file.seek(0)
    optimizer = fresh(name, lr=0.5)
    optimizer.load_state_dict(torch.load(file))
    options = {key: value for key, value in cases.CASES[name].items() if key in optimizer.param_groups[0]}
    assert {key: optimizer.param_groups[0][key] for key in options} == options
    large, small = params_of(optimizer)
    values = optimizer.state_values(large)
    for j, key in enumerate(NAMES[name], 1):
        want = torch.from_numpy(numbers(name, j))
        # One of the two neighbours: 3 bits of a fraction, down to 1.25 * 2**-16 of the largest, of squares far less.
        least = 0 if key in SQUARES else float(want.abs().max()) * 2e-5
        assert torch.allclose(values[key], want, rtol=1 / 8, atol=least)
        assert not torch.equal(values[key], want)
        assert abs(float((values[key] - want).sum() / want.abs().sum())) < 5e-3  # the mean is right
        assert np.array_equal(optimizer.state_values(small)[key].numpy(), GOLDEN[f"{name}/small/state{j}"])
    assert optimizer.state[large]["step"] == optimizer.state[small]["step"] == cases.STEPS


@EVERY
def test_gives_what_bitsandbytes_takes(name: str) -> None:
    """The same keys, types and shapes as its own, and of each number the nearest."""
    optimizer, _ = trained(getattr(lt, name), cases.CASES[name])
    saved, want = optimizer.bitsandbytes_state_dict(), golden(name)
    assert saved["param_groups"] == [{**g, "betas": tuple(g["betas"])} for g in want["param_groups"]]
    assert [*saved["param_groups"][0]["params"]] == [0, 1]
    for k, p in enumerate(params_of(optimizer)):
        state, like = saved["state"][k][cases.WRAPPED], want["state"][k][cases.WRAPPED]
        assert saved["state"][k]["step"] == cases.STEPS
        assert {key: (v.dtype, v.shape) for key, v in state.items()} == {
            key: (v.dtype, v.shape) for key, v in like.items()
        }
        for j, key in enumerate(NAMES[name], 1):
            values = optimizer.state_values(p)[key].numpy()
            if k == 1:
                assert np.array_equal(state[f"state{j}"].numpy(), values)
                continue
            of, codes, absmax = (state[f"{part}{j}"].numpy() for part in ("qmap", "state", "absmax"))
            assert of.tobytes() == (SIGNED if j == 1 else UNSIGNED).tobytes()
            blocks = [values[i : i + 256] for i in range(0, len(values), 256)]
            assert np.array_equal(absmax, [np.abs(b).max() for b in blocks])
            scaled = values / np.repeat(absmax, 256)[: len(values)]
            nearest = np.abs(scaled[:, None] - of).min(1)
            if key in SQUARES:
                assert (of[codes][values > 0] > 0).all()  # it is divided by
                nearest = np.where(scaled > 0, np.abs(scaled[:, None] - of[of > 0]).min(1), nearest)
            assert np.abs(np.abs(of[codes] - scaled) - nearest).max() < 1e-6


@EVERY
def test_there_and_back(name: str) -> None:
    """What came from bitsandbytes is, but for codes of 8 bits twice, what goes there."""
    optimizer = fresh(name)
    optimizer.load_state_dict(golden(name))
    back, want = optimizer.bitsandbytes_state_dict()["state"], golden(name)["state"]
    for j in range(1, len(NAMES[name]) + 1):
        a, b = (state[0][cases.WRAPPED] for state in (back, want))
        assert torch.allclose(a[f"absmax{j}"], b[f"absmax{j}"], rtol=8e-3)  # -1 is no number of the map
        of = torch.from_numpy(SIGNED if j == 1 else UNSIGNED)
        x, y = (of[s[f"state{j}"].long()] for s in (a, b))
        assert torch.allclose(x, y, rtol=0.2, atol=5e-3)
        assert torch.equal(back[1][cases.WRAPPED][f"state{j}"], want[1][cases.WRAPPED][f"state{j}"])


@live
@EVERY
def test_goes_on_as_bitsandbytes(name: str) -> None:
    """From its state here, and from the state here there: ten steps on, within the bound of all steps."""
    half, steps = range(30), range(30, 40)
    options = cases.CASES[name]
    for first, second in ((theirs(), lt), (lt, theirs())):
        optimizer, _ = trained(getattr(first, name), options, steps=half)
        start = [p.detach().numpy().copy() for p in params_of(optimizer)]
        saved = optimizer.state_dict() if first is not lt else optimizer.bitsandbytes_state_dict()

        def loaded(params: Any, second: Any = second, saved: Any = saved) -> Any:
            other = getattr(second, name)(params, **options)
            other.load_state_dict(copy.deepcopy(saved))
            return other

        _, there = cases.train(loaded, steps=steps, start=start)
        _, want = cases.train(lambda params, same=optimizer: _over(same, params), steps=steps, start=start)
        assert apart(there[0], want[0], want[0]) < 1.5 * APART[name][0]
        assert apart(there[1], want[1], want[1]) < 1e-4


def _over(optimizer: Any, params: Any) -> Any:
    """An optimizer that has its own parameters, by name of others: they go on in these."""
    new = type(optimizer)(params, **cases.CASES[type(optimizer).__name__])
    new.load_state_dict(optimizer.state_dict())
    return new


@live_torchao
def test_takes_what_torchao_has_saved() -> None:
    options, large = cases.TORCHAO, 4352
    torchao = importlib.import_module("torchao.optim").AdamW8bit
    optimizer, _ = trained(torchao, options, large=large, steps=range(5))
    ours = lt.AdamW8bit([Parameter(p.detach().clone()) for p in params_of(optimizer)])
    ours.load_state_dict(optimizer.state_dict())
    for p, q in zip(params_of(ours), params_of(optimizer)):
        for key, values in ours.state_values(p).items():
            want = optimizer.state[q][key]
            want = want.dequantize() if hasattr(want, "codes") else want
            assert torch.allclose(
                values, want, rtol=1 / 8, atol=0 if key in SQUARES else float(want.abs().max()) * 2e-5
            )
    ours.step()


def test_other_orders_of_memory() -> None:
    """Codes there are in the order of a shape, here in that of memory."""
    p = Parameter(torch.from_numpy(cases.parameters()[0]).reshape(41, 100).t())
    q = Parameter(p.detach().contiguous())
    optimizers = [made("AdamW8bit", [x], state_seed=3) for x in (p, q)]
    g = torch.from_numpy(cases.gradients(0)[0]).reshape(100, 41)
    for o in optimizers:
        params_of(o)[0].grad = torch.empty_like(params_of(o)[0]).copy_(g)
        o.step()
    a, b = (o.bitsandbytes_state_dict()["state"][0][cases.WRAPPED] for o in optimizers)
    for key in ("state1", "state2"):
        x, y = (s[key].float() / s[key].float().max() for s in (a, b))
        assert a[key].is_contiguous()
        assert (x - y).abs().max() < 0.2  # rounded at random, by places in memory
    for o in optimizers:
        o.load_state_dict(
            {"state": {0: {"step": 1, cases.WRAPPED: a}}, "param_groups": o.bitsandbytes_state_dict()["param_groups"]}
        )
        want = dynamic_map(False)[a["state2"].long()] * a["absmax2"].repeat_interleave(256)[:4100].reshape(100, 41)
        assert torch.allclose(o.state_values(params_of(o)[0])["exp_avg_sq"], want, rtol=1 / 8)


def test_before_the_first_step() -> None:
    """There is no state, and groups come over."""
    optimizer = fresh("AdamW8bit", lr=0.5)
    saved = optimizer.bitsandbytes_state_dict()
    assert saved["state"] == {}
    other = fresh("AdamW8bit")
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.5
    assert not other.state
    blocks = fresh("SGD8bit", weight_decay=0)
    for p in params_of(blocks):
        p.grad = torch.zeros_like(p)
    blocks.step()
    state = blocks.bitsandbytes_state_dict()["state"][0][cases.WRAPPED]
    assert (state["absmax1"] == 0).all()
    assert (state["qmap1"][state["state1"].long()] == 0).all()


def test_small_squares_stay() -> None:
    """What is far below the largest of its block is the least number of the map, and not 0: steps divide by it."""
    optimizer = made("AdamW8bit", [Parameter(torch.ones(4352))])
    (p,) = params_of(optimizer)
    p.grad = torch.full_like(p, 1e-4)
    p.grad[::256] = 1
    optimizer.step()
    state = optimizer.bitsandbytes_state_dict()["state"][0][cases.WRAPPED]
    assert (dynamic_map(False)[state["state2"].long()] > 0).all()


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "Adam8bit",
        {"weight_decay": 0.1},
        "weight_decay is 0.1, want 0, or AdamW8bit: bitsandbytes' Adam8bit decays as that",
    ),
    ("AdamW8bit", {"amsgrad": True}, "amsgrad is True, want False: bitsandbytes has not this option"),
    ("AdamW8bit", {"maximize": True}, "maximize is True, want False"),
    ("AdamW8bit", {"cautious_decay": True}, "cautious_decay is True, want False"),
    ("SGD8bit", {"nesterov": True}, "nesterov is True, want False"),
    ("SGD8bit", {"dampening": 0.5}, "dampening is 0.5, want 0"),
    ("RMSprop8bit", {"momentum": 0.9}, "momentum is 0.9, want 0"),
    ("Adagrad8bit", {"lr_decay": 0.1}, "lr_decay is 0.1, want 0"),
]


@pytest.mark.parametrize(("name", "options", "why"), REFUSED)
def test_refused(name: str, options: dict[str, Any], why: str) -> None:
    optimizer = fresh(name, **options)
    with pytest.raises((lt.UnsupportedError, lockstep.ArgumentError), match=why):
        optimizer.bitsandbytes_state_dict()


def test_refused_state() -> None:
    decays = golden("Adam8bit")
    decays["param_groups"][0]["weight_decay"] = 0.1
    with pytest.raises(lockstep.ArgumentError, match="weight_decay is 0.1, want 0, or AdamW8bit"):
        fresh("Adam8bit").load_state_dict(decays)
    with pytest.raises(lockstep.ArgumentError, match="amsgrad is True, want False with a state of bitsandbytes"):
        fresh("AdamW8bit", amsgrad=True).load_state_dict(golden("AdamW8bit"))
    for masters in ("master_weights", "split_master"):
        kwargs: dict[str, Any] = {masters: True}
        halves = lt.AdamW8bit([Parameter(torch.ones(9, dtype=torch.bfloat16))], **kwargs)
        with pytest.raises(lt.UnsupportedError, match="is True, want False: bitsandbytes has no masters"):
            halves.bitsandbytes_state_dict()
    # What bitsandbytes does not heed is off with its state.
    sgd = fresh("SGD8bit", nesterov=True)
    sgd.load_state_dict(golden("SGD8bit"))
    assert (sgd.param_groups[0]["nesterov"], sgd.param_groups[0]["momentum"]) == (False, 0.9)
    rmsprop = fresh("RMSprop8bit", momentum=0.9)
    rmsprop.load_state_dict(golden("RMSprop8bit"))
    assert (rmsprop.param_groups[0]["alpha"], rmsprop.param_groups[0]["momentum"]) == (0.99, 0)
    two = made("AdamW8bit", [{"params": [Parameter(torch.ones(5))]}, {"params": [Parameter(torch.ones(5))]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        two.load_state_dict(golden("AdamW8bit"))


def test_every_class() -> None:
    assert {name for name, _ in runs.EIGHT_BITS} == cases.CASES.keys() == APART.keys() == NAMES.keys()
