"""transformers' modules with the engine inside: what ``adopt`` makes of the modules of a model.

Each is a subclass of the class whose place it takes, without a constructor: a module becomes one by a change of its
class, and keeps its parameters, names, hooks and everything else.

Letters in the shape comments: B sequences, S tokens, E embedding width, H hidden width.
"""

from __future__ import annotations

import threading
from typing import Any, Final, cast

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.albert import modeling_albert

from albert_fast.config import group_of
from albert_fast.errors import InvalidInputError
from albert_fast.nn import versions
from albert_fast.nn.interception import TellsOnce, embeddings_complaint, module_complaint, plan
from albert_fast.nn.masks import token_mask
from albert_fast.nn.weights import layer_tensors, pack
from albert_fast.training import EncoderSpec, TrainingPolicy, embed, run_encoder

_OPTIONS: Final = ("head_mask", "output_attentions", "output_hidden_states", "return_dict")
"""What transformers 4.57 passes by position behind the mask."""


class _Padding(threading.local):
    """What the model that a thread is in wants of padding: one model may serve several threads."""

    computed: bool = False


PADDING: Final = _Padding()
"""``computed`` while a loss is made that depends on hidden states of padding, which the engine leaves at zero."""


class AlbertTransformer(TellsOnce, modeling_albert.AlbertTransformer):
    """The mapping E -> H and all iterations, as a whole on the engine where nothing wants to see inside.

    ``policy`` says what is kept for the backward pass.
    """

    policy: TrainingPolicy = TrainingPolicy()

    def forward(self, hidden_states: Tensor, attention_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        """[B, S, E] and transformers' mask to ``last_hidden_state`` [B, S, H], zeros at padding."""
        spec = self._plan(self.training, PADDING.computed)
        mask = token_mask(attention_mask, hidden_states) if isinstance(spec, EncoderSpec) else None
        asked = _asked(args, kwargs)
        if isinstance(spec, str) or isinstance(mask, str) or asked is not None:
            complaint = next(part for part in (spec, mask, asked) if isinstance(part, str))
            if complaint != "hidden_states":  # which layers give, each by the engine
                self.tell(complaint)
            return super().forward(hidden_states, attention_mask, *args, **kwargs)
        mapped = self.embedding_hidden_mapping_in(hidden_states)
        tensors = [tensor for layer in self.layers() for tensor in layer_tensors(layer)]
        result = run_encoder(mapped, mask, tensors, spec, self.policy)
        return (result,) if kwargs.get("return_dict") is False else BaseModelOutput(last_hidden_state=result)

    def layers(self) -> list[Any]:
        """Every parameter set: the groups, and in each its inner layers."""
        return [layer for group in self.albert_layer_groups for layer in group.albert_layers]

    @torch._dynamo.assume_constant_result  # a compiler need not trace how it is decided
    def _plan(self, training: bool, computes_padding: bool = False) -> EncoderSpec | str:
        """``training`` is an argument for the compiler, which compiles again when it changes."""
        if computes_padding:
            return "the loss depends on hidden states of padding; config.span_loss_excludes_padding leaves them out"
        groups = self.albert_layer_groups
        for i, group in enumerate(groups):
            if type(group) is not modeling_albert.AlbertLayerGroup:
                return f"albert_layer_groups.{i} is a {type(group).__name__}"
            if found := module_complaint(group, f"albert_layer_groups.{i}"):
                return found
        layers = self.layers()
        for layer in layers:
            if type(layer) is not AlbertLayer:
                return f"a layer is a {type(layer).__name__}"
            if found := module_complaint(layer, "AlbertLayer"):
                return found
        first = [0]
        for group in groups:
            first.append(first[-1] + len(group.albert_layers))
        iterations, count = self.config.num_hidden_layers, self.config.num_hidden_groups
        chosen = [group_of(i, iterations, count) for i in range(iterations)]
        return plan(layers, tuple(index for group in chosen for index in range(first[group], first[group + 1])))


class AlbertLayer(GradientCheckpointingLayer, modeling_albert.AlbertLayer):
    """One layer, on the engine where nothing wants to see inside it; its parameters share one buffer. Checkpointing, as
    transformers has it for other models, concerns a layer that is called: the encoder as a whole computes again anyway.
    """

    def forward(self, hidden_states: Tensor, attention_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
        """[B, S, H] and transformers' mask to [B, S, H], in a tuple before transformers 5."""
        spec = self._plan(self.training, PADDING.computed)
        mask = token_mask(attention_mask, hidden_states) if isinstance(spec, EncoderSpec) else None
        if isinstance(spec, str) or isinstance(mask, str) or _asked(args, kwargs) == "attentions":
            return super().forward(hidden_states, attention_mask, *args, **kwargs)
        result = run_encoder(hidden_states, mask, layer_tensors(self), spec)
        return result if versions.RECORDS_BY_HOOKS else (result,)

    @torch._dynamo.assume_constant_result
    def _plan(self, training: bool, computes_padding: bool) -> EncoderSpec | str:
        return "computes_padding" if computes_padding else plan([self], (0,))

    def _apply(self, fn: Any, recurse: bool = True) -> AlbertLayer:
        """What ``to``, ``float``, ``cuda`` and the like go through: it moves the parameters one by one."""
        super()._apply(fn, recurse)
        pack(self)
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What ``deepcopy`` and ``pickle`` go through, the former of which copies the parameters one by one."""
        super().__setstate__(state)
        pack(self)


class AlbertEmbeddings(TellsOnce, modeling_albert.AlbertEmbeddings):
    """Ids to LayerNorm(word + position + token type), [B, S, E], in one pass where nothing wants to see inside."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Token types are 0, positions count from 0. Raises ``InvalidInputError`` for more tokens than positions."""
        given = input_ids if inputs_embeds is None else inputs_embeds
        longest = self.position_embeddings.num_embeddings
        if given is not None and position_ids is None and given.shape[1] > longest:
            raise InvalidInputError(f"input_ids: got {given.shape[1]} tokens a row, expected at most {longest}")
        complaint = self._complaint()
        if complaint is not None or input_ids is None or inputs_embeds is not None or kwargs:
            if complaint is not None:
                self.tell(complaint)
            theirs: Tensor = super().forward(input_ids, token_type_ids, position_ids, inputs_embeds, **kwargs)
            return theirs
        batch, length = input_ids.shape
        if position_ids is None:
            position_ids = torch.arange(length, device=input_ids.device)[None]
        positions = position_ids.expand(batch, length)
        types = torch.zeros_like(positions) if token_type_ids is None else token_type_ids.expand(batch, length)
        embedded = embed(
            input_ids,
            positions,
            types,
            self._word(),
            self.position_embeddings.weight,
            self.token_type_embeddings.weight,
            self.LayerNorm.weight,
            self.LayerNorm.bias,
            self.LayerNorm.eps,
        )
        return cast(Tensor, self.dropout(embedded))

    @torch._dynamo.assume_constant_result
    def _complaint(self) -> str | None:
        return embeddings_complaint(self)

    def _word(self) -> Tensor:
        weight: Tensor = self.word_embeddings.weight
        row = self.word_embeddings.padding_idx
        if row is None or not (weight.requires_grad and torch.is_grad_enabled()):
            return weight
        return cast(Tensor, _WithoutGradientOfRow.apply(weight, row))  # type: ignore[no-untyped-call]


class _WithoutGradientOfRow(torch.autograd.Function):
    """The embeddings themselves, but one row learns nothing through this use of them: ``padding_idx``."""

    @staticmethod
    def forward(weight: Tensor, row: int) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.row = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        where = torch.arange(len(gradients[0]), device=gradients[0].device) == ctx.row
        return gradients[0].masked_fill(where[:, None], 0), None


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What of the inside a call asks for, the deepest first."""
    options = dict(zip(_OPTIONS, args, strict=False)) | kwargs
    masks = options.get("head_mask")
    if any(mask is not None for mask in masks) if isinstance(masks, (list, tuple)) else masks is not None:
        return "head_mask"
    recorded = versions.recorded(options)
    return next((name for name in ("attentions", "hidden_states") if name in recorded), None)
