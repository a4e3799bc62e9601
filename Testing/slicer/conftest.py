"""What the tests of the 3D Slicer module need: real MRML (slicer-core); stand-ins only for what it lacks."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "UNoiseSlicer"), str(Path(__file__).parent), str(ROOT)]
HAS_SLICER = all(importlib.util.find_spec(name) for name in ("slicer", "slicer.slicer_core"))

if HAS_SLICER:
    try:
        import slicer
    except ImportError:  # a system library is missing: the tests say so and skip
        slicer = None

    if slicer is not None and not hasattr(slicer, "i18n"):  # slicer-core has no translations: texts stay English
        stand_in: Any = types.ModuleType("slicer.i18n")
        stand_in.tr = lambda text: text
        stand_in.translate = lambda context, text: text
        slicer.i18n = sys.modules["slicer.i18n"] = stand_in


@pytest.fixture
def world() -> Any:
    """A new MRML scene with the application's logics."""
    offscreen = pytest.importorskip("offscreen", reason="slicer-core is not installed")
    world = offscreen.World()
    yield world
    world.close()
