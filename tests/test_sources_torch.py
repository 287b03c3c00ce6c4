"""Weights that torch holds: ``pytorch_model.bin`` in both its formats, and live transformers models."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
from checkpoints import SMALL, assert_same, is_mapped, random_arrays, write_config

from albert_fast.checkpoint import heads
from albert_fast.errors import CheckpointError, ConfigError, InvalidTypeError, MissingDependencyError
from albert_fast.sources import open_source

torch = pytest.importorskip("torch")


def write_bin(folder, state, *, legacy=False, name="pytorch_model.bin"):
    write_config(folder)
    torch.save(state, folder / name, _use_new_zipfile_serialization=not legacy)
    return folder / name


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.mark.parametrize("legacy", [False, True])
def test_bin_file(tmp_path, legacy):
    arrays = random_arrays()
    path = write_bin(tmp_path, tensors(arrays), legacy=legacy)
    for model in (tmp_path, path):
        with open_source(model) as source:
            assert_same(source, arrays)
            assert heads(source) == (True, True, True)
            assert is_mapped(path) == (not legacy)
    del source
    assert not is_mapped(path)


def test_sharded_bin(tmp_path):
    arrays = random_arrays()
    names = list(arrays)
    weight_map = {}
    for index in range(2):
        part = {name: arrays[name] for name in names[index::2]}
        path = write_bin(tmp_path, tensors(part), name=f"pytorch_model-{index + 1:05}-of-00002.bin")
        weight_map |= dict.fromkeys(part, path.name)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with open_source(tmp_path) as source:
        assert_same(source, arrays)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_stored_types(tmp_path, dtype):
    stored = {name: t.to(getattr(torch, dtype)) for name, t in tensors(random_arrays()).items()}
    write_bin(tmp_path, stored)
    wide = torch.float64 if dtype == "float64" else torch.float32
    with open_source(tmp_path) as source:
        assert_same(source, {name: t.to(wide).numpy() for name, t in stored.items()})


class Code:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_and_not_run(tmp_path, legacy):
    marker = tmp_path / "ran"
    write_bin(tmp_path, {**tensors(random_arrays()), "x": Code(marker)}, legacy=legacy)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: refused"):
        open_source(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Code(marker)))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: "):
        open_source(tmp_path)
    assert not marker.exists()


def test_content_that_is_not_a_state_dict(tmp_path):
    for content, message in (
        (torch.ones(3), "holds a Tensor, expected a state dict"),
        ([torch.ones(3)], "holds a list, expected a state dict"),
        ({"model": {"a": torch.ones(3)}}, "entry 'model' is a dict, expected a tensor"),
        ({3: torch.ones(3)}, "entry 3 is a Tensor"),
    ):
        write_bin(tmp_path, content)
        with pytest.raises(CheckpointError, match=message):
            open_source(tmp_path)


def test_damaged_bin_files(tmp_path):
    path = write_bin(tmp_path, tensors(random_arrays()))
    content = path.read_bytes()
    for length in (0, 1, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: "):
            open_source(tmp_path)
    for position in np.linspace(0, len(content) - 1, 150).astype(int):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with open_source(tmp_path) as source:
                heads(source)
        except CheckpointError:
            pass


def test_bin_without_torch(tmp_path, monkeypatch):
    write_bin(tmp_path, tensors(random_arrays()))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install albert_fast\[torch\]"):
        open_source(tmp_path)


def live(kind="AlbertForPreTraining", **changes):
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, kind)(transformers.AlbertConfig(**{**SMALL.to_dict(), **changes})).eval()


@pytest.mark.parametrize(
    ("kind", "expected_heads", "unused"),
    [
        ("AlbertModel", (True, False, False), set()),
        ("AlbertForPreTraining", (True, True, True), set()),
        ("AlbertForMaskedLM", (False, True, False), set()),
        ("AlbertForSequenceClassification", (True, False, False), {"classifier.weight", "classifier.bias"}),
        ("AlbertForTokenClassification", (False, False, False), {"classifier.weight", "classifier.bias"}),
        ("AlbertForQuestionAnswering", (False, False, False), {"qa_outputs.weight", "qa_outputs.bias"}),
        ("AlbertForMultipleChoice", (True, False, False), {"classifier.weight", "classifier.bias"}),
    ],
)
def test_live_models_of_every_class(kind, expected_heads, unused):
    model = live(kind)
    with open_source(model) as source:
        assert source.name == f"live {kind}"
        assert source.config == SMALL
        assert source.folder is None
        assert heads(source) == expected_heads
        assert set(source.unused_tensors) == unused
        table = model.get_input_embeddings().weight
        rows = source.rows("albert.embeddings.word_embeddings.weight", 2, 5)
        np.testing.assert_array_equal(rows, table[2:5].detach())
        assert rows.ctypes.data == table[2:5].data_ptr()  # no copy


def test_live_model_in_half_precision_or_in_odd_strides():
    model = live().bfloat16()
    with open_source(model) as source:
        rows = source.rows("albert.pooler.weight", 0, 32)
        np.testing.assert_array_equal(rows, model.albert.pooler.weight.detach().float())
    model = live()
    model.albert.pooler.weight.data = model.albert.pooler.weight.data.t()
    with open_source(model) as source:
        rows = source.rows("albert.pooler.weight", 4, 9)
        assert rows.flags.c_contiguous
        np.testing.assert_array_equal(rows, model.albert.pooler.weight[4:9].detach())


def test_live_models_we_cannot_run():
    transformers = pytest.importorskip("transformers")
    electra = transformers.ElectraModel(
        transformers.ElectraConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8)
    )
    with pytest.raises(ConfigError, match="model_type: got 'electra'"):
        open_source(electra)
    with pytest.raises(ConfigError, match="hidden_act: got 'relu'"):
        open_source(live(hidden_act="relu"))
    with torch.device("meta"):
        hollow = live("AlbertModel")
    with pytest.raises(CheckpointError, match=r"no device \(meta\)"), open_source(hollow) as source:
        source.rows("albert.pooler.bias", 0, 1)
    with pytest.raises(InvalidTypeError, match="model: got Linear, expected a hub id"):
        open_source(torch.nn.Linear(2, 2))


def test_the_head_of_an_untied_live_model_is_left_out(warned):
    model = live(tie_word_embeddings=False)
    model.predictions.decoder.weight = torch.nn.Parameter(torch.randn(61, 16))
    with open_source(model) as source:
        assert not heads(source).mlm_head
    assert "predictions.decoder.weight differs" in warned.text
