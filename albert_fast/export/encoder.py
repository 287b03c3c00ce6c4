"""Embeddings and iterations as nodes: every iteration has nodes of its own, and all of them read the same constants.

Nodes that are written out can be fused and placed one by one by a runtime, as those of a Loop cannot everywhere; they
are some hundred bytes each. Tokens lie in rows [T, H], T = B S, for products; attention alone sees [B, N, S, D].
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from onnx import TensorProto

from albert_fast.config import AlbertConfig
from albert_fast.export.graph import Graph
from albert_fast.export.weights import Weights

_EMBEDDINGS: Final = "albert.embeddings"
_ENCODER: Final = "albert.encoder"
_MASKED: Final = float(np.finfo(np.float32).min)
"""Added to the scores of keys that are no tokens. Not infinite: a row without a token would have a softmax of NaN."""


class Encoder:
    """ALBERT over the inputs ``ids``, ``mask`` and ``types``, all [B, S]."""

    def __init__(self, graph: Graph, weights: Weights, config: AlbertConfig, ids: str, mask: str, types: str) -> None:
        self.graph, self.weights, self.config = graph, weights, config
        self.ids, self.types = ids, types
        place = "inputs"
        self.shape = graph.op("Shape", ids, at=place)  # [B, S]
        self.is_token = graph.cast(mask, TensorProto.BOOL, place)  # [B, S]
        bias = graph.op("Where", self.is_token, graph.scalar(0.0), graph.scalar(_MASKED), at=place)
        self._score_bias = graph.op("Unsqueeze", bias, graph.integers(1, 2), at=place)  # [B, 1, 1, S]
        heads = graph.integers(3, config.num_attention_heads, config.head_dim)
        self._split_shape = graph.op("Concat", self.shape, heads, at=place, axis=0)  # [B, S, 3, N, D]

    def hidden_states(self) -> str:
        """After the last iteration: [T, H]; rows of padding hold anything finite."""
        x = self.embed()
        if self.config.has_embedding_mapping:
            mapped = self.weights.layer(x, f"{_ENCODER}.embedding_hidden_mapping_in", "mapping")
            x = self.weights.wide(mapped, "mapping")
        for iteration in range(self.config.num_hidden_layers):
            group = f"{_ENCODER}.albert_layer_groups.{self.config.group_of(iteration)}"
            for inner in range(self.config.inner_group_num):
                at = f"iteration_{iteration}" + (f"/layer_{inner}" if self.config.inner_group_num > 1 else "")
                x = self.layer(x, f"{group}.albert_layers.{inner}", at)
        return x

    def embed(self) -> str:
        """LN(word + token type + position): [T, E]."""
        graph, place = self.graph, "embeddings"
        words = self.weights.words(self.ids, f"{place}/word")  # [B, S, E]
        types = self.weights.vector(f"{_EMBEDDINGS}.token_type_embeddings.weight")
        types = graph.op("Gather", types, self.types, at=f"{place}/token_type")
        length = graph.op("Shape", self.ids, at=f"{place}/position", start=1)
        positions = self.weights.vector(f"{_EMBEDDINGS}.position_embeddings.weight")
        positions = graph.op("Slice", positions, graph.integers(0), length, graph.integers(0), at=f"{place}/position")
        total = graph.op("Add", graph.op("Add", words, types, at=place), positions, at=f"{place}/position")
        rows = graph.op("Reshape", total, graph.integers(-1, self.config.embedding_size), at=place)
        return self.layer_norm(rows, f"{_EMBEDDINGS}.LayerNorm", place)

    def layer(self, x: str, name: str, at: str) -> str:
        """One layer, post-LN: a = LN(x + attention(x)), y = LN(a + W2 gelu(W1 a)): [T, H] -> [T, H]."""
        graph, weights = self.graph, self.weights
        attended = weights.wide(self.attend(x, f"{name}.attention", f"{at}/attention"), f"{at}/attention")
        total = graph.op("Add", x, attended, at=f"{at}/attention")
        a = self.layer_norm(total, f"{name}.attention.LayerNorm", f"{at}/attention")
        inner = self.activation(weights.wide(weights.layer(a, f"{name}.ffn", f"{at}/ffn"), f"{at}/ffn"), f"{at}/ffn")
        out = weights.wide(weights.layer(inner, f"{name}.ffn_output", f"{at}/ffn_output"), f"{at}/ffn_output")
        total = graph.op("Add", a, out, at=at)
        return self.layer_norm(total, f"{name}.full_layer_layer_norm", at)

    def attend(self, x: str, name: str, at: str) -> str:
        """dense(softmax(q k^T / sqrt(D)) v), keys restricted to tokens: [T, H] -> [T, H]."""
        graph, weights = self.graph, self.weights
        qkv = weights.layer(x, name, f"{at}/qkv", parts=("query", "key", "value"))  # [T, 3 H]
        qkv = graph.op("Reshape", qkv, self._split_shape, at=f"{at}/qkv")
        qkv = graph.op("Transpose", qkv, at=f"{at}/qkv", perm=[2, 0, 3, 1, 4])  # [3, B, N, S, D]
        indices = [graph.constant(f"index/{i}", np.array(i, np.int64)) for i in range(3)]
        q, k, v = (graph.op("Gather", qkv, index, at=f"{at}/qkv", axis=0) for index in indices)
        scale = graph.scalar(
            1 / math.sqrt(self.config.head_dim), np.float16 if weights.dtype == "float16" else np.float32
        )
        q = graph.op("Mul", q, scale, at=at)
        keys = graph.op("Transpose", k, at=at, perm=[0, 1, 3, 2])
        scores = weights.wide(graph.op("MatMul", q, keys, at=f"{at}/scores"), f"{at}/scores")  # [B, N, S, S]
        scores = graph.op("Add", scores, self._score_bias, at=f"{at}/scores")
        shares = weights.narrow(graph.op("Softmax", scores, at=at, axis=-1), at)
        mixed = graph.op("Transpose", graph.op("MatMul", shares, v, at=f"{at}/mix"), at=f"{at}/mix", perm=[0, 2, 1, 3])
        rows = graph.op("Reshape", mixed, graph.integers(-1, self.config.hidden_size), at=f"{at}/mix")
        return weights.layer(rows, f"{name}.dense", f"{at}/dense")

    def layer_norm(self, x: str, name: str, at: str) -> str:
        """(x - mean) / sqrt(variance + eps) * gamma + beta over the last axis."""
        parameters = (self.weights.vector(f"{name}.weight"), self.weights.vector(f"{name}.bias"))
        return self.graph.op("LayerNormalization", x, *parameters, at=at, epsilon=self.config.layer_norm_eps)

    def activation(self, x: str, at: str) -> str:
        """GELU, exact or in its tanh form; written out below opset 20, in the way that onnxruntime fuses."""
        graph, is_exact = self.graph, self.config.hidden_act == "gelu"
        if graph.opset >= 20:
            return graph.op("Gelu", x, at=at, approximate="none" if is_exact else "tanh")
        one = graph.scalar(1.0)
        if is_exact:
            erf = graph.op("Erf", graph.op("Div", x, graph.scalar(math.sqrt(2)), at=at), at=at)
            product = graph.op("Mul", x, graph.op("Add", erf, one, at=at), at=at)
            return graph.op("Mul", product, graph.scalar(0.5), at=at)
        cube = graph.op("Mul", graph.op("Pow", x, graph.scalar(3.0), at=at), graph.scalar(0.044715), at=at)
        inner = graph.op("Mul", graph.op("Add", x, cube, at=at), graph.scalar(math.sqrt(2 / math.pi)), at=at)
        tanh = graph.op("Add", graph.op("Tanh", inner, at=at), one, at=at)
        return graph.op("Mul", graph.op("Mul", x, graph.scalar(0.5), at=at), tanh, at=at)
