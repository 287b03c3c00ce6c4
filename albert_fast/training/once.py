"""Gradients that are made by kernels, and so have no gradients of their own; and those of plain torch, which have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from albert_fast.errors import InvalidInputError


class Once(torch.autograd.Function):
    """``apply(compute, *tensors)``: ``compute(*tensors)``, a tuple of tensors, as one step of a backward pass.

    A function of its own, so that ``torch.func`` finds plain tensors in it, and so that a graph of the backward pass
    (``create_graph=True``) has a node that says no: without it, a loss of gradients would silently have none. Tensors
    on which the gradients depend must be among the arguments, if only for that.
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
        raise InvalidInputError(
            "backward: got gradients to differentiate a second time, expected create_graph=False; with dropout of 0"
            " they can be"
        )


def graph_wanted() -> bool:
    """Whether a backward pass is recorded (``create_graph=True``); ``torch.func`` always records, for nothing."""
    return torch.is_grad_enabled() and not torch._C._functorch.get_interpreter_stack()


def differentiable(plain: Callable[..., Tensor], grad: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients of ``plain(*tensors)``, computed again in torch's own operators, as part of the graph."""
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    with torch.enable_grad():
        found = iter(torch.autograd.grad(plain(*tensors), wanted, grad, create_graph=True, allow_unused=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in tensors)
