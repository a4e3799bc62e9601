"""Pages made while explaining, and afterwards by `unoise_engine view`."""

import base64
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from Testing.engine.conftest import ellipsoid_ct, image_of
from Testing.engine.models.foreign_net import write_foreign
from Testing.engine.view.conftest import axial, run, save_ct
from Testing.engine.view.test_packing import unpacked_ct
from unoise_engine.batch.view import Request, make_pages
from unoise_engine.cli.app import app
from unoise_engine.errors import Environment, Usage
from unoise_engine.models.preparation import Preparation, Window
from unoise_engine.results.view.page import write_page


def facts(page: Path) -> Any:
    return json.loads(re.search(r'id="facts">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])  # type: ignore[index]


def packed(page: Path, name: str) -> bytes:
    found = re.search(rf'data-volume="{name}">([^<]*)<', page.read_text("utf-8"))
    assert found
    return base64.b64decode(found[1])


@pytest.fixture
def done(make: Any, tmp_path: Path) -> Path:
    """A copy of the results of the small CT; the CT itself is where it was."""
    shutil.copytree(make(), tmp_path / "out")
    return tmp_path / "out"


def refusal(request: Request, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    make_pages(request)
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("kind", ["nifti", "nrrd"])
@pytest.mark.parametrize("axes", ["LPS", "RAS"])
def test_made_afterwards_it_is_the_same_page(make: Any, tmp_path: Path, kind: str, axes: str) -> None:
    out = shutil.copytree(make(axes, format=kind), tmp_path / "out")
    page = out / "case-0001" / "view.html"
    first = page.read_bytes()
    page.unlink()
    shutil.rmtree(out / "viewer")
    assert make_pages(Request(out)) == (page, 0)
    assert page.read_bytes() == first and len(list((out / "viewer").glob("niivue*"))) == 2


def test_the_ct_is_all_there_and_is_cropped_when_asked(make: Any, done: Path) -> None:
    hu = axial(make().parent / "in" / "ct.nii.gz")
    page = done / "case-0001" / "view.html"
    sizes = {}
    for crop in ("none", "body", "organ"):
        make_pages(Request(done, crop))
        nx, ny, nz = sizes[crop] = facts(page)["size"]
        assert len(zlib.decompress(packed(page, "importance-unoise"))) == nx * ny * nz
        if crop == "none":
            assert np.array_equal(unpacked_ct(packed(page, "ct"), (nz, ny, nx)), hu)
    assert sizes["none"] == [72, 64, 10] and sizes["body"][2] == 10
    assert sizes["organ"][0] < sizes["body"][0] < 72 and sizes["organ"][1] < sizes["body"][1] <= 64


def test_only_explained_slices_are_on_the_page(tmp_path: Path, tiny_bundle: Path) -> None:
    ct = save_ct(tmp_path / "ct.nii.gz")
    out = run(ct, tmp_path / "out", tiny_bundle, slices=(3, 7), crop="none")
    told = facts(out / "case-0001" / "view.html")
    assert told["size"] == [72, 64, 4] and told["first_slice"] == 3 and told["slices"] == 10
    here = unpacked_ct(packed(out / "case-0001" / "view.html", "ct"), (4, 64, 72))
    assert np.array_equal(here, axial(ct)[3:7])


def test_its_size_is_bounded_by_the_results(make: Any) -> None:
    folder = make() / "case-0001"
    results = sum(p.stat().st_size for p in folder.iterdir() if p.name != "view.html")
    script = sum(
        (Path(__file__).parents[3] / "unoise_engine/results/view" / n).stat().st_size for n in ("view.js", "view.css")
    )
    assert (folder / "view.html").stat().st_size - script < 1.5 * results


def test_a_page_is_no_result(make: Any, done: Path, capsys: pytest.CaptureFixture[str], tiny_bundle: Path) -> None:
    """Another page, or none, and --resume finds nothing to do."""
    source = make().parent / "in" / "ct.nii.gz"
    make_pages(Request(done, "organ"))
    before = (done / "case-0001" / "view.html").read_bytes()
    for view in (True, False):
        run(source, done, tiny_bundle, resume=True, view=view)
        assert "done before" in capsys.readouterr().out
    assert (done / "case-0001" / "view.html").read_bytes() == before
    (done / "case-0001" / "view.html").unlink()
    run(source, done, tiny_bundle, resume=True)
    assert "done before" in capsys.readouterr().out


def test_the_command(make: Any, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.__iadd__([url])))
    page = done / "case-0001" / "view.html"
    quiet = CliRunner().invoke(app, ["view", str(done), "--no-open"])
    assert quiet.exit_code == 0 and quiet.output.strip() == str(page) and opened == []
    assert CliRunner().invoke(app, ["view", str(page.parent)]).exit_code == 0 and opened == [page.resolve().as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    assert (
        CliRunner().invoke(app, ["view", str(done)]).output == f"no browser was found; open this file in one: {page}\n"
    )


def test_a_folder_without_results(tmp_path: Path, done: Path) -> None:
    with pytest.raises(Usage, match=r"is no folder - give one that unoise_engine explain wrote"):
        make_pages(Request(tmp_path / "none"))
    with pytest.raises(Usage, match="holds no results"):
        make_pages(Request(done / "private"))
    with pytest.raises(Usage, match="holds no answers of what-if on these CTs"):
        make_pages(Request(done, what_if=tmp_path))


def spoil_version(out: Path, report: dict[str, Any]) -> None:
    report["report_version"] = 2


def spoil_earlier(out: Path, report: dict[str, Any]) -> None:
    del report["scales"]


def spoil_scale(out: Path, report: dict[str, Any]) -> None:
    report["scales"]["unoise"]["low"] = 3


def lose_map(out: Path, report: dict[str, Any]) -> None:
    (out / "case-0001" / "importance-gradcam.nii.gz").unlink()


def cut_map(out: Path, report: dict[str, Any]) -> None:
    path = out / "case-0001" / "importance-gradcam.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])


def lose_table(out: Path, report: dict[str, Any]) -> None:
    (out / "private" / "inputs.csv").unlink()


def lose_ct(out: Path, report: dict[str, Any]) -> None:
    table = out / "private" / "inputs.csv"
    table.write_text(table.read_text().replace("ct.nii.gz", "gone.nii.gz"))


def other_ct(out: Path, report: dict[str, Any]) -> None:
    image = image_of(ellipsoid_ct(shape=(10, 64, 72)))
    sitk.WriteImage(image + 1, str(out.parent / "ct.nii.gz"))
    table = out / "private" / "inputs.csv"
    table.write_text(f"case,part,source\ncase-0001,0,{out.parent / 'ct.nii.gz'}\n")


@pytest.mark.parametrize("spoil, said", [
    (spoil_version, "report.json - is of another version of results (2, here it is 1) - explain the CT again"),
    (spoil_earlier, "report.json - lacks 'scales', as reports of earlier versions do - explain the CT again"),
    (spoil_scale, "report.json - cannot be read ("),
    (lose_map, "importance-gradcam.nii.gz - is missing - explain the CT again"),
    (cut_map, "importance-gradcam.nii.gz - "),
    (lose_table, "inputs.csv - does not say which file this case is of, and the page shows the CT - explain"),
    (lose_ct, "gone.nii.gz - is not there any more - bring it back, or explain the CT again"),
    (other_ct, "ct.nii.gz - has changed since it was explained - explain the CT again"),
])  # fmt: skip
def test_bad_results_are_told_in_a_sentence(
    done: Path, capsys: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    path, page = done / "case-0001" / "report.json", done / "case-0001" / "view.html"
    report, before = json.loads(path.read_text()), page.read_bytes()
    spoil(done, report)
    path.write_text(json.dumps(report))
    line = refusal(Request(done, "none"), capsys)
    assert line.startswith("CASE case-0001: ") and said in line and line.endswith("(the page that was there is kept)")
    assert page.read_bytes() == before
    page.unlink()
    with pytest.raises(Environment, match="no page could be made - see the lines above"):
        make_pages(Request(done, "none"))
    assert said in capsys.readouterr().err


def test_a_page_that_somebody_changed_stays(done: Path) -> None:
    page = done / "case-0001" / "view.html"
    page.write_text(page.read_text("utf-8") + "<!-- mine -->", "utf-8")
    with pytest.raises(Environment, match="was not made here, or was changed since"):
        make_pages(Request(done, "none"))


def test_what_if_goes_onto_the_page(make: Any, done: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    row = {"hidden": "stomach", "dice": 0.5, "dice_lost": 0.5, "ml_after": 1.0, "ml_lost": 2.0, "ml_new": 0.0,
           "hidden_ml": 9.0, "covers": 0.25, "beyond": ""}  # fmt: skip
    (answers / "case-0001").mkdir(parents=True)
    (answers / "case-0001" / "report.json").write_text(json.dumps({"effects": [row]}))
    shutil.copytree(done / "private", answers / "private")
    make_pages(Request(done, what_if=answers))
    (told,) = facts(done / "case-0001" / "view.html")["effects"]
    assert told == {key: row[key] for key in ("hidden", "dice", "ml_after", "ml_lost", "ml_new", "hidden_ml", "covers")}
    (answers / "case-0001" / "report.json").write_text(json.dumps({"effects": [{**row, "dice": "much"}]}))
    with pytest.raises(Usage, match="is no answer of what-if"):
        make_pages(Request(done, what_if=answers))


def test_other_images_than_ct(tmp_path: Path) -> None:
    """A model of several labels for MR: no HU, a window of its own, values that are no whole numbers."""
    bundle = write_foreign(tmp_path / "net", Preparation(modality="MR", window=Window((8, 32, 32), 0.5)))
    signal = np.abs(ellipsoid_ct(shape=(10, 40, 48)).voxels + 1000.0) / 7
    image = sitk.GetImageFromArray(signal.astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "mr.nii.gz"))
    out = run(tmp_path / "mr.nii.gz", tmp_path / "out", bundle, methods=("occlusion",), label="two", crop="none")
    page = out / "case-0001" / "view.html"
    told, report = facts(page), json.loads((page.parent / "report.json").read_text())
    assert told["unit"] == "" and told["modality"] == "MR" and 0 <= told["window"][0] < told["window"][1] < 180
    assert [one["title"] for one in told["maps"]] == list(report["titles"].values()) and told["organ"]["name"] == "two"
    stored = unpacked_ct(packed(page, "ct"), told["size"][::-1])
    there = stored * told["slope"] + told["shift"]
    assert np.abs(there - axial(tmp_path / "mr.nii.gz")).max() < 0.01
    first = page.read_bytes()
    page.unlink()
    make_pages(Request(out, "none"))
    assert page.read_bytes() == first


def test_words_from_outside_cannot_leave_their_place(make: Any, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>{{DATA}}<!--"
    told = {**facts(make() / "case-0001" / "view.html"), "case": hostile, "model": hostile, "warnings": [hostile]}
    write_page(tmp_path / "view.html", "viewer.js", told, {"ct": b""})
    text = (tmp_path / "view.html").read_text("utf-8")
    assert "<script>alert" not in text and text.count("</script>") == 4 and facts(tmp_path / "view.html") == told


def test_where_results_are_small_the_ct_is_rounded(make: Any, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unoise_engine.results.view.case.SMALL", 0)
    monkeypatch.setattr("unoise_engine.results.view.case.FIXED", 0)
    hu, page, sizes = axial(make().parent / "in" / "ct.nii.gz"), done / "case-0001" / "view.html", []
    for times, slope in ((10, 1), (0, 16)):
        monkeypatch.setattr("unoise_engine.results.view.case.TIMES", times)
        make_pages(Request(done, "none"))
        told = facts(page)
        assert told["slope"] == slope and told["rounded"] == (slope > 1)
        there = unpacked_ct(packed(page, "ct"), told["size"][::-1]) * told["slope"] + told["shift"]
        assert np.abs(there - hu).max() <= told["slope"] / 2
        sizes.append(len(packed(page, "ct")))
    assert sizes[0] > 2 * sizes[1]
