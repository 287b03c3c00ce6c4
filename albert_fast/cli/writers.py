"""The four output formats, each as files that only grow and a last step that makes them the finished file.

Every format's bytes are a function of the rows alone, not of how they were cut into windows:

    .npy          header of fixed size (zeros until the end), rows
    .safetensors  header of fixed size (zeros until the end), rows, for pooling none cu_seqlens
    .jsonl        a line per text
    .parquet      rows raw; the Parquet file is made of them at the end, in row groups of fixed size

With pooling none the lengths of the texts grow in a file of their own beside the rows.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInputError, MissingDependencyError, OutputError

FloatArray = npt.NDArray[np.float32]
Features = FloatArray | Sequence[FloatArray]  # [n, H], or n arrays [length, H]

_ROW_GROUP_VALUES = 2**22  # 16 MiB of float32 in a Parquet row group
_NO_NUMBER = re.compile("nan|-?inf")
_COPY_COUNT = 2**20  # lengths turned into cu_seqlens at a time


class PartialFile:
    """A file that grows by appending and forgets what came after the last commit. Opening it takes its lock and changes
    nothing in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._descriptor).st_size
            if not _is_still(self._descriptor, path):  # the lock came with the other's last step
                raise OutputError(f"{path}: another albert-fast has just finished it")
        except BlockingIOError as error:
            self.close()
            raise OutputError(f"{path}: another albert-fast is writing it") from error
        except BaseException:
            self.close()
            raise

    def cut(self, committed: int) -> None:
        """Go back to the last commit. Raises ``OutputError`` if that is more than there is."""
        if self.size < committed:
            raise OutputError(
                f"{self.path}: has {self.size} bytes, fewer than the {committed} of its journal; "
                f"start over with --overwrite"
            )
        self.truncate(committed)

    def append(self, data: bytes | npt.NDArray[Any]) -> None:
        """Write all of ``data`` at the end."""
        view = data.reshape(-1).view(np.uint8).data if isinstance(data, np.ndarray) else memoryview(data)
        self.size += self._write(view, self.size)

    def overwrite_start(self, data: bytes) -> None:
        """Replace the first bytes."""
        self._write(memoryview(data), 0)

    def _write(self, view: memoryview, offset: int) -> int:
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], offset + done)
        return done

    def truncate(self, size: int) -> None:
        """Drop everything after the first ``size`` bytes."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def sync(self) -> None:
        """Return once the content is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the file and its lock go."""
        os.close(self._descriptor)


class Writer:
    """Rows of features on their way into one output file; a subclass per format."""

    takes_ragged: ClassVar[bool] = True
    header_size: ClassVar[int] = 0
    keeps_lengths: ClassVar[bool] = True

    def __init__(self, out: Path, width: int, ragged: bool) -> None:
        """Open the partial files of ``out`` and lock them; ``begin`` is to follow."""
        self.out, self.width, self.ragged = out, width, ragged
        suffixes = [".partial"] + [".lengths.partial"] * (ragged and self.keeps_lengths)
        self.files: dict[str, PartialFile] = {}
        try:
            for suffix in suffixes:
                self.files[suffix] = PartialFile(beside(out, suffix))
        except BaseException:
            self.close()
            raise
        self._rows_file = self.files[".partial"]

    def begin(self, sizes: dict[str, int]) -> None:
        """Cut the partial files back to their committed bytes, by suffix."""
        for suffix, file in self.files.items():
            file.cut(sizes.get(suffix, 0))
        if self._rows_file.size < self.header_size:
            self._rows_file.append(bytes(self.header_size))

    def append(self, features: Features) -> None:
        """Add a window of rows."""
        if self.ragged:
            self._append_lengths(features)
        self._rows_file.append(_rows(features, self.width))

    def _append_lengths(self, features: Features) -> None:
        self.files[".lengths.partial"].append(np.array([len(f) for f in features], np.int32))

    def sync(self) -> dict[str, int]:
        """Put everything on the disk; returns the size of each partial file by suffix."""
        for file in self.files.values():
            file.sync()
        return {suffix: file.size for suffix, file in self.files.items()}

    def finish(self, rows: int) -> Path:
        """Complete the file of ``rows`` texts and return it; after a kill this may run again."""
        self._rows_file.sync()
        return self._rows_file.path

    def close(self) -> None:
        """Let the files go."""
        for file in self.files.values():
            file.close()

    def lengths(self, rows: int) -> Iterator[npt.NDArray[np.int32]]:
        """The lengths of all texts, a chunk at a time."""
        with self.files[".lengths.partial"].path.open("rb") as file:
            for start in range(0, rows, _COPY_COUNT):
                yield np.frombuffer(file.read(4 * min(_COPY_COUNT, rows - start)), np.int32)


class NpyWriter(Writer):
    """NumPy's own format, byte for byte what ``numpy.save`` writes."""

    takes_ragged = False
    header_size = 128

    def finish(self, rows: int) -> Path:
        """Write the header in place."""
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (rows, self.width)}
        )
        if len(header.getvalue()) != self.header_size:
            raise OutputError(f"{self.out}: no .npy header of {self.header_size} bytes for {rows} rows")
        self._rows_file.overwrite_start(header.getvalue())
        return super().finish(rows)


class SafetensorsWriter(Writer):
    """``features`` [n, H], or for pooling none ``features`` [T, H] and ``cu_seqlens`` [n + 1] (int32)."""

    header_size = 512

    def finish(self, rows: int) -> Path:
        """Append ``cu_seqlens`` where needed and write the header in place."""
        data = self._rows_file.size - self.header_size
        shape = [data // (4 * self.width), self.width]
        tensors = {"features": {"dtype": "F32", "shape": shape, "data_offsets": [0, data]}}
        if self.ragged:
            if shape[0] > np.iinfo(np.int32).max:
                raise OutputError(f"{self.out}: {shape[0]} tokens are more than cu_seqlens (int32) can count")
            self._append_cu_seqlens(rows)
            end = self._rows_file.size - self.header_size
            tensors["cu_seqlens"] = {"dtype": "I32", "shape": [rows + 1], "data_offsets": [data, end]}
        text = json.dumps(tensors).encode().ljust(self.header_size - 8)
        self._rows_file.overwrite_start(len(text).to_bytes(8, "little") + text)
        return super().finish(rows)

    def _append_cu_seqlens(self, rows: int) -> None:
        total = 0
        self._rows_file.append(np.zeros(1, np.int32))
        for lengths in self.lengths(rows):
            ends = total + np.cumsum(lengths, dtype=np.int64)
            self._rows_file.append(ends.astype(np.int32))
            total = int(ends[-1])


class JsonlWriter(Writer):
    """``{"features": [...]}`` per text, nested for pooling none; nine digits give back the float32. What is no number,
    as a layer after the encoder may give, is null: JSON has no NaN."""

    keeps_lengths = False

    def __init__(self, out: Path, width: int, ragged: bool) -> None:
        super().__init__(out, width, ragged)
        self._row = "[" + ", ".join(["%.9g"] * width) + "]"

    def append(self, features: Features) -> None:
        """Add a line per text."""
        lines = []
        for row in features:
            if self.ragged:
                text = "[" + ", ".join(self._row % tuple(token) for token in row.tolist()) + "]"
            else:
                text = self._row % tuple(row.tolist())
            if "n" in text:  # nan, inf, -inf; digits have no other letter than e
                text = _NO_NUMBER.sub("null", text)
            lines.append(f'{{"features": {text}}}\n')
        self._rows_file.append("".join(lines).encode())


class ParquetWriter(Writer):
    """One column ``features``: a list of H floats per text, or for pooling none a list of such lists."""

    def finish(self, rows: int) -> Path:
        """Make the Parquet file from the raw rows."""
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        vector = pa.list_(pa.float32())
        schema = pa.schema([("features", pa.list_(vector) if self.ragged else vector)])
        final = beside(self.out, ".final.partial")
        with (
            self._rows_file.path.open("rb") as source,
            pq.ParquetWriter(final, schema, use_dictionary=False) as writer,
        ):
            for lengths in self._row_groups(rows):
                tokens = int(lengths.sum())
                values = np.frombuffer(source.read(4 * tokens * self.width), np.float32)
                vectors = pa.ListArray.from_arrays(_offsets(np.full(tokens, self.width)), pa.array(values))
                column = pa.ListArray.from_arrays(_offsets(lengths), vectors) if self.ragged else vectors
                writer.write_table(pa.Table.from_arrays([column], schema=schema), row_group_size=rows)
        descriptor = os.open(final, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        return final

    def _row_groups(self, rows: int) -> Iterator[npt.NDArray[np.int64]]:
        """Lengths of the texts in each row group: as many texts as fit, at least one."""
        limit = max(1, _ROW_GROUP_VALUES // self.width)
        if not self.ragged:
            for start in range(0, rows, limit):
                yield np.ones(min(limit, rows - start), np.int64)
            return
        group: list[int] = []
        tokens = 0
        for chunk in self.lengths(rows):
            for length in chunk.tolist():
                if group and tokens + length > limit:
                    yield np.array(group, np.int64)
                    group, tokens = [], 0
                group.append(length)
                tokens += length
        if group:
            yield np.array(group, np.int64)


WRITERS: dict[str, type[Writer]] = {
    ".npy": NpyWriter,
    ".safetensors": SafetensorsWriter,
    ".jsonl": JsonlWriter,
    ".parquet": ParquetWriter,
}


def writer_for(out: Path, ragged: bool) -> type[Writer]:
    """The writer of the format that ``out``'s suffix names.

    Raises:
        InvalidInputError: no such format, or it cannot hold texts of different lengths (pooling none).
        MissingDependencyError: Parquet without pyarrow.
    """
    writer = WRITERS.get(out.suffix.lower())
    if writer is None:
        raise InvalidInputError(f"output: got {str(out)!r}, expected a name that ends in {_listed(WRITERS)}")
    if ragged and not writer.takes_ragged:
        able = _listed([suffix for suffix, other in WRITERS.items() if other.takes_ragged])
        raise InvalidInputError(f"output: {out.suffix} cannot hold pooling none; expected {able}")
    if writer is ParquetWriter:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "output: .parquet needs pyarrow, which is not installed; pip install 'albert_fast[parquet]'"
            ) from error
    return writer


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def beside(out: Path, suffix: str) -> Path:
    """The file that goes with ``out`` while it is made: its name with ``suffix`` added."""
    return out.with_name(out.name + suffix)


def _listed(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _rows(features: Features, width: int) -> FloatArray:
    if isinstance(features, np.ndarray):
        return np.ascontiguousarray(features, np.float32)
    return np.concatenate([np.empty((0, width), np.float32), *features], dtype=np.float32)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
