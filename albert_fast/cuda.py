"""The CUDA backend: whether this build and this machine can run it, and arrays in its memory."""

from __future__ import annotations

from albert_fast import _core
from albert_fast._core import DeviceArray

__all__ = ["DeviceArray", "is_available", "why_not"]


def is_available() -> bool:
    """Whether a GPU can be used."""
    return not why_not()


def why_not() -> str | None:
    """The reason why ``is_available()`` is False, or None."""
    return _core.cuda_unavailable_reason() or None
