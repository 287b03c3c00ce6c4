"""A weight source together with all of its ``config.json``, and tensors of it as torch has them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from albert_fast.config import AlbertConfig
from albert_fast.sources import WeightSource, open_source, row_blocks
from albert_fast.sources.folder import CONFIG_FILE
from albert_fast.sources.names import NAMESPACES

_BASE: Final = "albert."


@contextmanager
def open_described(model: Any, **hub: Any) -> Iterator[tuple[WeightSource, dict[str, Any]]]:
    """An open source and every key of its configuration; ``source.config`` has only those of the shape."""
    with open_source(model, **hub) as source:
        if source.folder is not None:
            yield source, json.loads((source.folder / CONFIG_FILE).read_bytes())
        elif hasattr(model, "config"):
            yield source, dict(model.config.to_dict())
        else:
            yield source, source.config.to_dict()


def read_config(model: str | os.PathLike[str], **hub: Any) -> dict[str, Any]:
    """Every key of a model's configuration; a folder needs to hold no more than that."""
    file = Path(model) / CONFIG_FILE
    if file.is_file():
        AlbertConfig.from_json_file(file)  # raises what can be wrong with it
        return dict(json.loads(file.read_bytes()))
    with open_described(model, **hub) as (_, values):
        return values


def name_in(source: WeightSource, name: str) -> str | None:
    """How a source calls the parameter ``name`` of one of our models, or None if it has none of that name.

    The parts of a bare ``AlbertModel`` lack their prefix; task heads keep the names they were stored under.
    """
    if name in source.unused_tensors:
        return name
    canonical = name if name.startswith(NAMESPACES) else _BASE + name
    return canonical if canonical in source.tensor_names else None


def copy_into(parameter: Tensor, source: WeightSource, name: str) -> None:
    """Overwrite a parameter of any type and device, a few megabytes of rows at a time."""
    shape = tuple(parameter.shape)
    with torch.no_grad():
        for start, stop in row_blocks(shape):
            rows = np.array(source.rows(name, start, stop))  # a copy: torch wants memory it may write to
            parameter[start:stop].copy_(torch.from_numpy(rows).view(stop - start, *shape[1:]))


def stored_dtype(source: WeightSource) -> torch.dtype:
    """float64 if the word embeddings come as that, else float32: sources widen everything narrower."""
    for name in source.tensor_names:
        if math.prod(source.shape(name)):
            return torch.float64 if source.rows(name, 0, 1).dtype == np.float64 else torch.float32
    return torch.float32
