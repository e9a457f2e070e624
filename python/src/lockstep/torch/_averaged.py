"""Optimizers whose parameters are elsewhere while they train than where they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ._optimizer import LockstepOptimizer
from ._tensors import MASTER


class ScheduleFreeOptimizer(LockstepOptimizer):
    """What the Schedule-Free optimizers share: their two modes, as those of the authors have them.

    ``train()`` comes before the first step, ``eval()`` before parameters are evaluated, shipped or saved, and
    ``train()`` before the next step, which raises RuntimeError otherwise. To be asked for the mode that they are in
    changes nothing. The state beside the authors' is "behind", how far parameters that train are from z: a state of
    theirs with "z" is taken too.

    Weights of the mean follow warmup_steps, or RAdam's rectification. A scheduler that lets the rate rise changes no
    weight, one that lets it fall changes none in the authors' optimizers with warmup_steps either.
    """

    def _construct_averaged(self, arguments: dict[str, Any]) -> None:
        self._construct(arguments | {"train_mode": False})

    def train(self) -> None:
        """Makes the parameters what a step wants."""
        self._turn(training=True)

    def eval(self) -> None:
        """Makes the parameters what is to be evaluated: the mean of where they have been."""
        self._turn(training=False)

    @torch.no_grad()
    def _turn(self, *, training: bool) -> None:
        self._convert_state()
        for group in self.param_groups:
            if group["train_mode"] == training:
                continue
            mean = _to_mean(group)
            for param in group["params"]:
                state = dict.get(self.watched_state(), param, {})
                behind = state.get("behind")
                if behind is not None:
                    trained = state.get(MASTER, param)
                    trained.copy_(trained.double().add_(behind.double().mul_(-mean if training else mean)))
                    if trained is not param:
                        param.copy_(trained)
            group["train_mode"] = training

    def _take_step(self) -> None:
        if not all(group["train_mode"] for group in self.param_groups):
            raise RuntimeError(
                "the parameters are those of eval, want those of train: call optimizer.train() before a step"
            )
        super()._take_step()

    @torch.no_grad()
    def _convert_state(self) -> None:
        """Has the authors' z, and the step that they count by group, be what they are here."""
        for group in self.param_groups:
            for param in group["params"]:
                state = dict.get(self.watched_state(), param, {})
                if "z" in state and "behind" not in state:
                    part = 1.0 if group["train_mode"] else _beta(group)  # of x - z
                    trained = state.get(MASTER, param)
                    state["behind"] = (trained.double() - state.pop("z").double()).mul_(part).float()
                    state.setdefault("step", torch.tensor(float(group.get("k", 0))))
                    self.watched_state().touched = True


def _beta(group: Mapping[str, Any]) -> float:
    return float(group["betas"][0] if "betas" in group else group["momentum"])


def _to_mean(group: Mapping[str, Any]) -> float:
    """What of "behind" the mean is beyond parameters that train, as toMean of Go's package update."""
    beta = _beta(group)
    return (1 - beta) / beta * (1 - 2.0**-30)
