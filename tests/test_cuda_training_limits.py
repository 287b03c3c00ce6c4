"""The ops of training on CUDA where there is nothing to do, and what they refuse."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from conftest import CudaDevice
from test_cuda_ops import DTYPES, put
from test_cuda_training_ops import check_accumulates, parameter_gradients
from test_ops import EPS

from albert_fast._core import Ops
from albert_fast.cuda import DeviceArray
from albert_fast.errors import InvalidInputError


@pytest.fixture(params=DTYPES)
def ops(request: pytest.FixtureRequest, cuda: CudaDevice) -> Ops:
    return Ops(device="cuda", dtype=request.param)


def test_no_rows(ops: Ops) -> None:
    """Gradients of parameters are then zero: overwritten, or added to what is there."""
    nothing, sums = DeviceArray((0, 64), ops.dtype), DeviceArray((0, 64), "float32")
    ops.activate(nothing, "tanh", out=nothing)
    ops.activate_grad(nothing, nothing, "tanh", dx=nothing)
    ops.apply_dropout(nothing, (0.1, 1, 2), out=nothing)
    ids, gamma = np.zeros(0, np.int32), put(np.ones(64), ops.dtype)
    table, out = put(np.ones((2, 64)), ops.dtype), put(np.ones((2, 64)), "float32")
    for run in (
        partial(ops.layer_norm_grad, nothing, gamma, EPS, nothing, dx=nothing),
        partial(ops.embed_grad, ids, ids, ids, table, table, table, gamma, EPS, nothing, dsum=sums),
    ):
        dgamma, dbeta = parameter_gradients(64)
        run(dgamma=dgamma, dbeta=dbeta)
        assert not dgamma.numpy().any()
        check_accumulates(run, dgamma, dbeta)
    ops.scatter_add(sums, ids, np.zeros(1, np.int32), ids, out=out)
    ops.scatter_add(sums, ids, np.zeros(2, np.int32), np.zeros(1, np.int32), out=out)
    np.testing.assert_array_equal(out.numpy(), 1)
    losses = DeviceArray((0,), "float32")
    ops.cross_entropy(
        DeviceArray((0, 5), "float32"), ids, scale=1, losses=losses, dlogits=DeviceArray((0, 5), ops.dtype)
    )


def test_bad_arguments(ops: Ops) -> None:
    def zeros(*shape: int, dtype: str = ops.dtype) -> DeviceArray:
        return put(np.zeros(shape), dtype)

    def norm(width: int) -> None:
        x, (dgamma, dbeta) = zeros(1, width), parameter_gradients(width)
        ops.layer_norm_grad(x, zeros(width), EPS, x, dx=zeros(1, width), dgamma=dgamma, dbeta=dbeta)

    def embed(width: int) -> None:
        ids, table, (dgamma, dbeta) = np.zeros(1, np.int32), zeros(1, width), parameter_gradients(width)
        dsum = zeros(1, width, dtype="float32")
        ops.embed_grad(ids, ids, ids, *[table] * 3, zeros(width), EPS, table, dsum=dsum, dgamma=dgamma, dbeta=dbeta)

    narrow = r"got 12 columns with row stride 12, expected multiples of 8"
    for argument, run in (
        ("x", lambda: ops.activate(zeros(3, 12), "tanh", out=zeros(3, 12))),
        ("x", lambda: ops.activate_grad(zeros(3, 12), zeros(3, 12), "tanh", dx=zeros(3, 12))),
        ("x", lambda: ops.apply_dropout(zeros(3, 12), (0.1, 0, 0), out=zeros(3, 12))),
        ("x", lambda: norm(12)),
        ("word", lambda: embed(12)),
    ):
        with pytest.raises(InvalidInputError, match=f"^{argument}: {narrow}"):
            run()
    for argument, refused in (("x", norm), ("dy", embed)):
        with pytest.raises(InvalidInputError, match=f"^{argument}: got rows of 8200, expected at most 8192"):
            refused(8200)
    with pytest.raises(InvalidInputError, match=r"^dropout: got p = 1\.0"):
        ops.apply_dropout(zeros(1, 8), (1.0, 0, 0), out=zeros(1, 8))
    logits, losses, labels = zeros(1, 3, dtype="float32"), zeros(1, dtype="float32"), np.array([3], np.int32)
    with pytest.raises(InvalidInputError, match=r"^labels: got 3 at index 0"):
        ops.cross_entropy(logits, labels, scale=1, losses=losses, dlogits=zeros(1, 3))
