"""Groups of parameters with their options, which may change from step to step."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .. import _library as c
from ._options import is_cautious
from ._tensors import UnsupportedError
from ._walk import same_list

if TYPE_CHECKING:
    from ._optimizer import LockstepOptimizer


class _Reads(dict[str, Any]):
    """A group that notes which of its options are read."""

    def __init__(self, group: dict[str, Any]) -> None:
        super().__init__(group)
        self.noted: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        return self.noted.setdefault(key, super().__getitem__(key))

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            return default
        return self[key]


def _is_constant(value: Any) -> bool:
    """Whether an option can only change by another taking its place."""
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return isinstance(value, (int, float, str, type(None)))


class Group:
    """A group as it was, with the rule that its options make, or why they make none."""

    def __init__(self, optimizer: LockstepOptimizer, group: dict[str, Any]) -> None:
        """Raises what refuses the options, unless the group may go to torch."""
        self.group, self.params = group, list(group["params"])
        self._has = same_list(self.params)
        self.index = -1  # in the C optimizer
        self._derive(optimizer)

    def _derive(self, optimizer: LockstepOptimizer) -> None:
        """Makes the rule, and notes what it was made of."""
        reads = _Reads(self.group)
        self.rule: c.Rule | None = None
        self.refusal: str | None = None
        try:
            self.rule = optimizer._checked_rule(reads)
        except (c.ArgumentError, UnsupportedError) as e:
            if not optimizer.leaves_to_torch(self.group):
                raise
            self.refusal = str(e)
        self._cautious = is_cautious(self.group)
        self.slots = self.rule.slots if self.rule else ()
        others = [name for name in reads.noted if name != "lr"]
        self._get = itemgetter("lr", *others, "lr")  # two at least, so that it gives a tuple
        self._values = self._get(self.group)
        self._constant = all(map(_is_constant, self._values))

    def is_same(self, group: dict[str, Any]) -> bool:
        """Whether it is a group, with the parameters that it had."""
        return group is self.group and self._has(group["params"])

    def follow(self, optimizer: LockstepOptimizer, core: c.Optimizer) -> bool:
        """Has the C optimizer follow options that have changed; whether it can."""
        values = self._get(self.group)
        if self._constant and values == self._values:
            return True
        try:
            if self._constant and self.rule and isinstance(values[0], float) and values[1:-1] == self._values[1:-1]:
                core.set_lr(self.index, values[0])
                self._values = values
                return True
            return self._follow_all(optimizer, core)
        except c.ArgumentError:
            if not optimizer.leaves_to_torch(self.group):
                raise
            return False

    def _follow_all(self, optimizer: LockstepOptimizer, core: c.Optimizer) -> bool:
        before, slots, cautious = self.rule, self.slots, self._cautious
        self._derive(optimizer)
        if before is None or self.rule is None:
            return before is self.rule
        if (self.rule.name, self.slots, self._cautious) != (before.name, slots, cautious):
            return False
        core.set_rule(self.index, self.rule)
        return True
