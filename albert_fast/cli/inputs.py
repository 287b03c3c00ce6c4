"""What ``albert-fast`` reads: a text file, JSON lines or standard input, one text per line."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InvalidInputError

Text = str | tuple[str, str]


class TextInput:
    """The texts of an input, in order, with a running digest of the lines that they were read from.

    A text file gives one text per line, an empty line an empty text. JSON lines (a name ending in ``.jsonl``,
    or any input when a field is named) give ``text_field`` of each object, paired with ``pair_field`` if
    there is one; blank lines are skipped. ``-`` is standard input. Reads are lazy: ``rows`` and ``digest()``
    cover exactly the texts that have been taken.

    Raises:
        InvalidInputError: on opening what cannot be read; on a line (named by number) that is not UTF-8, not
            a JSON object, or lacks a field of text.
    """

    def __init__(self, path: str, text_field: str | None = None, pair_field: str | None = None) -> None:
        self.name = "standard input" if path == "-" else path
        self.is_jsonl = path.endswith(".jsonl") or text_field is not None or pair_field is not None
        self.text_field = text_field or "text"
        self.pair_field = pair_field
        self.rows = 0
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
        self._lines = self._numbered()

    def __enter__(self) -> TextInput:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

    @property
    def form(self) -> str:
        """How lines become texts, in one word or two; part of a job's fingerprint."""
        return f"jsonl {self.text_field} {self.pair_field}" if self.is_jsonl else "text"

    def digest(self) -> str:
        """SHA-256 of the lines that the texts taken so far stood in, in hex."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[Text]:
        parse = self._parse_json if self.is_jsonl else self._parse_text
        for number, line in self._lines:
            self.rows += 1
            yield parse(number, line)

    def skip(self, rows: int) -> bool:
        """Read past ``rows`` texts without parsing them; False when the input ends before."""
        while self.rows < rows:
            if next(self._lines, None) is None:
                return False
            self.rows += 1
        return True

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines without their ends; in JSON lines, blank ones are left out."""
        for number, line in enumerate(self._stream, start=1):
            content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if self.is_jsonl and not content.strip():
                continue
            self._hash.update(line)
            yield number, content.rstrip(b"\r\n")

    def _parse_text(self, number: int, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise self._bad(number, f"not UTF-8: {error.reason} at byte {error.start + 1}") from error

    def _parse_json(self, number: int, line: bytes) -> Text:
        try:
            record = json.loads(self._parse_text(number, line))
        except (json.JSONDecodeError, RecursionError) as error:
            raise self._bad(number, f"not JSON: {error}") from error
        if not isinstance(record, dict):
            raise self._bad(number, f"got {type(record).__name__}, expected a JSON object")
        text = self._field(number, record, self.text_field)
        return text if self.pair_field is None else (text, self._field(number, record, self.pair_field))

    def _field(self, number: int, record: dict[str, Any], field: str) -> str:
        if field not in record:
            raise self._bad(number, f"no field {field!r}, but {', '.join(map(repr, record)) or 'none'}")
        value = record[field]
        if not isinstance(value, str):
            raise self._bad(number, f"field {field!r} is {type(value).__name__}, expected a string")
        return value

    def _bad(self, number: int, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self.name}, line {number}: {what}")


def _open(path: str) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InvalidInputError(f"input: cannot read {path!r}: {error.strerror}") from error
