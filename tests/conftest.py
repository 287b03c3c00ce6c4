"""Shared fixtures, and the device that CUDA tests run on."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import emulated
import pytest

from albert_fast import _core, load
from albert_fast.model import Model

_SMALL_CACHE = 1 << 16


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="auto",
        choices=("auto", "cuda", "emulated"),
        help="what runs the CUDA tests: a GPU, the PTX emulator, or (auto) a GPU if there is one",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what CUDA tests need before the first test, whose time limit is not meant for compilers."""
    wanted = any("cuda_device" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or session.config.option.collectonly or not _emulates(session.config):
        return
    with contextlib.suppress(emulated.CannotBuildError):  # the fixture says so, to each test
        emulated.build()


def _emulates(config: pytest.Config) -> bool:
    choice = config.getoption("--device")
    return choice == "emulated" or (choice == "auto" and _core.cuda_unavailable_reason() != "")


@pytest.fixture(autouse=True)
def _quiet_random_weights() -> Iterator[None]:
    """Tests use random models on purpose; the warning that says so has a test of its own."""
    logging.getLogger("albert_fast").setLevel(logging.ERROR)
    yield
    logging.getLogger("albert_fast").setLevel(logging.NOTSET)


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """``caplog`` with the package's warnings in it."""
    caplog.set_level(logging.WARNING, "albert_fast")
    return caplog


@pytest.fixture(autouse=True)
def _no_gpu_unless_asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests without the ``cuda`` fixture say what the CPU does, also on a machine with a GPU."""
    if "cuda" not in request.fixturenames:
        monkeypatch.setattr("albert_fast.cuda.is_available", lambda: False)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread: small models are quicker so, most of all where other processes work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny() -> Model:
    """``random:tiny``: 3 iterations, 32 wide, our own vocabulary."""
    return load("random:tiny", device="cpu")


class CudaDevice:
    """A GPU, or the emulator in its place: then ``emulator`` is not None."""

    def __init__(self, library: Path | None) -> None:
        self.library = library
        self.emulator = None if library is None else emulated.Emulator(library)

    def seed(self, seed: int) -> None:
        """The order of warps and blocks, where one can choose it."""
        if self.emulator is not None:
            self.emulator.seed(seed)


@pytest.fixture(scope="session")
def cuda_device(request: pytest.FixtureRequest) -> CudaDevice:
    if not _emulates(request.config):
        if reason := _core.cuda_unavailable_reason():
            pytest.fail(f"--device cuda: {reason}")
        return CudaDevice(None)
    try:
        return CudaDevice(emulated.build())
    except emulated.CannotBuildError as error:
        if os.environ.get("ALBERT_FAST_REQUIRE_CUDA_TESTS") or emulated.missing_tool() is None:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def cuda(cuda_device: CudaDevice) -> Iterator[CudaDevice]:
    """The device for one test, which it leaves without a complaint. Other tests do not see it."""
    emulator = cuda_device.emulator
    if emulator is None:
        yield cuda_device
        return
    _core.load_cuda_backend(str(cuda_device.library))
    emulator.take_counters()
    yield cuda_device
    _core.load_cuda_backend("")
    report = emulator.take_report()
    if report:
        emulator.reset()
    assert report == ""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``bench.__main__`` with caches pretended to be small and samples short, so that little is done."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent))
    machine = importlib.import_module("bench.machine")
    monkeypatch.setattr(machine, "cache_bytes", lambda: _SMALL_CACHE)
    monkeypatch.setattr(machine, "_LARGE_PRODUCTS", ((64, 64, 64),))
    timing = importlib.import_module("bench.timing")
    monkeypatch.setattr(timing, "MIN_SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0.0)
    return importlib.import_module("bench.__main__")
