"""One place says which version this is; everything else reads it there or agrees."""

import re
import tomllib
from pathlib import Path

import unoise_engine

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_comes_from_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "unoise_engine/__init__.py"


def test_what_cannot_read_it_there_agrees() -> None:
    (cited,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    released = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert cited == unoise_engine.__version__ == released[0]
