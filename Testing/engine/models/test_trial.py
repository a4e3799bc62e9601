"""Models that harm by what they compute: they are run once, in a process of their own, and refused in one sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from unoise_engine.cli.bundle import bundle_verify
from unoise_engine.errors import Environment, Integrity, ModelFault
from unoise_engine.models import trial
from unoise_engine.models.answers import checked
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest, verify, write_bundle
from unoise_engine.models.session import Bundle
from unoise_engine.models.trial import try_out


def numbers(name: Any, *values: Any) -> Any:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def factor(value: Any) -> Any:
    return [helper.make_tensor("k", TensorProto.FLOAT, [], [value])]


FREE = helper.make_tensor_value_info("noise_logits", TensorProto.FLOAT, ["a", "b", "c", "d"])
# Nodes that turn the noise model's `old` answer into another, their constants, and what is said.
ENDINGS = {
    "NaN": ([helper.make_node("Mul", ["old", "k"], ["new"])], factor(np.nan), "NaN or infinity: noise_logits"),
    "infinite": ([helper.make_node("Mul", ["old", "k"], ["new"])], factor(np.inf), "NaN or infinity"),
    "larger": (
        [helper.make_node("Pad", ["old", "p"], ["new"])], [numbers("p", 0, 0, 0, 0, 0, 0, 3, 3)],
        r"unoise\.onnx - answers in the wrong form.*\(1, 1, 35, 51\) instead of float32 \(1, 1, 32, 48\)",
    ),
    "one slice": (
        [helper.make_node("Slice", ["old", "a", "b"], ["new"])], [numbers("a", 0), numbers("b", 1)],
        r"\(1, 1, 32, 48\) instead of float32 \(3, 1, 32, 48\)",
    ),
    "no slices": ([helper.make_node("Slice", ["old", "a", "a"], ["new"])], [numbers("a", 0)], r"\(0, 1, 32, 48\)"),
    "two channels": ([helper.make_node("Concat", ["old", "old"], ["new"], axis=1)], [], r"\(1, 2, 32, 48\)"),
    "all memory": (
        [helper.make_node("Expand", ["old", "s"], ["wide"]),
         helper.make_node("ReduceMax", ["wide", "x"], ["new"], keepdims=1)],
        [numbers("s", 1, 1_000_000, 1, 1), numbers("x", 1)], "memory",
    ),
    "all memory when opened": (
        [helper.make_node("ConstantOfShape", ["s"], ["wide"]),
         helper.make_node("ReduceSum", ["wide"], ["sum"], keepdims=0),
         helper.make_node("Add", ["old", "sum"], ["new"])],
        [numbers("s", 200_000, 200_000)], "memory",
    ),
    "cannot be computed": (
        [helper.make_node("Reshape", ["old", "s"], ["new"])], [numbers("s", 7, 7, 7, 7)], "cannot be run",
    ),
}  # fmt: skip


def ending(path: Any, out: Any, nodes: Any, constants: Any) -> None:
    """The model at `path`, its answer turned by the nodes."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["old" if name == graph.output[0].name else name for name in names]
    for node in nodes:
        graph.node.add().CopyFrom(node)
    graph.node[-1].output[0] = graph.output[0].name
    del graph.output[0].type.tensor_type.shape.dim[:]
    for _ in range(4):
        graph.output[0].type.tensor_type.shape.dim.add()
    graph.initializer.extend(constants)
    onnx.save(model, out)


@pytest.fixture
def bundle_with(tiny_bundle: Any, tmp_path: Path) -> Any:
    """A bundle whose noise model ends in other nodes."""

    def make(nodes: Any, constants: Any, target: Any = "unoise.onnx") -> Any:
        ending(tiny_bundle / target, tmp_path / target, nodes, constants)
        files = {name: tiny_bundle / name for name in ("utility.onnx", "unoise.onnx")} | {target: tmp_path / target}
        write_bundle(tmp_path / "made", read_manifest(tiny_bundle), files)
        return tmp_path / "made"

    return make


def test_good_bundles_answer(tiny_bundle: Any) -> None:
    try_out(tiny_bundle)
    load_bundle(tiny_bundle)


@pytest.mark.parametrize("kind", ENDINGS)
def test_answers_that_no_map_can_be_made_of(kind: Any, bundle_with: Any) -> None:
    if "memory" in kind and sys.platform != "linux":
        pytest.skip("no limit of memory on this system")
    nodes, constants, said = ENDINGS[kind]
    folder = bundle_with(nodes, constants)
    verify(folder)  # nothing is wrong with what is in the file
    for check in (try_out, load_bundle, lambda bundle: bundle_verify(str(bundle))):
        with pytest.raises(Integrity, match=said) as caught:
            check(folder)
        assert "\n" not in str(caught.value)


def test_an_answer_that_is_not_finite_is_a_fault_of_the_model(bundle_with: Any) -> None:
    folder = bundle_with([helper.make_node("Reciprocal", ["old"], ["new"])], [])
    bundle = Bundle(folder, verify(folder), ["CPUExecutionProvider"])
    fine = np.full((1, 1, 16, 16), 3, np.float32)
    assert np.isfinite(bundle.noise_logits(fine)).all()
    with pytest.raises(ModelFault, match=r"unoise\.onnx - answers NaN or infinity"):
        bundle.noise_logits(np.full((1, 1, 16, 16), np.nan, np.float32))


def test_coarse_maps_have_one_size() -> None:
    """Checked by hand: a quarter of the slice fits, a third of its width does not, and no other size later."""
    maps = np.zeros((2, 1, 4, 6), np.float32)
    assert checked(Path("utility.onnx"), "gradcam", maps, (2, 1, 16, 24)).shape == maps.shape
    for wrong in ((2, 1, 16, 20), (2, 1, 15, 24), (3, 1, 16, 24)):
        with pytest.raises(ModelFault, match="gradcam is float32"):
            checked(Path("utility.onnx"), "gradcam", maps, wrong)
    with pytest.raises(ModelFault, match="gradcam is float32"):
        checked(Path("utility.onnx"), "gradcam", maps[:, :, :0], (2, 1, 16, 24))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: setattr(m.graph.output[0], "name", "blur"), r"has no output noise_logits"),
        (lambda m: setattr(m.graph.input[0], "name", "slice"), r"takes slice, not logits, slices|cannot open"),
        (lambda m: m.graph.input.add(name="more", type=m.graph.input[0].type), "takes more, slices, not"),
    ],
)
def test_other_names_are_said(change: Any, said: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    model = onnx.load(tiny_bundle / "unoise.onnx")
    change(model)
    onnx.save(model, tmp_path / "unoise.onnx")
    files = {"utility.onnx": tiny_bundle / "utility.onnx", "unoise.onnx": tmp_path / "unoise.onnx"}
    write_bundle(tmp_path / "made", read_manifest(tiny_bundle), files)
    with pytest.raises(Integrity, match=said):
        try_out(tmp_path / "made")


def test_what_never_ends_is_ended(tiny_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.05)  # a process needs longer to start
    with pytest.raises(Integrity, match=r"no answer.*within 0\.05 s"):
        try_out(tiny_bundle)


def test_a_runtime_that_does_not_load_is_not_blamed_on_the_bundle(
    tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "onnxruntime"
    broken.mkdir()
    (broken / "__init__.py").write_text('raise ImportError("DLL load failed")\n')
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "unoise_engine.models.runtime", raising=False)
    with pytest.raises(Environment, match=r"onnxruntime - is installed but does not load \(DLL load failed"):
        try_out(tiny_bundle)


def test_a_process_that_dies_is_said(tiny_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "python", lambda *_: ["false"])
    with pytest.raises(Integrity, match="exit status 1"):
        try_out(tiny_bundle)


def test_coarse_maps_of_another_size_later(tiny_bundle: Any, tmp_path: Path) -> None:
    """Grad-CAM as large as the slice where that has 16 rows, and one pixel of it where it has more."""
    model = onnx.load(tiny_bundle / "utility.onnx")
    graph = model.graph
    graph.node[-1].output[0] = "full"
    graph.node.extend(
        [
            helper.make_node("Shape", ["full"], ["rows"], start=2, end=3),
            helper.make_node("Div", ["rows", "per"], ["step"]),
            helper.make_node("Concat", ["step", "step"], ["steps"], axis=0),
            helper.make_node("Slice", ["full", "zero2", "far", "axes", "steps"], ["gradcam"]),
        ]
    )
    graph.initializer.extend(
        [numbers("per", 16), numbers("zero2", 0, 0), numbers("far", 999, 999), numbers("axes", 2, 3)]
    )
    onnx.save(model, tmp_path / "utility.onnx")
    files = {"utility.onnx": tmp_path / "utility.onnx", "unoise.onnx": tiny_bundle / "unoise.onnx"}
    write_bundle(tmp_path / "made", read_manifest(tiny_bundle), files)
    bundle = Bundle(tmp_path / "made", verify(tmp_path / "made"), ["CPUExecutionProvider"])
    assert bundle.predict_and_explain(np.ones((1, 1, 16, 16), np.float32))[1].shape == (1, 1, 16, 16)
    with pytest.raises(ModelFault, match="several sizes"):
        bundle.predict_and_explain(np.ones((1, 1, 32, 32), np.float32))


def test_a_case_fails_and_the_others_go_on(bundle_with: Any, tmp_path: Path, ct: Any) -> None:
    """This noise model divides by the number of rows that the first CT gets, less itself: no small slice shows it."""
    import SimpleITK as sitk

    from Testing.engine.conftest import asked, ellipsoid_ct, image_of
    from unoise_engine.batch.run import explain_all

    nodes = [
        helper.make_node("Shape", ["slices"], ["rows"], start=2, end=3),
        helper.make_node("Sub", ["rows", "there"], ["apart"]),
        helper.make_node("Cast", ["apart"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["old", "number"], ["new"]),
    ]
    folder = bundle_with(nodes, [numbers("there", 56)])
    home = tmp_path / "in"
    home.mkdir()
    for name, volume in (("a", ct), ("b", ellipsoid_ct((10, 48, 48)))):
        sitk.WriteImage(image_of(volume), str(home / f"{name}.nii.gz"))
    request = asked(
        inputs=(home,), out=tmp_path / "out", bundle=str(folder), methods=("unoise",), device="cpu", keep_names=True
    )
    assert explain_all(request, "off") == 1
    records = {p.parent.name: json.loads(p.read_text()) for p in (tmp_path / "out").glob("*/record.json")}
    assert {k: (v["status"], v["code"]) for k, v in records.items()} == {"a": ("FAILED", "MODEL"), "b": ("OK", "")}
    assert "NaN or infinity: noise_logits" in records["a"]["message"]


def test_a_constant_answer_is_doubted(bundle_with: Any, ct: Any) -> None:
    from unoise_engine.explanation.pipeline import explain_volume
    from unoise_engine.explanation.settings import Settings

    warnings: list[str] = []
    flat = bundle_with([helper.make_node("Mul", ["old", "k"], ["new"])], factor(0.0), "utility.onnx")
    [*explain_volume(ct, load_bundle(flat, "cpu"), Settings(("unoise",)), warnings=warnings)]
    assert any("What the model answers is the same number everywhere" in one for one in warnings)


def test_a_constant_map_is_doubted(bundle_with: Any, ct: Any) -> None:
    from unoise_engine.explanation.pipeline import explain_volume
    from unoise_engine.explanation.settings import Settings

    warnings: list[str] = []
    flat = bundle_with([helper.make_node("Mul", ["old", "k"], ["new"])], factor(0.0))
    [*explain_volume(ct, load_bundle(flat, "cpu"), Settings(("unoise", "gradcam")), warnings=warnings)]
    doubts = [one for one in warnings if "same number everywhere" in one]
    assert len(doubts) == 1 and doubts[0].startswith("The map of U-Noise")


@pytest.mark.pictures
@pytest.mark.parametrize("title", [r"Pancreas $\frac{1$ (costs 5)", r"$\sum_{i}^{n}$", "a_b^c % # & {"])
def test_a_title_is_drawn_as_it_stands(title: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from unoise_engine.results.overview import Overview

    hu = np.random.default_rng(0).normal(0, 100, (40, 50)).astype(np.float32)
    picture = Overview(hu, hu > 50, (1.0, 1.0))
    picture.draw(tmp_path / "plain.png", "A", "slice 1", "W")
    picture.draw(tmp_path / "odd.png", title, "slice 1", f"{title}\nNot for clinical use")
    assert (tmp_path / "odd.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "odd.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
