"""Models that come with the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

_DATA: Final = Path(__file__).parent / "data"
BUNDLED: Final = {"mini": _DATA / "mini"}
"""By name. ``data/mini/README.md`` says what it is, and what it is not."""


def bundled_folder(name: Any) -> Path | None:
    """The folder of a bundled model, if ``name`` is that of one; a file or folder of that name, relative to where one
    is, comes first."""
    if not isinstance(name, str) or name not in BUNDLED or os.path.exists(name):
        return None
    return BUNDLED[name]
