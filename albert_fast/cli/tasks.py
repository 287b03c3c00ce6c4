"""The pipelines as commands: a JSON line of results for each text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from ..encoding import DEFAULT_MODEL, resolve_model
from ..errors import InvalidInputError
from .inputs import TextInput, standard_input
from .options import DeviceOption, DtypeOption, ModelOption, RevisionOption, TextFieldOption
from .output import flush, print_json
from .windows import in_windows

TextsArgument = Annotated[list[str] | None, typer.Argument(help="Texts, each an argument.")]
InputOption = Annotated[
    str | None,
    typer.Option("--input", "-i", help="Instead: a text per line, .jsonl, .json, .csv, ..., or - for stdin."),
]
TruncationOption = Annotated[bool, typer.Option("--truncation", help="Cut texts that are too long.")]


Place = tuple[str, str, str | None]
"""Device, dtype and revision."""


def register(app: typer.Typer) -> None:
    """Adds a command for each task."""
    for command in (
        fill_mask,
        feature_extraction,
        text_classification,
        zero_shot_classification,
        token_classification,
        question_answering,
        multiple_choice,
        sentence_order,
    ):
        app.command(command.__name__.replace("_", "-"))(command)


def _run(task: str, model: str, place: Place, inputs: Iterable[tuple[str, Any]], **options: Any) -> None:
    from ..pipelines import pipeline

    device, dtype, revision = place
    run = pipeline(task, resolve_model(model, device, dtype, revision))
    for result in in_windows(inputs, lambda window: list(run(iter(window), **options)), after_each=flush):
        print_json(result)


def _texts(texts: list[str] | None, source: str | None, text_field: str | None) -> Iterator[tuple[str, str]]:
    if bool(texts) == (source is not None):
        raise InvalidInputError("TEXTS: got none or both, expected texts as arguments or --input")
    if source is None:
        if text_field is not None:
            raise InvalidInputError(f"text_field: got {text_field!r} without --input, expected both")
        yield from _numbered(texts or ())
        return
    with TextInput(source, text_field) as file:
        for text in file:
            assert isinstance(text, str)  # no pair field was named
            yield file.where, text


def _numbered(inputs: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"inputs[{i}]", value) for i, value in enumerate(inputs))


def fill_mask(
    texts: TextsArgument = None,
    input: InputOption = None,
    text_field: TextFieldOption = None,
    model: ModelOption = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Answers for each mask.")] = 5,
    targets: Annotated[list[str] | None, typer.Option(help="Only this piece; may be repeated.")] = None,
    truncation: TruncationOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Pieces that may stand where a text says [MASK]."""
    options = {"top_k": top_k, "targets": targets or None, "tokenizer_kwargs": {"truncation": truncation}}
    _run("fill-mask", model, (device, dtype, revision), _texts(texts, input, text_field), **options)


def feature_extraction(
    texts: TextsArgument = None,
    input: InputOption = None,
    text_field: TextFieldOption = None,
    model: ModelOption = DEFAULT_MODEL,
    truncation: TruncationOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Hidden states of every token. `encode` writes one vector a text, to a file."""
    _run(
        "feature-extraction", model, (device, dtype, revision), _texts(texts, input, text_field), truncation=truncation
    )


def text_classification(
    texts: TextsArgument = None,
    input: InputOption = None,
    text_field: TextFieldOption = None,
    model: ModelOption = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Labels for each text.")] = 1,
    truncation: TruncationOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Classes of texts, by a model fine-tuned for that."""
    _run(
        "text-classification",
        model,
        (device, dtype, revision),
        _texts(texts, input, text_field),
        top_k=top_k,
        truncation=truncation,
    )


def zero_shot_classification(
    candidate_labels: Annotated[list[str], typer.Option(help="A label, or several between commas; may be repeated.")],
    texts: TextsArgument = None,
    input: InputOption = None,
    text_field: TextFieldOption = None,
    model: ModelOption = DEFAULT_MODEL,
    hypothesis_template: Annotated[str, typer.Option(help="What is said of a label.")] = "This example is {}.",
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Labels do not exclude each other.")] = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Labels of your own for texts, by a model for natural language inference."""
    options = {
        "candidate_labels": ",".join(candidate_labels),
        "hypothesis_template": hypothesis_template,
        "multi_label": multi_label,
    }
    _run("zero-shot-classification", model, (device, dtype, revision), _texts(texts, input, text_field), **options)


def token_classification(
    texts: TextsArgument = None,
    input: InputOption = None,
    text_field: TextFieldOption = None,
    model: ModelOption = DEFAULT_MODEL,
    aggregation_strategy: Annotated[str, typer.Option(help="none, simple, first, average or max.")] = "none",
    stride: Annotated[int | None, typer.Option(help="Tokens that windows of a long text share.")] = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Classes of tokens, or the entities they make up."""
    options = {"aggregation_strategy": aggregation_strategy, "stride": stride}
    _run("token-classification", model, (device, dtype, revision), _texts(texts, input, text_field), **options)


def question_answering(
    question: Annotated[list[str], typer.Option(help="May be repeated.")],
    context: Annotated[str, typer.Option(help="The text that has the answer, or - for stdin.")],
    model: ModelOption = DEFAULT_MODEL,
    top_k: Annotated[int, typer.Option(help="Answers for each question.")] = 1,
    handle_impossible_answer: Annotated[
        bool, typer.Option("--handle-impossible-answer", help="The empty answer counts as one.")
    ] = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """The span of a context that answers a question."""
    text = _read_context() if context == "-" else context
    inputs = [{"question": q, "context": text} for q in question]
    options = {"top_k": top_k, "handle_impossible_answer": handle_impossible_answer}
    _run("question-answering", model, (device, dtype, revision), _numbered(inputs), **options)


def _read_context() -> str:
    try:
        return standard_input().read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"context: standard input is not UTF-8: {error.reason} at byte {error.start + 1}"
        ) from error


def multiple_choice(
    prompt: Annotated[str, typer.Argument(help="What the choices are for.")],
    choice: Annotated[list[str], typer.Option(help="To be repeated.")],
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Which of several texts goes with a prompt."""
    _run("multiple-choice", model, (device, dtype, revision), _numbered([{"prompt": prompt, "choices": choice}]))


def sentence_order(
    first: Annotated[str, typer.Argument(help="A text.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    model: ModelOption = DEFAULT_MODEL,
    truncation: TruncationOption = False,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """Whether the second text follows the first, or the other way round."""
    _run("sentence-order", model, (device, dtype, revision), _numbered([(first, second)]), truncation=truncation)
