"""The tables of ops that the smaller functions call, one for each thread: their scratch memory is not shared."""

from __future__ import annotations

import threading

from torch import Tensor

from albert_fast import _core
from albert_fast.training.engine import name_of

_local = threading.local()


def ops_for(tensor: Tensor) -> _core.Ops:
    """The ops for the tensor's dtype and device."""
    tables = _local.__dict__.setdefault("tables", {})
    key = name_of(tensor.dtype), tensor.device.type
    if key not in tables:
        tables[key] = _core.Ops(dtype=key[0], device=key[1])
    table: _core.Ops = tables[key]
    return table
