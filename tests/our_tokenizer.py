"""Our tokenizer as transformers' pipelines know tokenizers, so that both sides are given the same input ids."""

from __future__ import annotations

from typing import Any

from transformers import BatchEncoding

from albert_fast.tokenizer import AlbertTokenizer


class OurTokenizer:
    """What a pipeline asks of a tokenizer; everything else is ``AlbertTokenizer``'s."""

    is_fast = True
    padding_side = "right"
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(self, folder: str) -> None:
        self._ours = AlbertTokenizer.from_pretrained(folder, model_max_length=128)

    def __call__(self, text: Any, text_pair: Any = None, *, truncation: Any = None, **options: Any) -> BatchEncoding:
        if isinstance(text, list) and not options.get("is_split_into_words"):
            text = [tuple(item) if isinstance(item, list) else item for item in text]
        strategy = getattr(truncation, "value", truncation)
        single_without_tensors = "return_tensors" not in options
        encoded = self._ours(text, text_pair, truncation=strategy, **options)
        if single_without_tensors:
            return encoded
        theirs = BatchEncoding(dict(encoded), prepend_batch_axis=False)
        theirs.word_ids = encoded.word_ids  # a fast tokenizer's has them from the tokenizers library
        return theirs

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """As SentencePiece joins pieces."""
        return "".join(tokens).replace("▁", " ").strip()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ours, name)
