"""From the classes of tokens to entities: the rules of transformers' ``aggregation_strategy``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from albert_fast.errors import InvalidInputError
from albert_fast.pipelines.base import Array

STRATEGIES = ("none", "simple", "first", "average", "max")


@dataclass(frozen=True, eq=False)
class Token:
    """A token that is not special, and the probabilities of its classes."""

    index: int  # in its row
    piece: str
    start: int  # characters of the text
    end: int
    scores: Array
    continues: bool  # the word that the token before it is of


@dataclass(frozen=True)
class Entity:
    """A class of a token or of a word."""

    label: str
    score: float
    pieces: tuple[str, ...]
    start: int
    end: int
    index: int

    @property
    def begins(self) -> bool:
        """Whether it starts a group, also beside another of its kind."""
        return self.label.startswith("B-")

    @property
    def kind(self) -> str:
        """The label without B- and I-."""
        return self.label[2:] if self.label.startswith(("B-", "I-")) else self.label


def as_strategy(strategy: Any) -> str:
    """Raises ``InvalidInputError`` for a name that is none."""
    name = str(getattr(strategy, "value", strategy)).lower()  # transformers has an enumeration of them
    if name not in STRATEGIES:
        raise InvalidInputError(f"aggregation_strategy: got {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    return name


def classify(tokens: Sequence[Token], labels: Sequence[str], strategy: str) -> list[Entity]:
    """A class for each token (``"none"``, ``"simple"``), or for each word: that of its first token, of the token that
    is surest, or of the mean of its tokens."""
    units = [[token] for token in tokens] if strategy in ("none", "simple") else _words(tokens)
    entities = []
    for unit in units:
        scores = _joint(unit, strategy)
        best = int(scores.argmax())
        pieces = tuple(token.piece for token in unit)
        entities.append(Entity(labels[best], float(scores[best]), pieces, unit[0].start, unit[-1].end, unit[0].index))
    return entities


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.continues:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _joint(tokens: Sequence[Token], strategy: str) -> Array:
    if strategy == "average":
        return np.asarray(np.mean([token.scores for token in tokens], axis=0))
    if strategy == "max":
        return max(tokens, key=lambda token: float(token.scores.max())).scores
    return tokens[0].scores


def group(entities: Iterable[Entity]) -> list[list[Entity]]:
    """Neighbours of one kind, as long as none of them begins another."""
    groups: list[list[Entity]] = []
    for entity in entities:
        if groups and not entity.begins and entity.kind == groups[-1][-1].kind:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return groups


def without_overlaps(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of entities that windows of a text found in one place the longest, and of equal ones the surest."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda found: found["start"]):
        if kept and entity["start"] < kept[-1]["end"]:
            kept[-1] = max(kept[-1], entity, key=lambda found: (found["end"] - found["start"], found["score"]))
        else:
            kept.append(entity)
    return kept


def by_sample(rows: Sequence[int]) -> list[list[int]]:
    """Indices of rows, grouped by the sample that each is of; samples ascend."""
    return [list(indices) for _, indices in groupby(range(len(rows)), key=lambda i: rows[i])]
