"""The DICOM objects: valid, equal to the volumes, on the slices they refer to, and the same when made again."""

import json
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import REAL_CT, asked, needs_real_ct
from Testing.engine.dicom.conftest import explained, needs_dciodvfy, needs_dcmqi, tool, verify
from Testing.engine.dicom.series import HEAD_FIRST, PRONE, UPRIGHT, write_series
from unoise_engine.batch.run import explain_all
from unoise_engine.errors import CaseRefused, EngineError, MissingExtra, Usage
from unoise_engine.explanation.hiding import tolerance
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.results.dicom.anatomy import body_part, organ_code
from unoise_engine.results.dicom.font import text_dots
from unoise_engine.results.dicom.origin import Origin
from unoise_engine.results.dicom.picture import INFERNO, OUTLINE, Style, draw
from unoise_engine.results.dicom.result import DicomResult
from unoise_engine.results.dicom.slices import GridSlices
from unoise_engine.results.dicom.source import read_source
from unoise_engine.results.shown import Scale
from unoise_engine.typed import build
from unoise_engine.volume.find import find_cases

TILTED = (np.cos(0.3), np.sin(0.3), 0, -np.sin(0.3) * np.cos(0.2), np.cos(0.3) * np.cos(0.2), -np.sin(0.2))
WORLDS = {"upright": UPRIGHT, "head first": HEAD_FIRST, "prone": PRONE, "oblique": TILTED}
MAPS = ("importance-unoise", "importance-gradcam")
SCHEME = "CodingSchemeDesignator"


@pytest.fixture(scope="module", params=WORLDS)
def both(request: pytest.FixtureRequest, pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same CT explained as DICOM and as NRRD."""
    home = tmp_path_factory.mktemp("both")
    ct = write_series(home / "ct", WORLDS[request.param])
    return tuple(explained(ct, home / kind, pancreas_bundle, kind) for kind in ("dicom", "nrrd"))


def volume(folder: Any, name: Any) -> Any:
    return sitk.ReadImage(str(folder / f"{name}.nrrd"))


def affine(image: Any) -> Any:
    """4 x 4, index (x, y, z) to LPS millimetres."""
    m = np.eye(4)
    m[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    m[:3, 3] = image.GetOrigin()
    return m


def assert_same_image(found: Any, wanted: Any) -> None:
    """Equal values at equal places, whichever way the found one stores its axes."""
    assert sorted(found.GetSize()) == sorted(wanted.GetSize())
    values, reference = sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted)
    assert np.ptp(reference) > 0
    index = np.indices(reference.shape).reshape(3, -1)[::-1]  # x, y, z
    world = affine(wanted)[:3, :3] @ index + affine(wanted)[:3, 3:]
    there = np.linalg.inv(affine(found)) @ np.vstack([world, np.ones(world.shape[1])])
    assert np.abs(there[:3] - np.rint(there[:3])).max() < 1e-2
    x, y, z = np.rint(there[:3]).astype(int)
    assert min(x.min(), y.min(), z.min()) >= 0
    np.testing.assert_array_equal(values[z, y, x], reference.ravel())


@needs_dciodvfy
def test_dciodvfy_finds_no_error(both: Any) -> None:
    objects = sorted(both[0].rglob("*.dcm"))
    assert len(objects) > 3
    assert {p.name: e for p in objects if (e := verify(p))} == {}


def test_highdicom_reads_back_what_was_computed(both: Any) -> None:
    """Frame for frame, by the plane positions that highdicom finds, against the NRRD."""
    dicom, nrrd = both
    for name in ("segmentation", *MAPS):
        if name == "segmentation":
            found = hd.seg.segread(dicom / f"{name}.dcm").get_volume(combine_segments=True)
        else:
            found = hd.pm.ParametricMap.from_dataset(pydicom.dcmread(dicom / f"{name}.dcm")).get_volume()
        wanted = volume(nrrd, name)
        back = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(found.array).transpose(2, 1, 0)))
        m = np.asarray(found.affine)
        spacing = np.linalg.norm(m[:3, :3], axis=0)
        back.SetSpacing([float(v) for v in spacing])
        back.SetOrigin([float(v) for v in m[:3, 3]])
        back.SetDirection((m[:3, :3] / spacing).ravel().tolist())
        assert_same_image(back, wanted)


@needs_dcmqi
def test_dcmqi_reads_back_what_was_computed(both: Any, tmp_path: Path) -> None:
    dicom, nrrd = both
    named = ("--inputDICOM", dicom / "segmentation.dcm", "--outputDirectory", tmp_path, "-t", "nrrd", "-p", "seg")
    subprocess.run([tool("segimage2itkimage"), *named], check=True, capture_output=True)
    assert_same_image(sitk.ReadImage(str(tmp_path / "seg-1.nrrd")), volume(nrrd, "segmentation"))
    for name in MAPS:
        out = tmp_path / name
        out.mkdir()
        subprocess.run(
            [tool("paramap2itkimage"), "--inputDICOM", dicom / f"{name}.dcm", "--outputDirectory", out, "-t", "nrrd"],
            check=True,
            capture_output=True,
        )
        assert_same_image(sitk.ReadImage(str(next(out.glob("*.nrrd")))), volume(nrrd, name))


def test_every_frame_refers_to_the_slice_it_lies_on(result: Any, series: Any) -> None:
    sources = {d.SOPInstanceUID: d for d in (pydicom.dcmread(p) for p in series.iterdir())}
    for name in ("segmentation", *MAPS):
        ds = pydicom.dcmread(result / f"{name}.dcm")
        assert int(ds.NumberOfFrames) == len(sources) == len(ds.PerFrameFunctionalGroupsSequence)
        assert ds.StudyInstanceUID == "1.2.826.0.1.3680043.8.498.1"
        assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.826.0.1.3680043.8.498.2"
        for frame in ds.PerFrameFunctionalGroupsSequence:
            source = frame.DerivationImageSequence[0].SourceImageSequence[0]
            slice_ = sources[source.ReferencedSOPInstanceUID]
            assert frame.PlanePositionSequence[0].ImagePositionPatient == slice_.ImagePositionPatient
    for path in result.glob("overlay-*.dcm"):
        assert pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID in sources


def test_objects_say_what_they_are(result: Any) -> None:
    seg = pydicom.dcmread(result / "segmentation.dcm")
    organ = seg.SegmentSequence[0]
    kind, category = organ.SegmentedPropertyTypeCodeSequence[0], organ.SegmentedPropertyCategoryCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("15776009", "SCT")  # SNOMED CT: pancreas
    assert (category.CodeValue, category.CodingSchemeDesignator) == ("91723000", "SCT")  # anatomical structure
    assert (seg.SegmentationType, seg.BitsAllocated) == ("BINARY", 1)
    assert organ.SegmentAlgorithmType == "AUTOMATIC"
    model = json.loads((result / "report.json").read_text())["model"]["sha256"]
    algorithms = [organ.SegmentationAlgorithmIdentificationSequence[0]]
    for name in MAPS:
        ds = pydicom.dcmread(result / f"{name}.dcm")
        algorithms += ds.DerivationAlgorithmSequence
        mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
        values = np.frombuffer(ds.FloatPixelData, np.float32)
        assert mapping.DoubleFloatRealWorldValueFirstValueMapped == values.min()
        assert mapping.DoubleFloatRealWorldValueLastValueMapped == values.max()
        (scheme,) = ds.CodingSchemeIdentificationSequence
        assert (
            scheme.CodingSchemeDesignator == mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0][SCHEME].value
        )
    for ds in (pydicom.dcmread(p) for p in result.rglob("*.dcm")):
        assert ds.ContentQualification == "RESEARCH"
        assert ds.DeviceSerialNumber == model
    assert len(algorithms) == 3
    for algorithm in algorithms:
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
        assert model in algorithm.AlgorithmParameters


def test_a_second_run_gives_the_same_bytes(result: Any, series: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    second = explained(series, tmp_path, pancreas_bundle)
    names = sorted(p.relative_to(result) for p in result.rglob("*.dcm"))
    assert names == sorted(p.relative_to(second) for p in second.rglob("*.dcm"))
    for name in names:
        assert (result / name).read_bytes() == (second / name).read_bytes(), name


def test_another_model_or_setting_gives_another_identity(
    result: Any, series: Any, tiny_bundle: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    def uids(folder: Any, name: Any) -> Any:
        ds = pydicom.dcmread(folder / name, stop_before_pixels=True)
        assert ds.SOPInstanceUID.startswith("2.25.")
        return ds.SOPInstanceUID, ds.SeriesInstanceUID

    methods = ("unoise", "occlusion")
    few = {"slices": (2, 4), "methods": methods}
    first = explained(series, tmp_path / "a", pancreas_bundle, **few)
    patch = explained(series, tmp_path / "b", pancreas_bundle, parameters={"occlusion": Occlusion(9)}, **few)
    model = explained(series, tmp_path / "c", tiny_bundle, **few)
    names = ("segmentation.dcm", "importance-unoise.dcm", "importance-occlusion.dcm")
    assert [uids(first, n) == uids(patch, n) for n in names] == [True, True, False]
    assert uids(model, names[0]) != uids(first, names[0]) != uids(result, names[0])
    everything = [str(pydicom.dcmread(p).SOPInstanceUID) for p in result.rglob("*.dcm")]
    assert len(set(everything)) == len(everything)


ORIGIN = Origin("pancreas", "tiny", "0" * 64, "0", "not for clinical use", (0, 6))


def test_what_an_identity_is_made_of(result: Any, series: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    uid = ORIGIN.uid(("1.2",), "importance-occlusion", "instance")
    others = [
        replace(ORIGIN, model_hash="1" * 64), replace(ORIGIN, engine_version="1"), replace(ORIGIN, slices=(0, 5)),
        replace(ORIGIN, parameters=lambda: {"importance-occlusion": "patch=9"}),
    ]  # fmt: skip
    made = [one.uid(("1.2",), "importance-occlusion", "instance") for one in others]
    made += [ORIGIN.uid(("1.3",), "importance-occlusion", "instance"), ORIGIN.uid(("1.2",), "segmentation", "instance")]
    assert len({uid, *made}) == 7
    same = [
        replace(ORIGIN, parameters=lambda: {"importance-gradcam": "x"}),
        replace(ORIGIN, titles={"a": "b"}, warning="!"),
    ]
    assert [one.uid(("1.2",), "importance-occlusion", "instance") for one in same] == [uid, uid]
    assert not {"device", "threads", "methods"} & {f.name for f in fields(Origin)}
    # The same bytes, whichever other methods were asked for, and in whatever order.
    alone = explained(series, tmp_path, pancreas_bundle, methods=("gradcam",))
    assert len(list(alone.glob("*.dcm"))) > 3
    for path in alone.glob("*.dcm"):
        assert path.read_bytes() == (result / path.name).read_bytes(), path.name


def test_only_explained_slices_are_segmented_and_maps_say_which(
    series: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    part = explained(series, tmp_path / "a", pancreas_bundle, slices=(2, 5))
    whole = explained(series, tmp_path / "b", pancreas_bundle, "nrrd", slices=(2, 5))
    seg = hd.seg.segread(part / "segmentation.dcm")
    found = [float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in seg.PerFrameFunctionalGroupsSequence]
    assert sorted(found) == [16.0, 19.0, 22.0]
    wanted = sitk.GetArrayFromImage(volume(whole, "segmentation"))
    assert wanted[2:5].any() and not wanted[:2].any()
    np.testing.assert_array_equal(seg.pixel_array[np.argsort(found)], wanted[2:5])
    for name in MAPS:  # viewers wait for a frame of every slice
        ds = pydicom.dcmread(part / f"{name}.dcm")
        assert int(ds.NumberOfFrames) == 6
        np.testing.assert_array_equal(ds.pixel_array, sitk.GetArrayFromImage(volume(whole, name)))
        assert ds.pixel_array[2:5].any() and not ds.pixel_array[[0, 1, 5]].any()
        said = [f.FrameContentSequence[0].get("FrameComments", "") for f in ds.PerFrameFunctionalGroupsSequence]
        assert [bool(s) for s in said] == [True, True, False, False, False, True]
        assert "not explained" in said[0]


@needs_dciodvfy
def test_an_odd_number_of_pixels(pancreas_bundle: Any, tmp_path: Path) -> None:
    """61 x 61: neither the bits of a frame nor the bytes of a picture come to an even number."""
    ct = write_series(tmp_path / "ct", size=61)
    dicom, nrrd = (explained(ct, tmp_path / kind, pancreas_bundle, kind) for kind in ("dicom", "nrrd"))
    assert {p.name: e for p in dicom.rglob("*.dcm") if (e := verify(p))} == {}
    seg, wanted = hd.seg.segread(dicom / "segmentation.dcm"), sitk.GetArrayFromImage(volume(nrrd, "segmentation"))
    np.testing.assert_array_equal(seg.pixel_array, wanted)
    picture = pydicom.dcmread(next(dicom.glob("overlay-*.dcm")))
    assert picture.Rows * picture.Columns % 2 and picture.pixel_array.shape == (picture.Rows, picture.Columns, 3)


def test_no_organ_is_a_result(pancreas_bundle: Any, tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", bright=40, edit=_without_the_dot)
    folder = explained(ct, tmp_path / "out", pancreas_bundle)
    assert not hd.seg.segread(folder / "segmentation.dcm").pixel_array.any()
    assert len(list(folder.glob("overlay-*.dcm"))) == 2  # the middle slice, by each method
    for path in folder.rglob("*.dcm"):
        assert pydicom.dcmread(path).SOPInstanceUID


def _without_the_dot(ds: Any) -> None:
    hu = np.frombuffer(ds.PixelData, np.int16).copy()
    hu[hu > 40] = 40
    ds.PixelData = hu.tobytes()


def test_overlay_is_one_colour_series_with_words_beside_the_patient(result: Any) -> None:
    images = [pydicom.dcmread(p) for p in sorted(result.glob("overlay-*.dcm"))]
    assert len(images) >= 2 * 4
    assert len({i.SeriesInstanceUID for i in images}) == len({(i.Rows, i.Columns) for i in images}) == 1
    numbers = [int(i.InstanceNumber) for i in images]  # files in order are gradcam's, then unoise's, from the feet
    assert numbers == sorted(numbers[: len(images) // 2]) + sorted(numbers[len(images) // 2 :])
    assert len(set(numbers)) == len(numbers) and min(numbers) == numbers[len(images) // 2] < numbers[0]
    for image in images:
        assert (image.PhotometricInterpretation, image.SamplesPerPixel, image.Modality) == ("RGB", 3, "OT")
        rgb = image.pixel_array
        assert (rgb == OUTLINE).all(axis=-1).any() or "organ" not in image.DerivationDescription
        orange = (rgb == (255, 179, 71)).all(axis=-1)
        assert orange.any()
        assert orange[: orange.any(axis=1).argmax()].sum() == 0
        assert image.Rows - orange.any(axis=1).argmax() < image.Rows - 64  # below the CT's 64 rows and the legend


def test_picture_against_pixels_by_hand() -> None:
    hu = np.full((40, 300), 40.0)
    hu[0, 0], hu[0, 1] = -2000, 2000
    organ = np.zeros(hu.shape, bool)
    organ[20:25, 100:105] = True
    importance = np.zeros(hu.shape, np.float32)
    importance[30, 200], importance[30, 201], importance[30, 202] = 8.0, -3.0, 4.0
    style = Style(("HEAD",), "not for clinical use", 8.0, ("R", "A"))
    picture = draw(hu, organ, importance, style, "SLICE 1")
    top = 10 * 2 + 2
    ct = picture[top : top + 40]
    assert ct[5, 250].tolist() == [128, 128, 128]  # the middle of the window
    assert ct[0, 0].tolist() == [0, 0, 0] and ct[0, 1].tolist() == [255, 255, 255]
    ring = (ct == OUTLINE).all(axis=-1)
    assert ring.sum() == 16 and ring[20:25, 100:105].sum() == 16 and not ring[22, 102]
    np.testing.assert_allclose(ct[30, 200], 0.85 * INFERNO[-1] + 0.15 * 128, atol=1)
    assert ct[30, 201].tolist() == [128, 128, 128]  # negative importance is not shown
    np.testing.assert_allclose(ct[30, 202], 0.85 * INFERNO[4] + 0.15 * 128, atol=1)
    words = (picture[-(7 + 3) - 2 :] == (255, 179, 71)).all(axis=-1)
    dots = text_dots("not for clinical use")
    np.testing.assert_array_equal(words[2:9, 2 : 2 + dots.shape[1]], dots)


def test_the_objects_tell_noise_in_hu(series: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    """0 of the nets' noise is 500 HU; what the display map stores is turned into HU by its own mapping."""
    chosen = {"methods": ("unoise", "gradcam"), "display_maps": True}
    folder = explained(series, tmp_path, pancreas_bundle, **chosen)
    logits, display = (pydicom.dcmread(folder / f"{kind}-unoise.dcm") for kind in ("importance", "display"))
    wanted = 500 * tolerance(logits.pixel_array)
    mapping = display.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    unit = mapping.MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[hnsf'U]", "UCUM")
    told = display.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    assert told == pytest.approx(wanted, abs=1e-3) and np.ptp(wanted) > 20
    assert display.pixel_array.min() >= 0 and display.pixel_array.max() == 1
    least = f"{wanted.min():.0f} HU"
    assert mapping.LUTExplanation == f"noise borne; 0: 500 HU, 1: {least}"
    mapping = logits.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"  # no line turns logits into HU
    assert mapping.LUTExplanation == f"-logit of noise borne; 0: 250 HU, {logits.pixel_array.max():.3g}: {least}"
    other = pydicom.dcmread(folder / "display-gradcam.dcm")
    mapping = other.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1" and mapping.RealWorldValueSlope == 1


def test_pictures_say_what_both_ends_of_the_bar_mean(series: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    """Read back letter by letter, as far as a line is wide; the map lies over the CT as its scale has it."""
    folder = explained(series, tmp_path, pancreas_bundle)
    report = json.loads((folder / "report.json").read_text())
    for method in ("unoise", "gradcam"):
        scale = build(Scale, report["scales"][method])
        values = pydicom.dcmread(folder / f"importance-{method}.dcm").pixel_array
        low, high = scale.ends(scale.top(float(values.max())))
        image = pydicom.dcmread(next(folder.glob(f"overlay-{method}-*.dcm"))).pixel_array
        white = (image == 255).all(axis=-1)
        for line in (f"importance for pancreas ({scale.unit})", f"dark: {low}", f"bright: {high}"):
            dots = text_dots(line)[:, : image.shape[1] - 2]
            rows = [r for r in range(len(white) - 7) if np.array_equal(white[r : r + 7, 2 : 2 + dots.shape[1]], dots)]
            assert len(rows) == 1, line


def test_letters_are_letters() -> None:
    """A few glyphs as a person reads them."""
    rows = ["".join(" #"[d] for d in row).rstrip() for row in text_dots("L1T").astype(int)]
    assert rows[0] == "#       #   #####"
    assert rows[6] == "#####  ###    #"
    assert all(text_dots(c).any() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;/()-%+")


def test_organ_codes() -> None:
    assert organ_code("pancreas").value == "15776009"
    assert organ_code("adrenal gland").scheme_designator == "SCT"
    assert organ_code("bright").scheme_designator == "99UNOISE"
    assert organ_code("kidney_right") == organ_code("Kidney") != organ_code("kidney+liver")
    assert organ_code("vertebrae_C3").meaning == "C3 vertebra" and organ_code("lung_upper_lobe_left").value
    assert organ_code("kidney+liver").scheme_designator == "99UNOISE" and organ_code("left").scheme_designator
    assert (body_part("kidney_right"), body_part("lung")) == ("ABDOMEN", "WHOLEBODY")


SOURCES: dict[str, dict[str, Any]] = {
    "no slice thickness": {"SliceThickness": None},
    "empty slice thickness": {"SliceThickness": ""},
    "lossy": {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 12,
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
    "lossy, ratio unknown": {"LossyImageCompression": "01"},
    "no patient at all": dict.fromkeys(["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"]),
    "no study at all": dict.fromkeys(["StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyInstanceUID"]),
    "no frame of reference": {"FrameOfReferenceUID": None, "PositionReferenceIndicator": None},
    "ends of names": {"PatientName": "Bono", "ReferringPhysicianName": "A^B^C^D^E"},
}


@needs_dciodvfy
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.filterwarnings("ignore")
def test_poor_sources_give_valid_objects(name: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", slices=3, **SOURCES[name])
    folder = explained(ct, tmp_path / "out", pancreas_bundle, methods=("unoise",))
    assert {p.name: e for p in folder.rglob("*.dcm") if (e := verify(p))} == {}
    lossy = {pydicom.dcmread(p).LossyImageCompression for p in folder.rglob("*.dcm")}
    assert lossy == {"01" if name.startswith("lossy") else "00"}


@needs_real_ct
def test_real_series_with_empty_uids(pancreas_bundle: Any, tmp_path: Path) -> None:
    """Its SOP, Study and Series UIDs are empty: mended, said so, and each object valid."""
    folder = explained(REAL_CT, tmp_path / "a", pancreas_bundle, methods=("unoise",), slices=(8, 11))
    report = json.loads((folder / "report.json").read_text())
    assert report["status"] == "CORRECTED"
    for word in ("SOP Class UID", "SOP Instance UID", "Study Instance UID", "Series Instance UID"):
        assert any(word in note and "missing" in note for note in report["corrections"])
    objects = sorted(folder.rglob("*.dcm"))
    assert len(objects) >= 3
    if shutil.which("dciodvfy"):
        assert {p.name: e for p in objects if (e := verify(p))} == {}
    assert {str(pydicom.dcmread(p).StudyInstanceUID)[:5] for p in objects} == {"2.25."}
    wanted = {pydicom.dcmread(p).file_meta.MediaStorageSOPInstanceUID for p in REAL_CT.iterdir()}
    seg = pydicom.dcmread(folder / "segmentation.dcm")
    assert {i.ReferencedSOPInstanceUID for i in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence} <= wanted


def test_other_inputs_and_wrong_wishes_are_refused_before_work(
    ct_file: Any,
    series: Any,
    tiny_bundle: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert explain_all(asked((ct_file,), out, bundle=str(tiny_bundle), format="dicom"), "off") == 1
    said = capsys.readouterr().err
    assert "REFUSED NOT_DICOM" in said and "--format nifti" in said
    assert [*out.rglob("*.dcm"), *out.rglob("report.json")] == []
    with pytest.raises(Usage, match="--de-identify"):
        explain_all(asked((series,), out, bundle=str(tiny_bundle), de_identify=True), "off")
    with pytest.raises(Usage, match="unknown"):
        explain_all(asked((series,), out, bundle=str(tiny_bundle), format="jpeg"), "off")
    monkeypatch.setattr(
        "unoise_engine.results.settings.find_spec",
        lambda name: None,
    )
    with pytest.raises(MissingExtra, match=r"run: pip install .*highdicom"):
        explain_all(asked((series,), out, bundle=str(tiny_bundle), format="dicom"), "off")


def test_a_ct_that_left_its_slices_is_refused(series: Any) -> None:

    reading = find_cases([series])[0].read()
    images = [*zip(reading.slice_files, reading.slice_frames)]
    read_source(images, GridSlices(reading.ct.grid), "ct")
    moved = replace(reading.ct.grid, origin_mm=(-59.0, -70.0, 10.0))
    for some, grid in ((images, moved), (images[::-1], reading.ct.grid), (images[:1] * 6, reading.ct.grid)):
        with pytest.raises(CaseRefused, match="another grid"):
            read_source(some, GridSlices(grid), "ct")
    with pytest.raises(CaseRefused, match="did not come as DICOM"):
        read_source([], GridSlices(reading.ct.grid), "ct")


class Tilted(GridSlices):
    """Slices a tilted gantry took: each 1 mm further to the back than the one below. Results come from a known rule."""

    def __init__(self, grid: Any) -> None:
        super().__init__(grid)
        self.corners_mm = self.corners_mm + np.arange(len(self.corners_mm))[:, None] * [0, 1.0, 0]

    def bring_back(self, result: Any, labels: Any = False, low: Any = 0, high: Any = None) -> Any:
        back = np.roll(result.voxels, 3, axis=2)[low:high]
        return iter(back if labels else back + np.float32(1))


@needs_dciodvfy
def test_results_of_a_resampled_ct_lie_on_the_slices_as_taken(tmp_path: Path) -> None:
    def tilt(ds: Any) -> None:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y + int(ds.InstanceNumber) - 1, z]

    straight = find_cases([write_series(tmp_path / "straight")])[0].read()
    taken = [(p, 1) for p in sorted(write_series(tmp_path / "tilted", edit=tilt).iterdir(), reverse=True)]
    slices = Tilted(straight.ct.grid)
    with pytest.raises(CaseRefused, match="another grid"):
        DicomResult(straight.ct, taken, ORIGIN, "ct")
    writer = DicomResult(straight.ct, taken, ORIGIN, "ct", slices=slices)
    mask = straight.ct.with_voxels((straight.ct.voxels > 100).astype(np.uint8))
    importance = straight.ct.with_voxels(straight.ct.voxels.astype(np.float32))
    files = writer.write("segmentation", mask, tmp_path) | writer.write("importance-unoise", importance, tmp_path)
    assert {name: verify(tmp_path / path) for name, path in files.items()} == {name: [] for name in files}
    for name, wanted in (
        ("segmentation", np.stack([*slices.bring_back(mask, True)])),
        ("importance-unoise", np.stack([*slices.bring_back(importance)])),
    ):
        ds = pydicom.dcmread(tmp_path / files[name])
        frames = ds.PerFrameFunctionalGroupsSequence
        corners = np.array([f.PlanePositionSequence[0].ImagePositionPatient for f in frames], float)
        np.testing.assert_allclose(corners, slices.corners_mm, atol=1e-6)
        np.testing.assert_array_equal(ds.pixel_array, wanted)


def test_failure_leaves_earlier_results_and_nothing_half_written(
    series: Any, pancreas_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = explained(series, tmp_path, pancreas_bundle)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    request = asked(
        (series,), tmp_path, methods=("unoise",), bundle=str(pancreas_bundle), format="dicom", overwrite=True
    )
    with pytest.raises(EngineError, match=r"[^.]case-0001 - cannot be written \(disk full"):
        explain_all(request, "off")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert not [p for p in tmp_path.rglob(".*") if p.suffix == ".dcm" or "partial" in p.name]


@needs_dciodvfy
def test_display_maps_are_shares_of_the_largest_value(
    series: Any, result: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    """Beside the values, which stay as they are, to the last byte."""
    folder = explained(series, tmp_path, pancreas_bundle, display_maps=True)
    again = explained(series, tmp_path / "again", pancreas_bundle, display_maps=True)
    report = json.loads((folder / "report.json").read_text())
    assert report["settings"]["display_maps"] is True
    uids = set()
    for name in MAPS:
        assert (folder / f"{name}.dcm").read_bytes() == (result / f"{name}.dcm").read_bytes()
        shown = name.replace("importance", "display")
        assert report["files"][shown] == f"{shown}.dcm" and not (result / f"{shown}.dcm").exists()
        assert verify(folder / f"{shown}.dcm") == []
        assert (folder / f"{shown}.dcm").read_bytes() == (again / f"{shown}.dcm").read_bytes()
        values, ds = (pydicom.dcmread(folder / f"{n}.dcm") for n in (name, shown))
        scale = build(Scale, report["scales"][name.removeprefix("importance-")])
        seen = np.stack([scale.counted(frame) for frame in values.pixel_array])
        assert ds.pixel_array == pytest.approx(seen / seen.max(), abs=1e-6)
        assert ds.pixel_array.max() == 1 and values.pixel_array.max() != 1
        mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        least = scale.told(500 - seen.max()) if scale.most else f"{seen.max():.6g}"
        assert least in mapping.LUTExplanation
        uids |= {ds.SeriesInstanceUID, values.SeriesInstanceUID, ds.SOPInstanceUID, values.SOPInstanceUID}
    assert len(uids) == 4 * len(MAPS)
    with pytest.raises(Usage, match="--display-maps"):
        explain_all(asked((series,), tmp_path / "no", display_maps=True), "off")


def test_a_map_of_zeros_is_shown_as_zeros(series: Any, tmp_path: Path) -> None:
    reading = find_cases([series])[0].read()
    images = [*zip(reading.slice_files, reading.slice_frames)]
    writer = DicomResult(reading.ct, images, ORIGIN, "ct", display_maps=True)
    nothing = reading.ct.with_voxels(np.zeros(reading.ct.voxels.shape, np.float32))
    below = reading.ct.with_voxels(np.full(reading.ct.voxels.shape, -1, np.float32))
    writer.write("segmentation", reading.ct.with_voxels(np.zeros(reading.ct.voxels.shape, np.uint8)), tmp_path)
    for name, importance in {"zeros": nothing, "below": below}.items():
        (tmp_path / name).mkdir()
        files = writer.write("importance-unoise", importance, tmp_path / name)
        assert not pydicom.dcmread(tmp_path / name / files["display-unoise"]).pixel_array.any()
