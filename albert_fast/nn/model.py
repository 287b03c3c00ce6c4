"""``AlbertModel``: embeddings, encoder and pooler."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from albert_fast.errors import InvalidInputError
from albert_fast.nn.engine import check_mask
from albert_fast.nn.layers import AlbertEmbeddings, AlbertTransformer, linear
from albert_fast.nn.outputs import AlbertModelOutput
from albert_fast.nn.pretrained import AlbertPreTrainedModel


class AlbertModel(AlbertPreTrainedModel):
    """The encoder with its embeddings and, unless ``add_pooling_layer`` is false, the pooler.

    Rows of hidden states are zeros where the mask is 0 (transformers computes something there). The pooler takes the
    first attended token of a sequence, which is its first one unless it is padded on the left.
    """

    def __init__(self, config: Any, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        shape = self.config.shape()
        self.embeddings = AlbertEmbeddings(shape)
        self.encoder = AlbertTransformer(shape)
        self.pooler = linear(shape.hidden_size, shape.hidden_size) if add_pooling_layer else None
        self.pooler_activation = nn.Tanh() if add_pooling_layer else None
        self._finish()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings; a model with a decoder needs ``tie_weights()`` after this."""
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Hidden states of a batch.

        Args:
            input_ids: integers [B, S]; or else ``inputs_embeds``.
            attention_mask: [B, S], nonzero where there is a token; holes are fine.
            token_type_ids, position_ids: integers [B, S] or [1, S].
            inputs_embeds: [B, S, E], instead of the word embeddings of ``input_ids``.
            output_attentions: must not be true: attention is never formed as a matrix.
            output_hidden_states: also return the states after the mapping E -> H and after every layer.
            return_dict: False for a plain tuple.

        Returns:
            ``last_hidden_state`` [B, S, H], ``pooler_output`` [B, H] if there is a pooler, and ``hidden_states`` if
            they are asked for.

        Raises:
            InvalidInputError: an argument that cannot be honoured.
        """
        every = self._checked_outputs(output_attentions, output_hidden_states)
        if (input_ids is None) == (inputs_embeds is None):
            given = "neither" if input_ids is None else "both"
            raise InvalidInputError(f"input_ids and inputs_embeds: got {given}, expected one of them")
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        check_mask(attention_mask, *embedded.shape[:2])
        states = self.encoder(embedded, attention_mask, every=every)
        output = AlbertModelOutput(
            last_hidden_state=states[-1],
            pooler_output=self._pool(states[-1], attention_mask),
            hidden_states=states if every else None,
        )
        return self._output(output, return_dict)

    def _checked_outputs(self, attentions: bool | None, hidden_states: bool | None) -> bool:
        if self.config.output_attentions if attentions is None else attentions:
            raise InvalidInputError("output_attentions: got True, expected False; no attention matrix is ever formed")
        return bool(self.config.output_hidden_states if hidden_states is None else hidden_states)

    def _pool(self, hidden: Tensor, mask: Tensor | None) -> Tensor | None:
        """[B, S, H] to [B, H]; a sequence that is all padding pools its row of zeros."""
        if self.pooler is None:
            return None
        first = hidden[:, 0]
        if mask is not None:
            first = hidden[torch.arange(len(hidden), device=hidden.device), (mask != 0).byte().argmax(1)]
        return torch.tanh(cast(Tensor, self.pooler(first)))
