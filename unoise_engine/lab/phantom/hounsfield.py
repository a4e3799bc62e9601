"""Hounsfield units per tissue and contrast phase.

Round numbers in the ranges radiology usually quotes, for a drawing and not as measurements; no source was followed to
the digit. The portal venous pancreas was set so that the
median over the finished gland, fat in its clefts included, comes near that of the NIH Pancreas-CT patients (about 100
HU in most).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PHASES = ("non-contrast", "arterial", "portal venous")
PHASE_SHARE = (0.18, 0.22, 0.60)  # portal venous is what most abdominal CTs, and the public pancreas sets, are


@dataclass(frozen=True)
class Range:
    """Mean per phase (in the order of PHASES) and spread between patients, in HU."""

    means: tuple[float, float, float]
    spread: float


def _same(mean: float, spread: float) -> Range:
    return Range((mean, mean, mean), spread)


TISSUES: dict[str, Range] = {
    # parenchyma
    "pancreas": Range((40, 106, 104), 6),
    "liver": Range((56, 72, 108), 6),
    "spleen": Range((48, 118, 116), 4),
    "kidney cortex": Range((32, 175, 178), 4),
    "kidney medulla": Range((30, 75, 150), 4),
    "adrenal": Range((28, 65, 68), 6),
    # blood
    "artery": Range((42, 290, 155), 3),
    "portal blood": Range((42, 105, 162), 3),
    "caval blood": Range((42, 85, 125), 3),
    "hepatic vein": Range((41, 72, 148), 3),
    "heart": Range((42, 200, 140), 3),
    # gut
    "bowel wall": Range((40, 78, 84), 8),
    "stomach wall": Range((40, 75, 80), 8),
    "duodenal wall": Range((40, 82, 86), 8),
    "fluid": _same(14, 9),
    "chyme": _same(42, 18),
    "oral contrast": _same(240, 80),
    "feces": _same(20, 30),
    "gas": _same(-960, 25),
    "bile": _same(9, 6),
    "urine": _same(8, 6),
    # wall and skeleton
    "skin": _same(10, 25),
    "subcutaneous fat": _same(-106, 7),
    "visceral fat": _same(-101, 8),
    "muscle": Range((50, 57, 61), 6),
    "cortical bone": _same(480, 100),
    "trabecular bone": _same(165, 45),
    "cartilage": _same(95, 20),
    "disc": _same(85, 12),
    "canal": _same(25, 8),
    "lung": _same(-835, 40),
    # around the patient
    "table": _same(-60, 130),
}

BLOOD = ("artery", "portal blood", "caval blood", "hepatic vein", "heart")  # equally dense before contrast
UPTAKE_SPREAD = 0.1  # of an organ's enhancement, relative to that of the patient


def sample(rng: np.random.Generator, phase: str) -> dict[str, float]:
    """Mean HU of every tissue in one patient.

    Strong or weak injections move all enhancement together; a fatty liver is common, a fatty pancreas is drawn by
    `viscera` as fat between the lobules.
    """
    column = PHASES.index(phase)
    strength = float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.35))
    haematocrit = float(rng.normal(0, 4))
    means = {}
    for name, tissue in TISSUES.items():
        own, uptake = np.clip(rng.normal(size=2), -2, 2)
        plain = tissue.means[0] + float(own) * tissue.spread + (haematocrit if name in BLOOD else 0.0)
        means[name] = plain + (tissue.means[column] - tissue.means[0]) * strength * (1 + UPTAKE_SPREAD * float(uptake))
    if rng.random() < 0.2:
        means["liver"] -= rng.uniform(10, 45)
    means["cortical bone"] = max(means["cortical bone"], means["trabecular bone"] + 120)
    return means
