"""What each op computes, in the widest floating-point type NumPy has: the yardstick for float32 and float64 kernels.

Written with loops over sequences and heads and nothing clever; shapes as in csrc/kernels/ops.h.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from cases import Arrays, AttentionCase, LinearCase

Wide = np.ndarray[Any, np.dtype[np.longdouble]]

_erf = np.frompyfunc(lambda x: mpmath.erf(mpmath.mpf(x)), 1, 1)


def wide(array: np.ndarray[Any, Any]) -> Wide:
    """The array in the widest type; every float32 and float64 is exact in it."""
    return array.astype(np.longdouble)


def gelu_new(x: Wide) -> Wide:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    half, cubic = np.longdouble("0.5"), np.longdouble("0.044715")
    scale = np.sqrt(np.longdouble(2) / (4 * np.arctan(np.longdouble(1))))
    return half * x * (1 + np.tanh(scale * (x + cubic * x**3)))


def gelu(x: Wide) -> Wide:
    """0.5 x (1 + erf(x / sqrt(2))), with enough digits that 1 + erf does not cancel."""
    with mpmath.workdps(40):
        # A longdouble as an exact sum of two doubles, which is what mpmath takes.
        high = x.astype(np.float64)
        z = (high.astype(object) + mpmath.mpf(0) + (x - high).astype(np.float64).astype(object)) / mpmath.sqrt(2)
        values = (1 + _erf(z)) * z / mpmath.sqrt(2)
        return np.array([mpmath.nstr(v, 25) for v in values.ravel()], np.longdouble).reshape(x.shape)


ACTIVATIONS = {"none": lambda x: x, "gelu_new": gelu_new, "gelu": gelu, "tanh": np.tanh}


def linear(case: LinearCase, arrays: Arrays) -> Wide:
    """activation(x W^T + bias) + residual."""
    y = wide(arrays["x"]) @ wide(arrays["weight"]).T
    if case.bias:
        y = y + wide(arrays["bias"])
    y = ACTIVATIONS[case.activation](y)
    return y + wide(arrays["residual"]) if case.residual else y


def attention(case: AttentionCase, arrays: Arrays) -> Wide:
    """softmax(q k^T / sqrt(D)) v for each sequence and head."""
    d, hidden = case.head_dim, case.num_heads * case.head_dim
    qkv = wide(arrays["qkv"])
    out = np.zeros((len(qkv), hidden), np.longdouble)
    for begin, length in zip(case.cu_seqlens, case.lengths, strict=False):
        rows = qkv[begin : begin + length]
        for head in range(0, hidden if length else 0, d):
            q, k, v = (rows[:, part + head : part + head + d] for part in (0, hidden, 2 * hidden))
            scores = q @ k.T / np.sqrt(np.longdouble(d))
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[begin : begin + length, head : head + d] = p @ v / p.sum(axis=1, keepdims=True)
    return out


def layer_norm(arrays: Arrays, eps: float) -> Wide:
    """(x - mean) / sqrt(var + eps) * gamma + beta."""
    x = wide(arrays["x"])
    centered = x - x.mean(axis=1, keepdims=True)
    variance = (centered**2).mean(axis=1, keepdims=True)
    return centered / np.sqrt(variance + np.longdouble(eps)) * wide(arrays["gamma"]) + wide(arrays["beta"])


def pool(arrays: Arrays, cu_seqlens: np.ndarray[Any, Any], pooling: str) -> Wide:
    """Mean or first row of each sequence, scaled to length 1; zeros for an empty one."""
    x = wide(arrays["x"])
    rows = np.zeros((len(cu_seqlens) - 1, x.shape[1]), np.longdouble)
    for i, (begin, end) in enumerate(zip(cu_seqlens[:-1], cu_seqlens[1:], strict=True)):
        if begin < end:
            rows[i] = x[begin:end].mean(axis=0) if pooling == "mean" else x[begin]
    norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.maximum(norms, np.longdouble("1e-12"))
