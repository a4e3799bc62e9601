"""Which DICOM images are one CT, and the sentences on what was joined and what was kept apart.

Images of one series UID, matrix, pixel spacing and direction are candidates; apart.py knows what parts them further.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unoise_engine.volume.apart import MADE, WHO, cuts, parts_by, values
from unoise_engine.volume.dicom_images import Image

SAID_DEGREES = 0.01  # directions that differ more do so by no rounding


@dataclass(frozen=True)
class Series:
    """The images of one CT, in no particular order. `joined` and `apart` say what was put together and what was not."""

    images: tuple[Image, ...]
    joined: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        return self.images[0].number

    @property
    def uid(self) -> str:
        return self.images[0].series

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(i.path for i in self.images))


def group(images: Iterable[Image]) -> list[Series]:
    """Images -> series, ordered by series number and then by first file."""
    found = []
    for members in parts_by(list(images), lambda image: image.series):
        copies = parts_by(members, lambda i: (i.uid or (i.path, i.frame), i.frame, i.position_mm, i.told["patient"]))
        same = {id(alike[0]): alike for alike in copies}  # of a file: they must not look like a second stack
        for firsts, why in _apart([alike[0] for alike in copies]):
            part = [image for first in firsts for image in same[id(first)]]
            found.append(Series(tuple(part), tuple(_joined(part)), why))
    return sorted(found, key=lambda s: (s.number, str(s.images[0].path)))


def directions(images: Sequence[Image]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along the rows and down the columns: the mean of slices that differ a little."""
    across, down = (np.array([getattr(i, name) for i in images]) for name in ("across", "down"))
    if (across == across[0]).all() and (down == down[0]).all():
        return across[0], down[0]
    x, y = across.mean(axis=0), down.mean(axis=0)
    x /= np.linalg.norm(x)
    y -= (y @ x) * x
    return x, y / np.linalg.norm(y)


def _apart(images: list[Image], why: tuple[str, ...] = ()) -> list[tuple[list[Image], tuple[str, ...]]]:
    """Cut until nothing parts them any more."""
    for label, parts in cuts(images):
        found = []
        for part in parts:
            others = len(images) - len(part)
            verb = "slices of its series differ in" if others > 1 else "slice of its series differs in"
            found += _apart(part, (*why, f"{others} {verb} {label}: read as another CT"))
        return found
    return [(images, why)]


def _joined(images: list[Image]) -> Iterator[str]:
    for name, label in (WHO | MADE).items():
        known, unknown = values(images, name)
        if len(known) > 1:
            yield f"{len(known)} stacks that differ in {label} lie end to end: read as one CT"
        if known and unknown:
            yield f"{len(unknown)} of its {len(images)} slices name no {label}: read as one CT with the rest"
    across, down = directions(images)
    turned = max(float(np.abs(np.cross(v, w)).max()) for i in images for v, w in ((i.across, across), (i.down, down)))
    if (degrees := np.degrees(turned)) > SAID_DEGREES:
        yield f"its slices' directions differ by up to {degrees:.2f} degrees from their mean, which was taken"
