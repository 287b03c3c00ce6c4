"""The ALBERTs that people download: each loads, tokenizes as transformers, gives transformers' features, runs its
pipeline, goes through the training classes and back, and on CUDA where its heads allow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import CudaDevice
from published import FAMILIES
from tolerance import assert_within_pytorch

import albert_fast
from albert_fast import nn
from albert_fast.model import Model
from albert_fast.tokenizer import AlbertTokenizer

DTYPES = ("float32", "bfloat16", "int16", "int8")
CLASSES = {
    "fill-mask": "AlbertForMaskedLM",
    "feature-extraction": "AlbertModel",
    "text-classification": "AlbertForSequenceClassification",
    "question-answering": "AlbertForQuestionAnswering",
}


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    FAMILIES[name].write(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return albert_fast.load(str(folder))


def inputs(model: Model, text: str) -> dict[str, Any]:
    return dict(model.tokenizer(text, return_tensors="pt"))


def test_ids_are_those_of_transformers(name: str, folder: Path, model: Model) -> None:
    """Of WordPiece and tokenizer.json. SentencePiece has goldens of its own: transformers 5 splits it otherwise."""
    ours = model.tokenizer
    texts = [*FAMILIES[name].texts, "ok THE end"]
    if (folder / "spiece.model").exists():
        assert all(ours.unk_token_id not in ours(text)["input_ids"] for text in texts[:-1])
        assert ours.mask_token_id in ours(texts[1])["input_ids"]
        return
    kind = "AlbertTokenizer" if (folder / "tokenizer.json").exists() else "BertTokenizer"
    theirs = getattr(transformers, kind).from_pretrained(folder)
    for text in texts:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
        assert ours.encode(text, texts[0]) == theirs.encode(text, texts[0])


def test_features_are_those_of_transformers(name: str, folder: Path, model: Model) -> None:
    plain = transformers.AlbertModel.from_pretrained(folder).eval()
    exact = transformers.AlbertModel.from_pretrained(folder).eval().double()
    rows = [inputs(model, text) for text in FAMILIES[name].texts]
    with torch.no_grad():
        assert_within_pytorch(
            [model(**row).last_hidden_state.numpy() for row in rows],
            [plain(**row).last_hidden_state.numpy() for row in rows],
            [exact(**row).last_hidden_state.numpy() for row in rows],
            "float32",
        )
    means = albert_fast.encode(list(FAMILIES[name].texts), model)
    for row, mean in zip(rows, means, strict=True):
        np.testing.assert_allclose(mean, exact(**row).last_hidden_state[0].mean(0).detach(), atol=1e-5)
    for dtype in DTYPES:
        assert np.isfinite(albert_fast.encode(list(FAMILIES[name].texts), str(folder), dtype=dtype)).all()


def test_its_pipeline_is_that_of_transformers(name: str, folder: Path, model: Model) -> None:
    task, text = FAMILIES[name].task, FAMILIES[name].texts[1]
    theirs = getattr(transformers, CLASSES[task]).from_pretrained(folder).eval()
    asked: Any = {"question": FAMILIES[name].texts[0], "context": text} if task == "question-answering" else text
    answer = albert_fast.pipeline(task, model)(asked)
    row = (
        dict(model.tokenizer(*asked.values(), return_tensors="pt")) if isinstance(asked, dict) else inputs(model, text)
    )
    with torch.no_grad():
        output = theirs(**row)
    if task == "fill-mask":
        [place] = np.flatnonzero(row["input_ids"][0] == model.tokenizer.mask_token_id)
        expected = output.logits[0, place].double().softmax(0)
        np.testing.assert_allclose([a["score"] for a in answer], expected.topk(5).values, rtol=1e-3)
    elif task == "text-classification":
        logits = output.logits[0].double()
        score = logits.sigmoid().max() if len(logits) == 1 else logits.softmax(0).max()
        assert answer[0]["score"] == pytest.approx(float(score), abs=1e-5)
        assert answer[0]["label"].startswith("LABEL_")
    elif task == "question-answering":
        assert answer["answer"] in text
    else:
        np.testing.assert_allclose(answer[0], output.last_hidden_state[0], atol=1e-5)


def test_training_classes_and_back(name: str, folder: Path, model: Model, tmp_path: Path) -> None:
    """Loaded for training, a step, saved, and read by transformers and by us."""
    kind = CLASSES[FAMILIES[name].task]
    network = getattr(nn, kind).from_pretrained(folder).train()
    row = inputs(model, FAMILIES[name].texts[0])
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    output = network(**row)
    output[0].float().square().mean().backward()
    optimizer.step()
    network.eval().save_pretrained(tmp_path)
    AlbertTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    theirs = getattr(transformers, kind).from_pretrained(tmp_path).eval()
    with torch.no_grad(), warnings.catch_warnings():
        torch.testing.assert_close(network(**row)[0], theirs(**row)[0], atol=1e-4, rtol=1e-4)
    again = albert_fast.load(str(tmp_path))
    assert (
        again.tokenizer(FAMILIES[name].texts[1])["input_ids"]
        == inputs(model, FAMILIES[name].texts[1])["input_ids"][0].tolist()
    )


def test_verify_passes(name: str, folder: Path) -> None:
    report = albert_fast.verify(str(folder), raise_on_failure=False)
    assert report.passed, str(report)


@pytest.mark.parametrize("family", ["albert-base-v2", "twmkn9 SQuAD 2", "voidful chinese tiny"])
def test_on_cuda_or_not(family: str, tmp_path: Path, cuda: CudaDevice, warned: pytest.LogCaptureFixture) -> None:
    """Heads of 32 run there; those of 26 stay on the CPU with a warning that says so."""
    FAMILIES[family].write(tmp_path)
    texts = list(FAMILIES[family].texts)
    model = albert_fast.load(str(tmp_path), device="auto", dtype="float32")
    np.testing.assert_allclose(
        albert_fast.encode(texts, model), albert_fast.encode(texts, str(tmp_path), device="cpu"), atol=1e-4
    )
    assert model.device == ("cuda" if FAMILIES[family].takes_cuda else "cpu")
    assert ("heads of 26" in warned.text) != FAMILIES[family].takes_cuda
