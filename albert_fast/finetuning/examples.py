"""What tasks are about, before any tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextExample:
    """A text or a pair and its class. ``where``: file and line, for messages."""

    text: str
    text_pair: str | None
    label: str
    where: str = field(default="", compare=False)


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
    """The words of a sentence and their tags. ``where``: file and line of the first, for messages."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    where: str = field(default="", compare=False)
