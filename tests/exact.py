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


_PI = 4 * np.arctan(np.longdouble(1))


def _gelu_new_tanh(x: Wide) -> tuple[Wide, Wide]:
    """tanh(u) and u', u = sqrt(2/pi) (x + 0.044715 x^3)."""
    cubic, scale = np.longdouble("0.044715"), np.sqrt(2 / _PI)
    return np.tanh(scale * (x + cubic * x**3)), scale * (1 + 3 * cubic * x**2)


def gelu_new(x: Wide) -> Wide:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    return x * (1 + _gelu_new_tanh(x)[0]) / 2


def gelu_new_slope(x: Wide) -> Wide:
    """Its derivative."""
    tanh, slope = _gelu_new_tanh(x)
    return (1 + tanh + x * (1 - tanh**2) * slope) / 2


def _normal_cdf(x: Wide) -> Wide:
    """0.5 (1 + erf(x / sqrt(2))), with enough digits that 1 + erf does not cancel."""
    with mpmath.workdps(40):
        # A longdouble as an exact sum of two doubles, which is what mpmath takes.
        high = x.astype(np.float64)
        z = (high.astype(object) + mpmath.mpf(0) + (x - high).astype(np.float64).astype(object)) / mpmath.sqrt(2)
        values = (1 + _erf(z)) / 2
        return np.array([mpmath.nstr(v, 25) for v in values.ravel()], np.longdouble).reshape(x.shape)


def gelu(x: Wide) -> Wide:
    """0.5 x (1 + erf(x / sqrt(2)))."""
    return x * _normal_cdf(x)


def gelu_slope(x: Wide) -> Wide:
    """Its derivative."""
    return _normal_cdf(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * _PI)


ACTIVATIONS = {"none": lambda x: x, "gelu_new": gelu_new, "gelu": gelu, "tanh": np.tanh}
SLOPES = {"none": np.ones_like, "gelu_new": gelu_new_slope, "gelu": gelu_slope, "tanh": lambda x: np.cosh(x) ** -2}


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


def _normalized(x: Wide, eps: float) -> tuple[Wide, Wide]:
    """(x - mean) / sqrt(var + eps), and that root."""
    centered = x - x.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=1, keepdims=True) + np.longdouble(eps))
    return centered / deviation, deviation


def layer_norm(arrays: Arrays, eps: float) -> Wide:
    """(x - mean) / sqrt(var + eps) * gamma + beta."""
    return _normalized(wide(arrays["x"]), eps)[0] * wide(arrays["gamma"]) + wide(arrays["beta"])


def layer_norm_grad(arrays: Arrays, eps: float) -> dict[str, Wide]:
    """dx, dgamma, dbeta."""
    normalized, deviation = _normalized(wide(arrays["x"]), eps)
    dy = wide(arrays["dy"])
    g = dy * wide(arrays["gamma"])
    along_row = (g * normalized).mean(axis=1, keepdims=True)
    dx = (g - g.mean(axis=1, keepdims=True) - normalized * along_row) / deviation
    return {"dx": dx, "dgamma": (dy * normalized).sum(axis=0), "dbeta": dy.sum(axis=0)}


def cross_entropy(logits: Wide, labels: np.ndarray[Any, Any], scale: float) -> dict[str, Wide]:
    """losses = -log softmax(logits)[label], and dlogits of scale * sum(losses); zeros where a label is negative."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    totals = np.exp(shifted).sum(axis=1, keepdims=True)
    rows, counted = np.arange(len(labels)), labels >= 0
    dlogits = np.exp(shifted) / totals
    dlogits[rows, labels] -= 1
    losses = np.log(totals[:, 0]) - shifted[rows, labels]
    return {"losses": losses * counted, "dlogits": dlogits * np.longdouble(scale) * counted[:, None]}


def pool(arrays: Arrays, cu_seqlens: np.ndarray[Any, Any], pooling: str) -> Wide:
    """Mean or first row of each sequence, scaled to length 1; zeros for an empty one."""
    x = wide(arrays["x"])
    rows = np.zeros((len(cu_seqlens) - 1, x.shape[1]), np.longdouble)
    for i, (begin, end) in enumerate(zip(cu_seqlens[:-1], cu_seqlens[1:], strict=True)):
        if begin < end:
            rows[i] = x[begin:end].mean(axis=0) if pooling == "mean" else x[begin]
    norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.maximum(norms, np.longdouble("1e-12"))
