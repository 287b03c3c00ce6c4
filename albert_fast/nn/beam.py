"""ALBERT's own head for SQuAD 2.0: ends that depend on starts, and a class for questions without an answer.

The head of google-research/albert's SQuAD 2.0 model, which is XLNet's (Yang et al. 2019); its parameters have the names
that transformers gives them there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from albert_fast.config import AlbertConfig as Shape
from albert_fast.errors import InvalidInputError
from albert_fast.nn.layers import linear
from albert_fast.nn.losses import position_loss
from albert_fast.nn.model import AlbertModel
from albert_fast.nn.outputs import BeamQuestionAnsweringOutput
from albert_fast.nn.pretrained import AlbertPreTrainedModel

_CLASS_LOSS = 0.5
"""The share of the loss of the answer class: as much as that of a start or an end."""


class _StartLogits(nn.Module):
    """[B, S, H] -> [B, S]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = linear(shape.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """A linear layer on every token."""
        return self.dense(hidden).squeeze(-1)  # type: ignore[no-any-return]


class _EndLogits(nn.Module):
    """[..., S, H] and the hidden state of the start, [..., 1, H] -> [..., S]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense_0 = linear(2 * shape.hidden_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dense_1 = linear(shape.hidden_size, 1)

    def forward(self, hidden: Tensor, start: Tensor) -> Tensor:
        """dense_1(LayerNorm(tanh(dense_0([token, start]))))."""
        both = torch.cat([hidden, start.expand_as(hidden)], dim=-1)
        return self.dense_1(self.LayerNorm(torch.tanh(self.dense_0(both)))).squeeze(-1)  # type: ignore[no-any-return]


class _AnswerClass(nn.Module):
    """The hidden states of the start and of [CLS], [B, H] each -> [B]; above 0 there is no answer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense_0 = linear(2 * shape.hidden_size, shape.hidden_size)
        self.dense_1 = nn.utils.skip_init(nn.Linear, shape.hidden_size, 1, bias=False)  # type: ignore[no-untyped-call]

    def forward(self, start: Tensor, cls: Tensor) -> Tensor:
        """dense_1(tanh(dense_0([start, cls])))."""
        both = torch.cat([start, cls], dim=-1)
        return self.dense_1(torch.tanh(self.dense_0(both))).squeeze(-1)  # type: ignore[no-any-return]


class AlbertForBeamQuestionAnswering(AlbertPreTrainedModel):
    """Starts, ends given a start, and whether there is an answer at all.

    ``config.start_n_top`` (5) and ``config.end_n_top`` (5) say how many starts, and ends of each, are kept.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.start_n_top, self.end_n_top = self._count("start_n_top"), self._count("end_n_top")
        shape = self.config.shape()
        self.albert = AlbertModel(self.config, add_pooling_layer=False)
        self.start_logits = _StartLogits(shape)
        self.end_logits = _EndLogits(shape)
        self.answer_class = _AnswerClass(shape)
        self._finish()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        is_impossible: Tensor | None = None,
        p_mask: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward``; positions [B] of the first and last token of the answer, of [CLS] (0) where there
        is none; ``is_impossible`` [B], 1 where there is none; ``p_mask`` [B, S], nonzero where no answer may begin or
        end, as it never may at padding.

        Returns:
            ``loss`` if there are both positions: the mean of those of start and end, and half that of the class if
            there is ``is_impossible``. Otherwise the likeliest starts, n = start_n_top, and m = end_n_top ends for
            each: ``start_top_log_probs`` and ``start_top_index`` [B, n], ``end_top_log_probs`` and ``end_top_index``
            [B, n, m]; ``cls_logits`` [B], above 0 where there is no answer. With few tokens n and m are at most S.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        hidden = encoded.last_hidden_state
        masked = hidden.new_zeros(hidden.shape[:2], dtype=torch.bool)
        for mask in (None if attention_mask is None else attention_mask == 0, p_mask):
            masked = masked if mask is None else masked | (mask != 0)
        if start_positions is not None and end_positions is not None:
            loss = self._loss(hidden, masked, start_positions.reshape(-1), end_positions, is_impossible)
            output = BeamQuestionAnsweringOutput(loss=loss, hidden_states=encoded.hidden_states)
        else:
            output = BeamQuestionAnsweringOutput(**self._beam(hidden, masked), hidden_states=encoded.hidden_states)
        return self._output(output, return_dict)

    def _count(self, name: str) -> int:
        """A setting, which ``config.json`` then has."""
        count: int = self.config.__dict__.setdefault(name, 5)
        if not isinstance(count, int) or count < 1:
            raise InvalidInputError(f"config.{name}: got {count!r}, expected an integer of at least 1")
        return count

    def _loss(
        self, hidden: Tensor, masked: Tensor, starts: Tensor, ends: Tensor, is_impossible: Tensor | None
    ) -> Tensor:
        start_states = hidden[torch.arange(len(hidden), device=hidden.device), starts.clamp(0, hidden.shape[1] - 1)]
        start_logits = _without(self.start_logits(hidden), masked)
        end_logits = _without(self.end_logits(hidden, start_states[:, None]), masked)
        loss = (position_loss(start_logits, starts) + position_loss(end_logits, ends)) / 2
        if is_impossible is not None:
            logits = self.answer_class(start_states, hidden[:, 0])
            labels = is_impossible.reshape(-1).to(logits.dtype)
            loss = loss + _CLASS_LOSS * F.binary_cross_entropy_with_logits(logits, labels)
        return loss

    def _beam(self, hidden: Tensor, masked: Tensor) -> dict[str, Tensor]:
        batch, length = masked.shape
        log_probs = _without(self.start_logits(hidden), masked).log_softmax(-1)
        start_top, start_index = log_probs.topk(min(self.start_n_top, length), dim=-1)  # [B, n]
        states = hidden[torch.arange(batch, device=hidden.device)[:, None], start_index]  # [B, n, H]
        several = hidden[:, None].expand(-1, states.shape[1], -1, -1)  # [B, n, S, H]
        end_logits = _without(self.end_logits(several, states[:, :, None]), masked[:, None])
        end_top, end_index = end_logits.log_softmax(-1).topk(min(self.end_n_top, length), dim=-1)
        summary = torch.einsum("bsh,bs->bh", hidden, log_probs.exp())
        return {
            "start_top_log_probs": start_top,
            "start_top_index": start_index,
            "end_top_log_probs": end_top,
            "end_top_index": end_index,
            "cls_logits": self.answer_class(summary, hidden[:, 0]),
        }


def _without(logits: Tensor, masked: Tensor) -> Tensor:
    return logits.masked_fill(masked, torch.finfo(logits.dtype).min)
