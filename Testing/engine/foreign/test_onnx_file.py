"""ONNX files of others: one net of a known answer, in every dress that it may come in."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from unoise_engine.errors import Usage
from unoise_engine.foreign.export import to_onnx
from unoise_engine.foreign.onnx_file import read_onnx
from unoise_engine.foreign.parity import measure
from unoise_engine.foreign.source import Source
from unoise_engine.foreign.template import TEMPLATE
from unoise_engine.models.onnx_format import parse
from unoise_engine.models.runtime import onnxruntime

SIDES, CHANNELS = (6, 8, 10), 3
WEIGHTS = np.random.default_rng(0).normal(size=(CHANNELS, 1, 3, 3, 3)).astype(np.float32)
PORT = helper.make_tensor_value_info


def recipe(folder: Path, outputs: str = "softmax", size: str = "[6, 8, 10]", more: str = "margin = []") -> Path:
    text = TEMPLATE.replace("size = [96, 96, 96]", f"size = {size}").replace("margin = []", more)
    if outputs == "logit":
        text = text.replace("tumour = 2", "")
    path = folder / "recipe.toml"
    path.write_text(text.replace('outputs = "softmax"', f'outputs = "{outputs}"'), encoding="utf-8")
    return path


def net(
    *tail: onnx.NodeProto,
    output: str = "y",
    kind: int = TensorProto.FLOAT,
    shape: Any = ("n", 1, None, None, None),
    opset: int = 18,
    pads: int = 1,
    weights: np.ndarray = WEIGHTS,
) -> onnx.ModelProto:
    """A convolution of the window, what `tail` makes of it, and notes of whoever exported it."""
    conv = helper.make_node("Conv", ["slices_in", "logits"], ["y"], name="/home/someone/net.py", pads=[pads] * 6)
    conv.doc_string = "File /home/someone/net.py"
    graph = helper.make_graph(
        [conv, *tail],
        "g",
        [PORT("slices_in", TensorProto.FLOAT, shape)],
        [PORT(output, kind, None)],
        [numpy_helper.from_array(weights, "logits")],  # its weight has the name that the answer will have
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def imported(folder: Path, model: onnx.ModelProto, **of_recipe: Any) -> Source:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return read_onnx(path, recipe(folder, **of_recipe))


def run(content: bytes, window: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [port.name for port in (*session.get_inputs(), *session.get_outputs())] == ["slices", "logits"]
    answer: np.ndarray = session.run(None, {"slices": window})[0]
    return answer


def by_hand(window: np.ndarray) -> np.ndarray:
    """The convolution as sums over the 27 neighbours."""
    padded = np.pad(window[0, 0], 1)
    answer = np.zeros((1, CHANNELS, *SIDES), np.float32)
    d, h, w = SIDES
    for k, (z, y, x) in ((k, place) for k in range(CHANNELS) for place in np.ndindex(3, 3, 3)):
        answer[0, k] += WEIGHTS[k, 0, z, y, x] * padded[z : z + d, y : y + h, x : x + w]
    return answer


WINDOW = np.random.default_rng(1).normal(size=(1, 1, *SIDES)).astype(np.float32)


TURN = [0, 2, 3, 4, 1]
BACK = [0, 4, 1, 2, 3]
TURNED = [("Transpose", {"perm": TURN}), ("Softmax", {"axis": 4}), ("Transpose", {"perm": BACK})]  # as torch once did


def behind(tail: Any, **given: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node(op, [f"y{n}" if n else "y"], [f"y{n + 1}"], **of_node) for n, (op, of_node) in enumerate(tail)
    ]
    return net(*nodes, output=f"y{len(tail)}" if tail else "y", **given)


@pytest.mark.parametrize(("tail", "cut"), [
    ([], ""),
    ([("Softmax", {"axis": 1})], "Softmax"),
    ([("Softmax", {"axis": -4})], "Softmax"),
    (TURNED, "Softmax"),
    ([("Sigmoid", {})], "Sigmoid"),
    ([("Softmax", {"axis": 1}), ("Identity", {})], "Softmax"),
    ([("Identity", {})], ""),
])  # fmt: skip
@pytest.mark.parametrize("opset", [11, 17, 18, 20])
def test_the_logits_come_out_named_whatever_stands_behind_them(tmp_path: Path, tail: Any, cut: str, opset: int) -> None:
    model = behind(tail, opset=opset)
    if opset < 13 and "Softmax" in dict(tail) and tail != TURNED:  # there it runs along all axes from its own on
        with pytest.raises(Usage, match="along the channels"):
            imported(tmp_path, model)
        return
    source = imported(tmp_path, model)
    parse(source.onnx)
    assert source.reference is not None
    assert np.abs(run(source.onnx, WINDOW) - by_hand(WINDOW)).max() < 1e-5
    assert np.abs(source.reference(WINDOW) - by_hand(WINDOW)).max() < 1e-5
    assert bool(source.notes) == bool(cut) and all(cut in note for note in source.notes)
    assert (source.kind, source.outputs, source.example) == ("ONNX", "softmax", (1, 1, *SIDES))
    assert b"someone" not in source.onnx
    assert onnx.load_model_from_string(source.onnx).opset_import[0].version == max(opset, 18)


def test_a_turned_softmax_of_another_axis(tmp_path: Path) -> None:
    turned = [("Transpose", {"perm": TURN}), ("Softmax", {"axis": 3}), ("Transpose", {"perm": BACK})]
    with pytest.raises(Usage, match="along the channels"):
        imported(tmp_path, behind(turned))


def test_weights_among_the_inputs_and_batches_of_any_size(tmp_path: Path) -> None:
    model = net()
    model.graph.input.append(PORT("logits", TensorProto.FLOAT, WEIGHTS.shape))
    source = imported(tmp_path, model)
    assert run(source.onnx, np.repeat(WINDOW, 2, 0)).shape == (2, CHANNELS, *SIDES)


def test_functions_are_written_out(tmp_path: Path) -> None:
    model = net(helper.make_node("Twice", ["y"], ["z"], domain="mine"), output="z")
    model.opset_import.append(helper.make_opsetid("mine", 1))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    assert np.abs(run(imported(tmp_path, model).onnx, WINDOW) - 2 * by_hand(WINDOW)).max() < 1e-5


def test_what_nothing_needs_is_left_out(tmp_path: Path) -> None:
    model = net(helper.make_node("Relu", ["y"], ["aside"]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(9, np.float32), "unused"))
    found = onnx.load_model_from_string(imported(tmp_path, model).onnx).graph
    assert len(found.node) == len(found.initializer) == 1


def external(folder: Path) -> onnx.ModelProto:
    model = net()
    onnx.save(model, folder / "out.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    return onnx.load(folder / "out.onnx", load_external_data=False)


def constant_outside() -> onnx.ModelProto:
    """External data in a node, which a look at the initializers alone does not find."""
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    return net(node, helper.make_node("Add", ["y", "c"], ["z"]), output="z")


def two_inputs() -> onnx.ModelProto:
    model = net(helper.make_node("Add", ["y", "other"], ["z"]), output="z")
    model.graph.input.append(PORT("other", TensorProto.FLOAT, ["n", 1, None, None, None]))
    return model


def two_outputs() -> onnx.ModelProto:
    model = net(helper.make_node("Relu", ["y"], ["z"]))
    model.graph.output.append(PORT("z", TensorProto.FLOAT, None))
    return model


def half() -> onnx.ModelProto:
    model = net(weights=WEIGHTS.astype(np.float16), kind=TensorProto.FLOAT16)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def branching() -> onnx.ModelProto:
    empty = helper.make_graph([helper.make_node("Relu", ["y"], ["r"])], "b", [], [PORT("r", TensorProto.FLOAT, None)])
    condition = numpy_helper.from_array(np.array(True), "yes")
    model = net(helper.make_node("If", ["yes"], ["z"], then_branch=empty, else_branch=empty), output="z")
    model.graph.initializer.append(condition)
    return model


def constant() -> onnx.ModelProto:
    model = net(helper.make_node("Relu", ["fixed"], ["z"]), output="z")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, CHANNELS, *SIDES), np.float32), "fixed"))
    return model


ARGMAX = helper.make_node("ArgMax", ["y"], ["z"], axis=1)


@pytest.mark.parametrize(("model", "of_recipe", "word"), [
    (constant_outside(), {}, "another file"),
    (net(helper.make_node("Magic", ["y"], ["z"], domain="com.evil"), output="z"), {}, "com.evil"),
    (net(helper.make_node("Magic", ["y"], ["z"]), output="z"), {}, "Magic"),
    (branching(), {}, "If"),
    (two_inputs(), {}, "2 inputs"),
    (two_outputs(), {}, "2 outputs"),
    (half(), {}, "float32"),
    (net(ARGMAX, output="z", kind=TensorProto.INT64), {}, "labels"),
    (net(ARGMAX, helper.make_node("Cast", ["z"], ["f"], to=1), output="f"), {}, "labels"),
    (net(shape=("n", 2, None, None, None)), {}, "2 channels"),
    (net(shape=(4, 1, None, None, None)), {}, "4 windows"),
    (net(shape=("n", 1, None, None)), {}, "4 axes"),
    (net(shape=("n", 1, 6, 8, 12)), {}, "6 x 8 x 12"),
    (net(pads=0), {}, "margin"),
    (net(), {"more": "margin = [1, 1, 1]"}, "margin"),
    (net(), {"outputs": "logit"}, "channels"),
    (net(weights=WEIGHTS[:2]), {}, "channels"),
    (net(weights=WEIGHTS[:1]), {"outputs": "sigmoid"}, "channels"),
    (net(), {"outputs": "sigmoid"}, "channels"),
    (net(helper.make_node("Softmax", ["y"], ["z"], axis=1), output="z"), {"outputs": "sigmoid"}, "Softmax"),
    (net(helper.make_node("Softmax", ["y"], ["z"], axis=-1), output="z"), {}, "along the channels"),
    (net(output="logits"), {}, "what it is given"),
    (net(output="slices_in"), {}, "what it is given"),
    (net(helper.make_node("Identity", ["logits"], ["z"]), output="z"), {}, "what it is given"),
    (constant(), {}, "does not"),
])  # fmt: skip
def test_what_is_refused(tmp_path: Path, model: onnx.ModelProto, of_recipe: Any, word: str) -> None:
    with pytest.raises(Usage) as told:
        imported(tmp_path, model, **of_recipe)
    assert word in str(told.value) and "\n" not in str(told.value) and "net.onnx" in str(told.value)


def test_a_valid_convolution_with_its_margin(tmp_path: Path) -> None:
    source = imported(tmp_path, net(pads=0), more="margin = [1, 1, 1]")
    assert np.abs(run(source.onnx, WINDOW) - by_hand(WINDOW)[:, :, 1:-1, 1:-1, 1:-1]).max() < 1e-5


def test_files_that_are_no_model(tmp_path: Path) -> None:
    text = recipe(tmp_path)
    for content in (b"", b"PK\x03\x04", b"\xff" * 999, b"hello"):
        (tmp_path / "net.onnx").write_bytes(content)
        with pytest.raises(Usage, match=r"net.onnx"):
            read_onnx(tmp_path / "net.onnx", text)
    with pytest.raises(Usage, match="not there"):
        read_onnx(tmp_path / "none.onnx", text)
    with pytest.raises(Usage, match="another file"):
        imported(tmp_path, external(tmp_path))


def test_a_softmax_that_is_not_the_last_layer_is_noticed_by_its_answers(tmp_path: Path) -> None:
    """What comes after it cannot be cut off; taken for scores its answers would mislead."""
    tail = [
        helper.make_node("Softmax", ["y"], ["p"], axis=1),
        helper.make_node("Sqrt", ["p"], ["root"]),
        helper.make_node("Mul", ["root", "root"], ["again"]),
    ]
    source = imported(tmp_path, net(*tail, output="again"))
    with pytest.raises(Usage, match="answers probabilities, behind a softmax"):
        measure(source, to_onnx(source))
    plain = imported(tmp_path, net())
    assert measure(plain, to_onnx(plain))["agreement"] == 1
