"""``python -m tests.emulator kernel.ptx --kernel NAME ...``: the emulator's ``ptxrun``, built first if it has to be.

Run from a checkout; ``--help`` lists the options, which are those of ``ptxrun``. The build goes to ``build/emulator``,
and needs CMake and a C++ compiler, but no nvcc.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "emulator"
CONFIGURE = ["-DALBERT_FAST_PYTHON=OFF", "-DALBERT_FAST_EMULATOR=ON", "-DALBERT_FAST_CUDA=OFF"]


def run_quietly(*command: str) -> None:
    """Runs a step of the build, of which one wants to hear only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(command)}: exit status {done.returncode}")


def ptxrun() -> Path:
    """The executable, up to date."""
    if not (BUILD / "CMakeCache.txt").is_file():
        run_quietly("cmake", "-S", str(ROOT), "-B", str(BUILD), *CONFIGURE)
    run_quietly("cmake", "--build", str(BUILD), "--target", "ptxrun", "--parallel", str(os.cpu_count() or 1))
    return BUILD / "tests" / "emulator" / "ptxrun"


def main() -> int:
    return subprocess.run([ptxrun(), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
