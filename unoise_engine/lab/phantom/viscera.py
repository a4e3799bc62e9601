"""Draws the organs of the abdomen from the most to the least important: each is moulded into the room left to it."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.phantom.anatomy import Anatomy
from unoise_engine.lab.phantom.canvas import REACH_MM, Box, Canvas
from unoise_engine.lab.phantom.gut import Loop
from unoise_engine.lab.phantom.labels import LABELS

TIGHT_MM = 0.3  # gap between a vessel and the gland that lies on it


def draw(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    gap = anatomy.fat_gap_mm
    _vessels(canvas, anatomy, hu)
    _pancreas(canvas, anatomy, hu)
    _loop(canvas, anatomy.loops["duodenum"][0], "duodenum", "duodenal wall", hu, 0.3 + 0.3 * gap)
    for side in ("right", "left"):
        _kidney(canvas, anatomy, hu, side)
    for name in ("adrenal_gland_right", "adrenal_gland_left"):
        _plain(canvas, anatomy, name, hu["adrenal"], 4, 1.0)
    _plain(canvas, anatomy, "gallbladder", hu["bile"], 2, 0.2, wall=(1.2, hu["bowel wall"]))
    _loop(canvas, anatomy.loops["stomach"][0], "stomach", "stomach wall", hu, 0.5 + 0.5 * gap)
    _spleen(canvas, anatomy, hu)
    _liver(canvas, anatomy, hu)
    for loop in anatomy.loops["colon"]:
        _loop(canvas, loop, "colon", "bowel wall", hu, 0.5 + 0.4 * gap)
    for loop in anatomy.loops["small_bowel"]:
        _loop(canvas, loop, "small_bowel", "bowel wall", hu, 0.2 + 0.25 * gap)
    for k, twig in enumerate(anatomy.twigs):
        found = canvas.distance(twig)
        if found:
            box, inside = found
            canvas.paint(box, canvas.mould(box, inside), hu["artery" if k % 3 == 0 else "portal blood"])


def _plain(
    canvas: Canvas,
    anatomy: Anatomy,
    name: str,
    mean: float,
    grain: float,
    gap: float,
    wall: tuple[float, float] | None = None,
    number: str | None = None,
) -> None:
    """One organ of one tissue, with a thin wall (mm, HU) if asked for."""
    found = canvas.distance(*anatomy.organs[name])
    if not found:
        return
    box, inside = found
    inside = canvas.mould(box, inside)
    label = LABELS.get(number or name)
    if wall:
        canvas.paint(box, inside, wall[1], label)
        canvas.paint(box, inside - np.float32(wall[0]), canvas.textured(box, mean, grain))
    else:
        canvas.paint(box, inside, canvas.textured(box, mean, grain), label)
    canvas.claim(box, inside, gap)


def _vessels(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    wall = (1.0, 0.5 * (hu["artery"] + hu["muscle"]))
    _plain(canvas, anatomy, "aorta", hu["artery"], 3, 1.0, wall)
    _plain(canvas, anatomy, "superior_mesenteric_artery", hu["artery"], 3, 2.2)
    _plain(canvas, anatomy, "superior_mesenteric_vein", hu["portal blood"], 3, TIGHT_MM)
    _plain(canvas, anatomy, "portal_vein_and_splenic_vein", hu["portal blood"], 3, TIGHT_MM)
    _plain(canvas, anatomy, "inferior_vena_cava", hu["caval blood"], 5, 0.8)
    _plain(canvas, anatomy, "renal veins", hu["caval blood"], 4, 0.8, number="inferior_vena_cava")
    _plain(canvas, anatomy, "small arteries", hu["artery"], 3, TIGHT_MM)


def _pancreas(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    """A lobulated gland, with fat in the clefts, around its duct and the bile duct."""
    found = canvas.distance(*anatomy.organs["pancreas"])
    if not found:
        return
    box, inside = found
    inside = inside + canvas.grain["mid"][box] * np.float32(anatomy.lobulation_mm)
    inside = canvas.mould(box, inside)
    gland = canvas.textured(box, hu["pancreas"], 6, 5)
    lobules = canvas.grain["fine"][box] * 0.8 + canvas.grain["mid"][box] * 0.6
    cleft = np.clip(lobules - np.float32(2.1 - 1.6 * anatomy.pancreas_fat), 0, 1)
    cleft *= np.float32(0.35 + 0.35 * anatomy.pancreas_fat)
    gland += cleft * (np.float32(hu["visceral fat"]) - gland)
    canvas.paint(box, inside, gland, LABELS["pancreas"])
    canvas.claim(box, inside, 0.4 + 0.25 * anatomy.fat_gap_mm)
    for name, fluid in (("pancreatic duct", hu["urine"]), ("bile duct", hu["bile"])):
        duct = canvas.distance(*anatomy.organs[name])
        if duct:
            where, lumen = duct
            canvas.paint(where, np.minimum(lumen, _within(canvas, where, "pancreas")), fluid)


def _within(canvas: Canvas, box: Box, name: str) -> np.ndarray:
    """+REACH in voxels of that label, -REACH elsewhere: keeps small things inside their organ."""
    return np.where(canvas.labels[box] == LABELS[name], np.float32(REACH_MM), np.float32(-REACH_MM))


def _kidney(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float], side: str) -> None:
    name = f"kidney_{side}"
    found = canvas.distance(*anatomy.organs[name])
    if not found:
        return
    box, inside = found
    organ = canvas.mould(box, inside)
    sinus = canvas.distance(*anatomy.organs[f"sinus_{side}"])
    canvas.claim(box, organ, 1.0 + anatomy.fat_gap_mm)
    if sinus:
        where, hollow = sinus
        part = organ[tuple(slice(max(w.start - b.start, 0), w.stop - b.start) for w, b in zip(where, box))]
        cut = hollow[tuple(slice(max(b.start - w.start, 0), b.stop - w.start) for w, b in zip(where, box))]
        if part.shape == cut.shape:
            np.minimum(part, -cut, out=part)
    pyramids = np.clip((inside - 6) / 2.5, 0, 1) * np.clip(canvas.grain["mid"][box] * 1.5 + 0.9, 0, 1)
    cortex = canvas.textured(box, hu["kidney cortex"], 5)
    canvas.paint(box, organ, cortex + pyramids * np.float32(hu["kidney medulla"] - hu["kidney cortex"]), LABELS[name])
    pelvis = canvas.distance(*anatomy.organs[f"pelvis_{side}"])
    if pelvis:
        where, lumen = pelvis
        canvas.paint(where, lumen, hu["urine"])


def _spleen(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    found = canvas.distance(*anatomy.organs["spleen"])
    if not found:
        return
    box, inside = found
    for piece in anatomy.organs["spleen hollow"][0].pieces:
        inside = np.minimum(inside, -piece.distance(canvas.x[box], canvas.y[box], canvas.z[box]))
    inside = canvas.mould(box, inside)
    moire = 10.0 if hu["artery"] > 1.6 * hu["portal blood"] else 1.0  # uneven in the arterial phase
    canvas.paint(box, inside, canvas.textured(box, hu["spleen"], 4, moire), LABELS["spleen"])
    canvas.claim(box, inside, 1.0)


def _liver(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    """Two lobes, cut from below by the visceral surface and behind by the spine, with its veins inside."""
    right, left = anatomy.organs["liver"]
    found = canvas.distance(right, left)
    if not found:
        return
    box, _ = found
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    inside = _joined(right.pieces[0].distance(x, y, z), left.pieces[0].distance(x, y, z), 30.0)
    wide = anatomy.trunk.half_width / 126.0
    wavy = canvas.grain["coarse"][box] * 4
    under = ((z + 62) - np.float32(0.82 / wide) * (x + np.float32(84 * wide))) * np.float32(0.77)
    under += wavy
    behind = wavy - (np.float32(0.9) * (x + 14) + np.float32(0.35) * (y + 40))
    inside = np.minimum(np.minimum(inside, under), np.maximum(behind, wavy - 56 - y))
    organ = canvas.mould(box, inside)
    canvas.paint(box, organ, canvas.textured(box, hu["liver"], 4, 1.5, 2), LABELS["liver"])
    canvas.claim(box, organ, 0.5 + 0.3 * anatomy.fat_gap_mm)
    for name, blood in (("liver portal", hu["portal blood"]), ("liver veins", hu["hepatic vein"])):
        branches = canvas.distance(*anatomy.organs[name])
        if branches:
            where, lumen = branches
            canvas.paint(where, np.minimum(lumen, _within(canvas, where, "liver")), blood)


def _loop(canvas: Canvas, loop: Loop, name: str, wall_name: str, hu: dict[str, float], gap: float) -> None:
    """Wall, content and - at the top, because gas rises in a patient on the back - gas with a flat level."""
    found = canvas.distance(loop.path)
    if not found:
        return
    box, inside = found
    inside = canvas.mould(box, inside)
    wall = canvas.textured(box, hu[wall_name], 5, 4)
    canvas.paint(box, inside, wall, LABELS[name])
    canvas.claim(box, inside, gap)
    if loop.content == "collapsed":
        return
    lumen = inside - np.float32(loop.wall_mm)
    lumen += canvas.grain["mid"][box] * np.float32(0.5)  # folds
    grain = {"feces": (45, 60), "chyme": (14, 14), "oral contrast": (14, 10)}.get(loop.content, (4, 2))
    fill = canvas.textured(box, hu[loop.content], *grain)
    if loop.content == "feces":
        fill[canvas.grain["mid"][box] > 1.3] = -500.0
    canvas.paint(box, lumen, fill)
    if loop.gas_share > 0:
        rows = np.flatnonzero((lumen > 0).any((0, 2)))
        if len(rows):
            y = canvas.row_mm[box[1]]
            level = y[rows[0]] + loop.gas_share * (y[rows[-1]] - y[rows[0]])
            canvas.paint(box, np.minimum(lumen, (level - y)[None, :, None]), hu["gas"], edge_mm=1.0)


def _joined(a: np.ndarray, b: np.ndarray, soft_mm: float) -> np.ndarray:
    """Union of two distances whose seam is filled over `soft_mm`."""
    seam = np.maximum(1 - np.abs(a - b) / np.float32(soft_mm), 0)
    return np.maximum(a, b) + seam * seam * np.float32(soft_mm / 4)
