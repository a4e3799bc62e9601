"""U-Noise for CT: where can this image be drowned in noise before the segmentation fails?

    import unoise_engine
    results = unoise_engine.explain("ct.nii.gz", methods=["unoise", "gradcam"])

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "explain", "load_bundle"]


def __getattr__(name: str) -> Any:
    if name == "explain":
        from unoise_engine.explanation.pipeline import explain

        return explain
    if name == "load_bundle":
        from unoise_engine.models.session import load_bundle

        return load_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
