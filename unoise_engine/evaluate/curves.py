"""From answers to figures: a curve a map, the area under it, and dice at given shares, over patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.explanation.slices import Patients
from unoise_engine.explanation.visibility import Visibility

POINTS = (0.05, 0.1, 0.2, 0.5)  # shares at which dice is told


@dataclass(frozen=True)
class Measure:
    """One figure of one map: what it is, and U-Noise's figure minus this one from the same resamples."""

    method: str
    fill: str
    ranking: str
    name: str
    estimate: Estimate
    lead: Estimate | None  # None for the first map itself, and where there is nothing to compare


class Curves:
    """Everything is over slices that show organ; measures against the own prediction also need one."""

    def __init__(self, answers: Visibility, seed: int, resamples: int = 2000):
        self.answers = answers
        self.x = np.array(answers.how.ends())
        self.with_organ = np.array([one.organ.any() for one in answers.slices])
        self.patients = Patients.of(answers.slices, self.with_organ)
        self.patients_own = Patients.of(answers.slices, self.with_organ & (answers.area > 0))
        self.patients_empty = Patients.of(answers.slices, ~self.with_organ)
        self.bootstrap, self.bootstrap_own, self.bootstrap_empty = (
            Bootstrap(len(p.names), seed, resamples) for p in (self.patients, self.patients_own, self.patients_empty)
        )
        self.full = self.patients.mean(answers.clean)  # (patients,)

    @property
    def combinations(self) -> list[tuple[str, str]]:
        """(ranking, fill)"""
        return [(r, f) for r in self.answers.how.rankings for f in self.answers.how.fills]

    def of_patients(
        self, name: str, ranking: str, fill: str, order: str = "keep", against: str = "truth"
    ) -> np.ndarray:
        """(patients, shares)"""
        who = self.patients_own if against == "own" else self.patients
        return who.mean(self.answers.curve(name, ranking, fill, order, against))

    def area(self, curve: np.ndarray, order: str = "keep") -> np.ndarray:
        """(..., shares) -> (...): the area under it, by trapezia."""
        return ((curve[..., 1:] + curve[..., :-1]) / 2 * np.diff(self.answers.how.ends(order))).sum(axis=-1)

    def at(self, curve: np.ndarray, share: float) -> np.ndarray:
        """(patients, shares) -> (patients,), interpolated where the share was not measured."""
        return np.array([np.interp(share, self.x, row) for row in curve])

    def band(self, name: str, ranking: str, fill: str) -> list[Estimate]:
        """Dice / full dice, one a share."""
        curve = self.of_patients(name, ranking, fill)
        return [self.bootstrap.estimate(curve[:, k], self.full) for k in range(len(self.x))]

    def measures(self) -> Iterator[Measure]:
        """All of them, for all maps; the first map is the one that the others are compared with."""
        values = {name: dict(self._values(name)) for name in self.answers.names}
        first = self.answers.names[0]
        for name in self.answers.names:
            for key, (value, over, strap) in values[name].items():
                lead = None
                if name != first:
                    lead = strap.estimate(values[first][key][0] - value, over)
                yield Measure(name, *key, strap.estimate(value, over), lead)

    def _values(
        self, name: str
    ) -> Iterator[tuple[tuple[str, str, str], tuple[np.ndarray, np.ndarray | None, Bootstrap]]]:
        """(fill, ranking, measure) -> (value a patient, what it is divided by, resamples)."""
        for ranking, fill in self.combinations:
            truth = self.of_patients(name, ranking, fill)
            own = self.of_patients(name, ranking, fill, against="own")
            yield (fill, ranking, "area / full dice"), (self.area(truth), self.full, self.bootstrap)
            yield (fill, ranking, "area, own prediction"), (self.area(own), None, self.bootstrap_own)
            for share in POINTS:
                percent = f"{100 * share:g} %"
                yield (fill, ranking, f"dice at {percent}"), (self.at(truth, share), None, self.bootstrap)
                yield (
                    (fill, ranking, f"dice at {percent} / full dice"),
                    (self.at(truth, share), self.full, self.bootstrap),
                )
                yield (
                    (fill, ranking, f"dice at {percent}, own prediction"),
                    (self.at(own, share), None, self.bootstrap_own),
                )
        yield from self._faithfulness(name)

    def _faithfulness(
        self, name: str
    ) -> Iterator[tuple[tuple[str, str, str], tuple[np.ndarray, np.ndarray | None, Bootstrap]]]:
        how = self.answers.how
        if "image" in how.rankings:
            for fill in how.fills:
                insertion = self.area(self.of_patients(name, "image", fill, "keep", "own"))
                yield (fill, "image", "insertion area"), (insertion, None, self.bootstrap_own)
                deletion = self.area(self.of_patients(name, "image", fill, "hide", "own"), "hide")
                yield (fill, "image", "deletion area"), (deletion, None, self.bootstrap_own)
        for times in how.areas:
            kept = self.patients_own.mean(self.answers.at_area(name, "keep", times))
            lost = 1 - self.patients_own.mean(self.answers.at_area(name, "hide", times))
            yield ("grey", "area", f"sufficiency at {times:g} x organ"), (kept, None, self.bootstrap_own)
            yield ("grey", "area", f"necessity at {times:g} x organ"), (lost, None, self.bootstrap_own)
