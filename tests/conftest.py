"""Shared fixtures."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from albert_fast import load
from albert_fast.model import Model


@pytest.fixture(autouse=True)
def _quiet_random_weights() -> Iterator[None]:
    """Tests use random models on purpose; the warning that says so has a test of its own."""
    logging.getLogger("albert_fast").setLevel(logging.ERROR)
    yield
    logging.getLogger("albert_fast").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny() -> Model:
    """``random:tiny``: 3 iterations, 32 wide, our own vocabulary."""
    return load("random:tiny")
