"""The changes themselves, on code whose tests are known."""

import ast
from typing import Any

import pytest

from Testing.mutants.mutator import mutants


def changed(body: str) -> list[str]:
    """The body of a function, changed in each way."""
    made = [one.source() for one in mutants(f"def f(x, y):\n    {body}\n")]
    return [
        "\n".join(map(ast.unparse, function.body))
        for text in made
        for function in ast.parse(text).body
        if isinstance(function, ast.FunctionDef)
    ]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("return x < y", ["return x <= y", "return not x < y"]),
        ("return x == y", ["return x != y"]),
        ("return x in y", ["return x not in y"]),
        ("return x + y", ["return x - y"]),
        ("return x / y", ["return x * y"]),
        ("return x and y", ["return x or y"]),
        ("return 7", ["return 8", "return 6"]),
        ("return 0.5", ["return 0.25", "return 0.75"]),
        ("return True", ["return False"]),
        ("return min(x)", ["return max(x)"]),
        ("return x.any()", ["return x.all()"]),
        ("return math.floor(x)", ["return math.ceil(x)"]),
        ("return x.mean()", ["return x.sum()"]),
        ("return not x", ["return x"]),
        ("return ~x", ["return x"]),
        ("return -x", ["return x"]),
        ("raise x", ["pass"]),
        ("yield x", ["pass"]),
        ("x(y)", ["pass"]),
        ("x += y", ["pass"]),
        ("x[y] = y", ["pass"]),
        ("return y if x else y", ["return y if False else y"]),
        ("return x.mean", []),
        ("return 'no ' + x", []),
        ("x: max(1) = y", []),
    ],
)
def test_each_kind_of_change(body: Any, wanted: Any) -> None:
    assert changed(body) == wanted


SOURCE = '''"""A module of 3 lines."""
LIMIT = 3


class Kept:
    size: int = 4

    @property(5)
    def one(self, at: Literal[6] = 7) -> Literal[8]:
        """9 times."""

        def inside():
            return 10

        return inside() + 20

    def __repr__(self):
        return 11
'''


def test_only_what_functions_do_is_changed() -> None:
    told = [(one.line, one.change) for one in mutants(SOURCE)]
    assert told == [
        (13, "10 -> 11 (column 20)"),
        (13, "10 -> 9 (column 20)"),
        (15, "inside() + 20 -> inside() - 20 (column 16)"),
        (15, "20 -> 21 (column 27)"),
        (15, "20 -> 19 (column 27)"),
    ]


def test_a_change_does_not_outlast_its_source() -> None:
    whole = ast.unparse(ast.parse(SOURCE)) + "\n"
    first, second = (one.source() for one in mutants(SOURCE)[:2])
    assert first == whole.replace("return 10", "return 11") and second == whole.replace("return 10", "return 9")
