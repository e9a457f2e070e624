"""What the optimizers of this package share: torch's interface over a prepared step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import is_
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import profiler
from torch.optim import optimizer as base

from .. import _library as c
from ._group import Group
from ._layout import Shape
from ._observed import GradientObserver
from ._options import is_cautious
from ._packed import FLOAT32, StateType, floats_of, number_of, packable
from ._plan import Clip, Entry, Plan, StaleError, ValueClip
from ._state import State
from ._tensors import (
    HALVES,
    MASTER,
    REST,
    UnsupportedError,
    is_distributed,
    is_sharded,
    local,
    param_refusal,
    refusal,
)

_WAYS = ("master_weights", "split_master", "bf16_stochastic_round")
"""How parameters of 16 bits are trained: the latter two are for bfloat16 alone."""

_OWN = ("fallback", *_WAYS, "state_dtype", "state_seed")
"""Arguments that are no options of groups."""


class LockstepOptimizer(base.Optimizer):
    """An optimizer of torch whose steps are Lockstep's.

    A subclass says what rule a group's options make (``_rule``) and what torch calls the rule's state
    (``_state_names``). If it is a subclass of an optimizer of torch too, it has the constructor of that and its
    checks, and may leave to it what it does not do itself: see ``fallback``.

    Classes whose steps have a momentum take ``cautious_update``, False by default, and where they have decoupled weight
    decay ``cautious_decay``. With the first an element stays where its step, the decay apart, has not the sign of its
    gradient, and the others of its tensor move further, by the part of them that agree (Liang et al. 2024); with the
    second parameters decay where the step does not take them further from 0 (Chen et al. 2025). Both are options of
    groups. Nothing is left to torch then, whose classes know neither.

    Those whose rule takes a step in one pass over elements take ``split_master``, too, for parameters that are all
    bfloat16. What is trained is float32 then without a copy of it: the state "rest" of each parameter, int16, is what
    it lacks of the float's bits, which are ``(param << 16) + rest``, and the parameter is rounded to nearest, of two
    the larger in magnitude: 4 bytes and not 6. Steps are those of float32 parameters to the bit; ``state_values`` has
    them as "master". What somebody else writes to a parameter keeps its rest, less than half of its last bit, so that
    parameters and state can be loaded in any order. All else is as with master_weights. Nothing is left to torch then,
    and a DTensor is refused.

    The same classes take ``bf16_stochastic_round``, as torchao's do, for parameters that are all bfloat16 and nothing
    else: 2 bytes. A step makes float32 of them block by block, and rounds what they have become at random, so that they
    go as far as they should on average; to nearest most would stay as they are. How follows from ``state_seed``, the
    parameter's place among all, its step and the element in memory: a run that goes on from a ``state_dict`` with the
    same seed is the same to the bit. Nothing is left to torch then, and a DTensor is refused.

    All classes take ``master_weights``. With it parameters may be bfloat16 or float16: what is trained is a float32
    copy of each, the state "master", which begins as the parameter in its first step. Gradients of 16 bits are read as
    they are, and steps are those of float32 parameters with the same gradients; the parameter is the master, rounded
    to nearest even in the same pass over memory. Where something else has written to a parameter, such as
    ``load_state_dict`` of a model, its master follows it; what is written to ``param.data`` or through NumPy is not
    noticed. All state is float32, also what ``load_state_dict`` brings.

    Classes whose rule can keep its means in fewer bits take ``state_dtype``. With ``torch.bfloat16`` or ``"float8"``,
    8 bits for each element and a float32 for each 256, the state of parameters of more than 4096 elements is a tensor
    of bytes, uint8, as the library lays it out, of which ``state_values`` gives the numbers; all else stays float32.
    Elements are rounded at random so that means that move slowly do move, by ``state_seed``, the parameter's place
    among all and its step: a run that goes on from a ``state_dict`` is the same to the bit. Arithmetic is float32.
    float32 state that ``load_state_dict`` brings is converted; bytes are of one type and one order of bytes, and in the
    order of the parameter's memory, which has to be the same where they are loaded. Nothing is left to torch then, and
    a DTensor is refused.
    """

    master_weights: bool = False
    """Whether parameters of bfloat16 and float16 are stepped: see the class."""

    split_master: bool = False
    """Whether parameters of bfloat16 are trained in float32 with what they lack of it as state: see the class."""

    state_dtype: StateType = torch.float32
    """How the elements of state are kept: torch.float32, torch.bfloat16 or "float8". See the class."""

    bf16_stochastic_round: bool = False
    """Whether parameters of bfloat16 are trained as such, rounded at random: see the class."""

    state_seed: int = 0
    """By what state of fewer bits and parameters are rounded, from 0 to 2⁶⁴-1."""

    fallback: bool = False
    """Whether parameters and options that this package does not have are left to torch, instead of refused."""

    _state_names: ClassVar[Mapping[str, str]]
    _torch_class: ClassVar[type[base.Optimizer] | None] = None
    _steps_if_unknown: ClassVar[int | None] = None  # in a state without a count
    _needs_whole_tensors: ClassVar[bool] = False
    _cautions: ClassVar[tuple[str, ...]] = ()  # options that torch's class has not
    _slots_as_params: ClassVar[frozenset[str]] = frozenset()  # which begin as the parameters
    _common_slots: ClassVar[frozenset[str]] = frozenset()  # numbers that all tensors have alike
    _plan_class: ClassVar[type[Plan]] = Plan
    _step_supports_amp_scaling = True
    _own_defaults: Mapping[str, bool] = MappingProxyType({})  # of these, while torch's constructor makes the groups
    _plan: Plan | None = None
    state_number: int = FLOAT32  # of state_dtype, in the library
    _clip: Clip | ValueClip | None = None
    _observer: GradientObserver | None = None

    @staticmethod
    def _rule(group: Mapping[str, Any]) -> c.Rule:
        """The rule that the options of a group make."""
        raise NotImplementedError

    def _construct(self, arguments: dict[str, Any]) -> None:
        """Takes over the arguments of a constructor: torch's own checks them if there is one."""
        own = ("self", "params", "__class__", *_OWN)
        options = {name: value for name, value in arguments.items() if name not in own}
        self.fallback = arguments.get("fallback", False)
        self.master_weights = arguments.get("master_weights", False)
        self.split_master = arguments.get("split_master", False)
        self.bf16_stochastic_round = arguments.get("bf16_stochastic_round", False)
        ways = [name for name in _WAYS if getattr(self, name)]
        if len(ways) > 1:
            raise c.ArgumentError(f"{' and '.join(ways)} are True, want one of them")
        self.state_dtype = arguments.get("state_dtype", torch.float32)
        self.state_seed = c.checked_seed(arguments.get("state_seed", 0), "state_seed")
        self.state_number = number_of(self.state_dtype)
        if self._torch_class:
            self._own_defaults = {name: options.pop(name) for name in self._cautions}
            super().__init__(arguments["params"], **options)
            self.defaults.update(self._own_defaults)
        else:
            super().__init__(arguments["params"], options)
        self.state = State(dict, self.state)

    def _checked_rule(self, group: Mapping[str, Any]) -> c.Rule:
        """The rule of a group. Raises UnsupportedError or ArgumentError."""
        for option in ("differentiable", "capturable"):
            if group.get(option):
                raise UnsupportedError(f"{option} is True, want False: a step here is no part of a graph")
        rule = self._rule(group)
        c.Optimizer([rule], [])
        if self.split_master or self.bf16_stochastic_round:
            _check_splits(rule, self._of_bfloat16())
        if self.state_number != FLOAT32 and rule.slots and not packable(rule):
            raise UnsupportedError(f"state_dtype is {self.state_dtype!r}, want torch.float32 with these options")
        return rule

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group, as torch does. Raises UnsupportedError or ArgumentError for what cannot be stepped."""
        if isinstance(param_group, dict):
            for name, value in self._own_defaults.items():
                param_group.setdefault(name, value)
        super().add_param_group(param_group)
        try:
            self._check_group(len(self.param_groups) - 1)
        except Exception:
            self.param_groups.pop()
            raise
        if self._observer is not None:
            self._observer.watch(self.param_groups[-1]["params"])

    def _check_group(self, k: int) -> None:
        group = Group(self, self.param_groups[k])
        for j, param in enumerate(group.params):
            left = self.leaves_to_torch(group.group) or param.device.type == "meta"
            why = None if left else self.refusal_of(param, group.group)
            if why:
                raise UnsupportedError(f"{self._title(k, j)} {why}")

    def leaves_to_torch(self, group: Mapping[str, Any]) -> bool:
        """Whether what cannot be stepped here is left to torch's class, which knows no caution."""
        is_plain = self.state_number == FLOAT32 and not self._of_bfloat16()
        return self.fallback and not is_cautious(group) and is_plain

    def _of_halves(self) -> bool:
        """Whether parameters may be of 16 bits."""
        return any(getattr(self, name) for name in _WAYS)

    def _of_bfloat16(self) -> str:
        """The option by which all parameters must be bfloat16, or nothing."""
        return next((name for name in _WAYS[1:] if getattr(self, name)), "")

    def refusal_of(self, param: Tensor, group: Mapping[str, Any]) -> str | None:
        """Why a parameter cannot be stepped with the options of a group, or None if it can."""
        if group.get("cautious_update") and is_sharded(param):
            return "is sharded, want it whole: cautious_update counts in whole tensors"
        if self.state_number != FLOAT32 and is_distributed(param):
            return f"is a {type(param).__name__}, want a plain tensor with state_dtype {self.state_dtype!r}"
        if (way := self._of_bfloat16()) and is_distributed(param):
            return f"is a {type(param).__name__}, want a plain tensor with {way}"
        if way and param.dtype is not torch.bfloat16:
            return f"is {param.dtype}, want torch.bfloat16 with {way}: others are for an optimizer of their own"
        return self._refusal(param)

    def _refusal(self, param: Tensor) -> str | None:
        """Why a parameter cannot be stepped with any options, or None if it can."""
        if self._needs_whole_tensors and is_sharded(param):
            return f"is sharded, want it whole: {type(self).__name__} looks at whole tensors"
        return param_refusal(param, self._of_halves())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{name: getattr(self, name) for name in (*_OWN, "state_number")}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a state, as torch does, but for that of masters, which stays float32, and bytes, which stay such.

        Bytes of another state_dtype, which a state dict says, are converted, through float32. Those of the same one
        come with their state_seed, so that steps are those of one run.
        """
        if "state_dtype" in state_dict:
            state_dict = self._as_floats(state_dict)
            if c.STATE_TYPES[self.state_number] == state_dict["state_dtype"]:
                self._load_state_dict(state_dict)
                self.state_seed = state_dict.get("state_seed", self.state_seed)
                return
        self._load_state_dict(state_dict)

    def _load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self._of_halves() and self.state_number == FLOAT32:
            super().load_state_dict(state_dict)
            return
        handle = self.register_load_state_dict_pre_hook(_hold_state)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()

    def __setstate__(self, state: dict[str, Any]) -> None:
        _release_state(state["state"])
        super().__setstate__(state)
        self.state = State(dict, self.state)
        self._plan = None
        for name in self._cautions:  # which older pickles lack
            self.defaults.setdefault(name, False)
        for group in self.param_groups:  # which may be of an author's optimizer that has fewer options
            for name, value in self.defaults.items():
                if name != "differentiable":  # which torch adds to all defaults
                    group.setdefault(name, value)

    def observe_gradients(self) -> GradientObserver:
        """Observes gradients from now on as backward makes them, so that clip_grad_norm_and_step need not read them.

        Their squares are added up in hooks of the parameters while the gradients are in the cache; norms and steps
        have the same bits. A gradient that another call of backward adds to is observed anew; where one is replaced,
        or an operation of PyTorch writes to it, or ``GradScaler.unscale_`` to all, the step reads all of them, as it
        reads those that were not observed. What is written to ``grad.data`` or through NumPy is not noticed: call
        ``forget()`` of what is returned after it. ``remove()`` ends the observation, and ``paused()`` is a context for
        those calls of backward that others add to.

        Gradients that were observed are held until the step, or until backward is called again. Nothing is observed
        before the first step, nor where torch.distributed has several processes, which add to gradients that have
        arrived. Copies and pickles of the optimizer observe nothing until they are told to. Raises UnsupportedError
        for optimizers whose steps do not clip, and returns the same observer if there is one.
        """
        if not self._plan_class.clips:
            raise UnsupportedError(
                f"clipping is no part of a step of {type(self).__name__}: there is no use for a norm"
            )
        if self._observer is None:
            self._observer = GradientObserver(self)
        return self._observer

    # The step.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step. A closure computes the loss and the gradients first, and the loss is returned."""
        hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or profiler._is_profiler_enabled
        if hooks or base._global_optimizer_pre_hooks or base._global_optimizer_post_hooks:
            return self._hooked_step() if closure is None else self._hooked_step(closure)
        return self._bare_step(closure)

    step.hooked = True  # type: ignore[attr-defined] # torch need not wrap it, which costs more than a small step

    def _bare_step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        overflowed = getattr(self, "found_inf", None)  # by torch.amp.GradScaler, for one step
        if overflowed is None or not overflowed.item():
            self._take_step()
        return loss

    _hooked_step = base.Optimizer.profile_hook_step(_bare_step)

    def _take_step(self) -> None:
        plan = self._current_plan()
        try:
            plan.step(self, self._clip)
        except StaleError:
            self._prepare().step(self, self._clip)

    def _current_plan(self) -> Plan:
        plan = self._plan
        return plan if plan is not None and plan.is_current(self) else self._prepare()

    @torch.no_grad()
    def _prepare(self) -> Plan:
        self._convert_state()
        self._plan = self._plan_class(self, self._plan.kept if self._plan else frozenset())
        return self._plan

    def _step_by_torch(self, params: Mapping[int, list[Tensor]]) -> None:
        """Has torch's class step some parameters of some groups, with their state here."""
        assert self._torch_class
        other = self._torch_class.__new__(self._torch_class)
        groups = [{**self.param_groups[k], "params": p} for k, p in params.items()]
        other.__setstate__({"defaults": dict(self.defaults), "state": self.state, "param_groups": groups})
        type(other).step.__wrapped__(other)  # type: ignore[attr-defined] # without hooks, which were called

    def state_dict(self) -> dict[str, Any]:
        """As torch's, with the state itself, where the authors of an optimizer have no other form of it.

        With a state_dtype other than float32 it has that and state_seed beside state and groups.
        """
        if type(self)._export is LockstepOptimizer._export:
            return self._with_types(super().state_dict())
        self._convert_state()
        saved = self._with_types(super().state_dict())
        params = [p for group in self.param_groups for p in group["params"]]
        for group in saved["param_groups"]:
            for k in group["params"]:
                if saved["state"].get(k):
                    saved["state"][k] = dict(saved["state"][k])
                    self._export(group, params[k], saved["state"][k])
        return saved

    def _with_types(self, saved: dict[str, Any]) -> dict[str, Any]:
        if self.state_number != FLOAT32:
            saved |= {"state_dtype": c.STATE_TYPES[self.state_number], "state_seed": self.state_seed}
        return saved

    def _as_floats(self, saved: dict[str, Any]) -> dict[str, Any]:
        """A state dict whose state of fewer bits is of another type, with float32 in its place."""
        kind = c.state_type(saved["state_dtype"], "state_dtype of the state dict")
        if kind == self.state_number:
            c.checked_seed(saved.get("state_seed", 0), "state_seed of the state dict")
            return saved
        state = dict(saved["state"])
        names = {name: slot for slot, name in self._state_names.items()}
        for own, theirs in zip(self.param_groups, saved["param_groups"]):
            rule = self._rule({**own, **theirs})  # the options, and so the slots, are those that are loaded
            for param, k in zip(own["params"], theirs["params"]):
                if k in state:
                    state[k] = {
                        name: _floats(rule, names[name], kind, param, v) if _is_bytes(v) and name in names else v
                        for name, v in state[k].items()
                    }
        return {**saved, "state": state}

    def _export(self, group: dict[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        """Has copies of a parameter's state, which is not empty, and of its group be as their authors have them."""

    @torch.no_grad()
    def _convert_state(self) -> None:
        """Has state in the form of other optimizers, which load_state_dict may have brought, be as it is here."""
        states = self.watched_state()
        for group in self.param_groups if type(self)._convert is not LockstepOptimizer._convert else ():
            for param in group["params"]:
                state = dict.get(states, param, {})
                before = list(state.values())
                self._convert(group, param, state)
                states.touched |= len(before) != len(state) or not all(map(is_, before, state.values()))

    def _convert(self, group: Mapping[str, Any], param: Tensor, state: dict[str, Any]) -> None:
        """Has the state of a parameter in the form of another optimizer be as it is here."""

    @torch.no_grad()
    def state_values(self, param: Tensor) -> dict[str, Tensor]:
        """The state of a parameter that has taken a step, each buffer as float32: copies of what state_dtype packs."""
        plan = self._current_plan()
        if param not in plan.places():
            raise c.ArgumentError("param is none of those that are stepped here")
        return {self.state_name(slot): x for slot, x in plan.floats(plan.places()[param]).items()}

    # What a plan asks for.

    def watched_state(self) -> State:
        """The state, which a user may have replaced."""
        if not isinstance(self.state, State):
            self.state = State(dict, self.state)
            self.state.touched = True
        return self.state

    def _unscaling(self) -> float:
        """What gradients are to be multiplied by, where torch.amp.GradScaler says so for one step."""
        scale = getattr(self, "grad_scale", None)
        return 1.0 if scale is None else 1 / float(scale)

    def _title(self, k: int, j: int) -> str:
        """What parameter j of group k is called in errors."""
        names = self.param_groups[k].get("param_names")
        return f"parameter {names[j]}" if names else f"parameter {j} of group {k}"

    def state_name(self, slot: str) -> str:
        """What torch calls a slot."""
        return slot if slot in (MASTER, REST) else self._state_names[slot]

    def _state_of(self, e: Entry) -> list[Tensor]:
        """The state of a parameter, slot by slot, if it has any; notes its steps."""
        shapes = {self.state_name(slot): shape for slot, shape in e.slots.items()}
        names = list(shapes)
        state = {k: v for k, v in dict.get(self.watched_state(), e.param, {}).items() if v is not None}
        if e.has_master and "step" in state:  # of an optimizer that has none
            state.setdefault(MASTER, e.param.detach().float())
        if e.has_rest and "step" in state:  # of an optimizer that has none
            state.setdefault(REST, torch.zeros(e.shape.size, dtype=torch.int16))
        for other, has in ((MASTER, e.has_rest or e.is_rounded), (REST, e.has_master or e.is_rounded)):
            if has and other in state:
                of = "master_weights" if other == MASTER else "split_master"
                raise UnsupportedError(f"the state of {e.title} has a {other}, want that of an optimizer without {of}")
        e.begun = any(name in state for name in names) if names else "step" in state
        if not e.begun:
            return []
        if self._steps_if_unknown is not None:
            state.setdefault("step", self._steps_if_unknown)
        lacks = [name for name in [*names, "step"] if name not in state]
        if lacks:
            raise ValueError(f"the state of {e.title} has no {lacks[0]}, which {type(self).__name__} needs")
        e.steps = int(state["step"])
        for name in names:
            _check_state(e, name, local(state[name]), shapes[name])
        return [state[name] for name in names]


@lru_cache(maxsize=256)
def _check_splits(rule: c.Rule, way: str) -> None:
    """Refuses rules whose steps are no single pass over elements, as the library does."""
    none = c.pointers(0)
    try:
        c.Optimizer([rule], []).step_split(none, none, none)
    except c.ArgumentError as e:
        raise UnsupportedError(f"{way} is True, want False with these options: {e}") from e


def _is_bytes(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype is torch.uint8


def _floats(rule: c.Rule, slot: str, kind: int, param: Tensor, buffer: Tensor) -> Tensor:
    """The elements of bytes of state, in the order of a parameter."""
    shape = Shape.of(param)
    flat = floats_of(rule, slot, kind, shape.numel, buffer)
    return flat.as_strided(shape.size, shape.stride) if shape.is_dense() else flat.reshape(shape.size)


class _Held:
    """A tensor that torch does not see, which would cast it to its parameter's type."""

    def __init__(self, tensor: Tensor, param: Tensor) -> None:
        self._tensor, self._param = tensor, param

    def released(self) -> Tensor:
        dtype = torch.float32 if self._tensor.is_floating_point() else self._tensor.dtype
        return self._tensor.to(device=self._param.device, dtype=dtype)


def _hold_state(optimizer: base.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """A state dict in which the state of parameters of 16 bits is held, as the last hook before it is loaded."""
    saved = (k for group in state_dict["param_groups"] for k in group["params"])
    params = dict(zip(saved, (p for group in optimizer.param_groups for p in group["params"])))
    state = dict(state_dict["state"])
    packs = getattr(optimizer, "state_number", FLOAT32) != FLOAT32
    for k, param in params.items():
        if (param.dtype in HALVES or packs) and isinstance(state.get(k), dict):
            state[k] = {
                name: _Held(value, param) if isinstance(value, Tensor) and name != "step" else value
                for name, value in state[k].items()
            }
    return {**state_dict, "state": state}


def _release_state(state: dict[Any, Any]) -> None:
    for values in dict.values(state):  # without a note that somebody has looked
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, _Held):
                values[name] = value.released()


def _check_state(e: Entry, name: str, tensor: Tensor, shape: Shape) -> None:
    size = shape.size if tensor.dtype is shape.dtype else e.shape.size  # float32 becomes bytes where these are wanted
    why = refusal(tensor, shape.dtype)
    if name == REST and tensor.dtype is not torch.int16:
        why = f"is {tensor.dtype}, want torch.int16"
    if why is None and tuple(tensor.shape) != size:
        of = "that of its parameter, " if size == e.shape.size else ""
        why = f"has shape {tuple(tensor.shape)}, want {of}{size}"
    if why:
        raise UnsupportedError(f"the state {name} of {e.title} {why}")


def clip_grad_norm_and_step(
    optimizer: LockstepOptimizer,
    max_norm: float,
    *,
    error_if_nonfinite: bool = False,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """Clips the gradients of an optimizer's parameters by their global norm and takes a step, in one.

    The same as ``torch.nn.utils.clip_grad_norm_`` and ``optimizer.step()``, but gradients are read once more instead
    of written: they stay as they are. (Those of parameters that an optimizer leaves to torch are clipped in place.)
    What ``optimizer.observe_gradients()`` has observed is not read for its norm. Sharded parameters are refused: a
    process does not know their norms, and torch's function does. Under ZeRO the norm is that of the parameters which
    this process steps. Returns the norm before clipping. With error_if_nonfinite a norm that is infinite or NaN raises
    RuntimeError, and nothing is stepped.

    With a scaler the step is ``scaler.step(optimizer)``, whose gradients are unscaled before their norm is taken,
    in the step or by ``scaler.unscale_(optimizer)`` before; ``scaler.update()`` follows, as after any. A step that it
    skips has the norm NaN. Without one gradients must not be scaled, and those that overflow are not skipped.
    """
    clip = Clip(float(max_norm), error_if_nonfinite)
    _step_clipped(optimizer, clip, scaler)
    clip.check()
    return torch.tensor(clip.norm, dtype=torch.float32)


def clip_grad_value_and_step(
    optimizer: LockstepOptimizer, clip_value: float, *, scaler: torch.amp.GradScaler | None = None
) -> None:
    """Clips each element of the gradients of an optimizer's parameters and takes a step, in one.

    The same as ``torch.nn.utils.clip_grad_value_`` and ``optimizer.step()``, but gradients are clipped as they are
    read: they stay as they are. (Those of parameters that an optimizer leaves to torch are clipped in place.)
    With a scaler the step is ``scaler.step(optimizer)``, as clip_grad_norm_and_step has it; without one gradients
    must not be scaled. Raises ArgumentError for a clip_value that is no float32 above 0.
    """
    if not clip_value > 0:  # 0 is none where it is set
        raise c.ArgumentError(f"clip_value is {clip_value}, want a number above 0")
    _step_clipped(optimizer, ValueClip(float(clip_value)), scaler)


def _step_clipped(optimizer: LockstepOptimizer, clip: Clip | ValueClip, scaler: torch.amp.GradScaler | None) -> None:
    optimizer._clip = clip
    try:
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
    except BaseException:
        if scaler is not None:  # it leaves them behind, and its next step would multiply the scale by the old one
            vars(optimizer).pop("grad_scale", None)
            vars(optimizer).pop("found_inf", None)
        raise
    finally:
        optimizer._clip = None
