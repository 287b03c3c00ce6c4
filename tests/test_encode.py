"""encode and encode_iter: shapes, order, windows, and what they say to bad input."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from albert_fast import encoding
from albert_fast.encoding import encode, encode_iter
from albert_fast.errors import (
    CheckpointError,
    InvalidInputError,
    InvalidTypeError,
    MissingDependencyError,
    ModelNotFoundError,
)
from albert_fast.model import load
from albert_fast.sentence import EncodeOptions, encoder

TINY = "random:tiny"
WIDTH = 32
WORDS = [
    "one",
    "layer",
    "of",
    "the",
    "model",
    "is",
    "run",
    "again",
    "and",
    "again",
    "over",
    "the",
    "same",
    "text",
    "until",
    "it",
    "is",
    "done",
]


def corpus(n, seed=0):
    """n texts of mixed lengths, some empty, some pairs."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 40, n)
    texts = [" ".join(rng.choice(WORDS, length)) for length in lengths]
    return [(text, "a second text") if i % 7 == 3 else text for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def model():
    return load(TINY)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_pooled_features_are_those_of_each_text_alone(model, pooling):
    texts = corpus(100)
    together = encode(texts, model, pooling)
    assert together.dtype == np.float32
    assert together.shape == (100, WIDTH)
    alone = np.concatenate([encode([text], model, pooling) for text in texts])
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together, axis=0)) > 80


def test_without_pooling_each_text_gives_an_array_of_its_length(model):
    texts = corpus(60)
    features = encode(texts, model, None)
    lengths = [len(ids) for ids, _ in model.tokenizer.encode_ragged(texts, max_length=512)]
    assert [f.shape for f in features] == [(length, WIDTH) for length in lengths]
    np.testing.assert_array_equal(np.stack([f[0] for f in features]), encode(texts, model, "cls"))
    assert all(f.base is None for f in features)


@pytest.mark.parametrize("options", [{"batch_tokens": 1}, {"batch_tokens": 64}, {"num_threads": 1}])
def test_budget_and_threads_do_not_show_in_the_result(model, options):
    texts = corpus(120)
    np.testing.assert_array_equal(encode(texts, model), encode(texts, model, **options))


def test_generators_and_lists_agree(model):
    texts = corpus(200)
    expected = encode(texts, model)
    np.testing.assert_array_equal(encode(iter(texts), model), expected)
    np.testing.assert_array_equal(np.stack(list(encode_iter(texts, model))), expected)
    np.testing.assert_array_equal(np.stack(list(encode_iter(iter(texts), model))), expected)
    ragged = list(encode_iter(iter(texts), model, None))
    assert all(np.array_equal(a, b) for a, b in zip(ragged, encode(texts, model, None), strict=True))


def test_one_text_none_and_the_empty_text(model):
    assert encode("one text", model).shape == (1, WIDTH)
    np.testing.assert_array_equal(encode("one text", model), encode(["one text"], model))
    assert encode([], model).shape == (0, WIDTH)
    assert encode(iter([]), model).shape == (0, WIDTH)
    assert encode([], model, None) == []
    assert list(encode_iter([], model)) == []
    assert [f.shape for f in encode(["", ("", "")], model, None)] == [(2, WIDTH), (3, WIDTH)]


def test_pairs_are_tuples_or_lists_and_differ_from_their_parts(model):
    pair, as_list, joined = encode([("a b", "c"), ["a b", "c"], "a b c"], model)
    np.testing.assert_array_equal(pair, as_list)
    assert not np.array_equal(pair, joined)


def test_tokens_and_their_types_reach_the_model(model):
    [(ids, types)] = model.tokenizer.encode_ragged([("a b", "c d")], max_length=512)
    assert 0 < sum(types) < len(types)
    direct = model.encode_ragged(
        np.array(ids, np.int32), np.array([0, len(ids)], np.int32), token_types=np.array(types, np.int32)
    )
    np.testing.assert_array_equal(encode([("a b", "c d")], model, None)[0], direct)


def test_long_texts_are_cut(model):
    text = "word " * 600
    assert [len(f) for f in encode([text], model, None)] == [512]
    assert [len(f) for f in encode([text], model, None, max_length=9)] == [9]


def test_normalized_rows_have_length_one(model):
    plain, normal = encode(corpus(20), model), encode(corpus(20), model, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(normal, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_a_stream_is_read_a_window_at_a_time(model):
    taken = itertools.count()
    texts = (f"text {next(taken)}" for _ in range(10**9))
    results = encode_iter(texts, model)
    assert next(taken) == 0, "read before the first result was asked for"
    next(results)
    assert next(taken) <= encoder._FIRST_WINDOW + 1
    for _ in range(1000):
        next(results)
    assert next(taken) <= 4 * 1000


def test_windows_of_huge_texts_hold_few(monkeypatch):
    monkeypatch.setattr(encoder, "_WINDOW_CHARACTERS", 100)
    texts = iter(["x" * 60, ("y" * 30, "z" * 30), "w"])
    assert len(encoder.read_window(texts, 10, 0)) == 2
    assert encoder.read_window(texts, 10, 2) == ["w"]
    assert encoder.read_window(texts, 10, 3) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", 3], r"texts\[1\]: got int, expected a str or a pair"),
        (["a", None], r"texts\[1\]: got NoneType"),
        ([b"bytes"], r"texts\[0\]: got bytes"),
        ([("a", "b", "c")], r"texts\[0\]: got tuple of str, str, str"),
        ([("a", 1)], r"texts\[0\]: got tuple of str, int"),
        ([[]], r"texts\[0\]: got list of nothing"),
        (b"bytes", "texts: got bytes"),
        ({"a": 1}, "texts: got dict"),
        (7, "texts: got int"),
        (None, "texts: got NoneType"),
    ],
)
@pytest.mark.parametrize("function", [encode, encode_iter])
def test_types_are_checked_before_any_work(function, texts, message):
    with pytest.raises(InvalidTypeError, match=message):
        function(texts, "/no/such/model")


def test_a_wrong_type_in_a_stream_is_named(model):
    stream = encode_iter((text if i != 100 else 7 for i, text in enumerate(corpus(200))), model)
    with pytest.raises(InvalidTypeError, match=r"texts\[100\]: got int"):
        list(stream)


def test_too_long_without_truncation_is_named(model):
    texts = ["short"] * 90
    texts[77] = "long " * 30
    with pytest.raises(InvalidInputError, match=r"texts\[77\]: got \d+ tokens, expected at most 16"):
        encode(texts, model, max_length=16, truncation=False)
    assert encode(texts[:77], model, max_length=16, truncation=False).shape == (77, WIDTH)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"pooling": "middle"},
            InvalidInputError,
            "pooling: got 'middle', expected one of 'auto', 'mean', 'cls', 'pooler', 'max'",
        ),
        ({"max_length": 1}, InvalidInputError, "max_length: got 1"),
        ({"max_length": 513}, InvalidInputError, r"max_length: got 513, expected an integer in 2\.\.512"),
        ({"max_length": 8.0}, InvalidTypeError, "max_length: got 8.0"),
        ({"batch_tokens": 0}, InvalidInputError, "batch_tokens: got 0, expected an integer of at least 1"),
        ({"num_threads": -1}, InvalidInputError, "num_threads: got -1"),
        ({"num_threads": True}, InvalidTypeError, "num_threads: got True"),
        ({"truncation": "longest_first"}, InvalidTypeError, "truncation: got 'longest_first'"),
        ({"normalize": 1}, InvalidTypeError, "normalize: got 1"),
        ({"return_tensors": "tf"}, InvalidInputError, "return_tensors: got 'tf', expected 'np' or 'pt'"),
        ({"show_progress": "yes"}, InvalidTypeError, "show_progress: got 'yes'"),
        ({"device": "cuda:7"}, InvalidInputError, "device: got 'cuda:7', expected one of auto, cpu, cuda"),
        ({"dtype": "bfloat16"}, InvalidInputError, "dtype: got 'bfloat16' for a model"),
    ],
)
def test_bad_options_are_named(model, options, error, message):
    with pytest.raises(error, match=message):
        encode(["a"], model, **options)
    with pytest.raises(error, match=message):
        list(encode_iter(["a"], model, **options))


def test_pooler_of_a_model_without_one():
    bare = SimpleNamespace(name="bare", has_pooler=False, files=lambda: None, config=SimpleNamespace(hidden_size=8))
    with pytest.raises(InvalidInputError, match="pooling: got 'pooler', but bare has no pooler"):
        encoder.Encoder(bare, EncodeOptions(pooling="pooler"))


@pytest.mark.parametrize("pooling", ["mean", None])
def test_features_that_are_not_finite_name_their_text(model, pooling):
    texts = corpus(90)
    texts[70] = "a text of a length that no other has " * 9
    length = len(model.tokenizer.encode_ragged([texts[70]], max_length=512)[0][0])

    class Broken(type(model)):
        def __init__(self):
            self.__dict__.update(model.__dict__)

        def encode_ragged(self, tokens, cu_seqlens, **options):
            rows = np.array(model.encode_ragged(tokens, cu_seqlens, **options))
            for i in np.flatnonzero(np.diff(cu_seqlens) == length):
                rows[i if pooling else cu_seqlens[i] + 1, 5] = np.inf
            return rows

    with pytest.raises(CheckpointError, match=r"texts\[70\]: the features .* are not finite"):
        encode(texts, Broken(), pooling)


def test_torch_tensors(model):
    torch = pytest.importorskip("torch")
    texts = corpus(5)
    features = encode(texts, model, return_tensors="pt")
    assert isinstance(features, torch.Tensor)
    np.testing.assert_array_equal(features.numpy(), encode(texts, model))
    assert all(isinstance(f, torch.Tensor) for f in encode_iter(texts, model, None, return_tensors="pt"))


def test_torch_that_is_not_installed(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'albert_fast\[torch\]'"):
        encode(["a"], model, return_tensors="pt")


def test_numpy_results_do_not_import_torch():
    script = f"""
import sys
from albert_fast.encoding import encode
encode(["a"], {TINY!r})
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("function", [encode, lambda *a, **k: list(encode_iter(*a, **k))])
def test_progress_bar(model, monkeypatch, function):
    def shown(show_progress, stream, texts):
        monkeypatch.setattr(sys, "stderr", stream)
        function(texts, model, show_progress=show_progress)
        return stream.getvalue()

    def slow_texts():
        time.sleep(0.2)
        yield from corpus(50)

    assert "50/50" in shown(True, io.StringIO(), corpus(50))
    assert shown(None, io.StringIO(), corpus(50)) == ""
    assert shown(None, Terminal(), corpus(50)) == "", "short work needs no bar"
    assert shown(False, Terminal(), corpus(50)) == ""
    monkeypatch.setattr(encoding, "_PROGRESS_DELAY_SECONDS", 0.1)
    assert "32text" in shown(None, Terminal(), slow_texts())


def test_the_last_model_stays_loaded_and_only_that(monkeypatch, tmp_path):
    loaded = []

    def counting_load(name, *, device, dtype, revision):
        assert encoding._last_model._model is None, "two models at once"
        loaded.append((str(name), device, dtype))
        return load(TINY)

    monkeypatch.setattr("albert_fast.model.load", counting_load)
    monkeypatch.setattr(encoding, "_last_model", encoding._LastModel())
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("one", "one", str(folder), str(folder), "one"):
        encode(["a"], name)
    assert [name for name, *_ in loaded] == ["one", str(folder), "one"]
    encode(["a"], "one", dtype="bfloat16")
    assert loaded[-1] == ("one", "auto", "bfloat16")
    encode(["a"], Path(folder))
    (folder / "model.safetensors").write_bytes(b"new weights")
    encode(["a"], Path(folder))
    assert len(loaded) == 6, "weights that were written anew are loaded anew"


def test_models_that_are_not_there():
    with pytest.raises(ModelNotFoundError, match="no-such"):
        encode(["a"], "/tmp/no-such-folder/no-such-model")


def test_threads_share_a_model(model):
    texts = corpus(80)
    expected = encode(texts, model)
    results = [None] * 4

    def work(i):
        results[i] = encode(texts, model, num_threads=1)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_another_thread_loads_can_encode():
    script = f"""
import os
from albert_fast import encoding
encoding.encode(["a"], {TINY!r})
encoding._last_model._lock.acquire()
child = os.fork()
if child == 0:
    os._exit(0 if encoding.encode(["a"], {TINY!r}).shape == (1, {WIDTH}) else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"


def test_keyboard_interrupt_passes_through(model):
    def texts():
        yield from ["a"] * 40
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(texts(), model)
