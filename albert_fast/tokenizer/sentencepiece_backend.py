"""A ``spiece.model`` with ALBERT's text rules: the tokenizer the published models were trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from albert_fast.tokenizer.added_tokens import ALBERT_TOKENS, ROLES, AddedToken, place_tokens
from albert_fast.tokenizer.assembly import Tokens
from albert_fast.tokenizer.normalizer import Normalizer, Segment, lower_each
from albert_fast.tokenizer.offsets import Span, align, piece_spans
from albert_fast.tokenizer.vocabulary import WORD_START, Vocabulary

VOCABULARY_FILE = "spiece.model"


def _enough(least: int) -> int:
    """Characters that have so many tokens in nearly every text."""
    return 16 * least + 1024


class SentencePieceBackend:
    """See ``Backend``. ``rules`` says which tokens are split out of a text, ``added`` has the ids of those among them
    that are no pieces of the vocabulary."""

    extra_to_longer = False
    subword_prefix: str | None = None

    def __init__(
        self, vocabulary: Vocabulary, rules: Normalizer, special: dict[str, str], added: dict[str, int]
    ) -> None:
        self.vocabulary = vocabulary
        self.rules = rules
        self.name = vocabulary.name
        self.size = vocabulary.size
        self.special = special
        self.added = added
        self._ids = {token.content: added.get(token.content, self._piece_id(token.content)) for token in rules.added}
        self._unk_id = self._ids[special["unk"]]
        self.all_special_ids = sorted({self._ids[token.content] for token in rules.added if token.special})

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceBackend, (self.vocabulary, self.rules, self.special, self.added)

    def tokens(self) -> list[str]:
        """See ``Backend``."""
        beyond = {i: token for token, i in self.added.items()}
        return [*self.vocabulary.pieces, *(beyond.get(i, "") for i in range(self.size, max(beyond, default=0) + 1))]

    def token_to_id(self, token: str) -> int | None:
        """See ``Backend``."""
        return self.added.get(token, self.vocabulary.ids.get(token))

    def tokenize(self, text: str) -> list[str]:
        """See ``Backend``."""
        tokens: list[str] = []
        for segment in self.rules.split(text):
            if segment.special is not None:
                tokens.append(segment.special)
            else:
                part = self.rules.normalize(text[segment.start : segment.end])
                tokens.extend(self.vocabulary.encode(part))
        return tokens

    def encode(self, texts: list[str], num_threads: int | None, least: int | None = None) -> list[list[int]]:
        """See ``Backend``; all parts of all texts go to SentencePiece at once."""
        if least is not None and any(len(text) > 2 * _enough(least) for text in texts):
            beginnings = [self._beginning(text, least) for text in texts]
            others = iter(
                self.encode([t for t, ids in zip(texts, beginnings, strict=True) if ids is None], num_threads)
            )
            return [next(others) if ids is None else ids for ids in beginnings]
        rules = self.rules
        split = [None if rules.is_plain(text) else rules.split(text) for text in texts]
        parts: list[str] = []
        for text, segments in zip(texts, split, strict=True):
            if segments is None:
                parts.append(rules.normalize(text))
            else:
                parts.extend(rules.normalize(text[s.start : s.end]) for s in segments if s.special is None)
        encoded = self.vocabulary.encode_ids(parts, num_threads)
        rows = []
        for segments in split:
            if segments is None:
                rows.append(next(encoded))
                continue
            row: list[int] = []
            for segment in segments:
                row.extend(next(encoded) if segment.special is None else (self._ids[segment.special],))
            rows.append(row)
        return rows

    def _beginning(self, text: str, least: int) -> list[int] | None:
        """The first ids of a long text, ``least`` at least; None if it is short, or all of it has to be read.

        Words do not know each other: in no piece a space stands behind another character, and the text rules look at
        neighbours within a word alone. So whole words at the beginning have the ids that they have in the whole text.
        """
        if self.vocabulary.crosses_words:
            return None
        length = _enough(least)
        while 2 * length < len(text):
            *whole, last = self.rules.split(text[:length])
            parts = [*whole, last] if last.special is not None else whole
            ids = [i for part in parts for i in self._ids_of(text, part)]
            if last.special is None:
                words = self.rules.normalize(text[last.start : last.end]).rpartition(" ")[0]
                ids += next(self.vocabulary.encode_ids([words]))
            if len(ids) >= least:
                return ids
            length *= 4
        return None

    def _ids_of(self, text: str, part: Segment) -> list[int]:
        if part.special is not None:
            return [self._ids[part.special]]
        return next(self.vocabulary.encode_ids([self.rules.normalize(text[part.start : part.end])]))

    def encode_with_spans(self, text: str) -> Tokens:
        """See ``Backend``."""
        ids: list[int] = []
        spans: list[Span] = []
        for segment in self.rules.split(text):
            if segment.special is not None:
                ids.append(self._ids[segment.special])
                spans.append((segment.start, segment.end))
                continue
            aligned = align(self.rules, text[segment.start : segment.end])
            pieces = self.vocabulary.encode(aligned.text)
            surface = self.vocabulary.normalize(aligned.text)
            ids.extend(map(self.vocabulary.piece_to_id, pieces))
            spans.extend(
                (start + segment.start, end + segment.start)
                for start, end in piece_spans(pieces, surface, aligned, self.vocabulary.vanishes)
            )
        return Tokens(ids, spans, [])

    def join(self, tokens: list[str]) -> str:
        """See ``Backend``."""
        return "".join(tokens).replace(WORD_START, " ").strip()

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        """See ``Backend``. A space goes before a special token unless another one precedes it, none after it; on both
        sides of a token that was added."""
        special, beyond = set(self.all_special_ids), {i: token for token, i in self.added.items()}
        text, run, after_special = "", list[int](), False
        for i in ids:
            if i in special:
                if not skip_special_tokens:
                    token = beyond.get(i) or self.vocabulary.pieces[i]
                    text += ("" if after_special else " ") + self.vocabulary.decode(run) + token
                    run, after_special = [], True
            elif i >= self.size:
                text += self.vocabulary.decode(run) + f" {beyond.get(i, '')} "
                run, after_special = [], False
            else:
                run.append(i)
                after_special = False
        return (text + self.vocabulary.decode(run)).strip()

    def with_tokens(self, tokens: Sequence[AddedToken], roles: Mapping[str, str]) -> SentencePieceBackend:
        """See ``Backend``. A piece stays one, unless it is to be special: files list pieces among added tokens."""
        if self.rules.do_lower_case:  # as the texts in which normalised ones are looked for
            tokens = [t if t.special or not t.normalized else replace(t, content=lower_each(t.content)) for t in tokens]
        pieces = self.vocabulary.ids
        new = {token.content: token for token in tokens if token.special or token.content not in pieces}
        rules = replace(
            self.rules, added=(*(token for token in self.rules.added if token.content not in new), *new.values())
        )
        ids = place_tokens(((token, None) for token in new.values()), {**pieces, **self.added}, len(self.tokens()))
        beyond = {content: i for content, i in ids.items() if content not in pieces}
        return SentencePieceBackend(self.vocabulary, rules, {**self.special, **roles}, {**self.added, **beyond})

    def files(self) -> dict[str, bytes]:
        """See ``Backend``."""
        return {VOCABULARY_FILE: self.vocabulary.model}

    def settings(self) -> dict[str, Any]:
        """See ``Backend``."""
        rules, roles = self.rules, self.special.values()
        own = dict(zip(ROLES, (token.content for token in ALBERT_TOKENS), strict=True))
        kept = [t for t in rules.added if t.content in self.added or (t.special and t.content not in roles)]
        return {
            "do_lower_case": rules.do_lower_case,
            "keep_accents": rules.keep_accents,
            "remove_space": rules.remove_space,
            "tokenizer_class": "AlbertTokenizer",
            **{f"{role}_token": token for role, token in self.special.items() if token != own[role]},
            **added_settings(kept, self._ids),
        }

    def _piece_id(self, content: str) -> int:
        return self.vocabulary.piece_to_id(content)


def added_settings(tokens: Sequence[AddedToken], ids: dict[str, int]) -> dict[str, Any]:
    """``added_tokens_decoder`` of tokens; nothing if there are none."""
    decoder = {
        str(ids[token.content]): {
            "content": token.content,
            "lstrip": token.lstrip,
            "normalized": token.normalized,
            "rstrip": token.rstrip,
            "single_word": token.single_word,
            "special": token.special,
        }
        for token in tokens
    }
    return {"added_tokens_decoder": decoder} if decoder else {}
