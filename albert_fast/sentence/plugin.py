"""The encoder of a ``SentenceTransformer``, on our engine.

    from sentence_transformers import SentenceTransformer, models
    from albert_fast.sentence.plugin import AlbertFastModule

    encoder = AlbertFastModule(albert_fast.load("albert-base-v2", dtype="int8"))
    embedder = SentenceTransformer(modules=[encoder, models.Pooling(encoder.get_embedding_dimension())], device="cpu")

It computes ``token_embeddings`` for the modules behind it, for inference: no gradient flows through it. torch is all
that this module needs; sentence-transformers asks for nothing but these methods.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albert_fast.arguments import check_integer
from albert_fast.errors import InvalidInputError

if TYPE_CHECKING:
    from albert_fast.model import Model
    from albert_fast.tokenizer import AlbertTokenizer


class AlbertFastModule(torch.nn.Module):
    """The first module of a ``SentenceTransformer``: texts to ``token_embeddings`` [B, S, H], zeros at padding.

    ``model`` is what ``albert_fast.load`` gives. ``max_seq_length``: tokens kept of a text; by default what the
    tokenizer says, at most the model's positions. Raises ``InvalidTypeError`` or ``InvalidInputError`` for a length
    that is none or out of range.
    """

    save_in_root = True

    def __init__(self, model: Model, *, max_seq_length: int | None = None) -> None:
        super().__init__()
        self.model = model
        positions = model.config.max_position_embeddings
        if max_seq_length is not None:
            check_integer("max_seq_length", max_seq_length, 2, positions)
        self.max_seq_length = max_seq_length or min(model.tokenizer.model_max_length, positions)

    @property
    def tokenizer(self) -> AlbertTokenizer:
        """That of the model."""
        return self.model.tokenizer

    def get_embedding_dimension(self) -> int:
        """H."""
        return self.model.config.hidden_size

    get_word_embedding_dimension = get_embedding_dimension  # its name before version 6

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Texts and pairs as padded int64 tensors [B, S]; with a prompt before each, its length in tokens, too."""
        texts = [text if isinstance(text, str) else tuple(text) for text in inputs]
        if prompt:
            texts = [prompt + text if isinstance(text, str) else (prompt + text[0], *text[1:]) for text in texts]
        rows = self.tokenizer.encode_ragged(texts, max_length=self.max_seq_length)
        length = max((len(ids) for ids, _ in rows), default=0)
        names = ("input_ids", "attention_mask", "token_type_ids")
        features: dict[str, Any] = {name: torch.zeros((len(rows), length), dtype=torch.int64) for name in names}
        for i, (ids, types) in enumerate(rows):
            for name, values in zip(names, (ids, [1] * len(ids), types), strict=True):
                features[name][i, : len(ids)] = torch.tensor(values)
        if prompt:
            features["prompt_length"] = len(self.tokenizer.encode(prompt)) - 1
        return features

    tokenize = preprocess  # its name before version 6

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds ``token_embeddings`` [B, S, H], where ``input_ids`` are and of the type of the model's results."""
        ids: Tensor = features["input_ids"]
        output = self.model.forward(ids.cpu(), features["attention_mask"].cpu(), features["token_type_ids"].cpu())
        features["token_embeddings"] = output[0].to(ids.device)
        return features

    def save(self, output_path: str | os.PathLike[str], *_: Any, **__: Any) -> None:
        """It has no weights of its own to save: raises ``InvalidInputError`` that says where they are."""
        raise InvalidInputError(
            f"output_path: got {os.fspath(output_path)!r}, but the weights are those of {self.model.name}; save that"
            " model with sentence-transformers' own Transformer, which albert_fast.encode reads"
        )
