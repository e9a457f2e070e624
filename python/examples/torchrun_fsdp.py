"""Training on several processes with FSDP2, which goes on after a worker died.

    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --standalone --nproc-per-node 2 --max-restarts 3 examples/torchrun_fsdp.py --folder run --pause 0.5

Kill one of the workers meanwhile: torchrun starts all of them again, they go on from the last checkpoint,
and the hash at the end is that of an undisturbed run. The variable gives each start a store of its own: with
the one that PyTorch 2.15 shares, ranks look for one another where those that died had listened.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional

from lockstep.torch import AdamW

STEPS, EVERY = 30, 5


def build() -> nn.Module:
    """A small classifier in shards, the same whenever it is built."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 100), nn.GELU(), nn.Linear(100, 10))
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    return fully_shard(model, mesh=mesh)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What this rank trains on in a step: a function of both alone, so that a step can be taken again."""
    generator = torch.Generator().manual_seed(1000 * step + distributed.get_rank())
    inputs = torch.randn(32, 64, generator=generator)
    return inputs, inputs[:, :10].argmax(1)


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes a checkpoint, which counts once all ranks have written theirs: then it gets its name."""
    parameters, state = get_state_dict(model, optimizer)
    unfinished = folder / f"unfinished-{step}"
    checkpoint.save({"model": parameters, "optimizer": state}, checkpoint_id=unfinished)
    if distributed.get_rank() == 0:
        unfinished.rename(folder / f"step-{step}")
    distributed.barrier()


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads the newest checkpoint, if there is one, and returns the steps that it has taken."""
    steps = [int(path.name.removeprefix("step-")) for path in folder.glob("step-*")]
    if not steps:
        return 0
    parameters, state = get_state_dict(model, optimizer)
    whole: dict[str, Any] = {"model": parameters, "optimizer": state}
    checkpoint.load(whole, checkpoint_id=folder / f"step-{max(steps)}")
    set_state_dict(model, optimizer, model_state_dict=whole["model"], optim_state_dict=whole["optimizer"])
    return max(steps)


def train(folder: Path, pause: float) -> nn.Module:
    """Trains from the newest checkpoint on."""
    model = build()
    optimizer = AdamW(model.parameters(), lr=1e-2)
    first = resume(folder, model, optimizer)
    print(f"rank {distributed.get_rank()}, process {os.getpid()}: from step {first}", flush=True)
    for step in range(first, STEPS):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        time.sleep(pause)
        if (step + 1) % EVERY == 0:
            save(folder, step + 1, model, optimizer)
    return model


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of all parameters, gathered on rank 0."""
    parameters = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(parameters[name].numpy())
    return digest.hexdigest()


def main() -> None:
    """Reads the arguments and trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for checkpoints: the same for all ranks")
    parser.add_argument("--pause", type=float, default=0, help="seconds after each step, to have time to kill a worker")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    hashed = fingerprint(train(arguments.folder, arguments.pause))
    if distributed.get_rank() == 0:
        print("parameters:", hashed)
    distributed.barrier()  # a rank that left while another still gathers would be a failure there, and a restart
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
