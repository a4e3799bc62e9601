"""What onnxruntime itself says of a pass: every node's seconds, and the work in it counted from the shapes that ran."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unoise_engine.models.session import Bundle

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime

ENDING = "_kernel_time"  # of an event that is a node's computation


@dataclass(frozen=True)
class Node:
    """One node of a graph, the shape of its first output, and its seconds a pass."""

    name: str
    op: str
    out: tuple[int, ...]
    seconds: float


def profiled(bundle: Bundle, model: str, feeds: Mapping[str, np.ndarray], runs: int = 1) -> list[Node]:
    """The nodes as onnxruntime ran them, mean of `runs` passes after one to warm up, slowest first."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for event in _events(bundle, model, [feeds] * (runs + 1), plain=False):
        seen.setdefault(event["name"].removesuffix(ENDING), []).append(event)
    nodes = [_node(name, events[-runs:]) for name, events in seen.items()]
    return sorted(nodes, key=lambda node: -node.seconds)


def counted(bundle: Bundle, model: str, *feeds: Mapping[str, np.ndarray]) -> float:
    """Floating-point operations of a pass (a multiply-add is two), the mean over several feeds. In convolutions and
    matrix products alone; all else is under a hundredth."""
    return sum(_flops(event["args"]) for event in _events(bundle, model, feeds, plain=True)) / len(feeds)


def _events(
    bundle: Bundle, model: str, feeds: Sequence[Mapping[str, np.ndarray]], plain: bool
) -> Iterator[dict[str, Any]]:
    """What was told of each node of each pass. `plain`: no layers blocked by channels, which tell padded shapes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def adjust(options: onnxruntime.SessionOptions) -> None:
            from unoise_engine.models.runtime import onnxruntime

            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "pass")
            if plain:
                options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED

        session = bundle._open(model, adjust)
        for some in feeds:
            session.run(None, dict(some))
        told = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    yield from (event for event in told if event.get("cat") == "Node" and event["name"].endswith(ENDING))


def _node(name: str, events: list[dict[str, Any]]) -> Node:
    args = events[-1]["args"]
    outs = [_shape(one) for one in args.get("output_type_shape", [])]
    seconds = sum(event["dur"] for event in events) / len(events) / 1e6
    return Node(name, args["op_name"], outs[0] if outs else (), seconds)


def _shape(told: dict[str, list[int]]) -> tuple[int, ...]:
    return tuple(next(iter(told.values()), ()))


def _flops(args: dict[str, Any]) -> int:
    op = args["op_name"]
    ins, outs = ([_shape(one) for one in args.get(f"{side}_type_shape", [])] for side in ("input", "output"))
    if op in ("Conv", "FusedConv") and len(ins) > 1:
        return 2 * math.prod(outs[0]) * math.prod(ins[1][1:])
    if op in ("MatMul", "FusedMatMul", "Gemm") and ins and ins[0]:
        return 2 * math.prod(outs[0]) * ins[0][-1]
    return 0
