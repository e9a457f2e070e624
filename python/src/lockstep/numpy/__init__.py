"""Lockstep over NumPy arrays, in place and without copies.

Arrays are float32, C-contiguous and aligned; what is written is writable and overlaps nothing else. Others are
refused with an ArgumentError, a ValueError, that names the argument.
"""

from .._library import AdaptiveClip, Averaging, Lookahead, Noise, Rule, preset
from ._functions import (
    add_rows,
    dots,
    exp,
    expm1,
    log,
    log1p,
    matmul,
    sigmoid,
    softplus,
    sqrt,
    sum_squares,
    tanh,
)
from ._loss import Linear, bce, bce_with_logits, hinge, mse, penalty, squared_hinge
from ._optimizer import Group, Optimizer
from ._row_loss import cross_entropy

__all__ = [
    "AdaptiveClip",
    "Averaging",
    "Group",
    "Linear",
    "Lookahead",
    "Noise",
    "Optimizer",
    "Rule",
    "add_rows",
    "bce",
    "bce_with_logits",
    "cross_entropy",
    "dots",
    "exp",
    "expm1",
    "hinge",
    "log",
    "log1p",
    "matmul",
    "mse",
    "penalty",
    "preset",
    "sigmoid",
    "softplus",
    "sqrt",
    "squared_hinge",
    "sum_squares",
    "tanh",
]
