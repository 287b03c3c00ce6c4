"""Which tokenizer a model has: the one place that looks at its files and decides."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from albert_fast.arguments import without_unasked
from albert_fast.errors import CheckpointError, ConfigError, InvalidTypeError, ModelNotFoundError
from albert_fast.sources.place import FolderPlace, HubPlace, open_place, transformer_place
from albert_fast.tokenizer.added_tokens import ALBERT_TOKENS, ROLES, AddedToken, place_tokens
from albert_fast.tokenizer.backend import Backend
from albert_fast.tokenizer.normalizer import Normalizer
from albert_fast.tokenizer.sentencepiece_backend import VOCABULARY_FILE, SentencePieceBackend
from albert_fast.tokenizer.settings import (
    BERT_OPTIONS,
    SENTENCEPIECE_OPTIONS,
    TokenizerSettings,
    read_bytes,
    read_settings,
)
from albert_fast.tokenizer.tokenizers_backend import (
    TOKENIZER_FILE,
    WORD_PIECE_FILE,
    TokenizersBackend,
    with_bert_options,
    word_piece_definition,
)
from albert_fast.tokenizer.vocabulary import Vocabulary

OWN_VOCABULARY: Final = Path(__file__).parent.parent / "data" / VOCABULARY_FILE
RANDOM_PREFIX: Final = "random:"

VOCABULARY_FILES: Final = (VOCABULARY_FILE, TOKENIZER_FILE, WORD_PIECE_FILE)
"""In order of preference. ``spiece.model`` is what the published models were trained with; the ``tokenizer.json``
beside it leaves out a rule and splits differently at ``[MASK]``."""

# Classes whose rules none of the three files holds.
_ELSEWHERE: Final = {"BertJapaneseTokenizer": "words are found by MeCab or Sudachi; is_split_into_words takes them"}
_BERT_TOKENS: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ALBERT_TOKENS: Final[dict[str, AddedToken]] = dict(zip(ROLES, ALBERT_TOKENS, strict=True))
_OTHERS: Final = {"cls": "<s>", "sep": "</s>", "mask": "<mask>"}

_HUB_OPTIONS: Final = ("revision", "cache_dir", "local_files_only")
# Options of transformers' `from_pretrained` that are nothing to us, as long as they ask for nothing.
_UNASKED: Final = ("token", "use_auth_token", "trust_remote_code", "force_download", "proxies", "subfolder")

_log = logging.getLogger("albert_fast")


def find_backend(
    name_or_folder: str | os.PathLike[str], options: Mapping[str, Any]
) -> tuple[Backend, TokenizerSettings]:
    """The tokenizer of a model, and what the files beside it say.

    ``options`` are the hub's, and those that overrule what tokenizer_config.json says. Raises ModelNotFoundError,
    CheckpointError, ConfigError, and InvalidTypeError for an option that no tokenizer has.
    """
    if not isinstance(name_or_folder, (str, os.PathLike)):
        raise InvalidTypeError(
            f"name_or_folder: got {type(name_or_folder).__name__}, expected a hub id, a folder, a path of a"
            f" {VOCABULARY_FILE} or 'random:...' as a string or path"
        )
    hub = {name: options[name] for name in _HUB_OPTIONS if name in options}
    options = {k: v for k, v in without_unasked(options, _UNASKED).items() if k not in (*hub, "use_fast")}
    known = (*SENTENCEPIECE_OPTIONS, *BERT_OPTIONS)
    for option, value in options.items():
        if option not in known:
            raise InvalidTypeError(
                f"{option}: not an option of a tokenizer, expected one of {', '.join(sorted({*known}))}"
            )
        if not isinstance(value, bool):
            raise InvalidTypeError(f"{option}: got {value!r}, expected True or False")
    if isinstance(name_or_folder, str) and name_or_folder.startswith(RANDOM_PREFIX):
        place: FolderPlace | HubPlace = FolderPlace(name_or_folder, OWN_VOCABULARY.parent)
        file = OWN_VOCABULARY
    else:
        name = os.fspath(name_or_folder)
        place = open_place(name_or_folder, label=f"tokenizer {name}", **hub)
        path = Path(name).expanduser()
        is_file = isinstance(place, FolderPlace) and path.is_file()
        place = place if is_file else transformer_place(place)
        file = path if is_file else _choose(place)
    settings = read_settings(place)
    if settings.kind in _ELSEWHERE:
        raise ConfigError(
            f"tokenizer {file}: tokenizer_class is {settings.kind}, not supported ({_ELSEWHERE[settings.kind]})"
        )
    return _open(file, settings, {**settings.options, **options}), settings


def _choose(place: FolderPlace | HubPlace) -> Path:
    for candidate in VOCABULARY_FILES:
        if (path := place.find(candidate)) is not None:
            return path
    raise ModelNotFoundError(
        f"{place.label}: none of {', '.join(VOCABULARY_FILES)} in"
        f" {f'hub id {place.repo!r}' if isinstance(place, HubPlace) else 'this folder'}, expected a vocabulary"
    )


def _open(file: Path, settings: TokenizerSettings, options: dict[str, bool]) -> Backend:
    content, name = read_bytes(file), str(file)
    if file.name.endswith(".json"):
        return _definition(_text(content, name), name, settings, options)
    if file.name.endswith(".txt"):
        special = {role: settings.special[role].content if role in settings.special else token
                   for role, token in _BERT_TOKENS.items()}  # fmt: skip
        definition = word_piece_definition(content, name, options, special["unk"])
        about = {"tokenizer_class": "BertTokenizer", **{k: v for k, v in options.items() if k in BERT_OPTIONS}}
        return TokenizersBackend(definition, name, special, _extra(settings), about)
    return sentencepiece_backend(content, name, settings, options)


def sentencepiece_backend(
    content: bytes, name: str, settings: TokenizerSettings, options: Mapping[str, bool]
) -> SentencePieceBackend:
    """Of the content of a ``spiece.model``. Raises ``CheckpointError`` when it is damaged."""
    vocabulary = Vocabulary(content, name)
    roles = {role: settings.special.get(role, token) for role, token in _ALBERT_TOKENS.items()}
    if settings.added.get(roles["mask"].content) is None:  # no file says its flags
        roles["mask"] = replace(roles["mask"], lstrip=True)
    if missing := [token.content for token in roles.values() if token.content not in vocabulary.ids]:
        _log.warning(
            "%s: the vocabulary has no %s; they get the ids after its last one, as in transformers, for which a model"
            " may have no rows",
            name,
            ", ".join(missing),
        )
    own: dict[str, tuple[AddedToken, int | None]] = {token.content: (token, None) for token in roles.values()}
    # User-defined pieces, such as "(", are listed by files that transformers' fast tokenizer wrote; the vocabulary
    # finds them by itself, and does not begin a word after them.
    others = [
        (t, i)
        for t, i in settings.added.tokens
        if t.content not in own and (t.special or t.content not in vocabulary.ids)
    ]
    ids = place_tokens([*own.values(), *others], vocabulary.ids, vocabulary.size)
    rules = Normalizer(
        **{name: options[name] for name in SENTENCEPIECE_OPTIONS if name in options},
        added=(*roles.values(), *(token for token, _ in others)),
    )
    beyond = {content: i for content, i in ids.items() if content not in vocabulary.ids}
    return SentencePieceBackend(vocabulary, rules, {role: token.content for role, token in roles.items()}, beyond)


def _definition(definition: str, name: str, settings: TokenizerSettings, options: dict[str, bool]) -> Backend:
    definition = with_bert_options(definition, options)
    plain = TokenizersBackend(definition, name, {})
    special: dict[str, str] = {}
    for role in ROLES:
        candidates = (_ALBERT_TOKENS[role].content, _BERT_TOKENS[role], _OTHERS.get(role, ""))
        found = next((token for token in candidates if plain.token_to_id(token) is not None), None)
        if role in settings.special:
            special[role] = settings.special[role].content
        elif found is not None:
            special[role] = found
        elif role in ("cls", "sep"):
            raise CheckpointError(
                f"{name}: the vocabulary has no {' or '.join(filter(None, candidates))}, expected one"
            )
        else:
            special[role] = _BERT_TOKENS[role]
    kind = {} if settings.kind is None else {"tokenizer_class": settings.kind}
    return TokenizersBackend(definition, name, special, _extra(settings), {**kind, **options})


def _extra(settings: TokenizerSettings) -> list[AddedToken]:
    return [token for token, _ in settings.added.tokens]


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{name}: not UTF-8 ({error.reason} at byte {error.start})") from error
