"""What ``albert-fast`` prints: JSON that every reader takes, on a standard output of any encoding."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, TextIO

from ..errors import OutputError


def print_json(value: Any) -> None:
    """Print a value as one line of JSON: null for what is no number, as JSON has none, and characters that standard
    output cannot show as ``\\uXXXX``, which mean the same."""
    out = _standard_output()
    value = finite(value)
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    _write(out, text + "\n")


def print_text(text: str) -> None:
    """Print a text for people; what standard output cannot show is escaped."""
    out = _standard_output()
    encoding = out.encoding or "utf-8"
    _write(out, text.encode(encoding, errors="backslashreplace").decode(encoding) + "\n")


def flush() -> None:
    """Write out what was printed."""
    _write(_standard_output(), "", flush=True)


def _write(out: TextIO, text: str, *, flush: bool = False) -> None:
    """Raises ``OutputError``, and ``BrokenPipeError`` as it is: nobody reads on, which is no fault."""
    try:
        out.write(text)
        if flush:
            out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"output: cannot write to standard output: {error.strerror or error}") from error


def _standard_output() -> TextIO:
    if sys.stdout is None or sys.stdout.closed:
        raise OutputError("output: standard output is closed")
    return sys.stdout


def open_closed_descriptors() -> None:
    """Put the null device where a standard stream is closed, so that no file gets its number and what is meant for the
    stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def abandon_standard_output() -> None:
    """Let the interpreter's last flush go to the null device, after one that failed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def finite(value: Any) -> Any:
    """A value for JSON with None for every float that is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
