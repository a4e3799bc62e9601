"""What the evaluation's CSV files say, by name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Value:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.low == self.low else f"{self.value:.3f}"


def number(text: str) -> float:
    return float(text) if text else float("nan")


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Summary:
    """summary.csv: `find` raises KeyError for what was not measured."""

    def __init__(self, folder: Path):
        self.rows = read_rows(folder / "summary.csv")
        self.known = {(r["method"], r["fill"], r["ranking"], r["measure"]): r for r in self.rows}

    def find(self, method: str, measure: str, fill: str = "", ranking: str = "") -> Value:
        return _value(self.known[method, fill, ranking, measure], "value")

    def lead(self, method: str, measure: str, fill: str = "", ranking: str = "") -> Value:
        return _value(self.known[method, fill, ranking, measure], "lead_of_first")

    def measures(self, method: str) -> list[tuple[str, Value]]:
        return [(r["measure"], _value(r, "value")) for r in self.rows if r["method"] == method]


def curve(folder: Path, method: str, fill: str, ranking: str) -> tuple[list[float], list[float]]:
    """Share visible and dice / full dice."""
    rows = [
        r
        for r in read_rows(folder / "curves.csv")
        if (r["method"], r["order"], r["ranking"], r["fill"]) == (method, "keep", ranking, fill)
    ]
    return [number(r["visible"]) for r in rows], [number(r["dice_of_full"]) for r in rows]


def _value(row: dict[str, str], prefix: str) -> Value:
    return Value(*(number(row[f"{prefix}{end}"]) for end in ("", "_low", "_high")))
