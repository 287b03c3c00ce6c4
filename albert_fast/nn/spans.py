"""Question answering, with padding as transformers has it or left out."""

from __future__ import annotations

import functools
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from albert_fast.nn.model import AlbertPreTrainedModel, argument_names
from albert_fast.nn.modules import PADDING

_NAMES = argument_names(transformers.AlbertForQuestionAnswering)


class AlbertForQuestionAnswering(AlbertPreTrainedModel, transformers.AlbertForQuestionAnswering):
    """A linear layer on every token, for the first and the last token of an answer.

    transformers' loss is a softmax over all positions, padding among them, whose hidden states the engine does not
    compute: where a loss of a padded batch is asked for, transformers' encoder runs, and the loss is equal.
    ``config.span_loss_excludes_padding = True`` leaves padding out of it instead, which is what is meant, does not
    depend on how far a batch was padded, and runs on the engine. Without a loss, or with that option, logits at padding
    are the lowest number of their type: no answer begins or ends there.
    """

    @functools.wraps(transformers.AlbertForQuestionAnswering.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers has it."""
        given = dict(zip(_NAMES, args, strict=False)) | kwargs
        mask = given.get("attention_mask")
        if mask is None or mask.ndim != 2 or not (torch.compiler.is_compiling() or bool((mask == 0).any())):
            return super().forward(*args, **kwargs)
        ends = [given.get(name) for name in ("start_positions", "end_positions")]
        has_loss = all(end is not None for end in ends)
        if has_loss and not getattr(self.config, "span_loss_excludes_padding", False):
            PADDING.computed = True
            try:
                return super().forward(*args, **kwargs)
            finally:
                PADDING.computed = False
        return self._without_padding(given, mask, ends if has_loss else [])

    def _without_padding(self, given: dict[str, Any], mask: Tensor, ends: list[Any]) -> Any:
        inputs = {name: value for name, value in given.items() if name not in ("start_positions", "end_positions")}
        as_dict = inputs.pop("return_dict", None)
        encoded = self.albert(**inputs, return_dict=True)
        logits = self.qa_outputs(encoded[0])
        logits = logits.masked_fill((mask == 0)[..., None], torch.finfo(logits.dtype).min)
        starts, stops = (part.contiguous() for part in logits.unbind(-1))
        output = QuestionAnsweringModelOutput(
            loss=span_loss(starts, stops, *ends) if ends else None,
            start_logits=starts,
            end_logits=stops,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if self._gives_dict(as_dict) else output.to_tuple()


def span_loss(start_logits: Tensor, end_logits: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Mean of the losses of both ends: logits [B, S], positions [B] or [B, 1].

    A position outside 0..S-1 is moved to 0 or to S, and S is ignored: answers that truncation cut off.
    """
    length = start_logits.shape[1]
    pairs = ((start_logits, starts), (end_logits, ends))
    losses = [
        F.cross_entropy(logits, positions.reshape(-1).clamp(0, length), ignore_index=length)
        for logits, positions in pairs
    ]
    return (losses[0] + losses[1]) / 2
