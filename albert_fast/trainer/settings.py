"""Recipes: TOML tables to dataclasses, with errors that name the key."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from albert_fast.errors import ConfigError, InvalidInputError, ModelNotFoundError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a file. Raises ``ModelNotFoundError`` or ``ConfigError``."""
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ModelNotFoundError(f"config: cannot read {os.fspath(path)!r} ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: {os.fspath(path)} is not TOML ({error})") from error
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise ConfigError(f"config: got {key} = {value!r} outside of tables, expected it in one such as [training]")
    return tables


def read_recipe(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The tables of these names; those that a file leaves out are empty. Raises as ``read_toml``, and ``ConfigError``
    for any other table."""
    tables = read_toml(path)
    unknown = sorted(set(tables) - set(names))
    if unknown:
        *first, last = (f"[{name}]" for name in names)
        raise ConfigError(f"config: got [{unknown[0]}], expected {', '.join(first)} and {last}")
    return {name: tables.get(name, {}) for name in names}


def changed(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A ``[training]`` table with other values. Fewer ``steps`` warm up for the same share of them."""
    before, after = table.get("steps"), changes.get("steps")
    values = {**table, **changes}
    if isinstance(before, int) and isinstance(after, int) and "warmup_steps" not in changes:
        warmup = table.get("warmup_steps")
        if isinstance(warmup, int) and before > 0 and after < before:
            values["warmup_steps"] = warmup * after // before
    return values


def from_table(kind: type[T], table: Mapping[str, Any], name: str) -> T:
    """A dataclass of what a table says. Raises ``ConfigError`` naming table and key."""
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise ConfigError(f"[{name}] {key}: unknown, expected one of {', '.join(fields)}")
        values[key] = _as(hints[key], value, f"[{name}] {key}")
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for key, field in fields.items():
        if key not in values and (field.default, field.default_factory) == required:
            raise ConfigError(f"[{name}] {key}: missing")
    try:
        return kind(**values)
    except InvalidInputError as error:
        raise ConfigError(f"[{name}] {error}") from error


def _as(hint: Any, value: Any, where: str) -> Any:
    """The value as the field has it: a list is a tuple there, an integer may stand for a float."""
    choices = get_args(hint) if get_origin(hint) not in (tuple, None) else (hint,)
    for choice in choices:
        members = get_args(choice)
        if get_origin(choice) is tuple and isinstance(value, list) and len(value) == len(members):
            return tuple(_as(member, item, where) for member, item in zip(members, value, strict=True))
        if choice is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is choice or (isinstance(choice, str) and value == choice):  # a type, or one of a Literal's
            return value
    expected = " or ".join(choice.__name__ if type(choice) is type else str(choice) for choice in choices)
    raise ConfigError(f"{where}: got {value!r}, expected {expected}")
