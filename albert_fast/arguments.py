"""Checks of numbers that callers give, before they reach code that knows no errors of ours."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Any, Final

from albert_fast.errors import InvalidInputError, InvalidTypeError

MOST_THREADS: Final = 1024
"""The core takes no more."""


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value as a Python integer; NumPy's are fine, booleans are not.

    Raises ``InvalidTypeError`` for what is no integer, ``InvalidInputError`` for one out of range.
    """
    expected = f"an integer of at least {low}" if high is None else f"an integer in {low}..{high}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InvalidTypeError(f"{name}: got {value!r}, expected {expected}")
    if number < low or (high is not None and number > high):
        raise InvalidInputError(f"{name}: got {number}, expected {expected}")
    return number


def without_unasked(options: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The options without those of ``names`` that ask for nothing, as None, False and empty ones do."""
    return {name: value for name, value in options.items() if value or name not in names}


def check_threads(num_threads: Any) -> int | None:
    """A number of threads, or None for as many as there are processors. Raises as ``check_integer``."""
    return None if num_threads is None else check_integer("num_threads", num_threads, 1, MOST_THREADS)


def check_left_out(**values: Any) -> None:
    """Arguments of transformers' models that scripts pass without meaning anything: None and false are fine.

    Raises ``InvalidInputError`` for another value.
    """
    for name, value in values.items():
        if value is not None and value is not False:
            expected = "it to be left out; albert_fast.nn.AlbertModel takes it"
            raise InvalidInputError(f"{name}: got {type(value).__name__}, expected {expected}")
