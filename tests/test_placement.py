"""Names of devices and dtypes, ours and those of torch and transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import albert_fast
from albert_fast.errors import DeviceError, InvalidInputError
from albert_fast.placement import place_names, resolve_place


@pytest.mark.parametrize(
    ("device", "dtype", "names"),
    [
        (None, None, ("auto", "auto")),
        ("cpu", "int8", ("cpu", "int8")),
        (-1, torch.float32, ("cpu", "float32")),
        (0, torch.bfloat16, ("cuda", "bfloat16")),
        (torch.device("cpu"), "auto", ("cpu", "auto")),
        (torch.device("cuda"), "float16", ("cuda", "float16")),
        (torch.device("cuda:0"), torch.float16, ("cuda", "float16")),
        ("cuda:0", torch.int8, ("cuda", "int8")),
    ],
)
def test_what_is_meant(device: Any, dtype: Any, names: tuple[str, str]) -> None:
    assert place_names(device, dtype) == names


@pytest.mark.parametrize("device", ["", False, True, 1, -2, 0.0, "gpu", "cuda:1", [], torch.device("meta")])
def test_what_is_no_device_is_not_taken_for_any(device: Any) -> None:
    with pytest.raises(InvalidInputError, match="device: got "):
        albert_fast.encode(["a"], "random:tiny", device=device)
    with pytest.raises(InvalidInputError, match="device: got "):
        albert_fast.load("random:tiny", device=device)


@pytest.mark.parametrize("dtype", ["", 0, False, "fp32", torch.int64])
def test_what_is_no_dtype_is_not_taken_for_any(dtype: Any) -> None:
    with pytest.raises(InvalidInputError, match="dtype: got "):
        albert_fast.encode(["a"], "random:tiny", dtype=dtype)


def test_pipelines_and_verify_know_them_too() -> None:
    fill = albert_fast.pipeline("fill-mask", "mini", device=-1, dtype=torch.float32)
    assert (fill.model.device, fill.model.dtype) == ("cpu", "float32")
    assert albert_fast.verify("mini", device=torch.device("cpu")).passed
    with pytest.raises(InvalidInputError, match="device: got 0 for a model that is loaded as 'cpu'"):
        albert_fast.encode(["a"], fill.model, device=0)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("albert_fast.cuda.why_not", lambda: "no driver")
    with pytest.raises(DeviceError, match="no driver"):
        resolve_place(0, None)
