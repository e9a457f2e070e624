"""Transformers' Trainer with Lockstep's AdamW, which stops halfway and goes on from its checkpoint.

    pip install transformers accelerate
    python examples/transformers_trainer.py

It prints the losses, which fall.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from lockstep.torch import AdamW

WORDS, LENGTH, STEPS = 32, 16, 20


class Sequences(Dataset[dict[str, torch.Tensor]]):
    """Sequences that count in steps of their own: the model must find the step."""

    def __len__(self) -> int:
        """So many there are."""
        return 256

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        """Inputs, which are the labels too: Transformers shifts them."""
        words = (k + torch.arange(LENGTH) * (k % 7 + 1)) % WORDS
        return {"input_ids": words, "labels": words}


def trainer(folder: str, optimizer_class: Any, steps: int) -> Trainer:
    """A trainer of a new model, the same whenever it is made."""
    set_seed(1)
    sizes = {"vocab_size": WORDS, "n_positions": LENGTH, "n_embd": 32, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=16,
        weight_decay=0.01,
        lr_scheduler_type="constant",
        logging_steps=5,
        save_steps=STEPS // 2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    options = {"lr": 3e-3, "betas": (0.9, 0.95)}
    return Trainer(model, arguments, train_dataset=Sequences(), optimizer_cls_and_kwargs=(optimizer_class, options))


def train(folder: str, optimizer_class: Any = AdamW) -> Trainer:
    """Half of the steps, and the other half from the checkpoint with a new model and optimizer."""
    trainer(folder, optimizer_class, STEPS // 2).train()
    resumed = trainer(folder, optimizer_class, STEPS)
    resumed.train(resume_from_checkpoint=True)
    return resumed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        trained = train(folder)
    print(*(line["loss"] for line in trained.state.log_history if "loss" in line))
