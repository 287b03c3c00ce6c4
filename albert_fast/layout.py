"""The weight layout of a configuration, as the C++ engine computes it: the one description of names and shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from albert_fast import _core
from albert_fast.config import AlbertConfig

Shape = tuple[int, ...]
HEAD_PREFIXES = ("albert.pooler.", "predictions.", "sop_classifier.")
"""Namespaces of the fields of ``Heads``."""


class Heads(NamedTuple):
    """Which parts beside the encoder a checkpoint holds; fields are named as in ``_core.WeightLayout``."""

    pooler: bool
    mlm_head: bool
    sop_head: bool

    @classmethod
    def of(cls, names: Iterable[str]) -> Heads:
        """The heads of which at least one tensor is among ``names``."""
        every = tuple(names)
        return cls(*(any(name.startswith(prefix) for name in every) for prefix in HEAD_PREFIXES))


def weight_layout(
    config: AlbertConfig, heads: Heads, dtype: str = "float32", device: str = "cpu"
) -> _core.WeightLayout:
    """The table of one weight buffer. Raises ``ConfigError`` for a configuration that the engine cannot run."""
    numbers = _core.ModelConfig(
        vocab_size=config.vocab_size,
        embedding_size=config.embedding_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_hidden_groups=config.num_hidden_groups,
        inner_group_num=config.inner_group_num,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        type_vocab_size=config.type_vocab_size,
        hidden_act=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
        has_embedding_mapping=config.has_embedding_mapping,
    )
    form = "plain" if device == "cuda" else "packed"
    return _core.WeightLayout(numbers, form=form, dtype=dtype, **heads._asdict())


def expected_shapes(config: AlbertConfig, heads: Heads) -> dict[str, Shape]:
    """Canonical name and shape of every tensor of a model with these heads."""
    return {tensor.name: tensor.shape for tensor in weight_layout(config, heads).tensors}
