"""What the PTX emulator counted while kernels ran, beside the least that could have been done.

The counters are those of ``emulator_take_counters`` (tests/emulator/runtime/control.h): a list with one record for each
launch. There is no cache in the emulator, so every byte that a kernel asks for counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bench.cases import AttentionCase, LinearCase, RowsCase
from bench.cubins import short_names
from bench.report import Table

Records = Sequence[dict[str, Any]]

KERNEL_COLUMNS = ("kernel", "launches", "wavefronts / ideal", "sectors / ideal", "bytes read", "bytes written")
CALL_COLUMNS = ("op", "shape", "kernels", "wavefronts / ideal", "sectors / ideal", "read / least", "written / least")
SUM_BYTES = INDEX_BYTES = 4  # fp32 sums, int32 tokens, rows and offsets


@dataclass(frozen=True)
class Counts:
    """Of one or more launches."""

    shared_wavefronts: int = 0
    shared_wavefronts_ideal: int = 0
    global_sectors: int = 0
    global_sectors_ideal: int = 0
    global_bytes_read: int = 0
    global_bytes_written: int = 0

    @classmethod
    def of(cls, records: Records) -> Counts:
        """The sum over launches."""
        return cls(*(sum(record[field.name] for record in records) for field in fields(cls)))

    @property
    def wavefronts_over_ideal(self) -> float:
        """1.0 without bank conflicts, and without shared memory."""
        return _over(self.shared_wavefronts, self.shared_wavefronts_ideal)

    @property
    def sectors_over_ideal(self) -> float:
        """1.0 where every sector of 32 bytes that is fetched is used whole."""
        return _over(self.global_sectors, self.global_sectors_ideal)


@dataclass(frozen=True)
class Least:
    """Bytes of global memory that an op has to read and to write: every operand once."""

    read: int
    written: int


def least_linear(case: LinearCase, item: int, y_item: int) -> Least:
    """x, weight, bias and residual; y. Tiles read x and weight more than once, so only `written` can be reached."""
    operands = case.t * case.k + case.n * case.k + case.bias * case.n + case.residual * case.t * case.n
    return Least(item * operands, y_item * case.t * case.n)


def least_attention(case: AttentionCase, item: int) -> Least:
    """qkv, once; out."""
    rows, hidden = sum(case.lengths), case.num_heads * case.head_dim
    return Least(item * rows * 3 * hidden + INDEX_BYTES * (len(case.lengths) + 1), item * rows * hidden)


def least_layer_norm(case: RowsCase, item: int, x_item: int) -> Least:
    """x, gamma and beta; y."""
    return Least(x_item * case.t * case.h + item * 2 * case.h, item * case.t * case.h)


def least_embed(case: RowsCase, item: int) -> Least:
    """Three rows and three indices for each token, gamma and beta; out."""
    return Least(item * (3 * case.t + 2) * case.h + 3 * INDEX_BYTES * case.t, item * case.t * case.h)


def least_gather(case: RowsCase, item: int) -> Least:
    """As many rows as come out, and their numbers."""
    return Least((item * case.h + INDEX_BYTES) * case.t, item * case.t * case.h)


def least_pool(case: RowsCase, item: int, sequences: int, rows_read: int) -> Least:
    """All rows for the mean, one of each sequence for the first; sums."""
    return Least(
        item * rows_read * case.h + INDEX_BYTES * (sequences + 1),
        SUM_BYTES * sequences * case.h,
    )


def least_l2_normalize(case: RowsCase) -> Least:
    """Sums, in place."""
    return Least(SUM_BYTES * case.t * case.h, SUM_BYTES * case.t * case.h)


@dataclass(frozen=True)
class Call:
    """An op on some shape, and how to run it once on the emulated device."""

    op: str
    shape: str
    least: Least
    run: Callable[[], object]


def call_table(title: str, calls: Iterable[Call], take_counters: Callable[[], Records]) -> Table:
    """Run every call by itself, and take what its launches counted."""
    table = Table(title, CALL_COLUMNS)
    take_counters()  # forget what was launched before
    for call in calls:
        call.run()
        records = take_counters()
        counts = Counts.of(records)
        table.add(
            *(call.op, call.shape, ", ".join(sorted(set(_names(records))))),
            *(counts.wavefronts_over_ideal, counts.sectors_over_ideal),
            _over(counts.global_bytes_read, call.least.read),
            _over(counts.global_bytes_written, call.least.written),
        )
    return table


def kernel_table(records: Records) -> Table:
    """All launches of each kernel together."""
    table = Table("Launches under the emulator", KERNEL_COLUMNS)
    names = _names(records)
    for kernel in sorted(set(names)):
        own = [record for record, name in zip(records, names, strict=True) if name == kernel]
        counts = Counts.of(own)
        table.add(
            *(kernel, len(own), counts.wavefronts_over_ideal, counts.sectors_over_ideal),
            *(counts.global_bytes_read, counts.global_bytes_written),
        )
    return table


def dynamic_shared(records: Records) -> dict[str, int]:
    """The most dynamic shared memory that each kernel was launched with, in bytes; only of kernels that had some."""
    most: dict[str, int] = {}
    for name, record in zip(_names(records), records, strict=True):
        most[name] = max(most.get(name, 0), record["dynamic_shared"])
    return {name: most[name] for name in sorted(most) if most[name]}


def _names(records: Records) -> list[str]:
    mangled = sorted({record["kernel"] for record in records})
    names = dict(zip(mangled, short_names(mangled), strict=True))
    return [names[record["kernel"]] for record in records]


def _over(counted: int, least: int) -> float:
    """1.0 where there was nothing to do and nothing was done."""
    if least == 0:
        return 1.0 if counted == 0 else float("inf")
    return counted / least
