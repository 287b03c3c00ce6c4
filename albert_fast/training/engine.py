"""Between torch's tensors and the engine: which one runs a spec, and what it is given."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from albert_fast import _core, cuda
from albert_fast.errors import AlbertFastError, InvalidInputError
from albert_fast.training.spec import LAYER_PARAMETERS, EncoderSpec, TrainingPolicy

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
"""What ids and labels may be of."""
_FFN_WEIGHT = LAYER_PARAMETERS.index("ffn.weight")


def array(tensor: Tensor) -> Any:
    """The tensor's memory as the core takes it: NumPy's view on the CPU, else the tensor, which has DLPack."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def parameter_array(tensor: Tensor) -> Any:
    """The same of memory that is only read. NumPy's view would make a storage that cannot be resized, and FSDP resizes
    those of parameters; DLPack leaves it as it is."""
    tensor = tensor.detach().contiguous()
    return np.from_dlpack(tensor) if tensor.device.type == "cpu" else tensor


def stream_of(tensor: Tensor) -> int:
    """The ``cudaStream_t`` that work on the tensor has to be queued on; 0 on the CPU."""
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0


class How(TypedDict):
    """The arguments that say how a call of the core runs."""

    num_threads: int
    stream: int


def how(tensor: Tensor) -> How:
    """Threads and stream of a call that works on the tensor."""
    return {"num_threads": torch.get_num_threads(), "stream": stream_of(tensor)}


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """In which dtype the kernels compute for a parameter like this one.

    Under autocast its dtype on CUDA; a CPU computes in float32, or in float64 if that is what it is given.
    """
    if tensor.is_cuda:
        active = torch.is_autocast_enabled("cuda")
        return torch.get_autocast_dtype("cuda") if active else tensor.dtype
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def name_of(dtype: torch.dtype) -> str:
    """``"float32"``."""
    return str(dtype).removeprefix("torch.")


@functools.lru_cache(maxsize=32)
def _engine(
    spec: EncoderSpec, hidden_size: int, intermediate_size: int, keep_every: int, dtype: str, device: str
) -> _core.EncoderTraining:
    return _core.EncoderTraining(
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_attention_heads=spec.num_attention_heads,
        activation="gelu" if spec.hidden_act == "gelu" else "gelu_new",
        layer_norm_eps=spec.layer_norm_eps,
        hidden_dropout=spec.hidden_dropout_prob,
        attention_dropout=spec.attention_probs_dropout_prob,
        layers=list(spec.layers),
        keep_every=keep_every,
        dtype=dtype,
        device=device,
    )


def engine_of(spec: EncoderSpec, parameters: Sequence[Tensor], keep_every: int) -> _core.EncoderTraining:
    """The engine of these parameters; engines are kept, for they hold memory to work in."""
    if len(parameters) != (max(spec.layers, default=-1) + 1) * len(LAYER_PARAMETERS):
        raise InvalidInputError(
            f"parameters: got {len(parameters)} tensors, expected {len(LAYER_PARAMETERS)} for each of the"
            f" {max(spec.layers, default=-1) + 1} sets that the spec's layers name"
        )
    ffn = parameters[_FFN_WEIGHT]
    if ffn.dim() != 2:
        raise InvalidInputError(f"parameters[{_FFN_WEIGHT}]: got shape {list(ffn.shape)}, expected [I, H]")
    intermediate_size, hidden_size = map(int, ffn.shape)  # plain numbers, also where a compiler traces shapes
    return _engine(spec, hidden_size, intermediate_size, keep_every, name_of(ffn.dtype), ffn.device.type)


@functools.lru_cache(maxsize=64)
def complaint_of_sizes(
    spec: EncoderSpec, hidden_size: int, intermediate_size: int, dtype: str, device: str
) -> str | None:
    """Why no engine takes layers of these sizes, dtype and device; None if one does."""
    if found := complaint_of_device(device):
        return found
    try:
        _engine(spec, hidden_size, intermediate_size, 1, dtype, device)
    except (AlbertFastError, ValueError) as error:
        return str(error)
    return None


def complaint_of_device(device: str) -> str | None:
    """Why no kernels of ours run on a device of this type; None if they do."""
    if device not in ("cpu", "cuda"):
        return f"there are no kernels for the device {device}"
    return cuda.why_not() if device == "cuda" else None


def resolve_policy(
    policy: TrainingPolicy, spec: EncoderSpec, parameters: Sequence[Tensor], cu_seqlens: np.ndarray[Any, Any]
) -> TrainingPolicy:
    """What ``"auto"`` is for this batch; any other policy as it is.

    Keeping all comes first, however little is deferred: to compute activations again costs more than deferring gains.
    """
    if policy.memory_bytes is None:
        return policy
    least = 0
    for keep in ("all", "inputs"):
        engine = engine_of(spec, parameters, 0 if keep == "all" else 1)
        a_layer = max(1, engine.chunk_layer_bytes(int(cu_seqlens[-1])))
        for chunk in range(deferred_layers(policy, a_layer, spec), 0, -1):
            least = engine.step_bytes(cu_seqlens, chunk, **how(parameters[0]))
            if least <= policy.memory_bytes:
                return TrainingPolicy(keep, chunk * a_layer)
    raise InvalidInputError(
        f"memory_bytes: got {policy.memory_bytes}, expected at least {least} for {int(cu_seqlens[-1])} tokens"
    )


def deferred_layers(policy: TrainingPolicy, layer_bytes: int, spec: EncoderSpec) -> int:
    """Of how many layers the weight gradients are one product."""
    return max(1, min(policy.defer_bytes // max(1, layer_bytes), len(spec.layers)))


class Rows:
    """Which rows of a padded [B, S, H] are tokens, [B, S] of ``attention_mask``; None: all."""

    def __init__(self, hidden_states: Tensor, attention_mask: Tensor | None) -> None:
        batch, length, _ = hidden_states.shape
        self.shape = hidden_states.shape
        self.indices: Tensor | None = None
        lengths = np.full(batch, length)
        if attention_mask is not None:
            keep = attention_mask.detach().to("cpu") != 0
            lengths = keep.sum(dim=1).numpy()
            if not keep.all():
                self.indices = keep.flatten().nonzero().flatten().to(hidden_states.device)
        self.cu_seqlens = np.zeros(batch + 1, np.int32)
        np.cumsum(lengths, out=self.cu_seqlens[1:])

    def take(self, padded: Tensor) -> Tensor:
        """[B, S, H] -> [T, H], contiguous."""
        rows = padded.detach().reshape(-1, self.shape[2])
        return rows.contiguous() if self.indices is None else rows[self.indices]

    def put(self, rows: Tensor) -> Tensor:
        """[T, H] -> [B, S, H], zeros where there is no token."""
        if self.indices is None:
            return rows.view(self.shape)
        padded = rows.new_zeros(self.shape[0] * self.shape[1], self.shape[2])
        padded[self.indices] = rows
        return padded.view(self.shape)
