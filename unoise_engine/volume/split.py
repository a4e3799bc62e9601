"""Which cases learn, which steer and which judge: drawn by patient, from the names and a seed alone."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unoise_engine.errors import Environment, Usage
from unoise_engine.files import write_json
from unoise_engine.volume.pairs import patient_of

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
        """From a run's folder, or from a file. Raises Environment."""
        path = place / FILE if place.is_dir() else place
        try:
            parts = json.loads(path.read_text("utf-8"))
            return Split(*(tuple(str(case) for case in parts[name]) for name in ("train", "val", "test")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Environment(
                path, f"cannot be read as a split ({e})", f"give a run's {FILE}, or train again"
            ) from None


def draw_split(cases: Sequence[str], pattern: str, val_share: float, test_share: float, seed: int) -> Split:
    """Whole patients go to one part each, in an order that depends on the names and the seed alone.

    `pattern` says what in a case's name is the patient. Both validation and training get at least one patient, the
    test part too if it is wanted and there are three. Raises `Usage` for fewer than two patients.
    """
    patients: dict[str, list[str]] = {}
    for case in sorted(cases):
        patients.setdefault(patient_of(case, pattern), []).append(case)
    n = len(patients)
    if n < 2:
        raise Usage(
            f"{len(cases)} cases",
            f"are of {n} patient ({', '.join(patients)})",
            "give another: training needs one to learn and one to validate",
        )
    order = sorted(patients)
    random.Random(seed).shuffle(order)  # noqa: S311 - reproducible, not secret
    n_test = min(max(1, round(n * test_share)), n - 2) if test_share else 0
    n_val = min(max(1, round(n * val_share)), n - n_test - 1)
    parts = order[n_test + n_val :], order[n_test : n_test + n_val], order[:n_test]
    return Split(*(tuple(sorted(case for patient in part for case in patients[patient])) for part in parts))
