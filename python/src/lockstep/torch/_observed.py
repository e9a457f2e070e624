"""Gradients that are observed as backward makes them, so that clipping to their norm does not read them again."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .. import _library as c
from ._tensors import element_of, is_distributed, refusal

if TYPE_CHECKING:
    from ._optimizer import LockstepOptimizer
    from ._plan import Entry, Plan


WITNESSES = 8  # gradients of which some elements are looked at again, and how many
SAMPLE = 64


class GradientObserver:
    """Observes the gradients of an optimizer's parameters: see ``LockstepOptimizer.observe_gradients``."""

    def __init__(self, optimizer: LockstepOptimizer) -> None:
        """Begins, from the next backward on."""
        self._optimizer = weakref.ref(optimizer)
        self._lock = threading.Lock()
        self._handles: Any = WeakTensorKeyDictionary()
        self._paused = 0
        self._plan: Plan | None = None  # whose library's optimizer has observed
        self._places: dict[Tensor, int] = {}  # of the parameters in that plan
        self._seen: dict[int, tuple[Tensor, int, int]] = {}  # gradients, their versions, and where they lay
        self._witnesses: list[
            tuple[int, int, int, float]
        ] = []  # elements: address, number, type, and their squares' sum
        for group in optimizer.param_groups:
            self.watch(group["params"])

    def watch(self, params: Iterable[Tensor]) -> None:
        """Observes parameters, too. Those without requires_grad are left out, and have none to observe."""
        for p in params:
            if p.requires_grad and p.is_leaf and p not in self._handles:
                self._handles[p] = p.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Ends it, and lets go of what was observed."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        self.forget()
        optimizer = self._optimizer()
        if optimizer is not None and optimizer._observer is self:
            optimizer._observer = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not observe within, such as in those calls of backward that others add to before a step."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def forget(self) -> None:
        """Lets go of what was observed: the next step reads all gradients."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        plan, self._plan = self._plan, None
        if plan is not None:
            plan.core.set_max_norm(0)  # which lets go of addresses before the tensors go
        self._seen.clear()
        self._witnesses.clear()

    # As gradients arrive.

    def _take(self, param: Tensor) -> None:
        grad = param.grad
        if self._paused or grad is None:
            return
        with self._lock:
            optimizer = self._optimizer()
            plan = optimizer._plan if optimizer is not None else None
            if plan is None or plan is not self._plan or self._places.get(param) in self._seen:
                self._forget()  # of another plan, or of a call of backward before this one
                self._begin(plan)
            if self._plan is not None and (k := self._places.get(param)) is not None:
                self._observe(self._plan, k, grad)

    def _begin(self, plan: Plan | None) -> None:
        """Begins with a plan, if there is one that can observe."""
        if plan is not None and not _has_others():
            self._places = plan.places()
            plan.core.set_max_norm(1)  # any, without which the library does not observe
            self._plan = plan

    def _observe(self, plan: Plan, k: int, grad: Tensor) -> None:
        e = plan.entries[k]
        if not _fits(e, grad) or element_of(grad) != plan.elements()[k]:
            return
        at = grad.data_ptr()
        self._seen[k] = grad, grad._version, at
        try:
            if e.shape.numel:
                plan.core.observe(k, 0, e.shape.numel, at)
                self._note_witness(at, min(SAMPLE, e.shape.numel), element_of(grad))
        except BaseException:  # an interrupt, too
            self._forget()
            raise

    def _note_witness(self, at: int, n: int, element: int) -> None:
        """Notes some elements of the first gradients: GradScaler multiplies all, and no version tells of it."""
        if len(self._witnesses) < WITNESSES:
            squares = c.sum_squares_of(at, n, element)
            if 0 < squares < math.inf:
                self._witnesses.append((at, n, element, squares))

    # In a step.

    def measure(self, plan: Plan, grads: c.Pointers, pool: c.Pool | None) -> float:
        """The norm of a step's gradients: those that were observed, and are as they were, are not read again."""
        with self._lock:
            try:
                if self._plan is not plan or not self._is_as_it_was(grads):
                    self._forget()
                else:
                    self._observe_rest(plan, grads)
                return plan.core.measure(grads, pool)
            finally:
                self._forget()

    def _is_as_it_was(self, grads: c.Pointers) -> bool:
        there = all((grads[k] or 0) == at and g._version == version for k, (g, version, at) in self._seen.items())
        return (
            there
            and bool(self._witnesses)
            and all(c.sum_squares_of(at, n, element) == s for at, n, element, s in self._witnesses)
        )

    def _observe_rest(self, plan: Plan, grads: c.Pointers) -> None:
        for k, at in enumerate(grads):
            numel = plan.entries[k].shape.numel
            if at and numel and k not in self._seen:
                plan.core.observe(k, 0, numel, at)


def _has_others() -> bool:
    """Whether other processes train, whose gradients are added to those that have arrived."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def _fits(e: Entry, grad: Tensor) -> bool:
    """Whether a gradient lies in memory as a step reads it."""
    if is_distributed(grad) or refusal(grad, e.dtype) or grad.is_neg():
        return False
    return tuple(grad.shape) == e.shape.size and e.shape.same_order(grad.stride())
