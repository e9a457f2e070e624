"""Optimizers with state of 8 bits under the names, and with the arguments, of bitsandbytes and torchao.

Arguments are those of bitsandbytes 0.50, in its order, then by name those that earlier versions and torchao have beside
them, then this package's. Of the former min_8bit_size, percentile_clipping, block_wise, is_paged, args and block_size
can only be what they are by default, and optim_bits 8 or 32, which change nothing: UnsupportedError refuses others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from .._library import ArgumentError, Rule
from .._typed import squares
from ._authors import Lion
from ._exchange import from_bitsandbytes, from_torchao, is_bitsandbytes, to_bitsandbytes
from ._optimizer import LockstepOptimizer
from ._options import CAUTIONS, Betas, Number, Params
from ._rules import SGD, Adagrad, Adam, AdamW, RMSprop
from ._tensors import UnsupportedError

# What their arguments may be here. Of a list any.
_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    "optim_bits": (8, 32),
    "args": (None,),
    "min_8bit_size": (4096,),
    "percentile_clipping": (100,),
    "block_wise": (True,),
    "is_paged": (False,),
    "block_size": (256,),
}


# What bitsandbytes takes and its steps do not heed, or refuses. Of an option the one value that it can have there.
_PLAIN: Mapping[str, Any] = {
    **{"amsgrad": False, "maximize": False, "cautious_update": False, "cautious_decay": False},
    **{"dampening": 0, "nesterov": False, "momentum": 0, "lr_decay": 0},
}


class EightBits(LockstepOptimizer):
    """What optimizers with state of 8 bits share: they refuse what their arguments cannot be here."""

    _betas: ClassVar[tuple[str, ...]] = ()  # what bitsandbytes has in "betas", if not betas; "" is nothing
    _buffers: ClassVar[tuple[str, ...]]  # the slots that it has as "state1" and "state2"

    def _construct(self, arguments: dict[str, Any]) -> None:
        for name, allowed in _ARGUMENTS.items():
            if name in arguments and arguments[name] not in allowed:
                want = " or ".join(map(repr, allowed))
                raise UnsupportedError(f"{name} is {arguments[name]!r}, want {want}")
        theirs = {name: value for name, value in arguments.items() if name not in _ARGUMENTS}
        super()._construct(self._torch_defaults() | theirs | {"state_dtype": "float8"})

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        """The arguments of torch's class that those of 8 bits have not."""
        return {"foreach": None, "differentiable": False}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state, also one of bitsandbytes' or torchao's optimizer of the same name.

        Their codes become float32 numbers, and those in the next step codes of this package, which are others: a
        number is the same but for some of the 8 bits. Options of groups that bitsandbytes does not have are what its
        steps do: without nesterov, dampening, RMSprop's momentum and lr_decay. Raises ArgumentError for a state of
        bitsandbytes' Adam8bit with a weight_decay, which is that of AdamW8bit here, and for one with amsgrad, which
        it has not.
        """
        if is_bitsandbytes(state_dict):
            state_dict = self._of_bitsandbytes(state_dict)
        elif "state_dtype" not in state_dict:
            states = {k: from_torchao(v) if isinstance(v, dict) else v for k, v in state_dict["state"].items()}
            state_dict = {**state_dict, "state": states}
        super().load_state_dict(state_dict)

    def _of_bitsandbytes(self, saved: dict[str, Any]) -> dict[str, Any]:
        groups = []
        for own, theirs in zip(self.param_groups, saved["param_groups"]):
            if own.get("amsgrad"):
                raise ArgumentError("amsgrad is True, want False with a state of bitsandbytes, which has no such")
            group = {**own, **{name: value for name, value in _PLAIN.items() if name in self.defaults}}
            betas = [float(b) for b in theirs["betas"]]
            if not self._betas:
                group["betas"] = (betas[0], betas[1])
            elif self._betas[0]:
                group[self._betas[0]] = betas[0]
            options = ("lr", "eps", "weight_decay", "initial_lr")
            group |= {name: theirs[name] for name in options if name in theirs and (name in own or name[-2:] == "lr")}
            self._check_decay(group)
            groups.append({**group, "params": list(theirs["params"])})
        names = [self._state_names[slot] for slot in self._buffers]
        states = {k: from_bitsandbytes(v, names) for k, v in saved["state"].items() if isinstance(v, dict) and v}
        groups += saved["param_groups"][len(groups) :]  # which torch refuses
        return {"state": states, "param_groups": groups}

    def _check_decay(self, group: Mapping[str, Any]) -> None:
        """Refuses a weight_decay that is another one in bitsandbytes."""

    @torch.no_grad()
    def bitsandbytes_state_dict(self) -> dict[str, Any]:
        """The state as bitsandbytes' optimizer of the same name has it, for its load_state_dict.

        State is decoded, and of tensors of 4096 elements or more encoded in codes of bitsandbytes' dynamic map, in
        blocks of 256 in the order of the tensor's shape, each the nearest; smaller ones are float32. What steps need
        that bitsandbytes has not is refused with UnsupportedError: amsgrad, maximize, nesterov and others, weight
        decay of Adam8bit, and masters of parameters of 16 bits.
        """
        for name in ("master_weights", "split_master"):
            if getattr(self, name):
                raise UnsupportedError(f"{name} is True, want False: bitsandbytes has no masters")
        groups, states, first = [], {}, 0
        plan = self._current_plan()
        for group in self.param_groups:
            numbers = range(first, first + len(group["params"]))
            groups.append({**self._group_of_bitsandbytes(group), "params": list(numbers)})
            first = numbers.stop
            of = squares(self._rule(group))
            for k, param in zip(numbers, group["params"]):
                found = plan.floats(plan.places()[param])
                if found:
                    buffers = [found[slot] for slot in self._buffers]
                    step = int(self.state[param]["step"])
                    states[k] = to_bitsandbytes(step, buffers, [slot in of for slot in self._buffers])
        return {"state": states, "param_groups": groups}

    def _group_of_bitsandbytes(self, group: Mapping[str, Any]) -> dict[str, Any]:
        self._check_decay(group)
        for name, value in _PLAIN.items():
            if name not in self._betas[:1] and group.get(name, value) != value:
                raise UnsupportedError(f"{name} is {group[name]!r}, want {value!r}: bitsandbytes has not this option")
        betas = [float(group.get(name, 0)) for name in self._betas] if self._betas else [*map(float, group["betas"])]
        theirs = {"lr": float(group["lr"]), "betas": (*betas, 0.0)[:2], "eps": float(group.get("eps", 0))}
        if "initial_lr" in group:
            theirs["initial_lr"] = group["initial_lr"]
        both = {"alpha": 0.0, "t_alpha": None, "t_beta3": None} if len(self._buffers) == 2 else {}
        return {**theirs, "weight_decay": float(group["weight_decay"]), **both}


class Adam8bit(EightBits, Adam):
    """``Adam`` with ``state_dtype="float8"``, and the arguments of bitsandbytes and torchao.

    weight_decay is L2's, as in torch and torchao; bitsandbytes has that of AdamW, for which there is AdamW8bit. What
    has no meaning here can only be what it is by default. state_dict has other bytes than theirs, but load_state_dict
    takes theirs, and bitsandbytes_state_dict gives it: so with all classes of 8 bits.
    """

    _cautions = CAUTIONS[:1]  # L2 is in the gradient
    _buffers = ("m", "v")

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        optim_bits: int = 32,
        args: None = None,
        min_8bit_size: int = 4096,
        is_paged: bool = False,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        block_size: int = 256,
        bf16_stochastic_round: bool = False,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"capturable": False, "fused": None, "decoupled_weight_decay": False}

    def _check_decay(self, group: Mapping[str, Any]) -> None:
        if group["weight_decay"]:
            wish = "want 0, or AdamW8bit: bitsandbytes' Adam8bit decays as that does"
            raise ArgumentError(f"weight_decay is {group['weight_decay']}, {wish}")


class AdamW8bit(EightBits, AdamW):
    """``AdamW`` with ``state_dtype="float8"``, and the arguments of bitsandbytes and torchao: see Adam8bit."""

    _buffers = ("m", "v")

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        optim_bits: int = 32,
        args: None = None,
        min_8bit_size: int = 4096,
        is_paged: bool = False,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        block_size: int = 256,
        bf16_stochastic_round: bool = False,
        maximize: bool = False,
        cautious_update: bool = False,
        cautious_decay: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"capturable": False, "fused": None}


class SGD8bit(EightBits, SGD):
    """``SGD`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit.

    A momentum of 0 is refused, as there: it has no state. bitsandbytes takes dampening and nesterov, and does not heed
    them.
    """

    _betas = ("momentum", "dampening")
    _buffers = ("momentum",)

    def __init__(
        self,
        params: Params,
        lr: Number,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Number = 0,
        nesterov: bool = False,
        args: None = None,
        min_8bit_size: int = 4096,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"fused": None}

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> Rule:
        if not group["momentum"]:
            raise UnsupportedError("momentum is 0, want one above 0: there is no state to keep in 8 bits")
        return SGD._rule(group)


class RMSprop8bit(EightBits, RMSprop):
    """``RMSprop`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit.

    centered is refused, as there. bitsandbytes takes a momentum, and does not heed it.
    """

    _betas = ("alpha", "momentum")
    _buffers = ("v",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        args: None = None,
        min_8bit_size: int = 4096,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"capturable": False}


class Adagrad8bit(EightBits, Adagrad):
    """``Adagrad`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit.

    bitsandbytes refuses an lr_decay and an initial_accumulator_value.
    """

    _betas = ("", "")
    _buffers = ("accumulator",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        optim_bits: int = 8,
        args: None = None,
        min_8bit_size: int = 4096,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        maximize: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        bf16_stochastic_round: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())
        self._widen_sums()

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"fused": None}


class Lion8bit(EightBits, Lion):
    """``Lion`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit."""

    _buffers = ("m",)

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0,
        args: None = None,
        min_8bit_size: int = 4096,
        is_paged: bool = False,
        *,
        percentile_clipping: int = 100,
        block_wise: bool = True,
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
    def _torch_defaults() -> dict[str, Any]:
        return {}
