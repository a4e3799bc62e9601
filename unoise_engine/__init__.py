"""U-Noise for CT: where can this image be drowned in noise before the segmentation fails?

    import unoise_engine
    results = unoise_engine.explain("ct.nii.gz", methods=["unoise", "gradcam"])

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import os
from typing import Any

# Before anything can import onnxruntime, in every process: its official builds report to their maker from 1.29 on, and
# leave a device id and a database in the user's cache. Set, not set by default: "0" or "" would switch it on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
__all__ = ["__version__", "explain", "load_bundle"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "explain":
        from unoise_engine.explanation.pipeline import explain

        return explain
    if name == "load_bundle":
        from unoise_engine.models.bundles import load_bundle

        return load_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
