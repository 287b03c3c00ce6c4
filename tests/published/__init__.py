"""Folders that are as published ALBERTs are in all but the numbers and the widths: names, buffers, metadata, formats,
fields of their year, and the files beside. scripts/make_published_fixtures.py writes them all."""

from __future__ import annotations

from published.families import FAMILIES, Family

__all__ = ["FAMILIES", "Family"]
