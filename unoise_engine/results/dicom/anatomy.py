"""What an organ is called in DICOM: codes of SNOMED CT where there is one, and where in the body it lies."""

from __future__ import annotations

import re

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from unoise_engine.results.dicom.origin import short

PRIVATE_SCHEME = "99UNOISE"
SIDES = {"left", "right", "l", "r"}
ABDOMINAL = (
    "abdom", "pancrea", "liver", "hepat", "spleen", "kidney", "renal", "adrenal", "gallbladder", "stomach", "duoden",
    "bowel", "colon", "intestin", "jejun", "ileum", "portal", "bile",
)  # fmt: skip
PLURALS = {"vertebrae": "vertebra", "kidneys": "kidney", "lungs": "lung", "ribs": "rib"}


def organ_code(organ: str) -> Code:
    """SNOMED CT's code of an organ by its English name, without its side: "kidney_right" is a kidney, "vertebrae_L1"
    the first lumbar vertebra. A private one for what DICOM's dictionary does not know, several organs among it."""
    words = [PLURALS.get(word.lower(), word.lower()) for word in re.split(r"[\s_\-]+", organ) if word]
    bare = [word for word in words if word not in SIDES] or words
    for order in (bare, bare[::-1]):
        keyword = "".join(word.capitalize() for word in order)
        if keyword.isidentifier() and (known := getattr(codes.SCT, keyword, None)):
            return known
    keyword = "".join(word.capitalize() for word in words)
    return Code(short(keyword or "organ", 16), PRIVATE_SCHEME, short(organ or "organ"))


def is_abdominal(organ: str) -> bool:
    return any(word in organ.lower() for word in ABDOMINAL)


def region_code(organ: str) -> Code:
    """The region of the body that frames show, as far as the organ tells it."""
    region: Code = codes.SCT.Abdomen if is_abdominal(organ) else codes.SCT.EntireBody
    return region


def body_part(organ: str) -> str:
    """For Body Part Examined (0018,0015), where the source says nothing."""
    return "ABDOMEN" if is_abdominal(organ) else "WHOLEBODY"
