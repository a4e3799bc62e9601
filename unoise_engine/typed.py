"""Tables of JSON or TOML into dataclasses and back: every value's type is checked here, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from unoise_engine.errors import Usage

T = TypeVar("T")
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


class Misfit(ValueError):
    """Says where the value stands (``[recipe] [std]``), what is wrong with it, and what to do."""

    def __init__(self, where: str, what: str, cure: str = "correct it"):
        super().__init__(f"{where} {what}".strip())
        self.where, self.what, self.cure = where, what, cure


def bounded(default: T, least: float | None = None, most: float | None = None, about: str = "") -> T:
    """A field of a dataclass that says, for panels and lists, which values it takes and what it is."""
    made: T = field(default=default, metadata={"least": least, "most": most, "about": about})
    return made


def read(kind: type[T], table: Any, where: str) -> T:
    """`build` of what a user or a program gave. Raises Usage."""
    try:
        found: T = convert(table, kind, where)
    except Misfit as error:
        raise Usage(error.where, error.what, error.cure) from None
    return found


def build(kind: type[T], table: dict[str, Any], where: str = "") -> T:
    """Nested tables -> nested dataclasses. Raises Misfit."""
    hints, known = get_type_hints(kind, include_extras=True), fields(kind)  # type: ignore[arg-type]
    values = _each(table, {f.name: hints[f.name] for f in known}, where)
    for f in known:
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise Misfit(where, f"[{f.name}] is missing", "add it")
    try:
        return kind(**values)
    except ValueError as e:
        raise Misfit(where, str(e)) from None


def _each(table: dict[str, Any], kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in table:
        if key not in kinds:
            raise Misfit(where, f"unknown key {_short(key)}", f"use {', '.join(kinds)}")
    return {key: convert(value, kinds[key], f"{where} [{key}]".strip()) for key, value in table.items()}


def convert(value: Any, kind: Any, where: str) -> Any:
    """A value of JSON or TOML as a dataclass, tuple, table, number, truth value, text or path. Raises Misfit.

    A table whose values are of different kinds is written ``Annotated[Mapping[...], {key: kind}]``.
    """
    if kind is Any:
        return value
    if isinstance(kind, UnionType):  # something, or None; or one of several tables
        kinds = [one for one in get_args(kind) if one is not NoneType]
        if value is None and len(kinds) < len(get_args(kind)):
            return None
        return convert(value, _likeliest(kinds, value), where)
    if is_dataclass(kind) or get_origin(kind) in (dict, Annotated):
        if not isinstance(value, dict):
            raise Misfit(where, f"must be a table, not {_short(value)}")
        if is_dataclass(kind):
            return build(kind, value, where)  # type: ignore[arg-type]
        if get_origin(kind) is Annotated:
            return _each(value, kind.__metadata__[0], where)
        inner = get_args(kind)[1]
        return {key: convert(v, inner, f"{where} [{_short(key)}]") for key, v in value.items()}
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        length = None if get_args(kind)[-1] is Ellipsis else len(get_args(kind))
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise Misfit(where, f"must be a list{f' of {length}' if length else ''}, not {_short(value)}")
        return tuple(convert(v, inner, where) for v in value)
    if kind is Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Misfit(where, f"must be {WORDS[kind]}, not {_short(value)}")
        return Path(value)
    fine = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if isinstance(value, bool) != (kind is bool) or not fine:
        raise Misfit(where, f"must be {WORDS[kind]}, not {_short(value)}")
    try:
        if kind is float and not math.isfinite(value):
            raise OverflowError
        return kind(value)
    except OverflowError:  # an integer beyond every float, too
        raise Misfit(where, f"must be finite, not {_short(value)}") from None


def _likeliest(kinds: list[Any], value: Any) -> Any:
    """Of several dataclasses the first that knows every key of the table, or else the first."""
    fit = (one for one in kinds if is_dataclass(one) and {f.name for f in fields(one)}.issuperset(value))
    return next(fit, kinds[0]) if len(kinds) > 1 and isinstance(value, dict) else kinds[0]


def to_table(value: Any) -> Any:
    """The inverse of `convert`: plain tables, lists, texts and numbers, as JSON and TOML have them."""
    if is_dataclass(value):
        return {f.name: to_table(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_table(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_table(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _short(value: Any) -> str:
    """Plain characters, and few."""
    said = ascii(value) if not isinstance(value, int) or abs(value) < 10**60 else "a huge number"
    return said if len(said) <= 60 else f"{said[:60]}..."
