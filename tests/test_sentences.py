"""Folders of sentence-transformers: what they say is done, equal to what that library makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers
from nn_models import BASE, randomise
from pipeline_models import VOCABULARY
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st
from sentence_transformers.util.quantization import quantize_embeddings as their_quantization

import albert_fast
from albert_fast.errors import CheckpointError, InvalidInputError, InvalidTypeError, ModelNotFoundError
from albert_fast.export import to_onnx
from albert_fast.sentence import PRECISIONS, Readout, quantize_embeddings, read_modules
from albert_fast.sentence.options import EncodeOptions
from albert_fast.sentence.plugin import AlbertFastModule
from albert_fast.sources.place import FolderPlace
from albert_fast.tokenizer import AlbertTokenizer

WIDTH = BASE["hidden_size"]
TEXTS = [
    "Shall I compare thee to a summer's day?",
    "Rough winds do shake the darling buds of May, and summer's lease hath all too short a date.",
    "Yes.",
    "the quick brown fox jumps over the lazy dog",
]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random ALBERT with the bundled vocabulary, as transformers saves it; its tokenizer.json is what
    sentence-transformers uses."""
    folder = tmp_path_factory.mktemp("transformer")
    tokenizer = AlbertTokenizer.from_pretrained("random:albert-base-v2")
    sizes = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 64}
    model = transformers.AlbertModel(transformers.AlbertConfig(**{**BASE, **sizes}))
    randomise(model, seed=4)
    model.save_pretrained(folder)
    mini = VOCABULARY.parent / "mini"
    source = tmp_path_factory.mktemp("source")
    shutil.copy(VOCABULARY, source / "spiece.model")
    shutil.copy(mini / "tokenizer_config.json", source)
    transformers.AlbertTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


Save = Callable[..., tuple[Path, SentenceTransformer]]


@pytest.fixture
def save(transformer: Path, tmp_path: Path) -> Save:
    """Saves a SentenceTransformer of the small model and the modules given, and loads it again."""

    def of(*modules: Any, max_seq_length: int = 24, **options: Any) -> tuple[Path, SentenceTransformer]:
        first = st.Transformer(str(transformer), max_seq_length=max_seq_length)
        SentenceTransformer(modules=[first, *modules], device="cpu", **options).save(str(tmp_path / "model"))
        return tmp_path / "model", SentenceTransformer(str(tmp_path / "model"), device="cpu")

    return of


def assert_equal(ours: Any, theirs: Any) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    "modes", ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ("mean", "max", "cls")]
)
def test_every_way_of_pooling(save: Save, modes: Any) -> None:
    folder, theirs = save(st.Pooling(WIDTH, pooling_mode=modes))
    assert_equal(albert_fast.encode(TEXTS, str(folder)), theirs.encode(TEXTS))
    if isinstance(modes, str):  # also when it is asked for, of any model
        asked = albert_fast.encode(TEXTS, str(folder), pooling=modes)
        np.testing.assert_array_equal(asked, albert_fast.encode(TEXTS, str(folder)))


def test_modules_after_the_pooling(save: Save) -> None:
    torch.manual_seed(3)
    dense = st.Dense(2 * WIDTH, 8)
    bare = st.Dense(8, 6, bias=False, activation_function=torch.nn.Identity())
    norm = st.LayerNorm(6)
    with torch.no_grad():
        norm.norm.weight.normal_()
        norm.norm.bias.normal_()
    folder, theirs = save(st.Pooling(WIDTH, pooling_mode=("mean", "max")), dense, bare, norm, st.Normalize())
    ours = albert_fast.encode(TEXTS, str(folder))
    assert ours.shape == (4, 6)
    assert_equal(ours, theirs.encode(TEXTS))
    together = albert_fast.encode([*TEXTS, *TEXTS[::-1]], str(folder), batch_tokens=37)
    np.testing.assert_array_equal(together, np.concatenate([ours, ours[::-1]]))  # the same bits in any company
    for row, text in zip(albert_fast.encode_iter(TEXTS, str(folder)), TEXTS, strict=True):
        np.testing.assert_array_equal(row, albert_fast.encode(text, str(folder))[0])
    plain = albert_fast.encode(TEXTS, str(folder), pooling="mean")
    assert plain.shape == (4, WIDTH), "a pooling that is asked for takes the place of all modules"
    tensors = albert_fast.encode(TEXTS, str(folder), return_tensors="pt")
    np.testing.assert_array_equal(tensors.numpy(), ours)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([st.Pooling(WIDTH, pooling_mode="max")], "pooling: got 'auto', which is max for"),
        ([st.Pooling(WIDTH, pooling_mode=("mean", "max"))], "which is mean, max for"),
        ([st.Pooling(WIDTH, pooling_mode="cls"), st.Dense(WIDTH, 8)], "which is cls, Dense for"),
    ],
)
def test_an_export_names_the_modules_it_cannot_hold(
    save: Save, modules: list[Any], message: str, tmp_path: Path
) -> None:
    folder, _ = save(*modules)
    with pytest.raises(InvalidInputError, match=message):
        to_onnx(str(folder), tmp_path / "m.onnx", pooling="auto")


def test_old_folders(save: Save) -> None:
    """As of 2021: keys and types of then, the transformer in a folder of its own, weights of Dense as .bin."""
    folder, theirs = save(st.Pooling(WIDTH, pooling_mode=("max", "mean")), st.Dense(2 * WIDTH, 5))
    expected = theirs.encode(TEXTS)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
    ):
        (folder / name).rename(inner / name)
    pooling = {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**pooling, "pooling_mode_cls_token": False}))
    from safetensors.torch import load_file

    torch.save(load_file(folder / "2_Dense" / "model.safetensors"), folder / "2_Dense" / "pytorch_model.bin")
    (folder / "2_Dense" / "model.safetensors").unlink()
    names = (("Transformer", "0_Transformer"), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"))
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    assert_equal(albert_fast.encode(TEXTS, str(folder)), expected)


def test_lengths_are_those_of_the_files(save: Save) -> None:
    folder, theirs = save(st.Pooling(WIDTH), max_seq_length=9)
    assert_equal(albert_fast.encode(TEXTS, str(folder)), theirs.encode(TEXTS))
    assert len(albert_fast.encode(TEXTS, str(folder), pooling=None)[1]) == 9
    assert len(albert_fast.encode(TEXTS, str(folder), pooling=None, max_length=5)[1]) == 5
    with pytest.raises(InvalidInputError, match=r"max_length: got 65, expected an integer in 2\.\.64"):
        albert_fast.encode(TEXTS, str(folder), max_length=65)


def test_a_longer_max_length_than_the_files_is_told(save: Save, warned: pytest.LogCaptureFixture) -> None:
    folder, _ = save(st.Pooling(WIDTH), max_seq_length=9)
    assert len(albert_fast.encode(TEXTS, str(folder), pooling=None, max_length=20)[1]) == 9
    assert "max_length: got 20, but the files of" in warned.text


@pytest.mark.parametrize("include_prompt", [True, False])
def test_prompts(save: Save, include_prompt: bool) -> None:
    prompts = {"query": "Find me: ", "passage": "I say: "}
    folder, theirs = save(
        st.Pooling(WIDTH, "mean", include_prompt=include_prompt), prompts=prompts, default_prompt_name="passage"
    )
    model = albert_fast.load(str(folder))
    plain = theirs.encode(TEXTS, prompt="")
    for options in ({}, {"prompt_name": "query"}, {"prompt": "So: "}, {"prompt": "So: ", "prompt_name": "query"}):
        expected = theirs.encode(TEXTS, **options)
        assert np.abs(expected - plain).max() > 1e-3
        assert_equal(albert_fast.encode(TEXTS, model, **options), expected)
    assert_equal(albert_fast.encode(TEXTS, model, prompt=""), plain)
    with pytest.raises(InvalidInputError, match="prompt_name: got 'nothing', expected a prompt of "):
        albert_fast.encode(TEXTS, model, prompt_name="nothing")


def test_columns_and_precisions(save: Save) -> None:
    folder, theirs = save(st.Pooling(WIDTH))
    for normalize in (False, True):
        ours = albert_fast.encode(TEXTS, str(folder), truncate_dim=7, normalize=normalize)
        assert_equal(ours, theirs.encode(TEXTS, truncate_dim=7, normalize_embeddings=normalize))
    embeddings = np.random.default_rng(0).standard_normal((200, 21)).astype(np.float32)
    for precision in PRECISIONS:
        ours = quantize_embeddings(embeddings, precision)
        expected = their_quantization(embeddings, precision)
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, expected)
        whole = albert_fast.encode(TEXTS, str(folder), precision=precision)
        assert whole.dtype == expected.dtype
        np.testing.assert_array_equal(whole, quantize_embeddings(albert_fast.encode(TEXTS, str(folder)), precision))
        assert (
            quantize_embeddings(embeddings[:0], precision).shape == their_quantization(embeddings[:0], precision).shape
        )
    ranges = np.stack([embeddings.min(0) - 1, embeddings.max(0) + 1])
    np.testing.assert_array_equal(
        quantize_embeddings(embeddings, "int8", ranges), their_quantization(embeddings, "int8", ranges)
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "int4"}, InvalidInputError, "precision: got 'int4', expected one of float32"),
        ({"precision": "int8", "pooling": None}, InvalidInputError, "precision: got 'int8' with pooling=None"),
        ({"truncate_dim": 49}, InvalidInputError, "truncate_dim: got 49, expected at most 48 columns"),
        ({"truncate_dim": 3, "pooling": None}, InvalidInputError, "truncate_dim: got it with pooling=None"),
        ({"prompt": 7}, InvalidTypeError, "prompt: got int, expected a string"),
    ],
)
def test_bad_options(transformer: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        albert_fast.encode(TEXTS, str(transformer), **options)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("modules.json", "{", r"modules\.json: not usable as JSON"),
        ("modules.json", '{"a": 1}', r"modules\.json: got dict, expected a list"),
        (
            "modules.json",
            '[{"type": "a.CNN"}]',
            r"modules\.json: got a module CNN, expected Transformer, Pooling, Dense",
        ),
        (
            "1_Pooling/config.json",
            '{"pooling_mode": "middle"}',
            r"1_Pooling/config\.json: pooling_mode: got .'middle',",
        ),
        (
            "2_Dense/config.json",
            '{"activation_function": "my.Gate"}',
            r"2_Dense/config\.json: activation_function: got Gate",
        ),
        ("sentence_bert_config.json", '{"max_seq_length": "9"}', r"max_seq_length: got '9', expected an integer"),
    ],
)
def test_damaged_files_are_named(save: Save, file: str, content: str, message: str) -> None:
    folder, _ = save(st.Pooling(WIDTH), st.Dense(WIDTH, 3))
    (folder / file).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        albert_fast.encode(TEXTS, str(folder))


def test_modules_that_do_not_fit(save: Save) -> None:
    folder, _ = save(st.Pooling(WIDTH), st.Dense(WIDTH, 3))
    modules = read_modules(FolderPlace("model", folder))
    with pytest.raises(CheckpointError, match=r"2_Dense.*: takes 48 columns, got 96"):
        Readout(EncodeOptions(), modules, 96)
    shutil.rmtree(folder / "1_Pooling")
    with pytest.raises(ModelNotFoundError, match=r"1_Pooling has no config\.json"):
        albert_fast.encode(TEXTS, str(folder))


def test_the_version_that_is_compared_with() -> None:
    assert int(sentence_transformers.__version__.split(".")[0]) >= 5


@pytest.fixture(scope="module", params=[None, "torch.nn.modules.linear.Identity"])
def cross_encoder(request: pytest.FixtureRequest, transformer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross-encoder")
    model = transformers.AlbertForSequenceClassification.from_pretrained(transformer, num_labels=1)
    randomise(model, seed=5)
    model.save_pretrained(folder)
    transformers.AlbertTokenizer.from_pretrained(transformer).save_pretrained(folder)
    if request.param:
        config = json.loads((folder / "config.json").read_text())
        config["sentence_transformers"] = {"activation_fn": request.param}
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_rerank_is_as_a_cross_encoder_ranks(cross_encoder: Path) -> None:
    theirs = sentence_transformers.CrossEncoder(str(cross_encoder), device="cpu", max_length=20)
    # transformers 5 forgets which text of a pair a token is from, which 4 and the models know.
    theirs.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    expected = theirs.rank("Who shook the buds?", TEXTS, return_documents=True)
    ours = albert_fast.rerank("Who shook the buds?", TEXTS, str(cross_encoder), return_documents=True, max_length=20)
    assert [(r["corpus_id"], r["text"]) for r in ours] == [(r["corpus_id"], r["text"]) for r in expected]
    np.testing.assert_allclose([r["score"] for r in ours], [r["score"] for r in expected], atol=1e-5)
    model = albert_fast.load(str(cross_encoder))
    [best] = albert_fast.rerank("Who shook the buds?", iter(TEXTS), model, top_k=1, max_length=20)
    assert best == {"corpus_id": ours[0]["corpus_id"], "score": ours[0]["score"]}
    assert albert_fast.rerank("Who?", [], model) == []


def test_rerank_with_what_cannot_be_ranked(cross_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidTypeError, match="texts: got str, expected an iterable of strings"):
        albert_fast.rerank("a", "b", str(cross_encoder))
    with pytest.raises(InvalidTypeError, match=r"texts\[1\]: got int, expected a string"):
        albert_fast.rerank("a", ["b", 3], str(cross_encoder))
    with pytest.raises(InvalidInputError, match="top_k: got 0"):
        albert_fast.rerank("a", ["b"], str(cross_encoder), top_k=0)
    shutil.copytree(cross_encoder, tmp_path / "three")
    model = transformers.AlbertForSequenceClassification.from_pretrained(
        cross_encoder, num_labels=3, ignore_mismatched_sizes=True
    )
    model.save_pretrained(tmp_path / "three")
    with pytest.raises(InvalidInputError, match="three has 3 labels, expected a cross-encoder with one"):
        albert_fast.rerank("a", ["b"], str(tmp_path / "three"))


@pytest.mark.parametrize("include_prompt", [True, False])
def test_our_engine_in_a_sentence_transformer(transformer: Path, include_prompt: bool) -> None:
    pooling = st.Pooling(WIDTH, pooling_mode=("mean", "max"), include_prompt=include_prompt)
    theirs = SentenceTransformer(
        modules=[st.Transformer(str(transformer), max_seq_length=24), pooling], device="cpu", prompts={"q": "So: "}
    )
    encoder = AlbertFastModule(albert_fast.load(str(transformer)), max_seq_length=24)
    ours = SentenceTransformer(modules=[encoder, pooling], device="cpu", prompts={"q": "So: "})
    assert_equal(ours.encode(TEXTS), theirs.encode(TEXTS))
    assert_equal(ours.encode(TEXTS, prompt_name="q"), theirs.encode(TEXTS, prompt_name="q"))
    assert ours.max_seq_length == 24
    assert ours.encode([]).shape[0] == 0
    with pytest.raises(InvalidInputError, match="max_seq_length: got 65"):
        AlbertFastModule(encoder.model, max_seq_length=65)
    with pytest.raises(InvalidInputError, match="the weights are those of"):
        encoder.save("somewhere")
