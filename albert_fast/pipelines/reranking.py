"""Texts in the order in which a cross-encoder thinks they answer a query."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from albert_fast.encoding import resolve_model
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.pipelines.base import Array, as_top_k
from albert_fast.pipelines.classification import TextClassificationPipeline
from albert_fast.pipelines.heads import settings_of, sigmoid

_ACTIVATIONS: Final[dict[str, Callable[[Array], Array]]] = {"Sigmoid": sigmoid, "Identity": lambda logits: logits}

_log = logging.getLogger("albert_fast")


def rerank(
    query: str,
    texts: Iterable[str],
    model: Any,
    *,
    top_k: int | None = None,
    return_documents: bool = False,
    max_length: int | None = None,
    batch_tokens: int = 4096,
    num_threads: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Score each text beside the query, the best first, as ``CrossEncoder.rank`` of sentence-transformers does.

    Args:
        query: what is asked.
        texts: what may answer it.
        model: a cross-encoder, as ``load`` takes it, or a loaded model: a sequence classifier with one label.
        top_k: how many of the best to return, all by default.
        return_documents: with the text of each.
        max_length: tokens kept of a pair, at most; the longer of the two loses its tail.
        batch_tokens, num_threads: as in ``pipeline``.
        device, dtype: as in ``load``.

    Returns:
        ``{"corpus_id", "score"}`` and perhaps ``"text"`` for each; ``corpus_id`` counts ``texts`` from 0, equal scores
        are in their order. Scores are between 0 and 1 (a sigmoid), or what the configuration's ``activation_fn``
        says.

    Raises:
        InvalidTypeError, InvalidInputError: an argument cannot be used, or the model has several labels;
            and what ``load`` and ``pipeline`` raise.
    """
    if not isinstance(query, str):
        raise InvalidTypeError(f"query: got {type(query).__name__}, expected a string")
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InvalidTypeError(f"texts: got {type(texts).__name__}, expected an iterable of strings")
    documents = list(texts)
    for i, text in enumerate(documents):
        if not isinstance(text, str):
            raise InvalidTypeError(f"texts[{i}]: got {type(text).__name__}, expected a string")
    kept = len(documents) if top_k is None else as_top_k(top_k)
    loaded = resolve_model(model, device, dtype)
    scorer = TextClassificationPipeline(loaded, batch_tokens=batch_tokens, num_threads=num_threads)
    if len(scorer.head.bias) != 1:
        raise InvalidInputError(
            f"model: {loaded.name} has {len(scorer.head.bias)} labels, expected a cross-encoder with one"
        )
    if not documents:
        return []
    logits = scorer.logits([(query, text) for text in documents], True, max_length)[:, 0]
    scores = _ACTIVATIONS[_activation(settings_of(loaded), loaded.name)](logits)
    return [
        {"corpus_id": int(i), "score": float(scores[i]), **({"text": documents[i]} if return_documents else {})}
        for i in _best_first(scores)[:kept]
    ]


def _best_first(scores: Array) -> Array:
    return np.argsort(-scores, kind="stable")


def _activation(settings: Mapping[str, Any], name: str) -> str:
    """What a configuration says is done with the logit, under its name of today or of before version 4."""
    inside = settings.get("sentence_transformers")
    stored = inside.get("activation_fn") if isinstance(inside, Mapping) else None
    stored = stored or settings.get("sbert_ce_default_activation_function") or "Sigmoid"
    activation = str(stored).rpartition(".")[2]
    if activation in _ACTIVATIONS:
        return activation
    _log.warning("%s: activation_fn is %s, which is not known; a sigmoid is used", name, stored)
    return "Sigmoid"
