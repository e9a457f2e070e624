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
    parts = ((v.elements.astype(np.uint32) + 761) << 20).view(np.float32)
    scales = np.repeat(v.scales, 256)[:7000].reshape(100, 70)
    assert np.array_equal(np.where(v.elements > 0, parts * scales, 0), values["v"])


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


def test_refused(tmp_path: Path) -> None:
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
    with pytest.raises(lockstep.ArgumentError, match="want float32 alone"):
        checkpoint.save(tmp_path / "state", optimizer)
    lamb = ln.Optimizer(drawn(0), ln.preset("optax", "Lamb", lr=0.01))
    with pytest.raises(lockstep.ArgumentError, match="want float32 for this slot of the lamb rule"):
        lamb.set_state_types({"m": "float8"})
