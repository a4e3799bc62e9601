"""Solid organs and vessels of one patient as shapes; control points in mm are those of a slim adult."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.phantom.habitus import Place, Rng, Trunk, by, point
from unoise_engine.lab.phantom.shapes import Ellipsoid, Shape, Tube, spline, tube


def solid(rng: Rng, place: Place, trunk: Trunk, organs: dict[str, tuple[Shape, ...]]) -> None:
    u = rng.uniform
    big = u(0.9, 1.12)
    right, left = place((-68, -30, u(20, 34))), place((-8, -82, u(50, 64)))
    organs["liver"] = (
        Ellipsoid(point(right), (74 * big * place.kx, (100 + trunk.front - 112) * big, 104 * big)),
        Ellipsoid(point(left), (u(55, 88) * place.kx, u(34, 46), u(34, 50)), u(-12, 12)),
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
    organs["spleen"] = (Ellipsoid(point(spleen), (u(28, 38), u(44, 58), u(46, 64)), u(-32, -12), (u(-0.1, 0.2), 0)),)
    organs["spleen hollow"] = (Ellipsoid((spleen[0] - 42, spleen[1] - 28, spleen[2] - 6), (u(24, 36), 40, 46)),)
    organs["gallbladder"] = ()
    if rng.random() < 0.88:
        gall = place((u(-66, -52), u(-84, -70), u(-14, 8)))
        organs["gallbladder"] = (
            Ellipsoid(point(gall), (u(10, 17), u(14, 24), u(18, 32)), u(-40, 20), (0, u(-0.4, 0.1))),
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


def pancreas(rng: Rng, place: Place, organs: dict[str, tuple[Shape, ...]]) -> np.ndarray:
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
            [by(nodes[1], 4, 5, -6), by(nodes[1], 14, 9, -11), by(nodes[1], 22, 10, -14)],
            np.array([9, 7.5, 4]) * size,
            samples=6,
            stretch=1.5,
        ),
    )
    organs["pancreatic duct"] = (tube(nodes[1:] + rng.normal(0, 0.6, (7, 3)), u(0.7, 1.6), samples=36),)
    bile = [by(nodes[0], -4, 4, 0), by(nodes[1], -3, 7, 8), by(nodes[2], -6, 9, 14), place((-38, -54, 44))]
    organs["bile duct"] = (tube(bile, u(1.8, 3.6), samples=14),)
    return nodes


def vessels(rng: Rng, place: Place, nodes: np.ndarray, organs: dict[str, tuple[Shape, ...]]) -> None:
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
    meet = by(nodes[3], -1, rv + 9, -1)  # the confluence, behind the neck
    organs["superior_mesenteric_vein"] = (
        tube(
            [meet, by(meet, -2, -3, -22), by(meet, -3, -9, -48), by(meet, 4, -14, -95)],
            (rv, rv, rv * 0.9, rv * 0.6),
            samples=16,
        ),
    )
    porta = place((-40, -52, 36))
    behind = [by(nodes[k], 2, d, 1) for k, d in ((4, rv + 9), (5, rv + 8.5), (6, rv + 6))]
    hilum = by(nodes[7], 7, 5, 3)
    organs["portal_vein_and_splenic_vein"] = (
        tube([meet, by(meet, -9, 1, 11), (meet + porta) / 2 + (-2, 2, 6), porta], rv * 1.12, samples=14),
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
    celiac = by(start, 0, -14, 16)
    wave = np.array([0.0, 4, -3, 4, -2])
    upper = spline(nodes[[4, 5, 6, 7]], 5) + np.column_stack([np.zeros(5), 8 + wave, 15 + wave[::-1]])
    organs["small arteries"] = (
        tube([by(start, 0, 1, 15), celiac], rs * 0.9, samples=4),
        tube([celiac, *upper[1:], by(hilum, 2, -4, 4)], rs * 0.62, samples=28),
        tube([celiac, by(nodes[2], 2, 2, 17), by(porta, 4, -3, -4)], rs * 0.6, samples=12),
        tube([by(nodes[2], -2, -10, 12), by(nodes[1], 5, -13, 4)], 1.5, samples=4),
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


def _branch(rng: Rng, start: np.ndarray, end: np.ndarray, radius: float) -> Tube:
    middle = (start + end) / 2 + rng.normal(0, 8, 3)
    return tube([start, middle, end + rng.normal(0, 8, 3)], (radius, radius * 0.7, radius * 0.3), samples=10)
