"""What the module uses of Slicer, MRML, VTK and Qt, read from its Python files and its .ui; nothing of it is run."""

from __future__ import annotations

import ast
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import symbols

MODULE = Path(__file__).resolve().parents[2] / "UNoiseSlicer"
UI = ET.parse(MODULE / "Resources" / "UI" / "UNoiseSlicer.ui").getroot()
WIDGETS = {str(one.get("name")): str(one.get("class")) for one in UI.iter("widget")}
# What the module always calls by these names.
NAMED = {"slicer": "slicer", "vtk": "vtk", "qt": "qt", "scene": "vtkMRMLScene", "ct": "vtkMRMLVolumeNode",
         "composite": "vtkMRMLSliceCompositeNode", "roi": "vtkMRMLMarkupsROINode", "panel": WIDGETS["UNoiseSlicer"],
         "rendering": "vtkSlicerVolumeRenderingLogic", "database": "ctkDICOMDatabase",
         "renderer": "vtkRenderer"}  # fmt: skip
PARENTS = {"ScriptedLoadableModule": "qSlicerScriptedLoadableModule",
           "ScriptedLoadableModuleWidget": "qSlicerScriptedLoadableModuleWidget"}  # fmt: skip
VALUES = (ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.FormattedValue, ast.Attribute)


class Use(NamedTuple):
    line: int
    owners: tuple[str, ...]  # what the object may be; one of them has to have the member
    name: str
    call: ast.Call | None = None
    as_value: bool = False  # of a method, this would be a fault


def why_not(use: Use) -> str:
    """What is wrong with a use; empty if nothing is. Raises symbols.Unknown."""
    if use.owners == tuple(WIDGETS):
        return "" if use.name in WIDGETS else f"the form has no {use.name}"
    found = [one for owner in use.owners if (one := symbols.member(owner, use.name)) is not None]
    if not found:
        return f"{' or '.join(use.owners)} has no {use.name}"
    if use.call is None:
        is_method = all(one.takes and not one.is_class for one in found)
        return f"{use.name} is a method" if use.as_value and is_method else ""
    if all(one.is_property for one in found):
        return f"{use.name} is a property"
    if any(isinstance(x, ast.Starred) for x in use.call.args) or any(x.arg is None for x in use.call.keywords):
        return ""  # only known at run time
    is_self_given = [ast.unparse(x) for x in use.call.args[:1]] == ["self"] and isinstance(use.call.func, ast.Attribute)
    count, named = len(use.call.args) - is_self_given, {str(x.arg) for x in use.call.keywords}
    fits = any(one.takes is None or any(a.take(count, named) for a in one.takes) for one in found)
    return "" if fits else f"{use.name} does not take {ast.unparse(use.call)}"


class Source:
    """A file of the module: what its names stand for, as far as that can be read from it."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}
        self.names: dict[str, set[str]] = {}
        self.imports = {name: {owner} for name, owner in NAMED.items()}
        for one in ast.walk(self.tree):
            if isinstance(one, ast.Import):
                self.imports |= {a.asname or a.name: {a.name} for a in one.names if _is_slicers(a.name)}
            elif isinstance(one, ast.ImportFrom) and _is_slicers(one.module or ""):
                self.imports |= {a.asname or a.name: self.gives(str(one.module), a.name) for a in one.names}

    @staticmethod
    def gives(owner: str, name: str) -> set[str]:
        try:
            found = symbols.member(owner, name)
        except symbols.Unknown as error:
            return {f"{error}:{name}"}  # whose members are unknown, too
        return {found.gives} - {""} if found is not None else set()

    def owners(self, node: ast.AST | None) -> set[str]:
        """What an expression may be."""
        text = ast.unparse(node) if node is not None else ""
        if text in self.names:
            return self.names[text]
        if text.startswith("self.ui."):
            return {WIDGETS[text[8:]]} if text[8:] in WIDGETS else set()
        if isinstance(node, ast.Attribute):
            return set().union(*(self.gives(owner, node.attr) for owner in self.owners(node.value)))
        if isinstance(node, ast.Call):
            is_mrmls = isinstance(node.func, ast.Attribute) and node.func.attr[0].isupper()
            return (_named_in(node) if is_mrmls else set()) or self.owners(node.func)
        parts = {ast.IfExp: ("body", "orelse"), ast.BoolOp: ("values",), ast.Tuple: ("elts",)}
        inside = [getattr(node, part) for part in parts.get(type(node), ())]
        flat = [x for one in inside for x in (one if isinstance(one, list) else [one])]
        return set().union(*map(self.owners, flat))

    def uses(self) -> Iterator[Use]:
        for one in ast.walk(self.tree):
            if isinstance(one, ast.ImportFrom) and _is_slicers(one.module or ""):
                for alias in one.names:
                    yield Use(one.lineno, (str(one.module),), alias.name)
            if isinstance(one, ast.Constant) and str(one.value).startswith("vtkMRML") and str(one.value).isalnum():
                yield Use(one.lineno, ("slicer",), str(one.value))
        for scope in self.tree.body:
            own = {n.name for n in ast.walk(scope) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            own |= {n.attr for n in ast.walk(scope) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
            self.names = dict(self.imports)
            bases = {x for base in getattr(scope, "bases", []) for x in self.owners(base)}
            parent = {PARENTS[x] for base in bases if (x := base.rpartition(":")[2]) in PARENTS}
            self.names |= {"self.parent": parent, "parent": parent, "self.layout": {"QVBoxLayout"}, "self": bases}
            given = dict(self.names)
            self._read_names(scope)
            given |= {name: owners for name, owners in self.names.items() if name.startswith("self.")}
            for part in scope.body if isinstance(scope, ast.ClassDef) else [scope]:
                self.names = dict(given)
                self._read_names(part)
                yield from (use for node in ast.walk(part) for use in self._uses_at(node, own))

    def _read_names(self, scope: ast.AST) -> None:
        for node in ast.walk(scope):
            of_each: set[str] = set()
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                pairs: list[tuple[ast.expr, ast.expr]] = [(node.targets[0], node.value)]
            elif isinstance(node, ast.For | ast.comprehension):
                pairs, of_each = [(node.target, node.iter)], _named_in(node.iter)
            else:
                continue
            for target, value in pairs:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    pairs += zip(target.elts, value.elts)
                elif isinstance(target, ast.Name | ast.Attribute):
                    text = ast.unparse(target)
                    self.names[text] = self.names.get(text, set()) | (self.owners(value) or of_each)

    def _uses_at(self, node: ast.AST, own: set[str]) -> Iterator[Use]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
            for signal in (str(x.value) for x in node.args if isinstance(x, ast.Constant)):
                yield Use(node.lineno, tuple(self.owners(node.func.value)), signal.split("(")[0])
        if not isinstance(node, ast.Attribute):
            return
        up, text = self.parents[node], ast.unparse(node.value)
        call = up if isinstance(up, ast.Call) and up.func is node else None
        owners = self.owners(node.value)
        if text == "self" and node.attr in own:
            return
        if text == "self.ui":
            yield Use(node.lineno, tuple(WIDGETS), node.attr)
        elif owners:
            as_value = isinstance(up, VALUES) or getattr(up, "test", None) is node
            yield Use(node.lineno, tuple(sorted(owners)), node.attr, call, as_value)
        elif call is not None and node.attr[0].isupper() and node.attr not in own and text not in self.modules():
            yield Use(node.lineno, ("vtkObjectBase",), node.attr, call)

    def modules(self) -> set[str]:
        """Of the module itself or of Python: names of their classes begin with capitals, too."""
        imports = [n for n in ast.walk(self.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        return {(a.asname or a.name) for one in imports for a in one.names}


def _named_in(node: ast.AST) -> set[str]:
    """The class that a call asks for: scene.GetFirstNodeByClass("vtkMRMLLayoutNode")."""
    given = node.args if isinstance(node, ast.Call) else []
    return {str(x.value) for x in given if isinstance(x, ast.Constant) and x.value in symbols.CLASSES}


def _is_slicers(module: str) -> bool:
    return module.split(".")[0] in ("slicer", "SampleData", "ScreenCapture", "vtk")


def uses_of(form: ET.Element = UI) -> Iterator[Use]:
    """Properties, signals and slots that the .ui names."""
    for one in form.iter("widget"):
        for of in one.findall("property"):
            if of.get("stdset") != "0" and of.get("name") != "buddy":
                yield Use(0, (str(one.get("class")),), str(of.get("name")))
    for one in form.iter("connection"):
        for end, what in (("sender", "signal"), ("receiver", "slot")):
            yield Use(0, (WIDGETS[str(one.findtext(end))],), str(one.findtext(what)).split("(")[0])
