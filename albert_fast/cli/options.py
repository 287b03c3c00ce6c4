"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Hugging Face id, folder, file, mini, or random:NAME (random weights).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, float64, bfloat16, float16, int16 or int8.")]
