"""A loop with Accelerate and Lockstep's AdamW: clipping, accumulated gradients, saved and resumed.

    pip install accelerate
    python examples/accelerate_loop.py

It prints the first loss and the last.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from lockstep.torch import AdamW

STEPS = 16


def loader() -> Any:
    """Batches of 16, always the same."""
    inputs = torch.randn(512, 20, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, inputs[:, :5].argmax(1)), batch_size=16)


def prepare(optimizer_class: Any) -> tuple[Accelerator, list[Any]]:
    """Model, optimizer, scheduler and data in Accelerate's wrappers."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 5))
    optimizer = optimizer_class(model.parameters(), lr=3e-2, weight_decay=0.01)
    scheduler = CosineAnnealingLR(optimizer, STEPS)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    return accelerator, list(accelerator.prepare(model, optimizer, scheduler, loader()))


def run(accelerator: Accelerator, prepared: list[Any], first: int, last: int) -> list[float]:
    """Takes the batches of an epoch from first to last, and returns their losses."""
    model, optimizer, scheduler, batches = prepared
    losses = []
    for k, (inputs, labels) in enumerate(batches):
        if not first <= k < last:
            continue
        with accelerator.accumulate(model):
            loss = functional.cross_entropy(model(inputs), labels)
            losses.append(loss.item())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return losses


def train(folder: str, optimizer_class: Any = AdamW) -> tuple[list[Any], list[float]]:
    """Half an epoch, and the other half with a new model and optimizer from what was saved."""
    accelerator, prepared = prepare(optimizer_class)
    half = run(accelerator, prepared, 0, STEPS)
    accelerator.save_state(folder)
    accelerator, prepared = prepare(optimizer_class)
    accelerator.load_state(folder)
    return prepared, half + run(accelerator, prepared, STEPS, 2 * STEPS)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        _, losses = train(folder)
    print(losses[0], losses[-1])
