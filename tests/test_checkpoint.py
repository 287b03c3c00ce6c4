"""From a source into the weight buffer: every tensor arrives, and all that is wrong is said at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoints import SMALL, Arrays, random_arrays, write_folder
from transformers import AlbertConfig as HfConfig
from transformers import AlbertForPreTraining

from albert_fast import _core
from albert_fast.checkpoint import fill, heads
from albert_fast.config import PRESETS
from albert_fast.errors import CheckpointError
from albert_fast.layout import HEAD_PREFIXES, Heads, expected_shapes, weight_layout
from albert_fast.sources import open_source


def filled(folder, dtype: str = "float32") -> _core.WeightBuffer:
    with open_source(folder) as source:
        buffer = _core.WeightBuffer(weight_layout(source.config, heads(source), dtype))
        fill(buffer, source)
    return buffer


def assert_holds(buffer: _core.WeightBuffer, arrays: Arrays) -> None:
    assert buffer.missing() == []
    assert sorted(tensor.name for tensor in buffer.layout.tensors) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(buffer.read(name), array, err_msg=name)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_layout_is_that_of_transformers(name):
    config = PRESETS[name]
    with torch.device("meta"):
        theirs = AlbertForPreTraining(HfConfig(**config.to_dict())).state_dict()
    expected = {key: tuple(t.shape) for key, t in theirs.items() if not key.startswith("predictions.decoder.")}
    assert expected_shapes(config, Heads(True, True, True)) == expected


@pytest.mark.parametrize("stored", ["float64", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_stored_type_into_any_buffer(tmp_path, stored, dtype):
    arrays = write_folder(tmp_path, {name: array.astype(stored) for name, array in random_arrays().items()})
    assert_holds(filled(tmp_path, dtype), {name: array.astype(dtype) for name, array in arrays.items()})


def test_progress_adds_up(tmp_path):
    arrays = write_folder(tmp_path)
    reported: list[int] = []
    with open_source(tmp_path) as source:
        buffer = _core.WeightBuffer(weight_layout(SMALL, heads(source)))
        fill(buffer, source, progress=reported.append)
    assert sum(reported) == sum(array.nbytes for array in arrays.values())


@pytest.mark.parametrize("flags", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_heads_are_found(tmp_path, flags):
    wanted = Heads(*map(bool, flags))
    names = expected_shapes(SMALL, wanted)
    arrays = write_folder(tmp_path, {name: array for name, array in random_arrays().items() if name in names})
    with open_source(tmp_path) as source:
        assert heads(source) == wanted
    assert_holds(filled(tmp_path), arrays)


@pytest.mark.parametrize("name", [name for name in random_arrays() if not name.startswith(HEAD_PREFIXES)])
def test_any_missing_tensor_is_named(tmp_path, name):
    arrays = random_arrays()
    del arrays[name]
    write_folder(tmp_path, arrays)
    with open_source(tmp_path) as source, pytest.raises(CheckpointError, match=rf"missing: {name}$"):
        heads(source)


@pytest.mark.parametrize("damage", ["missing", "wrong shape"])
@pytest.mark.parametrize("name", [name for name in random_arrays() if name.startswith(HEAD_PREFIXES)])
def test_a_head_that_is_not_whole_is_left_out(tmp_path, warned, name, damage):
    arrays = random_arrays()
    tensor = arrays.pop(name)
    if damage == "wrong shape":
        arrays[name] = tensor[:-1].copy()
    write_folder(tmp_path, arrays)
    left_out = next(prefix for prefix in HEAD_PREFIXES if name.startswith(prefix))
    with open_source(tmp_path) as source:
        assert heads(source) == Heads(*(prefix != left_out for prefix in HEAD_PREFIXES))
    assert f"left out: {damage}: {name}" in warned.text
    assert_holds(filled(tmp_path), {n: a for n, a in arrays.items() if not n.startswith(left_out)})


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    arrays = random_arrays()
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    del arrays["albert.embeddings.LayerNorm.bias"], arrays[f"{layer}.ffn.bias"]
    arrays[f"{layer}.ffn.weight"] = arrays[f"{layer}.ffn.weight"][:, :-1].copy()
    arrays[f"{layer}.attention.dense.bias"] = np.array(1, np.float32)
    arrays["albert.encoder.albert_layer_groups.3.albert_layers.0.ffn.bias"] = np.zeros(64, np.float32)
    arrays["classifier.weight"] = np.zeros((2, 32), np.float32)
    write_folder(tmp_path, arrays)
    with open_source(tmp_path) as source, pytest.raises(CheckpointError) as caught:
        heads(source)
    message = str(caught.value)
    for part in (
        f"model {tmp_path}: its tensors do not fit its configuration",
        f"missing: albert.embeddings.LayerNorm.bias, {layer}.ffn.bias",
        f"{layer}.ffn.weight is (64, 31), expected (64, 32)",
        f"{layer}.attention.dense.bias is (), expected (32,)",
        "not in the configuration: albert.encoder.albert_layer_groups.3.albert_layers.0.ffn.bias",
        "not ALBERT's: classifier.weight",
    ):
        assert part in message


def test_long_lists_are_cut(tmp_path):
    write_folder(tmp_path, {"bert.pooler.bias": np.zeros(3, np.float32)})
    with (
        open_source(tmp_path) as source,
        pytest.raises(CheckpointError, match=r"and \d+ more; not ALBERT's: bert\.pooler"),
    ):
        heads(source)


def test_a_source_that_lacks_what_the_buffer_wants(tmp_path):
    arrays = random_arrays()
    write_folder(tmp_path, {name: array for name, array in arrays.items() if not name.startswith("predictions")})
    buffer = _core.WeightBuffer(weight_layout(SMALL, Heads(True, True, True)))
    with open_source(tmp_path) as source, pytest.raises(CheckpointError, match=r"missing: predictions\."):
        fill(buffer, source)
    assert len(buffer.missing()) == len(arrays)  # nothing was written


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", ["albert.embeddings.word_embeddings.weight", "albert.pooler.weight", "predictions.bias"]
)
def test_values_that_are_not_finite_are_named(tmp_path, name, bad):
    arrays = random_arrays()
    arrays[name].flat[-1] = bad
    write_folder(tmp_path, arrays)
    with pytest.raises(CheckpointError, match=name):
        filled(tmp_path)


def test_float64_values_beyond_float32_are_named(tmp_path):
    arrays = {name: array.astype(np.float64) for name, array in random_arrays().items()}
    arrays["albert.pooler.bias"][3] = 1e300
    write_folder(tmp_path, arrays)
    with pytest.raises(CheckpointError, match=r"albert\.pooler\.bias"):
        filled(tmp_path)
    assert filled(tmp_path, "float64").read("albert.pooler.bias")[3] == 1e300
