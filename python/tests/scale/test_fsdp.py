"""FSDP2 (fully_shard), where parameters, gradients and state are DTensors, and checkpoints of its shards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import distributed  # noqa: E402
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict  # noqa: E402
from torch.distributed.checkpoint.state_dict_loader import load  # noqa: E402
from torch.distributed.checkpoint.state_dict_saver import save  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor, distribute_tensor  # noqa: E402

from lockstep.torch import LAMB, AdamW, UnsupportedError, clip_grad_norm_and_step  # noqa: E402

from . import models  # noqa: E402
from .ranks import launch  # noqa: E402


def _sharded(**options: Any) -> Any:
    model = models.build()
    options["mesh"] = init_device_mesh("cpu", (distributed.get_world_size(),))
    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer, **options)
    fully_shard(model, **options)
    return model


def _full(tensor: Any) -> Any:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _same(want: dict[str, Any], got: dict[str, Any]) -> None:
    assert want.keys() == got.keys()
    for name in want:
        assert torch.equal(_full(want[name]), _full(got[name])), name


@pytest.mark.parametrize("world", [2, 4])
def test_shards_take_the_steps_of_the_whole(world: int) -> None:
    """With the gradients that the ranks reduced, an optimizer over whole tensors comes to the same bits."""
    launch(world, _beside_whole)


def _beside_whole() -> None:
    for optimizer_class, options in models.BY_ELEMENT:
        model, whole = _sharded(), models.build()
        optimizer = optimizer_class(models.groups(model), **options)
        reference = optimizer_class(models.groups(whole), **options)
        for step in range(5):
            models.backward(model, step, distributed.get_rank())
            for p, q in zip(model.parameters(), whole.parameters()):
                q.grad = p.grad.full_tensor()
            optimizer.step()
            reference.step()
        _same(dict(whole.named_parameters()), dict(model.named_parameters()))
        for p, q in zip(model.parameters(), whole.parameters()):
            _same(reference.state[q], optimizer.state[p])


def test_norms_of_a_shard_are_refused() -> None:
    """LAMB, cautious updates and clipping need whole tensors, of which a rank has a part."""
    launch(2, _refused)


def _refused() -> None:
    model = _sharded()
    models.backward(model, 0, distributed.get_rank())
    before = [p.full_tensor() for p in model.parameters()]
    with pytest.raises(UnsupportedError, match="parameter 0 of group 0 is sharded, want it whole: LAMB"):
        LAMB(model.parameters()).step()
    cautious = AdamW(model.parameters())
    cautious.param_groups[0]["cautious_update"] = True
    for take in (cautious.step, lambda: AdamW(model.parameters(), cautious_update=True)):
        with pytest.raises(UnsupportedError, match="parameter 0 of group 0 is sharded, want it whole: cautious_update"):
            take()
    with pytest.raises(UnsupportedError, match="clip_grad_norm_"):
        clip_grad_norm_and_step(AdamW(model.parameters()), 1.0)
    for p, whole in zip(model.parameters(), before):
        assert torch.equal(p.full_tensor(), whole)


def test_two_ranks_are_one_process_with_both_batches() -> None:
    """A sum of two has one order, so that not only the steps but the whole training is the same.

    With CPUOffloadPolicy, which is for GPUs and has nothing to transfer here.
    """
    launch(2, _beside_one)


def _beside_one() -> None:
    model, alone = _sharded(offload_policy=CPUOffloadPolicy(pin_memory=False)), models.build()
    optimizer, reference = AdamW(model.parameters(), lr=1e-2), AdamW(alone.parameters(), lr=1e-2)
    for step in range(5):
        models.backward(model, step, distributed.get_rank())
        optimizer.step()
        _mean_gradient(alone, step)
        reference.step()
    _same(dict(alone.named_parameters()), dict(model.named_parameters()))


def _mean_gradient(model: Any, step: int) -> None:
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for rank in range(2):
        models.backward(model, step, rank)
        for total, p in zip(sums, model.parameters()):
            total += p.grad
    for total, p in zip(sums, model.parameters()):
        p.grad = total / 2


def test_saved_by_four_loaded_by_two(tmp_path: Path) -> None:
    """torch.distributed.checkpoint re-shards our state: six steps on 4 and then 2 ranks are those of one process."""
    launch(4, _save_half, tmp_path)
    launch(2, _load_half, tmp_path)


def _given_steps(model: Any, optimizer: Any, steps: range) -> None:
    for step in steps:
        for name, p in model.named_parameters():
            whole = models.gradient(step, name, p)
            p.grad = distribute_tensor(whole, p.device_mesh, p.placements) if isinstance(p, DTensor) else whole
        optimizer.step()


def _state(model: Any, optimizer: Any) -> dict[str, Any]:
    parameters, state = get_state_dict(model, optimizer)
    return {"model": parameters, "optimizer": state}


def _save_half(folder: Path) -> None:
    for k, (optimizer_class, options) in enumerate(models.BY_ELEMENT):
        model = _sharded()
        optimizer = optimizer_class(models.groups(model), **options)
        _given_steps(model, optimizer, range(3))
        save(_state(model, optimizer), checkpoint_id=folder / str(k))


def _load_half(folder: Path) -> None:
    for k, (optimizer_class, options) in enumerate(models.BY_ELEMENT):
        model, whole = _sharded(), models.build()
        optimizer = optimizer_class(models.groups(model), **options)
        reference = optimizer_class(models.groups(whole), **options)
        state = _state(model, optimizer)
        load(state, checkpoint_id=folder / str(k))
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        _given_steps(model, optimizer, range(3, 6))
        _given_steps(whole, reference, range(6))
        _same(dict(whole.named_parameters()), dict(model.named_parameters()))
