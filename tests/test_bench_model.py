"""``bench model``: rows of every contestant, peers that compute the same, and differences that are noticed."""

from __future__ import annotations

import importlib
import sys

import pytest
from bench_tools import run

AGAINST = ("model", "--model", "random:tiny", "--rounds", "1", "--threads", "1", "--against")


def test_model_compares_with_transformers(bench, capsys, tmp_path):
    arguments = ("model", "--model", "random:tiny", "--cases", "1x4,mixed", "--rounds", "2")
    code, [rows], _ = run(bench, capsys, tmp_path, *arguments)
    assert code == 0
    assert [(row["case"], row["tokens"], row["padded"], row["contestant"]) for row in rows] == [
        ("1x4", 4, 4, "albert_fast float32"),
        ("1x4", 4, 4, "transformers"),
        ("mixed", 1100, 2000, "albert_fast float32"),
        ("mixed", 1100, 2000, "transformers"),
    ]
    for row in rows:
        assert (row["relative difference"] == 0) == (row["contestant"] == "transformers")
        assert row["relative difference"] < 1e-5
        assert row["tokens/s"] == pytest.approx(row["tokens"] / row["seconds"])


def test_model_notices_a_difference(bench, capsys, tmp_path, monkeypatch):
    """Of each contestant by itself."""
    allowed = importlib.import_module("bench.model").ALLOWED_DIFFERENCE
    monkeypatch.setitem(allowed, "int16", 1e-9)
    arguments = ("model", "--model", "random:tiny", "--cases", "1x4", "--rounds", "1", "--dtype", "float32,int16")
    code, _, printed = run(bench, capsys, tmp_path, *arguments)
    assert code == 1
    assert printed.count("**Failed:** 1x4: relative difference to transformers") == 1
    assert "(albert_fast int16)" in printed


def test_model_takes_any_number_of_contestants(bench, capsys, tmp_path):
    names, dtypes = ["transformers", "torch-int8"], ["int8", "bfloat16"]
    arguments = (*AGAINST, ",".join(names), "--cases", "1x4,mixed", "--dtype", ",".join(dtypes))
    code, [rows], printed = run(bench, capsys, tmp_path, *arguments)
    assert code == 0, printed
    everyone = [*(f"albert_fast {dtype}" for dtype in dtypes), *names]
    assert [(row["case"], row["contestant"]) for row in rows] == [(c, n) for c in ("1x4", "mixed") for n in everyone]
    for row in rows:
        assert (row["seconds / first"] == 1) == (row["contestant"] == everyone[0])
        assert row["tokens/s"] == pytest.approx(row["tokens"] / row["seconds"])
        assert (row["of limit"] == "-") == (row["contestant"] == "torch-int8")
    assert {row["relative difference"] for row in rows if row["contestant"] == "transformers"} == {0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "packages", "relative"),
    [
        ("onnxruntime", ("onnxruntime", "onnxscript"), 1e-5),
        ("onnxruntime-int8", ("onnxruntime", "onnxscript"), 0.05),
        ("openvino", ("openvino",), 1e-5),
        ("openvino-int8", ("openvino", "nncf"), 0.05),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of exporters, when they are imported
def test_a_peer_computes_the_same_model(bench, capsys, tmp_path, name, packages, relative):
    for package in packages:
        pytest.importorskip(package)
    code, [rows], printed = run(bench, capsys, tmp_path, *AGAINST, name, "--cases", "1x1,1x5,mixed")
    assert code == 0, printed
    assert [row["contestant"] for row in rows] == ["albert_fast float32", name] * 3
    ours, theirs = rows[::2], rows[1::2]
    assert all(0 < row["relative difference"] < 1e-5 for row in ours)
    assert all(0 < row["relative difference"] < relative for row in theirs)


def test_a_peer_that_is_none_or_not_installed_is_refused(bench, capsys, monkeypatch):
    assert bench.main([*AGAINST, "transformers", "--dtype", "int4"]) == 2
    assert "dtype: got 'int4', expected some of float32, bfloat16, int16, int8" in capsys.readouterr().err
    assert bench.main([*AGAINST, "transformers,onnx"]) == 2
    assert "against: got 'onnx', expected some of transformers, onnxruntime," in capsys.readouterr().err
    for name, package in {"openvino-int8": "nncf", "openvino": "openvino", "onnxruntime": "onnx"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        assert bench.main([*AGAINST, name]) == 2
        assert f"needs {package}; `pip install '.[peers]'`" in capsys.readouterr().err


def test_operations_of_a_model(bench):
    """xxlarge takes 4.83 GFLOP per token in products, and attention adds 2% at 512 tokens."""
    twins = importlib.import_module("bench.twins")
    config = twins.preset("albert-xxlarge-v2")
    assert twins.flops(config, (1,)) == pytest.approx(4.83e9, rel=1e-3)
    assert twins.flops(config, (512,)) / (512 * twins.flops(config, (1,))) == pytest.approx(1.021, abs=2e-3)
    grouped = twins.preset("groups2x2")
    assert (grouped.num_hidden_groups, grouped.inner_group_num) == (2, 2)
