"""Where the organs of one patient lie: random parameters are sampled here and drawn elsewhere.

Millimetres in the patient frame (x to the left, y to the back, z to the head) around the middle of the vertebral body
at the level of the pancreatic neck. Control points are those of a slim adult; `_Place` spreads them to the habitus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.phantom.shapes import Ellipsoid, Point, Shape, Tube, spline, tube

Rng = np.random.Generator


@dataclass(frozen=True)
class Trunk:
    """The wall of the body and what it is made of; all mm."""

    half_width: float  # of the abdominal cavity
    front: float  # from the vertebral body to the front of the cavity
    back: float  # and to its back, beside the spine
    wall: float  # thickness of the muscles
    fat_front: float
    fat_side: float
    fat_back: float
    square: float  # 0 = ellipse, 0.6 = rounded box
    dome_right: float  # height of the diaphragm
    dome_left: float
    vertebra: tuple[float, float]  # half width and half depth
    vertebra_period: float
    vertebra_phase: float
    rib_period: float
    rib_phase: float
    rib_slope: float  # mm a rib falls per radian from the spine to the front
    rib_floor: float  # no rib below


@dataclass(frozen=True)
class Loop:
    """One piece of gut and what it holds."""

    path: Tube
    wall_mm: float
    content: str
    gas_share: float  # of its height, 0 = none


@dataclass(frozen=True)
class Anatomy:
    scale: Point  # of the whole patient
    fat_gap_mm: float  # fat between neighbouring organs
    trunk: Trunk
    organs: dict[str, tuple[Shape, ...]]
    loops: dict[str, tuple[Loop, ...]]  # stomach, duodenum, colon, small_bowel
    twigs: tuple[Tube, ...]  # unlabelled small vessels
    lobulation_mm: float
    pancreas_fat: float  # 0 = dense gland, 1 = mostly replaced by fat
    pancreas_z: tuple[float, float]  # lowest and highest point


class _Place:
    """Spreads control points of the slim adult over a wider, deeper cavity; the retroperitoneum stays by the spine."""

    def __init__(self, half_width: float, front: float):
        self.kx, self.ky = half_width / 126.0, (front - 45.0) / (112.0 - 45.0)

    def __call__(self, points: object) -> np.ndarray:
        p = np.array(points, dtype=float)
        x, y = p[..., 0], p[..., 1]
        p[..., 0] = x + (self.kx - 1) * x * np.clip(np.abs(x) / 70.0, 0, 1)
        p[..., 1] = np.where(y < -45, -45 + (y + 45) * self.ky, y)
        return p


def sample(rng: Rng, floor_mm: float) -> Anatomy:
    """One patient; the gut is sampled down to `floor_mm`."""
    u = rng.uniform
    adiposity = float(np.clip(rng.beta(1.6, 2.2), 0, 1))
    visceral = float(np.clip(adiposity + rng.normal(0, 0.22), 0, 1))
    trunk = _trunk(rng, adiposity, visceral)
    place = _Place(trunk.half_width, trunk.front)
    organs: dict[str, tuple[Shape, ...]] = {}
    _solid(rng, place, trunk, organs)
    nodes = _pancreas(rng, place, organs)
    _vessels(rng, place, nodes, organs)
    loops = {
        "stomach": _stomach(rng, place, trunk),
        "duodenum": _duodenum(rng, place, nodes),
        "colon": _colon(rng, place, floor_mm),
        "small_bowel": _small_bowel(rng, place, floor_mm),
    }
    tubes = [s for s in organs["pancreas"] if isinstance(s, Tube)]
    low = min(float((t.points[:, 2] - t.radii * t.stretch).min()) for t in tubes)
    high = max(float((t.points[:, 2] + t.radii * t.stretch).max()) for t in tubes)
    return Anatomy(
        scale=tuple(float(np.clip(rng.normal(1.0, 0.045), 0.9, 1.12)) * k for k in (1.0, u(0.96, 1.04), u(0.95, 1.05))),  # type: ignore[arg-type]
        fat_gap_mm=0.4 + 4.0 * visceral,
        trunk=trunk,
        organs=organs,
        loops=loops,
        twigs=_twigs(rng, place, floor_mm),
        lobulation_mm=u(0.5, 2.2),
        pancreas_fat=u(0.3, 1.0) if rng.random() < 0.35 else u(0.0, 0.2),
        pancreas_z=(low, high),
    )


def _trunk(rng: Rng, adiposity: float, visceral: float) -> Trunk:
    u = rng.uniform
    return Trunk(
        half_width=116 + 30 * visceral + u(-5, 8),
        front=94 + 48 * visceral + u(-5, 8),
        back=u(58, 68),
        wall=u(9, 15),
        fat_front=4 + 34 * adiposity * u(0.6, 1.2),
        fat_side=4 + 26 * adiposity * u(0.6, 1.3),
        fat_back=4 + 24 * adiposity * u(0.6, 1.2),
        square=u(0.1, 0.5),
        dome_right=u(98, 122),
        dome_left=u(88, 112),
        vertebra=(u(20, 25), u(15, 18.5)),
        vertebra_period=u(31, 37),
        vertebra_phase=u(0, 37),
        rib_period=u(26, 32),
        rib_phase=u(0, 31),
        rib_slope=u(40, 62),
        rib_floor=u(-75, -35),
    )


def _solid(rng: Rng, place: _Place, trunk: Trunk, organs: dict[str, tuple[Shape, ...]]) -> None:
    u = rng.uniform
    big = u(0.9, 1.12)
    right, left = place((-68, -30, u(20, 34))), place((-8, -82, u(50, 64)))
    organs["liver"] = (
        Ellipsoid(_point(right), (74 * big * place.kx, (100 + trunk.front - 112) * big, 104 * big)),
        Ellipsoid(_point(left), (u(55, 88) * place.kx, u(34, 46), u(34, 50)), u(-12, 12)),
    )
    porta = place((-40, -52, 36))
    ends = place(
        [
            (-105, -70, 40),
            (-110, -30, 20),
            (-105, -5, 50),
            (-80, -80, 60),
            (-90, -40, 75),
            (5, -90, 55),
            (-35, -100, 45),
            (-70, -20, 5),
        ]
    )
    organs["liver portal"] = tuple(_branch(rng, porta, end, u(3.0, 5.0)) for end in ends)
    cava = place((-24, -30, 88))
    organs["liver veins"] = tuple(
        _branch(rng, cava, end, u(3.0, 5.0))
        for end in place([(-100, -20, 50), (-75, -85, 48), (5, -85, 60), (-60, 10, 45), (-100, 10, 65)])
    )
    spleen = place((102, u(10, 24), u(40, 56)))
    organs["spleen"] = (Ellipsoid(_point(spleen), (u(28, 38), u(44, 58), u(46, 64)), u(-32, -12), (u(-0.1, 0.2), 0)),)
    organs["spleen hollow"] = (Ellipsoid((spleen[0] - 42, spleen[1] - 28, spleen[2] - 6), (u(24, 36), 40, 46)),)
    organs["gallbladder"] = ()
    if rng.random() < 0.88:
        gall = place((u(-66, -52), u(-84, -70), u(-14, 8)))
        organs["gallbladder"] = (
            Ellipsoid(_point(gall), (u(10, 17), u(14, 24), u(18, 32)), u(-40, 20), (0, u(-0.4, 0.1))),
        )
    size = u(0.88, 1.12)
    for side, name in ((-1, "right"), (1, "left")):
        x, y, z = side * u(60, 72), u(14, 26), u(-4, 16) + (-14 if side < 0 else 0)
        turn = -side * u(20, 42)
        radii = (u(25, 30) * size, u(21, 25) * size, u(48, 58) * size)
        lean = (side * u(-0.28, -0.08), u(0.0, 0.2))
        organs[f"kidney_{name}"] = (Ellipsoid((x, y, z), radii, turn, lean),)
        hilum = (x - side * radii[0] * 0.72, y - radii[1] * 0.5, z)
        organs[f"sinus_{name}"] = (Ellipsoid(hilum, (radii[0] * 0.55, radii[1] * 0.34, radii[2] * 0.42), turn, lean),)
        organs[f"pelvis_{name}"] = (Ellipsoid(hilum, (radii[0] * u(0.2, 0.45), u(3, 6), radii[2] * 0.26), turn, lean),)
    ax, ay, az = u(34, 44), u(-14, -4), u(36, 46)
    organs["adrenal_gland_left"] = (
        tube(
            [(ax - 8, ay + 12, az), (ax, ay, az), (ax + 10, ay + 13, az)], (1.8, 2.8, 1.8), samples=6, stretch=u(3, 5)
        ),
    )
    organs["adrenal_gland_right"] = (
        tube([(-26, -14, 38), (-33, 4, 38), (-37, 14, 38)], (2.6, 2.4, 1.6), samples=6, stretch=u(3, 5)),
    )
    for side, name in ((-1, "right"), (1, "left")):
        organs[f"iliopsoas_{name}"] = (
            tube(
                [
                    (side * 27, 8, 24),
                    (side * 32, 9, -25),
                    (side * 40, 8, -80),
                    (side * 48, 4, -150),
                    (side * 52, -5, -230),
                ],
                np.array([4, 11, 18, 24, 27]) * u(0.85, 1.1),
                samples=12,
            ),
        )
    organs["crura"] = (
        tube([(-11, -16, -20), (-9, -24, 20), (-8, -34, 60), (0, -44, 90)], (3, 4.5, 5, 5), samples=10),
        tube([(20, -14, -10), (20, -20, 25), (17, -32, 60), (8, -44, 90)], (2.5, 4, 4.5, 5), samples=10),
    )


def _pancreas(rng: Rng, place: _Place, organs: dict[str, tuple[Shape, ...]]) -> np.ndarray:
    """Control points from the head to the tail, (8, 3); the neighbours hang on them."""
    u = rng.uniform
    rise, drop, arch, bow = u(-14, 22), u(-12, 6), u(-8, 12), u(-8, 4)
    nodes = np.array(
        [
            (-31, -47, -32 + drop),  # lower head
            (-35, -50, -14 + drop * 0.6),  # head
            (-27, -56, 1 + drop * 0.2),
            (-9, -63, 8 + arch * 0.4),  # neck
            (14, -67 + bow, 14 + arch),  # body
            (40, -57 + bow, 20 + arch * 0.7 + rise * 0.4),
            (64, -35, 25 + rise * 0.8),  # tail
            (84, -10, 30 + rise),
        ],
        dtype=float,
    )
    nodes += rng.normal(0, 2.2, nodes.shape) + np.array([u(-4, 4), 0, u(-4, 4)])
    nodes[-1] += rng.normal(0, 3.5, 3)
    nodes = place(nodes)
    size = u(0.86, 1.08) * (u(0.76, 0.88) if rng.random() < 0.18 else 1.0)
    radii = np.array([9.5, 14.0, 12.5, 8.0, 9.5, 10.0, 9.5, 7.0]) * size * rng.uniform(0.9, 1.1, 8)
    organs["pancreas"] = (
        tube(nodes, radii, samples=44, stretch=u(1.25, 1.6)),
        tube(
            [_by(nodes[1], 4, 5, -6), _by(nodes[1], 14, 9, -11), _by(nodes[1], 22, 10, -14)],
            np.array([9, 7.5, 4]) * size,
            samples=6,
            stretch=1.5,
        ),
    )
    organs["pancreatic duct"] = (tube(nodes[1:] + rng.normal(0, 0.6, (7, 3)), u(0.7, 1.6), samples=36),)
    bile = [_by(nodes[0], -4, 4, 0), _by(nodes[1], -3, 7, 8), _by(nodes[2], -6, 9, 14), place((-38, -54, 44))]
    organs["bile duct"] = (tube(bile, u(1.8, 3.6), samples=14),)
    return nodes


def _vessels(rng: Rng, place: _Place, nodes: np.ndarray, organs: dict[str, tuple[Shape, ...]]) -> None:
    u = rng.uniform
    ra = u(8, 12)
    ax = u(3, 12)
    aorta = [
        (ax + 1, -20 - ra, -240),
        (ax + u(-4, 4), -21 - ra, -90),
        (ax, -20 - ra, 0),
        (ax - 2, -23 - ra, 70),
        (ax + 3, -14 - ra, 150),
        (ax + 8, -4 - ra, 260),
    ]
    organs["aorta"] = (tube(aorta, np.array([0.85, 0.9, 1, 1.05, 1.1, 1.15]) * ra, samples=24),)
    rc = u(8, 12)
    cava = [(-17, -23, -240), (-20, -24, -60), (-23, -26, 0), (-25, -33, 50), (-24, -40, 90), (-20, -50, 125)]
    organs["inferior_vena_cava"] = (tube(cava, rc, samples=24),)
    rv = u(4.6, 6.6)
    meet = _by(nodes[3], -1, rv + 9, -1)  # the confluence, behind the neck
    organs["superior_mesenteric_vein"] = (
        tube(
            [meet, _by(meet, -2, -3, -22), _by(meet, -3, -9, -48), _by(meet, 4, -14, -95)],
            (rv, rv, rv * 0.9, rv * 0.6),
            samples=16,
        ),
    )
    porta = place((-40, -52, 36))
    behind = [_by(nodes[k], 2, d, 1) for k, d in ((4, rv + 9), (5, rv + 8.5), (6, rv + 6))]
    hilum = _by(nodes[7], 7, 5, 3)
    organs["portal_vein_and_splenic_vein"] = (
        tube([meet, _by(meet, -9, 1, 11), (meet + porta) / 2 + (-2, 2, 6), porta], rv * 1.12, samples=14),
        tube([meet, *behind, hilum], np.array([0.85, 0.75, 0.72, 0.68, 0.6]) * rv, samples=26),
    )
    rs = u(2.8, 4.2)
    top = meet[2] + u(4, 12)
    start = np.array([ax - 1, -22 - ra, top + 8])
    organs["superior_mesenteric_artery"] = (
        tube(
            [
                start,
                (ax - 2, -26 - 2 * ra, top),
                (ax - 3, -34 - 2 * ra, top - 26),
                (ax - 2, meet[1] - 6, top - 60),
                (ax, meet[1] - 14, top - 105),
            ],
            (rs * 1.15, rs, rs * 0.95, rs * 0.85, rs * 0.6),
            samples=18,
        ),
    )
    celiac = _by(start, 0, -14, 16)
    wave = np.array([0.0, 4, -3, 4, -2])
    upper = spline(nodes[[4, 5, 6, 7]], 5) + np.column_stack([np.zeros(5), 8 + wave, 15 + wave[::-1]])
    organs["small arteries"] = (
        tube([_by(start, 0, 1, 15), celiac], rs * 0.9, samples=4),
        tube([celiac, *upper[1:], _by(hilum, 2, -4, 4)], rs * 0.62, samples=28),
        tube([celiac, _by(nodes[2], 2, 2, 17), _by(porta, 4, -3, -4)], rs * 0.6, samples=12),
        tube([_by(nodes[2], -2, -10, 12), _by(nodes[1], 5, -13, 4)], 1.5, samples=4),
        tube([(ax + 6, -20 - ra, 0), (30, -8, -2), (48, 4, -3)], 2.3, samples=8),
        tube([(ax - 6, -20 - ra, -6), (-26, -10, -9), (-48, 4, -12)], 2.3, samples=8),
    )
    organs["renal veins"] = (
        tube(
            [(-19, -28, -4), (ax - 6, -24 - 2 * ra, -3), (ax + 16, -20 - ra, -2), (46, 0, 0)],
            (4.5, 3.2, 4.2, 4),
            samples=14,
        ),
        tube([(-24, -24, -12), (-36, -8, -13), (-48, 2, -14)], 4, samples=8),
    )


def _stomach(rng: Rng, place: _Place, trunk: Trunk) -> tuple[Loop, ...]:
    u = rng.uniform
    full = u(0.65, 1.15)
    sag = u(-22, 8)
    path = place(
        [
            (58, 2, min(98, trunk.dome_left - 3)),  # fundus
            (66, -24, 86),
            (66, -70, 60),
            (46, -93, 26 + sag * 0.4),
            (14, -99, 0 + sag),
            (-14, -92, -2 + sag * 0.7),
            (-36, -78, 3),  # pylorus
        ]
    )
    path += rng.normal(0, 3, path.shape)
    radii = np.array([32, 37, 31, 25, 20, 15, 9]) * full * rng.uniform(0.92, 1.08, 7)
    content = str(rng.choice(["fluid", "chyme", "oral contrast"], p=[0.45, 0.4, 0.15]))
    return (Loop(tube(path, radii, samples=26), u(3, 5.5), content, u(0.1, 0.55) if rng.random() < 0.8 else 0.0),)


def _duodenum(rng: Rng, place: _Place, nodes: np.ndarray) -> tuple[Loop, ...]:
    u = rng.uniform
    low = nodes[0][2] - u(12, 22)
    right = nodes[1][0] - u(20, 25)
    bulb = place((-36, -78, 3))
    path = [
        bulb,
        _by(bulb, -12, 8, 3),
        (right, nodes[1][1] + 4, nodes[1][2] + 6),
        (right + 1, -42, nodes[0][2]),
        (right + 12, -40, low),
        (-8, -46, low - 2),
        (22, -46, low + 6),
        (32, -54, low + 22),
        (36, -62, low + 34),
    ]
    radii = np.array([10, 12, 11.5, 12, 11.5, 9.5, 10.5, 11, 11]) * u(0.85, 1.15) * rng.uniform(0.9, 1.1, 9)
    content = str(rng.choice(["fluid", "chyme", "collapsed", "oral contrast"], p=[0.35, 0.3, 0.25, 0.1]))
    return (Loop(tube(path, radii, samples=40), u(2.2, 3.6), content, u(0.1, 0.4) if rng.random() < 0.35 else 0.0),)


def _colon(rng: Rng, place: _Place, floor_mm: float) -> tuple[Loop, ...]:
    u = rng.uniform
    sag = u(-45, 12)
    parts = (
        [(-94, 2, floor_mm - 30), (-96, 4, -90), (-98, 2, -58), (-84, -30, -38)],
        [
            (-84, -30, -38),
            (-66, -82, -34),
            (-30, -100, -24 + sag * 0.7),
            (15, -104, -22 + sag),
            (56, -96, -8 + sag * 0.5),
            (88, -66, 10),
            (102, -40, 18),
        ],
        [(102, -40, 18), (108, -10, 6), (110, 6, -30), (106, 6, -90), (104, 4, floor_mm - 30)],
    )
    loops = []
    for part in parts:
        path = spline(place(part) + rng.normal(0, 3, (len(part), 3)), 40)
        haustra = 1 + 0.16 * np.sin(np.linspace(0, 40 * u(0.7, 1.0), 40) + u(0, 6))
        content = str(rng.choice(["feces", "fluid", "collapsed", "oral contrast"], p=[0.62, 0.12, 0.16, 0.10]))
        radius = u(8, 12) if content == "collapsed" else u(15, 23)
        loops.append(
            Loop(Tube(path, radius * haustra), u(1.6, 3.0), content, u(0.2, 0.8) if rng.random() < 0.7 else 0.0)
        )
    return tuple(loops)


def _small_bowel(rng: Rng, place: _Place, floor_mm: float) -> tuple[Loop, ...]:
    u = rng.uniform
    positive = rng.random() < 0.3
    depth = max(0.0, -15 - floor_mm)
    loops = []
    for k in range(int(u(7, 14)) + int(depth / 4.5)):
        jejunum = k < 9
        at = np.array(
            [u(25, 92), u(-88, -30), u(-40, 8)] if jejunum else [u(-75, 95), u(-98, -35), u(floor_mm - 15, -28)]
        )
        heading = rng.normal(size=3) * (1, 1, 0.5)
        points = [at]
        for _ in range(5):
            heading = heading / np.linalg.norm(heading) + rng.normal(0, 0.7, 3) * (1, 1, 0.5)
            at = at + heading / np.linalg.norm(heading) * u(14, 22)
            at = np.clip(at, (-88, -102, floor_mm - 20), (98, -25, 10 if at[0] > 20 else -30))
            points.append(at)
        content = str(rng.choice(["fluid", "chyme", "collapsed"], p=[0.35, 0.35, 0.3]))
        if positive and rng.random() < 0.7:
            content = "oral contrast"
        loops.append(
            Loop(
                tube(place(points), rng.uniform(8, 13.5, 6), samples=16),
                u(1.8, 3.0),
                content,
                u(0.15, 0.5) if rng.random() < 0.2 else 0.0,
            )
        )
    return tuple(loops)


def _twigs(rng: Rng, place: _Place, floor_mm: float) -> tuple[Tube, ...]:
    u = rng.uniform
    twigs = []
    for _ in range(80):
        at = np.array([u(-60, 95), u(-100, -40), u(floor_mm, 40)])
        way = rng.normal(size=3)
        way *= u(14, 34) / np.linalg.norm(way)
        twigs.append(tube(place([at - way, at + rng.normal(0, 5, 3), at + way]), u(0.9, 2.3), samples=6))
    return tuple(twigs)


def _branch(rng: Rng, start: np.ndarray, end: np.ndarray, radius: float) -> Tube:
    middle = (start + end) / 2 + rng.normal(0, 8, 3)
    return tube([start, middle, end + rng.normal(0, 8, 3)], (radius, radius * 0.7, radius * 0.3), samples=10)


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _by(p: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """A point moved by (x, y, z) mm."""
    return p + np.array([x, y, z])
