"""Cases have numbers that stay; paths are in the private table alone, whatever they look like."""

import os
import stat
from pathlib import Path

import pytest

from unoise_engine.batch.numbers import TABLE, assign, read_table
from unoise_engine.errors import Environment
from unoise_engine.volume.find import Case

ODD = ["a b", "-x", "ümläut", "new\nline", 'quo"te', "com,ma", "x" * 200, "=1+1", "A", "a", "\udcff"]


def case(path, name="ct"):
    return Case(name, Path(path), (Path(path),), lambda: None)


def test_numbers_stay_whatever_comes_later(tmp_path):
    b, c, a = (case(tmp_path / name) for name in "bca")
    assert assign([b, c], tmp_path) == ["case-0001", "case-0002"]
    assert assign([a, b, c], tmp_path) == ["case-0003", "case-0001", "case-0002"]
    two = case(tmp_path / "two")
    assert assign([two, two], tmp_path) == ["case-0004", "case-0005"]  # two CTs of one folder
    assert assign([two, two], tmp_path) == ["case-0004", "case-0005"]
    assert assign([c, two], tmp_path, keep_names=True) == ["case-0002", "case-0004"]


def test_names_on_request(tmp_path):
    cases = [case(tmp_path / "x" / "ct.nii", "ct"), case(tmp_path / "y" / "CT.nii", "CT")]
    assert assign(cases, tmp_path, keep_names=True) == ["ct", "CT-2"]  # case does not tell files apart everywhere
    assert assign([cases[1]], tmp_path) == ["CT-2"]


def test_odd_paths_come_back_as_they_are(tmp_path):
    cases = [case(tmp_path / name) for name in ODD]
    ids = assign(cases, tmp_path)
    assert len(set(ids)) == len(ODD) and assign(cases[::-1], tmp_path) == ids[::-1]
    assert [Path(row.source).name for row in read_table(tmp_path)] == ODD


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_table_is_for_its_owner(tmp_path):
    assign([case(tmp_path / "a")], tmp_path)
    assert stat.S_IMODE((tmp_path / TABLE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / TABLE).parent.stat().st_mode) == 0o700


def test_a_broken_table_is_not_overwritten(tmp_path):
    (tmp_path / "private").mkdir()
    (tmp_path / TABLE).write_text("something else\n1\n")
    with pytest.raises(Environment, match=r"inputs\.csv"):
        assign([case(tmp_path / "a")], tmp_path)
    assert (tmp_path / TABLE).read_text() == "something else\n1\n"
