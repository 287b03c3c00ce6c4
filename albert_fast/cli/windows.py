"""Texts through a computation, some at a time: results as soon as they are there, errors with the text they are of."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..errors import AlbertFastError

Result = TypeVar("Result")

# The first result comes at once; then windows grow, for batches to be full, while they take no longer than this with
# what is waited for to be read.
_SECONDS = 0.25
LARGEST_WINDOW = 256

_OWN_NAME = re.compile(r"(?:inputs|texts?)\[0\](?:\[\d+\])?: ")


def in_windows(
    items: Iterable[tuple[str, Any]],
    compute: Callable[[list[Any]], Sequence[Result]],
    largest: int = LARGEST_WINDOW,
    after_each: Callable[[], Any] = lambda: None,
) -> Iterator[Result]:
    """The results of ``compute`` for items that come with the names of their places, in order.

    An item that cannot be read or computed ends it with an error that names its place, after the results of all items
    before it. ``after_each`` is called after each window.
    """
    iterator = iter(items)
    size, more = 1, True
    while more:
        started = time.monotonic()
        window, failure = _take(iterator, size)
        more = len(window) == size and failure is None
        yield from _computed(window, compute)
        after_each()
        if failure is not None:
            raise failure
        elapsed = time.monotonic() - started
        size = min(2 * size, largest) if elapsed < _SECONDS else max(size // 2, 1) if elapsed > 4 * _SECONDS else size


def _take(iterator: Iterator[tuple[str, Any]], size: int) -> tuple[list[tuple[str, Any]], AlbertFastError | None]:
    window: list[tuple[str, Any]] = []
    try:
        while len(window) < size and (item := next(iterator, None)) is not None:
            window.append(item)
    except AlbertFastError as error:
        return window, error
    return window, None


def _computed(window: list[tuple[str, Any]], compute: Callable[[list[Any]], Sequence[Result]]) -> Iterator[Result]:
    if not window:
        return
    try:
        results = compute([item for _, item in window])
    except AlbertFastError as error:
        if len(window) == 1:
            raise _named(error, window[0][0]) from error
    else:
        yield from results
        return
    for single in window:  # up to the one that it was
        yield from _computed([single], compute)


def _named(error: AlbertFastError, place: str) -> AlbertFastError:
    """The error with the place for the index that an item has among one."""
    message, count = _OWN_NAME.subn(f"{place}: ", str(error), count=1)
    return type(error)(message) if count else error
