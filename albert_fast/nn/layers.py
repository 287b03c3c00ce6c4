"""The modules of the model. Their names and the order they are registered in are transformers', so that state dicts
and the states of optimizers fit both ways.

Letters in the shape comments: B sequences, S tokens, E embedding width, H hidden width, I intermediate width,
V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.dlpack import from_dlpack

from albert_fast.config import AlbertConfig as Shape
from albert_fast.errors import ConfigError, InvalidInputError
from albert_fast.nn.engine import encoder_spec, layer_parameters, layers_of
from albert_fast.training import LAYER_PARAMETERS, TrainingPolicy, embed, masked_lm_loss, run_encoder

_FIRST: Final = tuple(f"attention.{part}.{kind}" for kind in ("weight", "bias") for part in ("query", "key", "value"))
_IN_MEMORY: Final = (*_FIRST, *(name for name in LAYER_PARAMETERS if name not in _FIRST))
"""The order of a layer's parameters in its buffer: the three projections lie side by side, so that the engine can run
them as one product."""


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A Linear whose values are still to be set."""
    module: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    return module


def embedding(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    """An Embedding whose values are still to be set."""
    skip_init: Callable[..., nn.Embedding] = nn.utils.skip_init
    return skip_init(nn.Embedding, rows, width, padding_idx=padding)


class _WithoutGradientOfRow(torch.autograd.Function):
    """The embeddings themselves, but one row learns nothing through this use of them: ``padding_idx``."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, row: int) -> Tensor:
        ctx.row = row
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].clone()
        gradient[ctx.row] = 0
        return gradient, None


class AlbertEmbeddings(nn.Module):
    """Ids to LayerNorm(word + position + token type), [B, S, E]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.embedding_size
        self.word_embeddings = embedding(shape.vocab_size, width, shape.pad_token_id)
        self.position_embeddings = embedding(shape.max_position_embeddings, width)
        self.token_type_embeddings = embedding(shape.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=shape.layer_norm_eps)
        self.dropout = nn.Dropout(shape.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
    ) -> Tensor:
        """Either of ``input_ids`` [B, S] or ``inputs_embeds`` [B, S, E]; token types are 0, positions count from 0."""
        given = input_ids if inputs_embeds is None else inputs_embeds
        assert given is not None
        batch, length = given.shape[:2]
        if position_ids is None:
            if length > (longest := self.position_embeddings.num_embeddings):
                raise InvalidInputError(f"input_ids: got {length} tokens a row, expected at most {longest}")
            position_ids = torch.arange(length, device=given.device)[None]
        positions = position_ids.expand(batch, length)
        types = torch.zeros_like(positions) if token_type_ids is None else token_type_ids.expand(batch, length)
        if inputs_embeds is None:
            assert input_ids is not None
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
        else:
            embedded = self.LayerNorm(
                inputs_embeds + self.token_type_embeddings(types) + self.position_embeddings(positions)
            )
        return cast(Tensor, self.dropout(embedded))

    def _word(self) -> Tensor:
        weight, row = self.word_embeddings.weight, self.word_embeddings.padding_idx
        if row is None or not (weight.requires_grad and torch.is_grad_enabled()):
            return weight
        return cast(Tensor, _WithoutGradientOfRow.apply(weight, row))  # type: ignore[no-untyped-call]


class AlbertAttention(nn.Module):
    """Parameters of attention, its output projection and LayerNorm; ``AlbertTransformer`` runs them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden_size
        self.query = linear(width, width)
        self.key = linear(width, width)
        self.value = linear(width, width)
        self.dense = linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=shape.layer_norm_eps)
        # Never called; they hold the probabilities, which scripts change by going through a model's Dropouts.
        self.attention_dropout = nn.Dropout(shape.attention_probs_dropout_prob)
        self.output_dropout = nn.Dropout(shape.hidden_dropout_prob)


class AlbertLayer(nn.Module):
    """Parameters of one layer, which share one buffer; ``AlbertTransformer`` runs them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.attention = AlbertAttention(shape)
        self.ffn = linear(shape.hidden_size, shape.intermediate_size)
        self.ffn_output = linear(shape.intermediate_size, shape.hidden_size)
        self.pack()

    def pack(self) -> None:
        """Lay the parameters side by side in one buffer, in the order of ``_IN_MEMORY``, unless they are already.

        They stay the same objects, each with a storage of its own inside the buffer: pickling one must not take the
        whole buffer along. Does nothing where they differ in type or device, or where processes share them.
        """
        parameters = [self.get_parameter(name) for name in _IN_MEMORY]
        kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
        shared = any(p.device.type == "cpu" and p.untyped_storage().is_shared() for p in parameters)
        if len(kinds) > 1 or shared or parameters[0].is_meta or _adjacent(parameters):
            return
        buffer = parameters[0].new_empty(sum(parameter.numel() for parameter in parameters))
        begin = 0
        for parameter in parameters:
            place = buffer[begin : begin + parameter.numel()].view(parameter.shape)
            place.copy_(parameter.detach())
            parameter.data = from_dlpack(place)  # the same memory, which it keeps alive, as another storage
            begin += parameter.numel()

    def _apply(self, fn: Any, recurse: bool = True) -> AlbertLayer:
        """What ``to``, ``float``, ``cuda`` and the like go through: it moves the parameters one by one."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.pack()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What ``deepcopy`` and ``pickle`` go through, the former of which copies the parameters one by one."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.pack()


def _adjacent(parameters: list[nn.Parameter]) -> bool:
    """Whether each begins where the one before it ends."""
    place = parameters[0].data_ptr()
    for parameter in parameters:
        if parameter.data_ptr() != place or not parameter.is_contiguous():
            return False
        place += parameter.numel() * parameter.element_size()
    return True


class AlbertLayerGroup(nn.Module):
    """The layers that one iteration applies."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList(AlbertLayer(shape) for _ in range(shape.inner_group_num))


class AlbertTransformer(nn.Module):
    """The mapping E -> H and all iterations, which ``albert_fast.training`` runs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.policy = TrainingPolicy()
        self.embedding_hidden_mapping_in = linear(shape.embedding_size, shape.hidden_size)
        self.albert_layer_groups = nn.ModuleList(AlbertLayerGroup(shape) for _ in range(shape.num_hidden_groups))

    def forward(self, embedded: Tensor, mask: Tensor | None, *, every: bool) -> tuple[Tensor, ...]:
        """[B, S, E] and [B, S] to the last hidden state [B, S, H], or to that of the mapping and of every layer."""
        hidden: Tensor = self.embedding_hidden_mapping_in(embedded)
        layers = layers_of(self)
        spec = encoder_spec(self.shape, layers, training=self.training)
        if not every:
            return (run_encoder(hidden, mask, layer_parameters(layers), spec, self.policy),)
        one = dataclasses.replace(spec, layers=(0,))
        states = [hidden]
        for index in spec.layers:
            states.append(run_encoder(states[-1], mask, layer_parameters([layers[index]]), one, self.policy))
        return tuple(states)


class AlbertMLMHead(nn.Module):
    """Logits of every piece of the vocabulary: [.., H] to [.., V]. The decoder is tied to the word embeddings."""

    def __init__(self, shape: Shape, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        if not shape.tie_word_embeddings:
            raise ConfigError("tie_word_embeddings: got False, expected True; a decoder of its own is not supported")
        self.LayerNorm = nn.LayerNorm(shape.embedding_size, eps=shape.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(shape.vocab_size))
        self.dense = linear(shape.hidden_size, shape.embedding_size)
        self.decoder = nn.Linear(shape.embedding_size, shape.vocab_size, device="meta")
        self.form: Final = "none" if shape.hidden_act == "gelu" else "tanh"
        self.tie(word_embeddings)

    def tie(self, word_embeddings: nn.Embedding) -> None:
        """Make the decoder's parameters those of the embeddings and of this head."""
        self.decoder.weight, self.decoder.bias = word_embeddings.weight, self.bias
        self.decoder.out_features = word_embeddings.num_embeddings

    def transform(self, hidden: Tensor) -> Tensor:
        """[.., H] to [.., E], what the decoder takes."""
        return cast(Tensor, self.LayerNorm(F.gelu(self.dense(hidden), approximate=self.form)))

    def forward(self, hidden: Tensor) -> Tensor:
        """[.., H] to [.., V]."""
        return cast(Tensor, self.decoder(self.transform(hidden)))

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy where ``labels`` [B, S] are not -100; only those rows of ``hidden`` [B, S, H] are used."""
        if labels.shape != hidden.shape[:2]:
            raise InvalidInputError(f"labels: got {list(labels.shape)}, expected {list(hidden.shape[:2])}")
        where = (labels != -100).nonzero(as_tuple=True)
        rows = self.transform(hidden[where]).to(self.decoder.weight.dtype)
        return masked_lm_loss(rows, labels[where], self.decoder.weight, self.decoder.bias)


class AlbertSOPHead(nn.Module):
    """Whether two segments are in order: [B, H] to [B, 2]."""

    def __init__(self, shape: Shape, num_labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(shape.classifier_dropout_prob)
        self.classifier = linear(shape.hidden_size, num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, H] to [B, 2]: in order, swapped."""
        return cast(Tensor, self.classifier(self.dropout(pooled)))
