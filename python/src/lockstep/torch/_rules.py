"""The optimizers, each a table from torch's options and names to those of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Union

import torch
from torch import Tensor

from .._library import Rule
from ._averaged import ScheduleFreeOptimizer
from ._optimizer import LockstepOptimizer
from ._rows import RowsPlan

Params = Union[Iterable[Tensor], Iterable[dict[str, Any]], Iterable[tuple[str, Tensor]]]
Number = Union[float, Tensor]
Betas = tuple[Number, Number]
Names = Mapping[str, str]


def _common(group: Mapping[str, Any], decay: str = "weight_decay") -> dict[str, Any]:
    """The options that all rules have, where weight_decay has another name in some."""
    return {"lr": group["lr"], "maximize": group["maximize"], decay: group["weight_decay"]}


def _means(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of rules with two running means."""
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2}


def _adam(group: Mapping[str, Any]) -> Rule:
    decay = "weight_decay" if group["decoupled_weight_decay"] else "l2"
    options = _common(group, decay) | _means(group)
    return Rule("Adam", **options, eps=group["eps"], allow_zero_eps=True, amsgrad=group["amsgrad"])


_ADAM_STATE = {"m": "exp_avg", "v": "exp_avg_sq", "max_v": "max_exp_avg_sq"}


class Adam(LockstepOptimizer, torch.optim.Adam):
    """``torch.optim.Adam``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here.
    """

    _torch_class, _rule, _state_names = torch.optim.Adam, staticmethod(_adam), _ADAM_STATE

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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())


class AdamW(LockstepOptimizer, torch.optim.AdamW):
    """``torch.optim.AdamW``, with its arguments and defaults.

    foreach and fused change nothing. fallback leaves to torch what is not here.
    """

    _torch_class, _rule, _state_names = torch.optim.AdamW, staticmethod(_adam), _ADAM_STATE

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
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"lr": group["lr"], "maximize": group["maximize"], "eps": group["eps"]}
        return Rule("Adam", **options, **_means(group), eps_hat=True)

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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = _common(group, "l2")
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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        first = {"initial_accumulator": group["initial_accumulator_value"]}
        options = _common(group, "l2") | first | {name: group[name] for name in ("lr_decay", "eps")}
        return Rule("AdaGrad", **options, allow_zero_eps=True)


class RMSprop(LockstepOptimizer, torch.optim.RMSprop):
    """``torch.optim.RMSprop``, with its arguments and defaults.

    foreach changes nothing. fallback leaves to torch what is not here: an alpha or a momentum of 1 or more.
    """

    _torch_class = torch.optim.RMSprop
    _state_names: ClassVar[Names] = {"v": "square_avg", "mean": "grad_avg", "momentum": "momentum_buffer"}

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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = _common(group, "l2") | {name: group[name] for name in ("momentum", "centered", "eps")}
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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        (minus, plus), (least, most) = group["etas"], group["step_sizes"]
        sizes = {"eta_minus": minus, "eta_plus": plus, "min_step": least, "max_step": most}
        return Rule("Rprop", lr=group["lr"], maximize=group["maximize"], **sizes, clamp_first=True)


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
        fallback: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        floor, least = group["eps"]
        return Rule(
            "Adafactor",
            **_common(group),
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
        return _row_major_refusal(param) or super()._refusal(param)


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
        return _row_major_refusal(param) or super()._refusal(param)


def _row_major_refusal(param: Tensor) -> str | None:
    """Why a matrix cannot be stepped that lies column after column."""
    if param.dim() == 2 and param.stride(1) != 1 and min(param.shape) > 1:
        return f"has strides {param.stride()}, want a row-major matrix"
    return None


class Lion(LockstepOptimizer):
    """Lion (Chen et al. 2023): steps along the sign of a mean of momentum and gradient.

    Arguments, defaults and state are those of the authors' optimizer for PyTorch. Weight decay is decoupled.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("Lion", **_common(group), **_means(group))


class LAMB(LockstepOptimizer):
    """LAMB (You et al. 2020): Adam whose step is as long as the parameters of its tensor are large.

    Defaults are the paper's. Weight decay is within what the trust ratio scales, as there; norms are of each tensor
    as a whole, and gradients are not clipped.
    """

    _state_names = _ADAM_STATE
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        bias_correction: bool = True,
        maximize: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = _common(group, "decay") | _means(group)
        return Rule("LAMB", **options, eps=group["eps"], no_bias_correction=not group["bias_correction"])


class AdaBelief(LockstepOptimizer):
    """AdaBelief (Zhuang et al. 2020): Adam that divides by the root of what gradients are away from their mean.

    Arguments, defaults and state are those of the authors' optimizer for PyTorch without its rectification, and with
    its weight_decouple; eps is added to the state in every step, and to its root, as there.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg", "s": "exp_avg_var"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        eps = group["eps"]
        return Rule("AdaBelief", **_common(group), **_means(group), eps=eps, eps_root=eps, allow_zero_eps=True)


class AdamWScheduleFree(ScheduleFreeOptimizer):
    """Schedule-Free AdamW (Defazio et al. 2024): parameters are averaged instead of the learning rate scheduled.

    Arguments and defaults are those of the authors' optimizer of this name, and so are ``train`` and ``eval``. foreach
    changes nothing.
    """

    _state_names: ClassVar[Names] = {"behind": "behind", "v": "exp_avg_sq"}

    def __init__(
        self,
        params: Params,
        lr: Number = 0.0025,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
    ) -> None:
        self._construct_averaged(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"weight_decay": group["weight_decay"], "eps": group["eps"], "allow_zero_eps": True}
        return Rule("ScheduleFreeAdamW", **options, **_means(group), **_averaging(group), **_warmup(group))


class RAdamScheduleFree(ScheduleFreeOptimizer):
    """Schedule-Free RAdam (Defazio et al. 2024): AdamWScheduleFree with rectified steps in place of a warm-up.

    Arguments and defaults are those of the authors' optimizer of this name, and so are ``train`` and ``eval``. foreach
    changes nothing.
    """

    _state_names: ClassVar[Names] = {"behind": "behind", "v": "exp_avg_sq"}

    def __init__(
        self,
        params: Params,
        lr: Number = 0.0025,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
        silent_sgd_phase: bool = True,
    ) -> None:
        self._construct_averaged(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"weight_decay": group["weight_decay"], "eps": group["eps"], "allow_zero_eps": True}
        silent = group["silent_sgd_phase"]
        return Rule("ScheduleFreeRAdam", **options, **_means(group), **_averaging(group), silent_sgd_phase=silent)


class SGDScheduleFree(ScheduleFreeOptimizer):
    """Schedule-Free SGD (Defazio et al. 2024): parameters are averaged instead of the learning rate scheduled.

    Arguments and defaults are those of the authors' optimizer of this name, and so are ``train`` and ``eval``. foreach
    changes nothing.
    """

    _state_names: ClassVar[Names] = {"behind": "behind"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
    ) -> None:
        self._construct_averaged(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"l2": group["weight_decay"], "momentum": group["momentum"]}
        return Rule("ScheduleFreeSGD", **options, **_averaging(group), **_warmup(group))


def _averaging(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options that all of them have."""
    return {"lr": group["lr"], "weight_lr_power": group["weight_lr_power"], "weight_power": group["r"]}


def _warmup(group: Mapping[str, Any]) -> dict[str, Any]:
    return {"warmup_steps": group["warmup_steps"]}
