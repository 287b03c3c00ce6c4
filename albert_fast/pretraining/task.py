"""Both objectives of ALBERT's pretraining on examples, and how good a model is at them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.pretraining.corpus import Corpus
from albert_fast.pretraining.examples import Example, Examples, collate
from albert_fast.pretraining.masking import IGNORED
from albert_fast.trainer import Place

_EVALUATION_BATCH = 32
_EVALUATED = 2000
"""Examples at most; an accuracy of so many is known to a percent."""


class PretrainingTask:
    """Masked language modelling and sentence order prediction; the loss is the sum of theirs (Lan et al. 2020)."""

    best_by: str | None = "mlm_loss"

    def __init__(self, examples: Examples, heldout: Examples | None, vocab_size: int) -> None:
        self.examples, self.heldout = examples, heldout
        if heldout is not None:
            heldout.count(0)  # what cannot be evaluated is refused now
        # Another thread makes batches of the first; each knows the plan of one epoch.
        self._evaluated = copy.copy(examples) if heldout is None else heldout
        self._unigram = unigram(examples.corpus, vocab_size)

    def batches(self, place: Place, batch_size: int) -> Iterator[tuple[Place, dict[str, Tensor]]]:
        """Examples of the training corpus, epoch after epoch."""
        for epoch, index, examples in self.examples.batches(batch_size, epoch=place.epoch, index=place.done):
            yield Place(epoch, index), as_tensors(examples)

    def losses(self, model: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Their sum and each of them."""
        output = model(**batch)
        sop_loss = F.cross_entropy(output.sop_logits.float(), batch["sentence_order_label"])
        if not bool((batch["labels"] != IGNORED).any()):  # words longer than what may be masked: no mean over them
            return {"loss": sop_loss, "mlm_loss": torch.zeros_like(sop_loss), "sop_loss": sop_loss}
        return {"loss": output.loss, "mlm_loss": output.loss - sop_loss, "sop_loss": sop_loss}

    def evaluate(self, model: Any) -> dict[str, float]:
        """On the held-out examples, which are the same every time; on as many of the first epoch of training if
        there are none. Perplexities are of masked pieces."""
        source = self._evaluated
        examples = (source.example(0, i) for i in range(min(source.count(0), _EVALUATED)))
        totals = dict.fromkeys(("mlm", "unigram", "masked", "right", "guessed", "sop", "in_order", "pairs"), 0.0)
        guess = int(self._unigram.argmax())
        while batch := list(islice(examples, _EVALUATION_BATCH)):
            tensors = {name: value.to(model.device) for name, value in as_tensors(batch).items()}
            labels, order = tensors.pop("labels"), tensors.pop("sentence_order_label")
            encoded = model.albert(**tensors)
            is_masked = labels != IGNORED
            wanted = labels[is_masked]
            logits = model.predictions(encoded.last_hidden_state[is_masked]).float()
            sop_logits = model.sop_classifier(encoded.pooler_output).float()
            totals["mlm"] += float(F.cross_entropy(logits, wanted, reduction="sum"))
            totals["unigram"] -= float(self._unigram[wanted.cpu().numpy()].sum())
            totals["masked"] += len(wanted)
            totals["right"] += int((logits.argmax(-1) == wanted).sum())
            totals["guessed"] += int((wanted == guess).sum())
            totals["sop"] += float(F.cross_entropy(sop_logits, order, reduction="sum"))
            totals["in_order"] += int((sop_logits.argmax(-1) == order).sum())
            totals["pairs"] += len(order)
        masked, pairs = totals["masked"], totals["pairs"]
        return {
            "mlm_loss": totals["mlm"] / masked,
            "mlm_perplexity": math.exp(totals["mlm"] / masked),
            "mlm_accuracy": totals["right"] / masked,
            "unigram_perplexity": math.exp(totals["unigram"] / masked),
            "unigram_accuracy": totals["guessed"] / masked,
            "sop_loss": totals["sop"] / pairs,
            "sop_accuracy": totals["in_order"] / pairs,
            "masked_tokens": masked,
            "pairs": pairs,
        }


def as_tensors(examples: list[Example]) -> dict[str, Tensor]:
    """A padded batch for ``AlbertForPreTraining``."""
    return {name: torch.from_numpy(array) for name, array in collate(examples).items()}


def unigram(corpus: Corpus, vocab_size: int) -> npt.NDArray[np.float64]:
    """The baseline, [V] log probabilities: pieces as often as in a corpus, whatever stands around them; counts of one
    more each."""
    counts = np.bincount(corpus.ids, minlength=vocab_size) + 1.0
    return np.asarray(np.log(counts / counts.sum()))
