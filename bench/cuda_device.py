"""A GPU: its clock is its own events, and its caches are emptied before every call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

import torch

from albert_fast import _core, cuda
from bench.device import Device
from bench.machine import Limits
from bench.timing import Call, Times, take_turns

STATIC = "`python -m bench kernels --static` prints what can be known without one"

# Written before each call: more than any L2 holds, and 0.1 ms of work at 5 TB/s, in which the host queues the call.
FLUSH_BYTES = 512 << 20
COPY_BYTES = 512 << 20  # read, and as much written: no L2 keeps a part that matters
PRODUCT_SIDE = 8192  # a square product large enough to fill every multiprocessor many times over
CALLS_PER_SAMPLE = 10
_LIMIT_SAMPLES = 8


def why_not_timed() -> str | None:
    """Why ops cannot be timed on a GPU here, or None."""
    reason = cuda.why_not()
    if reason is None and (path := _core.cuda_backend_path()):
        reason = f"the CUDA backend is {path}, not the installed one; on an emulator times mean nothing"
    elif reason is None and not torch.cuda.is_available():
        reason = f"torch {torch.__version__}, which holds the operands and the clock, sees no GPU"
    return reason and f"{reason}; {STATIC}"


class CudaDevice(Device):
    """Our ops on torch's tensors, on torch's stream."""

    place = "cuda"
    rate_unit = ("TFLOP/s", 1e12)

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.ops = _core.Ops(device="cuda", dtype=dtype)
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        self.title = f"{properties.name}, {dtype}"
        self.cache_bytes = properties.L2_cache_size
        self.arguments = {"stream": torch.cuda.current_stream().cuda_stream}
        self.clock = EventClock(torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self.place).zero_)
        self._description = (
            f"{properties.name}: {properties.multi_processor_count} multiprocessors,"
            f" {properties.L2_cache_size / 1e6:.0f} MB of L2, {properties.total_memory / 1e9:.0f} GB;"
            f" torch's CUDA {torch.version.cuda}."
        )

    def array(self, tensor: torch.Tensor) -> Any:
        return tensor

    def weight(self, tensor: torch.Tensor) -> Any:
        return tensor

    def interleave(self, calls: Mapping[str, Call], rounds: int) -> Times:
        return self.clock.interleave(calls, rounds)

    def limits(self) -> Limits:
        """A copy, and a product of torch's, which is cuBLAS's; float32 without the shortcut through TF32."""
        torch.backends.cuda.matmul.allow_tf32 = False
        source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=self.place)
        target = torch.empty_like(source)
        copying = self.clock.best_seconds(partial(target.copy_, source))
        side = PRODUCT_SIDE
        a, b, out = self.normal(side, side), self.normal(side, side), self.poisoned(side, side)
        product = self.clock.best_seconds(partial(torch.mm, a, b.T, out=out))
        how = f"torch's product of two {self.dtype_name} matrices of {side} x {side}", "torch's copy, read and written"
        return Limits(2.0 * side**3 / product, 2 * COPY_BYTES / copying, *how)

    def notes(self) -> list[str]:
        clock = self.clock
        return [
            self._description,
            f"GPU times are between two events around one call, after {FLUSH_BYTES >> 20} MiB were written to empty"
            f" the caches. In {clock.late:,} of {clock.calls:,} calls the host was late: the GPU had come to the call"
            " before all of it was queued, so that waiting may be in its time.",
        ]


class EventClock:
    """Times of single calls, each after a flush of the caches; nothing waits between the calls of a sample."""

    def __init__(self, flush: Call) -> None:
        self._flush = flush
        self.calls = 0
        self.late = 0

    def interleave(self, calls: Mapping[str, Call], rounds: int) -> Times:
        """Samples of all in turn, after one of each that brings the clocks up and does not count."""
        samplers = {name: partial(self._sample, call) for name, call in calls.items()}
        for sampler in samplers.values():
            sampler()
        return take_turns(samplers, rounds)

    def best_seconds(self, call: Call) -> float:
        """The shortest sample, for limits."""
        self._sample(call)
        return min(self._sample(call) for _ in range(_LIMIT_SAMPLES))

    def _sample(self, call: Call) -> float:
        """Seconds of a call, the median of ``CALLS_PER_SAMPLE``."""
        pairs = [self._queue(call) for _ in range(CALLS_PER_SAMPLE)]
        torch.cuda.synchronize()
        return median(begin.elapsed_time(end) for begin, end in pairs) / 1e3

    def _queue(self, call: Call) -> tuple[Any, Any]:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush()
        begin.record()
        call()
        end.record()
        self.calls += 1
        self.late += begin.query()
        return begin, end
