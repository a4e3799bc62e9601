"""From a slice archive to a folder of cases: one a patient, its slices stacked in order.

``patient-07-ct.nii.gz``, ``patient-07-labels.nii.gz``, ``labels.json`` and ``archive.json``, which says of every
case the spacing, where it comes from, and the instance numbers. The slices are no neighbours: their distance in the
file (1 mm) means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unoise_engine.errors import Environment
from unoise_engine.files import exists, write_json
from unoise_engine.lab.archive.scale import guess_spacing_mm
from unoise_engine.lab.archive.slices import SliceArchive
from unoise_engine.volume.volume import Grid, Volume
from unoise_engine.volume.write import write_volume

RECORD = "archive.json"
LABELS = {"pancreas": 7}  # the TotalSegmentator number, as in every set made here
NOMINAL_MM = 1.0  # between slices that are no neighbours
HEAD_FIRST = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def write_cases(archive: SliceArchive, out: Path, organ: str, tell: Callable[[int], None]) -> list[str]:
    """Writes every patient's case into `out` and returns their names. `tell` hears 1 after each.

    An interrupted call goes on. Raises Environment where another archive has gone, or files lie in the way.
    """
    number = LABELS.get(organ, 1)
    notes, names = {}, []
    if (out / RECORD).exists():
        raise exists(out / RECORD)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for patient in archive.patients:
            name = f"patient-{patient:02d}"
            indices = archive.of(patient)
            frames = [archive.frame(k) for k in indices]
            spacing, how = spacing_of(archive, indices, [image for image, _ in frames])
            voxels = np.stack([image for image, _ in frames])
            grid = Grid(voxels.shape[::-1], (spacing, spacing, NOMINAL_MM), (0.0, 0.0, 0.0), HEAD_FIRST)
            labels = np.stack([mask for _, mask in frames]).astype(np.uint8) * number
            write_volume(Volume(labels, grid), out / f"{name}-labels.nii.gz")
            write_volume(Volume(voxels, grid), out / f"{name}-ct.nii.gz")
            notes[name] = {
                "spacing_mm": round(spacing, 4),
                "spacing": how,
                "instances": archive.instance[indices].tolist(),
                "margin_px": archive.margin_px[indices].tolist(),
            }
            names.append(name)
            tell(1)
        write_json(out / RECORD, notes)
        write_json(out / "labels.json", {organ: number})
    except OSError as e:
        raise Environment(out, f"cannot be written ({e.strerror})", "choose another folder") from None
    return names


def spacing_of(archive: SliceArchive, indices: np.ndarray, frames: list[np.ndarray]) -> tuple[float, str]:
    if archive.spacing_mm is not None:
        return float(np.median(archive.spacing_mm[indices])), "given"
    whole = [frame for frame, k in zip(frames, indices) if not archive.margin_px[k]]
    return guess_spacing_mm(whole), "guessed from the torso's width"
