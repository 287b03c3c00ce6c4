"""``random:NAME``: the right shapes, good values, and the same ones however they are asked for."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from checkpoints import SMALL, read_all
from hypothesis import given, settings
from hypothesis import strategies as st

from albert_fast.checkpoint import heads
from albert_fast.config import PRESETS, AlbertConfig
from albert_fast.errors import ConfigError
from albert_fast.layout import Heads, expected_shapes
from albert_fast.sources import open_source, row_blocks
from albert_fast.sources.random_weights import RandomTensor, random_source


def test_shapes_heads_and_what_it_says_of_itself():
    with open_source("random:tiny") as source:
        assert source.name == "random:tiny"
        assert source.is_random
        assert source.folder is None
        assert heads(source) == (True, True, True)
        assert source.config == AlbertConfig.preset("tiny")


@pytest.mark.parametrize("name", ["random:", "random:albert", "random:random:tiny"])
def test_unknown_names(name):
    with pytest.raises(ConfigError, match=r"preset: got .*, expected one of"):
        open_source(name)


@pytest.mark.parametrize(
    ("preset", "model", "with_heads"),
    [
        ("albert-base-v2", 11_683_584, 11_813_810),
        ("albert-xxlarge-v2", 222_595_584, 223_158_450),
    ],
)
def test_parameter_counts(preset, model, with_heads):
    config = PRESETS[preset]
    shapes = expected_shapes(config, Heads(True, False, False))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == model
    shapes = expected_shapes(config, Heads(True, True, True))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == with_heads


def test_values():
    first, second = read_all(random_source("a", SMALL)), read_all(random_source("b", SMALL))
    seen = set()
    for name, array in first.items():
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, second[name])
        assert array.tobytes() not in seen  # no two tensors alike
        seen.add(array.tobytes())
    for name in ("albert.pooler.weight", "albert.embeddings.word_embeddings.weight"):
        assert abs(first[name].mean()) < 0.002
        assert abs(first[name].std() - 0.02) < 0.002
    gammas = [a for n, a in first.items() if n.endswith(("LayerNorm.weight", "layer_norm.weight"))]
    assert len(gammas) == 1 + 2 * 4 + 1
    assert all(abs(gamma.mean() - 1) < 0.02 and gamma.std() > 0.005 for gamma in gammas)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([(300, 1000), (70_000,), (5, 70_000), (130, 513)]))
def test_values_do_not_depend_on_how_they_are_cut(data, shape):
    tensor = RandomTensor("albert.some.weight", shape)
    whole = tensor.rows(0, shape[0])
    start = data.draw(st.integers(0, shape[0]))
    stop = data.draw(st.integers(start, shape[0]))
    np.testing.assert_array_equal(tensor.rows(start, stop), whole[start:stop])


def test_rows_of_a_large_tensor_cost_little_memory():
    config = dataclasses.replace(SMALL, hidden_size=4096, intermediate_size=16384)
    source = random_source("large", config)
    name = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"  # 256 MiB
    tracemalloc.start()
    try:
        for block in row_blocks(source.shape(name))[:3]:
            source.rows(name, *block)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
