"""Are these Hounsfield units? What can be mended is mended and counted; what is implausible is refused."""

from __future__ import annotations

import numpy as np

from unoise_engine.errors import CaseRefused

AIR_HU = -1024
PADDING_BELOW_HU = -1500  # no tissue, no air and no noise lies here: scanners fill the corners with -2000 or -3024
SAMPLE = 1 << 20  # voxels looked at

CURE = "export the original series in HU; if they are HU all the same, add --trust-hu"


def vet(voxels: np.ndarray, source: object, trust_hu: bool = False) -> tuple[np.ndarray, list[str]]:
    """`clean`, then `check_hu` unless the user vouches for the values. Also raises CaseRefused: NO_VOXELS, CONSTANT."""
    check_content(voxels, source)
    if not trust_hu:
        check_depth(voxels, source)
    voxels, notes = clean(voxels)
    if not trust_hu:
        check_hu(voxels, source)
    return voxels, notes


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


def clean(voxels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Voxels as int16 where they are whole and fit, float32 otherwise; NaN, infinity and padding become air.

    Returns a sentence with a count for each kind of voxel that was replaced. May change `voxels` in place.
    """
    nowhere, padding = 0, 0
    whole = True
    if voxels.dtype.kind == "f":
        for one in voxels:
            bad = ~np.isfinite(one)
            nowhere += (n := int(np.count_nonzero(bad)))
            if n:
                one[bad] = AIR_HU
            padding += _fill(one)
            whole = whole and bool((np.abs(one) <= 32767).all()) and bool((one == np.rint(one)).all())
    else:
        if voxels.dtype.kind == "i" and voxels.min() < PADDING_BELOW_HU:
            padding = sum(_fill(one) for one in voxels)
        whole = int(voxels.min()) >= -32768 and int(voxels.max()) <= 32767
    notes = []
    if nowhere:
        notes.append(f"{nowhere} voxels that are no number (NaN or infinite) were set to {AIR_HU} HU")
    if padding:
        notes.append(f"{padding} voxels below {PADDING_BELOW_HU} HU (padding) were set to {AIR_HU} HU")
    return _as(voxels, np.dtype(np.int16 if whole else np.float32)), notes


def _fill(one: np.ndarray) -> int:
    below = one < PADDING_BELOW_HU
    count = int(np.count_nonzero(below))
    if count:
        one[below] = AIR_HU
    return count


def _as(voxels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return voxels if voxels.dtype == dtype else voxels.astype(dtype)


def check_hu(voxels: np.ndarray, source: object) -> None:
    """Refuses voxels whose histogram is none of a CT of the trunk in HU. Raises CaseRefused: HU_SUSPECT, EMPTY_FIELD.

    Voxels of exactly AIR_HU are left out, since padding has that value too. The rules, each met by its fault:
    inverted or wrapped values; an 8-bit picture or a missing offset, where nothing is negative; an offset twice, where
    no soft tissue is left; an offset missing over negative padding, where half of the body is denser than bone.
    """
    some = _sample(voxels)
    real = some[some != AIR_HU]
    if len(real) == 0 or np.mean(real > -700) * len(real) < 0.002 * len(some):
        raise CaseRefused("EMPTY_FIELD", source, "shows nothing but air", "give the CT of a patient")

    def share(low: float, high: float) -> float:
        return float(np.mean((real >= low) & (real <= high)))

    body = max(share(-500, np.inf), 1e-6)
    why = ""
    if share(2000, np.inf) > 0.10:
        why = f"{share(2000, np.inf):.0%} of its voxels lie above 2000 HU, as if inverted or wrapped around"
    elif share(-np.inf, -0.5) < 0.001:
        why = "none of its voxels lies below 0 HU, as if its offset were missing or it were an 8-bit picture"
    elif share(-200, 300) < 0.01:
        why = "none of its voxels lies in the range of soft tissue (-200 to 300 HU)"
    elif share(600, np.inf) / body > 0.25 and share(-1150, -850) < 0.005:
        why = f"{share(600, np.inf) / body:.0%} of the body would be denser than bone (600 HU), and there is no air"
    if why:
        raise CaseRefused("HU_SUSPECT", source, why, CURE)
