"""Tables from somebody else's file into dataclasses: every value's type is checked here, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Misfit(ValueError):
    """Says where the value stands (``[recipe] [std]``), what is wrong with it, and what to do."""

    def __init__(self, where: str, what: str, cure: str = "correct it"):
        super().__init__(f"{where} {what}".strip())
        self.where, self.what, self.cure = where, what, cure


def build(kind: type[T], table: dict[str, Any], where: str = "") -> T:
    """Nested tables -> nested dataclasses. Raises Misfit."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise Misfit(where, f"unknown key {_short(key)}", f"use {', '.join(known)}")
    hints = get_type_hints(kind)
    values = {key: convert(value, hints[key], f"{where} [{key}]".strip()) for key, value in table.items()}
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise Misfit(where, f"[{name}] is missing", "add it")
    try:
        return kind(**values)
    except ValueError as e:
        raise Misfit(where, str(e)) from None


def convert(value: Any, kind: Any, where: str) -> Any:
    """A value of JSON or TOML as a dataclass, tuple, table, number, truth value or text. Raises Misfit."""
    if kind is Any:
        return value
    if is_dataclass(kind) or get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise Misfit(where, f"must be a table, not {_short(value)}")
        if is_dataclass(kind):
            return build(kind, value, where)  # type: ignore[arg-type]
        inner = get_args(kind)[1]
        return {key: convert(v, inner, f"{where} [{_short(key)}]") for key, v in value.items()}
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        length = None if get_args(kind)[-1] is Ellipsis else len(get_args(kind))
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise Misfit(where, f"must be a list{f' of {length}' if length else ''}, not {_short(value)}")
        return tuple(convert(v, inner, where) for v in value)
    fine = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if isinstance(value, bool) != (kind is bool) or not fine:
        raise Misfit(where, f"must be {WORDS[kind]}, not {_short(value)}")
    try:
        if kind is float and not math.isfinite(value):
            raise OverflowError
        return kind(value)
    except OverflowError:  # an integer beyond every float, too
        raise Misfit(where, f"must be finite, not {_short(value)}") from None


def _short(value: Any) -> str:
    """Plain characters, and few."""
    said = ascii(value) if not isinstance(value, int) or abs(value) < 10**60 else "a huge number"
    return said if len(said) <= 60 else f"{said[:60]}..."
