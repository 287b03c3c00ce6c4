"""Tokens that are found in a text before anything else is done with it, and what a folder's files say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

ROLES: Final = ("pad", "unk", "cls", "sep", "mask")
"""What ALBERT's special tokens are for, in the order of their ids."""


@dataclass(frozen=True)
class AddedToken:
    """A token that is kept whole; fields are named as in the ``tokenizers`` library.

    ``lstrip`` and ``rstrip`` take the white space on that side away, ``single_word`` asks for a space there.
    ``normalized`` tokens are looked for before lowercasing, as special ones are; others after it.
    """

    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False

    @classmethod
    def of(cls, entry: Any, special: bool = False) -> AddedToken | None:
        """From a string, an entry of a JSON file with ``content``, or an ``AddedToken`` of the tokenizers library; None
        for anything else."""
        if isinstance(entry, str) and entry:
            return cls(entry, special, normalized=not special)
        if not isinstance(entry, Mapping):  # perhaps an AddedToken of the tokenizers library
            names = ("content", "special", "normalized", "lstrip", "rstrip", "single_word")
            entry = {name: getattr(entry, name) for name in names if hasattr(entry, name)}
        if not isinstance(entry.get("content"), str) or not entry["content"]:
            return None
        flags = {name: bool(entry.get(name, False)) for name in ("lstrip", "rstrip", "single_word")}
        is_special = special or bool(entry.get("special", False))
        return cls(entry["content"], is_special, bool(entry.get("normalized", not is_special)), **flags)


ALBERT_TOKENS: Final = (
    AddedToken("<pad>", special=True, normalized=False),
    AddedToken("<unk>", special=True, normalized=False),
    AddedToken("[CLS]", special=True, normalized=False),
    AddedToken("[SEP]", special=True, normalized=False),
    AddedToken("[MASK]", special=True, normalized=False, lstrip=True),
)


@dataclass(frozen=True)
class AddedTokens:
    """What the files beside a vocabulary add to it: tokens in order of their ids, None where no file says an id."""

    tokens: tuple[tuple[AddedToken, int | None], ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any], special_map: Mapping[str, Any], added: Mapping[str, Any]) -> AddedTokens:
        """From the four places: ``added_tokens_decoder`` and ``additional_special_tokens`` of tokenizer_config.json,
        special_tokens_map.json, added_tokens.json."""
        extra = [*_list(config, "additional_special_tokens"), *_list(config, "extra_special_tokens")]
        special = [token for entry in [*extra, *_list(special_map, "additional_special_tokens")]
                   if (token := AddedToken.of(entry, special=True)) is not None]  # fmt: skip
        names = {token.content for token in special}
        found: dict[str, tuple[AddedToken, int | None]] = {}
        for content, index in added.items():
            if (token := AddedToken.of(content, special=content in names)) is not None:
                found[content] = token, _index(index)
        decoder = config.get("added_tokens_decoder")
        for index, entry in decoder.items() if isinstance(decoder, Mapping) else ():
            if (token := AddedToken.of(entry)) is not None:
                found[token.content] = token, _index(index)
        for token in special:
            found.setdefault(token.content, (token, None))
        in_order = sorted(found.values(), key=lambda pair: (pair[1] is None, pair[1] or 0))
        return cls(tuple(in_order))

    def get(self, content: str) -> AddedToken | None:
        """The token of that text."""
        return next((token for token, _ in self.tokens if token.content == content), None)


def place_tokens(
    wanted: Iterable[tuple[AddedToken, int | None]], known: Mapping[str, int], size: int
) -> dict[str, int]:
    """Ids of tokens: of those that the vocabulary knows their own, of others what their file says if that is free,
    else the next number from ``size`` on, as transformers gives it."""
    ids: dict[str, int] = {}
    following = size
    for token, asked in wanted:
        if token.content in known:
            ids[token.content] = known[token.content]
        elif token.content not in ids:
            free = asked is not None and asked >= size and asked not in ids.values()
            ids[token.content] = asked if free and asked is not None else following
            following = max(following, ids[token.content] + 1)
    return ids


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    entries = values.get(name)
    if isinstance(entries, Mapping):  # transformers 5 names some of them
        return list(entries.values())
    return entries if isinstance(entries, list) else []


def _index(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
