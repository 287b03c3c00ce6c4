"""ALBERT in plain PyTorch: what the fast kernels must compute, written as the papers do, in any precision.

Lan et al. 2019, arXiv:1909.11942 (the model); Vaswani et al. 2017, arXiv:1706.03762 (the layer, post-LN);
names and conventions are those of the checkpoints. Meant to be read, and to be run in float64; nothing here
is fast.

Letters in the shape comments: B sequences, S tokens, E embedding width, H hidden width, N heads of D = H / N,
I intermediate width, V vocabulary, L iterations.

Three things are defined here that other implementations leave to chance: rows of padding are zeros in every
output, a sequence that is all padding gives zeros, and the pooler reads a sequence's first token that is not
padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.checkpoint import heads
from albert_fast.config import AlbertConfig
from albert_fast.layout import expected_shapes
from albert_fast.sources import WeightSource, row_blocks
from albert_fast.sources.names import WORD_EMBEDDINGS

_EMBEDDINGS: Final = "albert.embeddings"
_ENCODER: Final = "albert.encoder"


@dataclass(frozen=True)
class ReferenceOutput:
    """Everything the model computes on the way; a head the checkpoint lacks is None."""

    hidden_states: tuple[Tensor, ...]  # L + 1 of [B, S, H]; the first is after the E -> H mapping
    pooler_output: Tensor | None  # [B, H]
    prediction_logits: Tensor | None  # [B, S, V]
    sop_logits: Tensor | None  # [B, 2]: in order, swapped


class Reference:
    """An ALBERT model over a dictionary of tensors under their canonical names."""

    def __init__(self, config: AlbertConfig, weights: dict[str, Tensor]) -> None:
        self.config = config
        self.weights = weights

    @classmethod
    def from_source(cls, source: WeightSource, dtype: torch.dtype = torch.float64) -> Reference:
        """Copy every tensor of a source, converted to ``dtype``. Raises what ``checkpoint.heads`` raises."""
        weights = {}
        for name, shape in expected_shapes(source.config, heads(source)).items():
            weight = torch.empty(shape, dtype=dtype)
            for start, stop in row_blocks(shape):
                rows = np.array(source.rows(name, start, stop))  # a copy: torch wants memory it may write to
                weight[start:stop] = torch.from_numpy(rows).view(stop - start, *shape[1:])
            weights[name] = weight
        return cls(source.config, weights)

    @torch.no_grad()
    def __call__(
        self,
        input_ids: Tensor,  # [B, S] integers
        attention_mask: Tensor | None = None,  # [B, S], nonzero where there is a token; default: everywhere
        token_type_ids: Tensor | None = None,  # [B, S]; default: all 0
        position_ids: Tensor | None = None,  # [B, S]; default: 0, 1, .., S - 1
    ) -> ReferenceOutput:
        """Run all iterations and every head the checkpoint has."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        is_token = attention_mask != 0  # [B, S]

        x = self.embed(input_ids, token_type_ids, position_ids)  # [B, S, E]
        if self.config.has_embedding_mapping:
            x = self.linear(x, f"{_ENCODER}.embedding_hidden_mapping_in")  # [B, S, H]
        hidden_states = [x]
        for iteration in range(self.config.num_hidden_layers):
            group = f"{_ENCODER}.albert_layer_groups.{self.config.group_of(iteration)}"
            for inner in range(self.config.inner_group_num):
                x = self.layer(x, is_token, f"{group}.albert_layers.{inner}")  # [B, S, H]
            hidden_states.append(x)

        pooled = self.pool(x, is_token)  # [B, H] | None
        return ReferenceOutput(
            hidden_states=tuple(zero_unless(is_token, state) for state in hidden_states),
            pooler_output=pooled,
            prediction_logits=self.predict(x, is_token),
            sop_logits=self.classify_order(pooled, is_token),
        )

    def embed(self, input_ids: Tensor, token_type_ids: Tensor, position_ids: Tensor) -> Tensor:
        """LN(word + token type + position): [B, S] three times -> [B, S, E]."""
        word = self.weights[WORD_EMBEDDINGS][input_ids]  # [B, S, E]
        token_type = self.weights[f"{_EMBEDDINGS}.token_type_embeddings.weight"][token_type_ids]
        position = self.weights[f"{_EMBEDDINGS}.position_embeddings.weight"][position_ids]
        return self.layer_norm(word + token_type + position, f"{_EMBEDDINGS}.LayerNorm")

    def layer(self, x: Tensor, is_token: Tensor, name: str) -> Tensor:
        """One layer, post-LN: a = LN(x + attention(x)), y = LN(a + W2 gelu(W1 a)): [B, S, H] -> [B, S, H]."""
        attended = self.attend(x, is_token, f"{name}.attention")  # [B, S, H]
        a = self.layer_norm(x + attended, f"{name}.attention.LayerNorm")  # [B, S, H]
        inner = self.activation(self.linear(a, f"{name}.ffn"))  # [B, S, I]
        return self.layer_norm(a + self.linear(inner, f"{name}.ffn_output"), f"{name}.full_layer_layer_norm")

    def attend(self, x: Tensor, is_token: Tensor, name: str) -> Tensor:
        """dense(softmax(q k^T / sqrt(D)) v), keys restricted to tokens: [B, S, H] -> [B, S, H]."""
        batch, length, _ = x.shape
        heads_first = (batch, length, self.config.num_attention_heads, self.config.head_dim)
        q, k, v = (
            self.linear(x, f"{name}.{projection}").view(heads_first).transpose(1, 2)  # [B, N, S, D]
            for projection in ("query", "key", "value")
        )
        scores = q @ k.transpose(-1, -2) / self.config.head_dim**0.5  # [B, N, S, S]
        scores = scores.masked_fill(~is_token[:, None, None, :], -torch.inf)
        weights = zero_unless(is_token.any(dim=1), scores.softmax(dim=-1))  # without a key: 0 / 0, taken as 0
        mixed = (weights @ v).transpose(1, 2).reshape(batch, length, -1)  # [B, S, H]
        return self.linear(mixed, f"{name}.dense")

    def pool(self, x: Tensor, is_token: Tensor) -> Tensor | None:
        """tanh(W x[first token]): [B, S, H] -> [B, H]; None without a pooler."""
        if "albert.pooler.weight" not in self.weights:
            return None
        first = is_token.int().argmax(dim=1)  # [B]
        rows = x[torch.arange(len(x)), first]  # [B, H]
        return zero_unless(is_token.any(dim=1), self.linear(rows, "albert.pooler").tanh())

    def predict(self, x: Tensor, is_token: Tensor) -> Tensor | None:
        """The MLM head, decoder tied to the word embeddings: [B, S, H] -> [B, S, V]; None without one."""
        if "predictions.bias" not in self.weights:
            return None
        inner = self.activation(self.linear(x, "predictions.dense"))  # [B, S, E]
        inner = self.layer_norm(inner, "predictions.LayerNorm")  # [B, S, E]
        logits = F.linear(inner, self.weights[WORD_EMBEDDINGS], self.weights["predictions.bias"])  # [B, S, V]
        return zero_unless(is_token, logits)

    def classify_order(self, pooled: Tensor | None, is_token: Tensor) -> Tensor | None:
        """The sentence-order head: [B, H] -> [B, 2]; None without one."""
        if pooled is None or "sop_classifier.classifier.weight" not in self.weights:
            return None
        return zero_unless(is_token.any(dim=1), self.linear(pooled, "sop_classifier.classifier"))

    def linear(self, x: Tensor, name: str) -> Tensor:
        """x W^T + b: [.., K] -> [.., N]."""
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        """(x - mean) / sqrt(variance + eps) * gamma + beta over the last axis."""
        gamma, beta = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), gamma, beta, self.config.layer_norm_eps)

    def activation(self, x: Tensor) -> Tensor:
        """GELU, Hendrycks & Gimpel 2016, arXiv:1606.08415: exact (``gelu``) or in its tanh form."""
        return F.gelu(x, approximate="none" if self.config.hidden_act == "gelu" else "tanh")


class Int8Reference(Reference):
    """The same with x and W of every ``linear`` rounded to 8 bits, a scale for each token and for each row of W, as
    in ZeroQuant (Yao et al. 2022, arXiv:2206.01861, section 4.1): the yardstick for int8."""

    def linear(self, x: Tensor, name: str) -> Tensor:
        """Round(x) round(W)^T + b: [.., K] -> [.., N]."""
        return F.linear(round_rows(x), round_rows(self.weights[f"{name}.weight"]), self.weights[f"{name}.bias"])


def round_rows(x: Tensor) -> Tensor:
    """Each row of the last axis as multiples of its largest magnitude / 127."""
    step = x.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) / 127
    return torch.round(x / step) * step


def zero_unless(keep: Tensor, x: Tensor) -> Tensor:
    """X where ``keep``, else 0; ``keep`` covers the leading axes of ``x``."""
    return torch.where(keep.view(*keep.shape, *[1] * (x.ndim - keep.ndim)), x, 0)
