"""What the PTX emulator counted while kernels ran, beside the least that could have been done.

The counters are those of ``emulator_take_counters`` (tests/emulator/runtime/control.h): a list with one record for each
launch. There is no cache in the emulator, so every sector of 32 bytes that a warp asks for counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.cases import AttentionCase, LinearCase, LinearGradCase, RowsCase
from bench.cubins import short_names
from bench.report import Table, percent

Records = Sequence[dict[str, Any]]

COLUMNS = (
    *("op", "shape", "kernel", "wavefronts / ideal", "sectors / ideal"),
    *("operands read", "bytes / least", "useful tensor flops"),
)
SUM_BYTES = INDEX_BYTES = 4  # fp32 sums, int32 tokens, rows and offsets

_MOST_BYTES = 1.05  # over the least, unless a call says otherwise
_NOTE = (
    "Wavefronts: passes through shared memory over the fewest for what was asked for; sectors: of 32 bytes of global"
    " memory over the fewest. Operands read: how often the tiles of `linear`, of its gradients and of `attention` read"
    " x, weight, dy, queries, keys and values, which follows from their sizes. Bytes / least: all other bytes of global"
    " memory, over every operand once; there is no cache, so what many warps or blocks read counts for each of them."
    " Useful tensor flops: what the op needs, over what the tensor instructions did."
)


@dataclass(frozen=True)
class Counts:
    """Of one or more launches."""

    shared_wavefronts: int = 0
    shared_wavefronts_ideal: int = 0
    global_sectors: int = 0
    global_sectors_ideal: int = 0
    global_bytes_read: int = 0
    global_bytes_written: int = 0
    tensor_flops: int = 0

    @classmethod
    def of(cls, records: Records) -> Counts:
        """The sum over launches."""
        return cls(*(sum(record[field.name] for record in records) for field in fields(cls)))


@dataclass(frozen=True)
class Least:
    """What an op has to do: bytes of global memory, and operations that tensor instructions can do."""

    read: int  # each operand once, but for those of tiles
    written: int
    operands: int = 0  # bytes of tiles' operands, as often as the tiles read them
    operands_once: int = 0
    flops: int = 0


def least_linear(case: LinearCase, tile: tuple[int, int], item: int, y_item: int) -> Least:
    """Bias and residual; y. Tiles of [tokens, rows] read x for each of their columns, weight for each of their rows."""
    tokens, rows = tile
    return Least(
        read=item * (case.bias * case.n + case.residual * case.t * case.n),
        written=y_item * case.t * case.n,
        operands=item * case.k * (case.t * -(-case.n // rows) + case.n * -(-case.t // tokens)),
        operands_once=item * case.k * (case.t + case.n),
        flops=2 * case.t * case.n * case.k,
    )


def least_linear_input_grad(case: LinearGradCase, tile: tuple[int, int], item: int, dx_item: int) -> Least:
    """That of dy times the transposed weight."""
    product = LinearCase(case.t, case.k, case.n, bias=False, residual=case.residual)
    return least_linear(product, tile, item, dx_item)


def least_linear_weight_grad(
    case: LinearGradCase, tile: tuple[int, int], item: int, *, add: bool, dbias: bool
) -> Least:
    """That of the transposed dy times the transposed x, and a look at what it is added to; dbias reads dy once more."""
    product = LinearCase(case.n, case.k, case.t, bias=False, residual=False)
    least = least_linear(product, tile, item, SUM_BYTES)
    written = least.written + SUM_BYTES * case.n * dbias
    return replace(least, read=written * add, written=written, operands=least.operands + item * case.t * case.n * dbias)


def least_attention(case: AttentionCase, queries: int, item: int) -> Least:
    """Offsets; out. Every tile of queries reads its own, and all keys and values of the sequence."""
    rows, hidden = sum(case.lengths), case.num_heads * case.head_dim
    return Least(
        read=INDEX_BYTES * (len(case.lengths) + 1),
        written=item * rows * hidden,
        operands=item * hidden * sum(length + -(-length // queries) * 2 * length for length in case.lengths),
        operands_once=item * 3 * rows * hidden,
        flops=4 * hidden * sum(length * length for length in case.lengths),
    )


def least_layer_norm(case: RowsCase, item: int, x_item: int) -> Least:
    """x, gamma and beta; y."""
    return Least(x_item * case.t * case.h + item * 2 * case.h, item * case.t * case.h)


def least_embed(case: RowsCase, item: int, token_types: int) -> Least:
    """Two rows and three indices for each token, the rows of all token types, gamma and beta; out."""
    return Least(item * (2 * case.t + token_types + 2) * case.h + 3 * INDEX_BYTES * case.t, item * case.t * case.h)


def least_gather(case: RowsCase, item: int) -> Least:
    """As many rows as come out, and their numbers."""
    return Least((item * case.h + INDEX_BYTES) * case.t, item * case.t * case.h)


def least_pool(case: RowsCase, item: int, rows_out: int, offsets: int) -> Least:
    """The rows that are pooled, T of them, and offsets; sums."""
    return Least(item * case.t * case.h + INDEX_BYTES * offsets, SUM_BYTES * rows_out * case.h)


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
    most_bytes: float = _MOST_BYTES  # over the least


@dataclass(frozen=True)
class Counted:
    """A call that was run by itself, and what its launches counted."""

    call: Call
    records: Records

    @property
    def counts(self) -> Counts:
        """All of its launches together."""
        return Counts.of(self.records)

    @property
    def kernels(self) -> list[str]:
        """Short names."""
        return sorted(set(_names(self.records)))

    @property
    def wavefronts_over_ideal(self) -> float:
        """1.0 without bank conflicts, and without shared memory."""
        return _over(self.counts.shared_wavefronts, self.counts.shared_wavefronts_ideal)

    @property
    def sectors_over_ideal(self) -> float:
        """1.0 where every sector of 32 bytes that is fetched is used whole."""
        return _over(self.counts.global_sectors, self.counts.global_sectors_ideal)

    @property
    def bytes_over_least(self) -> float:
        """Read and written, without what the tiles read of their operands."""
        counts, least = self.counts, self.call.least
        beside_operands = counts.global_bytes_read - least.operands + counts.global_bytes_written
        return _over(beside_operands, least.read + least.written)

    @property
    def operands_read(self) -> float:
        """How often tiles read their operands."""
        return _over(self.call.least.operands, self.call.least.operands_once)

    @property
    def useful_flops(self) -> float | None:
        """Share of the operations of tensor instructions that the op needs; None if it has no such instructions."""
        done = self.counts.tensor_flops
        return self.call.least.flops / done if done else None

    def faults(self) -> list[str]:
        """What must not be."""
        found = []
        if self.wavefronts_over_ideal != 1:
            found.append(f"{self.wavefronts_over_ideal:.3f} times the wavefronts that shared memory needs")
        if self.sectors_over_ideal != 1:
            found.append(f"{self.sectors_over_ideal:.3f} times the sectors that global memory needs")
        if not self.bytes_over_least <= self.call.most_bytes:
            found.append(f"{self.bytes_over_least:.3f} times the least bytes, not {self.call.most_bytes}")
        return [f"{self.call.op} {self.call.shape}: {fault}" for fault in found]


def count(call: Call, take_counters: Callable[[], Records]) -> Counted:
    """Run a call, and take what it counted."""
    take_counters()  # forget what was launched before
    call.run()
    return Counted(call, take_counters())


def table(title: str, counted: Sequence[Counted]) -> Table:
    """One row for each call."""
    result = Table(title, COLUMNS, notes=[_NOTE])
    for one in counted:
        result.add(
            *(one.call.op, one.call.shape, ", ".join(one.kernels)),
            *(one.wavefronts_over_ideal, one.sectors_over_ideal, one.operands_read, one.bytes_over_least),
            "none" if one.useful_flops is None else percent(one.useful_flops),
        )
        result.failures += one.faults()
    return result


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
