"""The measurements run, print tables that parse, hold only finite numbers, and notice what must not be."""

from __future__ import annotations

import importlib
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import fake_gpu
import numpy as np
import pytest
from bench_tools import run

ROOT = Path(__file__).resolve().parent.parent


def test_kernels_measures_every_op(bench, capsys, tmp_path):
    arguments = ("kernels", "--device", "cpu", "--models", "tiny", "--tokens", "1,5", "--rounds", "2", "--threads", "1")
    code, [rows], printed = run(bench, capsys, tmp_path, *arguments)
    assert code == 0
    assert "Failed" not in printed
    ops = {"attention", "layer_norm", "embed", "pool", "l2_normalize"}
    ops |= {"activate_grad", "apply_dropout", "attention_grad", "cross_entropy", "embed_grad", "layer_norm_grad"}
    ops |= {"scatter_add"}
    linear = ("linear", "linear_input_grad", "linear_weight_grad")
    ops |= {f"{op} {product}" for op in linear for product in ("qkv", "dense", "ffn", "ffn_output")}
    assert {row["op"] for row in rows} == ops
    assert all(row["µs"] > 0 and row["torch / ours"] > 0 for row in rows)
    [qkv] = [row for row in rows if (row["op"], row["shape"]) == ("linear qkv", "5x96x32")]
    assert qkv["GFLOP/s"] == pytest.approx(2 * 5 * 96 * 32 / qkv["µs"] / 1e3)
    assert qkv["GB/s"] == pytest.approx(4 * (5 * 32 + 5 * 96 + 96 + 96 * 32) / qkv["µs"] / 1e3)


def test_kernels_takes_an_instruction_set_and_a_filter(bench, capsys, tmp_path):
    arguments = (
        "--device",
        "cpu",
        "--isa",
        "portable",
        "--models",
        "tiny",
        "--tokens",
        "3",
        "--filter",
        "linear ffn 3x",
    )
    code, [rows], printed = run(bench, capsys, tmp_path, "kernels", *arguments, "--rounds", "1")
    assert code == 0
    assert [(row["op"], row["shape"]) for row in rows] == [("linear ffn", "3x64x32")]
    assert "cpu/portable" in printed


def test_a_kernel_that_computes_something_else_fails(bench, capsys, tmp_path, monkeypatch):
    contests = importlib.import_module("bench.kernel_contests")
    monkeypatch.setattr(contests.F, "layer_norm", lambda x, *_: x + 1)
    arguments = ("--device", "cpu", "--models", "tiny", "--tokens", "3", "--filter", "layer_norm", "--rounds", "1")
    code, _, printed = run(bench, capsys, tmp_path, "kernels", *arguments)
    assert code == 1
    assert "**Failed:** layer_norm 3x32: relative difference to torch" in printed


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_kernels_on_a_gpu(bench, capsys, tmp_path, monkeypatch, dtype):
    fake_gpu.install(monkeypatch)
    arguments = ("--models", "tiny", "--tokens", "1,5", "--rounds", "1", "--dtype", dtype)
    code, [rows], printed = run(bench, capsys, tmp_path, "kernels", *arguments)
    assert code == 0, printed
    assert len(rows) == 4 * 2 + 3 + 4 * 2
    assert f"Fake, {dtype}" in printed
    assert "3 multiprocessors" in printed
    assert "In 0 of" in printed
    item = 4 if dtype == "float32" else 2
    [qkv], [ffn_output] = (
        [row for row in rows if (row["op"], row["shape"]) == case]
        for case in (("linear qkv", "5x96x32"), ("linear ffn_output", "5x32x64"))
    )
    assert qkv["µs"] == pytest.approx(1e6 * fake_gpu.SECONDS)
    assert qkv["torch / ours"] == pytest.approx(1)
    assert qkv["TFLOP/s"] == pytest.approx(2 * 5 * 96 * 32 / fake_gpu.SECONDS / 1e12)
    assert qkv["FLOP/byte"] == pytest.approx(2 * 5 * 96 * 32 / (item * (5 * 32 + 5 * 96 + 96 + 96 * 32)))
    sums = 4 * 5 * 32  # written in float32, whatever is read
    read = item * (5 * 64 + 32 + 32 * 64 + 5 * 32)
    assert ffn_output["GB/s"] == pytest.approx((read + sums) / fake_gpu.SECONDS / 1e9)
    [facts] = [table["facts"] for table in json.loads((tmp_path / "numbers.json").read_text())["tables"]]
    assert facts["limit FLOP/s"] == pytest.approx(2 * 64**3 / fake_gpu.SECONDS)
    assert facts["limit byte/s"] == pytest.approx(2 * (1 << 20) / fake_gpu.SECONDS)


def test_a_gpu_call_comes_after_a_flush_and_is_late_if_the_gpu_waited(bench, monkeypatch):
    fake_gpu.install(monkeypatch)
    order: list[str] = []
    clock = importlib.import_module("bench.cuda_device").EventClock(lambda: order.append("flush"))
    times = clock.interleave({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)
    assert times == {name: pytest.approx([fake_gpu.SECONDS] * 2) for name in "ab"}
    assert order[0::2] == ["flush"] * (len(order) // 2)
    assert "".join(order[1::2]) == "aaabbb" + "aaabbb" + "bbbaaa"  # three calls a sample, one sample for nothing
    assert (clock.calls, clock.late) == (18, 0)
    monkeypatch.setattr(fake_gpu.Event, "query", lambda self: True)
    clock.best_seconds(lambda: None)
    assert clock.late == clock.calls - 18


def test_what_cannot_be_timed_is_refused(bench, capsys, monkeypatch):
    def refused(*arguments: str) -> str:
        assert bench.main(["kernels", *arguments]) == 2
        return capsys.readouterr().err

    device = importlib.import_module("bench.cuda_device")
    monkeypatch.setattr(device.cuda, "why_not", lambda: "no driver")
    assert re.search(r"got 'cuda', expected .*: no driver; .*kernels --static", refused("--device", "cuda"))
    monkeypatch.setattr(device.cuda, "why_not", lambda: None)
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    assert re.search(r"torch .* sees no GPU; .*kernels --static", refused("--device", "cuda"))
    monkeypatch.setattr(device._core, "cuda_backend_path", lambda: "/build/emulated.so")
    assert re.search(r"emulated.so, .* emulator times mean nothing; .*kernels --static", refused("--device", "cuda"))
    assert "dtype: got 'float16' on the CPU, expected one of 'float32', 'bfloat16', 'int16', 'int8'" in refused(
        "--device", "cpu", "--dtype", "float16"
    )
    assert "expected a file that ends in .svg or .png" in refused("--plot", "roofline.txt")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'albert_fast[bench]'" in refused("--plot", "roofline.svg")


def test_kernels_draws_a_roofline(bench, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="the [bench] extra is not installed")
    path = tmp_path / "roofline.svg"
    arguments = ("--device", "cpu", "--models", "tiny", "--tokens", "3,5", "--rounds", "1", "--filter", "_")
    code, [rows], _ = run(bench, capsys, tmp_path, "kernels", *arguments, "--plot", str(path))
    assert code == 0
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())
    assert {"GFLOP/s", "linear ffn_output", "layer_norm", "l2_normalize"} <= set(texts)
    assert texts.count("5") == sum(row["shape"].startswith("5x") for row in rows) == 16
    assert any(text.startswith("tiny, cpu/") for text in texts)
    assert any(re.fullmatch(r"measured limits: [\d.,]+ GFLOP/s, [\d.,]+ GB/s", text) for text in texts)


def test_a_roofline_as_a_picture(bench, tmp_path):
    pytest.importorskip("matplotlib", reason="the [bench] extra is not installed")
    roofline = importlib.import_module("bench.roofline")
    limits = importlib.import_module("bench.machine").Limits(1e12, 1e11, "", "")
    panel = roofline.Panel("one", limits, ("TFLOP/s", 1e12), [roofline.Mark("pool", "7", 0.5, 4e10)])
    roofline.draw(tmp_path / "roofline.png", [panel, roofline.Panel("none", limits, ("TFLOP/s", 1e12))])
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_labels_of_a_plot_keep_apart(bench):
    roofline = importlib.import_module("bench.roofline")
    anchors = [(100 + 9 * i, 100 + 7 * (i % 3)) for i in range(12)]
    legend = roofline.Box(200, 130, 40, 30)
    boxes = roofline.place(anchors, [(14, 8)] * len(anchors), 6, [legend])
    marks = [roofline.Box(x, y, 6, 6) for x, y in anchors]
    assert all(box.overlap(other) == 0 for box in boxes for other in (*marks, legend))
    assert all(a.overlap(b) == 0 for i, a in enumerate(boxes) for b in boxes[:i])
    assert roofline.Box(0, 0, 4, 4).overlap(roofline.Box(3, 2, 4, 2)) == 1 * 1
    crowd = roofline.place([(0, 0)] * 50, [(14, 8)] * 50, 6)
    assert len(crowd) == 50  # where there is no room, labels overlap rather than be left out


@pytest.mark.parametrize("case", ["0x4", "4x0", "x", "4", "axb", "", "1x-2"])
def test_a_case_that_is_none_is_refused(bench, case):
    with pytest.raises(ValueError, match="expected COUNTxLENGTH or 'mixed'"):
        importlib.import_module("bench.cases").sequence_lengths(case)


def test_accuracy_prints_every_output(bench, capsys, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("A text goes in, its features come out; what was 1,100 words becomes a vector. " * 3)
    vocabulary = ROOT / "albert_fast" / "data" / "spiece.model"
    arguments = ("accuracy", "--models", "tiny", "--lengths", "5,9", "--text", str(text))
    code, [rows], printed = run(bench, capsys, tmp_path, *arguments, "--vocabulary", str(vocabulary))
    outputs = ["hidden states", "pooler", "MLM logits", "SOP logits"]
    assert [row["output"] for row in rows] == outputs
    assert code == ("Failed" in printed)
    for row in rows[:3]:
        assert 0 < row["ours, relative"] < 1e-5
        assert 0 < row["transformers, relative"] < 1e-5
        assert 0 < row["to each other, max"] < 1e-4


def test_accuracy_fails_beyond_twice_the_error_of_transformers(bench):
    accuracy = importlib.import_module("bench.accuracy")
    exact = [np.linspace(1, 2, 50)]
    single = [exact[0] * (1 + 1e-6)]
    table = accuracy.Table("errors", accuracy.COLUMNS)
    accuracy._compare(table, "m", "o", [exact[0] * (1 + 1.9e-6)], single, exact)
    assert table.failures == []
    accuracy._compare(table, "m", "o", [exact[0] * (1 + 2.1e-6)], single, exact)
    assert len(table.failures) == 1


def test_the_peak_is_that_of_the_context(bench):
    child = importlib.import_module("bench.memory_child")
    size = 64 << 20
    before = child.anonymous()
    with child.Peak() as peak:
        block = np.ones(size, np.uint8)
        assert block.all()
        del block
    assert 0.9 * size < peak.bytes - before < 1.5 * size
    assert child.anonymous() - before < 0.5 * size
    assert child.anonymous_now() == pytest.approx(child.anonymous(), rel=0.1)


@pytest.mark.slow
def test_memory_in_processes_of_their_own(bench, capsys, tmp_path):
    code, [rows], _ = run(bench, capsys, tmp_path, "memory", "--model", "tiny", "--works", "load,2x8")
    assert code == 0
    pairs = [(row["library"], row["work"]) for row in rows]
    assert pairs == [(library, w) for w in ("load", "2x8") for library in ("albert_fast", "transformers")]
    for row in rows:
        assert row["weights MB"] > 1.4
        assert row["load s"] > 0
        if row["library"] == "albert_fast":
            assert row["file mapped"] == "no"
            assert row["peak MB"] >= 0.9 * row["weights MB"]


def test_sizes_of_an_installed_package(bench, tmp_path):
    install = importlib.import_module("bench.install")
    (tmp_path / "data").mkdir()
    for name, size in {"a.py": 10, "b.pyi": 20, "_core.so": 4000, "data/x.model": 300, "a.pyc": 5}.items():
        (tmp_path / name).write_bytes(bytes(size))
    rows = {part: (files, mb) for part, files, mb in install.size_table(tmp_path).rows}
    assert rows == {
        "C++ extension": (1, 4000e-6),
        "vocabulary": (1, 300e-6),
        "Python": (2, 30e-6),
        "everything, without .pyc": (4, 4330e-6),
    }


def test_compilation_by_target(bench):
    log = "\n".join(
        [
            "# ninja log v5",
            "0\t1500\t17\tcsrc/cpu/CMakeFiles/cpu_avx2.dir/linear.cpp.o\tab",
            "200\t700\t17\tcsrc/cpu/CMakeFiles/cpu_avx2.dir/primitives/tile.cpp.o\tcd",
            "700\t3700\t17\tcuda/CMakeFiles/cuda_objects.dir/linear.cu.o\tef",
            "3700\t3800\t17\tcuda/_cuda.so\tff",
        ]
    )
    table = importlib.import_module("bench.install").compilation_table(log)
    assert table.rows == [("cuda_objects", 1, 3.0), ("cpu_avx2", 2, 2.0), ("libraries", 1, 0.1)]


def test_dependencies_are_those_without_extras(bench):
    names = {re.match(r"[\w-]+", line)[0] for line in importlib.import_module("bench.install")._dependencies()}
    assert {"numpy", "sentencepiece", "safetensors"} <= names
    assert names.isdisjoint({"torch", "pytest", "transformers"})


def test_lines_and_kills_depend_on_the_seed_alone(bench, tmp_path):
    resume = importlib.import_module("bench.resume")
    files = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        resume.write_lines(path, 200, random.Random(seed))
    first, same, other = (path.read_text() for path in files)
    assert first == same != other
    assert first.count("\n") == 200
    for seed in range(20):
        early, late = resume.kill_rows(1000, 2, random.Random(seed))
        assert 0 < early < late < 800


def test_resume_notices_other_bytes_and_files_left_behind(bench, tmp_path):
    resume = importlib.import_module("bench.resume")
    whole, killed = tmp_path / "whole.npy", tmp_path / "killed.npy"
    whole.write_bytes(b"same")
    killed.write_bytes(b"same")
    table = resume.Table("t", resume.COLUMNS)
    resume._compare(table, whole, killed)
    assert table.failures == []
    killed.write_bytes(b"sane")
    (tmp_path / "killed.npy.partial").touch()
    resume._compare(table, whole, killed)
    assert [failure.partition(":")[0] for failure in table.failures] == [
        "the output differs",
        "files left behind",
    ]


@pytest.mark.slow
def test_resume_kills_and_compares(bench, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("bench.resume"), "_LONGEST_DELAY_SECONDS", 0.0)
    code, [rows], printed = run(bench, capsys, tmp_path, "resume", "--lines", "20000")
    assert code == 0, printed
    assert [row["ended by"] for row in rows] == ["itself", "kill -9", "kill -9", "itself"]
    assert rows[3]["rows at the start"] > 0
    assert "the same bytes" in printed


def test_numbers_keep_three_digits(bench):
    report = importlib.import_module("bench.report")
    shown = [report.show(cell) for cell in (0.0, 1234.5, 12.345, 0.012345, 0.00012345, 12345, "text")]
    assert shown == ["0", "1,234", "12.3", "0.0123", "1.23e-04", "12,345", "text"]
    with pytest.raises(ValueError, match="got 1 cells, expected 2"):
        report.Table("t", ("a", "b")).add(1)


def test_taking_turns(bench):
    timing = importlib.import_module("bench.timing")
    order: list[str] = []
    times = timing.interleave({name: lambda name=name: order.append(name) for name in "ab"}, rounds=4)
    assert {name: len(samples) for name, samples in times.items()} == {"a": 4, "b": 4}
    turns = re.sub(r"(.)\1+", r"\1", "".join(order))
    assert turns == "abababa"  # counted in order a, b; then ab, ba, ab, ba
    assert timing.ratio({"a": [2.0, 9.0, 8.0], "b": [1.0, 3.0, 2.0]}, "a", "b") == 3.0


def test_run_as_a_module():
    command = (sys.executable, "-m", "bench", "--help")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    for command_name in ("kernels", "model", "scaling", "strassen", "accuracy", "memory", "install", "resume"):
        assert command_name in result.stdout
