"""A live transformers model whose encoder runs on our kernels: ``accelerate(model)``, and ``restore(model)``.

Only the module ``encoder`` of each ``AlbertModel`` is exchanged. The new one holds the same submodules, so parameters
stay the same objects under the same names: optimizers, state dicts, ``save_pretrained`` and ``to`` go on as before.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from albert_fast.config import AlbertConfig
from albert_fast.errors import InvalidInputError, InvalidTypeError
from albert_fast.nn.engine import check_mask, encoder_spec, layer_parameters, layers_of
from albert_fast.nn.outputs import AlbertModelOutput
from albert_fast.training import TrainingPolicy, run_encoder

_KNOWN_ATTENTION: Final = ("eager", "sdpa", "flash_attention_2", "flash_attention_3")
"""Values of ``attn_implementation`` for which transformers gives its encoder a mask that says where padding is."""
_RECORDED: Final = ("output_attentions", "output_hidden_states")
"""What transformers records with hooks on its own layers."""
_MASKED: Final = -1e4
"""What a mask of additive terms has at most where it masks; transformers takes the lowest number of the type."""


class AcceleratedEncoder(nn.Module):
    """In place of transformers' ``AlbertTransformer``, which it keeps for ``restore`` and for what it cannot do."""

    def __init__(self, original: nn.Module, config: Any, policy: TrainingPolicy, *, pools: bool) -> None:
        super().__init__()
        self.shape = AlbertConfig.from_dict(config.to_dict())
        self.policy = policy
        self.embedding_hidden_mapping_in = original.embedding_hidden_mapping_in
        self.albert_layer_groups = original.albert_layer_groups
        self.train(original.training)
        self._config, self._pools = config, pools
        self._original = (original,)  # in a tuple, so that its parameters are not registered twice

    @property
    def original(self) -> nn.Module:
        """The module this one stands for, with the same submodules."""
        original = self._original[0]
        original.training = self.training
        return original

    def forward(self, hidden_states: Tensor, attention_mask: Any = None, **options: Any) -> Any:
        """[B, S, E] and transformers' mask to ``last_hidden_state`` [B, S, H], zeros at padding.

        Hidden states of every layer and attention matrices are recorded by transformers in its own layers: where they
        are asked for, those run.
        """
        if any(options.get(key, getattr(self._config, key, False)) for key in _RECORDED):
            return self.original(hidden_states, attention_mask, **options)
        mask = self._token_mask(attention_mask, hidden_states)
        layers = layers_of(self)
        spec = encoder_spec(self.shape, layers, training=self.training)
        mapped = cast(nn.Module, self.embedding_hidden_mapping_in)(hidden_states)
        return AlbertModelOutput(
            last_hidden_state=run_encoder(mapped, mask, layer_parameters(layers), spec, self.policy)
        )

    def _token_mask(self, mask: Any, hidden: Tensor) -> Tensor | None:
        """transformers' mask as [B, S], true where there is a token."""
        kind = self._config._attn_implementation
        if kind not in _KNOWN_ATTENTION:
            raise InvalidInputError(
                f"attn_implementation: got {kind!r}, expected one of {', '.join(_KNOWN_ATTENTION)};"
                " an accelerated model reads padding from the masks they get"
            )
        if mask is None:
            return None
        tokens = _same_for_all_queries(mask) if mask.ndim == 4 else mask != 0
        check_mask(tokens, *hidden.shape[:2])
        if self._pools and bool((~tokens[:, 0] & tokens.any(1)).any()):
            raise InvalidInputError(
                "attention_mask: got a row that begins with padding, expected padding on the right; the pooler of an"
                " accelerated model reads position 0"
            )
        return tokens


def accelerate(model: Any, *, policy: TrainingPolicy | None = None) -> Any:
    """Let the encoder of a live transformers ALBERT, of any class or inside a module of yours, run on our kernels.

    ``policy`` says what is kept for the backward pass. Dropout, ``train()`` and ``eval()`` are respected. What
    differs: rows of hidden states are zeros at padding, and padding must be on the right if there is a pooler. A model
    that is accelerated already gets the new policy, if one is given.

    Returns ``model``, changed in place. Raises ``InvalidTypeError`` for anything without a transformers ALBERT in it,
    ``ConfigError`` or ``InvalidInputError`` for one that our kernels cannot run; then nothing is changed.
    """
    bases = _albert_models(model)
    ready = []
    for base in bases:
        if isinstance(base.encoder, AcceleratedEncoder):
            base.encoder.policy = policy or base.encoder.policy
            continue
        pools = getattr(base, "pooler", None) is not None
        encoder = AcceleratedEncoder(base.encoder, base.config, policy or TrainingPolicy(), pools=pools)
        layer_parameters(layers_of(encoder))  # raises for replaced layers
        ready.append((base, encoder))
    for base, encoder in ready:
        base.encoder = encoder
    return model


def restore(model: Any) -> Any:
    """Undo ``accelerate``: put transformers' own encoder back. Does nothing to a model that was not accelerated.

    Returns ``model``. Raises ``InvalidTypeError`` for anything without a transformers ALBERT in it.
    """
    for base in _albert_models(model):
        if isinstance(base.encoder, AcceleratedEncoder):
            base.encoder = base.encoder.original
    return model


def _albert_models(model: Any) -> list[Any]:
    """Every transformers ``AlbertModel`` in a module."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    found = [module for module in modules if _is_albert_model(type(module))]
    if not found:
        expected = "a transformers ALBERT model, or a module that has one"
        raise InvalidTypeError(f"model: got {type(model).__name__}, expected {expected}")
    return found


def _is_albert_model(kind: type) -> bool:
    return any(c.__name__ == "AlbertModel" and c.__module__.startswith("transformers.") for c in kind.__mro__)


def _same_for_all_queries(mask: Tensor) -> Tensor:
    """A mask [B, 1, S, S], of bool or additive, as [B, S]. Refuses one that is more than a mask of padding."""
    attended = mask if mask.dtype == torch.bool else mask == 0
    is_mask = mask.dtype == torch.bool or bool((attended | (mask <= _MASKED)).all())
    if not is_mask or mask.shape[1] != 1 or not torch.equal(attended, attended[:, :, :1].expand_as(attended)):
        raise InvalidInputError(
            f"attention_mask: got {list(mask.shape)} that differ between queries or heads, or are not a mask; expected"
            " [batch, length], nonzero where there is a token"
        )
    return attended[:, 0, 0]
