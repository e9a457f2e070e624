"""The state of optimizers over PyTorch's tensors, for lockstep.checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch

from .. import _typed as typed
from .._library import STATE_SMALL, STATE_TYPES, ArgumentError, Rule
from .._typed import TypedState
from ..checkpoint import State, Tensor, check_fits, group_of
from ._layout import Shape
from ._optimizer import LockstepOptimizer
from ._packed import FLOAT8, FLOAT32, of_typed, packable
from ._plan import Plan
from ._tensors import HALVES, UnsupportedError, is_sharded, local, refusal, torch_shape


def export(optimizer: LockstepOptimizer) -> State:
    """The state, without copies."""
    optimizer._convert_state()
    plan = optimizer._current_plan() if optimizer.state_number != FLOAT32 else None
    groups, tensors = [], []
    for k, (group, names) in enumerate(zip(optimizer.param_groups, _names(optimizer))):
        rule = optimizer._checked_rule(group)
        groups.append(group_of(rule))
        groups[-1].framework["torch"] = {name: _plain(value) for name, value in group.items() if name not in _PARAMS}
        tensors += [_tensor(optimizer, plan, rule, k, *named) for named in zip(names, group["params"])]
    return State(groups, tensors, max((tensor.steps for tensor in tensors), default=0))


_PARAMS = ("params", "param_names")


def _names(optimizer: LockstepOptimizer) -> list[list[str]]:
    """The names of parameters, as they were given, or their number through all groups."""
    names, first = [], 0
    for group in optimizer.param_groups:
        numbers = range(first, first + len(group["params"]))
        names.append(list(group.get("param_names", map(str, numbers))))
        first = numbers.stop
    if len(set(chain.from_iterable(names))) < first:
        raise ArgumentError(f"param_names are {names}, want different ones")
    return names


def _plain(value: Any) -> Any:
    """An option as JSON can hold it, which has no infinite numbers."""
    number = value.item() if isinstance(value, torch.Tensor) else value
    return str(number) if isinstance(number, float) and math.isinf(number) else number


def _tensor(
    optimizer: LockstepOptimizer, plan: Plan | None, rule: Rule, group: int, name: str, param: torch.Tensor
) -> Tensor:
    if is_sharded(param):
        raise UnsupportedError(f"{name} is sharded, want it whole: torch.distributed.checkpoint saves shards")
    if local(param).dtype in HALVES:
        raise UnsupportedError(f"{name} is {param.dtype}, want torch.float32: torch.save of state_dict() has masters")
    state = optimizer.state.get(param, {})
    shapes = rule.state_shapes(tuple(param.shape))
    keys = {slot: optimizer._state_names[slot] for slot in shapes}
    begun = "step" in state and all(state.get(key) is not None for key in keys.values())
    packed = _packed(plan, name, param) if plan is not None and begun else {}
    buffers: dict[str, Any] = {}
    for slot, key in keys.items() if begun else ():
        buffers[slot] = packed[slot] if slot in packed else _buffer(name, key, state[key]).reshape(shapes[slot])
    return Tensor(name, group, int(state["step"]) if begun else 0, tuple(param.shape), buffers)


def _packed(plan: Plan, name: str, param: torch.Tensor) -> dict[str, TypedState]:
    """The state of fewer bits, in the order of the parameter's shape."""
    k = plan.places()[param]
    shape, types = plan.entries[k].shape, plan.entries[k].types
    found = {}
    for slot, kind in types.items():
        state = typed.read(plan.core, k, slot, STATE_TYPES[kind], shape.size)
        if not shape.same_order(torch.empty(shape.size, device="meta").stride()):
            _check_order(name, kind)
            halves = torch.from_numpy(state.elements.view(np.int16)).as_strided(shape.size, shape.stride)
            state = TypedState(state.type, np.ascontiguousarray(halves.numpy()).view(np.uint16))
        found[slot] = state
    return found


def _check_order(name: str, kind: int) -> None:
    """Refuses codes that are not in the order of a shape: their scales are of other elements than a file's."""
    if kind == FLOAT8:
        wish = "want it contiguous with float8: torch.save of state_dict() has any order"
        raise UnsupportedError(f"{name} is not in memory in the order of its shape, {wish}")


def _buffer(name: str, key: str, tensor: torch.Tensor) -> Any:
    tensor = local(tensor)
    why = refusal(tensor)
    if why:
        raise UnsupportedError(f"the state {key} of {name} {why}")
    return np.ascontiguousarray(tensor.detach().numpy()).reshape(tensor.shape)


def load(optimizer: LockstepOptimizer, state: State) -> None:
    """Sets the state. Raises ArgumentError, and has changed nothing, if it is another optimizer's."""
    params = [dict(zip(names, g["params"])) for names, g in zip(_names(optimizer), optimizer.param_groups)]
    for name, param in (item for group in params for item in group.items()):
        if is_sharded(param):
            raise UnsupportedError(f"{name} is sharded, want it whole: torch.distributed.checkpoint loads shards")
        if param.dtype in HALVES:
            raise UnsupportedError(
                f"{name} is {param.dtype}, want torch.float32: torch.load of a state_dict() has masters"
            )
    rules = [optimizer._checked_rule(group) for group in optimizer.param_groups]
    types = {
        name: dict.fromkeys(packable(rule), STATE_TYPES[optimizer.state_number])
        for rule, group in zip(rules, params)
        for name, p in group.items()
        if optimizer.state_number != FLOAT32 and p.numel() > STATE_SMALL
    }
    check_fits(state, rules, [{name: tuple(p.shape) for name, p in g.items()} for g in params], types=types)
    groups = [_group(optimizer, k, state) for k in range(len(rules))]
    numbers = {name: n for n, name in enumerate(name for group in params for name in group)}
    for group, named in zip(groups, params):
        group["params"] = [numbers[name] for name in named]
    states = {
        numbers[t.name]: _state(optimizer, t, rules[t.group], params[t.group][t.name])
        for t in state.tensors
        if t.buffers or t.steps
    }
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _group(optimizer: LockstepOptimizer, k: int, state: State) -> dict[str, Any]:
    """A group with the options that were saved: those of torch, or from elsewhere the learning rate alone."""
    own, saved = optimizer.param_groups[k], state.groups[k]
    options: Mapping[str, Any] = saved.framework.get("torch") or {"lr": saved.options["lr"]}
    group = {**own, **{name: _like(own.get(name), value) for name, value in options.items()}}
    optimizer._checked_rule(group)
    return group


def _like(own: Any, value: Any) -> Any:
    """An option as JSON has it, of the type that it is of here. Tensors come back as numbers, which are exact."""
    if isinstance(own, float) and isinstance(value, str):
        return float(value)
    return tuple(value) if isinstance(own, tuple) else value


def _state(optimizer: LockstepOptimizer, tensor: Tensor, rule: Rule, param: torch.Tensor) -> dict[str, torch.Tensor]:
    state = {"step": torch.tensor(float(tensor.steps))}
    for slot, buffer in tensor.buffers.items():
        if isinstance(buffer, TypedState):
            of = of_typed(rule, slot, _in_memory(buffer, tensor.name, param))
        else:
            of = torch.from_numpy(buffer).reshape(torch_shape(slot, buffer.shape))
        state[optimizer._state_names[slot]] = of
    return state


def _in_memory(state: TypedState, name: str, param: torch.Tensor) -> TypedState:
    """A buffer whose elements are in the order of a parameter's memory."""
    shape = Shape.of(param)
    if not shape.is_dense() or shape.same_order(torch.empty(shape.size, device="meta").stride()):
        return state
    _check_order(name, STATE_TYPES.index(state.type))
    halves = torch.from_numpy(state.elements.view(np.int16))
    in_order = torch.empty_strided(shape.size, shape.stride, dtype=torch.int16).copy_(halves)
    return TypedState(state.type, in_order.as_strided((shape.numel,), (1,)).numpy().view(np.uint16))
