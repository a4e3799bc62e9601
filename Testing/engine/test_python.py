"""`unoise_engine.explain` from Python: every way to give a CT, and what comes back."""

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import unoise_engine
from Testing.engine.conftest import ellipsoid_ct, image_of, write_tiny_bundle
from Testing.engine.dicom.series import write_series
from unoise_engine.errors import CaseRefused, MissingExtra, Usage
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.models.bundles import load_bundle
from unoise_engine.results import explanation

nibabel = pytest.importorskip("nibabel", reason="nibabel: pip install nibabel")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("python")), "cpu")


def turned(code: str = "LPS") -> sitk.Image:
    return sitk.DICOMOrient(image_of(ellipsoid_ct()), code)


def test_what_there_is() -> None:
    assert dir(unoise_engine) == unoise_engine.__all__ and "explain" in unoise_engine.__all__
    assert all(getattr(unoise_engine, name) for name in unoise_engine.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'explian'"):
        _ = unoise_engine.explian


def test_without_anything_asked_for_the_usual_methods(ct: Any, tiny: Any, tiny_bundle: Any) -> None:
    found = unoise_engine.explain(ct, bundle=tiny_bundle, device="cpu")
    assert [*found] == ["segmentation", "unoise", "gradcam"] == ["segmentation", *found.maps]
    again = unoise_engine.explain(ct, "unoise", tiny)
    assert np.array_equal(again["unoise"], found["unoise"]) and found["unoise"].dtype == np.float32
    assert found.ct.grid == ct.grid == found.volume("gradcam").grid
    assert set(np.unique(found.segmentation)) == {0, 3}
    assert found.organ_ml == pytest.approx(np.count_nonzero(found.segmentation) * ct.grid.voxel_ml, abs=1e-3)
    areas = (found.segmentation > 0).sum(axis=(1, 2))
    assert found.axial_slice is not None and areas[found.axial_slice - 1] == areas.max()
    assert repr(found).startswith(f"<Explanation: bright {found.organ_ml:.1f} ml in 48 x 40 x 10 voxels; segmentation")
    assert len(repr(found)) < 200
    with pytest.raises(KeyError, match="importance-unoise: there are segmentation, unoise, gradcam"):
        _ = found["importance-unoise"]


@pytest.mark.parametrize("code", ["LPS", "RAS", "SPL", "PIR", "LAI"])
def test_however_it_is_given_the_result_lies_at_the_same_place(tiny: Any, tmp_path: Path, code: str) -> None:
    """A file by our reader, by SimpleITK and by nibabel; the array of the latter two in memory."""
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(turned(code), str(path))
    image, loaded = sitk.ReadImage(str(path)), nibabel.load(path)
    array = sitk.GetArrayFromImage(image)
    before = array.copy()
    ways: dict[str, Any] = {
        "SimpleITK": unoise_engine.explain(image, "unoise", tiny),
        "nibabel": unoise_engine.explain(loaded, "unoise", tiny),
        "nibabel in memory": unoise_engine.explain(
            nibabel.Nifti1Image(loaded.get_fdata(), loaded.affine), "unoise", tiny
        ),
        "array": unoise_engine.explain(
            array, "unoise", tiny, spacing=image.GetSpacing(), origin=image.GetOrigin(), direction=image.GetDirection()
        ),
    }
    want = unoise_engine.explain(path, "unoise", tiny)
    assert want.segmentation.any() and np.array_equal(array, before)
    for way, got in ways.items():
        assert np.array_equal(got.segmentation, want.segmentation), way
        assert np.allclose(got["unoise"], want["unoise"], atol=1e-4), way
        for one in (got.to_sitk("unoise"), got.to_sitk("segmentation")):
            assert one.GetSize() == image.GetSize(), way
            for corner in ((0, 0, 0), (9, 3, 1)):
                place = one.TransformIndexToPhysicalPoint(corner)
                assert np.allclose(place, image.TransformIndexToPhysicalPoint(corner), atol=1e-3), way


def test_an_array_lies_with_its_feet_first_unless_told_otherwise(tiny: Any) -> None:
    array = ellipsoid_ct(spacing_mm=(1.5, 1.5, 4.0), shape=(10, 64, 80)).voxels
    found = unoise_engine.explain(array, "unoise", tiny, spacing=(1.5, 1.5, 4.0))
    assert found.ct.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1) and found.ct.grid.origin_mm == (0, 0, 0)
    assert found.to_sitk("unoise").GetSpacing() == (1.5, 1.5, 4.0)


def test_what_is_in_memory_is_checked_as_files_are_and_not_changed(tiny: Any) -> None:
    padded = ellipsoid_ct().voxels
    padded[:, :3] = -3024
    before = padded.copy()
    found = unoise_engine.explain(padded, "unoise", tiny, spacing=(1.5, 2.5, 4.0), slices=3)
    assert np.array_equal(padded, before) and -1100 < found.ct.voxels.min() <= -1024
    assert any("padding" in note for note in found.notes)
    for picture in (np.clip(padded, 0, 255).astype(np.uint8), np.clip(padded, 0, 4000)):
        with pytest.raises(CaseRefused, match="the array"):
            unoise_engine.explain(picture, "unoise", tiny, spacing=(1.5, 2.5, 4.0))
    assert unoise_engine.explain(np.clip(padded, 0, 4000), "unoise", tiny, spacing=(1.5, 2.5, 4.0), trust_hu=True)


def test_sheared_axes_in_memory_are_made_upright(tiny: Any) -> None:
    voxels = ellipsoid_ct((10, 64, 64)).voxels.T
    affine = np.diag([-1.5, -1.5, 4.0, 1.0])
    affine[1, 2] = 1.0
    found = unoise_engine.explain(nibabel.Nifti1Image(voxels, affine), "unoise", tiny)
    assert any("sheared" in note for note in found.notes) and found.segmentation.any()


def nifti(**form: Any) -> Any:
    image = nibabel.Nifti1Image(ellipsoid_ct().voxels.T, np.diag([-1.5, -2.5, 4.0, 1]))
    for name, (affine, code) in form.items():
        getattr(image.header, name)(affine, code)
    return image


SHAPED, LPS = np.zeros((4, 9, 9)), {"spacing": (1, 1, 1)}


@pytest.mark.parametrize(("given", "how", "said"), [
    (123, {}, "the int - is nothing that a CT can be read from - give a path, a SimpleITK.Image"),
    ([1, 2], {}, "the list - is nothing"),
    (None, {}, "the NoneType - is nothing"),
    (np.zeros((4, 4)), LPS, r"the array \(4, 4\) - is not 3-D"),
    (SHAPED, {}, "spacing - is missing: an array does not say"),
    (SHAPED, {"spacing": (1, 1)}, r"spacing \(1, 1\) - is not 3 numbers"),
    (SHAPED, {"spacing": "abc"}, "spacing abc - is not 3 numbers"),
    (SHAPED, {"spacing": (5, 0.8, 0.8)}, r"looks like \(z, y, x\) - give \(0.8, 0.8, 5\)"),
    (SHAPED, {**LPS, "direction": np.ones(9)}, "no axes at right angles"),
    (SHAPED, {"spacing": (-1, -1, 1)}, "is not above 0"),
    (SHAPED * 1j, LPS, "voxels of the type complex128"),
    (SHAPED, LPS, "has the value 0 everywhere"),
    (SHAPED * np.nan, LPS, "no finite voxel"),
    ("no-such-file.nii", LPS, "spacing, origin, direction - are for arrays, and a file"),
    ("no-such-file.nii", {}, "does not exist"),
    (turned(), LPS, "are for arrays, and the Image has its own"),
    (sitk.Image(9, 9, sitk.sitkInt16), {}, r"has 2 axes \(9 x 9\)"),
    (sitk.Image([9, 9, 9], sitk.sitkVectorInt16, 3), {}, "several values a voxel"),
    (nibabel.Nifti1Image(SHAPED.astype(np.int16), None), {}, "does not say which side is up or left"),
    (nibabel.Nifti1Image(np.zeros((9, 9, 4, 2), np.int16), np.eye(4)), {}, r"has 4 axes \(9 x 9 x 4 x 2\)"),
    (nifti(set_sform=(None, 0), set_qform=(None, 0)), {}, "does not say which side is up or left"),
    (nifti(set_qform=(np.diag([1.5, -2.5, 4.0, 1]), 1)), {}, "mm apart by its two orientations"),
])  # fmt: skip
def test_what_is_no_ct_is_refused_in_one_sentence(tiny: Any, given: Any, how: Any, said: str) -> None:
    with pytest.raises((Usage, CaseRefused), match=said) as refusal:
        unoise_engine.explain(given, "unoise", tiny, **how)
    assert str(refusal.value).count(" - ") >= 2 and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("how", "said"), [
    ({"methods": 5}, "5 - are no names"),
    ({"methods": "unoise,magic"}, "magic - unknown method - choose from"),
    ({"label": "bright"}, "label - is chosen when a bundle is opened"),
    ({"slices": (5, 3)}, "slices 5:3 - is no range"),
    ({"slices": slice(2, 4)}, "is no range"),
    ({"slices": 0}, "slices 0:0 - is no range"),
    ({"slices": (9, 11)}, "outside the CT's 10 axial slices"),
])  # fmt: skip
def test_what_is_asked_wrongly_is_said(ct: Any, tiny: Any, how: Any, said: str) -> None:
    with pytest.raises(Usage, match=said):
        unoise_engine.explain(ct, **{"methods": "unoise", "bundle": tiny, **how})


@pytest.mark.parametrize("some", ["4:6", (4, 6), [4, 6]])
def test_slices_are_counted_from_1_at_the_feet(ct: Any, tiny: Any, some: Any) -> None:
    found = unoise_engine.explain(ct, ["unoise"], tiny, slices=some)
    assert [*np.flatnonzero(found["unoise"].any(axis=(1, 2))) + 1] == [4, 5, 6]
    (only,) = np.flatnonzero(unoise_engine.explain(ct, ["unoise"], tiny, slices=5)["unoise"].any(axis=(1, 2))) + 1
    assert only == 5


def test_progress(ct: Any, tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[tuple[str, float]] = []
    unoise_engine.explain(ct, "unoise,gradcam", tiny, progress=lambda *said: heard.append(said))
    for stage in ("segmentation", "unoise", "gradcam"):
        shares = [share for name, share in heard if name == stage]
        assert shares[0] == 0 and shares[-1] == pytest.approx(1) and shares == sorted(shares)
    assert capsys.readouterr() == ("", "")
    unoise_engine.explain(ct, "unoise", tiny, progress=True)
    assert [line.split(" ... ")[0] for line in capsys.readouterr().err.splitlines()][:2] == ["segmentation", "unoise"]


@pytest.mark.pictures
def test_saved_as_the_command_line_saves(tmp_path: Path, ct_file: Path, tiny: Any, tiny_bundle: Any) -> None:
    found = unoise_engine.explain(ct_file, ["unoise", "gradcam"], tiny)
    home = found.save(tmp_path / "mine" / "case-0001")
    command = [
        sys.executable,
        "-m",
        "unoise_engine",
        "explain",
        ct_file,
        "-o",
        tmp_path / "theirs",
        "--bundle",
        tiny_bundle,
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    theirs = tmp_path / "theirs" / "case-0001"
    only_there = {"record.json", "thumbnail.jpg", "view.html"}
    assert {p.name for p in home.iterdir()} == {p.name for p in theirs.iterdir()} - only_there
    for name in ("segmentation.nii.gz", "importance-unoise.nii.gz", "importance-gradcam.nii.gz", "overview.png"):
        assert (home / name).read_bytes() == (theirs / name).read_bytes(), name
    with pytest.raises(unoise_engine.EngineError, match="exists already"):
        found.save(home)
    assert found.save(home, "nrrd", overwrite=True) and (home / "importance-unoise.nrrd").is_file()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(home / "importance-unoise.nrrd"))), found["unoise"])


def test_saved_as_dicom_where_it_came_as_dicom(tmp_path: Path, ct_file: Path, tiny: Any) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "series")
    home = unoise_engine.explain(tmp_path / "series", "unoise", tiny).save(tmp_path / "out", "dicom")
    assert {"segmentation.dcm", "importance-unoise.dcm", "report.json"} <= {p.name for p in home.iterdir()}
    with pytest.raises(CaseRefused, match="DICOM"):
        unoise_engine.explain(ct_file, "unoise", tiny).save(tmp_path / "other", "dicom")
    assert not (tmp_path / "other").exists()


@pytest.mark.pictures
def test_plotted(ct: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = unoise_engine.explain(ct, "unoise,gradcam", tiny)

    def told(figure: Any) -> list[str]:
        return [axes.get_title().partition("\n")[0] for axes in figure.axes if axes.get_title()]

    figure = found.plot()
    assert told(figure) == ["CT and outline", "U-Noise", "Grad-CAM"]
    assert f"axial slice {found.axial_slice} of 10" in str([axes.get_xlabel() for axes in figure.axes])
    assert told(found.plot(1))[0] == "CT (no organ found here)"
    for outside in (0, 11):
        with pytest.raises(Usage, match="choose within 1 to 10"):
            found.plot(outside)
    monkeypatch.setitem(sys.modules, "matplotlib.font_manager", None)
    with pytest.raises(MissingExtra, match="matplotlib - is needed here"):
        found.plot()


def test_one_ct_at_a_time(ct: Any, tiny: Any, tmp_path: Path) -> None:
    sitk.WriteImage(image_of(ct), str(tmp_path / "a.nii.gz"))
    assert unoise_engine.explain(str(tmp_path), "unoise", tiny).segmentation.any()
    sitk.WriteImage(image_of(ellipsoid_ct((10, 48, 48))), str(tmp_path / "b.nii.gz"))
    with pytest.raises(Usage, match="holds 2 CTs - give one of them"):
        unoise_engine.explain(tmp_path, "unoise", tiny)


@pytest.mark.pictures
def test_the_examples_in_the_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (phantom,) = write_phantoms(tmp_path / "phantom", 1, 0, size=96, slices=24)
    phantom.rename(tmp_path / "ct.nii.gz")
    monkeypatch.chdir(tmp_path)
    tried = doctest.testmod(explanation)
    assert tried.attempted >= 8 and not tried.failed and os.path.isdir("results")
