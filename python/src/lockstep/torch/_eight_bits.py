"""Optimizers with state of 8 bits under the names, and with the arguments, of bitsandbytes and torchao.

Arguments are those of bitsandbytes, then those that torchao has beside them, then this package's. Of the first two
min_8bit_size, percentile_clipping, block_wise, is_paged, args, block_size and bf16_stochastic_round can only be what
they are by default, and optim_bits 8 or 32, which change nothing: UnsupportedError refuses others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._library import Rule
from ._authors import Lion
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
    "bf16_stochastic_round": (False,),
}


class EightBits(LockstepOptimizer):
    """What optimizers with state of 8 bits share: they refuse what their arguments cannot be here."""

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


class Adam8bit(EightBits, Adam):
    """``Adam`` with ``state_dtype="float8"``, and the arguments of bitsandbytes and torchao.

    weight_decay is L2's, as in torch and torchao; bitsandbytes has that of AdamW, for which there is AdamW8bit. What
    has no meaning here can only be what it is by default, and state_dict has other bytes than theirs: so with all
    classes of 8 bits.
    """

    _cautions = CAUTIONS[:1]  # L2 is in the gradient

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
        percentile_clipping: int = 100,
        block_wise: bool = True,
        is_paged: bool = False,
        *,
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


class AdamW8bit(EightBits, AdamW):
    """``AdamW`` with ``state_dtype="float8"``, and the arguments of bitsandbytes and torchao: see Adam8bit."""

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
        percentile_clipping: int = 100,
        block_wise: bool = True,
        is_paged: bool = False,
        *,
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

    A momentum of 0 is refused, as there: it has no state.
    """

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
        percentile_clipping: int = 100,
        block_wise: bool = True,
        *,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
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

    centered is refused, as there.
    """

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
        percentile_clipping: int = 100,
        block_wise: bool = True,
        *,
        maximize: bool = False,
        cautious_update: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"capturable": False}


class Adagrad8bit(EightBits, Adagrad):
    """``Adagrad`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit."""

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
        percentile_clipping: int = 100,
        block_wise: bool = True,
        *,
        maximize: bool = False,
        master_weights: bool = False,
        split_master: bool = False,
        state_seed: int = 0,
    ) -> None:
        self._construct(locals())
        self._widen_sums()

    @staticmethod
    def _torch_defaults() -> dict[str, Any]:
        return EightBits._torch_defaults() | {"fused": None}


class Lion8bit(EightBits, Lion):
    """``Lion`` with ``state_dtype="float8"``, and the arguments of bitsandbytes: see Adam8bit."""

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: float = 0,
        args: None = None,
        min_8bit_size: int = 4096,
        percentile_clipping: int = 100,
        block_wise: bool = True,
        is_paged: bool = False,
        *,
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
        return {}
