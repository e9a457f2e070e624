"""The worker for PyTorch's optimizers, in its three implementations."""

import torch

import protocol as p

RULES = ["adamw", "adam", "momentum", "adagrad", "sgd"]


def optimizer(rule, tensors, **implementation):
    if rule == "adamw":
        return torch.optim.AdamW(tensors, lr=p.ADAM_LR, betas=(p.BETA1, p.BETA2), eps=p.ADAM_EPS,
                                 weight_decay=p.WEIGHT_DECAY, **implementation)
    if rule == "adam":
        return torch.optim.Adam(tensors, lr=p.ADAM_LR, betas=(p.BETA1, p.BETA2), eps=p.ADAM_EPS, **implementation)
    if rule == "momentum":
        return torch.optim.SGD(tensors, lr=p.MOMENTUM_LR, momentum=p.MOMENTUM, **implementation)
    if rule == "adagrad":
        return torch.optim.Adagrad(tensors, lr=p.ADAGRAD_LR, eps=p.ADAGRAD_EPS, **implementation)
    if rule == "sgd":
        return torch.optim.SGD(tensors, lr=p.SGD_LR, **implementation)
    raise ValueError(f"there is no rule {rule!r}")


def job(make):
    """make(rule, tensors) returns the optimizer."""

    def new(rule, n, threads):
        torch.set_num_threads(threads)
        w = torch.nn.Parameter(torch.from_numpy(p.params(n)))
        w.grad = torch.from_numpy(p.grads(n))
        o = make(rule, [w])
        return o.step, lambda: w.detach().numpy()

    return new


def load():
    version = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"

    def system(name, **implementation):
        return p.System(name, version, RULES, 0, job(lambda rule, tensors: optimizer(rule, tensors, **implementation)))

    return [
        system("torch-for", foreach=False, fused=False),
        system("torch-foreach", foreach=True, fused=False),
        system("torch-fused", foreach=False, fused=True),
    ]


if __name__ == "__main__":
    p.serve(load)
