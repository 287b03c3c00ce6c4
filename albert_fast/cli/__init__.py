"""The command line: ``albert-fast encode | tokenize | verify | info``."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
