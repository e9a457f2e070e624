"""Checkpoints: what was saved comes back, and what is damaged or of another optimizer is refused."""

from __future__ import annotations

import json
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clone import ROOT

import lockstep
from lockstep import checkpoint
from lockstep.checkpoint import CheckpointError
from lockstep.numpy import Averaging, Lookahead, Optimizer

safetensors = pytest.importorskip("safetensors")

from safetensors.numpy import load_file, save_file  # noqa: E402

SHAPES = {"weights": (7, 5), "bias": (5,), "scale": (), "empty": (0, 3)}


def _parameters() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {name: np.asarray(rng.standard_normal(shape), np.float32) for name, shape in SHAPES.items()}


def _optimizer(params: dict[str, Any], second: str = "Lion") -> Optimizer:
    first = {name: params[name] for name in ("weights", "scale")}
    other = {name: params[name] for name in ("bias", "empty")}
    rules = lockstep.preset("torch", "Adam", amsgrad=True, l1=0.01), lockstep.preset("optax", second, lr=1e-3)
    return Optimizer.of_groups([(first, rules[0]), (other, rules[1])])


def _steps(optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        rng = np.random.default_rng(step)
        grads = {name: np.asarray(rng.standard_normal(shape), np.float32) for name, shape in SHAPES.items()}
        if step % 2:
            del grads["bias"]  # whose count falls behind
        for group in optimizer.groups:
            group.lr = 1e-2 / (1 + step)
        optimizer.step(grads)


def _same(want: dict[str, Any], got: dict[str, Any]) -> None:
    for name in want:
        np.testing.assert_array_equal(want[name], got[name])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint after five steps."""
    optimizer = _optimizer(_parameters())
    _steps(optimizer, range(5))
    path = tmp_path / "optimizer.safetensors"
    checkpoint.save(path, optimizer, extra={"epoch": 3, "note": "ü"})
    return path


@pytest.mark.parametrize("second", ["Lion", "Novograd"])
def test_goes_on_to_the_same_bits(second: str, saved: Path) -> None:
    """Five steps, a file, five steps more: those of one run."""
    straight = _parameters()
    whole = _optimizer(straight, second)
    whole.max_norm, whole.grad_scale = 3, 0.5
    _steps(whole, range(5))
    checkpoint.save(saved, whole)
    halves = {name: array.copy() for name, array in straight.items()}
    resumed = _optimizer(halves, second)
    checkpoint.load(saved, resumed)
    assert (resumed.max_norm, resumed.grad_scale, resumed.steps("bias")) == (3, 0.5, 3)
    for optimizer in whole, resumed:
        _steps(optimizer, range(5, 10))
    _same(straight, halves)


@pytest.mark.parametrize("used", [False, True])
def test_what_has_yet_to_begin(used: bool, saved: Path) -> None:
    """A tensor that comes late shares the others' estimate, and begins as its parameters are then."""
    rule = lockstep.preset("torch", "Prodigy", d0=1e-3)
    straight = _parameters()
    whole = Optimizer(straight, rule)
    gradient = {name: array.copy() for name, array in straight.items()}
    early = {name: gradient[name] for name in ("bias", "scale")}
    for _ in range(5):
        whole.step(early)
    checkpoint.save(saved, whole)
    halves = {name: array.copy() for name, array in straight.items()}
    resumed = Optimizer({name: array.copy() for name, array in straight.items()} if used else halves, rule)
    if used:
        resumed.step(gradient)
        for name, array in halves.items():
            resumed.params[name][...] = array
        halves = dict(resumed.params)
    checkpoint.load(saved, resumed)
    for optimizer in whole, resumed:
        for _ in range(5):
            optimizer.step(gradient)
    _same(straight, halves)
    assert resumed.state("weights")["d"] == resumed.state("bias")["d"] > 1e-3


def test_settings_that_no_file_has(saved: Path) -> None:
    """They stay the optimizer's own, and one that the file's max_norm goes with never is refused."""
    optimizer = _optimizer(_parameters())
    optimizer.max_tensor_norm, optimizer.max_value, optimizer.policy = 2, 0.5, "skip"
    checkpoint.load(saved, optimizer)
    assert (optimizer.max_norm, optimizer.max_tensor_norm) == (0, 2)
    assert (optimizer.max_value, optimizer.policy) == (0.5, "skip")
    clipping = _optimizer(_parameters())
    clipping.max_norm = 3
    checkpoint.save(saved, clipping)
    _refuses(saved, optimizer, "max_tensor_norm is 2, want 0 while max_norm")
    optimizer.max_tensor_norm = 0
    checkpoint.load(saved, optimizer)
    assert (optimizer.max_norm, optimizer.max_tensor_norm, optimizer.policy) == (3, 0, "skip")


def test_go_reads_it(tmp_path: Path) -> None:
    """What is written here is what the tests of Go read. LOCKSTEP_WRITE=1 writes it anew for them."""
    optimizer = _optimizer(_parameters())
    _steps(optimizer, range(5))
    checkpoint.save(tmp_path / "now", optimizer, extra={"epoch": 3})
    kept = ROOT / "update/checkpoint/testdata/python.safetensors"
    if os.environ.get("LOCKSTEP_WRITE"):
        kept.write_bytes((tmp_path / "now").read_bytes())
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()


def test_reads_what_go_writes(tmp_path: Path) -> None:
    """All of it, into an optimizer and out again."""
    path, optimizer = ROOT / "update/checkpoint/testdata/go.safetensors", _optimizer(_parameters())
    written = checkpoint.read(path)
    assert checkpoint.load(path, optimizer) == {}
    assert (optimizer.max_norm, optimizer.grad_scale, optimizer.steps("bias")) == (3, 0.5, 3)
    checkpoint.save(tmp_path / "again", optimizer)
    again = checkpoint.read(tmp_path / "again")
    assert again.groups == written.groups
    assert again.steps == written.steps
    by_name = {tensor.name: tensor for tensor in again.tensors}
    for tensor in written.tensors:
        other = by_name.pop(tensor.name)
        assert (tensor.group, tensor.steps, tensor.shape) == (other.group, other.steps, other.shape)
        _same(tensor.buffers, other.buffers)
    assert not by_name


def test_state_by_row_goes_both_ways(tmp_path: Path) -> None:
    """The steps that the tests of Go take too, after which its file has the same bits."""

    def of(a: int, b: int, *shape: int) -> Any:
        i = np.arange(np.prod(shape)).reshape(shape)
        return (((i * a + b) % 11 - 5) / 8).astype(np.float32)

    def begun() -> Optimizer:
        rules = [lockstep.preset("textbook", name, lr=0.125) for name in ("RowwiseAdam", "RowwiseAdaGrad")]
        return Optimizer.of_groups([({"table": of(3, 0, 7, 5)}, rules[0]), ({"bias": of(3, 0, 5)}, rules[1])])

    optimizer, other = begun(), begun()
    for step in range(5):
        optimizer.step({"table": of(5, step, 7, 5), "bias": of(5, step, 5)})
    checkpoint.save(tmp_path / "now", optimizer)
    kept = ROOT / "update/checkpoint/testdata/python_rows.safetensors"
    if os.environ.get("LOCKSTEP_WRITE"):
        kept.write_bytes((tmp_path / "now").read_bytes())
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()
    checkpoint.load(kept.with_name("go_rows.safetensors"), other)
    for name in ("table", "bias"):
        assert other.steps(name) == 5
        _same(optimizer.state(name), other.state(name))


def _typed(values: dict[str, Any]) -> Optimizer:
    rule = lockstep.preset("torch", "Adam", lr=0.125, beta1=0.5, beta2=0.75)
    optimizer = Optimizer({name: array.copy() for name, array in values.items()}, rule)
    optimizer.set_state_types({"m": "float8", "v": "bfloat16"}, 3)
    return optimizer


def test_state_in_fewer_bits_goes_both_ways(tmp_path: Path) -> None:
    """The steps that the tests of Go take too."""
    sizes = {"weights": (70, 70), "bias": (7,)}
    i = {name: np.arange(np.prod(shape)).reshape(shape) for name, shape in sizes.items()}
    grads = {name: ((k % 3 - 1) / 2.0 ** (k % 5)).astype(np.float32) for name, k in i.items()}
    optimizer = _typed({name: np.ones(shape, np.float32) for name, shape in sizes.items()})
    for _ in range(3):
        optimizer.step(grads)
    checkpoint.save(tmp_path / "now", optimizer)
    kept = ROOT / "update/checkpoint/testdata/python_typed.safetensors"
    if os.environ.get("LOCKSTEP_WRITE"):
        kept.write_bytes((tmp_path / "now").read_bytes())
    assert kept.read_bytes() == (tmp_path / "now").read_bytes()

    path, other = kept.with_name("go_typed.safetensors"), _typed(dict(optimizer.params))
    checkpoint.load(path, other)
    state = {tensor.name: tensor.buffers for tensor in checkpoint.read(path).tensors}["weights"]
    m, v = state["m"], state["v"]
    assert isinstance(m, checkpoint.TypedState)
    assert isinstance(v, checkpoint.TypedState)
    assert (m.type, m.elements.dtype, v.type, v.scales) == ("float8", np.uint8, "bfloat16", None)
    assert m.scales is not None
    number = ((m.elements & np.uint32(127)) + 896 << 20).view(np.float32) - np.float32(2**-15)
    unit = np.repeat(m.scales / np.float32(1.875 - 2**-15), 256)[: number.size].reshape(number.shape)
    np.testing.assert_array_equal(other.state("weights")["m"], np.where(m.elements > 127, -number, number) * unit)
    np.testing.assert_allclose(other.state("weights")["m"], 0.875 * grads["weights"], rtol=1 / 8)
    np.testing.assert_array_equal(other.state("weights")["v"], 37 / 64 * grads["weights"] ** 2)
    for step in range(3):  # rounded at random
        rng = np.random.default_rng(step)
        grads = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in sizes.items()}
        for o in optimizer, other:
            o.step(grads)
    _same(dict(optimizer.params), dict(other.params))
    for name in sizes:
        _same(optimizer.state(name), other.state(name))


def test_keeps_averages_of_go(tmp_path: Path) -> None:
    """What Go keeps beside state goes through as it is, and only an optimizer that keeps it, too, takes it."""
    path, optimizer = ROOT / "update/checkpoint/testdata/go_averages.safetensors", _optimizer(_parameters())
    state = checkpoint.read(path)
    assert state.averages == 2
    assert [*state.tensors[0].buffers] == ["m", "v", "max_v", "params_average", "params_slow"]
    _refuses(path, optimizer, "'weights' has params_average, which this optimizer does not keep")
    keeps = _optimizer(_parameters())
    keeps.average = Averaging(every=2, decay=0.9)
    _refuses(path, keeps, "'weights' has params_slow, which this optimizer does not keep")
    keeps.lookahead = Lookahead(3, 0.5)
    checkpoint.load(path, keeps)
    assert keeps.averages == 2
    for tensor in state.tensors:
        _same(keeps.state(tensor.name), tensor.buffers)
    checkpoint.save(tmp_path / "ours", keeps, extra=state.extra)
    ours = checkpoint.read(tmp_path / "ours")
    assert (ours.steps, ours.averages) == (state.steps, 2)
    written = {tensor.name: tensor.buffers for tensor in ours.tensors}
    for tensor in state.tensors:
        assert [*written[tensor.name]] == [*tensor.buffers]
        _same(tensor.buffers, written[tensor.name])
    checkpoint.write(tmp_path / "again", state)
    np.testing.assert_equal(asdict(checkpoint.read(tmp_path / "again")), asdict(state))
    kept = path.with_name("python_averages.safetensors")
    if os.environ.get("LOCKSTEP_WRITE"):
        kept.write_bytes((tmp_path / "again").read_bytes())
    assert kept.read_bytes() == (tmp_path / "again").read_bytes()
    # Without them it is an optimizer's.
    for tensor in state.tensors:
        del tensor.buffers["params_average"]
    with pytest.raises(CheckpointError, match="'weights' has no params_average, of 2 averages"):
        checkpoint.write(tmp_path / "without", state)
    state.averages = 0
    slow = state.tensors[-1].buffers.pop("params_slow")
    with pytest.raises(CheckpointError, match="has no params_slow, want it of all tensors or none"):
        checkpoint.write(tmp_path / "without", state)
    state.tensors[-1].buffers["params_slow"] = slow
    checkpoint.write(tmp_path / "without", state)
    _refuses(tmp_path / "without", optimizer, "has params_slow, which")
    for tensor in state.tensors:
        del tensor.buffers["params_slow"]
    checkpoint.write(tmp_path / "without", state)
    checkpoint.load(tmp_path / "without", optimizer)
    np.testing.assert_array_equal(optimizer.state("weights")["m"], state.tensors[0].buffers["m"])


def test_extra_comes_back(saved: Path) -> None:
    """What JSON can hold is kept; what it cannot is refused before anything is written."""
    optimizer = _optimizer(_parameters())
    assert checkpoint.load(saved, optimizer) == {"epoch": 3, "note": "ü"}
    before = saved.read_bytes()
    for extra in {"x": float("nan")}, {"x": object()}:
        with pytest.raises(CheckpointError, match="extra"):
            checkpoint.save(saved, optimizer, extra=extra)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_same_state_same_bytes(saved: Path, tmp_path: Path) -> None:
    """Files can be compared, and what was loaded is what was saved."""
    optimizer = _optimizer(_parameters())
    extra = checkpoint.load(saved, optimizer)
    checkpoint.save(tmp_path / "again", optimizer, extra=extra)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def _refuses(path: Path, optimizer: Any, match: str | None = None) -> None:
    """Loading raises, names the file, and leaves the optimizer as it was."""
    before = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=match) as error:
        checkpoint.load(path, optimizer)
    assert str(path) in str(error.value)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_truncated(saved: Path) -> None:
    """At every length."""
    whole, optimizer = saved.read_bytes(), _optimizer(_parameters())
    for length in [*range(0, len(whole), 41), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        _refuses(saved, optimizer)
    saved.write_bytes(whole + b"\0")
    _refuses(saved, optimizer)


def test_flipped_bits(saved: Path) -> None:
    """One in each byte, of the header too: an error, or a file that means the same."""
    whole = saved.read_bytes()
    state = checkpoint.read(saved)
    unseen = 0
    for k in range(len(whole)):
        flipped = bytearray(whole)
        flipped[k] ^= 1 << k % 8
        saved.write_bytes(flipped)
        try:
            np.testing.assert_equal(asdict(checkpoint.read(saved)), asdict(state))
            unseen += 1
        except CheckpointError:
            pass
    assert unseen <= 8  # padding of the header, which means nothing


@pytest.mark.parametrize(
    "content",
    [b"", b"no safetensors", b"\0" * 100, b"\xff" * 8 + b"{}", b"\2" + b"\0" * 7 + b"[]"],
    ids=["empty", "text", "zeros", "huge header", "header of another type"],
)
def test_not_safetensors(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    _refuses(saved, _optimizer(_parameters()))


def test_foreign(saved: Path) -> None:
    """A format of the future, and a model."""
    _rewritten(saved, lambda described, buffers: None, version="2")
    _refuses(saved, _optimizer(_parameters()), "'2', this release reads '1'")
    save_file({"weight": np.zeros(3, np.float32)}, saved)
    _refuses(saved, _optimizer(_parameters()), "lacks 'lockstep'")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none", _optimizer(_parameters()))


def _rewritten(path: Path, change: Callable[[Any, Any], None], version: str = "1") -> None:
    """A file whose description or buffers are others, with the checksum of what it had."""
    with safetensors.safe_open(path, framework="np") as file:
        _, checksum, text = file.metadata()["lockstep"].split(" ", 2)
    buffers, described = load_file(path), json.loads(text)
    change(described, buffers)
    save_file(buffers, path, metadata={"lockstep": f"{version} {checksum} {json.dumps(described)}"})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d, b: b.pop("bias/m"), "without the buffers \\['bias/m'\\]"),
        (lambda d, b: b.update(more=b["bias/m"]), "unknown \\['more'\\]"),
        (lambda d, b: b.update({"bias/m": np.zeros(6, np.float32)}), "bias/m is F32 \\[6\\]"),
        (lambda d, b: b.update({"bias/m": np.zeros(5)}), "bias/m is F64"),
        (lambda d, b: d.pop("groups"), "is none"),
        (lambda d, b: d["groups"][0]["options"].pop("lr"), "is none"),
        (lambda d, b: d["tensors"][0].update(steps=-1), "is none"),
        (lambda d, b: d["tensors"][0].update(steps=True), "is none"),
        (lambda d, b: d["tensors"][0]["shape"].append(1 << 63), "is none"),
        (lambda d, b: d.update(steps=1 << 63), "is none"),
        (lambda d, b: d["tensors"][0].update(types={"m": "float8"}), "without the buffers \\['weights/m.scales'\\]"),
        (lambda d, b: d.update(steps=(1 << 63) - 1), "checksum"),
        (lambda d, b: d.update(averages=-1), "is none"),
        (lambda d, b: d.update(averages=1 << 63), "is none"),
        (lambda d, b: d["tensors"][1]["buffers"].append("params_slow"), "has params_slow, want it of all tensors"),
        (lambda d, b: d.update(averages=1), "'weights' has no params_average, of 1 averages"),
        (lambda d, b: d["tensors"][0].update(group=2), "is of group 2 of 2"),
        (lambda d, b: d["tensors"][0].update(steps=99), "has taken 99 steps of 5"),
        (lambda d, b: d["tensors"][1].update(d["tensors"][0]), "two tensors have the name"),
        (lambda d, b: d["groups"][0]["options"].update(lr=1), "checksum"),
    ],
)
def test_inconsistent(saved: Path, change: Callable[[Any, Any], None], match: str) -> None:
    _rewritten(saved, change)
    _refuses(saved, _optimizer(_parameters()), match)


def test_another_optimizer(saved: Path) -> None:
    """Other rules, names and shapes."""
    params = _parameters()
    _refuses(saved, _optimizer(params, second="AdaBelief"), "group 1 is of lion, want adabelief")
    _refuses(saved, Optimizer(params, lockstep.preset("torch", "Adam")), "of 2 groups, want 1")
    transposed = {**params, "weights": np.zeros((5, 7), np.float32)}
    _refuses(saved, _optimizer(transposed), "'weights' has the shape")
    plain = lockstep.preset("torch", "SGD", lr=1)
    checkpoint.save(saved, Optimizer({"w": np.zeros(3, np.float32)}, plain))
    _refuses(saved, Optimizer({"w": np.zeros((3, 1), np.float32)}, plain), "'w' has the shape \\[3\\], want \\[3, 1\\]")
    with pytest.raises(TypeError, match="optimizer is a int"):
        checkpoint.save(saved, 1)


WRITER = """
import sys
from lockstep import checkpoint
state = checkpoint.read(sys.argv[1])
for k in range(1, 1 << 30):
    state.extra = {"k": k}
    for buffer in state.tensors[0].buffers.values():
        buffer[...] = k
    checkpoint.write(sys.argv[1], state)
    print(k, flush=True)
"""


def test_whole_whenever_it_is_read(tmp_path: Path) -> None:
    """A process that writes again and again, and is killed: the file is one of those that it wrote, all the time."""
    path = tmp_path / "optimizer.safetensors"
    checkpoint.save(path, Optimizer(np.zeros(100_000, np.float32), lockstep.preset("torch", "Adam")))
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        seen: set[int] = set()
        while len(seen) < 5:
            seen.add(_written(path))
        done = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert _written(path) >= done


def _written(path: Path) -> int:
    state = checkpoint.read(path)
    k = state.extra["k"]
    assert all((buffer == k).all() for buffer in state.tensors[0].buffers.values())
    return int(k)


@pytest.mark.parametrize(
    "buffer", [np.zeros(3), np.zeros(4, np.float32), np.zeros(6, np.float32)[::2], np.zeros(3, ">f4")]
)
def test_buffers_that_would_be_others(buffer: Any, tmp_path: Path) -> None:
    """A state of one's own: other types, shapes, strides, orders of bytes."""
    group = checkpoint.group_of(lockstep.preset("optax", "Lion", lr=1))
    state = checkpoint.State([group], [checkpoint.Tensor("w", 0, 1, (3,), {"m": buffer})], 1)
    with pytest.raises(CheckpointError, match="w/m is .*, want C-contiguous float32 \\(3,\\)"):
        checkpoint.write(tmp_path / "file", state)
    assert not os.listdir(tmp_path)


def test_links_and_modes(tmp_path: Path) -> None:
    """What is a link stays one, also to nothing yet; a new file is what the umask lets, an old one has its mode."""
    (tmp_path / "usual").touch()
    link, file = tmp_path / "link", tmp_path / "file"
    try:
        link.symlink_to("file")
    except OSError:
        pytest.skip("no symbolic links here")
    for mode in (tmp_path / "usual").stat().st_mode, 0o100640:
        if file.exists():
            file.chmod(mode)
        checkpoint.save(link, _optimizer(_parameters()))
        assert link.is_symlink()
        assert file.stat().st_mode == mode
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "usual"]


def test_counts_that_others_cannot_read(saved: Path) -> None:
    before = saved.read_bytes()
    for n in -1, 1 << 63:
        for name in "steps", "averages":
            state = checkpoint.read(saved)
            setattr(state, name, n)
            with pytest.raises(CheckpointError, match=f"steps or averages are {n}, want 0 to 2⁶³-1"):
                checkpoint.write(saved, state)
        state = checkpoint.read(saved)
        state.tensors[0].steps = n
        with pytest.raises(CheckpointError, match=f"steps or averages are {n}, want 0 to 2⁶³-1"):
            checkpoint.write(saved, state)
    assert saved.read_bytes() == before


def test_links_in_a_loop(tmp_path: Path) -> None:
    """Refused, and still there."""
    here, there = tmp_path / "here", tmp_path / "there"
    try:
        here.symlink_to("there")
        there.symlink_to("here")
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(OSError, match="here"):
        checkpoint.save(here, _optimizer(_parameters()))
    assert here.is_symlink()
    assert there.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["here", "there"]


def test_replaces_what_is_read_only(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode is the last that the new file gets: nobody but root opens that for writing."""
    saved.chmod(0o444)
    modes = []
    synchronize = os.fsync

    def seen(fd: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        synchronize(fd)

    monkeypatch.setattr(os, "fsync", seen)
    checkpoint.save(saved, _optimizer(_parameters()), extra={"again": True})
    assert modes[0] & 0o200
    assert stat.S_IMODE(saved.stat().st_mode) == 0o444
    assert checkpoint.read(saved).extra == {"again": True}
    assert os.listdir(saved.parent) == [saved.name]


def test_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, here where the file is synchronized."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(saved, _optimizer(_parameters()))
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_format(saved: Path) -> None:
    """docs/checkpoint-format.md, read without this package."""
    raw = saved.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    version, checksum, text = header.pop("__metadata__")["lockstep"].split(" ", 2)
    assert version == "1"
    described = json.loads(text)
    assert described["groups"][0]["rule"] == "Adam"
    assert described["groups"][0]["state"] == "amsgrad"
    assert described["groups"][0]["options"]["lr"] == 1e-2 / 5
    assert described["tensors"][0] == {
        "name": "weights", "group": 0, "steps": 5, "shape": [7, 5], "buffers": ["m", "v", "max_v"],
    }  # fmt: skip
    assert header["weights/m"]["shape"] == [7, 5]
    assert {entry["dtype"] for entry in header.values()} == {"F32"}
    assert checksum == _sha256(text, described, header, raw[8 + length :])


def _sha256(text: str, described: dict[str, Any], header: dict[str, Any], data: bytes) -> str:
    import hashlib

    digest = hashlib.sha256(text.encode())
    for tensor in described["tensors"]:
        for slot in tensor["buffers"]:
            first, last = header[f"{tensor['name']}/{slot}"]["data_offsets"]
            digest.update(data[first:last])
    return digest.hexdigest()
