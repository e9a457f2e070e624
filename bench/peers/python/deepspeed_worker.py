"""The worker for DeepSpeed's optimizers for the CPU, which it compiles at first use."""

import deepspeed
import torch
from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.ops.op_builder import CPUAdamBuilder

import protocol as p
import torch_worker

RULES = ["adamw", "adam", "adagrad", "adam+l2", "adamw+clip", "adamw+new"]
VECTOR = 16  # elements that its loops take at a time


def optimizer(task, tensors):
    if task.rule in ("adamw", "adam"):
        decays = task.rule == "adamw" or task.work == "l2"
        return DeepSpeedCPUAdam(tensors, lr=p.ADAM_LR, betas=(p.BETA1, p.BETA2), eps=p.ADAM_EPS,
                                weight_decay=p.WEIGHT_DECAY if decays else 0, adamw_mode=task.rule == "adamw")
    if task.rule == "adagrad":
        return adagrad(tensors)
    raise ValueError(f"there is no rule {task.rule!r}")


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


def staggered(task):
    params, grads, state = torch_worker.staggered(task)
    # Its AdaGrad names the accumulator otherwise than PyTorch's does.
    return params, grads, {"exp_avg_sq" if name == "sum" else name: x for name, x in state.items()}


def load():
    version = f"{deepspeed.__version__} {CPUAdamBuilder().simd_width().removeprefix('-D').strip('_')}"
    warm = p.Task("adamw", "1", 1)
    optimizer(warm, [torch.nn.Parameter(torch.zeros(1))])
    return [
        p.System("deepspeed", version, RULES, 0, torch_worker.job(optimizer, True), many=True),
        p.System("deepspeed-staggered", version, RULES, 0,
                 torch_worker.job(optimizer, True, staggered, lambda: 0), layout="staggered"),
    ]


if __name__ == "__main__":
    p.serve(load)
