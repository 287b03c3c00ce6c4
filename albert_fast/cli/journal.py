"""The journal beside an output in the making: what is safely on the disk, and of which job it is part."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..disk import sync
from ..errors import OutputError


@dataclass
class Journal:
    """Progress of one job; replaced as a whole by ``commit``, so a reader sees one commit or the next.

    Attributes:
        fingerprint: the options and the model that decide the output's bytes.
        rows: texts whose results are in the partial files.
        sizes: committed bytes of each partial file, by suffix.
        input_digest: SHA-256 of the input lines that the rows came from.
        complete: name of the file that only needs its final name; empty while there is none.
    """

    path: Path
    fingerprint: dict[str, Any]
    rows: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    input_digest: str = ""
    complete: str = ""

    def commit(self) -> None:
        """Make the current state the one that a restart finds, even after a loss of power."""
        values = {key: value for key, value in asdict(self).items() if key != "path"}
        temporary = self.path.with_name(self.path.name + ".new")
        with temporary.open("w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        sync(self.path.parent)

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """The journal at ``path`` or None. Raises ``OutputError`` when what is there is not a journal."""
        try:
            journal = cls(path, **json.loads(path.read_text()))
            json.dumps([journal.rows + 0, sum(journal.sizes.values()), dict(journal.fingerprint)])
            path.with_name("_" + journal.complete)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            raise OutputError(
                f"{path}: not a journal of albert-fast ({error}); delete it, or start over with --overwrite"
            ) from error
        return journal

    def difference(self, fingerprint: dict[str, Any]) -> str:
        """What separates this journal's job from another, for a message; empty when nothing does."""
        keys = sorted(self.fingerprint.keys() | fingerprint.keys())
        changed = [key for key in keys if self.fingerprint.get(key) != fingerprint.get(key)]
        return ", ".join(f"{key} was {self.fingerprint.get(key)!r}, is {fingerprint.get(key)!r}" for key in changed)
