"""Small checkpoints on disk for the tests, written without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from albert_fast.config import AlbertConfig
from albert_fast.sources import WeightSource
from albert_fast.sources.random_weights import random_source

SMALL = dataclasses.replace(
    AlbertConfig.preset("tiny"),
    vocab_size=61,
    max_position_embeddings=24,
    num_hidden_groups=2,
    inner_group_num=2,
)
Arrays = dict[str, np.ndarray[Any, Any]]


def read_all(source: WeightSource) -> Arrays:
    """Every tensor of a source, copied, in its own shape."""
    return {
        name: np.array(source.rows(name, 0, source.shape(name)[0])).reshape(source.shape(name))
        for name in source.tensor_names
    }


def random_arrays(config: AlbertConfig = SMALL) -> Arrays:
    """All tensors of a model with all heads, random but the same each time."""
    return read_all(random_source("random", config))


def write_config(folder: Path, config: AlbertConfig = SMALL, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), **changes}))


def write_folder(folder: Path, arrays: Mapping[str, Any] | None = None, config: AlbertConfig = SMALL) -> Arrays:
    """``config.json`` and ``model.safetensors``; returns what was written."""
    arrays = dict(random_arrays(config) if arrays is None else arrays)
    folder.mkdir(exist_ok=True, parents=True)
    write_config(folder, config)
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    return arrays


def write_shards(folder: Path, arrays: Arrays, count: int = 3) -> dict[str, str]:
    """``model.safetensors.index.json`` and its shards; returns the weight map."""
    folder.mkdir(exist_ok=True, parents=True)
    names = list(arrays)
    weight_map = {}
    for index in range(count):
        shard = f"model-{index + 1:05}-of-{count:05}.safetensors"
        part = {name: arrays[name] for name in names[index::count]}
        save_file(part, folder / shard)
        weight_map |= dict.fromkeys(part, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


def assert_same(source: WeightSource, expected: Mapping[str, Any]) -> None:
    """The source holds exactly these tensors, bit for bit."""
    actual = read_all(source)
    assert sorted(actual) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def is_mapped(path: Path) -> bool:
    """Whether this process has a file in its address space."""
    return str(path) in Path("/proc/self/maps").read_text()
