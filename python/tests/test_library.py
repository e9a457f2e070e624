"""Rules, presets, tables and errors, and what an import does."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from clone import ROOT, lines, rule

import lockstep
from lockstep import ArgumentError, LockstepError, Pool, Rule, TableError, _library, preset


def run(code: str, **environment: str) -> str:
    """What a new Python prints."""
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout


def test_an_import_is_small() -> None:
    code = "import sys, lockstep; print('numpy' in sys.modules, 'torch' in sys.modules)"
    assert run(code).split() == ["False", "False"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_an_import_starts_no_thread() -> None:
    code = "import os, lockstep; lockstep.rules(), lockstep.Pool(4); print(len(os.listdir('/proc/self/task')))"
    assert run(code).split() == ["1"]


def test_version() -> None:
    pyproject = (ROOT / "python/pyproject.toml").read_text()
    assert f'version = "{lockstep.__version__}"' in pyproject


PRESETS = list(lines("preset"))


@pytest.mark.parametrize("words", PRESETS, ids=[" ".join(w[:2]) for w in PRESETS])
def test_preset(words: list[str]) -> None:
    framework, name, *rest = words
    assert preset(framework, name) == rule(rest)


def test_all_presets_are_there() -> None:
    assert {(framework, name) for framework, name, *_ in PRESETS} == set(lockstep.presets())


REFUSED = list(lines("refused"))


@pytest.mark.parametrize("words", REFUSED, ids=[" ".join(w[:3]) for w in REFUSED])
def test_refused(words: list[str]) -> None:
    argument, _, *rest = words
    with pytest.raises(ArgumentError) as e:
        _library.Optimizer([rule(rest)], [])
    assert str(e.value).startswith(f"{argument} is ")


def test_rules_that_cannot_be() -> None:
    with pytest.raises(ArgumentError, match="'Adamm' is not a rule: there are .*Adam"):
        Rule("Adamm")
    with pytest.raises(ArgumentError, match="momentum is not an option of Adam, which has lr, .*beta1"):
        preset("torch", "Adam", momentum=0.9)
    with pytest.raises(ArgumentError, match="lr is 'fast', want a number"):
        Rule("Adam", lr="fast")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="torch's Adamm is not a preset: there are .*AdamW"):
        preset("torch", "Adamm")
    with pytest.raises(ArgumentError, match="jax's Adam is not a preset: there are keras, optax"):
        preset("jax", "Adam")


def test_a_rule_is_a_value() -> None:
    adam = preset("torch", "Adam", lr=0.5)
    assert adam == preset("torch", "Adam").replace(lr=0.5) != preset("torch", "Adam")
    assert len({adam, copy.deepcopy(adam), pickle.loads(pickle.dumps(adam))}) == 1
    assert repr(Rule("SGD", lr=0.5, maximize=True)) == "Rule('SGD', lr=0.5, maximize=True)"
    assert adam.options["maximize"] is False
    with pytest.raises(AttributeError):
        adam.name = "SGD"  # type: ignore[misc]
    with pytest.raises(TypeError):
        adam.options["lr"] = 1  # type: ignore[index]


def test_slots() -> None:
    assert preset("torch", "SGD").slots == ()
    assert preset("torch", "Adam").slots == ("m", "v")
    assert preset("torch", "Adam", amsgrad=True).slots == ("m", "v", "max_v")


def test_first_state() -> None:
    first = _library.first_state(preset("keras", "Adagrad"))
    assert first == {"accumulator": pytest.approx(0.1)}


def test_tables() -> None:
    tables = lockstep.available()
    assert tables[-1] == "portable"
    assert lockstep.isa() in tables
    assert lockstep.isa() in lockstep.info()


def test_a_table_is_forced() -> None:
    code = "import lockstep; print(lockstep.isa())"
    for table in lockstep.available():
        assert run(code, LOCKSTEP_ISA=table).split() == [table]


def test_a_table_that_cannot_run() -> None:
    code = """
import lockstep, lockstep.numpy as ln, numpy as np
for f in (lockstep.isa, lambda: ln.exp(np.ones(3, np.float32))):
    try: f()
    except lockstep.TableError as e: print(e)
"""
    assert run(code, LOCKSTEP_ISA="sse9").splitlines() == ["no table of this name in this build"] * 2
    with pytest.raises(TableError):
        _library.table("sse9")


def test_errors() -> None:
    assert issubclass(ArgumentError, LockstepError)
    assert issubclass(ArgumentError, ValueError)
    with pytest.raises(ArgumentError, match="threads is 0, want at least 1"):
        Pool(0)
    with pytest.raises(lockstep.OutOfMemoryError):
        _library.Optimizer([preset("torch", "Adam")], [_library.Tensor(1 << 42)])


def test_indices_are_checked() -> None:
    o = _library.Optimizer([preset("torch", "Adam")], [_library.Tensor(3)])
    for call in (lambda: o.lr(1), lambda: o.steps(1), lambda: o.state(-1, "m"), lambda: o.set_lr(1, 0.1)):
        with pytest.raises(ArgumentError, match="want less than 1"):
            call()
    assert o.state(0, "h") is None


def test_another_library_is_missing() -> None:
    code = """
try: import lockstep
except ImportError as e: print(e)
"""
    assert "/nowhere.so" in run(code, LOCKSTEP_LIBRARY="/nowhere.so")


def test_kernels() -> None:
    kernels = _library.kernels()
    assert kernels["Adam"].buffers == ("p", "g", "m", "v")
    assert kernels["Adam"].scalars[:5] == ("scale", "l2", "decay", "drop", "first")
    assert kernels["Sum"].lanes == ("sum",)
