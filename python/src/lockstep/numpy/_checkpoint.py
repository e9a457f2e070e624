"""The state of optimizers over NumPy arrays, for lockstep.checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _typed as typed
from .._library import STATE_SMALL, Rule, first_state
from ..checkpoint import AVERAGE, SLOW, State, Tensor, check_fits, group_of
from ._optimizer import Optimizer


def export(optimizer: Optimizer) -> State:
    """A copy of the state."""
    saved = optimizer.state_dict()
    tensors = [
        Tensor(name, array["group"], array["steps"], optimizer.params[name].shape, array["state"])
        for name, array in saved["arrays"].items()
    ]
    steps = max(saved["steps"], max((tensor.steps for tensor in tensors), default=0))
    groups = [group_of(group.rule) for group in optimizer.groups]
    return State(groups, tensors, steps, saved["grad_scale"], saved["max_norm"], averages=saved["averages"])


def load(optimizer: Optimizer, state: State) -> None:
    """Sets the state. Raises ArgumentError, and has changed nothing, if it is another optimizer's."""
    rules = [group.rule for group in optimizer.groups]
    shapes = [{name: optimizer.params[name].shape for name in g.names} for g in optimizer.groups]
    kept = {AVERAGE: optimizer.average, SLOW: optimizer.lookahead}
    own = optimizer.state_types
    types = {name: own if p.size > STATE_SMALL else {} for name, p in optimizer.params.items()}
    check_fits(state, rules, shapes, [name for name, setting in kept.items() if setting is not None], types)
    groups = [{"rule": g.rule, "options": g.options, "state": g.state} for g in state.groups]
    arrays = {t.name: _array(t, rules[t.group], types[t.name]) for t in state.tensors}
    settings = {"grad_scale": state.grad_scale, "max_norm": state.max_norm}
    counts = {"steps": state.steps, "averages": state.averages}
    optimizer.load_state_dict({"groups": groups, "arrays": arrays, **counts, **settings})


def _array(tensor: Tensor, rule: Rule, types: Mapping[str, str]) -> dict[str, Any]:
    first = first_state(rule)
    begun: dict[str, Any] = {}
    for slot, shape in rule.state_shapes(tensor.shape).items():
        if slot in tensor.buffers or slot not in types:
            begun[slot] = np.full(shape, first.get(slot, 0), np.float32)
        else:
            begun[slot] = typed.begun(rule, slot, types[slot], shape)
    return {"group": tensor.group, "steps": tensor.steps, "state": begun | tensor.buffers}
