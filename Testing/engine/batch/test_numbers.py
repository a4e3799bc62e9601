"""Cases have numbers that stay; paths are in the private table alone, whatever they look like."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import save, volumes
from unoise_engine.batch.numbers import TABLE, assign, read_table
from unoise_engine.errors import Environment
from unoise_engine.volume.find import Case, Reading

ODD = ["a b", "-x", "ümläut", "new\nline", 'quo"te', "com,ma", "x" * 200, "=1+1", "A", "a", "\udcff"]


def unread() -> Reading:
    raise AssertionError("a number needs no voxels")


def case(path: Any, name: Any = "ct") -> Any:
    return Case(name, Path(path), (Path(path),), unread)


def test_numbers_stay_whatever_comes_later(tmp_path: Path) -> None:
    b, c, a = (case(tmp_path / name) for name in "bca")
    assert assign([b, c], tmp_path) == ["case-0001", "case-0002"]
    assert assign([a, b, c], tmp_path) == ["case-0003", "case-0001", "case-0002"]
    two = case(tmp_path / "two")
    assert assign([two, two], tmp_path) == ["case-0004", "case-0005"]  # two CTs of one folder
    assert assign([two, two], tmp_path) == ["case-0004", "case-0005"]
    assert assign([c, two], tmp_path, keep_names=True) == ["case-0002", "case-0004"]


def test_names_on_request(tmp_path: Path) -> None:
    cases = [case(tmp_path / "x" / "ct.nii", "ct"), case(tmp_path / "y" / "CT.nii", "CT")]
    assert assign(cases, tmp_path, keep_names=True) == ["ct", "CT-2"]  # case does not tell files apart everywhere
    assert assign([cases[1]], tmp_path) == ["CT-2"]


def test_odd_paths_come_back_as_they_are(tmp_path: Path) -> None:
    cases = [case(tmp_path / name) for name in ODD]
    ids = assign(cases, tmp_path)
    assert len(set(ids)) == len(ODD) and assign(cases[::-1], tmp_path) == ids[::-1]
    assert [Path(row.source).name for row in read_table(tmp_path)] == ODD


HEAD = "case,part,source\n"
BROKEN = {
    f"{HEAD}case-0001,0,/a\ncase-0001,0,/b\n": "line 3 - calls another input case-0001 too, as line 2 does",
    f"{HEAD}case-0001,0,/a\nCASE-0001,1,/a\n": "line 3 - calls another input CASE-0001 too",
    f"{HEAD}case-0001,0,/acase-0002,0,/b\n": "line 2 - has 5 fields",  # two rows that melted together
    f"{HEAD}case-0001,0\n": "line 2 - has 2 fields",
    f"{HEAD}../../etc,0,/a\n": "line 2 - '../../etc' is no id",
    f"{HEAD},0,/a\n": "line 2 - '' is no id",
    f"{HEAD}case-0001,-1,/a\n": "line 2 - part must be",
    f"{HEAD}case-0001,one,/a\n": "line 2 - part must be",
    f"{HEAD}case-0001,0,\n": "line 2 - names no input",
    f'{HEAD}case-0001,0,"/a\n': "line",  # a quote without its end
    "case;part;source\ncase-0001;0;/a\n": "line 1 - must be case,part,source",
    "something else\n1\n": "line 1 - must be",
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_table_is_one_sentence_and_stays(tmp_path: Path, text: Any) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(Environment) as caught:
        assign([case(tmp_path / "a")], tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / TABLE}, ") and BROKEN[text] in str(caught.value)
    assert (tmp_path / TABLE).read_text() == text


@pytest.mark.parametrize("edit", [
    lambda old: old.rstrip(b"\n"), lambda old: old + b"\n\n", lambda old: b"\xef\xbb\xbf" + old,
    lambda old: old.replace(b"\n", b"\r\n"), lambda old: old.replace(b"\n", b"\r\n").rstrip(),
], ids=["no last line break", "empty lines", "mark of UTF-8", "Windows", "Windows, no last line break"])  # fmt: skip
def test_a_table_that_an_editor_saved_goes_on(tmp_path: Path, edit: Any) -> None:
    a, b, c, d = (case(tmp_path / name) for name in "abcd")
    assert assign([a, b], tmp_path) == ["case-0001", "case-0002"]
    (tmp_path / TABLE).write_bytes(edit((tmp_path / TABLE).read_bytes()))
    assert assign([c, a], tmp_path) == ["case-0003", "case-0001"]
    assert assign([d, c, b, a], tmp_path) == ["case-0004", "case-0003", "case-0002", "case-0001"]
    assert [Path(row.source).name for row in read_table(tmp_path)] == ["a", "b", "c", "d"]


def test_a_lost_table_gives_no_number_twice(explain: Any, cohort: Any, tmp_path: Path) -> None:
    """Not one patient's results in the folder of another."""
    out = tmp_path / "out"
    explain(cohort / "ct0.nii.gz", out)
    first = volumes(out)
    (out / TABLE).unlink()
    for options in ({}, {"resume": True}, {"overwrite": True}):
        assert explain(cohort / "ct1.nii.gz", out, **options) == 0
    assert {name: content for name, content in volumes(out).items() if name in first} == first
    assert {row.case for row in read_table(out)} == {"case-0002"}


def test_an_edited_table_is_ours_still_and_a_link_never(explain: Any, cohort: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    explain(cohort / "ct0.nii.gz", out)
    (out / TABLE).write_bytes((out / TABLE).read_bytes().rstrip())
    assert explain((cohort / "ct0.nii.gz", cohort / "ct1.nii.gz"), out, resume=True) == 0
    os.replace(out / TABLE, tmp_path / "mine.csv")
    (out / TABLE).symlink_to(tmp_path / "mine.csv")
    before = (tmp_path / "mine.csv").read_bytes()
    with pytest.raises(Environment, match="move it away"):
        explain(cohort / "ct2.nii.gz", out, resume=True)
    assert (tmp_path / "mine.csv").read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_a_name_is_the_same_in_every_locale(command: Any, cohort: Any, tmp_path: Path) -> None:
    odd = cohort / "Müller 患者.nrrd"
    save(cohort / "ct.nrrd", 5).rename(odd)
    for plain in cohort.glob("*.gz"):
        plain.unlink()
    plainly = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for more in ({}, plainly):
        run = command(odd, "-o", tmp_path / "Ergebnis ä", "--resume", **more)
        assert run.returncode == 0 and run.stdout.count("case-0001: OK") == 1, run
    assert run.stdout.count("done before") == 1 and [row.case for row in read_table(tmp_path / "Ergebnis ä")] == [
        "case-0001"
    ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_table_is_for_its_owner(tmp_path: Path) -> None:
    assign([case(tmp_path / "a")], tmp_path)
    assert stat.S_IMODE((tmp_path / TABLE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / TABLE).parent.stat().st_mode) == 0o700
