"""LAMB, and which parameters decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from albert_fast.errors import InvalidInputError


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al. 2020, algorithm 2): Adam's step, scaled for each tensor to the length of the tensor itself.

    As ALBERT was pretrained with it (google-research/albert, ``lamb_optimizer.py``): moments are not corrected for
    their start at zero, and the weight decay is part of the step that is scaled. A group with ``adapt=False`` takes
    plain steps; ``parameter_groups`` makes one of biases and LayerNorms.

    Raises ``InvalidInputError`` for settings out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.76e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        adapt: bool = True,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise InvalidInputError(
                f"lr, betas, eps, weight_decay: got {lr}, {betas}, {eps} and {weight_decay}, expected numbers that are"
                " not negative, and betas below 1"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": adapt}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)
        return loss

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        update = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"])
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
        ratio = 1.0
        if group["adapt"]:
            length, step_length = float(parameter.norm()), float(update.norm())
            ratio = length / step_length if length > 0 and step_length > 0 else 1.0
        parameter.add_(update, alpha=-group["lr"] * ratio)


def parameter_groups(model: nn.Module, weight_decay: float, *, lamb: bool) -> list[dict[str, Any]]:
    """Parameters that are trained, as an optimizer takes them: biases and those of LayerNorms do not decay, and with
    LAMB do not adapt (as in google-research/albert)."""
    norms = {id(p) for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if id(parameter) in norms or name.endswith("bias") else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if lamb:
        groups[1]["adapt"] = False
    return groups
