"""Gradients that are made by kernels, and so have no gradients of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from albert_fast.errors import InvalidInputError


class Once(torch.autograd.Function):
    """``apply(compute, *tensors)``: ``compute(*tensors)``, a tuple of tensors, as one step of a backward pass.

    A function of its own, so that ``torch.func`` finds plain tensors in it, and so that a graph of the backward pass
    (``create_graph=True``) has a node that says no: without it, a loss of gradients would silently have none. Tensors on
    which the gradients depend must be among the arguments, if only for that.
    """

    @staticmethod
    def forward(compute: Callable[..., tuple[Tensor, ...]], *tensors: Tensor | None) -> tuple[Tensor, ...]:
        """See the class."""
        return compute(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Nothing goes back from here."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Raises ``InvalidInputError``."""
        raise InvalidInputError("backward: got gradients to differentiate a second time, expected create_graph=False")
