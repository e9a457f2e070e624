"""The worker for NumPy: the rules as a textbook has them and without temporaries, and
the gradient of a linear model."""

import math

import numpy as np
import threadpoolctl

import protocol as p

RULES = ["adamw", "adam", "momentum", "adagrad", "sgd"]
WORKS = ["adam+l2", "momentum+l2", "adamw+clip", "sgd+clip", "adamw+new"]


def textbook(task):
    """The formulas as they are written, with a temporary array for each operation."""
    (w,), (g,) = task.params(), task.grads()
    m, v, t = np.zeros_like(w), np.zeros_like(w), 0

    def adam():
        nonlocal w, m, v, t
        t += 1
        m = p.BETA1 * m + (1 - p.BETA1) * g
        v = p.BETA2 * v + (1 - p.BETA2) * g**2
        m_hat, v_hat = m / (1 - p.BETA1**t), v / (1 - p.BETA2**t)
        w = w - p.ADAM_LR * m_hat / (np.sqrt(v_hat) + p.ADAM_EPS)

    def adamw():
        nonlocal w
        w = w - p.ADAM_LR * p.WEIGHT_DECAY * w
        adam()

    def momentum():
        nonlocal w, m
        m = p.MOMENTUM * m + g
        w = w - p.MOMENTUM_LR * m

    def adagrad():
        nonlocal w, v
        v = v + g**2
        w = w - p.ADAGRAD_LR * g / (np.sqrt(v) + p.ADAGRAD_EPS)

    def sgd():
        nonlocal w
        w = w - p.SGD_LR * g

    return p.Job(locals()[task.rule], lambda: w)


class InPlace:
    """As few passes as NumPy allows: bias corrected in eps and the step size, every
    result in a buffer that is there already, which all tensors share."""

    def __init__(self, task):
        self.w, self.buffers = task.params(), task.grads()
        self.m, self.v = ([np.zeros_like(w) for w in self.w] for _ in range(2))
        self.s, self.x = (np.empty(task.size, np.float32) for _ in range(2))
        self.g, self.t, self.task, self.turns = self.buffers, 0, task, 0
        self.update = getattr(self, task.rule)

    def job(self):
        step = {"clip": self.clipped, "l2": self.penalised}.get(self.task.work, self.step)
        return p.Job(step, lambda: np.concatenate(self.w), self.refill if self.task.work == "new" else None)

    def refill(self):
        self.g = p.turned(self.buffers, self.turns)
        self.turns += 1

    def step(self):
        self.t += 1
        for w, g, m, v in zip(self.w, self.g, self.m, self.v):
            self.update(w, g, m, v)

    def clipped(self):
        self.t += 1
        norm = math.sqrt(sum(float(np.dot(g, g)) for g in self.g))
        factor = min(1, p.MAX_NORM / (norm + 1e-6))
        for w, g, m, v in zip(self.w, self.g, self.m, self.v):
            self.update(w, np.multiply(g, factor, out=self.x), m, v)

    def penalised(self):
        self.t += 1
        for w, g, m, v in zip(self.w, self.g, self.m, self.v):
            np.multiply(w, p.WEIGHT_DECAY, out=self.x)
            self.update(w, np.add(self.x, g, out=self.x), m, v)

    def adam(self, w, g, m, v):
        s, root = self.s, math.sqrt(1 - p.BETA2**self.t)
        np.subtract(g, m, out=s)
        np.multiply(s, 1 - p.BETA1, out=s)
        np.add(m, s, out=m)
        np.multiply(g, g, out=s)
        np.multiply(s, 1 - p.BETA2, out=s)
        np.multiply(v, p.BETA2, out=v)
        np.add(v, s, out=v)
        np.sqrt(v, out=s)
        np.add(s, p.ADAM_EPS * root, out=s)
        np.divide(m, s, out=s)
        np.multiply(s, p.ADAM_LR * root / (1 - p.BETA1**self.t), out=s)
        np.subtract(w, s, out=w)

    def adamw(self, w, g, m, v):
        np.multiply(w, 1 - p.ADAM_LR * p.WEIGHT_DECAY, out=w)
        self.adam(w, g, m, v)

    def momentum(self, w, g, m, _v):
        np.multiply(m, p.MOMENTUM, out=m)
        np.add(m, g, out=m)
        np.multiply(m, p.MOMENTUM_LR, out=self.s)
        np.subtract(w, self.s, out=w)

    def adagrad(self, w, g, _m, v):
        s = self.s
        np.multiply(g, g, out=s)
        np.add(v, s, out=v)
        np.sqrt(v, out=s)
        np.add(s, p.ADAGRAD_EPS, out=s)
        np.divide(g, s, out=s)
        np.multiply(s, p.ADAGRAD_LR, out=s)
        np.subtract(w, s, out=w)

    def sgd(self, w, g, _m, _v):
        np.multiply(g, p.SGD_LR, out=self.s)
        np.subtract(w, self.s, out=w)


def linear(task):
    """The gradient of the mean squared error, with the factor where it costs least: the
    formula as it is written, 2 * x.T @ (...), would first double the whole matrix."""
    x, y, w = p.linear(task.size)
    rows, gradient = len(y), None

    def step():
        nonlocal gradient
        gradient = x.T @ (x @ w - y) * (2 / rows)

    return p.Job(step, lambda: gradient)


def blas():
    """The library that multiplies matrices, and the kernels that it has picked."""
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas":
            return f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip()
    return "unknown BLAS"


def load():
    version = np.__version__
    return [
        p.System("numpy", version, RULES, 1, textbook),
        p.System("numpy-out", version, RULES + WORKS, 1, lambda task: InPlace(task).job(), many=True),
        p.System("numpy-blas", f"{version} {blas()}", ["linear"], 0, linear),
    ]


if __name__ == "__main__":
    p.serve(load)
