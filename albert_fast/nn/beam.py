"""ALBERT's own head for SQuAD 2.0: ends that depend on starts, and a class for questions without an answer.

The head of google-research/albert's SQuAD 2.0 model, which is XLNet's (Yang et al. 2019); its parameters have the names
that transformers gives them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import ModelOutput
from transformers.models.albert import AlbertConfig

from albert_fast.errors import InvalidInputError
from albert_fast.nn.model import AlbertModel, AlbertPreTrainedModel
from albert_fast.nn.spans import span_loss

_CLASS_LOSS = 0.5
"""The share of the loss of the answer class: as much as that of a start or an end."""


@dataclass
class BeamQuestionAnsweringOutput(ModelOutput):
    """loss []; start_top_log_probs and start_top_index [B, n]; end_top_log_probs and end_top_index [B, m * n],
    the j-th end of the i-th start at j * n + i; cls_logits [B]; hidden_states; attentions."""

    loss: Tensor | None = None
    start_top_log_probs: Tensor | None = None
    start_top_index: Tensor | None = None
    end_top_log_probs: Tensor | None = None
    end_top_index: Tensor | None = None
    cls_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class _StartLogits(nn.Module):
    """[B, S, H] -> [B, S]."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """A linear layer on every token."""
        return self.dense(hidden).squeeze(-1)  # type: ignore[no-any-return]


class _EndLogits(nn.Module):
    """[..., S, H] and the hidden state of the start, [..., 1, H] -> [..., S]."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dense_1 = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, start: Tensor) -> Tensor:
        """dense_1(LayerNorm(tanh(dense_0([token, start]))))."""
        both = torch.cat([hidden, start.expand_as(hidden)], dim=-1)
        return self.dense_1(self.LayerNorm(torch.tanh(self.dense_0(both)))).squeeze(-1)  # type: ignore[no-any-return]


class _AnswerClass(nn.Module):
    """The hidden states of the start and of [CLS], [B, H] each -> [B]; above 0 there is no answer."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.dense_1 = nn.Linear(config.hidden_size, 1, bias=False)

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
        self.albert = AlbertModel(self.config, add_pooling_layer=False)
        self.start_logits = _StartLogits(config)
        self.end_logits = _EndLogits(config)
        self.answer_class = _AnswerClass(config)
        self.post_init()

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
        cls_index: Tensor | None = None,
        p_mask: Tensor | None = None,
        *,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As ``AlbertModel.forward``; positions [B] of the first and last token of the answer, of [CLS] (0) where there
        is none, S or more where it was cut off; ``is_impossible`` [B], 1 where there is none; ``cls_index`` [B], where
        [CLS] is, 0 if it is not given; ``p_mask`` [B, S], nonzero where no answer may begin or end, as it never may at
        padding.

        Returns:
            ``loss`` if there are both positions: the mean of those of start and end, and half that of the class if
            there is ``is_impossible``. Otherwise the likeliest starts, n = start_n_top, and m = end_n_top ends for
            each: ``start_top_log_probs`` and ``start_top_index`` [B, n], ``end_top_log_probs`` and ``end_top_index``
            [B, m * n], the j-th end of the i-th start at j * n + i, as transformers has them; ``cls_logits`` [B],
            above 0 where there is no answer. With few tokens n and m are at most S. And ``hidden_states`` if they are
            asked for.

        Raises:
            InvalidInputError: an argument of another shape, or a ``cls_index`` outside 0..S-1.
        """
        encoded = self.albert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        hidden = encoded.last_hidden_state
        masked = _masked(hidden, attention_mask, p_mask)
        cls = _states_at_cls(hidden, cls_index)
        if start_positions is not None and end_positions is not None:
            starts = _one_each("start_positions", start_positions, len(hidden))
            ends = _one_each("end_positions", end_positions, len(hidden))
            found = {"loss": self._loss(hidden, cls, masked, starts, ends, is_impossible)}
        else:
            found = self._beam(hidden, cls, masked)
        recorded: dict[str, Any] = {"hidden_states": encoded.hidden_states, "attentions": encoded.attentions}
        output = BeamQuestionAnsweringOutput(**{**found, **recorded})
        return output if self._gives_dict(return_dict) else output.to_tuple()

    def _count(self, name: str) -> int:
        """A setting, which ``config.json`` then has."""
        if not hasattr(self.config, name):
            setattr(self.config, name, 5)
        count: int = getattr(self.config, name)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InvalidInputError(f"config.{name}: got {count!r}, expected an integer of at least 1")
        return count

    def _loss(
        self, hidden: Tensor, cls: Tensor, masked: Tensor, starts: Tensor, ends: Tensor, is_impossible: Tensor | None
    ) -> Tensor:
        start_states = hidden[torch.arange(len(hidden), device=hidden.device), starts.clamp(0, hidden.shape[1] - 1)]
        start_logits = _without(self.start_logits(hidden), masked)
        end_logits = _without(self.end_logits(hidden, start_states[:, None]), masked)
        loss = span_loss(start_logits, end_logits, starts, ends)
        if is_impossible is not None:
            logits = self.answer_class(start_states, cls)
            labels = _one_each("is_impossible", is_impossible, len(hidden)).to(logits.dtype)
            loss = loss + _CLASS_LOSS * F.binary_cross_entropy_with_logits(logits, labels)
        return loss

    def _beam(self, hidden: Tensor, cls: Tensor, masked: Tensor) -> dict[str, Tensor]:
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
            "end_top_log_probs": end_top.mT.flatten(1),
            "end_top_index": end_index.mT.flatten(1),
            "cls_logits": self.answer_class(summary, cls),
        }


def _one_each(name: str, values: Tensor, batch: int) -> Tensor:
    """[B] or [B, 1] -> [B]."""
    if values.numel() != batch:
        raise InvalidInputError(f"{name}: got {list(values.shape)}, expected [{batch}], a number for each text")
    return values.reshape(-1)


def _masked(hidden: Tensor, attention_mask: Tensor | None, p_mask: Tensor | None) -> Tensor:
    """[B, S], true where no answer may be."""
    masked = hidden.new_zeros(hidden.shape[:2], dtype=torch.bool)
    if attention_mask is not None:
        masked = masked | (attention_mask == 0)
    if p_mask is None:
        return masked
    if p_mask.shape != masked.shape:
        raise InvalidInputError(
            f"p_mask: got {list(p_mask.shape)}, expected {list(masked.shape)}, as the hidden states"
        )
    return masked | (p_mask != 0)


def _states_at_cls(hidden: Tensor, cls_index: Tensor | None) -> Tensor:
    """[B, S, H] -> [B, H]."""
    if cls_index is None:
        return hidden[:, 0]
    batch, length = hidden.shape[:2]
    places = _one_each("cls_index", cls_index, batch)
    if bool(((places < 0) | (places >= length)).any()):
        raise InvalidInputError(f"cls_index: got {places.tolist()}, expected places from 0 to {length - 1}")
    return hidden[torch.arange(batch, device=hidden.device), places]


def _without(logits: Tensor, masked: Tensor) -> Tensor:
    return logits.masked_fill(masked, torch.finfo(logits.dtype).min)
