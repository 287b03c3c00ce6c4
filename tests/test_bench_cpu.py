"""``bench scaling`` and ``strassen``, and the dtypes of ``bench kernels`` and ``memory`` on the CPU."""

from __future__ import annotations

import pytest
from bench_tools import run


def test_scaling(bench, capsys, tmp_path):
    arguments = ("--model", "random:tiny", "--dtype", "float32,int8", "--cases", "1x8,3x8", "--rounds", "1")
    code, [rows], printed = run(bench, capsys, tmp_path, "scaling", *arguments, "--threads", "2")
    assert code == 0, printed
    assert [(row["dtype"], row["case"], row["tokens"], row["threads"]) for row in rows] == [
        (dtype, *case) for dtype in ("float32", "int8") for case in (("1x8", 8, 1), ("1x8", 8, 2), ("3x8", 24, 2))
    ]
    for row in rows:
        assert row["ms a token"] == pytest.approx(1e3 * row["seconds"] / row["tokens"])
    one, two, more = rows[:3]
    assert two["tokens/s over 1 thread's"] == pytest.approx(one["seconds"] / two["seconds"])
    assert more["cost over first case's"] == pytest.approx(more["seconds"] / 3 / two["seconds"])


def test_strassen_computes_the_product(bench, capsys, tmp_path):
    arguments = ("strassen", "--shapes", "6x34x70,64x96x128", "--rounds", "1", "--threads", "1")
    code, [rows], printed = run(bench, capsys, tmp_path, *arguments)
    assert code == 0, printed
    for row in rows:
        assert 0 < row["error, plain"] < 5e-7
        assert 0 < row["error, Strassen"] < 2e-6
    assert bench.main(["strassen", "--shapes", "5x4x4"]) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "int16", "int8"])
def test_kernels_of_narrow_weights(bench, capsys, tmp_path, dtype):
    arguments = ("--device", "cpu", "--models", "tiny", "--tokens", "5", "--filter", "linear", "--dtype", dtype)
    code, [rows], printed = run(bench, capsys, tmp_path, "kernels", *arguments, "--rounds", "1")
    assert code == 0, printed
    assert f"{dtype}: the fastest product" in printed
    assert {row["op"].split()[0] for row in rows} == {"linear"}


def test_memory_of_narrow_weights(bench, capsys, tmp_path):
    arguments = ("--model", "tiny", "--works", "load", "--contestants", "albert_fast,albert_fast int8")
    code, [rows], printed = run(bench, capsys, tmp_path, "memory", *arguments)
    assert code == 0, printed
    assert [row["library"] for row in rows] == ["albert_fast", "albert_fast int8"]
    assert rows[1]["weights MB"] < rows[0]["weights MB"]
