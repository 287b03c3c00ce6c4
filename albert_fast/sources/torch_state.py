"""Tensors that torch holds: a ``pytorch_model.bin``, or the state of a live model. torch is imported for the
former only."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from albert_fast.errors import CheckpointError, MissingDependencyError
from albert_fast.layout import Shape
from albert_fast.sources.base import Rows

_DTYPES: Final = ("torch.float64", "torch.float32", "torch.float16", "torch.bfloat16")


@dataclass(frozen=True)
class TorchTensor:
    """A torch tensor read by rows; float32 and float64 on the CPU are seen without a copy."""

    label: str
    tensor: Any

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return tuple(self.tensor.shape)

    def rows(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1 as [stop - start, cols]; other devices, strides and half precisions are copied
        block-wise."""
        dtype, layout = str(self.tensor.dtype), str(self.tensor.layout)
        if dtype not in _DTYPES or layout != "torch.strided" or self.tensor.is_meta:
            place = "no device (meta)" if self.tensor.is_meta else layout
            raise CheckpointError(
                f"{self.label}: {dtype}, {place}; expected a dense tensor with data, {' or '.join(_DTYPES)}"
            )
        block = self.tensor[start:stop].detach().cpu()
        if dtype in ("torch.float16", "torch.bfloat16"):
            block = block.float()
        rows: Rows = block.reshape(stop - start, math.prod(self.shape[1:])).contiguous().numpy()
        return rows


def torch_tensors(state: Mapping[str, Any], label: str) -> dict[str, TorchTensor]:
    """Wrap a state dict. Raises ``CheckpointError`` for an entry that is not a tensor."""
    for name, value in state.items():
        if not isinstance(name, str) or not hasattr(value, "layout"):
            raise CheckpointError(f"{label}: entry {name!r} is a {type(value).__name__}, expected a tensor")
    return {name: TorchTensor(f"{label}: tensor {name}", value) for name, value in state.items()}


def read_torch_file(path: Path) -> dict[str, TorchTensor]:
    """The state dict in a ``.bin`` file, mapped where its format allows (torch >= 1.6), else read whole.

    Nothing but tensors is ever unpickled: a file with code in it is refused with ``CheckpointError``.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: reading a .bin checkpoint needs torch; `pip install albert_fast[torch]` brings it,"
            " or use a checkpoint in safetensors form"
        ) from error
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, for it holds more than tensors (or is damaged) and could run code when opened"
        ) from error
    except Exception as error:  # damaged input surfaces as whatever the unpickler happened to trip over
        raise CheckpointError(f"{path}: not a usable PyTorch file ({type(error).__name__}: {error})") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path}: holds a {type(state).__name__}, expected a state dict of named tensors")
    return torch_tensors(state, str(path))
