"""Weights in local files: folders, single files, shards, every stored type, every kind of damage."""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SMALL, assert_same, is_mapped, random_arrays, write_config, write_folder, write_shards
from safetensors.numpy import save_file

from albert_fast.checkpoint import heads
from albert_fast.errors import (
    AlbertFastError,
    CheckpointError,
    ConfigError,
    InvalidInputError,
    InvalidTypeError,
    ModelNotFoundError,
)
from albert_fast.sources import open_source
from albert_fast.sources.names import MLM_BIASES


def test_folder_file_and_their_spellings(tmp_path, monkeypatch):
    arrays = write_folder(tmp_path / "model")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for model in (tmp_path / "model", str(tmp_path / "model"), "~/model", "model", "model/model.safetensors"):
        with open_source(model) as source:
            assert source.name == os.fspath(model)
            assert source.config == SMALL
            assert source.folder.resolve() == tmp_path / "model"
            assert not source.is_random
            assert source.unused_tensors == ()
            assert_same(source, arrays)


def test_shards_and_preference(tmp_path):
    arrays = random_arrays()
    write_config(tmp_path)
    weight_map = write_shards(tmp_path, arrays)
    with open_source(tmp_path) as source:
        assert_same(source, arrays)
    whole = write_folder(tmp_path, {name: array + 1 for name, array in arrays.items()})
    with open_source(tmp_path) as source:  # a whole file is preferred to shards
        assert_same(source, whole)
    (tmp_path / "model.safetensors").unlink()
    next(tmp_path.glob("*-of-*")).unlink()
    with pytest.raises(ModelNotFoundError, match=r"-of-00003\.safetensors: No such file"):
        open_source(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    for bad in (
        {},
        [],
        {"weight_map": {}},
        {"weight_map": {"a": "../x.safetensors"}},
        {"weight_map": {"a": 3}},
    ):
        index.write_text(json.dumps(bad))
        with pytest.raises(CheckpointError, match=r"index\.json: not a usable index"):
            open_source(tmp_path)
    write_shards(tmp_path, arrays)
    index.write_text(json.dumps({"weight_map": {**weight_map, "albert.extra": weight_map["predictions.bias"]}}))
    with pytest.raises(CheckpointError, match=r"not in the shard it names: albert\.extra"):
        open_source(tmp_path)


def test_views_are_of_the_file_and_the_mapping_goes(tmp_path):
    arrays = write_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    name = "albert.pooler.weight"
    source = open_source(tmp_path)
    rows = source.rows(name, 3, 7)
    assert rows.base is not None
    assert not rows.flags.writeable
    assert rows.flags.c_contiguous
    assert is_mapped(path)
    source.close()
    source.close()
    np.testing.assert_array_equal(rows, arrays[name][3:7])  # a view outlives its source
    del rows
    assert not is_mapped(path)
    with pytest.raises(InvalidInputError, match="weight source is closed"):
        source.rows(name, 0, 1)


def test_rows_out_of_range_and_unknown_names(tmp_path):
    write_folder(tmp_path)
    with open_source(tmp_path) as source:
        assert source.rows("predictions.bias", 0, 61).shape == (61, 1)
        assert source.rows("albert.pooler.weight", 5, 5).shape == (0, 32)
        for start, stop in ((-1, 3), (3, 2), (0, 62)):
            with pytest.raises(InvalidInputError, match=r"rows of predictions\.bias: got .*0\.\.61"):
                source.rows("predictions.bias", start, stop)
        with pytest.raises(InvalidInputError, match="tensor name: got 'nothing'"):
            source.shape("nothing")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_stored_types(tmp_path, dtype):
    arrays = random_arrays()
    if dtype == "bfloat16":  # NumPy has none: cut float32 to its upper half and name it so in the header
        halves = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
        write_folder(tmp_path, halves)
        path = tmp_path / "model.safetensors"
        content = path.read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
        path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])
        expected = {name: (half.astype(np.uint32) << 16).view(np.float32) for name, half in halves.items()}
    else:
        stored = write_folder(tmp_path, {name: array.astype(dtype) for name, array in arrays.items()})
        expected = {name: array.astype(np.promote_types(dtype, np.float32)) for name, array in stored.items()}
    with open_source(tmp_path) as source:
        assert source.rows("albert.pooler.bias", 0, 1).dtype == (np.float64 if dtype == "float64" else np.float32)
        assert_same(source, expected)


def test_unaligned_data_is_copied(tmp_path):
    arrays = write_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    path.write_bytes(struct.pack("<Q", length + 1) + content[8 : 8 + length] + b" " + content[8 + length :])
    with open_source(tmp_path) as source:
        assert source.rows("predictions.bias", 0, 3).flags.aligned
        assert_same(source, arrays)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_unusable_stored_types_are_named(tmp_path, dtype):
    arrays = random_arrays()
    arrays["albert.pooler.bias"] = np.ones(32, dtype)
    write_folder(tmp_path, arrays)
    with (
        open_source(tmp_path) as source,
        pytest.raises(CheckpointError, match=r"albert\.pooler\.bias: stored as"),
    ):
        source.rows("albert.pooler.bias", 0, 32)


def test_names_in_the_wild(tmp_path):
    arrays = random_arrays()
    bare = {}
    for name, array in arrays.items():
        old = re.sub("(LayerNorm|layer_norm).weight$", r"\1.gamma", name.removeprefix("albert."))
        bare[re.sub("(LayerNorm|layer_norm).bias$", r"\1.beta", old)] = array
    bare["embeddings.position_ids"] = np.arange(24)[None]
    bare["predictions.decoder.weight"] = arrays["albert.embeddings.word_embeddings.weight"].copy()
    bare["predictions.decoder.bias"] = arrays["predictions.bias"].copy()
    bare["classifier.weight"] = np.ones((3, 32), np.float32)
    bare["qa_outputs.bias"] = np.ones(2, np.float32)
    write_folder(tmp_path, bare)
    with open_source(tmp_path) as source:
        assert set(source.unused_tensors) == {"classifier.weight", "qa_outputs.bias"}
        assert_same(source, arrays)
        assert heads(source) == (True, True, True)


def test_tied_tensors_stored_under_their_second_name_only(tmp_path):
    arrays = random_arrays()
    renamed = dict(arrays)
    renamed["predictions.decoder.weight"] = renamed.pop("albert.embeddings.word_embeddings.weight")
    renamed["predictions.decoder.bias"] = renamed.pop("predictions.bias")
    write_folder(tmp_path, renamed)
    with open_source(tmp_path) as source:
        assert_same(source, arrays)


@pytest.mark.parametrize("rows", [slice(None), slice(-1)], ids=["values", "shape"])
def test_a_decoder_that_is_not_tied_leaves_features_alone(tmp_path, warned, rows):
    arrays = random_arrays()
    own = arrays["albert.embeddings.word_embeddings.weight"].copy() + 1
    write_folder(tmp_path, {**arrays, "predictions.decoder.weight": own[rows]})
    with open_source(tmp_path) as source:
        heads = {name for name in arrays if name.startswith("predictions.")}
        assert set(source.tensor_names) == set(arrays) - heads
        assert set(source.unused_tensors) == {*heads, "predictions.decoder.weight"}
    assert "predictions.decoder.weight differs from albert.embeddings.word_embeddings.weight" in warned.text


@pytest.mark.parametrize("mlm_bias", MLM_BIASES)
def test_of_two_biases_the_one_asked_for_is_kept(tmp_path, warned, mlm_bias):
    arrays = random_arrays()
    own, decoder = arrays["predictions.bias"], arrays["predictions.bias"] + 1
    write_folder(tmp_path, {**arrays, "predictions.decoder.bias": decoder})
    expected = {"decoder": decoder, "predictions": own, "sum": own + decoder}[mlm_bias]
    with open_source(tmp_path, mlm_bias=mlm_bias) as source:
        assert_same(source, {**arrays, "predictions.bias": expected})
    assert ("two biases" in warned.text) == (mlm_bias == "decoder")
    with pytest.raises(InvalidInputError, match="mlm_bias: got 'both', expected one of decoder"):
        open_source(tmp_path, mlm_bias="both")


def test_one_tensor_under_two_spellings(tmp_path):
    arrays = random_arrays()
    write_folder(tmp_path, {**arrays, "pooler.bias": arrays["albert.pooler.bias"].copy()})
    with pytest.raises(CheckpointError, match=r"albert\.pooler\.bias is stored twice"):
        open_source(tmp_path)


def test_folders_that_are_not_models(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"has no config\.json; it contains nothing"):
        open_source(tmp_path)
    write_config(tmp_path)
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(
        ModelNotFoundError, match=r"none of model\.safetensors, .*it contains config\.json, tf_model\.h5"
    ):
        open_source(tmp_path)
    write_folder(tmp_path)
    write_config(tmp_path, model_type="electra")
    with pytest.raises(ConfigError, match=r"config\.json: model_type: got 'electra'"):
        open_source(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"config\.json: No such file"):
        open_source(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "model", ["./nowhere", "/nowhere/at/all", "a/b/c", "nowhere.bin", "x.safetensors", Path("albert")]
)
def test_paths_that_are_not_there(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match="no such folder or file"):
        open_source(model)


def test_other_files_and_types(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(InvalidInputError, match=r"model file: got .*config\.json, expected a name that ends in"):
        open_source(tmp_path / "config.json")
    for model in (3, None, b"albert", ["albert"], object()):
        with pytest.raises((InvalidTypeError, InvalidInputError), match=r"^model: got"):
            open_source(model)
    for model in ("", " ", "a\0b"):
        with pytest.raises(InvalidInputError, match=r"^model: got"):
            open_source(model)
    with pytest.raises(ModelNotFoundError, match="File name too long"):
        open_source("./" + "x" * 5000)


def test_no_permission():
    import safetensors  # noqa: F401  # imported while everything may still be read

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        write_folder(folder)
        Path(name).chmod(0o755)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            for path, mode in ((folder / "model.safetensors", 0), (folder / "config.json", 0), (folder, 0)):
                _as_root(is_root, path, mode)
                with pytest.raises(ModelNotFoundError, match="Permission denied"):
                    open_source(folder)
                with pytest.raises(ModelNotFoundError, match="Permission denied"):
                    open_source(folder / "model.safetensors")
                _as_root(is_root, path, 0o755)
            open_source(folder).close()
        finally:
            if is_root:
                os.seteuid(0)


def _as_root(is_root: bool, path: Path, mode: int) -> None:
    if is_root:
        os.seteuid(0)
    path.chmod(mode)
    if is_root:
        os.seteuid(65534)


def loads_or_raises(folder: Path) -> bool:
    """Open and read everything: True if that worked, False if it ended in a typed error."""
    try:
        with open_source(folder) as source:
            heads(source)
            for name in source.tensor_names:
                source.rows(name, 0, source.shape(name)[0])
    except (CheckpointError, ConfigError):
        return False
    return True


def test_every_flipped_header_byte(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    length = 8 + struct.unpack("<Q", content[:8])[0]
    loaded = 0
    with path.open("r+b", buffering=0) as file:
        for position in range(length):
            file.seek(position)
            file.write(bytes([content[position] ^ (1 << position % 8)]))
            loaded += loads_or_raises(tmp_path)
            file.seek(position)
            file.write(content[position : position + 1])
    assert loads_or_raises(tmp_path)
    assert loaded < length / 10  # few bytes of a header carry no meaning


def test_truncation_anywhere(tmp_path):
    write_folder(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    lengths = [*range(16), *np.linspace(16, len(content) - 1, 200).astype(int)]
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not a usable safetensors file"):
            open_source(tmp_path)
    path.write_bytes(content + b"\0")
    assert not loads_or_raises(tmp_path)


def test_config_that_does_not_fit_the_file(tmp_path):
    write_folder(tmp_path)
    for key, value in (
        ("hidden_size", 64),
        ("vocab_size", 60),
        ("num_hidden_groups", 1),
        ("inner_group_num", 3),
    ):
        write_config(tmp_path, **{key: value})
        with (
            open_source(tmp_path) as source,
            pytest.raises(CheckpointError, match="do not fit its configuration"),
        ):
            heads(source)


def test_error_base_classes(tmp_path):
    with pytest.raises(AlbertFastError):
        open_source(tmp_path)
    with pytest.raises(OSError, match=r"config\.json"):
        open_source(tmp_path)
    save_file({"a": np.ones(1, np.float32)}, tmp_path / "model.safetensors")
    write_config(tmp_path, hidden_act="relu")
    with pytest.raises(ValueError, match="hidden_act"):
        open_source(tmp_path)
