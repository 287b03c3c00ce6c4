"""From a corpus to examples: any of them, at any time, from the seed, the epoch and its place alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from albert_fast.errors import InvalidInputError
from albert_fast.pretraining.corpus import Corpus
from albert_fast.pretraining.masking import IGNORED, Masker, MaskRules
from albert_fast.pretraining.segments import SWAPPED, Draws, SegmentRules, generator, plan, segments
from albert_fast.tokenizer import AlbertTokenizer


@dataclass(frozen=True, eq=False)
class Example:
    """One sequence of S tokens."""

    input_ids: npt.NDArray[np.int32]  # [S], masked
    token_type_ids: npt.NDArray[np.int32]  # [S]
    labels: npt.NDArray[np.int64]  # [S], what was masked, -100 elsewhere
    sentence_order_label: int  # 0 = in order, 1 = swapped


class Examples:
    """Pretraining examples of a corpus. Masks are drawn anew in each epoch; an example depends on the seed, its epoch
    and its place in it, not on what was made before."""

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: AlbertTokenizer,
        *,
        seed: int = 0,
        segment_rules: SegmentRules | None = None,
        mask_rules: MaskRules | None = None,
    ) -> None:
        self.corpus = corpus
        self.seed = seed
        self.segment_rules = segment_rules or SegmentRules()
        self._masker = Masker(tokenizer, mask_rules or MaskRules())
        self._cls, self._sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self._epoch = -1
        self._plan: npt.NDArray[np.int64] = np.empty((0, 5), np.int64)

    def count(self, epoch: int) -> int:
        """Examples of an epoch; epochs differ a little, for lengths are drawn."""
        return len(self._plan_of(epoch))

    def example(self, epoch: int, index: int) -> Example:
        """Example ``index`` of an epoch. Raises ``InvalidInputError`` beyond its last."""
        rows = self._plan_of(epoch)
        if not 0 <= index < len(rows):
            raise InvalidInputError(f"index: got {index}, expected 0 to {len(rows) - 1} in epoch {epoch}")
        rng = generator(Draws.EXAMPLE, self.seed, epoch, index)
        first, second = segments(self.corpus, rows[index], self.segment_rules.max_tokens, rng)
        ids = np.concatenate([[self._cls], first, [self._sep], second, [self._sep]]).astype(np.int32)
        types = np.zeros(len(ids), np.int32)
        types[len(first) + 2 :] = 1
        masked, labels = self._masker.mask(ids, rng)
        return Example(masked, types, labels, int(rows[index, SWAPPED]))

    def batches(self, batch_size: int, *, epoch: int = 0, index: int = 0) -> Iterator[tuple[int, int, list[Example]]]:
        """Batches without end from a place on: the place behind each batch, and its examples. A batch may go over from
        one epoch to the next."""
        if batch_size < 1:
            raise InvalidInputError(f"batch_size: got {batch_size}, expected at least 1")
        batch: list[Example] = []
        while True:
            if index >= self.count(epoch):
                epoch, index = epoch + 1, 0
            batch.append(self.example(epoch, index))
            index += 1
            if len(batch) == batch_size:
                yield epoch, index, batch
                batch = []

    def _plan_of(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:
            rows = plan(self.corpus, self.segment_rules, self.seed, epoch)
            if not len(rows):
                raise InvalidInputError("corpus: got no pair of segments, expected documents of several sentences")
            self._plan, self._epoch = rows, epoch
        return self._plan


def collate(examples: list[Example], pad_token_id: int = 0) -> dict[str, npt.NDArray[np.int64]]:
    """A padded batch with the argument names of ``AlbertForPreTraining``: input_ids, attention_mask, token_type_ids and
    labels [B, S], sentence_order_label [B]."""
    length = max(len(example.input_ids) for example in examples)
    fill = {"input_ids": pad_token_id, "token_type_ids": 0, "labels": IGNORED, "attention_mask": 0}
    batch = {name: np.full((len(examples), length), value, np.int64) for name, value in fill.items()}
    for row, example in enumerate(examples):
        width = len(example.input_ids)
        batch["input_ids"][row, :width] = example.input_ids
        batch["token_type_ids"][row, :width] = example.token_type_ids
        batch["labels"][row, :width] = example.labels
        batch["attention_mask"][row, :width] = 1
    batch["sentence_order_label"] = np.array([example.sentence_order_label for example in examples], np.int64)
    return batch
