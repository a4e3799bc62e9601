"""TOML tables to frozen dataclasses and back. What does not fit is refused in one sentence that names the key."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from unoise_engine import typed
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
    try:
        return typed.build(kind, table, where)
    except typed.Misfit as e:
        raise Usage(e.where, e.what, f"{e.cure}; Resources/Recipes has examples") from None


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
