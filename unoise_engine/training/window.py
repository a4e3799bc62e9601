"""Parts of an image whose place a graph finds out itself, and what is computed on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from unoise_engine.training.graph import Graph

ROWS, COLUMNS = 2, 3  # axes


@dataclass(frozen=True)
class Span:
    """Names of whole numbers (1,) of a graph: first pixel, first pixel not any more, and pixels of the whole axis."""

    start: str
    stop: str
    length: str

    @staticmethod
    def around(graph: Graph, target: str, axis: int) -> Span:
        """Where the target is not zero; one pixel if it is zero everywhere, which costs least."""
        others = [k for k in range(4) if k != axis]
        length = graph.node("Shape", target, start=axis, end=axis + 1)
        size = graph.node("ReduceMax", graph.node("Abs", target), graph.whole(*others), keepdims=0)
        there = graph.node("Cast", graph.node("Greater", size, graph.constant(0)), to=TensorProto.INT64)
        zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
        places = graph.node("Range", zero, graph.node("Squeeze", length), one)
        last = graph.node("ReduceMax", graph.node("Mul", there, places), graph.whole(0))
        return Span(graph.node("ArgMax", there, axis=0), graph.node("Add", last, graph.whole(1)), length)

    def wider(self, graph: Graph, by: int) -> Span:
        """On both sides, within the axis."""
        start = graph.node("Max", graph.node("Sub", self.start, graph.whole(by)), graph.whole(0))
        return Span(start, graph.node("Min", graph.node("Add", self.stop, graph.whole(by)), self.length), self.length)

    def beyond(self, graph: Graph, by: int) -> Span:
        """On both sides, the axis's ends or not."""
        by_name = graph.whole(by)
        return Span(graph.node("Sub", self.start, by_name), graph.node("Add", self.stop, by_name), self.length)

    def within(self, graph: Graph, other: Span, least: int) -> Span:
        """What lies in the other, at least so many of its pixels (0 or 1)."""
        last = graph.node("Sub", other.stop, graph.whole(least))
        start = graph.node("Min", graph.node("Max", self.start, other.start), last)
        stop = graph.node("Min", graph.node("Max", self.stop, graph.node("Add", start, graph.whole(least))), other.stop)
        return Span(start, stop, self.length)

    def even(self, graph: Graph) -> Span:
        """On to even bounds; the axis must have an even number of pixels."""
        two = graph.whole(2)
        start = graph.node("Mul", graph.node("Div", self.start, two), two)
        up = graph.node("Add", self.stop, graph.whole(1))
        return Span(start, graph.node("Mul", graph.node("Div", up, two), two), self.length)

    def halved(self, graph: Graph) -> Span:
        return Span(*(graph.node("Div", end, graph.whole(2)) for end in (self.start, self.stop, self.length)))

    def doubled(self, graph: Graph) -> Span:
        return Span(*(graph.node("Mul", end, graph.whole(2)) for end in (self.start, self.stop, self.length)))


@dataclass(frozen=True)
class Window:
    """Rows and columns."""

    rows: Span
    columns: Span

    def wider(self, graph: Graph, by: int) -> Window:
        return self._each(lambda span: span.wider(graph, by))

    def beyond(self, graph: Graph, by: int) -> Window:
        return self._each(lambda span: span.beyond(graph, by))

    def within(self, graph: Graph, other: Window, least: int = 1) -> Window:
        return Window(self.rows.within(graph, other.rows, least), self.columns.within(graph, other.columns, least))

    def even(self, graph: Graph) -> Window:
        return self._each(lambda span: span.even(graph))

    def halved(self, graph: Graph) -> Window:
        return self._each(lambda span: span.halved(graph))

    def doubled(self, graph: Graph) -> Window:
        return self._each(lambda span: span.doubled(graph))

    def cut(self, graph: Graph, image: str) -> str:
        return cut(graph, image, (self.rows.start, self.columns.start), (self.rows.stop, self.columns.stop))

    def pad(self, graph: Graph, part: str, wide: Window) -> str:
        """This window's part of an image -> that of the wider one, zero where there was nothing."""
        spans = ((self.rows, wide.rows), (self.columns, wide.columns))
        before = [graph.node("Sub", narrow.start, wider.start) for narrow, wider in spans]
        after = [graph.node("Sub", wider.stop, narrow.stop) for narrow, wider in spans]
        margins = graph.node("Concat", *before, *after, axis=0)
        return graph.node("Pad", part, margins, "", graph.whole(ROWS, COLUMNS))

    def pasted(self, graph: Graph, part: str, framed: str, wide: Window, ring: int) -> str:
        """What a `framed` image (zeros one pixel wide around it) holds in the wider window and `ring` pixels (0 or 1)
        beyond it, with this window's part replaced as far as it reaches in there."""
        inner = self.within(graph, wide.wider(graph, ring) if ring else wide, 0)
        return inner._pasted(graph, inner.of(graph, part, self), framed, wide, ring)

    def of(self, graph: Graph, part: str, window: Window) -> str:
        """This window's pixels of a part that holds those of a wider one."""
        spans = ((self.rows, window.rows), (self.columns, window.columns))
        starts = tuple(graph.node("Sub", narrow.start, wide.start) for narrow, wide in spans)
        stops = tuple(graph.node("Sub", narrow.stop, wide.start) for narrow, wide in spans)
        return cut(graph, part, starts, stops)  # type: ignore[arg-type]

    def _pasted(self, graph: Graph, part: str, framed: str, wide: Window, ring: int) -> str:
        """The same for a window that lies wholly in there."""

        def moved(end: str, by: int) -> str:
            return graph.node("Add", end, graph.whole(by)) if by else end

        spans = ((self.rows, wide.rows), (self.columns, wide.columns))
        (a, b, c, d), (i, j, k, m) = (
            (moved(w.start, 1 - ring), moved(n.start, 1), moved(n.stop, 1), moved(w.stop, 1 + ring)) for n, w in spans
        )
        left, right = cut(graph, framed, (b, i), (c, j)), cut(graph, framed, (b, k), (c, m))
        top, bottom = cut(graph, framed, (a, i), (b, m)), cut(graph, framed, (c, i), (d, m))
        middle = graph.node("Concat", left, part, right, axis=COLUMNS)
        return graph.node("Concat", top, middle, bottom, axis=ROWS)

    def _each(self, change: Callable[[Span], Span]) -> Window:
        return Window(change(self.rows), change(self.columns))


def cut(graph: Graph, image: str, starts: tuple[str, str], stops: tuple[str, str]) -> str:
    ends = [graph.node("Concat", *pair, axis=0) for pair in (starts, stops)]
    return graph.node("Slice", image, *ends, graph.whole(ROWS, COLUMNS))
