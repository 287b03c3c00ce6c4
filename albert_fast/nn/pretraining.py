"""Pretraining heads: masked language modelling, alone or with sentence order prediction.

With labels, a loss is computed from the labelled rows alone (about 15% of the tokens), and logits are computed when
they are first read: a training step never holds [tokens, V] of them. ``return_dict=False`` gives a plain tuple, which
cannot wait, so that it has all logits.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from albert_fast.nn.layers import AlbertMLMHead, AlbertSOPHead
from albert_fast.nn.model import AlbertModel
from albert_fast.nn.outputs import AlbertForPreTrainingOutput, Lazy, LogitsOutput
from albert_fast.nn.pretrained import AlbertPreTrainedModel


def _logits(head: AlbertMLMHead, hidden: Tensor, *, later: bool) -> Tensor | Lazy:
    if not later:
        return head(hidden)  # type: ignore[no-any-return]
    return Lazy(lambda: head(hidden), list(head.parameters()))


class _WithMLMHead(AlbertPreTrainedModel):
    """What both classes share: a decoder whose parameters are tied."""

    albert: AlbertModel
    predictions: AlbertMLMHead

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the decoder, and the bias of the head with its own."""
        self.predictions.decoder = new_embeddings
        self.predictions.bias = new_embeddings.bias


class AlbertForMaskedLM(_WithMLMHead):
    """ALBERT with a masked-language-model head.

    With ``labels``, the loss is made of the labelled rows only, and ``output.logits`` is computed when it is first
    read. Read it before ``optimizer.step()``: afterwards the head has other weights, and a warning says so.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.albert = AlbertModel(self.config, add_pooling_layer=False)
        self.predictions = AlbertMLMHead(self.config.shape(), self.get_input_embeddings())
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
        """As ``AlbertModel.forward``; ``labels`` [B, S] are ids, or -100 where there is nothing to predict.

        Returns:
            ``loss`` if there are labels, ``logits`` [B, S, V], and ``hidden_states`` if they are asked for.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        hidden = encoded.last_hidden_state
        output = LogitsOutput(
            loss=None if labels is None else self.predictions.loss(hidden, labels),
            logits=_logits(self.predictions, hidden, later=labels is not None),
            hidden_states=encoded.hidden_states,
        )
        return self._output(output, return_dict)


class AlbertForPreTraining(_WithMLMHead):
    """ALBERT with both heads it was pretrained with.

    With both kinds of labels, the loss is the sum of both losses, the first made of the labelled rows only, and
    ``output.prediction_logits`` is computed when it is first read, as in ``AlbertForMaskedLM``.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        shape = self.config.shape()
        self.albert = AlbertModel(self.config)
        self.predictions = AlbertMLMHead(shape, self.get_input_embeddings())
        self.sop_classifier = AlbertSOPHead(shape, self.config.num_labels or 2)
        self._finish()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """As ``AlbertModel.forward``; ``labels`` [B, S] are ids, or -100 where there is nothing to predict;
        ``sentence_order_label`` [B] is 0 where both segments are in order, 1 where they are swapped.

        Returns:
            ``loss`` if both are given (with one of them alone there is none, as in transformers),
            ``prediction_logits`` [B, S, V], ``sop_logits`` [B, 2], and ``hidden_states`` if they are asked for.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, output_attentions, output_hidden_states)
        hidden = encoded.last_hidden_state
        sop_logits = self.sop_classifier(encoded.pooler_output)
        loss = None
        if labels is not None and sentence_order_label is not None:
            loss = self.predictions.loss(hidden, labels)
            loss = loss + F.cross_entropy(sop_logits, sentence_order_label.reshape(-1))
        output = AlbertForPreTrainingOutput(
            loss=loss,
            prediction_logits=_logits(self.predictions, hidden, later=loss is not None),
            sop_logits=sop_logits,
            hidden_states=encoded.hidden_states,
        )
        return self._output(output, return_dict)
