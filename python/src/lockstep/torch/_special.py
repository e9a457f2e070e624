"""The optimizers of papers that do more than a table says, or whose authors keep state in another form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._library import ArgumentError, Rule
from ._optimizer import LockstepOptimizer
from ._options import CAUTIONS, Betas, Names, Number, Params, common, means
from ._packed import FLOAT32, StateType
from ._tensors import MASTER


def _count_on(states: Sequence[dict[str, Any]], steps: int) -> None:
    """Has states count as an optimizer that has gone on with them, and which counts elsewhere."""
    behind = steps - max((int(state["step"]) for state in states if "step" in state), default=0)
    for state in states:
        state["step"] = torch.tensor(float(state.get("step", 0) + behind))


class Adan(LockstepOptimizer):
    """Adan (Xie et al. 2022): Adam with Nesterov's momentum made of the gradient's change.

    Arguments and defaults are those of the authors' optimizer, without its max_grad_norm, and so is ``state_dict``.
    Weight decay is decoupled, as with their no_prox=True. With a state_dtype, ``state_dict`` has the state as it is.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg", "diff": "exp_avg_diff", "v": "exp_avg_sq", "prev": "pre_grad"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[Number, Number, Number] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        beta1, beta2, beta3 = group["betas"]
        options = common(group) | {"beta1": beta1, "beta2": beta2, "beta3": beta3}
        return Rule("Adan", **options, eps=group["eps"], allow_zero_eps=True)

    @torch.no_grad()
    def _convert_state(self) -> None:
        for group in self.param_groups:
            states = [dict.get(self.watched_state(), p, {}) for p in group["params"]]
            loaded = [state for state in states if "neg_pre_grad" in state]
            for state in loaded:
                state["pre_grad"] = -state.pop("neg_pre_grad")
            if loaded:
                _count_on(loaded, group.get("step", 0))
                self.watched_state().touched = True

    def _export(self, group: dict[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        if self.state_number != FLOAT32:
            return  # bytes, of which the authors' optimizer knows nothing
        state["neg_pre_grad"] = -state.pop("pre_grad")
        group["step"] = max(group.get("step", 0), int(state["step"]))


class MADGRAD(LockstepOptimizer):
    """MADGRAD (Defazio, Jelassi 2021): dual averaging with a momentum, which divides by the cube root of squares.

    Arguments and defaults are those of the authors' optimizer, and so is ``state_dict``, with their count "k" of steps
    beside those of the parameters. With a momentum of 0 the state "x0" is here, too. A rate of 0 moves as little as eps
    lets it, where theirs stands still.
    """

    _state_names: ClassVar[Names] = {"s": "s", "grad_sum_sq": "grad_sum_sq", "x0": "x0"}
    _slots_as_params = frozenset({"x0"})

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eps: float = 1e-6,
        decouple_decay: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "weight_decay" if group["decouple_decay"] else "l2")
        return Rule("MADGRAD", **options, momentum=group["momentum"], eps=group["eps"], allow_zero_eps=True)

    @torch.no_grad()
    def _convert_state(self) -> None:
        states: dict[Any, Any] = self.watched_state()
        steps = dict.pop(states, "k", None)
        if steps is None:
            return
        loaded = [(p, g, dict.get(states, p)) for g in self.param_groups for p in g["params"]]
        for param, group, state in loaded:
            if state and "x0" not in state:  # of the authors', without momentum
                state["x0"] = state.get(MASTER, param) + state["s"] / (state["grad_sum_sq"].pow(1 / 3) + group["eps"])
        _count_on([state for _, _, state in loaded if state], int(steps))
        self.watched_state().touched = True

    def state_dict(self) -> dict[str, Any]:
        """That of the authors' optimizer."""
        self._convert_state()
        saved = super().state_dict()
        counts = [int(state["step"]) for k, state in saved["state"].items() if k != "k"]
        saved["state"]["k"] = torch.tensor([max(counts, default=0)])
        return saved


class EstimatingOptimizer(LockstepOptimizer):
    """What estimates its step size from sums over all parameters. Its authors have such numbers in groups."""

    _needs_whole_tensors = True

    def _take_step(self) -> None:
        super()._take_step()
        begun = [(e, steps) for e, steps in self._plan.begun() if e.shape.numel] if self._plan else []
        if begun:
            entry, _ = begun[0]
            shared = ((s, v) for s, v in zip(entry.slots, entry.views) if s in self._common_slots)
            numbers = {self._state_names[s]: float(v) for s, v in shared}
            numbers["k"] = max(steps for _, steps in begun)
            for group in self.param_groups:
                group.update(numbers)

    def _convert(self, group: Mapping[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        if "s" in state and "d" not in state:
            for slot in self._common_slots:
                name = self._state_names[slot]
                state[name] = torch.tensor([float(group[name])])

    def _export(self, group: dict[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        for slot in self._common_slots:
            name = self._state_names[slot]
            value = float(state.pop(name))
            if param.numel():  # others take no part in steps
                group[name] = value
        group["fsdp_in_use"] = False
        state["step"] = int(state["step"])


def _estimate(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options that all of them have."""
    most, corrects = group["growth_rate"], group["use_bias_correction"]
    options = common(group, "weight_decay" if group["decouple"] else "l2") | means(group)
    options |= {"eps": group["eps"], "d0": group["d0"], "growth_rate": 0.0 if math.isinf(most) else most}
    return options | {"no_bias_correction": not corrects}


class Prodigy(EstimatingOptimizer):
    """Prodigy (Mishchenko, Defazio 2023): Adam that estimates its step size, d, from how far it has come.

    Arguments and defaults are those of the authors' optimizer, without its fsdp_in_use and slice_p, and so is
    ``state_dict``. All groups have one d, and the options d0, d_coef, beta3 and growth_rate should be the same in them;
    ``lr``, 1 as a rule, and its schedule multiply it. After a step each group has "d", "d_max", "d_numerator" and "k",
    as theirs, for who prints them: steps go by the state. With a first beta of 0 a step is of the d that its gradient
    was taken in with, as for others, where theirs is of the d after that.
    """

    _state_names: ClassVar[Names] = {
        **{"p0": "p0", "s": "s", "m": "exp_avg", "v": "exp_avg_sq"},
        **{"d": "d", "numerator": "d_numerator", "d_max": "d_max"},
    }
    _slots_as_params = frozenset({"p0"})
    _common_slots = frozenset({"d", "numerator", "d_max"})

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        betas: Betas = (0.9, 0.999),
        beta3: float | None = None,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decouple: bool = True,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = math.inf,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals() | {"d": d0, "d_max": d0, "d_numerator": 0.0, "k": 0})

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {name: group[name] for name in ("d_coef", "safeguard_warmup")}
        beta3 = group["beta3"]
        return Rule(
            "Prodigy", **_estimate(group), **options, beta3=0.0 if beta3 is None else beta3, allow_zero_eps=True
        )

    def _convert(self, group: Mapping[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        if "s" not in state or "d" in state:
            return
        if state["s"].numel() != param.numel():
            found = f"{state['s'].numel()} elements, want {param.numel()}"
            raise ValueError(f"the state s of a parameter has {found}: slice_p is no option here")
        for name in ("s", "p0"):  # flat, and p0 one number where all of it is 0
            state[name] = state[name].flatten().expand(param.numel()).reshape(param.shape)
        state.setdefault(
            "exp_avg", torch.zeros_like(param, dtype=torch.float32)
        )  # which the authors lack without beta1
        super()._convert(group, param, state)

    def _export(self, group: dict[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        super()._export(group, param, state)
        group["slice_p"] = 1
        for name in ("s", "p0"):
            state[name] = state[name].flatten()


class DAdaptAdam(EstimatingOptimizer):
    """Adam with D-Adaptation (Defazio, Mishchenko 2023): estimates its step size, d, from how gradients agree.

    Arguments and defaults are those of the authors' optimizer, without its fsdp_in_use, and so is ``state_dict``;
    weight_decay is L2's, or with decouple AdamW's. All groups have one d, and the options betas, d0 and growth_rate
    should be the same in them; ``lr``, 1 as a rule, and its schedule multiply it, and ``layer_scale``, an option of
    groups, the steps of each. After a step each group has "d", "numerator_weighted" and "k", as theirs, for who prints
    them: log_every changes nothing. An eps of 0 is refused.
    """

    _state_names: ClassVar[Names] = {
        **{"m": "exp_avg", "v": "exp_avg_sq", "s": "s"},
        **{"d": "d", "numerator": "numerator_weighted"},
    }
    _common_slots = frozenset({"d", "numerator"})

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        log_every: int = 0,
        decouple: bool = False,
        use_bias_correction: bool = False,
        d0: float = 1e-6,
        growth_rate: float = math.inf,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals() | {"d": d0, "numerator_weighted": 0.0, "k": 0, "layer_scale": 1.0})

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("DAdaptAdamW", **_estimate(group), layer_scale=group["layer_scale"])


class SophiaG(LockstepOptimizer):
    """Sophia (Liu et al. 2023): divides the mean of gradients by an estimate of the Hessian's diagonal, and clips.

    Arguments, defaults and state are those of the authors' SophiaG. Every ten steps or so the loop makes gradients for
    labels that the model has drawn, and ``update_hessian`` moves the estimate towards their squares; until it has been
    called, steps follow signs. bs is the number of tokens, or of examples, that gradients are a mean of.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg", "h": "hessian"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.965, 0.99),
        rho: float = 0.04,
        weight_decay: float = 1e-1,
        *,
        bs: float = 5120,
        maximize: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        gamma = group["rho"] * group["bs"]
        return Rule("Sophia", **common(group), **means(group), gamma=gamma, eps=1e-15, clip=1)

    def step(self, closure: Callable[[], Any] | None = None, bs: float | None = None) -> Any:
        """Takes a step. With a bs that is that of all groups from now on. A closure is as in torch."""
        for group in self.param_groups if bs is not None else ():
            group["bs"] = bs
        return super().step(closure)

    step.hooked = True  # type: ignore[attr-defined] # as that which it calls

    @torch.no_grad()
    def update_hessian(self, estimates: Sequence[Tensor | None] | None = None) -> None:
        """Moves the estimate h towards new ones, ``h + (1 - beta2) * (estimate - h)``.

        They are the squares of gradients, or what is given for the parameters in the order of groups, such as that of
        Hutchinson. A parameter whose gradient or estimate is None keeps its own. Gradients must not be scaled. Raises
        UnsupportedError, and has done nothing, for an estimate of another shape or kind than its parameter.
        """
        params = [p for group in self.param_groups for p in group["params"]]
        if estimates is None:
            estimates = [None if p.grad is None else p.grad.float().square() for p in params]
        if len(estimates) != len(params):
            raise ArgumentError(f"len(estimates) is {len(estimates)}, want the number of parameters, {len(params)}")
        self._current_plan().update_hessian(self, {p: e for p, e in zip(params, estimates) if e is not None})
