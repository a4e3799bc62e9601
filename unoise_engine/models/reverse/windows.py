"""Where the windows of a convolution or a pool lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unoise_engine.models.onnx_format import Message
from unoise_engine.models.reverse.growing import Growing, settings


class Windows:
    """`kernel`, `strides`, `dilations` of each axis of space; the kernel's size may have to be given."""

    def __init__(self, node: Message, kernel: Sequence[int] = ()):
        set_to = settings(node)
        self.kernel: list[int] = set_to.get("kernel_shape") or list(kernel)
        if not self.kernel:
            raise ValueError(f"{node.op_type} does not tell the size of its kernel")
        rank = len(self.kernel)
        self.strides: list[int] = set_to.get("strides", [1] * rank)
        self.dilations: list[int] = set_to.get("dilations", [1] * rank)
        self.auto: str = set_to.get("auto_pad", "NOTSET")
        pads: list[int] = set_to.get("pads") or [0] * (2 * rank)
        self.pads: list[int] | None = [0] * (2 * rank) if self.auto == "VALID" else pads  # None: they depend on sizes
        if self.auto.startswith("SAME"):
            self.pads = None
        self._plain = not set_to.get("ceil_mode", 0) and len(node.output) == 1

    @property
    def side_by_side(self) -> bool:
        """Whether every voxel lies in one window, but for a rest at the far ends."""
        plain = self._plain and self.pads is not None and not any(self.pads)
        return plain and self.strides == self.kernel and max(self.dilations) == 1

    def spread(self, graph: Growing, gradient: str, kernel: str, space: str, **more: Any) -> str:
        """The gradient of an item whose voxels of a `space` (its sizes, a list) were summed in windows, weighed by the
        kernel."""
        rank = len(self.kernel)
        spread = graph.add(
            "ConvTranspose", [gradient, kernel], kernel_shape=self.kernel, strides=self.strides,
            dilations=self.dilations, **more,
        )  # fmt: skip
        return graph.placed(spread, self._begin(graph, space), space, rank)

    def _begin(self, graph: Growing, space: str) -> str:
        """How far the first windows reach beyond the near ends, a list."""
        if self.pads is not None:
            return graph.whole(*self.pads[: len(self.kernel)])
        strides = graph.whole(*self.strides)
        steps = graph.add("Div", [graph.add("Sub", [space, graph.whole(1)]), strides])  # windows but for the first
        reach = graph.whole(*(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations)))
        missing = graph.add("Sub", [graph.add("Add", [graph.add("Mul", [steps, strides]), reach]), space])
        total = graph.add("Max", [missing, graph.whole(0)])
        half = graph.add("Div", [total, graph.whole(2)])
        return half if self.auto == "SAME_UPPER" else graph.add("Sub", [total, half])
