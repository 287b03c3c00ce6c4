"""Where weights come from: a hub id, a folder, a file, a live model, the bundled one or ``random:NAME``, all read the
same way."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from albert_fast.bundled import bundled_folder
from albert_fast.config import AlbertConfig
from albert_fast.errors import InvalidInputError, InvalidTypeError, ModelNotFoundError
from albert_fast.sources.base import BLOCK_BYTES, StoredTensor, WeightSource, row_blocks
from albert_fast.sources.bert import as_albert
from albert_fast.sources.folder import open_file, open_folder
from albert_fast.sources.hub import open_hub
from albert_fast.sources.names import MLM_BIASES
from albert_fast.sources.place import HUB_ID, FolderPlace, HubPlace, is_file_name, transformer_place
from albert_fast.sources.random_weights import PREFIX, random_source
from albert_fast.sources.torch_state import torch_tensors

__all__ = ["BLOCK_BYTES", "StoredTensor", "WeightSource", "open_source", "row_blocks"]


def open_source(
    model: str | os.PathLike[str] | Any,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    mlm_bias: str = "decoder",
) -> WeightSource:
    """Open the weights of a model for reading; nothing is loaded yet. Close the result, or use ``with``.

    ``model`` is, in the order tried: ``random:NAME`` (a preset of ``AlbertConfig``), a live transformers
    ALBERT of any class, a folder, a ``.safetensors`` or ``.bin`` file with ``config.json`` beside it,
    ``"mini"``, which comes with the package, or an id on the Hugging Face hub. ``revision``, ``cache_dir``
    and ``local_files_only`` concern the hub alone and mean what they mean there. ``mlm_bias``, one of ``MLM_BIASES``,
    is which bias the MLM head adds where a checkpoint holds two that differ.

    Raises ``InvalidTypeError``, ``InvalidInputError``, ``ModelNotFoundError``, ``ConfigError``,
    ``CheckpointError`` or ``MissingDependencyError``.
    """
    if mlm_bias not in MLM_BIASES:
        raise InvalidInputError(f"mlm_bias: got {mlm_bias!r}, expected one of {', '.join(MLM_BIASES)}")
    if hasattr(model, "state_dict") and hasattr(model, "config"):
        return _open_live(model, mlm_bias)
    if not isinstance(model, (str, os.PathLike)):
        expected = "a hub id, a path, 'random:NAME' or a transformers model"
        raise InvalidTypeError(f"model: got {type(model).__name__}, expected {expected}")
    name = os.fspath(model)
    if not isinstance(name, str) or not name.strip() or not is_file_name(name):
        raise InvalidInputError(f"model: got {name!r}, expected a hub id, a path or 'random:NAME'")
    if name.startswith(PREFIX):
        return random_source(name, AlbertConfig.preset(name.removeprefix(PREFIX)))
    if (bundled := bundled_folder(model)) is not None:
        return open_folder(name, bundled, mlm_bias)
    path = Path(os.path.expanduser(name))
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if isinstance(model, os.PathLike) or not HUB_ID.fullmatch(name):
            raise ModelNotFoundError(f"model {name}: no such folder or file") from None
        place = HubPlace(
            name, label=f"model {name}", revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
        )
        return open_hub(name, transformer_place(place), mlm_bias)
    except OSError as error:
        raise ModelNotFoundError(f"model {name}: {error.strerror or error}") from error
    if not is_folder:
        return open_file(name, path, mlm_bias)
    return open_folder(name, transformer_place(FolderPlace(name, path)).folder, mlm_bias)


def _open_live(model: Any, mlm_bias: str) -> WeightSource:
    label = f"live {type(model).__name__}"
    values, tensors = as_albert(model.config.to_dict(), torch_tensors(model.state_dict(), label))
    return WeightSource(label, AlbertConfig.from_dict(values), tensors, mlm_bias=mlm_bias)
