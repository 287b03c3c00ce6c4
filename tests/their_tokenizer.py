"""transformers' AlbertTokenizer on our vocabulary: the slow one in version 4, a fast one in version 5."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import albert_fast

VOCABULARY = Path(albert_fast.__file__).parent / "data" / "spiece.model"


def their_tokenizer(folder: Path, **options: Any) -> Any:
    """Made of a copy of the vocabulary alone, in ``folder``."""
    import transformers

    folder.mkdir(exist_ok=True)
    shutil.copy(VOCABULARY, folder)
    return transformers.AlbertTokenizer.from_pretrained(folder, **options)
