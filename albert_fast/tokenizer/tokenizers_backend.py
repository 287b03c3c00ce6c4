"""A ``tokenizer.json``, or a ``vocab.txt`` with BertTokenizer's rules, run by the ``tokenizers`` library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from albert_fast.errors import CheckpointError
from albert_fast.tokenizer.added_tokens import AddedToken
from albert_fast.tokenizer.assembly import Tokens

if TYPE_CHECKING:
    import tokenizers

TOKENIZER_FILE: Final = "tokenizer.json"
WORD_PIECE_FILE: Final = "vocab.txt"

# A text or two are encoded at once on the caller's thread: a batch has threads of the library's own to wake.
_BATCH_TEXTS: Final = 8


class TokenizersBackend:
    """See ``Backend``. ``definition`` is the content of a ``tokenizer.json``, ``extra`` are tokens that the files
    beside it add. Raises ``CheckpointError`` when the library cannot use it."""

    extra_to_longer = True

    def __init__(
        self,
        definition: str,
        name: str,
        special: dict[str, str],
        extra: Iterable[AddedToken] = (),
        settings: dict[str, Any] | None = None,
    ) -> None:
        self._arguments = (definition, name, special, tuple(extra), settings)
        self.name = name
        self.special = special
        self._settings = settings or {}
        self._tokenizer = _load(definition, name)
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=False)
        self.subword_prefix: str | None = getattr(self._tokenizer.model, "continuing_subword_prefix", None)
        self._add([AddedToken(token, special=True, normalized=False) for token in special.values()])
        self._add(self._arguments[3])
        self._ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        added = self._tokenizer.get_added_tokens_decoder()
        self.added = {token.content: i for i, token in added.items() if i >= self.size}
        roles = {self._ids[token] for token in special.values()}
        self.all_special_ids = sorted(roles | {i for i, token in added.items() if token.special})

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenizersBackend, self._arguments

    def tokens(self) -> list[str]:
        """See ``Backend``."""
        tokens = [""] * (max(self._ids.values(), default=-1) + 1)
        for token, i in self._ids.items():
            tokens[i] = token
        return tokens

    def token_to_id(self, token: str) -> int | None:
        """See ``Backend``."""
        return self._ids.get(token)

    def tokenize(self, text: str) -> list[str]:
        """See ``Backend``."""
        tokens: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    def encode(self, texts: list[str], num_threads: int | None, least: int | None = None) -> list[list[int]]:
        """See ``Backend``. With several threads allowed the library takes as many as it likes."""
        if len(texts) < _BATCH_TEXTS or num_threads == 1:
            return [self._tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        return [row.ids for row in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_spans(self, text: str) -> Tokens:
        """See ``Backend``. A span leaves out the white space before its token."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = []
        for start, end in encoding.offsets:
            part = text[start:end]
            spans.append((min(end, start + len(part) - len(part.lstrip())), end))
        return Tokens(encoding.ids, spans, [])

    def join(self, tokens: list[str]) -> str:
        """See ``Backend``."""
        decoder = self._tokenizer.decoder
        return str(decoder.decode(tokens)) if decoder is not None else " ".join(tokens)

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """See ``Backend``; by the decoder of the definition."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def with_tokens(self, tokens: Sequence[AddedToken], roles: Mapping[str, str]) -> TokenizersBackend:
        """See ``Backend``."""
        tokenizer = _load(self._tokenizer.to_str(), self.name)
        tokenizer.add_tokens([_library_token(token) for token in tokens])
        return TokenizersBackend(tokenizer.to_str(), self.name, {**self.special, **roles}, (), self._settings)

    def files(self) -> dict[str, bytes]:
        """See ``Backend``: with a ``vocab.txt`` for readers that know no other form, if it is WordPiece."""
        files = {TOKENIZER_FILE: self._tokenizer.to_str(pretty=True).encode()}
        if json.loads(self._arguments[0])["model"].get("type") == "WordPiece":
            files[WORD_PIECE_FILE] = "".join(f"{token}\n" for token in self.tokens()[: self.size]).encode()
        return files

    def settings(self) -> dict[str, Any]:
        """See ``Backend``."""
        names = {f"{role}_token": token for role, token in self.special.items()}
        return {"tokenizer_class": "PreTrainedTokenizerFast", **self._settings, **names}

    def _add(self, tokens: Iterable[AddedToken]) -> None:
        known = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        for token in tokens:
            if token.content not in known:  # others have the flags that the definition gives them
                self._tokenizer.add_tokens([_library_token(token)])


def _library_token(token: AddedToken) -> tokenizers.AddedToken:
    from tokenizers import AddedToken as LibraryToken

    flags = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word", "normalized", "special")}
    return LibraryToken(token.content, **flags)


def _load(definition: str, name: str) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(definition)
    except Exception as error:  # the library raises nothing more particular
        raise CheckpointError(f"{name}: not a usable tokenizer definition ({error})") from error
    tokenizer.no_truncation()  # both are the caller's
    tokenizer.no_padding()
    return tokenizer


def word_piece_definition(vocabulary: bytes, name: str, options: dict[str, Any], unk_token: str) -> str:
    """A definition of BertTokenizer over a ``vocab.txt``: a token a line, its number the id; of a token that stands
    there twice the last counts. Rules: Devlin et al. 2018, arXiv:1810.04805, as bert/tokenization.py has them.

    ``options`` are BertTokenizer's: ``do_lower_case``, ``tokenize_chinese_chars``, ``strip_accents`` (None: as
    ``do_lower_case``), ``do_basic_tokenize``.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    try:
        lines = vocabulary.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{name}: not UTF-8 ({error.reason} at byte {error.start}), expected a token a line"
        ) from error
    ids = {line.removesuffix("\r"): i for i, line in enumerate(lines)}
    if unk_token not in ids:
        raise CheckpointError(f"{name}: the vocabulary has no {unk_token}, expected one token a line, it among them")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=unk_token, max_input_chars_per_word=100))
    if options.get("do_basic_tokenize", True):
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
            strip_accents=options.get("strip_accents"),
            lowercase=options.get("do_lower_case", True),
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    definition: str = tokenizer.to_str()
    return definition


def with_bert_options(definition: str, options: dict[str, Any]) -> str:
    """The definition with what tokenizer_config.json says otherwise of its BertNormalizer, as transformers has it."""
    names = {
        "do_lower_case": "lowercase",
        "tokenize_chinese_chars": "handle_chinese_chars",
        "strip_accents": "strip_accents",
    }
    changes = {names[option]: value for option, value in options.items() if option in names}
    content = json.loads(definition)
    normalizer = content.get("normalizer") if isinstance(content, dict) else None
    if not changes or not isinstance(normalizer, dict) or normalizer.get("type") != "BertNormalizer":
        return definition
    normalizer.update(changes)
    return json.dumps(content)
