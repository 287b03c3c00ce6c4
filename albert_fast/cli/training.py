"""Pretraining, fine-tuning and evaluation as commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..arguments import check_threads
from ..errors import InvalidInputError, MissingDependencyError, OutputError
from .options import DeviceOption, DtypeOption
from .output import finite, flush, print_json, print_text

if TYPE_CHECKING:
    from ..finetuning import Report, TaskRules

ConfigOption = Annotated[Path, typer.Option(help="A recipe: a TOML file, such as those in configs/.")]
OutputArgument = Annotated[Path, typer.Argument(help="Folder of the run. One that was stopped goes on.")]
StepsOption = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
ThreadsOption = Annotated[int | None, typer.Option(help="All processors by default.")]
TorchDeviceOption = Annotated[str, typer.Option(help="Of torch: cpu, cuda, cuda:1, ...")]
ProgressOption = Annotated[bool | None, typer.Option(help="Progress bar; on a terminal by default.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (pretrain, finetune, evaluate):
        app.command()(command)


def pretrain(
    output: OutputArgument,
    config: ConfigOption,
    train: Annotated[list[Path], typer.Option(help="Text: a sentence a line, an empty line between documents.")],
    vocabulary: Annotated[str, typer.Option(help="A spiece.model, or a model that has one.")],
    heldout: Annotated[list[Path] | None, typer.Option(help="Text for evaluation.")] = None,
    init: Annotated[str | None, typer.Option(help="A checkpoint to start from.")] = None,
    steps: StepsOption = None,
    num_threads: ThreadsOption = None,
    device: TorchDeviceOption = "cpu",
    progress: ProgressOption = None,
) -> None:
    """Pretrain an ALBERT: masked words and the order of segments.

    Killed? Run the same command again: it goes on from its last checkpoint, to the same weights. Prints the last
    evaluation as JSON.
    """
    _prepare(num_threads)
    from ..pretraining.run import PretrainingRecipe
    from ..pretraining.run import pretrain as run

    recipe = PretrainingRecipe.from_toml(config, **_changes(steps))
    options: dict[str, Any] = {"heldout": heldout or (), "init": init, "device": device, "progress": progress}
    _print(run(recipe, train, output, vocabulary=vocabulary, **options))


def finetune(
    task: Annotated[str, typer.Argument(help="classification, sst2, mnli, squad, squad-beam, race or conll.")],
    output: OutputArgument,
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Hugging Face id, folder or file to start from.")],
    train: Annotated[Path, typer.Option(help="The task's data; for race a folder.")],
    dev: Annotated[list[Path] | None, typer.Option(help="Data for evaluation; may be repeated.")] = None,
    steps: StepsOption = None,
    num_threads: ThreadsOption = None,
    device: TorchDeviceOption = "cpu",
    progress: ProgressOption = None,
) -> None:
    """Train a model for a task. Stopped runs go on. Prints the last evaluation as JSON."""
    _prepare(num_threads)
    from ..finetuning import FinetuningRecipe
    from ..finetuning import finetune as run

    recipe = FinetuningRecipe.from_toml(config, **_changes(steps))
    _print(run(task, recipe, model, train, output, development=dev or (), device=device, progress=progress))


def evaluate(
    task: Annotated[str | None, typer.Argument(help="As for finetune.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A fine-tuned model; of --suite, a folder of them.")] = "",
    data: Annotated[Path | None, typer.Option(help="The task's data; of --suite, a folder with all of them.")] = None,
    suite: Annotated[str | None, typer.Option(help="card: the table of ALBERT's model card.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this column of the suite; may be repeated.")] = None,
    config: Annotated[Path | None, typer.Option(help="The recipe it was trained with, for its [task].")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Write what was predicted, as JSON.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="What the data calls the model's classes 0, 1, .., between commas.")
    ] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
) -> None:
    """Measure a fine-tuned model, in any dtype. Prints figures as JSON; of a suite, a table."""
    if (task is None) == (suite is None) or not model or data is None:
        raise InvalidInputError("evaluate: expected a task or --suite, with --model and --data")
    if predictions is not None and predictions.exists() and data.exists() and os.path.samefile(predictions, data):
        raise InvalidInputError(f"predictions: {str(predictions)!r} is the data itself, expected another file")
    _prepare(None)
    if suite is not None:
        _print_suite(suite, model, data, tuple(only or ()), device, dtype)
        return
    from ..finetuning import evaluate as run

    assert task is not None
    report = run(task, model, data, rules=_rules(config), labels=_names(labels), device=device, dtype=dtype)
    if predictions is not None:
        _write(report, predictions)
    _print(report.figures)


def _print_suite(suite: str, model: str, data: Path, only: tuple[str, ...], device: str, dtype: str) -> None:
    from ..finetuning import evaluate_card

    if suite != "card":
        raise InvalidInputError(f"suite: got {suite!r}, expected 'card'")
    print_text("| task | measured | card (xxlarge-v2) | examples |\n|---|---:|---:|---:|")
    for row in evaluate_card(model, data, device=device, dtype=dtype, only=only):
        measured, card = ("/".join(f"{figure:.1f}" for figure in figures) for figures in (row.figures, row.card))
        print_text(f"| {row.name} | {measured} | {card} | {row.total} |")
        flush()


def _rules(config: Path | None) -> TaskRules:
    from ..finetuning import TaskRules
    from ..trainer import from_table, read_toml

    return from_table(TaskRules, read_toml(config).get("task", {}) if config else {}, "task")


def _names(labels: str | None) -> list[str] | None:
    return None if labels is None else [name.strip() for name in labels.split(",")]


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(finite(report.predictions), ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: a name with NUL, or a text that is not Unicode
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"predictions: cannot write {path} ({reason})") from error


def _print(figures: dict[str, float]) -> None:
    print_json(figures)
    flush()


def _changes(steps: int | None) -> dict[str, int]:
    return {} if steps is None else {"steps": steps}


def _prepare(num_threads: int | None) -> None:
    """Raises ``MissingDependencyError`` without torch or transformers."""
    try:
        import torch
        from transformers.utils import logging
    except ImportError as error:
        message = "training and evaluation need torch and transformers: pip install 'albert_fast[nn]'"
        raise MissingDependencyError(message) from error
    logging.disable_progress_bar()  # of every checkpoint's one file
    if num_threads is not None:
        torch.set_num_threads(check_threads(num_threads) or 1)
