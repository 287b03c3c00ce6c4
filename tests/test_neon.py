"""The C++ tests on 64-bit ARM: cross-built, and run under qemu, with the kernels' ``neon`` table among them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "aarch64"
CONFIGURE = [
    "-DALBERT_FAST_PYTHON=OFF",
    "-DALBERT_FAST_CUDA=OFF",
    "-DALBERT_FAST_EMULATOR=OFF",
    "-DALBERT_FAST_TESTS=ON",
]
TOOLS = ("cmake", "ctest", "aarch64-linux-gnu-g++", "qemu-aarch64")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.fixture(scope="module")
def build() -> Path:
    """The build folder, up to date with the checkout."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"cannot build and run for aarch64: no {', '.join(missing)} on the PATH")
    if not (BUILD / "CMakeCache.txt").is_file():
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        toolchain = str(ROOT / "cmake" / "toolchain-aarch64.cmake")
        done = _run("cmake", "-S", str(ROOT), "-B", str(BUILD), "--toolchain", toolchain, *generator, *CONFIGURE)
        if done.returncode:
            (BUILD / "CMakeCache.txt").unlink(missing_ok=True)  # half of a configuration; the next run begins again
            if "DOCTEST_INCLUDE_DIR" in done.stdout:
                pytest.skip("cannot build the C++ tests: doctest is not installed")
            pytest.fail(done.stdout)
    done = _run("cmake", "--build", str(BUILD), "--parallel", str(len(os.sched_getaffinity(0))))
    assert done.returncode == 0, done.stdout
    return BUILD


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a build of everything, and tests at the speed of an emulator
def test_cpp_tests_under_qemu(build: Path) -> None:
    done = _run("ctest", "--test-dir", str(build), "--output-on-failure", "--no-tests=error")
    assert done.returncode == 0, done.stdout
    assert "symbols_neon" in done.stdout  # the variant was built, not left out
