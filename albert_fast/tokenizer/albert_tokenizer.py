"""AlbertTokenizer: texts and pairs to model inputs, ids back to text."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

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
    as_kind,
    as_list,
    as_multiple,
    as_padding,
    as_pair,
    as_pairs,
    as_split_pairs,
    as_strategy,
    as_words,
    check_text,
)
from albert_fast.tokenizer.assembly import Frame, Tokens, stack
from albert_fast.tokenizer.backend import Backend
from albert_fast.tokenizer.encoding import BatchEncoding, as_arrays
from albert_fast.tokenizer.padding import as_columns, pad, padded_length
from albert_fast.tokenizer.pretrained import find_backend
from albert_fast.tokenizer.settings import CONFIG_FILE, TokenizerSettings
from albert_fast.tokenizer.tokens import SPECIAL_TOKEN_NAMES, TokenInterface
from albert_fast.tokenizer.truncation import SIDES, Kept, Side, Strategy, kept_lengths, kept_range, windows

# The position table of every published ALBERT.
DEFAULT_MAX_LENGTH = 512


class AlbertTokenizer(TokenInterface):
    """The tokenizer of a model, whichever kind it is: ALBERT's own SentencePiece one, with the ids the published models
    were trained with, BertTokenizer's WordPiece, or what a ``tokenizer.json`` defines.

    ``AlbertTokenizer(path, ...)`` is ``AlbertTokenizer.from_pretrained(path, ...)``. Calls change nothing, so threads
    may share one, and it pickles. ``padding_side``, ``truncation_side`` ("right" or "left") and ``model_max_length``
    may be assigned, and tokens be added: see ``TokenInterface``.
    """

    is_fast = True
    """It has what transformers' fast tokenizers have: offsets, word ids, windows of long texts."""
    pad_token_type_id = 0

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | Backend,
        *,
        model_max_length: int | None = None,
        padding_side: Side | None = None,
        truncation_side: Side | None = None,
        **options: Any,
    ) -> None:
        tokens = {name: options.pop(name) for name in list(options) if name in SPECIAL_TOKEN_NAMES}
        settings = TokenizerSettings()
        if isinstance(vocab_file, Backend):
            super().__init__(vocab_file)
        else:
            backend, settings = find_backend(vocab_file, options)
            super().__init__(backend)
        self.name_or_path = self.backend.name
        self.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        length = settings.model_max_length or DEFAULT_MAX_LENGTH if model_max_length is None else model_max_length
        self.model_max_length = as_integer(length, "model_max_length", 1)
        self.padding_side = padding_side or settings.padding_side
        self.truncation_side = truncation_side or settings.truncation_side
        self.add_special_tokens({name: token for name, token in tokens.items() if token is not None})

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str], **options: Any) -> AlbertTokenizer:
        """Load a tokenizer from a folder, a ``spiece.model``, ``tokenizer.json`` or ``vocab.txt``, a Hugging Face id,
        or ``random:...`` (our own vocabulary). A folder's ``spiece.model`` comes before the other two, in that order.

        ``revision``, ``cache_dir``, ``local_files_only``: as in huggingface_hub, for hub ids.
        ``do_lower_case``, ``keep_accents``, ``remove_space`` (SentencePiece), ``tokenize_chinese_chars``,
        ``strip_accents``, ``do_basic_tokenize`` (WordPiece), ``model_max_length``, ``padding_side`` and
        ``truncation_side`` are taken from a tokenizer_config.json beside the vocabulary, unless given here, and so are
        added and special tokens, also of special_tokens_map.json and added_tokens.json; ``pad_token`` and the like,
        given here, are what ``add_special_tokens`` takes. Other options of transformers (``token``,
        ``trust_remote_code``, ...) may be None or False. Raises ModelNotFoundError, CheckpointError (damaged files),
        ConfigError (a tokenizer whose rules are elsewhere) or InvalidTypeError (an unknown option).
        """
        tokenizer = cls(name_or_folder, **options)
        tokenizer.name_or_path = os.fspath(name_or_folder)
        return tokenizer

    @property
    def padding_side(self) -> Side:
        """Where ``padding`` puts its tokens."""
        return self._padding_side

    @padding_side.setter
    def padding_side(self, side: Side) -> None:
        self._padding_side: Side = as_choice(side, "padding_side", SIDES)

    @property
    def truncation_side(self) -> Side:
        """Where texts that are too long lose tokens."""
        return self._truncation_side

    @truncation_side.setter
    def truncation_side(self, side: Side) -> None:
        self._truncation_side: Side = as_choice(side, "truncation_side", SIDES)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> tuple[str, ...]:
        """Write the vocabulary and tokenizer_config.json into ``folder`` (made if missing); return their paths."""
        sides = {"padding_side": self.padding_side, "truncation_side": self.truncation_side}
        config = {
            **self.backend.settings(),
            "model_max_length": self.model_max_length,
            **{name: side for name, side in sides.items() if side != "right"},
        }
        content = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        return self._write(folder, {**self.backend.files(), CONFIG_FILE: content.encode()})

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the vocabulary alone, each file as ``PREFIX-NAME`` if there is a prefix; return their paths."""
        prefix = "" if filename_prefix is None else f"{filename_prefix}-"
        return self._write(save_directory, {prefix + name: data for name, data in self.backend.files().items()})

    def _write(self, folder: str | os.PathLike[str], files: dict[str, bytes]) -> tuple[str, ...]:
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

    # ---- text to tokens --------------------------------------------------------------------------

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """Return the tokens of a text, or of two, without special ones unless they are asked for."""
        texts = [text] if pair is None else [text, pair]
        parts = [self.backend.tokenize(check_text(text, "text")) for text in texts]
        if add_special_tokens:
            parts = [[self.cls_token], *([*part, self.sep_token] for part in parts)]
        return [token for part in parts for token in part]

    def encode(self, text: str | Words, text_pair: str | Words | None = None, **options: Any) -> list[int]:
        """Return the ids of one text or pair; the options are those of a call."""
        ids: list[int] = self.encode_plus(text, text_pair, **options)["input_ids"]
        return ids

    def encode_plus(self, text: str | Words, text_pair: str | Words | None = None, **options: Any) -> BatchEncoding:
        """A call with one text or pair."""
        if options.get("is_split_into_words"):
            text = as_words(text, "text")
        elif not isinstance(text, str):
            raise InvalidTypeError(f"text: got {type(text).__name__}, expected a string")
        return self(text, text_pair, **options)

    def batch_encode_plus(self, batch_text_or_text_pairs: Text, **options: Any) -> BatchEncoding:
        """A call with a list of texts or pairs."""
        return self(as_list(batch_text_or_text_pairs, "batch_text_or_text_pairs"), **options)  # type: ignore[arg-type]

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

        Texts that are too long lose their tail, or what ``truncation_side`` says (of a pair, the longer text first);
        without ``truncation`` they raise InvalidInputError. Messages count texts from ``first_index``, which is where
        this part of a longer list begins.
        """
        pairs = [as_pair(text, f"texts[{first_index + i}]") for i, text in enumerate(as_list(texts, "texts"))]
        frame, threads, side = self._frame, check_threads(num_threads), self.truncation_side
        limit = self._check_max_length(max_length, pairs, frame)
        least = limit if truncation and side == "right" else None
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
                kept, most = self._kept_lengths(n, m, budget, "longest_first", where)
                first = first[:kept] if side == "right" else first[n - kept :]
                if second is not None and most is not None:
                    second = second[:most] if side == "right" else second[len(second) - most :]
                n, m = kept, most
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
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_tensors: Literal["np", "pt", "tf"] | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_overflowing_tokens: bool = False,
        return_length: bool = False,
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
        "max_length", False; ``pad_to_multiple_of`` makes padded rows so much longer. ``max_length`` is
        ``model_max_length`` if not given. Token types and the attention mask are returned unless False is given, or
        ``model_input_names`` is without them.
        ``return_offsets_mapping`` adds each token's (start, end) in its own text, (0, 0) for special tokens added here.
        ``return_length`` adds ``length``, the tokens of each row, padding included.
        ``return_overflowing_tokens`` makes a text that is too long several rows that overlap by ``stride``
        tokens, with ``overflow_to_sample_mapping`` telling whose.

        Raises InvalidTypeError, InvalidInputError, and MissingDependencyError for tensors without their library.
        """
        pairs: Sequence[Pair] | Sequence[WordPair]
        pairs, single = (as_split_pairs if is_split_into_words else as_pairs)(text, text_pair)
        pad_to = as_padding(padding)
        strategy = as_strategy(truncation, max_length, pad_to)
        side = as_choice(padding_side or self.padding_side, "padding_side", SIDES)
        kind = as_kind(return_tensors)
        overlap = as_integer(stride, "stride", 0) if return_overflowing_tokens else None
        frame = Frame(self.cls_token_id, self.sep_token_id, add_special_tokens)
        limit = self._check_max_length(max_length, pairs, frame)
        tokens = self._encode_pairs(pairs, check_threads(num_threads), with_spans=return_offsets_mapping)
        kept = [self._keep(i, pair, frame, limit, strategy, overlap) for i, pair in enumerate(tokens)]
        columns = stack(frame.row(*pair, part) for pair, parts in zip(tokens, kept, strict=True) for part in parts)
        multiple = as_multiple(pad_to_multiple_of, pad_to, strategy, limit)
        pad(columns, padded_length(columns["input_ids"], pad_to, limit, multiple), self.pad_token_id, side)
        sequence_ids, word_ids = columns.pop("sequence_ids"), columns.pop("word_ids")
        wanted = {
            "token_type_ids": self._wants("token_type_ids", return_token_type_ids),
            "attention_mask": self._wants("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        result: dict[str, Any] = {name: rows for name, rows in columns.items() if wanted.get(name, True)}
        if return_overflowing_tokens:
            result["overflow_to_sample_mapping"] = [i for i, parts in enumerate(kept) for _ in parts]
        if return_length:
            result["length"] = [len(row) for row in columns["input_ids"]]
        if kind is not None:
            result = as_arrays(result, kind)
        elif single and not return_overflowing_tokens:
            result = {name: rows[0] for name, rows in result.items()}
        return BatchEncoding(result, sequence_ids, word_ids if is_split_into_words else None)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: Side | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: Literal["np", "pt", "tf"] | None = None,
    ) -> BatchEncoding:
        """Pad rows that are made already: a dictionary of columns, of one text or of several, or a list of
        dictionaries, as datasets and data collators have them. Lists, arrays and tensors are fine, and stay what they
        are unless ``return_tensors`` is given.

        ``padding``, ``max_length``, ``pad_to_multiple_of``, ``padding_side``: as in a call; rows longer than
        ``max_length`` stay so. Columns of tokens (``input_ids``, ``token_type_ids``, ``attention_mask``,
        ``special_tokens_mask``, ``offset_mapping``) are padded, all others, such as ``labels``, are not. An attention
        mask is added if there is none, unless ``return_attention_mask`` is False or ``model_input_names`` without it.

        Raises InvalidTypeError, and InvalidInputError for columns that do not fit together, or make no tensor.
        """
        columns, single, given = as_columns(encoded_inputs)
        pad_to, kind = as_padding(padding), as_kind(return_tensors or given)
        side = as_choice(padding_side or self.padding_side, "padding_side", SIDES)
        limit = self.model_max_length if max_length is None else as_integer(max_length, "max_length", 1)
        if "attention_mask" not in columns and self._wants("attention_mask", return_attention_mask):
            columns["attention_mask"] = [[1] * len(row) for row in columns["input_ids"]]
        multiple = as_multiple(pad_to_multiple_of, pad_to, "do_not_truncate", limit)
        pad(columns, padded_length(columns["input_ids"], pad_to, limit, multiple), self.pad_token_id, side)
        result = columns if kind is None else as_arrays(columns, kind)
        return BatchEncoding({name: rows[0] for name, rows in result.items()} if single else result)

    # ---- inside ----------------------------------------------------------------------------------

    def _wants(self, name: str, asked: bool | None) -> bool:
        return name in self.model_input_names if asked is None else asked

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
            return list(windows(first, second, budget, strategy, stride, where, self.truncation_side))
        n, m = self._kept_lengths(first, second, budget, strategy, where)
        side = self.truncation_side
        partner = None if second is None or m is None else kept_range(second, m, side)
        return [Kept(kept_range(first, n, side), partner)]

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
