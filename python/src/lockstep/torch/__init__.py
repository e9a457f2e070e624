"""Optimizers for PyTorch: subclasses of ``torch.optim.Optimizer`` whose steps are Lockstep's.

    import lockstep.torch

    optimizer = lockstep.torch.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)

They have the constructors, parameter groups and state of ``torch.optim``, so that schedulers, hooks and checkpoints
work as they do there, and ``state_dict`` goes both ways in the middle of a run. They step float32 parameters in the
CPU's memory, and with ``master_weights=True`` such of bfloat16 and float16 that are copies of float32 ones, or with
``split_master=True`` such of bfloat16 beside what they lack of float32, on as many threads as
``torch.get_num_threads()`` says; ``fallback=True`` leaves others to torch.

What is refused raises ``UnsupportedError``, a NotImplementedError, or for a number that cannot be
``lockstep.ArgumentError``, a ValueError. Nothing was stepped then.
"""

from ._authors import (
    ADOPT,
    FTRL,
    LAMB,
    LARS,
    SOAP,
    AdaBelief,
    AdagradDA,
    AdamWScheduleFree,
    AddSign,
    AdEMAMix,
    CautiousAdamW,
    CautiousLion,
    LaProp,
    Lion,
    NorMuon,
    NovoGrad,
    PowerSign,
    RAdamScheduleFree,
    RowWiseAdagrad,
    RowWiseAdam,
    RowWiseLAMB,
    SGDScheduleFree,
    SignSGD,
    SimplifiedAdEMAMix,
    StableAdamW,
    Yogi,
)
from ._eight_bits import Adagrad8bit, Adam8bit, AdamW8bit, Lion8bit, RMSprop8bit, SGD8bit
from ._observed import GradientObserver
from ._optimizer import LockstepOptimizer, clip_grad_norm_and_step, clip_grad_value_and_step
from ._rules import (
    ASGD,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
)
from ._special import MADGRAD, Adan, DAdaptAdam, Prodigy, SophiaG
from ._tensors import UnsupportedError

__all__ = [
    "ADOPT",
    "ASGD",
    "FTRL",
    "LAMB",
    "LARS",
    "MADGRAD",
    "SGD",
    "SOAP",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adagrad8bit",
    "AdagradDA",
    "Adam",
    "Adam8bit",
    "AdamW",
    "AdamW8bit",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "AddSign",
    "CautiousAdamW",
    "CautiousLion",
    "DAdaptAdam",
    "GradientObserver",
    "LaProp",
    "Lion",
    "Lion8bit",
    "LockstepOptimizer",
    "Muon",
    "NAdam",
    "NorMuon",
    "NovoGrad",
    "PowerSign",
    "Prodigy",
    "RAdam",
    "RAdamScheduleFree",
    "RMSprop",
    "RMSprop8bit",
    "RowWiseAdagrad",
    "RowWiseAdam",
    "RowWiseLAMB",
    "Rprop",
    "SGD8bit",
    "SGDScheduleFree",
    "SignSGD",
    "SimplifiedAdEMAMix",
    "SophiaG",
    "SparseAdam",
    "StableAdamW",
    "UnsupportedError",
    "Yogi",
    "clip_grad_norm_and_step",
    "clip_grad_value_and_step",
]
