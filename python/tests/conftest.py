"""Tests of lockstep.torch are left out where there is no PyTorch, which .ci/run says loudly.

PyTorch's threads wait busily, and are one wherever they are not what is tested.
"""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_torch*", "scale"]

if find_spec("torch"):
    import torch

    torch.set_num_threads(1)
