"""Weights as constants, and products with them, in each dtype.

float32: the checkpoint's own [N, K], read by Gemm as it is.
float16: the same, rounded. What is added up between products is float32; so are LayerNorm, softmax and GELU, for
    LayerNorm's 1e-12 is 0 in float16 and a softmax over it loses its small terms.
int8: rows of W in blocks of K, each with a scale of its own, as MatMulNBits reads them: W = (stored - 128) * scale.
    onnxruntime quantises x in the same blocks while it multiplies. Vectors, layers of tasks and the two small embedding
    tables stay float32; word embeddings are int8, for the decoder of the MLM head reads the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from albert_fast.errors import CheckpointError
from albert_fast.export.contents import Array, Contents
from albert_fast.export.graph import CONTRIB_DOMAIN, Graph
from albert_fast.sources.names import MLM_BIAS, WORD_EMBEDDINGS

_BLOCK: Final = 128
"""Numbers that share a scale: as in our own int8. 32 take 9% more room, a fifth more time, and 0.8 of the error."""
_SMALLEST_BLOCK: Final = 16
_LARGEST: Final = 127
_ZERO_POINT: Final = 128
_SUM_IN_INTEGERS: Final = 4
"""MatMulNBits' ``accuracy_level``: x is quantised, too; otherwise W is widened for each product."""


@dataclass(frozen=True)
class _Blocks:
    """How the matrix [n, k] lies in blocks: [n, ceil(k / block), block] levels, and a scale for each block."""

    n: int
    k: int
    block: int

    @classmethod
    def of(cls, n: int, k: int) -> _Blocks:
        """Of the usual size, or smaller where a row is shorter; blocks are powers of two."""
        return cls(n, k, min(_BLOCK, max(_SMALLEST_BLOCK, 1 << (k - 1).bit_length())))

    def quantized(self, matrix: Array) -> tuple[npt.NDArray[np.uint8], Array]:
        """Levels 1 to 255 around 128, and scales [n, blocks]. The largest number of a block is exact."""
        blocks = -(-self.k // self.block)
        padded = np.zeros((self.n, blocks * self.block), np.float32)
        padded[:, : self.k] = matrix
        cut = padded.reshape(self.n, blocks, self.block)
        scales = np.abs(cut).max(axis=-1) / np.float32(_LARGEST)
        steps = np.where(scales > 0, scales, np.float32(1))[..., None]
        levels = np.clip(np.rint(cut / steps), -_LARGEST, _LARGEST) + _ZERO_POINT
        return levels.astype(np.uint8), scales.astype(np.float32)


class Weights:
    """Constants of a graph that come from a checkpoint, each stored when it is first asked for.

    What ``layer`` and ``decoder`` return is float16 in that dtype and float32 in the others; ``wide`` makes it float32.
    All else is float32.
    """

    def __init__(self, graph: Graph, contents: Contents, dtype: str) -> None:
        self.graph, self.contents, self.dtype = graph, contents, dtype
        self._blocks: dict[str, _Blocks] = {}

    def vector(self, name: str) -> str:
        """A vector or small table, in float32."""
        return name if self.graph.has(name) else self.graph.constant(name, self.contents.tensor(name))

    def layer(self, x: str, name: str, at: str, *, parts: tuple[str, ...] = ()) -> str:
        """x W^T + b: [T, K] -> [T, N], of the layer ``name``; with ``parts``, of several below it, side by side."""
        names = tuple(f"{name}.{part}" for part in parts) or (name,)
        stored = f"{name}.{'_'.join(parts)}" if parts else name
        weight = self._matrix(f"{stored}.weight", tuple(f"{n}.weight" for n in names))
        return self._product(x, weight, self._bias(f"{stored}.bias", tuple(f"{n}.bias" for n in names)), at)

    def decoder(self, x: str, at: str) -> str:
        """x E^T + b, E the word embeddings: [T, E] -> [T, V]."""
        return self._product(x, self._matrix(WORD_EMBEDDINGS), self._bias(MLM_BIAS), at)

    def head(self, x: str, weight: Array, bias: Array, at: str) -> str:
        """x W^T + b in float32: the last layer of a task."""
        names = self.graph.constant(f"{at}.weight", weight), self.graph.constant(f"{at}.bias", bias)
        return self.graph.op("Gemm", x, *names, at=at, transB=1)

    def words(self, ids: str, at: str) -> str:
        """Rows of the word embeddings: [B, S] -> [B, S, E]."""
        graph = self.graph
        found = graph.op("Gather", self._matrix(WORD_EMBEDDINGS), ids, at=at)
        if self.dtype != "int8":
            return self.wide(found, at)
        blocks = self._blocks[WORD_EMBEDDINGS]  # found is [B, S, blocks, block]
        levels = graph.op("Sub", graph.cast(found, TensorProto.FLOAT, at), graph.scalar(float(_ZERO_POINT)), at=at)
        scales = graph.op("Gather", _scales(WORD_EMBEDDINGS), ids, at=at)
        scales = graph.op("Unsqueeze", scales, graph.integers(-1), at=at)
        rows = graph.op("Reshape", graph.op("Mul", levels, scales, at=at), graph.integers(0, 0, -1), at=at)
        if blocks.k % blocks.block == 0:
            return rows
        return graph.op("Slice", rows, graph.integers(0), graph.integers(blocks.k), graph.integers(2), at=at)

    def wide(self, x: str, at: str) -> str:
        """The result of a product, in float32."""
        return self.graph.cast(x, TensorProto.FLOAT, at) if self.dtype == "float16" else x

    def narrow(self, x: str, at: str) -> str:
        """As products take it."""
        return self.graph.cast(x, TensorProto.FLOAT16, at) if self.dtype == "float16" else x

    def _product(self, x: str, weight: str, bias: str, at: str) -> str:
        if self.dtype != "int8":
            return self.graph.op("Gemm", self.narrow(x, at), weight, bias, at=at, transB=1)
        blocks = self._blocks[weight]
        return self.graph.op(
            "MatMulNBits",
            *(x, weight, _scales(weight), "", "", bias),
            at=at,
            domain=CONTRIB_DOMAIN,
            K=blocks.k,
            N=blocks.n,
            bits=8,
            block_size=blocks.block,
            accuracy_level=_SUM_IN_INTEGERS,
        )

    def _matrix(self, name: str, rows: tuple[str, ...] = ()) -> str:
        """The constant ``name``, of the tensors ``rows`` below each other, or of the one of its name."""
        if not self.graph.has(name):
            matrix = np.concatenate([self.contents.tensor(row) for row in rows or (name,)])
            if self.dtype == "int8":
                blocks = self._blocks[name] = _Blocks.of(*matrix.shape)
                levels, scales = blocks.quantized(matrix)
                self.graph.constant(name, levels)
                self.graph.constant(_scales(name), scales)
            else:
                self.graph.constant(name, self._rounded(name, matrix))
        return name

    def _bias(self, name: str, rows: tuple[str, ...] = ()) -> str:
        if not self.graph.has(name):
            bias = np.concatenate([self.contents.tensor(row) for row in rows or (name,)])
            self.graph.constant(name, self._rounded(name, bias))
        return name

    def _rounded(self, name: str, values: Array) -> npt.NDArray[Any]:
        if self.dtype != "float16":
            return values
        with np.errstate(over="ignore"):  # becomes infinite, which is refused
            rounded = values.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise CheckpointError(
                f"model {self.contents.source.name}: {name} has {np.abs(values).max():.3g}, which float16 cannot hold;"
                f" expected at most {np.finfo(np.float16).max}"
            )
        return rounded


def _scales(name: str) -> str:
    return f"{name}.scales"
