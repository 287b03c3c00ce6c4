"""Where a model's results go: NumPy, torch tensors over host memory, or torch tensors on the GPU, written in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from albert_fast.batching import RaggedBatch


class NumpyDestination:
    """Results are NumPy arrays, of float32 or float64."""

    stream: int = 0

    def room(self, rows: int, cols: int, dtype: str) -> Any:
        """An array [rows, cols] to be written to, or None: the core makes one on the host."""
        return None

    def pad(self, batch: RaggedBatch, rows: Any) -> Any:
        """Rows [T, H] as [B, S, H], zeros where the batch has no token."""
        return self.finish(batch.to_padded(rows))

    def finish(self, array: npt.NDArray[Any]) -> Any:
        """What the caller gets for an array of the core's."""
        return array


class HostTorchDestination(NumpyDestination):
    """Results are torch tensors over the memory of NumPy arrays."""

    def finish(self, array: npt.NDArray[Any]) -> Any:
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
