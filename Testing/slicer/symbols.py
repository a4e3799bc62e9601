"""What Slicer offers to a scripted module, member by member: by introspection where slicer-core and PySide6 have it, by
the sources of Slicer (SLICER_SOURCE) and of CTK (CTK_SOURCE) where a checkout is at hand.

An owner is named like what it is: a Python module (slicer.util), a class in it (slicer.util:VTKObservationMixin), a
class of VTK or MRML (vtkMRMLNode), of Qt (QLabel), of CTK or Slicer's widgets (ctkSliderWidget).
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

ROOTS = [Path(os.environ[name]) for name in ("SLICER_SOURCE", "CTK_SOURCE") if os.environ.get(name)]
OF_THE_APPLICATION = {"app": "qSlicerApplication", "mrmlScene": "vtkMRMLScene", "util": "slicer.util",
                      "dicomDatabase": "ctkDICOMDatabase", "modules": ""}  # fmt: skip
CLASSES = {name: kind for module in (slicer, vtk) for name, kind in vars(module).items() if isinstance(kind, type)}


class Unknown(LookupError):
    """What is asked about is not at hand here."""


class Arguments(NamedTuple):
    names: list[str]  # of those that may be given by place
    least: int
    most: float
    keywords: set[str] | None = None  # that may be given by name only; None: any

    def take(self, count: int, named: set[str]) -> bool:
        if self.keywords is not None and named - set(self.names[count:]) - self.keywords:
            return False
        return count <= self.most and all(n in named for n in self.names[count : self.least])


class Member(NamedTuple):
    takes: list[Arguments] | None = None  # for each overload; None: a property or a value, or its arguments are unknown
    gives: str = ""  # the owner that it is, or that a call of it returns; empty: unknown
    is_property: bool = False
    is_class: bool = False


@cache
def member(owner: str, name: str) -> Member | None:
    """None if the owner has no such member. Raises Unknown."""
    if owner == "slicer" and name in OF_THE_APPLICATION:
        return Member(gives=OF_THE_APPLICATION[name])
    if owner in ("slicer", "vtk"):
        if name in CLASSES:
            is_made_bare = issubclass(CLASSES[name], vtk.vtkObjectBase)
            return Member([Arguments([], 0, 0)] if is_made_bare else None, name, is_class=True)
        return Member() if hasattr(vtk if owner == "vtk" else slicer, name) else None
    if owner == "qt":
        return Member(gives=name) if _qt_class(name) is not None else None
    if owner.startswith("vtk") and "." not in owner:
        return _of_vtk(owner, name)
    if owner.startswith("Q"):
        return _of_qt(owner, name)
    return _of_header(owner, name) if re.match("qMRML|qSlicer|ctk", owner) else _of_python(owner, name)


# --- VTK, MRML, Qt: classes and their docstrings ---


def _of_vtk(owner: str, name: str) -> Member | None:
    """Of the class or one below it: C++ declares the base, Python sees the object."""
    base = vtk.vtkObjectBase if owner == "vtkObjectBase" else CLASSES.get(owner)
    if base is None:
        raise Unknown(owner)
    kinds = [kind for kind in {base, *CLASSES.values()} if issubclass(kind, base) and hasattr(kind, name)]
    return _documented(name, {getattr(kind, name).__doc__ or "" for kind in kinds}) if kinds else None


def _of_qt(owner: str, name: str) -> Member | None:
    kind = _qt_class(owner)
    if kind is None:
        raise Unknown(owner)
    meta: Any = getattr(kind, "staticMetaObject", None)
    if hasattr(meta, "indexOfProperty") and meta.indexOfProperty(name) >= 0:
        return Member(is_property=True)
    return _documented(name, {getattr(kind, name).__doc__ or ""}) if hasattr(kind, name) else None


def _qt_class(name: str) -> Any:
    return next((getattr(module, name) for module in (QtCore, QtGui, QtWidgets) if hasattr(module, name)), None)


def _documented(name: str, docs: set[str]) -> Member:
    found = [x for doc in docs for x in re.findall(rf"^{name}\((.*?)\)\s*->\s*([\w.]*)", doc, re.S | re.M)]
    gives = {result.rpartition(".")[2] for _, result in found}
    one = gives.pop() if len(gives) == 1 else ""
    return Member([_counted(x) for x, _ in found] or None, one if one in CLASSES or re.match("Q[A-Z]", one) else "")


def _counted(text: str) -> Arguments:
    """From a list of parameters as C++, VTK or PySide6 writes it."""
    while (flat := re.sub(r"[(\[<][^()\[\]<>]*[)\]>]", "", text)) != text:
        text = flat
    parts = [part for part in text.split(",") if part.strip() not in ("", "self", "/", "*")]
    return Arguments([""] * len(parts), sum("=" not in part for part in parts), len(parts), set())


# --- CTK and Slicer's own widgets: what their headers give to PythonQt ---


@cache
def _headers() -> dict[str, Path]:
    return {path.stem: path for root in ROOTS for path in root.rglob("*.h")}


def _of_header(owner: str, name: str) -> Member | None:
    if owner not in _headers():
        raise Unknown(owner)
    text = re.sub(
        r"//[^\n]*|/\*.*?\*/", "", _headers()[owner].read_text(encoding="utf-8", errors="replace"), flags=re.S
    )
    declared = re.search(rf"^\s*class\s+(?:\w+\s+)?{owner}\s*:\s*public\s+(\w+)(.*)", text, re.S | re.M)
    if declared is None:
        raise Unknown(owner)
    if name in ("connect", "disconnect"):  # PythonQt's own
        return Member()
    if re.search(rf"Q_PROPERTY\s*\(\s*[\w:<>*]+\s+{name}\b", declared[2]):
        return Member(is_property=True)
    _, *sections = re.split(r"^\s*((?:public|protected|private|signals|Q_SIGNALS)\b[\w ]*):", declared[2], flags=re.M)
    takes, gives = [], ""
    for title, body in zip(sections[::2], sections[1::2]):
        open_to_all = re.match(r"(public \w*(slots|SLOTS)|signals|Q_SIGNALS)", title)
        pattern = rf"([^;{{}}]*?)(\w+)[\s*&]+{name}\s*\(((?:[^()]|\([^()]*\))*)\)"
        for before, result, parameters in re.findall(pattern, body):
            if open_to_all or "Q_INVOKABLE" in before:
                takes.append(_counted(parameters))
                gives = result if re.match("vtk|q[MS]|ctk|Q[A-Z]", result) else ""
    return Member(takes, gives) if takes else member(declared[1], name)


# --- Python: sources ---


@cache
def _tree(module: str) -> tuple[ast.Module, str]:
    """The module's source, and the package in which its relative imports are looked for. Raises Unknown."""
    path = Path(*module.split("."))
    places = [root / "Base/Python" / path for root in ROOTS] + [
        root / "Modules/Scripted" / path / path for root in ROOTS
    ]
    for place in places:
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return _parsed(file, module)
    try:
        found = importlib.util.find_spec(module.replace("vtk.", "vtkmodules."))
    except (ModuleNotFoundError, ValueError):  # a stand-in has no specification
        found = None
    if found is None or not found.origin or "Testing" in found.origin or not found.origin.endswith(".py"):
        raise Unknown(module)
    return _parsed(Path(found.origin), module)


def _parsed(file: Path, module: str) -> tuple[ast.Module, str]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return ast.parse(file.read_text(encoding="utf-8")), package


def _of_python(owner: str, name: str) -> Member | None:
    module, _, of_class = owner.partition(":")
    tree, package = _tree(module)
    place: Any = tree
    if of_class:
        place = next(n for n in ast.walk(place) if isinstance(n, ast.ClassDef) and n.name == of_class)
    statements = list(place.body)
    for one in statements:  # grows: what stands under an if or a try counts, too
        statements += [x for part in ("body", "orelse", "handlers") for x in getattr(one, part, [])] * (
            not isinstance(one, ast.FunctionDef | ast.ClassDef)
        )
        if isinstance(one, ast.FunctionDef) and one.name == name:
            return Member(
                [_parameters(one, bool(of_class))], is_property="property" in map(ast.unparse, one.decorator_list)
            )
        if isinstance(one, ast.ClassDef) and one.name == name:
            made = _of_python(f"{module}:{name}", "__init__")
            return Member(made.takes if made else [Arguments([], 0, 0)], f"{module}:{name}", is_class=True)
        if isinstance(one, ast.Assign | ast.AnnAssign) and name in re.findall(r"\w+", ast.unparse(one).split("=")[0]):
            return Member()
        if isinstance(one, ast.ImportFrom):
            known = next((a.name for a in one.names if name == (a.asname or a.name)), "")
            source = f"{package}.{one.module}" if one.level else one.module
            found = member(str(source), known or name) if known or one.names[0].name == "*" else None
            if found is not None:
                return found
    for base in map(ast.unparse, getattr(place, "bases", [])):
        above = member(module, base) if base.isidentifier() else None
        if above is not None and above.is_class and (found := member(above.gives, name)):
            return found
    if of_class:
        stored = (n for n in ast.walk(place) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
        return Member() if name in {n.attr for n in stored} else None
    with suppress(Unknown):
        return Member(gives=f"{owner}.{name}") if _tree(f"{owner}.{name}") else None
    return None


def _parameters(one: ast.FunctionDef, in_class: bool) -> Arguments:
    a = one.args
    is_bound = in_class and "staticmethod" not in map(ast.unparse, one.decorator_list)
    names = [x.arg for x in a.args][is_bound:]
    keywords = None if a.kwarg else {x.arg for x in a.kwonlyargs}
    return Arguments(names, len(names) - len(a.defaults), float("inf") if a.vararg else len(names), keywords)
