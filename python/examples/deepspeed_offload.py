"""DeepSpeed's ZeRO-Offload with Lockstep's AdamW in place of DeepSpeedCPUAdam.

    pip install deepspeed
    python examples/deepspeed_offload.py

Two flags of the configuration make DeepSpeed take it: zero_force_ds_cpu_optimizer, without which it refuses any
optimizer but its own where states are on the CPU, and zero_allow_untested_optimizer.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")  # this example runs without a GPU

import deepspeed
import torch
from torch import nn
from torch.nn import functional

from lockstep.torch import AdamW

STEPS = 12
CONFIG: dict[str, Any] = {
    "train_micro_batch_size_per_gpu": 16,
    "gradient_clipping": 1.0,
    "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}},
    "zero_force_ds_cpu_optimizer": False,
    "zero_allow_untested_optimizer": True,
}


def build() -> nn.Module:
    """A small classifier, the same whenever it is built."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 5))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of five numbers is the largest."""
    inputs = torch.randn(16, 20, generator=torch.Generator().manual_seed(step))
    return inputs, inputs[:, :5].argmax(1)


def train(optimizer_class: Any = AdamW) -> tuple[Any, list[float]]:
    """The engine after training, and the loss of each step."""
    model = build()
    optimizer = optimizer_class(model.parameters(), lr=1e-2, weight_decay=0.01)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=CONFIG)
    losses = []
    for step in range(STEPS):
        inputs, labels = batch(step)
        loss = functional.cross_entropy(engine(inputs), labels)
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    return engine, losses


if __name__ == "__main__":
    deepspeed.init_distributed("gloo")
    engine, losses = train()
    print(type(engine.optimizer.optimizer), losses[0], losses[-1])
