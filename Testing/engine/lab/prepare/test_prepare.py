"""Importers on small data in exactly the published layouts: what comes out, what is refused, what is not done twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.lab.prepare.world import SHAPE, save, torso, write_msd, write_pancreas_ct
from unoise_engine.errors import Environment, Usage
from unoise_engine.files import INVENTORY
from unoise_engine.lab.prepare.msd import find_msd
from unoise_engine.lab.prepare.pairs import find_plain
from unoise_engine.lab.prepare.pancreas_ct import find_pancreas_ct
from unoise_engine.lab.prepare.write import Shares, prepare
from unoise_engine.volume.split import Split


def voxels(path: Any) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def record(out: Any) -> Any:
    return json.loads((out / "prepared.json").read_text())


def refusals(collection: Any, out: Any) -> Any:
    told: dict[str, str] = {}
    count = prepare(collection, out, Shares(), tell=lambda case, error: told.update({case: str(error)}))
    assert count.refused == len(told)
    assert all("\n" not in sentence and sentence.count(" - ") >= 2 for sentence in told.values())
    return count, told


def test_msd_merged_and_apart(tmp_path: Path) -> None:
    source = write_msd(tmp_path / "Task07_Pancreas")
    for merge, expected in ((True, {0, 7}), (False, {0, 7, 205})):
        out = tmp_path / f"out-{merge}"
        out.mkdir()
        count, told = refusals(find_msd(source, merge), out)
        assert (count.ok, told) == (4, {})
        hu, organ = torso(2)
        labels = voxels(out / "pancreas_002-labels.nii.gz")
        assert set(np.unique(labels)) == expected
        assert np.array_equal(labels > 0, organ)
        assert np.array_equal(voxels(out / "pancreas_002-ct.nii.gz"), hu)
        assert json.loads((out / "labels.json").read_text()) == (
            {"pancreas": 7} if merge else {"pancreas": 7, "pancreas_tumour": 205}
        )
    split = Split.read(out)
    assert sorted(split.cases) == [f"pancreas_{k:03d}" for k in range(1, 5)]
    entry = record(out)["cases"]["pancreas_002"]
    assert entry["spacing_mm"] == [1.5, 1.5, 3.0] and entry["patient"] == "pancreas_002" and entry["tumour"]


def test_pancreas_ct_finds_the_flip_and_writes_the_proof(tmp_path: Path) -> None:
    source = write_pancreas_ct(tmp_path / "nih", flip=lambda organ: organ[::-1, ::-1])
    out = tmp_path / "out"
    out.mkdir()
    count, told = refusals(find_pancreas_ct(source), out)
    assert (count.ok, told) == (4, {})
    hu, organ = torso(3)
    ct, labels = (voxels(out / f"pancreas-0003-{what}.nii.gz") for what in ("ct", "labels"))
    assert np.array_equal(ct, hu)  # feet first
    assert np.array_equal(labels == 7, organ)
    proof = record(out)["cases"]["pancreas-0003"]["orientation"]
    assert proof["chosen"] == "slices mirrored, rows mirrored"
    assert len(proof["tried"]) == 16 and proof["tried"][0]["soft_inside"] > 0.95


def test_pancreas_ct_refuses_what_cannot_be_told(tmp_path: Path) -> None:
    source = write_pancreas_ct(tmp_path / "nih")
    labels = source / "labels"
    save(np.zeros(SHAPE, np.uint8), labels / "label0001.nii.gz")
    nowhere = np.zeros(SHAPE, np.uint8)
    nowhere[:, :4, :4] = 1  # air in every lay
    save(nowhere, labels / "label0002.nii.gz")
    save(np.ones((5, 48, 48), np.uint8), labels / "label0003.nii.gz")
    out = tmp_path / "out"
    out.mkdir()
    count, told = refusals(find_pancreas_ct(source), out)
    assert count.ok == 1
    assert "no label" in told["pancreas-0001"]
    assert "soft tissue" in told["pancreas-0002"]
    assert "the CT (12, 48, 48)" in told["pancreas-0003"]
    assert Split.read(out).cases == {"pancreas-0004"}


def test_a_patient_without_labels_or_without_images(tmp_path: Path) -> None:
    source = write_pancreas_ct(tmp_path / "nih")
    (source / "labels" / "label0001.nii.gz").unlink()
    shutil.rmtree(source / "Pancreas-CT" / "PANCREAS_0002")
    out = tmp_path / "out"
    out.mkdir()
    count, told = refusals(find_pancreas_ct(source), out)
    assert count.ok == 2 and "label0001" in told["pancreas-0001"] and "PANCREAS_0002" in told["pancreas-0002"]


def test_damaged_cases_are_named_and_skipped_and_mended_later(tmp_path: Path) -> None:
    source = write_msd(tmp_path / "Task07_Pancreas", count=6)
    whole = (source / "imagesTr" / "pancreas_001.nii.gz").read_bytes()
    (source / "imagesTr" / "pancreas_001.nii.gz").write_bytes(whole[: len(whole) // 2])
    save(torso(2)[1][:-1].astype(np.uint8), source / "labelsTr" / "pancreas_002.nii.gz")
    save(np.zeros(SHAPE, np.uint8), source / "labelsTr" / "pancreas_003.nii.gz")
    save(torso(4)[1].astype(np.uint8) * 5, source / "labelsTr" / "pancreas_004.nii.gz")
    out = tmp_path / "out"
    out.mkdir()
    count, told = refusals(find_msd(source, True), out)
    assert (count.ok, count.refused) == (2, 4)
    assert "grid" in told["pancreas_002"] and "no label" in told["pancreas_003"] and "5" in told["pancreas_004"]
    assert record(out)["cases"]["pancreas_001"]["status"] == "refused"
    before = Split.read(out)
    (source / "imagesTr" / "pancreas_001.nii.gz").write_bytes(whole)
    stamps = {p.name: p.stat().st_mtime_ns for p in out.glob("*-ct.nii.gz")}
    count, _ = refusals(find_msd(source, True), out)
    assert (count.ok, count.kept, count.refused) == (1, 2, 3)
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    after = Split.read(out)
    assert all(set(getattr(before, part)) <= set(getattr(after, part)) for part in ("train", "val", "test"))


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    source, out = write_msd(tmp_path / "Task07_Pancreas"), tmp_path / "out"
    out.mkdir()
    stop = iter([0, 0])

    def advance(amount: Any) -> None:
        if next(stop, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(find_msd(source, True), out, Shares(), advance)
    assert not (out / "split.json").exists()
    count = prepare(find_msd(source, True), out, Shares())
    assert (count.ok, count.kept) == (1, 3)
    assert len(Split.read(out).cases) == 4
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == [INVENTORY]


def test_other_choices_need_another_folder(tmp_path: Path) -> None:
    source, out = write_msd(tmp_path / "Task07_Pancreas"), tmp_path / "out"
    out.mkdir()
    prepare(find_msd(source, True), out, Shares())
    with pytest.raises(Environment, match="other choices"):
        prepare(find_msd(source, False), out, Shares())
    with pytest.raises(Environment, match="other choices"):
        prepare(find_msd(source, True), out, Shares(seed=1))


def test_one_patient_and_what_is_no_such_set(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(Usage, match="1 patient"):
        prepare(find_msd(write_msd(tmp_path / "one", count=1), True), out, Shares())
    with pytest.raises(Usage, match=r"dataset\.json"):
        find_msd(tmp_path / "out", True)
    spleen = write_msd(tmp_path / "spleen")
    told = json.loads((spleen / "dataset.json").read_text()) | {"labels": {"0": "background", "1": "spleen"}}
    (spleen / "dataset.json").write_text(json.dumps(told))
    with pytest.raises(Usage, match="names no pancreas"):
        find_msd(spleen, True)
    with pytest.raises(Usage, match="PANCREAS_0001"):
        find_pancreas_ct(tmp_path / "out")


def write_pairs(folder: Any) -> Any:
    for k in range(6):
        hu, organ = torso(k)
        save(hu, folder / f"p{k // 2}_{k}-ct.nii.gz")
        save(np.where(organ, 4, 0).astype(np.uint8) + (hu > 300), folder / f"p{k // 2}_{k}-labels.nii.gz")
    return folder


def test_pairs_keep_every_label_and_patients_together(tmp_path: Path) -> None:
    source, out = write_pairs(tmp_path / "mine"), tmp_path / "out"
    out.mkdir()
    with pytest.raises(Usage, match="--labels"):
        find_plain(source, "pancreas")
    (source / "labels.json").write_text('{"spine": 1, "pancreas": 4}')
    count, told = refusals(find_plain(source, "pancreas", patient="^p[0-9]"), out)
    assert count.ok == 6 and not told
    split = Split.read(out)
    for part in (split.train, split.val, split.test):
        assert {case[:2] for case in part}.isdisjoint(case[:2] for case in split.cases - set(part))
    assert set(np.unique(voxels(out / "p0_1-labels.nii.gz"))) == {0, 1, 4}
    assert json.loads((out / "labels.json").read_text()) == {"spine": 1, "pancreas": 4}


def test_the_command_and_the_training_that_reads_it(tmp_path: Path) -> None:
    """Exit code 1 for a damaged case, a line that names it, and the split that training then takes."""
    source = write_msd(tmp_path / "Task07_Pancreas", count=8)
    (source / "imagesTr" / "pancreas_003.nii.gz").write_bytes(b"")
    command = [sys.executable, "-m", "unoise_engine", "prepare", "msd", str(source), "-o", str(tmp_path / "data")]
    run = subprocess.run([*command, "--seed", "3"], capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    assert "8 cases = 7 ok + 0 done before + 1 refused" in run.stdout
    assert [line for line in run.stderr.splitlines() if line.startswith("CASE pancreas_003: REFUSED EMPTY_FILE")]
    pytest.importorskip("torch")
    from unoise_engine.training.recipes import Data
    from unoise_engine.training.sources import open_sources, split_sources

    sources = open_sources([tmp_path / "data"], Data(split_seed=99))
    assert split_sources(sources, Data(split_seed=99)) == Split.read(tmp_path / "data")
    assert sources[0].numbers == (7,)
    save(torso(9)[0], tmp_path / "data" / "new-ct.nii.gz")
    save(torso(9)[1].astype(np.uint8) * 7, tmp_path / "data" / "new-labels.nii.gz")
    with pytest.raises(Usage, match="does not name new"):
        split_sources(open_sources([tmp_path / "data"], Data()), Data())


@pytest.mark.parametrize("place", ["image", "label"])
@pytest.mark.parametrize(
    "form", ["{outside}", "./imagesTr/../../{name}", "..\\\\{name}", "C:\\\\{name}", "//server/{name}"]
)
def test_a_list_that_leads_out_of_its_set(tmp_path: Path, form: Any, place: Any) -> None:
    """A downloaded dataset.json may not have files of somewhere else copied."""
    source = write_msd(tmp_path / "set")
    outside = tmp_path / "mine.nii.gz"
    outside.write_bytes((source / "imagesTr" / "pancreas_001.nii.gz").read_bytes())
    path = source / "dataset.json"
    told = json.loads(path.read_text())
    told["training"][2][place] = form.format(outside=outside, name=outside.name)
    path.write_text(json.dumps(told))
    with pytest.raises(Usage, match=r"dataset\.json - lists .* outside the set"):
        find_msd(source, merge=True)


def test_a_list_that_names_a_case_twice(tmp_path: Path) -> None:
    source = write_msd(tmp_path / "set")
    path = source / "dataset.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"training": [*told["training"], told["training"][0]]}))
    with pytest.raises(Usage, match=r"lists \./imagesTr/pancreas_001\.nii\.gz twice"):
        find_msd(source, merge=True)
    again = told["training"][0] | {"image": "./imagesTs/pancreas_001.nii"}
    path.write_text(json.dumps(told | {"training": [*told["training"], again]}))
    with pytest.raises(Usage, match="of the same case"):
        find_msd(source, merge=True)
    path.write_text(json.dumps(told | {"labels": {"0": "background", "-1": "pancreas", "2": "cancer"}}))
    with pytest.raises(Usage, match="labels begin at 1"):
        find_msd(source, merge=True)


def test_pairs_whose_split_would_be_a_guess(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "in")
    for number in (0, -7):
        (folder / "labels.json").write_text(json.dumps({"pancreas": number}))
        with pytest.raises(Usage, match="labels begin at 1"):
            find_plain(folder, "pancreas")
    found = find_plain(folder, "pancreas", (1,), patient="nobody")
    with pytest.raises(Usage, match="finds nothing in the name"):
        prepare(found, tmp_path / "out", Shares())
    assert not (tmp_path / "out").exists()
