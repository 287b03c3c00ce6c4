"""ALBERT's head for SQuAD 2.0 made of transformers' modules of XLNet, whose head it is, on transformers' ALBERT."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.xlnet import modeling_xlnet as xlnet


class BeamTwin(nn.Module):
    """Encoder and head with the parameters of ``AlbertForBeamQuestionAnswering``; padding is p_mask, as in XLNet's
    data."""

    def __init__(self, config: transformers.AlbertConfig) -> None:
        super().__init__()
        self.albert = transformers.AlbertModel(config, add_pooling_layer=False)
        self.start_logits = xlnet.XLNetPoolerStartLogits(config)
        self.end_logits = xlnet.XLNetPoolerEndLogits(config)
        self.answer_class = xlnet.XLNetPoolerAnswerClass(config)

    def loss(
        self, inputs: dict[str, Tensor], p_mask: Tensor, starts: Tensor, ends: Tensor, none: Tensor, cls: Tensor
    ) -> Tensor:
        hidden = self.albert(**inputs).last_hidden_state
        start_logits = self.start_logits(hidden, p_mask=p_mask)
        end_logits = self.end_logits(hidden, start_positions=starts, p_mask=p_mask)
        logits = self.answer_class(hidden, start_positions=starts, cls_index=cls)
        spans = (F.cross_entropy(start_logits, starts) + F.cross_entropy(end_logits, ends)) / 2
        return spans + 0.5 * F.binary_cross_entropy_with_logits(logits, none.double())

    def beam(self, hidden: Tensor, p_mask: Tensor, count: int) -> tuple[Any, list[Any], Tensor]:
        """Of one text, hidden [1, S, H], p_mask [1, S]: the best starts (``values``, ``indices``), the best ends for
        each of them, and the logit of no answer."""
        log_probs = self.start_logits(hidden, p_mask=p_mask)[0].log_softmax(-1)
        starts = log_probs.topk(count)
        ends = [
            self.end_logits(hidden, start_positions=start[None], p_mask=p_mask)[0].log_softmax(-1).topk(count)
            for start in starts.indices
        ]
        summary = (log_probs.exp()[:, None] * hidden[0]).sum(0)[None]
        logit = self.answer_class(hidden, start_states=summary, cls_index=torch.zeros(1, dtype=torch.long))
        return starts, ends, logit
