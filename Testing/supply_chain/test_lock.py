"""requirements.lock is what pyproject.toml asks for and continuous integration uses, whole and by hash (make lock)."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
(RELEASED,) = map(str.split, re.findall(r"^RELEASED = (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
# Tests, other readers, rivals in speed, torch, docs, development.
APART = {"slicer", "peers", "bench", "train", "import", "docs", "dev"}


def pinned(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


LOCKED = pinned(ROOT / "requirements.lock")


def asked() -> list[Requirement]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in RELEASED)]
    return [Requirement(one) for some in lists for one in some]


def test_every_extra_is_released_or_apart() -> None:
    assert {*RELEASED} | APART == {*PROJECT["optional-dependencies"]} and not APART & {*RELEASED}


@pytest.mark.parametrize("requirement", asked(), ids=str)
def test_what_is_asked_for_is_locked_with_all_it_needs(requirement: Any) -> None:
    """As far as the packages that are installed here tell."""
    waiting, seen = [requirement], set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        assert name in LOCKED, f"{name} is not in requirements.lock: run make lock"
        assert one.specifier.contains(LOCKED[name], prereleases=True), f"{one} is locked as {LOCKED[name]}"
        if name in seen:
            continue
        seen.add(name)
        try:
            further = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue  # an extra that is not installed here
        extras = one.extras or {""}
        environments = [{**default_environment(), "extra": extra} for extra in extras]
        waiting += [r for r in further if not r.marker or any(r.marker.evaluate(e) for e in environments)]


def test_versions_are_those_of_continuous_integration() -> None:
    constrained = pinned(ROOT / "constraints.txt")
    assert {name: version for name, version in LOCKED.items() if constrained.get(name) != version} == {}


def test_every_pin_has_a_hash_and_training_is_not_among_them() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if "==" in entry]
    assert len(entries) == len(LOCKED) and all("--hash=sha256:" in entry for entry in entries)
    assert not {"torch", "lightning", "onnx", "scipy", "dcm2niix", "dicom2nifti"} & {*LOCKED}
