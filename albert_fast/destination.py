"""Where a model's results go: NumPy, torch tensors over host memory, or torch tensors on the GPU, written in place."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from albert_fast.errors import MissingDependencyError

if TYPE_CHECKING:
    from albert_fast.batching import RaggedBatch


class NumpyDestination:
    """Results are NumPy arrays, of float32 or float64."""

    stream: int = 0
    """The ``cudaStream_t`` that the work is to be queued on."""

    def room(self, rows: int, cols: int, dtype: str) -> Any:
        """What the core shall write [rows, cols] to; None: a new array of its own, on the host."""
        return None

    def empty(self, rows: int, cols: int, dtype: str) -> Any:
        """An uninitialised [rows, cols], for results to be assigned to."""
        return np.empty((rows, cols), dtype)

    def finite_rows(self, rows: Any) -> npt.NDArray[np.bool_]:
        """Which rows hold neither NaN nor infinity; [n], on the host."""
        return np.asarray(np.isfinite(rows).all(axis=1))

    def split(self, rows: Any, offsets: npt.NDArray[np.integer[Any]]) -> list[Any]:
        """Rows [T, H] cut at ``offsets``; each part has memory of its own."""
        return [part.copy() for part in np.split(rows, offsets)]

    def concatenate(self, parts: Sequence[Any]) -> Any:
        """Parts [n, H], end to end."""
        return np.concatenate(parts)

    def pad(self, batch: RaggedBatch, rows: Any) -> Any:
        """Rows [T, H] as [B, S, H], zeros where the batch has no token."""
        return self.finish(batch.to_padded(rows))

    def finish(self, array: Any) -> Any:
        """What the caller gets for an array made here."""
        return array


class HostTorchDestination(NumpyDestination):
    """Results are torch tensors over the memory of NumPy arrays."""

    def finish(self, array: Any) -> Any:
        """A tensor that shares the array's memory."""
        import torch

        return torch.from_numpy(array)


class DeviceTorchDestination(NumpyDestination):
    """Results are torch tensors on a device, written there on torch's current stream; nothing is waited for."""

    def __init__(self, device: Any) -> None:
        import torch

        self.device = torch.device(device)
        self.stream = torch.cuda.current_stream(self.device).cuda_stream if self.device.type == "cuda" else 0

    def room(self, rows: int, cols: int, dtype: str) -> Any:
        """An uninitialised tensor of torch's allocator."""
        import torch

        return torch.empty((rows, cols), dtype=getattr(torch, dtype), device=self.device)

    def empty(self, rows: int, cols: int, dtype: str) -> Any:
        """The same."""
        return self.room(rows, cols, dtype)

    def finite_rows(self, rows: Any) -> npt.NDArray[np.bool_]:
        """Waits for the rows."""
        return np.asarray(rows.isfinite().all(dim=1).cpu())

    def split(self, rows: Any, offsets: npt.NDArray[np.integer[Any]]) -> list[Any]:
        """Rows [T, H] cut at ``offsets``; each part has memory of its own."""
        return [part.clone() for part in rows.tensor_split(offsets.tolist())]

    def concatenate(self, parts: Sequence[Any]) -> Any:
        """Parts [n, H], end to end."""
        import torch

        return torch.cat(list(parts))

    def pad(self, batch: RaggedBatch, rows: Any) -> Any:
        """Rows [T, H] as [B, S, H], zeros where the batch has no token."""
        import torch

        origin = batch.origin
        assert origin is not None  # made by from_padded
        padded = rows.new_zeros((origin.batch * origin.length, rows.shape[1]))
        padded[torch.from_numpy(origin.flat).to(self.device)] = rows
        return padded.view(origin.batch, origin.length, rows.shape[1])

    def finish(self, array: Any) -> Any:
        """The tensor itself."""
        return array


def destination_like(given: Any, device: str) -> NumpyDestination:
    """Results beside what they are made from: tensors for a tensor, on the GPU if it is there and the model, too."""
    if type(given).__module__.partition(".")[0] != "torch":
        return NumpyDestination()
    if device == "cuda" and given.is_cuda:
        return DeviceTorchDestination(given.device)
    return HostTorchDestination()


def torch_destination(device: str) -> NumpyDestination:
    """Tensors where the model is, as far as this torch has that device."""
    import torch

    on_device = device == "cuda" and torch.cuda.is_available()
    return DeviceTorchDestination("cuda") if on_device else HostTorchDestination()


def tensorflow_tensor(array: npt.NDArray[Any]) -> Any:
    """An eager TensorFlow tensor of the array's shape and dtype, with memory of its own.

    Raises:
        MissingDependencyError: TensorFlow is not installed.
    """
    try:
        tensorflow: Any = import_module("tensorflow")  # by name: it has no types, and mypy runs without it, too
    except ImportError as error:
        raise MissingDependencyError(
            "return_tensors: got 'tf' but tensorflow is not installed; pip install 'albert_fast[tensorflow]'"
        ) from error
    return tensorflow.constant(array.copy())  # TensorFlow may keep the memory it is given
