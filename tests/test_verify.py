"""``verify`` passes a good model, catches one bad weight, and its arithmetic cannot be fooled by NaN."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from checkpoints import SMALL, random_arrays, write_folder
from hypothesis import given
from hypothesis import strategies as st
from tolerance import assert_within_pytorch

from albert_fast.errors import InvalidInputError, InvalidTypeError, MissingDependencyError, VerificationError
from albert_fast.layout import Heads, expected_shapes
from albert_fast.model import load
from albert_fast.numbers import error_bound, rel_l2, roundoff, worst
from albert_fast.verification import SENTENCES, verify

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Tiny products gain nothing from more, and wait for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_tiny_passes_and_prints_a_table():
    report = verify("random:tiny")
    assert report.passed
    names = [stage.name for stage in report.stages]
    assert names == [
        "embeddings + mapping",
        "iteration 1",
        "iteration 2",
        "iteration 3",
        "pooler",
        "mlm logits",
        "sop logits",
    ]
    for stage in report.stages:
        assert 0 < stage.bound.ours < 1e-5
        assert 0 < stage.bound.pytorch < 1e-5
    table = str(report).splitlines()
    assert table[0] == f"random:tiny, float32: relative L2 error against float64, the worst of {len(SENTENCES)} texts"
    assert [line.split("  ")[0].strip() for line in table[2:-1]] == names
    assert table[-1].startswith("passed: ")


@pytest.mark.parametrize(
    ("tensor", "first_bad"),
    [
        ("albert.embeddings.word_embeddings.weight", "embeddings + mapping"),
        ("albert.encoder.embedding_hidden_mapping_in.bias", "embeddings + mapping"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.attention.value.weight", "iteration 1"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm.weight", "iteration 1"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight", "iteration 1"),
        ("albert.pooler.weight", "pooler"),
        ("predictions.dense.bias", "mlm logits"),
        ("sop_classifier.classifier.weight", "sop logits"),
    ],
)
def test_one_changed_weight_is_found_where_it_acts(tensor, first_bad):
    model = load("random:tiny")
    values = model.weights.read(tensor)
    row = 2 if tensor.endswith("word_embeddings.weight") else 1  # [CLS], which is in every text
    rows = values.reshape(len(values), -1)[row : row + 1].copy()
    rows[0, 0] += 0.05
    model.weights.write(tensor, row, rows)
    with pytest.raises(VerificationError) as caught:
        verify(model)
    report = caught.value.report
    assert not report.passed
    assert next(stage.name for stage in report.stages if not stage.bound.ok) == first_bad
    assert "TOO LARGE" in str(caught.value)
    assert str(report) == str(caught.value)
    assert verify(model, raise_on_failure=False) == report


@pytest.mark.parametrize(
    "heads",
    [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (True, False, True),
        (True, True, True),
    ],
)
def test_any_heads_groups_and_no_vocabulary(tmp_path, heads):
    names = expected_shapes(SMALL, Heads(*heads))
    write_folder(tmp_path, {name: array for name, array in random_arrays().items() if name in names})
    report = verify(tmp_path)
    assert report.passed
    assert "16 inputs of random tokens" in str(report)
    found = [name in {stage.name for stage in report.stages} for name in ("pooler", "mlm logits", "sop logits")]
    assert found == list(heads)


def test_live_model():
    transformers = pytest.importorskip("transformers")
    model = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**SMALL.to_dict())).eval()
    assert verify(model).passed


def test_own_texts():
    report = verify("random:tiny", ["one text", ("a pair", "of texts"), "long " * 2000])
    assert report.passed
    assert "the worst of 3 texts" in str(report)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"rtol_factor": 0}, InvalidInputError, "rtol_factor: got 0, expected a number above 0"),
        ({"rtol_factor": float("nan")}, InvalidInputError, "rtol_factor: got nan"),
        ({"rtol_factor": "2"}, InvalidTypeError, "rtol_factor: got str"),
        ({"texts": []}, InvalidInputError, "texts: got an empty list"),
        ({"texts": "one string"}, InvalidTypeError, "texts: got str, expected a list"),
        ({"texts": iter(["x"])}, InvalidTypeError, "texts: got list_iterator"),
    ],
)
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind, match=message):
        verify("random:tiny", **arguments)


def test_float64_model_is_refused():
    with pytest.raises(InvalidInputError, match="got dtype float64"):
        verify(load("random:tiny", dtype="float64"))


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "albert_fast.reference", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install albert_fast\[torch\]"):
        verify("random:tiny")


def test_roundoff():
    assert [roundoff(d) for d in ("float64", "float32", "float16", "bfloat16", "int8")] == [
        2**-53,
        2**-24,
        2**-11,
        2**-8,
        2**-8,
    ]
    for dtype in (np.float64, np.float32, np.float16):
        assert roundoff(np.dtype(dtype).name) == np.finfo(dtype).eps / 2
    with pytest.raises(KeyError):
        roundoff("int4")


def test_rel_l2_by_hand():
    assert rel_l2([3, 0], [3, 4]) == 0.8
    assert rel_l2([[1.0, 2.0]], [[1.0, 2.0]]) == 0
    assert rel_l2(np.float32([1]), [1 + 2**-30]) == pytest.approx(2**-30)
    assert rel_l2([], []) == 0
    assert rel_l2([0.0], [0.0]) == 0
    assert rel_l2([1e-30], [0.0]) == np.inf
    for actual, expected in (([np.nan], [1.0]), ([1.0], [np.nan]), ([np.nan], [0.0]), ([np.inf], [np.inf])):
        assert np.isnan(rel_l2(actual, expected))
    with pytest.raises(ValueError, match="shapes"):
        rel_l2([1.0, 2.0], [1.0])


def test_the_bound():
    assert error_bound([1e-7, 3e-7], [2e-7, 1e-7], "float32").ratio == pytest.approx(1.5)
    assert error_bound([1.9e-7], [1e-7], "float32").ok
    assert not error_bound([2.1e-7], [1e-7], "float32").ok
    assert error_bound([2.1e-7], [1e-7], "float32", factor=3).ok
    assert error_bound([1e-7], [0.0], "float32").ok  # the floor: one roundoff, 6e-8
    assert not error_bound([1.3e-7], [0.0], "float32").ok
    for bad in (
        ([np.nan], [1.0]),
        ([1.0], [np.nan]),
        ([0.0, np.nan], [1.0]),
        ([], [1.0]),
        ([0.0], []),
        ([np.inf], [1.0]),
    ):
        assert not error_bound(*bad, "float32").ok
    assert np.isnan(worst([np.nan, 1.0]))
    assert np.isnan(worst([1.0, np.nan]))
    assert np.isnan(worst([]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 5))
def test_nan_sticks_wherever_it_is(errors, position):
    errors.insert(min(position, len(errors)), float("nan"))
    assert not error_bound(errors, [1.0], "float32").ok
    assert not error_bound([0.0], errors, "float32").ok


def test_assert_within_pytorch():
    rng = np.random.default_rng()
    exact = [rng.standard_normal((4, 5)) for _ in range(5)]
    noise = [rng.standard_normal((4, 5)) * 1e-6 for _ in range(5)]
    pytorch = [e + n for e, n in zip(exact, noise, strict=True)]
    assert assert_within_pytorch(pytorch, pytorch, exact, "float32").ratio == 1
    ours = [e + 1.9 * n for e, n in zip(exact, noise, strict=True)]
    assert_within_pytorch(ours, pytorch, exact, "float32")
    ours = [e + 2.1 * n for e, n in zip(exact, noise, strict=True)]
    with pytest.raises(AssertionError, match=r"attention: .* expected at most 2\.0 x"):
        assert_within_pytorch(ours, pytorch, exact, "float32", what="attention")
    assert_within_pytorch(ours, pytorch, exact, "float32", factor=3)
    ours[3][0, 0] = np.nan
    with pytest.raises(AssertionError, match="nan"):
        assert_within_pytorch(ours, pytorch, exact, "float32", factor=3)
    with pytest.raises(AssertionError, match="one array per seed"):
        assert_within_pytorch([], [], [], "float32")


def test_device_and_dtype_are_those_of_load(tiny):
    for dtype in ("float32", "bfloat16", "int16", "int8"):
        report = verify("random:tiny", device="cpu", dtype=dtype)
        assert report.passed
        assert report.dtype == dtype
    with pytest.raises(InvalidInputError, match="dtype: got 'float64' for a model that is loaded as 'float32'"):
        verify(tiny, dtype="float64")
    with pytest.raises(InvalidInputError, match="device: got 'gpu'"):
        verify("random:tiny", device="gpu")
