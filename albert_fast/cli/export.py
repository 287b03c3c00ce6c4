"""A model as an ONNX file, as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..encoding import DEFAULT_MODEL
from ..export import TASKS, to_onnx
from ..export.options import DEFAULT_OPSET
from .options import ModelOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)


def export(
    output: Annotated[Path, typer.Argument(help="NAME.onnx; one that is there is replaced.")],
    model: ModelOption = DEFAULT_MODEL,
    task: Annotated[str, typer.Option(help=", ".join(TASKS) + ".")] = TASKS[0],
    pooling: Annotated[str, typer.Option(help="One vector a text: auto, mean, cls or pooler; or none.")] = "none",
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale that vector to length 1.")] = False,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8 (for onnxruntime alone).")] = "float32",
    opset: Annotated[int, typer.Option(help="17 to 23.")] = DEFAULT_OPSET,
    external_data: Annotated[
        bool | None, typer.Option(help="Weights in OUTPUT.data; by default where a file would be over 2 GB.")
    ] = None,
) -> None:
    """Write a model as an ONNX file, each weight once."""
    path = to_onnx(
        model,
        output,
        task=task,
        pooling=None if pooling == "none" else pooling,
        normalize=normalize,
        dtype=dtype,
        opset=opset,
        external_data=external_data,
    )
    typer.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB", err=True)
