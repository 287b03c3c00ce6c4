"""What the small files beside a vocabulary say: tokenizer_config.json, special_tokens_map.json, added_tokens.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from albert_fast.errors import CheckpointError, ConfigError, ModelNotFoundError
from albert_fast.sources.place import Place
from albert_fast.tokenizer.added_tokens import ROLES, AddedToken, AddedTokens
from albert_fast.tokenizer.truncation import SIDES, Side

CONFIG_FILE: Final = "tokenizer_config.json"
SPECIAL_FILE: Final = "special_tokens_map.json"
ADDED_FILE: Final = "added_tokens.json"

SENTENCEPIECE_OPTIONS: Final = ("do_lower_case", "keep_accents", "remove_space")
BERT_OPTIONS: Final = ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "do_basic_tokenize")

# transformers writes this and larger numbers for "no limit".
_NO_LIMIT: Final = 10**6


@dataclass(frozen=True)
class TokenizerSettings:
    """``kind`` is the class that transformers would use, without "Fast"; ``special`` maps roles to the tokens that the
    files name for them."""

    kind: str | None = None
    options: dict[str, bool] = field(default_factory=dict)
    model_max_length: int | None = None
    padding_side: Side = "right"
    truncation_side: Side = "right"
    special: dict[str, AddedToken] = field(default_factory=dict)
    added: AddedTokens = field(default_factory=AddedTokens)


def read_settings(place: Place) -> TokenizerSettings:
    """Raises ``CheckpointError`` for files that are not JSON, ``ConfigError`` for values that nothing can be made of,
    naming the file."""
    config, path = _object(place, CONFIG_FILE)
    special_map, _ = _object(place, SPECIAL_FILE)
    added, _ = _object(place, ADDED_FILE)
    kind = config.get("tokenizer_class")
    if not isinstance(kind, str):
        kind = _object(place, "config.json")[0].get("tokenizer_class")
    options = {
        name: _flag(config[name], name, path)
        for name in dict.fromkeys([*SENTENCEPIECE_OPTIONS, *BERT_OPTIONS])
        if config.get(name) is not None
    }
    named = AddedTokens.of(config, special_map, added)
    return TokenizerSettings(
        kind.removesuffix("Fast") if isinstance(kind, str) else None,
        options,
        _limit(config.get("model_max_length"), path),
        _side(config, "padding_side", path),
        _side(config, "truncation_side", path),
        _special(config, special_map, named),
        named,
    )


def _special(config: dict[str, Any], special_map: dict[str, Any], named: AddedTokens) -> dict[str, AddedToken]:
    """The token of each role that a file names; its flags are best known to ``added_tokens_decoder``."""
    found = {}
    for role in ROLES:
        for entry in (config.get(f"{role}_token"), special_map.get(f"{role}_token")):
            if (token := AddedToken.of(entry, special=True)) is not None:
                known = named.get(token.content)
                found[role] = known if known is not None and isinstance(entry, str) else token
                break
    return found


def _object(place: Place, file: str) -> tuple[dict[str, Any], str]:
    """The JSON object in a file, and what to call it; nothing if there is no such file."""
    if (path := place.find(file)) is None:
        return {}, file
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: got a JSON {type(content).__name__}, expected an object")
    return content, str(path)


def _flag(value: Any, name: str, path: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: {name} is {value!r}, expected true or false")
    return value


def _limit(value: Any, path: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
        raise ConfigError(f"{path}: model_max_length is {value!r}, expected a positive number")
    return int(value) if value < _NO_LIMIT else None


def _side(config: dict[str, Any], name: str, path: str) -> Side:
    value = config.get(name)
    side: Side | None = "right" if value is None else next((side for side in SIDES if side == value), None)
    if side is None:
        raise ConfigError(f"{path}: {name} is {value!r}, expected 'left' or 'right'")
    return side


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises ``ModelNotFoundError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error
