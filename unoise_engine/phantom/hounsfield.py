"""Hounsfield units per tissue and contrast phase.

Rounded from ranges that radiology references agree on: unenhanced organs after Lamba et al., AJR 2014 ("CT Hounsfield
numbers of soft tissues on unenhanced abdominal CT scans"); pancreatic and portal venous enhancement after McNulty et
al., Radiology 2001 ("Multi-detector row helical CT of the pancreas") and Foley et al., AJR 2000; fat, bone, lung and
gas after standard textbooks. Plausible means for a drawing, not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PHASES = ("non-contrast", "arterial", "portal venous")
PHASE_SHARE = (0.18, 0.22, 0.60)  # portal venous is what most abdominal CTs, and the public pancreas sets, are


@dataclass(frozen=True)
class Range:
    """Mean per phase (in the order of PHASES), spread between patients and texture inside one, all in HU."""

    means: tuple[float, float, float]
    spread: float
    texture: float = 4.0


def _same(mean: float, spread: float, texture: float = 4.0) -> Range:
    return Range((mean, mean, mean), spread, texture)


TISSUES: dict[str, Range] = {
    # parenchyma
    "pancreas": Range((40, 102, 92), 11, 7),
    "liver": Range((56, 72, 108), 10, 4),
    "spleen": Range((48, 118, 116), 10, 4),
    "kidney cortex": Range((32, 175, 178), 16, 5),
    "kidney medulla": Range((30, 75, 150), 14, 5),
    "adrenal": Range((28, 65, 68), 9, 4),
    # blood
    "artery": Range((42, 290, 155), 24, 3),
    "portal blood": Range((42, 105, 162), 17, 3),
    "caval blood": Range((42, 85, 125), 16, 5),
    "hepatic vein": Range((41, 72, 148), 13, 3),
    "heart": Range((42, 200, 140), 20, 10),
    # gut
    "bowel wall": Range((40, 78, 84), 11, 6),
    "stomach wall": Range((40, 75, 80), 10, 6),
    "duodenal wall": Range((40, 82, 86), 10, 6),
    "fluid": _same(14, 9, 5),
    "chyme": _same(42, 18, 12),
    "oral contrast": _same(240, 80, 20),
    "feces": _same(20, 30, 60),
    "gas": _same(-960, 25, 5),
    "bile": _same(9, 6, 2),
    "urine": _same(8, 6, 3),
    # wall and skeleton
    "skin": _same(10, 25, 6),
    "subcutaneous fat": _same(-106, 7, 5),
    "visceral fat": _same(-101, 8, 8),
    "muscle": Range((50, 57, 61), 6, 9),
    "cortical bone": _same(480, 100, 60),
    "trabecular bone": _same(165, 45, 28),
    "cartilage": _same(95, 20, 15),
    "disc": _same(85, 12, 6),
    "canal": _same(25, 8, 5),
    "lung": _same(-835, 40, 25),
    # around the patient
    "table": _same(-380, 220, 10),
}


def sample(rng: np.random.Generator, phase: str) -> dict[str, float]:
    """Mean HU of every tissue in one patient.

    Strong or weak injections move all enhancement together; a fatty liver is common, a fatty pancreas is drawn by
    `viscera` as fat between the lobules.
    """
    column = PHASES.index(phase)
    strength = float(np.clip(rng.normal(1.0, 0.14), 0.65, 1.4))
    means = {}
    for name, tissue in TISSUES.items():
        plain = tissue.means[0]
        enhanced = plain + (tissue.means[column] - plain) * strength
        means[name] = enhanced + float(np.clip(rng.normal(), -2, 2)) * tissue.spread
    if rng.random() < 0.2:
        means["liver"] -= rng.uniform(10, 45)
    means["cortical bone"] = max(means["cortical bone"], means["trabecular bone"] + 120)
    return means
