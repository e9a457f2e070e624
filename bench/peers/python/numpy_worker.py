"""The worker for NumPy: the rules as a textbook has them and without temporaries, and
the gradient of a linear model."""

import math

import numpy as np
import threadpoolctl

import protocol as p

RULES = ["adamw", "adam", "momentum", "adagrad", "sgd"]


def textbook(rule, n, _threads):
    """The formulas as they are written, with a temporary array for each operation."""
    w, g = p.params(n), p.grads(n)
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

    return locals()[rule], lambda: w


def in_place(rule, n, _threads):
    """As few passes as NumPy allows: bias corrected in eps and the step size, every
    result in a buffer that is there already."""
    w, g = p.params(n), p.grads(n)
    m, v, s, t = np.zeros_like(w), np.zeros_like(w), np.empty_like(w), 0

    def adam():
        nonlocal t
        t += 1
        np.subtract(g, m, out=s)
        np.multiply(s, 1 - p.BETA1, out=s)
        np.add(m, s, out=m)
        np.multiply(g, g, out=s)
        np.multiply(s, 1 - p.BETA2, out=s)
        np.multiply(v, p.BETA2, out=v)
        np.add(v, s, out=v)
        root = math.sqrt(1 - p.BETA2**t)
        np.sqrt(v, out=s)
        np.add(s, p.ADAM_EPS * root, out=s)
        np.divide(m, s, out=s)
        np.multiply(s, p.ADAM_LR * root / (1 - p.BETA1**t), out=s)
        np.subtract(w, s, out=w)

    def adamw():
        np.multiply(w, 1 - p.ADAM_LR * p.WEIGHT_DECAY, out=w)
        adam()

    def momentum():
        np.multiply(m, p.MOMENTUM, out=m)
        np.add(m, g, out=m)
        np.multiply(m, p.MOMENTUM_LR, out=s)
        np.subtract(w, s, out=w)

    def adagrad():
        np.multiply(g, g, out=s)
        np.add(v, s, out=v)
        np.sqrt(v, out=s)
        np.add(s, p.ADAGRAD_EPS, out=s)
        np.divide(g, s, out=s)
        np.multiply(s, p.ADAGRAD_LR, out=s)
        np.subtract(w, s, out=w)

    def sgd():
        np.multiply(g, p.SGD_LR, out=s)
        np.subtract(w, s, out=w)

    return locals()[rule], lambda: w


def linear(_rule, n, _threads):
    """The gradient of the mean squared error, with the factor where it costs least: the
    formula as it is written, 2 * x.T @ (...), would first double the whole matrix."""
    x, y, w = p.linear(n)
    rows, gradient = len(y), None

    def step():
        nonlocal gradient
        gradient = x.T @ (x @ w - y) * (2 / rows)

    return step, lambda: gradient


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
        p.System("numpy-out", version, RULES, 1, in_place),
        p.System("numpy-blas", f"{version} {blas()}", ["linear"], 0, linear),
    ]


if __name__ == "__main__":
    p.serve(load)
