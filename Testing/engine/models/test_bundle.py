"""Bundles are checked before anything in them is opened."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.manifest import model_hash, read_manifest, verify, write_bundle
from unoise_engine.models.recall import Recall


@pytest.fixture
def copy(tiny_bundle: Any, tmp_path: Path) -> Any:
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def edit(folder: Any, **changes: Any) -> None:
    path = folder / "bundle.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, **changes}))


def test_a_good_bundle_opens_and_answers(tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.zeros((3, 1, 16, 24), np.float32)
    slices[1] = 4
    logits = bundle.predict(slices)
    assert logits.shape == (3, 1, 16, 24)
    assert logits[1, 0, 8, 8] == pytest.approx(10 * (4 - 1.2), rel=1e-5)  # by hand: gain x (value - threshold)
    assert bundle.noise_logits(slices)[1, 0, 8, 8] == pytest.approx(-5 * (4 - 1.2), rel=1e-5)
    assert bundle.predict(slices[:0]).shape == (0, 1, 16, 24)


def test_gradcam_with_the_pass_and_without(tiny_bundle: Any) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.random.default_rng(0).normal(1, 1, (3, 1, 16, 24)).astype(np.float32)
    slices[2] = 0
    logits, coarse = bundle.predict_and_explain(slices)
    assert np.array_equal(logits, bundle.predict(slices)) and (logits[:2] > 0).any() and not (logits[2] > 0).any()
    assert coarse.max() > 0.2 and not coarse[2].any()
    assert np.allclose(coarse, np.maximum(logits / 10, 0), atol=1e-6)
    everywhere = bundle.gradcam(slices, np.ones(slices.shape))
    assert np.allclose(everywhere, coarse, atol=1e-6)
    assert not bundle.gradcam(slices, np.zeros(slices.shape)).any()


def test_recall_answers_without_the_model_where_it_can(tiny_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.random.default_rng(0).normal(1, 1, (4, 1, 16, 24)).astype(np.float32)
    recall = Recall(bundle)
    logits = recall.predict(slices)
    some = logits[1:3] > 0
    other = some & (np.arange(24) < 12)
    assert np.array_equal(logits, bundle.predict(slices)) and not np.array_equal(some, other)
    wanted, otherwise = bundle.gradcam(slices[1:3], some), bundle.gradcam(slices[1:3], other)
    assert np.allclose(recall.gradcam(slices[1:3], other), otherwise) and not np.allclose(wanted, otherwise)
    monkeypatch.setattr(bundle, "gradcam", lambda *_: pytest.fail("the model was asked again"))
    assert np.allclose(recall.gradcam(slices[1:3], some), wanted, atol=1e-6) and wanted.max() > 0.02


@pytest.mark.parametrize("size", [(16, 24), (4, 6), (32, 16), (16, 16)])
def test_enlarged_as_torch_does(size: Any) -> None:
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).normal(size=(2, 1, 4, 6)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(torch.from_numpy(maps), size, mode="bilinear", align_corners=False)
    assert np.allclose(enlarged(maps, size), wanted.numpy(), atol=1e-5)


def test_the_layout_of_schema_1_still_answers(tiny_bundle: Any, tmp_path: Path) -> None:
    """Three files: the utility without Grad-CAM, and a model of its own for that. Made of the one file of today."""
    onnx = pytest.importorskip("onnx")
    manifest, parts = read_manifest(tiny_bundle), {"utility": "logits", "gradcam": "gradcam"}
    for name, output in parts.items():
        model = onnx.load(tiny_bundle / "utility.onnx")
        graph = model.graph
        if name == "utility":
            del graph.input[1], graph.node[3:]
        kept = [port for port in graph.output if port.name == output]
        del graph.output[:]
        graph.output.extend(kept)
        if name == "gradcam":
            graph.node[-1].output[0] = graph.output[0].name = "importance"
        onnx.save(model, tmp_path / f"{name}.onnx")
    files = {f"{name}.onnx": tmp_path / f"{name}.onnx" for name in parts}
    write_bundle(tmp_path / "old", manifest, {**files, "unoise.onnx": tiny_bundle / "unoise.onnx"})
    edit(tmp_path / "old", schema_version=1)
    old, new = load_bundle(tmp_path / "old", "cpu"), load_bundle(tiny_bundle, "cpu")
    slices = np.random.default_rng(0).normal(1, 1, (2, 1, 16, 16)).astype(np.float32)
    assert not old.one_pass and new.one_pass
    assert np.array_equal(old.predict(slices), new.predict(slices))
    target = new.predict(slices) > 0
    assert np.allclose(old.gradcam(slices, target), new.gradcam(slices, target), atol=1e-6) and target.any()


def test_batches_do_not_change_answers(tiny_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.random.default_rng(0).normal(size=(5, 1, 16, 16)).astype(np.float32)
    together = bundle.predict(slices)
    monkeypatch.setattr("unoise_engine.models.session.PIXELS_A_CALL", 1)
    assert np.allclose(bundle.predict(slices), together, atol=1e-6)


@pytest.mark.parametrize("name", ["utility.onnx", "unoise.onnx"])
def test_one_changed_byte_is_refused_before_opening(copy: Any, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("the file was opened"))
    with pytest.raises(Integrity, match=f"{name}.*altered"):
        load_bundle(copy)


def test_a_file_changed_after_the_check_is_refused(copy: Any) -> None:
    bundle = load_bundle(copy, "cpu")
    (copy / "utility.onnx").write_bytes(b"other")
    with pytest.raises(Integrity, match="altered"):
        bundle.predict(np.zeros((1, 1, 16, 16), np.float32))


def test_other_damage(copy: Any, tmp_path: Path) -> None:
    with pytest.raises(Environment, match="no such model bundle"):
        load_bundle(tmp_path / "none")
    with pytest.raises(Environment, match=r"no bundle\.json"):
        load_bundle(tmp_path)
    with pytest.raises(Usage, match="--device tpu"):
        load_bundle(copy, "tpu")
    (copy / "unoise.onnx").rename(copy / "gone.onnx")
    with pytest.raises(Integrity, match=r"unoise\.onnx.*missing"):
        verify(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"schema_version": 1}, r"lists no gradcam\.onnx"),
        ({"labels": {}}, "organ"),
        ({"recipe": {"spacing_mm": -1}}, "spacing_mm"),
        ({"surprise": 1}, "surprise"),
        ({"files": {}}, r"lists no utility\.onnx"),
        ({"files": {"../../x": {"sha256": "0" * 64, "bytes": 1}}}, "lists no"),
        ({"files": {"x.txt": {"sha256": "0" * 63, "bytes": 1}}}, "sha256"),
        ({"files": {"x.txt": {"sha256": "0" * 64, "bytes": -1}}}, "bytes"),
    ],
)
def test_a_wrong_manifest_is_one_sentence(copy: Any, changes: Any, said: Any) -> None:
    edit(copy, **changes)
    with pytest.raises(Integrity, match=said):
        verify(copy)


def test_nothing_outside_the_folder_is_read(copy: Any) -> None:
    files = json.loads((copy / "bundle.json").read_text())["files"]
    edit(copy, files={**files, "../outside.txt": {"sha256": "0" * 64, "bytes": 1}})
    with pytest.raises(Integrity, match="points outside"):
        verify(copy)
    (copy / "bundle.json").write_text("{not json")
    with pytest.raises(Integrity, match="cannot be read"):
        read_manifest(copy)


def test_the_model_hash_follows_the_model(tiny_bundle: Any, copy: Any) -> None:
    assert model_hash(read_manifest(copy)) == model_hash(read_manifest(tiny_bundle))
    edit(copy, title="another title")
    assert model_hash(read_manifest(copy)) == model_hash(read_manifest(tiny_bundle))
    edit(copy, recipe={"spacing_mm": 1.0})
    assert model_hash(read_manifest(copy)) != model_hash(read_manifest(tiny_bundle))
