"""Means over patients with bootstrap intervals: patients are resampled, never slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; NaN where one patient alone allows none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.3f}" if np.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def apart(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return bool(self.low > 0 or self.high < 0)


class Bootstrap:
    """The same resamples of the patients for everything, so that differences are paired."""

    def __init__(self, patients: int, seed: int, resamples: int = 2000):
        self.patients = patients
        picks = np.random.default_rng([seed, 0xB007]).integers(0, max(patients, 1), (resamples, max(patients, 1)))
        counts = np.zeros((resamples, max(patients, 1)))
        np.add.at(counts, (np.arange(resamples)[:, None], picks), 1)
        self.weights = counts / max(patients, 1)

    def estimate(self, values: np.ndarray, over: np.ndarray | None = None) -> Estimate:
        """(patients,) -> their mean; with `over` (patients,) the ratio of both means."""
        if not self.patients or not len(values):
            return Estimate(np.nan, np.nan, np.nan)
        ones = np.ones(len(values))
        top, below = values.mean(), (ones if over is None else over).mean()
        tops, belows = self.weights @ values, self.weights @ (ones if over is None else over)
        if not below:
            return Estimate(np.nan, np.nan, np.nan)
        if self.patients < 2:
            return Estimate(float(top / below), np.nan, np.nan)
        ratios = tops[belows > 0] / belows[belows > 0]
        low, high = np.percentile(ratios, (2.5, 97.5))
        return Estimate(float(top / below), float(low), float(high))
