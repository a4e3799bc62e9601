"""What keeps images of one series apart.

Another patient, study or frame of reference makes another CT, wherever its slices lie. How slices were made -
acquisition, thickness, kernel, phase, tube voltage, of MR echo time and b-value - makes another CT where the slices so
told apart overlap along the body; end to end they are one scan. Weaker signs - contrast agent, folder, time, order of
the image numbers, a field that only some slices have - count only where each part is a stack without holes, complete by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from unoise_engine.volume.dicom_images import Image

SAME_DIRECTION = 5e-3  # 0.3 degrees: 2.5 mm at the far side of a body; headers and scanners jitter by 0.001
SAME_SPACING_MM = 1e-3
SAME_THICKNESS = 0.02  # relative
PAUSE_SECONDS = 10  # between two passes; slices of one follow each other within 1 to 3 s
MOST_PASSES = 4  # more tell that the order means something else
OVERLAP_MM = 0.05
EVEN = 0.1  # of a step: how far steps of a complete stack may differ
HOLES = 1.5  # steps so many times the thickness leave something out

WHO = {"patient": "patient", "name": "patient's name", "study": "study", "space": "frame of reference"}
MADE = {
    "acquisition": "acquisition number", "thickness": "slice thickness", "kernel": "convolution kernel",
    "phase": "temporal position", "voltage": "tube voltage", "number": "series number",
    "echo": "echo time", "diffusion": "diffusion b-value",
}  # fmt: skip
SIGNS = {"type": "image type", "contrast": "contrast agent", "folder": "folder"}

Parts = list[list[Image]]


def cuts(images: list[Image]) -> Iterator[tuple[str, Parts]]:
    """(what differs, the parts) for whatever keeps some of these images apart, the surest first."""
    found: list[tuple[str, Parts]] = [
        ("matrix", parts_by(images, lambda i: (i.rows, i.columns))),
        ("stack or phase", parts_by(images, lambda i: i.stack)),
        ("direction or pixel spacing", _by_frame(images)),
        *((label, _who(images, name)) for name, label in WHO.items()),
        *((label, _made(images, name)) for name, label in MADE.items()),
        *((label, _if_complete(_told(images, name))) for name, label in SIGNS.items()),
        ("acquisition time", _if_complete(_by_time(images))),
        ("order of its image numbers", _if_complete(_by_number(images))),
    ]
    yield from ((label, parts) for label, parts in found if len(parts) > 1)


def parts_by(images: Sequence[Image], key: Callable[[Image], object]) -> Parts:
    parts: dict[object, list[Image]] = {}
    for image in images:
        parts.setdefault(key(image), []).append(image)
    return [*parts.values()]


def values(images: Sequence[Image], name: str) -> tuple[Parts, list[Image]]:
    """The images by their value of a field, and those that have none."""
    known = [i for i in images if i.told.get(name)]
    unknown = [i for i in images if not i.told.get(name)]
    if name != "thickness":
        return parts_by(known, lambda i: i.told[name]), unknown
    parts: Parts = []
    for image in sorted(known, key=lambda i: float(i.told[name])):
        if not parts or float(image.told[name]) > (1 + SAME_THICKNESS) * float(parts[-1][0].told[name]):
            parts.append([])
        parts[-1].append(image)
    return parts, unknown


def _told(images: list[Image], name: str) -> Parts:
    known, unknown = values(images, name)
    return [*known, unknown] if unknown else known


def _who(images: list[Image], name: str) -> Parts:
    """Slices that have a value each, as anonymisers make them, are told nothing by it."""
    known, unknown = values(images, name)
    if len(known) < 2 or 2 * sum(len(part) == 1 for part in known) > len(known):
        return [images]
    return [*known, unknown] if unknown else known


def _made(images: list[Image], name: str) -> Parts:
    parts, (known, _) = _told(images, name), values(images, name)
    return parts if _overlap(known) else _if_complete(parts)


def _by_frame(images: list[Image]) -> Parts:
    parts: Parts = []
    for image in images:
        for part in parts:
            a, b = part[0], image
            turned = np.abs(np.subtract((*a.across, *a.down), (*b.across, *b.down))).max()
            if turned < SAME_DIRECTION and np.abs(np.subtract(a.spacing_mm, b.spacing_mm)).max() < SAME_SPACING_MM:
                part.append(image)
                break
        else:
            parts.append([image])
    return parts


def _by_time(images: list[Image]) -> Parts:
    if any(i.seconds is None for i in images):
        return [images]
    ordered = sorted(images, key=lambda i: i.seconds or 0.0)
    parts = [[ordered[0]]]
    for before, image in pairwise(ordered):
        if (image.seconds or 0.0) - (before.seconds or 0.0) > PAUSE_SECONDS:
            parts.append([])
        parts[-1].append(image)
    return parts


def _by_number(images: list[Image]) -> Parts:
    """Passes along the body in the order of the image numbers: another begins where the way turns back."""
    if any(i.instance is None for i in images):
        return [images]
    ordered = sorted(images, key=lambda i: (i.instance or 0, _place(i, images)))
    counted = parts_by(ordered, lambda i: i.instance)
    if (
        1 < len(counted[0]) <= MOST_PASSES and len({len(alike) for alike in counted}) == 1
    ):  # every number is there twice
        return [[alike[k] for alike in counted] for k in range(len(counted[0]))]
    parts, way = [[ordered[0]]], 0.0
    for before, image in pairwise(ordered):
        step = _place(image, images) - _place(before, images)
        if way * step < 0:
            parts.append([])
            way = 0.0
        else:
            way = way or step
        parts[-1].append(image)
    return parts


def _if_complete(parts: Parts) -> Parts:
    """The parts, if they overlap and each is a stack by itself; else all as one."""
    if 1 < len(parts) <= MOST_PASSES and _overlap(parts) and all(map(_complete, parts)):
        return parts
    return [[image for part in parts for image in part]]


def _overlap(parts: Parts) -> bool:
    """Whether two of the parts reach past each other along the body."""
    ends = sorted((min(at), max(at)) for at in ([_place(i, parts[0]) for i in part] for part in parts))
    reach = -np.inf
    for low, high in ends:
        if low < reach - OVERLAP_MM:
            return True
        reach = max(reach, high)
    return False


def _complete(part: list[Image]) -> bool:
    steps = np.diff(sorted(_place(i, part) for i in part))
    if len(steps) < 2 or steps.min() <= 0 or np.abs(steps - steps.mean()).max() > EVEN * steps.mean():
        return False
    thickness = float(part[0].told.get("thickness") or 0)
    return not thickness or bool(steps.mean() <= HOLES * thickness)


def _place(image: Image, among: Sequence[Image]) -> float:
    return float(np.dot(image.position_mm, among[0].normal))
