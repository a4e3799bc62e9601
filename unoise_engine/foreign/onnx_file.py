"""An ONNX file with a recipe file: renamed, brought up to date and checked, without torch and without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unoise_engine.errors import Usage, printable
from unoise_engine.foreign import need
from unoise_engine.foreign.parity import running
from unoise_engine.foreign.recipe_file import RecipeFile, read_recipe
from unoise_engine.foreign.source import Source
from unoise_engine.models.manifest import LARGEST_FILE
from unoise_engine.models.onnx_format import parse

OPSET = 18  # the least that bundles are given
INPUT, OUTPUT = "slices", "logits"  # as a bundle's utility has them
ACTIVATIONS = {"Softmax": ("softmax",), "Sigmoid": ("sigmoid", "logit", "softmax")}  # cut off; what may be behind them
SOFTMAX_OF_ONE_AXIS = 13  # opset; before, softmax ran along its axis and all that follow
FLOAT32 = 1  # TensorProto.DataType
AGAIN = "export it again with one float32 input and the logits as its one output"


def read_onnx(path: Path, recipe_path: Path) -> Source:
    """The graph in `path`, windows (n, 1, *s) -> logits, and what `recipe_path` tells of it. A softmax or sigmoid at
    its end is cut off.

    Raises Usage for what cannot be a bundle's graph or contradicts the recipe; MissingExtra without onnx.
    """
    recipe = read_recipe(recipe_path)
    need("onnx")
    try:
        model = _load(path)
        _check_input(model, recipe)
        cut = _cut_activation(model, recipe)
        given = model.SerializeToString()
        model = _up_to_date(model)
        _check_output(model, recipe)
        content = _renamed(model)
        parse(content)
    except ValueError as error:
        what, _, cure = str(error).partition(" - ")
        raise Usage(path, what, cure or AGAIN) from None
    notes = (f"the {cut} at its end is cut off: maps need the logits before it",) if cut else ()
    return recipe.source("ONNX", onnx=content, reference=running(given), notes=notes)


# What follows raises ValueError, "what - what to do".


def _load(path: Path) -> Any:
    """The model with one input, one output and all its weights within it, of standard operators."""
    import onnx.inliner

    if not path.is_file():
        raise ValueError("is not there - give an ONNX file")
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"is larger than {LARGEST_FILE} bytes - such models cannot be imported")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:  # protobuf's own kind
        model = onnx.ModelProto()
    graph = model.graph
    if not graph.node:
        raise ValueError("cannot be read as ONNX - give an .onnx file")
    held = [*graph.initializer, *(a.t for node in graph.node for a in node.attribute)]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in held):
        raise ValueError("keeps its weights in another file - save it as one: onnx.save(onnx.load(old), new)")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
        graph = model.graph
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            operator = f"{node.op_type[:60]!r} of {node.domain[:60]!r}"
            raise ValueError(f"uses the operator {operator}, which is not known - export it with standard ones alone")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            what = f"holds a graph within its {node.op_type[:60]}"
            raise ValueError(f"{what} - export it by torch.onnx.export with an example window, which takes one branch")
    stored = {tensor.name for tensor in graph.initializer}
    for port in [port for port in graph.input if port.name in stored]:  # as files of old have it
        graph.input.remove(port)
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ValueError(f"has {len(graph.input)} inputs and {len(graph.output)} outputs")
    return model


def _version(model: Any) -> int:
    return next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)


def _up_to_date(model: Any) -> Any:
    """Of opset 18 at least."""
    import onnx

    if (version := _version(model)) >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # of onnx's own kinds
        said = printable(" ".join(str(error).split()))[:200]
        raise ValueError(f"is of opset {version} and cannot be converted ({said}) - export it with opset 18") from None


def _sizes(port: Any) -> list[int | None]:
    """Of an input or output; None where any size will do."""
    return [one.dim_value if one.HasField("dim_value") else None for one in port.type.tensor_type.shape.dim]


def _check_input(model: Any, recipe: RecipeFile) -> None:
    """float32 (n, 1, *s); sizes that are fixed are those of the recipe's window."""
    port, rank, window = model.graph.input[0], recipe.preparation.rank, recipe.preparation.window.size
    if port.type.tensor_type.elem_type != FLOAT32:
        raise ValueError("does not take float32 windows")
    sizes = _sizes(port)
    if len(sizes) != rank + 2:
        raise ValueError(f"takes {len(sizes)} axes, but rank {rank} has {rank + 2}: n, channel, sides - correct rank")
    if sizes[1] not in (None, 1):
        raise ValueError(f"takes {sizes[1]} channels - only models of one image channel can be imported")
    if sizes[0] not in (None, 1):
        raise ValueError(f"takes {sizes[0]} windows at a time - export it for one, or for any number")
    if any(side not in (None, wanted) for side, wanted in zip(sizes[2:], window or [None] * rank)):
        said = " x ".join(str(side or "any") for side in sizes[2:])
        raise ValueError(f"takes windows of {said}, the recipe's size is {list(window)} - correct size")


def _cut_activation(model: Any, recipe: RecipeFile) -> str:
    """Takes a softmax or sigmoid off the end, and says which; "" where there is none."""
    made, output = {name: node for node in model.graph.node for name in node.output}, model.graph.output[0]
    name = output.name
    while (last := made.get(name)) and last.op_type == "Identity":
        name = last.input[0]
    if last is None:
        raise ValueError("answers what it is given")
    last, before, turned = _behind_turns(made, last)
    if last.op_type in ("ArgMax", "Cast") or output.type.tensor_type.elem_type != FLOAT32:
        raise ValueError("answers labels, or no float32 numbers - export it without what makes labels of scores")
    if last.op_type not in ACTIVATIONS:
        return ""
    if recipe.outputs not in ACTIVATIONS[last.op_type]:
        raise ValueError(f"ends in a {last.op_type}, but the recipe's outputs are {recipe.outputs} - correct them")
    if last.op_type == "Softmax":
        flattens = _version(model) < SOFTMAX_OF_ONE_AXIS
        axis = next((a.i for a in last.attribute if a.name == "axis"), 1 if flattens else -1)
        along = axis % (recipe.preparation.rank + 2)
        if turned is not None:
            along = turned[along] if along == len(turned) - 1 else 0
        if along != 1 or (flattens and turned is None):
            raise ValueError(f"its Softmax does not run along the channels (axis {axis})")
    output.name = before
    return str(last.op_type)


def _behind_turns(made: dict[str, Any], last: Any) -> tuple[Any, str, list[int] | None]:
    """A softmax that older exporters put between two transpositions, what goes into them, and how they turn."""
    inner = made.get(last.input[0]) if last.op_type == "Transpose" else None
    first = made.get(inner.input[0]) if inner is not None and inner.op_type == "Softmax" else None
    if inner is None or first is None or first.op_type != "Transpose":
        return last, last.input[0] if last.input else "", None
    turns = [list(next((a.ints for a in node.attribute if a.name == "perm"), ())) for node in (first, last)]
    if not turns[0] or sorted(turns[1]) != sorted(turns[0]) or [turns[0][k] for k in turns[1]] != sorted(turns[0]):
        return last, last.input[0], None
    return inner, first.input[0], turns[0]


def _check_output(model: Any, recipe: RecipeFile) -> None:
    """Channels for the labels, and the window less its margin, as far as that can be told unrun."""
    import onnx

    tried, example, preparation = onnx.ModelProto(), recipe.example, recipe.preparation
    tried.CopyFrom(model)
    port = tried.graph.output[0].type.tensor_type
    port.ClearField("shape")
    for size, dim in zip(example, tried.graph.input[0].type.tensor_type.shape.dim):
        dim.dim_value = size
    del tried.graph.value_info[:]
    try:
        known = onnx.shape_inference.infer_shapes(tried, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # of onnx's own kinds
        said = printable(" ".join(str(error).split()))[:200]
        raise ValueError(f"cannot take a window of {list(example)} ({said}) - correct size") from None
    sizes = _sizes(known.graph.output[0])
    if not sizes or not all(sizes):
        return
    if len(sizes) != len(example) or sizes[1] != recipe.channels:
        what = f"answers {sizes}, but labels and outputs need {recipe.channels} channels"
        raise ValueError(f"{what} - name every channel in labels, or correct outputs")
    margin = preparation.window.margin or (0,) * preparation.rank
    wanted = [side - 2 * lost for side, lost in zip(example[2:], margin)]
    if sizes[2:] != wanted:
        raise ValueError(f"answers sides {sizes[2:]}, where size and margin say {wanted} - correct size or margin")


def _renamed(model: Any) -> bytes:
    """Ports named as in a bundle, and nothing that is not needed: nodes, weights, notes of whoever exported it."""
    import onnx

    graph, output, kept = model.graph, model.graph.output[0].name, []
    needed = {output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    if graph.input[0].name not in needed or output == graph.input[0].name:
        raise ValueError("answers something that does not depend on its input")
    names = {"": "", graph.input[0].name: INPUT, output: OUTPUT}
    for node in kept[::-1]:
        for ports in (node.input, node.output):
            ports[:] = [names.setdefault(name, f"t{len(names)}") for name in ports]
        node.name = node.doc_string = ""
        del node.metadata_props[:]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for tensor in weights:
        tensor.name, tensor.doc_string = names[tensor.name], ""
        del tensor.metadata_props[:]
    shape = [size or f"s{axis}" for axis, size in enumerate(_sizes(graph.input[0]))]
    port = onnx.helper.make_tensor_value_info
    ports = [port(INPUT, FLOAT32, [shape[0], 1, *shape[2:]])], [port(OUTPUT, FLOAT32, None)]
    body = onnx.helper.make_graph(kept[::-1], "net", *ports, weights)
    done = onnx.helper.make_model(body, opset_imports=model.opset_import[:], ir_version=10)
    return bytes(done.SerializeToString(deterministic=True))
