"""The forms an input may have, each as a stream of records with the place where each stands."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any, BinaryIO, Final

from ..errors import InvalidInputError, MissingDependencyError

Record = tuple[str, Any]
"""Where it stands (``"line 3"``), and a line in bytes, a text, or a mapping of fields."""

_FORMS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_UNREADABLE: Final = {
    **dict.fromkeys(
        (".gz", ".bz2", ".xz", ".zst", ".zip"), "decompress it, or pipe it in: zcat FILE | albert-fast ... -"
    ),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save it as .csv"),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro"), "write it as .parquet or .jsonl"),
}
_LONGEST_FIELD: Final = 2**31 - 1  # of a CSV file; the module's own limit is 128 KiB
_BATCH_ROWS: Final = 1024


def form_of(path: str, has_fields: bool) -> str:
    """What the suffix of an input says, in any case: text unless fields are named, in which case JSON lines.

    Raises ``InvalidInputError`` for a file that is certainly none of these.
    """
    suffix = "" if path == "-" else PurePath(path).suffix.lower()
    if suffix in _UNREADABLE:
        raise InvalidInputError(f"input: got {path!r}, which is not text; {_UNREADABLE[suffix]}")
    return _FORMS.get(suffix, "jsonl" if has_fields else "text")


def lines(stream: Iterable[bytes], taken: Callable[[bytes], Any], *, blank: bool) -> Iterator[Record]:
    """Lines without their ends; with ``blank`` False those without content are left out."""
    for number, line in enumerate(stream, start=1):
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if blank or content.strip():
            taken(line)
            yield f"line {number}", content.rstrip(b"\r\n")


def json_array(stream: BinaryIO, taken: Callable[[bytes], Any], name: str) -> Iterator[Record]:
    """The elements of a JSON array; a file that does not begin with a bracket is read as JSON lines, which many call
    ``.json``, too."""
    start = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    stream.seek(0)
    if start[:1] != b"[":
        yield from lines(stream, taken, blank=False)
        return
    try:
        items = json.loads(stream.read())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name}: not JSON: {error}") from error
    for number, item in enumerate(items, start=1):
        taken(json.dumps(item).encode())
        yield f"item {number}", item


def table(stream: Iterable[bytes], taken: Callable[[bytes], Any], name: str, delimiter: str) -> Iterator[Record]:
    """The rows of a CSV file below its header, as mappings; a row may span lines."""
    line = 0

    def decoded() -> Iterator[str]:
        nonlocal line
        for raw in stream:
            line += 1
            taken(raw)
            try:
                yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidInputError(
                    f"{name}, line {line}: not UTF-8: {error.reason} at byte {error.start + 1}"
                ) from error

    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(decoded(), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        first = line + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InvalidInputError(
                f"{name}, line {first}: not {'CSV' if delimiter == ',' else 'TSV'}: {error}"
            ) from error
        if row is None:
            return
        if not row:
            continue
        if header is None:
            header = _checked_header(row, name)
        elif len(row) != len(header):
            raise InvalidInputError(
                f"{name}, line {first}: got {len(row)} columns, expected {len(header)} as in the header"
            )
        else:
            yield f"line {first}", dict(zip(header, row, strict=True))


def _checked_header(header: list[str], name: str) -> list[str]:
    doubled = next((column for column in header if header.count(column) > 1), None)
    if doubled is not None:
        raise InvalidInputError(f"{name}, line 1: two columns are called {doubled!r}, expected names that differ")
    return header


def parquet(stream: BinaryIO, taken: Callable[[bytes], Any], name: str, fields: list[str]) -> Iterator[Record]:
    """The rows of a Parquet file, of which only ``fields`` are read.

    Raises ``MissingDependencyError`` without pyarrow.
    """
    try:
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
        from pyarrow import ArrowException
    except ImportError as error:
        raise MissingDependencyError(
            "input: .parquet needs pyarrow, which is not installed; pip install 'albert_fast[parquet]', "
            "or write the texts as .jsonl or .csv"
        ) from error
    number = 0
    try:
        file = pq.ParquetFile(stream)
        columns = file.schema_arrow.names
        wanted = [field for field in fields if field in columns]
        for batch in file.iter_batches(_BATCH_ROWS, columns=wanted or columns):
            for row in batch.to_pylist():
                number += 1
                taken(repr(row).encode(errors="surrogatepass"))
                yield f"row {number}", row
    except (ArrowException, OSError) as error:
        raise InvalidInputError(f"{name}: not a Parquet file that can be read: {error}") from error
