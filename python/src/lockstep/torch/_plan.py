"""A step that is prepared once, and what tells that something which it was prepared for has changed."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from .. import _library as c
from ._group import Group
from ._layout import Shape, lay_out
from ._packed import FLOAT32, pack, packable, shape_of
from ._state import of, values
from ._tensors import (
    HALVES,
    MASTER,
    REST,
    UnsupportedError,
    element_of,
    grad_refusal,
    is_distributed,
    is_sharded,
    joined,
    local,
    param_refusal,
    torch_shape,
    wrapped,
)
from ._walk import Walk, walk_over

if TYPE_CHECKING:
    from ._optimizer import LockstepOptimizer

MANY = 256  # counts for which tensors are faster than bytes, whose memory would have to be found
SHARED_LEAST = 256 << 10  # elements of a step that is shared by threads

_END = object()
_pack = struct.Struct("f").pack


class StaleError(Exception):
    """A parameter is not what the plan was made for."""


_pool: c.Pool | None = None


def shared_pool() -> c.Pool | None:
    """The pool of all optimizers, with as many threads as torch has, or None for one thread."""
    global _pool
    threads = torch.get_num_threads()
    if threads == 1:
        return None
    if _pool is None or _pool.threads != threads:
        _pool = c.Pool(threads)
    return _pool


class Entry:
    """A parameter that is stepped here."""

    __slots__ = (
        *("begun", "dtype", "group", "has_gaps", "has_master", "has_rest", "is_rounded", "param", "shape", "slots"),
        *("steps", "storage", "title", "types", "views"),
    )

    def __init__(self, param: Tensor, group: int, title: str, splits: bool, rounds: bool) -> None:
        """Looks at a parameter that can be stepped."""
        self.param, self.group, self.title = param, group, title
        part = local(param)
        self.storage = part.untyped_storage()  # which keeps another from being where this one was
        shape = Shape.of(part)
        self.has_gaps = not shape.is_dense()
        self.dtype, self.has_rest, self.is_rounded = part.dtype, splits, rounds
        self.has_master = part.dtype in HALVES and not splits and not rounds
        self.shape = Shape.of(torch.empty(shape.size, device="meta")) if self.has_gaps else shape
        self.steps, self.begun = 0, False
        self.views: list[Tensor] = []
        self.slots: dict[str, Shape] = {}
        self.types: dict[str, int] = {}  # of the slots that are not float32

    def measure(self, rule: c.Rule, kind: int) -> None:
        """Notes the shapes of its state, which is of a type where it can be."""
        sizes = rule.state_shapes(self.shape.size)
        self.slots = {slot: self.shape if s == self.shape.size else _by_line(slot, s) for slot, s in sizes.items()}
        if kind != FLOAT32 and self.shape.numel > c.STATE_SMALL:
            self.types = {slot: kind for slot in sizes if slot in packable(rule)}
            self.slots |= {slot: shape_of(kind, self.shape.numel) for slot in self.types}
        if self.has_master:
            self.slots[MASTER] = self.shape
        if self.has_rest:
            self.slots[REST] = self.shape._replace(dtype=torch.int16)

    @property
    def master(self) -> Tensor:
        """The float32 parameter that is trained in place of one of 16 bits."""
        return self.views[-1]

    @property
    def rest(self) -> Tensor:
        """What a parameter of bfloat16 lacks of float32."""
        return self.views[-1]

    def rule_views(self) -> list[Tensor]:
        """The state that the rule has."""
        return self.views[:-1] if self.has_master or self.has_rest else self.views

    def follow_param(self) -> None:
        """Has the master be what somebody has made of the parameter, where that is another.

        A rest stays, which may be that of what was loaded, but where it would lead a 0 to NaN.
        """
        if self.has_rest:
            self.rest[local(self.param).eq(0) & self.rest.lt(0)] = 0
            return
        part, master = local(self.param), self.master
        changed = part.ne(master.to(self.dtype))
        if bool(changed.any()):
            master.copy_(torch.where(changed, part.float(), master))

    def is_placed(self, kept: frozenset[int]) -> bool:
        """Whether it has state that may stay where it is."""
        return bool(self.views) and all(
            v.dtype is s.dtype and _may_stay(v, kept) and s.same_order(v.stride()) for v, s in self.placed()
        )

    def placed(self) -> Iterable[tuple[Tensor, Shape]]:
        """Its state with the shapes that this should have."""
        return zip(self.views, self.slots.values())

    def part(self) -> Tensor:
        """What of the parameter is on this process. Raises StaleError if it has another shape than before."""
        part = local(self.param)
        if tuple(part.shape) != self.shape.size or (not self.has_gaps and part.stride() != self.shape.stride):
            raise StaleError
        if part.dtype is not self.dtype or param_refusal(self.param, self.dtype in HALVES):
            raise StaleError
        self.storage = part.untyped_storage()
        return part

    def in_order(self, tensor: Tensor) -> Tensor:
        """A tensor, or a copy of it that has its elements in the order of this one's memory."""
        tensor = tensor.resolve_neg()
        if self.shape.same_order(tensor.stride()):
            return tensor
        return torch.empty_strided(self.shape.size, self.shape.stride, dtype=tensor.dtype).copy_(tensor)


def _by_line(slot: str, size: tuple[int, ...]) -> Shape:
    """The shape that torch gives a number for each row or column of a matrix."""
    return Shape.of(torch.empty(torch_shape(slot, size), device="meta"))


class _Counts:
    """The steps of all tensors, in one tensor of which each has a view, and as they were when they were noted."""

    __slots__ = ("_bytes", "_common", "_noted", "_seen", "cells", "tensor")

    def __init__(self, n: int) -> None:
        self.tensor = torch.zeros(n)
        self.cells = (ctypes.c_float * n).from_address(self.tensor.data_ptr())
        self._bytes = memoryview(self.cells).cast("B")
        self._seen = torch.zeros(n) if n >= MANY else None
        self._noted = b""
        self._common: float | None = None

    def note(self) -> None:
        """Notes the counts, and whether they are all the same one."""
        if self._seen is None:
            self._noted = bytes(self._bytes)
            alike = self._noted[:4] * len(self.cells) == self._noted
        else:
            self._seen.copy_(self.tensor)
            alike = bool((self.tensor == self.tensor[0]).all())
        self._common = self.cells[0] if alike and self.cells else None

    def have_changed(self) -> bool:
        """Whether they are others than those that were noted."""
        return bytes(self._bytes) != self._noted if self._seen is None else not torch.equal(self._seen, self.tensor)

    def count_all(self) -> None:
        """Counts a step of every tensor, and notes it."""
        if self._common is None:
            self.tensor.add_(1)
            self.note()
            return
        self._common += 1
        if self._seen is None:
            self._noted = _pack(self._common) * len(self.cells)
            self._bytes[:] = self._noted
        else:
            self._seen.fill_(self._common)
            self.tensor.fill_(self._common)


def _lay_out(entries: Sequence[tuple[Entry, Mapping[str, float]]]) -> list[list[Tensor]]:
    """State for each entry, of the parameter's shape side by side, with what it begins as."""
    parts: list[tuple[Shape, list[float]]] = []
    counts = []
    for e, first in entries:
        shapes = list(dict.fromkeys(e.slots.values()))
        counts.append([(slot, len(parts) + shapes.index(s)) for slot, s in e.slots.items()])
        first = {slot: value for slot, value in first.items() if slot not in e.types}
        parts += [(s, [first.get(slot, 0.0) for slot, of in e.slots.items() if of == s]) for s in shapes]
    rooms = [iter(views) for views in lay_out(parts)]
    return [[next(rooms[k]) for _, k in places] for places in counts]


class Plan:
    """A prepared step of an optimizer."""

    clips = True  # within the step

    def __init__(self, optimizer: LockstepOptimizer, kept: frozenset[int] = frozenset()) -> None:
        """Looks at everything, and lays state out anew but for that in storages which are kept as they are."""
        self.groups = [Group(optimizer, group) for group in optimizer.param_groups]
        self.foreign: dict[int, list[Tensor]] = {}
        self.entries: list[Entry] = []
        self._collect(optimizer)
        self._adopt(optimizer, kept)
        self._open()
        self._set_types(optimizer)
        self._publish(optimizer)
        self._watch(optimizer)

    def _collect(self, optimizer: LockstepOptimizer) -> None:
        """Sorts parameters into those that are stepped here and those that torch steps."""
        for k, group in enumerate(self.groups):
            for j, param in enumerate(group.params):
                title = optimizer._title(k, j)
                why = group.refusal or optimizer.refusal_of(param, group.group)
                if why is None:
                    self.entries.append(Entry(param, k, title, optimizer.split_master, optimizer.bf16_stochastic_round))
                elif optimizer.leaves_to_torch(group.group):
                    self.foreign.setdefault(k, []).append(param)
                else:
                    raise UnsupportedError(f"{title} {why}")

    # State.

    def _adopt(self, optimizer: LockstepOptimizer, kept: frozenset[int]) -> None:
        """Finds the state of every parameter a place, and copies what there is to it."""
        firsts = [c.first_state(g.rule) if g.rule else {} for g in self.groups]
        for e in self.entries:
            if rule := self.groups[e.group].rule:
                e.measure(rule, optimizer.state_number)
        found = [optimizer._state_of(e) for e in self.entries]
        apart = []
        for e, tensors in zip(self.entries, found):
            e.views = [local(t) for t in tensors]
            if not e.is_placed(kept):
                apart.append(e)
        for e, views in zip(apart, _lay_out([(e, firsts[e.group]) for e in apart])):
            before, e.views = e.views, views
            for view, old in zip(views, before):
                if old.dtype is view.dtype:
                    view.copy_(old)
            self._pack(e, before, firsts[e.group], optimizer.state_seed)
        self._share(optimizer._common_slots)
        self._note_rooms()

    def _pack(self, e: Entry, before: Sequence[Tensor], firsts: Mapping[str, float], seed: int) -> None:
        """Fills the state of fewer bits of what it was as float32, or begins as."""
        rule, slots = self.groups[e.group].rule, dict(zip(e.slots, e.rule_views()))
        if rule is None:  # which torch's class is then
            return
        for slot, kind in e.types.items():
            old = before[list(e.slots).index(slot)] if before else None
            if old is not None and old.dtype is torch.float32:
                values = torch.empty_strided(e.shape.size, e.shape.stride).copy_(old)
                pack(rule, slot, kind, seed, values, slots[slot])
            elif old is None and firsts.get(slot):
                pack(rule, slot, kind, seed, torch.full((e.shape.numel,), firsts[slot]), slots[slot])

    def _share(self, slots: frozenset[str]) -> None:
        """Has tensors that have not begun know the numbers that are the same for all."""
        begun = [e for e in self.entries if e.begun and e.shape.numel]
        for e in self.entries if begun else ():
            for slot in () if e.begun else slots:
                e.views[list(e.slots).index(slot)].copy_(begun[0].views[list(begun[0].slots).index(slot)])

    def _note_rooms(self) -> None:
        """Notes in which storages the state is."""
        rooms = {v.untyped_storage().data_ptr(): v.untyped_storage() for e in self.entries for v in e.views}
        self.kept, self._rooms = frozenset(rooms), list(rooms.items())

    def _open(self) -> None:
        """Makes the C optimizer, and room for its arguments."""
        rules = [g.rule for g in self.groups if g.rule]
        for index, group in enumerate(g for g in self.groups if g.rule):
            group.index = index
        self.core = c.Optimizer(rules, [self._c_tensor(e) for e in self.entries])
        for k, e in enumerate(self.entries):
            if e.steps:
                self.core.set_steps(k, e.steps)
        n = len(self.entries)
        self._where, self._grads = c.pointers(n), c.pointers(n)
        self._own = c.pointers(n)  # where parameters themselves are
        self._scale = 1.0
        self._masters = [(k, e) for k, e in enumerate(self.entries) if e.has_master]
        self._halved = [(k, e) for k, e in enumerate(self.entries) if e.has_master or e.has_rest]
        self._rests: c.Pointers | None = None
        if any(e.has_rest for e in self.entries):
            self._rests = c.pointers(n)
            self._rests[:] = [e.rest.data_ptr() for e in self.entries]
        self._rounds = any(e.is_rounded for e in self.entries)
        self._elements, self._copies = [c.FLOAT32] * n, [0] * n
        self._versions: list[int] = []
        self._set_elements([element_of(e.param) for e in self.entries])
        self.total = sum(e.shape.numel for e in self.entries)
        self._is_plain = not any(e.has_gaps or is_distributed(e.param) for e in self.entries)
        self._sharded = next((e.title for e in self.entries if is_sharded(e.param)), None)
        self._params = [e.param for e in self.entries]
        self._walk: Walk | None = None
        self._places: dict[Tensor, int] | None = None

    def _set_types(self, optimizer: LockstepOptimizer) -> None:
        """Says how state and parameters are rounded that are not float32."""
        if self._rounds:
            self.core.set_rounding(optimizer.state_seed)
        types: dict[str, int] = {}
        for e in self.entries:
            types |= e.types
        if types:
            self.core.set_state_types(types, optimizer.state_seed)

    def _c_tensor(self, e: Entry) -> c.Tensor:
        columns = c.columns_of(e.shape.size)
        types = [e.types.get(slot, FLOAT32) for slot in e.slots] if e.types else None
        state = list(map(Tensor.data_ptr, e.rule_views()))
        return c.Tensor(e.shape.numel, self.groups[e.group].index, e.title, state, columns, types)

    def floats(self, k: int) -> dict[str, Tensor]:
        """The state of a parameter that has begun, as float32."""
        e = self.entries[k]
        found = dict(zip(e.slots, e.views)) if e.begun else {}
        if REST in found:
            found[MASTER] = joined(e.in_order(local(e.param).detach()), found.pop(REST))
        for slot in e.types if e.begun else ():
            found[slot] = torch.empty_strided(e.shape.size, e.shape.stride)
            self.core.read_floats(k, slot, found[slot].data_ptr())
        return found

    def elements(self) -> list[int]:
        """The types of gradients that the library expects."""
        return self._elements

    def _publish(self, optimizer: LockstepOptimizer) -> None:
        """Puts the state where torch has it. Counts are views of one tensor, which a step changes at once."""
        self._counts = _Counts(len(self.entries))
        for k, e in enumerate(self.entries):
            self._counts.cells[k] = e.steps
            if e.begun:
                self._show(optimizer, k)
        self._counts.note()

    def _show(self, optimizer: LockstepOptimizer, k: int) -> None:
        e = self.entries[k]
        state = of(optimizer.watched_state(), e.param)
        state["step"] = self._counts.tensor[k]
        for slot, view in zip(e.slots, e.views):
            name = optimizer.state_name(slot)
            if state.get(name) is not view:
                state[name] = wrapped(view, e.param)
        e.begun = True

    def places(self) -> dict[Tensor, int]:
        """Which tensor of the library's optimizer each parameter is."""
        if self._places is None:
            self._places = {e.param: k for k, e in enumerate(self.entries)}
        return self._places

    def begun(self) -> Iterator[tuple[Entry, int]]:
        """The parameters that have taken steps, and how many."""
        for e, steps in zip(self.entries, self._counts.cells):
            if e.begun:
                yield e, int(steps)

    def update_hessian(self, optimizer: LockstepOptimizer, estimates: Mapping[Tensor, Tensor]) -> None:
        """Moves the estimates of a rule that has such, of the parameters that new ones are given for."""
        pointers, held = c.pointers(len(self.entries)), []
        for k, e in enumerate(self.entries):
            if e.param in estimates:
                why = grad_refusal(e.param, estimates[e.param])
                if why:
                    raise UnsupportedError(f"the estimate of {e.title} {why}")
                e.part()
                held.append((k, e.in_order(local(estimates[e.param]).float())))
                pointers[k] = held[-1][1].data_ptr()
        self.core.update_hessian(pointers)
        for k, _ in held:
            if not self.entries[k].begun:
                if self.entries[k].has_master:
                    self.entries[k].master.copy_(local(self.entries[k].param))
                self._show(optimizer, k)
        self._note_versions()
        self._watch(optimizer)

    # What may change.

    def _watch(self, optimizer: LockstepOptimizer) -> None:
        """Notes the state as it is."""
        self._state = optimizer.watched_state()
        self._all_begun = all(e.begun for e in self.entries)
        self._values = [*values(self._state), _END]

    def is_current(self, optimizer: LockstepOptimizer) -> bool:
        """Whether all is as it was but for options that the C optimizer can follow, and does now."""
        groups = optimizer.param_groups
        if len(groups) != len(self.groups) or not self._has_same_state(optimizer.state):
            return False
        for mine, group in zip(self.groups, groups):
            if not (mine.is_same(group) and mine.follow(optimizer, self.core)):
                return False
        return True

    def _has_same_state(self, state: Any) -> bool:
        if state is not self._state:
            return False
        if self._state.touched and not all(map(is_, chain(values(self._state), (_END,)), self._values)):
            return False
        for address, room in self._rooms:
            if room.data_ptr() != address:  # it is shared with other processes since
                return False
        if self._counts.have_changed():
            self._recount()
        return True

    def _recount(self) -> None:
        """Goes on with counts of steps that somebody has set."""
        for k, steps in enumerate(self._counts.cells):
            self.core.set_steps(k, int(steps))
        self._counts.note()

    # The step.

    def step(self, optimizer: LockstepOptimizer, clip: Clip | ValueClip | None) -> None:
        """Takes the step. Raises StaleError, having changed nothing, if a parameter is not what it was."""
        if self._halved:
            self._follow_params()
        if self._is_plain and self._all_begun and not self.foreign and self._find_usual():
            self._run(optimizer, clip, [])
            self._counts.count_all()
        else:
            with torch.no_grad():
                self._step_unusual(optimizer, clip)
        if self._halved:
            self._note_versions()

    def _note_versions(self) -> None:
        self._versions = [e.param._version for _, e in self._halved]

    @torch.no_grad()
    def _follow_params(self) -> None:
        """Has masters follow parameters that something else than a step has written to."""
        versions = [e.param._version for _, e in self._halved]
        if versions != self._versions:
            before = self._versions or [-1] * len(versions)
            for (_, e), now, then in zip(self._halved, versions, before):
                if now != then and e.begun:
                    e.part()
                    e.follow_param()

    def _place(self, own: Sequence[int]) -> None:
        """Says where parameters are: the library steps masters, of which they are copies."""
        where: list[Any] = list(own)
        to = [0] * len(own)
        for k, e in self._masters:
            where[k], to[k] = e.master.data_ptr(), own[k]
        self._where[:] = where
        self._set_copies(to)

    def _set_copies(self, to: list[int]) -> None:
        if self._masters and to != self._copies:
            self.core.set_copies(to, [element_of(e.param) if e.has_master else c.FLOAT32 for e in self.entries])
            self._copies = to

    def _set_elements(self, elements: list[int]) -> None:
        if elements != self._elements:
            self.core.set_grad_elements(elements)
            self._elements = elements

    def _find_usual(self) -> bool:
        """Finds the gradients where all parameters have one and nothing else is new."""
        if self._walk is None:
            own: list[Any] = [e.part().data_ptr() for e in self.entries]
            self._own[:] = own
            self._place(own)
            self._set_elements([element_of(e.param) for e in self.entries])
            self._walk = walk_over(self._params, self._own)
        return self._walk.find(self._grads)

    def _step_unusual(self, optimizer: LockstepOptimizer, clip: Clip | ValueClip | None) -> None:
        found = _Found(self, optimizer)
        self._walk = None  # parameters may have moved
        self._place(found.where)
        self._grads[:] = found.grads
        if found.elements != self._elements and optimizer._observer is not None:
            optimizer._observer.forget()
        self._set_elements(found.elements)
        self._begin_as_params(optimizer, found.present)
        self._run(optimizer, clip, [p.grad for params in found.foreign.values() for p in params if p.grad is not None])
        for part, copy in found.copies:
            part.copy_(copy)
        increment_version([self._params[k] for k in found.present])
        for k in found.present:
            self._counts.cells[k] += 1
            if not self.entries[k].begun:
                self._show(optimizer, k)
        self._counts.note()
        if any(found.foreign.values()):
            optimizer._step_by_torch(found.foreign)
        self._watch(optimizer)

    def _begin_as_params(self, optimizer: LockstepOptimizer, present: Sequence[int]) -> None:
        """Fills the state that begins as the parameters, of those whose first step it is."""
        slots = {*optimizer._slots_as_params, MASTER}
        for k in present if optimizer._slots_as_params or self._masters else ():
            e = self.entries[k]
            for slot, view in zip(e.slots, e.views):
                if slot in slots and not e.begun:
                    view.copy_(local(e.param))

    def _run(self, optimizer: LockstepOptimizer, clip: Clip | ValueClip | None, foreign: Sequence[Tensor]) -> None:
        pool = shared_pool() if self.total >= SHARED_LEAST else None
        scale = optimizer._unscaling()
        observer = optimizer._observer
        if observer is not None and not isinstance(clip, Clip):
            observer.forget()
        if scale != 1:
            _check_unscalable(foreign)
        if isinstance(clip, ValueClip):
            self._step_clipped(scale, clip, pool)
            _multiply(foreign, scale)
            clip.clamp(foreign)
            return
        if clip is not None:
            self._check_whole()
            self._set_scale(scale)
            measured = observer.measure(self, self._grads, pool) if observer else self.core.measure(self._grads, pool)
            scale *= clip.factor(measured, foreign, scale)
        if scale > 0:
            self._set_scale(scale)
            self._move(pool)
        else:
            self._step_nonfinite(pool)
        _multiply(foreign, scale)

    def _move(self, pool: c.Pool | None) -> None:
        if self._rounds:
            self.core.step_bf16(self._where, self._grads, pool)
        elif self._rests is None:
            self.core.step(self._where, self._grads, pool)
        else:
            self.core.step_split(self._where, self._rests, self._grads, pool)

    def _step_clipped(self, scale: float, clip: ValueClip, pool: c.Pool | None) -> None:
        self._set_scale(scale)
        self.core.set_max_value(clip.limit)
        try:
            self._move(pool)
        finally:
            self.core.set_max_value(0)

    def _check_whole(self) -> None:
        if self._sharded:
            wish = "want it whole for its norm: use torch.nn.utils.clip_grad_norm_ and step"
            raise UnsupportedError(f"{self._sharded} is sharded, {wish}")

    def _step_nonfinite(self, pool: c.Pool | None) -> None:
        """Takes a step with gradients whose norm is infinite or NaN: the factor is 0 or NaN, which is no scale."""
        self.core.set_max_norm(1)
        try:
            self._move(pool)
        finally:
            self.core.set_max_norm(0)

    def _set_scale(self, scale: float) -> None:
        if scale != self._scale:
            self.core.set_grad_scale(scale)
            self._scale = scale


class _Found:
    """What a step finds when it looks at every parameter by itself."""

    def __init__(self, plan: Plan, optimizer: LockstepOptimizer) -> None:
        self.where: list[Any] = [0] * len(plan.entries)
        self.grads: list[Any] = [0] * len(plan.entries)
        self.present: list[int] = []
        self.copies: list[tuple[Tensor, Tensor]] = []  # parameters with gaps, and copies without
        self.elements = [element_of(e.param) for e in plan.entries]
        self.foreign = {k: list(params) for k, params in plan.foreign.items()}
        self._held: list[Tensor] = []
        for k, e in enumerate(plan.entries):
            self._look(k, e, optimizer)

    def _look(self, k: int, e: Entry, optimizer: LockstepOptimizer) -> None:
        part, grad = e.part(), e.param.grad
        self.where[k] = part.data_ptr()
        if grad is None:
            return
        why = grad_refusal(e.param, grad)
        if why is None:
            self._take(k, e, part, local(grad))
        elif optimizer.leaves_to_torch(optimizer.param_groups[e.group]):
            self.foreign.setdefault(e.group, []).append(e.param)
        else:
            raise UnsupportedError(f"the gradient of {e.title} {why}")

    def _take(self, k: int, e: Entry, part: Tensor, grad: Tensor) -> None:
        self.present.append(k)
        grad = e.in_order(grad)
        self._held.append(grad)
        self.grads[k], self.elements[k] = grad.data_ptr(), element_of(grad)
        if e.has_gaps:
            copy = part.contiguous()
            self.copies.append((part, copy))
            self.where[k] = copy.data_ptr()


class Clip:
    """Clipping by the global norm, as torch.nn.utils.clip_grad_norm_ does it, without writing gradients."""

    def __init__(self, max_norm: float, error_if_nonfinite: bool) -> None:
        """Is for one step. The norm is NaN until it is taken, and where torch.amp.GradScaler skips the step."""
        self.max_norm, self.error_if_nonfinite, self.norm = max_norm, error_if_nonfinite, math.nan

    def factor(self, norm: float, foreign: Sequence[Tensor], scale: float) -> float:
        """The factor of gradients: the norm is of those here, scaled; those that torch steps are not scaled yet."""
        others = [scale * float(torch.linalg.vector_norm(local(g), dtype=torch.float64)) for g in foreign]
        self.norm = math.hypot(norm, *others)
        self.check()
        factor = self.max_norm / (self.norm + 1e-6)
        return 1.0 if factor > 1 else factor  # NaN stays

    def check(self) -> None:
        """Raises if the norm is to be finite and is not."""
        if self.error_if_nonfinite and not math.isfinite(self.norm):
            raise RuntimeError(f"the norm of the gradients is {self.norm}: nothing was stepped")


class ValueClip:
    """Clipping of each element, as torch.nn.utils.clip_grad_value_ does it, without writing gradients."""

    def __init__(self, limit: float) -> None:
        """Is for one step."""
        self.limit = limit

    def clamp(self, foreign: Sequence[Tensor]) -> None:
        """Clips the gradients that torch steps, in place, once they are unscaled."""
        for g in foreign:
            local(g).clamp_(-self.limit, self.limit)


def _check_unscalable(foreign: Sequence[Tensor]) -> None:
    """Refuses gradients that torch.amp.GradScaler would not unscale, because what the scale was for would be lost."""
    if any(g.dtype is torch.float16 for g in foreign):
        raise UnsupportedError(
            "the gradient of a parameter that is left to torch is torch.float16, want torch.float32 to unscale it"
        )


def _multiply(foreign: Sequence[Tensor], factor: float) -> None:
    """Multiplies gradients that torch steps, in place."""
    if factor != 1:
        for g in foreign:
            local(g).mul_(factor)


def _may_stay(tensor: Tensor, kept: frozenset[int]) -> bool:
    """Whether state may stay where it is: laid out before, or shared with other processes."""
    if tensor.is_neg():
        return False
    return tensor.untyped_storage().data_ptr() in kept or bool(tensor.is_shared())  # type: ignore[no-untyped-call]
