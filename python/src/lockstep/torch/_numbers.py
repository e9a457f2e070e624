"""Optimizers of torch that keep numbers which follow from the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ._optimizer import LockstepOptimizer


class NumbersOfSteps(LockstepOptimizer):
    """An optimizer whose class in torch keeps numbers as state that a rule here makes of the step.

    They are written where somebody may read them: for ``state_dict``, for copies and for torch's own step.
    """

    def _numbers(self, group: Mapping[str, Any], steps: int) -> dict[str, float]:
        """The numbers of a parameter that has taken so many steps, by torch's names."""
        raise NotImplementedError

    def _write_numbers(self) -> None:
        of_steps: dict[tuple[int, int], dict[str, float]] = {}
        for e, steps in self._plan.begun() if self._plan else ():
            key = (e.group, steps)
            if key not in of_steps:
                of_steps[key] = self._numbers(self.param_groups[e.group], steps)
            state = dict.get(self.watched_state(), e.param, {})
            for name, value in of_steps[key].items():
                if name in state:
                    state[name].fill_(value)
                else:
                    state[name] = torch.tensor(value, dtype=torch.float32)
                    self.watched_state().touched = True

    def state_dict(self) -> dict[str, Any]:
        """What torch's class has."""
        self._write_numbers()
        return super().state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes a state of another kind too, in which torch's class would miss them."""
        for group in state["param_groups"]:
            for param in group["params"]:
                own = dict.get(state["state"], param, {})
                if "step" in own:
                    for name, value in self._numbers(group, int(own["step"])).items():
                        own.setdefault(name, torch.tensor(value, dtype=torch.float32))
        super().__setstate__(state)

    def __getstate__(self) -> dict[str, Any]:
        self._write_numbers()
        return super().__getstate__()

    def _step_by_torch(self, params: Mapping[int, list[Tensor]]) -> None:
        self._write_numbers()
        super()._step_by_torch(params)
