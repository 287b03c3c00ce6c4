"""Numbers, names and policies that no code below can use are errors of ours; and a model in a pickle."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_tools import MODEL, run
from nn_models import BASE

import albert_fast
from albert_fast import InvalidInputError, InvalidTypeError
from albert_fast.batching import RaggedBatch, pack
from albert_fast.errors import AlbertFastError, CheckpointError

MODEL_OF_TESTS = albert_fast.load("random:tiny")
TOKENS, ENDS = np.array([2, 5, 3], np.int32), np.array([0, 3], np.int32)
MANY = ["a"] * 100  # more than go through SentencePiece one by one
IDS = np.array([[2, 5, 3]])
ROW = [([2, 5, 3], [0, 0, 0])]

THREADS: dict[str, Callable[[Any], Any]] = {
    "encode": lambda n: albert_fast.encode(MANY, MODEL_OF_TESTS, num_threads=n),
    "encode_iter": lambda n: albert_fast.encode_iter(MANY, MODEL_OF_TESTS, num_threads=n),
    "encode_ragged": lambda n: MODEL_OF_TESTS.encode_ragged(TOKENS, ENDS, num_threads=n),
    "forward": lambda n: MODEL_OF_TESTS(IDS, num_threads=n),
    "forward_pretraining": lambda n: MODEL_OF_TESTS.forward_pretraining(IDS, num_threads=n),
    "start": lambda n: MODEL_OF_TESTS.start(RaggedBatch.from_sequences(ROW), num_threads=n),
    "tokenizer": lambda n: MODEL_OF_TESTS.tokenizer(MANY, num_threads=n),
    "tokenizer.encode_ragged": lambda n: MODEL_OF_TESTS.tokenizer.encode_ragged(MANY, max_length=9, num_threads=n),
    "pipeline": lambda n: albert_fast.pipeline("fill-mask", MODEL_OF_TESTS, num_threads=n),
}


@pytest.mark.parametrize("call", THREADS)
def test_numbers_of_threads(call: str) -> None:
    for wrong in (10**20, 2**31, 1025, 0, -1):
        with pytest.raises(InvalidInputError, match=rf"^num_threads: got {wrong}, expected an integer in 1\.\.1024$"):
            THREADS[call](wrong)
    for wrong in ("2", 1.5, True, [1]):
        with pytest.raises(InvalidTypeError, match=r"^num_threads: got .*, expected an integer in 1\.\.1024$"):
            THREADS[call](wrong)
    for right in (2, np.int64(2), None):
        THREADS[call](right)


def test_batch_tokens() -> None:
    for wrong in ("2", 1.5, True):
        with pytest.raises(InvalidTypeError, match=r"^batch_tokens: got"):
            pack([1, 2], wrong)
        with pytest.raises(InvalidTypeError, match=r"^batch_tokens: got"):
            albert_fast.pipeline("fill-mask", MODEL_OF_TESTS, batch_tokens=wrong)
    expected = albert_fast.encode(["a", "b c"], MODEL_OF_TESTS)
    for huge in (10**20, 2**63 - 1, 2**63):
        assert pack([1, 0, 2], huge) == [[2, 0, 1]]
        np.testing.assert_array_equal(albert_fast.encode(["a", "b c"], MODEL_OF_TESTS, batch_tokens=huge), expected)
    assert pack([], 10**20) == []


@pytest.mark.parametrize("stream", ["1", 1.5, -1, 2**64])
def test_streams(stream: Any) -> None:
    with pytest.raises(AlbertFastError, match=r"^stream: got"):
        MODEL_OF_TESTS.encode_ragged(TOKENS, ENDS, stream=stream)


def test_command_line_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    assert run("encode", tmp_path / "in.txt", tmp_path / "out.npy", "--num-threads", 10**20, *MODEL) == 2
    assert "error: num_threads: got 100000000000000000000, expected" in capsys.readouterr().err
    assert run("encode", tmp_path / "in.txt", tmp_path / "out.npy", "--batch-tokens", 10**20, *MODEL) == 0


@pytest.mark.parametrize("name", ["a\ud800", "a\0b", "folder/a\ud800", "~nobody/x", "x" * 5000, "random:\ud800", ""])
def test_names_that_no_model_has(name: str) -> None:
    for take in (albert_fast.load, lambda name: albert_fast.encode(["a"], name), lambda name: load_tokenizer(name)):
        if take is albert_fast.load or not name.startswith("random:"):
            with pytest.raises(AlbertFastError, match=r"model|tokenizer"):
                take(name)


def load_tokenizer(name: str) -> Any:
    return albert_fast.AlbertTokenizer.from_pretrained(name)


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("shard", ["a\0b", "a\ud800.safetensors", "../x", "", 5, ["x"], None])
def test_names_that_no_shard_has(tmp_path: Path, index: str, shard: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MODEL_OF_TESTS.config.to_dict()))
    (tmp_path / index).write_text(json.dumps({"weight_map": {"albert.pooler.bias": shard}}))
    with pytest.raises(CheckpointError, match="not a usable index of weight files"):
        albert_fast.load(tmp_path)


def test_training_policy_by_what_it_keeps() -> None:
    model = albert_fast.nn.AlbertModel(albert_fast.nn.AlbertConfig(**BASE))
    for keep in ("all", "inputs", 3):
        model.training_policy = keep
        assert model.training_policy.keep == keep
        model.train()(torch.tensor([[2, 5, 3]])).pooler_output.sum().backward()
    with pytest.raises(InvalidInputError, match="keep: got 'most'"):
        model.training_policy = "most"
    for wrong in (None, 1.5, object()):
        with pytest.raises(InvalidTypeError, match="training_policy: got"):
            model.training_policy = wrong


def test_a_model_pickles_by_what_it_was_loaded_from(tmp_path: Path) -> None:
    """Another process, somewhere else, has the same model."""
    folder = os.path.relpath(Path(albert_fast.__file__).parent / "data" / "mini")
    for place, options in (
        ("random:tiny", {}),
        ("mini", {"dtype": "bfloat16"}),
        (folder, {}),
        (Path(folder), {"dtype": "int8"}),
    ):
        model = albert_fast.load(place, **options)
        data = pickle.dumps(model)
        assert len(data) < 1000
        script = """
import pickle, sys
import numpy as np, albert_fast
model = pickle.load(sys.stdin.buffer)
np.save(sys.stdout.buffer, albert_fast.encode(["a text"], model))
assert model.dtype == sys.argv[1]
"""
        done = subprocess.run(
            [sys.executable, "-c", script, model.dtype],
            input=data,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.fspath(Path(albert_fast.__file__).parent.parent)},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        (tmp_path / "row.npy").write_bytes(done.stdout)
        np.testing.assert_array_equal(np.load(tmp_path / "row.npy"), albert_fast.encode(["a text"], model))
        assert copy.copy(model) is copy.deepcopy(model) is model


def test_a_model_with_a_tokenizer_of_its_own_keeps_it() -> None:
    tokenizer = albert_fast.AlbertTokenizer.from_pretrained("random:tiny")
    tokenizer.model_max_length = 17
    again = pickle.loads(pickle.dumps(albert_fast.load("random:tiny", tokenizer=tokenizer)))
    assert again.tokenizer.model_max_length == 17


def test_a_model_of_a_live_one_says_what_to_do() -> None:
    transformers = pytest.importorskip("transformers")
    model = albert_fast.load(transformers.AlbertModel(transformers.AlbertConfig(**BASE)))
    with pytest.raises(
        InvalidTypeError, match=r"pickle: got a model made from a live AlbertModel.*save that to a folder"
    ):
        pickle.dumps(model)
