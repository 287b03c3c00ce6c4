"""A device that fails: out of memory, a stream that is none, a kernel that writes where it may not. The emulator can be
made to; what is asked of the process is a clear error, and to go on."""

from __future__ import annotations

import dataclasses
import gc
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import CudaDevice
from emulated import Emulator
from test_cuda_errors import CONFIG, REFUSED, check_works
from test_cuda_model import ragged, write

from albert_fast import _core, load
from albert_fast.checkpoint import heads
from albert_fast.cuda import DeviceArray
from albert_fast.errors import DeviceError
from albert_fast.layout import weight_layout
from albert_fast.model import Model
from albert_fast.sources.random_weights import random_source

ALL_MEMORY = 16 << 30


@pytest.fixture
def emulator(cuda: CudaDevice) -> Iterator[Emulator]:
    """The emulated device, which still works after the test."""
    if cuda.emulator is None:
        pytest.skip("needs a device that can be made to fail")
    yield cuda.emulator
    check_works()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, CONFIG)


@pytest.fixture
def model(emulator: Emulator, folder: Path) -> Model:
    return load(folder, device="cuda", dtype="bfloat16")


def limit_free(emulator: Emulator, megabytes: int) -> None:
    """Leaves so much for what is still to be allocated."""
    with pytest.raises(DeviceError) as raised:
        DeviceArray((1 << 40,))
    _, free, total = map(int, re.match(REFUSED, str(raised.value)).groups())
    emulator.limit_memory((total - free + megabytes) << 20)


def test_a_batch_too_large(emulator: Emulator, model: Model) -> None:
    """The batch is refused, the model is as good as before, and so is its memory."""
    expected = model.encode_ragged(**ragged())
    large = ragged((500,) * 100)
    limit_free(emulator, 4)
    try:
        with pytest.raises(DeviceError, match=REFUSED):
            model.encode_ragged(**large)
        with pytest.raises(DeviceError, match=REFUSED):
            model.encoder.start(**large)
        np.testing.assert_array_equal(model.encode_ragged(**ragged()), expected)
    finally:
        emulator.limit_memory(ALL_MEMORY)


def test_a_model_too_large(emulator: Emulator, folder: Path) -> None:
    config = dataclasses.replace(CONFIG, vocab_size=200_000)
    source = random_source("large", config)
    limit_free(emulator, 4)
    try:
        with pytest.raises(DeviceError, match=REFUSED):
            _core.WeightBuffer(weight_layout(config, heads(source), "float16", "cuda"), device="cuda")
        assert load(folder, device="cuda", dtype="float16").encode_ragged(**ragged()).any()
    finally:
        emulator.limit_memory(ALL_MEMORY)


def test_a_stream_that_is_none(emulator: Emulator, model: Model) -> None:
    with pytest.raises(DeviceError, match=r"^cuda[A-Za-z]+: cudaErrorInvalidResourceHandle: "):
        model.encode_ragged(**ragged(), stream=0x5EA5EA)
    assert "stream" in emulator.take_report()


OUT_OF_BOUNDS = """{
  .reg .b64 %address;
  .reg .b32 %value;
  mov.u64 %address, 16;
  mov.u32 %value, 0;
  st.global.u32 [%address], %value;
  ret;
}
"""


def broken(ptx: str, kernel: str) -> str:
    """The same kernel with another body."""
    header = re.search(r"\.version.*?\.address_size \d+", ptx, re.DOTALL)
    entry = re.search(rf"\.entry {kernel}\(.*?(?=\n\{{)", ptx, re.DOTALL)
    assert header is not None
    assert entry is not None
    return f"{header[0]}\n{entry[0]}\n{OUT_OF_BOUNDS}"


def fail_for_good(emulator: Emulator, folder: Path) -> None:
    """All that is on the device goes when this returns: after a failure nothing there can be used again."""
    model = load(folder, device="cuda", dtype="bfloat16")
    state = model.encoder.start(**ragged())
    emulator.take_counters()
    model.encode_ragged(**ragged())
    kernel = next(launch["kernel"] for launch in emulator.take_counters() if "attention" in launch["kernel"])
    emulator.replace_kernel(kernel, broken(emulator.kernel_ptx(kernel), kernel))
    with pytest.raises(DeviceError, match="illegal memory access"):
        model.encode_ragged(**ragged())
    assert "out of bounds" in emulator.take_report()
    for wanting in (
        lambda: model.encode_ragged(**ragged()),
        lambda: state.hidden_states(),
        lambda: model.state_dict(),
        lambda: load(folder, device="cuda"),
        lambda: DeviceArray((1,)),
    ):
        with pytest.raises(DeviceError, match="illegal memory access"):
            wanting()


def test_a_kernel_that_fails(emulator: Emulator, folder: Path) -> None:
    """CUDA gives up the device for this process; the process goes on, and a fresh device serves new models."""
    expected = load(folder, device="cuda", dtype="bfloat16").encode_ragged(**ragged())
    gc.collect()  # what the reset takes away must not be released after it
    fail_for_good(emulator, folder)
    gc.collect()
    emulator.reset()
    np.testing.assert_array_equal(load(folder, device="cuda", dtype="bfloat16").encode_ragged(**ragged()), expected)
