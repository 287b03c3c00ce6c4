"""Losses of the task heads: means over the labelled examples, as transformers defines them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from albert_fast.errors import InvalidInputError


def problem_type(num_labels: int, labels: Tensor) -> str:
    """What labels stand for when the configuration does not say: numbers, one class each, or a set of classes."""
    if num_labels == 1:
        return "regression"
    is_class = labels.dtype in (torch.int64, torch.int32)
    return "single_label_classification" if is_class else "multi_label_classification"


def sequence_loss(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """logits [B, C]; labels [B] of numbers or classes (-100: ignored), or [B, C] of numbers or of 0 and 1."""
    if kind == "single_label_classification":
        return F.cross_entropy(logits, labels.reshape(-1).long())
    if kind == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    if labels.numel() != logits.numel():
        raise InvalidInputError(f"labels: got {list(labels.shape)}, expected {list(logits.shape)}, a number per logit")
    return F.mse_loss(logits, labels.reshape(logits.shape).to(logits.dtype))


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [B, S, C], labels [B, S] (-100: ignored)."""
    return F.cross_entropy(logits.flatten(0, 1), labels.reshape(-1))


def span_loss(start_logits: Tensor, end_logits: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Mean of the losses of both ends, as ``position_loss`` has them."""
    return (position_loss(start_logits, starts) + position_loss(end_logits, ends)) / 2


def position_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """logits [B, S], positions [B] or [B, 1]. A position outside 0..S-1 is moved to 0 or to S, and S is ignored:
    answers that truncation cut off."""
    length = logits.shape[1]
    return F.cross_entropy(logits, positions.reshape(-1).clamp(0, length), ignore_index=length)
