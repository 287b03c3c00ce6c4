"""Whether this build and this machine can run the CUDA backend, and if not, why."""

from __future__ import annotations

from albert_fast import _core


def is_available() -> bool:
    """Whether a GPU can be used."""
    return not why_not()


def why_not() -> str | None:
    """The reason why ``is_available()`` is False, or None."""
    return _core.cuda_unavailable_reason() or None
