"""The command line: ``albert-fast encode | tokenize | verify | info | export``, and a command for each pipeline."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
