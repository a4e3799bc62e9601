"""DICOM series of MR and PET: read where the model is for them, explained, and written beside their own images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from Testing.engine.conftest import asked
from Testing.engine.dicom.conftest import explained, needs_dciodvfy, verify
from Testing.engine.dicom.series import UPRIGHT, write_enhanced, write_series
from Testing.engine.models.foreign_net import write_caused
from unoise_engine.batch.run import explain_all
from unoise_engine.errors import Usage
from unoise_engine.models.preparation import Preparation, Step, Window
from unoise_engine.volume.find import ReadSettings, find_cases

SAGITTAL = (0, 1, 0, 0, 0, -1)
MR, PT, CT = ReadSettings(modality="MR"), ReadSettings(modality="PT"), ReadSettings()


def write_mr(folder: Path, orientation: Any = UPRIGHT, storage: Any = MRImageStorage, **changes: Any) -> Path:
    """The series of series.py as an MR scanner has it: a body of 400 and a block of 800 in nothing, no rescale."""
    then = changes.pop("edit", lambda ds: None)
    image_type = changes.pop("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"])
    modality = "PT" if storage == PositronEmissionTomographyImageStorage else "MR"

    def edit(ds: Any) -> None:
        hu = np.frombuffer(ds.PixelData, np.int16)
        ds.PixelData = np.select([hu < -500, hu < 100, hu < 500], [0, 400, 800], 600).astype(np.uint16).tobytes()
        ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 0, 12, 11
        ds.Modality, ds.SOPClassUID, ds.EchoTime = modality, storage, 90
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.ImageType = image_type
        for name in ("RescaleIntercept", "RescaleSlope", "RescaleType"):
            delattr(ds, name)
        then(ds)

    return Path(write_series(folder, orientation, edit=edit, **changes))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of MR blocks, one of CT blocks: the block in the middle is a "spot" to both."""
    steps = {"MR": (Step("normalise", (400, 100)),), "CT": (Step("clip", (-200, 300)), Step("normalise", (-200, 100)))}
    window = Window((8, 32, 32), 0.5)
    home = tmp_path_factory.mktemp("bundles")
    return {
        name: write_caused(home / name, Preparation("SAR", 3, steps=some, window=window, modality=name))
        for name, some in steps.items()
    }


def voxels(path: Path, settings: ReadSettings) -> Any:
    (case,) = find_cases([path], settings)
    return case.read()


@pytest.mark.parametrize("orientation", [UPRIGHT, SAGITTAL], ids=["axial", "sagittal"])
@needs_dciodvfy
def test_an_mr_series_is_explained_as_dicom(orientation: Any, bundles: Any, tmp_path: Path) -> None:
    source = write_mr(tmp_path / "mr", orientation)
    how = dict(methods=("gradient",), label="spot", display_maps=True)
    folder = explained(source, tmp_path / "out", bundles["MR"], **how)
    files = sorted(folder.glob("*.dcm"))
    assert len(files) >= 4
    for path in files:
        assert not verify(path), path.name
    found = pydicom.dcmread(folder / "segmentation.dcm")
    originals = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, source.iterdir())}
    marked = 0
    for frame, mask in zip(found.PerFrameFunctionalGroupsSequence, found.pixel_array):
        (reference,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPClassUID == MRImageStorage
        values = originals[reference.ReferencedSOPInstanceUID].pixel_array
        assert not mask[values < 500].any(), "it does not lie on its own image"
        marked += int(mask.sum())
    assert marked > 100
    shown = pydicom.dcmread(next(folder.glob("overlay-*.dcm"))).pixel_array
    grey = (np.ptp(shown, axis=-1) == 0) & (shown[..., 0] > 20) & (shown[..., 0] < 235)
    assert grey.mean() > 0.1, "no window for this image: all is black or white"
    report = json.loads((folder / "report.json").read_text())
    assert "HU" not in " ".join([*report["corrections"], *report["warnings"], *report["notes"]])
    assert report["organ"]["found"]


def test_values_are_as_the_scanner_gave_them(tmp_path: Path) -> None:
    """Nothing is clipped, mended or doubted that would be in HU; each slice has a rescale of its own, as PET does."""
    ct = voxels(write_mr(tmp_path / "mr"), MR).ct.voxels
    assert {*np.unique(ct)} == {0, 400, 600, 800}

    def scaled(ds: Any) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = float(ds.InstanceNumber), 0
        ds.PixelPaddingValue = 600

    reading = voxels(write_mr(tmp_path / "pet", storage=PositronEmissionTomographyImageStorage, edit=scaled), PT)
    assert reading.ct.voxels[5].max() == 6 * 800 or reading.ct.voxels[5].max() == 6 * 400
    assert not (reading.ct.voxels < 0).any() and "HU" not in " ".join(reading.notes)
    assert "pixels marked as padding were set to the least value beside them" in " ".join(reading.notes)


def test_an_enhanced_mr_is_read_too(tmp_path: Path) -> None:
    single = write_series(tmp_path / "single")
    places = write_enhanced(tmp_path / "enhanced", single)
    (path,) = {path for path, _ in places}
    ds = pydicom.dcmread(path)
    ds.Modality, ds.SOPClassUID = "MR", EnhancedMRImageStorage
    ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.save_as(path)
    assert np.array_equal(voxels(path, MR).ct.voxels, voxels(single, CT).ct.voxels)


def test_echoes_of_one_series_are_apart(tmp_path: Path) -> None:
    for k, echo in enumerate((20, 90)):

        def edit(ds: Any, k: int = k, echo: int = echo) -> None:
            ds.EchoTime, ds.SOPInstanceUID = echo, f"{ds.SOPInstanceUID}.{k}"

        write_mr(tmp_path / "mr" / str(k), edit=edit)
    cases = find_cases([tmp_path / "mr"], MR)
    assert len(cases) == 2 and all("echo time" in " ".join(case.notes) for case in cases)


@pytest.mark.parametrize(("of", "model"), [("MR", "CT"), ("CT", "MR")])
def test_a_model_of_another_modality_is_refused_in_one_sentence(
    of: str, model: str, bundles: Any, tmp_path: Path
) -> None:
    source = write_mr(tmp_path / "in") if of == "MR" else write_series(tmp_path / "in")
    for given in (source, next(source.iterdir())):
        with pytest.raises(Usage, match=f"modality {of}, not {model}") as refused:
            explain_all(asked((given,), tmp_path / "out", bundle=str(bundles[model]), label="spot"), "off")
        assert str(refused.value).count(" - ") == 2 and "\n" not in str(refused.value)
    assert not [*tmp_path.glob("out/*/report.json")]


def test_what_has_no_slices_is_no_mr_either(tmp_path: Path) -> None:
    cases: dict[str, dict[str, Any]] = {
        "scout": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "mip": {"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE", "M"]},
        "other class": {"edit": lambda ds: setattr(ds, "SOPClassUID", CTImageStorage)},
    }
    for name, changes in cases.items():
        with pytest.raises(Usage, match="holds no MR image"):
            find_cases([write_mr(tmp_path / name, **changes)], MR)
    with pytest.raises(Usage, match="read from NIfTI, NRRD or MetaImage alone"):
        find_cases(
            [write_mr(tmp_path / "us", edit=lambda ds: setattr(ds, "Modality", "US"))], ReadSettings(modality="US")
        )


def test_a_recipe_for_ct_still_asks_for_hu(bundles: Any, tmp_path: Path, capsys: Any) -> None:
    """An imported model's as any other's."""
    source = write_series(tmp_path / "ct", RescaleIntercept=1024)  # its offset is missing
    how = dict(bundle=str(bundles["CT"]), label="spot", methods=("gradient",))
    assert explain_all(asked((source,), tmp_path / "out", **how), "off") == 1
    assert "REFUSED HU_SUSPECT" in capsys.readouterr().err
