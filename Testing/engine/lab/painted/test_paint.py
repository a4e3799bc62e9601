"""Cases painted around a small map of ellipsoids, read back by SimpleITK itself."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_erosion

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.painted.build import build
from unoise_engine.lab.painted.hounsfield import PHASES, draw_palette
from unoise_engine.lab.painted.labelmap import STEP_MM, read_map
from unoise_engine.lab.painted.placement import place
from unoise_engine.lab.painted.tissues import NUMBERS, Tissue
from unoise_engine.lab.painted.tube import line, tube
from unoise_engine.lab.painted.write import case_seed, find_maps, write_painted

T = Tissue
ORGANS = {
    # centre and radii in mm, (z, y, x) from the feet, the front and the patient's right
    "liver": ((150, 90, 80), (60, 55, 60)),
    "stomach": ((150, 70, 180), (40, 25, 30)),
    "spleen": ((155, 140, 235), (40, 25, 18)),
    "kidney_left": ((95, 150, 205), (45, 22, 22)),
    "pancreas": ((110, 105, 165), (15, 10, 45)),
    "duodenum": ((95, 105, 115), (30, 12, 12)),
}
FIELD_MM = (225, 210, 270)


def write_ellipsoids(path: Any, flip_x: Any = False) -> None:
    """At 3 mm, in the order of the table from 1; `flip_x` stores the columns the other way round."""
    z, y, x = np.meshgrid(*[np.arange(0, mm, 3) for mm in FIELD_MM], indexing="ij")
    labels = np.zeros(z.shape, np.uint8)
    for number, (centre, radii) in enumerate(ORGANS.values(), 1):
        away = sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii))
        labels[(away < 1) & (labels == 0)] = number
    image = sitk.GetImageFromArray(labels[:, :, ::-1] if flip_x else labels)
    image.SetSpacing((3.0, 3.0, 3.0))
    if flip_x:
        image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("maps")
    write_ellipsoids(folder / "a.nii.gz")
    write_ellipsoids(folder / "b_flipped.nrrd", flip_x=True)
    (folder / "labels.json").write_text(json.dumps({name: k for k, name in enumerate(ORGANS, 1)}))
    return find_maps([folder])


@pytest.fixture(scope="module")
def painted(maps: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two maps, one case each, by two processes."""
    folder = tmp_path_factory.mktemp("painted")
    seen = []
    files = write_painted(folder, maps, per_map=1, seed=3, jobs=2, progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    return files


def read(path: Any) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def labels_beside(ct: Any) -> Any:
    return read(ct.with_name(ct.name.replace("-ct.", "-labels.")))


def test_the_same_bytes_whatever_the_jobs(maps: Any, painted: Any, tmp_path: Path) -> None:
    alone = write_painted(tmp_path, maps[1:], per_map=1, seed=3, jobs=1)
    assert alone[0].name == painted[1].name
    for file in (alone[0], alone[0].with_name(alone[0].name.replace("-ct.", "-labels."))):
        assert file.read_bytes() == (painted[1].parent / file.name).read_bytes()
    assert case_seed(3, "a", 0) != case_seed(3, "a", 1) != case_seed(3, "b", 1)


def test_folder_and_record(maps: Any, painted: Any) -> None:
    folder = painted[0].parent
    assert json.loads((folder / "labels.json").read_text()) == NUMBERS
    record = json.loads((folder / "painted.json").read_text())
    assert list(record) == sorted(f"{m.name}_0" for m in maps)
    for m in maps:
        one = record[f"{m.name}_0"]
        assert one["map"] == m.path.name and one["phase"] in PHASES and one["seed"] == case_seed(3, m.name, 0)
    assert len(list(folder.glob("[!.]*"))) == 6


@pytest.mark.parametrize("which", [0, 1])
def test_ct_and_labels_agree(painted: Any, which: Any) -> None:
    image = sitk.ReadImage(str(painted[which]))
    assert image.GetPixelID() == sitk.sitkInt16 and image.GetSpacing() == STEP_MM[::-1]
    hu, labels = sitk.GetArrayFromImage(image), labels_beside(painted[which])
    assert labels.dtype == np.uint8 and labels.shape == hu.shape and hu.shape[1] == hu.shape[2]
    assert hu.min() < -900 and hu.max() > 300

    def median(name: Any) -> Any:
        return float(np.median(hu[labels == NUMBERS[name]]))

    assert 0 < median("liver") < 170 and 20 < median("spleen") < 170 and -60 < median("pancreas") < 170
    assert median("lung_lower_lobe_left") < -600 and median("aorta") > 20 and median("vertebrae") > 60
    built = ("kidney_right", "inferior_vena_cava", "superior_mesenteric_artery", "colon", "small_bowel")
    assert {NUMBERS[name] for name in built} <= set(np.unique(labels))
    slices = (labels == NUMBERS["pancreas"]).any(axis=(1, 2))
    assert 0.05 < slices.mean() < 0.5 and not slices[0] and not slices[-1]


@pytest.mark.parametrize("which", [0, 1])
def test_anatomy_is_the_right_way_round(painted: Any, which: Any) -> None:
    """Also for the map that is stored mirrored: liver to the patient's right, spine behind, lungs above."""
    labels = labels_beside(painted[which])

    def centre(name: Any) -> Any:
        return np.argwhere(labels == NUMBERS[name]).mean(axis=0)

    assert centre("liver")[2] < centre("spleen")[2] and centre("kidney_right")[2] < centre("kidney_left")[2]
    assert centre("vertebrae")[1] > centre("aorta")[1] > centre("stomach")[1]
    assert centre("lung_lower_lobe_right")[0] > centre("liver")[0] > centre("kidney_left")[0]
    assert centre("inferior_vena_cava")[2] < centre("aorta")[2]


def test_a_map_without_pancreas(maps: Any, tmp_path: Path) -> None:
    with pytest.raises(CaseRefused, match=r"a\.nii\.gz - shows 0\.0 ml of pancreas") as caught:
        read_map(maps[0].path, {1: "liver", 77: "pancreas"})
    assert caught.value.code == "NO_PANCREAS"
    again = pickle.loads(pickle.dumps(caught.value))  # as from another process
    assert again.code == "NO_PANCREAS" and str(again) == str(caught.value)


def test_a_map_of_little_but_pancreas(maps: Any) -> None:
    alone = np.where(read_map(maps[0].path, maps[0].names) == T.PANCREAS, T.PANCREAS, 0).astype(np.uint8)
    tissue = build(alone, np.random.default_rng(1)).tissue
    assert (tissue == T.PANCREAS).sum() > 1000 and (tissue == T.VERTEBRA).any()


def test_more_join_a_folder(maps: Any, painted: Any, tmp_path: Path) -> None:
    folder = tmp_path / "painted"
    shutil.copytree(painted[0].parent, folder)
    more = write_painted(folder, maps[:1], per_map=1, seed=4, first=7)
    assert more == [folder / f"{maps[0].name}_7-ct.nii.gz"]
    record = json.loads((folder / "painted.json").read_text())
    assert list(record) == sorted([f"{m.name}_0" for m in maps] + [f"{maps[0].name}_7"])
    assert record[f"{maps[0].name}_7"]["seed"] == case_seed(4, maps[0].name, 0)
    assert painted[0].read_bytes() == (folder / painted[0].name).read_bytes() != more[0].read_bytes()
    (folder / painted[1].name).unlink()
    write_painted(folder, maps[:1], per_map=1, seed=4, first=7)
    assert f"{maps[1].name}_0" not in json.loads((folder / "painted.json").read_text())  # no longer there
    (folder / "painted.json").write_text("[]")
    with pytest.raises(Usage, match="no record of painted CTs"):
        write_painted(folder, maps[:1], per_map=1, first=8)


def test_bent_organs_have_sections_of_their_own(maps: Any, tmp_path: Path) -> None:
    """A slab whose floor is flat: placed, the floor stays flat; bent, it is a landscape, without holes."""
    box = np.zeros((75, 105, 135), np.uint8)
    box[45:60, 15:95, 10:125], box[30:40, 45:60, 65:100] = T.LIVER, T.PANCREAS
    box[20:45, 70:85, 95:110] = T.CORTEX_LEFT

    def floor_mm(bent: Any) -> Any:
        liver = place(box, np.random.default_rng(2), bent) == T.LIVER
        inside = binary_erosion(liver.any(axis=0), iterations=15)  # columns whose floor is no wall
        assert inside.sum() > 300 and (np.abs(np.diff(liver[:, inside].astype(int), axis=0)).sum(axis=0) <= 2).all()
        return liver[:, inside].argmax(axis=0) * STEP_MM[0]

    assert floor_mm(False).std() == 0 and 2 < floor_mm(True).std() < 15
    write_painted(tmp_path, maps[:1], per_map=1, seed=3, bent=True)
    assert json.loads((tmp_path / "painted.json").read_text())[f"{maps[0].name}_0"]["bent"] is True
    labels = labels_beside(tmp_path / f"{maps[0].name}_0-ct.nii.gz")
    assert {NUMBERS[name] for name in ("liver", "pancreas", "spleen", "colon", "aorta")} <= set(np.unique(labels))


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_map": 0},
        {"jobs": 0},
        {"seed": -1},
        {"first": -1},
        {"phase": "late"},
        {"phase": "arterial", "even_phases": True},
    ],
)
def test_wrong_numbers(maps: Any, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(Usage):
        write_painted(tmp_path, maps, **wrong)


@pytest.mark.parametrize("phase", PHASES)
def test_one_phase_alone(phase: Any) -> None:
    assert {draw_palette(np.random.default_rng(k), phase=phase).phase for k in range(20)} == {phase}


def test_palettes_keep_to_reason() -> None:
    drawn = [draw_palette(np.random.default_rng(k)) for k in range(100)]
    share = {phase: sum(p.phase == phase for p in drawn) / 100 for phase in PHASES}
    assert share["portal venous"] == pytest.approx(0.55, abs=0.15) and min(share.values()) > 0.1
    for p in drawn:
        assert p.mean[T.COLON_GAS] < -700 and p.mean[T.LUNG_LEFT] < -700 and -140 < p.mean[T.VISCERAL_FAT] < -55
        assert -40 < p.mean[T.PANCREAS] < 180 and p.mean[T.AORTA] > 20
        assert p.phase != "non-contrast" or p.mean[T.AORTA] == p.mean[T.PORTAL]


def test_phases_are_even_when_asked_for() -> None:
    drawn = [draw_palette(np.random.default_rng(k), even=True).phase for k in range(150)]
    assert all(drawn.count(phase) / 150 == pytest.approx(1 / 3, abs=0.1) for phase in PHASES)


def test_tubes_are_round_and_clipped_to_the_volume() -> None:
    path = line((-2, 10, 10), (12, 10, 10))
    found = tube(path, np.full(len(path), 6.0), (10, 20, 20))
    assert found is not None
    assert found.box[0] == slice(0, 10) and found.depth_mm[5].max() == pytest.approx(6, abs=0.6)
    inside = (found.depth_mm[5] > 0).sum() * STEP_MM[1] * STEP_MM[2]
    assert inside == pytest.approx(np.pi * 36, rel=0.2)
    assert tube(path + 100, np.full(len(path), 6.0), (10, 20, 20)) is None
