"""Write golden vectors for optimizer updates and losses by running the real frameworks.

    python golden.py                      # all, each in a virtual environment of its own
    python golden.py --framework torch    # one alone; the files of the others stay as they are
    python golden.py --framework torch --python PATH/bin/python    # with an interpreter that has it
    python golden.py --framework bitsandbytes    # for Python's tests of state of 8 bits, which no other run writes

Python 3.11; CPU is enough, no accelerator is used. tables/FRAMEWORK_cases.py has the cases, tables/FRAMEWORK.txt
the packages, of exactly these versions. Every .bin file is float32, little endian, no header.

golden/gradients.bin   60 rows x 257 columns, row t-1 is the gradient of step t
golden/tiny.bin        the same, for gradients of about 1e-20 and 1e-38, whose squares underflow
golden/huge.bin        the same, for gradients up to 1e22, whose squares overflow
golden/still.bin       gradients.bin with zeros in the first 5 steps
golden/params.bin      257 initial parameters
golden/rows.json       the rows that each step of a case with columns takes, see row_gradients
golden/matrix.bin      the gradients of a matrix of 17 x 33, matrix_params.bin its parameters
golden/FRAMEWORK.json  one object and line per case, see write_update_case in tables/common.py
golden/CASE.bin        parameters after each recorded step, then each state buffer

and in loss/testdata/golden

*.bin                  inputs (named in "pred" and "target") and one file per case:
                       gradient, then the losses of the elements if reduction is "none"
FRAMEWORK.json         one object per case, see write_loss_case, and the gradient that the
                       framework picks where none is unique
rows.json, rows_FRAMEWORK.json   losses of rows, see tables/row_losses.py
linear.json            linear models: data, values and gradients in float64, of PyTorch;
                       softmax_linear.json of softmax regression

and in schedules/FRAMEWORK.json the learning rates of schedules, see tables/schedules.py;
python/tests/testdata/bitsandbytes.npz has steps and state of bitsandbytes and torchao, see tables/bitsandbytes_cases.py;
scaler.json has the scales of a loss, see tables/scaler.py, around/*.bin averages, lookahead and
accumulation, see tables/around.py, muon/ Muon's steps, see tables/muon.py, sophia/ Sophia's, see tables/sophia.py, and soap/ SOAP's, see tables/soap.py.

Nothing is random beyond one fixed seed: two runs give the same bytes. PyTorch's AVX2 and
AVX-512 kernels agree bit for bit here; a CPU without either may change last bits.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
UPDATE, LOSS = HERE / "golden", HERE.parents[1] / "loss" / "testdata" / "golden"
EIGHT_BITS_OUT = HERE.parents[1] / "python" / "tests" / "testdata" / "bitsandbytes.npz"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lockstep-golden"
FRAMEWORKS = ("torch", "keras", "tensorflow", "optax")
EIGHT_BITS = "bitsandbytes"


def interpreter(framework: str) -> Path:
    """The interpreter of the framework's virtual environment, which is made if there is none."""
    python = CACHE / framework / "bin" / "python"
    if not python.exists():
        venv.create(CACHE / framework, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "tables" / f"{framework}.txt"], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description="write golden vectors by running the frameworks")
    parser.add_argument("--framework", choices=(*FRAMEWORKS, EIGHT_BITS), help="run one alone")
    parser.add_argument("--python", type=Path, help="an interpreter that has the framework")
    options = parser.parse_args()
    if options.python and not options.framework:
        parser.error("--python goes with --framework")
    if options.framework == EIGHT_BITS:
        python = options.python or interpreter(EIGHT_BITS)
        subprocess.run([python, HERE / "tables" / "bitsandbytes_cases.py", EIGHT_BITS_OUT], check=True)
        return
    for framework in [options.framework] if options.framework else FRAMEWORKS:
        python = options.python or interpreter(framework)
        subprocess.run([python, HERE / "tables" / f"{framework}_cases.py", UPDATE, LOSS], check=True)
        subprocess.run([python, HERE / "tables" / "around.py", framework, HERE / "around"], check=True)
        if framework == "torch":
            subprocess.run([python, HERE / "tables" / "scaler.py", HERE / "scaler.json"], check=True)
            subprocess.run([python, HERE / "tables" / "soap.py", HERE / "soap"], check=True)
        if framework == "optax":
            subprocess.run([python, HERE / "tables" / "sophia.py", HERE / "sophia"], check=True)
        if framework != "tensorflow":  # whose schedules, Muon and losses are Keras'
            subprocess.run([python, HERE / "tables" / "row_losses.py", framework, LOSS], check=True)
            subprocess.run([python, HERE / "tables" / "schedules.py", framework, HERE / "schedules"], check=True)
            subprocess.run([python, HERE / "tables" / "muon.py", framework, HERE / "muon"], check=True)


if __name__ == "__main__":
    sys.exit(main())
