"""Are these Hounsfield units? Decided here alone, by the words of the header and by the values themselves.

`not_hu`, `no_slice` and `remark` judge a header; `vet` judges values, mends what can be mended and counts it.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.mend import AIR_HU, PADDING_BELOW_HU, clean

SAMPLE = 1 << 20  # voxels looked at
CURE = "export the original series in HU; if they are HU all the same, add --trust-hu"

# Words of the image type, standard (PS3.3 C.8.2.1, C.8.15.2) or a vendor's, each within a value or alone.
SCOUT = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW", "SCANOGRAM"}
PROJECTION = {
    "MIP", "MINIP", "MAXIP", "MAXIMUM", "MINIMUM", "PROJECTION", "VRT", "VR", "SSD", "VOLREN", "RENDERED", "RENDERING",
    "RENDER", "RAYSUM", "CPR", "CURVED", "ENDOSCOPY", "ENDO",
}  # fmt: skip
CAPTURE = {"SCREENSAVE", "SCREENSHOT", "SCREEN", "SNAPSHOT", "FUSION", "FUSED", "OVERLAY"}
NO_HU = {
    "PERFUSION", "RCBF", "RCBV", "RMTT", "TTP", "MTT", "CBF", "CBV", "TMAX", "PBV", "PERMEABILITY", "SUBTRACTION",
    "SUBTRACTED", "ZEFF", "EFFZ", "RHOZ", "RHO", "ATOMIC", "IODINE", "IODIN", "CALCIUM", "GOUT", "URIC",
}  # fmt: skip
NO_HU_TYPE = {  # the same, too common a word to mean it in a free text
    "SPECIFIC", "MODIFIED", "BASED", "FRACTIONAL", "FRACTION", "QUANTITY", "DEVIATION", "DIVISION", "MULTIPLICATION",
    "DENSITY", "LABEL", "SEGMENTATION", "MASK",
}  # fmt: skip
AVERAGE = {"AVERAGE", "AVG", "MEAN", "AVEIP", "AIP"}
REMOVED = {"REMOVED", "VNC", "VUE"}  # virtual unenhanced: HU, but computed
CONE_BEAM = {"CBCT", "CONE", "DYNACT", "XPERCT", "OBI"}
UNITS = {"HU", "HU_MOD", "US", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"}  # US: unspecified

FLOOR = 5  # per cent of voxels below which ...
TIGHT = 0.24  # ... so large a share of all lies as close together as air alone does; 0.1 at most in tissue
AIR_BELOW_HU, FAT_HU = -850, -20
METAL_HU = 2000  # scanners end near 3071
CUT = 0.02  # so large a share of voxels at exactly the lowest value was cut off there
FILL = 0.15  # so large a share of exactly one value was not measured; noise leaves 0.03


def words(*texts: str) -> set[str]:
    """``DERIVED/SECONDARY/CT_SOM7 MIP THIN`` -> its words, and each pair of neighbours as one: ``MIN IP`` is MINIP."""
    found: set[str] = set()
    for text in texts:
        parts = re.findall(r"[A-Z0-9]+", text.upper())
        found |= {*parts, *(a + b for a, b in pairwise(parts))}
    return found


def not_hu(image_type: str, unit: str, described: str) -> str:
    """Why a header rules HU out, completing 'it is ...'; empty if it does not.

    `described` is what the series and its derivation are called, which counts only for derived images: people name an
    original series after whatever they mean to make of it.
    """
    if reason := no_slice(image_type, described):
        return reason
    kinds = _kinds(image_type, described)
    if kinds & NO_HU or words(image_type) & NO_HU_TYPE:
        return "a map of other values than HU"
    spelt = unit.strip().upper().replace(".", "")
    if spelt and spelt not in UNITS:
        shown = spelt if re.fullmatch(r"[A-Z0-9_ ^/%*-]{1,16}", spelt) else "another unit"
        return f"a map of other values than HU (Rescale Type {shown})"
    return ""


def no_slice(image_type: str, described: str) -> str:
    """The same of images of any kind: why one is no slice of a volume."""
    kinds = _kinds(image_type, described)
    if kinds & SCOUT:
        return "a localizer (scout)"
    if kinds & PROJECTION or any(kind.endswith("MIP") for kind in kinds):
        return "a projection (MIP or rendering)"
    return "a picture of a screen" if kinds & CAPTURE else ""


def _kinds(image_type: str, described: str) -> set[str]:
    return words(image_type, described if "DERIVED" in words(image_type) else "")


def remark(image_type: str, described: str) -> str:
    """What is to be said of values that are HU, or nearly so, and were not measured slice by slice; mostly nothing."""
    kinds, told = words(image_type), words(image_type, described)
    if told & CONE_BEAM:
        return "a cone-beam CT: its values are close to HU, not calibrated"
    if kinds & REMOVED:
        return "a virtual unenhanced image: its HU are computed"
    if kinds & AVERAGE:
        return "an average of several slices or phases"
    return ""


def vet(voxels: np.ndarray, source: object, trust_hu: bool = False) -> tuple[np.ndarray, list[str]]:
    """`clean`, then `check_hu` unless the user vouches for the values. Also raises CaseRefused: NO_VOXELS, CONSTANT."""
    check_content(voxels, source)
    if not trust_hu:
        if voxels.dtype.itemsize == 1:
            raise CaseRefused("HU_SUSPECT", source, "has voxels of 8 bits, which hold a picture and no HU", CURE)
        check_depth(voxels, source)
    voxels, notes = clean(voxels)
    if not trust_hu:
        check_hu(voxels, source)
    return voxels, notes + said_of(voxels)


def check_depth(voxels: np.ndarray, source: object) -> None:
    """Refuses voxels below any HU that are no padding: padding is one value, or two."""
    some = _sample(voxels)
    deep = some[some < PADDING_BELOW_HU]
    between = deep[(deep != deep.min(initial=0)) & (deep != deep.max(initial=-np.inf))]
    if len(between) > 0.05 * len(some):
        what = f"{len(between) / len(some):.0%} of its voxels lie below {PADDING_BELOW_HU} HU, where nothing is"
        raise CaseRefused("HU_SUSPECT", source, what, CURE)


def _sample(voxels: np.ndarray) -> np.ndarray:
    stride = max(1, round((voxels.size / SAMPLE) ** (1 / 3)))
    return voxels[::stride, ::stride, ::stride].ravel().astype(np.float32)


def check_content(voxels: np.ndarray, source: object) -> None:
    """Refuses voxels of which none is finite, or all are the same."""
    low, high = np.inf, -np.inf
    for one in voxels:
        good = one[np.isfinite(one)] if one.dtype.kind == "f" else one
        if good.size:
            low, high = min(low, good.min()), max(high, good.max())
    if low > high:
        raise CaseRefused("NO_VOXELS", source, "has no finite voxel", "export the CT again")
    if low == high:
        raise CaseRefused("CONSTANT", source, f"has the value {low:g} everywhere", "export the CT again")


def check_hu(voxels: np.ndarray, source: object) -> None:
    """Refuses voxels whose histogram is none of a CT in HU. Raises CaseRefused: HU_SUSPECT, EMPTY_FIELD.

    Voxels of exactly AIR_HU are left out, since padding has that value too. The rules, each met by its fault:
    inverted or wrapped values; an 8-bit picture, MR, PET or a missing offset, where nothing is negative; any other
    scale, where what is as even as air lies elsewhere; an offset twice, where no soft tissue is left; an offset missing
    over negative padding, where half of the body is denser than bone.
    """
    some = _sample(voxels)
    real = some[some != AIR_HU]
    if len(real) == 0 or np.mean(real > -700) * len(real) < 0.002 * len(some):
        raise CaseRefused("EMPTY_FIELD", source, "shows nothing but air", "give the CT of a patient")

    def share(low: float, high: float) -> float:
        return float(np.mean((real >= low) & (real <= high)))

    body = max(share(-500, np.inf), 1e-6)
    even = _even_floor(real)
    why = ""
    if share(2000, np.inf) > 0.10 and share(-200, 300) < 0.35:  # around an implant there is soft tissue too
        why = f"{share(2000, np.inf):.0%} of its voxels lie above 2000 HU, as if inverted or wrapped around"
    elif share(-np.inf, FAT_HU) < 0.001:
        why = (
            f"it shows neither fat nor air (none below {FAT_HU} HU), as if its offset were missing or it were a picture"
        )
    elif even is not None:
        why = f"its air would lie at {even:.4g} HU instead of -1000, as if its values were scaled or shifted"
    elif share(-200, 300) < 0.01:
        why = "none of its voxels lies in the range of soft tissue (-200 to 300 HU)"
    elif share(600, np.inf) / body > 0.25 and share(-1150, -850) < 0.005:
        why = f"{share(600, np.inf) / body:.0%} of the body would be denser than bone (600 HU), and there is no air"
    elif _is_picture(real):
        why = f"its values end at {real.min():.0f} and {real.max():.0f}, as an 8-bit picture's do"
    if why:
        raise CaseRefused("HU_SUSPECT", source, why, CURE)


def _even_floor(real: np.ndarray) -> float | None:
    """Where the lowest voxels lie, if they are as even as air and are none; values cut off at both ends apart.

    Air around a patient is the lowest and most even thing in a CT, whatever scale its values have. Lung is lower than
    tissue too, and as uneven as that.
    """
    inside = real[(real != real.min()) & (real != real.max())]
    if not len(inside):
        return None
    floor = float(np.percentile(inside, FLOOR))
    below, above = max(4.0, 0.02 * abs(floor)), max(6.0, 0.05 * abs(floor))
    near = float(np.mean((inside >= floor - below) & (inside <= floor + above)))
    return floor if near > TIGHT and AIR_BELOW_HU < floor < 10 else None


def _is_picture(real: np.ndarray) -> bool:
    """256 grey levels, black and white: a window of a CT, moved below zero."""
    low, high = real.min(), real.max()
    return bool(high - low <= 255 and np.mean(real == low) > 0.01 and np.mean(real == high) > 0.001)


def said_of(voxels: np.ndarray) -> list[str]:
    """A sentence on values that somebody cut off or filled in: so many voxels are never exactly alike by chance."""
    some, lowest, highest = _sample(voxels), float(voxels.min()), float(voxels.max())
    some = some[some > AIR_BELOW_HU]
    if not len(some):
        return []
    values, counts = np.unique(some, return_counts=True)
    said = []
    for value, count in zip(values, counts):
        shown = f"{count / len(some):.0%} of its voxels above {AIR_BELOW_HU} HU are {value:g} HU exactly"
        if value == lowest and count > CUT * len(some):
            said.append(f"{shown}, its lowest value: it was cut off there")
        elif value == highest < METAL_HU and count > FILL * len(some):
            said.append(f"{shown}, its highest value: it was cut off there")
        elif lowest < value < highest and count > FILL * len(some):
            said.append(f"{shown}: they were filled in, not measured")
    return said
