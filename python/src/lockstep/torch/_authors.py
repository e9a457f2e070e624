"""The optimizers of papers, each a table from its authors' options and names to those of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._library import ArgumentError, Rule
from ._averaged import ScheduleFreeOptimizer
from ._optimizer import LockstepOptimizer
from ._options import CAUTIONS, Betas, Names, Number, Params, common, means, row_major_refusal
from ._packed import StateType
from ._rows import TablesPlan, table_refusal

_ADAM_STATE = {"m": "exp_avg", "v": "exp_avg_sq"}


class Lion(LockstepOptimizer):
    """Lion (Chen et al. 2023): steps along the sign of a mean of momentum and gradient.

    Arguments, defaults and state are those of the authors' optimizer for PyTorch. Weight decay is decoupled.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.9, 0.99),
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
        return Rule("Lion", **common(group), **means(group))


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
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "decay") | means(group)
        return Rule("LAMB", **options, eps=group["eps"], no_bias_correction=not group["bias_correction"])


class AdaBelief(LockstepOptimizer):
    """AdaBelief (Zhuang et al. 2020): Adam that divides by the root of what gradients are away from their mean.

    Arguments, defaults and state are those of the authors' optimizer for PyTorch without its rectification, and with
    its weight_decouple; eps is added to the state in every step, and to its root, as there.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg", "s": "exp_avg_var"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-16,
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
        eps = group["eps"]
        return Rule("AdaBelief", **common(group), **means(group), eps=eps, eps_root=eps, allow_zero_eps=True)


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
        *,
        master_weights: bool = False,
    ) -> None:
        self._construct_averaged(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"weight_decay": group["weight_decay"], "eps": group["eps"], "allow_zero_eps": True}
        return Rule("ScheduleFreeAdamW", **options, **means(group), **_averaging(group), **_warmup(group))


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
        *,
        master_weights: bool = False,
    ) -> None:
        self._construct_averaged(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = {"weight_decay": group["weight_decay"], "eps": group["eps"], "allow_zero_eps": True}
        silent = group["silent_sgd_phase"]
        return Rule("ScheduleFreeRAdam", **options, **means(group), **_averaging(group), silent_sgd_phase=silent)


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
        *,
        master_weights: bool = False,
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


class RowWiseAdagrad(LockstepOptimizer):
    """AdaGrad with one sum of squares for each row of a table: what large embedding tables are trained with.

    Arguments and defaults are those of TorchRec's optimizer of this name, but for its lr_decay. Gradients are dense, as
    there, or sparse in their first dimension, as those of ``torch.nn.Embedding(sparse=True)``: then the rows of the
    gradient alone are stepped, with the same bits without weight_decay, which is L2's. Tables have two dimensions, and
    the state "sum" a number for each row.
    """

    _state_names: ClassVar[Names] = {"accumulator": "sum"}
    _plan_class = TablesPlan
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        first = group["initial_accumulator_value"]
        return Rule("RowwiseAdaGrad", **common(group, "l2"), initial_accumulator=first, eps=group["eps"])

    def _refusal(self, param: Tensor) -> str | None:
        return table_refusal(param) or super()._refusal(param)


class RowWiseAdam(LockstepOptimizer):
    """Adam with one mean of squares for each row of a table, of half of Adam's state.

    It is FBGEMM's partial row-wise Adam, whose weight decay is decoupled. Gradients and tables are as those of
    RowWiseAdagrad: of a sparse gradient the rows that it has are stepped alone, by the steps of their table, and the
    means of others do not fade.
    """

    _state_names: ClassVar[Names] = {"v": "exp_avg_sq", "m": "exp_avg"}
    _plan_class = TablesPlan
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("RowwiseAdam", **common(group), **means(group), eps=group["eps"])

    def _refusal(self, param: Tensor) -> str | None:
        return table_refusal(param) or super()._refusal(param)


class RowWiseLAMB(RowWiseAdam):
    """LAMB of each row of a table: its step is as long as the row is large, and its state that of RowWiseAdam.

    It is FBGEMM's partial row-wise LAMB, whose weight decay is within what a row's ratio scales; without it steps are
    along the mean of gradients, lr times as long as their rows. Of a row of zeros the ratio is 1.
    """

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("RowwiseLAMB", **common(group, "decay"), **means(group), eps=group["eps"])


class LARS(LockstepOptimizer):
    """LARS (You, Gitman, Ginsburg 2017): momentum whose step is as long as the parameters of its tensor are large.

    Arguments are those of the optimizers of this name of Lightning Bolts and timm, but for a dampening. The rate of a
    tensor is ``trust_coefficient * |p| / (|grad| + weight_decay * |p| + eps)``, also where weight_decay is 0; it is 1
    where a norm is 0. Weight decay is within it. Biases and norms belong into a group of an SGD of their own.
    """

    _state_names: ClassVar[Names] = {"momentum": "momentum_buffer"}
    _steps_if_unknown = 1  # which others do not count, and nothing depends on
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        trust_coefficient: float = 0.001,
        eps: float = 1e-8,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "l2") | {name: group[name] for name in ("momentum", "nesterov")}
        trust, eps = group["trust_coefficient"], group["eps"]
        return Rule("LARS", **options, trust=trust, trust_eps=eps, separate_norms=True)


class NovoGrad(LockstepOptimizer):
    """NovoGrad (Ginsburg et al. 2019): one second moment for each tensor, and a momentum of what that scales.

    Arguments, defaults and state are those of NVIDIA's optimizer for PyTorch, without its amsgrad. Weight decay is
    within the momentum.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg", "v": "exp_avg_sq"}
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.95, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        grad_averaging: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "decay") | means(group) | {"averaging": group["grad_averaging"]}
        return Rule("NovoGrad", **options, eps=group["eps"], allow_zero_eps=True)

    def _convert(self, group: Mapping[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        square = state.get("exp_avg_sq")
        if square is not None and square.dim() == 0:
            state["exp_avg_sq"] = square.reshape(1)


class NorMuon(LockstepOptimizer):
    """NorMuon (Li et al. 2025): Muon whose rows are scaled by a mean of their squares. For matrices, as Muon.

    The first arguments, defaults and state are those of the authors' program, and the others what it has written into
    it. With an rms steps have that root mean square, 0.2 in the paper; with 0 they are as long as Muon's. It multiplies
    in float32, where they round to bfloat16 in between, and a matrix without a gradient stays, where they step it by
    its momentum.
    """

    _state_names: ClassVar[Names] = {"momentum": "momentum_buffer", "row_var": "second_momentum_buffer"}
    _steps_if_unknown = 1  # which the authors do not count, and nothing depends on
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 0.02,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        beta2: float = 0.95,
        *,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        ns_steps: int = 5,
        eps: float = 1e-7,
        eps_row: float = 1e-10,
        rms: float = 0.0,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        beta2, rms = group["beta2"], group["rms"]
        if beta2 == 0:
            raise ArgumentError("beta2 is 0, want a number above 0 and below 1: without it Muon is the class")
        a, b, c = group["ns_coefficients"]
        options = common(group) | {name: group[name] for name in ("momentum", "nesterov", "eps", "eps_row")}
        length: dict[str, Any] = {"rms": rms, "exact_rms": True} if rms else {"spectral": True}
        return Rule("Muon", **options, **length, beta2=beta2, a=a, b=b, c=c, iterations=group["ns_steps"])

    def _refusal(self, param: Tensor) -> str | None:
        if param.dim() != 2:
            return f"has {param.dim()} dimensions, want a matrix: give others to AdamW"
        return row_major_refusal(param) or super()._refusal(param)


class StableAdamW(LockstepOptimizer):
    """StableAdamW (Wortsman et al. 2023): AdamW that clips the update of a tensor as Adafactor does.

    Defaults are the authors'. Means are kept as Adam's, whose bias is corrected in the step, and not as theirs.
    """

    _state_names = _ADAM_STATE
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 0.002,
        betas: Betas = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.2,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("StableAdamW", **common(group), **means(group), eps=group["eps"], allow_zero_eps=True)


class CautiousAdamW(LockstepOptimizer):
    """AdamW that does not move where its mean and the gradient point apart (C-AdamW, Liang et al. 2024).

    Arguments and defaults are those of the authors' optimizer, without its correct_bias. cautious_decay is cautious
    weight decay (Chen et al. 2025), of the parameters alone that a step moves towards 0 anyway.
    """

    _state_names = _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        cautious_update: bool = True,
        cautious_decay: bool = False,
        maximize: bool = False,
        master_weights: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group) | means(group)
        return Rule("Adam", **options, eps=group["eps"], allow_zero_eps=True, keep_subnormals=True)


class CautiousLion(LockstepOptimizer):
    """Lion that is cautious as CautiousAdamW is (C-Lion, Liang et al. 2024)."""

    _state_names: ClassVar[Names] = {"m": "exp_avg"}
    _steps_if_unknown = 1  # which the authors do not count, and nothing depends on
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        cautious_update: bool = True,
        cautious_decay: bool = False,
        maximize: bool = False,
        master_weights: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        return Rule("Lion", **common(group), **means(group))


class ADOPT(LockstepOptimizer):
    """ADOPT (Taniguchi et al. 2024): Adam that divides each gradient by the root of those before it.

    Arguments, defaults and state are those of the authors' optimizer, but for clip, which stands for their
    clip_lambda: quotients are clipped to the fourth root of the steps before, or with clip=False not at all. The first
    step moves nothing.
    """

    _state_names = _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.9999),
        eps: float = 1e-6,
        *,
        clip: bool = True,
        weight_decay: float = 0.0,
        decouple: bool = False,
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
        options = common(group, "weight_decay" if group["decouple"] else "l2") | means(group)
        return Rule("ADOPT", **options, eps=group["eps"], allow_zero_eps=True, no_clipping=not group["clip"])


class AdEMAMix(LockstepOptimizer):
    """AdEMAMix (Pagliardini, Ablin, Grangier 2024): Adam with a second mean, which remembers gradients for longer.

    Arguments, defaults and state are those of the authors' optimizer for PyTorch: with alpha_warmup and beta3_warmup,
    in steps, alpha and the last of betas rise to where they are. Weight decay is decoupled.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg_fast", "slow": "exp_avg_slow", "v": "exp_avg_sq"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: tuple[Number, Number, Number] = (0.9, 0.999, 0.9999),
        alpha: float = 2.0,
        beta3_warmup: int | None = None,
        alpha_warmup: int | None = None,
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
        rises = {f"warmup_{name}": group[f"{name}_warmup"] or 0 for name in ("alpha", "beta3")}
        options = common(group) | {"beta1": beta1, "beta2": beta2, "beta3": beta3, "alpha": group["alpha"]}
        return Rule("AdEMAMix", **options, **rises, eps=group["eps"], allow_zero_eps=True)


class SimplifiedAdEMAMix(LockstepOptimizer):
    """Simplified AdEMAMix (Morwani et al. 2025): a sum of gradients, and alpha times the gradient itself.

    The sum grows to 1/(1 - beta1) gradients, and the learning rate is as much smaller than Adam's. Weight decay is
    decoupled.
    """

    _state_names = _ADAM_STATE
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.99, 0.95),
        alpha: float = 0.0,
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
        options = common(group) | means(group) | {"alpha": group["alpha"], "eps": group["eps"]}
        return Rule("SimplifiedAdEMAMix", **options, allow_zero_eps=True)


class LaProp(LockstepOptimizer):
    """LaProp (Ziyin, Wang, Ueda 2020): Adam that divides gradients by the root before it takes their mean.

    Arguments and defaults are those of the authors' optimizer, without its amsgrad and centered. The state "mean" is
    without learning rates, which are within that of the authors.
    """

    _state_names: ClassVar[Names] = {"m": "mean", "v": "exp_avg_sq"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 4e-4,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-15,
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
        return Rule("LaProp", **common(group), **means(group), eps=group["eps"], allow_zero_eps=True)


class SOAP(LockstepOptimizer):
    """SOAP (Vyas et al. 2024): Adam among the eigenvectors of Shampoo's preconditioners.

    Arguments and defaults are those of the authors' optimizer, without its merge_dims, precondition_1d and data_format:
    tensors of more than two dimensions take the steps of vectors, which are Adam's, unless they are made matrices
    first. A shampoo_beta below 0 is the second of betas. The first step moves nothing, and the state "step" counts it.
    The states "left" and "right" are what the authors have in the list GG, "left_basis" and "right_basis" what they
    have in Q; sides longer than max_precond_dim have none of them.
    """

    _state_names: ClassVar[Names] = {
        **_ADAM_STATE,
        **{name: name for name in ("left", "right", "left_basis", "right_basis")},
    }
    _needs_whole_tensors = True

    def __init__(
        self,
        params: Params,
        lr: Number = 3e-3,
        betas: Betas = (0.95, 0.95),
        shampoo_beta: float = -1,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        precondition_frequency: int = 10,
        max_precond_dim: int = 10000,
        normalize_grads: bool = False,
        correct_bias: bool = True,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        beta = group["shampoo_beta"]
        options = {
            name: group[name] for name in ("eps", "precondition_frequency", "max_precond_dim", "normalize_grads")
        }
        options |= {"shampoo_beta": beta if beta >= 0 else group["betas"][1]}
        return Rule("SOAP", **common(group), **means(group), **options, no_bias_correction=not group["correct_bias"])

    def _refusal(self, param: Tensor) -> str | None:
        return row_major_refusal(param) or super()._refusal(param)


class Yogi(LockstepOptimizer):
    """Yogi (Zaheer et al. 2018): Adam whose mean of squares changes by no more than a part of the squared gradient.

    Arguments, defaults and state are those of torch_optimizer's class. Weight decay is L2's.
    """

    _state_names = _ADAM_STATE
    _cautions = CAUTIONS[:1]

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-3,
        initial_accumulator: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_dtype: StateType = torch.float32,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        options = common(group, "l2") | means(group) | {"eps": group["eps"], "allow_zero_eps": True}
        return Rule("Yogi", **options, initial_accumulator=group["initial_accumulator"])


class SignSGD(LockstepOptimizer):
    """SignSGD (Bernstein et al. 2018): steps along the sign of the gradient, or with momentum of its mean (Signum).

    Weight decay is decoupled.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        momentum: float = 0.0,
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
        return Rule("SignSGD", **common(group), momentum=group["momentum"])


class AddSign(LockstepOptimizer):
    """AddSign (Bello et al. 2017): longer steps where the signs of gradient and mean agree, shorter ones elsewhere.

    Steps are along ``(alpha + d * sign(grad) * sign(mean)) * grad``, where d is sign_decay, which falls to 0 in
    sign_decay_steps, if these are not 0. Weight decay is decoupled.
    """

    _state_names: ClassVar[Names] = {"m": "exp_avg"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        beta: float = 0.9,
        alpha: float = 1.0,
        sign_decay: float = 1.0,
        sign_decay_steps: int = 0,
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
        signs = {name: group[name] for name in ("beta", "alpha", "sign_decay", "sign_decay_steps")}
        return Rule("AddSign", **common(group), **signs)


class PowerSign(LockstepOptimizer):
    """PowerSign (Bello et al. 2017): AddSign with ``exp(log_base * d * sign(grad) * sign(mean)) * grad``."""

    _state_names: ClassVar[Names] = {"m": "exp_avg"}
    _cautions = CAUTIONS

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        beta: float = 0.9,
        log_base: float = 1.0,
        sign_decay: float = 1.0,
        sign_decay_steps: int = 0,
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
        signs = {name: group[name] for name in ("beta", "log_base", "sign_decay", "sign_decay_steps")}
        return Rule("PowerSign", **common(group), **signs)


class FTRL(LockstepOptimizer):
    """FTRL-proximal (McMahan et al. 2013): for linear models of sparse features, whose parameters l1 makes exact zeros.

    l1 and l2 are those of the paper, of which Keras has half of l2, as of l2_shrinkage; beta is added to the root. The
    power of the accumulator is a half. Steps make parameters anew: where they began is soon forgotten. A learning rate
    of 0 is refused.
    """

    _state_names: ClassVar[Names] = {"accumulator": "accumulator", "linear": "linear"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        initial_accumulator_value: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        l2_shrinkage: float = 0.0,
        beta: float = 0.0,
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
        options = {name: group[name] for name in ("lr", "maximize", "l1", "l2", "l2_shrinkage")}
        first = group["initial_accumulator_value"]
        return Rule("FTRL", **options, proximal=True, initial_accumulator=first, eps=group["beta"])


class AdagradDA(LockstepOptimizer):
    """AdaGrad by dual averaging (Duchi, Hazan, Singer 2011): parameters are made of the sum of all gradients.

    The first step forgets where they began, and l1 keeps them at exact zeros. l1 and l2 are those of TensorFlow.
    """

    _state_names: ClassVar[Names] = {"sum": "grad_sum", "accumulator": "grad_sum_sq"}

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        initial_accumulator_value: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
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
        options = {name: group[name] for name in ("lr", "maximize", "l1", "l2")}
        return Rule("AdaGradDA", **options, proximal=True, initial_accumulator=group["initial_accumulator_value"])
