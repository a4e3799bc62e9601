"""U-Noise on somebody else's model, in two and three dimensions, on models whose cause is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import image_of
from Testing.engine.explanation.test_structures import DECOY, NEEDED, ORGAN, write_net
from Testing.engine.models.foreign_net import write_foreign
from unoise_engine.cli.teaching import teach_imported
from unoise_engine.errors import Environment, Usage
from unoise_engine.evaluate.obscure import obscure
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.methods import METHODS, answerable
from unoise_engine.explanation.target import Target
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import Manifest, read_manifest, write_bundle
from unoise_engine.models.preparation import Preparation, Window
from unoise_engine.results.explanation import explain
from unoise_engine.volume.volume import Grid, Volume

torch = pytest.importorskip("torch")
sitk = pytest.importorskip("SimpleITK")


def scene(seed: int) -> Volume:
    """The organ with what it needs on one side and a decoy just as near on another."""
    voxels = np.zeros((24, 32, 32), np.float32)
    z, y, x = np.random.default_rng(seed).integers(7, 11, 3)
    voxels[z : z + 5, y : y + 5, x : x + 5] = ORGAN
    boxes = [
        (slice(z, z + 5), slice(y, y + 5), slice(x + 6, x + 9)),
        (slice(z, z + 5), slice(y + 6, y + 9), slice(x, x + 5)),
    ]
    for box, value in zip(boxes, (NEEDED, DECOY)):
        voxels[box] = value
    return Volume(voxels * 100, Grid((32, 32, 24), (2.0, 2.0, 2.0), (0, 0, 0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes as files, and a bundle whose organ is found only where what it needs is near."""
    from unoise_engine.models.preparation import Step

    home = tmp_path_factory.mktemp("world")
    for seed in range(6):
        sitk.WriteImage(image_of(scene(seed)), str(home / f"ct{seed}.nii.gz"))
    write_net(home / "net.onnx")
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "needs")
    recipe = Preparation(steps=(Step("normalise", (0, 100)),), window=Window((16, 24, 24), 0.5), modality="MR")
    labels = {"organ": 1, "needed": 2, "decoy": 3}
    manifest = Manifest(**about, synthetic=True, recipe=recipe, labels=labels, outputs="softmax")
    write_bundle(home / "bundle", manifest, {"utility.onnx": home / "net.onnx"})
    return home


def test_it_learns_beyond_distance(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's objective on scenes that were held out falls below that of the distance map it starts from."""
    out = world / "taught"
    paths = [world / f"ct{seed}.nii.gz" for seed in range(5)]
    teach_imported(paths, world / "bundle", out, label="organ", steps=25, patch=24, device="cpu", progress="off")
    told = read_manifest(out).metrics["unoise"]
    assert told["objective"] < told["objective_of_distance"] and told["cts_held_out"] == 1 and told["cts"] == 4
    assert "objective" in capsys.readouterr().out
    model = load_bundle(out, "cpu", label="organ")
    assert "unoise-near" in answerable(model)
    assert "unoise-near" not in answerable(load_bundle(out, "cpu", label="decoy")), "taught for another label"
    x = (scene(5).voxels / 100)[None, None]
    (shown,) = METHODS["unoise-near"](model, x, Target(model.predict(x)), silent)
    assert shown[x[0, 0] == ORGAN].mean() > shown[x[0, 0] == 0].mean() and np.isfinite(shown).all()
    found = explain(world / "ct5.nii.gz", "unoise-near", out, "cpu", "organ")
    results = found.save(world / "results", "nrrd")
    scale = json.loads((results / "report.json").read_text())["scales"]["unoise-near"]
    assert scale["unit"] == "MR units", "of the image, of which 100 are one of the model's"
    assert scale["most"] == pytest.approx(100 * read_manifest(out).architecture["noise"]["sigma_max"], rel=1e-3)
    obscured = obscure(scene(5), model, 0.3, 0, silent)
    assert obscured.by == "unoise-near" and obscured.visible == pytest.approx(0.3, abs=0.01)
    hidden, importance = obscured.ct.voxels != scene(5).voxels, found["unoise-near"]
    assert hidden.mean() > 0.3, "what happens to look as before is not counted"
    assert all(i[h].max() < np.quantile(i, 0.7) + 0.01 for h, i in zip(hidden, importance)), "the least important"


def test_the_same_seed_teaches_the_same(world: Path, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        out = tmp_path / name
        teach_imported([world / "ct0.nii.gz"], world / "bundle", out, label="organ", steps=2, patch=16, progress="off")
        files.append(read_manifest(out).files["unoise-near.onnx"].sha256)
    assert files[0] == files[1]


def test_planes(tmp_path: Path) -> None:
    """A model of rank 2, gradients and all."""
    recipe = Preparation(rank=2, window=Window((16, 20), 0.5), modality="MR")
    bundle = write_foreign(tmp_path / "net", recipe)
    sitk.WriteImage(image_of(scene(0)), str(tmp_path / "ct.nii.gz"))
    out = tmp_path / "out"
    teach_imported([tmp_path / "ct.nii.gz"], bundle, out, label="two", steps=3, patch=16, device="cpu", progress="off")
    model = load_bundle(out, "cpu", label="two")
    x = scene(1).voxels[:3, None]
    assert METHODS["unoise-near"](model, x, Target(model.predict(x)), silent).shape == (3, 32, 32)


def test_what_cannot_be_taught_is_said_and_nothing_is_written(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty = Volume(scene(0).voxels * 0 + np.float32(np.random.default_rng(0).normal(0, 1, (24, 32, 32))), scene(0).grid)
    sitk.WriteImage(image_of(empty), str(tmp_path / "none.nii.gz"))
    with pytest.raises(Usage, match="shows no organ"):
        teach_imported([tmp_path / "none.nii.gz"], world / "bundle", out, label="organ", progress="off")
    with pytest.raises(Usage, match="--steps -1"):
        teach_imported([world / "ct0.nii.gz"], world / "bundle", out, label="organ", steps=-1, progress="off")
    with pytest.raises(Usage, match="--seed -1"):
        teach_imported([world / "ct0.nii.gz"], world / "bundle", out, label="organ", seed=-1, progress="off")
    with pytest.raises(Usage, match="bundle that this engine trained"):
        teach_imported([world / "ct0.nii.gz"], Path("pancreas-ct"), out, progress="off")
    assert not out.exists()
    out.mkdir()
    with pytest.raises(Environment, match="exists already"):
        teach_imported([world / "ct0.nii.gz"], world / "bundle", out, label="organ", progress="off")
