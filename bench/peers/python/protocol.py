"""The Python side of the protocol between run and the workers.

The package ../worker describes the commands and has the same data and the same way to
measure: numbers of workers in two languages are only comparable if both do alike.
"""

import json
import os
import sys
import time

import numpy as np
import threadpoolctl

ADAM_LR, BETA1, BETA2, ADAM_EPS, WEIGHT_DECAY = 1e-3, 0.9, 0.999, 1e-8, 1e-2
MOMENTUM_LR, MOMENTUM = 1e-3, 0.9
ADAGRAD_LR, ADAGRAD_EPS = 1e-3, 1e-10
SGD_LR = 1e-2
COLUMNS = 256
SAMPLES = 3  # parts of a turn, of which the best counts

_SEED_PARAMS, _SEED_GRADS, _SEED_MATRIX, _SEED_TARGETS, _SEED_WEIGHTS = range(1, 6)


def _hash(n, seed):
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed * 0x7F4A7C15 & 0xFFFFFFFF)
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    return (x >> np.uint32(8)).astype(np.int32)


def _centred(n, seed):
    return (_hash(n, seed) - (1 << 23)).astype(np.float32) / np.float32(1 << 24)


def params(n):
    return _centred(n, _SEED_PARAMS)


def grads(n):
    k = _hash(n, _SEED_GRADS) - (1 << 23)
    k += np.where(k < 0, -(1 << 20), 1 << 20).astype(np.int32)
    return k.astype(np.float32) / np.float32(1 << 24)


def linear(n):
    x = _centred(n, _SEED_MATRIX).reshape(-1, COLUMNS)
    return x, _centred(n // COLUMNS, _SEED_TARGETS), _centred(COLUMNS, _SEED_WEIGHTS)


class System:
    """Something to measure.

    new(rule, n, threads) returns a step and a function for its result; threads is how
    many it can use, 0 for any number.
    """

    def __init__(self, name, version, rules, threads, new):
        self.name, self.version, self.rules, self.threads, self.new = name, version, rules, threads, new

    def describe(self):
        return {"name": self.name, "version": self.version, "rules": self.rules, "threads": self.threads}


def _timed(step, count):
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def _measure(step, budget):
    """Take steps for about so long and return the time of one; see measure in ../worker."""
    took = _timed(step, 1)
    if took >= budget:
        return took
    batch = max(1, int(budget / 50 / took))
    warm = took
    while warm < budget / 10:
        took = _timed(step, batch)
        warm += took
        batch = max(1, int(budget / 50 * batch / took))
    return min(_sample(step, batch, budget / SAMPLES) for _ in range(SAMPLES))


def _sample(step, batch, budget):
    took, count = 0.0, 0
    while took < budget:
        took += _timed(step, batch)
        count += batch
    return took / count


class _Server:
    def __init__(self, systems):
        self.systems = {s.name: s for s in systems}
        self.jobs = {}

    def answer(self, command):
        what, *rest = command
        if what == "list":
            return [s.describe() for s in self.systems.values()]
        if what == "drop":
            self.jobs.clear()
            return {}
        if what not in ("run", "check"):
            raise ValueError(f"{what!r} is no command")
        name, rule, n, threads, amount = rest[0], rest[1], int(rest[2]), int(rest[3]), rest[4]
        # All libraries at hand: PyTorch and DeepSpeed may bring an OpenMP each.
        threadpoolctl.threadpool_limits(threads)
        if what == "check":
            step, result = self.systems[name].new(rule, n, threads)
            _timed(step, int(amount))
            np.asarray(result(), dtype="<f4").tofile(rest[5])
            return {}
        key = name, rule, n, threads
        if key not in self.jobs:
            self.jobs[key] = self.systems[name].new(rule, n, threads)
        return {"nanoseconds": 1e9 * _measure(self.jobs[key][0], float(amount))}


def serve(load):
    """Answer commands for the systems that load returns."""
    # Compilers and libraries print to the standard output, which is for answers alone.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    server = _Server(load())
    for line in sys.stdin:
        try:
            answer = server.answer(line.split())
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        out.write(json.dumps(answer) + "\n")
