"""Finding a tokenizer's files: a folder, a spiece.model, a hub id, or our own vocabulary."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albert_fast.bundled import bundled_folder
from albert_fast.errors import CheckpointError, ConfigError, InvalidTypeError, ModelNotFoundError
from albert_fast.tokenizer.normalizer import MASK, SPECIAL_TOKENS

VOCABULARY_FILE, CONFIG_FILE = "spiece.model", "tokenizer_config.json"
OWN_VOCABULARY = Path(__file__).parent.parent / "data" / VOCABULARY_FILE
RANDOM_PREFIX = "random:"

# transformers writes this and larger numbers for "no limit"; the limit is then the default, the published
# models' own.
_NO_LIMIT = 10**6


@dataclass(frozen=True)
class TokenizerFiles:
    """The bytes of a SentencePiece model, what to call it in messages, and the options stored beside it."""

    model: bytes
    name: str
    options: dict[str, Any]


def find_files(
    name_or_folder: str | os.PathLike[str],
    revision: str | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
) -> TokenizerFiles:
    """Read the vocabulary and the options of a tokenizer; raises ModelNotFoundError, CheckpointError,
    ConfigError.
    """
    if not isinstance(name_or_folder, (str, os.PathLike)):
        raise InvalidTypeError(
            f"name_or_folder: got {type(name_or_folder).__name__}, expected a hub id, a folder, a path of a"
            f" {VOCABULARY_FILE} or 'random:...' as a string or path"
        )
    if isinstance(name_or_folder, str) and name_or_folder.startswith(RANDOM_PREFIX):
        return TokenizerFiles(_read(OWN_VOCABULARY), str(OWN_VOCABULARY), {})
    path = bundled_folder(name_or_folder) or Path(name_or_folder)
    if path.is_dir():
        return _from_paths(path / VOCABULARY_FILE, path / CONFIG_FILE)
    if path.is_file():
        return _from_paths(path, path.parent / CONFIG_FILE)
    return _from_hub(os.fspath(name_or_folder), revision, cache_dir, local_files_only)


def _from_paths(vocabulary: Path, config: Path) -> TokenizerFiles:
    if not vocabulary.is_file():
        raise ModelNotFoundError(
            f"{vocabulary.parent}: no {vocabulary.name} in this folder, expected ALBERT's vocabulary"
        )
    return TokenizerFiles(_read(vocabulary), str(vocabulary), read_options(config) if config.is_file() else {})


def _from_hub(
    name: str, revision: str | None, cache_dir: str | os.PathLike[str] | None, local_files_only: bool
) -> TokenizerFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # their home before 0.25
        EntryNotFoundError,
        LocalEntryNotFoundError,
    )

    from albert_fast.sources.place import hub_id

    repo, cache = hub_id(name), None if cache_dir is None else os.fspath(cache_dir)

    def fetch(file: str, at: str | None) -> Path:
        return Path(hf_hub_download(repo, file, revision=at, cache_dir=cache, local_files_only=local_files_only))

    try:
        vocabulary = fetch(VOCABULARY_FILE, revision)
    except Exception as error:  # the hub client's classes differ between its versions
        reason = (str(error).strip().splitlines() or ["no further explanation"])[0]
        raise ModelNotFoundError(
            f"tokenizer {name}: no such folder or file, and hub id {repo!r} gave no {VOCABULARY_FILE}"
            f" ({type(error).__name__}: {reason})"
        ) from error
    try:
        config = fetch(CONFIG_FILE, vocabulary.parent.name)  # the cache keeps files under snapshots/COMMIT/
    except Exception as error:
        absent = isinstance(error, EntryNotFoundError) and (
            local_files_only or not isinstance(error, LocalEntryNotFoundError)
        )
        if absent:
            return TokenizerFiles(_read(vocabulary), str(vocabulary), {})
        raise ModelNotFoundError(f"tokenizer {name}: hub id {repo!r} gave no {CONFIG_FILE} ({error})") from error
    return TokenizerFiles(_read(vocabulary), str(vocabulary), read_options(config))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error


def read_options(path: Path) -> dict[str, Any]:
    """Read the tokenizer options of a tokenizer_config.json; refuse what would need another tokenizer."""
    try:
        config = json.loads(_read(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: got a JSON {type(config).__name__}, expected an object")
    _check_special_tokens(config, path)
    options: dict[str, Any] = {}
    for name in ("do_lower_case", "keep_accents", "remove_space"):
        if (value := config.get(name)) is not None:
            if not isinstance(value, bool):
                raise ConfigError(f"{path}: {name} is {value!r}, expected true or false")
            options[name] = value
    limit = config.get("model_max_length")
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit < 1:
            raise ConfigError(f"{path}: model_max_length is {limit!r}, expected a positive number")
        if limit < _NO_LIMIT:
            options["model_max_length"] = int(limit)
    return options


def _check_special_tokens(config: dict[str, Any], path: Path) -> None:
    """Only ALBERT's own special tokens are supported, with ``[MASK]`` alone taking the space before it."""
    names = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": MASK,
    }
    for name, expected in names.items():
        token = config.get(name)
        content = token.get("content") if isinstance(token, dict) else token
        if content not in (None, expected):
            raise ConfigError(f"{path}: {name} is {content!r}, expected {expected!r}")
    added = config.get("added_tokens_decoder") or {}
    entries = list(added.values()) if isinstance(added, dict) else [added]
    for entry in entries:
        content = entry.get("content") if isinstance(entry, dict) else entry
        if content not in SPECIAL_TOKENS:
            raise ConfigError(f"{path}: added token {content!r}, expected none besides {', '.join(SPECIAL_TOKENS)}")
        if bool(entry.get("lstrip")) != (content == MASK) or entry.get("rstrip") or entry.get("single_word"):
            raise ConfigError(f"{path}: {content!r} strips white space or matches words in a way that is not supported")
