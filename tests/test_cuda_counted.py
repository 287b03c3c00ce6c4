"""What CUDA kernels ask of memory and of the tensor cores, as the PTX emulator counts it: beside the least there is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import CudaDevice

from albert_fast._core import Ops

sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import counted, launch_table, launches, linear_grad_launches, static, training_launches
from bench.cases import AttentionCase, LinearCase, LinearGradCase
from bench.counted import Call, Counted
from bench.cubins import linear_tiles

Count = Callable[[Iterator[Call]], list[Counted]]


@pytest.fixture
def count(cuda: CudaDevice) -> Count:
    if cuda.emulator is None:
        pytest.skip("a GPU does not count what the emulator counts")
    take = cuda.emulator.take_counters
    return lambda calls: [counted.count(call, take) for call in calls]


@pytest.fixture(params=launches.DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def faults(found: list[Counted]) -> list[str]:
    return [fault for one in found for fault in one.faults()]


def test_linear(count: Count, ops: Ops) -> None:
    """Every tile, full: no bank conflict, no sector used in part, no tensor instruction in vain."""
    found = count(launches.linear_calls(ops))
    assert faults(found) == []
    for one in found:
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == 1
        assert one.useful_flops == (None if ops.dtype == "float32" else 1)
    short = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[ops.dtype]
    tiles = linear_tiles()["fp32" if short == "fp32" else "16 bit"]
    kernels = {f"linear_kernel<{short}, {'x'.join(map(str, tile))}>" for tile in tiles}
    assert {kernel for one in found for kernel in one.kernels} == kernels, "a tile that nobody counts"


def test_linear_reads_its_operands_as_often_as_its_tiles_say(count: Count, ops: Ops) -> None:
    """To the byte: with no bias and no residual nothing else is read."""
    plain = [call for call in launches.linear_calls(ops) if call.least.read == 0]
    assert len(plain) == len(launches.LINEAR_SHAPES[launches.ITEM[ops.dtype]])
    for one in count(iter(plain)):
        assert one.counts.global_bytes_read == one.call.least.operands
        assert one.counts.global_bytes_written == one.call.least.written


def test_linear_reads_nothing_beyond_its_operands(count: Count, ops: Ops) -> None:
    """Where tiles are not full, what is missing of them is not read."""
    [one] = count(iter([launches.linear_call(ops, LinearCase(77, 208, 544, bias=False, residual=False))]))
    assert one.counts.global_bytes_read == one.call.least.operands
    assert one.wavefronts_over_ideal == one.sectors_over_ideal == 1


def test_linear_gradients(count: Count, ops: Ops) -> None:
    """The same of both gradients, to the byte; and no tensor instruction in vain."""
    found = count(linear_grad_launches.linear_grad_calls(ops))
    assert faults(found) == []
    for one in found:
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == one.bytes_over_least == 1
        assert one.useful_flops == (None if ops.dtype == "float32" else 1)
    short = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[ops.dtype]
    tiles = linear_tiles()["fp32" if short == "fp32" else "gradients"]
    names = (f"linear_{of}_grad_kernel<{short}, " for of in ("input", "weight"))
    kernels = {f"{name}{'x'.join(map(str, tile))}>" for name, tile in product(names, tiles)}
    launched = {kernel for one in found for kernel in one.kernels}
    assert launched == {*kernels, f"column_sums_kernel<{short}>"}, "a tile that nobody counts"


def test_linear_gradients_read_nothing_beyond_their_operands(count: Count, ops: Ops) -> None:
    """Where tiles are not full, what is missing of them is not read."""
    case = LinearGradCase(77, 208, 544, residual=False)
    for one in count(linear_grad_launches.linear_grad_calls(ops, [((64, 64), case)])):
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == one.bytes_over_least == 1


def test_attention(count: Count, ops: Ops) -> None:
    found = count(launches.attention_calls(ops))
    assert faults(found) == []
    for one in found:
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == 1
        assert one.useful_flops == (None if ops.dtype == "float32" else 1)


def test_attention_of_ragged_sequences_has_no_conflicts_either(count: Count, ops: Ops) -> None:
    for head_dim in launches.HEAD_DIMS:
        case = AttentionCase((70, 1, 0, 129), num_heads=2, head_dim=head_dim)
        [one] = count(iter([launches.attention_call(ops, case)]))
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == 1


def test_rows(count: Count, ops: Ops) -> None:
    """LayerNorm, embeddings, gather, pooling: whole sectors, and each operand once."""
    found = count(launches.row_calls(ops))
    assert faults(found) == []
    expensive = {f"{one.call.op} {one.call.shape}" for one in found if one.bytes_over_least > 1.05}
    assert expensive == {"layer_norm 64 x 4096, sums"}


def test_attention_grad(count: Count, ops: Ops) -> None:
    found = count(training_launches.attention_grad_calls(ops))
    assert faults(found) == []
    for one in found:
        assert one.wavefronts_over_ideal == one.sectors_over_ideal == 1
        assert one.useful_flops == (None if ops.dtype == "float32" else 1)


def test_rows_of_training(count: Count, ops: Ops) -> None:
    assert faults(count(training_launches.training_row_calls(ops))) == []


def test_shared_memory_is_what_the_static_figures_are_made_with(count: Count) -> None:
    records: list[dict[str, Any]] = []
    for dtype in launches.DTYPES:
        ops = Ops(device="cuda", dtype=dtype)
        for calls in (*launch_table.SHOWN, *launch_table.WIDEST):
            records += [record for one in count(calls(ops)) for record in one.records]
    assert static.load().dynamic_shared == counted.dynamic_shared(records)
