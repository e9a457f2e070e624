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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from . import _typed as typed
from ._library import STATE_TYPES, ArgumentError, Optimizer, Rule
from ._typed import TypedState

__all__ = ["CheckpointError", "Group", "State", "Tensor", "TypedState", "load", "read", "save", "write"]

VERSION = "1"
MOST = (1 << 63) - 1  # of anything that is counted: other readers have 64 bits
KEY = "lockstep"  # one alone: the library writes several in any order, and equal states should be equal files

AVERAGE, SLOW = "params_average", "params_slow"
BESIDE = (AVERAGE, SLOW)  # what optimizers of Go and of lockstep.numpy may keep beside the slots of rules

SCALES = ".scales"  # ends the name of what codes of 8 bits are multiplied by

Buffer = Union[npt.NDArray[np.float32], TypedState]
Types = Mapping[str, Mapping[str, str]]
"""By the names of tensors and their slots, the types of state that is not float32."""


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
    state: State,
    rules: Sequence[Rule],
    shapes: Sequence[Mapping[str, tuple[int, ...]]],
    kept: Sequence[str] = (),
    types: Types | None = None,
) -> None:
    """Refuses a state that is of other rules than an optimizer's groups, or of others than their parameters.

    kept is what the optimizer keeps of BESIDE, types are those of its state.
    """
    if len(state.groups) != len(rules):
        raise ArgumentError(f"it is of {len(state.groups)} groups, want {len(rules)}")
    for k, (rule, own) in enumerate(zip(rules, shapes)):
        wanted, saved = group_of(rule), state.groups[k]
        if (saved.rule, saved.state) != (wanted.rule, wanted.state):
            raise ArgumentError(f"group {k} is of {saved.state}, want {wanted.state}")
        _check_tensors(k, rule, [t for t in state.tensors if t.group == k], own, kept)
        for t in state.tensors:
            if t.group == k:
                _check_types(t, rule, (types or {}).get(t.name, {}))


def _check_types(t: Tensor, rule: Rule, types: Mapping[str, str]) -> None:
    for slot, buffer in t.buffers.items():
        of, want = _type_of(buffer), types.get(slot, "float32")
        if of != want:
            raise ArgumentError(f"{t.name!r} has {slot} as {of}, want {want}, as the optimizer keeps it")
        if isinstance(buffer, TypedState):
            typed.check(buffer, f"{slot} of {t.name!r}", t.shape, of, squares=slot in typed.squares(rule))


def _type_of(buffer: Buffer) -> str:
    return buffer.type if isinstance(buffer, TypedState) else "float32"


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
    _check_buffers(state)
    described = _describe(state)
    parts = _parts(state)
    metadata = f"{VERSION} {_checksum(described, parts.values())} {described}"
    _replace(Path(path), lambda temporary: _write(temporary, metadata, parts))


class _Part(NamedTuple):
    """What has a name of its own in a file."""

    dtype: str
    array: npt.NDArray[Any]


def _write(path: Path, metadata: str, parts: Mapping[str, _Part]) -> None:
    """Writes a file as safetensors' own library does: it knows bfloat16 only with other packages."""
    widths = {key: part.array.itemsize for key, part in parts.items()}
    header: dict[str, Any] = {"__metadata__": {KEY: metadata}}
    first, order = 0, sorted(parts, key=lambda key: (-widths[key], key))
    for key in order:
        part = parts[key]
        offsets = [first, first := first + part.array.nbytes]
        header[key] = {"dtype": part.dtype, "shape": part.array.shape, "data_offsets": offsets}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            file.write(_bytes_of(parts[key].array))


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The numbers of an array, little-endian."""
    flat = array.reshape(-1)
    return (flat if sys.byteorder == "little" else flat.byteswap()).data.cast("B")


def read(path: str | os.PathLike[str]) -> State:
    """Reads a state, of which every byte that matters has been checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="np") as file:
            return _read(file, Path(path))
    except (SafetensorError, CheckpointError) as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error


def _read(file: Any, path: Path) -> State:
    checksum, described = _split((file.metadata() or {}).get(KEY))
    state = _parse(described)
    _check_keys(state, file.keys())
    for tensor in state.tensors:
        shapes = _shapes(state, tensor)
        tensor.buffers = {
            slot: _buffer(file, path, tensor, slot, shapes[slot], _type_of(b)) for slot, b in tensor.buffers.items()
        }
    if _checksum(described, _parts(state).values()) != checksum:
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
    listed = set(_parts(state))
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


def _buffer(file: Any, path: Path, tensor: Tensor, slot: str, wanted: tuple[int, ...], of: str) -> Buffer:
    """Is of the wanted shape. Where that has as many elements as the tensor's, the file may have the latter."""
    key = _key(tensor, slot)
    if of == "float32":
        return _floats(file, key, wanted, tensor.shape)
    if of == "bfloat16":
        _check_stored(file, key, "BF16", tensor.shape)
        return TypedState(of, _halves(path, key).reshape(tensor.shape))
    _check_stored(file, key, "U8", tensor.shape)
    codes, blocks = np.require(file.get_tensor(key), np.uint8, ["C", "W"]), typed.empty(of, tensor.shape).scales
    assert blocks is not None
    return TypedState(of, codes, _floats(file, key + SCALES, blocks.shape, blocks.shape))


def _floats(file: Any, key: str, wanted: tuple[int, ...], other: tuple[int, ...]) -> npt.NDArray[np.float32]:
    shape = _check_stored(file, key, "F32", wanted, other)
    if math.prod(shape) != math.prod(wanted):
        raise CheckpointError(f"damaged: {key} is F32 {list(shape)}, not F32 {list(wanted)}")
    return np.require(file.get_tensor(key), np.float32, ["C", "W"]).reshape(wanted)


def _check_stored(file: Any, key: str, of: str, *wanted: tuple[int, ...]) -> tuple[int, ...]:
    stored = file.get_slice(key)
    dtype, shape = stored.get_dtype(), tuple(stored.get_shape())
    if dtype != of or shape not in wanted:
        raise CheckpointError(f"damaged: {key} is {dtype} {list(shape)}, not {of} {list(wanted[0])}")
    return shape


def _halves(path: Path, key: str) -> npt.NDArray[np.uint16]:
    """The bits of what NumPy has no type for, of a file that safetensors has opened."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        first, last = json.loads(file.read(length))[key]["data_offsets"]
        halves = np.fromfile(file, "<u2", (last - first) // 2, offset=first)
    return halves.astype(np.uint16)


def _key(tensor: Tensor, slot: str) -> str:
    return f"{tensor.name}/{slot}"


def _keys(tensor: Tensor) -> Iterator[str]:
    """What its buffers are called, in the order of the description."""
    for slot, buffer in tensor.buffers.items():
        yield _key(tensor, slot)
        if _type_of(buffer) == "float8":
            yield _key(tensor, slot) + SCALES


def _parts(state: State) -> dict[str, _Part]:
    """All that is in a file, in the order of the description."""
    keys = (key for tensor in state.tensors for key in _keys(tensor))
    arrays = (part for tensor in state.tensors for buffer in tensor.buffers.values() for part in _split_buffer(buffer))
    return dict(zip(keys, arrays))


def _split_buffer(buffer: Buffer) -> Iterator[_Part]:
    if not isinstance(buffer, TypedState):
        yield _Part("F32", buffer)
    elif buffer.scales is None:
        yield _Part("BF16", buffer.elements)
    else:
        yield _Part("U8", buffer.elements)
        yield _Part("F32", buffer.scales)


def _checksum(described: str, parts: Iterable[_Part]) -> str:
    """SHA-256 over the description, and over the numbers in the order in which it lists them."""
    digest = hashlib.sha256(described.encode())
    for part in parts:
        digest.update(_bytes_of(part.array))
    return digest.hexdigest()


def _describe(state: State) -> str:
    _check_state(state)
    groups = [{"rule": g.rule, "state": g.state, "options": g.options, **g.framework} for g in state.groups]
    tensors = [
        {"name": t.name, "group": t.group, "steps": t.steps, "shape": t.shape, "buffers": list(t.buffers), **_types(t)}
        for t in state.tensors
    ]
    whole: dict[str, Any] = {"groups": groups, "tensors": tensors}
    settings = ("steps", "grad_scale", "max_norm", *(("averages",) if state.averages else ()), "extra")
    whole.update({name: getattr(state, name) for name in settings})
    try:
        return json.dumps(whole, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"what JSON cannot hold, in options or extra: {error}") from error


def _types(tensor: Tensor) -> dict[str, dict[str, str]]:
    types = {slot: b.type for slot, b in sorted(tensor.buffers.items()) if isinstance(b, TypedState)}
    return {"types": types} if types else {}


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
    sizes, types = tuple(_count(n) for n in shape), types or {}
    for slot, of in types.items():
        if slot not in buffers:
            raise CheckpointError(f"damaged: '{name}/{slot}' has a type and is no buffer")
        if of not in STATE_TYPES[1:]:
            raise CheckpointError(f"'{name}/{slot}' is of the type {of!r}, want {', '.join(STATE_TYPES[1:])}")
    empty = {str(slot): _empty(types.get(slot)) for slot in buffers}
    return Tensor(str(name), _count(group), _count(steps), sizes, empty)


def _empty(of: str | None) -> Buffer:
    return typed.empty(of, (0,)) if of else np.empty(0, np.float32)


def _count(n: Any) -> int:
    if type(n) is not int or not 0 <= n <= MOST:
        raise ValueError(f"{n!r} where a whole number from 0 to 2⁶³-1 must be")
    return n


def _check_state(state: State) -> None:
    """Refuses what nobody can read back: names that mean two tensors, groups that are not there."""
    names = [tensor.name for tensor in state.tensors]
    if len(set(names)) != len(names):
        raise CheckpointError(f"two tensors have the name {next(n for n in names if names.count(n) > 1)!r}")
    keys = [key for tensor in state.tensors for key in _keys(tensor)]
    if len(set(keys)) != len(keys):
        raise CheckpointError(f"two buffers have the name {next(k for k in keys if keys.count(k) > 1)!r}")
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
    """Refuses what would be written as other numbers."""
    buffers = ((t, s, b, _shapes(state, t)[s]) for t in state.tensors for s, b in t.buffers.items())
    for tensor, slot, buffer, shape in buffers:
        key = _key(tensor, slot)
        if isinstance(buffer, TypedState):
            try:
                typed.check_shape(buffer, key, tensor.shape, buffer.type)
            except ArgumentError as error:
                raise CheckpointError(str(error)) from error
        elif buffer.dtype != np.float32 or buffer.shape != shape or not buffer.flags.c_contiguous:
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
