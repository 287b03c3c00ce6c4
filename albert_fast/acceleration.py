"""A live transformers model on our kernels: ``accelerate(model)``, and ``restore(model)``.

Modules of exactly transformers' classes become those of ``albert_fast.nn``, by a change of their class: parameters,
names and hooks stay, and so do optimizers, state dicts, ``save_pretrained`` and ``to``.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from albert_fast.errors import InvalidTypeError
from albert_fast.training import TrainingPolicy


def accelerate(model: Any, *, policy: TrainingPolicy | None = None) -> Any:
    """Let a live transformers ALBERT, of any class or inside a module of yours, run on our kernels.

    ``policy`` says what is kept for the backward pass. Where hooks, adapters or anything else want to see inside the
    encoder, transformers' own code runs, and one warning says why; ``albert_fast.nn.why_not(model)`` asks beforehand. A
    model that is accelerated already gets the new policy, if one is given.

    Returns ``model``, changed in place. Raises ``InvalidTypeError`` for anything without a transformers ALBERT in it,
    ``MissingDependencyError`` where transformers cannot be imported.
    """
    from albert_fast.nn.adoption import adopt
    from albert_fast.nn.modules import AlbertTransformer

    _require_albert(model)
    adopt(model)
    for module in model.modules():
        if isinstance(module, AlbertTransformer) and policy is not None:
            module.policy = policy
    return model


def restore(model: Any) -> Any:
    """Undo ``accelerate``: every module gets transformers' own class back. Also takes a model of ``albert_fast.nn``.

    Returns ``model``. Raises ``InvalidTypeError`` for anything without a transformers ALBERT in it.
    """
    from albert_fast.nn.adoption import give_back

    _require_albert(model)
    give_back(model)
    return model


def _require_albert(model: Any) -> None:
    from transformers.models.albert.modeling_albert import AlbertTransformer

    modules = model.modules() if isinstance(model, nn.Module) else ()
    if not any(isinstance(module, AlbertTransformer) for module in modules):
        expected = "a transformers ALBERT model, or a module that has one"
        raise InvalidTypeError(f"model: got {type(model).__name__}, expected {expected}")
