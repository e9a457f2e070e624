"""The examples of trainers that take our optimizers: they train as with PyTorch's own, and go on from a checkpoint.

Each runs where its package is installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from lockstep.torch import AdamW  # noqa: E402

from .ranks import launch  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "examples"


def _example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _same(want: Any, got: Any) -> None:
    for p, q in zip(want.parameters(), got.parameters()):
        assert torch.equal(p, q)


def _close(want: Any, got: Any) -> None:
    """Two AdamW with other roundings: a small part of the way that the parameters went."""
    for p, q in zip(want.parameters(), got.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-4)


def _steps(optimizer: Any) -> set[int]:
    return {int(state["step"]) for state in optimizer.state.values()}


def test_transformers_trainer(tmp_path: Path) -> None:
    """Trainer(optimizer_cls_and_kwargs=...)."""
    pytest.importorskip("transformers")
    example = _example("transformers_trainer")
    resumed = example.train(str(tmp_path / "resumed"))
    straight = _trained(example.trainer(str(tmp_path / "a"), AdamW, example.STEPS))
    theirs = _trained(example.trainer(str(tmp_path / "b"), torch.optim.AdamW, example.STEPS))
    _same(straight.model, resumed.model)
    _close(theirs.model, resumed.model)
    inner = resumed.optimizer.optimizer
    assert type(inner) is AdamW
    assert _steps(inner) == {example.STEPS}
    losses = [line["loss"] for line in straight.state.log_history if "loss" in line]
    assert losses[-1] < 0.8 * losses[0]


def _trained(trainer: Any) -> Any:
    trainer.train()
    return trainer


def test_accelerate(tmp_path: Path) -> None:
    """Accelerator.prepare, accumulated gradients, clipping, save_state."""
    pytest.importorskip("accelerate")
    example = _example("accelerate_loop")
    (model, optimizer, *_), losses = example.train(str(tmp_path / "ours"))
    accelerator, straight = example.prepare(AdamW)
    example.run(accelerator, straight, 0, 2 * example.STEPS)
    (theirs, *_), _ = example.train(str(tmp_path / "theirs"), torch.optim.AdamW)
    _same(straight[0], model)
    _close(theirs, model)
    assert type(optimizer.optimizer) is AdamW
    assert _steps(optimizer.optimizer) == {example.STEPS}
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])


def test_lightning(tmp_path: Path) -> None:
    """A LightningModule, whose trainer calls step with a closure, and its checkpoint."""
    pytest.importorskip("lightning")
    example = _example("lightning_module")
    resumed = example.train(str(tmp_path / "ours"))
    straight = example.fit(str(tmp_path / "a"), AdamW, 4)
    theirs = example.fit(str(tmp_path / "b"), torch.optim.AdamW, 4)
    _same(straight, resumed)
    assert len(resumed.losses) == len(straight.losses) // 2  # it did not begin anew
    _close(theirs, resumed)
    assert type(resumed.optimizers(use_pl_optimizer=False)) is AdamW
    assert resumed.losses[-1] < 0.8 * straight.losses[0]


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_offload(stage: int) -> None:
    """ZeRO-Offload with the flags that let it take another optimizer."""
    pytest.importorskip("deepspeed")
    launch(2, _offload, stage)


def test_accelerate_does_not_swap_for_deepspeed() -> None:
    """Accelerate puts DeepSpeed's Adam in place of any optimizer, unless zero_force_ds_cpu_optimizer is false."""
    pytest.importorskip("deepspeed")
    pytest.importorskip("accelerate")
    launch(1, _offload_through_accelerate)


def _offload_through_accelerate() -> None:
    example = _example("deepspeed_offload")
    accelerate = importlib.import_module("accelerate")
    plugin = accelerate.DeepSpeedPlugin(hf_ds_config=example.CONFIG)
    accelerator = accelerate.Accelerator(deepspeed_plugin=plugin)
    model = example.build()
    data = DataLoader(TensorDataset(*example.batch(0)), batch_size=16)
    _, optimizer, _ = accelerator.prepare(model, AdamW(model.parameters()), data)
    assert type(optimizer.optimizer.optimizer) is AdamW


def _offload(stage: int) -> None:
    example = _example("deepspeed_offload")
    example.CONFIG["zero_optimization"]["stage"] = stage
    ours, losses = example.train()
    theirs, _ = example.train(torch.optim.AdamW)
    with example.deepspeed.zero.GatheredParameters([*theirs.module.parameters(), *ours.module.parameters()]):
        assert all(p.numel() for p in ours.module.parameters())
        _close(theirs.module, ours.module)
    inner = ours.optimizer.optimizer
    assert type(inner) is AdamW
    assert _steps(inner) == {example.STEPS}
    assert losses[-1] < 0.9 * losses[0]
