"""The results in OHIF, a viewer that nobody here wrote, over an Orthanc: each opens, over the right slices."""

import base64
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from Testing.engine.dicom.conftest import explained
from Testing.engine.dicom.series import write_series
from Testing.engine.dicom.test_orthanc import PLUGINS, missing
from unoise_engine.explanation.methods import METHODS

SCRIPT = Path(__file__).with_name("ohif_trip.py")
VIEWERS = Path(__file__).parents[3] / ".viewers"  # made by `make viewers`
PAGE = VIEWERS / "ohif" / "package" / "dist"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def lacking() -> Any:
    if not BROWSER:
        return "a browser: apt-get install chromium"
    if not (PAGE / "index.html").is_file():
        return "OHIF's page: make viewers"
    if importlib.util.find_spec("playwright") is None:
        return "playwright: pip install playwright"
    return missing()


@pytest.fixture(scope="module")
def seen(pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(CT, results, what OHIF holds): a CT numbered from the head, of whose 8 slices 2 to 6 were explained."""
    if why := lacking():
        pytest.skip(why)
    home = tmp_path_factory.mktemp("ohif")

    def from_the_head(ds: Any) -> None:
        ds.InstanceNumber = 9 - int(ds.InstanceNumber)

    ct = write_series(home / "ct", slices=8, edit=from_the_head, StudyDescription="CT abdomen", KVP="120")
    results = explained(ct, home / "out", pancreas_bundle, slices=(2, 7), display_maps=True)
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable]
    line = [*alone, SCRIPT, ct, results, home, PLUGINS[0], PAGE, BROWSER]
    run = subprocess.run([str(part) for part in line], capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return ct, results, json.loads(run.stdout.splitlines()[-1])


def headers(folder: Any) -> Any:
    return {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, folder.glob("*.dcm"))}


def frames(path: Any) -> Any:
    """A result's frames by the slice they refer to."""
    ds = pydicom.dcmread(path)
    sources = (f.DerivationImageSequence[0].SourceImageSequence[0] for f in ds.PerFrameFunctionalGroupsSequence)
    return {item.ReferencedSOPInstanceUID: frame for item, frame in zip(sources, ds.pixel_array)}


def test_the_archive_keeps_the_studys_name(seen: Any) -> None:
    assert seen[2]["study"]["StudyDescription"] == "CT abdomen"


def test_pictures_run_as_the_ct_does(seen: Any) -> None:
    ct, results, held = seen
    order = [image["uid"] for image in held["ct"]]
    assert [headers(ct)[uid].InstanceNumber for uid in order] == list(range(1, 9))
    (pictures,) = held["stacks"].values()
    assert len(pictures) == len(list(results.glob("overlay-*.dcm"))) > 6
    for method in (pictures[: len(pictures) // 2], pictures[len(pictures) // 2 :]):
        shown = [order.index(picture["source"]) for picture in method]
        assert shown == sorted(shown) and len(set(shown)) == len(shown)
    first, before = len(pictures) // 2, [*METHODS].index("unoise") * len(order)
    assert [p["number"] for p in pictures[:first]] == [before + order.index(p["source"]) + 1 for p in pictures[:first]]


def test_the_segmentation_lies_on_its_slices(seen: Any) -> None:
    ct, results, held = seen
    wanted = frames(results / "segmentation.dcm")
    (slices,) = held["masks"].values()
    assert {one["slice"] for one in slices} == set(headers(ct))
    drawn = 0
    for one in slices:
        mask = np.frombuffer(base64.b64decode(one["pixels"]), np.uint8).reshape(64, 64)
        np.testing.assert_array_equal(mask, wanted.get(one["slice"], np.zeros((64, 64))))
        drawn += int(mask.any())
    assert drawn >= 3


def test_maps_lie_on_their_slices(seen: Any) -> None:
    """OHIF holds each value times 100."""
    ct, results, held = seen
    places = {uid: float(ds.ImagePositionPatient[2]) for uid, ds in headers(ct).items()}
    files = {int(pydicom.dcmread(p).SeriesNumber): p for p in results.glob("*.dcm") if not p.name.startswith("overlay")}
    assert len(held["maps"]) == 4  # two methods, values and shares
    for number, volume in held["maps"].items():
        path = files[int(number)]
        wanted = frames(path)
        assert volume["dimensions"] == [64, 64, 8] and len(wanted) == 8
        values = np.frombuffer(base64.b64decode(volume["values"]), np.float32).reshape(8, 64, 64)
        step = volume["spacing"][2] * volume["direction"][8]
        for uid, frame in wanted.items():
            k = round((places[uid] - volume["origin"][2]) / step)
            np.testing.assert_array_equal(values[k], (frame.astype(float) * 100).astype(np.float32))
        assert values.any()
        if path.name.startswith("display"):
            assert values.min() >= 0 and values.max() == 100
