"""Synthetic labelled CT of the upper abdomen: made from a seed, so training and tests need no patient data.

``synthesise(seed)`` returns one `Phantom`, ``write_phantoms(folder, count)`` a folder of NIfTI cases. The organs are
implicit shapes (shapes.py) placed by `anatomy.sample`, drawn onto a `canvas.Canvas` with the Hounsfield units of one
contrast phase (hounsfield.py) and imaged by scanner.py. Not a model of any person and never evidence about people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unoise_engine.lab.phantom.abdomen import Phantom, synthesise
    from unoise_engine.lab.phantom.write import write_phantoms

__all__ = ["LABELS", "Phantom", "synthesise", "write_phantoms"]

PROBE = {"seed": 161, "size": 256, "slices": 16}  # of the CT that tells what half precision changes in a bundle

# TotalSegmentator v2 numbers where it has the structure; from 200 on our own, for what it splits or lacks.
LABELS: dict[str, int] = {
    "spleen": 1,
    "kidney_right": 2,
    "kidney_left": 3,
    "gallbladder": 4,
    "liver": 5,
    "stomach": 6,
    "pancreas": 7,
    "adrenal_gland_right": 8,
    "adrenal_gland_left": 9,
    "lung_lower_lobe_left": 11,
    "lung_lower_lobe_right": 14,
    "small_bowel": 18,
    "duodenum": 19,
    "colon": 20,
    "heart": 51,
    "aorta": 52,
    "inferior_vena_cava": 63,
    "portal_vein_and_splenic_vein": 64,
    "spinal_cord": 79,
    "iliopsoas_left": 88,
    "iliopsoas_right": 89,
    "vertebrae": 201,
    "ribs": 202,
    "superior_mesenteric_vein": 203,
    "superior_mesenteric_artery": 204,
}


def __getattr__(name: str) -> Any:
    """Loads numpy and the generator only when somebody asks for it."""
    if name in ("Phantom", "synthesise"):
        from unoise_engine.lab.phantom import abdomen

        return getattr(abdomen, name)
    if name == "write_phantoms":
        from unoise_engine.lab.phantom.write import write_phantoms

        return write_phantoms
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
