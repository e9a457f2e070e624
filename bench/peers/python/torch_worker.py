"""The worker for PyTorch's optimizers, in its three implementations."""

import functools

import torch

import protocol as p

RULES = ["adamw", "adam", "momentum", "adagrad", "sgd", "adam+l2", "momentum+l2",
         "adamw+clip", "sgd+clip", "adamw+new", "adamw+around", "sgd+around"]

# Rules that have no fused implementation but Adam's, with the defaults of their classes.
PRESETS = {
    "torch.adadelta": torch.optim.Adadelta,
    "torch.adafactor": torch.optim.Adafactor,
    "torch.adamax": torch.optim.Adamax,
    "torch.amsgrad": functools.partial(torch.optim.Adam, amsgrad=True),
    "torch.nadam": torch.optim.NAdam,
    "torch.radam": torch.optim.RAdam,
    "torch.rmsprop": torch.optim.RMSprop,
}

# The state that PyTorch makes at the first step, by rule.
STATE = {"adamw": ["exp_avg", "exp_avg_sq"], "adam": ["exp_avg", "exp_avg_sq"],
         "momentum": ["momentum_buffer"], "adagrad": ["sum"], "sgd": []}


def optimizer(task, tensors, **implementation):
    rule, l2 = task.rule, p.WEIGHT_DECAY if task.work == "l2" else 0
    adam = {"lr": p.ADAM_LR, "betas": (p.BETA1, p.BETA2), "eps": p.ADAM_EPS} | implementation
    if rule == "adamw":
        return torch.optim.AdamW(tensors, weight_decay=p.WEIGHT_DECAY, **adam)
    if rule == "adam":
        return torch.optim.Adam(tensors, weight_decay=l2, **adam)
    if rule == "momentum":
        return torch.optim.SGD(tensors, lr=p.MOMENTUM_LR, momentum=p.MOMENTUM, weight_decay=l2, **implementation)
    if rule == "adagrad":
        return torch.optim.Adagrad(tensors, lr=p.ADAGRAD_LR, eps=p.ADAGRAD_EPS, weight_decay=l2, **implementation)
    if rule == "sgd":
        return torch.optim.SGD(tensors, lr=p.SGD_LR, weight_decay=l2, **implementation)
    if rule in PRESETS:
        if not implementation["fused"]:
            del implementation["fused"]  # which most of them do not know
        return PRESETS[rule](tensors, **implementation)
    raise ValueError(f"there is no rule {rule!r}")


def plain(task):
    return task.params(), task.grads(), None


def staggered(task):
    """Parameters, gradients and state of one tensor as update.Alloc lays them out."""
    (w,), (g,) = task.params(), task.grads()
    buffers = p.staggered(task.size, 2 + len(STATE[task.rule]))
    buffers[0][:], buffers[1][:] = w, g
    return buffers[:1], buffers[1:2], dict(zip(STATE[task.rule], map(torch.from_numpy, buffers[2:])))


def job(make, foreach_norm=False, layout=plain, step_count=lambda: torch.tensor(0.0)):
    """make(task, tensors) returns the optimizer; step_count what it counts steps with."""

    def new(task):
        torch.set_num_threads(task.threads)
        params, grads, state = layout(task)
        tensors = [torch.nn.Parameter(torch.from_numpy(x)) for x in params]
        buffers = [torch.from_numpy(x) for x in grads]
        give(tensors, buffers)
        o = make(task, tensors)
        if state:
            o.state[tensors[0]] = {"step": step_count()} | state
        step, refill = o.step, None
        if task.work == "clip":
            step = clipped(o.step, tensors, foreach_norm)
        elif task.work == "around":
            step, refill = around(o, tensors, buffers, foreach_norm)
        elif task.work == "new":
            refill = turning(tensors, buffers)
        return p.Job(step, lambda: torch.cat([t.detach().flatten() for t in tensors]).numpy(), refill)

    return new


def give(tensors, buffers):
    for tensor, buffer in zip(tensors, buffers):
        tensor.grad = buffer


def clipped(step, tensors, foreach):
    def clip_and_step():
        torch.nn.utils.clip_grad_norm_(tensors, p.MAX_NORM, foreach=foreach)
        step()

    return clip_and_step


def around(o, tensors, buffers, foreach):
    """What a loop does with mixed precision and an average of the parameters, in place."""
    scaler = torch.amp.GradScaler("cpu", init_scale=p.LOSS_SCALE, growth_interval=1 << 30)
    scaler.scale(torch.zeros(1))  # which makes its state
    model = torch.nn.ParameterList(tensors)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(p.AVERAGE_DECAY))
    scaled = [b * p.LOSS_SCALE for b in buffers]

    def step():
        scaler.unscale_(o)
        torch.nn.utils.clip_grad_norm_(tensors, p.MAX_NORM, foreach=foreach)
        scaler.step(o)
        scaler.update()
        average.update_parameters(model)
        o.zero_grad(set_to_none=False)

    def refill():
        for buffer, x in zip(buffers, scaled):
            buffer.copy_(x)

    return step, refill


def turning(tensors, buffers):
    step = -1

    def refill():
        nonlocal step
        step += 1
        give(tensors, p.turned(buffers, step))

    return refill


def load():
    version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"

    def system(name, foreach, fused, **layout):
        make = job(lambda task, tensors: optimizer(task, tensors, foreach=foreach, fused=fused), foreach or fused, **layout)
        where = {"layout": "staggered"} if layout else {"many": True}
        presets = [] if layout else ["torch.amsgrad"] if fused else list(PRESETS)
        return p.System(name, version, RULES + presets, 0, make, **where)

    return [
        system("torch-for", False, False),
        system("torch-foreach", True, False),
        system("torch-fused", False, True),
        system("torch-fused-staggered", False, True, layout=staggered),
    ]


if __name__ == "__main__":
    p.serve(load)
