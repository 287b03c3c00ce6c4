"""A model in local files: which of them hold the weights, and opening them whatever their format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from albert_fast.config import AlbertConfig, read_values
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError, ModelNotFoundError
from albert_fast.sources.base import StoredTensor, WeightSource
from albert_fast.sources.bert import MODEL_TYPE, as_albert
from albert_fast.sources.place import is_file_name
from albert_fast.sources.safetensors_file import read_safetensors
from albert_fast.sources.torch_state import read_torch_file

CONFIG_FILE: Final = "config.json"
WEIGHT_FILES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In order of preference; an ``.index.json`` names the shards."""

_READERS: Final[dict[str, Callable[[Path], Mapping[str, StoredTensor]]]] = {
    ".safetensors": read_safetensors,
    ".bin": read_torch_file,
}


def open_folder(name: str, folder: Path, mlm_bias: str = "decoder") -> WeightSource:
    """A folder with ``config.json`` and one of ``WEIGHT_FILES``. Raises ``ModelNotFoundError`` when they are
    not there."""
    with _readable(folder):
        present = {entry.name for entry in folder.iterdir()}
    if CONFIG_FILE not in present:
        raise ModelNotFoundError(f"model {name}: folder {folder} has no {CONFIG_FILE}; {_listing(present)}")
    for candidate in WEIGHT_FILES:
        if candidate in present:
            return open_file(name, folder / candidate, mlm_bias)
    raise ModelNotFoundError(
        f"model {name}: folder {folder} has none of {', '.join(WEIGHT_FILES)}; {_listing(present)}"
    )


def open_file(name: str, path: Path, mlm_bias: str = "decoder") -> WeightSource:
    """One ``.safetensors`` or ``.bin`` file, or the index of several, with ``config.json`` beside it."""
    described = path.parent / CONFIG_FILE
    values = read_values(described)
    if not isinstance(values, dict) or values.get("model_type", MODEL_TYPE) != MODEL_TYPE:
        AlbertConfig.from_json_file(described)  # what is wrong with it is said before large files are opened
    tensors = _read_index(path) if path.name.endswith(".index.json") else _read(path)
    values, tensors = as_albert(values, tensors)
    try:
        config = AlbertConfig.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"config file {described}: {error}") from error
    return WeightSource(name, config, tensors, folder=path.parent, mlm_bias=mlm_bias)


def shard_names(index: Path) -> dict[str, str]:
    """The ``weight_map`` of an index file: tensor name to file name. Raises ``CheckpointError`` when it is
    not one."""
    try:
        with _readable(index):
            weight_map = json.loads(index.read_bytes())["weight_map"]
        if not weight_map or not all(map(_is_name_beside, weight_map.values())):
            raise ValueError("weight_map must name files of the same folder")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index}: not a usable index of weight files ({error!r})") from error
    return dict(weight_map)


def _is_name_beside(shard: object) -> bool:
    return isinstance(shard, str) and shard != "" and is_file_name(shard) and Path(shard).name == shard


def _read_index(index: Path) -> Mapping[str, StoredTensor]:
    weight_map = shard_names(index)
    shards = {shard: _read(index.parent / shard) for shard in sorted(set(weight_map.values()))}
    missing = [tensor for tensor, shard in weight_map.items() if tensor not in shards[shard]]
    if missing:
        raise CheckpointError(f"{index}: tensors that are not in the shard it names: {', '.join(missing[:8])}")
    return {tensor: shards[shard][tensor] for tensor, shard in weight_map.items()}


def _read(path: Path) -> Mapping[str, StoredTensor]:
    if (reader := _READERS.get(path.suffix)) is None:
        raise InvalidInputError(f"model file: got {path}, expected a name that ends in {' or '.join(_READERS)}")
    with _readable(path):
        return reader(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelNotFoundError(f"{path}: {error.strerror or error}") from error


def _listing(present: set[str]) -> str:
    shown = ", ".join(sorted(present)[:8]) or "nothing"
    return f"it contains {shown}{', ...' if len(present) > 8 else ''}"
