"""Which cases learn, which steer and which judge: drawn by patient, from the names and a seed alone."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unoise_engine.errors import Environment, Usage
from unoise_engine.files import write_json
from unoise_engine.volume.pairs import by_patient

FILE = "split.json"


@dataclass(frozen=True)
class Split:
    """Case names. The test cases are read by no training and no checkpoint selection."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def cases(self) -> frozenset[str]:
        return frozenset((*self.train, *self.val, *self.test))

    def only(self, cases: Sequence[str]) -> Split:
        """The same parts without the cases that are not among these."""
        kept = set(cases)
        return Split(*(tuple(c for c in part if c in kept) for part in (self.train, self.val, self.test)))

    def write(self, folder: Path) -> None:
        """Raises OSError, and Environment if a split that was not made here lies there."""
        write_json(folder / FILE, asdict(self), replace=True)

    @staticmethod
    def read(place: Path) -> Split:
        """From a run's folder, or from a file. Raises Environment, and Usage for a case in two parts."""
        path = place / FILE if place.is_dir() else place
        try:
            parts = json.loads(path.read_text("utf-8"))
            split = Split(*(tuple(str(case) for case in parts[name]) for name in ("train", "val", "test")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Environment(
                path, f"cannot be read as a split ({e})", f"give a run's {FILE}, or train again"
            ) from None
        refuse_overlaps(asdict(split), path)
        return split


def refuse_overlaps(parts: Mapping[str, Sequence[str]], source: Path) -> None:
    """Raises Usage for a case that a split names twice: it would judge what it taught, or count double."""
    place: dict[str, str] = {}
    for part, cases in parts.items():
        for case in cases:
            if case in place:
                raise Usage(source, f"names {case} twice, in {place[case]} and in {part}", "leave it in one place")
            place[case] = part


def draw_split(cases: Sequence[str], pattern: str, val_share: float, test_share: float, seed: int) -> Split:
    """Whole patients go to one part each, in an order that depends on the names and the seed alone.

    `pattern` says what in a case's name is the patient. Both validation and training get at least one patient, the
    test part too if it is wanted and there are three. Raises `Usage` for fewer than two patients, a case given twice,
    and as `by_patient`.
    """
    if len(set(cases)) < len(cases):
        twice = next(case for case in sorted(cases) if cases.count(case) > 1)
        raise Usage(f"case {twice}", "is there twice", "give every case once, and a name of its own")
    patients = by_patient(cases, pattern)
    n = len(patients)
    if n < 2:
        cure = "give another: training needs one to learn and one to validate"
        cure = f"correct the pattern {pattern!r}, or {cure}" if pattern and len(cases) > 1 else cure
        raise Usage(f"{len(cases)} cases", f"are of {n} patient ({', '.join(patients)})", cure)
    order = sorted(patients)
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible, not secret
    n_test = min(max(1, round(n * test_share)), n - 2) if test_share else 0
    n_val = min(max(1, round(n * val_share)), n - n_test - 1)
    parts = order[n_test + n_val :], order[n_test : n_test + n_val], order[:n_test]
    return Split(*(tuple(sorted(case for patient in part for case in patients[patient])) for part in parts))
