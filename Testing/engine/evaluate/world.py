"""A model whose answer is known, slices it can be asked about, and a folder of cases in the tiny bundle's world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of
from unoise_engine.explanation.slices import LabelledItem

SIDE = 24


class Nearness:
    """Organ is where the mean over 3 x 3 pixels exceeds 0.8 and the mean over 9 x 9 exceeds 0.2: it needs context."""

    def predict(self, slices: np.ndarray) -> np.ndarray:
        mean = slices.mean(axis=1)
        return np.minimum(box(mean, 1) - 0.8, box(mean, 4) - 0.2)[:, None].astype(np.float32)


def box(images: np.ndarray, reach: int) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    n, side = images.shape[1], 2 * reach + 1
    parts = [padded[:, y : y + n, x : x + n] for y in range(side) for x in range(side)]
    return np.mean(parts, axis=0)


def labelled_slices(seed: int = 0, patients: int = 3, each: int = 2) -> list[LabelledItem]:
    """A bright blob (value 1.5, the truth a little larger than what the model finds) in a noisy body."""
    random = np.random.default_rng(seed)
    made = []
    for p in range(patients):
        for k in range(each):
            y, x = np.mgrid[:SIDE, :SIDE]
            cy, cx = random.uniform(8, 16, 2)
            organ = (y - cy) ** 2 + (x - cx) ** 2 < random.uniform(9, 20)
            image = np.where(organ, 1.5, 0.1) + random.normal(0, 0.15, organ.shape)
            made.append(LabelledItem(f"case-{p}", f"case-{p}", k, image[None].astype(np.float32), organ))
    return made


def write_cases(folder: Path, count: int = 2) -> Path:
    """The ellipsoid world of the tiny bundle: its bright organ is label 3, and found nearly right."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        ct = ellipsoid_ct(shape=(8 + k, 40, 48))
        ct = ct.with_voxels(ct.voxels + np.int16(k))  # no slice twice: these are different patients
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in ct.voxels.shape), indexing="ij")
        organ = ((x - 0.35) / 0.3) ** 2 + ((y - 0.1) / 0.25) ** 2 + ((z - 0.2) / 0.6) ** 2 < 1
        sitk.WriteImage(image_of(ct), str(folder / f"case-{k}-ct.nii.gz"))
        labels = ct.with_voxels(organ.astype(np.uint8) * 3)
        sitk.WriteImage(image_of(labels), str(folder / f"case-{k}-labels.nii.gz"))
    (folder / "labels.json").write_text(json.dumps({"bright": 3}))
    return folder
