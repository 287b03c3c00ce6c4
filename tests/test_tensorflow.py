"""``return_tensors="tf"``: TensorFlow's tensors with the numbers of the NumPy arrays, and no import of it before."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from pipeline_models import VOCABULARY, Make, maker

import albert_fast
from albert_fast.errors import MissingDependencyError
from albert_fast.tokenizer import AlbertTokenizer

# Another process: TensorFlow logs, warns and starts threads when it is imported.
CHECKS = """
import sys
import numpy as np
import albert_fast

folder = sys.argv[1]
extract = albert_fast.pipeline("feature-extraction", folder)
tokenizer, texts = extract.tokenizer, ["A text.", "And another one."]
options = {
    "padding": True, "truncation": True, "max_length": 4, "return_overflowing_tokens": True,
    "return_offsets_mapping": True, "return_special_tokens_mask": True,
}
arrays = tokenizer(texts, return_tensors="np", **options)
features = extract(texts, return_tensors="np")
assert "tensorflow" not in sys.modules, "nobody asked for it"

tensors = tokenizer(texts, return_tensors="tf", **options)
import tensorflow as tf
assert tensors.keys() == arrays.keys()
for name, array in arrays.items():
    assert tf.is_tensor(tensors[name]) and tensors[name].dtype == tf.int32, name
    assert np.array_equal(tensors[name].numpy(), array), name
assert tokenizer("A text.", return_tensors="tf").input_ids.shape[0] == 1
assert tokenizer([], return_tensors="tf", padding=True).input_ids.shape == (0, 0)
assert tokenizer(["A", "text"], is_split_into_words=True, return_tensors="tf").word_ids() == [None, 0, 1, None]
assert tensors.to("cpu") is tensors

for tensor, array in zip(extract(texts, return_tensors="tf"), features, strict=True):
    assert tf.is_tensor(tensor) and tensor.dtype == tf.float32 and np.array_equal(tensor.numpy(), array)

tokens = tokenizer(texts, padding=True, return_tensors="tf")
given = {name: column.numpy() for name, column in tokens.items()}
assert np.array_equal(extract.model(**tokens)[0], extract.model(**given)[0])
print("all equal")
"""


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
def test_tensors_equal_the_arrays(make: Make) -> None:
    command = [sys.executable, "-c", CHECKS, make("AlbertModel")[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "all equal"


def test_without_tensorflow(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = albert_fast.pipeline("feature-extraction", make("AlbertModel")[0])
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for call in (AlbertTokenizer.from_pretrained(VOCABULARY), extract):
        with pytest.raises(MissingDependencyError, match=r"return_tensors: got 'tf' .*albert_fast\[tensorflow\]"):
            call("A text.", return_tensors="tf")
