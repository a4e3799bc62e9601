"""Which cases learn, which steer and which judge: drawn by patient, once, and written beside the run."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from unoise_engine.ct.pairs import patient_of
from unoise_engine.errors import Environment, Usage
from unoise_engine.training.recipes import Data

FILE = "split.json"


@dataclass(frozen=True)
class Split:
    """Case names. The test cases are read by no training and no checkpoint selection."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def write(self, run: Path) -> None:
        (run / FILE).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", "utf-8")

    @staticmethod
    def read(run: Path) -> Split:
        try:
            parts = json.loads((run / FILE).read_text("utf-8"))
            return Split(*(tuple(str(case) for case in parts[name]) for name in ("train", "val", "test")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Environment(f"{run / FILE} - cannot be read ({e}) - train the run again") from None


def split_cases(cases: Sequence[str], data: Data) -> Split:
    """Whole patients go to one part each, in an order that depends on the names and the seed alone.

    Both validation and training get at least one patient, the test part too if it is wanted and there are three.
    Raises `Usage` for fewer than two patients.
    """
    patients: dict[str, list[str]] = {}
    for case in sorted(cases):
        patients.setdefault(patient_of(case, data.patient), []).append(case)
    n = len(patients)
    if n < 2:
        raise Usage(f"{n} patient found ({', '.join(patients)}) - training needs one to learn and another to validate")
    order = sorted(patients)
    random.Random(data.split_seed).shuffle(order)  # noqa: S311 - reproducible, not secret
    n_test = min(max(1, round(n * data.test_share)), n - 2) if data.test_share else 0
    n_val = min(max(1, round(n * data.val_share)), n - n_test - 1)
    parts = order[n_test + n_val :], order[n_test : n_test + n_val], order[:n_test]
    return Split(*(tuple(sorted(case for patient in part for case in patients[patient])) for part in parts))
