"""From the masks that transformers makes to what the engine takes: which tokens there are."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

_MASKED: Final = -1e4
"""What a mask of additive terms has at most where it masks; transformers takes the lowest number of the type."""


def token_mask(mask: Any, hidden_states: Tensor) -> Tensor | str | None:
    """A mask [B, S], or [B, 1, S, S] of bool or additive terms, as bool [B, S]: where there is a token.

    None where all are. Or what speaks against it: a mask that differs between queries or heads, one of weights, and one
    of a row that begins with padding, whose hidden state a pooler reads.
    """
    if mask is None:
        return None
    batch, length = hidden_states.shape[:2]
    if not isinstance(mask, Tensor):
        return f"attention_mask is a {type(mask).__name__}"
    if mask.ndim == 2:
        tokens, same = mask != 0, None
    elif mask.ndim == 4 and mask.shape[1] == 1:
        attended = mask if mask.dtype == torch.bool else mask == 0
        tokens, same = attended[:, 0, 0], (attended == attended[:, :, :1]).all()
        if mask.dtype != torch.bool:
            same = same & (attended | (mask <= _MASKED)).all()
    else:
        return f"attention_mask has {mask.ndim} dimensions or differs between heads"
    if tokens.shape != (batch, length):
        return f"attention_mask is {list(mask.shape)} beside {batch} x {length} tokens"
    if torch.compiler.is_compiling():
        _assert_at_run_time(tokens, same)
        return tokens
    if same is not None and not bool(same):
        return "attention_mask differs between queries, or is more than a mask"
    return tokens if bool(tokens[:, 0].all()) else "attention_mask has a row that begins with padding"


def _assert_at_run_time(tokens: Tensor, same: Tensor | None) -> None:
    """A compiled model cannot go another way for other values; it stops instead of computing something else."""
    told = "; a compiled model takes masks of padding on the right, run it without torch.compile for others"
    if same is not None:
        torch._assert_async(same, f"attention_mask: it differs between queries{told}")
    begins = (tokens[:, 0] | ~tokens.any(1)).all()
    torch._assert_async(begins, f"attention_mask: a row begins with padding{told}")
