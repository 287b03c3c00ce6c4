"""Exchanging the classes of a live model's modules: transformers' for ours, and back."""

from __future__ import annotations

from typing import Any, Final

from torch import nn
from transformers.models.albert import modeling_albert

from albert_fast.nn import modules, versions
from albert_fast.nn.weights import pack

OURS: Final[dict[type[nn.Module], type[nn.Module]]] = {
    modeling_albert.AlbertTransformer: modules.AlbertTransformer,
    modeling_albert.AlbertLayer: modules.AlbertLayer,
    modeling_albert.AlbertEmbeddings: modules.AlbertEmbeddings,
}
"""By the class of transformers. The models of ``albert_fast.nn`` add themselves."""


def adopt(model: nn.Module) -> None:
    """Give every module of exactly one of transformers' classes ours, and lay the parameters of layers together.

    A subclass of yours keeps its class, and its code; what it holds is adopted.
    """
    _exchange(model, OURS)
    for module in model.modules():
        if type(module) is modules.AlbertLayer:
            pack(module)


def give_back(model: nn.Module) -> None:
    """Undo ``adopt``; parameters stay where they are."""
    _exchange(model, {ours: theirs for theirs, ours in OURS.items()})


def _exchange(model: nn.Module, classes: dict[Any, Any]) -> None:
    for module in list(model.modules()):
        if type(module) in classes:
            module.__class__ = classes[type(module)]
            versions.keep_recording(module)
