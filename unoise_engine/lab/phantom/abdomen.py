"""One synthetic abdomen from one seed: sample, draw, scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.lab.phantom import anatomy, hounsfield, scanner, surroundings, torso, viscera
from unoise_engine.lab.phantom.canvas import Canvas
from unoise_engine.volume.volume import Grid, Volume

SMALLEST_SIZE, FEWEST_SLICES = 64, 8
MOST_VOXELS = 512 * 512 * 1024  # some 20 GB while it is drawn
THICKNESS_MM = (3.0, 5.0)
FREE_SLICES = 1.5  # below and above the gland, at least, beyond the deformation
CANVAS_FLOOR_MM, DOME_ROOM_MM = -260.0, 240.0
PROBE = {"seed": 161, "size": 256, "slices": 16}  # of the CT that tells what half precision changes in a bundle


@dataclass(frozen=True)
class Phantom:
    """A CT in HU (int16), its labels (uint8, numbers in `LABELS`) and how it was made."""

    ct: Volume
    labels: Volume
    phase: str
    seed: int


def synthesise(seed: int, *, size: int = 256, slices: int = 40) -> Phantom:
    """A labelled upper abdomen of `slices` axial slices of size x size voxels: LPS, first slice nearest the feet.

    The same arguments give the same bytes. The pancreas is complete, with free slices below and above; the slice
    thickness is 3 to 5 mm, or as much more as few slices need to cover the gland.
    """
    check_size(seed, size, slices)
    rng = np.random.default_rng(seed)
    phase = str(rng.choice(hounsfield.PHASES, p=hounsfield.PHASE_SHARE))
    hu = hounsfield.sample(rng, phase)
    patient = anatomy.sample(rng, CANVAS_FLOOR_MM)
    trunk = patient.trunk
    body_mm = 2 * (trunk.half_width + trunk.wall + trunk.fat_side) * patient.scale[0]
    z_mm, thickness = _slices(rng, patient, slices)
    protocol = scanner.sample(rng, size, thickness, body_mm)
    step = protocol.spacing_mm[1]
    across = (np.arange(size) - (size - 1) / 2) * step
    middle_y = (trunk.back + trunk.wall + trunk.fat_back - trunk.front - trunk.wall - trunk.fat_front) / 2
    shift = (protocol.shift_mm[0], protocol.shift_mm[1] - middle_y * patient.scale[1])
    canvas = Canvas.blank(rng, (z_mm, across, across), protocol.turn_deg, shift, patient.scale, protocol.warp_mm)
    torso.draw(canvas, patient, hu)
    viscera.draw(canvas, patient, hu)
    surroundings.draw(rng, canvas, protocol, hu)
    grid = Grid(
        size=(size, size, slices),
        spacing_mm=(step, step, thickness),
        origin_mm=(float(across[0]), float(across[0]), round(float(z_mm[0]) - rng.uniform(200, 900), 2)),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    ct = Volume(scanner.image(rng, canvas.hu, protocol), grid)
    return Phantom(ct=ct, labels=ct.with_voxels(canvas.labels), phase=phase, seed=seed)


def check_size(seed: int, size: int, slices: int) -> None:
    """Refuse what cannot be made, in one sentence."""
    if size < SMALLEST_SIZE:
        raise Usage(f"--size {size}", "is too small for an abdomen", f"give at least {SMALLEST_SIZE} pixels a side")
    if slices < FEWEST_SLICES:
        raise Usage(f"--slices {slices}", "are too few for an abdomen", f"give at least {FEWEST_SLICES}")
    if size * size * slices > MOST_VOXELS:
        cure = f"ask for at most {MOST_VOXELS} voxels, such as 512 x 512 x 1024"
        raise Usage(f"--size {size} --slices {slices}", "are too much for one CT", cure)
    if seed < 0:
        raise Usage(f"--seed {seed}", "is negative", "use 0 or more")


def _slices(rng: np.random.Generator, patient: anatomy.Anatomy, slices: int) -> tuple[np.ndarray, float]:
    """Slice positions (mm) and thickness such that the gland and some free slices on both sides are covered."""
    margin = 6.0 + patient.lobulation_mm  # deformation and lobules
    low = (patient.pancreas_z[0] - margin) * patient.scale[2]
    high = (patient.pancreas_z[1] + margin) * patient.scale[2]
    needed = (high - low) / (slices - 1 - 2 * FREE_SLICES)
    thickness = round(max(float(rng.uniform(*THICKNESS_MM)), float(needed) + 0.01), 2)
    spare = (slices - 1 - 2 * FREE_SLICES) * thickness - (high - low)
    start = low - FREE_SLICES * thickness - spare * rng.uniform(0.2, 0.65)
    return start + np.arange(slices) * thickness, thickness
