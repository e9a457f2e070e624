"""The worker for DeepSpeed's optimizers for the CPU, which it compiles at first use."""

import deepspeed
import torch
from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.ops.op_builder import CPUAdamBuilder

import protocol as p
import torch_worker

VECTOR = 16  # elements that its loops take at a time


def optimizer(rule, tensors):
    if rule in ("adamw", "adam"):
        return DeepSpeedCPUAdam(tensors, lr=p.ADAM_LR, betas=(p.BETA1, p.BETA2), eps=p.ADAM_EPS,
                                weight_decay=p.WEIGHT_DECAY if rule == "adamw" else 0, adamw_mode=rule == "adamw")
    if rule == "adagrad":
        return adagrad(tensors)
    raise ValueError(f"there is no rule {rule!r}")


def adagrad(tensors):
    o = DeepSpeedCPUAdagrad(tensors, lr=p.ADAGRAD_LR, eps=p.ADAGRAD_EPS)
    gradient = tensors[0].grad
    rest = len(gradient) % VECTOR
    if rest:
        # The loop over the rest writes its step into the gradient.
        kept, step = gradient[-rest:].clone(), o.step

        def restored():
            gradient[-rest:] = kept
            step()

        o.step = restored
    return o


def load():
    version = f"{deepspeed.__version__} {CPUAdamBuilder().simd_width().removeprefix('-D').strip('_')}"
    optimizer("adamw", [torch.nn.Parameter(torch.zeros(1))])
    return [p.System("deepspeed", version, ["adamw", "adam", "adagrad"], 0, torch_worker.job(optimizer))]


if __name__ == "__main__":
    p.serve(load)
