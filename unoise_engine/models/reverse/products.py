"""Products of matrices."""

from __future__ import annotations

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, Rule, settings


def _turned(graph: Growing, name: str) -> str:
    """The last two axes changed over."""
    return graph.add("Einsum", [name], equation="...ij->...ji")


def _matrices(graph: Growing, node: Message, gradient: str) -> None:
    a, b = node.input
    if any((stored := graph.stored(name)) is not None and stored.ndim < 2 for name in (a, b)):
        raise ValueError("a product of a matrix and a vector cannot be reversed")
    if a in graph.layers:
        graph.give(a, graph.summed_as(graph.add("MatMul", [gradient, _turned(graph, b)]), a))
    if b in graph.layers:
        graph.give(b, graph.summed_as(graph.add("MatMul", [_turned(graph, a), gradient]), b))


def _gemm(graph: Growing, node: Message, gradient: str) -> None:
    """alpha A B + beta C, where A and B may be turned."""
    get = settings(node).get
    (a, b, *rest), turn_a, turn_b, alpha = node.input, get("transA", 0), get("transB", 0), get("alpha", 1.0)
    if a in graph.layers and turn_a:
        graph.give(a, graph.add("Gemm", [b, gradient], transA=turn_b, transB=1, alpha=alpha))
    elif a in graph.layers:
        graph.give(a, graph.add("Gemm", [gradient, b], transB=1 - turn_b, alpha=alpha))
    if b in graph.layers and turn_b:
        graph.give(b, graph.add("Gemm", [gradient, a], transA=1, transB=turn_a, alpha=alpha))
    elif b in graph.layers:
        graph.give(b, graph.add("Gemm", [a, gradient], transA=1 - turn_a, alpha=alpha))
    for c in rest:
        if c in graph.layers:
            graph.give(c, graph.summed_as(graph.add("Mul", [gradient, graph.number(get("beta", 1.0))]), c))


def _einsum(graph: Growing, node: Message, gradient: str) -> None:
    """Of layers whose every index is one of the result's or of another factor's."""
    equation = settings(node)["equation"].replace(" ", "")
    letters, arrow, result = equation.partition("->")
    given = letters.split(",")
    if not arrow or "." in equation or any(len(set(one)) < len(one) for one in given):
        raise ValueError(f"Einsum {equation} cannot be reversed")
    for k, name in enumerate(node.input):
        others = [one for j, one in enumerate(given) if j != k]
        if name in graph.layers and not set(given[k]) <= set("".join([result, *others])):
            raise ValueError(f"Einsum {equation} cannot be reversed")
        if name in graph.layers:
            inputs = [gradient, *(one for j, one in enumerate(node.input) if j != k)]
            graph.give(name, graph.add("Einsum", inputs, equation=f"{','.join([result, *others])}->{given[k]}"))


RULES: dict[str, Rule] = {"MatMul": _matrices, "Gemm": _gemm, "Einsum": _einsum}
