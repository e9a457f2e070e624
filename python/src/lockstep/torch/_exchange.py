"""State in the form of bitsandbytes and torchao: codes of 8 bits that stand for the numbers of a dynamic map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

BLOCK = 256  # elements with an absmax, in the order of a tensor's shape
LEAST = 4096  # elements whose state is codes there: fewer are float32
WRAPPED = "__bnb_optimizer_quant_state__"  # what they have state in since version 0.49


@cache
def dynamic_map(signed: bool) -> Tensor:
    """The 256 numbers that codes stand for: Dettmers' dynamic tree, of 7 powers of ten with 2ⁱ numbers each.

    Those of a power are the middles of equal parts of [0.1, 1], and there are 0 and 1. Without a sign there are twice
    as many of each power (Dettmers 2016, 8-Bit Approximations for Parallelism in Deep Learning).
    """
    parts = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, (1 if signed else 2) * 2**i + 1, dtype=torch.float32)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i - 6)
        parts += [middles, -middles] if signed else [middles]
    parts.append(torch.tensor([0.0, 1.0]))
    return torch.cat(parts).sort().values


def decoded(codes: Tensor, absmax: Tensor, of: Tensor) -> Tensor:
    """The numbers that codes stand for."""
    flat = of[codes.reshape(-1).long()]
    flat.mul_(absmax.repeat_interleave(BLOCK)[: flat.numel()])
    return flat.reshape(codes.shape)


def encoded(values: Tensor, of: Tensor, squares: bool) -> tuple[Tensor, Tensor]:
    """Codes of the nearest numbers of a map, and the largest magnitude of each block.

    Of squares what is not 0 does not become 0: it is in a divisor.
    """
    flat = values.reshape(-1)
    blocks = -(-flat.numel() // BLOCK)
    absmax = torch.nn.functional.pad(flat.abs(), (0, blocks * BLOCK - flat.numel())).reshape(blocks, BLOCK).amax(1)
    scaled = flat / absmax.clamp(min=torch.finfo(torch.float32).tiny).repeat_interleave(BLOCK)[: flat.numel()]
    codes = torch.bucketize(scaled, (of[1:] + of[:-1]) / 2)
    if squares:
        zero = int((of == 0).nonzero())
        codes = torch.where((flat > 0) & (codes == zero), zero + 1, codes)
    return codes.to(torch.uint8).reshape(values.shape), absmax


def is_bitsandbytes(saved: Mapping[str, Any]) -> bool:
    """Whether a state dict is of an optimizer of bitsandbytes."""
    states = [state for state in saved["state"].values() if isinstance(state, dict)]
    if states:
        return any(WRAPPED in state or "state1" in state for state in states)
    return all("betas" in g and "eps" in g and not {"amsgrad", "maximize"} & g.keys() for g in saved["param_groups"])


def from_bitsandbytes(state: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The state of a parameter as float32, with the names that it has here."""
    theirs = {**state, **state.get(WRAPPED, {})}
    own: dict[str, Any] = {"step": torch.tensor(float(theirs["step"]))}
    for k, name in enumerate(names, 1):
        values = theirs[f"state{k}"]
        if values.dtype is torch.uint8:
            values = decoded(values, theirs[f"absmax{k}"], theirs[f"qmap{k}"])
        own[name] = values.float()
    return own


def to_bitsandbytes(step: int, buffers: Sequence[Tensor], squares: Sequence[bool]) -> dict[str, Any]:
    """The state of a parameter in their form. The first buffer has a map with a sign there, whatever it is."""
    state: dict[str, Any] = {}
    for k, (values, square) in enumerate(zip(buffers, squares), 1):
        if values.numel() < LEAST:
            state[f"state{k}"] = values.clone()
            continue
        of = dynamic_map(k == 1)
        codes, absmax = encoded(values.contiguous(), of, square)
        state |= {f"state{k}": codes, f"qmap{k}": of.clone(), f"absmax{k}": absmax}
    return {"step": step, WRAPPED: state}


def from_torchao(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a parameter with plain tensors in place of torchao's, which know what their codes stand for."""
    return {
        name: value.dequantize() if type(value).__name__ == "OptimState8bit" else value for name, value in state.items()
    }
