"""A small CT and a small model with known answers: fast, real, and free of torch.

The model calls "organ" what is near 100 HU after blurring; its noise logits are -1 there and +1 elsewhere, blurred.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ORGAN_HU, BODY_HU, BONE_HU, AIR_HU = 100, 0, 700, -1000
GRAIN_HU = 10  # more or less; a CT without looks filled in, or like padding
SHAPE = (12, 64, 80)  # k, j, i
MATRIX = np.array([[-2.0, 0, 0, 80], [0, -2.0, 0, 60], [0, 0, 5.0, -30], [0, 0, 0, 1]])  # LPS-aligned, in RAS

EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("pixel_mm", "slice_mm", "field_mm", "body_cm2", "organ_ml"), (0.0, 1e9)),
    **dict.fromkeys(("soft_share", "dense_share"), (0.0, 1.0)),
    **dict.fromkeys(("lung_share", "dropped_share"), 1.0),
}


def organ(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """An ellipsoid off the centre, so that no flip maps it onto itself."""
    k, j, i = np.indices(shape)
    return ((k - 4) / 3.5) ** 2 + ((j - 26) / 9) ** 2 + ((i - 50) / 14) ** 2 < 1


def ct(shape: tuple[int, int, int] = SHAPE, dtype: type = np.int16) -> np.ndarray:
    k, j, i = np.indices(shape)
    grain = (5 * k + 13 * j + 7 * i) % (2 * GRAIN_HU + 1) - GRAIN_HU
    hu = np.full(shape, AIR_HU + GRAIN_HU, np.float32)
    hu[((j - 32) / 28) ** 2 + ((i - 40) / 36) ** 2 < 1] = BODY_HU
    hu[organ(shape)] = ORGAN_HU
    hu += grain
    hu[((j - 48) / 6) ** 2 + ((i - 40) / 6) ** 2 < 1] = BONE_HU
    return hu.astype(dtype)


def write_small_bundle(folder: Path, synthetic: bool = False, knows: dict[str, Any] | None = None) -> Path:
    """A complete bundle, as the engine defines one. Needs the package onnx. `knows` narrows what CTs it takes for
    usual; without, it knows everything."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from unoise_engine.models.manifest import Manifest, write_bundle
    from unoise_engine.models.recipe import Recipe
    from unoise_engine.models.scope import Scope

    recipe = Recipe(spacing_mm=2.0)
    lo, hi = recipe.window_hu
    bright = ((ORGAN_HU - lo) / (hi - lo) - recipe.mean[0]) / recipe.std[0]
    constants = {
        "blur3": np.full((1, 1, 3, 3), 1 / 9, np.float32),
        "blur9": np.full((1, 1, 9, 9), 1 / 81, np.float32),
        "bright": np.float32(bright),
        "half": np.float32(0.6),
        "zero": np.float32(0),
        "two": np.float32(2),
        "one": np.float32(1),
    }
    node = helper.make_node
    logits = [
        node("Conv", ["slices", "blur3"], ["smooth"], pads=[1, 1, 1, 1]),
        node("Sub", ["smooth", "bright"], ["off"]),
        node("Abs", ["off"], ["far"]),
        node("Sub", ["half", "far"], ["logits"]),
    ]
    wide = [
        node("Greater", ["logits", "zero"], ["yes"]),
        node("Cast", ["yes"], ["mask"], to=TensorProto.FLOAT),
        node("Conv", ["mask", "blur9"], ["near"], pads=[4, 4, 4, 4]),
    ]
    noise = [*logits, *wide, node("Mul", ["near", "two"], ["twice"]), node("Sub", ["one", "twice"], ["noise_logits"])]
    grad = [
        *logits,
        *wide,
        node("Mul", ["near", "target"], ["where"]),
        node("Conv", ["where", "blur3"], ["importance"], pads=[1, 1, 1, 1]),
    ]

    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, "h", "w"])

    sources = {}
    plans = {"utility": (logits, "logits"), "unoise": (noise, "noise_logits"), "gradcam": (grad, "importance")}
    for name, (nodes, output) in plans.items():
        used = {i for n in nodes for i in n.input}
        graph = helper.make_graph(
            nodes,
            name,
            [tensor(i) for i in ("slices", "target") if i in used],
            [tensor(output)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        sources[f"{name}.onnx"] = folder.with_name(f"{folder.name}-{name}.onnx")
        onnx.save(model, str(sources[f"{name}.onnx"]))
    manifest = Manifest(
        name=folder.name,
        title="Small test model",
        synthetic=synthetic,
        intended_use="tests",
        licence="Apache-2.0",
        training_data="none",
        recipe=recipe,
        labels={"pancreas": 1},
        scope=Scope(**(EVERYTHING | (knows or {}))),
    )
    write_bundle(folder, manifest, sources)
    for source in sources.values():
        source.unlink()
    return folder


def write_blocks_bundle(folder: Path) -> Path:
    """A bundle of a model from elsewhere: blocks, window by window, and two labels, by the same brightness as above.

    "kidney_left" is what is near the organ's HU, "bone" what is far above it.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from unoise_engine.models.manifest import Manifest, write_bundle
    from unoise_engine.models.preparation import Preparation, Resampling, Step, Window

    constants = {
        "blur": np.full((1, 1, 1, 3, 3), 1 / 9, np.float32),
        "mix": np.array([[0], [1], [1]], np.float32).reshape(3, 1, 1, 1, 1),
        "empty": np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1, 1) * 0.2,
        "places": np.array([0, ORGAN_HU, BONE_HU], np.float32).reshape(1, 3, 1, 1, 1) / 1000,
        "sure": np.array([0, 30, 4], np.float32).reshape(1, 3, 1, 1, 1),
        "least": np.array([0, 1, 1], np.float32).reshape(1, 3, 1, 1, 1),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["slices", "blur"], ["smooth"], pads=[0, 1, 1, 0, 1, 1]),
        node("Conv", ["smooth", "mix"], ["three"]),
        node("Sub", ["three", "places"], ["off"]),
        node("Abs", ["off"], ["far"]),
        node("Mul", ["far", "sure"], ["doubt"]),
        node("Sub", ["least", "doubt"], ["likely"]),
        node("Relu", ["likely"], ["found"]),
        node("Add", ["found", "empty"], ["logits"]),
    ]

    def port(name: str, channels: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, "d", "h", "w"])

    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "blocks", [port("slices", 1)], [port("logits", 3)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    source = folder.with_name(f"{folder.name}.onnx")
    onnx.save(model, str(source))
    words: dict[str, Any] = dict.fromkeys(("intended_use", "licence", "training_data"), "tests")
    recipe = Preparation(
        rank=3,
        spacing_mm=(5.0, 2.0, 2.0),
        steps=(Step("clip", (-1000, 1000)), Step("scale", (0, 1000, 0, 1)), Step("resample")),
        resampling=Resampling(),
        window=Window(size=(8, 16, 16), weights="gaussian-nnunet"),
    )
    manifest = Manifest(
        name=folder.name, title="Small model of blocks", synthetic=True, recipe=recipe, outputs="softmax",
        labels={"kidney_left": 1, "bone": 2}, source="by hand", **words,
    )  # fmt: skip
    write_bundle(folder, manifest, {"utility.onnx": source})
    source.unlink()
    return folder
