"""What ``albert-fast`` reads: text, JSON, tables or standard input, one text after the other."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InvalidInputError
from . import records

Text = str | tuple[str, str]


class TextInput:
    """The texts of an input, in order, with a running digest of what they were read from.

    The suffix of the name decides, in upper or lower case. A text file gives one text per line, an empty line an empty
    text. JSON lines (``.jsonl``, ``.ndjson``, or any input without a suffix of these when a field is named), a JSON
    array (``.json``), tables with a header (``.csv``, ``.tsv``) and ``.parquet`` give ``text_field`` of each record,
    paired with ``pair_field`` if there is one; a record of JSON may also be a text itself; blank lines are skipped.
    ``-`` is standard input. Reads are lazy: ``rows``, ``where`` and ``digest()`` cover exactly the texts that have
    been taken.

    Raises:
        InvalidInputError: on opening what cannot be read; on a record (named by its line or number) that is not
            UTF-8, not of the form, or lacks a field of text.
        MissingDependencyError: Parquet without pyarrow.
    """

    def __init__(self, path: str, text_field: str | None = None, pair_field: str | None = None) -> None:
        self.name = "standard input" if path == "-" else path
        has_fields = text_field is not None or pair_field is not None
        self._form = records.form_of(path, has_fields)
        self._takes_texts = not has_fields and self._form in ("jsonl", "json")
        self.text_field = text_field or "text"
        self.pair_field = pair_field
        self.rows = 0
        self.where = ""
        self._stream = _open(path)
        self.rewind()

    def rewind(self) -> None:
        """Begin at the first text again. Raises ``InvalidInputError`` when that is past (standard input)."""
        if self._stream.seekable():
            self._stream.seek(0)
        elif self.rows:
            raise InvalidInputError(
                f"input: {self.rows} lines of {self.name} are read and cannot be read again; delete the "
                f".progress.json file beside the output and run the same command again"
            )
        self.rows = 0
        self._hash = hashlib.sha256()
        self._records = self._read()

    def __enter__(self) -> TextInput:
        return self

    def __exit__(self, *_: object) -> None:
        if self.name != "standard input":
            self._stream.close()

    def is_file(self, path: Path) -> bool:
        """Whether ``path`` is the file that is read here, be it through links or under another name."""
        try:
            return os.path.samestat(os.fstat(self._stream.fileno()), path.stat())
        except OSError:  # no such file, or a stream that is none
            return False

    @property
    def form(self) -> str:
        """How records become texts, in a few words; part of a job's fingerprint."""
        return "text" if self._form == "text" else f"{self._form} {self.text_field} {self.pair_field}"

    def digest(self) -> str:
        """SHA-256 of the records that the texts taken so far stood in, in hex."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[Text]:
        for where, record in self._records:
            self.rows += 1
            self.where = f"{self.name}, {where}"
            yield self._text(record)

    def skip(self, rows: int) -> bool:
        """Read past ``rows`` texts without parsing them; False when the input ends before."""
        while self.rows < rows:
            if next(self._records, None) is None:
                return False
            self.rows += 1
        return True

    def _read(self) -> Iterator[records.Record]:
        taken = self._hash.update
        if self._form == "json":
            return records.json_array(self._stream, taken, self.name)
        if self._form in ("csv", "tsv"):
            return records.table(self._stream, taken, self.name, "," if self._form == "csv" else "\t")
        if self._form == "parquet":
            fields = [self.text_field, *[self.pair_field] * (self.pair_field is not None)]
            return records.parquet(self._stream, taken, self.name, fields)  # type: ignore[arg-type]  # no None in it
        return records.lines(self._stream, taken, blank=self._form == "text")

    def _text(self, record: Any) -> Text:
        if isinstance(record, bytes):
            line = self._decoded(record)
            if self._form == "text":
                return line
            record = self._parsed(line)
        if isinstance(record, str) and self._takes_texts:
            return record
        if not isinstance(record, dict):
            raise self._bad(f"got {type(record).__name__}, expected a JSON object")
        text = self._field(record, self.text_field)
        return text if self.pair_field is None else (text, self._field(record, self.pair_field))

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise self._bad(f"not UTF-8: {error.reason} at byte {error.start + 1}") from error

    def _parsed(self, line: str) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            hint = "; expected an array, or an object a line" if self._form == "json" else ""
            raise self._bad(f"not JSON: {error}{hint}") from error

    def _field(self, record: dict[str, Any], field: str) -> str:
        if field not in record:
            there = ", ".join(map(repr, record)) or "none"
            raise self._bad(f"no field {field!r}, but {there}; --text-field and --pair-field name others")
        value = record[field]
        if not isinstance(value, str):
            raise self._bad(f"field {field!r} is {type(value).__name__}, expected a string")
        return value

    def _bad(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self.where}: {what}")


def standard_input() -> BinaryIO:
    """The bytes of standard input. Raises ``InvalidInputError`` when it is closed (``0<&-``)."""
    if sys.stdin is None or getattr(sys.stdin, "closed", False):
        raise InvalidInputError("input: standard input is closed")
    return sys.stdin.buffer


def _open(path: str) -> BinaryIO:
    if path == "-":
        return standard_input()
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        raise InvalidInputError(f"input: cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error
