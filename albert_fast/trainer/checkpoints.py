"""Folders that are there whole or not at all."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from albert_fast.disk import sync
from albert_fast.errors import CheckpointError, OutputError

_STATE, _PROGRESS = "optimizer.pt", "progress.json"
_PARTIAL = ".partial"


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder under another name and rename it when it is on the disk; one that was there is replaced.

    Raises ``OutputError``.
    """
    partial = folder.with_name(folder.name + _PARTIAL)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        for path in (*partial.iterdir(), partial):
            sync(path)
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"output: cannot write {folder} ({error.strerror or error})") from error


def unreadable(folder: Path, what: object) -> CheckpointError:
    """What to raise of a checkpoint that is damaged."""
    return CheckpointError(f"{folder}: cannot be read ({what}); remove it to go on from the one before")


class Checkpoints:
    """``step-00001000``, ... below a folder: each has a model's files, the optimizer's state, and where the run was."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, optimizer: torch.optim.Optimizer, progress: Any, model: Callable[[Path], None]) -> None:
        """Write one, then remove those that are too many. ``model`` writes its own files. Raises ``OutputError``."""

        def write(folder: Path) -> None:
            model(folder)
            with open(folder / _STATE, "wb") as file:  # of a path, torch makes a RuntimeError of a full disk
                torch.save(optimizer.state_dict(), file)
            (folder / _PROGRESS).write_text(json.dumps(progress, indent=1) + "\n", encoding="utf-8")

        write_folder(self.folder / f"step-{step:08d}", write)
        for old in self._all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Path | None:
        """The last one that was written to its end."""
        found = self._all()
        return found[-1] if found else None

    def restore(self, folder: Path, optimizer: torch.optim.Optimizer) -> Any:
        """Give an optimizer its state back; returns where the run was. Raises ``CheckpointError``."""
        try:
            optimizer.load_state_dict(torch.load(folder / _STATE, weights_only=True))
            return json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
            # What torch says of a pickle is long, and advises to load it unsafely.
            what = f"{_STATE} is damaged" if isinstance(error, pickle.UnpicklingError) else error
            raise unreadable(folder, what) from error

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.name[5:].isdigit())
