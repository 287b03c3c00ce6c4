"""``bench training``, ``gradients`` and ``curve``: that they compare what they say, and notice what is wrong."""

from __future__ import annotations

import importlib

import pytest
from bench_tools import run


def test_training_compares_speed_and_memory(bench, capsys, tmp_path):
    arguments = ("training", "--model", "tiny", "--cases", "2x8", "--rounds", "1", "--threads", "1")
    code, [speed, memory], _ = run(bench, capsys, tmp_path, *arguments)
    assert code == 0
    everyone = ["all", "inputs", "transformers"]
    assert [(row["case"], row["contestant"]) for row in speed] == [("2x8", name) for name in everyone]
    assert [row["contestant"] for row in memory] == everyone
    assert speed[0]["this / first"] == speed[2]["transformers / this"] == memory[2]["of transformers'"] == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, about a name in transformers
def test_training_of_adapters(bench, capsys, tmp_path):
    arguments = ("training", "--model", "tiny", "--cases", "2x8", "--rounds", "1", "--threads", "1", "--lora", "2")
    code, [speed], printed = run(bench, capsys, tmp_path, *arguments, "--no-memory")
    assert code == 0
    assert "LoRA of rank 2 on query and value of tiny" in printed
    assert [row["contestant"] for row in speed] == ["all", "inputs", "transformers"]


def test_gradients_are_within_three_times_transformers_error(bench, capsys, tmp_path):
    code, [rows], printed = run(bench, capsys, tmp_path, "gradients", "--cases", "tiny:12", "--threads", "1")
    assert code == 0, printed
    assert rows[0]["iterations"] == 12
    assert rows[0]["ours / transformers, worst"] <= 3


def test_gradients_notices_an_error(bench, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("bench.gradients"), "FACTOR", 0.01)
    code, _, printed = run(bench, capsys, tmp_path, "gradients", "--cases", "tiny:2", "--seeds", "1", "--threads", "1")
    assert code == 1
    assert "**Failed:** tiny: albert." in printed


def test_curves_of_200_steps_are_one(bench, capsys, tmp_path):
    """The same weights, data and optimizer: after 200 steps of AdamW the loss is transformers' still, and lower."""
    plot = tmp_path / "curve.svg"
    code, [rows], printed = run(bench, capsys, tmp_path, "curve", "--steps", "200", "--plot", str(plot))
    assert code == 0, printed
    assert rows[-1]["ours"] < rows[0]["ours"] - 1
    assert plot.stat().st_size > 0


def test_curves_that_part_are_noticed(bench, capsys, tmp_path, monkeypatch):
    curve = importlib.import_module("bench.curve")
    monkeypatch.setattr(curve, "train", lambda text, steps: {"ours": [3.0, 2.0], "transformers": [3.0, 2.5]})
    code, _, printed = run(bench, capsys, tmp_path, "curve", "--steps", "2")
    assert code == 1
    assert "**Failed:** the curves are 5.0e-01 apart" in printed
