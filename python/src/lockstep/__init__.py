"""Lockstep: optimizers as SIMD kernels over float32 buffers, with the same bits on every CPU.

``lockstep.numpy`` has optimizers, losses and functions over NumPy arrays, ``lockstep.torch`` optimizers
for PyTorch. Here is what both share: rules and their options, presets of frameworks, pools of threads,
errors, and which kernels run.
"""

from ._library import (
    ArgumentError,
    LockstepError,
    NonFiniteError,
    OutOfMemoryError,
    Pool,
    Rule,
    TableError,
    available,
    info,
    isa,
    preset,
    presets,
    rules,
    version,
)

__version__ = version()

__all__ = [
    "ArgumentError",
    "LockstepError",
    "NonFiniteError",
    "OutOfMemoryError",
    "Pool",
    "Rule",
    "TableError",
    "available",
    "info",
    "isa",
    "preset",
    "presets",
    "rules",
    "version",
]
