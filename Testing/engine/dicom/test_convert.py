"""Results that exist as volumes become the very objects that `--format dicom` would have written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from Testing.engine.dicom.conftest import explained, needs_dciodvfy, verify
from Testing.engine.dicom.series import HEAD_FIRST, PRONE, UPRIGHT, write_series
from unoise_engine.cli.question import question_from
from unoise_engine.errors import CaseRefused, Environment, Usage
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.progress import Quiet
from unoise_engine.results.convert import Conversion, convert
from unoise_engine.typed import to_table
from unoise_engine.volume.find import find_cases

METHODS = ("unoise", "gradcam", "occlusion")
RESULTS = ("segmentation", *(f"importance-{method}" for method in METHODS))


def write_nrrd(path: Any, voxels: Any, steps_mm: Any, origin_mm: Any) -> Any:
    """Also on sheared axes, which SimpleITK refuses."""
    kinds = {"int16": "short", "uint8": "uchar", "float32": "float"}

    def vector(v: Any) -> str:
        return "(" + ",".join(repr(float(x)) for x in v) + ")"

    header = (
        f"NRRD0004\ntype: {kinds[voxels.dtype.name]}\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(str(n) for n in reversed(voxels.shape))}\n"
        f"space directions: {' '.join(vector(v) for v in steps_mm.T)}\nkinds: domain domain domain\nendian: little\n"
        f"encoding: raw\nspace origin: {vector(origin_mm)}\n\n"
    )
    path.write_bytes(header.encode() + np.ascontiguousarray(voxels).tobytes())
    return path


def request_for(series: Any, nrrd: Any, home: Any, turn: Any = lambda voxels: voxels, **changes: Any) -> Any:
    """What a program sends that holds the CT and its results as arrays; `turn` may store slices the other way."""
    import SimpleITK as sitk

    ct = find_cases([series])[0].read().ct
    steps = np.asarray(ct.grid.direction).reshape(3, 3) * ct.grid.spacing_mm
    origin = np.asarray(ct.grid.origin_mm)
    if turn(np.arange(2))[0] == 1:
        origin = origin + steps[:, 2] * (len(ct.voxels) - 1)
        steps = steps * (1, 1, -1)
    home.mkdir()
    arrays = {name: sitk.GetArrayFromImage(sitk.ReadImage(str(nrrd / f"{name}.nrrd"))) for name in RESULTS}
    files = {k: write_nrrd(home / f"{k}.nrrd", turn(v), steps, origin) for k, v in {"ct": ct.voxels, **arrays}.items()}
    body = {
        "ct": files.pop("ct"),
        "results": files,
        "dicom": tuple(series.iterdir()),
        "report": json.loads((nrrd / "report.json").read_text()),
        "out": home / "dicom",
    }
    return Conversion(**body | changes)


@pytest.fixture(scope="module")
def worlds(pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """orientation -> a CT, and its results as DICOM and as NRRD"""
    made = {}

    def world(orientation: Any) -> Any:
        if orientation not in made:
            home = tmp_path_factory.mktemp("both")
            ct = write_series(home / "ct", orientation)
            kinds = ("dicom", "nrrd")
            chosen = {"slices": (1, 5), "methods": METHODS, "parameters": {"occlusion": Occlusion(9, 12)}}
            made[orientation] = ct, *(explained(ct, home / k, pancreas_bundle, k, **chosen) for k in kinds)
        return made[orientation]

    return world


@pytest.fixture(params=[UPRIGHT, HEAD_FIRST, PRONE], ids=["upright", "head first", "prone"])
def each(request: pytest.FixtureRequest, worlds: Any) -> Any:
    return worlds(request.param)


@pytest.fixture
def both(worlds: Any) -> Any:
    return worlds(HEAD_FIRST)


def objects(folder: Any) -> Any:
    return {p.name: p.read_bytes() for p in folder.glob("*.dcm")}


def test_the_same_bytes_as_a_run_with_the_format_dicom(each: Any, tmp_path: Path) -> None:
    series, dicom, nrrd = each
    convert(request_for(series, nrrd, tmp_path / "a"), Quiet())
    found = objects(tmp_path / "a" / "dicom")
    assert len(found) > 5 and found == objects(dicom)
    report = json.loads((tmp_path / "a" / "dicom" / "report.json").read_text())
    assert report["settings"]["format"] == "dicom" and set(report["files"].values()) == set(found)


def test_slices_stored_the_other_way_give_the_same_bytes(each: Any, tmp_path: Path) -> None:
    series, dicom, nrrd = each
    convert(request_for(series, nrrd, tmp_path / "a", lambda v: v[::-1]), Quiet())
    assert objects(tmp_path / "a" / "dicom") == objects(dicom)


@needs_dciodvfy
def test_dciodvfy_finds_no_error(both: Any, tmp_path: Path) -> None:
    convert(request_for(both[0], both[2], tmp_path / "a"), Quiet())
    assert {p.name: e for p in (tmp_path / "a" / "dicom").glob("*.dcm") if (e := verify(p))} == {}


def test_a_tilted_gantry_is_written_on_its_slices_as_taken(both: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    """Sheared axes: a program that keeps the slices as they are gets frames on them, voxel for voxel."""

    def tilt(ds: Any) -> None:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y + 0.2 * (z - 10), z]

    series = write_series(tmp_path / "tilted", edit=tilt)
    headers = sorted((pydicom.dcmread(p) for p in series.iterdir()), key=lambda h: h.ImagePositionPatient[2])
    steps = np.diag([2.0, 2.0, 3.0])
    steps[1, 2] = 0.6
    origin = np.array([float(v) for v in headers[0].ImagePositionPatient])
    hu = np.stack([h.pixel_array for h in headers])
    importance = np.random.default_rng(1).normal(size=hu.shape).astype(np.float32)
    results = {
        "importance-unoise": write_nrrd(tmp_path / "u.nrrd", importance, steps, origin),
        "segmentation": write_nrrd(tmp_path / "s.nrrd", (hu == 180).astype(np.uint8), steps, origin),
    }
    report = json.loads((both[2] / "report.json").read_text())
    report["settings"]["axial_slices"] = [0, len(hu)]
    ct = write_nrrd(tmp_path / "ct.nrrd", hu, steps, origin)
    convert(Conversion(ct, results, tuple(series.iterdir()), report, tmp_path / "out"), Quiet())
    found = pydicom.dcmread(tmp_path / "out" / "importance-unoise.dcm")
    values = np.frombuffer(found.FloatPixelData, np.float32).reshape(hu.shape)
    for frame, item in zip(values, found.PerFrameFunctionalGroupsSequence):
        place = [float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient]
        k = next(k for k, h in enumerate(headers) if np.allclose([float(v) for v in h.ImagePositionPatient], place))
        np.testing.assert_array_equal(frame, importance[k])
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == headers[k].SOPInstanceUID


def test_what_does_not_belong_together_is_refused_and_nothing_is_left(both: Any, tmp_path: Path) -> None:
    series, _dicom, nrrd = both
    good = request_for(series, nrrd, tmp_path / "a")
    home = tmp_path / "a"
    moved = write_series(tmp_path / "moved", ImagePositionPatient=[0, 0, 0])
    few = tuple(sorted(series.iterdir()))[1:]
    other = write_nrrd(home / "other.nrrd", np.zeros((6, 64, 64), np.uint8), np.eye(3), np.zeros(3))
    (home / "text.dcm").write_text("hello")
    cases = [
        ({"dicom": few}, CaseRefused, "moved to another grid"),
        ({"dicom": tuple(moved.iterdir())}, CaseRefused, "moved to another grid"),
        ({"dicom": ()}, CaseRefused, "did not come as DICOM images"),
        ({"dicom": (home / "text.dcm",)}, CaseRefused, "text.dcm"),
        ({"dicom": (home / "nothing.dcm",)}, Exception, "nothing.dcm"),
        ({"results": {**good.results, "segmentation": other}}, CaseRefused, "grid of the CT"),
        ({"results": {"importance-unoise": other}}, Usage, "no segmentation"),
        ({"report": {"organ": {}}}, Usage, "explain the CT again"),
        ({"out": home}, Environment, "exists already"),
        ({"out": home / "ct.nrrd" / "below"}, Environment, "cannot be written"),
    ]
    before = sorted(home.iterdir())
    for changes, kind, words in cases:
        with pytest.raises(kind, match=words):
            convert(Conversion(**good.__dict__ | changes), Quiet())
        assert sorted(home.iterdir()) == before


def test_without_highdicom_it_says_what_to_install(both: Any, tmp_path: Path) -> None:
    request = request_for(both[0], both[2], tmp_path / "a")
    code = "import sys; sys.modules['highdicom'] = None\nfrom unoise_engine.worker import main\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], input=as_json(request), capture_output=True, text=True)
    assert done.returncode == 3 and "highdicom" in done.stderr and not request.out.exists()


def as_json(request: pytest.FixtureRequest) -> Any:
    return json.dumps({"convert": to_table(request)})


def test_by_way_of_the_worker(both: Any, tmp_path: Path) -> None:
    request = request_for(both[0], both[2], tmp_path / "a", de_identify=True)
    assert question_from(as_json(request).encode()).convert == request
    worker = [sys.executable, "-m", "unoise_engine.worker"]
    done = subprocess.run(worker, input=as_json(request), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines() if "alive" not in line]
    assert events[0]["stage"] == "dicom" and events[-1]["event"] == "converted"
    assert events[-1]["folder"] == str(request.out) and events[-1]["files"] == len(objects(request.out))
    assert b"Muster" not in b"".join(objects(request.out).values())
    shutil.rmtree(request.out)
    wrong = as_json(request).replace('"ct"', '"cat"')
    done = subprocess.run(worker, input=wrong, capture_output=True, text=True)
    assert done.returncode == 2 and "unknown key 'cat'" in done.stderr
