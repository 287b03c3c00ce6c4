"""Pretraining heads: masked language modelling, alone or with sentence order prediction.

With labels, a loss is computed from the labelled rows alone (about 15% of the tokens), and logits are computed when
they are first read: a training step never holds [tokens, V] of them. ``return_dict=False`` gives a plain tuple, which
cannot wait, so that transformers' own code makes it, as it does where something wants to see inside the head.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.albert import modeling_albert

from albert_fast.errors import InvalidInputError
from albert_fast.nn.interception import call_complaint, code_complaint, module_complaint
from albert_fast.nn.model import AlbertPreTrainedModel, argument_names
from albert_fast.nn.outputs import Lazy, LazyForPreTrainingOutput, LazyMaskedLMOutput
from albert_fast.nn.weights import tensor_complaint
from albert_fast.training import masked_lm_loss


class _WithMLMHead(AlbertPreTrainedModel):
    """What both classes share: labels that may be taken out of a call, and the loss of the labelled rows."""

    albert: Any
    predictions: Any
    _names: tuple[str, ...] = ()
    """Of the arguments of ``forward``, in their order."""

    def _labelled(self, args: tuple[Any, ...], kwargs: dict[str, Any], *labels: str) -> dict[str, Any] | None:
        """The arguments of a call by name if it has all ``labels`` and the loss may be fused, else None."""
        if torch.compiler.is_compiling() or not isinstance(self.predictions, modeling_albert.AlbertMLMHead):
            return None
        given = dict(zip(self._names, args, strict=False)) | kwargs
        as_dict = self._gives_dict(given.pop("return_dict", None))
        if not as_dict or any(given.get(name) is None for name in labels) or _head_complaint(self.predictions):
            return None
        return given

    def _loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy where ``labels`` [B, S] are not -100; only those rows of ``hidden`` [B, S, H] are used."""
        if labels.shape != hidden.shape[:2]:
            raise InvalidInputError(f"labels: got {list(labels.shape)}, expected {list(hidden.shape[:2])}")
        head, where = self.predictions, (labels != -100).nonzero(as_tuple=True)
        rows = head.LayerNorm(head.activation(head.dense(hidden[where]))).to(head.decoder.weight.dtype)
        return masked_lm_loss(rows, labels[where], head.decoder.weight, head.decoder.bias)

    def _logits(self, hidden: Tensor) -> Lazy:
        return Lazy(lambda: self.predictions(hidden), list(self.predictions.parameters()))


class AlbertForMaskedLM(_WithMLMHead, transformers.AlbertForMaskedLM):
    """ALBERT with a masked-language-model head.

    With ``labels``, the loss is made of the labelled rows only, and ``output.logits`` is computed when it is first
    read. Read it before ``optimizer.step()``: afterwards the head has other weights, and a warning says so.
    """

    _names = argument_names(transformers.AlbertForMaskedLM)

    @functools.wraps(transformers.AlbertForMaskedLM.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers has it."""
        given = self._labelled(args, kwargs, "labels")
        if given is None:
            return super().forward(*args, **kwargs)
        labels = given.pop("labels")
        encoded = self.albert(**given, return_dict=True)
        output = LazyMaskedLMOutput(
            loss=self._loss(encoded[0], labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        output.defer("logits", self._logits(encoded[0]))
        return output


class AlbertForPreTraining(_WithMLMHead, transformers.AlbertForPreTraining):
    """ALBERT with both heads it was pretrained with.

    With both kinds of labels, the loss is the sum of both losses, the first made of the labelled rows only, and
    ``output.prediction_logits`` is computed when it is first read, as in ``AlbertForMaskedLM``.
    """

    _names = argument_names(transformers.AlbertForPreTraining)

    @functools.wraps(transformers.AlbertForPreTraining.forward)
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers has it."""
        given = self._labelled(args, kwargs, "labels", "sentence_order_label")
        if given is None:
            return super().forward(*args, **kwargs)
        labels, order = given.pop("labels"), given.pop("sentence_order_label")
        encoded = self.albert(**given, return_dict=True)
        sop_logits = self.sop_classifier(encoded.pooler_output)
        output = LazyForPreTrainingOutput(
            loss=self._loss(encoded[0], labels) + F.cross_entropy(sop_logits.view(-1, 2), order.view(-1)),
            sop_logits=sop_logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        output.defer("prediction_logits", self._logits(encoded[0]))
        return output


def _head_complaint(head: nn.Module) -> str | None:
    """What speaks against computing the loss without the logits."""
    if found := call_complaint() or code_complaint(head):
        return found
    plain = {"decoder": nn.Linear, "dense": nn.Linear, "LayerNorm": nn.LayerNorm}
    for name, kind in plain.items():
        if type(head.get_submodule(name)) is not kind:
            return f"{name} is a {type(head.get_submodule(name)).__name__}"
    found = module_complaint(head, "predictions") or module_complaint(head.get_submodule("decoder"), "decoder")
    return found or next((found for p in head.parameters() if (found := tensor_complaint(p))), None)
