"""A small net of several labels, written by hand: what it answers can be computed in numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from unoise_engine.models.manifest import Manifest, write_bundle
from unoise_engine.models.preparation import Preparation


def kernels(rank: int, count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.4, (count, 1, *[3] * rank)).astype(np.float32)


def write_net(path: Path, rank: int, count: int, padded: bool = True, whole_window: bool = False) -> None:
    """Convolution, ReLU-like gate, mixing; with `whole_window` an instance norm sees the whole window first."""
    wide = ["n", 1, *"dhw"[3 - rank :]]
    mix = np.random.default_rng(6).normal(0, 1, (count, count, *[1] * rank)).astype(np.float32)
    tensors = {
        "k": kernels(rank, count), "m": mix, "one": np.ones(1, np.float32), "zero": np.zeros(1, np.float32),
    }  # fmt: skip
    pads = [int(padded)] * 2 * rank
    nodes = [
        helper.make_node("InstanceNormalization", ["slices", "one", "zero"], ["seen"])
        if whole_window
        else helper.make_node("Identity", ["slices"], ["seen"]),
        helper.make_node("Conv", ["seen", "k"], ["a"], pads=pads),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("Conv", ["b", "m"], ["logits"]),
    ]
    ports = [
        helper.make_tensor_value_info("slices", TensorProto.FLOAT, wide),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", count, *[f"{a}o" for a in "dhw"[3 - rank :]]]),
    ]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, v.shape, v.ravel()) for n, v in tensors.items()]
    graph = helper.make_graph(nodes, "labels", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))


def write_foreign(out: Path, recipe: Preparation, outputs: str = "softmax", count: int = 4, **net: Any) -> Path:
    """A bundle of labels "one", "two", ..."""
    out.mkdir(parents=True, exist_ok=True)
    write_net(out / "net.onnx", recipe.rank, count, padded=not any(recipe.window.margin), **net)
    first = 1 if outputs == "softmax" else 0
    names = ("one", "two", "three", *(f"label {k}" for k in range(4, count + 1)))
    labels = {names[k]: k + 1 for k in range(count - first)}
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "foreign")
    manifest = Manifest(**about, synthetic=True, recipe=recipe, labels=labels, outputs=outputs, source="by hand")
    write_bundle(out / "bundle", manifest, {"utility.onnx": out / "net.onnx"})
    return out / "bundle"


def write_caused(out: Path, recipe: Preparation, reach: int = 7, gain: float = 4.0) -> Path:
    """A bundle of labels "target", which is bright with a spot no farther than `reach`, and "spot", brighter still."""
    out.mkdir(parents=True, exist_ok=True)
    rank, wide = recipe.rank, ["n", 1, *"dhw"[3 - recipe.rank :]]
    least, most, gains = (np.array([value], np.float32) for value in (0.6, 2.0, gain))
    tensors = {"least": least, "most": most, "gain": gains, "spot_above": np.array([2.5], np.float32)}
    tensors["mean"] = np.full((1, 1, *[3] * rank), 3.0**-rank, np.float32)
    nodes = [
        helper.make_node("Conv", ["slices", "mean"], ["smooth"], pads=[1] * 2 * rank),
        helper.make_node("Sub", ["smooth", "least"], ["shines"]),
        helper.make_node("Sub", ["slices", "least"], ["bright"]),
        helper.make_node("Sub", ["most", "slices"], ["no_spot"]),
        helper.make_node("Sub", ["smooth", "spot_above"], ["spot"]),
        helper.make_node("Relu", ["spot"], ["near0"]),
    ]
    for axis in range(rank):  # a box of 2 reach + 1, one axis after the other
        sides = [2 * reach + 1 if a == axis else 1 for a in range(rank)]
        tensors[f"line{axis}"] = np.ones((1, 1, *sides), np.float32)
        pads = [reach if a == axis else 0 for a in range(rank)] * 2
        nodes.append(helper.make_node("Conv", [f"near{axis}", f"line{axis}"], [f"near{axis + 1}"], pads=pads))
    nodes += [
        helper.make_node("Sub", [f"near{rank}", "least"], ["has_cause"]),
        helper.make_node("Min", ["shines", "bright", "no_spot", "has_cause"], ["caused"]),
        helper.make_node("Concat", ["caused", "spot"], ["both"], axis=1),
        helper.make_node("Mul", ["both", "gain"], ["logits"]),
    ]
    ports = [
        helper.make_tensor_value_info("slices", TensorProto.FLOAT, wide),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [wide[0], 2, *wide[2:]]),
    ]
    weights = [helper.make_tensor(n, TensorProto.FLOAT, v.shape, v.ravel()) for n, v in tensors.items()]
    graph = helper.make_graph(nodes, "caused", ports[:1], ports[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(out / "net.onnx")
    )
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "foreign")
    labels = {"target": 1, "spot": 2}
    manifest = Manifest(**about, synthetic=True, recipe=recipe, labels=labels, outputs="sigmoid", source="by hand")
    write_bundle(out / "bundle", manifest, {"utility.onnx": out / "net.onnx"})
    return out / "bundle"
