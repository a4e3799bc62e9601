"""Does a map say what the segmentation needs? Tried on the CT at hand, which needs no label.

On a few slices that show the organ, or of a model of blocks in the window centred on it, only the most important voxels
of a map stay visible, the rest is noise or grey. The dice that the model keeps with its own segmentation is set beside
that of two maps that know nothing: a ruler (the distance to the segmentation) and chance. The figures are those of
`unoise_engine evaluate` on the same slices (visibility.py), against the model's own prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unoise_engine.explanation.baselines import chaos, ruler
from unoise_engine.explanation.hiding import SIGMA, hiding_units, largest_noise, tolerance
from unoise_engine.explanation.method import Method, longest_s
from unoise_engine.explanation.part import Part
from unoise_engine.explanation.segment import Prediction
from unoise_engine.explanation.slices import LabelledItem, chance, evenly
from unoise_engine.explanation.visibility import How, Visibility, evaluate_maps
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.session import Bundle

SHARES = (0.05, 0.1, 0.2, 0.5)
SLICES, DRAWS, SEED = 3, 2, 0
QUARTER = 0.25
MARGIN = 0.02  # dice; a smaller lead, of the mean over shares and fills, is none
FILLS = ("grey", "noise")
BY_CHANCE, BETTER, WORSE, NO_BETTER = VERDICTS = (
    "no better than chance", "better than distance", "worse than distance", "no better than distance",
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """Means over the slices tried, or of one block. `kept` maps a fill to the dice kept at each of SHARES, for the map,
    the ruler ("distance") and "chance"; `allowed` is the dice kept with all the noise that the map allows at once,
    where it is one of noise. `tried` says where: "axial_slices" from 1 at the feet, "planes" of an imported model, from
    1, or the "window" of its block, [start, stop) along each axis."""

    kept: dict[str, dict[str, list[float]]]  # "map", "distance", "chance" -> fill -> dice
    tried: dict[str, list[Any]]
    allowed: float | None = None

    def lead(self, over: str) -> float:
        """Dice that the map keeps beyond another, the mean over shares and fills."""
        return float(np.mean([np.subtract(self.kept["map"][f], self.kept[over][f]) for f in FILLS]))

    @property
    def verdict(self) -> str:
        """By how much more dice the map keeps than chance, and than the ruler: MARGIN at least."""
        if self.lead("chance") < MARGIN:
            return BY_CHANCE
        lead = self.lead("distance")
        return BETTER if lead >= MARGIN else WORSE if lead <= -MARGIN else NO_BETTER

    def sentence(self, title: str) -> str:
        """For people: the verdict and what it stands on."""
        mean = {who: float(np.mean([some[f] for f in FILLS])) for who, some in self.kept.items()}
        said = f"{title}: {self.verdict} (dice kept {mean['map']:.2f}, by distance {mean['distance']:.2f}, "
        said += f"by chance {mean['chance']:.2f}, mean over 5, 10, 20 and 50 % visible)"
        return said if self.allowed is None else f"{said}; {self.allowed:.2f} with all the noise that it allows"

    def told(self) -> dict[str, Any]:
        """For a report."""
        rounded = {
            who: {f: [round(v, 4) for v in values] for f, values in some.items()} for who, some in self.kept.items()
        }
        return {
            "verdict": self.verdict,
            "shares_visible": list(SHARES),
            "dice_kept": rounded,
            "dice_with_allowed_noise": None if self.allowed is None else round(self.allowed, 4),
            "lead_over_distance": round(self.lead("distance"), 4),
            "lead_over_chance": round(self.lead("chance"), 4),
            "margin": MARGIN,
            **self.tried,
            "draws": DRAWS,
            "seed": SEED,
        }


def passes(maps: int) -> int:
    """Slices that the model must segment to prove so many maps."""
    how = _how(SIGMA)
    return SLICES * (maps * (how.passes(1) + DRAWS) + how.passes(2))


@dataclass
class Trial:
    """The parts of one CT that its maps are tried on, and what ruler and chance keep there.

    Planes with a QUARTER of the largest area at least: a few pixels of organ are lost by any change. Of blocks the
    window centred on what was found, if its own prediction shows any of it.
    """

    model: Bundle
    found: Prediction
    parts: list[Part] = field(init=False)
    slices: list[LabelledItem] = field(init=False)
    _beside: Visibility | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.parts = [*self._parts()]
        self.slices = []
        for part in self.parts:
            image = part.image
            mask = self.model.predict(image[None])[0, 0] > 0 if image.ndim == 4 else part.of(self.found.scores) > 0
            # The chances depend on the slice alone, not on what its CT is called.
            scale = hiding_units(self.model.manifest, image)
            self.slices.append(LabelledItem("", "", part.index, image, mask, part.side_mm, scale))
        if any(not one.organ.any() for one in self.slices):
            self.parts, self.slices = [], []

    def _parts(self) -> Iterator[Part]:
        given, shown = self.found.given, np.flatnonzero(self.found.shows)
        if given.recipe.rank == 3:
            if len(shown):
                yield Part.window(self.model, given, np.stack([plane > 0 for plane in self.found.scores]))
            return
        areas = np.array([np.count_nonzero(self.found.scores[int(k)] > 0) for k in shown], int)
        large = (areas > 0) & (areas >= QUARTER * areas.max(initial=0))
        yield from (Part.plane(given, int(k)) for k in evenly(shown[large], SLICES))

    @property
    def tried(self) -> dict[str, list[Any]]:
        """For `Proof.tried`."""
        if self.found.given.recipe.rank == 3:
            return {"window": [[getattr(s, end) for s in self.parts[0].box] for end in ("start", "stop")]}
        name = "planes" if isinstance(self.found.given, Prepared) else "axial_slices"
        return {name: [one.index + 1 for one in self.slices]}

    def prove(self, maps: list[np.ndarray], tolerates: bool) -> Proof | None:
        """The `parts` of a map, (*s) each; `tolerates`: they are minus U-Noise's logits.

        None where the model finds nothing to try it on.
        """
        if not self.slices:
            return None
        how = _how(largest_noise(self.model.manifest))
        if self._beside is None:
            some = {"distance": [ruler(one, one.organ, SEED) for one in self.slices]}
            some["chance"] = [chaos(one, one.organ, SEED) for one in self.slices]
            self._beside = evaluate_maps(self.model, self.slices, some, how)
        mine = evaluate_maps(self.model, self.slices, {"map": maps}, how)
        kept = {who: _kept(answers, who) for answers in (mine, self._beside) for who in answers.names}
        allowed = self._allowed(maps) if tolerates else None
        return Proof(kept, self.tried, allowed)

    def _allowed(self, maps: list[np.ndarray]) -> float:
        """Dice kept when every voxel gets, at once, the noise that it is said to bear."""
        dice = []
        for one, importance in zip(self.slices, maps):
            sigma = largest_noise(self.model.manifest) * one.scale.noise * tolerance(importance)
            for draw in range(DRAWS):
                eps = chance(SEED, one, "allowed noise", draw).standard_normal(one.organ.shape)
                noisy = (one.image + sigma * eps).astype(np.float32)
                seen = self.model.predict(noisy[None])[0, 0] > 0
                dice.append(2 * np.count_nonzero(seen & one.organ) / (np.count_nonzero(seen) + one.organ.sum()))
        return float(np.mean(dice))


def worth_it(found: Prediction, methods: Iterable[Method]) -> bool:
    """Whether proving the maps takes fewer passes than making them: one a plane to segment, and for each plane that
    shows the organ as many as a method needs there. Never for blocks, whose passes take long."""
    if found.given.recipe.rank == 3:
        return False
    each = [longest_s(method, found.given.shape[1:], 1) or 1 for method in methods]
    return passes(len(each)) <= len(found.shows) + int(found.shows.sum()) * sum(each)


def _how(sigma: float) -> How:
    return How(shares=SHARES, fills=FILLS, rankings=("image",), cuts=(), areas=(), draws=DRAWS, sigma=sigma, seed=SEED)


def _kept(answers: Visibility, name: str) -> dict[str, list[float]]:
    curves = {fill: answers.curve(name, "image", fill, "keep", "own")[:, 1:-1] for fill in FILLS}
    return {fill: [float(v) for v in curve.mean(axis=0)] for fill, curve in curves.items()}
