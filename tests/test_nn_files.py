"""Checkpoints and configurations of albert_fast.nn: written by us and read by transformers, and the other way round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from nn_models import BASE, CLASSES, batch, ours, pair
from safetensors import safe_open
from safetensors.torch import load_file

import albert_fast
from albert_fast.nn import AlbertConfig, AlbertForMaskedLM, AlbertForSequenceClassification, AlbertModel

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
    assert actual.dtype == expected.dtype


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
    again, info = ours(name).from_pretrained(tmp_path, output_loading_info=True, dtype="auto")
    assert not any(info.values())
    assert not again.training
    assert_equal(again, theirs)
    assert_same_settings(again, theirs)
    assert_equal(ours(name).from_pretrained(theirs, dtype=dtype), theirs)
    again.save_pretrained(tmp_path / "again")
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path, tmp_path / "again"))
    assert second == first


def test_state_dicts_fit_both_ways() -> None:
    for name in CLASSES:
        theirs, mine = pair(name)
        theirs.load_state_dict(mine.state_dict())
        assert [n for n, _ in theirs.named_parameters()] == [n for n, _ in mine.named_parameters()]


def test_a_bin_file(tmp_path: Path) -> None:
    theirs, mine = pair("AlbertForSequenceClassification")
    mine.config.save_pretrained(tmp_path)
    torch.save(mine.state_dict(), tmp_path / "pytorch_model.bin")
    assert_equal(AlbertForSequenceClassification.from_pretrained(tmp_path), theirs)


def test_the_engine_reads_a_model_of_ours(tmp_path: Path) -> None:
    _, mine = pair("AlbertForMaskedLM")
    mine.save_pretrained(tmp_path)
    inputs = {key: value for key, value in batch("AlbertForMaskedLM").items() if key != "labels"}
    expected = mine.albert(**inputs).last_hidden_state.detach()
    for source in (mine, tmp_path):
        state = albert_fast.load(source, device="cpu").forward(**inputs).last_hidden_state
        torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)


def test_new_heads_are_named(tmp_path: Path) -> None:
    _, mine = pair("AlbertForMaskedLM")
    mine.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model, info = AlbertForSequenceClassification.from_pretrained(tmp_path, num_labels=5, output_loading_info=True)
    new = ["albert.pooler.weight", "albert.pooler.bias", "classifier.weight", "classifier.bias"]
    assert set(info["missing_keys"]) == set(new)
    assert "predictions.dense.weight" in info["unexpected_keys"]
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
    with pytest.raises(RuntimeError, match="mismatch"):
        AlbertForSequenceClassification.from_pretrained(tmp_path, num_labels=2)
    model, info = AlbertForSequenceClassification.from_pretrained(
        tmp_path, num_labels=2, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert torch.equal(model.albert.pooler.weight, mine.albert.pooler.weight)


def test_random_models_and_dtypes() -> None:
    first, second = (AlbertForMaskedLM.from_pretrained("random:tiny") for _ in range(2))
    assert_equal(first, second)
    assert first.name_or_path == "random:tiny"
    assert first.config.hidden_dropout_prob == 0
    changed = AlbertForMaskedLM.from_pretrained("random:tiny", hidden_dropout_prob=0.5, dtype="float64")
    assert changed.config.hidden_dropout_prob == changed.albert.embeddings.dropout.p == 0.5
    assert changed.dtype == torch.float64
    assert AlbertForMaskedLM.from_pretrained("random:tiny", torch_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert AlbertModel._from_config(AlbertConfig(**BASE), dtype=torch.float64, add_pooling_layer=False).pooler is None
    assert torch.get_default_dtype() == torch.float32


def test_a_file_beside_its_configuration(tmp_path: Path) -> None:
    theirs, _ = pair("AlbertForSequenceClassification")
    theirs.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "best.safetensors")
    assert_equal(AlbertForSequenceClassification.from_pretrained(tmp_path / "best.safetensors"), theirs)


def test_shards_and_variants(tmp_path: Path) -> None:
    theirs, mine = pair("AlbertForSequenceClassification")
    mine.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    mine.save_pretrained(tmp_path / "variant", variant="fp16")
    assert_equal(AlbertForSequenceClassification.from_pretrained(tmp_path / "shards"), theirs)
    assert_equal(AlbertForSequenceClassification.from_pretrained(tmp_path / "variant", variant="fp16"), theirs)


def test_auto_classes(tmp_path: Path) -> None:
    theirs, mine = pair("AlbertForMultipleChoice")
    mine.save_pretrained(tmp_path)
    assert_equal(transformers.AutoModelForMultipleChoice.from_pretrained(tmp_path), theirs)
    auto = type("Auto", (transformers.AutoModelForMultipleChoice,), {})
    auto._model_mapping = type(auto._model_mapping)(
        auto._model_mapping._config_mapping, auto._model_mapping._model_mapping
    )
    auto.register(AlbertConfig, ours("AlbertForMultipleChoice"), exist_ok=True)
    found = auto.from_pretrained(tmp_path)
    assert type(found) is ours("AlbertForMultipleChoice")
    assert_equal(found, theirs)
