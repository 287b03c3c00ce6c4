"""Files that are as the published checkpoints are in all but the numbers: extra buffers, a second MLM bias, no
sentence-order head."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from nn_models import BASE, randomise
from pipeline_models import VOCABULARY
from safetensors.torch import save_file

import albert_fast
from albert_fast import nn
from albert_fast.sources import open_source
from albert_fast.tokenizer import AlbertTokenizer

CONFIG_OF_2020 = {
    "architectures": ["AlbertForMaskedLM"],
    "down_scale_factor": 1,
    "gap_size": 0,
    "model_type": "albert",
    "net_structure_type": 0,
    "num_memory_blocks": 0,
}
TEXTS = ["Shall I compare thee to a summer's day?", ("Thou art more lovely", "and more temperate")]


@pytest.fixture(params=["model.safetensors", "pytorch_model.bin"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder as of ``albert-base-v2``, small; ``.bin`` in the form that torch 1.3 wrote."""
    tokenizer = AlbertTokenizer.from_pretrained("random:albert-base-v2")
    config = transformers.AlbertConfig(**{**BASE, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 512})
    model = transformers.AlbertForPreTraining(config)
    randomise(model, seed=2)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("sop")}
    state["albert.embeddings.position_ids"] = torch.arange(512)[None]
    state["predictions.decoder.bias"] = torch.zeros(tokenizer.vocab_size)
    if request.param.endswith(".bin"):
        torch.save(state, tmp_path / request.param, _use_new_zipfile_serialization=False)
    else:
        save_file(state, tmp_path / request.param, metadata={"format": "pt"})
    fields = {name: config.to_dict()[name] for name in (*BASE, "max_position_embeddings")}
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG_OF_2020, **fields, "vocab_size": tokenizer.vocab_size}))
    shutil.copy(VOCABULARY, tmp_path / "spiece.model")
    return tmp_path


def test_features_do_not_depend_on_a_head(published: Path) -> None:
    theirs = transformers.AlbertModel.from_pretrained(published).eval()
    tokenizer = AlbertTokenizer.from_pretrained(published)
    for pooling, place in (("cls", lambda o: o.last_hidden_state[0, 0]), ("pooler", lambda o: o.pooler_output[0])):
        features = albert_fast.encode(TEXTS, str(published), pooling)
        for row, text in zip(features, TEXTS, strict=True):
            pair = (text,) if isinstance(text, str) else text
            with torch.no_grad():
                expected = place(theirs(**tokenizer(*pair, return_tensors="pt")))
            np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
    assert albert_fast.verify(str(published)).passed


def test_the_mlm_head_is_that_of_transformers(published: Path, warned: pytest.LogCaptureFixture) -> None:
    """5 keeps both biases and adds the decoder's zeros; 4.57 ties them, and ends with those zeros in both."""
    theirs = transformers.AlbertForMaskedLM.from_pretrained(published).eval()
    inputs = AlbertTokenizer.from_pretrained(published)("to be or not to [MASK]", return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**inputs).logits[0, -2].double()
    with open_source(published, mlm_bias="predictions") as source:
        own = torch.tensor(source.rows("predictions.bias", 0, len(logits))).double().flatten()
    assert own.abs().max() > 0.01  # so that adding it shows
    stored = own if transformers.__version__.startswith("5") else torch.zeros_like(own)
    assert torch.equal(theirs.predictions.bias.detach().double(), stored)
    for mlm_bias, added in (("decoder", 0), ("predictions", own), ("sum", own)):
        warned.clear()
        fill = albert_fast.pipeline("fill-mask", albert_fast.load(str(published), mlm_bias=mlm_bias), top_k=3)
        assert warned.text.count("two biases") == (mlm_bias == "decoder")
        expected = torch.softmax(logits + added, 0).topk(3)
        answers = fill("to be or not to [MASK]")
        np.testing.assert_allclose([a["score"] for a in answers], expected.values.numpy(), rtol=1e-4)
        assert [a["token"] for a in answers] == expected.indices.tolist()


def test_training_classes_take_it(published: Path) -> None:
    model = nn.AlbertForMaskedLM.from_pretrained(published).eval()
    theirs = transformers.AlbertForMaskedLM.from_pretrained(published).eval()
    ids = torch.tensor([[2, 48, 25, 21, 3]])
    torch.testing.assert_close(model(ids).logits, theirs(ids).logits, atol=1e-4, rtol=1e-4)
