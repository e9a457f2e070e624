"""The mapping of parameters to their state, which tells whether anybody has looked into it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from torch import Tensor


class State(defaultdict[Tensor, Any]):
    """A defaultdict of dicts that notes whether the dicts may have been handed out.

    To compare the state of every parameter with what it was costs as much as to find its gradient, and is needless
    where nobody can have changed it.
    """

    touched = False

    def __reduce__(self) -> Any:
        return defaultdict, (dict,), None, None, iter(dict.items(self))


def _noting(name: str) -> Callable[..., Any]:
    method = getattr(defaultdict, name)

    def noted(self: State, *args: Any, **kwargs: Any) -> Any:
        self.touched = True
        return method(self, *args, **kwargs)

    return noted


for _name in (
    *("__getitem__", "get", "values", "items", "pop", "popitem", "setdefault", "copy", "__iter__"),
    *("__setitem__", "__delitem__", "clear", "update", "__or__", "__ror__", "__ior__"),
):
    setattr(State, _name, _noting(_name))


def of(state: State, param: Tensor) -> dict[str, Any]:
    """The state of a parameter, which begins empty, without a note that somebody has looked."""
    found: dict[str, Any] | None = dict.get(state, param)
    if found is None:
        dict.__setitem__(state, param, found := {})
    return found


def values(state: State) -> Any:
    """What is in the states of all parameters, in their order."""
    for s in dict.values(state):
        yield from s.values() if isinstance(s, dict) else (s,)
