"""What the compiled core is given from outside: read-only memory to write to, and None for an object."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_fast import _core, load
from albert_fast.errors import AlbertFastError, InvalidInputError
from albert_fast.model import Model


@pytest.fixture(scope="module")
def tiny() -> Model:
    return load("random:tiny")


def ids(*values: int) -> Any:
    return np.array(values, np.int32)


def read_only(tmp_path: Path, *shape: int) -> Any:
    np.save(tmp_path / "z.npy", np.zeros(shape, np.float32))
    return np.load(tmp_path / "z.npy", mmap_mode="r")


def test_results_do_not_go_to_read_only_memory(tiny: Model, tmp_path: Path) -> None:
    width = tiny.config.hidden_size
    target = read_only(tmp_path, 3, width)
    with pytest.raises(InvalidInputError, match="out: got a read-only array, expected one that can be written to"):
        tiny.encode_ragged(ids(2, 5, 3), ids(0, 3), out=target)
    state = tiny.encoder.start(ids(2, 5, 3), ids(0, 3))
    with pytest.raises(InvalidInputError, match="out: got a read-only array"):
        state.hidden_states(out=target)
    assert not target.any()


def test_ops_do_not_write_to_read_only_memory() -> None:
    ops, array = _core.Ops("portable"), np.ones((2, 8), np.float32)
    frozen = array.copy()
    frozen.flags.writeable = False
    with pytest.raises(InvalidInputError, match="x: got a read-only array"):
        ops.l2_normalize(frozen)
    with pytest.raises(InvalidInputError, match="out: got a read-only array"):
        ops.layer_norm(array, array[0], array[1], 1e-12, out=frozen)
    assert (frozen == 1).all()
    ops.layer_norm(frozen, frozen[0], frozen[1], 1e-12, out=array)  # what is only read may be read-only


def test_gradients_do_not_go_to_read_only_memory() -> None:
    ops, x = _core.Ops("portable"), np.ones((3, 8), np.float32)
    gradient = np.zeros((4, 8), np.float32)
    gradient.flags.writeable = False
    with pytest.raises(InvalidInputError, match="dweight: got a read-only array"):
        ops.linear_weight_grad(np.ones((3, 4), np.float32), x, dweight=gradient)
    assert not gradient.any()


def test_none_is_no_state_and_no_weights(tiny: Model) -> None:
    state = tiny.encoder.start(ids(2, 5, 3), ids(0, 3))
    with pytest.raises(InvalidInputError, match=r"states\[1\]: got None, expected an EncoderState"):
        tiny.encoder.join([state, None])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="weights: got None, expected a WeightBuffer"):
        _core.Encoder(None)  # type: ignore[arg-type]


def test_none_for_everything_is_an_error(tiny: Model) -> None:
    """Every method of every class of the core, called with None for each argument it may have."""
    state = tiny.encoder.start(ids(2, 5, 3), ids(0, 3))
    called = 0
    for instance in (tiny.weights, tiny.weights.layout, tiny.encoder, state, _core.Ops("portable")):
        for name in (n for n in dir(instance) if not n.startswith("_")):
            method = getattr(instance, name)
            if not inspect.ismethod(method) and not inspect.isbuiltin(method):
                continue
            for count in range(1, 12):
                called += 1
                try:
                    method(*[None] * count)
                except (TypeError, AlbertFastError):
                    continue
    assert called > 100
