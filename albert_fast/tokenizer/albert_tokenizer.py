"""AlbertTokenizer: texts and pairs to model inputs, ids back to text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from albert_fast.arguments import check_threads
from albert_fast.errors import InvalidInputError, InvalidTypeError, OutputError
from albert_fast.tokenizer.arguments import (
    Pair,
    Partner,
    Text,
    WordPair,
    Words,
    as_choice,
    as_integer,
    as_list,
    as_padding,
    as_pair,
    as_pairs,
    as_split_pairs,
    as_strategy,
    as_words,
    check_text,
)
from albert_fast.tokenizer.assembly import Frame, Tokens, pad, stack
from albert_fast.tokenizer.backend import Backend
from albert_fast.tokenizer.encoding import BatchEncoding, as_arrays
from albert_fast.tokenizer.pretrained import find_backend
from albert_fast.tokenizer.settings import CONFIG_FILE
from albert_fast.tokenizer.truncation import Kept, Strategy, kept_lengths, windows

# The position table of every published ALBERT.
DEFAULT_MAX_LENGTH = 512


class AlbertTokenizer:
    """The tokenizer of a model, whichever kind it is: ALBERT's own SentencePiece one, with the ids the published models
    were trained with, BertTokenizer's WordPiece, or what a ``tokenizer.json`` defines.

    Immutable after construction: threads may share one, and it pickles. ``backend`` is what ``from_pretrained`` finds.
    """

    def __init__(self, backend: Backend, *, model_max_length: int = DEFAULT_MAX_LENGTH) -> None:
        self.model_max_length = as_integer(model_max_length, "model_max_length", 1)
        self.backend = backend
        self._tokens = backend.tokens()
        special = backend.special
        self.pad_token, self.unk_token = special["pad"], special["unk"]
        self.cls_token, self.sep_token, self.mask_token = special["cls"], special["sep"], special["mask"]
        self.pad_token_id, self.unk_token_id = self._id(self.pad_token), self._id(self.unk_token)
        self.cls_token_id, self.sep_token_id = self._id(self.cls_token), self._id(self.sep_token)
        self.mask_token_id = self._id(self.mask_token)
        self.all_special_ids = list(backend.all_special_ids)

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        model_max_length: int | None = None,
        **options: Any,
    ) -> AlbertTokenizer:
        """Load a tokenizer from a folder, a ``spiece.model``, ``tokenizer.json`` or ``vocab.txt``, a Hugging Face id,
        or ``random:...`` (our own vocabulary). A folder's ``spiece.model`` comes before the other two, in that order.

        ``do_lower_case``, ``keep_accents``, ``remove_space`` (SentencePiece), ``tokenize_chinese_chars``,
        ``strip_accents``, ``do_basic_tokenize`` (WordPiece) and ``model_max_length`` are taken from a
        tokenizer_config.json beside the vocabulary, unless given here, and so are added and special tokens, also of
        special_tokens_map.json and added_tokens.json. Raises ModelNotFoundError, CheckpointError (damaged files),
        ConfigError (a tokenizer whose rules are elsewhere) or InvalidTypeError (an unknown option).
        """
        hub: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "local_files_only": local_files_only}
        backend, stored_length = find_backend(name_or_folder, options, **hub)
        length = stored_length or DEFAULT_MAX_LENGTH if model_max_length is None else model_max_length
        return cls(backend, model_max_length=length)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> tuple[str, ...]:
        """Write the vocabulary and tokenizer_config.json into ``folder`` (made if missing); return their paths."""
        config = {**self.backend.settings(), "model_max_length": self.model_max_length}
        content = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        files = {**self.backend.files(), CONFIG_FILE: content.encode()}
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
        except OSError as error:
            raise OutputError(
                f"folder: cannot save the tokenizer in {os.fspath(folder)!r} ({error.strerror})"
            ) from error
        return tuple(str(Path(folder) / name) for name in files)

    def __repr__(self) -> str:
        return f"AlbertTokenizer({self.backend.name!r}, vocab_size={self.vocab_size})"

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def vocab_size(self) -> int:
        """The number of pieces, without tokens that were added to them; ``len()`` counts those, too."""
        return self.backend.size

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        return {token: i for i, token in enumerate(self._tokens)}

    # ---- text to tokens --------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, no special ones added."""
        return self.backend.tokenize(check_text(text, "text"))

    def encode(self, text: str | Words, text_pair: str | Words | None = None, **options: Any) -> list[int]:
        """Return the ids of one text or pair; the options are those of a call."""
        if options.get("is_split_into_words"):
            text = as_words(text, "text")
        elif not isinstance(text, str):
            raise InvalidTypeError(f"text: got {type(text).__name__}, expected a string")
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def encode_ragged(
        self,
        texts: Sequence[str | tuple[str, str]],
        *,
        max_length: int,
        truncation: bool = True,
        first_index: int = 0,
        num_threads: int | None = None,
    ) -> list[tuple[list[int], list[int]]]:
        """Return ``(ids, token_type_ids)`` of each text or pair, special tokens added, at most
        ``max_length`` long.

        Texts that are too long lose their tail (of a pair, the longer text first); without ``truncation``
        they raise InvalidInputError. Messages count texts from ``first_index``, which is where this part of
        a longer list begins.
        """
        pairs = [as_pair(text, f"texts[{first_index + i}]") for i, text in enumerate(as_list(texts, "texts"))]
        frame, threads = Frame(self.cls_token_id, self.sep_token_id), check_threads(num_threads)
        limit = self._check_max_length(max_length, pairs, frame)
        least = limit if truncation else None
        ids = iter(self.backend.encode([text for pair in pairs for text in pair if text is not None], threads, least))
        rows = []
        for i, (_, partner) in enumerate(pairs):
            first, second = next(ids), None if partner is None else next(ids)
            n, m = len(first), None if second is None else len(second)
            budget = limit - frame.count(second is not None)
            if n + (m or 0) > budget:
                where = f"texts[{first_index + i}]"
                if not truncation:
                    raise InvalidInputError(
                        f"{where}: got {n + (m or 0) + limit - budget} tokens, expected at most {limit}"
                        " (max_length) as truncation is off"
                    )
                n, m = self._kept_lengths(n, m, budget, "longest_first", where)
                first, second = first[:n], None if second is None else second[:m]
            rows.append((frame.ids(first, second), frame.token_types(n, m)))
        return rows

    def __call__(
        self,
        text: Text,
        text_pair: Partner | None = None,
        *,
        is_split_into_words: bool = False,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: Literal["right", "left"] = "right",
        return_tensors: Literal["np", "pt", "tf"] | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_overflowing_tokens: bool = False,
        num_threads: int | None = None,
    ) -> BatchEncoding:
        """Encode a text, a pair, or a list of either, as model inputs.

        ``text`` with ``text_pair`` are strings or lists of the same length; a list of pairs may come in
        ``text`` alone. One text gives flat lists, a list of texts or ``return_tensors`` gives rows
        ``[rows, length]``, int64 for "np" and "pt" (torch), int32 for "tf" (TensorFlow).

        With ``is_split_into_words`` a list of words stands for each string: a word is tokenized on its own,
        offsets count its characters, and ``word_ids`` of the result tells which word a token is from.

        ``truncation``: True or "longest_first", "only_first", "only_second", False or "do_not_truncate";
        None truncates if ``max_length`` is given and ``padding`` is off. ``padding``: True or "longest",
        "max_length", False. ``max_length`` is ``model_max_length`` if not given. ``return_offsets_mapping``
        adds each token's (start, end) in its own text, (0, 0) for special tokens added here.
        ``return_overflowing_tokens`` makes a text that is too long several rows that overlap by ``stride``
        tokens, with ``overflow_to_sample_mapping`` telling whose.

        Raises InvalidTypeError, InvalidInputError, and MissingDependencyError for tensors without their library.
        """
        pairs: Sequence[Pair] | Sequence[WordPair]
        pairs, single = (as_split_pairs if is_split_into_words else as_pairs)(text, text_pair)
        pad_to = as_padding(padding)
        strategy = as_strategy(truncation, max_length, pad_to)
        side = as_choice(padding_side, "padding_side", ("right", "left"))
        kind = as_choice(return_tensors, "return_tensors", (None, "np", "pt", "tf"))
        overlap = as_integer(stride, "stride", 0) if return_overflowing_tokens else None
        frame = Frame(self.cls_token_id, self.sep_token_id, add_special_tokens)
        limit = self._check_max_length(max_length, pairs, frame)
        tokens = self._encode_pairs(pairs, check_threads(num_threads), with_spans=return_offsets_mapping)
        kept = [self._keep(i, pair, frame, limit, strategy, overlap) for i, pair in enumerate(tokens)]
        columns = stack(frame.row(*pair, part) for pair, parts in zip(tokens, kept, strict=True) for part in parts)
        if pad_to != "do_not_pad":
            longest = max(map(len, columns["input_ids"]), default=0)
            pad(columns, limit if pad_to == "max_length" else longest, self.pad_token_id, side)
        sequence_ids, word_ids = columns.pop("sequence_ids"), columns.pop("word_ids")
        wanted = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        result: dict[str, Any] = {name: rows for name, rows in columns.items() if wanted.get(name, True)}
        if return_overflowing_tokens:
            result["overflow_to_sample_mapping"] = [i for i, parts in enumerate(kept) for _ in parts]
        if kind is not None:
            result = as_arrays(result, kind)
        elif single and not return_overflowing_tokens:
            result = {name: rows[0] for name, rows in result.items()}
        return BatchEncoding(result, sequence_ids, word_ids if is_split_into_words else None)

    # ---- ids to tokens and text ------------------------------------------------------------------

    @overload
    def convert_ids_to_tokens(self, ids: int) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> str | list[str]:
        """Return the token of an id, or of each; raises InvalidInputError outside the vocabulary."""
        if isinstance(ids, Iterable):
            return [self._tokens[i] for i in self._check_ids(ids)]
        return self._tokens[self._check_ids([ids])[0]]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]  # a string is one token
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a token, or of each; the unknown id for a string that is no piece."""
        if isinstance(tokens, str):
            return self._id(check_text(tokens, "tokens"))
        return [self._id(check_text(token, f"tokens[{i}]")) for i, token in enumerate(as_list(tokens, "tokens"))]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens."""
        return self.backend.join(list(tokens))

    def decode(self, token_ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Return the text of ids (a list, an array or a tensor); special tokens are written out unless
        skipped.
        """
        ids = self._check_ids(token_ids if isinstance(token_ids, Iterable) else [token_ids])
        return self.backend.decode(ids, skip_special_tokens)

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        """Return ``decode`` of each sequence."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]

    # ---- inside ----------------------------------------------------------------------------------

    def _id(self, token: str) -> int:
        """The id of a token; of any other string that of the unknown token."""
        if (found := self.backend.token_to_id(token)) is not None:
            return found
        unknown = self.backend.token_to_id(self.backend.special["unk"])
        assert unknown is not None  # every backend has its special tokens
        return unknown

    def _encode_pairs(
        self, pairs: Sequence[Pair] | Sequence[WordPair], num_threads: int | None, with_spans: bool
    ) -> list[tuple[Tokens, Tokens | None]]:
        flat = [text for pair in pairs for text in pair if text is not None]
        strings = [string for text in flat for string in ([text] if isinstance(text, str) else text)]
        if with_spans:
            encoded = iter([self.backend.encode_with_spans(string) for string in strings])
        else:
            encoded = iter([Tokens(ids, [], []) for ids in self.backend.encode(strings, num_threads)])
        tokens = iter(
            [
                next(encoded) if isinstance(text, str) else Tokens.of_words([next(encoded) for _ in text])
                for text in flat
            ]
        )
        return [(next(tokens), None if second is None else next(tokens)) for _, second in pairs]

    def _keep(
        self,
        index: int,
        pair: tuple[Tokens, Tokens | None],
        frame: Frame,
        limit: int,
        strategy: Strategy,
        stride: int | None,
    ) -> list[Kept]:
        """What is kept of a text: one part, or several that overlap by ``stride`` tokens if that is given."""
        first, second = len(pair[0].ids), None if pair[1] is None else len(pair[1].ids)
        budget = limit - frame.count(second is not None)
        where = f"text[{index}]"
        if stride is not None:
            return list(windows(first, second, budget, strategy, stride, where))
        first, second = self._kept_lengths(first, second, budget, strategy, where)
        return [Kept(range(first), None if second is None else range(second))]

    def _kept_lengths(
        self, first: int, second: int | None, budget: int, strategy: Strategy, where: str
    ) -> tuple[int, int | None]:
        extra = self.backend.extra_to_longer
        return kept_lengths(first, second, budget, strategy, where, extra_to_longer=extra)

    def _check_max_length(
        self, max_length: int | None, pairs: Sequence[Pair] | Sequence[WordPair], frame: Frame
    ) -> int:
        if max_length is None:
            return self.model_max_length
        lowest = max(1, frame.count(any(second is not None for _, second in pairs)))
        return as_integer(max_length, "max_length", lowest, self.model_max_length)

    def _check_ids(self, ids: Iterable[int]) -> list[int]:
        values = ids.tolist() if hasattr(ids, "tolist") else ids
        return [as_integer(i, "ids", 0, len(self) - 1) for i in (values if isinstance(values, list) else list(values))]
