"""What ``from_pretrained`` takes beside what transformers takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.albert import AlbertConfig

from albert_fast.bundled import bundled_folder
from albert_fast.sources import open_source

_RANDOM: Final = "random:"


def resolved(name: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any], str]:
    """A name and options that mean to transformers what ``name`` does here, and what the model is called."""
    if isinstance(name, nn.Module):
        config: Any = name.config
        return None, _from_state(config.to_dict(), name.state_dict(), options), str(config.name_or_path)
    if not isinstance(name, (str, os.PathLike)):
        return name, options, str(name)
    if (folder := bundled_folder(name)) is not None:
        return str(folder), options, str(name)
    if str(name).startswith(_RANDOM) or Path(name).is_file():
        with open_source(name) as source:
            values, label = source.config.to_dict(), source.name
        return None, _from_state(values, stored_state(name), options), label
    return name, options, str(name)


def _from_state(values: dict[str, Any], state: dict[str, Tensor], options: dict[str, Any]) -> dict[str, Any]:
    """Options that say everything, beside no name."""
    config = options.pop("config", None)
    if config is None:
        config, options = AlbertConfig.from_dict(values, return_unused_kwargs=True, **options)
    return options | {"config": config, "state_dict": state}


def stored_state(name: Any) -> dict[str, Tensor]:
    """All tensors of whatever ``open_source`` opens, in float32 or wider. Raises what it raises."""
    found = {}
    with open_source(name) as source:
        for tensor in (*source.tensor_names, *source.unused_tensors):
            shape = source.shape(tensor)
            found[tensor] = torch.from_numpy(np.array(source.rows(tensor, 0, shape[0]))).view(shape)
    return found
