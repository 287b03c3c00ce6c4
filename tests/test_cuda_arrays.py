"""Arrays in device memory across the borders of DLPack and of threads."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import CudaDevice
from foreign import CODES, CUDA, Consumer, Foreign, tensor_of
from test_cuda_model import CONFIGS, LENGTHS, ragged, write

from albert_fast import _core, load
from albert_fast.cuda import DeviceArray
from albert_fast.errors import InvalidInputError

CONFIG = CONFIGS["heads of 32"]


@pytest.mark.parametrize(
    ("dtype", "code", "bits"), [("float32", "float", 32), ("float16", "float", 16), ("bfloat16", "bfloat", 16)]
)
def test_what_a_capsule_says(cuda: CudaDevice, dtype: str, code: str, bits: int) -> None:
    array = DeviceArray((3, 5, 8), dtype)
    capsule = array.__dlpack__()
    tensor = tensor_of(capsule)
    assert (tensor.device_type, tensor.device_id) == array.__dlpack_device__() == (CUDA, 0)
    assert (tensor.code, tensor.bits, tensor.lanes) == (CODES[code], bits, 1)
    assert tensor.shape[: tensor.ndim] == [3, 5, 8]
    assert not tensor.strides
    assert (tensor.data, tensor.byte_offset) == (array.data_ptr, 0)
    assert array.device == "cuda:0"


def read(pointer: int) -> None:
    """Fails unless the device has something there."""
    ops = _core.Ops(device="cuda", dtype="float32")
    ops.gather(Foreign(pointer, (4, 8), "float", 32), np.zeros(1, np.int32), out=DeviceArray((1, 8)))


def test_memory_lives_as_long_as_the_last_that_has_it(cuda: CudaDevice) -> None:
    """The array, a capsule that nobody took, and a consumer: in whatever order they go."""
    array = DeviceArray.from_numpy(np.ones((4, 8)))
    pointer, unused, taken = array.data_ptr, array.__dlpack__(), array.__dlpack__()
    consumer = Consumer(taken)
    del taken, array
    read(pointer)
    consumer.done()
    read(pointer)
    del unused
    gc.collect()
    with pytest.raises(InvalidInputError, match="x: got memory of the host"):
        read(pointer)


def test_what_dlpack_may_ask_for(cuda: CudaDevice) -> None:
    array = DeviceArray.from_numpy(np.ones((2, 8)))
    for stream in (None, -1, 0, 1):
        assert tensor_of(array.__dlpack__(stream=stream, max_version=(1, 0), dl_device=(CUDA, 0), copy=False)).data
    with pytest.raises(BufferError, match="dl_device"):
        array.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="copy"):
        array.__dlpack__(copy=True)
    np.testing.assert_array_equal(array.numpy(), np.ones((2, 8)))


def test_a_producer_is_told_the_stream(cuda: CudaDevice) -> None:
    """It must order its own work before ours; 1 is DLPack's number for the default stream."""
    x = DeviceArray.from_numpy(np.ones((4, 8)))
    foreign, out = Foreign(x.data_ptr, (4, 8), "float", 32), DeviceArray((1, 8))
    _core.Ops(device="cuda", dtype="float32").gather(foreign, np.array([3], np.int32), out=out)
    assert foreign.streams == [1]
    np.testing.assert_array_equal(out.numpy(), np.ones((1, 8)))


def test_a_row_of_a_larger_array(cuda: CudaDevice) -> None:
    """A view: offset in bytes, and strides that say no more than the shape does."""
    x = DeviceArray.from_numpy(np.arange(32).reshape(4, 8))
    view, out = Foreign(x.data_ptr, (2, 8), "float", 32, byte_offset=64, strides=(8, 1)), DeviceArray((2, 8))
    _core.Ops(device="cuda", dtype="float32").gather(view, np.array([1, 0], np.int32), out=out)
    np.testing.assert_array_equal(out.numpy(), [np.arange(24, 32), np.arange(16, 24)])


def test_threads_share_a_model(cuda: CudaDevice, tmp_path: Path) -> None:
    """Each call has memory of its own: results are those of one call after the other, bit for bit."""
    model = load(write(tmp_path, CONFIG), device="cuda", dtype="bfloat16")
    batches = [ragged(LENGTHS[i:], seed=i) for i in range(4)]
    expected = [model.encode_ragged(**batch, pooling="mean") for batch in batches]

    def encode(i: int) -> None:
        for j in range(i, i + 3):
            batch = batches[j % 4]
            if j % 2:
                features = model.encode_ragged(**batch, pooling="mean")
            else:
                out = DeviceArray((len(batch["cu_seqlens"]) - 1, CONFIG.hidden_size))
                features = model.encode_ragged(**batch, pooling="mean", out=out).numpy()
            np.testing.assert_array_equal(features, expected[j % 4])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(encode, range(4)))


def test_threads_step_their_own_states(cuda: CudaDevice, tmp_path: Path) -> None:
    """States of one encoder, each advanced by another thread, between one another's iterations."""
    model = load(write(tmp_path, CONFIG), device="cuda", dtype="bfloat16")
    batches = [ragged((9 + i, 3), seed=i) for i in range(4)]

    def step(i: int) -> np.ndarray:
        state = model.encoder.start(**batches[i])
        while state.advance():
            pass
        return state.hidden_states()

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(step, range(4)))
    for i, hidden in enumerate(together):
        np.testing.assert_array_equal(hidden, step(i))
