"""Small changes of a module's code, each of which a test should notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "any": "all", "floor": "ceil", "sum": "mean"}
NAMES |= {other: name for name, other in NAMES.items()}
LEFT_OUT = {"annotation", "returns", "args", "decorator_list"}  # fields; `args` holds a function's defaults


@dataclass(frozen=True)
class Mutant:
    """A node of a tree, the field of its parent that holds it (`place`: where that is a list), and its replacement."""

    tree: ast.Module
    parent: ast.AST
    field: str
    place: int | None
    node: ast.stmt | ast.expr
    other: ast.AST

    @property
    def line(self) -> int:
        return self.node.lineno

    @property
    def change(self) -> str:
        """With its column, since one line may hold the same twice."""
        return f"{_short(self.node)} -> {_short(self.other)} (column {self.node.col_offset + 1})"

    def source(self) -> str:
        """The module with this change, without comments."""
        self._put(self.other)
        try:
            return ast.unparse(ast.fix_missing_locations(self.tree)) + "\n"
        finally:
            self._put(self.node)

    def _put(self, node: ast.AST) -> None:
        if self.place is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.place] = node


def mutants(source: str) -> list[Mutant]:
    """All of a module, within functions but __repr__: not their defaults, decorators, annotations and docstrings."""
    tree = ast.parse(source)
    return [
        one
        for function in _functions(tree)
        for place, statement in enumerate(function.body)
        for one in _below(tree, function, "body", place, statement)
    ]


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    """The outermost ones: those inside belong to their bodies."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef):
            yield from _functions(child)
        elif child.name != "__repr__":
            yield child


def _below(tree: ast.Module, parent: ast.AST, field: str, place: int | None, node: ast.AST) -> Iterator[Mutant]:
    if isinstance(node, ast.stmt | ast.expr):
        yield from (Mutant(tree, parent, field, place, node, other) for other in _others(node))
    for name, value in ast.iter_fields(node):
        if name not in LEFT_OUT or isinstance(node, ast.Call):
            for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    yield from _below(tree, node, name, at, child)


def _others(node: ast.stmt | ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Constant()):  # a docstring, or `...`
            return
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.If() | ast.IfExp():
            yield _with(node, test=ast.Constant(False))
        case ast.Compare(ops=ops):
            for k, op in enumerate(ops):
                yield _with(node, ops=[*ops[:k], OTHER[type(op)](), *ops[k + 1 :]])
            if isinstance(ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield ast.UnaryOp(ast.Not(), node)
        case ast.BinOp(op=op) if type(op) in OTHER and not _is_text(node.left) and not _is_text(node.right):
            yield _with(node, op=OTHER[type(op)]())
        case ast.BoolOp():
            yield _with(node, op=OTHER[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=float(value)) if value:
            yield from (ast.Constant(value * 0.5), ast.Constant(value * 1.5))
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            yield _with(node, func=ast.Name(NAMES[name]))
        case ast.Call(func=ast.Attribute(attr=name)) if name in NAMES:
            yield _with(node, func=_with(node.func, attr=NAMES[name]))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _is_text(node: ast.AST) -> bool:
    """`+`, `/` and `%` also join and fill texts and paths; another operator is an error there, which tells nothing."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
