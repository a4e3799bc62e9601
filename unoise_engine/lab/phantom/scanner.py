"""The scanner: field of view, table, and what reconstruction does to an image - blur, noise, streaks, whole HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom.fields import blur

LOWEST_HU, HIGHEST_HU = -1024, 3071


@dataclass(frozen=True)
class Protocol:
    """One scan: lengths in mm, blur in voxels, noise as the standard deviation in HU."""

    spacing_mm: tuple[float, float, float]  # (z, y, x)
    turn_deg: float
    shift_mm: tuple[float, float]  # of the patient on the table, (x, y)
    warp_mm: float
    blur_px: float
    slice_overlap: float  # share of a neighbouring slice that leaks in
    noise_hu: float
    noise_px: float  # correlation: smooth or sharp kernel
    streaks_hu: float
    offset_hu: float
    table: bool
    arms: bool


def sample(rng: np.random.Generator, size: int, thickness_mm: float, body_mm: float) -> Protocol:
    u = rng.uniform
    field = float(np.clip(body_mm * u(1.03, 1.28), 330, 440))
    return Protocol(
        spacing_mm=(thickness_mm, field / size, field / size),
        turn_deg=float(np.clip(rng.normal(0, 2.2), -6, 6)),
        shift_mm=(float(rng.normal(0, 5)), float(rng.normal(0, 8))),
        warp_mm=u(1.5, 4.0),
        blur_px=u(0.3, 0.8),
        slice_overlap=u(0.02, 0.22),
        noise_hu=float(np.exp(u(np.log(5), np.log(24)))),
        noise_px=u(0.3, 1.0),
        streaks_hu=u(2, 7) if rng.random() < 0.3 else 0.0,
        offset_hu=float(rng.normal(0, 3)),
        table=bool(rng.random() < 0.6),
        arms=bool(rng.random() < 0.12),
    )


def image(rng: np.random.Generator, hu: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Ideal HU (z, y, x) float32 -> int16 as scanned."""
    share = np.float32(protocol.slice_overlap)
    out = hu * (1 - 2 * share)
    out[1:] += share * hu[:-1]
    out[:-1] += share * hu[1:]
    out[0] += share * hu[0]
    out[-1] += share * hu[-1]
    for axis in (1, 2):
        out = blur(out, axis, protocol.blur_px)
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    for axis in (1, 2):
        noise = blur(noise, axis, protocol.noise_px)
    noise *= np.float32(protocol.noise_hu) / noise[:: max(1, len(noise) // 4)].std()
    out += noise
    if protocol.streaks_hu:
        rows = rng.standard_normal(hu.shape[:2], dtype=np.float32)  # horizontal: the wide way through the body
        out += (np.float32(protocol.streaks_hu) * rows)[:, :, None] * (out > -300)
    out += np.float32(protocol.offset_hu)
    np.rint(out, out=out)
    np.clip(out, LOWEST_HU, HIGHEST_HU, out=out)
    return out.astype(np.int16)
