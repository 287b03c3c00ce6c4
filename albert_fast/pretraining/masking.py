"""Masked-language-model examples: n-grams of whole words are masked (Lan et al. 2020, section 4.1; Joshi et al. 2020).

The procedure of google-research/albert's ``create_masked_lm_predictions``; random replacements are never special
tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError
from albert_fast.tokenizer import AlbertTokenizer

IGNORED = -100
"""The label of tokens that are not predicted, as torch's cross-entropy has it."""


@dataclass(frozen=True)
class MaskRules:
    """What is masked.

    ``masked_lm_prob`` of a sequence's tokens, special ones counted, but at most ``max_predictions`` (None: any number).
    A span is of n words with a probability in proportion to 1 / n, n up to ``ngram``. Of its tokens ``replace_prob``
    become [MASK] and ``random_prob`` any other piece; the rest stays what it is.
    """

    masked_lm_prob: float = 0.15
    max_predictions: int | None = None
    ngram: int = 3
    replace_prob: float = 0.8
    random_prob: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.masked_lm_prob < 1:
            raise InvalidInputError(f"masked_lm_prob: got {self.masked_lm_prob}, expected more than 0 and below 1")
        if self.ngram < 1:
            raise InvalidInputError(f"ngram: got {self.ngram}, expected at least 1")
        if self.max_predictions is not None and self.max_predictions < 1:
            raise InvalidInputError(f"max_predictions: got {self.max_predictions}, expected at least 1")
        if min(self.replace_prob, self.random_prob) < 0 or self.replace_prob + self.random_prob > 1:
            raise InvalidInputError(
                f"replace_prob, random_prob: got {self.replace_prob} and {self.random_prob}, expected probabilities"
                " that add up to at most 1"
            )


class Masker:
    """Masks sequences of one vocabulary."""

    def __init__(self, tokenizer: AlbertTokenizer, rules: MaskRules) -> None:
        self.rules = rules
        special = np.array(tokenizer.all_special_ids)
        pieces = tokenizer.convert_ids_to_tokens(range(tokenizer.vocab_size))
        self._starts_word = np.array([piece.startswith("▁") for piece in pieces])
        self._is_special = np.zeros(len(pieces), np.bool_)
        self._is_special[special[special != tokenizer.unk_token_id]] = True
        self._replacements = np.setdiff1d(np.arange(len(pieces)), special).astype(np.int32)
        self._mask_token_id = tokenizer.mask_token_id
        shares = 1 / np.arange(1, rules.ngram + 1)
        self._shares = np.cumsum(shares)

    def mask(
        self, ids: npt.NDArray[np.int32], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The masked ids, and labels: what was there, ``IGNORED`` where nothing is predicted. Both [S]."""
        chosen = self._choose(ids, rng)
        labels = np.full(len(ids), IGNORED, np.int64)
        labels[chosen] = ids[chosen]
        masked = ids.copy()
        fate = rng.random(len(chosen))
        rules = self.rules
        replaced = chosen[fate < rules.replace_prob]
        swapped = chosen[(fate >= rules.replace_prob) & (fate < rules.replace_prob + rules.random_prob)]
        masked[replaced] = self._mask_token_id
        masked[swapped] = rng.choice(self._replacements, len(swapped))
        return masked, labels

    def words(self, ids: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First token and end of each word: a piece that begins with ▁, or comes behind a special token, and those
        that go on with it. Special tokens are in none."""
        special = self._is_special[ids]
        after_special = np.concatenate([[True], special[:-1]])
        starts = np.flatnonzero((self._starts_word[ids] | after_special) & ~special)
        stops = np.concatenate([starts, np.flatnonzero(special), [len(ids)]])
        stops.sort()
        return starts, stops[np.searchsorted(stops, starts, side="right")]

    def _choose(self, ids: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Places that are predicted, ascending."""
        starts, stops = self.words(ids)
        budget = max(1, round(len(ids) * self.rules.masked_lm_prob))
        if self.rules.max_predictions is not None:
            budget = min(budget, self.rules.max_predictions)
        covered = np.zeros(len(ids), np.bool_)
        left = budget
        order = rng.permutation(len(starts)).tolist()
        draws = rng.random(len(starts)).tolist()
        for word, draw in zip(order, draws, strict=True):
            if left == 0:
                break
            begin = int(starts[word])
            if covered[begin]:
                continue
            most = self._run(starts, stops, word)
            n = 1 + int(np.searchsorted(self._shares[:most], draw * self._shares[most - 1], side="right"))
            while n > 1 and stops[word + n - 1] - begin > left:
                n -= 1
            end = int(stops[word + n - 1])
            if end - begin > left or covered[begin:end].any():
                continue
            covered[begin:end] = True
            left -= end - begin
        return np.flatnonzero(covered)

    def _run(self, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], word: int) -> int:
        """How many words follow each other from ``word`` on, itself included, up to ``ngram``."""
        count = 1
        while (
            count < self.rules.ngram and word + count < len(starts) and starts[word + count] == stops[word + count - 1]
        ):
            count += 1
        return count
