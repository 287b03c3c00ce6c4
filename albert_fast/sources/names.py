"""Tensor names and shapes: what a checkpoint must hold for a configuration, and how names found in the wild
map to it."""

from __future__ import annotations

from typing import Final

from albert_fast.config import AlbertConfig

Shape = tuple[int, ...]

NAMESPACES: Final = ("albert.", "predictions.", "sop_classifier.")
"""A tensor under one of these belongs to the model itself; any other belongs to a task head we do not run."""

WORD_EMBEDDINGS: Final = "albert.embeddings.word_embeddings.weight"
TIED: Final = {
    "predictions.decoder.weight": WORD_EMBEDDINGS,
    "predictions.decoder.bias": "predictions.bias",
}
"""Second names of one tensor; older files store both."""

_INDEX_BUFFERS: Final = ("albert.embeddings.position_ids", "albert.embeddings.token_type_ids")


def canonical_name(raw: str) -> str | None:
    """The name this package uses for a stored tensor, or None for an index buffer, which carries no weights.

    Encoder, embedding and pooler names may lack the ``albert.`` prefix (bare ``AlbertModel``), and
    LayerNorm's parameters may bear their TensorFlow names ``gamma`` and ``beta``.
    """
    name = f"albert.{raw}" if raw.startswith(("embeddings.", "encoder.", "pooler.")) else raw
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.lower().endswith(("layernorm" + old, "layer_norm" + old)):
            name = name.removesuffix(old) + new
    return None if name in _INDEX_BUFFERS else name


def encoder_shapes(config: AlbertConfig) -> dict[str, Shape]:
    """Embeddings, the E -> H mapping and every layer of every group: what each ALBERT checkpoint must
    hold."""
    emb, hidden = config.embedding_size, config.hidden_size
    shapes: dict[str, Shape] = {
        WORD_EMBEDDINGS: (config.vocab_size, emb),
        "albert.embeddings.position_embeddings.weight": (config.max_position_embeddings, emb),
        "albert.embeddings.token_type_embeddings.weight": (config.type_vocab_size, emb),
        **_layer_norm("albert.embeddings.LayerNorm", emb),
        **_linear("albert.encoder.embedding_hidden_mapping_in", hidden, emb),
    }
    for group in range(config.num_hidden_groups):
        for inner in range(config.inner_group_num):
            layer = f"albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}"
            for projection in ("query", "key", "value", "dense"):
                shapes |= _linear(f"{layer}.attention.{projection}", hidden, hidden)
            shapes |= _layer_norm(f"{layer}.attention.LayerNorm", hidden)
            shapes |= _linear(f"{layer}.ffn", config.intermediate_size, hidden)
            shapes |= _linear(f"{layer}.ffn_output", hidden, config.intermediate_size)
            shapes |= _layer_norm(f"{layer}.full_layer_layer_norm", hidden)
    return shapes


def pooler_shapes(config: AlbertConfig) -> dict[str, Shape]:
    """The dense layer that the pooler applies to the first token."""
    return _linear("albert.pooler", config.hidden_size, config.hidden_size)


def mlm_head_shapes(config: AlbertConfig) -> dict[str, Shape]:
    """The masked-language-model head; its decoder is the word embedding table."""
    return {
        "predictions.bias": (config.vocab_size,),
        **_linear("predictions.dense", config.embedding_size, config.hidden_size),
        **_layer_norm("predictions.LayerNorm", config.embedding_size),
    }


def sop_head_shapes(config: AlbertConfig) -> dict[str, Shape]:
    """The sentence-order head: in order, swapped."""
    return _linear("sop_classifier.classifier", 2, config.hidden_size)


def expected_shapes(
    config: AlbertConfig, *, pooler: bool, mlm_head: bool, sop_head: bool
) -> dict[str, Shape]:
    """Canonical name and shape of every tensor of a model with the heads asked for."""
    shapes = encoder_shapes(config)
    if pooler:
        shapes |= pooler_shapes(config)
    if mlm_head:
        shapes |= mlm_head_shapes(config)
    if sop_head:
        shapes |= sop_head_shapes(config)
    return shapes


def _linear(name: str, rows: int, cols: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, cols), f"{name}.bias": (rows,)}


def _layer_norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
