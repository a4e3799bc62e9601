"""Hounsfield units per tissue, contrast phase and patient: wide priors, so that a real CT lies inside.

Means come from the phantom's table (`lab.phantom.hounsfield`), spreads are wider: the phantom draws one kind
of scan, this has to cover many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.painted.tissues import Tissue

T = Tissue
PHASES = ("non-contrast", "arterial", "portal venous")
PHASE_SHARE = (0.25, 0.20, 0.55)


@dataclass(frozen=True)
class Palette:
    """Mean and texture (standard deviation) of every tissue, (64,) HU float32."""

    phase: str
    mean: np.ndarray
    texture: np.ndarray
    lobules: float  # 0 a compact pancreas .. 2 fat wherever a lobule ends
    fat_hu: float


# tissue: (mean, spread) per phase
SOFT = {
    T.SPLEEN: ((48, 5), (118, 20), (116, 15)),
    T.PANCREAS: ((38, 7), (98, 20), (90, 16)),
    T.LIVER: ((56, 7), (74, 14), (108, 16)),
    T.CORTEX_LEFT: ((32, 4), (170, 30), (178, 25)),
    T.ESOPHAGUS: ((40, 8), (55, 12), (62, 12)),
    T.STOMACH: ((40, 8), (75, 18), (80, 18)),
    T.DUODENUM: ((40, 8), (78, 20), (82, 18)),
    T.BOWEL: ((40, 8), (78, 22), (86, 20)),
    T.COLON: ((40, 8), (65, 14), (72, 14)),
    T.ADRENAL_LEFT: ((26, 8), (65, 14), (66, 12)),
    T.MUSCLE: ((50, 8), (57, 7), (60, 8)),
    T.HEART: ((42, 5), (190, 55), (135, 25)),
}
BLOOD = {
    T.AORTA: (0, 290, 152),
    T.CAVA: (0, 85, 125),
    T.PORTAL: (0, 108, 158),
    T.HEPATIC_VEIN: (0, 72, 148),
}
BLOOD_SPREAD = {T.AORTA: (0, 70, 25), T.CAVA: (0, 40, 28), T.PORTAL: (0, 40, 24), T.HEPATIC_VEIN: (0, 22, 24)}
SAME_AS = {
    T.PSOAS_LEFT: T.MUSCLE,
    T.PSOAS_RIGHT: T.MUSCLE,
    T.CORTEX_RIGHT: T.CORTEX_LEFT,
    T.MEDULLA_RIGHT: T.MEDULLA_LEFT,
    T.SINUS_RIGHT: T.SINUS_LEFT,
    T.ADRENAL_RIGHT: T.ADRENAL_LEFT,
    T.CYST_RIGHT: T.CYST_LEFT,
    T.VERTEBRA: T.BONE,
    T.RIB: T.BONE,
    T.VERTEBRA_MARROW: T.MARROW,
    T.LUNG_RIGHT: T.LUNG_LEFT,
    T.MESENTERIC_VEIN: T.PORTAL,
    T.STOMACH_GAS: T.BOWEL_GAS,
    T.DUODENUM_GAS: T.BOWEL_GAS,
    T.COLON_GAS: T.BOWEL_GAS,
}


def draw_palette(rng: np.random.Generator, even: bool = False, phase: str = "") -> Palette:
    """`even`: the three phases are equally likely, not as common as on abdominal CTs; `phase`: this one alone."""
    u, n = rng.uniform, rng.normal
    shares = [float(one == phase) for one in PHASES] if phase else None if even else PHASE_SHARE
    column = int(rng.choice(3, p=shares))
    mean, texture = np.zeros(64, np.float32), np.full(64, 4.0, np.float32)

    def around(tissue: Tissue) -> float:
        middle, spread = SOFT[tissue][column]
        return float(middle + spread * np.clip(n(), -2.2, 2.2))

    for tissue in SOFT:
        mean[tissue] = around(tissue)
    if u() < 0.2:  # fatty liver
        mean[T.LIVER] -= u(10, 55)
    lobules = 0.0 if u() < 0.15 else u(0.2, 1.0)
    if u() < 0.35:  # an old or fatty gland
        mean[T.PANCREAS] -= u(0, 50) * (1.0 if column == 0 else 0.8)
        lobules = u(0.7, 2.0)
    plain = 42 + float(n(0, 4))
    for tissue, means in BLOOD.items():
        mean[tissue] = plain if column == 0 else max(plain, means[column] + BLOOD_SPREAD[tissue][column] * n())
    mean[[T.ARTERY, T.MESENTERIC_ARTERY]] = mean[T.AORTA] - (mean[T.AORTA] - plain) * u(0, 0.15)
    mean[T.VEIN] = u(0.3, 1.0) * (mean[T.PORTAL] - mean[T.CAVA]) + mean[T.CAVA]

    fat = float(n(-104, 7))
    mean[T.SUBCUTANEOUS_FAT], mean[T.VISCERAL_FAT] = fat, fat + u(0, 16)
    mean[T.SKIN] = u(-30, 40)
    mean[T.BONE], mean[T.MARROW] = u(280, 700), u(80, 240)
    mean[T.DISC], mean[T.CANAL], mean[T.CARTILAGE] = n(85, 14), n(26, 8), n(95, 25)
    mean[T.LUNG_LEFT] = u(-880, -740)
    mean[T.GALLBLADDER] = n(9, 7) if u() < 0.9 else u(20, 160)
    mean[T.MEDULLA_LEFT] = mean[T.CORTEX_LEFT] - (u(0, 3), u(40, 110), u(-5, 35))[column]
    mean[T.SINUS_LEFT] = n(10, 10) if u() < 0.4 else u(-80, 0) if u() < 0.85 else u(150, 600)
    mean[T.CYST_LEFT] = u(-2, 35)
    mean[T.LIVER_LESION] = u(0, 25) if u() < 0.4 else mean[T.LIVER] - u(15, 60)
    mean[T.SPLEEN_LESION] = mean[T.SPLEEN] - u(15, 80)
    mean[T.BLADDER] = n(8, 6) if u() < 0.9 else u(30, 300)
    mean[T.BOWEL_GAS] = u(-1000, -850)
    _lumens(rng, mean)
    mean[T.TABLE] = u(-750, -50)

    _textures(rng, texture, column)
    for tissue, like in SAME_AS.items():
        mean[tissue], texture[tissue] = mean[like], texture[like]
    for right in (T.CORTEX_RIGHT, T.MEDULLA_RIGHT):
        mean[right] += n(0, 4)
    for liver in (T.LIVER, T.HEPATIC_VEIN):
        mean[liver] = max(float(mean[liver]), -20)
    shift = n(0, 4)  # calibration
    mean[mean > -300] += shift
    mean[T.AIR], texture[T.AIR] = -1000, 0
    return Palette(PHASES[column], mean, texture, lobules, float(mean[T.VISCERAL_FAT]))


def _lumens(rng: np.random.Generator, mean: np.ndarray) -> None:
    """Water, food, oral contrast, or nothing between the walls."""
    u, n = rng.uniform, rng.normal
    oral = u() < 0.3
    strength = u(110, 420)

    def lumen(wall: Tissue) -> float:
        share = u()
        if oral and share < 0.7:
            return float(strength * u(0.6, 1.1))
        if share < 0.5:
            return float(n(14, 11))
        return float(u(15, 60)) if share < 0.8 else float(mean[wall] + n(-8, 12))

    mean[T.STOMACH_LUMEN] = lumen(T.STOMACH)
    mean[T.DUODENUM_LUMEN] = lumen(T.DUODENUM)
    mean[T.BOWEL_FLUID], mean[T.BOWEL_CHYME] = n(16, 10), u(20, 55)
    mean[T.BOWEL_CONTRAST] = strength if oral else lumen(T.BOWEL)
    mean[T.BOWEL_COLLAPSED] = mean[T.BOWEL] + n(-6, 10)
    mean[T.COLON_STOOL] = u(-120, 90)
    mean[T.COLON_FLUID] = u(0, 50) if not oral else u(20, 350)


def _textures(rng: np.random.Generator, texture: np.ndarray, column: int) -> None:
    u = rng.uniform
    texture[:] = u(2, 6)
    texture[T.PANCREAS] = u(3, 14)
    texture[T.SPLEEN] = u(2, 6) if column != 1 else u(3, 28)  # the arterial spleen is striped
    texture[T.VISCERAL_FAT], texture[T.SUBCUTANEOUS_FAT] = u(3, 18), u(2, 9)
    texture[T.MUSCLE] = u(3, 14)
    texture[T.MARROW], texture[T.BONE] = u(20, 55), u(40, 120)
    texture[T.COLON_STOOL] = u(30, 140)
    texture[T.LUNG_LEFT] = u(15, 50)
    texture[[T.BOWEL_FLUID, T.BOWEL_CHYME, T.BOWEL_CONTRAST, T.COLON_FLUID, T.DUODENUM_LUMEN]] = u(2, 16)
    texture[T.STOMACH_LUMEN] = u(2, 10) if u() < 0.6 else u(15, 60)  # a meal
    texture[[T.BOWEL, T.STOMACH, T.DUODENUM, T.BOWEL_COLLAPSED]] = u(4, 16)
    texture[T.HEART] = u(4, 25) if column == 1 else u(3, 10)
    texture[T.TABLE] = u(10, 60)
