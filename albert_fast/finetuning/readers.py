"""The files that the tasks' data come in."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from albert_fast.errors import InvalidInputError, ModelNotFoundError
from albert_fast.finetuning.examples import ChoiceExample, QuestionExample, TaggedExample, TextExample

PathLike = str | os.PathLike[str]
T = TypeVar("T")


@dataclass(frozen=True)
class Columns:
    """Names in a TSV's header or of JSONL keys; ``labels`` renames labels, ``skipped`` are those without one."""

    text: str
    label: str
    text_pair: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    skipped: tuple[str, ...] = ()


SST2 = Columns("sentence", "label", labels=(("0", "negative"), ("1", "positive")))
MNLI = Columns("sentence1", "gold_label", "sentence2", skipped=("-",))
"""Of ``dev_matched.tsv`` and its like, or of ``multinli_1.0_dev_matched.jsonl``; "-" is where annotators disagree."""
ANY = Columns("text", "label", "text_pair")
"""Of files of your own; ``text_pair`` may be left out."""


def read_texts(path: PathLike, columns: Columns) -> list[TextExample]:
    """A ``.jsonl`` file, or a TSV with a header and no quoting, as GLUE has them.

    Raises ``ModelNotFoundError`` for a file that cannot be read, ``InvalidInputError`` naming file and line.
    """

    def read(file: Path) -> Iterator[TextExample]:
        renamed = dict(columns.labels)
        for where, row in _rows(file):
            label = str(_get(row, columns.label, where))
            if label in columns.skipped:
                continue
            pair = columns.text_pair
            second = None if pair is None or (columns is ANY and pair not in row) else str(_get(row, pair, where))
            yield TextExample(str(_get(row, columns.text, where)), second, renamed.get(label, label))

    return _all(path, read)


def read_squad(path: PathLike) -> list[QuestionExample]:
    """SQuAD 1.1 or 2.0 JSON. Raises as ``read_texts``."""

    def read(file: Path) -> Iterator[QuestionExample]:
        for article in _get(_json(file), "data", str(file)):
            for paragraph in _get(article, "paragraphs", str(file)):
                context = _get(paragraph, "context", str(file))
                for qa in _get(paragraph, "qas", str(file)):
                    where = f"{file}: question {qa.get('id')!r}"
                    given = [] if qa.get("is_impossible") else _get(qa, "answers", where)
                    answers = tuple((_get(a, "text", where), _get(a, "answer_start", where)) for a in given)
                    yield QuestionExample(str(_get(qa, "id", where)), _get(qa, "question", where), context, answers)

    return _all(path, read)


def read_race(path: PathLike) -> list[ChoiceExample]:
    """RACE: a folder of JSON files (``dev/high/1.txt``, ...), or one of them. A question with a gap "_" has it filled
    by each option; behind others the option follows. Raises as ``read_texts``."""
    if Path(path).is_dir():
        files = sorted(file for file in Path(path).rglob("*") if file.suffix in (".txt", ".json"))
        return [example for file in files for example in read_race(file)]

    def read(file: Path) -> Iterator[ChoiceExample]:
        passage = _json(file)
        name = str(file)
        group = "middle" if str(passage.get("id", "")).startswith("middle") else "high"
        columns = [_get(passage, key, name) for key in ("questions", "options", "answers")]
        if len({len(column) for column in columns}) != 1:
            raise InvalidInputError(f"{name}: got lists of {[len(c) for c in columns]}, expected equal lengths")
        for question, options, answer in zip(*columns, strict=True):
            place = "ABCDEFGH".find(answer)
            if len(answer) != 1 or not 0 <= place < len(options):
                raise InvalidInputError(
                    f"{name}: got the answer {answer!r}, expected a letter of {len(options)} options"
                )
            choices = tuple(question.replace("_", o) if "_" in question else f"{question} {o}" for o in options)
            yield ChoiceExample(_get(passage, "article", name), choices, place, group)

    return _all(path, read)


def read_conll(path: PathLike) -> list[TaggedExample]:
    """CoNLL: a word a line, its tag in the last column, an empty line between sentences. Raises as ``read_texts``."""

    def read(file: Path) -> Iterator[TaggedExample]:
        rows: list[list[str]] = []
        for number, line in enumerate([*file.read_text(encoding="utf-8").splitlines(), ""], start=1):
            fields = line.split()
            if fields and fields[0] != "-DOCSTART-":
                if len(fields) < 2:
                    raise InvalidInputError(f"{file}: line {number}: got {line!r}, expected a word and its tag")
                rows.append(fields)
            elif rows and not fields:
                yield TaggedExample(tuple(row[0] for row in rows), tuple(row[-1] for row in rows))
                rows = []

    return _all(path, read)


def _all(path: PathLike, read: Callable[[Path], Iterator[T]]) -> list[T]:
    try:
        examples = list(read(Path(path)))
    except OSError as error:
        raise ModelNotFoundError(f"{os.fspath(path)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{os.fspath(path)}: got bytes that are not UTF-8 ({error}), expected text") from error
    if not examples:
        raise InvalidInputError(f"{os.fspath(path)}: got no example, expected at least one")
    return examples


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line as a dictionary, and what to call it."""
    with file.open(encoding="utf-8", newline="") as lines:
        if file.suffix == ".jsonl":
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{file}: line {number}", _parsed(line, f"{file}: line {number}")
        else:
            for row in (reader := csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)):
                yield f"{file}: line {reader.line_num}", row


def _json(file: Path) -> dict[str, Any]:
    return _parsed(file.read_text(encoding="utf-8"), str(file))


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{where}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: got {type(value).__name__}, expected a JSON object")
    return value


def _get(row: dict[str, Any], key: str, where: str) -> Any:
    if row.get(key) is None:
        raise InvalidInputError(f"{where}: lacks {key!r}, has {', '.join(sorted(map(str, row)))}")
    return row[key]
