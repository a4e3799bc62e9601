"""CTs whose cause is known: an organ is the target only where a landmark is near; everything else looks the same.

In every slice there are round organs of one look and bright spots of one look. An organ with a spot within
`NEAR_MM` of its edge is the **target**, and that spot is the **landmark**: it is why. Organs without a near spot are
**decoys**, and so are spots with no organ near: they are at least `FAR_MM` away. Spots end between slices, so the same
organ is the target in some slices of a CT and a decoy in others. Neither the look of an organ, nor its place, nor a
spot alone says what is the target; a model that segments it must have looked at both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.phantom import scanner
from unoise_engine.lab.phantom.abdomen import Phantom, check_size
from unoise_engine.lab.phantom.canvas import Canvas
from unoise_engine.lab.phantom.shapes import Ellipsoid, Tube, tube
from unoise_engine.volume.volume import Grid, Volume

LABELS = {"target": 1, "landmark": 2, "decoy": 3, "decoy_landmark": 4}
FIELD_MM, THICKNESS_MM = 352.0, 4.0
BODY_MM = (148.0, 104.0)  # half width and half depth
FAT_MM = 14.0
ROOM_MM = (112.0, 70.0)  # where organs and spots may lie: half axes of an ellipse
SPINE_MM, SPINE_RADIUS_MM = (0.0, 66.0), 24.0
ORGANS, FREE_SPOTS = 3, 2
ORGAN_MM = (9.0, 12.0)  # radius
SPOT_MM = 5.0  # radius
NEAR_MM = (10.0, 18.0)  # from an organ's edge to the middle of its spot
FAR_MM = 36.0  # the same, to any other spot, at least
ORGAN_HU, SPOT_HU, SOFT_HU, FAT_HU, SPINE_HU = 120.0, 225.0, 45.0, -100.0, 320.0
WANDER_MM = 5.0  # how far an organ's middle moves along the CT, to either side
TRIES = 4000


@dataclass(frozen=True)
class Spot:
    """A bright rod along the CT between two heights (mm); `organ` is the one it makes the target, -1 for none."""

    centre: tuple[float, float]
    low: float
    high: float
    organ: int


@dataclass(frozen=True)
class Scene:
    organs: tuple[tuple[float, float, float], ...]  # x, y, radius
    spots: tuple[Spot, ...]


def plant(seed: int, *, size: int = 256, slices: int = 40) -> Phantom:
    """A planted CT, LPS, first slice nearest the feet, and its labels (numbers in `LABELS`). Same seed, same bytes."""
    check_size(seed, size, slices)
    rng = np.random.default_rng([seed, 0x91A27])
    step = FIELD_MM / size
    across = (np.arange(size) - (size - 1) / 2) * step
    heights = np.arange(slices) * THICKNESS_MM
    protocol = scanner.sample(rng, size, THICKNESS_MM, 2 * BODY_MM[0])
    scene = lay_out(rng, float(heights[-1]))
    canvas = Canvas.blank(rng, (heights, across, across), 0.0, (0.0, 0.0), (1.0, 1.0, 1.0), warp_mm=1.5)
    _draw(rng, canvas, scene, float(heights[-1]))
    grid = Grid(
        size=(size, size, slices),
        spacing_mm=(step, step, THICKNESS_MM),
        origin_mm=(float(across[0]), float(across[0]), 0.0),
        direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )
    ct = Volume(scanner.image(rng, canvas.hu, protocol), grid)
    return Phantom(ct=ct, labels=ct.with_voxels(canvas.labels), phase="planted", seed=seed)


def lay_out(rng: np.random.Generator, length_mm: float) -> Scene:
    """Places for organs and spots such that near is near and everything else is far."""
    while True:
        organs = _organs(rng)
        spots = _spots(rng, organs, length_mm) if organs else None
        if organs and spots:
            return Scene(tuple(organs), tuple(spots))


def _organs(rng: np.random.Generator) -> list[tuple[float, float, float]] | None:
    placed: list[tuple[float, float, float]] = []
    for _ in range(TRIES):
        x, y = _somewhere(rng)
        radius = float(rng.uniform(*ORGAN_MM))
        apart = all(np.hypot(x - a, y - b) > radius + r + FAR_MM / 2 + 2 * WANDER_MM for a, b, r in placed)
        if apart and _clear_of_spine(x, y, radius + WANDER_MM):
            placed.append((x, y, radius))
        if len(placed) == ORGANS:
            return placed
    return None


def _spots(rng: np.random.Generator, organs: list[tuple[float, float, float]], length_mm: float) -> list[Spot] | None:
    """Each organ has a near spot along some part of the CT (the first always, the others often); some are free."""
    spots = []
    for k, (x, y, radius) in enumerate(organs):
        if k and rng.random() < 0.35:
            continue
        for _ in range(TRIES // 10):
            turn, gap = rng.uniform(0, 2 * np.pi), rng.uniform(*NEAR_MM)
            at = x + (radius + gap) * np.cos(turn), y + (radius + gap) * np.sin(turn)
            others = [o for j, o in enumerate(organs) if j != k]
            if _inside(*at) and _clear_of_spine(*at, SPOT_MM) and _far(at, others):
                spots.append(Spot((float(at[0]), float(at[1])), *_part(rng, length_mm), organ=k))
                break
        else:
            return None
    free: list[Spot] = []
    for _ in range(TRIES):
        at = _somewhere(rng)
        apart = all(np.hypot(at[0] - s.centre[0], at[1] - s.centre[1]) > 4 * SPOT_MM for s in (*spots, *free))
        if apart and _far(at, organs) and _clear_of_spine(*at, SPOT_MM):
            free.append(Spot(at, *_part(rng, length_mm), organ=-1))
        if len(free) == FREE_SPOTS:
            return [*spots, *free]
    return None


def _part(rng: np.random.Generator, length_mm: float) -> tuple[float, float]:
    """A stretch of the CT, a third of it at least."""
    share = rng.uniform(0.35, 0.8)
    low = rng.uniform(0, 1 - share) * length_mm
    return float(low), float(low + share * length_mm)


def _somewhere(rng: np.random.Generator) -> tuple[float, float]:
    turn, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform())
    return float(ROOM_MM[0] * out * np.cos(turn)), float(ROOM_MM[1] * out * np.sin(turn))


def _inside(x: float, y: float) -> bool:
    return (x / ROOM_MM[0]) ** 2 + (y / ROOM_MM[1]) ** 2 < 1.15


def _clear_of_spine(x: float, y: float, radius: float) -> bool:
    return bool(np.hypot(x - SPINE_MM[0], y - SPINE_MM[1]) > SPINE_RADIUS_MM + radius + 4)


def _far(at: tuple[float, float], organs: list[tuple[float, float, float]]) -> bool:
    return all(np.hypot(at[0] - x, at[1] - y) - r > FAR_MM + WANDER_MM for x, y, r in organs)


def _draw(rng: np.random.Generator, canvas: Canvas, scene: Scene, length_mm: float) -> None:
    long = 100 * length_mm
    middle = length_mm / 2
    trunk = Ellipsoid((0, 0, middle), (*BODY_MM, long))
    inner = Ellipsoid((0, 0, middle), (BODY_MM[0] - FAT_MM, BODY_MM[1] - FAT_MM, long))
    spine = Ellipsoid((*SPINE_MM, middle), (SPINE_RADIUS_MM, SPINE_RADIUS_MM * 0.8, long))
    for whole, hu, grain in ((trunk, FAT_HU, 6.0), (inner, SOFT_HU, 10.0), (spine, SPINE_HU, 40.0)):
        _paint(canvas, whole, hu, grain)
    ways = [_way(rng, length_mm) for _ in scene.organs]
    for (x, y, radius), way in zip(scene.organs, ways):
        for shape in _lobes(rng, (x, y, radius), way, length_mm):
            _paint(canvas, shape, ORGAN_HU, 8.0, LABELS["decoy"])
    for spot in scene.spots:
        way = ways[spot.organ] if spot.organ >= 0 else np.zeros((2, 2))
        _paint(canvas, _rod(spot, way, length_mm), SPOT_HU, 4.0, LABELS["decoy_landmark"])
    _name_causes(canvas, scene, ways, length_mm)


def _way(rng: np.random.Generator, length_mm: float) -> np.ndarray:
    """Where an organ's middle is at the CT's two ends, beside its place: (2, 2) mm."""
    return rng.uniform(-WANDER_MM / 2, WANDER_MM / 2, (2, 2))


def _lobes(
    rng: np.random.Generator, organ: tuple[float, float, float], way: np.ndarray, length_mm: float
) -> list[Tube]:
    """A round organ with two bulges: rods through the whole CT."""
    x, y, radius = organ
    shapes = []
    for bulge in range(3):
        turn = rng.uniform(0, 2 * np.pi)
        out = 0.0 if bulge == 0 else radius * 0.35
        centre = np.array([x + out * np.cos(turn), y + out * np.sin(turn)])
        ends = [
            (*(centre + way[0]), -20.0),
            (*(centre + way.mean(axis=0)), length_mm / 2),
            (*(centre + way[1]), length_mm + 20),
        ]
        shapes.append(tube(ends, radius * (0.85 if bulge == 0 else 0.62), samples=3))
    return shapes


def _rod(spot: Spot, way: np.ndarray, length_mm: float) -> Tube:
    """It goes along with its organ, so that near stays near."""
    ends = []
    for height in (spot.low, (spot.low + spot.high) / 2, spot.high):
        share = (height + 20) / (length_mm + 40)
        moved = np.array(spot.centre) + (1 - share) * way[0] + share * way[1]
        ends.append((*moved, height))
    return tube(ends, SPOT_MM, samples=3, stretch=0.2)  # flat ends: a spot is there or not


def _paint(canvas: Canvas, shape: Ellipsoid | Tube, hu: float, grain: float, label: int | None = None) -> None:
    found = canvas.distance(shape)
    if found is not None:
        box, inside = found
        canvas.paint(box, inside, canvas.textured(box, hu, grain, grain / 2), label)


def _name_causes(canvas: Canvas, scene: Scene, ways: list[np.ndarray], length_mm: float) -> None:
    """Where a spot of an organ is in a slice, the organ is the target there and the spot the landmark."""
    for spot in scene.spots:
        if spot.organ < 0:
            continue
        x, y, _ = scene.organs[spot.organ]
        for k, part in enumerate(canvas.labels):
            away = np.hypot(canvas.x[k] - spot.centre[0], canvas.y[k] - spot.centre[1])
            mine = (part == LABELS["decoy_landmark"]) & (away < 2 * SPOT_MM + WANDER_MM)
            if mine.any():
                near = np.hypot(canvas.x[k] - x, canvas.y[k] - y) < 2 * ORGAN_MM[1] + WANDER_MM
                part[mine] = LABELS["landmark"]
                part[(part == LABELS["decoy"]) & near] = LABELS["target"]
