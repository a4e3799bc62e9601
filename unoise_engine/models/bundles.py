"""Bundles by name or folder: those that ship, those that were installed, any other; found, verified, opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from unoise_engine.errors import EngineError, Environment
from unoise_engine.files import tidy
from unoise_engine.lock import any_held
from unoise_engine.models.manifest import Manifest, model_hash, verify
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.session import Bundle, Provider, providers
from unoise_engine.models.trial import try_out
from unoise_engine.models.windowed import Windowed
from unoise_engine.shipped import shipped

DEFAULT_BUNDLE = "pancreas-ct"
LOCK = "install"  # whoever holds it in the collection may change it
_tried: set[str] = set()  # hashes of models that answered as they must


def shipped_bundles() -> dict[str, Path]:
    """Name -> folder of the models that came with the engine."""
    return shipped("models", "*/bundle.json")


def installed_bundles() -> dict[str, Path]:
    """Name -> folder of the models that `bundle install` put into the user's own collection."""
    home = models_home()
    with suppress(EngineError, OSError):  # a collection that may only be read, or none
        tidy(home)  # what an installation that was killed left
        any_held(home)
    return {p.parent.name: p.parent for p in sorted(home.glob("[!.]*/bundle.json"))}


def models_home() -> Path:
    """The user's own bundles: $UNOISE_MODELS, or the usual place for data on this system."""
    if home := os.environ.get("UNOISE_MODELS"):
        return Path(home)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "unoise-engine" / "models"


def known_bundles() -> dict[str, Path]:
    """Both; what ships comes first, and an installed bundle cannot take its name."""
    return {**installed_bundles(), **shipped_bundles()}


def find_bundle(name: str | Path) -> Path:
    """The name of a bundle that ships or was installed, or a folder. Raises Environment if it is neither."""
    known = known_bundles()
    if str(name) in known:
        return known[str(name)]
    if Path(name).is_dir():
        return Path(name)
    names = ", ".join(known) or "none"
    raise Environment(name, "no such model bundle", f"give a bundle folder, or one of those here: {names}")


def load_bundle(
    name: str | Path = DEFAULT_BUNDLE, device: str = "auto", threads: int = 0, tried: bool = False, label: str = ""
) -> Bundle:
    """Verifies every file's hash, then opens the bundle for `device` (auto, cpu, cuda).

    ``threads`` = 0 lets onnxruntime use every core. A bundle that neither ships nor was installed is tried out first
    (trial.py), once a process, unless it was `tried`. `label`: which label is explained, or several, joined by commas,
    as one; needed where there are several. Raises Environment, Integrity or Usage.
    """
    folder = find_bundle(name)
    manifest = verify(folder).choosing(label)
    if not tried and folder not in known_bundles().values() and model_hash(manifest) not in _tried:
        try_out(folder)
        _tried.add(model_hash(manifest))
    return opened(folder, manifest, providers(device), threads, strict=device == "cuda")


def opened(
    folder: Path, manifest: Manifest, providers: Sequence[Provider], threads: int = 0, strict: bool = False
) -> Bundle:
    """A bundle that was verified, of whichever kind it is."""
    kind = Windowed if isinstance(manifest.recipe, Preparation) else Bundle
    return kind(folder, manifest, providers, threads, strict)
