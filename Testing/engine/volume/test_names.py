"""G16: whatever inputs are called, results are named by an id that every file system takes."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.engine.volume.planted import nifti, planes, write
from unoise_engine.errors import CaseRefused, printable
from unoise_engine.volume.names import LONGEST, RESERVED, distinct, safe_id

HARD = [
    "Müller, Jörg", "患者一", "a b\tc", "line\nbreak", "-rf", "--out", ".hidden", "..", "a/../../b", "x" * 255,
    "CON", "nul.ct", "com1", "a.", "a ", "~", "$(id)", "%s", "\x1b[31mred", "😀", "\udcff\udcfe", "a" * 79 + ".b",
]  # fmt: skip


def check(name: str) -> str:
    made = safe_id(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", made) and 1 <= len(made) <= LONGEST + 5
    assert (made[-1] not in "._-" and ".." not in made.strip(".")) or ".." in made[1:-1]
    assert made.split(".")[0].lower() not in RESERVED
    assert safe_id(name) == made
    return made


@pytest.mark.parametrize("name", HARD, ids=range(len(HARD)))
def test_G16_hard_names(name: Any) -> None:
    check(name)


@given(st.text(max_size=300))
def test_G16_any_name(name: Any) -> None:
    check(name)


def test_G16_readable_where_possible() -> None:
    assert safe_id("patient-07_ct.v2") == "patient-07_ct.v2"
    assert safe_id("Müller, Jörg") == "Muller_Jorg"
    assert safe_id("患者一") != safe_id("患者二") and safe_id("患者一").startswith("case-")
    assert safe_id("x" * 255) != safe_id("x" * 254)
    assert safe_id("ab患者") == "ab" and safe_id("ab患者一").startswith("ab-"), "less than half of it is left"


@given(st.lists(st.sampled_from(["a", "A", "b", "a-2", "A-2", "a-2-2"]), max_size=12))
def test_G16_ids_are_distinct_without_regard_to_case(names: Any) -> None:
    made = distinct(names)
    assert len({m.lower() for m in made}) == len(names)
    assert all(m.startswith(n) for m, n in zip(made, names))


@pytest.mark.parametrize(
    "name", ["Müller", "患者", "a b", "line\nbreak", "-rf", "x" * 240, "\x1b[31m", "CON"], ids=range(8)
)
def test_G16_files_and_folders_with_such_names_are_read(tmp_path: Path, read: Any, name: Any) -> None:
    nifti(tmp_path / f"{name}.nii.gz")
    write(tmp_path / name, planes())
    cases = read.cases(tmp_path)
    assert len(cases) == 2 and all(re.fullmatch(r"[A-Za-z0-9._-]+", c.id) for c in cases)
    assert all(read.error_hu(c.read()) < 0.5 for c in cases)


def test_G16_case_clash(tmp_path: Path, read: Any) -> None:
    for parent in ("one", "two"):
        (tmp_path / parent).mkdir()
    paths = [
        nifti(tmp_path / "one" / "CT.nii"),
        nifti(tmp_path / "two" / "ct.nii"),
        nifti(tmp_path / "two" / "ct.nii.gz"),
    ]
    assert [c.id for c in read.cases(*paths)] == ["CT", "ct-2", "ct-3"]


def test_G16_messages_stay_on_one_line(tmp_path: Path, read: Any) -> None:
    error = read.refusal(nifti(tmp_path / "a\nb\x1b[2J.nii", sform=False))
    assert "\x1b" not in str(error) and "a\\nb" in str(error)
    assert printable("\udcff").isascii()
    assert "\n" not in str(CaseRefused("X", "a\nb", "c", "d"))
