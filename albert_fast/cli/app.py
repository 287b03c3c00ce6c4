"""The commands and their options; errors become one line and an exit code."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..encoding import DEFAULT_MODEL, resolve_model
from ..errors import AlbertFastError, VerificationError
from ..sentence import EncodeOptions
from ..sentence.encoder import DEFAULT_BATCH_TOKENS, Encoder, read_window
from . import export, tasks, training
from .inputs import TextInput
from .options import DeviceOption, DtypeOption, ModelOption

EXIT_FAILED_CHECK = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

_TOKENIZE_WINDOW = 4096

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

InputArgument = Annotated[str, typer.Argument(help="Text file (a text per line), .jsonl, or - for stdin.")]
TextFieldOption = Annotated[
    str | None, typer.Option(help="JSONL field of the text ('text' by default); makes any input JSONL.")
]
PairFieldOption = Annotated[str | None, typer.Option(help="JSONL field of the second text of a pair.")]


@app.callback()
def _albert_fast() -> None:
    """Fast, exact ALBERT: texts in, features out."""


@app.command()
def encode(
    input: InputArgument,
    output: Annotated[Path, typer.Argument(help="NAME.npy, .safetensors, .jsonl or .parquet.")],
    model: ModelOption = DEFAULT_MODEL,
    pooling: Annotated[
        str, typer.Option(help="auto (what the folder says, else mean), mean, cls, pooler, max, none (each token), ...")
    ] = "auto",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens kept of each text; by default all the model takes.")
    ] = None,
    truncation: Annotated[bool, typer.Option(help="Cut longer texts, or refuse them.")] = True,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale rows to length 1.")] = False,
    batch_tokens: Annotated[int, typer.Option(help="Tokens per batch.")] = DEFAULT_BATCH_TOKENS,
    num_threads: Annotated[int | None, typer.Option(help="By default the processors that may be used.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Put before each text.")] = None,
    prompt_name: Annotated[
        str | None, typer.Option(help="One of the prompts of a sentence-transformers folder.")
    ] = None,
    truncate_dim: Annotated[int | None, typer.Option(help="Columns to keep.")] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    text_field: TextFieldOption = None,
    pair_field: PairFieldOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT or another job's half of it.")] = False,
    progress: Annotated[bool | None, typer.Option(help="Progress bar; on a terminal by default.")] = None,
) -> None:
    """Write the features of each text of INPUT to OUTPUT.

    A job that was stopped, in whatever way, goes on when the same command is run again, and the file comes
    out the same, byte for byte.
    """
    from .job import EncodeJob, check_output

    pool = None if pooling == "none" else pooling
    options = EncodeOptions(
        pool, max_length, truncation, normalize, batch_tokens, num_threads, prompt, prompt_name, truncate_dim
    )
    check_output(output, pool is None, overwrite)
    with TextInput(input, text_field, pair_field) as source:
        encoder = Encoder(resolve_model(model, device, dtype), options)
        job = EncodeJob(encoder, source, output, overwrite=overwrite)
        started = time.monotonic()
        rows = job.run(progress)
        seconds = time.monotonic() - started
    resumed = f" ({job.resumed_at} of them earlier)" if job.resumed_at else ""
    typer.echo(f"{output}: {rows} texts{resumed}, {seconds:.1f} s", err=True)


@app.command()
def tokenize(
    input: InputArgument,
    model: ModelOption = DEFAULT_MODEL,
    pieces: Annotated[bool, typer.Option("--pieces", help="Print pieces in place of ids.")] = False,
    special_tokens: Annotated[bool, typer.Option(help="With [CLS] and [SEP].")] = True,
    max_length: Annotated[int | None, typer.Option(help="Cut to this many tokens.")] = None,
    text_field: TextFieldOption = None,
    pair_field: PairFieldOption = None,
) -> None:
    """Print the token ids (or pieces) of each text as one JSON list a line."""
    from ..tokenizer import AlbertTokenizer

    with TextInput(input, text_field, pair_field) as source:
        tokenizer = AlbertTokenizer.from_pretrained(model)
        texts = iter(source)
        while window := read_window(texts, _TOKENIZE_WINDOW, source.rows):
            encoded = tokenizer(
                [text if isinstance(text, str) else text[0] for text in window],
                [text[1] for text in window] if pair_field else None,
                add_special_tokens=special_tokens,
                truncation=max_length is not None,
                max_length=max_length,
            )
            for ids in encoded["input_ids"]:
                row = tokenizer.convert_ids_to_tokens(ids) if pieces else ids
                print(json.dumps(row, ensure_ascii=False))
    sys.stdout.flush()


@app.command()
def verify(model: ModelOption = DEFAULT_MODEL, device: DeviceOption = "auto", dtype: DtypeOption = "auto") -> None:
    """Compare the model, stage by stage, with float64 arithmetic; exit 1 if an error is too large."""
    from ..verification import verify as check

    report = check(resolve_model(model, device, dtype), raise_on_failure=False)
    typer.echo(report)
    if not report.passed:
        raise VerificationError(f"{report.model}: at least one stage is above its bound")


@app.command()
def info(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A model to describe beside the build and the machine."),
    ] = None,
) -> None:
    """Describe this build and machine, and a model (without loading its weights)."""
    from .info import build_lines, model_lines

    typer.echo("\n".join(build_lines() if model is None else model_lines(model)))


tasks.register(app)
training.register(app)
export.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 (a check failed), 2 (an error), 130 (interrupted)."""
    usage_errors: Any = [c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"]
    try:
        code = app(args=arguments, prog_name="albert-fast", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except VerificationError as error:
        return _fail(error, EXIT_FAILED_CHECK)
    except tuple(usage_errors) as error:
        return _fail(error.format_message(), EXIT_ERROR)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except (AlbertFastError, OSError) as error:
        return _fail(error, EXIT_ERROR)
    except MemoryError:
        return _fail("not enough memory", EXIT_ERROR)
    if code == EXIT_INTERRUPTED:
        return _fail("interrupted; an encode job goes on when the same command is run again", code)
    return code or 0


def _fail(error: object, code: int) -> int:
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return code
