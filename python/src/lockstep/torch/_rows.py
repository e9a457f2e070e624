"""Steps on the rows of tables that have sparse gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from .. import _library as c
from ._options import row_major_refusal
from ._plan import SHARED_LEAST, Clip, Entry, Plan, ValueClip, shared_pool
from ._tensors import UnsupportedError, element_of, grad_refusal, is_distributed, local

if TYPE_CHECKING:
    from ._optimizer import LockstepOptimizer


class _Tables:
    """An optimizer of the library for each table, which a plan has as one."""

    def __init__(self, optimizers: list[c.Optimizer], groups: list[int]) -> None:
        self.optimizers, self._groups = optimizers, groups

    def set_lr(self, group: int, lr: float) -> None:
        for o in self._of(group):
            o.set_lr(0, lr)

    def set_rule(self, group: int, rule: c.Rule) -> None:
        for o in self._of(group):
            o.set_rule(0, rule)

    def _of(self, group: int) -> list[c.Optimizer]:
        return [o for o, g in zip(self.optimizers, self._groups) if g == group]

    def set_steps(self, table: int, steps: int) -> None:
        self.optimizers[table].set_steps(0, steps)


class RowsPlan(Plan):
    """A prepared step of an optimizer that takes sparse gradients."""

    clips = False

    def _adopt(self, optimizer: LockstepOptimizer, kept: frozenset[int]) -> None:
        """Has state of one dimension begin its storage, which may be torch's class' later.

        Where a sparse tensor of one dimension is added to a view, PyTorch 2.15 adds it to the beginning of the
        view's storage, wherever the view begins.
        """
        super()._adopt(optimizer, kept)
        for e in self.entries:
            if len(e.shape.size) == 1:
                e.views = [v.clone() if v.storage_offset() else v for v in e.views]
        self._note_rooms()

    def _open(self) -> None:
        super()._open()
        rules = [group.rule for group in self.groups]
        optimizers = []
        for k, e in enumerate(self.entries):
            rule = rules[e.group]
            assert rule
            optimizers.append(c.Optimizer([rule], [self._c_tensor(e)._replace(group=0)]))
            optimizers[k].set_steps(0, e.steps)
        self.core = _Tables(optimizers, [self.groups[e.group].index for e in self.entries])  # type: ignore[assignment]

    @torch.no_grad()
    def step(self, optimizer: LockstepOptimizer, clip: Clip | ValueClip | None) -> None:
        """Takes the step. Raises StaleError, having changed nothing, if a parameter is not what it was."""
        if clip is not None:
            raise UnsupportedError(f"clipping is no part of a step of {type(optimizer).__name__}, {_BEFORE}")
        if self._masters:
            self._follow_params()
        found = [(k, self._find(e, e.param.grad)) for k, e in enumerate(self.entries) if e.param.grad is not None]
        scale = optimizer._unscaling()
        for k, gradient in found:
            core: c.Optimizer = self.core.optimizers[k]  # type: ignore[attr-defined]
            core.set_grad_scale(scale)
            gradient.step(core, self._table(core, self.entries[k]))
            increment_version([self.entries[k].param])
            self._counts.cells[k] += 1
        self._counts.note()
        self._note_versions()
        self._watch(optimizer)
        for k, _ in found:
            if not self.entries[k].begun:
                self._show(optimizer, k)
                self._watch(optimizer)

    def _table(self, core: c.Optimizer, e: Entry) -> int:
        """Where the table is that is stepped: the parameter, or its master, whose copy it is."""
        table = e.part()
        if not e.has_master:
            return table.data_ptr()
        if not e.begun:
            e.master.copy_(table)
        core.set_copies([table.data_ptr()], [element_of(table)])
        return e.master.data_ptr()

    def _find(self, e: Entry, grad: Tensor) -> _Rows | _Whole:
        return _found(e, grad)


class TablesPlan(RowsPlan):
    """A prepared step of an optimizer of tables whose gradients are sparse or dense."""

    def _find(self, e: Entry, grad: Tensor) -> _Rows | _Whole:
        if grad.layout is torch.sparse_coo:
            return _found(e, grad)
        table, why = e.part(), grad_refusal(e.param, grad)
        if why is None and not table.is_contiguous():
            why = "is of a table that is not contiguous, want one row after row"
        if why:
            raise UnsupportedError(f"the gradient of {e.title} {why}")
        return _Whole(e.in_order(local(grad)))


_BEFORE = "want torch.nn.utils.clip_grad_norm_ before it"


def table_refusal(param: Tensor) -> str | None:
    """Why a parameter has no rows that lie one after the other, or None if it has."""
    return row_major_refusal(param) if param.dim() == 2 else f"has {param.dim()} dimensions, want a table of 2"


class _Whole:
    """The dense gradient of a table."""

    def __init__(self, grad: Tensor) -> None:
        self._grad = grad

    def step(self, core: c.Optimizer, table: int) -> None:
        where, grads = c.pointers(1), c.pointers(1)
        where[0], grads[0] = table, self._grad.data_ptr()
        core.set_grad_elements([element_of(self._grad)])
        core.step(where, grads, shared_pool() if self._grad.numel() >= SHARED_LEAST else None)


class _Rows:
    """The rows of a table that have a gradient."""

    def __init__(self, table: Tensor, places: Tensor, values: Tensor) -> None:
        self.values, self._places = values.float(), places
        self.columns = table[0].numel() if len(table) else max(1, table.shape[1:].numel())
        self.indices = c.Rows(places.data_ptr(), len(places), 8)

    def step(self, core: c.Optimizer, table: int) -> None:
        pool = shared_pool() if self.values.numel() >= SHARED_LEAST else None
        core.set_grad_elements([c.FLOAT32])
        core.step_rows(table, self.columns, self.indices, self.values.data_ptr(), pool)


def _found(e: Entry, grad: Tensor | None) -> _Rows:
    """What a sparse gradient has of a table, or what refuses it."""
    table = e.part()
    why = _refusal(e, table, grad)
    if why:
        raise UnsupportedError(f"the gradient of {e.title} {why}")
    assert grad is not None
    places, values = (t.resolve_neg().contiguous() for t in (grad._indices()[0], grad._values()))
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(table):
        found = f"rows from {int(places.min())} to {int(places.max())}"
        raise IndexError(f"the gradient of {e.title} has {found}, want some of {len(table)}")
    return _Rows(table, places, values)


def _refusal(e: Entry, table: Tensor, grad: Tensor | None) -> str | None:
    """Why a gradient cannot be taken, or None if it can."""
    if grad is None or grad.layout is not torch.sparse_coo:
        return "is dense, want torch.sparse_coo: take Adam for it"
    if is_distributed(e.param) or not table.is_contiguous():
        return "is of a table that is sharded or not contiguous, want one whole, row after row"
    if grad.sparse_dim() != 1 or grad.shape != table.shape:
        has = f"{grad.sparse_dim()} sparse dimensions and the shape {tuple(grad.shape)}"
        return f"has {has}, want 1 and {tuple(table.shape)}"
    if grad.device.type != "cpu" or grad.dtype not in (torch.float32, e.dtype):
        return f"is {grad.dtype} on {grad.device}, want {e.dtype} on the CPU"
    return None
