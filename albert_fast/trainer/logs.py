"""What a run reports: a JSON line for each record, the same for TensorBoard where tensorboardX is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from albert_fast.errors import CheckpointError, OutputError

_FILE = "log.jsonl"


class Log:
    """``log.jsonl`` and ``tensorboard/`` in a folder. Records of steps after ``step`` are dropped when it is opened: a
    run that goes on from an earlier checkpoint makes them again. Raises ``OutputError``, and ``CheckpointError`` if the
    file there has a line that is none of a log."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = _records(self._path) if self._path.exists() else ()
            kept = [line + b"\n" for line, record in found if record["step"] <= step]
            partial = self._path.with_suffix(".partial")
            partial.write_bytes(b"".join(kept))
            os.replace(partial, self._path)
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"output: cannot write {self._path} ({error.strerror or error})") from error
        self._board = _board(folder / "tensorboard", step)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One record. Raises ``OutputError``."""
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"output: cannot write {self._path} ({error.strerror or error})") from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """No more records."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: str | os.PathLike[str], kind: str) -> list[dict[str, Any]]:
    """The records of one kind, ``"train"`` or ``"evaluation"``. Raises ``CheckpointError`` if a line is none, or
    there is no log."""
    path = Path(folder) / _FILE
    if not path.exists():
        raise CheckpointError(f"{path}: no such file, expected the log of a run")
    return [record for _, record in _records(path) if record["kind"] == kind]


def _records(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Whole lines, and what they say: the last one of a run that was killed may be half there."""
    *lines, _ = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line.decode("utf-8"))
            if not isinstance(record["step"], int) or not isinstance(record["kind"], str):
                raise TypeError("step or kind")
        except (ValueError, TypeError, KeyError) as error:
            shown = line.decode("utf-8", "backslashreplace")[:80]
            raise CheckpointError(
                f"{path}: line {number} is {shown!r}, expected a record with kind and step; remove it"
            ) from error
        yield line, record


def _board(folder: Path, step: int) -> Any:
    try:
        # Not torch's, which imports TensorFlow where that is installed.
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]
    except ImportError:
        return None
    # Its files are named by the second: the step keeps those of two runs apart.
    return SummaryWriter(str(folder), purge_step=step + 1, filename_suffix=f".{step}")
