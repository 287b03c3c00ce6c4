"""A GPU made of the CPU: torch's tensors stay where they are, events take a millisecond each, our ops are torch's.

It shows that the benches' GPU path passes what it should and reports what it measured, and nothing about a GPU.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

STREAM = 0x5EA
SECONDS = 1e-3  # from one event to the next


class Event:
    """Counts events, as a clock."""

    now = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        Event.now += 1
        self.time = Event.now

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * SECONDS * (end.time - self.time)

    def query(self) -> bool:
        return False


class Ops:
    """What ``_core.Ops(device="cuda")`` computes; every call has to name the stream."""

    name = "cuda"

    def __init__(self, *, device: str, dtype: str) -> None:
        assert device == "cuda"
        self.dtype = getattr(torch, dtype)

    def _write(self, out: torch.Tensor, result: torch.Tensor, dtype: torch.dtype, stream: int) -> None:
        assert stream == STREAM
        assert out.dtype == dtype
        out.copy_(result)

    def linear(self, x, weight, bias, activation, residual, *, out, stream) -> None:
        y = F.linear(x.float(), weight.float(), bias.float())
        y = F.gelu(y, approximate="tanh") if activation == "gelu_new" else y
        y = y if residual is None else y + residual
        self._write(out, y, self.dtype if residual is None else torch.float32, stream)

    def layer_norm(self, x, gamma, beta, eps, *, out, stream) -> None:
        y = F.layer_norm(x.float(), x.shape[1:], gamma.float(), beta.float(), eps)
        self._write(out, y, self.dtype, stream)

    def attention(self, qkv, cu_seqlens, num_heads, *, out, stream) -> None:
        lengths = set((cu_seqlens[1:] - cu_seqlens[:-1]).tolist())
        heads = qkv.float().view(-1, *lengths, 3, num_heads, out.shape[1] // num_heads)
        y = F.scaled_dot_product_attention(*heads.permute(2, 0, 3, 1, 4))
        self._write(out, y.transpose(1, 2).reshape(out.shape), self.dtype, stream)

    def embed(self, tokens, positions, types, word, position, kind, gamma, beta, eps, *, out, stream) -> None:
        total = sum(table[ids].float() for table, ids in ((word, tokens), (position, positions), (kind, types)))
        self._write(out, F.layer_norm(total, out.shape[1:], gamma.float(), beta.float(), eps), self.dtype, stream)

    def pool(self, x, cu_seqlens, pooling, *, out, stream) -> None:
        assert (pooling, cu_seqlens.tolist()) == ("mean", [0, len(x)])
        self._write(out, x.float().mean(0, keepdim=True), torch.float32, stream)

    def l2_normalize(self, x, *, stream) -> None:
        self._write(x, F.normalize(x), torch.float32, stream)


def install(monkeypatch: Any) -> None:
    """Lets ``bench.cuda_device`` find this GPU."""
    device = importlib.import_module("bench.cuda_device")
    small = {"FLUSH_BYTES": 16, "COPY_BYTES": 1 << 20, "PRODUCT_SIDE": 64, "CALLS_PER_SAMPLE": 3}
    for name, value in small.items():
        monkeypatch.setattr(device, name, value)
    monkeypatch.setattr(device.CudaDevice, "place", "cpu")
    monkeypatch.setattr(device.cuda, "why_not", lambda: None)
    monkeypatch.setattr(device._core, "Ops", Ops)
    properties = SimpleNamespace(name="Fake", L2_cache_size=1 << 12, multi_processor_count=3, total_memory=5 * 10**9)
    for name, value in {
        "Event": Event,
        "is_available": lambda: True,
        "synchronize": lambda: None,
        "current_device": lambda: 0,
        "current_stream": lambda: SimpleNamespace(cuda_stream=STREAM),
        "get_device_properties": lambda ordinal: properties,
    }.items():
        monkeypatch.setattr(device.torch.cuda, name, value)
