"""The whole command on small cases: what it writes, that it is the same every time, and what it says of bad input."""

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import image_of
from Testing.engine.evaluate.world import write_cases
from unoise_engine.errors import Usage
from unoise_engine.evaluate.command import Request, run
from unoise_engine.evaluate.data import find_entries, read_part
from unoise_engine.evaluate.overlap import dice
from unoise_engine.models.bundles import load_bundle
from unoise_engine.volume.read import read_image

QUICK = dict(slices_per_case=2, empty_per_case=1, draws=1, figures=False, resamples=50, device="cpu", threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_cases(tmp_path_factory.mktemp("world") / "set-a")


def evaluate(data: Any, out: Any, bundle: Any, **how: Any) -> Any:
    out.mkdir(exist_ok=True)
    folders = data if isinstance(data, tuple) else (data,)
    return run(Request(data=folders, out=out, bundle=str(bundle), overwrite=True, **{**QUICK, **how}))


def rows(path: Any) -> Any:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def out(data: Any, tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("out")
    assert evaluate(data, out, tiny_bundle, figures=True, command="unoise_engine evaluate --data set-a") == 0
    return out


def test_everything_is_written(out: Any) -> None:
    tables = ("curves", "summary", "per-patient", "segmentation", "checks")
    wanted = {f"{name}.csv" for name in tables} | {"report.md", "curves.png", "curves.svg"}
    methods = ("unoise", "gradcam", "occlusion", "random", "edges", "distance")
    assert {p.name for p in out.glob("[!.]*")} == wanted | {f"panels-{m}.png" for m in methods}
    curves = rows(out / "curves.csv")
    assert {r["method"] for r in curves} == set(methods)
    kept = [r for r in curves if r["order"] == "keep"]
    assert all(abs(float(r["visible"]) - float(r["share"])) < 0.01 for r in kept if r["ranking"] == "image")
    report = (out / "report.md").read_text("utf-8")
    for said in ("unoise_engine evaluate --data set-a", "2 patients", "6 slices (4 with organ)", "area / full dice"):
        assert said in report
    assert "U-Noise Large (Pretrained) | 0.551 |" in report, "the published figures stand beside ours"
    lines = report.splitlines()
    rows_apart = [(a, b) for a, b in pairwise(lines) if a.startswith("|") and b.startswith("|")]
    assert rows_apart and all(a.count("|") == b.count("|") for a, b in rows_apart)


class Everywhere:
    """A map that rises towards the first corner, in the air: as of a method that needs Grad-CAM, and as of another."""

    name = title = about = unit = "everywhere"
    chosen = False

    def __init__(self, needs: str):
        self.needs = needs

    def __call__(self, model: Any, x: Any, target: Any, advance: Any) -> Any:
        h, w = x.shape[2:]
        advance(len(x))
        return np.tile(-np.add.outer(np.arange(h), np.arange(w)).astype(np.float32), (len(x), 1, 1))


def test_panels_show_gradcam_inside_the_body_alone(
    data: Any, tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the pictures of `explain` do. The folder for the report is made, too."""
    from unoise_engine.evaluate import panels

    drawn: list[Any] = []
    real = panels.mosaic

    def mosaic(rows: Any, *words: str) -> Any:
        drawn.append((rows, words))
        return real(rows, *words)

    monkeypatch.setattr(panels, "mosaic", mosaic)
    more: dict[str, Any] = {"smeared": Everywhere("gradcam"), "other": Everywhere("")}
    asked = dict(QUICK, figures=True, methods=("random",), slices_per_case=1, empty_per_case=0)
    request = Request(data=(data,), out=tmp_path / "deep" / "out", bundle=str(tiny_bundle), **asked)  # type: ignore[arg-type]
    assert run(request, more=more) == 0 and (request.out / "panels-smeared.png").is_file()
    rows, (_, below) = drawn[0]
    told = {one.title: one.colours for one in rows[0]}
    slice_, smeared, other = next(iter(told.values())), told["smeared"], told["other"]
    assert not np.allclose(other[0, 0], slice_[0, 0]), "there is heat in the air"
    assert np.array_equal(smeared[0, 0], slice_[0, 0])
    lit, all_lit = (np.abs(one - slice_).max(axis=-1) > 0.01 for one in (smeared, other))
    assert lit.mean() > 0.1 and slice_[all_lit & ~lit].mean() < 0.05 < slice_[lit].mean(), "the body glows as before"
    assert np.array_equal(smeared[lit], other[lit]) and "(smeared: inside the body)" in below


def test_a_folder_that_cannot_be_written_is_told_first(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    from unoise_engine.errors import Environment
    from unoise_engine.evaluate import command

    (tmp_path / "file").write_text("mine")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Environment, match="out - cannot be written"):
        patch.setattr(command, "load_bundle", lambda *a, **k: pytest.fail("begun"))
        run(Request(data=(data,), out=tmp_path / "file" / "out", bundle=str(tiny_bundle), **QUICK))  # type: ignore[arg-type]


def test_checks_know_which_maps_are_learned(out: Any) -> None:
    """The tiny nets are one kernel of equal values each: shuffled they are the same, so their maps stay."""
    checks = {(r["method"], r["check"].split(", ")[-1]): float(r["value"]) for r in rows(out / "checks.csv")}
    assert checks["unoise", "U-Noise's own weights shuffled"] == pytest.approx(1)
    assert checks["occlusion", "utility's weights shuffled"] == pytest.approx(1, abs=0.2)
    stable = {m: v for (m, name), v in checks.items() if name.startswith("rank")}
    assert set(stable) == {"unoise", "gradcam", "occlusion", "edges", "distance"}
    assert stable["unoise"] > 0.9 > stable["edges"] > 0
    assert ("unoise", "of what distance does not explain") in checks
    assert ("random", "rank") not in checks and ("edges", "utility's weights shuffled") not in checks
    assert "## Stable, and learned?" in (out / "report.md").read_text("utf-8")


def test_every_table_tells_the_equal_distance_test_with_the_shuffled_net_beside(out: Any) -> None:
    told = {
        (r["method"], r["fill"], r["measure"]): r["value"] for r in rows(out / "summary.csv") if r["ranking"] == "ring"
    }
    names = {name for name, _, _ in told}
    assert names == {"unoise", "gradcam", "occlusion", "random", "edges", "distance", "unoise, own weights shuffled"}
    assert len(told) == len(names) * 6
    ruler = [float(value) for (name, _, _), value in told.items() if name == "distance" and value]
    assert ruler and not any(ruler)
    report = (out / "report.md").read_text("utf-8")
    assert "## At equal distance" in report and "\n| U-Noise, own weights shuffled |" in report


def test_the_same_seed_gives_the_same_bytes(data: Any, tiny_bundle: Any, out: Any, tmp_path: Path) -> None:
    evaluate(data, tmp_path, tiny_bundle)
    for path in out.glob("*.csv"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_segmentation_is_judged_on_the_ct(data: Any, tiny_bundle: Any, out: Any) -> None:
    from unoise_engine.explanation.pipeline import explain_volume
    from unoise_engine.explanation.settings import Settings

    for row in rows(out / "segmentation.csv"):
        ct, labels = (read_image(data / f"{row['case']}-{what}.nii.gz") for what in ("ct", "labels"))
        (_, found) = next(explain_volume(ct, load_bundle(tiny_bundle, "cpu"), Settings(("unoise",))))
        a, b = found.voxels > 0, labels.voxels == 3
        assert 0.5 < dice(a, b) < 1, "the reference is trivial"
        assert float(row["volume_dice"]) == pytest.approx(dice(a, b), abs=1e-5)
        assert float(row["found_ml"]) == pytest.approx(a.sum() * 0.015, rel=1e-5)  # 1.5 x 2.5 x 4 mm
        empty = ~b.any(axis=(1, 2))
        assert float(row["false_ml"]) == pytest.approx(a[empty].sum() * 0.015, abs=1e-5)


def test_one_patient_has_no_intervals(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    evaluate(data, tmp_path, tiny_bundle, patient="^case", methods=("unoise", "random"))
    assert "One patient only: there are no intervals." in (tmp_path / "report.md").read_text("utf-8")
    assert {r["value_low"] for r in rows(tmp_path / "summary.csv")} == {""}


def test_split_names_may_carry_the_folder(data: Any, tmp_path: Path) -> None:
    split, other = tmp_path / "split.json", write_cases(tmp_path / "set-b")

    def names(*folders: Any) -> Any:
        return [e.name for e in find_entries(folders, ["bright"], keep=read_part(split, "test"))]

    for name in ("case-1", "set-a/case-1"):
        split.write_text(json.dumps({"train": ["case-0"], "val": [], "test": [name, "elsewhere/case-9"]}))
        assert names(data) == ["case-1"]
    assert names(data, other) == ["set-a/case-1"]
    split.write_text(json.dumps({"test": ["case-1"]}))
    with pytest.raises(Usage, match="several data folders"):
        names(data, other)
    with pytest.raises(Usage, match="same name"):
        names(data, data)
    for content, said in (("{}", "no part 'test'"), ('{"test": []}', "is empty"), ("x", "as a split")):
        split.write_text(content)
        with pytest.raises(Usage, match=said):
            names(data)
    split.write_text(json.dumps({"test": ["case-7"]}))
    with pytest.raises(Usage, match="none of the 1 cases"):
        names(data)


def test_a_split_chooses_the_cases(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"test": ["set-a/case-1"]}))
    evaluate(data, tmp_path / "out", tiny_bundle, split=tmp_path, methods=("random",))  # a run's folder will do
    assert [r["case"] for r in rows(tmp_path / "out" / "segmentation.csv")] == ["case-1"]


def write_maps(data: Any, folder: Any, fill: Any) -> None:
    for k in range(2):
        ct = read_image(data / f"case-{k}-ct.nii.gz")
        folder.mkdir(parents=True, exist_ok=True)
        values = fill(read_image(data / f"case-{k}-labels.nii.gz").voxels == 3).astype(np.float32)
        sitk.WriteImage(image_of(ct.with_voxels(values)), str(folder / f"case-{k}.nii.gz"))


def test_maps_from_files_are_judged_like_any_other(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    """Who knows the truth ranks it first, and the tiny model needs no more; who hides it ranks it last."""
    write_maps(data, tmp_path / "maps" / "oracle", lambda organ: 1.0 * organ)
    write_maps(data, tmp_path / "maps" / "random", lambda organ: -1.0 * organ)
    evaluate(data, tmp_path / "out", tiny_bundle, methods=("random",), maps=(tmp_path / "maps",))
    measured = {
        r["method"]: float(r["value"])
        for r in rows(tmp_path / "out" / "summary.csv")
        if (r["measure"], r["fill"], r["ranking"]) == ("area / full dice", "grey", "image")
    }
    assert set(measured) == {"random", "oracle", "random (file)"}
    assert measured["oracle"] > 0.8 > 0.5 > measured["random (file)"]
    (tmp_path / "maps" / "oracle" / "case-1.nii.gz").unlink()
    with pytest.raises(Usage, match="oracle has no map of case case-1"):
        evaluate(data, tmp_path / "out", tiny_bundle, maps=(tmp_path / "maps",))
    with pytest.raises(Usage, match="no such folder"):
        evaluate(data, tmp_path / "out", tiny_bundle, maps=(tmp_path / "nothing",))
    with pytest.raises(Usage, match="no importance maps"):
        evaluate(data, tmp_path / "out", tiny_bundle, maps=(data,))


def test_what_explain_writes_can_be_read_back(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    from unoise_engine.explanation.settings import Settings
    from unoise_engine.progress import Quiet
    from unoise_engine.results.case_folder import explain_case
    from unoise_engine.volume.find import find_cases

    for k in range(2):
        (case,) = find_cases([data / f"case-{k}-ct.nii.gz"])
        explain_case(case, tmp_path / "maps", load_bundle(tiny_bundle, "cpu"), Settings(("unoise",)), Quiet())
    evaluate(data, tmp_path / "out", tiny_bundle, methods=("unoise",), maps=(tmp_path / "maps",))
    area = {
        r["method"]: float(r["value"])
        for r in rows(tmp_path / "out" / "summary.csv")
        if (r["measure"], r["fill"], r["ranking"]) == ("area / full dice", "grey", "image")
    }
    assert set(area) == {"unoise", "unoise (file)"}
    assert area["unoise (file)"] == pytest.approx(area["unoise"], abs=0.1)


def test_a_bad_case_is_one_line_and_the_others_go_on(
    data: Any, tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_cases(tmp_path / "bad", 4)
    labels = [folder / f"case-{k}-labels.nii.gz" for k in range(4)]
    moved = sitk.ReadImage(str(labels[0]))
    moved.SetOrigin((0, 0, 0))
    sitk.WriteImage(moved, str(labels[0]))
    sitk.WriteImage(sitk.ReadImage(str(labels[1])) * 0, str(labels[1]))
    sitk.WriteImage(sitk.ReadImage(str(labels[2])) * 2, str(labels[2]))
    assert evaluate(folder, tmp_path / "out", tiny_bundle, methods=("random",)) == 3
    said = capsys.readouterr().err
    for code in ("case-0: REFUSED OTHER_GRID", "case-1: REFUSED EMPTY_LABEL", "case-2: REFUSED NO_SUCH_LABEL"):
        assert code in said
    assert "3 cases refused" in (tmp_path / "out" / "report.md").read_text("utf-8")
    labels[3].write_bytes(labels[1].read_bytes())
    with pytest.raises(Usage, match="no slice to judge"):
        evaluate(folder, tmp_path / "out", tiny_bundle, methods=("random",))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (dict(methods=("unoise", "lime")), "unknown method"),
        (dict(patient="("), "no regular expression"),
        (dict(draws=0), "--draws 0 - is out of range"),
        (dict(seed=-1), "--seed -1 - is out of range"),
        (dict(resamples=0), "--resamples 0 - is out of range"),
        (dict(resamples=10**9), "--resamples 1000000000 - is out of range"),
        (dict(slices_per_case=-1), "--slices-per-case -1 - is out of range"),
        (dict(empty_per_case=-2), "--empty-per-case -2 - is out of range"),
        (dict(checks_per_case=0), "--checks-per-case 0 - is out of range"),
        (dict(panels=-1), "--panels -1 - is out of range"),
        (dict(threads=-1), "--threads -1 - is out of range"),
    ],
)
def test_wrong_options_are_one_line(data: Any, tiny_bundle: Any, tmp_path: Path, how: Any, said: Any) -> None:
    with pytest.raises(Usage, match=said):
        evaluate(data, tmp_path / "out", tiny_bundle, **how)


def test_numbers_without_names(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    folder = write_cases(tmp_path / "unnamed")
    (folder / "labels.json").unlink()
    with pytest.raises(Usage, match="--labels"):
        evaluate(folder, tmp_path / "out", tiny_bundle)
    assert evaluate(folder, tmp_path / "out", tiny_bundle, labels=(3,), methods=("random",)) == 0


def test_evaluating_needs_no_training_package() -> None:
    heavy = ["torch", "lightning", "onnx", "matplotlib", "scipy"]
    code = f"import unoise_engine.evaluate.command, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_command_line(data: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    words = ["--bundle", str(tiny_bundle), "-o", str(tmp_path / "out"), "--methods", "random", "--draws", "1"]
    line = [sys.executable, "-m", "unoise_engine", "evaluate", "--data", str(data), *words]
    done = subprocess.run([*line, "--slices-per-case", "1", "--panels", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report.md" in done.stdout and "images through the model, about" in done.stderr
    done = subprocess.run([*line, "--labels", "seven"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: --labels seven")


def test_a_planted_cause_is_measured(tiny_bundle: Any, tmp_path: Path) -> None:
    """The tiny model takes all that is bright for its organ: it solves nothing, and that is said."""
    from unoise_engine.lab.phantom.write import write_phantoms

    data = tmp_path / "planted"
    write_phantoms(data, 1, seed=1, size=64, slices=8, planted=True)
    table = {"bright": 1, "landmark": 2, "decoy": 3, "decoy_landmark": 4}
    (data / "labels.json").write_text(json.dumps(table))
    decoys = ("decoy", "decoy_landmark")
    evaluate(data, tmp_path / "out", tiny_bundle, methods=("random",), landmark="landmark", decoys=decoys, anyway=True)
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "## The planted cause" in report and "Decoy organs taken for the target" in report
    with pytest.raises(Usage, match="gives no number for 'spot'"):
        evaluate(data, tmp_path / "out", tiny_bundle, landmark="spot")
    with pytest.raises(Usage, match="belong to a --landmark"):
        evaluate(data, tmp_path / "out", tiny_bundle, decoys=decoys)


def test_half_a_split_is_no_figure(data: Any, tmp_path: Path) -> None:
    """Cases of the part that belong here and are missing are told; those of another folder are not asked for."""
    split = tmp_path / "split.json"
    for absent in ("case-7", "set-a/case-7"):
        split.write_text(json.dumps({"train": [], "val": [], "test": ["case-1", absent]}))
        with pytest.raises(Usage, match=f"lack 1 of the 2 cases of the split's part, {absent} first"):
            find_entries([data], ["bright"], keep=read_part(split, "test"))
    split.write_text(json.dumps({"train": ["case-0", "case-1"], "val": [], "test": ["case-1"]}))
    with pytest.raises(Usage, match="names case-1 twice, in train and in test"):
        read_part(split, "test")


def test_the_same_ct_counts_once(tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_cases(tmp_path / "twice")
    for what in ("ct", "labels"):
        sitk.WriteImage(sitk.ReadImage(str(folder / f"case-0-{what}.nii.gz")), str(folder / f"copy-{what}.mha"))
    assert evaluate(folder, tmp_path / "out", tiny_bundle, methods=("random",)) == 1
    assert "CASE copy: REFUSED SAME_CT" in capsys.readouterr().err
    assert [r["case"] for r in rows(tmp_path / "out" / "segmentation.csv")] == ["case-0", "case-1"]


def test_a_pattern_or_a_number_that_fits_nothing(data: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="finds nothing in the name 'case-0'"):
        find_entries([data], ["bright"], patient="^p[0-9]+")
    folder = write_cases(tmp_path / "odd")
    for number in (0, -7):
        (folder / "labels.json").write_text(json.dumps({"bright": number}))
        with pytest.raises(Usage, match="labels begin at 1"):
            find_entries([folder], ["bright"])


def test_a_model_that_finds_nothing_is_said_so_first(
    tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny model takes what is bright; where the labels show another place, it finds none of them."""
    folder = write_cases(tmp_path / "elsewhere")
    for path in folder.glob("*-labels.nii.gz"):
        image = sitk.ReadImage(str(path))
        moved = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[:, :, ::-1])
        moved.CopyInformation(image)
        sitk.WriteImage(moved, str(path))
    evaluate(folder, tmp_path / "out", tiny_bundle, methods=("random",))
    assert capsys.readouterr().err.startswith("The model finds nearly nothing of the organ here (mean dice 0.0")
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert report.split("\n\n")[1].startswith("**The model finds nearly nothing") and "No map was judged" in report
    assert {p.name for p in (tmp_path / "out").glob("[!.]*")} == {"report.md", "segmentation.csv", "summary.csv"}
    evaluate(folder, tmp_path / "anyway", tiny_bundle, methods=("random",), anyway=True)
    report = (tmp_path / "anyway" / "report.md").read_text("utf-8")
    assert "nearly nothing" in report and "No map was judged" not in report and "Dice against share visible" in report


def test_a_model_that_finds_its_organ_is_not_doubted(out: Any) -> None:
    assert "nearly nothing" not in (out / "report.md").read_text("utf-8")
