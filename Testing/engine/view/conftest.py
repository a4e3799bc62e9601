"""Pages of small cases, and a real browser that opens them from the disk."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import asked, ellipsoid_ct, image_of
from unoise_engine.batch.run import explain_all

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE_MS = 180_000  # slow where others work, too: all is drawn by the processor
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 800}
NOTE_VIOLATIONS = """window.refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.violatedDirective));"""


class Opened:
    """A page in the browser. Scripts come in from the debugger, which no Content-Security-Policy of the page stops."""

    def __init__(self, browser: Any, size: Any = None, **how: Any):
        self.context = browser.new_context(viewport=size or WIDE, **how)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.add_init_script(NOTE_VIOLATIONS)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.debugger = self.context.new_cdp_session(self.page)

    def open(self, path: Path) -> "Opened":
        self.page.goto(path.as_uri(), wait_until="commit")
        self.page.wait_for_selector("body[data-state]", timeout=PATIENCE_MS)
        return self

    def js(self, expression: str) -> Any:
        asked_for = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.debugger.send("Runtime.evaluate", asked_for)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    @property
    def state(self) -> Any:
        return self.js("document.body.dataset.state")


@pytest.fixture(scope="session")
def launch() -> Any:
    """Starts a browser with more options."""
    if not BROWSER:
        pytest.skip("a browser: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started: list[Any] = []

        def start(*more: str) -> Any:
            started.append(playwright.chromium.launch(executable_path=BROWSER, args=[*SOFTWARE, *more]))
            return started[-1]

        yield start
        for one in started:
            one.close()


@pytest.fixture(scope="session")
def browser(launch: Any) -> Any:
    return launch()


def save_ct(path: Path, axes: str = "LPS", shape: Any = (10, 64, 72)) -> Path:
    """The small CT, its voxels stored towards other sides of the patient."""
    image = image_of(ellipsoid_ct(shape=shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))
    return path


def run(source: Path, out: Path, bundle: Path, **options: Any) -> Path:
    """Explains, and returns the output folder."""
    usual = {"methods": ("unoise", "gradcam"), "bundle": str(bundle), "device": "cpu", "view": True, "picture": False}
    assert explain_all(asked((source,), out, **{**usual, **options}), "off") == 0
    return out


@pytest.fixture(scope="session")
def make(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Output folder of the small CT with its page; the same for the same options."""
    made: dict[str, Path] = {}

    def made_once(axes: str = "LPS", **options: Any) -> Path:
        key = f"{axes} {options}"
        if key not in made:
            home = tmp_path_factory.mktemp("view")
            made[key] = run(save_ct(home / "in" / "ct.nii.gz", axes), home / "out", tiny_bundle, **options)
        return made[key]

    return made_once


def axial(path: Path) -> np.ndarray:
    """(z, y, x) of a file, in axial LPS order: by SimpleITK alone."""
    return sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS"))
