"""Where the files of a model lie: a folder, or one commit of a repository on the Hugging Face hub."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

from albert_fast.bundled import bundled_folder
from albert_fast.config import PRESETS
from albert_fast.errors import AlbertFastError, ModelNotFoundError

HUB_ID: Final = re.compile(r"(?!.*\.(safetensors|bin|json)$)\w[\w.-]*(/\w[\w.-]*)?")
"""``name`` or ``owner/name``; anything else can only be a path."""


class Place(Protocol):
    """A place to look for files in; ``label`` names it in messages."""

    @property
    def label(self) -> str:
        """What to call it in messages."""

    def find(self, file: str) -> Path | None:
        """The path of a file (``"config.json"``, ``"1_Pooling/config.json"``), or None if the place has none of that
        name. Raises ``ModelNotFoundError`` when it cannot be known."""

    def require(self, file: str) -> Path:
        """The path of a file. Raises ``ModelNotFoundError`` when there is none."""

    def below(self, folder: str) -> Place:
        """A folder of this place, or the place itself for an empty name."""


P = TypeVar("P", bound="FolderPlace | HubPlace")


class FolderPlace:
    """A folder on this machine."""

    def __init__(self, label: str, folder: Path) -> None:
        self.label = label
        self.folder = folder

    def find(self, file: str) -> Path | None:
        """See ``Place``."""
        path = self.folder / file
        try:
            return path if path.is_file() else None
        except OSError as error:
            raise ModelNotFoundError(f"{self.label}: {path}: {error.strerror or error}") from error

    def require(self, file: str) -> Path:
        """See ``Place``."""
        if (path := self.find(file)) is None:
            raise ModelNotFoundError(f"{self.label}: folder {self.folder} has no {file}; {_listing(self.folder)}")
        return path

    def below(self, folder: str) -> FolderPlace:
        """See ``Place``."""
        return FolderPlace(self.label, self.folder / folder)


class HubPlace:
    """A repository on the hub, through huggingface_hub's own cache and download. All files are taken from one commit,
    that of the first file that was found."""

    def __init__(
        self,
        name: str,
        *,
        label: str,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        self.label = label
        self.repo = hub_id(name)
        self._revision = revision
        self._commit: str | None = None
        self._prefix = ""  # of all files, with a slash at its end
        self._options = {
            "cache_dir": None if cache_dir is None else os.fspath(cache_dir),
            "local_files_only": local_files_only,
        }

    def find(self, file: str) -> Path | None:
        """See ``Place``. Offline, a file that is not in the cache counts as one that is not there."""
        from huggingface_hub import constants
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # their home before 0.25
            EntryNotFoundError,
            LocalEntryNotFoundError,
        )

        try:
            return self._fetch(file)
        except EntryNotFoundError as error:
            offline = self._options["local_files_only"] or constants.HF_HUB_OFFLINE
            if offline or not isinstance(error, LocalEntryNotFoundError):
                return None
            raise self._not_found(error) from error

    def require(self, file: str) -> Path:
        """See ``Place``."""
        from huggingface_hub.utils import EntryNotFoundError  # type: ignore[attr-defined]  # its home before 0.25

        try:
            return self._fetch(file)
        except EntryNotFoundError as error:
            raise self._not_found(error) from error

    def below(self, folder: str) -> HubPlace:
        """See ``Place``."""
        inside = copy.copy(self)
        inside._prefix = f"{self._prefix}{folder.strip('/')}/" if folder.strip("/") else self._prefix
        return inside

    def _fetch(self, file: str) -> Path:
        """Raises the hub's own EntryNotFoundError, and ``ModelNotFoundError`` for whatever else keeps the file away:
        the classes of the client's other errors differ between its versions."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError  # type: ignore[attr-defined]  # its home before 0.25

        options: dict[str, Any] = {**self._options, "revision": self._commit or self._revision}
        file = self._prefix + file
        try:
            path = Path(hf_hub_download(self.repo, file, **options))
        except (AlbertFastError, EntryNotFoundError):
            raise
        except Exception as error:
            raise self._not_found(error) from error
        if self._commit is None:  # the cache keeps a file under snapshots/COMMIT/
            self._commit = path.parents[file.count("/")].name
        return path

    def _not_found(self, error: Exception) -> ModelNotFoundError:
        where = f"hub id {self.repo!r}" + (f" at revision {self._revision!r}" if self._revision else "")
        return ModelNotFoundError(
            f"{self.label}: tried {where}: {type(error).__name__}: {first_line(error)}."
            " If you have its files (config.json and the weights), pass the path of their folder instead"
        )


def open_place(
    name: str | os.PathLike[str],
    *,
    label: str,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> FolderPlace | HubPlace:
    """The place that a model's name means: a bundled model, a folder, the folder of a file, or a hub id.

    Raises ``ModelNotFoundError`` for a path that does not exist.
    """
    if (bundled := bundled_folder(name)) is not None:
        return FolderPlace(label, bundled)
    path = Path(os.path.expanduser(name))
    try:
        if path.exists():
            return FolderPlace(label, path if path.is_dir() else path.parent)
    except OSError as error:
        raise ModelNotFoundError(f"{label}: {error.strerror or error}") from error
    if isinstance(name, os.PathLike) or not HUB_ID.fullmatch(name):
        raise ModelNotFoundError(f"{label}: no such folder or file")
    return HubPlace(name, label=label, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)


def transformer_place(place: P) -> P:
    """Where the model itself lies: the place, or the folder that its ``modules.json`` names for it, as the first
    versions of sentence-transformers had it."""
    if place.find("config.json") is not None or (path := place.find("modules.json")) is None:
        return place
    try:
        entries = json.loads(path.read_bytes())
        folder = next(entry["path"] for entry in entries if entry["type"].endswith(".Transformer"))
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError, StopIteration):
        return place  # what is wrong with it is said where modules are read
    return cast(P, place.below(folder)) if isinstance(folder, str) else place


def is_file_name(name: str) -> bool:
    """Whether a file or folder can have such a name at all."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def hub_id(name: str) -> str:
    """The full id of a model: the short names of the published ones stand for ``albert/NAME``."""
    return f"albert/{name}" if name.startswith("albert-") and name in PRESETS else name


def first_line(error: Exception) -> str:
    """Of an error's text, without its full stop."""
    return (str(error).strip().splitlines() or ["no further explanation"])[0].rstrip(".")


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "it does not exist"
    present = sorted(entry.name for entry in folder.iterdir())
    return f"it contains {', '.join(present[:8]) or 'nothing'}{', ...' if len(present) > 8 else ''}"
