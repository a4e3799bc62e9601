"""What happens to CTs that are in HU, and to what is not: each kind is made from a CT and read, and a table printed.

    python -m Testing.benchmarks.hu_table [CT]

The CT is the planted one of the tests, and a real one too if its file or folder is given (columns of values alone:
headers are spoilt in the planted CT).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from Testing.engine.volume.planted import SPACING, Plane, good_hu, nifti, planes, write
from unoise_engine.errors import CaseRefused, EngineError
from unoise_engine.volume.find import find_cases

READ, SAID, REFUSED = "read", "read, said", "refused"
SEED = 3


@dataclass(frozen=True)
class Kind:
    """`values` makes it of HU (z, y, x) as float, or `header` spoils each slice's; `wanted` is what must happen."""

    name: str
    wanted: str
    values: Callable[[np.ndarray], np.ndarray] | None = None
    header: Callable[[Plane], object] | None = None

    def plant(self, folder: Path, hu: np.ndarray | None = None, spacing: tuple[float, float, float] = SPACING) -> Path:
        if self.header:
            slices = planes()
            for one in slices:
                self.header(one)
            return write(folder / "ct", slices)
        assert self.values
        made = self.values((good_hu() if hu is None else hu).astype(np.float32))
        return nifti(folder / "ct.nii.gz", made, steps=np.diag(spacing))


def tags(**values: object) -> Callable[[Plane], object]:
    def change(one: Plane) -> None:
        for name, value in values.items():
            setattr(one.dataset, name, value)

    return change


def derived(*kind: str, **values: object) -> Callable[[Plane], object]:
    return tags(ImageType=["DERIVED", "SECONDARY", "AXIAL", *kind], **values)


def noise(hu: np.ndarray, sd: float) -> np.ndarray:
    return np.random.default_rng(SEED).normal(0, sd, hu.shape)


def whole(hu: np.ndarray) -> np.ndarray:
    return np.rint(hu).astype(np.int16)


def window(hu: np.ndarray) -> np.ndarray:
    return np.clip((hu + 160) / 400, 0, 1)


def standard(hu: np.ndarray) -> np.ndarray:
    return (hu - hu.mean()) / hu.std()


def nnunet(hu: np.ndarray) -> np.ndarray:
    body = hu[hu > -150]
    low, high = np.percentile(body, [0.5, 99.5])
    return (np.clip(hu, low, high) - body.mean()) / body.std()


def crop(hu: np.ndarray) -> np.ndarray:
    _, rows, columns = hu.shape
    return hu[:, int(rows * 0.35) : int(rows * 0.62), int(columns * 0.35) : int(columns * 0.65)]


def implant(hu: np.ndarray) -> np.ndarray:
    """A crop around a metal implant that takes a seventh of it, with streaks."""
    some = crop(hu).copy()
    _, rows, columns = some.shape
    some[:, : int(rows * 0.4), : int(columns * 0.4)] = 3071
    some[:, rows // 2, :] -= 150
    return some


def corners(hu: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
    return np.broadcast_to(np.hypot(x, y) > 1.05, hu.shape)


def head(hu: np.ndarray) -> np.ndarray:
    """A skull around a smooth brain, without fat, in thick slices."""
    n, rows, columns = hu.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    r = np.hypot(x / 0.8, y / 0.9)
    one = np.where(r < 0.9, np.where(np.sin(9 * x) > 0, 28, 38), np.where(r < 1, 1100, -1000))
    return one[None] + np.random.default_rng(SEED).normal(0, 4, (n, rows, columns))


def mr(hu: np.ndarray, ringing: float = 0.0) -> np.ndarray:
    bright = np.where(hu < -500, 0, np.where(hu < -30, 900, np.where(hu < 80, 350, 150)))
    return np.abs(bright + noise(hu, 12)) - ringing


def cone_beam(hu: np.ndarray) -> np.ndarray:
    """Cupping, lower contrast, twice the noise."""
    y, x = np.mgrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
    return hu * 0.9 - 60 * (1 - np.hypot(x, y)) * (hu > -500) + noise(hu, 40)


def masked(hu: np.ndarray) -> np.ndarray:
    return whole(np.where(hu < -300, 0, hu))


KINDS = [
    # HU
    Kind("the CT itself", READ, whole),
    Kind("the CT, fractions of HU", READ, lambda hu: hu + noise(hu, 0.3)),
    Kind("a crop of soft tissue, without air", READ, lambda hu: whole(crop(hu))),
    Kind("a crop around a metal implant", READ, lambda hu: whole(implant(hu))),
    Kind("low dose: noise of 60 HU", READ, lambda hu: whole(hu + noise(hu, 60))),
    Kind("a child: every other voxel, so half the size", READ, lambda hu: whole(hu[:, ::2, ::2])),
    Kind("a head: skull and brain, no fat", READ, lambda hu: whole(head(hu))),
    Kind("air of exactly -1024", READ, lambda hu: whole(np.where(hu < -900, -1024, hu))),
    Kind("virtual monoenergetic image, 40 keV", READ, lambda hu: whole(np.where(hu > 0, np.minimum(2 * hu, 3071), hu))),
    Kind("cone-beam CT, its values alone", READ, lambda hu: whole(cone_beam(hu))),
    Kind("cut off at 1000 HU", READ, lambda hu: whole(np.minimum(hu, 1000))),
    # HU, but not all of it
    Kind("cut off at -200 HU", SAID, lambda hu: whole(np.maximum(hu, -200))),
    Kind("cut off at -160 and 240 HU: a window, in HU", SAID, lambda hu: whole(np.clip(hu, -160, 240))),
    Kind("background of 0 HU", SAID, masked),
    Kind("NaN outside of the field of view", SAID, lambda hu: np.where(corners(hu), np.nan, hu)),
    Kind("padding of -2000", SAID, lambda hu: whole(np.where(corners(hu), -2000, hu))),
    # other scales
    Kind("cut off at 0 HU", REFUSED, lambda hu: whole(np.maximum(hu, 0))),
    Kind("-1 .. 1 of -1000 .. 1000 HU", REFUSED, lambda hu: np.clip(hu, -1000, 1000) / 1000),
    Kind("thousandths", REFUSED, lambda hu: hu / 1000),
    Kind("hundredths", REFUSED, lambda hu: hu / 100),
    Kind("tenths", REFUSED, lambda hu: hu / 10),
    Kind("tenths, whole numbers", REFUSED, lambda hu: whole(hu / 10)),
    Kind("halves", REFUSED, lambda hu: hu / 2),
    Kind("ten times too large", REFUSED, lambda hu: hu * 10),
    Kind("0 .. 1 of a window", REFUSED, window),
    Kind("-1 .. 1 of a window", REFUSED, lambda hu: 2 * window(hu) - 1),
    Kind("0 .. 255 of a window, fractions", REFUSED, lambda hu: 255 * window(hu)),
    Kind("standardised: mean 0, deviation 1", REFUSED, standard),
    Kind("normalised as nnU-Net does", REFUSED, nnunet),
    Kind("8-bit picture", REFUSED, lambda hu: np.rint(255 * window(hu)).astype(np.uint8)),
    Kind("8-bit picture, signed", REFUSED, lambda hu: np.rint(255 * window(hu) - 128).astype(np.int8)),
    Kind("8-bit picture, signed, in 16 bits", REFUSED, lambda hu: whole(255 * window(hu) - 128)),
    Kind("offset missing (1024 higher)", REFUSED, lambda hu: np.clip(hu + 1024, 0, 4095).astype(np.uint16)),
    Kind("offset missing, air with noise below 0", REFUSED, lambda hu: whole(hu + 1000 + noise(hu, 15))),
    Kind("offset missing, negative padding", REFUSED, lambda hu: whole(np.where(corners(hu), -1400, hu + 1024))),
    Kind("200 HU too high", REFUSED, lambda hu: whole(hu + 200)),
    Kind("offset taken twice", REFUSED, lambda hu: whole(hu - 1024)),
    Kind("inverted", REFUSED, lambda hu: whole(3071 - 1024 - hu)),
    Kind("sign lost", REFUSED, lambda hu: whole(-hu)),
    Kind("unsigned: negative values wrapped", REFUSED, lambda hu: whole(hu).astype(np.uint16)),
    Kind("labels", REFUSED, lambda hu: (hu > 60).astype(np.int16) + (hu > 100)),
    Kind("relative electron density", REFUSED, lambda hu: np.maximum(1 + hu / 1000, 0)),
    Kind("effective atomic number", REFUSED, lambda hu: np.maximum(7.4 + hu / 150, 0)),
    Kind("MR", REFUSED, lambda hu: whole(mr(hu))),
    Kind("MR, resampled: rings below 0", REFUSED, lambda hu: mr(hu, 4)),
    Kind("PET: activity per ml", REFUSED, lambda hu: np.where(hu < -500, 0, np.maximum(0, hu + 100) * 40)),
    # headers
    Kind("Rescale Type HOUNSFIELD", READ, header=tags(RescaleType="HOUNSFIELD")),
    Kind("Rescale Type US", READ, header=tags(RescaleType="US")),
    Kind("Rescale Type MGML", REFUSED, header=tags(RescaleType="MGML")),
    Kind("Rescale Type PCT", REFUSED, header=tags(RescaleType="PCT")),
    Kind("Rescale Type Z_EFF", REFUSED, header=tags(RescaleType="Z_EFF")),
    Kind("VMI: virtual monoenergetic", READ, header=derived("VMI")),
    Kind("MAT_REMOVED: virtual unenhanced", SAID, header=derived("MAT_REMOVED")),
    Kind("MAT_SPECIFIC, Rescale Type HU", REFUSED, header=derived("MAT_SPECIFIC", RescaleType="HU")),
    Kind("MAT_FRACTIONAL", REFUSED, header=derived("MAT_FRACTIONAL")),
    Kind("MAT_MODIFIED", REFUSED, header=derived("MAT_MODIFIED")),
    Kind("EFF_ATOMIC_NUM", REFUSED, header=derived("EFF_ATOMIC_NUM")),
    Kind("ELECTRON_DENSITY", REFUSED, header=derived("ELECTRON_DENSITY")),
    Kind("CT_SOM7 SPI DUAL, DE_IODINE", REFUSED, header=derived("CT_SOM7 SPI DUAL", "DE_IODINE")),
    Kind("derived, described as Iodine Map (HU)", REFUSED, header=derived(SeriesDescription="Iodine Map (HU)")),
    Kind("original, described as thin for MIP", READ, header=tags(SeriesDescription="Abdomen 1.0 thin for MIP")),
    Kind("MIP", REFUSED, header=derived("MIP")),
    Kind("CT_SOM5 MIP", REFUSED, header=derived("CT_SOM5 MIP")),
    Kind("MIN IP", REFUSED, header=derived("MIN IP")),
    Kind("MAX_IP", REFUSED, header=derived("MAX_IP")),
    Kind("MNIP THIN", REFUSED, header=derived("THINMIP")),
    Kind("derived, described as AX MinIP 10mm", REFUSED, header=derived(SeriesDescription="AX MinIP 10mm")),
    Kind("VRT", REFUSED, header=derived("CSA 3D EDITOR", "VRT")),
    Kind("REFORMATTED, AVERAGE", SAID, header=derived("REFORMATTED", "AVERAGE")),
    Kind("SCREEN SAVE", REFUSED, header=derived("SCREEN SAVE")),
    Kind("RCBV: perfusion", REFUSED, header=derived("PERFUSION", "RCBV")),
    Kind("cone-beam CT by its header", SAID, header=tags(ManufacturerModelName="On-board imager CBCT")),
    Kind("modality MR", REFUSED, header=tags(Modality="MR")),
    Kind("modality PT (beside a CT of PET/CT)", REFUSED, header=tags(Modality="PT")),
]  # fmt: skip


def happens(source: Path) -> tuple[str, str]:
    """What becomes of it, and the first sentence on it."""
    try:
        (case,) = find_cases([source])
        notes = case.read().notes
    except CaseRefused as error:
        return REFUSED, f"{error.code}: {error.what}"
    except EngineError as error:
        return REFUSED, error.what
    return (SAID, notes[0]) if notes else (READ, "")


def table(real: Path | None = None) -> str:
    """Markdown. What is not as wanted stands in bold."""
    ct = None
    if real:
        (case,) = find_cases([real])
        ct = case.read().ct
    lines = [
        "## What is HU, and what is not",
        "",
        "Each kind is made from the planted CT, and of its values also from a real one, and read here (hu_table.py).",
        "*read, said*: read, and the sentence stands in the report, the summary and the picture.",
        "",
        "| kind | planted CT | real CT | sentence |",
        "|---|---|---|---|",
    ]
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as home:
            became, said = happens(kind.plant(Path(home)))
            there = "-"
            if ct and kind.values:
                there, said = happens(kind.plant(Path(home), ct.voxels, ct.grid.spacing_mm))
        marks = [text if text in (kind.wanted, "-") else f"**{text}**" for text in (became, there)]
        lines.append(f"| {kind.name} | {' | '.join(marks)} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
