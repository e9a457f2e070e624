"""The optimizers of torch, each a table from its options and names to those of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._library import Rule
from ._numbers import NumbersOfSteps
from ._optimizer import LockstepOptimizer
from ._options import CAUTIONS, Betas, Names, Number, Params, common, means, row_major_refusal
from ._packed import StateType
from ._rows import RowsPlan


def _adam(group: Mapping[str, Any]) -> Rule:
    decay = "weight_decay" if group["decoupled_weight_decay"] else "l2"
    options = common(group, decay) | means(group)
    return Rule("Adam", **options, eps=group["eps"], allow_zero_eps=True, amsgrad=group["amsgrad"])


_ADAM_STATE = {"m": "exp_avg", "v": "exp_avg_sq", "max_v": "max_exp_avg_sq"}


class Adam(LockstepOptimizer, torch.optim.Adam):
    """``torch.optim.Adam``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here.
    """

    _torch_class, _rule, _state_names = torch.optim.Adam, staticmethod(_adam), _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())


class AdamW(LockstepOptimizer, torch.optim.AdamW):
    """``torch.optim.AdamW``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here.
    """

    _torch_class, _rule, _state_names = torch.optim.AdamW, staticmethod(_adam), _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())


class SparseAdam(LockstepOptimizer, torch.optim.SparseAdam):
    """``torch.optim.SparseAdam``, with its arguments and defaults: Adam of the rows that a gradient has.

    Gradients are sparse in their first dimension, as those of ``torch.nn.Embedding(sparse=True)`` are, and need not
    be coalesced. A row without a gradient stays as it is; the correction of the bias goes by the steps of its table.
    """

    _torch_class, _state_names, _plan_class = torch.optim.SparseAdam, _ADAM_STATE, RowsPlan

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
        *,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"lr": group["lr"], "maximize": group["maximize"], "eps": group["eps"]}
        return Rule("Adam", **options, **means(group), eps_hat=True)

    def _check_group(self, k: int) -> None:
        params = self.param_groups[k]["params"]
        if any(p.is_sparse for p in params):
            raise ValueError("SparseAdam requires dense parameter tensors: it is gradients that are sparse")
        if any(p.is_complex() for p in params):
            raise ValueError("SparseAdam does not support complex parameters")
        super()._check_group(k)


class SGD(LockstepOptimizer, torch.optim.SGD):
    """``torch.optim.SGD``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here: a momentum of 1 or more, and a
    dampening outside of [0, 1].
    """

    _torch_class = torch.optim.SGD
    _state_names: ClassVar[Names] = {"momentum": "momentum_buffer"}
    _steps_if_unknown = 1  # torch does not count, and the first step makes the buffer
    _cautions = CAUTIONS[:1]

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Number = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "l2")
        if not group["momentum"]:
            return Rule("SGD", **options)
        buffer = {name: group[name] for name in ("momentum", "dampening", "nesterov")}
        return Rule("Momentum", **options, **buffer)


class Adagrad(LockstepOptimizer, torch.optim.Adagrad):
    """``torch.optim.Adagrad``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here.
    """

    _torch_class = torch.optim.Adagrad
    _state_names: ClassVar[Names] = {"accumulator": "sum"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())
        self._widen_sums()

    def _widen_sums(self) -> None:
        """Has the state that torch's class makes of the parameters' types be float32."""
        for group in self.param_groups if self._of_halves() else ():
            for param in group["params"]:
                if "sum" in self.state[param]:
                    first = group["initial_accumulator_value"]
                    self.state[param]["sum"] = torch.full_like(param, first, dtype=torch.float32, requires_grad=False)

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        first = {"initial_accumulator": group["initial_accumulator_value"]}
        options = common(group, "l2") | first | {name: group[name] for name in ("lr_decay", "eps")}
        return Rule("AdaGrad", **options, allow_zero_eps=True)


class RMSprop(LockstepOptimizer, torch.optim.RMSprop):
    """``torch.optim.RMSprop``, with its arguments and defaults.

    foreach changes nothing. fallback leaves to torch what is not here: an alpha or a momentum of 1 or more.
    """

    _torch_class = torch.optim.RMSprop
    _state_names: ClassVar[Names] = {"v": "square_avg", "mean": "grad_avg", "momentum": "momentum_buffer"}
    _cautions = CAUTIONS[:1]

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "l2") | {name: group[name] for name in ("momentum", "centered", "eps")}
        return Rule("RMSprop", **options, rho=group["alpha"], allow_zero_eps=True)


class Rprop(LockstepOptimizer, torch.optim.Rprop):
    """``torch.optim.Rprop``, with its arguments and defaults.

    foreach changes nothing. Signs of gradients are compared as they are, where torch's float32 takes the product of
    two small ones for 0. fallback leaves to torch what is not here: a least step size above the largest.
    """

    _torch_class = torch.optim.Rprop
    _state_names: ClassVar[Names] = {"prev": "prev", "step": "step_size"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        (minus, plus), (least, most) = group["etas"], group["step_sizes"]
        sizes = {"eta_minus": minus, "eta_plus": plus, "min_step": least, "max_step": most}
        return Rule("Rprop", lr=group["lr"], maximize=group["maximize"], **sizes, clamp_first=True)


class Adadelta(LockstepOptimizer, torch.optim.Adadelta):
    """``torch.optim.Adadelta``, with its arguments and defaults.

    foreach changes nothing. fallback leaves to torch what is not here: a rho of 1, and an eps of 0.
    """

    _torch_class = torch.optim.Adadelta
    _state_names: ClassVar[Names] = {"v": "square_avg", "delta": "acc_delta"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("Adadelta", **common(group, "l2"), rho=group["rho"], eps=group["eps"])


class Adamax(LockstepOptimizer, torch.optim.Adamax):
    """``torch.optim.Adamax``, with its arguments and defaults.

    foreach changes nothing. fallback leaves to torch what is not here.
    """

    _torch_class = torch.optim.Adamax
    _state_names: ClassVar[Names] = {"m": "exp_avg", "u": "exp_inf"}
    _cautions = CAUTIONS[:1]

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        inside = {"eps": group["eps"], "eps_inside": True, "allow_zero_eps": True}
        return Rule("Adamax", **common(group, "l2"), **means(group), **inside)


class RAdam(LockstepOptimizer, torch.optim.RAdam):
    """``torch.optim.RAdam``, with its arguments and defaults.

    foreach changes nothing. fallback leaves to torch what is not here.
    """

    _torch_class, _state_names = torch.optim.RAdam, _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "weight_decay" if group["decoupled_weight_decay"] else "l2") | means(group)
        return Rule("RAdam", **options, eps=group["eps"], eps_hat=True, allow_zero_eps=True, threshold=5)


class NAdam(NumbersOfSteps, torch.optim.NAdam):
    """``torch.optim.NAdam``, with its arguments and defaults.

    torch's mu_product follows from the step here, as if momentum_decay and betas had been the same from the first on;
    it is in the state as ``state_dict`` and copies have it. foreach changes nothing. fallback leaves to torch what is
    not here.
    """

    _torch_class, _state_names = torch.optim.NAdam, _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "weight_decay" if group["decoupled_weight_decay"] else "l2") | means(group)
        eps, decay = group["eps"], group["momentum_decay"]
        return Rule("NAdam", **options, eps=eps, allow_zero_eps=True, momentum_decay=decay)

    def _numbers(self, group: Mapping[str, Any], steps: int) -> dict[str, float]:
        powers = torch.arange(1, steps + 1, dtype=torch.float64) * group["momentum_decay"]
        momenta = group["betas"][0] * (1 - 0.5 * 0.96**powers)
        return {"mu_product": float(momenta.prod())}


class ASGD(NumbersOfSteps, torch.optim.ASGD):
    """``torch.optim.ASGD``, with its arguments and defaults. ``state[p]["ax"]`` is the mean, as there.

    The rate of a step follows from the group's learning rate, in torch from that of the step before. eta and mu are in
    the state as ``state_dict`` and copies have it. foreach changes nothing. fallback leaves to torch what is not here.
    """

    _torch_class = torch.optim.ASGD
    _state_names: ClassVar[Names] = {"ax": "ax"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        *,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        falls = {"lambda": group["lambd"], "alpha": group["alpha"], "t0": group["t0"]}
        return Rule("ASGD", **common(group, "l2"), **falls)

    def _numbers(self, group: Mapping[str, Any], steps: int) -> dict[str, float]:
        lr = float(group["lr"])
        eta = lr / (1 + group["lambd"] * lr * steps) ** group["alpha"]
        return {"eta": eta, "mu": 1 / max(1, steps - group["t0"])}


class Adafactor(LockstepOptimizer, torch.optim.Adafactor):
    """``torch.optim.Adafactor``, with its arguments and defaults.

    What has two dimensions is factored. foreach changes nothing. fallback leaves to torch what is not here: tensors of
    three dimensions or more, which torch takes for many matrices, and matrices that are not row-major.
    """

    _torch_class = torch.optim.Adafactor
    _state_names: ClassVar[Names] = {"row_var": "row_var", "col_var": "col_var", "variance": "variance"}
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        master_weights: bool = False,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        floor, least = group["eps"]
        return Rule(
            "Adafactor",
            **common(group),
            decay_rate=-group["beta2_decay"],
            eps_floor=torch.finfo(torch.float32).eps if floor is None else floor,
            eps_param=least,
            clip_threshold=group["d"],
            relative_step=True,
        )

    def _refusal(self, param: Tensor) -> str | None:
        if param.is_complex():
            return f"is {param.dtype}: Adafactor does not support complex parameters"  # as torch says
        if param.dim() > 2:
            return f"has {param.dim()} dimensions, want at most 2"
        return row_major_refusal(param) or super()._refusal(param)


_ADJUSTMENTS: dict[str | None, dict[str, Any]] = {
    None: {"spectral": True},
    "original": {"spectral": True},
    "match_rms_adamw": {"rms": 0.2},
    "spectral_unclamped": {"spectral": True, "unclamped": True},
}


class Muon(LockstepOptimizer, torch.optim.Muon):
    """``torch.optim.Muon``, with its arguments and defaults: for matrices, such as the weights of hidden layers.

    It multiplies in float32, where torch rounds to bfloat16 in between: steps differ by some hundredths of their
    length. fallback leaves to torch what is not here: matrices that are not row-major, a momentum of 1 or more, and
    an eps or ns_steps of 0.
    """

    _torch_class = torch.optim.Muon
    _state_names: ClassVar[Names] = {"momentum": "momentum_buffer"}
    _steps_if_unknown = 1  # torch does not count, and nothing depends on it
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        master_weights: bool = False,
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        a, b, c = group["ns_coefficients"]
        options = {name: group[name] for name in ("lr", "weight_decay", "momentum", "nesterov")}
        length = _ADJUSTMENTS.get(group["adjust_lr_fn"], {})
        return Rule("Muon", **options, a=a, b=b, c=c, eps_floor=group["eps"], iterations=group["ns_steps"], **length)

    def _check_group(self, k: int) -> None:
        for p in self.param_groups[k]["params"]:
            if p.ndim != 2:  # which torch says of groups that are added once they are stepped
                raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")
        super()._check_group(k)

    def _refusal(self, param: Tensor) -> str | None:
        if param.is_complex():
            return f"is {param.dtype}: Muon does not support complex parameters"  # as torch says
        return row_major_refusal(param) or super()._refusal(param)
