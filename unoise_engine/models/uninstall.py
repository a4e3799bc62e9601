"""The reverse of `install`: removes a model from the user's own collection, and nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from unoise_engine.errors import EngineError, Environment
from unoise_engine.files import altered, remove_folder, sha256, strangers
from unoise_engine.lock import Busy, held
from unoise_engine.models.bundles import LOCK, installed_bundles, models_home, shipped_bundles
from unoise_engine.models.install import WAIT_SECONDS
from unoise_engine.models.manifest import LITTER, MANIFEST, SIGNATURE, read_manifest


def uninstall(name: str) -> tuple[Path, list[str]]:
    """Removes the installed model of that name and returns where it was, and its files.

    Raises Environment, and removes nothing, if it is not installed or its folder holds what no installation put there.
    """
    home = models_home()
    _check_installed(home, name)
    try:
        with held(home, LOCK, WAIT_SECONDS):
            _check_installed(home, name)
            return home / name, _remove(home / name)
    except Busy:
        what = "another installation is at work there"
        raise Environment(home, what, "wait until it is done, then do it again") from None
    except OSError as error:
        cure = "close the programs that use it, and check permissions"
        raise Environment(home / name, f"cannot be removed ({error.strerror})", cure) from None


def _check_installed(home: Path, name: str) -> None:
    with suppress(OSError):
        if name in os.listdir(home) and not name.startswith("."):
            return
    if name in shipped_bundles():
        raise Environment(name, "is not installed, it ships with the engine", "leave it where it is")
    names = ", ".join(installed_bundles()) or "none"
    raise Environment(name, "is not installed", f"give one of those that are: {names}")


def _remove(folder: Path) -> list[str]:
    if folder.is_symlink() or not folder.is_dir():
        raise Environment(folder, "is no folder that an installation made", "remove it by hand if you want to")
    for path in _strangers(folder):
        what = "was not installed with this model, or was changed since"
        raise Environment(path, what, "move it elsewhere, then remove the model again")
    files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    remove_folder(folder)
    return files


def _strangers(folder: Path) -> list[Path]:
    """What neither the folder's inventory nor its manifest lists with the hash that it has."""
    listed = {}
    with suppress(EngineError, OSError):  # it may be damaged: then the inventory alone tells
        manifest = read_manifest(folder)
        listed = {name: entry.sha256 for name, entry in manifest.files.items()}

    def is_of_the_model(path: Path) -> bool:
        if path.parent != folder or path.is_symlink() or not path.is_file():
            return False
        if path.name in listed:
            return sha256(path) == listed[path.name]
        return path.name in LITTER or (bool(listed) and path.name in (MANIFEST, SIGNATURE) and not altered(path))

    folders = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]  # also empty ones
    return [*folders, *(path for path in strangers(folder) if not is_of_the_model(path))]
