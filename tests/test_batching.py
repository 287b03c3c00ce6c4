"""The gather from padded batches, its inverse, and the packing by token budget."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from albert_fast.batching import RaggedBatch, pack
from albert_fast.errors import InvalidInputError, InvalidTypeError

LIMITS = SimpleNamespace(vocab_size=100, type_vocab_size=2, max_position_embeddings=16)


def gather(*args, **kwargs):
    return RaggedBatch.from_padded(*args, limits=LIMITS, **kwargs)


def test_holes_keep_their_positions_and_empty_rows_become_empty_sequences():
    batch = gather(
        [[5, 6, 7, 8], [1, 2, 3, 4], [9, 9, 9, 9]],
        [[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]],
        [[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]],
    )
    assert batch.tokens.tolist() == [5, 7, 8, 9]
    assert batch.cu_seqlens.tolist() == [0, 3, 3, 4]
    assert batch.positions.tolist() == [0, 2, 3, 1]
    assert batch.token_types.tolist() == [0, 1, 1, 1]
    for array in (batch.tokens, batch.cu_seqlens, batch.positions, batch.token_types):
        assert array.dtype == np.int32
    assert (batch.num_sequences, batch.num_tokens) == (3, 4)


def test_given_positions_are_used_and_one_row_serves_all():
    batch = gather([[5, 6], [7, 8]], position_ids=[[3, 2]], token_type_ids=np.array([[0, 1]]))
    assert batch.positions.tolist() == [3, 2, 3, 2]
    assert batch.token_types.tolist() == [0, 1, 0, 1]


def test_what_stands_under_a_zero_of_the_mask_is_never_read():
    batch = gather([[5, -100]], [[1, 0]], token_type_ids=[[0, 77]], position_ids=[[0, -1]])
    assert batch.tokens.tolist() == [5]


@given(
    hnp.arrays(np.bool_, st.tuples(st.integers(0, 5), st.integers(0, 16))),
    st.integers(0, 2**32 - 1),
)
def test_gather_and_scatter_are_inverse(mask, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 100, mask.shape)
    features = rng.standard_normal((*mask.shape, 3)).astype(np.float32)
    batch = gather(ids, mask)
    assert batch.tokens.tolist() == ids[mask].tolist()
    assert np.diff(batch.cu_seqlens).tolist() == mask.sum(axis=1).tolist()
    expected = np.where(mask[:, :, None], features, 0)
    np.testing.assert_array_equal(batch.to_padded(features[mask]), expected)


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.uint8, np.float32])
def test_masks_of_any_dtype(dtype):
    assert gather([[1, 2, 3]], np.array([[1, 0, 1]], dtype)).tokens.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_ids": [1, 2]}, InvalidInputError, r"input_ids: got shape \[2\], expected \[batch, length\]"),
        ({"input_ids": [[1.0]]}, InvalidTypeError, "input_ids: got dtype float64, expected integers"),
        ({"input_ids": [[True]]}, InvalidTypeError, "input_ids: got dtype bool, expected integers"),
        ({"input_ids": [["a"]]}, InvalidTypeError, "input_ids: got dtype <U1"),
        ({"input_ids": [[1, 2], [3]]}, InvalidTypeError, r"input_ids: got list, expected an array"),
        ({"input_ids": [[object()]]}, InvalidTypeError, "input_ids: got list of objects"),
        ({"input_ids": None}, InvalidTypeError, "input_ids: got NoneType"),
        (
            {"input_ids": [[1, 2], [3, 100]]},
            InvalidInputError,
            r"input_ids: got 100 at row 1, column 1, expected 0\.\.99",
        ),
        ({"input_ids": [[-1]]}, InvalidInputError, "input_ids: got -1 at row 0, column 0"),
        ({"input_ids": [[2**63]]}, InvalidInputError, "input_ids: got 9223372036854775808"),
        ({"input_ids": [[1] * 17]}, InvalidInputError, "got 17 columns, expected at most .* = 16"),
        (
            {"attention_mask": [1, 1]},
            InvalidInputError,
            r"attention_mask: got shape \[2\], expected \[1, 2\]",
        ),
        ({"attention_mask": [[1, 2]]}, InvalidInputError, "attention_mask: got 2 at row 0, column 1"),
        ({"attention_mask": [[1, 0.5]]}, InvalidInputError, "attention_mask: got 0.5 at row 0, column 1"),
        ({"attention_mask": [[1, float("nan")]]}, InvalidInputError, "attention_mask: got nan"),
        ({"attention_mask": [["1", "1"]]}, InvalidTypeError, "attention_mask: got dtype <U1"),
        (
            {"token_type_ids": [[0]]},
            InvalidInputError,
            r"token_type_ids: got shape \[1, 1\], expected \[1, 2\]",
        ),
        ({"token_type_ids": [[0, 2]]}, InvalidInputError, r"token_type_ids: got 2 at row 0, column 1"),
        ({"token_type_ids": [[0, 0.0]]}, InvalidTypeError, "token_type_ids: got dtype float64"),
        ({"position_ids": [[0, 16]]}, InvalidInputError, r"position_ids: got 16 .* expected 0\.\.15"),
        ({"position_ids": [0, 1]}, InvalidInputError, r"position_ids: got shape \[2\]"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        gather(**{"input_ids": [[1, 2]], **arguments})


def test_to_padded_checks_its_rows():
    batch = gather([[1, 2]], [[1, 0]])
    with pytest.raises(InvalidInputError, match=r"rows: got shape \[2, 4\], expected \[1, hidden_size\]"):
        batch.to_padded(np.zeros((2, 4), np.float32))
    joined = RaggedBatch.from_sequences([([1], [0])])
    with pytest.raises(InvalidInputError, match="not made by from_padded"):
        joined.to_padded(np.zeros((1, 4), np.float32))


def test_joining_tokenised_texts():
    batch = RaggedBatch.from_sequences([([2, 7, 3], [0, 0, 0]), ([], []), ([2, 3, 9, 3], [0, 0, 1, 1])])
    assert batch.tokens.tolist() == [2, 7, 3, 2, 3, 9, 3]
    assert batch.cu_seqlens.tolist() == [0, 3, 3, 7]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert batch.token_types.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert RaggedBatch.from_sequences([]).cu_seqlens.tolist() == [0]


def first_fit_decreasing(lengths, budget):
    """The textbook form, one text at a time."""
    alone, shared = [], []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lengths[index] > budget:
            alone.append([index])
            continue
        for batch in shared:
            if sum(lengths[i] for i in batch) + lengths[index] <= budget:
                batch.append(index)
                break
        else:
            shared.append([index])
    return alone + shared


@settings(max_examples=300)
@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 64))
def test_packing_is_first_fit_decreasing(lengths, budget):
    batches = pack(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget
    assert batches == first_fit_decreasing(lengths, budget)


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 64))
def test_order_is_restored_by_scattering_each_batch(lengths, budget):
    out = np.full(len(lengths), -1)
    for batch in pack(np.array(lengths, np.int32), budget):
        out[batch] = [lengths[i] for i in batch]
    assert out.tolist() == lengths


@pytest.mark.parametrize(
    ("lengths", "budget", "message"),
    [([1], 0, "batch_tokens: got 0"), ([3, -2], 8, "lengths: got -2")],
)
def test_packing_refuses(lengths, budget, message):
    with pytest.raises(InvalidInputError, match=message):
        pack(lengths, budget)


def test_packing_a_million_texts_takes_seconds_not_hours():
    lengths = np.random.default_rng(0).integers(2, 513, 1_000_000)
    start = time.perf_counter()
    batches = pack(lengths, 8192)
    assert time.perf_counter() - start < 10
    assert len(batches) <= 1.001 * np.ceil(lengths.sum() / 8192)
