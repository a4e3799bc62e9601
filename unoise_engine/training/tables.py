"""TOML tables to frozen dataclasses and back. What does not fit is refused in one sentence that names the key."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from unoise_engine.errors import Usage

T = TypeVar("T")


def require(ok: bool, sentence: str) -> None:
    if not ok:
        raise ValueError(sentence)


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as e:
        raise Usage(path, f"cannot be read ({e.strerror})", "give a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Usage(path, f"not a TOML file ({e})", "correct it or start from one in Resources/Recipes") from None


def build(kind: type[T], table: dict[str, Any], where: str) -> T:
    """Nested dictionaries -> nested dataclasses, checked. `where` starts every sentence: ``recipe.toml [fit]``."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise Usage(where, f"unknown key '{key}'", f"use {', '.join(known)}")
    hints = get_type_hints(kind)
    values = {key: convert(value, hints[key], f"{where} [{key}]") for key, value in table.items()}
    for name, f in known.items():
        if name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise Usage(where, f"[{name}] is missing", "add it, see Resources/Recipes for examples")
    try:
        return kind(**values)
    except ValueError as e:
        raise Usage(where, e, "correct the recipe") from None


def convert(value: Any, kind: Any, where: str) -> Any:
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise Usage(where, f"must be a table, not {value!r}", f"write [{where.split('[')[-1]} and keys below it")
        return build(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        length = None if get_args(kind)[-1] is Ellipsis else len(get_args(kind))
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise Usage(where, f"must be a list{f' of {length}' if length else ''}, not {value!r}", "correct it")
        return tuple(convert(v, inner, where) for v in value)
    fine = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if isinstance(value, bool) != (kind is bool) or not fine:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise Usage(where, f"must be {words[kind]}, not {value!r}", "correct it")
    if kind is float and not math.isfinite(value):
        raise Usage(where, f"must be finite, not {value!r}", "correct it")
    return kind(value)


def to_toml(recipe: Any) -> str:
    blocks = []
    for table in fields(recipe):
        part = getattr(recipe, table.name)
        rows = [f"{f.name} = {toml_value(getattr(part, f.name))}" for f in fields(part)]
        blocks.append("\n".join([f"[{table.name}]", *rows]))
    return "\n\n".join(blocks) + "\n"


def toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # numbers, true, false and strings read the same in TOML
