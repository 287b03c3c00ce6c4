"""Bad input on the CUDA path: an error that says what came and what was expected, and a device that goes on working."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import random_arrays, write_folder
from conftest import CudaDevice
from foreign import CUDA, Foreign
from test_cuda_model import CONFIGS, LENGTHS, ragged, write

from albert_fast import _core, load
from albert_fast.checkpoint import heads
from albert_fast.cuda import DeviceArray
from albert_fast.errors import CheckpointError, ConfigError, DeviceError, InvalidInputError
from albert_fast.layout import weight_layout
from albert_fast.model import Model
from albert_fast.sources.random_weights import random_source

CONFIG = CONFIGS["heads of 32"]
WIDTH = CONFIG.hidden_size


def check_works() -> None:
    ops = _core.Ops(device="cuda", dtype="bfloat16")
    x, out = DeviceArray.from_numpy(np.eye(8), "bfloat16"), DeviceArray((8, 8), "bfloat16")
    ops.linear(x, x, out=out)
    np.testing.assert_array_equal(out.numpy(), np.eye(8))


@pytest.fixture
def usable(cuda: CudaDevice) -> Iterator[CudaDevice]:
    """The device, which still works after the test."""
    yield cuda
    check_works()


@pytest.fixture
def ops(usable: CudaDevice) -> _core.Ops:
    return _core.Ops(device="cuda", dtype="bfloat16")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, CONFIG)


@pytest.fixture
def model(usable: CudaDevice, folder: Path) -> Model:
    return load(folder, device="cuda", dtype="bfloat16")


# Where there is no device


def test_no_driver(folder: Path) -> None:
    reason = _core.cuda_unavailable_reason()
    if not reason:
        pytest.skip("there is a GPU")
    for wanting in (
        lambda: load(folder, device="cuda"),
        lambda: DeviceArray((1,)),
        lambda: DeviceArray.from_numpy(np.ones(1)),
        lambda: _core.Ops(device="cuda", dtype="bfloat16"),
    ):
        with pytest.raises(DeviceError, match=f"^device: got 'cuda', expected 'cpu'.*: {re.escape(reason)}$"):
            wanting()
    assert load(folder).device == "cpu"


LOOK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("albert_fast._core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
print(core.cuda_unavailable_reason())
try:
    core.Ops(device="cuda")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        (None, "built without CUDA (no nvcc was found, or ALBERT_FAST_CUDA=OFF)"),
        (b"not a library", "CUDA backend: .*_cuda.so: .*"),
    ],
)
def test_no_backend(tmp_path: Path, installed: bytes | None, reason: str) -> None:
    """The backend is looked for beside the extension, so a copy of it elsewhere is a build of its own."""
    core = shutil.copy(_core.__file__, tmp_path)
    if installed is not None:
        (tmp_path / "_cuda.so").write_bytes(installed)
    found = subprocess.run([sys.executable, "-c", LOOK, core], capture_output=True, text=True, check=True).stdout
    said = reason if installed else re.escape(reason)
    assert re.fullmatch(f"{said}\nDeviceError: device: got 'cuda', expected 'cpu': {said}\n", found), found


FOREIGN_BACKEND = (
    'extern "C" const unsigned long* albert_fast_backend() { static unsigned long size = 8; return &size; }'
)


def test_a_library_that_is_no_backend(usable: CudaDevice, tmp_path: Path) -> None:
    """The one in use stays."""
    (tmp_path / "text.so").write_text("not a library")
    other = tmp_path / "other.so"
    (tmp_path / "other.cpp").write_text(FOREIGN_BACKEND)
    subprocess.run(["c++", "-shared", "-fPIC", tmp_path / "other.cpp", "-o", other], check=True)
    for path in (tmp_path / "missing.so", tmp_path / "text.so", Path(_core.__file__), other):
        with pytest.raises(DeviceError, match=f"CUDA backend: {re.escape(str(path))}"):
            _core.load_cuda_backend(str(path))
        check_works()


# Arrays


REFUSED = r"^device memory: got a request for (\d+) MB, expected at most the (\d+) MB free of (\d+) MB$"


def test_an_array_too_large(usable: CudaDevice) -> None:
    with pytest.raises(DeviceError, match=REFUSED) as raised:
        DeviceArray((1 << 20, 1 << 20))
    wanted, free, total = map(int, re.match(REFUSED, str(raised.value)).groups())
    assert wanted == 4 << 20
    assert 0 < free <= total
    with pytest.raises(InvalidInputError, match=r"^shape: got more than 2\^63 bytes"):
        DeviceArray((1 << 40, 1 << 40))
    with pytest.raises(InvalidInputError, match=r"^shape: got -1, expected extents of at least 0"):
        DeviceArray((3, -1))


class Speechless:
    """Says where it is, or that it cannot be had, as told."""

    def __init__(self, device: Any, answer: Callable[[], Any]) -> None:
        self._device, self._answer = device, answer

    def __dlpack_device__(self) -> Any:
        return self._device

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        return self._answer()


def refuse() -> Any:
    raise BufferError("it requires gradients")


HOST = np.ones((4, 16), np.uint16)
GOOD = r", expected a C-contiguous bfloat16 array of 2 dimensions$"
BAD: dict[str, tuple[Callable[[DeviceArray], Any], str]] = {
    "NumPy": (lambda x: x.numpy(), r"got ndarray, expected an array in the memory of cuda:0$"),
    "list": (lambda x: [[1.0]], r"got list, expected an array in the memory of cuda:0$"),
    "None": (lambda x: None, r"got NoneType, expected an array in the memory of cuda:0$"),
    "torch, CPU": (
        lambda x: torch.ones(4, 16, dtype=torch.bfloat16),
        r"got Tensor in the memory of the CPU, expected memory of cuda:0$",
    ),
    "other device": (
        lambda x: Foreign(x.data_ptr, (4, 16), device=(CUDA, 3)),
        r"got Foreign in the memory of cuda:3, expected memory of cuda:0$",
    ),
    "other kind of device": (
        lambda x: Foreign(x.data_ptr, (4, 16), device=(10, 0)),
        r"got Foreign in the memory of DLPack's device type 10, expected memory of cuda:0$",
    ),
    "no device": (lambda x: Speechless("here", refuse), r"got Speechless whose __dlpack_device__ gives no pair"),
    "refuses": (lambda x: Speechless((CUDA, 0), refuse), r"got Speechless that DLPack cannot.*it requires gradients"),
    "no capsule": (lambda x: Speechless((CUDA, 0), lambda: 1), r"got Speechless whose __dlpack__ gives int, expected"),
    "used capsule": (
        lambda x: Foreign(x.data_ptr, (4, 16), name=b"used_dltensor"),
        r"got Foreign whose __dlpack__ gives PyCapsule, expected a capsule named 'dltensor'$",
    ),
    "claims to be CUDA": (
        lambda x: Foreign(HOST.ctypes.data, (4, 16)),
        r"got memory of the host, expected memory of a CUDA device$",
    ),
    "null": (lambda x: Foreign(0, (4, 16)), r"got memory of the host, expected memory of a CUDA device$"),
    "stray": (lambda x: Foreign(0x123450, (4, 16)), r"got memory of the host, expected memory of a CUDA device$"),
    "freed": (lambda x: freed(), r"got memory of the host, expected memory of a CUDA device$"),
    "transposed": (
        lambda x: Foreign(x.data_ptr, (16, 4), strides=(1, 16)),
        r"got bfloat16 \[16, 4\] \(not C-contiguous\)" + GOOD,
    ),
    "every other column": (
        lambda x: Foreign(x.data_ptr, (4, 8), strides=(16, 2)),
        r"got bfloat16 \[4, 8\] \(not C-contiguous\)" + GOOD,
    ),
    "misaligned": (
        lambda x: Foreign(x.data_ptr, (4, 16), byte_offset=2),
        r"got an address 2 bytes beyond a multiple of 16, expected a multiple of 16",
    ),
    "half an element off": (
        lambda x: Foreign(x.data_ptr, (4, 16), byte_offset=1),
        r"got an address that is no multiple of 2, the size of an element, expected one that is$",
    ),
    "float32": (lambda x: Foreign(x.data_ptr, (2, 16), "float", 32), r"got float32 \[2, 16\]" + GOOD),
    "integers": (lambda x: Foreign(x.data_ptr, (2, 16), "int", 32), r"got integer32 \[2, 16\]" + GOOD),
    "one dimension": (lambda x: Foreign(x.data_ptr, (16,)), r"got bfloat16 \[16\]" + GOOD),
    "narrow": (lambda x: Foreign(x.data_ptr, (4, 8)), r"got bfloat16 \[4, 8\], expected shape \[any, 16\]$"),
}


def freed() -> Foreign:
    array = DeviceArray((4, 16), "bfloat16")
    return Foreign(array.data_ptr, (4, 16))


@pytest.mark.parametrize("what", BAD)
def test_arrays(ops: _core.Ops, what: str) -> None:
    make, message = BAD[what]
    good, weight = (DeviceArray.from_numpy(np.ones((4, 16)), "bfloat16") for _ in range(2))
    out = DeviceArray((4, 4), "bfloat16")
    with pytest.raises(InvalidInputError, match=f"x: {message}"):
        ops.linear(make(good), weight, out=out)
    ops.linear(good, weight, out=out)
    np.testing.assert_array_equal(out.numpy(), np.full((4, 4), 16))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.empty((5, WIDTH), np.float32), "got ndarray, expected an array in the memory of cuda:0"),
        (lambda: torch.empty(5, WIDTH), "got Tensor in the memory of the CPU, expected memory of cuda:0"),
        (lambda: DeviceArray((5, WIDTH), "bfloat16"), r"got bfloat16 \[5, 96\], expected a C-contiguous float32 array"),
        (lambda: DeviceArray((4, WIDTH)), r"got float32 \[4, 96\], expected shape \[5, 96\]"),
        (lambda: 1, "got int, expected an array in the memory of cuda:0"),
    ],
    ids=["NumPy", "torch", "dtype", "shape", "int"],
)
def test_out(model: Model, make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^out: {message}"):
        model.encode_ragged(**ragged(), pooling="mean", out=make())


def test_out_of_hidden_states(model: Model) -> None:
    """Two dtypes will do, so neither can be told from the array."""
    state = model.encoder.start(**ragged())
    for out in (1, np.empty((sum(LENGTHS), WIDTH), np.float32)):
        with pytest.raises(
            InvalidInputError, match=r"^out: got (int|ndarray), expected an array in the memory of cuda:0"
        ):
            state.hidden_states(out=out)


def test_states_of_different_encoders(model: Model, folder: Path) -> None:
    states = [m.encoder.start(**ragged()) for m in (model, load(folder, device="cuda"))]
    with pytest.raises(InvalidInputError, match=r"^states: got states of different encoders or streams"):
        model.encoder.join(states)


# Models


def test_dtypes_a_device_does_not_have(usable: CudaDevice, folder: Path) -> None:
    for dtype in ("float64", "int16", "int8"):
        refused = rf"^dtype: got '{dtype}' for CUDA, expected 'float32', 'bfloat16' or"
        with pytest.raises(InvalidInputError, match=refused):
            load(folder, device="cuda", dtype=dtype)
    with pytest.raises(
        InvalidInputError,
        match=r"^dtype: got 'float16'.*, expected 'float32', 'bfloat16', 'int16', 'int8' or 'float64'",
    ):
        load(folder, device="cpu", dtype="float16")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 6}, "num_attention_heads: got heads of 16 numbers,.* expected 32, 64 or 128"),
        ({"intermediate_size": 203}, "intermediate_size: got 203, expected a multiple of 8 for cuda"),
        ({"embedding_size": 41}, "embedding_size: got 41, expected a multiple of 8 for cuda"),
        ({"hidden_size": 99}, "hidden_size: got 99, expected a multiple of 8 for cuda"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_models_the_kernels_do_not_take(
    usable: CudaDevice, tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    folder = write(tmp_path, dataclasses.replace(CONFIG, **changes))
    with pytest.raises(ConfigError, match=f"^{message}"):
        load(folder, device="cuda")
    assert load(folder, device="cpu").encode_ragged(**ragged()).any()


def test_widths_an_op_does_not_take(ops: _core.Ops) -> None:
    def zeros(*shape: int) -> DeviceArray:
        return DeviceArray.from_numpy(np.zeros(shape), "bfloat16")

    with pytest.raises(InvalidInputError, match=r"head_dim: got 16, expected 32, 64 or 128"):
        ops.attention(zeros(3, 96), np.array([0, 3], np.int32), 2, out=zeros(3, 32))
    with pytest.raises(
        InvalidInputError, match=r"weight: got shape \[8, 12\], expected columns that are a multiple of 8"
    ):
        ops.linear(zeros(3, 12), zeros(8, 12), out=zeros(3, 8))
    with pytest.raises(InvalidInputError, match=r"got 12 columns with row stride 12, expected multiples of 8"):
        ops.layer_norm(zeros(3, 12), zeros(12), zeros(12), 1e-12, out=zeros(3, 12))


def test_a_weight_beyond_float16(usable: CudaDevice, tmp_path: Path) -> None:
    arrays = random_arrays(CONFIG)
    name = "albert.encoder.embedding_hidden_mapping_in.weight"
    arrays[name][7, 3] = 65520  # rounds to infinity; 65504 is the largest
    (tmp_path / "large").mkdir()
    write_folder(tmp_path / "large", arrays, CONFIG)
    with pytest.raises(
        CheckpointError, match=f"^tensor '{re.escape(name)}': got NaN, infinity or a number beyond float16"
    ):
        load(tmp_path / "large", device="cuda", dtype="float16")
    assert load(tmp_path / "large", device="cuda", dtype="bfloat16").encode_ragged(**ragged()).any()


def test_packed_weights(ops: _core.Ops) -> None:
    """Panels are a CPU's; a GPU's tiles are cut from plain weights."""
    layout_of_the_cpu = weight_layout(CONFIG, heads(random_source("packed", CONFIG)))
    with pytest.raises(InvalidInputError, match=r"^layout: got packed weights for cuda, expected plain ones"):
        _core.WeightBuffer(layout_of_the_cpu, device="cuda")
    with pytest.raises(InvalidInputError, match=r"^ops: got cuda, which multiplies by plain weights"):
        _core.PackedWeight(ops, DeviceArray((8, 8), "bfloat16"))
    packed = _core.PackedWeight(_core.Ops(), np.ones((8, 8), np.float32))
    x = DeviceArray.from_numpy(np.ones((8, 8)), "bfloat16")
    with pytest.raises(InvalidInputError, match="weight: got packed, expected plain"):
        ops.linear(x, packed, out=x)
