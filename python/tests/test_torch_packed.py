"""State of fewer bits: ``state_dtype`` and the classes of 8 bits."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import numpy as np
import torch
import torch_runs as runs
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

import lockstep
import lockstep.numpy as ln
import lockstep.torch as lt
from lockstep import checkpoint

TYPES: list[Any] = [torch.bfloat16, "float8"]
ROOMS = {torch.bfloat16: 2048, "float8": 1040}  # bytes of a block of 1024
SHAPES = [(100, 70), (30,), (64, 65), (4097,)]  # the second alone stays float32

# What has state of fewer bits, and what of it.
PACKED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "Adam": ({"amsgrad": True}, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
    "AdamW": ({"weight_decay": 0.1}, {"exp_avg", "exp_avg_sq"}),
    "SGD": ({"lr": 0.01, "momentum": 0.9}, {"momentum_buffer"}),
    "Adagrad": ({"initial_accumulator_value": 0.1}, {"sum"}),
    "RMSprop": ({"momentum": 0.9}, {"square_avg", "momentum_buffer"}),
    "Adadelta": ({}, {"square_avg", "acc_delta"}),
    "Adamax": ({}, {"exp_avg"}),
    "RAdam": ({}, {"exp_avg", "exp_avg_sq"}),
    "NAdam": ({}, {"exp_avg", "exp_avg_sq"}),
    "Lion": ({}, {"exp_avg"}),
    "AdaBelief": ({}, {"exp_avg", "exp_avg_var"}),
    "Adan": ({"weight_decay": 0.1}, {"exp_avg", "exp_avg_diff", "exp_avg_sq", "pre_grad"}),
    "CautiousAdamW": ({}, {"exp_avg", "exp_avg_sq"}),
    "CautiousLion": ({}, {"exp_avg"}),
    "ADOPT": ({}, {"exp_avg", "exp_avg_sq"}),
    "AdEMAMix": ({}, {"exp_avg_fast", "exp_avg_slow", "exp_avg_sq"}),
    "SimplifiedAdEMAMix": ({}, {"exp_avg", "exp_avg_sq"}),
    "LaProp": ({}, {"mean", "exp_avg_sq"}),
    "Yogi": ({}, {"exp_avg", "exp_avg_sq"}),
    "SignSGD": ({"momentum": 0.9}, {"exp_avg"}),
    "AddSign": ({}, {"exp_avg"}),
    "PowerSign": ({}, {"exp_avg"}),
}
EVERY = [pytest.param(name, kwargs, slots, id=name) for name, (kwargs, slots) in PACKED.items()]


def drawn(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters() -> list[Parameter]:
    tensors = [drawn(shape, k) for k, shape in enumerate(SHAPES)]
    tensors[2] = tensors[2].t()
    return [Parameter(t) for t in tensors]


def params_of(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def step(optimizer: Any, number: int) -> None:
    for k, p in enumerate(params_of(optimizer)):
        p.grad = drawn(tuple(p.shape), 100 * number + k).to(p.dtype) / 8
    optimizer.step()


def trained(optimizer: Any, first: int, last: int) -> list[Tensor]:
    for number in range(first, last):
        step(optimizer, number)
    return [p.detach().clone() for p in params_of(optimizer)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b))


def saved(optimizer: Any) -> Any:
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    return torch.load(file)


def test_every_class() -> None:
    classes = {n: of for n in lt.__all__ if issubclass(type(of := getattr(lt, n)), type) and issubclass(of, Optimizer)}
    takes = {n for n, of in classes.items() if "state_dtype" in inspect.signature(of).parameters}
    assert takes == PACKED.keys()
    eight = {n for n in lt.__all__ if n.endswith("8bit")}
    assert eight == {name for name, _ in runs.EIGHT_BITS}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "kwargs", "slots"), EVERY)
def test_state(name: str, kwargs: dict[str, Any], slots: set[str], dtype: Any) -> None:
    """What is bytes, how many, and that the numbers in them are near those of float32 after a step."""
    cls = getattr(lt, name)
    packed, plain = (cls(parameters(), **kwargs, **more) for more in ({"state_dtype": dtype, "state_seed": 5}, {}))
    trained(packed, 0, 1)
    trained(plain, 0, 1)
    for p, q in zip(params_of(packed), params_of(plain)):
        state, values, want = packed.state[p], packed.state_values(p), plain.state_values(q)
        bytes_of = {key: v.numel() for key, v in state.items() if isinstance(v, Tensor) and v.dtype is torch.uint8}
        room = -(-p.numel() // 1024) * ROOMS[dtype]
        assert bytes_of == (dict.fromkeys(slots, room) if p.numel() > 4096 else {})
        assert values.keys() == want.keys()
        for key, x in want.items():
            assert values[key].dtype is torch.float32
            close = 1 / 4 if dtype == "float8" else 1 / 63  # what it begins as is rounded, too
            assert torch.allclose(values[key], x, rtol=close, atol=float(x.abs().max()) * 2e-5)
    assert params_of(packed)[1].equal(params_of(plain)[1])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "kwargs", "slots"), EVERY)
def test_goes_on(name: str, kwargs: dict[str, Any], slots: set[str], dtype: Any) -> None:
    """From a state dict, a copy and a pickle, to the bit."""
    cls, more = getattr(lt, name), {"state_dtype": dtype, "state_seed": 7}
    optimizer = cls(parameters(), **kwargs, **more)
    now = trained(optimizer, 0, 4)
    loaded = cls([Parameter(torch.empty_like(p).copy_(p)) for p in now], **kwargs, **more)
    loaded.load_state_dict(saved(optimizer))
    others = [loaded, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    want = trained(optimizer, 4, 8)
    assert all(same(trained(other, 4, 8), want) for other in others)
    seeded = cls(parameters(), **kwargs, state_dtype=dtype, state_seed=8)
    assert not same(trained(seeded, 0, 8), want)


@pytest.mark.parametrize("dtype", TYPES)
def test_bits_are_the_librarys(dtype: Any) -> None:
    """Those of an optimizer over NumPy arrays."""
    optimizer = lt.AdamW([Parameter(drawn((100, 70), 0)), Parameter(drawn((30,), 1))], state_dtype=dtype, state_seed=3)
    arrays = {str(k): p.detach().numpy().copy() for k, p in enumerate(params_of(optimizer))}
    other = ln.Optimizer(arrays, lockstep.preset("torch", "AdamW"))
    other.set_state_types(dict.fromkeys("mv", "bfloat16" if dtype is torch.bfloat16 else dtype), seed=3)
    for number in range(20):
        step(optimizer, number)
        other.step([p.grad.numpy() for p in params_of(optimizer) if p.grad is not None])
    for k, p in enumerate(params_of(optimizer)):
        assert np.array_equal(p.detach().numpy(), arrays[str(k)])
        values = optimizer.state_values(p)
        for slot, key in {"m": "exp_avg", "v": "exp_avg_sq"}.items():
            assert np.array_equal(values[key].numpy(), other.state(str(k))[slot])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("cls", "kwargs"), [(torch.optim.AdamW, {}), (torch.optim.Adagrad, {"lr": 0.1})])
def test_float32_state_is_converted(cls: Any, kwargs: dict[str, Any], dtype: Any) -> None:
    theirs = cls(parameters(), **kwargs)
    now = trained(theirs, 0, 5)
    ours = getattr(lt, cls.__name__)(
        [Parameter(torch.empty_like(p).copy_(p)) for p in now], **kwargs, state_dtype=dtype
    )
    ours.load_state_dict(saved(theirs))
    for p, q in zip(params_of(ours), params_of(theirs)):
        for key, values in ours.state_values(p).items():
            want = theirs.state[q][key]
            assert torch.allclose(values, want, rtol=1 / 8, atol=float(want.abs().max()) * 2e-5)
    after, want = trained(ours, 5, 6), trained(theirs, 5, 6)
    assert all(torch.allclose(x, y, rtol=0, atol=0.05) for x, y in zip(after, want))


@pytest.mark.parametrize(("name", "kwargs"), runs.EIGHT_BITS)
def test_eight_bits(name: str, kwargs: dict[str, Any]) -> None:
    """Each is the class that it is named after with state_dtype."""
    eight, plain = getattr(lt, name), getattr(lt, name.removesuffix("8bit"))
    a = eight(parameters(), **kwargs, state_seed=2)
    b = plain(parameters(), **kwargs, state_dtype="float8", state_seed=2)
    assert isinstance(a, plain)
    assert same(trained(a, 0, 10), trained(b, 0, 10))
    loaded = eight([Parameter(torch.empty_like(p).copy_(p)) for p in params_of(a)], **kwargs, state_seed=2)
    loaded.load_state_dict(saved(a))
    assert same(trained(loaded, 10, 12), trained(a, 10, 12))
    defaults = {n: p.default for n, p in inspect.signature(plain).parameters.items()}
    mine = {n: p.default for n, p in inspect.signature(eight).parameters.items()}
    both = mine.keys() & defaults.keys() - {"lr"}
    assert {n: mine[n] for n in both} == {n: defaults[n] for n in both}


ARGUMENTS = {
    "optim_bits": 16,
    "args": {},
    "min_8bit_size": 0,
    "percentile_clipping": 5,
    "block_wise": False,
    "is_paged": True,
    "block_size": 2048,
}


@pytest.mark.parametrize(("name", "kwargs"), runs.EIGHT_BITS)
def test_arguments_without_meaning(name: str, kwargs: dict[str, Any]) -> None:
    cls = getattr(lt, name)
    there = [a for a in ARGUMENTS if a in inspect.signature(cls).parameters]
    assert len(there) >= 4
    for argument in there:
        with pytest.raises(lt.UnsupportedError, match=f"{argument} is .*, want"):
            cls(parameters(), **kwargs, **{argument: ARGUMENTS[argument]})


def test_masters() -> None:
    """Masters and gradients of 16 bits go together with state of 8: a parameter is its master, rounded."""
    params = [Parameter(p.detach().to(torch.bfloat16)) for p in parameters()]
    optimizer = lt.AdamW8bit(params, master_weights=True)
    plain = lt.AdamW8bit([Parameter(p.detach().float()) for p in params])
    for number in range(4):
        step(optimizer, number)
        for p, q in zip(params, params_of(plain)):
            assert p.grad is not None
            q.grad = p.grad.float()
        plain.step()
    for p, q in zip(params, params_of(plain)):
        assert torch.equal(optimizer.state[p]["master"], q)
        assert torch.equal(p, q.to(torch.bfloat16))
    loaded = lt.AdamW8bit([Parameter(p.detach().clone()) for p in params], master_weights=True)
    loaded.load_state_dict(saved(optimizer))
    assert same(trained(loaded, 4, 6), trained(optimizer, 4, 6))


NAMED = ["SGD", "AdamW", "Adagrad", "NAdam"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMED)
def test_checkpoint(name: str, dtype: Any, tmp_path: Path) -> None:
    """Steps go on from a file to the bit, which optimizers over arrays take, too, and give back."""
    cls, kwargs = getattr(lt, name), PACKED[name][0] | {"state_dtype": dtype, "state_seed": 4}
    path, tensors = tmp_path / "state", parameters()
    if dtype == "float8":  # whose scales are of elements in the order of memory
        tensors[2] = Parameter(tensors[2].detach().contiguous())
    optimizer = cls(tensors, **kwargs)
    trained(optimizer, 0, 3)
    checkpoint.save(path, optimizer)
    loaded = cls([Parameter(torch.empty_like(p).copy_(p)) for p in tensors], **kwargs)
    checkpoint.load(path, loaded)

    arrays = {str(k): np.array(p.detach().numpy(), order="C") for k, p in enumerate(tensors)}
    over_arrays = ln.Optimizer(arrays, optimizer._rule(optimizer.param_groups[0]))
    slots = {slot for slot, key in optimizer._state_names.items() if key in PACKED[name][1]}
    over_arrays.set_state_types(dict.fromkeys(slots, "bfloat16" if dtype is torch.bfloat16 else dtype), seed=4)
    checkpoint.load(path, over_arrays)
    checkpoint.save(tmp_path / "again", over_arrays)
    back = cls([Parameter(torch.empty_like(p).copy_(p)) for p in tensors], **kwargs)
    checkpoint.load(tmp_path / "again", back)

    want = trained(optimizer, 3, 6)
    assert same(trained(loaded, 3, 6), want)
    assert same(trained(back, 3, 6), want)
    for number in range(3, 6):
        grads = [drawn(tuple(p.shape), 100 * number + k) / 8 for k, p in enumerate(tensors)]
        over_arrays.step([g.numpy() for g in grads])
    ordered = [p.is_contiguous() for p in tensors]  # others have other numbers of elements
    assert all(np.array_equal(arrays[str(k)], p.numpy()) for k, p in enumerate(want) if ordered[k])


def test_checkpoint_before_the_first_step(tmp_path: Path) -> None:
    """Of state that was loaded as float32, the file has what the next step begins with."""
    theirs = torch.optim.AdamW(parameters()[:2])
    trained(theirs, 0, 2)
    ours = lt.AdamW([Parameter(p.detach().clone()) for p in params_of(theirs)], state_dtype="float8", state_seed=3)
    ours.load_state_dict(saved(theirs))
    checkpoint.save(tmp_path / "state", ours)
    other = lt.AdamW([Parameter(p.detach().clone()) for p in params_of(theirs)], state_dtype="float8", state_seed=3)
    checkpoint.load(tmp_path / "state", other)
    assert same(trained(other, 2, 4), trained(ours, 2, 4))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("to", [torch.float32, *TYPES])
@pytest.mark.parametrize(("cls", "options"), [(lt.AdamW, {}), (lt.Adan, {}), (lt.AdamW, {"amsgrad": True})])
def test_state_dict_has_its_type(cls: Any, options: dict[str, Any], dtype: Any, to: Any) -> None:
    """The seed comes with the same type; another is converted, through float32. Options come with it too."""
    optimizer = cls(parameters(), **options, state_dtype=dtype, state_seed=9)
    now = trained(optimizer, 0, 3)
    state = saved(optimizer)
    assert (state["state_dtype"], state["state_seed"]) == ("float8" if dtype == "float8" else "bfloat16", 9)
    other = cls([Parameter(torch.empty_like(p).copy_(p)) for p in now], state_dtype=to)
    other.load_state_dict(state)
    if to == dtype:
        assert other.state_seed == 9
        assert same(trained(other, 3, 6), trained(optimizer, 3, 6))
        return
    assert other.state_seed == 0
    for p, q in zip(params_of(optimizer), params_of(other)):
        for key, x in optimizer.state_values(p).items():
            y = other.state_values(q)[key]
            if to is torch.float32 or p.numel() <= 4096:
                assert torch.equal(x, y)
            close = {torch.bfloat16: 1 / 127, "float8": 1 / 8}.get(to, 0)
            assert torch.allclose(x, y, rtol=close, atol=float(x.abs().max()) * 2e-5)
    trained(other, 3, 4)
    swapped = "bfloat16" if dtype == "float8" else "float8"
    for wrong, why in [
        ({"state_dtype": "float9"}, "state_dtype of the state dict is 'float9'"),
        ({"state_dtype": swapped}, "bytes of state, want"),
    ]:
        plain = cls(parameters())
        with pytest.raises(lockstep.ArgumentError, match=why):
            plain.load_state_dict({**state, **wrong})
        assert not plain.state


def test_refused(tmp_path: Path) -> None:
    wrong: list[Any] = [torch.float16, torch.float64, "float9", None, 8]
    for bad in wrong:
        with pytest.raises(lockstep.ArgumentError, match=r"state_dtype is .*, want torch.float32, torch.bfloat16 or"):
            lt.AdamW(parameters(), state_dtype=bad)
    with pytest.raises(lockstep.ArgumentError, match="state_seed is -1, want an integer from 0"):
        lt.AdamW(parameters(), state_dtype="float8", state_seed=-1)
    with pytest.raises(lt.UnsupportedError, match="want torch.float32 with these options"):
        lt.RMSprop(parameters(), centered=True, state_dtype="float8")
    with pytest.raises(lt.UnsupportedError, match="want torch.float32 with these options"):
        lt.RMSprop8bit(parameters(), centered=True)
    with pytest.raises(lt.UnsupportedError, match="momentum is 0, want one above 0"):
        lt.SGD8bit(parameters(), 0.1)
    optimizer = lt.AdamW(parameters(), state_dtype="float8")
    trained(optimizer, 0, 1)
    with pytest.raises(lt.UnsupportedError, match="2 is not in memory in the order of its shape, want it contiguous"):
        checkpoint.save(tmp_path / "state", optimizer)
    contiguous = [Parameter(torch.empty(p.shape).copy_(p)) for p in parameters()]
    checkpoint.save(tmp_path / "state", lt.AdamW(contiguous))
    trained(other := lt.AdamW(contiguous, state_dtype="float8"), 0, 1)
    before = saved(other)
    with pytest.raises(checkpoint.CheckpointError, match="group 0 is of adam, want amsgrad"):
        checkpoint.load(tmp_path / "state", lt.AdamW(contiguous, amsgrad=True, state_dtype="float8"))
    checkpoint.save(tmp_path / "state", other)
    for mine in (lt.AdamW(contiguous), lt.AdamW(contiguous, state_dtype=torch.bfloat16)):
        with pytest.raises(checkpoint.CheckpointError, match="'0' has m as float8, want"):
            checkpoint.load(tmp_path / "state", mine)
    with pytest.raises(lt.UnsupportedError, match="2 is not in memory in the order of its shape, want it contiguous"):
        checkpoint.load(tmp_path / "state", optimizer)
    assert str(saved(other)) == str(before)
    plain, halves = lt.AdamW(parameters()), lt.AdamW(parameters(), state_dtype=torch.bfloat16)
    with pytest.raises(lockstep.ArgumentError, match="param is none of those"):
        plain.state_values(torch.ones(3))
    bytes_alone = {key: saved(optimizer)[key] for key in ("state", "param_groups")}  # as older ones
    plain.load_state_dict(bytes_alone)
    halves.load_state_dict(bytes_alone)
    for other in (plain, halves):
        with pytest.raises(lt.UnsupportedError, match="the state exp_avg of parameter 0 of group 0"):
            step(other, 1)
    with pytest.raises(lt.UnsupportedError, match="is torch.float64, want torch.float32"):
        lt.AdamW([Parameter(torch.ones(5000, dtype=torch.float64))], state_dtype="float8", fallback=True)


def test_groups_differ() -> None:
    """Groups of other options, and a group that comes later."""
    first, *others = parameters()
    kwargs: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "state_dtype": "float8"}
    groups: list[dict[str, Any]] = [{"params": [first]}, {"params": others[:2], "momentum": 0.0}]
    optimizer = lt.SGD(groups, **kwargs)
    trained(optimizer, 0, 2)
    optimizer.add_param_group({"params": others[2:], "nesterov": True})
    trained(optimizer, 2, 4)
    assert optimizer.state[first]["momentum_buffer"].dtype is torch.uint8
    assert optimizer.state[others[2]]["momentum_buffer"].numel() == 5 * ROOMS["float8"]
    assert "momentum_buffer" not in optimizer.state[others[0]]
