"""The commands and their options; errors become one line and an exit code."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..encoding import DEFAULT_MODEL, resolve_model
from ..errors import AlbertFastError, OutputError, VerificationError
from ..sentence import EncodeOptions
from ..sentence.encoder import DEFAULT_BATCH_TOKENS, Encoder
from . import export, tasks, training
from .inputs import Text, TextInput
from .options import DeviceOption, DtypeOption, ModelOption, PairFieldOption, RevisionOption, TextFieldOption
from .output import abandon_standard_output, flush, open_closed_descriptors, print_json, print_text
from .windows import in_windows

EXIT_FAILED_CHECK = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

_TOKENIZE_WINDOW = 4096

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

InputArgument = Annotated[
    str, typer.Argument(help="A text per line; or .jsonl, .ndjson, .json, .csv, .tsv, .parquet; - for stdin.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"albert-fast {__version__}")
        raise typer.Exit


@app.callback()
def _albert_fast(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
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
    revision: RevisionOption = None,
) -> None:
    """Write the features of each text of INPUT to OUTPUT.

    A job that was stopped, in whatever way, goes on when the same command is run again, and the file comes
    out the same, byte for byte.
    """
    from .job import EncodeJob, check_distinct, check_output

    pool = None if pooling == "none" else pooling
    options = EncodeOptions(
        pool, max_length, truncation, normalize, batch_tokens, num_threads, prompt, prompt_name, truncate_dim
    )
    check_output(output, pool is None, overwrite)
    with TextInput(input, text_field, pair_field) as source:
        check_distinct(source, output)
        encoder = Encoder(resolve_model(model, device, dtype, revision), options)
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
    revision: RevisionOption = None,
) -> None:
    """Print the token ids (or pieces) of each text as one JSON list a line."""
    from ..tokenizer import AlbertTokenizer

    with TextInput(input, text_field, pair_field) as source:
        tokenizer = AlbertTokenizer.from_pretrained(model, revision=revision)
        truncation = max_length is not None

        def rows(window: list[Text]) -> list[list[int]]:
            encoded = tokenizer(
                [text if isinstance(text, str) else text[0] for text in window],
                [text[1] for text in window] if pair_field else None,
                add_special_tokens=special_tokens,
                truncation=truncation,
                max_length=max_length,
            )
            return encoded["input_ids"]  # type: ignore[no-any-return]  # lists, as no tensors are asked for

        places = ((source.where, text) for text in source)
        for ids in in_windows(places, rows, _TOKENIZE_WINDOW, after_each=flush):
            print_json(tokenizer.convert_ids_to_tokens(ids) if pieces else ids)


@app.command()
def verify(
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Compare the model, stage by stage, with float64 arithmetic; exit 1 if an error is too large."""
    from ..verification import verify as check

    report = check(resolve_model(model, device, dtype, revision), raise_on_failure=False)
    print_text(str(report))
    if not report.passed:
        raise VerificationError(f"{report.model}: at least one stage is above its bound")


@app.command()
def info(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A model to describe beside the build and the machine."),
    ] = None,
    revision: RevisionOption = None,
) -> None:
    """Describe this build and machine, and a model (without loading its weights)."""
    from .info import build_lines, model_lines

    print_text("\n".join(build_lines() if model is None else model_lines(model, revision)))


tasks.register(app)
training.register(app)
export.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 (a check failed, or nobody reads on), 2 (an error), 130
    (interrupted)."""
    open_closed_descriptors()
    usage_errors: Any = [c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"]
    try:
        code = app(args=arguments, prog_name="albert-fast", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except VerificationError as error:
        code = _fail(error, EXIT_FAILED_CHECK)
    except tuple(usage_errors) as error:
        code = _fail(error.format_message(), EXIT_ERROR)
    except BrokenPipeError:
        code = EXIT_FAILED_CHECK
    except (AlbertFastError, OSError) as error:
        code = _fail(error, EXIT_ERROR)
    except MemoryError:
        code = _fail("not enough memory", EXIT_ERROR)
    if code == EXIT_INTERRUPTED:
        _fail("interrupted; an encode job goes on when the same command is run again", code)
    return _flushed(code or 0)


def _flushed(code: int) -> int:
    """The exit code, once what was printed is where it should be."""
    if sys.stdout is None or sys.stdout.closed:  # from the start: whoever had to print has said so
        return code
    try:
        flush()
    except BrokenPipeError:
        abandon_standard_output()
        return code or EXIT_FAILED_CHECK
    except OutputError as error:
        abandon_standard_output()
        return code or _fail(error, EXIT_ERROR)
    return code


def _fail(error: object, code: int) -> int:
    if sys.stderr is not None:  # None: closed; print would take standard output then
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
    return code
