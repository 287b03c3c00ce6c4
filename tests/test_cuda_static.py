"""The machine code of every CUDA kernel is as ``tests/data/cuda_static.json`` says; so are the readers of it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import counted, cubins, static
from bench.cases import AttentionCase, LinearCase, LinearGradCase, RowsCase
from bench.sass import Function, Instruction, Mix, parse
from bench.targets import MOST_SHARED, TARGETS, bound

GEMM_OPCODES = Counter({"HMMA.16816.F32.BF16": 64, "LDSM.16.M88.4": 16, "LDGSTS.E.BYPASS.128": 6, "IADD3": 30})


@pytest.fixture(
    scope="module", params=[80, pytest.param(120, marks=pytest.mark.slow)], ids=lambda target: f"sm_{target}"
)
def measured(request: pytest.FixtureRequest) -> list[static.Figures]:
    try:
        for tool in ("cuobjdump", "nvdisasm"):
            cubins.find_tool(tool)
        cubins.find_compiler()
    except cubins.ToolMissingError as error:
        if os.environ.get("ALBERT_FAST_REQUIRE_CUDA_TESTS"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return static.measure(request.param, static.load())


def test_no_kernel_spills_or_asks_for_more_than_there_is(measured):
    assert [fault for figures in measured for fault in static.faults(figures, static.load())] == []
    for figures in measured:
        assert figures.spills == figures.kernel.local_bytes == 0
        assert figures.shared <= MOST_SHARED
        assert figures.blocks >= figures.kernel.least_blocks


def test_every_kernel_is_as_expected(measured):
    assert measured
    assert static.differences(measured[0].target, measured, static.load()) == []


def test_every_16_bit_product_is_made_by_tensor_instructions(measured):
    """Each has its least share in the file, fp32 kernels have none."""
    expected = static.load()
    tensor = {figures.kernel.name.partition("<")[0] for figures in measured if figures.loop.tensor}
    products = {"linear_kernel", "linear_input_grad_kernel", "linear_weight_grad_kernel"}
    assert tensor == {*products, "attention_kernel", "attention_dropout_kernel", "attention_grad_kernel"}
    for figures in measured:
        least = static.least_tensor_share(figures.kernel.name, expected)
        assert (figures.loop.tensor > 0) == (least is not None)
        assert figures.tensor_share >= (least or 0)


def listing(*lines: str) -> Function:
    """Lines as nvdisasm's: an optional predicate, an opcode, operands. The first has address 0, the next 0x10."""
    code = []
    for line in lines:
        predicate, _, rest = line.partition(" ") if line.startswith("@") else ("", "", line)
        opcode, _, operands = rest.partition(" ")
        entry = {"opcode": opcode, "operands": operands.replace(" ", "")}
        code.append(entry | ({"predicate": predicate} if predicate else {}))
    [function] = parse([{}, [{"function-name": "kernel", "sass-instructions": code}]])
    return function


def test_the_main_loop_is_the_one_with_the_tensor_instructions():
    function = listing(
        "MOV R0, R1",  # 0x00
        "FFMA R1, R1, R1, R1",  # 0x10, a loop with more of the rest
        "FFMA R1, R1, R1, R1",
        "IADD3 R0, R0, 0x1, RZ",
        "@P0 BRA 0x10",  # 0x40
        "LDSM.16.M88.4 R4, [R0]",  # 0x50, the main loop
        "HMMA.16816.F32.BF16 R8, R4, R6, R8",
        "@!P1 BRA 0x50",  # 0x70
        "EXIT",
        "BRA 0x90",  # 0x90, behind the end, as in every kernel
    )
    assert function.main_loop() == Mix(Counter({"LDSM.16.M88.4": 1, "HMMA.16816.F32.BF16": 1, "BRA": 1}))


def test_a_turn_of_the_loop_copies_the_next_tile_and_masks_nothing():
    function = listing(
        "MOV R0, R1",
        "HMMA.16816.F32.BF16 R8, R4, R6, R8",  # 0x10, the header
        "@P0 BRA 0x50",  # no next tile
        "LDGSTS.E.BYPASS.128 [R2], [R4.64]",
        "NOP",
        "@P1 BRA 0x80",  # 0x50: no edge to mask
        "FSEL R8, R8, RZ, P2",
        "FSEL R9, R9, RZ, P2",
        "@P3 CALL.REL.NOINC 0xa0",  # 0x80: leaves the loop, and does not return
        "BRA 0x10",
        "EXIT",  # 0xa0
    )
    turn = function.main_loop()
    assert turn == Mix(
        Counter({"HMMA.16816.F32.BF16": 1, "BRA": 3, "LDGSTS.E.BYPASS.128": 1, "NOP": 1, "CALL.REL.NOINC": 1})
    )


def test_a_loop_in_a_loop_turns_once():
    function = listing(
        "MOV R0, R1",
        "HMMA.16816.F32.BF16 R8, R4, R6, R8",  # 0x10
        "LDS R3, [R2]",  # 0x20
        "@P0 BRA 0x20",
        "@P1 BRA 0x10",
        "EXIT",
    )
    assert function.main_loop() == Mix(Counter({"HMMA.16816.F32.BF16": 1, "LDS": 1, "BRA": 2}))


def test_threads_that_met_again_go_on_where_the_barrier_says():
    function = listing(
        "MOV R0, R1",
        "BSSY B0, 0x60",  # 0x10
        "@P0 BRA 0x50",
        "BSSY B1, 0x50",
        "BSYNC B1",
        "BSYNC B0",  # 0x50
        "@P1 BRA 0x10",  # 0x60
        "EXIT",
    )
    turn = function.main_loop()
    assert turn is not None
    assert turn.count("BSYNC") == 1
    assert turn.total == 4


def test_code_without_a_loop_has_no_main_loop():
    assert listing("MOV R0, R1", "@P0 EXIT", "CALL.REL.NOINC $function", "EXIT", "BRA 0x40").main_loop() is None


def test_a_call_of_a_function_returns():
    called = Instruction("", "CALL.REL.NOINC", "$__internal_0_$__cuda_sm20_rcp_rn_f32_slowpath")
    assert not called.jumps


@pytest.mark.parametrize(
    ("target", "threads", "registers", "shared", "blocks"),
    [
        (80, 256, 32, 0, 8),  # threads
        (86, 256, 32, 0, 6),
        (80, 32, 16, 0, 32),  # blocks
        (86, 32, 16, 0, 16),
        (120, 32, 16, 0, 24),
        (80, 128, 255, 0, 2),  # registers
        (80, 128, 168, 0, 3),
        (80, 96, 168, 0, 4),  # a partition holds three warps of 168 registers
        (80, 128, 32, 48 << 10, 3),  # shared memory: one kilobyte of each block is the system's
        (86, 128, 32, 49 << 10, 2),
        (86, 128, 32, (49 << 10) + 1, 1),
        (90, 128, 32, 99 << 10, 2),
        (90, 128, 32, 227 << 10, 1),
        (86, 128, 32, 99 << 10, 1),
        (86, 128, 32, 100 << 10, 0),
    ],
)
def test_resident_blocks(target, threads, registers, shared, blocks):
    assert TARGETS[target].resident_blocks(threads, registers, shared) == blocks


def test_the_bound_is_the_slowest_resource():
    """A tile of 128 x 128 x 32 in four warps: 512 cycles of tensor instructions on 80, half as many on 90."""
    cycles = bound(TARGETS[80], Mix(GEMM_OPCODES), warps=4).cycles
    assert cycles == {"tensor": 512, "issue": 116, "shared memory": 4 * (16 * 4 + 6 * 4), "float": 0, "special": 0}
    assert bound(TARGETS[80], Mix(GEMM_OPCODES), warps=4).name == "tensor"
    assert bound(TARGETS[90], Mix(GEMM_OPCODES), warps=4).name == "shared memory"


@pytest.mark.parametrize(
    ("opcode", "wavefronts"),
    [
        ("LDSM.16.M88.4", 4),
        ("LDSM.16.MT88.2", 2),
        ("LDSM.16.M88", 1),
        ("LDS.128", 1),
        ("STS.128", 4),
        ("STS.64", 2),
        ("STS", 1),
        ("STS.U16", 1),
        ("LDGSTS.E.BYPASS.128", 4),
        ("SHFL.BFLY", 1),
        ("LDG.E.128", 0),
    ],
)
def test_wavefronts(opcode, wavefronts):
    assert bound(TARGETS[80], Mix(Counter({opcode: 1})), warps=1).cycles["shared memory"] == wavefronts


@pytest.mark.parametrize(
    ("demangled", "short"),
    [
        ("void albert_fast::cuda::(anonymous namespace)::f<__nv_bfloat16, 128, 64>(P<int>)", "f<bf16, 128x64>"),
        ("void a::f<a::Tile<(int)128, 32, 3>, float, (a::Act)1>(a::P)", "f<128x32x3, fp32, Act=1>"),
        ("void a::f<__half, a::Row<256ul> >(a::P)", "f<fp16, 256>"),
        ("void f<true, false, 8>(int)", "f<true, false, 8>"),
        ("a::(anonymous namespace)::gather_kernel(a::P)", "gather_kernel"),
        ("plain_c", "plain_c"),
    ],
)
def test_short_names(demangled, short):
    assert cubins._shorten(demangled) == short


def test_a_kernel_of_linear_is_named_after_its_tile():
    assert cubins._with_tile("linear_kernel<bf16, 1>") == "linear_kernel<bf16, 128x128x32>"
    assert cubins._with_tile("linear_kernel<fp32, 0>") == "linear_kernel<fp32, 64x64x32>"
    assert cubins._with_tile("linear_input_grad_kernel<fp16, 1>") == "linear_input_grad_kernel<fp16, 64x64x64>"
    with pytest.raises(IndexError):
        cubins._with_tile("linear_kernel<fp16, 99>")


PTX = """
.version 9.0
.extern .shared .align 16 .b8 buffers[];
.visible .entry _Z1fv(
.param .u64 _Z1fv_param_0
)
.maxntid 32, 4, 1
.minnctapersm 2
{
mov.u32 %r1, buffers;
{
ret;
}
}
.entry _Z1gv()
{
ret;
}
"""


def test_what_a_kernel_asks_for_stands_in_its_ptx():
    assert cubins._sources(PTX) == {"_Z1fv": cubins._Source(128, 2, True), "_Z1gv": cubins._Source(None, 1, False)}


@pytest.mark.parametrize(("target", "counted", "static_shared"), [(80, 512, 512), (90, 1536, 512), (90, 0, 0)])
def test_shared_memory_that_is_the_systems_is_not_the_kernels(target, counted, static_shared):
    source = cubins._Source(128, 1, False)
    assert cubins._kernel("f", source, (32, 0, counted, 0), listing("EXIT"), target).static_shared == static_shared


def figures(**changes: object) -> static.Figures:
    function = listing("MOV R0, R1", "HMMA.16816.F32 R8, R4, R6, R8", "@P0 BRA 0x10", "EXIT")
    kernel = cubins.Kernel("f<bf16>", 100, 0, 0, True, 128, 4, function)
    return static.Figures(replace(kernel, **changes), target=80, dynamic_shared=1 << 14)


EXPECTED = static.Expected({"f<bf16>": 1 << 14}, {"f": 0.5}, {"80": {"f<bf16>": figures().record()}})


def test_a_good_kernel_has_no_faults():
    assert static.faults(figures(), EXPECTED) == []
    assert static.differences(80, [figures()], EXPECTED) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"threads": None}, "has no __launch_bounds__"),
        ({"local_bytes": 8}, "spills: 0 accesses to 8 bytes of local memory"),
        ({"code": listing("STL [R1], R2", "EXIT")}, "spills: 1 accesses to 0 bytes"),
        ({"code": listing("EXIT")}, "0% tensor instructions in the main loop, not 50%"),
        ({"name": "g<bf16>", "takes_dynamic_shared": False}, "has tensor instructions, but"),
        ({"name": "g<bf16>"}, "takes dynamic shared memory, of a size that cuda_static.json does not give"),
        ({"static_shared": 90 << 10}, "108544 bytes of shared memory, more than 101376"),
        ({"registers": 160}, "3 resident blocks, its launch bounds ask for 4"),
    ],
)
def test_faults(changes, fault):
    assert any(fault in found for found in static.faults(figures(**changes), EXPECTED))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"registers": 109}, "registers is 109, expected 100"),
        ({"registers": 91}, "registers is 91, expected 100"),
        ({"local_bytes": 4}, "local is 4, expected 0"),
        ({"code": listing("EXIT")}, "tensor is 0, expected 1"),
        ({"name": "g"}, "f<bf16>: expected, but not in the backend"),
        ({"name": "g"}, "g: in the backend, but not expected"),
    ],
)
def test_differences(changes, difference):
    assert any(difference in found for found in static.differences(80, [figures(**changes)], EXPECTED))


def test_compilers_may_differ_a_little():
    assert static.differences(80, [figures(registers=108)], EXPECTED) == []


def test_the_file_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "expected.json"
    static.save(EXPECTED, path)
    assert static.load(path) == EXPECTED
    assert sum("f<bf16>" in line for line in path.read_text().splitlines()) == 2
    assert static.load(tmp_path / "none.json") == static.Expected({}, {}, {})


RECORD = {
    "kernel": "_Z6kernelIfEvv",
    "dynamic_shared": 4096,
    "shared_wavefronts": 30,
    "shared_wavefronts_ideal": 20,
    "global_sectors": 6,
    "global_sectors_ideal": 4,
    "global_bytes_read": 300,
    "global_bytes_written": 100,
    "tensor_flops": 32,
}


def test_counters_beside_the_least():
    records = [[], [RECORD, RECORD | {"dynamic_shared": 512}]]
    least = counted.Least(read=100, written=100, operands=400, operands_once=200, flops=48)
    one = counted.count(counted.Call("op", "1x2", least, lambda: None), lambda: records.pop(0))
    table = counted.table("calls", [one])
    assert table.rows == [("op", "1x2", "kernel<fp32>", 1.5, 1.5, 2.0, 2.0, "75%")]
    assert table.failures == [
        "op 1x2: 1.500 times the wavefronts that shared memory needs",
        "op 1x2: 1.500 times the sectors that global memory needs",
        "op 1x2: 2.000 times the least bytes, not 1.05",
    ]
    assert counted.dynamic_shared([RECORD, RECORD | {"dynamic_shared": 512}]) == {"kernel<fp32>": 4096}


def test_least_bytes():
    linear = LinearCase(t=3, n=5, k=7, bias=True, residual=False)
    least = counted.Least(2 * 5, 4 * 15, operands=2 * 7 * (3 * 3 + 2 * 5), operands_once=2 * 7 * (3 + 5), flops=210)
    assert counted.least_linear(linear, tile=(2, 2), item=2, y_item=4) == least
    gradients = LinearGradCase(t=3, n=5, k=7)
    operands = 2 * 5 * (3 * 4 + 2 * 7)
    least = counted.Least(2 * 21, 4 * 21, operands=operands, operands_once=2 * 5 * (3 + 7), flops=210)
    assert counted.least_linear_input_grad(gradients, tile=(2, 2), item=2, dx_item=4) == least
    operands = 2 * 3 * (4 * 5 + 3 * 7)
    least = counted.Least(0, 4 * 35, operands=operands, operands_once=2 * 3 * (5 + 7), flops=210)
    assert counted.least_linear_weight_grad(gradients, (2, 2), 2, add=False, dbias=False) == least
    least = counted.Least(4 * 40, 4 * 40, operands=operands + 2 * 15, operands_once=2 * 3 * (5 + 7), flops=210)
    assert counted.least_linear_weight_grad(gradients, (2, 2), 2, add=True, dbias=True) == least
    attention = AttentionCase((1, 3), num_heads=2, head_dim=4)
    least = counted.Least(12, 2 * 4 * 8, operands=2 * 8 * (3 + 3 + 12), operands_once=2 * 4 * 24, flops=4 * 8 * 10)
    assert counted.least_attention(attention, queries=2, item=2) == least
    rows = RowsCase(t=3, h=8)
    assert counted.least_layer_norm(rows, item=2, x_item=4) == counted.Least(4 * 24 + 32, 2 * 24)
    assert counted.least_embed(rows, item=2, token_types=2) == counted.Least(2 * 10 * 8 + 36, 2 * 24)
    assert counted.least_gather(rows, item=2) == counted.Least(3 * 20, 2 * 24)
    assert counted.least_pool(rows, item=2, rows_out=2, offsets=3) == counted.Least(48 + 12, 64)
    assert counted.least_l2_normalize(rows) == counted.Least(96, 96)
