"""U-Noise for CT: where can this image be drowned in noise before the segmentation fails?

    import unoise_engine
    found = unoise_engine.explain("ct.nii.gz", methods=["unoise", "gradcam"])
    found["unoise"], found.plot(), found.save("results")

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before anything can import onnxruntime, in every process: its official builds report to their maker from 1.29 on, and
# leave a device id and a database in the user's cache. Set, not set by default: "0" or "" would switch it on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    from unoise_engine.errors import EngineError
    from unoise_engine.explanation.visibility import evaluate_maps
    from unoise_engine.models.bundles import load_bundle
    from unoise_engine.results.explanation import Explanation, explain
    from unoise_engine.volume.volume import Grid, Volume

__version__ = "0.1.0"
_HOMES = {
    "EngineError": "errors",
    "Explanation": "results.explanation",
    "Grid": "volume.volume",
    "Volume": "volume.volume",
    "evaluate_maps": "explanation.visibility",
    "explain": "results.explanation",
    "load_bundle": "models.bundles",
}
__all__ = [
    "EngineError", "Explanation", "Grid", "Volume", "__version__", "evaluate_maps", "explain", "load_bundle",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"unoise_engine.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
