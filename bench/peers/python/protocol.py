"""The Python side of the protocol between run and the workers.

The package ../worker describes the commands and has the same data and the same way to
measure: numbers of workers in two languages are only comparable if both do alike.
"""

import functools
import json
import mmap
import os
import sys
import time

import numpy as np
import threadpoolctl

ADAM_LR, BETA1, BETA2, ADAM_EPS, WEIGHT_DECAY = 1e-3, 0.9, 0.999, 1e-8, 1e-2
MOMENTUM_LR, MOMENTUM = 1e-3, 0.9
ADAGRAD_LR, ADAGRAD_EPS = 1e-3, 1e-10
SGD_LR = 1e-2
PRESET_LR = 1e-3  # of a framework's rules that have none by default
MAX_NORM = 10.0
LOSS_SCALE, AVERAGE_DECAY = 1024.0, 0.999  # of the work around
COLUMNS, MATRIX_COLUMNS = 256, 1024
SAMPLES = 3  # parts of a turn, of which the best counts

# The layout of update.Alloc: huge pages, and each buffer so many bytes further from the
# beginning of a page than the one before.
STAGGER, PAGE, HUGE_PAGE = 17 * 64, 4 << 10, 2 << 20

_SEED_PARAMS, _SEED_GRADS, _SEED_MATRIX, _SEED_TARGETS, _SEED_WEIGHTS = range(1, 6)


def _hash(n, seed):
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed * 0x7F4A7C15 & 0xFFFFFFFF)
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    return (x >> np.uint32(8)).astype(np.int32)


def _centred(n, seed):
    return (_hash(n, seed) - (1 << 23)).astype(np.float32) / np.float32(1 << 24)


@functools.lru_cache(1)
def params(n):
    return _centred(n, _SEED_PARAMS)


@functools.lru_cache(1)
def grads(n):
    k = _hash(n, _SEED_GRADS) - (1 << 23)
    k += np.where(k < 0, -(1 << 20), 1 << 20).astype(np.int32)
    return k.astype(np.float32) / np.float32(1 << 24)


def linear(n):
    x = _centred(n, _SEED_MATRIX).reshape(-1, COLUMNS)
    return x, _centred(n // COLUMNS, _SEED_TARGETS), _centred(COLUMNS, _SEED_WEIGHTS)


def staggered(n, count):
    """So many buffers of n zeros each, as update.Alloc lays them out."""
    stride = (4 * n + PAGE - 1) // PAGE * PAGE + STAGGER
    memory = mmap.mmap(-1, count * stride + HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    bytes_ = np.frombuffer(memory, np.uint8)
    first = -bytes_.ctypes.data % HUGE_PAGE
    return [bytes_[first + k * stride:][:4 * n].view(np.float32) for k in range(count)]


class Task:
    """What a system is to do: a rule, what a step does beyond it, and the tensors."""

    def __init__(self, rule, shape, threads):
        self.rule, _, self.work = rule.partition("+")
        self.tensors, self.size = map(int, shape.split("x")) if "x" in shape else (1, int(shape))
        self.threads = int(threads)

    def params(self):
        return self._cut(params(self.tensors * self.size))

    def grads(self):
        return self._cut(grads(self.tensors * self.size))

    def _cut(self, x):
        """Each tensor, which is a matrix to Adafactor: of one that keeps rows and columns."""
        parts = x.reshape(self.tensors, self.size)
        return [part.reshape(-1, MATRIX_COLUMNS).copy() if self.rule.endswith(".adafactor") else part.copy() for part in parts]


def turned(buffers, step):
    """The gradients of the step after the given one: see Turn in ../worker."""
    return [buffers[(step - k) % len(buffers)] for k in range(len(buffers))]


class Job:
    """A task with its buffers. What refill does is not timed."""

    def __init__(self, step, result, refill=None):
        self.step, self.result, self.refill = step, result, refill


class System:
    """Something to measure.

    new(task) returns its job; threads is how many it can use, 0 for any number; layout
    is where large buffers lie, and many is whether it takes more than one tensor.
    """

    def __init__(self, name, version, rules, threads, new, layout="", many=False):
        self.name, self.version, self.rules, self.threads, self.new = name, version, rules, threads, new
        self.layout, self.many = layout, many

    def describe(self):
        return {"name": self.name, "version": self.version, "rules": self.rules, "threads": self.threads,
                "layout": self.layout, "many": self.many}


def _timed(job, count):
    if job.refill:
        return sum(_refilled(job) for _ in range(count))
    step = job.step
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def _refilled(job):
    job.refill()
    start = time.perf_counter()
    job.step()
    return time.perf_counter() - start


def _measure(job, budget):
    """Take steps for about so long and return the time of one; see measure in ../worker."""
    took = _timed(job, 1)
    if took >= budget:
        return took
    batch = max(1, int(budget / 50 / took))
    warm = took
    while warm < budget / 10:
        took = _timed(job, batch)
        warm += took
        batch = max(1, int(budget / 50 * batch / took))
    return min(_sample(job, batch, budget / SAMPLES) for _ in range(SAMPLES))


def _sample(job, batch, budget):
    took, count = 0.0, 0
    while took < budget:
        took += _timed(job, batch)
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
        name, words, amount = rest[0], tuple(rest[1:4]), rest[4]
        task = Task(*words)
        # All libraries at hand: PyTorch and DeepSpeed may bring an OpenMP each.
        threadpoolctl.threadpool_limits(task.threads)
        if what == "check":
            job = self.systems[name].new(task)
            _timed(job, int(amount))
            np.asarray(job.result(), dtype="<f4").tofile(rest[5])
            return {}
        key = name, words
        if key not in self.jobs:
            self.jobs[key] = self.systems[name].new(task)
        return {"nanoseconds": 1e9 * _measure(self.jobs[key], float(amount))}


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
