"""The table of ALBERT's model card as a command: SQuAD 1.1, SQuAD 2.0, MNLI, SST-2, RACE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from albert_fast.errors import InvalidInputError, ModelNotFoundError
from albert_fast.finetuning.run import evaluate
from albert_fast.finetuning.task import TaskRules

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Entry:
    """A column of the card: its task, where its data are below the data folder (the first that is there), the figure
    that the card shows and what it says for ``albert-xxlarge-v2``, in percent."""

    name: str
    tasks: tuple[str, ...]
    data: tuple[str, ...]
    figures: tuple[str, ...]
    card: tuple[float, ...]
    max_length: int


CARD: Final = (
    Entry("squad1", ("squad",), ("squad/dev-v1.1.json",), ("f1", "exact_match"), (94.6, 89.1), 384),
    Entry("squad2", ("squad-beam", "squad"), ("squad/dev-v2.0.json",), ("f1", "exact"), (89.8, 86.9), 512),
    Entry("mnli", ("mnli",), ("MNLI/dev_matched.tsv", "MNLI/dev_matched.jsonl"), ("accuracy",), (90.6,), 512),
    Entry("sst2", ("sst2",), ("SST-2/dev.tsv", "SST-2/dev.jsonl"), ("accuracy",), (96.8,), 512),
    Entry("race", ("race",), ("RACE/test",), ("accuracy",), (86.8,), 512),
)


@dataclass(frozen=True)
class Row:
    """A measured column of the card: figures in percent, beside the card's own."""

    name: str
    figures: tuple[float, ...]
    card: tuple[float, ...]
    total: int


def evaluate_card(
    models: PathLike, data: PathLike, *, device: str = "auto", dtype: str = "auto", only: tuple[str, ...] = ()
) -> Iterator[Row]:
    """The card's table, column by column, as they are measured.

    Args:
        models: a folder with a fine-tuned checkpoint for each column, by its name: ``squad1``, ``squad2``, ``mnli``,
            ``sst2``, ``race``.
        data: a folder with the data as they are handed out; ``Entry.data`` says where each is looked for.
        device, dtype: as ``load`` takes them.
        only: names of columns; all by default.

    Raises ``ModelNotFoundError`` before anything is measured if a checkpoint or a data file is not there, and what
    ``evaluate`` raises.
    """
    entries = [entry for entry in CARD if not only or entry.name in only]
    if unknown := sorted(set(only) - {entry.name for entry in CARD}):
        raise InvalidInputError(f"only: got {unknown[0]!r}, expected some of {', '.join(e.name for e in CARD)}")
    places = [(entry, _existing(Path(models), (entry.name,)), _existing(Path(data), entry.data)) for entry in entries]
    for entry, model, file in places:
        task = _task_of(entry, model)
        report = evaluate(task, model, file, rules=TaskRules(max_length=entry.max_length), device=device, dtype=dtype)
        scale = 100.0 if entry.figures == ("accuracy",) else 1.0
        figures = tuple(scale * report.figures[name] for name in entry.figures)
        yield Row(entry.name, figures, entry.card, int(report.figures["total"]))


def _existing(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ModelNotFoundError(f"{folder}: has no {' nor '.join(names)}")


def _task_of(entry: Entry, model: Path) -> str:
    """A checkpoint for SQuAD 2.0 has either head; its ``config.json`` says which class was saved."""
    if len(entry.tasks) == 1:
        return entry.tasks[0]
    config = (model / "config.json").read_text(encoding="utf-8")
    return entry.tasks[0] if "AlbertForBeamQuestionAnswering" in config else entry.tasks[1]
