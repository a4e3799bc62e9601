"""What onnxruntime itself says of a pass: every node's seconds, and the work in it counted from the shapes that ran."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unoise_engine.bundle.session import Bundle

if TYPE_CHECKING:
    import onnxruntime

ENDING = "_kernel_time"  # of an event that is a node's computation


@dataclass(frozen=True)
class Node:
    """One node of a graph: seconds a pass, and floating-point operations (a multiply-add is two)."""

    name: str
    op: str
    out: tuple[int, ...]
    seconds: float
    flops: int


def profiled(bundle: Bundle, model: str, feeds: Mapping[str, np.ndarray], runs: int = 1) -> list[Node]:
    """The nodes as onnxruntime ran them, mean of `runs` passes after one to warm up, slowest first.

    Layers that onnxruntime stores blocked by channels tell their padded shapes: the work is for `counted` to say.
    """
    return sorted(_events(bundle, model, feeds, runs, plain=False), key=lambda node: -node.seconds)


def counted(bundle: Bundle, model: str, feeds: Mapping[str, np.ndarray]) -> int:
    """Floating-point operations of one pass, in convolutions and matrix products; all else is under a hundredth."""
    return sum(node.flops for node in _events(bundle, model, feeds, 1, plain=True))


def _events(bundle: Bundle, model: str, feeds: Mapping[str, np.ndarray], runs: int, plain: bool) -> list[Node]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def adjust(options: onnxruntime.SessionOptions) -> None:
            from onnxruntime import GraphOptimizationLevel

            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "pass")
            if plain:  # no layout of its own, so that shapes are those of the net
                options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_EXTENDED

        session = bundle._open(model, adjust)
        for _ in range(runs + 1):
            session.run(None, dict(feeds))
        told = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    seen: dict[str, list[dict[str, Any]]] = {}
    for event in told:
        if event.get("cat") == "Node" and event["name"].endswith(ENDING):
            seen.setdefault(event["name"].removesuffix(ENDING), []).append(event)
    return [_node(name, events[-runs:]) for name, events in seen.items()]


def _node(name: str, events: list[dict[str, Any]]) -> Node:
    args = events[-1]["args"]
    ins, outs = ([_shape(one) for one in args.get(f"{side}_type_shape", [])] for side in ("input", "output"))
    seconds = sum(event["dur"] for event in events) / len(events) / 1e6
    return Node(name, args["op_name"], outs[0] if outs else (), seconds, _flops(args["op_name"], ins, outs))


def _shape(told: dict[str, list[int]]) -> tuple[int, ...]:
    return tuple(next(iter(told.values()), ()))


def _flops(op: str, ins: list[tuple[int, ...]], outs: list[tuple[int, ...]]) -> int:
    if op in ("Conv", "FusedConv") and len(ins) > 1:
        return 2 * math.prod(outs[0]) * math.prod(ins[1][1:])
    if op == "ConvTranspose":
        return 2 * math.prod(ins[0]) * math.prod(ins[1][1:])
    if op in ("MatMul", "FusedMatMul", "Gemm") and ins and ins[0]:
        return 2 * math.prod(outs[0]) * ins[0][-1]
    return 0
