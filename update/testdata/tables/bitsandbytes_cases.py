"""Write steps and state of optimizers of 8 bits: python bitsandbytes_cases.py FILE.

Each case takes STEPS steps on the CPU over a large and a small parameter, the same ones with the same gradients, whose
sizes differ from element to element as those of a network do. FILE is an archive of NumPy:

maps                 the 256 numbers of bitsandbytes' dynamic map with a sign, and of that without
CASE/moved, CASE/small how far the parameters have come, as float16 and float32
CASE/KEY, CASE/small/KEY the state: state1, state2, absmax1, absmax2
CASE/group           the options of the group, in JSON
torchao/moved        the same of torchao's AdamW8bit

Python's tests take the cases and gradients from here.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

STEPS = 60
LARGE, SMALL = 4100, 100  # elements: the last block of the former is shorter than 256
WRAPPED = "__bnb_optimizer_quant_state__"

CASES = {
    "Adam8bit": {"lr": 1e-3},
    "AdamW8bit": {"lr": 1e-3, "weight_decay": 0.1},
    "SGD8bit": {"lr": 1e-2, "momentum": 0.9, "weight_decay": 1e-2},
    "RMSprop8bit": {"lr": 1e-3, "weight_decay": 1e-2},
    "Adagrad8bit": {"lr": 1e-2, "weight_decay": 1e-2},
    "Lion8bit": {"lr": 1e-3, "weight_decay": 0.1},
}
TORCHAO = {"lr": 1e-3, "weight_decay": 0.1}


def parameters(large=LARGE):
    random = np.random.RandomState(1)  # whose numbers never change
    return [random.standard_normal(n).astype(np.float32) for n in (large, SMALL)]


def gradients(step, large=LARGE, spread=0.5):
    """Those of a step from 0 on: a mean and noise, of sizes that differ by elements as e^(spread·N(0, 1)) does."""
    sizes, random = np.random.RandomState(2), np.random.RandomState(100 + step)
    found = []
    for n in (large, SMALL):
        scale, mean = 1e-2 * np.exp(spread * sizes.standard_normal(n)), 0.5 * sizes.standard_normal(n)
        found.append((scale * (mean + random.standard_normal(n))).astype(np.float32))
    return found


def train(make, steps=range(STEPS), start=None, large=LARGE, spread=0.5):
    """The optimizer and how far its parameters have come. make gets a list of parameters."""
    import torch

    values = start or parameters(large)
    params = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in values]
    optimizer = make(params)
    for step in steps:
        for p, g in zip(params, gradients(step, large, spread)):
            p.grad = torch.from_numpy(g)
        optimizer.step()
    return optimizer, [(p.detach().numpy() - v) for p, v in zip(params, values)]


def arrays():
    import bitsandbytes
    import torchao.optim
    from bitsandbytes.functional import create_dynamic_map

    yield "maps", np.stack([create_dynamic_map(signed=signed).numpy() for signed in (True, False)])
    for name, options in CASES.items():
        optimizer, moved = train(lambda params: getattr(bitsandbytes.optim, name)(params, **options))
        saved = optimizer.state_dict()
        yield f"{name}/moved", moved[0].astype(np.float16)
        yield f"{name}/small", moved[1]
        for k, prefix in enumerate((name, f"{name}/small")):
            for key, value in saved["state"][k][WRAPPED].items():
                if not key.startswith("qmap"):
                    yield f"{prefix}/{key}", value.numpy()
        yield f"{name}/group", np.array(json.dumps(saved["param_groups"][0]))
    large = LARGE // 256 * 256 + 256  # others have no codes there
    _, moved = train(lambda params: torchao.optim.AdamW8bit(params, **TORCHAO), large=large)
    yield "torchao/moved", moved[0].astype(np.float16)


def main():
    from common import check_versions

    check_versions(Path(__file__).with_name("bitsandbytes.txt"))
    with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays():
            raw = io.BytesIO()
            np.save(raw, array)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), raw.getvalue(), zipfile.ZIP_DEFLATED)  # without the time


if __name__ == "__main__":
    main()
