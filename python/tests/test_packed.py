"""State of fewer bits in optimizers over NumPy arrays."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lockstep
import lockstep.numpy as ln
from lockstep import checkpoint

TYPES = {"m": "bfloat16", "v": "float8"}
SIZES = {"weights": (100, 70), "bias": (4096,)}


def drawn(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in SIZES.items()}


def made(types: dict[str, str] | None = None, seed: int = 1, threads: int = 1) -> ln.Optimizer:
    optimizer = ln.Optimizer(drawn(0), ln.preset("torch", "AdamW", lr=0.01), threads=threads)
    if types is not None:
        optimizer.set_state_types(types, seed)
    return optimizer


def trained(optimizer: ln.Optimizer, first: int, last: int) -> dict[str, Any]:
    for k in range(first, last):
        optimizer.step(drawn(100 + k))
    return dict(optimizer.params)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_types_and_bytes() -> None:
    optimizer = made()
    assert optimizer.state_types == {}
    assert optimizer.state_bytes == 8 * (7000 + 4096)
    optimizer.set_state_types({**TYPES}, 5)
    assert (optimizer.state_types, optimizer.state_seed) == (TYPES, 5)
    assert optimizer.state_bytes == 8 * 4096 + 7 * (2048 + 1040)
    trained(optimizer, 0, 3)
    plain = made()
    trained(plain, 0, 3)
    for slot in "mv":
        x, want = optimizer.state("weights")[slot], plain.state("weights")[slot]
        assert x.dtype == np.float32
        assert not x.flags.writeable
        assert np.allclose(x, want, rtol=0.3, atol=abs(want).max() * 1e-2)
        assert optimizer.state("bias")[slot].flags.writeable
        assert np.array_equal(optimizer.state("bias")[slot], plain.state("bias")[slot])
    optimizer.set_state_types({"m": "float32"})
    assert optimizer.state_types == {}
    assert optimizer.state("weights")["v"].flags.writeable


def test_goes_on() -> None:
    """From a state dict, a copy and a pickle, on any number of threads, to the bit."""
    optimizer = made(TYPES, 2**63 + 1)
    trained(optimizer, 0, 5)
    saved, params = optimizer.state_dict(), {name: p.copy() for name, p in optimizer.params.items()}
    other = made(threads=2)
    for name, p in params.items():
        other.params[name][...] = p
    other.load_state_dict(saved)
    assert (other.state_types, other.state_seed) == (TYPES, 2**63 + 1)
    others = [other, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    want = trained(optimizer, 5, 10)
    assert all(same(trained(o, 5, 10), want) for o in others)
    assert not same(trained(made(TYPES, 3), 0, 10), want)


def test_saved_state() -> None:
    """A state dict has bits and codes, of which the documents say what they stand for."""
    optimizer = made(TYPES)
    trained(optimizer, 0, 4)
    state, values = optimizer.state_dict()["arrays"]["weights"]["state"], optimizer.state("weights")
    m, v = state["m"], state["v"]
    assert (m.type, m.scales, v.type) == ("bfloat16", None, "float8")
    assert np.array_equal((m.elements.astype(np.uint32) << 16).view(np.float32), values["m"])
    parts = ((v.elements.astype(np.uint32) + 768) << 20).view(np.float32)
    scales = np.repeat(v.scales, 256)[:7000].reshape(100, 70)
    assert np.array_equal(parts * (scales / np.float32(1.875)), values["v"])


def spoilt(change: Any) -> dict[str, Any]:
    optimizer = made(TYPES)
    trained(optimizer, 0, 2)
    saved = optimizer.state_dict()
    change(saved, saved["arrays"]["weights"]["state"])
    return saved


def replaced(slot: str, **fields: Any) -> Any:
    def change(_: dict[str, Any], state: dict[str, Any]) -> None:
        old = state[slot]
        state[slot] = ln.TypedState(**{"type": old.type, "elements": old.elements, "scales": old.scales, **fields})

    return change


SPOILT: list[tuple[Any, str]] = [
    (
        lambda saved, _: saved.update(state_types=dict.fromkeys("mv", "float8")),
        "the state m of weights is of bfloat16, want",
    ),
    (lambda saved, _: saved.update(state_types={"m": "float9"}), "state_types\\['m'\\] is 'float9', want"),
    (lambda saved, _: saved.update(state_types={"x": "float8"}), "types\\[0\\].slot is x"),
    (lambda saved, _: saved.update(state_seed=-1), "state_seed is -1, want"),
    (lambda saved, _: saved.update(centralize=True), "want none with adaptive_clip or centralize"),
    (
        lambda _, state: state.update(m=np.zeros((100, 70), np.float32)),
        "the state m of weights is of ndarray, want",
    ),
    (replaced("m", elements=np.zeros((100, 70), np.uint8)), "is uint8 \\(100, 70\\), want C-contiguous uint16"),
    (replaced("m", elements=np.full((100, 70), 0x7F80, np.uint16)), "has numbers that are not finite"),
    (replaced("m", scales=np.zeros(28, np.float32)), "want them with codes alone"),
    (replaced("v", scales=None), "want them with codes alone"),
    (replaced("v", scales=np.zeros(27, np.float32)), "the scales of the state v of weights is float32 \\(27,\\)"),
    (replaced("v", scales=np.full(28, -1, np.float32)), "or scales below 0"),
]


@pytest.mark.parametrize(("change", "message"), SPOILT)
def test_spoilt_state(change: Any, message: str) -> None:
    optimizer = made(TYPES)
    want = optimizer.state_dict()
    with pytest.raises(lockstep.ArgumentError, match=message):
        optimizer.load_state_dict(spoilt(change))
    assert optimizer.state_types == TYPES
    assert np.array_equal(optimizer.state("weights")["m"], np.zeros((100, 70)))
    assert optimizer.steps("weights") == want["arrays"]["weights"]["steps"] == 0


def test_settings_stay_when_a_square_is_negative() -> None:
    """What the library refuses of a state dict is refused before anything is set."""
    of = {"m": "bfloat16", "v": "bfloat16"}
    optimizer, other = made(of), made(of, 9)
    trained(optimizer, 0, 2)
    saved = optimizer.state_dict()
    saved["max_norm"], saved["max_value"] = 3.0, 4.0
    saved["arrays"]["weights"]["state"]["v"].elements[5, 7] = 0xBF80
    with pytest.raises(lockstep.ArgumentError, match="v of weights has numbers that are not finite, or squares or"):
        other.load_state_dict(saved)
    assert (other.max_norm, other.max_value, other.state_seed, other.steps("weights")) == (0, 0, 9, 0)
    saved["arrays"]["weights"]["state"]["m"].elements[5, 7] = 0xBF80  # which may be
    saved["arrays"]["weights"]["state"]["v"].elements[5, 7] = 0
    other.load_state_dict(saved)
    assert other.state("weights")["m"][5, 7] == -1


CHECKPOINTED: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("AdamW", {"lr": 0.01}, TYPES),
    ("AdamW", {"lr": 0.01}, {"m": "float8", "v": "bfloat16"}),
    ("Adagrad", {"lr": 0.01, "initial_accumulator": 0.3}, {"accumulator": "float8"}),
]


@pytest.mark.parametrize(("name", "options", "types"), CHECKPOINTED)
def test_checkpoint(name: str, options: dict[str, Any], types: dict[str, str], tmp_path: Path) -> None:
    """A file has the types, and steps go on from it to the bit, those of an array that comes late, too."""

    def begun(values: dict[str, Any]) -> ln.Optimizer:
        optimizer = ln.Optimizer(values, ln.preset("torch", name, **options))
        optimizer.set_state_types(types, 5)
        return optimizer

    values = drawn(0) | {"late": np.ones((75, 60), np.float32)}
    optimizer = begun(values)
    for k in range(3):
        optimizer.step(drawn(100 + k))
    checkpoint.save(tmp_path / "state", optimizer, extra={"epoch": 3})
    file = checkpoint.read(tmp_path / "state")
    buffers = {tensor.name: tensor.buffers for tensor in file.tensors}
    for slot, of in types.items():
        assert getattr(buffers["weights"][slot], "type", None) == of
        assert getattr(buffers["bias"][slot], "dtype", None) == np.float32
    for tensor in file.tensors:
        if tensor.name == "late":
            tensor.buffers.clear()  # as a file of an optimizer may be that makes state in the first step
    checkpoint.write(tmp_path / "state", file)
    other = begun({name: p.copy() for name, p in values.items()})
    other.step({name: p.copy() for name, p in values.items()})
    for key, p in values.items():
        other.params[key][...] = p
    assert checkpoint.load(tmp_path / "state", other) == {"epoch": 3}
    grads = drawn(7) | {"late": np.full((75, 60), 0.1, np.float32)}
    for o in optimizer, other:
        for _ in range(3):
            o.step(grads)
    assert same(dict(optimizer.params), dict(other.params))
    for key in values:
        for slot, x in optimizer.state(key).items():
            assert np.array_equal(x, other.state(key)[slot])


def test_checkpoint_of_other_types(tmp_path: Path) -> None:
    """They are refused, as by Go, and so is what no step can have left."""
    optimizer, path = made(TYPES), tmp_path / "state"
    trained(optimizer, 0, 2)
    checkpoint.save(path, optimizer)
    for other, why in [
        (made(), "'weights' has m as bfloat16, want float32, as the optimizer keeps it"),
        (made({"m": "float8"}), "'weights' has m as bfloat16, want float8"),
        (made({"m": "bfloat16"}), "'weights' has v as float8, want float32"),
    ]:
        other.max_norm = 2
        with pytest.raises(checkpoint.CheckpointError, match=why):
            checkpoint.load(path, other)
        assert (other.max_norm, other.steps("weights")) == (2, 0)
    checkpoint.save(path, made())
    with pytest.raises(checkpoint.CheckpointError, match="'weights' has m as float32, want bfloat16"):
        checkpoint.load(path, made(TYPES))
    checkpoint.save(path, optimizer)
    state = checkpoint.read(path)
    m, v = (state.tensors[0].buffers[slot] for slot in "mv")
    assert isinstance(m, ln.TypedState)
    assert isinstance(v, ln.TypedState)
    assert v.scales is not None
    for spoilt, why in [
        (ln.TypedState("float8", v.elements, v.scales[1:]), "weights/v is float32 \\(27,\\), want"),
        (ln.TypedState("float8", v.elements.T, v.scales), "weights/v is uint8 \\(70, 100\\), want"),
        (ln.TypedState("bfloat16", v.elements, None), "weights/v is uint8 .*, want C-contiguous uint16"),
    ]:
        state.tensors[0].buffers["v"] = spoilt
        with pytest.raises(checkpoint.CheckpointError, match=why):
            checkpoint.write(path, state)


def test_infinite_state_is_saved(tmp_path: Path) -> None:
    """What the policy propagate leaves is written, as float32 is and as Go does, and no optimizer takes it."""
    optimizer, path = made(TYPES), tmp_path / "state"
    grads = np.zeros((100, 70), np.float32)
    grads[0, :2] = np.inf, -np.inf
    optimizer.step({"weights": grads})
    checkpoint.save(path, optimizer)
    m = checkpoint.read(path).tensors[0].buffers["m"]
    assert isinstance(m, ln.TypedState)
    assert m.elements[0, :3].tolist() == [0x7F80, 0xFF80, 0]
    with pytest.raises(checkpoint.CheckpointError, match="m of 'weights' has numbers that are not finite"):
        checkpoint.load(path, made(TYPES))


DAMAGED: list[tuple[bytes, bytes, str]] = [
    (
        b'\\"m\\":\\"bfloat16\\"',
        b'\\"m\\":\\"bfloat17\\"',
        "'weights/m' is of the type 'bfloat17', want bfloat16, float8",
    ),
    (b'\\"m\\":\\"bfloat16\\"', b'\\"n\\":\\"bfloat16\\"', "'weights/n' has a type and is no buffer"),
    (b'"weights/v.scales"', b'"weights/v.scalez"', "without the buffers \\['weights/v.scales'\\]"),
    (b'"dtype":"U8"', b'"dtype":"I8"', "weights/v is I8 \\[100, 70\\], not U8 \\[100, 70\\]"),
    (b'"dtype":"BF16"', b'"dtype":"F16" ', "weights/m is F16 .*, not BF16"),
    (b'"shape":[28]', b'"shape":[ 4,7]', "weights/v.scales is F32 \\[4, 7\\], not F32 \\[28\\]"),
]


@pytest.mark.parametrize(("old", "new", "why"), DAMAGED)
def test_damaged_checkpoint(old: bytes, new: bytes, why: str, tmp_path: Path) -> None:
    optimizer, path = made(TYPES), tmp_path / "state"
    checkpoint.save(path, optimizer)
    whole = path.read_bytes()
    assert old in whole
    other = whole.replace(old, new, 1)
    grown = len(other) - len(whole)
    size = int.from_bytes(whole[:8], "little") + grown
    path.write_bytes(size.to_bytes(8, "little") + other[8:])
    with pytest.raises(checkpoint.CheckpointError, match=why):
        checkpoint.read(path)
    for at in (len(whole) - 1, len(whole) - 7001, len(whole) - 1 - 7000 - 14000):  # a code, a half, a scale
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(checkpoint.CheckpointError, match="checksum"):
            checkpoint.read(path)


def test_refused() -> None:
    optimizer = made()
    with pytest.raises(lockstep.ArgumentError, match=r"types\['m'\] is 'float16', want 'float32', 'bfloat16',"):
        optimizer.set_state_types({"m": "float16"})
    with pytest.raises(lockstep.ArgumentError, match="seed is -1, want an integer from 0"):
        optimizer.set_state_types({"m": "float8"}, -1)
    with pytest.raises(lockstep.ArgumentError, match="slot is u, want the name of a slot"):
        optimizer.set_state_types({"u": "float8"})
    optimizer.set_state_types(TYPES)
    with pytest.raises(lockstep.ArgumentError, match="want that with centralize"):
        optimizer.centralize = True
    with pytest.raises(lockstep.ArgumentError, match="want that with an adaptive clip"):
        optimizer.adaptive_clip = ln.AdaptiveClip(0.1)
    lamb = ln.Optimizer(drawn(0), ln.preset("optax", "Lamb", lr=0.01))
    with pytest.raises(lockstep.ArgumentError, match="want float32 for this slot of the lamb rule"):
        lamb.set_state_types({"m": "float8"})
