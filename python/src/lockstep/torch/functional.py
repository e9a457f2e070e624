"""Losses under the names and arguments of ``torch.nn.functional``, whose gradients are computed with their values.

from lockstep.torch import functional

loss = functional.cross_entropy(logits, labels, label_smoothing=0.1)
loss.backward()
"""

from ._functional_rows import cross_entropy

__all__ = ["cross_entropy"]
