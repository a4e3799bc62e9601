"""Remakes Resources/Screenshots/browser.png: explains a CT, opens its view.html in Chromium, and takes the picture.

python -m Testing.engine.view.make_picture CT
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from Testing.engine.conftest import asked
from Testing.engine.view.conftest import BROWSER, SOFTWARE, Opened
from unoise_engine.batch.run import explain_all

PICTURE = Path(__file__).resolve().parents[3] / "Resources" / "Screenshots" / "browser.png"
SIZE = {"width": 1120, "height": 730}
COLOURS = 256  # a palette: the picture stays small
SHOWN = "setZoom(1.25); setView('All'); choose(facts.maps[0])"


def main(ct: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        explain_all(asked((ct,), Path(folder, "out"), device="cpu", view=True), "off")
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*SOFTWARE])
        shown = Opened(browser, SIZE).open(Path(folder, "out", "case-0001", "view.html"))
        shown.js(SHOWN)
        png = shown.page.screenshot(timeout=120_000)
        browser.close()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(
        PICTURE, optimize=True
    )
    print(PICTURE, PICTURE.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
