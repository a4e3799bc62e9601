"""TotalSegmentator's folders: found where it keeps them, and what it does around nnU-Net."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from Testing.engine.foreign.results_folder import write_folder
from unoise_engine.errors import EngineError, Environment, Usage
from unoise_engine.foreign.totalsegmentator import (
    CROPPED,
    EVERY_FOLD,
    NEED_KEY,
    NOT_RESAMPLED,
    OPEN,
    TASKS,
    is_weights_folder,
    read_totalsegmentator,
    task_folders,
    weights_home,
)
from unoise_engine.models.preparation import Preparation, Resampling
from unoise_engine.models.prepared import Prepared
from unoise_engine.volume.read import from_image


def weights(home: Path, number: int, folds: tuple[str, ...] = ("0",)) -> Path:
    made = write_folder(home / f"made{number}", folds=folds, trainer="nnUNetTrainerNoMirroring")
    folder = home / f"Dataset{number:03d}_TotalSegmentator_some_1559subj"
    folder.mkdir(parents=True)
    made.rename(folder / made.name)
    return folder


def test_weights_are_where_totalsegmentator_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOTALSEG_WEIGHTS_PATH", "TOTALSEG_HOME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert weights_home() == tmp_path / ".totalsegmentator" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path / "h"))
    assert weights_home() == tmp_path / "h" / "nnunet" / "results"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "w"))
    assert weights_home() == tmp_path / "w"
    with pytest.raises(
        Environment, match=r"no weights of Dataset297, for total_fast - .*download_weights -t total_fast"
    ):
        task_folders("total_fast")
    one = weights(tmp_path / "w", 297)
    assert task_folders("total_fast") == task_folders("297") == [one]
    assert is_weights_folder(one) and not is_weights_folder(tmp_path / "elsewhere")
    with pytest.raises(Usage, match="--task pancreas - is none of TotalSegmentator's - choose from total, "):
        task_folders("pancreas")


def test_a_set_is_all_its_nets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path))
    made = [weights(tmp_path, number) for number in (291, 292, 293, 294)]
    with pytest.raises(Environment, match="Dataset295"):
        task_folders("total")
    made.append(weights(tmp_path, 295))
    assert task_folders("total") == made
    names = {read_totalsegmentator(folder).name for folder in made}
    assert names == {f"totalsegmentator-total-{number}" for number in range(291, 296)}


def test_what_it_does_before_nnunet_comes_first(tmp_path: Path) -> None:
    source = read_totalsegmentator(weights(tmp_path, 297))
    found = source.preparation
    assert found.axes == "SAR" and found.spacing_mm == (3.0, 1.5, 1.5)
    assert [step.do for step in found.steps] == ["resample", "truncate", "crop-nonzero", "clip", "normalise"]
    assert found.resampling == Resampling("ends", 1, 0, "never", 0, 0, keep_range=False)
    assert found.window.step == 0.8 and found.window.size == (8, 16, 12)
    assert "any usage" in source.licence and "Wasserthal" in source.citation and "Isensee" in source.citation
    assert source.kind == "TotalSegmentator" and "terms" not in source.facts


def test_images_are_resampled_as_it_does(tmp_path: Path) -> None:
    """scipy's zoom of the image turned to RAS, linear, then whole numbers; labels come back by the nearest voxel."""
    recipe = read_totalsegmentator(weights(tmp_path, 297)).preparation
    recipe = Preparation(recipe.axes, 3, recipe.spacing_mm, recipe.steps[:2], recipe.resampling)
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 300, (11, 50, 60)).astype(np.int16))
    image.SetSpacing((2.2, 2.9, 5.3))
    image = sitk.DICOMOrient(image, "LPS")
    given = Prepared.of(from_image(image), recipe)
    right = sitk.DICOMOrient(image, "RAS")
    zoom = np.array(right.GetSpacing())[::-1] / recipe.spacing_mm
    wanted = ndimage.zoom(sitk.GetArrayFromImage(right).astype(float), zoom, order=1, mode="nearest").astype(np.int32)
    assert given.image.shape == wanted.shape
    # Where linear interpolation falls on a whole number, the last bit decides which way it is cut.
    assert (given.image != wanted).mean() < 1e-3 and np.abs(given.image - wanted).max() <= 1
    labels = (wanted > 0).astype(np.uint8)
    back = ndimage.zoom(labels, np.array(right.GetSize())[::-1] / labels.shape, order=0, mode="nearest")
    turned = sitk.GetImageFromArray(back)
    turned.CopyInformation(right)
    found = given.backward(labels.astype(np.float32), 0)
    assert np.array_equal(found, sitk.GetArrayFromImage(sitk.DICOMOrient(turned, "LPS")))


def test_nets_that_are_not_resampled_are_as_nnunet_has_them(tmp_path: Path) -> None:
    found = read_totalsegmentator(weights(tmp_path, 301))
    assert [step.do for step in found.preparation.steps] == ["crop-nonzero", "clip", "normalise", "resample"]
    assert found.preparation.axes == "SAR" and found.preparation.window.step == 0.5
    assert any("crops images to organs" in note for note in found.notes)


def test_what_needs_a_key_is_not_called_free(tmp_path: Path) -> None:
    found = read_totalsegmentator(weights(tmp_path, 481))
    assert found.licence == "" and "licence key" in found.facts["terms"]
    assert "non-commercial" in read_totalsegmentator(weights(tmp_path, 615)).facts["terms"]


def test_folds_as_it_chooses_them(tmp_path: Path) -> None:
    several = ("0", "1")
    assert "fold_0+fold_1" in read_totalsegmentator(weights(tmp_path, 315, several)).facts["from"]
    folder = weights(tmp_path, 299, several)
    assert "/fold_0/" in read_totalsegmentator(folder).facts["from"]
    assert "/fold_1/" in read_totalsegmentator(folder, fold="1").facts["from"]


def test_a_folder_of_somebody_elses_is_not_taken_for_one(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no net of TotalSegmentator's"):
        read_totalsegmentator(write_folder(tmp_path))


def test_the_tables_fit_together() -> None:
    numbers = [number for some in TASKS.values() for number in some]
    assert len(numbers) == len(set(numbers)) and set(OPEN) <= set(TASKS)
    assert set(numbers) >= NEED_KEY | NOT_RESAMPLED | EVERY_FOLD | CROPPED
    assert not NEED_KEY & {number for task in OPEN for number in TASKS[task]}
