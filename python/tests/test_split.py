"""Parameters in two halves of 16 bits."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import pickle
from typing import Any

import numpy as np
import pytest

import lockstep
import lockstep.numpy as ln
from lockstep import ArgumentError

SHAPES: dict[str, tuple[int, ...]] = {"weights": (540, 500), "bias": (7,), "scale": (), "none": (0, 3)}


def drawn(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: np.asarray(random.standard_normal(shape), np.float32) for name, shape in SHAPES.items()}


def halves_of(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    split = {name: ln.split_bf16(array) for name, array in params.items()}
    return {name: h for name, (h, _) in split.items()}, {name: r for name, (_, r) in split.items()}


def pair(rule: Any, threads: int = 1) -> tuple[ln.Optimizer, ln.Optimizer]:
    """An optimizer over halves, and one over float32."""
    params = drawn(0)
    halves, rests = halves_of(params)
    return ln.Optimizer(halves, rule, rests=rests, threads=threads), ln.Optimizer(params, rule)


def assert_alike(split: ln.Optimizer, plain: ln.Optimizer) -> None:
    assert split.rests is not None
    for name, want in plain.params.items():
        assert ln.join_bf16(split.params[name], split.rests[name]).tobytes() == want.tobytes()
        for slot, state in plain.state(name).items():
            assert split.state(name)[slot].tobytes() == state.tobytes()


def trained(optimizers: Any, first: int, last: int) -> None:
    for step in range(first, last):
        for o in optimizers:
            o.step(drawn(100 + step))


def test_every_number() -> None:
    """Of float32's bits, among them NaN, infinities and ties."""
    bits = np.random.default_rng(1).integers(0, 1 << 32, 70000, np.uint32)
    bits[:8] = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00001, 0x3F808000, 0x3F818000, 0x7F7FFFFF]
    x = bits.view(np.float32).reshape(100, 700)
    halves, rests = ln.split_bf16(x)
    assert (str(halves.dtype), str(rests.dtype)) == ("uint16", "int16")
    assert halves.shape == rests.shape == x.shape
    assert ln.join_bf16(halves, rests).tobytes() == x.tobytes()
    assert np.array_equal(halves.reshape(-1), (bits.astype(np.uint64) + 0x8000 >> 16).astype(np.uint16))
    out = np.empty_like(x)
    assert ln.join_bf16(halves, rests.view(np.uint16), out) is out
    assert out.tobytes() == x.tobytes()


RULES = [
    lockstep.preset("torch", "AdamW"),
    lockstep.preset("torch", "RMSprop", centered=True),
    lockstep.preset("optax", "Lion", lr=0.01),
    lockstep.preset("torch", "Adagrad"),
    lockstep.Rule("Momentum", lr=0.01, momentum=0.9),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_are_those_of_float32(rule: Any, threads: int) -> None:
    split, plain = pair(rule, threads)
    for o in (split, plain):
        o.max_norm, o.grad_scale = 3, 0.5
    trained((split, plain), 0, 5)
    for o in (split, plain):
        o.step({"bias": drawn(7)["bias"]})
    assert_alike(split, plain)
    assert split.norm == plain.norm


def test_16_bits_and_types() -> None:
    """Gradients of 16 bits, state in fewer bits, and arrays of ml_dtypes."""
    split, plain = pair(lockstep.preset("torch", "AdamW"))
    for o in (split, plain):
        o.set_state_types({"m": "float8", "v": "bfloat16"}, 3)
    for step in range(4):
        grads = {name: g.astype(np.float16) for name, g in drawn(step).items()}
        for o in (split, plain):
            o.step(grads)
    assert_alike(split, plain)
    if importlib.util.find_spec("ml_dtypes"):
        bfloat16 = importlib.import_module("ml_dtypes").bfloat16
        halves, rests = halves_of(drawn(0))
        typed = {name: h.view(bfloat16) for name, h in halves.items()}
        other = ln.Optimizer(typed, lockstep.preset("torch", "AdamW"), rests=rests)
        _, plain = pair(lockstep.preset("torch", "AdamW"))
        trained((other, plain), 0, 3)
        assert_alike(other, plain)
        assert np.abs(typed["bias"].astype(np.float32) - plain.params["bias"]).max() < 0.01


def test_averages_lookahead_and_modes() -> None:
    """What takes parameters of float32 takes them joined."""
    split, plain = pair(lockstep.preset("torch", "AdamW", lr=0.01))
    for o in (split, plain):
        o.average, o.lookahead = ln.Averaging.torch_ema(0.9), ln.Lookahead(2, 0.5)
    trained((split, plain), 0, 5)
    assert_alike(split, plain)
    for o in (split, plain):
        o.swap_average()
    assert_alike(split, plain)
    for o in (split, plain):
        o.swap_average()
    trained((split, plain), 5, 7)
    assert_alike(split, plain)
    split, plain = pair(lockstep.Rule("ScheduleFreeSGD", lr=0.1, momentum=0.9))
    trained((split, plain), 0, 3)
    for o in (split, plain):
        o.eval()
    assert_alike(split, plain)
    for o in (split, plain):
        o.train()
    trained((split, plain), 3, 5)
    assert_alike(split, plain)


def test_goes_on() -> None:
    """From a state dict, a copy, a pickle, and in groups."""
    split, plain = pair(lockstep.preset("torch", "AdamW"))
    trained((split, plain), 0, 3)
    halves, rests = ({k: v.copy() for k, v in of.items()} for of in (split.params, split.rests or {}))
    adamw, names = lockstep.preset("torch", "AdamW"), [*SHAPES]
    groups: Any = [({n: halves[n] for n in names[:2]}, adamw), ({n: halves[n] for n in names[2:]}, adamw)]
    other = ln.Optimizer.of_groups(groups, rests=rests)
    saved = split.state_dict()
    saved["groups"] *= 2
    for entry in [*saved["arrays"].values()][2:]:
        entry["group"] = 1
    other.load_state_dict(saved)
    same = [split, other, copy.deepcopy(split), pickle.loads(pickle.dumps(split))]
    trained((*same, plain), 3, 6)
    for o in same:
        assert_alike(o, plain)


def test_refused() -> None:
    params = drawn(0)
    halves, rests = halves_of(params)
    adamw = lockstep.preset("torch", "AdamW")

    def refuses(match: str, params: Any, rests: Any, rule: Any = adamw) -> None:
        with pytest.raises(ArgumentError, match=match):
            ln.Optimizer(params, rule, rests=rests)

    refuses("params\\['weights'\\] is an array of float32, want bfloat16 or uint16", params, rests)
    refuses("params\\['bias'\\] is an array of float16", {**halves, "bias": np.zeros(7, np.float16)}, rests)
    refuses("rests are of weights, want weights, bias, scale, none", halves, {"weights": rests["weights"]})
    refuses("rests\\['bias'\\] has the shape \\(8,\\), want \\(7,\\)", halves, {**rests, "bias": np.zeros(8, np.int16)})
    refuses("rests\\['bias'\\] is an array of float32, want int16", halves, {**rests, "bias": np.zeros(7, np.float32)})
    shared = rests["bias"].view(np.uint16)
    refuses("want memory apart from", {**halves, "bias": shared}, rests)
    read_only = rests["bias"].copy()
    read_only.flags.writeable = False
    refuses("rests\\['bias'\\] is read-only", halves, {**rests, "bias": read_only})
    refuses("want one of a single pass", halves, rests, lockstep.preset("optax", "Lamb", lr=0.1))
    refuses("want one of a single pass", halves, rests, adamw.replace(cautious_update=True))

    optimizer = ln.Optimizer(halves, adamw, rests=rests)
    settings = {"adaptive_clip": ln.AdaptiveClip(0.1), "centralize": True, "copies": {"bias": np.zeros(7, np.uint16)}}
    for name, value in settings.items():
        with pytest.raises(ArgumentError, match=f"{name} .* set with rests, want parameters of float32"):
            setattr(optimizer, name, value)
    with pytest.raises(ArgumentError, match="step_shards is called with rests"):
        optimizer.step_shards([drawn(1)])
    one = ln.Optimizer(halves["weights"], adamw, rests=rests["weights"])
    with pytest.raises(ArgumentError, match="step_rows is called with rests"):
        one.step_rows(np.zeros(1, np.int64), np.zeros((1, 500), np.float32))
    one.step(drawn(1)["weights"])
    assert one.steps("0") == 1
    with pytest.raises(ArgumentError, match="rests has the shape"):
        ln.join_bf16(halves["bias"], rests["weights"])
