"""Optimizers over NumPy arrays."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Optional, Union

import numpy as np

from .. import _library as c
from .. import _typed as typed
from .._library import AdaptiveClip, ArgumentError, Averaging, Lookahead, Noise, Pool, Progress, Rule
from .._typed import TypedState
from ._arrays import (
    Array,
    Arrays,
    Half,
    Indices,
    Rest,
    address,
    address_of,
    apart,
    bfloat16_address,
    half_address,
    rest_address,
    rows_of,
    typed_address,
    typed_part,
    view,
)
from ._functions import join_bf16, split_bf16

Policy = Literal["propagate", "skip", "refuse"]
_POLICIES = ("propagate", "skip", "refuse")
_SETTINGS = (
    *("grad_scale", "max_norm", "max_tensor_norm", "max_value", "policy", "zero_grads"),
    *("noise", "adaptive_clip", "centralize"),
)
_FOLLOWING = ("average", "lookahead")
_BESIDE = ("params_average", "params_slow")  # of what follows
Gradient = Union[Array, Half]
Gradients = Union[Gradient, Sequence[Optional[Gradient]], Mapping[str, Optional[Gradient]]]
Params = Union[Arrays, Half, Sequence[Half], Mapping[str, Half]]
Rests = Union[Rest, Sequence[Rest], Mapping[str, Rest]]
Estimates = Union[Array, Sequence[Optional[Array]], Mapping[str, Optional[Array]]]
_TYPES = ("float32", "bfloat16", "float16")  # in the order of the library


class Group:
    """Some of an optimizer's arrays, with one rule."""

    __slots__ = ("_index", "_owner", "names")

    def __init__(self, owner: Optimizer, index: int, names: tuple[str, ...]) -> None:
        """Is for Optimizer."""
        self._owner, self._index, self.names = owner, index, names

    @property
    def rule(self) -> Rule:
        """The rule with its options as they are now. Set it to change options, but not those that change the state."""
        return self._owner._rules[self._index]

    @rule.setter
    def rule(self, rule: Rule) -> None:
        if rule.name != self.rule.name:
            raise ArgumentError(f"rule is {rule}, want one of {self.rule.name}")
        with self._owner._lock:
            self._owner._optimizer.set_rule(self._index, rule)
            self._owner._rules[self._index] = rule

    @property
    def lr(self) -> float:
        """The learning rate of its rule. Set it from step to step."""
        return float(self.rule.options["lr"])

    @lr.setter
    def lr(self, lr: float) -> None:
        rule = self.rule.replace(lr=lr)
        with self._owner._lock:
            self._owner._optimizer.set_lr(self._index, lr)
            self._owner._rules[self._index] = rule

    def __repr__(self) -> str:
        return f"<{self.rule} of {', '.join(self.names)}>"


class Optimizer:
    """A rule over arrays of parameters, which its steps change in place.

    ``params`` is an array, a sequence of arrays or a mapping of names to arrays: float32, C-contiguous, aligned,
    writable, and apart from one another. They are kept, and may not be resized. State is the optimizer's own, at
    first as the rule says. What has two dimensions is a matrix to rules that have another state of these.

        opt = Optimizer({"weights": w, "bias": b}, preset("torch", "AdamW", lr=1e-3))
        opt.step({"weights": dw, "bias": db})

    With ``rests`` parameters take 4 bytes, and not the 6 of float32 and a copy in 16 bits. params are bfloat16 of
    ml_dtypes, or uint16 for its bits, with which a model computes, and rests, int16, what these lack of float32: at
    first zeros, or those of split_bf16. Steps are those of float32 parameters to the bit, which join_bf16 makes of the
    two. Rules of several passes over parameters are refused, as by step_rows, and so are step_rows, step_shards,
    copies, adaptive_clip and centralize. Both are parameters: state_dict has neither.

    With ``rounding``, a seed from 0 to 2⁶⁴-1, parameters take 2 bytes: bfloat16 alone, of which steps make float32
    block by block and which they round at random, so that parameters go as far as they should on average, where to
    nearest most would stay as they are. How follows from the seed, the array's place, its step and the element: the
    same bits as in Go and C. What is refused with rests is refused, and so are swap_average, eval and train. The seed
    is not in state_dict.

    Any thread may use it, one at a time: others wait. It can be copied and pickled, with its parameters.
    """

    def __init__(
        self, params: Params, rule: Rule, *, threads: int = 1, rests: Rests | None = None, rounding: int | None = None
    ) -> None:
        """Makes an optimizer of one rule; large steps are shared by so many threads, of which the caller's is one."""
        self._make([(_named(params, "params"), rule)], threads, rests, rounding)

    @classmethod
    def of_groups(
        cls,
        groups: Sequence[tuple[Params, Rule]],
        *,
        threads: int = 1,
        rests: Rests | None = None,
        rounding: int | None = None,
    ) -> Optimizer:
        """Makes an optimizer of arrays with several rules, or with several learning rates of one.

        Arrays without names are called "0", "1" and so on, counted through all groups; rests are of all.
        """
        self = cls.__new__(cls)
        named, first = [], 0
        for params, rule in groups:
            named.append((_named(params, "params", first), rule))
            first += len(named[-1][0])
        self._make(named, threads, rests, rounding)
        return self

    def _make(
        self,
        groups: Sequence[tuple[Mapping[str, Any], Rule]],
        threads: int,
        rests: Rests | None,
        rounding: int | None,
    ) -> None:
        if rests is not None and rounding is not None:
            raise ArgumentError("rests and rounding are given, want one of them: rests are what is rounded away")
        self.rounding = None if rounding is None else c.checked_seed(rounding, "rounding")
        arrays = [(name, array) for params, _ in groups for name, array in params.items()]
        self.params: Mapping[str, Any] = dict(arrays)
        if len(self.params) < len(arrays):
            raise ArgumentError("a name is in two groups, want different ones")
        self.rests = None if rests is None else _named(rests, "rests")
        if self.rests is not None and [*self.rests] != [*self.params]:
            raise ArgumentError(f"rests are of {', '.join(self.rests)}, want {', '.join(self.params)}")
        self._params, self._rests = c.pointers(len(arrays)), c.pointers(len(arrays))
        self._grads = c.pointers(len(arrays))
        self._params[:] = [self._address(array, _item("params", name)) for name, array in arrays]
        self._shapes = [array.shape for _, array in arrays]
        lower: Mapping[str, Any] = self.rests or {}
        self._rests[: len(lower)] = [
            rest_address(rest, _item("rests", name), self.params[name].shape, writable=True)
            for name, rest in lower.items()
        ]
        named = [(_item("params", name), array) for name, array in arrays]
        apart([*named, *((_item("rests", name), rest) for name, rest in lower.items())])
        tensors = [
            c.Tensor(a.size, k, n, columns=c.columns_of(a.shape))
            for k, (params, _) in enumerate(groups)
            for n, a in params.items()
        ]
        self._rules = [rule for _, rule in groups]
        self._optimizer = c.Optimizer(self._rules, tensors)
        if self.rests is not None:  # refused here, not by the first step
            none = c.pointers(0)
            c.Optimizer(self._rules, []).step_split(none, none, none)
        if self.rounding is not None:
            none = c.pointers(0)
            c.Optimizer(self._rules, []).step_bf16(none, none)
            self._optimizer.set_rounding(self.rounding)
        self._group_of = [t.group for t in tensors]
        self._labels = [_item("grads", name) for name, _ in arrays]
        self._names = [tuple(params) for params, _ in groups]
        self._index = {name: k for k, name in enumerate(self.params)}
        self._last: list[Gradient | None] = [None] * len(arrays)
        self._last_elements: list[int | None] = [None] * len(arrays)
        self._elements = [c.FLOAT32] * len(arrays)
        self._copies: Mapping[str, Half] = {}
        self._pool = None if threads == 1 else Pool(threads)
        self._grad_scale, self._max_norm = 1.0, 0.0
        self._max_tensor_norm = self._max_value = 0.0
        self._policy: Policy = "propagate"
        self._zero_grads = self._centralize = False
        self._noise: Noise | None = None
        self._adaptive_clip: AdaptiveClip | None = None
        self._table: str | None = None
        self._training, self._swapped = True, False
        self._average: Averaging | None = None
        self._lookahead: Lookahead | None = None
        self._observed: list[Gradient] = []  # which C points to until the step
        self._state_types: Mapping[str, str] = {}
        self._state_seed = 0
        self._lock = threading.Lock()

    def _address(self, array: Any, label: str) -> int:
        """Where parameters are."""
        if self.rests is None and self.rounding is None:
            return address(array, label, writable=True)
        return bfloat16_address(array, label, getattr(array, "shape", ()), writable=True)

    def _check_floats(self, what: str) -> None:
        if self.rests is not None or self.rounding is not None:
            of = "rests" if self.rounding is None else "rounding"
            raise ArgumentError(f"{what} with {of}, want parameters of float32")

    @contextmanager
    def _as_floats(self) -> Iterator[c.Pointers]:
        """Parameters as float32, for what reads and writes them so."""
        if self.rounding is not None:
            raise ArgumentError("parameters are of bfloat16 alone, want float32, or rests, to exchange them and back")
        if self.rests is None:
            yield self._params
            return
        joined = [join_bf16(self.params[name], rest) for name, rest in self.rests.items()]
        at = c.pointers(len(joined))
        at[:] = [address(x, "params") for x in joined]
        yield at
        for x, (name, rest) in zip(joined, self.rests.items()):
            halves, lower = split_bf16(x)
            self.params[name].view(np.uint16)[...] = halves
            rest.view(np.int16)[...] = lower

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, with their names, rules and learning rates."""
        return tuple(Group(self, k, names) for k, names in enumerate(self._names))

    @property
    def lr(self) -> float:
        """The learning rate of all groups. Set it from step to step."""
        rates = {group.lr for group in self.groups}
        if len(rates) != 1:
            raise ArgumentError(f"there are {len(rates)} learning rates, those of the groups: want one")
        return rates.pop()

    @lr.setter
    def lr(self, lr: float) -> None:
        for group in self.groups:
            group.lr = lr

    @property
    def grad_scale(self) -> float:
        """A factor of all gradients, before penalties are added: 1 at first."""
        return self._grad_scale

    @grad_scale.setter
    def grad_scale(self, scale: float) -> None:
        with self._lock:
            self._optimizer.set_grad_scale(scale)
            self._grad_scale = float(scale)

    @property
    def max_norm(self) -> float:
        """What all gradients together are clipped to by their norm, without being written: 0, at first, is no limit."""
        return self._max_norm

    @max_norm.setter
    def max_norm(self, max_norm: float) -> None:
        with self._lock:
            self._optimizer.set_max_norm(max_norm)
            self._max_norm = float(max_norm)
            if self._max_norm in (0, math.inf):
                self._observed = []

    @property
    def max_tensor_norm(self) -> float:
        """What the gradient of each array is clipped to by its own norm, as Keras' clipnorm does: 0 is no limit.

        There can be only one of this and max_norm.
        """
        return self._max_tensor_norm

    @max_tensor_norm.setter
    def max_tensor_norm(self, max_norm: float) -> None:
        with self._lock:
            self._optimizer.set_max_tensor_norm(max_norm)
            self._max_tensor_norm = float(max_norm)

    @property
    def max_value(self) -> float:
        """What the magnitude of each element of the gradients is clipped to, once norms are: 0 is no limit."""
        return self._max_value

    @max_value.setter
    def max_value(self, limit: float) -> None:
        with self._lock:
            self._optimizer.set_max_value(limit)
            self._max_value = float(limit)

    @property
    def policy(self) -> Policy:
        """What a step does with gradients that are not finite, or whose squares are not where the rule squares them.

        "propagate", at first, lets them through; "skip" leaves everything as it is; "refuse" does, and raises
        NonFiniteError. Gradients are judged as they are scaled and clipped, and read once more for it.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        number = _policy(policy)
        with self._lock:
            self._optimizer.set_policy(number)
            self._policy = policy

    @property
    def zero_grads(self) -> bool:
        """Whether steps leave zeros of the gradients that they have taken, for what adds to them next; not at first.

        Each block becomes zeros while it is in the cache. Gradients must be writable then, and apart from one
        another. A step that the policy skips makes zeros of them, too; an exception leaves them as they are.
        step_rows is refused.
        """
        return self._zero_grads

    @zero_grads.setter
    def zero_grads(self, on: bool) -> None:
        with self._lock:
            self._optimizer.set_zero_grads(bool(on))
            self._zero_grads = bool(on)
            self._last = [None] * len(self._last)  # of which nobody knows whether they may be written

    @property
    def noise(self) -> Noise | None:
        """What noise steps add to the gradients as their scale and clipping leave them: None, at first, is for none.

        What clipping, policy and norm look at is without it. step_rows is refused with it.
        """
        return self._noise

    @noise.setter
    def noise(self, noise: Noise | None) -> None:
        with self._lock:
            self._optimizer.set_noise(noise)
            self._noise = noise

    @property
    def adaptive_clip(self) -> AdaptiveClip | None:
        """What the gradient of each row is clipped to by its parameters, after other norms: None is no limit.

        Rows are those of arrays with two dimensions; all others are one. A change forgets what was observed.
        step_rows is refused with it.
        """
        return self._adaptive_clip

    @adaptive_clip.setter
    def adaptive_clip(self, clip: AdaptiveClip | None) -> None:
        if clip is not None:
            self._check_floats("adaptive_clip is set")
        with self._lock:
            self._optimizer.set_adaptive_clip(clip)
            self._adaptive_clip, self._observed = clip, []

    @property
    def centralize(self) -> bool:
        """Whether the mean of each row is taken off the gradient of arrays with two dimensions; not at first.

        It is before all that follows but for norms of whole gradients, as in optax.centralize over rows. A change
        forgets what was observed. step_rows is refused with it.
        """
        return self._centralize

    @centralize.setter
    def centralize(self, on: bool) -> None:
        if on:
            self._check_floats("centralize is set")
        with self._lock:
            self._optimizer.set_centralize(bool(on))
            self._centralize, self._observed = bool(on), []

    @property
    def grad_types(self) -> dict[str, str]:
        """The types of gradients by name: "float32", at first, "bfloat16" or "float16".

        A step makes them those of what it is given. To observe gradients of other types, set them before, to a mapping
        or to one type of all: what was observed is forgotten then.
        """
        return {name: _TYPES[self._elements[k]] for name, k in self._index.items()}

    @grad_types.setter
    def grad_types(self, types: str | Mapping[str, str]) -> None:
        by_name = dict.fromkeys(self.params, types) if isinstance(types, str) else types
        elements = list(self._elements)
        for name, of in by_name.items():
            if of not in _TYPES:
                raise ArgumentError(f"{_item('grad_types', name)} is {of!r}, want {', '.join(map(repr, _TYPES))}")
            elements[self._find(name)] = _TYPES.index(of)
        with self._lock:
            self._set_elements(elements)

    def _set_elements(self, elements: list[int]) -> None:
        if elements != self._elements:
            self._optimizer.set_grad_elements(elements)
            self._elements, self._observed = elements, []

    @property
    def copies(self) -> Mapping[str, Half]:
        """Arrays of 16 bits by name that steps make copies of the parameters, rounded to nearest even: none at first.

        They are float16, bfloat16 of ml_dtypes, or uint16 for bfloat16's bits, of their parameters' shapes, and are
        written in place, in the pass over memory that moves the parameters. An array that a step leaves out keeps its
        copy, and so do all where it is skipped. write_copies makes them before the first step, and where parameters
        have changed otherwise, as by swap_average, eval and train. They are no state.
        """
        return dict(self._copies)

    @copies.setter
    def copies(self, copies: Mapping[str, Half]) -> None:
        copies = dict(copies)
        if copies:
            self._check_floats("copies are set")
        at, elements = [0] * len(self._shapes), [c.FLOAT32] * len(self._shapes)
        for name, array in copies.items():
            k = self._find(name)
            at[k], elements[k] = half_address(array, _item("copies", name), self._shapes[k], writable=True)
        apart((_item("copies", name), array) for name, array in copies.items())
        with self._lock:
            self._optimizer.set_copies(at, elements)
            self._copies = copies

    def write_copies(self) -> None:
        """Makes the copies of all parameters that have one. Without any it is an ArgumentError."""
        with self._lock:
            self._optimizer.write_copies(self._params, self._pool)

    @property
    def state_types(self) -> dict[str, str]:
        """The types of state buffers that set_state_types has set, by slot: the others are "float32"."""
        return dict(self._state_types)

    @property
    def state_seed(self) -> int:
        """The seed by which state is rounded that is not float32."""
        return self._state_seed

    @property
    def state_bytes(self) -> int:
        """How many bytes all state takes, averages and slow parameters among it."""
        return self._optimizer.state_bytes()

    def set_state_types(self, types: Mapping[str, str], seed: int = 0) -> None:
        """Has steps keep state in fewer bits, by slot: "bfloat16", "float8", or "float32" as all is at first.

            opt.set_state_types({"m": "bfloat16", "v": "float8"}, seed=1)

        What is in the buffers is converted: best before the first step. "float8" is 8 bits for each element and a
        float32 for each 256. Elements are rounded at random, so that means that move slowly do move, by a counter-based
        generator: the same bits for any number of threads, and again for a step that is taken again from a state_dict.
        Arithmetic is float32. Arrays of at most 4096 elements stay float32.

        It may be means and sums of gradients or of squares, of a rule that takes a step in one pass over elements and
        makes no parameters of its state: Adam, Adamax ("m"), NAdam, RAdam, LaProp, AdaBelief, Yogi, Adan, AdEMAMix,
        ADOPT, Momentum, Lion, SignSGD, AdaGrad, Adadelta, RMSprop without centered, and others like them. Others raise
        ArgumentError, as do adaptive_clip and centralize with such state, and step_rows. Where several processes have
        parts of the parameters, each wants a seed of its own.
        """
        numbers = {slot: c.state_type(of, _item("types", slot)) for slot, of in types.items()}
        c.checked_seed(seed)
        with self._lock:
            self._optimizer.set_state_types(numbers, seed)
            self._state_types = {slot: of for slot, of in types.items() if of != "float32"}
            self._state_seed = seed

    @property
    def skipped(self) -> int:
        """How many steps were skipped or refused."""
        return self._optimizer.skipped()

    @property
    def non_finite(self) -> int:
        """How many NaN and infinities there were in the last step's gradients, if the policy looks for them."""
        return self._optimizer.non_finite()

    @property
    def norm(self) -> float:
        """The norm of the last step's gradients, scaled, before clipping, if there is a max_norm."""
        return self._optimizer.norm()

    @property
    def average(self) -> Averaging | None:
        """How each step keeps an average of the parameters, of all arrays and also of those without a gradient.

        None, at first, keeps none. An average that is kept already goes on, its number too, with what is set; None
        gives it up. state has it as "params_average" once there is one, and swap_average puts it in place of the
        parameters. step_rows is refused with one.
        """
        return self._average

    @average.setter
    def average(self, average: Averaging | None) -> None:
        with self._lock:
            self._optimizer.set_average(average)
            self._average = average

    @property
    def averages(self) -> int:
        """How many averages have been taken since there is one, the parameters from the start included."""
        return self._optimizer.progress().averages

    def swap_average(self) -> None:
        """Exchanges the parameters with their averages, for an evaluation, and the next time back.

        Between the two a step, state_dict, a copy, eval, train and a change of average raise ArgumentError.
        """
        with self._lock, self._as_floats() as params:
            self._optimizer.swap_average(params, self._pool)
            self._swapped = not self._swapped

    @property
    def lookahead(self) -> Lookahead | None:
        """How slow parameters follow those that steps move: None, at first, is for none.

        They begin as the parameters before the first step, and are those to evaluate: state has them as
        "params_slow", and after a step whose number is a multiple of period the parameters are they. An average
        takes the parameters as they are then. step_rows is refused with it.
        """
        return self._lookahead

    @lookahead.setter
    def lookahead(self, lookahead: Lookahead | None) -> None:
        with self._lock:
            self._optimizer.set_lookahead(lookahead)
            self._lookahead = lookahead

    @property
    def table(self) -> str | None:
        """The table of kernels that is forced for this optimizer, such as "avx2"; None is the one in use."""
        return self._table

    @table.setter
    def table(self, name: str | None) -> None:
        with self._lock:
            self._optimizer.set_table(name)
            self._table = name

    def step(self, grads: Gradients) -> None:
        """Takes a step: gradients are as params were given, each of its parameters' shape.

        Where one is None, or missing from a mapping, its array is left out, and so is its count of steps. They are
        only read, and may overlap one another, but no parameters. Those of float16, of ml_dtypes.bfloat16, and of
        uint16, which are taken for bfloat16's bits, are read as they are, with the bits of the same numbers as
        float32. Raises ArgumentError, and has done nothing.
        """
        in_order = self._in_order(grads)
        with self._lock:
            self._point(in_order)
            observed, self._observed = self._observed, []
            try:
                if self.rounding is not None:
                    self._optimizer.step_bf16(self._params, self._grads, self._pool)
                elif self.rests is None:
                    self._optimizer.step(self._params, self._grads, self._pool)
                else:
                    self._optimizer.step_split(self._params, self._rests, self._grads, self._pool)
            except BaseException:  # an interrupt, too: C may still point to them
                self._observed += observed
                raise

    def step_shards(self, shards: Sequence[Gradients]) -> None:
        """Takes a step by gradients that are sums: each shard is as the gradients of step, such as those of a thread.

        They are added within the step, block by block, in the order of the shards and in float32: the bits are those
        of step with ``(shards[0] + shards[1]) + shards[2]``, and so on. None of a shard, or what a mapping lacks, adds
        nothing, and an array without any is left out. A grad_scale makes a mean of the sum. What was observed is
        refused. Raises ArgumentError, and has done nothing.
        """
        self._check_floats("step_shards is called")
        if isinstance(shards, np.ndarray) or not isinstance(shards, Sequence):
            raise ArgumentError(f"shards is a {type(shards).__name__}, want a sequence of gradients")
        in_order = [self._in_order(shard, f"shards[{j}]") for j, shard in enumerate(shards)]
        with self._lock:
            elements: dict[int, int] = {}
            pointers = [self._pointers(shard, f"shards[{j}]", elements) for j, shard in enumerate(in_order)]
            self._set_elements([elements.get(k, of) for k, of in enumerate(self._elements)])
            self._optimizer.step_shards(self._params, pointers, self._pool)

    def _pointers(self, grads: Sequence[Gradient | None], argument: str, elements: dict[int, int]) -> c.Pointers:
        """Where the gradients of a shard are, whose types must be those of other shards."""
        pointers = c.pointers(len(self._shapes))
        for k, (name, grad) in enumerate(zip(self.params, grads)):
            if grad is not None:
                label = _item(argument, name)
                pointers[k], of = typed_address(grad, label, self._shapes[k], writable=self._zero_grads)
                if elements.setdefault(k, of) != of:
                    raise ArgumentError(f"{label} is of {_TYPES[of]}, want {_TYPES[elements[k]]}, as shards before it")
        return pointers

    def observe(self, name: str, grad: Gradient, *, first: int | None = None) -> None:
        """Takes the gradient of an array for the next step as it arrives, which max_norm clips to then.

        Once all have arrived, the step has their norm without reading them again, with the same bits in any order.
        With ``first``, ``grad`` is of any shape: a part of the gradient from that element on, in C's order. Threads
        may observe at the same time. What is observed must stay as it is until the step, which raises ArgumentError
        if a part of its gradients is missing, or one was observed that it is not given. A part that overlaps one
        before it is an ArgumentError, as are parts without a max_norm. After a step, also one that the policy skipped
        or refused, what was observed is forgotten, and the next gradients can arrive. They are of the type that
        grad_types says.
        """
        k = self._find(name)
        if first is None:
            at, of = typed_address(grad, self._labels[k], self._shapes[k])
        else:
            at, of = typed_part(grad, self._labels[k])
            if first < 0:
                raise ArgumentError(f"first is {first}, want at least 0")
        if of != self._elements[k]:
            raise ArgumentError(
                f"{self._labels[k]} is of {_TYPES[of]}, want {_TYPES[self._elements[k]]}: see grad_types"
            )
        try:
            self._optimizer.observe(k, first or 0, grad.size, at)
        finally:  # whatever interrupts it; and not before, so that a step that ends meanwhile leaves it here
            self._observed.append(grad)

    def forget_observed(self) -> None:
        """Lets go of what was observed since the last step."""
        with self._lock:
            observed, self._observed = self._observed, []
            try:
                self._optimizer.forget_observed()
            except BaseException:
                self._observed += observed
                raise

    @property
    def training(self) -> bool:
        """Whether parameters are what a step wants: see eval."""
        return self._training

    def eval(self) -> None:
        """Makes the parameters what is to be evaluated and shipped.

        Those of the Schedule-Free rules become the mean of where they have been, and those of other
        rules stay. Until train, which makes them again what a step wants, a step, state_dict, a copy and a change of
        a rule raise ArgumentError. A parameter between two powers of two comes back to the bit if its mean is not
        beyond the larger one, and else within half of the mean's last bit.
        """
        with self._lock, self._as_floats() as params:
            self._optimizer.eval(params)
            self._training = False

    def train(self) -> None:
        """Makes parameters that eval has turned again what a step wants."""
        with self._lock, self._as_floats() as params:
            self._optimizer.train(params)
            self._training = True

    def update_hessian(self, estimates: Estimates) -> None:
        """Moves the estimates that Sophia divides by towards new ones, ``h ← h + (1-beta2)·(estimate - h)``.

        They are given as the gradients of a step: None, or missing from a mapping, is for an array that keeps its
        own, such as those of other rules. The caller makes them, every ten steps or so, of gradients at the
        parameters of the time: by Hutchinson's estimator, or as squares of gradients for labels that the model has
        drawn. Raises ArgumentError, and has done nothing.
        """
        pointers = c.pointers(len(self._shapes))
        in_order: Sequence[Any] = self._in_order(estimates, "estimates")
        for k, (name, estimate) in enumerate(zip(self.params, in_order)):
            if estimate is not None:
                pointers[k] = address_of(estimate, _item("estimates", name), self._shapes[k])
        with self._lock:
            self._optimizer.update_hessian(pointers)

    def step_rows(self, indices: Indices, grads: Array) -> None:
        """Takes a step on some rows alone of the only array, such as an embedding table of which a batch uses few.

        indices are rows, int32 or int64, in any order; grads has the gradient of each, ``(len(indices), *shape[1:])``.
        Where a row appears more than once its gradients are added up first, in order of appearance. A row that is
        left out stays as it is, as in ``torch.optim.SparseAdam``: its state does not fade, and no decay applies to
        it. max_norm clips by the norm of the sums. Raises ArgumentError, and has done nothing, for an index that is
        none, with its place; where max_tensor_norm, max_value or a policy is set; for arrays that have not two
        dimensions, of a rule with a number of state for each row; and for rules of several passes, which look at
        whole arrays: LAMB, LARS, NovoGrad, StableAdamW, Prodigy, DAdaptAdamW, Muon, SOAP and Adafactor, and any with
        cautious_update.
        """
        self._check_floats("step_rows is called")
        if len(self._shapes) != 1 or not self._shapes[0]:
            raise ArgumentError(f"params is {len(self._shapes)} arrays, want one, of rows, to take steps on some")
        width = self._shapes[0][1:]
        rows = rows_of(indices, "indices")
        at = address_of(grads, "grads", (rows.length, *width))
        with self._lock:
            self._set_elements([c.FLOAT32])
            self._optimizer.step_rows(self._params[0] or 0, math.prod(width), rows, at, self._pool)

    def _in_order(self, grads: Gradients, argument: str = "grads") -> Sequence[Gradient | None]:
        if isinstance(grads, np.ndarray):
            grads = (grads,)
        elif not isinstance(grads, (list, tuple)) and isinstance(grads, Mapping):
            for name in grads.keys() - self.params.keys():
                raise ArgumentError(f"{_item(argument, name)} is of no parameters, want {', '.join(self.params)}")
            grads = [grads.get(name) for name in self.params]
        if len(grads) != len(self._last):
            raise ArgumentError(f"len({argument}) is {len(grads)}, want the number of params, {len(self._last)}")
        return grads

    def _point(self, grads: Sequence[Gradient | None]) -> None:
        """Has the addresses and types of gradients, looking only at those that are not the last step's."""
        for k, (grad, last) in enumerate(zip(grads, self._last)):
            if grad is not last:
                at, of = None, None
                if grad is not None:
                    at, of = typed_address(grad, self._labels[k], self._shapes[k], writable=self._zero_grads)
                self._grads[k] = at
                self._last[k], self._last_elements[k] = grad, of
        if self._last_elements != self._elements:
            self._set_elements([own if of is None else of for own, of in zip(self._elements, self._last_elements)])

    def steps(self, name: str) -> int:
        """How many steps an array has taken, which is what corrects its bias."""
        return self._optimizer.steps(self._find(name))

    def set_steps(self, name: str, steps: int) -> None:
        """Sets how many steps an array has taken."""
        with self._lock:
            self._optimizer.set_steps(self._find(name), steps)

    def state(self, name: str) -> dict[str, Array]:
        """The state of an array by slot: no copies, and to write to them changes it.

        What is not float32 (set_state_types) is a copy as float32, read-only. Each has the array's shape, or one of its
        own: see Rule.state_shapes. Then come "params_average" and "params_slow", where there are an average and slow
        parameters: see average and lookahead.
        """
        k = self._find(name)
        shapes = self._state_shapes(k) | dict.fromkeys(self._beside(self._optimizer.progress()), self._shapes[k])
        return {slot: self._view(k, slot, shape) for slot, shape in shapes.items()}

    @staticmethod
    def _beside(progress: Progress) -> list[str]:
        """The names of what there is beside the rules' state."""
        return [name for name, begun in zip(_BESIDE, (progress.averages, progress.slow)) if begun]

    def _state_shapes(self, k: int) -> dict[str, tuple[int, ...]]:
        return self._rules[self._group_of[k]].state_shapes(self._shapes[k])

    def _type_of(self, k: int, slot: str) -> str:
        return c.STATE_TYPES[self._optimizer.state_type(k, slot)]

    def _view(self, k: int, slot: str, shape: tuple[int, ...]) -> Array:
        if self._type_of(k, slot) != "float32":
            copy = np.empty(shape, np.float32)
            self._optimizer.read_floats(k, slot, copy.ctypes.data)
            copy.flags.writeable = False
            return copy
        return view(self._optimizer.state(k, slot) or 0, shape, self._optimizer)

    def _find(self, name: str) -> int:
        if name not in self._index:
            raise ArgumentError(f"name is {name!r}, want one of {', '.join(self.params)}")
        return self._index[name]

    def state_dict(self) -> dict[str, Any]:
        """Copies all but the parameters: rules and their options, and by name the steps and the state of each array."""
        self._check_own()
        progress = self._optimizer.progress()
        return {
            "groups": [
                {"rule": rule.name, "options": dict(rule.options), "state": self._optimizer.state_name(k)}
                for k, rule in enumerate(self._rules)
            ],
            "grad_scale": self._grad_scale,
            "max_norm": self._max_norm,
            "max_tensor_norm": self._max_tensor_norm,
            "max_value": self._max_value,
            "policy": self._policy,
            "zero_grads": self._zero_grads,
            "noise": self._noise,
            "adaptive_clip": self._adaptive_clip,
            "centralize": self._centralize,
            "state_types": dict(self._state_types),
            "state_seed": self._state_seed,
            "average": self._average,
            "lookahead": self._lookahead,
            "steps": progress.steps,
            "averages": progress.averages,
            "arrays": {name: self._saved(name, k) for name, k in self._index.items()},
        }

    def _check_own(self) -> None:
        if not self._training:
            raise ArgumentError("the mode of the parameters is eval, want that of train, to which state belongs")
        if self._swapped:
            raise ArgumentError("the parameters are swapped for their averages, want those of the last step")

    def _saved(self, name: str, k: int) -> dict[str, Any]:
        shapes = self._state_shapes(k) | dict.fromkeys(self._beside(self._optimizer.progress()), self._shapes[k])
        state = {slot: self._read(k, slot, shape) for slot, shape in shapes.items()}
        return {"group": self._group_of[k], "steps": self.steps(name), "state": state}

    def _read(self, k: int, slot: str, shape: tuple[int, ...]) -> Array | TypedState:
        """A copy of a state buffer."""
        of = self._type_of(k, slot)
        if of != "float32":
            return typed.read(self._optimizer, k, slot, of, shape)
        return self._view(k, slot, shape).copy()

    def _write(self, k: int, slot: str, shape: tuple[int, ...], saved: Array | TypedState) -> None:
        """Copies to a state buffer what _read has made, once it is checked."""
        if isinstance(saved, TypedState):
            typed.write(self._optimizer, k, slot, saved)
        else:
            self._view(k, slot, shape)[...] = saved

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on from a state_dict of an optimizer of the same arrays and rules.

        Settings that it lacks stay as they are: those of lockstep.checkpoint's files are grad_scale and max_norm,
        and all others are the optimizer's own, average and lookahead among them. Raises ArgumentError if it is of
        others, or has a max_norm beside the optimizer's own max_tensor_norm, or averages or slow parameters that the
        optimizer does not keep, and has changed nothing then.
        """
        rules = list(self._loadable(saved))
        self._check_own()
        settings = self._settings(saved)
        self.max_norm = self.max_tensor_norm = 0  # of which only one can be set
        self.adaptive_clip, self.centralize = None, False  # which types of state may forbid
        self.set_state_types(saved.get("state_types", self._state_types), saved.get("state_seed", self._state_seed))
        for name, value in settings.items():
            setattr(self, name, value)
        for group, rule in zip(self.groups, rules):
            group.rule = rule
        beside = _saved_beside(saved)
        for name, entry in saved["arrays"].items():
            self.set_steps(name, entry["steps"])
            k = self._index[name]
            for slot, shape in (self._state_shapes(k) | dict.fromkeys(beside, self._shapes[k])).items():
                self._write(k, slot, shape, entry["state"][slot])
        steps = saved.get("steps", max((entry["steps"] for entry in saved["arrays"].values()), default=0))
        with self._lock:
            self._optimizer.set_progress(Progress(steps, saved.get("averages", 0), _BESIDE[1] in beside))

    def _loadable(self, saved: Mapping[str, Any]) -> Iterator[Rule]:
        """The rules of a state_dict, once all of it is checked."""
        if len(saved["groups"]) != len(self._rules) or saved["arrays"].keys() != self.params.keys():
            raise ArgumentError(
                f"the state is of {len(saved['groups'])} groups with {', '.join(saved['arrays'])}, "
                f"want {len(self._rules)} with {', '.join(self.params)}"
            )
        for k, group in enumerate(saved["groups"]):
            if (own := self._optimizer.state_name(k)) != group["state"]:
                raise ArgumentError(f"the state of group {k} is of {group['state']}, want {own}")
        beside = _saved_beside(saved)
        types = self._check_types(saved)
        for name, entry in saved["arrays"].items():
            self._check_saved(name, entry, beside, types)
        self._check_settings(saved)
        self._check_following(saved, beside)
        # A rule that is refused is refused here: it changes nothing to set what is set.
        for group in saved["groups"]:
            rule = Rule(group["rule"], **group["options"])
            c.Optimizer([rule], [])
            yield rule

    def _settings(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a state_dict, and of what it lacks the optimizer's own."""
        return {name: saved.get(name, getattr(self, name)) for name in (*_SETTINGS, *_FOLLOWING)}

    def _check_types(self, saved: Mapping[str, Any]) -> Mapping[str, str]:
        """The types of state in a state_dict, which these rules can have."""
        types: Mapping[str, str] = saved.get("state_types", self._state_types)
        c.checked_seed(saved.get("state_seed", self._state_seed), "state_seed")
        numbers = {slot: c.state_type(of, f"state_types[{slot!r}]") for slot, of in types.items()}
        settings = self._settings(saved)
        trial = c.Optimizer(self._rules, [])
        trial.set_state_types(numbers, 0)
        if types and (settings["adaptive_clip"] is not None or settings["centralize"]):
            raise ArgumentError(
                f"state_types is {dict(types)} in the state, want none with adaptive_clip or centralize"
            )
        return types

    def _check_settings(self, saved: Mapping[str, Any]) -> None:
        settings = self._settings(saved)
        settings["policy"] = _policy(settings["policy"])
        trial = c.Optimizer(self._rules[:1], [])
        for name, value in settings.items():
            getattr(trial, f"set_{name}")(value)

    def _check_following(self, saved: Mapping[str, Any], beside: Sequence[str]) -> None:
        settings, averages, steps = self._settings(saved), saved.get("averages", 0), saved.get("steps", 0)
        for name, setting in zip(_BESIDE, _FOLLOWING):
            if name in beside and settings[setting] is None:
                raise ArgumentError(f"the state has {name}, want none: the optimizer's {setting} is None")
        for name, n in (("averages", averages), ("steps", steps)):
            if type(n) is not int or n < 0:
                raise ArgumentError(f"{name} is {n!r} in the state, want at least 0")
        if (averages > 0) != (_BESIDE[0] in beside):
            raise ArgumentError(f"averages is {averages} in the state, want above 0 with {_BESIDE[0]}, and 0 without")

    def _check_saved(
        self, name: str, entry: Mapping[str, Any], beside: Sequence[str], types: Mapping[str, str]
    ) -> None:
        k = self._index[name]
        if entry["group"] != self._group_of[k]:
            raise ArgumentError(f"{name} is of group {entry['group']} in the state, want {self._group_of[k]}")
        own = self._state_shapes(k) | dict.fromkeys(beside, self._shapes[k])
        if not (isinstance(entry["steps"], int) and entry["steps"] >= 0):
            raise ArgumentError(f"the steps of {name} are {entry['steps']!r} in the state, want at least 0")
        if [*entry["state"]] != [*own]:
            raise ArgumentError(f"the state of {name} has {', '.join(entry['state'])}, want {', '.join(own)}")
        small, rule = math.prod(self._shapes[k]) <= c.STATE_SMALL, self._rules[self._group_of[k]]
        for slot, array in entry["state"].items():
            of = "float32" if small or slot in beside else types.get(slot, "float32")
            title = f"the state {slot} of {name}"
            if of == "float32":
                address_of(array, title, own[slot])
            else:
                typed.check(array, title, own[slot], of, squares=slot in typed.squares(rule))

    def __getstate__(self) -> dict[str, Any]:
        groups = [({name: self.params[name] for name in group.names}, group.rule) for group in self.groups]
        threads = 1 if self._pool is None else self._pool.threads
        state = {"groups": groups, "threads": threads, "table": self._table, "state": self.state_dict()}
        return {**state, "copies": dict(self._copies), "rests": self.rests, "rounding": self.rounding}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._make(
            state["groups"], state["threads"], state.get("rests"), state.get("rounding")
        )  # which older pickles lack
        self.table = state["table"]
        self.load_state_dict(state["state"])
        self.copies = state.get("copies", {})  # which older pickles lack

    def __repr__(self) -> str:
        return f"<lockstep.numpy.Optimizer {', '.join(map(repr, self.groups))}>"


def _saved_beside(saved: Mapping[str, Any]) -> list[str]:
    """What a state_dict has beside the rules' state, of its first array."""
    first: Mapping[str, Any] = next(iter(saved["arrays"].values()), {"state": {}})
    return [name for name in _BESIDE if name in first["state"]]


def _policy(policy: Any) -> int:
    """The number that a policy has in C."""
    if policy not in _POLICIES:
        raise ArgumentError(f"policy is {policy!r}, want {', '.join(map(repr, _POLICIES))}")
    return _POLICIES.index(policy)


def _named(params: Params | Rests, argument: str, first: int = 0) -> Mapping[str, Any]:
    """Arrays by name: their own, or a number."""
    if isinstance(params, Mapping):
        return dict(params)
    if isinstance(params, np.ndarray):
        params = [params]
    if not isinstance(params, Sequence) or isinstance(params, str):
        raise ArgumentError(
            f"{argument} is a {type(params).__name__}, want an array, a sequence or a mapping of arrays"
        )
    return {str(first + k): array for k, array in enumerate(params)}


def _item(argument: str, name: str) -> str:
    return f"{argument}[{name if name.isdigit() else repr(name)}]"
