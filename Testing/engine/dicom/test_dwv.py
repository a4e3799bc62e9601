"""The segmentation in dwv, a viewer that nobody here wrote: it opens, over the right slices."""

import base64
import http.server
import importlib.util
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from Testing.engine.dicom.conftest import explained
from Testing.engine.dicom.series import write_series
from Testing.engine.dicom.test_ohif import BROWSER, VIEWERS

DWV = VIEWERS / "dwv" / "package" / "dist"
# What dwv needs for drawing and for archives is not needed to read.
PAGE = """<script type=importmap>{"imports": {
  "konva": "data:text/javascript,export default {}", "jszip": "data:text/javascript,export default class {}",
  "magic-wand-tool": "data:text/javascript,export default {}" }}</script>
<script type=module>
  import { App } from "./dwv/dwv.min.js";
  const text = array => btoa(String.fromCharCode(...array));
  window.open_both = (ct, result) => new Promise(done => {
    const app = new App(), errors = [];
    let first = true;
    app.init({ dataViewConfigs: {} });
    app.addEventListener("error", event => errors.push(String(event.error?.message ?? event.error)));
    app.addEventListener("loadend", () => {
      if (first) { first = false; app.loadURLs([result]); return; }
      const image = app.getData(app.getDataIds().at(-1))?.image;
      const places = image?.getGeometry().getOrigins().map(p => [p.getX(), p.getY(), p.getZ()]);
      done({ errors, places, pixels: image ? text(image.getBuffer()) : "" });
    });
    app.loadURLs(ct);
  });
</script>"""


@pytest.fixture(scope="module")
def both(pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("dwv")
    ct = write_series(home / "ct", edit=lambda ds: setattr(ds, "KVP", "120"))
    for path in ct.iterdir():  # dwv wants the length of the file's meta group
        pydicom.dcmread(path).save_as(path, enforce_file_format=True)
    return ct, explained(ct, home / "out", pancreas_bundle, slices=(1, 5))


def opened(home: Any, ct: Any, result: Any) -> Any:
    """What dwv makes of a result, once it holds the CT."""
    for lacking, cure in (
        (not BROWSER, "a browser: apt-get install chromium"),
        (not DWV.is_dir(), "dwv: make viewers"),
        (importlib.util.find_spec("playwright") is None, "playwright: pip install playwright"),
    ):
        if lacking:
            pytest.skip(cure)
    from playwright.sync_api import sync_playwright

    shutil.copytree(DWV, home / "dwv")
    (home / "index.html").write_text(PAGE)
    names = [f"{k}.dcm" for k, path in enumerate(sorted(ct.iterdir())) if shutil.copy(path, home / f"{k}.dcm")]
    shutil.copy(result, home / "result.dcm")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(home))

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{place}/index.html")
            page.wait_for_function("() => Boolean(window.open_both)", timeout=30_000)
            urls = [[f"{place}/{name}" for name in names], f"{place}/result.dcm"]
            found = page.evaluate("([ct, result]) => open_both(ct, result)", urls)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    return found


def test_dwv_opens_the_segmentation_over_its_slices(both: Any, tmp_path: Path) -> None:
    ct, results = both
    found = opened(tmp_path, ct, results / "segmentation.dcm")
    assert found["errors"] == []
    ds = pydicom.dcmread(results / "segmentation.dcm")
    places = [f.PlanePositionSequence[0].ImagePositionPatient for f in ds.PerFrameFunctionalGroupsSequence]
    np.testing.assert_allclose(found["places"], np.array(places, float))
    pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(ds.pixel_array.shape)
    np.testing.assert_array_equal(pixels, ds.pixel_array)
    assert pixels.any()


def test_dwv_cannot_open_one_whose_segment_is_shared(both: Any, tmp_path: Path) -> None:
    """As highdicom writes it: which is why we do not. A dwv that can makes this fail, and our change needless."""
    ct, results = both
    ds = pydicom.dcmread(results / "segmentation.dcm")
    for frame in ds.PerFrameFunctionalGroupsSequence:
        ds.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = frame.SegmentIdentificationSequence
        del frame.SegmentIdentificationSequence
    ds.save_as(tmp_path / "shared.dcm")
    (tmp_path / "page").mkdir()
    assert opened(tmp_path / "page", ct, tmp_path / "shared.dcm")["errors"]
