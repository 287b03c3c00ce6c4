"""The files that the tasks' data come in."""

from __future__ import annotations

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
            label = _label(row, columns.label, where)
            if label in columns.skipped:
                continue
            pair = columns.text_pair
            second = None if pair is None or (columns is ANY and pair not in row) else _text(row, pair, where)
            yield TextExample(_text(row, columns.text, where), second, renamed.get(label, label), where)

    return _all(path, read)


def read_squad(path: PathLike) -> list[QuestionExample]:
    """SQuAD 1.1 or 2.0 JSON; ``answers`` may also be columns, as the ``datasets`` library writes them. Raises as
    ``read_texts``, naming file and question."""

    def read(file: Path) -> Iterator[QuestionExample]:
        for article in _list(_json(file), "data", str(file)):
            for paragraph in _list(article, "paragraphs", str(file)):
                context = _text(paragraph, "context", str(file))
                for qa in _list(paragraph, "qas", str(file)):
                    where = f"{file}: question {qa.get('id')!r}"
                    given = [] if qa.get("is_impossible") else _answers(_get(qa, "answers", where), where)
                    answers = tuple((_text(a, "text", where), _start(a, where)) for a in given)
                    yield QuestionExample(str(_get(qa, "id", where)), _text(qa, "question", where), context, answers)

    return _all(path, read)


def _answers(given: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects, or an object of lists turned into one."""
    if isinstance(given, dict) and all(isinstance(given.get(key), list) for key in ("text", "answer_start")):
        if len(given["text"]) != len(given["answer_start"]):
            lengths = f"{len(given['text'])} texts and {len(given['answer_start'])} starts"
            raise InvalidInputError(f"{where}: answers: got {lengths}, expected as many")
        return [{"text": t, "answer_start": s} for t, s in zip(given["text"], given["answer_start"], strict=True)]
    return _list({"answers": given}, "answers", where)


def _start(answer: dict[str, Any], where: str) -> int:
    start = _get(answer, "answer_start", where)
    if isinstance(start, bool) or not isinstance(start, int):
        raise InvalidInputError(f"{where}: answer_start: got {start!r}, expected an integer")
    return start


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
        if not all(isinstance(column, list) for column in columns):
            raise InvalidInputError(f"{name}: questions, options and answers: expected lists")
        if len({len(column) for column in columns}) != 1:
            raise InvalidInputError(f"{name}: got lists of {[len(c) for c in columns]}, expected equal lengths")
        for question, options, answer in zip(*columns, strict=True):
            if not isinstance(question, str) or not _are_texts(options):
                raise InvalidInputError(
                    f"{name}: got {question!r} with {options!r}, expected a text and a list of texts"
                )
            place = "ABCDEFGH".find(answer) if isinstance(answer, str) and len(answer) == 1 else -1
            if not 0 <= place < len(options):
                raise InvalidInputError(
                    f"{name}: got the answer {answer!r}, expected a letter of {len(options)} options"
                )
            choices = tuple(question.replace("_", o) if "_" in question else f"{question} {o}" for o in options)
            yield ChoiceExample(_text(passage, "article", name), choices, place, group)

    return _all(path, read)


def read_conll(path: PathLike) -> list[TaggedExample]:
    """CoNLL: a word a line, its tag in the last column, an empty line between sentences. Columns are parted by tabs in
    a file that has any, so that words may have spaces in them, else by spaces; a line ends at a line feed alone. Raises
    as ``read_texts``."""

    def read(file: Path) -> Iterator[TaggedExample]:
        lines = _lines(file)
        has_tabs = any("\t" in line for line in lines)
        rows: list[list[str]] = []
        for number, line in enumerate([*lines, ""], start=1):
            fields = [field.strip(" ") for field in line.split("\t" if has_tabs else " ")] if line.strip(" \t") else []
            fields = fields if has_tabs else [field for field in fields if field]
            if fields and fields[0] != "-DOCSTART-":
                if len(fields) < 2 or not fields[-1]:
                    raise InvalidInputError(f"{file}: line {number}: got {line!r}, expected a word and its tag")
                rows.append(fields)
            elif rows and not fields:
                where = f"{file}: line {number - len(rows)}"
                yield TaggedExample(tuple(row[0] for row in rows), tuple(row[-1] for row in rows), where)
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
    """Every line as a dictionary, and what to call it. Blank lines are none."""
    lines = [(f"{file}: line {i}", line) for i, line in enumerate(_lines(file), start=1) if line.strip()]
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        yield from ((where, _parsed(line, where)) for where, line in lines)
        return
    names = lines[0][1].split("\t") if lines else []
    for where, line in lines[1:]:
        fields = line.split("\t")
        if len(fields) > len(names):
            raise InvalidInputError(f"{where}: got {len(fields)} fields, expected {len(names)}, as in the header")
        yield where, dict(zip(names, fields, strict=False))


def _lines(file: Path) -> list[str]:
    """Without a byte order mark; a line ends at a line feed, with or without a carriage return before it."""
    with file.open(encoding="utf-8-sig", newline="\n") as lines:
        return [line.removesuffix("\n").removesuffix("\r") for line in lines]


def _json(file: Path) -> dict[str, Any]:
    return _parsed(file.read_text(encoding="utf-8-sig"), str(file))


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"{where}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: got {type(value).__name__}, expected a JSON object")
    return value


def _get(row: Any, key: str, where: str) -> Any:
    if not isinstance(row, dict):
        raise InvalidInputError(f"{where}: got {type(row).__name__}, expected an object with {key!r}")
    if row.get(key) is None:
        raise InvalidInputError(f"{where}: lacks {key!r}, has {', '.join(sorted(map(str, row)))}")
    return row[key]


def _text(row: Any, key: str, where: str) -> str:
    value = _get(row, key, where)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where}: {key}: got {type(value).__name__}, expected a string")
    return value


def _label(row: dict[str, Any], key: str, where: str) -> str:
    value = _get(row, key, where)
    if not isinstance(value, (str, int, float)):
        raise InvalidInputError(f"{where}: {key}: got {type(value).__name__}, expected a name or a number")
    return str(value)


def _list(row: Any, key: str, where: str) -> list[dict[str, Any]]:
    value = _get(row, key, where)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidInputError(f"{where}: {key}: got {type(value).__name__}, expected a list of objects")
    return value


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
