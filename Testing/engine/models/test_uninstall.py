"""`bundle remove`: an installed model goes, and nothing that its installation did not bring."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from unoise_engine.cli.app import app
from unoise_engine.errors import EngineError, Environment
from unoise_engine.files import INVENTORY
from unoise_engine.lock import FOLDER, held
from unoise_engine.models.bundles import LOCK, installed_bundles, shipped_bundles
from unoise_engine.models.install import install
from unoise_engine.models.manifest import MANIFEST, read_manifest, write_bundle
from unoise_engine.models.uninstall import uninstall


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNOISE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def folder(home: Path, tiny_bundle: Any) -> Path:
    return install(tiny_bundle)[1]


def test_what_was_installed_goes_and_can_be_installed_again(folder: Path, home: Path, tiny_bundle: Any) -> None:
    (home / "notes.txt").write_text("mine")
    files = sorted(path.name for path in tiny_bundle.glob("[!.]*"))
    assert uninstall("tiny") == (folder, files)
    left = [path.name for path in home.iterdir() if path.name != FOLDER]
    assert left == ["notes.txt"] and not installed_bundles()
    with pytest.raises(Environment, match=r"tiny - is not installed - .*: none"):
        uninstall("tiny")
    assert install(tiny_bundle)[1] == folder


def test_a_model_that_was_imported_goes_too(home: Path, tiny_bundle: Any) -> None:
    """It has no inventory: its manifest knows the files."""
    manifest = read_manifest(tiny_bundle)
    write_bundle(home / "own", replace(manifest, name="own"), {name: tiny_bundle / name for name in manifest.files})
    assert not (home / "own" / INVENTORY).exists()
    (home / "own" / ".DS_Store").write_bytes(b"x")
    uninstall("own")
    assert not (home / "own").exists()


def beside(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def below(folder: Path) -> None:
    (folder / "runs").mkdir()


def corrected(folder: Path) -> None:
    (folder / "utility.onnx").write_bytes(b"mine")


def retitled(folder: Path) -> None:
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace('"title": "', '"title": "My '))


def linked(folder: Path) -> None:
    target = folder.parent.parent / "elsewhere.onnx"
    shutil.move(folder / "utility.onnx", target)
    (folder / "utility.onnx").symlink_to(target)


@pytest.mark.parametrize("change", [beside, below, corrected, retitled, linked])
def test_what_is_not_the_models_stays_and_everything_with_it(change: Any, folder: Path) -> None:
    change(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(Environment, match="was not installed with this model, or was changed since - move it"):
        uninstall("tiny")
    assert sorted(folder.iterdir()) == before
    with pytest.raises(Environment):  # the sentence's cure, as far as a test may follow it
        uninstall("tiny")


def test_a_damaged_model_can_be_removed_once_the_damage_is_moved_away(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).write_bytes(b"{")
    with pytest.raises(Environment, match=MANIFEST):
        uninstall("tiny")
    shutil.move(folder / MANIFEST, tmp_path / MANIFEST)
    uninstall("tiny")
    assert not folder.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../models/tiny", "nothing", ".hidden", "tiny/", "TINY"])
def test_only_names_of_installed_models_are_removed(name: str, folder: Path, home: Path) -> None:
    (home / ".hidden").mkdir()
    with pytest.raises(Environment, match=r"is not installed - give one of those that are: tiny"):
        uninstall(name)
    assert (folder / MANIFEST).is_file() and (home / ".hidden").is_dir()


def test_another_installation_is_waited_for(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unoise_engine.models.uninstall.WAIT_SECONDS", 0.1)
    with held(home, LOCK), pytest.raises(Environment, match="another installation is at work there"):
        uninstall("tiny")
    assert (folder / MANIFEST).is_file()
    uninstall("tiny")


def test_what_ships_stays(home: Path) -> None:
    (name, folder), *_rest = shipped_bundles().items()
    with pytest.raises(Environment, match=f"{name} - is not installed, it ships with the engine"):
        uninstall(name)
    assert (folder / MANIFEST).is_file()


def test_a_link_to_somebodys_folder_is_left_alone(home: Path, tiny_bundle: Any) -> None:
    home.mkdir()
    (home / "tiny").symlink_to(tiny_bundle)
    with pytest.raises(EngineError, match="is no folder that an installation made"):
        uninstall("tiny")
    assert (tiny_bundle / MANIFEST).is_file()


def test_the_command_says_what_it_removed(folder: Path) -> None:
    said = CliRunner().invoke(app, ["bundle", "remove", "tiny"], catch_exceptions=False).output
    assert said.startswith(f"tiny: removed from {folder}, ") and MANIFEST in said and "utility.onnx" in said
    assert isinstance(CliRunner().invoke(app, ["bundle", "remove", "tiny"]).exception, Environment)
