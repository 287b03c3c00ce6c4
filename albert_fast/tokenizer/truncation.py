"""Which tokens of a text, or of a pair, are kept when it is longer than allowed; the tail of a text goes
first, or with the side "left" its head.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from albert_fast.errors import InvalidInputError

Strategy = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
Side = Literal["right", "left"]
SIDES: tuple[Side, ...] = get_args(Side)


class Kept(NamedTuple):
    """Token ranges kept of the text and, for a pair, of its second text."""

    first: range
    second: range | None


def kept_range(total: int, count: int, side: Side) -> range:
    """The ``count`` tokens that are kept of ``total``, which lose those on ``side``."""
    return range(count) if side == "right" else range(total - count, total)


def kept_lengths(
    first: int, second: int | None, budget: int, strategy: Strategy, where: str, *, extra_to_longer: bool = False
) -> tuple[int, int | None]:
    """Return how many tokens stay of a text of ``first`` tokens and a second one of ``second`` (None: no
    pair).

    ``budget`` counts both texts' tokens without special ones. ``longest_first`` takes from the longer text
    until both are equally long, then from both in turn (the second one first, as transformers' slow tokenizers;
    with ``extra_to_longer`` the token that is left over goes to the longer text, or the second, as in fast ones).
    Raises InvalidInputError, starting with ``where``, if the one text that may be cut is too short to make room.
    """
    excess = first + (second or 0) - budget
    if excess <= 0 or strategy == "do_not_truncate":
        return first, second
    if strategy == "longest_first" and second is not None:
        if extra_to_longer and min(first, second) > budget // 2:
            half, rest = divmod(budget, 2)
            return (half, half + rest) if first <= second else (half + rest, half)
        level = min(abs(first - second), excess)
        shared = excess - level
        if first > second:
            return first - level - shared // 2, second - (shared - shared // 2)
        return first - shared // 2, second - level - (shared - shared // 2)
    room = second or 0 if strategy == "only_second" else first
    if excess > room:
        raise InvalidInputError(
            f"{where}: {excess} tokens too many and truncation={strategy!r} can take away {room} at most,"
            " expected a larger max_length or truncation='longest_first'"
        )
    if strategy == "only_second" and second is not None:
        return first, second - excess
    return first - excess, second


def windows(
    first: int, second: int | None, budget: int, strategy: Strategy, stride: int, where: str, side: Side = "right"
) -> Iterator[Kept]:
    """Yield overlapping parts that together cover the text that is too long; each next one repeats
    ``stride`` tokens. With the side "left" they begin at its end.
    """
    if second is not None and strategy == "longest_first":
        raise InvalidInputError(
            f"truncation: got 'longest_first' with return_overflowing_tokens for {where}, a pair, expected"
            " 'only_first' or 'only_second'"
        )
    kept_first, kept_second = kept_lengths(first, second, budget, strategy, where)
    if (kept_first, kept_second) == (first, second):
        yield Kept(range(first), None if second is None else range(second))
        return
    slide_second = strategy == "only_second"
    total, width = (second or 0, kept_second or 0) if slide_second else (first, kept_first)
    if stride >= width:
        raise InvalidInputError(
            f"stride: got {stride}, expected less than the {width} tokens max_length leaves for {where}"
        )
    for start in range(0, total - stride, width - stride):
        stop = min(start + width, total)
        part = range(start, stop) if side == "right" else range(total - stop, total - start)
        if slide_second:
            yield Kept(range(first), part)
        else:
            yield Kept(part, None if second is None else range(second))
