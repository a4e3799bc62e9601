"""A MONAI bundle's configuration read as data: references are followed, a little arithmetic is done, nothing is run.

MONAI's own ConfigParser evaluates every text that begins with "$" as Python and calls whatever `_target_` names. Here
such a text must be one of a closed list of forms, and `_target_` is a name to be compared with others.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unoise_engine.errors import Usage, printable
from unoise_engine.strict_json import read_json

LARGEST = 1 << 20  # bytes of a configuration
DEEPEST, MOST_VALUES = 48, 50_000  # tables, lists and references within one another; values read in all
LONGEST_EXPRESSION, LARGEST_NUMBER = 200, 1e9
REFERENCE = re.compile(r"[@%](\w+(?:(?:::|#)\w+)*)")
NUMBER_TYPE = re.compile(r"\$(?:torch|np|numpy)\.(\w+)")
ARITHMETIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip
OTHERWISE = "give its model.ts, as TorchScript, with a recipe file instead (import --template writes one)"


@dataclass(frozen=True)
class Component:
    """What MONAI would make an object of: the last part of `_target_`, the part before, and the arguments unread."""

    name: str
    module: str
    arguments: dict[str, Any]


@dataclass
class Config:
    """inference.json, with metadata.json as its entry `_meta_`. Whatever cannot be read as data raises Usage."""

    path: Path
    tables: dict[str, Any]
    left: int = field(default=MOST_VALUES, repr=False)

    @classmethod
    def read(cls, folder: Path) -> Config:
        """From a bundle's folder."""
        path = folder / "configs" / "inference.json"
        if not path.is_file():
            others = [p.name for p in sorted(path.parent.glob("inference.y*ml"))]
            if others:
                raise Usage(path.with_name(others[0]), "is YAML, which is not read", "write it as inference.json")
            raise Usage(folder, "is no MONAI bundle (no configs/inference.json in it)", "give a bundle's folder")
        metadata = path.with_name("metadata.json")
        if not metadata.is_file():
            raise Usage(metadata, "is missing", "get the bundle again: it says what goes in and comes out")
        return cls(path, {**_table(path), "_meta_": _table(metadata)})

    def refused(self, where: str, what: str, cure: str = OTHERWISE) -> Usage:
        return Usage(self.path, f"{where}: {what}", cure)

    def at(self, place: str, otherwise: Any = None) -> Any:
        """The value at "a::b::0" as it stands in the file, or what it refers to as a whole."""
        try:
            return self.follow(self._raw(place), place)
        except LookupError:
            return otherwise

    def follow(self, value: Any, where: str) -> Any:
        """The value that "@a" or "%a" stands for; any other value is itself."""
        depth = 0
        while isinstance(value, str) and (found := REFERENCE.fullmatch(value)):
            depth = self._spend(where, depth)
            value = self._named(found[1], where)
        return value

    def component(self, value: Any, where: str) -> Component | None:
        """What `_target_` names; None where it is switched off."""
        value = self.follow(value, where)
        if not isinstance(value, dict) or not isinstance(target := value.get("_target_"), str):
            raise self.refused(where, f"{_short(value)} is not read: it is no table with a _target_")
        if not re.fullmatch(r"[A-Za-z_][\w.]{0,200}", target):
            raise self.refused(where, f"the _target_ {_short(target)} is no name")
        if (mode := value.get("_mode_", "default")) != "default":
            raise self.refused(where, f"the _mode_ {_short(mode)} of {target} is not known")
        if self.plain(value.get("_disabled_", False), f"{where} [_disabled_]") in (True, "true", "True"):
            return None
        module, _, name = target.rpartition(".")
        return Component(name, module, {k: v for k, v in value.items() if not re.fullmatch(r"_\w+_", k)})

    def plain(self, value: Any, where: str, depth: int = 0) -> Any:
        """Numbers, texts, lists and tables, with every reference and every expression in them worked out."""
        depth = self._spend(where, depth)
        if isinstance(value, dict):
            if "_target_" in value:
                raise self.refused(where, f"{_short(value['_target_'])} is made by code, which is not run")
            return {key: self.plain(one, where, depth) for key, one in value.items()}
        if isinstance(value, list):
            return [self.plain(one, where, depth) for one in value]
        if isinstance(value, str) and value.startswith("$"):
            return self._expression(value, where, depth)
        if isinstance(value, str) and (found := REFERENCE.fullmatch(value)):
            return self.plain(self._named(found[1], where), where, depth)
        return value

    def _raw(self, place: str) -> Any:
        """Raises LookupError where nothing is."""
        found: Any = self.tables
        for part in re.split("::|#", place):
            if not isinstance(found, dict | list) or (isinstance(found, list) and not part.isdecimal()):
                raise KeyError(part)
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def _named(self, place: str, where: str) -> Any:
        try:
            return self._raw(place)
        except LookupError:
            raise self.refused(where, f"refers to {_short(place)}, which is not there") from None

    def _spend(self, where: str, depth: int) -> int:
        self.left -= 1
        if depth >= DEEPEST or self.left < 0:
            raise self.refused(where, "refers in a circle, or to too much")
        return depth + 1

    def _expression(self, text: str, where: str, depth: int) -> Any:
        """`$` with numbers, texts, lists, references, + - * / // and if-else; or the name of a number's type."""
        if known := NUMBER_TYPE.fullmatch(text):
            return known[1]
        refused = self.refused(where, f"the expression {_short(text)} is code, which is not run")
        if len(text) > LONGEST_EXPRESSION:
            raise refused
        named: dict[str, Any] = {}

        def name(found: re.Match[str]) -> str:
            key = f"value{len(named)}_"
            named[key] = self.plain(self._named(found[1], where), where, depth)
            return key

        try:
            return _worked_out(ast.parse(REFERENCE.sub(name, text[1:].strip()), mode="eval").body, named)
        except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
            raise refused from None


def _worked_out(node: ast.expr, named: dict[str, Any]) -> Any:
    """Raises ValueError for whatever is not in the closed list."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.Name(id=key) if key in named:
            return named[key]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_worked_out(part, named) for part in parts]
        case ast.IfExp():
            return _worked_out(node.body if _worked_out(node.test, named) else node.orelse, named)
        case ast.UnaryOp(op=ast.USub()):
            return -_number(_worked_out(node.operand, named))
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            left, right = (_number(_worked_out(side, named)) for side in (node.left, node.right))
            return _number(ARITHMETIC[type(node.op)](left, right))
    raise ValueError("none of the forms that are known")


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
        raise ValueError("no number, or too large")
    return value


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        table = read_json(path.read_bytes(), LARGEST)
        if not isinstance(table, dict):
            raise ValueError("no table")
    except (OSError, ValueError, RecursionError) as error:
        what = f"cannot be read as JSON ({printable(str(error))[:200]})"
        raise Usage(path, what, "get the bundle again, or correct it") from None
    return table


def _short(value: Any) -> str:
    said = ascii(value) if isinstance(value, str) else f"a {type(value).__name__}"
    return said if len(said) <= 70 else f"{said[:67]}..."
