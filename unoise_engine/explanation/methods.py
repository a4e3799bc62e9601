"""One file a method. METHODS is the whole registry: a new method is one file and one line here."""

from __future__ import annotations

from collections.abc import Sequence

from unoise_engine.errors import Usage
from unoise_engine.explanation.gradcam import gradcam
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.protocol import Method
from unoise_engine.explanation.unoise import unoise

METHODS: dict[str, Method] = {"unoise": unoise, "gradcam": gradcam, "occlusion": Occlusion()}
TITLES = {"unoise": "U-Noise", "gradcam": "Grad-CAM", "occlusion": "Occlusion"}


def choose(names: Sequence[str], occlusion: Occlusion) -> dict[str, Method]:
    """The methods of those names, in that order. Raises Usage for an unknown name."""
    available = {**METHODS, "occlusion": occlusion}
    for name in names:
        if name not in available:
            raise Usage(f"--methods {name}", "unknown method", f"choose from {', '.join(METHODS)}")
    return {name: available[name] for name in names}
