"""``.safetensors`` files: checked by the safetensors library, then mapped and read in place.

Layout of a file: u64 header length (little endian), JSON header {name: {dtype, shape, data_offsets: [begin,
end]}}, data.
"""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from albert_fast.errors import CheckpointError
from albert_fast.layout import Shape
from albert_fast.sources.base import Rows

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32
}


@dataclass(frozen=True)
class MappedTensor:
    """A tensor inside a mapped file; the mapping lives as long as the tensor or a view of it."""

    label: str
    mapping: mmap.mmap
    offset: int
    dtype: str
    shape: Shape

    def rows(self, start: int, stop: int) -> Rows:
        """Rows start..stop-1: a view for aligned float32 and float64, else a converted copy."""
        if self.dtype not in _DTYPES:
            raise CheckpointError(f"{self.label}: stored as {self.dtype}, expected one of {', '.join(_DTYPES)}")
        stored = _DTYPES[self.dtype]
        columns = math.prod(self.shape[1:])
        count = (stop - start) * columns
        begin = self.offset + start * columns * stored.itemsize
        flat = np.frombuffer(self.mapping, stored, count, begin) if count else np.empty(0, stored)
        return _widen(flat, self.dtype).reshape(stop - start, columns)


def _widen(flat: np.ndarray[Any, Any], dtype: str) -> Rows:
    if dtype == "BF16":
        wide = np.empty(flat.shape, np.uint32)
        np.left_shift(flat, 16, out=wide, dtype=np.uint32)
        return wide.view(np.float32)
    if dtype == "F16":
        return flat.astype(np.float32)
    return flat if flat.flags.aligned else flat.copy()


def read_safetensors(path: Path) -> dict[str, MappedTensor]:
    """Name and content of every tensor in a file, mapped, not read.

    Raises ``CheckpointError`` for a file that is truncated, damaged or of another format, ``OSError`` for one
    that cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        try:
            with safe_open(path, framework="np"):
                pass  # opening checks that the header is sound and that offsets, shapes and file size agree
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path}: not a usable safetensors file ({error})") from error
    header_bytes = int.from_bytes(mapping[:8], "little")
    header = json.loads(mapping[8 : 8 + header_bytes])
    header.pop("__metadata__", None)
    return {
        name: MappedTensor(
            label=f"{path}: tensor {name}",
            mapping=mapping,
            offset=8 + header_bytes + entry["data_offsets"][0],
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
    }
