"""What tasks are about, before any tokenizer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextExample:
    """A text or a pair and its class."""

    text: str
    text_pair: str | None
    label: str


@dataclass(frozen=True)
class QuestionExample:
    """A question about a context. ``answers``: text and first character of each accepted one; none: impossible."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ChoiceExample:
    """A passage, texts that may go with it, and the place of the one that does. ``group``: the part of the data."""

    passage: str
    choices: tuple[str, ...]
    answer: int
    group: str


@dataclass(frozen=True)
class TaggedExample:
    """The words of a sentence and their tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
