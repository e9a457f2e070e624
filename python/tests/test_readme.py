"""The README's programs run, and print what it says."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    for kind, text in blocks:
        if "import lockstep.torch" in text and not find_spec("torch"):
            continue
        if kind == "python":
            capsys.readouterr()
            exec(compile(text, str(README), "exec"), names)
        else:
            assert capsys.readouterr().out == text
    assert [kind for kind, _ in blocks].count("text") == 1
