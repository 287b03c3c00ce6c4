"""The CUDA backend on the PTX emulator: built from the checkout when first asked for, and controlled by tests.

The backend's sources are those that run on a GPU; only the CUDA runtime below them is another (tests/emulator).
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "emulated"
LIBRARY = BUILD / "tests" / "emulator" / "albert_fast_cuda_emulated.so"
CONFIGURE = ["-DALBERT_FAST_PYTHON=OFF", "-DALBERT_FAST_CUDA=ON", "-DALBERT_FAST_EMULATOR=ON"]


class CannotBuildError(Exception):
    """A tool is missing, or a build failed; the message has its output."""


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CannotBuildError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")


def missing_tool() -> str | None:
    """The program without which nothing can be built, or None."""
    found_nvcc = shutil.which("nvcc") or Path("/usr/local/cuda/bin/nvcc").exists()
    if not found_nvcc:
        return "nvcc"
    return next((tool for tool in ("cmake", "c++") if shutil.which(tool) is None), None)


@functools.cache
def build() -> Path:
    """The library, up to date with the checkout. Raises ``CannotBuildError``."""
    if tool := missing_tool():
        raise CannotBuildError(f"the emulated CUDA backend cannot be built: no {tool}")
    if not (BUILD / "CMakeCache.txt").is_file():
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        strict = ["-DALBERT_FAST_WERROR=ON"] if os.environ.get("ALBERT_FAST_REQUIRE_CUDA_TESTS") else []
        _run("cmake", "-S", str(ROOT), "-B", str(BUILD), *generator, *CONFIGURE, *strict)
    jobs = str(len(os.sched_getaffinity(0)))
    _run("cmake", "--build", str(BUILD), "--target", "albert_fast_cuda_emulated", "--parallel", jobs)
    return LIBRARY


class Emulator:
    """What tests ask of the emulated device, beside CUDA's own calls; see tests/emulator/runtime/control.h."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.emulator_set_seed.argtypes = [ctypes.c_uint64]
        self._library.emulator_set_memory_limit.argtypes = [ctypes.c_size_t]
        for name in ("emulator_take_report", "emulator_take_counters"):
            getattr(self._library, name).restype = ctypes.c_size_t
            getattr(self._library, name).argtypes = [ctypes.c_char_p, ctypes.c_size_t]
        self._library.emulator_kernel_ptx.restype = ctypes.c_size_t
        self._library.emulator_kernel_ptx.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
        self._library.emulator_replace_kernel.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        self._library.emulator_set_num_threads(len(os.sched_getaffinity(0)))

    def reset(self) -> None:
        """A fresh device: everything allocated on it is gone."""
        self._library.emulator_reset()

    def seed(self, seed: int) -> None:
        """Fixes the order in which warps, blocks and streams run."""
        self._library.emulator_set_seed(seed)

    def limit_memory(self, nbytes: int) -> None:
        """Device memory there is."""
        self._library.emulator_set_memory_limit(nbytes)

    def take_report(self) -> str:
        """What kernels and calls did wrong since the last time, one error a line."""
        return self._take("emulator_take_report")

    def take_counters(self) -> list[dict[str, Any]]:
        """One object for each launch since the last time."""
        launches: list[dict[str, Any]] = json.loads(self._take("emulator_take_counters"))
        return launches

    def kernel_ptx(self, kernel: str) -> str:
        """The PTX of the file that a kernel, named as in the counters, comes from."""
        size = self._library.emulator_kernel_ptx(kernel.encode(), None, 0) + 1
        text = ctypes.create_string_buffer(size)
        self._library.emulator_kernel_ptx(kernel.encode(), text, size)
        return text.value.decode()

    def replace_kernel(self, kernel: str, ptx: str | None) -> None:
        """Let a kernel's launches run other PTX; None: its own again. Raises ``ValueError`` if it does not parse."""
        if self._library.emulator_replace_kernel(kernel.encode(), None if ptx is None else ptx.encode()):
            raise ValueError(self.take_report())

    def _take(self, function: str) -> str:
        call = getattr(self._library, function)
        while True:
            size = call(None, 0) + 1
            text = ctypes.create_string_buffer(size)
            if call(text, size) < size:
                return text.value.decode()
