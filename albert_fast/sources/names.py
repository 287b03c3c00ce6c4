"""Tensor names: how those found in the wild map to the ones of the weight layout."""

from __future__ import annotations

from typing import Final

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
