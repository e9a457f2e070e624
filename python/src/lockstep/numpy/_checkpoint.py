"""The state of optimizers over NumPy arrays, for lockstep.checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._library import ArgumentError, Rule, first_state
from ..checkpoint import AVERAGE, SLOW, State, Tensor, check_fits, group_of
from ._optimizer import Optimizer


def export(optimizer: Optimizer) -> State:
    """A copy of the state."""
    if optimizer.state_types:
        raise ArgumentError(f"state_types is {optimizer.state_types}, want float32 alone: pickle has the others")
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
    check_fits(state, rules, shapes, [name for name, setting in kept.items() if setting is not None])
    groups = [{"rule": g.rule, "options": g.options, "state": g.state} for g in state.groups]
    arrays = {t.name: _array(t, rules[t.group]) for t in state.tensors}
    settings = {"grad_scale": state.grad_scale, "max_norm": state.max_norm}
    counts = {"steps": state.steps, "averages": state.averages}
    optimizer.load_state_dict({"groups": groups, "arrays": arrays, **counts, **settings})


def _array(tensor: Tensor, rule: Rule) -> dict[str, Any]:
    first = first_state(rule)
    shapes = rule.state_shapes(tensor.shape)
    begun = {slot: np.full(shape, first.get(slot, 0), np.float32) for slot, shape in shapes.items()}
    return {"group": tensor.group, "steps": tensor.steps, "state": begun | tensor.buffers}
