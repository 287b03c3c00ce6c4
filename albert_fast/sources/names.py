"""Tensor names: how those found in the wild map to the ones of the weight layout."""

from __future__ import annotations

from typing import Final

NAMESPACES: Final = ("albert.", "predictions.", "sop_classifier.")
"""A tensor under one of these belongs to the model itself; any other belongs to a task head we do not run."""

WORD_EMBEDDINGS: Final = "albert.embeddings.word_embeddings.weight"
MLM_HEAD: Final = "predictions."
MLM_BIAS: Final = "predictions.bias"
DECODER_WEIGHT: Final = "predictions.decoder.weight"
DECODER_BIAS: Final = "predictions.decoder.bias"
TIED: Final = {DECODER_WEIGHT: WORD_EMBEDDINGS, DECODER_BIAS: MLM_BIAS}
"""Second names of one tensor; older files store both."""
MLM_BIASES: Final = ("decoder", "predictions", "sum")
"""Which bias the MLM head adds where a file holds two: the decoder's, as transformers 5 does; ``predictions.bias``, as
google-research/albert does; or both, as transformers 2 did."""

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
