"""Activations and other functions of one number: the gradient times the function's slope."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import FLOAT32, Growing, Rule, settings


@dataclass(frozen=True)
class Term:
    """A tensor in a formula."""

    graph: Growing
    name: str

    def _with(self, op: str, other: Term | float) -> Term:
        name = other.name if isinstance(other, Term) else self.graph.number(other)
        return Term(self.graph, self.graph.add(op, [self.name, name]))

    def __add__(self, other: Term | float) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._with("Mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._with("Div", other)

    def __gt__(self, other: float) -> Term:
        return self._with("Greater", other)

    def __lt__(self, other: float) -> Term:
        return self._with("Less", other)

    def of(self, op: str) -> Term:
        """A function's value."""
        return Term(self.graph, self.graph.add(op, [self.name]))

    def chosen(self, yes: Term | float, no: Term | float) -> Term:
        """One or the other, where this is true or not."""
        names = [one.name if isinstance(one, Term) else self.graph.number(one) for one in (yes, no)]
        return Term(self.graph, self.graph.add("Where", [self.name, *names]))


Settings = Callable[[str, float], float]  # name of an attribute and its default -> its value
Slope = Callable[[Term, Term, Settings], Term]  # x, f(x) -> f'(x)


def _rule(slope: Slope) -> Rule:
    def rule(graph: Growing, node: Message, gradient: str) -> None:
        x, y = Term(graph, node.input[0]), Term(graph, node.output[0])
        graph.give(x.name, (slope(x, y, settings(node).get) * Term(graph, gradient)).name)

    return rule


def _gelu(x: Term, bell: float = 1 / math.sqrt(2 * math.pi)) -> Term:
    """Of x Phi(x)."""
    return ((x * math.sqrt(0.5)).of("Erf") + 1.0) * 0.5 + x * (x * x * -0.5).of("Exp") * bell


def _gelu_by_tanh(x: Term, k: float = math.sqrt(2 / math.pi), cubic: float = 0.044715) -> Term:
    t = ((x * x * cubic + 1.0) * x * k).of("Tanh")
    return (t + 1.0) * 0.5 + (t * t * -1.0 + 1.0) * (x * x * (3 * cubic) + 1.0) * x * (k / 2)


def _mish(x: Term) -> Term:
    """Of x tanh(softplus(x))."""
    t = x.of("Softplus").of("Tanh")
    return t + x * (t * t * -1.0 + 1.0) * x.of("Sigmoid")


def _hard_sigmoid(x: Term, y: Term, get: Settings) -> Term:
    return (y > 0.0).chosen((y < 1.0).chosen(get("alpha", 0.2), 0.0), 0.0)


def _selu(x: Term, y: Term, get: Settings) -> Term:
    alpha, gamma = get("alpha", 1.67326319217681884765625), get("gamma", 1.05070102214813232421875)
    return (x > 0.0).chosen(gamma, y + alpha * gamma)


SLOPES: dict[str, Slope] = {
    "LeakyRelu": lambda x, y, get: (x > 0.0).chosen(1.0, get("alpha", 0.01)),
    "Elu": lambda x, y, get: (x > 0.0).chosen(1.0, y + get("alpha", 1.0)),
    "Celu": lambda x, y, get: (x > 0.0).chosen(1.0, y / get("alpha", 1.0) + 1.0),
    "Selu": _selu,
    "Sigmoid": lambda x, y, get: y - y * y,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x, y, get: (x.of("Abs") < 3.0).chosen(x / 3.0 + 0.5, (x > 0.0).chosen(1.0, 0.0)),
    "Mish": lambda x, y, get: _mish(x),
    "Gelu": lambda x, y, get: (_gelu_by_tanh if str(get("approximate", 0)) == "tanh" else _gelu)(x),
    "Tanh": lambda x, y, get: y * y * -1.0 + 1.0,
    "Softplus": lambda x, y, get: x.of("Sigmoid"),
    "Softsign": lambda x, y, get: ((x.of("Abs") + 1.0) * (x.of("Abs") + 1.0)).of("Reciprocal"),
    "Exp": lambda x, y, get: y,
    "Log": lambda x, y, get: x.of("Reciprocal"),
    "Sqrt": lambda x, y, get: (y * 2.0).of("Reciprocal"),
    "Reciprocal": lambda x, y, get: y * y * -1.0,
    "Abs": lambda x, y, get: x.of("Sign"),
    "Erf": lambda x, y, get: (x * x * -1.0).of("Exp") * (2 / math.sqrt(math.pi)),
    "Sin": lambda x, y, get: (x + math.pi / 2).of("Sin"),
    "Tan": lambda x, y, get: y * y + 1.0,
}


def _relu(graph: Growing, node: Message, gradient: str) -> None:
    opened = graph.add("Greater", [node.input[0], graph.number(0.0)])
    graph.give(node.input[0], graph.add("Where", [opened, gradient, graph.number(0.0)]))


def _prelu(graph: Growing, node: Message, gradient: str) -> None:
    opened = graph.add("Greater", [node.input[0], graph.number(0.0)])
    closed = graph.add("Mul", [gradient, node.input[1]])
    graph.give(node.input[0], graph.add("Where", [opened, gradient, closed]))


def _clip(graph: Growing, node: Message, gradient: str) -> None:
    """What was not clipped."""
    kept = graph.add("Equal", [node.input[0], node.output[0]])
    graph.give(node.input[0], graph.add("Where", [kept, gradient, graph.number(0.0)]))


def _same(graph: Growing, node: Message, gradient: str) -> None:
    graph.give(node.input[0], gradient)


def _cast(graph: Growing, node: Message, gradient: str) -> None:
    if settings(node)["to"] != FLOAT32:
        raise ValueError("layers of numbers other than float32 cannot be reversed")
    graph.give(node.input[0], gradient)


def _dropout(graph: Growing, node: Message, gradient: str) -> None:
    if len(node.input) > 2 and node.input[2]:
        raise ValueError("Dropout as in training cannot be reversed")
    graph.give(node.input[0], gradient)


RULES: dict[str, Rule] = {
    **{op: _rule(slope) for op, slope in SLOPES.items()},
    "Relu": _relu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Neg": lambda graph, node, gradient: graph.give(node.input[0], graph.add("Neg", [gradient])),
    "Identity": _same,
    "Cast": _cast,
    "Dropout": _dropout,
}
