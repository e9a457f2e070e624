"""Processes with a process group of gloo over loopback, for tests."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# Imported once, by the server that the processes are forked from.
PRELOAD = [
    "lockstep.torch",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.fsdp",
    "torch.distributed.optim",
]
PATIENCE = 300  # seconds


def launch(world: int, run: Callable[..., None], *args: Any) -> None:
    """Calls run(*args) as each rank of a world, and raises what one of them raised."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        ranks = [context.Process(target=_rank, args=(folder, rank, world, run, args)) for rank in range(world)]
        for process in ranks:
            process.start()
        try:
            _wait(ranks)
        finally:
            _end(ranks)
        errors = [path.read_text() for path in sorted(Path(folder).glob("error-*"))]
        assert not errors, "\n".join(errors)
        assert all(process.exitcode == 0 for process in ranks), [process.exitcode for process in ranks]


def _wait(ranks: Sequence[BaseProcess]) -> None:
    """Until all are done, or one failed, whom the others would wait for."""
    deadline = time.monotonic() + PATIENCE
    while any(process.exitcode is None for process in ranks) and not any(process.exitcode for process in ranks):
        assert time.monotonic() < deadline, f"not done within {PATIENCE} s"
        time.sleep(0.01)


def _end(ranks: Sequence[BaseProcess]) -> None:
    for process in ranks:
        process.kill()
        process.join()


def _rank(folder: str, rank: int, world: int, run: Callable[..., None], args: tuple[Any, ...]) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    os.environ.update(GLOO_SOCKET_IFNAME="lo", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    try:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
        run(*args)
        distributed.destroy_process_group()
    except BaseException:
        Path(folder, f"error-{rank}").write_text(f"rank {rank}: {traceback.format_exc()}")
        raise SystemExit(1) from None
