"""From a weight source into a weight buffer: is everything there, and then block by block, never two copies
at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from albert_fast.errors import CheckpointError
from albert_fast.layout import Heads, Shape, expected_shapes
from albert_fast.sources import WeightSource, row_blocks

if TYPE_CHECKING:
    from albert_fast import _core

_MOST_NAMES_SHOWN: Final = 12


def heads(source: WeightSource) -> Heads:
    """Find out which heads a source has, and make sure it holds exactly what its configuration says.

    Raises one ``CheckpointError`` that lists every missing tensor (of the encoder, or of a head that is there
    in part), every wrong shape, and every tensor in ALBERT's own namespaces that the configuration has no
    place for.
    """
    found = Heads.of(source.tensor_names)
    wanted = expected_shapes(source.config, found)
    _require(source, wanted, unexpected=[name for name in source.tensor_names if name not in wanted])
    return found


def fill(buffer: _core.WeightBuffer, source: WeightSource, *, progress: Callable[[int], Any] | None = None) -> None:
    """Write every tensor of ``buffer.layout`` from ``source``, a few megabytes of rows at a time.

    ``progress`` is called after each block with the bytes it took up in float32. Raises one
    ``CheckpointError`` that lists all missing and misshapen tensors before anything is written, or one that
    names a tensor with NaN or infinite values.
    """
    wanted = {tensor.name: tuple(tensor.shape) for tensor in buffer.layout.tensors}
    _require(source, wanted, unexpected=[])
    dtype = np.dtype(buffer.layout.host_dtype)
    for name, shape in wanted.items():
        for start, stop in row_blocks(shape):
            rows = source.rows(name, start, stop)
            with np.errstate(over="ignore"):  # becomes infinite, which the buffer refuses by name
                buffer.write(name, start, rows.astype(dtype, copy=False))
            if progress is not None:
                progress(4 * rows.size)
    buffer.finish()


def _require(source: WeightSource, wanted: Mapping[str, Shape], unexpected: list[str]) -> None:
    present = set(source.tensor_names)
    missing = [name for name in wanted if name not in present]
    misshapen = [
        f"{name} is {source.shape(name)}, expected {shape}"
        for name, shape in wanted.items()
        if name in present and source.shape(name) != shape
    ]
    problems = [
        f"{what}: {_shortened(which)}"
        for what, which in (
            ("missing", missing),
            ("wrong shape", misshapen),
            ("not in the configuration", unexpected),
        )
        if which
    ]
    if missing and source.unused_tensors:
        problems.append(f"not ALBERT's: {_shortened(source.unused_tensors)}")
    if problems:
        raise CheckpointError(f"model {source.name}: its tensors do not fit its configuration. {'; '.join(problems)}")


def _shortened(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMES_SHOWN])
    rest = len(names) - _MOST_NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown
