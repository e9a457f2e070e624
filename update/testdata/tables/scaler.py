"""Write the scales of PyTorch's GradScaler after steps with and without infinities: python scaler.py FILE."""

import json
import sys
import warnings
from pathlib import Path

import torch

warnings.simplefilter("ignore")  # PyTorch warns that no accelerator is there


def scales(bad: list[bool], **options) -> list[float]:
    scaler = torch.amp.GradScaler("cpu", **options)
    w = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=1.0)
    seen = []
    for b in bad:
        scaler.scale(w.sum())
        w.grad = torch.tensor([float("inf") if b else 1.0])
        scaler.step(optimizer)
        scaler.update()
        seen.append(scaler.get_scale())
    return seen


def main() -> None:
    bad = [k in (0, 7, 8, 20, 21, 22, 40) for k in range(60)]
    options = {"growth_interval": 5}
    large = {"init_scale": 2.0**125, "growth_interval": 2}
    odd = {"init_scale": 1000.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 3}
    cases = {"usual": options, "large": large, "odd": odd, "default": {}}
    lines = [f"{json.dumps(name)}: {json.dumps(scales(bad, **c))}" for name, c in cases.items()]
    lines.append(f'"bad": {json.dumps([float(b) for b in bad])}')
    Path(sys.argv[1]).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
