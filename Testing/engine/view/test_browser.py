"""view.html in a real browser, opened from the disk: what is drawn is what the results say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.view.conftest import PHONE, Opened, axial, run, save_ct
from unoise_engine.explanation.hiding import tolerance

MOST_HU = 5 * 0.25 * 400  # the noise that the small model's U-Noise was taught with
PIXELS = """(places => {
  nv.drawScene();
  const gl = byId("gl"), copy = new OffscreenCanvas(gl.width, gl.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(gl, 0, 0);
  const [sx, sy] = facts.spacing_mm, scale = Math.min(gl.width / (NX * sx), gl.height / (NY * sy)); // in the middle
  const [left, top] = [(gl.width - scale * NX * sx) / 2, (gl.height - scale * NY * sy) / 2];
  const lines = byId("lines").getContext("2d").getImageData(0, 0, gl.width, gl.height).data;
  return places.map(([x, y]) => {
    const [px, py] = [Math.floor(left + (x + .5) * scale * sx), Math.floor(top + (y + .5) * scale * sy)];
    let line = 0;
    for (let dy = -3; dy <= 3; dy++) for (let dx = -3; dx <= 3; dx++) {
      line = Math.max(line, lines[4 * (px + dx + gl.width * (py + dy)) + 3] ?? 0);
    }
    return [...copy.getImageData(px, py, 1, 1).data.slice(0, 3), line];
  });
})"""


class Slice:
    """The axial slice k of a case as the page shows it, beside what the files say. Places are (x, y) of the page,
    which is not cropped."""

    def __init__(self, shown: Opened, out: Path, source: Path, k: int):
        self.hu, self.organ = axial(source)[k], axial(out / "case-0001" / "segmentation.nii.gz")[k] > 0
        self.logit = axial(out / "case-0001" / "importance-unoise.nii.gz")
        self.bears = MOST_HU * tolerance(self.logit[k])
        shown.js(f"setView('Axial'); byId('outline').checked = true; go([2, 2, {k}])")
        self.shown = shown

    def pixels(self, places: Any) -> np.ndarray:
        """(n, 4): red, green, blue, and how strong a line is near by."""
        self.shown.js("go([1, 1, 6])")  # its lines are no part of the picture
        return np.array(self.shown.js(f"{PIXELS}({np.asarray(places).tolist()})"), int)


@pytest.fixture(scope="module", params=["LPS", "RAS"])
def case(request: Any, browser: Any, make: Any) -> Any:
    out = make(request.param, crop="none")
    shown = Opened(browser).open(out / "case-0001" / "view.html")
    yield Slice(shown, out, out.parent / "in" / "ct.nii.gz", 6)
    shown.context.close()


def places(mask: np.ndarray, most: int = 60) -> np.ndarray:
    """(x, y) of some voxels of a mask, well spread."""
    found = np.argwhere(mask)[:, ::-1]
    assert len(found)
    return found[np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]


def test_heat_is_where_the_map_is_high_and_nowhere_else(case: Any) -> None:
    case.shown.js("choose(facts.maps[0])")
    hot = case.pixels(places(case.bears < 0.2 * MOST_HU))
    cold = case.pixels(places((case.bears > 0.95 * MOST_HU) & (case.hu > -200)))
    assert (hot[:, 0] - hot[:, 2] > 30).all(), "orange and yellow"
    assert (np.abs(cold[:, 0] - cold[:, 2]) < 16).all(), "grey"
    case.shown.js("choose(null)")
    plain = case.pixels(places(case.bears < 0.2 * MOST_HU))
    assert (np.abs(plain[:, 0] - plain[:, 2]) < 4).all(), "no map, no heat"


def test_left_is_right_and_up_is_up(case: Any) -> None:
    """The organ lies on the patient's left, which is on the right of the picture, and a little behind the middle."""
    case.shown.js("choose(null)")
    rows, columns = np.nonzero(case.organ)
    assert columns.mean() > 0.55 * case.organ.shape[1] and rows.mean() > 0.5 * case.organ.shape[0]
    inside, mirrored = places(case.hu > 100, 20), places((case.hu > 100)[:, ::-1] & (case.hu < 60), 20)
    assert case.pixels(inside)[:, 0].min() > case.pixels(mirrored)[:, 0].max() + 40, "bright there, and only there"
    grey = case.pixels(places(case.hu > -200, 200))[:, 0]
    known = np.array([case.hu[y, x] for x, y in places(case.hu > -200, 200)], float)
    assert np.corrcoef(grey, np.clip(known, -160, 240))[0, 1] > 0.95


def test_the_outline_is_at_the_organs_edge(case: Any) -> None:
    case.shown.js("choose(null)")
    inner = np.zeros_like(case.organ)
    inner[2:-2, 2:-2] = np.logical_and.reduce([np.roll(case.organ, (a, b), (0, 1))[2:-2, 2:-2]
                                               for a in (-2, 0, 2) for b in (-2, 0, 2)])  # fmt: skip
    outer = np.logical_or.reduce([np.roll(case.organ, (a, b), (0, 1)) for a in (-2, 0, 2) for b in (-2, 0, 2)])
    beside = np.roll(case.organ, 1, 1) ^ np.roll(case.organ, -1, 1)
    edge = case.pixels(np.argwhere(case.organ & ~np.roll(case.organ, 1, 1))[:, ::-1] - (0.5, 0))
    assert beside.any() and (edge[:, 3] > 0).all()
    assert not case.pixels(places(inner))[:, 3].any() and not case.pixels(places(~outer))[:, 3].any()
    case.shown.js("byId('outline').click()")
    assert not case.pixels(np.argwhere(case.organ)[:, ::-1] - (0.5, 0))[:, 3].any()


def test_what_is_under_the_cursor(case: Any) -> None:
    case.shown.js("choose(facts.maps[0])")
    spoken = case.logit[case.logit.any(axis=(1, 2))]
    for x, y in [*places(case.organ, 4), *places((case.hu < 60) & (case.hu > -100), 4)]:
        case.shown.js(f"go([{x}, {y}, 6])")
        said = case.shown.text("#cursor")
        assert said.startswith("slice 7 of 10 from the feet") and f"{case.hu[y, x]} HU" in said
        found = re.search(r"U-Noise (\d+) HU of noise, above ([\d.]+) % of the voxels", said)
        assert found, said
        bears, rank = int(found[1]), float(found[2])
        assert bears == pytest.approx(case.bears[y, x], abs=0.02 * MOST_HU)
        assert rank == pytest.approx(100 * (spoken < case.logit[6, y, x]).mean(), abs=2)


def test_the_most_important_stay_visible(case: Any) -> None:
    case.shown.js("choose(facts.maps[0]); byId('share').value = 20; byId('share').dispatchEvent(new Event('input'))")
    said = float(case.shown.text("#share-said").removesuffix(" %"))
    assert 17 < said <= 20
    for share in (0.005, 0.01, 0.05, 0.2, 0.5):
        assert 0 < case.shown.js(f"leastVisible(shown, {share})[1]") <= share, "never more, ties are hidden together"
    spoken = case.logit[case.logit.any(axis=(1, 2))]
    kept, gone = (spoken >= np.quantile(spoken, share) for share in (0.82, 0.75))
    assert kept.any() and not gone.all()
    here = case.logit[6]
    hidden = case.pixels(places((here < np.quantile(spoken, 0.75)) & (case.hu > 0)))
    seen = case.pixels(places((here > np.quantile(spoken, 0.84)) & (case.hu > 0)))
    case.shown.js("byId('share').value = 100; paint()")
    assert hidden[:, :3].max() < 12, "black"
    assert seen[:, :3].max(axis=1).min() > 60
    assert case.pixels(places((here < np.quantile(spoken, 0.75)) & (case.hu > 0)))[:, 0].min() > 60, "all of it again"


def test_opacity(case: Any) -> None:
    hot = places(case.bears < 0.2 * MOST_HU)
    case.shown.js("choose(facts.maps[0]); byId('opacity').value = 0; paint()")
    bare = case.pixels(hot)
    case.shown.js("byId('opacity').value = 50; paint()")
    assert (np.abs(bare[:, 0] - bare[:, 2]) < 4).all() and (case.pixels(hot)[:, 0] != bare[:, 0]).any()


@pytest.fixture(scope="module")
def shown(browser: Any, make: Any) -> Any:
    one = Opened(browser).open(make(crop="none") / "case-0001" / "view.html")
    yield one
    one.context.close()


def test_nothing_is_asked_of_the_network(shown: Any, make: Any) -> None:
    out = make(crop="none")
    for step in ("setView('3-D')", "setView('All')", "choose(facts.maps[1])", "go(mostImportant())"):
        shown.js(step)
    assert sorted(shown.requests) == sorted(p.as_uri() for p in (*out.glob("viewer/*.js"), *out.glob("*/view.html")))
    assert shown.js("refused") == [] and shown.errors == [], "nor tried"
    refused = shown.js("fetch('http://127.0.0.1:9/').then(() => 'sent', error => 'refused')")
    assert refused == "refused" and shown.js("refused") == ["connect-src"], "the policy is at work"


def test_words_of_the_page(shown: Any) -> None:
    assert shown.text("#case") == "case-0001" and shown.text("#model") == "Test net"
    assert shown.text("#warning") == "Demonstration model trained on synthetic CT. Not for clinical use."
    assert "Outline of bright" in shown.text("#controls") and "U-Noise" in shown.text("#maps")
    shown.js("choose(facts.maps[0])")
    assert shown.text("#low") == f"bears the most noise: {MOST_HU:.0f} HU"
    assert shown.text("#high").startswith("bears the least: ") and shown.text("#high").endswith(" HU")
    assert shown.js("document.querySelector('#colours').getContext('2d').getImageData(255, 0, 1, 1).data[0]") > 240


def test_keys(shown: Any) -> None:
    shown.js("setView('Axial'); choose(facts.maps[0]); go([30, 30, 4]); setZoom(0)")
    for key, expression, wanted in (
        ("ArrowUp", "here()", [30, 30, 5]),
        ("ArrowDown", "here()", [30, 30, 4]),
        ("ArrowRight", "shown.name", "gradcam"),
        ("ArrowLeft", "shown.name", "unoise"),
        ("+", "nv.scene.pan2Dxyzmm[3]", 1.25),
        ("0", "nv.scene.pan2Dxyzmm[3]", 1),
        ("[", "byId('share').value", "99"),
        ("]", "byId('share').value", "100"),
        ("o", "byId('outline').checked", False),
        ("o", "byId('outline').checked", True),
        ("v", "view === CORONAL", True),
        ("ArrowUp", "here()", [30, 29, 4]),
    ):
        shown.page.keyboard.press(key)
        assert shown.js(expression) == wanted, key
    shown.js("setView('All')")


def test_the_most_important_slice(shown: Any, make: Any) -> None:
    logit = axial(make(crop="none") / "case-0001" / "importance-unoise.nii.gz")
    most = np.quantile(logit[logit.any(axis=(1, 2))], 0.99)
    shown.js("choose(facts.maps[0]); go([0, 0, 0])")
    shown.page.click("#most")
    x, y, k = shown.js("here()")
    counts = (logit >= most).sum(axis=(1, 2))
    assert counts[k] >= 0.95 * counts.max() and logit[k, y, x] >= np.quantile(logit, 0.9)


def test_zoom_keeps_cursor_and_outline_in_place(shown: Any) -> None:
    shown.js("setView('Axial'); setZoom(0); go([46, 34, 6])")
    where = "nv.frac2canvasPos(nv.scene.crosshairPos)"
    before = shown.js(where)
    shown.js("setZoom(2)")
    assert shown.js(where) == pytest.approx(before, abs=1.5)
    shown.js("setZoom(0); setView('All')")


def test_a_click_moves_all_slices(shown: Any) -> None:
    shown.js("setView('All'); setZoom(0); go([1, 1, 1])")
    left, top, width, height = shown.js("nv.screenSlices.find(one => one.axCorSag === AXIAL).leftTopWidthHeight")
    left, width = (left + width, -width) if width < 0 else (left, width)
    box = shown.page.locator("#gl").bounding_box()
    times = box["width"] / shown.js("byId('gl').width")
    shown.page.mouse.click(box["x"] + times * (left + 0.75 * width), box["y"] + times * (top + 0.25 * height))
    x, y, k = shown.js("here()")
    assert (x, y, k) == (pytest.approx(0.75 * 72, abs=1.5), pytest.approx(0.25 * 64, abs=1.5), 1)


def test_on_a_phone(browser: Any, make: Any) -> None:
    phone = Opened(browser, PHONE, has_touch=True, is_mobile=True).open(make(crop="none") / "case-0001" / "view.html")
    assert phone.js("document.documentElement.scrollWidth") <= PHONE["width"], "nothing runs out at the side"
    box = phone.page.locator("#gl").bounding_box()
    phone.js("setView('Axial'); go([1, 1, 4])")
    finger = [{"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}]
    phone.debugger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": finger})
    phone.page.wait_for_timeout(1500)
    phone.debugger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    x, y, k = phone.js("here()")
    assert phone.js("[nv.volumes[0].cal_min, nv.volumes[0].cal_max]") == [-160, 240], "a long touch leaves the window"
    assert abs(x - 36) < 4 and abs(y - 32) < 4 and k == 4
    phone.context.close()


def test_a_browser_without_webgl2(launch: Any, make: Any) -> None:
    without = Opened(launch("--disable-3d-apis")).open(make(crop="none") / "case-0001" / "view.html")
    assert without.state == "trouble" and without.page.is_visible("#trouble")
    said = without.text("#trouble")
    assert said.startswith("This browser has no WebGL 2") and " - use a current Firefox, Chrome, Edge or Safari" in said
    assert not without.page.is_visible("#stage") and without.text("#case") == "case-0001"


def test_a_page_alone_and_a_damaged_one(browser: Any, make: Any, tmp_path: Path) -> None:
    page = (make(crop="none") / "case-0001" / "view.html").read_text("utf-8")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "view.html").write_text(page, "utf-8")
    alone = Opened(browser).open(tmp_path / "alone" / "view.html")
    assert "The viewer is not beside this page (../viewer/niivue-" in alone.text("#trouble")
    broken = make(crop="none") / "case-0001" / "broken.html"
    start = page.index('data-volume="ct">') + 200
    broken.write_text(page[:start] + "AAAA" * 10 + page[start + 40 :], "utf-8")
    shown = Opened(browser).open(broken)
    broken.unlink()
    assert "The data of this page are damaged" in shown.text("#trouble") and "unoise_engine view" in shown.text(
        "#trouble"
    )
    alone.context.close()
    shown.context.close()


def test_the_summary_leads_to_the_pages(browser: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    for k in range(2):
        save_ct(tmp_path / "in" / f"ct{k}.nii.gz", shape=(4 + k, 40, 48))
    out = run(tmp_path / "in", tmp_path / "out", tiny_bundle, methods=("unoise",))
    shown = Opened(browser)
    shown.page.goto((out / "summary.html").as_uri())
    links = shown.page.locator("a", has_text="Look through the slices")
    assert links.count() == 2
    links.nth(1).click()
    shown.page.wait_for_selector("body[data-state=shown]")
    assert shown.text("#case") in ("case-0001", "case-0002") and len(list(out.glob("viewer/niivue-*.js"))) == 1
    shown.context.close()
