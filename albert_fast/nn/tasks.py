"""Heads for fine-tuning: sequences, tokens, spans and choices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from albert_fast.errors import InvalidInputError
from albert_fast.nn.config import AlbertConfig
from albert_fast.nn.layers import linear
from albert_fast.nn.losses import problem_type, sequence_loss, span_loss, token_loss
from albert_fast.nn.model import AlbertModel
from albert_fast.nn.outputs import LogitsOutput, QuestionAnsweringOutput
from albert_fast.nn.pretrained import AlbertPreTrainedModel


def _num_labels(config: AlbertConfig) -> int:
    if config.num_labels is None:
        raise InvalidInputError("config.id2label: got None, expected the labels of the classifier")
    return config.num_labels


class AlbertForSequenceClassification(AlbertPreTrainedModel):
    """A linear layer on the pooler: classification or regression of a text or a pair of texts."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_labels = _num_labels(self.config)
        self.albert = AlbertModel(self.config)
        self.dropout = nn.Dropout(self.config.classifier_dropout_prob)
        self.classifier = linear(self.config.hidden_size, self.num_labels)
        self._finish()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward``; ``labels`` are what ``config.problem_type`` says: numbers [B] or [B, C] for
        ``"regression"``, classes [B] for ``"single_label_classification"``, 0 and 1 [B, C] for
        ``"multi_label_classification"``. Where it says nothing, the first labels decide, and it is set.

        Returns:
            ``loss`` if there are labels, ``logits`` [B, C], and ``hidden_states`` if they are asked for.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None
        if labels is not None:
            if self.config.problem_type is None:
                self.config.problem_type = problem_type(self.num_labels, labels)
            loss = sequence_loss(logits, labels, self.config.problem_type)
        return self._output(LogitsOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states), return_dict)


class AlbertForTokenClassification(AlbertPreTrainedModel):
    """A linear layer on every token."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_labels = _num_labels(self.config)
        self.albert = AlbertModel(self.config, add_pooling_layer=False)
        self.dropout = nn.Dropout(self.config.classifier_dropout_prob)
        self.classifier = linear(self.config.hidden_size, self.num_labels)
        self._finish()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward``; ``labels`` [B, S] are classes, or -100 where there is none.

        Returns:
            ``loss`` if there are labels, ``logits`` [B, S, C] (the bias alone at padding), and ``hidden_states`` if
            they are asked for.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels)
        return self._output(LogitsOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states), return_dict)


class AlbertForQuestionAnswering(AlbertPreTrainedModel):
    """A linear layer on every token, for the first and the last token of an answer."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.num_labels = _num_labels(self.config)
        if self.num_labels != 2:
            raise InvalidInputError(f"config.num_labels: got {self.num_labels}, expected 2, a start and an end")
        self.albert = AlbertModel(self.config, add_pooling_layer=False)
        self.qa_outputs = linear(self.config.hidden_size, self.num_labels)
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
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward``; positions [B] of the first and last token of the answer, S or more where it was
        cut off.

        Returns:
            ``loss`` if there are both positions, ``start_logits`` and ``end_logits`` [B, S], and ``hidden_states`` if
            they are asked for. No answer begins or ends at padding: logits there are the lowest number of their type,
            so that neither a loss nor an argmax sees them.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        logits = self.qa_outputs(encoded.last_hidden_state)
        if attention_mask is not None:
            logits = logits.masked_fill((attention_mask == 0)[..., None], torch.finfo(logits.dtype).min)
        starts, ends = (part.contiguous() for part in logits.unbind(-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(starts, ends, start_positions, end_positions)
        output = QuestionAnsweringOutput(
            loss=loss,
            start_logits=starts,
            end_logits=ends,
            hidden_states=encoded.hidden_states,
        )
        return self._output(output, return_dict)


class AlbertForMultipleChoice(AlbertPreTrainedModel):
    """A linear layer on the pooler of every choice."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.albert = AlbertModel(self.config)
        self.dropout = nn.Dropout(self.config.classifier_dropout_prob)
        self.classifier = linear(self.config.hidden_size, 1)
        self._finish()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward`` with one more axis: inputs are [B, choices, S]; ``labels`` [B] are choices.

        Returns:
            ``loss`` if there are labels, ``logits`` [B, choices], and ``hidden_states`` of [B * choices, S, H] if they
            are asked for.
        """
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None or given.ndim < 3:
            got = "nothing" if given is None else list(given.shape)
            raise InvalidInputError(f"input_ids: got {got}, expected [batch, choices, length]")
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        flat = tuple(None if each is None else each.flatten(0, 1) for each in inputs)
        encoded = self._encode(flat, output_attentions, output_hidden_states)
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(given.shape[:2])
        loss = None if labels is None else F.cross_entropy(_of_choices(logits, attention_mask), labels)
        return self._output(LogitsOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states), return_dict)


def _of_choices(logits: Tensor, attention_mask: Tensor | None) -> Tensor:
    """logits [B, choices]; of those without any token, which fill up questions with fewer choices, minus infinity."""
    if attention_mask is None:
        return logits
    return logits.masked_fill(~attention_mask.bool().any(dim=-1), -torch.inf)
