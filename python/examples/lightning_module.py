"""A LightningModule with Lockstep's AdamW, a scheduler, clipping, and a checkpoint to go on from.

    pip install lightning
    python examples/lightning_module.py

It prints the first loss and the last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from lockstep.torch import AdamW


class Classifier(lightning.LightningModule):
    """A classifier that says which of five numbers is the largest."""

    def __init__(self, optimizer_class: Any = AdamW) -> None:
        """Takes the class of the optimizer, to be compared with others."""
        super().__init__()
        self.model = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 5))
        self.optimizer_class = optimizer_class
        self.losses: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """The loss of a batch."""
        inputs, labels = batch
        loss = functional.cross_entropy(self.model(inputs), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        """The optimizer as any other of PyTorch's."""
        optimizer = self.optimizer_class(self.parameters(), lr=1e-2, weight_decay=0.01)
        return [optimizer], [CosineAnnealingLR(optimizer, 4)]


def loader() -> Any:
    """Batches of 16, always the same."""
    inputs = torch.randn(256, 20, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(inputs, inputs[:, :5].argmax(1)), batch_size=16)


def fit(folder: str, optimizer_class: Any, epochs: int, checkpoint: str | None = None) -> Classifier:
    """Trains a new model so many epochs, or the one of a checkpoint."""
    lightning.seed_everything(1, verbose=False)
    model = Classifier(optimizer_class)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=epochs, gradient_clip_val=1.0, default_root_dir=folder,
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, loader(), ckpt_path=checkpoint)
    return model


def train(folder: str, optimizer_class: Any = AdamW) -> Classifier:
    """Two epochs, and two more from the checkpoint that Lightning wrote."""
    fit(folder, optimizer_class, 2)
    (checkpoint,) = Path(folder).glob("**/*.ckpt")
    return fit(folder, optimizer_class, 4, str(checkpoint))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        losses = train(folder).losses
    print(losses[0], losses[-1])
