"""Lockstep over NumPy arrays, in place and without copies.

Arrays are float32, C-contiguous and aligned; what is written is writable and overlaps nothing else. Others are
refused with an ArgumentError, a ValueError, that names the argument.
"""

from .._library import AdaptiveClip, Averaging, Lookahead, Noise, Rule, preset
from .._typed import TypedState
from ._functions import (
    add_rows,
    dots,
    exp,
    expm1,
    join_bf16,
    log,
    log1p,
    matmul,
    sigmoid,
    softplus,
    split_bf16,
    sqrt,
    sum_squares,
    tanh,
)
from ._loss import (
    Linear,
    bce,
    bce_with_logits,
    focal,
    gaussian_nll,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mae,
    mse,
    penalty,
    poisson_nll,
    quantile,
    smooth_l1,
    soft_margin,
    squared_hinge,
)
from ._optimizer import Group, Optimizer
from ._row_loss import cross_entropy
from ._softmax_linear import SoftmaxLinear

__all__ = [
    "AdaptiveClip",
    "Averaging",
    "Group",
    "Linear",
    "Lookahead",
    "Noise",
    "Optimizer",
    "Rule",
    "SoftmaxLinear",
    "TypedState",
    "add_rows",
    "bce",
    "bce_with_logits",
    "cross_entropy",
    "dots",
    "exp",
    "expm1",
    "focal",
    "gaussian_nll",
    "hinge",
    "huber",
    "join_bf16",
    "kl_divergence",
    "log",
    "log1p",
    "log_cosh",
    "mae",
    "matmul",
    "mse",
    "penalty",
    "poisson_nll",
    "preset",
    "quantile",
    "sigmoid",
    "smooth_l1",
    "soft_margin",
    "softplus",
    "split_bf16",
    "sqrt",
    "squared_hinge",
    "sum_squares",
    "tanh",
]
