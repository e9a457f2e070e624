"""Optimizer state in safetensors files: rule, options, steps, names, and a checksum over all of it.

    checkpoint.save("optimizer.safetensors", optimizer, extra={"epoch": 3})
    extra = checkpoint.load("optimizer.safetensors", optimizer)

Takes the optimizers of lockstep.numpy and lockstep.torch. A file is replaced as a whole or not at all,
and an optimizer changes only after all of the file has been found to be right and to fit.
The format is in docs/checkpoint-format.md. Needs the package safetensors.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ._library import ArgumentError, Optimizer, Rule

__all__ = ["CheckpointError", "Group", "State", "Tensor", "load", "read", "save", "write"]

VERSION = "1"
MOST = (1 << 63) - 1  # of anything that is counted: other readers have 64 bits
KEY = "lockstep"  # one alone: the library writes several in any order, and equal states should be equal files

AVERAGE, SLOW = "params_average", "params_slow"
BESIDE = (AVERAGE, SLOW)  # what optimizers of Go and of lockstep.numpy may keep beside the slots of rules

Buffer = npt.NDArray[np.float32]


class CheckpointError(ValueError):
    """A file that is no checkpoint, a damaged one, or one of another optimizer."""


@dataclass
class Group:
    """A rule with its options."""

    rule: str  # its type: "Adam"
    state: str  # what its state is called, with all that changes it: "amsgrad"
    options: dict[str, float | bool]  # by their names in C, the learning rate among them
    framework: dict[str, Any] = field(default_factory=dict)  # the group as a framework has it: {"torch": {...}}


@dataclass
class Tensor:
    """The state of a tensor of parameters."""

    name: str
    group: int  # its index
    steps: int  # its own, which correct its bias
    shape: tuple[int, ...]  # of the parameters, and of each buffer that has an element for each
    buffers: dict[str, Buffer]  # by slot: "m", "v"; none if it has taken no step, and begins as the rule says; then
    # what steps keep beside them, if they do: "params_average" and "params_slow", as each tensor or none has


@dataclass
class State:
    """All that an optimizer must remember between steps, and what its user wants kept with it."""

    groups: list[Group]
    tensors: list[Tensor]
    steps: int  # of the optimizer: at least those of each tensor
    grad_scale: float = 1
    max_norm: float = 0  # 0 does not clip
    extra: dict[str, Any] = field(default_factory=dict)  # anything that JSON can hold
    averages: int = 0  # that "params_average" is of, if tensors have it


def group_of(rule: Rule) -> Group:
    """A group as it is saved."""
    return Group(rule.name, Optimizer([rule], []).state_name(0), dict(rule.options))


def check_fits(
    state: State, rules: Sequence[Rule], shapes: Sequence[Mapping[str, tuple[int, ...]]], kept: Sequence[str] = ()
) -> None:
    """Refuses a state that is of other rules than an optimizer's groups, or of others than their parameters.

    kept is what the optimizer keeps of BESIDE.
    """
    if len(state.groups) != len(rules):
        raise ArgumentError(f"it is of {len(state.groups)} groups, want {len(rules)}")
    for k, (rule, own) in enumerate(zip(rules, shapes)):
        wanted, saved = group_of(rule), state.groups[k]
        if (saved.rule, saved.state) != (wanted.rule, wanted.state):
            raise ArgumentError(f"group {k} is of {saved.state}, want {wanted.state}")
        _check_tensors(k, rule, [t for t in state.tensors if t.group == k], own, kept)


def _check_tensors(
    k: int, rule: Rule, tensors: list[Tensor], own: Mapping[str, tuple[int, ...]], kept: Sequence[str]
) -> None:
    names = {tensor.name for tensor in tensors}
    if names != own.keys():
        raise ArgumentError(f"group {k} lacks {sorted(own.keys() - names)}, and has {sorted(names - own.keys())}")
    for t in tensors:
        if t.shape != own[t.name]:
            raise ArgumentError(f"{t.name!r} has the shape {list(t.shape)}, want {list(own[t.name])}")
        if foreign := [name for name in BESIDE if name in t.buffers and name not in kept]:
            wish = "want none: checkpoint.read has it, and checkpoint.write makes a file without it"
            raise ArgumentError(f"{t.name!r} has {foreign[0]}, which this optimizer does not keep, {wish}")
        slots, own_state = [*rule.state_shapes(t.shape)], [slot for slot in t.buffers if slot not in kept]
        if own_state != (slots if t.steps else [slot for slot in slots if slot in t.buffers]):
            raise ArgumentError(f"{t.name!r} has the state {list(t.buffers)}, want {slots}")


def save(path: str | os.PathLike[str], optimizer: Any, *, extra: Mapping[str, Any] | None = None) -> None:
    """Writes the state of an optimizer; extra is anything that JSON can hold, for the caller."""
    state: State = _adapter(optimizer).export(optimizer)
    state.extra = dict(extra or {})
    write(path, state)


def load(path: str | os.PathLike[str], optimizer: Any) -> dict[str, Any]:
    """Sets the state of an optimizer from a file, and returns the extra that was saved with it.

    Of the settings of lockstep.numpy's optimizers the file has grad_scale and max_norm; all others, average and
    lookahead among them, stay the optimizer's own. Those of lockstep.torch have all of theirs in their groups.
    Raises CheckpointError, with the optimizer as it was, where the file is damaged, or of tensors with
    other names, shapes or rules, or has what the optimizer does not keep beside state: see Tensor.buffers.
    """
    adapter = _adapter(optimizer)
    state = read(path)
    try:
        adapter.load(optimizer, state)
    except ArgumentError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error
    return state.extra


def write(path: str | os.PathLike[str], state: State) -> None:
    """Writes a state in place of what is at path. A crash leaves the old file or the new one."""
    from safetensors.numpy import save_file

    _check_buffers(state)
    described = _describe(state)
    metadata = {KEY: f"{VERSION} {_checksum(described, _arrays(state))} {described}"}
    _replace(Path(path), lambda temporary: save_file(_keyed(state), temporary, metadata=metadata))


def read(path: str | os.PathLike[str]) -> State:
    """Reads a state, of which every byte that matters has been checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="np") as file:
            return _read(file)
    except (SafetensorError, CheckpointError) as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error


def _read(file: Any) -> State:
    checksum, described = _split((file.metadata() or {}).get(KEY))
    state = _parse(described)
    _check_keys(state, file.keys())
    for tensor in state.tensors:
        shapes = _shapes(state, tensor)
        tensor.buffers = {slot: _buffer(file, tensor, slot, shapes[slot]) for slot in tensor.buffers}
    if _checksum(described, _arrays(state)) != checksum:
        raise CheckpointError("damaged: the checksum of its content is another")
    return state


def _split(metadata: str | None) -> tuple[str, str]:
    """The checksum and the description, of a version that is known."""
    if metadata is None:
        raise CheckpointError(f"no checkpoint of an optimizer: its metadata lacks {KEY!r}")
    version, _, rest = metadata.partition(" ")
    if version != VERSION:
        raise CheckpointError(f"its version is {version!r}, this release reads {VERSION!r}")
    checksum, _, described = rest.partition(" ")
    return checksum, described


def _check_keys(state: State, keys: list[str]) -> None:
    listed = set(_keyed(state))
    if listed != set(keys):
        missing, foreign = sorted(listed - set(keys)), sorted(set(keys) - listed)
        raise CheckpointError(f"damaged: without the buffers {missing}, with the unknown {foreign}")


def _shapes(state: State, tensor: Tensor) -> dict[str, tuple[int, ...]]:
    """The shapes of a tensor's buffers: its own, but for what a rule has of rows, columns and the tensor."""
    group = state.groups[tensor.group]
    own = dict.fromkeys(tensor.buffers, tensor.shape)
    try:
        return own | Rule(group.rule, **group.options).state_shapes(tensor.shape)
    except ArgumentError:  # of another release
        return own


def _buffer(file: Any, tensor: Tensor, slot: str, wanted: tuple[int, ...]) -> Buffer:
    """Is of the wanted shape. Where that has as many elements as the tensor's, the file may have the latter."""
    key = _key(tensor, slot)
    stored = file.get_slice(key)
    dtype, shape = stored.get_dtype(), tuple(stored.get_shape())
    if dtype != "F32" or shape not in (wanted, tensor.shape) or math.prod(shape) != math.prod(wanted):
        raise CheckpointError(f"damaged: {key} is {dtype} {list(shape)}, not F32 {list(wanted)}")
    return np.require(file.get_tensor(key), np.float32, ["C", "W"]).reshape(wanted)


def _key(tensor: Tensor, slot: str) -> str:
    return f"{tensor.name}/{slot}"


def _keyed(state: State) -> dict[str, Buffer]:
    return {_key(t, slot): buffer for t in state.tensors for slot, buffer in t.buffers.items()}


def _arrays(state: State) -> Iterator[Buffer]:
    return (buffer for tensor in state.tensors for buffer in tensor.buffers.values())


def _checksum(described: str, buffers: Iterator[Buffer]) -> str:
    """SHA-256 over the description, and over the numbers in the order in which it lists them."""
    digest = hashlib.sha256(described.encode())
    for buffer in buffers:
        flat = buffer.reshape(-1)
        digest.update((flat if sys.byteorder == "little" else flat.byteswap()).data)
    return digest.hexdigest()


def _describe(state: State) -> str:
    _check_state(state)
    groups = [{"rule": g.rule, "state": g.state, "options": g.options, **g.framework} for g in state.groups]
    tensors = [
        {"name": t.name, "group": t.group, "steps": t.steps, "shape": t.shape, "buffers": list(t.buffers)}
        for t in state.tensors
    ]
    whole: dict[str, Any] = {"groups": groups, "tensors": tensors}
    settings = ("steps", "grad_scale", "max_norm", *(("averages",) if state.averages else ()), "extra")
    whole.update({name: getattr(state, name) for name in settings})
    try:
        return json.dumps(whole, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"what JSON cannot hold, in options or extra: {error}") from error


def _parse(described: str) -> State:
    try:
        state = _parse_state(**json.loads(described))
    except CheckpointError:
        raise
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"damaged: its description is none: {error}") from error
    _check_state(state)
    return state


def _parse_state(
    groups: list[Any],
    tensors: list[Any],
    steps: int,
    grad_scale: float,
    max_norm: float,
    extra: Mapping[str, Any],
    averages: int = 0,
) -> State:
    lists = [_parse_group(**g) for g in groups], [_parse_tensor(**t) for t in tensors]
    return State(*lists, _count(steps), float(grad_scale), float(max_norm), dict(extra), _count(averages))


def _parse_group(rule: str, state: str, options: Mapping[str, float | bool], **framework: Any) -> Group:
    if "lr" not in options:
        raise ValueError(f"{rule} has no learning rate among its options")
    return Group(str(rule), str(state), dict(options), framework)


def _parse_tensor(
    name: str,
    group: int,
    steps: int,
    shape: list[int],
    buffers: list[str],
    types: Mapping[str, str] | None = None,
) -> Tensor:
    """A tensor whose buffers are still to be read."""
    if types:
        raise CheckpointError(f"{name!r} has state of the types {dict(types)}, want float32: others are Go's alone")
    empty = np.empty(0, np.float32)
    sizes = tuple(_count(n) for n in shape)
    return Tensor(str(name), _count(group), _count(steps), sizes, {str(slot): empty for slot in buffers})


def _count(n: Any) -> int:
    if type(n) is not int or not 0 <= n <= MOST:
        raise ValueError(f"{n!r} where a whole number from 0 to 2⁶³-1 must be")
    return n


def _check_state(state: State) -> None:
    """Refuses what nobody can read back: names that mean two tensors, groups that are not there."""
    names = [tensor.name for tensor in state.tensors]
    if len(set(names)) != len(names):
        raise CheckpointError(f"two tensors have the name {next(n for n in names if names.count(n) > 1)!r}")
    for n in (state.steps, state.averages, *(tensor.steps for tensor in state.tensors)):
        if not 0 <= n <= MOST:
            raise CheckpointError(f"steps or averages are {n}, want 0 to 2⁶³-1")
    for tensor in state.tensors:
        if tensor.group not in range(len(state.groups)):
            raise CheckpointError(f"{tensor.name!r} is of group {tensor.group} of {len(state.groups)}")
        if tensor.steps > state.steps:
            raise CheckpointError(f"{tensor.name!r} has taken {tensor.steps} steps of {state.steps}")
        if (AVERAGE in tensor.buffers) != (state.averages > 0):
            has = "has" if AVERAGE in tensor.buffers else "has no"
            raise CheckpointError(f"{tensor.name!r} {has} {AVERAGE}, of {state.averages} averages")
        if (SLOW in tensor.buffers) != (SLOW in state.tensors[0].buffers):
            has = "has" if SLOW in tensor.buffers else "has no"
            raise CheckpointError(f"{tensor.name!r} {has} {SLOW}, want it of all tensors or none")


def _check_buffers(state: State) -> None:
    """Refuses what the library would write as other numbers."""
    buffers = ((_key(t, s), b, _shapes(state, t)[s]) for t in state.tensors for s, b in t.buffers.items())
    for key, buffer, shape in buffers:
        if buffer.dtype != np.float32 or buffer.shape != shape or not buffer.flags.c_contiguous:
            kind = "C-contiguous" if buffer.flags.c_contiguous else "strided"
            raise CheckpointError(f"{key} is {kind} {buffer.dtype} {buffer.shape}, want C-contiguous float32 {shape}")


def _replace(path: Path, create: Callable[[Path], None]) -> None:
    """Creates a file beside path and puts it in its place once it is on the disk.

    What is a symbolic link stays one, and a file that is replaced has its mode.
    """
    with suppress(FileNotFoundError):
        os.stat(path)  # an error where links lead round in a loop, of which realpath gives one
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.touch(exist_ok=False)
        mode = stat.S_IMODE((path if path.exists() else temporary).stat().st_mode)  # or what the umask lets
        create(temporary)  # which safetensors lets nobody else read
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # last, since it may be read-only
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the new name last, where a folder can be synchronized: not on Windows."""
    if os.name != "posix":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# Optimizers.


def _adapter(optimizer: Any) -> Any:
    """The module that takes the state of an optimizer and sets it."""
    from .numpy import _checkpoint, _optimizer

    if isinstance(optimizer, _optimizer.Optimizer):
        return _checkpoint
    if "torch" in sys.modules:
        from . import torch

        if isinstance(optimizer, torch.LockstepOptimizer):
            return import_module(".torch._checkpoint", __package__)
    raise TypeError(f"optimizer is a {type(optimizer).__name__}, want one of lockstep.numpy or lockstep.torch")
