"""Writes torch.json: hashes of what PyTorch's casts on a CPU make of all numbers but NaN.

    python casts.py          # of every 4093rd number that is narrowed
    python casts.py --all    # and of all, which takes minutes

Numbers come in the order of their bits, and a result is hashed as it is in memory, little
endian.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import torch

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
CHUNK = 1 << 24


def narrowed(dtype: torch.dtype, stride: int) -> str:
    h = hashlib.sha256()
    for first in range(0, 1 << 32, CHUNK * stride):
        bits = np.arange(first, min(first + CHUNK * stride, 1 << 32), stride, dtype=np.int64).astype(np.uint32)
        x = torch.from_numpy(bits.view(np.float32))
        x = x[~x.isnan()]
        h.update(x.to(dtype).view(torch.int16).numpy().tobytes())
    return h.hexdigest()


def widened(dtype: torch.dtype) -> str:
    x = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype).to(torch.float32)
    return hashlib.sha256(x[~x.isnan()].numpy().tobytes()).hexdigest()


def main() -> None:
    found = {
        "Torch": torch.__version__,
        "Widened": {name: widened(dtype) for name, dtype in TYPES.items()},
        "Stride": {name: narrowed(dtype, 4093) for name, dtype in TYPES.items()},
    }
    if "--all" in sys.argv[1:]:
        found["All"] = {name: narrowed(dtype, 1) for name, dtype in TYPES.items()}
    path = pathlib.Path(__file__).with_name("torch.json")
    path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
