"""The options of ``encode`` that shape the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from albert_fast.arguments import MOST_THREADS, check_integer
from albert_fast.errors import InvalidInputError, InvalidTypeError

POOLINGS: Final = ("auto", "mean", "cls", "pooler", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", None)


@dataclass(frozen=True)
class EncodeOptions:
    """Checked on construction. Raises ``InvalidInputError`` or ``InvalidTypeError`` naming the option."""

    pooling: str | None = "auto"
    max_length: int | None = None
    truncation: bool = True
    normalize: bool = False
    batch_tokens: int | None = None
    num_threads: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    truncate_dim: int | None = None

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            expected = ", ".join(repr(pooling) for pooling in POOLINGS)
            raise InvalidInputError(f"pooling: got {self.pooling!r}, expected one of {expected}")
        for name in ("truncation", "normalize"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise InvalidTypeError(f"{name}: got {value!r}, expected True or False")
        for name, low in (("max_length", 2), ("batch_tokens", 1), ("num_threads", 1), ("truncate_dim", 1)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low, MOST_THREADS if name == "num_threads" else None)
        for name in ("prompt", "prompt_name"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidTypeError(f"{name}: got {type(value).__name__}, expected a string or None")
