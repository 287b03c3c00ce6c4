"""The pipelines' commands print what the pipelines return."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from cli_tools import run
from nn_models import BASE, randomise
from their_pipelines import CLASSES

import albert_fast
from albert_fast.tokenizer import AlbertTokenizer

A, B = "A [MASK] text.", "Another [MASK] one."
CALLS: dict[str, tuple[list[str], Any, dict[str, Any]]] = {
    "fill-mask": ([A, B, "--top-k", "2"], [A, B], {"top_k": 2}),
    "feature-extraction": ([A], [A], {}),
    "text-classification": ([A, B, "--top-k", "2"], [A, B], {"top_k": 2}),
    "zero-shot-classification": (
        [A, "--candidate-labels", "x, y", "--candidate-labels", "z", "--multi-label"],
        [A],
        {"candidate_labels": ["x", "y", "z"], "multi_label": True},
    ),
    "token-classification": ([A, "--aggregation-strategy", "first"], [A], {"aggregation_strategy": "first"}),
    "question-answering": (
        ["--question", "What?", "--context", A, "--top-k", "2"],
        [{"question": "What?", "context": A}],
        {"top_k": 2},
    ),
    "multiple-choice": ([A, "--choice", "x", "--choice", "y"], [{"prompt": A, "choices": ["x", "y"]}], {}),
    "sentence-order": ([A, B], [(A, B)], {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small random checkpoint for each task."""
    vocabulary = Path(albert_fast.__file__).parent / "data" / "spiece.model"
    size = AlbertTokenizer.from_pretrained("random:albert-base-v2").vocab_size
    made = {}
    for task, name in CLASSES.items():
        folder = tmp_path_factory.mktemp(task)
        config = transformers.AlbertConfig(**{**BASE, "vocab_size": size}, id2label={0: "no", 1: "entailment"})
        torch.manual_seed(0)
        model = getattr(transformers, name)(config)
        randomise(model, seed=0)
        model.save_pretrained(folder)
        shutil.copy(vocabulary, folder / "spiece.model")
        made[task] = str(folder)
    return made


@pytest.mark.parametrize("task", CALLS)
def test_a_line_for_each_result(task: str, folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments, inputs, options = CALLS[task]
    assert run(task, *arguments, "--model", folders[task]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = list(albert_fast.pipeline(task, folders[task])(iter(inputs), **options))  # a list of one may be one
    assert [json.loads(line) for line in lines] == json.loads(json.dumps(expected))


def test_texts_from_a_file_and_from_standard_input(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ("--model", folders["fill-mask"])
    assert run("fill-mask", A, B, *model) == 0
    expected = capsys.readouterr().out
    (tmp_path / "texts").write_text(f"{A}\n{B}\n")
    assert run("fill-mask", "--input", tmp_path / "texts", *model) == 0
    assert capsys.readouterr().out == expected
    stdin = io.TextIOWrapper(io.BytesIO(f"{A}\n{B}\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert run("fill-mask", "--input", "-", *model) == 0
    assert capsys.readouterr().out == expected


def test_errors_are_one_line(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (("fill-mask",), "TEXTS: got none or both"),
        (("fill-mask", A, "--input", "x"), "TEXTS: got none or both"),
        (("fill-mask", "No mask."), "inputs[0]: got no [MASK]"),
        (("fill-mask", A, "--top-k", "0"), "top_k: got 0"),
    ):
        assert run(*arguments, "--model", folders["fill-mask"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
    assert run("ner", A) == 2, "no such command"
