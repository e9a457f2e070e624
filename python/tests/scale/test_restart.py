"""A worker killed in the middle of a run under torchrun, which starts all again from the checkpoint."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[2] / "examples" / "torchrun_fsdp.py"
PATIENCE = 300  # seconds
STEPS = 30  # the example's


def _start(folder: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"]
    own = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, str(EXAMPLE), f"--folder={folder}", *options], env={**os.environ, **own}, stdout=out, stderr=out
        )


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, "ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _hash(process: subprocess.Popen[bytes], log: Path) -> str:
    status = process.wait(PATIENCE)
    assert status == 0, log.read_text()
    (found,) = set(re.findall("parameters: ([0-9a-f]{64})", log.read_text()))  # again where a worker was too late
    return str(found)


def _went_back(log: Path) -> bool:
    """Whether a job took steps again. PyTorch's workers can die as their interpreter ends, by a thread that is
    still there; a job whose steps were all taken is then started once more, and finds nothing to do."""
    resumed = {int(step) for step in re.findall("rank 0, process [0-9]+: from step ([0-9]+)", log.read_text())}
    assert 0 in resumed, log.read_text()
    return not resumed <= {0, STEPS}


def _kill_one(folder: Path, log: Path) -> tuple[str, bool]:
    """The hash of a job of which a worker is killed after the first checkpoint, and whether it went back to one."""
    job = _start(folder, log, "--pause=0.2")
    try:
        _wait_for(folder / "step-5", job)
        worker = int(re.findall(r"rank 1, process (\d+): from step 0", log.read_text())[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        return _hash(job, log), _went_back(log)
    finally:
        job.kill()


def test_a_killed_worker_leaves_no_trace(tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint: the job ends with the bits of one that nothing happened to."""
    for attempt in range(3):  # a job may end before who is to kill it has a processor
        log = tmp_path / f"killed-{attempt}.log"
        disturbed, went_back = _kill_one(tmp_path / f"killed-{attempt}", log)
        if went_back:
            break
    assert went_back, log.read_text()

    log = tmp_path / "undisturbed.log"
    assert _hash(_start(tmp_path / "undisturbed", log), log) == disturbed
    assert not _went_back(log), log.read_text()
