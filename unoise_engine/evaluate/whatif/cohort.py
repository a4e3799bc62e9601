"""Many CTs together: the mean effect of each structure, with bootstrap intervals over the CTs that show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unoise_engine.evaluate.interval import Bootstrap, Estimate
from unoise_engine.evaluate.tables import write_csv
from unoise_engine.evaluate.whatif.effects import WhatIf
from unoise_engine.evaluate.whatif.scene import Effect

TABLE = "cohort.csv"
SHOWN = 12


@dataclass
class Cohort:
    """The answers of CTs by case."""

    answers: dict[str, WhatIf] = field(default_factory=dict)

    def means(self, seed: int, resamples: int = 2000) -> list[tuple[str, int, Estimate, Estimate]]:
        """Structure or pair, in how many CTs it was hidden, dice lost, ml lost; the strongest first."""
        effects: dict[str, list[Effect]] = {}
        for answer in self.answers.values():
            for one in (*answer.effects, *answer.pairs):
                effects.setdefault(" + ".join(sorted(one.hidden)), []).append(one)
        rows = []
        for name, some in effects.items():
            strap = Bootstrap(len(some), seed, resamples)
            dice, ml = (np.array(values) for values in ([1 - e.dice for e in some], [e.lost_ml for e in some]))
            rows.append((name, len(some), strap.estimate(dice), strap.estimate(ml)))
        return sorted(rows, key=lambda row: -row[2].value)

    def lines(self, seed: int) -> Iterator[str]:
        rows = self.means(seed)
        width = max(len("structure"), *(len(name) for name, *_ in rows[:SHOWN]))
        yield f"over {len(self.answers)} CTs [95 % interval over CTs]:"
        yield f"  {'structure':<{width}}   CTs   dice lost              ml lost"
        for name, cts, dice, ml in rows[:SHOWN]:
            yield f"  {name:<{width}}  {cts:4d}   {dice!s:<22} {ml}"

    def write(self, out: Path, seed: int) -> None:
        """OUT/cohort.csv. Raises OSError, Environment."""
        write_csv(out / TABLE, (_row(*row) for row in self.means(seed)))


def _row(name: str, cts: int, dice: Estimate, ml: Estimate) -> dict[str, Any]:
    row: dict[str, Any] = {"hidden": name, "cts": cts}
    for what, one in (("dice_lost", dice), ("ml_lost", ml)):
        row |= {what: one.value, f"{what}_low": one.low, f"{what}_high": one.high}
    return row
