"""``bench tasks``: that it measures every task and pipeline twice, and notices any difference."""

from __future__ import annotations

import importlib

import pytest
import their_pipelines
import their_tasks
from bench_tools import run

SMALL = ("--model", "random:tiny", "--examples", "6", "--steps", "2", "--threads", "1")


def test_every_task_and_pipeline(bench, capsys, tmp_path):
    code, [tasks, pipelines], printed = run(bench, capsys, tmp_path, "tasks", *SMALL)
    assert code == 0, printed
    names = ("sst2", "mnli, dev_matched", "mnli, dev_mismatched", "squad1", "squad2", "squad-beam", "race", "conll")
    assert tuple(dict.fromkeys(row["task"] for row in tasks)) == names
    assert all(row["ours"] == pytest.approx(row["transformers"], abs=1e-9) for row in tasks)
    assert {(row["trained on"], row["measured on"], row["predictions that differ"]) for row in tasks} == {(12, 6, 0)}
    assert {row["pipeline"] for row in pipelines} == set(importlib.import_module("albert_fast.pipelines").TASKS)
    assert {(row["examples"], row["others that differ"]) for row in pipelines} == {(6, 0)}
    assert all(0 < row["largest difference of a number"] <= 1e-4 for row in pipelines)


def test_another_prediction_is_noticed(bench, capsys, tmp_path, monkeypatch):
    real = their_tasks.answers_of

    def changed(task, *arguments):
        predictions, figures = real(task, *arguments)
        if task == "squad":
            [answers] = predictions
            return [{**answers, "3": answers["3"] + "!"}], figures
        return ["another", *predictions[1:]], figures

    monkeypatch.setattr(their_tasks, "answers_of", changed)
    code, [rows], printed = run(bench, capsys, tmp_path, "tasks", *SMALL, "--tasks", "squad1,conll")
    assert code == 1
    assert [row["predictions that differ"] for row in rows] == [1] * 4
    for name in ("squad1", "conll"):
        assert f"**Failed:** {name}: 1 of 6 predictions are not those of transformers" in printed


def test_another_figure_is_noticed(bench, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(their_tasks, "accuracy", lambda found, wanted: 0.125)
    code, _, printed = run(bench, capsys, tmp_path, "tasks", *SMALL, "--tasks", "sst2")
    assert code == 1
    assert "0.125 by transformers" in printed
    assert "predictions are not" not in printed


def test_another_token_or_score_is_noticed(bench, capsys, tmp_path, monkeypatch):
    real = their_pipelines.theirs

    def changed(task, folder):
        def call(inputs, **options):
            first, *others = real(task, folder)(inputs, **options)
            first[0] |= {"token": 7} if task == "fill-mask" else {"score": first[0]["score"] + 0.25}
            return [first, *others]

        return call

    monkeypatch.setattr(their_pipelines, "theirs", changed)
    arguments = ("tasks", *SMALL, "--tasks", "fill-mask,sentence-order")
    code, [[fill, order]], printed = run(bench, capsys, tmp_path, *arguments)
    assert code == 1
    assert (fill["others that differ"], order["others that differ"]) == (1, 0)
    assert order["largest difference of a number"] == pytest.approx(0.25, abs=1e-3)
    assert "**Failed:** fill-mask: 1 texts" in printed
    assert "**Failed:** sentence-order: 0 texts or tokens differ, numbers by 2.5e-01" in printed


def test_results_of_other_shapes_are_not_equal(bench):
    comparison = importlib.import_module("bench.task_pipelines").Comparison
    for ours, theirs in (([1.0], [1.0, 2.0]), ({"a": 1.0}, {"b": 1.0}), ("a", 1.0), (1, 2), ([1.0], 1.0)):
        found = comparison(1)
        found.add(ours, theirs)
        assert (found.largest, found.others) == (0.0, 1)
    found.add([float("nan"), 1.0], [1.0, 1.0])
    assert not found.largest <= 1e-4


def test_a_task_that_is_none_is_refused(bench, capsys):
    assert bench.main(["tasks", "--tasks", "sst2,glue"]) == 2
    assert "--tasks: got 'glue', expected some of sst2, mnli, squad1" in capsys.readouterr().err


def test_samples_are_the_same_each_time_and_differ_by_file(bench, tmp_path):
    write = importlib.import_module("bench.task_data").write
    texts = [
        write("mnli", tmp_path / f"{i}" / name, 5).read_text() for i in range(2) for name in ("train.tsv", "a.tsv")
    ]
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]
