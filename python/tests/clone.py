"""What the tests read of the clone that they lie in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import lockstep

ROOT = Path(__file__).parents[2]


def lines(first: str) -> Iterator[list[str]]:
    """The lines of what Go says of optimizers that begin with a word, without it."""
    for line in (ROOT / "c/test/optimizers.txt").read_text().splitlines():
        word, *rest = line.split()
        if word == first:
            yield rest


def rule(words: list[str]) -> lockstep.Rule:
    """A rule of a line: its name, then options and their values."""
    name, *options = words
    return lockstep.Rule(name, **{k: float.fromhex(v) for k, v in zip(options[::2], options[1::2])})


def published() -> dict[str, str]:
    """The hashes of the README's table, by what it calls the rule, without spaces."""
    rows = re.findall(r"^\| ([^|]+) \| `([0-9a-f]{64})` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return {name.replace(" ", "_"): value for name, value in rows}
