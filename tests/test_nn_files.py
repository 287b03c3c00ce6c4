"""Checkpoints and configurations of albert_fast.nn: written by us and read by transformers, and the other way round."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoints import write_folder
from nn_models import BASE, CLASSES, batch, ours, pair
from safetensors import safe_open
from safetensors.torch import load_file

import albert_fast
from albert_fast.errors import CheckpointError, ConfigError, InvalidInputError, InvalidTypeError, OutputError
from albert_fast.nn import AlbertConfig, AlbertForMaskedLM, AlbertForSequenceClassification, AlbertModel
from albert_fast.nn.config import as_dtype

LABELS = {"num_labels": 3, "id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
TASKS = [name for name in CLASSES if name != "AlbertForQuestionAnswering"]  # that one has two labels


def assert_equal(actual: Any, expected: Any) -> None:
    """Two models have the same parameters, bit for bit."""
    a, e = actual.state_dict(), expected.state_dict()
    assert list(a) == list(e)
    for name, tensor in e.items():
        assert a[name].dtype == tensor.dtype
        assert torch.equal(a[name], tensor), name


def assert_same_settings(actual: Any, expected: Any) -> None:
    for key in (*BASE, "id2label", "label2id", "num_labels", "problem_type", "architectures", "pad_token_id"):
        assert getattr(actual.config, key) == getattr(expected.config, key), key
    assert as_dtype(actual.config.dtype) == as_dtype(expected.config.dtype)


@pytest.mark.parametrize("name", TASKS)
def test_transformers_reads_what_we_write(name: str, tmp_path: Path) -> None:
    theirs, mine = pair(name, **LABELS, hidden_dropout_prob=0.25)
    mine.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    again, info = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_equal(again, theirs)
    assert_same_settings(again, theirs)
    written, expected = (load_file(tmp_path / who / "model.safetensors") for who in ("ours", "theirs"))
    assert sorted(written) == sorted(expected)
    with safe_open(tmp_path / "ours" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", TASKS)
def test_we_read_what_transformers_writes(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs, _ = pair(name, dtype=dtype, **LABELS, problem_type="multi_label_classification")
    theirs.save_pretrained(tmp_path)
    again, info = ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert not again.training
    assert_equal(again, theirs)
    assert_same_settings(again, theirs)
    assert_equal(ours(name).from_pretrained(theirs), theirs)
    again.save_pretrained(tmp_path / "again")
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path, tmp_path / "again"))
    second.pop("position_embedding_type")  # a key of older versions, which we keep writing
    assert second == first


def test_state_dicts_fit_both_ways() -> None:
    for name in CLASSES:
        theirs, mine = pair(name)
        theirs.load_state_dict(mine.state_dict())
        assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in mine.named_parameters()]


def test_a_bin_file(tmp_path: Path) -> None:
    theirs, mine = pair("AlbertForSequenceClassification")
    mine.save_pretrained(tmp_path)
    mine.save_pretrained(tmp_path, safe_serialization=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "pytorch_model.bin"]
    assert_equal(AlbertForSequenceClassification.from_pretrained(tmp_path), theirs)
    mine.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_the_engine_reads_a_model_of_ours(tmp_path: Path) -> None:
    _, mine = pair("AlbertForMaskedLM")
    mine.save_pretrained(tmp_path)
    inputs = {key: value for key, value in batch("AlbertForMaskedLM").items() if key != "labels"}
    expected = mine.albert(**inputs).last_hidden_state.detach()
    for source in (mine, tmp_path):
        state = albert_fast.load(source, device="cpu").forward(**inputs).last_hidden_state
        torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)


def test_new_heads_are_named(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    _, mine = pair("AlbertForMaskedLM")
    mine.save_pretrained(tmp_path)
    logging.getLogger("albert_fast").setLevel(logging.WARNING)
    torch.manual_seed(0)
    model, info = AlbertForSequenceClassification.from_pretrained(tmp_path, num_labels=5, output_loading_info=True)
    new = ["albert.pooler.weight", "albert.pooler.bias", "classifier.weight", "classifier.bias"]
    assert info["missing_keys"] == new
    assert "predictions.dense.weight" in info["unexpected_keys"]
    assert all(name in caplog.text for name in new)
    assert model.classifier.weight.shape == (5, 48)
    assert 0.01 < model.classifier.weight.std() < 0.03
    assert not model.classifier.bias.any()
    for name, parameter in mine.albert.named_parameters():
        assert torch.equal(parameter, model.albert.get_parameter(name))


def test_new_models_are_initialised_as_transformers_does() -> None:
    for name in CLASSES:
        torch.manual_seed(0)
        theirs = getattr(transformers, name)(transformers.AlbertConfig(**BASE))
        mine = ours(name)(AlbertConfig(**BASE))
        assert mine.training
        for key, expected in theirs.named_parameters():
            actual = mine.get_parameter(key)
            assert abs(actual.std(correction=0) - expected.std(correction=0)) < 0.004, key
            assert abs(actual.mean() - expected.mean()) < 0.01, key
        assert not mine.get_input_embeddings().weight[0].any()


def test_other_sizes(tmp_path: Path) -> None:
    _, mine = pair("AlbertForSequenceClassification", **LABELS)
    mine.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier.weight is \[3, 48\], expected \[2, 48\]"):
        AlbertForSequenceClassification.from_pretrained(tmp_path, num_labels=2)
    model, info = AlbertForSequenceClassification.from_pretrained(
        tmp_path, num_labels=2, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert [name for name, *_ in info["mismatched_keys"]] == ["classifier.weight", "classifier.bias"]
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert torch.equal(model.albert.pooler.weight, mine.albert.pooler.weight)


def test_a_checkpoint_without_its_encoder_is_refused(tmp_path: Path) -> None:
    arrays = write_folder(tmp_path)
    del arrays["albert.encoder.embedding_hidden_mapping_in.bias"]
    write_folder(tmp_path, arrays)
    with pytest.raises(CheckpointError, match=r"lacks encoder.embedding_hidden_mapping_in.bias"):
        AlbertModel.from_pretrained(tmp_path)


def test_random_models_and_dtypes() -> None:
    first, second = (AlbertForMaskedLM.from_pretrained("random:tiny") for _ in range(2))
    assert_equal(first, second)
    assert first.name_or_path == "random:tiny"
    assert first.config.hidden_dropout_prob == 0
    changed = AlbertForMaskedLM.from_pretrained("random:tiny", hidden_dropout_prob=0.5, dtype="float64")
    assert changed.config.hidden_dropout_prob == changed.albert.embeddings.dropout.p == 0.5
    assert changed.dtype == torch.float64
    assert AlbertForMaskedLM.from_pretrained("random:tiny", torch_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert AlbertModel.from_config(AlbertConfig(**BASE), dtype=torch.float64, add_pooling_layer=False).pooler is None
    assert torch.get_default_dtype() == torch.float32


def test_options_without_meaning_and_refused_ones(tmp_path: Path) -> None:
    AlbertModel.from_pretrained("random:tiny", low_cpu_mem_usage=True, attn_implementation="eager", device_map=None)
    with pytest.raises(InvalidInputError, match="subfolder"):
        AlbertModel.from_pretrained("random:tiny", subfolder="there")
    with pytest.raises(TypeError, match="hiden_size"):
        AlbertModel.from_pretrained("random:tiny", hiden_size=3)
    model = AlbertModel.from_pretrained("random:tiny")
    with pytest.raises(InvalidInputError, match="push_to_hub"):
        model.save_pretrained(tmp_path, push_to_hub=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        model.save_pretrained(tmp_path / "file")
    model.save_pretrained(tmp_path / "nothing", is_main_process=False)
    assert not (tmp_path / "nothing").exists()


LABEL_ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"num_labels": 1},
    {"num_labels": 4},
    {"id2label": {0: "no", 1: "yes"}},
    {"id2label": {"0": "no", "1": "yes", "2": "?"}, "label2id": {"no": 0, "yes": 1, "?": 2}},
    {"label2id": {"x": 0}},
]


@pytest.mark.parametrize("arguments", LABEL_ARGUMENTS, ids=str)
def test_labels_as_in_transformers(arguments: dict[str, Any], tmp_path: Path) -> None:
    theirs, mine = transformers.AlbertConfig(**BASE, **arguments), AlbertConfig(**BASE, **arguments)
    theirs.save_pretrained(tmp_path / "theirs")
    mine.save_pretrained(tmp_path / "ours")
    for folder in ("ours", "theirs"):
        read = [kind.from_pretrained(tmp_path / folder) for kind in (transformers.AlbertConfig, AlbertConfig)]
        for config in (*read, mine):
            assert (config.num_labels, config.id2label) == (theirs.num_labels, theirs.id2label)
            assert config.label2id == theirs.label2id or arguments == {"label2id": {"x": 0}}
    mine.update({"id2label": {"0": "x"}})
    assert mine.id2label == {0: "x"}
    for config in (mine, theirs):
        config.num_labels = 7
    assert (mine.id2label, mine.label2id) == (theirs.id2label, theirs.label2id)


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    config = AlbertConfig(**BASE, down_scale_factor=1, of_mine={"a": [1]})
    config.seen = 3
    config.save_pretrained(tmp_path)
    assert AlbertConfig.from_pretrained(tmp_path) == config
    assert transformers.AlbertConfig.from_pretrained(tmp_path).of_mine == {"a": [1]}
    assert AlbertConfig.of(config) is config
    assert AlbertConfig.of(albert_fast.AlbertConfig.preset("tiny")).hidden_size == 32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 49}, "hidden_size"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"num_labels": 0}, "num_labels"),
        ({"id2label": ["a"]}, "id2label"),
        ({"problem_type": "ranking"}, "problem_type"),
        ({"problem_type": "single_label_classification", "num_labels": 1}, "num_labels"),
        ({"dtype": "int8"}, "dtype"),
        ({"model_type": "bert"}, "model_type"),
    ],
    ids=str,
)
def test_bad_configurations(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}: "):
        AlbertConfig(**{**BASE, **values})
    with pytest.raises(ConfigError, match=f"^{message}: "):
        AlbertModel({**BASE, **values})


def test_what_cannot_be_a_configuration() -> None:
    with pytest.raises(InvalidTypeError, match="config: got int"):
        AlbertModel(3)
    with pytest.raises(ConfigError, match="tie_word_embeddings"):
        AlbertForMaskedLM(AlbertConfig(**BASE, tie_word_embeddings=False))
