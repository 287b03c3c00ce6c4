"""From a source into the weight buffer: every tensor arrives, and all that is wrong is said at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from checkpoints import SMALL, Arrays, random_arrays, write_folder

from albert_fast import _core
from albert_fast.checkpoint import Heads, fill, heads
from albert_fast.config import PRESETS, AlbertConfig
from albert_fast.errors import CheckpointError
from albert_fast.sources import open_source, row_blocks
from albert_fast.sources.names import expected_shapes

CORE_FIELDS = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_act",
    "layer_norm_eps",
)


def layout(config: AlbertConfig, found: Heads, dtype: str = "float32") -> _core.WeightLayout:
    core = _core.ModelConfig(**{field: getattr(config, field) for field in CORE_FIELDS})
    return _core.WeightLayout(core, dtype=dtype, **found._asdict())


def filled(folder, dtype: str = "float32") -> _core.WeightBuffer:
    with open_source(folder) as source:
        buffer = _core.WeightBuffer(layout(source.config, heads(source), dtype))
        fill(buffer, source)
    return buffer


def assert_holds(buffer: _core.WeightBuffer, arrays: Arrays) -> None:
    assert buffer.missing() == []
    assert sorted(tensor.name for tensor in buffer.layout.tensors) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(buffer.read(name), array, err_msg=name)


@pytest.mark.parametrize("name", PRESETS)
def test_layout_and_python_name_the_same_tensors(name):
    for flags in ((False, False, False), (True, False, True), (True, True, True)):
        found = Heads(*flags)
        tensors = {tensor.name: tensor.shape for tensor in layout(PRESETS[name], found).tensors}
        assert tensors == expected_shapes(PRESETS[name], **found._asdict())


def test_groups_agree_with_the_core():
    for layers, groups in ((12, 1), (12, 5), (18, 14), (27, 21), (55, 25)):
        config = dataclasses.replace(SMALL, num_hidden_layers=layers, num_hidden_groups=groups)
        core = _core.ModelConfig(**{field: getattr(config, field) for field in CORE_FIELDS})
        assert [core.group_of(i) for i in range(layers)] == [config.group_of(i) for i in range(layers)]


def test_every_tensor_arrives(tmp_path):
    arrays = write_folder(tmp_path)
    assert_holds(filled(tmp_path), arrays)


def test_tensors_cut_into_many_blocks(tmp_path):
    config = dataclasses.replace(
        SMALL, hidden_size=1024, intermediate_size=4100, num_hidden_groups=1, inner_group_num=1
    )
    arrays = write_folder(tmp_path, config=config)
    assert len(row_blocks((4100, 1024))) == 3
    assert_holds(filled(tmp_path), arrays)


@pytest.mark.parametrize("stored", ["float64", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_stored_type_into_any_buffer(tmp_path, stored, dtype):
    arrays = write_folder(tmp_path, {name: array.astype(stored) for name, array in random_arrays().items()})
    assert_holds(filled(tmp_path, dtype), {name: array.astype(dtype) for name, array in arrays.items()})


def test_progress_adds_up(tmp_path):
    arrays = write_folder(tmp_path)
    reported: list[int] = []
    with open_source(tmp_path) as source:
        buffer = _core.WeightBuffer(layout(SMALL, heads(source)))
        fill(buffer, source, progress=reported.append)
    assert sum(reported) == sum(array.nbytes for array in arrays.values())


@pytest.mark.parametrize("flags", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_heads_are_found(tmp_path, flags):
    wanted = Heads(*map(bool, flags))
    names = expected_shapes(SMALL, **wanted._asdict())
    arrays = write_folder(tmp_path, {name: array for name, array in random_arrays().items() if name in names})
    with open_source(tmp_path) as source:
        assert heads(source) == wanted
    assert_holds(filled(tmp_path), arrays)


@pytest.mark.parametrize("name", [*random_arrays()])
def test_any_missing_tensor_is_named(tmp_path, name):
    arrays = random_arrays()
    del arrays[name]
    write_folder(tmp_path, arrays)
    with open_source(tmp_path) as source, pytest.raises(CheckpointError, match=rf"missing: {name}$"):
        heads(source)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    arrays = random_arrays()
    del arrays["albert.embeddings.LayerNorm.bias"], arrays["predictions.dense.bias"]
    arrays["albert.pooler.weight"] = arrays["albert.pooler.weight"][:, :-1].copy()
    arrays["predictions.bias"] = np.array(1, np.float32)
    arrays["albert.encoder.albert_layer_groups.3.albert_layers.0.ffn.bias"] = np.zeros(64, np.float32)
    arrays["sop_classifier.other"] = np.zeros(2, np.float32)
    arrays["classifier.weight"] = np.zeros((2, 32), np.float32)
    write_folder(tmp_path, arrays)
    with open_source(tmp_path) as source, pytest.raises(CheckpointError) as caught:
        heads(source)
    message = str(caught.value)
    for part in (
        f"model {tmp_path}: its tensors do not fit its configuration",
        "missing: albert.embeddings.LayerNorm.bias, predictions.dense.bias",
        "albert.pooler.weight is (32, 31), expected (32, 32)",
        "predictions.bias is (), expected (61,)",
        "not in the configuration: albert.encoder.albert_layer_groups.3.albert_layers.0.ffn.bias",
        "sop_classifier.other",
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
    write_folder(
        tmp_path, {name: array for name, array in arrays.items() if not name.startswith("predictions")}
    )
    buffer = _core.WeightBuffer(layout(SMALL, Heads(True, True, True)))
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
