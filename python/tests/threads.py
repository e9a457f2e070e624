"""The threads of this process, as Linux lists them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

counted = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")


def threads() -> set[str]:
    """All threads. Some may have ended, such as those of other tests, and be listed for a moment yet."""
    return set(os.listdir("/proc/self/task"))


def end(those: set[str]) -> bool:
    """Whether threads are listed no longer, soon."""
    for _ in range(6000):
        if not those & threads():
            return True
        time.sleep(0.01)
    return False
