"""What is lost without a structure: against the same done by hand, and what is said and written of it."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.evaluate.world import write_cases
from Testing.engine.explanation.test_structures import item, write_net
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.evaluate.overlap import dice
from unoise_engine.evaluate.whatif.effects import what_if
from unoise_engine.evaluate.whatif.fills import FILLS, Region, filling
from unoise_engine.evaluate.whatif.scene import Scene
from unoise_engine.evaluate.whatif.settings import HideSettings
from unoise_engine.explanation.segment import segment
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.given import given_of
from unoise_engine.models.manifest import Manifest, write_bundle
from unoise_engine.models.preparation import Preparation, Window
from unoise_engine.volume.structures import Structure
from unoise_engine.volume.volume import Grid, Volume


@pytest.fixture
def scene(ct: Any, tiny_bundle: Any) -> Scene:
    return Scene(ct, load_bundle(tiny_bundle, "cpu"))


def blocks(scene: Scene) -> dict[str, np.ndarray]:
    """The organ's lower half, a collar around the organ, and a block far from it."""
    shape = scene.ct.voxels.shape
    half, collar, far = (np.zeros(shape, bool) for _ in range(3))
    there = np.argwhere(scene.organ)
    (z0, y0, x0), (z1, y1, x1) = there.min(axis=0), there.max(axis=0) + 1
    half[z0:z1, y0 : (y0 + y1) // 2, x0:x1] = scene.organ[z0:z1, y0 : (y0 + y1) // 2, x0:x1]
    collar[z0:z1, max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3] = True
    far[1:4, 2:6, 2:6] = True
    return {"half": half, "collar": collar & ~scene.organ, "far": far}


def structures(masks: dict[str, np.ndarray]) -> list[Structure]:
    return [Structure(name, lambda mask=mask: mask) for name, mask in masks.items()]  # type: ignore[misc]


def found_by_hand(scene: Scene, mask: np.ndarray, hu: Any) -> np.ndarray:
    """Everything anew: nothing of the first prediction is used."""
    voxels = scene.ct.voxels.copy()
    voxels[mask] = hu
    bundle = scene.bundle
    found = segment(bundle, given_of(scene.ct.with_voxels(voxels), bundle.recipe), bundle.manifest.clean_up)
    return found.mask(1).voxels > 0


@pytest.mark.parametrize("organ", ["keep", "hide"])
def test_figures_are_those_of_a_ct_that_came_so(scene: Scene, organ: str) -> None:
    masks = blocks(scene)
    told = what_if(scene, structures(masks), HideSettings("fat", organ))
    rows = {one.name: one for one in told.effects}
    ml = scene.ct.grid.voxel_ml
    for name, one in rows.items():
        mask = masks[name] if organ == "hide" else masks[name] & ~scene.organ
        after = found_by_hand(scene, mask, -100)
        assert one.dice == pytest.approx(dice(after, scene.organ))
        assert one.ml == pytest.approx(after.sum() * ml) and one.before_ml == pytest.approx(scene.ml)
        assert one.lost_ml == pytest.approx((scene.organ & ~after).sum() * ml)
        assert one.new_ml == pytest.approx((after & ~scene.organ).sum() * ml)
        assert one.hidden_ml == pytest.approx(mask.sum() * ml)
    assert rows["far"].dice == 1 and rows["far"].lost_ml == 0
    assert [one.dice for one in told.effects] == sorted(one.dice for one in told.effects)
    if organ == "hide":
        assert rows["half"].dice < 0.8 and rows["half"].covers > 0.3
        assert told.seen[0][0].name == told.effects[0].name
    else:
        assert "half" not in rows and any("within the bright found" in note and "half" in note for note in told.notes)


def test_the_ct_is_as_before_after_each_question(scene: Scene) -> None:
    before = scene.ct.voxels.copy()
    masks = structures(blocks(scene))
    first = what_if(scene, masks, HideSettings("noise", "hide"))
    assert np.array_equal(scene.ct.voxels, before) and np.array_equal(scene._hu, before)
    assert what_if(scene, masks, HideSettings("noise", "hide")).effects == first.effects
    alone = what_if(scene, masks[1:2], HideSettings("noise", "hide")).effects[0]
    assert alone in first.effects  # the noise does not depend on what else is hidden
    assert what_if(scene, masks, HideSettings("noise", "hide", seed=1)).effects != first.effects


def test_the_model_runs_on_changed_slices_alone(scene: Scene, monkeypatch: Any) -> None:
    seen: list[int] = []
    bundle = scene.bundle
    run = bundle.predict

    def predict(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return run(x)

    monkeypatch.setattr(bundle, "predict", predict)
    what_if(scene, structures({"far": blocks(scene)["far"]}), HideSettings("fat"))
    assert sum(seen) == 3  # slices 1, 2 and 3


def test_pairs(scene: Scene) -> None:
    masks = blocks(scene)
    told = what_if(scene, structures(masks), HideSettings("fat", "hide", pairs=True))
    assert len(told.pairs) == 3
    one = {p.name: p for p in told.pairs}[next(p.name for p in told.pairs if "far" not in p.hidden)]
    after = found_by_hand(scene, masks["half"] | masks["collar"], -100)
    assert one.dice == pytest.approx(dice(after, scene.organ))
    single = {e.name: 1 - e.dice for e in told.effects}
    assert one.beyond == pytest.approx((1 - one.dice) - single["half"] - single["collar"])


def test_fills(ct: Any) -> None:
    mask = np.zeros(ct.voxels.shape, bool)
    mask[3:6, 15:25, 10:20] = True
    region = Region.of(mask)
    assert region and region.voxels == mask.sum()
    values = {f: filling(ct.voxels, region, f, ct.grid.spacing_mm, 0) for f in FILLS}
    assert (values["fat"] == -100).all()
    big = Region.of(np.ones(ct.voxels.shape, bool))
    assert big
    noise = filling(ct.voxels, big, "noise", ct.grid.spacing_mm, 3)
    assert noise.mean() == pytest.approx(40, abs=5) and noise.std() == pytest.approx(150, rel=0.03)
    assert not np.array_equal(noise, filling(ct.voxels, big, "noise", ct.grid.spacing_mm, 4))
    flat = np.full(ct.voxels.shape, 70, np.int16)
    flat[mask] = 500
    flat[:, :12] = -1000  # air is no tissue
    assert filling(flat, region, "mean", ct.grid.spacing_mm, 0) == pytest.approx(70)
    smooth = filling(flat, region, "blur", ct.grid.spacing_mm, 0)
    assert 70 < np.median(smooth) < 500 and smooth.std() > 1
    level = np.full(ct.voxels.shape, 70, np.int16)
    assert filling(level, region, "blur", ct.grid.spacing_mm, 0) == pytest.approx(70, abs=1e-3)


def test_what_covers_the_organ_is_said(scene: Scene) -> None:
    around = np.zeros(scene.ct.voxels.shape, bool)
    around[:, 5:-5, 5:-5] = True
    (kept,) = what_if(scene, structures({"all": around}), HideSettings("fat", "keep")).effects
    told = what_if(scene, structures({"all": around}), HideSettings("fat", "hide"))
    assert kept.covers == 1 and kept.hidden_ml < told.effects[0].hidden_ml
    assert told.effects[0].dice == 0 and told.effects[0].lost_ml == pytest.approx(scene.ml)
    assert "all covers 100% of the bright found, which was hidden with it" in told.notes


def test_nothing_to_hide_and_nothing_to_lose(scene: Scene, ct: Any, tiny_bundle: Any) -> None:
    nothing = structures({"none": np.zeros(ct.voxels.shape, bool)})
    with pytest.raises(CaseRefused, match="nothing to hide - without a voxel in this CT: none"):
        what_if(scene, nothing)
    with pytest.raises(CaseRefused, match="shows no bright to the model"):
        Scene(ct.with_voxels(np.full_like(ct.voxels, -50)), load_bundle(tiny_bundle, "cpu"))
    with pytest.raises(Usage, match="--fill rainbow - unknown - choose from mean, noise, fat, blur"):
        HideSettings("rainbow")


def test_a_ct_cut_off_at_0_hu_stays_one(ct: Any, tiny_bundle: Any) -> None:
    """Fat as a filling lies below 0, and the slice would no longer be seen for what it is."""
    cut = ct.with_voxels(np.clip(ct.voxels, 0, 255))
    scene = Scene(cut, load_bundle(tiny_bundle, "cpu"))
    (far,) = what_if(scene, structures({"far": blocks(scene)["far"]}), HideSettings("fat")).effects
    assert far.dice == 1


def unoise(*words: Any) -> Any:
    return subprocess.run([sys.executable, "-m", "unoise_engine", *map(str, words)], capture_output=True, text=True)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    folder = write_cases(tmp_path / "data", 1)
    return folder / "case-0-ct.nii.gz", folder / "case-0-labels.nii.gz"


def test_the_command(pair: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    ct, labels = pair
    out = tmp_path / "out"
    words = ["whatif", ct, "--region", labels, "--bundle", tiny_bundle, "--fill", "fat", "-o", out]
    done = unoise(*words, "--box", "2:6,2:6,0:3", "--organ", "hide")
    assert done.returncode == 0, done.stderr
    assert "CASE case-0001: bright" in done.stdout and "box 2:6,2:6,0:3" in done.stdout
    rows = list(csv.DictReader((out / "case-0001" / "effects.csv").open()))
    assert [row["hidden"] for row in rows] == ["bright", "box 2:6,2:6,0:3"]
    assert float(rows[0]["dice"]) < 0.3 and float(rows[1]["dice"]) == 1
    report = json.loads((out / "case-0001" / "report.json").read_text())
    assert report["effects"][0]["hidden"] == "bright" and report["settings"]["fill_means"].startswith("fat")
    assert sitk.ReadImage(str(out / "case-0001" / report["files"]["picture"])).GetSize()[0] > 300
    assert str(ct) not in json.dumps(report)
    again = unoise(*words)
    assert again.returncode == 3 and "exists already" in again.stderr
    assert unoise(*words, "--organ", "hide", "--overwrite").returncode == 0
    for wrong, said in (
        (
            ["whatif", ct, "-o", out, "--bundle", tiny_bundle],
            "and the model has no other labels - give",
        ),
        (["whatif", "-o", out, "--bundle", tiny_bundle], "is given no CT"),
        (["whatif", ct, ct, "--region", labels, "-o", out], "is given 1 times for 2 CTs"),
        ([*words[:-1], tmp_path / "other", "--only", "lung"], "is no structure"),
    ):
        bad = unoise(*wrong)
        assert bad.returncode == 2 and said in bad.stderr and len(bad.stderr.splitlines()) == 1, bad.stderr


def test_a_cohort(tiny_bundle: Any, tmp_path: Path) -> None:
    data = write_cases(tmp_path / "data", 3)
    done = unoise("whatif", "--cohort", data, "--bundle", tiny_bundle, "--organ", "hide", "-o", tmp_path / "out")
    assert done.returncode == 0 and "over 3 CTs [95 % interval over CTs]" in done.stdout, done.stderr
    (row,) = csv.DictReader((tmp_path / "out" / "cohort.csv").open())
    each = []
    for k in (1, 2, 3):
        (one,) = csv.DictReader((tmp_path / "out" / f"case-000{k}" / "effects.csv").open())
        each.append(float(one["dice_lost"]))
    assert row["hidden"] == "bright" and row["cts"] == "3"
    assert float(row["dice_lost"]) == pytest.approx(np.mean(each), abs=1e-5)
    assert min(each) - 1e-5 <= float(row["dice_lost_low"]) <= float(row["dice_lost_high"]) <= max(each) + 1e-5


def test_a_session_keeps_model_and_ct(pair: Any, tiny_bundle: Any) -> None:
    ct, labels = map(str, pair)
    common = {"inputs": [ct], "model": {"bundle": str(tiny_bundle)}}
    questions: list[Any] = [
        {"whatif": {**common, "boxes": ["2:6,2:6,0:3"], "hide": {"fill": "fat"}}},
        {"whatif": {**common, "boxes": ["nonsense"]}},
        {"whatif": {**common, "regions": [labels], "hide": {"fill": "fat", "organ": "hide"}}},
        {"about": {}},
        {"rubbish": 1},
    ]
    lines = "\n".join(json.dumps(q) for q in questions) + "\n\n"
    run = subprocess.run(
        [sys.executable, "-m", "unoise_engine.worker", "--session"], input=lines, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert [e["code"] for e in events if e["event"] == "answered"] == [0, 2, 0, 0, 2]
    first, second = (e for e in events if e["event"] == "whatif")
    assert first["effects"][0]["dice"] == 1 and second["effects"][0]["dice"] < 0.3 and first["ml"] == second["ml"]
    errors = [e["what"] for e in events if e["event"] == "error"]
    assert errors[0] == "is no box" and "unknown key" in errors[1]


def test_the_second_question_reads_no_ct(pair: Any, tiny_bundle: Any, monkeypatch: Any, capsys: Any) -> None:
    from unoise_engine.evaluate.whatif.command import Kept, Request, run
    from unoise_engine.models.settings import ModelSettings

    kept = Kept()
    asked = Request((pair[0],), boxes=("2:6,2:6,0:3",), model=ModelSettings(str(tiny_bundle)))
    assert run(asked, "json", kept) == 0
    scene = kept.scene
    assert run(asked, "json", kept) == 0 and kept.scene is scene
    image = sitk.ReadImage(str(pair[0]))
    sitk.WriteImage(image + 1, str(pair[0]))  # another CT of the same name
    assert run(asked, "json", kept) == 0 and kept.scene is not scene
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events if e["event"] != "progress"] == ["whatif"] * 3


def test_a_model_of_several_labels_is_asked_about_its_own(tmp_path: Path) -> None:
    """A 3-D net from elsewhere, which finds its label only where another structure is near."""
    write_net(tmp_path / "net.onnx")
    about: dict[str, Any] = dict.fromkeys(("name", "title", "intended_use", "licence", "training_data"), "needs")
    labels = {"organ": 1, "needed": 2, "decoy": 3}
    recipe = Preparation(window=Window((16, 16, 16), 0.5))
    manifest = Manifest(**about, synthetic=True, recipe=recipe, labels=labels, outputs="softmax")
    write_bundle(tmp_path / "bundle", manifest, {"utility.onnx": tmp_path / "net.onnx"})
    model = load_bundle(tmp_path / "bundle", "cpu", label="organ")
    voxels = item()[0, 0].astype(np.float32)
    grid = Grid(voxels.shape[::-1], (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    scene = Scene(Volume(voxels, grid), model)
    own = [*scene.labels()]
    assert {one.name: int(one.mask().sum()) for one in own} == {"needed": 48, "decoy": 48}
    needed, decoy = what_if(scene, own, HideSettings("mean")).effects
    assert (needed.name, needed.dice) == ("needed", 0) and needed.lost_ml == pytest.approx(0.064)
    assert (decoy.name, decoy.dice, decoy.lost_ml) == ("decoy", 1, 0)


def test_what_is_found_without_the_strongest_is_kept_when_asked_for(scene: Scene) -> None:
    found = what_if(scene, structures(blocks(scene)), HideSettings(organ="hide"), keep=True)
    strongest, ml = found.effects[0], scene.ct.grid.voxel_ml
    assert found.after is not None and found.after.shape == scene.organ.shape and strongest.lost_ml > 0
    after = found.after > 0
    assert after.sum() * ml == pytest.approx(strongest.ml)
    assert (scene.organ & ~after).sum() * ml == pytest.approx(strongest.lost_ml)
    assert what_if(scene, structures(blocks(scene))).after is None
