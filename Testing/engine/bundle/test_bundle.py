"""Bundles are checked before anything in them is opened."""

import json
import shutil

import numpy as np
import pytest

from unoise_engine.bundle.manifest import model_hash, read_manifest, verify
from unoise_engine.bundle.session import load_bundle
from unoise_engine.errors import Environment, Integrity, Usage


@pytest.fixture
def copy(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "copy")


def edit(folder, **changes):
    path = folder / "bundle.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, **changes}))


def test_a_good_bundle_opens_and_answers(tiny_bundle):
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.zeros((3, 1, 16, 24), np.float32)
    slices[1] = 4
    logits = bundle.predict(slices)
    assert logits.shape == (3, 1, 16, 24)
    assert logits[1, 0, 8, 8] == pytest.approx(10 * (4 - 1.2), rel=1e-5)  # by hand: gain x (value - threshold)
    assert bundle.noise_logits(slices, logits)[1, 0, 8, 8] == pytest.approx(-5 * (4 - 1.2), rel=1e-5)
    assert bundle.predict(slices[:0]).shape == (0, 1, 16, 24)


def test_batches_do_not_change_answers(tiny_bundle, monkeypatch):
    bundle = load_bundle(tiny_bundle, "cpu")
    slices = np.random.default_rng(0).normal(size=(5, 1, 16, 16)).astype(np.float32)
    together = bundle.predict(slices)
    monkeypatch.setattr("unoise_engine.bundle.session.PIXELS_A_CALL", 1)
    assert np.allclose(bundle.predict(slices), together, atol=1e-6)


@pytest.mark.parametrize("name", ["utility.onnx", "unoise.onnx", "gradcam.onnx"])
def test_one_changed_byte_is_refused_before_opening(copy, name, monkeypatch):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("the file was opened"))
    with pytest.raises(Integrity, match=f"{name}.*altered"):
        load_bundle(copy)


def test_a_file_changed_after_the_check_is_refused(copy):
    bundle = load_bundle(copy, "cpu")
    (copy / "utility.onnx").write_bytes(b"other")
    with pytest.raises(Integrity, match="altered"):
        bundle.predict(np.zeros((1, 1, 16, 16), np.float32))


def test_other_damage(copy, tmp_path):
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
        ({"labels": {}}, "organ"),
        ({"recipe": {"spacing_mm": -1}}, "spacing_mm"),
        ({"surprise": 1}, "surprise"),
        ({"files": {}}, r"lists no utility\.onnx"),
        ({"files": {"../../x": {"sha256": "", "bytes": 1}}}, "lists no"),
    ],
)
def test_a_wrong_manifest_is_one_sentence(copy, changes, said):
    edit(copy, **changes)
    with pytest.raises(Integrity, match=said):
        verify(copy)


def test_nothing_outside_the_folder_is_read(copy):
    files = json.loads((copy / "bundle.json").read_text())["files"]
    edit(copy, files={**files, "../outside.txt": {"sha256": "0", "bytes": 1}})
    with pytest.raises(Integrity, match="points outside"):
        verify(copy)
    (copy / "bundle.json").write_text("{not json")
    with pytest.raises(Integrity, match="cannot be read"):
        read_manifest(copy)


def test_the_model_hash_follows_the_model(tiny_bundle, copy):
    assert model_hash(read_manifest(copy)) == model_hash(read_manifest(tiny_bundle))
    edit(copy, title="another title")
    assert model_hash(read_manifest(copy)) == model_hash(read_manifest(tiny_bundle))
    edit(copy, recipe={"spacing_mm": 1.0})
    assert model_hash(read_manifest(copy)) != model_hash(read_manifest(tiny_bundle))
