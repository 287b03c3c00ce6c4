"""finetune and evaluate as commands; the model card's table on small samples. (pretrain: test_trainer_resume.py.)"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from finetuning_data import write_all

from albert_fast.cli import main

RECIPE = """
[task]
max_length = 48
doc_stride = 8
max_question_length = 16
[training]
steps = 2
batch_size = 4
learning_rate = 1e-3
"""
CARD = {"squad1": "squad", "squad2": "squad-beam", "mnli": "mnli", "sst2": "sst2", "race": "race"}
PLACES = {"squad1": "squad/dev-v1.1.json", "squad2": "squad/dev-v2.0.json", "mnli": "MNLI/dev_matched.tsv"}
PLACES |= {"sst2": "SST-2/dev.tsv", "race": "RACE/test"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("card")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder, write_all(folder / "samples")


@pytest.fixture(scope="module")
def finetuned(workplace: tuple[Path, dict[str, Path]]) -> Callable[[str, Path], None]:
    folder, samples = workplace

    def run(task: str, output: Path) -> None:
        arguments = ["finetune", task, str(output), "--config", str(folder / "recipe.toml"), "--model", "random:tiny"]
        arguments += ["--train", str(samples[task]), "--dev", str(samples[task]), "--no-progress"]
        assert main(arguments) == 0

    return run


def test_finetune_then_evaluate(
    workplace: tuple[Path, dict[str, Path]],
    finetuned: Callable[[str, Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, samples = workplace
    finetuned("squad", folder / "run")
    trained = json.loads(capsys.readouterr().out)
    arguments = ["evaluate", "squad", "--model", str(folder / "run" / "final"), "--data", str(samples["squad"])]
    arguments += ["--config", str(folder / "recipe.toml"), "--predictions", str(folder / "answers.json")]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == trained
    answers, odds = json.loads((folder / "answers.json").read_text())
    assert set(answers) == set(odds) == {"0", "1", "2", "3"}


def test_the_card_is_one_command(
    workplace: tuple[Path, dict[str, Path]],
    finetuned: Callable[[str, Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, samples = workplace
    for name, task in CARD.items():
        finetuned(task, folder / "runs" / name)
        (folder / "models").mkdir(exist_ok=True)
        (folder / "models" / name).symlink_to(folder / "runs" / name / "final")
        place = folder / "data" / PLACES[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(samples[task])
    figures = {}
    capsys.readouterr()
    for name in ("sst2", "race"):
        sample = str(folder / "data" / PLACES[name])
        assert main(["evaluate", CARD[name], "--model", str(folder / "models" / name), "--data", sample]) == 0
        figures[name] = json.loads(capsys.readouterr().out)["accuracy"]
    command = ["evaluate", "--suite", "card", "--model", str(folder / "models"), "--data", str(folder / "data")]
    assert main(command) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == list(CARD)
    table = {row[0]: row[1:] for row in rows[2:]}
    assert table["squad1"][1] == "94.6/89.1"
    assert [table[name][2] for name in CARD] == ["4", "8", "4", "8", "4"]
    for name, accuracy in figures.items():
        assert table[name][0] == f"{100 * accuracy:.1f}"
    assert main([*command, "--only", "sst2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sst2"], "evaluate: expected a task or --suite, with --model and --data"),
        (["sst2", "--suite", "card", "-m", "x", "--data", "y"], "evaluate: expected a task or --suite"),
        (["--suite", "glue", "-m", "x", "--data", "y"], "suite: got 'glue', expected 'card'"),
        (["--suite", "card", "-m", "x", "--data", "y", "--only", "cola"], "only: got 'cola', expected some of squad1"),
        (["--suite", "card", "-m", "nowhere", "--data", "y"], "nowhere: has no squad1"),
    ],
)
def test_evaluate_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert f"error: {message}" in capsys.readouterr().err
