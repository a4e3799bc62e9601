"""The page of a batch: every case in it, its pictures beside it, and small enough to open however many there are."""

import csv
import html.parser
import random
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from Testing.benchmarks.summary_size import WARNING, make, record
from unoise_engine.batch.ledger import Ledger, latest
from unoise_engine.batch.records import Record
from unoise_engine.batch.summary import write_summary

CASES = 300
BROWSER = which("chromium") or which("chromium-browser") or which("google-chrome")


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("out")
    make(out, CASES)
    write_summary(out, WARNING)
    return out


class Page(html.parser.HTMLParser):
    def __init__(self, text: Any) -> None:
        super().__init__()
        self.keys: list[list[str]] = []
        self.links: list[str] = []
        self.buttons: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        if tag == "article":
            self.keys.append(found["data-keys"].split())
        if tag == "button":
            self.buttons.append(found["data-key"])
        self.links += [found[name] for name in ("src", "href") if name in found]


def test_every_case_is_on_the_page_and_every_picture_beside_it(batch: Any) -> None:
    text = (batch / "summary.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.keys) == CASES and {keys[0] for keys in page.keys} == {"OK", "CORRECTED", "REFUSED", "FAILED"}
    done = sum(keys[0] in ("OK", "CORRECTED") for keys in page.keys)
    assert len(page.links) == 2 * done and all((batch / link).is_file() for link in page.links)
    assert set(page.buttons) == {"", *(key for keys in page.keys for key in keys)}, "a filter for each code"
    assert "http" not in text and "base64" not in text
    assert len(text) < 500 * CASES + 6000, "ten thousand cases are 5 MB"


def test_a_case_without_a_picture_has_no_broken_one(batch: Any, tmp_path: Path) -> None:
    make(tmp_path, 20)
    for path in tmp_path.rglob("thumbnail.jpg"):
        path.unlink()
    write_summary(tmp_path, WARNING)
    page = Page((tmp_path / "summary.html").read_text(encoding="utf-8"))
    assert len(page.keys) == 20 and page.links == []


def test_cases_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    numbers = (10000, 2, 9999, 10, 1)
    ledger = Ledger(tmp_path)
    for number in numbers:
        ledger.add(replace(record(1, random.Random(0)), case=f"case-{number:04d}"))
    assert [line["case"] for line in latest(tmp_path)] == [f"case-{number:04d}" for number in sorted(numbers)]


EVIL = ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "＝1", "a;=1", "a\n@b",
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&b"]  # fmt: skip


def test_no_text_is_run_by_a_spreadsheet_or_a_browser(tmp_path: Path) -> None:
    """Names of organs come from a bundle, and codes and sentences may have been edited."""
    ledger = Ledger(tmp_path)
    for k, evil in enumerate(EVIL):
        organ = {"name": evil, "found": bool(k % 2), "volume_ml": 1.5}
        report = {"organ": organ, "corrections": [evil], "notes": [evil], "warnings": [evil], "seconds": {evil: 1.0}}
        ledger.add(Record(f"case-{k:04d}", "CORRECTED", evil, {}, report=report, finished=evil + str(k)))
        ledger.add(Record(f"failed-{k}", "FAILED", evil, {}, code=evil, message=evil, finished=evil + str(k)))
    write_summary(tmp_path, WARNING + "<script>")
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as f:
        cells = [cell for row in csv.reader(f) for cell in row]
    assert len(cells) == 15 * (1 + 2 * len(EVIL)) and "'=cmd|' /C calc'!A0" in cells
    for part in (part for cell in cells for part in cell.split(";")):
        assert part.isprintable() and not part.startswith(tuple("=+-@＝＋－＠")), part
    page = Page((tmp_path / "summary.html").read_text(encoding="utf-8"))
    assert page.tags["script"] == 1 and "img" not in page.tags and page.tags["article"] == 2 * len(EVIL)


def test_a_case_whose_line_was_lost_is_in_the_summary(explain: Any, cohort: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    explain(cohort, out)
    whole = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(whole[0] + b"[1]\n")
    explain(cohort / "ct0.nii.gz", out, resume=True)  # the others are no part of this run
    assert [line["case"] for line in latest(out)] == ["case-0001", "case-0002", "case-0003"]
    assert (out / "summary.html").read_text(encoding="utf-8").count("<article") == 3


PROBE = """<script>
const found = [];
function note() { found.push(fits.length + ":" + main.children.length + ":" + document.images.length); }
note();
find.value = "CASE-0007"; find.dispatchEvent(new Event("input")); note();
find.value = ""; buttons.find(b => b.dataset.key === "REFUSED").click(); note();
find.value = "no such word"; find.dispatchEvent(new Event("input")); note();
document.title = found.join(" ") + " " + end.textContent;
</script></body>"""


@pytest.mark.skipif(not BROWSER, reason="needs a browser (chromium)")
def test_filters_in_a_browser_from_the_file_system(batch: Any, tmp_path: Path) -> None:
    text = (batch / "summary.html").read_text(encoding="utf-8")
    (batch / "probe.html").write_text(text.replace("</body>", PROBE), "utf-8")
    line = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    line += ["--window-size=1500,1000", (batch / "probe.html").as_uri()]
    run = subprocess.run(line, capture_output=True, text=True, timeout=60)
    title = run.stdout.split("<title>")[1].split("</title>")[0]
    first, one, refused, none, *said = title.split(maxsplit=4)
    keys = Page(text).keys
    assert first.split(":")[0] == str(CASES) and 10 < int(first.split(":")[1]) < CASES, "some at a time"
    assert one.startswith("1:1:") and none == "0:0:0" and said == ["no case"]
    assert refused.split(":")[0] == str(sum(k[0] == "REFUSED" for k in keys)) and refused.endswith(":0")
