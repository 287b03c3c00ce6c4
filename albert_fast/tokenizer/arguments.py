"""Checks of a tokenizer call's arguments; every error names the argument, what came and what was expected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from albert_fast.arguments import check_integer
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.tokenizer.truncation import STRATEGIES, Strategy

Words = Sequence[str]
Text = str | Sequence[str] | Sequence[tuple[str, str]] | Sequence[Words] | Sequence[tuple[Words, Words]]
Partner = str | Sequence[str] | Sequence[Words]
Pair = tuple[str, str | None]
WordPair = tuple[list[str], list[str] | None]
Padding = Literal["do_not_pad", "longest", "max_length"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_Choice = TypeVar("_Choice", bound=str | None)


def check_text(value: object, where: str) -> str:
    """Return ``value`` if it is a text SentencePiece can take."""
    if not isinstance(value, str):
        raise InvalidTypeError(f"{where}: got {type(value).__name__}, expected a string")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise InvalidInputError(
            f"{where}: lone surrogate U+{ord(found.group()):04X} at position {found.start()}, expected valid Unicode"
        )
    return value


def as_pair(value: object, where: str) -> Pair:
    """Return a string as a text without a partner, a sequence of two strings as a pair."""
    if isinstance(value, str):
        return check_text(value, where), None
    if not isinstance(value, (tuple, list)):
        raise InvalidTypeError(f"{where}: got {type(value).__name__}, expected a string or a pair of strings")
    if len(value) != 2:
        raise InvalidInputError(f"{where}: got a {type(value).__name__} of {len(value)}, expected a pair of strings")
    return check_text(value[0], f"{where}[0]"), check_text(value[1], f"{where}[1]")


def _is_sequence(value: object) -> bool:
    return not isinstance(value, (str, bytes, dict)) and hasattr(value, "__len__") and hasattr(value, "__iter__")


def as_list(value: Any, where: str, expected: str = "a string or a sequence of strings") -> list[object]:
    """Return the elements of a list, an array of strings or another sequence; a string is not one."""
    if not _is_sequence(value):
        raise InvalidTypeError(f"{where}: got {type(value).__name__}, expected {expected}")
    return list(value)


def as_words(value: object, where: str) -> list[str]:
    """Return the words of a text that was split into them."""
    words = as_list(value, where, "a list of words, as is_split_into_words is set")
    return [check_text(word, f"{where}[{i}]") for i, word in enumerate(words)]


def as_pairs(text: object, text_pair: object) -> tuple[list[Pair], bool]:
    """Return the texts of a call as pairs, and whether it was given a single text rather than a list."""
    if isinstance(text, str):
        if text_pair is not None and not isinstance(text_pair, str):
            raise InvalidTypeError(f"text_pair: got {type(text_pair).__name__}, expected a string as text is one")
        second = None if text_pair is None else check_text(text_pair, "text_pair")
        return [(check_text(text, "text"), second)], True
    texts = as_list(text, "text")
    if text_pair is None:
        return [as_pair(value, f"text[{i}]") for i, value in enumerate(texts)], False
    seconds = _as_partners(text_pair, len(texts), "a sequence of strings, as text is one")
    return [
        (check_text(a, f"text[{i}]"), check_text(b, f"text_pair[{i}]"))
        for i, (a, b) in enumerate(zip(texts, seconds, strict=True))
    ], False


def as_split_pairs(text: object, text_pair: object) -> tuple[list[WordPair], bool]:
    """``as_pairs`` of texts that were split into words: a list whose first element is no list is one text."""
    texts = as_list(text, "text", "a list of words, as is_split_into_words is set")
    if not (texts and _is_sequence(texts[0])):
        return [(as_words(texts, "text"), None if text_pair is None else as_words(text_pair, "text_pair"))], True
    if text_pair is None:
        return [_as_word_pair(value, f"text[{i}]") for i, value in enumerate(texts)], False
    seconds = _as_partners(text_pair, len(texts), "a list of lists of words, as text is one")
    return [
        (as_words(a, f"text[{i}]"), as_words(b, f"text_pair[{i}]"))
        for i, (a, b) in enumerate(zip(texts, seconds, strict=True))
    ], False


def _as_word_pair(value: object, where: str) -> WordPair:
    parts = as_list(value, where, "a list of words or a pair of them, as is_split_into_words is set")
    if not (parts and _is_sequence(parts[0])):
        return as_words(parts, where), None
    if len(parts) != 2:
        raise InvalidInputError(f"{where}: got {len(parts)} lists, expected a list of words or a pair of them")
    return as_words(parts[0], f"{where}[0]"), as_words(parts[1], f"{where}[1]")


def _as_partners(text_pair: object, count: int, expected: str) -> list[object]:
    partners = as_list(text_pair, "text_pair", expected)
    if len(partners) != count:
        raise InvalidInputError(f"text_pair: got {len(partners)} texts, expected {count} as in text")
    return partners


def as_integer(value: object, where: str, lowest: int, highest: int | None = None) -> int:
    """Return an integer of the range ``lowest..highest`` (no upper end if None); a bool is not one."""
    return check_integer(where, value, lowest, highest)


def as_choice(value: _Choice, where: str, choices: Sequence[_Choice]) -> _Choice:
    """Return ``value`` if it is one of ``choices``."""
    if value not in choices:
        raise InvalidInputError(f"{where}: got {value!r}, expected one of {', '.join(map(repr, choices))}")
    return value


def as_kind(return_tensors: Any) -> Literal["np", "pt", "tf"] | None:
    """Resolve ``return_tensors``."""
    kinds: tuple[Literal["np", "pt", "tf"] | None, ...] = (None, "np", "pt", "tf")
    return as_choice(return_tensors, "return_tensors", kinds)


def as_multiple(value: Any, padding: Padding, strategy: Strategy, limit: int) -> int | None:
    """Resolve ``pad_to_multiple_of``; texts must not be cut to ``limit`` and then padded beyond it."""
    multiple = None if value is None else as_integer(value, "pad_to_multiple_of", 1)
    if multiple is not None and limit % multiple and padding != "do_not_pad" and strategy != "do_not_truncate":
        raise InvalidInputError(
            f"pad_to_multiple_of: got {multiple}, expected a divisor of {limit}, to which texts are cut (max_length)"
        )
    return multiple


def as_strategy(truncation: Any, max_length: int | None, padding: Padding) -> Strategy:
    """Resolve ``truncation``; None means to truncate only if a ``max_length`` is given for nothing else."""
    if truncation is None:
        truncation = max_length is not None and padding == "do_not_pad"
    if isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    if truncation not in STRATEGIES:
        raise InvalidInputError(
            f"truncation: got {truncation!r}, expected True, False or one of {', '.join(map(repr, STRATEGIES))}"
        )
    return truncation  # type: ignore[no-any-return]  # one of STRATEGIES


def as_padding(padding: Any) -> Padding:
    """Resolve ``padding``; True means the longest row of the call."""
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    if padding not in ("longest", "max_length", "do_not_pad"):
        raise InvalidInputError(
            f"padding: got {padding!r}, expected True, False, 'longest', 'max_length' or 'do_not_pad'"
        )
    return padding  # type: ignore[no-any-return]  # one of the three
