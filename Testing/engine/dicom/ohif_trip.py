"""Opens a CT and its results in OHIF, over a real Orthanc, and prints what the viewer holds then, as one JSON object.

Run inside a network of its own, as orthanc_round_trip.py is:

    unshare -n sh -c 'ip link set lo up && exec python ohif_trip.py CT RESULTS WORK PLUGIN PAGE BROWSER'

PAGE is the folder of OHIF's built page (npm: @ohif/app). It and the archive's DICOMweb come from one address.
"""

import http.client
import http.server
import json
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from orthanc_round_trip import HTTP, start
from playwright.sync_api import sync_playwright

PATIENCE_MS = 60_000
CONFIG = """window.config = { routerBasename: null, extensions: [], modes: [], showStudyList: true,
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'dicomweb', dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb', configuration: {
      friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web',
      wadoRoot: '/dicom-web', imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true } } }] };"""
HELPERS = """() => {
  window.sets = () => services.displaySetService.getActiveDisplaySets();
  window.series = number => sets().find(d => d.SeriesNumber == number);
  window.image = id => cornerstone.metaData.get('instance', id);
  window.base64 = array => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  };
}"""
SHOW = """number => {
  const { activeViewportId } = services.viewportGridService.getState();
  const uid = series(number).displaySetInstanceUID;
  const viewportsToUpdate = services.hangingProtocolService.getViewportsRequireUpdate(activeViewportId, uid);
  commandsManager.run('setDisplaySetsForViewports', { viewportsToUpdate });
}"""
SHOWN = """number => {
  const { activeViewportId } = services.viewportGridService.getState();
  const now = services.cornerstoneViewportService.getCornerstoneViewport(activeViewportId)?.getCurrentImageId?.();
  return Boolean(now) && image(now).SeriesNumber == number;
}"""
STACK = """number => series(number).imageIds.map(id => {
  const { InstanceNumber, SOPInstanceUID, SourceImageSequence, ImagePositionPatient } = image(id);
  const source = [SourceImageSequence].flat()[0]?.ReferencedSOPInstanceUID;
  return { number: InstanceNumber, uid: SOPInstanceUID, source, place: ImagePositionPatient };
})"""
MASK = """number => series(number).labelMapImages.flat().map(one => ({
  slice: image(one.referencedImageId).SOPInstanceUID, pixels: base64(Uint8Array.from(one.getPixelData()))
}))"""
MAP = """number => {
  const { dimensions, origin, spacing, direction, voxelManager } = cornerstone.cache.getVolume(
    series(number).displaySetInstanceUID);
  const values = Float32Array.from(voxelManager.getCompleteScalarDataArray());
  return { dimensions, origin: [...origin], spacing: [...spacing], direction: [...direction], values: base64(values) };
}"""


class Page(http.server.SimpleHTTPRequestHandler):
    """OHIF's files, and behind /dicom-web the archive."""

    folder = Path()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=str(self.folder))

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/"):
            archive = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=60)
            archive.request("GET", self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
            answer = archive.getresponse()
            self._answer(answer.read(), answer.getheader("Content-Type", ""), answer.status)
        elif self.path == "/app-config.js":
            self._answer(CONFIG.encode(), "text/javascript")
        else:
            if not (self.folder / self.path.partition("?")[0].lstrip("/")).is_file():
                self.path = "/index.html"  # the page finds its own way
            super().do_GET()

    def _answer(self, body: Any, kind: Any, status: Any = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def look(page: Any, study: Any, port: Any) -> Any:
    page.goto(f"http://127.0.0.1:{port}/viewer?StudyInstanceUIDs={study}", wait_until="domcontentloaded")
    page.wait_for_function("window.services?.displaySetService?.getActiveDisplaySets().length", timeout=PATIENCE_MS)
    page.evaluate(HELPERS)
    found = page.evaluate("sets().map(d => [Number(d.SeriesNumber), d.Modality])")
    numbers = {kind: [n for n, k in found if k == kind] for _, kind in found}
    (ct,) = numbers["CT"]
    page.wait_for_function(SHOWN, arg=ct, timeout=PATIENCE_MS)
    seen = {"ct": page.evaluate(STACK, ct), "stacks": {}, "masks": {}, "maps": {}}
    for number in numbers["OT"]:
        page.evaluate(SHOW, number)
        page.wait_for_function(SHOWN, arg=number, timeout=PATIENCE_MS)
        seen["stacks"][number] = page.evaluate(STACK, number)
    for kind, ready, what in (("SEG", "series(number).isLoaded", MASK), ("PMAP", "series(number).isLoaded", MAP)):
        for number in numbers[kind]:
            page.evaluate(SHOW, number)
            page.wait_for_function(f"number => {ready}", arg=number, timeout=PATIENCE_MS)
            seen["masks" if kind == "SEG" else "maps"][number] = page.evaluate(what, number)
    return seen


if __name__ == "__main__":
    ct, results, work = (Path(p) for p in sys.argv[1:4])
    plugin, Page.folder, browser_path = sys.argv[4], Path(sys.argv[5]), sys.argv[6]
    orthanc = start(work, plugin)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for path in sorted([*ct.rglob("*.dcm"), *results.rglob("*.dcm")]):
            request = urllib.request.Request(f"http://127.0.0.1:{HTTP}/instances", path.read_bytes(), method="POST")
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/studies?expand", timeout=60) as answer:
            (study,) = json.loads(answer.read())
        with sync_playwright() as playwright:
            software = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", *software])
            seen = look(browser.new_page(), study["MainDicomTags"]["StudyInstanceUID"], server.server_port)
            browser.close()
    finally:
        server.shutdown()
        orthanc.terminate()
        orthanc.wait(30)
    print(json.dumps(seen | {"study": study["MainDicomTags"]}))
