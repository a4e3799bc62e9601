"""A source's net as the bytes of an ONNX file that a bundle may hold: `slices` in, `logits` out, weights inside.

torch's newer exporter comes first; nets that it does not understand go through the older one, which runs the net once.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from unoise_engine.errors import Integrity, Usage, printable
from unoise_engine.foreign import need
from unoise_engine.foreign.source import Source
from unoise_engine.models.manifest import LARGEST_FILE
from unoise_engine.models.onnx_format import parse

OPSET = 18
SLICES, LOGITS = "slices", "logits"
AXES = ("z", "y", "x")  # names of free sizes


def to_onnx(source: Source) -> bytes:
    """The file's content. Raises Usage or Integrity, saying why, if it cannot be made or a bundle could not hold it."""
    need("onnx")
    if source.net is not None:
        need("torch", "onnxscript")
        return _exported(source)
    import onnx

    _check(source, source.onnx)
    return _finished(source, onnx.load_model_from_string(source.onnx))


def _exported(source: Source) -> bytes:
    """The net's file, its number of windows and their sizes free where the net allows."""
    reasons = []
    for export in (_by_dynamo, _by_trace):
        try:
            with _silence():
                return _finished(source, export(source))
        except MemoryError:
            raise
        except Exception as error:  # a net of somebody's meets exporters of somebody's: any kind can come
            reasons.append(printable(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))[:100])
    what = f"its net cannot be exported to ONNX ({'; '.join(reasons)})"
    raise Usage(source.name, what, "export it yourself, and import the ONNX file with --recipe")


def _finished(source: Source, model: Any) -> bytes:
    """Raises Usage or Integrity for what no bundle can hold."""
    _name(source, model)
    content: bytes = model.SerializeToString(deterministic=True)
    _check(source, content)
    return content


def _by_dynamo(source: Source) -> Any:
    import torch

    sizes = dict.fromkeys((0, *range(2, len(source.example))), torch.export.Dim.AUTO)
    windows = torch.zeros(2, *source.example[1:])  # one alone would be taken for a net of single windows
    program = torch.onnx.export(
        source.net, (windows,), dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
        dynamic_shapes=(sizes,), input_names=[SLICES], output_names=[LOGITS],
    )  # fmt: skip
    assert program is not None  # noqa: S101 - for the type checker
    return program.model_proto


def _by_trace(source: Source) -> Any:
    import onnx
    import torch

    free = {0: "n"} | {k: AXES[k - len(source.example)] for k in range(2, len(source.example))}
    content: Any = io.BytesIO()
    torch.onnx.export(
        source.net, (torch.zeros(source.example),), content, dynamo=False, opset_version=OPSET,
        input_names=[SLICES], output_names=[LOGITS], dynamic_axes={SLICES: free, LOGITS: dict(free)},
    )  # fmt: skip
    return onnx.load_model_from_string(content.getvalue())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Meanwhile exporters say nothing: they warn of packages that no segmenter needs, and of their own future."""
    before = logging.root.manager.disable
    with contextlib.ExitStack() as meanwhile:
        meanwhile.enter_context(contextlib.redirect_stdout(io.StringIO()))
        meanwhile.enter_context(contextlib.redirect_stderr(io.StringIO()))
        meanwhile.enter_context(warnings.catch_warnings())
        meanwhile.callback(logging.disable, before)
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        yield


def _name(source: Source, model: Any) -> None:
    """Ports get a bundle's names, free sizes short ones; what says where and how it was exported goes."""
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in stored]
    if len(inputs) != 1 or len(graph.output) != 1:
        what = f"takes {len(inputs)} inputs and gives {len(graph.output)} outputs"
        raise Usage(source.name, what, "only a net with one of each can be imported")
    new = {graph.output[0].name: LOGITS, inputs[0].name: SLICES}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | stored
    new |= {name: f"{name}_inner" for name in (SLICES, LOGITS) if name in taken and name not in new}
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = new.get(named.name, named.name)
    for port, mark in ((inputs[0], ""), (graph.output[0], "_out")):
        sizes = port.type.tensor_type.shape.dim
        for k, size in enumerate(sizes):
            if size.dim_param or not size.HasField("dim_value"):
                size.Clear()
                size.dim_param = ("n", "c", *AXES[-len(sizes) + 2 :])[k] + mark * (k > 0)
    del graph.value_info[:]
    for described in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        described.doc_string = ""
        del described.metadata_props[:]


def _check(source: Source, content: bytes) -> None:
    try:
        if len(content) > LARGEST_FILE:
            raise ValueError(f"has {len(content)} bytes, and a bundle's file {LARGEST_FILE} at most")
        parse(content)
    except (ValueError, RecursionError) as error:
        raise Integrity(source.name, printable(str(error)), "such a net cannot be in a bundle") from None
