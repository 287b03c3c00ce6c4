"""All launches that the PTX emulator counts, in a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from albert_fast import _core
from albert_fast._core import Ops
from bench import counted
from bench.counted import Counted
from bench.cubins import ToolMissingError
from bench.launches import DTYPES, attention_calls, linear_calls, row_calls, widest_calls
from bench.linear_grad_launches import linear_grad_calls
from bench.report import Table
from bench.training_launches import (
    attention_grad_calls,
    training_dropout_calls,
    training_row_calls,
    training_widest_calls,
)

SHOWN = (linear_calls, linear_grad_calls, attention_calls, row_calls, attention_grad_calls, training_row_calls)
WIDEST = (widest_calls, training_widest_calls, training_dropout_calls)
"""Only for the shared memory that kernels take."""


@contextmanager
def emulated_device() -> Iterator[Any]:
    """The emulator under the CUDA backend, built from this checkout; throws ``ToolMissingError`` if it cannot be."""
    import emulated  # of tests/, where bench.cases looks too

    print(f"bench: building the emulated CUDA backend in {emulated.BUILD}", file=sys.stderr)
    try:
        library = emulated.build()
    except emulated.CannotBuildError as error:
        raise ToolMissingError(str(error)) from error
    _core.load_cuda_backend(str(library))
    try:
        yield emulated.Emulator(library)
    finally:
        _core.load_cuda_backend("")


def count_all(take_counters: Callable[[], counted.Records]) -> tuple[list[Counted], counted.Records]:
    """The calls to show, of bfloat16 and float32; and the launches of these and of all others."""
    shown: list[Counted] = []
    records: list[dict[str, Any]] = []
    for dtype in DTYPES:
        ops = Ops(device="cuda", dtype=dtype)
        for calls in (*SHOWN, *WIDEST):
            found = [counted.count(call, take_counters) for call in calls(ops)]
            records += [record for one in found for record in one.records]
            if dtype != "float16" and calls not in WIDEST:
                shown += found
    return shown, records


def launch_table() -> tuple[Table, dict[str, int]]:
    """What the emulator counted; and the dynamic shared memory of every kernel."""
    with emulated_device() as emulator:
        shown, records = count_all(emulator.take_counters)
        table = counted.table("Launches on the PTX emulator", shown)
        table.failures += emulator.take_report().splitlines()
    return table, counted.dynamic_shared(records)
