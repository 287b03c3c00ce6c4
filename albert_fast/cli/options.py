"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Hugging Face id, folder, file, mini, or random:NAME (random weights).")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, float64, bfloat16, float16, int16 or int8.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face id.")]
TextFieldOption = Annotated[
    str | None, typer.Option(help="Field or column of the text, 'text' by default; makes standard input JSON lines.")
]
PairFieldOption = Annotated[str | None, typer.Option(help="Field or column of the second text of a pair.")]
