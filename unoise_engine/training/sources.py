"""The folders a training reads: one, or several that are mixed. Each has its own labels, and its own split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unoise_engine.errors import Usage
from unoise_engine.training.pairs import Pair, find_pairs, organ_numbers, other_numbers
from unoise_engine.training.recipes import Data
from unoise_engine.training.split import Split, split_cases
from unoise_engine.volume.pairs import by_patient
from unoise_engine.volume.split import FILE


@dataclass(frozen=True)
class Source:
    """One folder of pairs. Of several folders, a case is called ``<folder>/<case>``."""

    prefix: str
    pairs: tuple[Pair, ...]
    numbers: tuple[int, ...]  # of the organ
    others: tuple[int | None, ...]  # of the recipe's other structures; None: these labels do not tell
    folder: Path | None = None

    @property
    def cases(self) -> list[str]:
        return [pair.case for pair in self.pairs]

    def of_one_patient(self, data: Data) -> bool:
        return len(by_patient((case.removeprefix(self.prefix) for case in self.cases), data.patient)) == 1

    def split(self, data: Data) -> Split:
        """The folder's own split where one was written into it (`unoise_engine prepare`), else the recipe's."""
        plain = [case.removeprefix(self.prefix) for case in self.cases]
        drawn = self._written(plain) or split_cases(plain, data)
        return Split(*(tuple(self.prefix + case for case in part) for part in (drawn.train, drawn.val, drawn.test)))

    def _written(self, cases: Sequence[str]) -> Split | None:
        """Raises `Usage` unless it names the folder's cases, all and no others, some to learn and some to validate."""
        if self.folder is None or not (self.folder / FILE).is_file():
            return None
        split = Split.read(self.folder)
        if strange := sorted(set(cases) - split.cases):
            raise Usage(self.folder / FILE, f"does not name {strange[0]}", "prepare the folder again, or remove it")
        if absent := sorted(split.cases - set(cases)):
            what = f"names {len(absent)} cases that the folder lacks, {absent[0]} first"
            raise Usage(self.folder / FILE, what, "bring them back, or take them out of it")
        if not split.train or not split.val:
            raise Usage(self.folder / FILE, "leaves no case to learn from or none to validate on", "add patients")
        return split


def open_sources(folders: Sequence[Path], data: Data) -> list[Source]:
    """Raises `Usage` for folders of one name, for shares that do not fit them, and whatever `find_pairs` refuses."""
    names = [folder.absolute().name for folder in folders]
    if len(set(names)) < len(names):
        raise Usage(", ".join(names), "two data folders have the same name", "rename one, cases are named after it")
    if data.shares and len(data.shares) != len(folders):
        raise Usage("[data] shares", f"{len(data.shares)} shares for {len(folders)} data folders", "give one a folder")
    sources = []
    for folder, name in zip(folders, names):
        prefix = f"{name}/" if len(folders) > 1 else ""
        pairs = tuple(replace(pair, case=prefix + pair.case) for pair in find_pairs(folder))
        sources.append(Source(prefix, pairs, organ_numbers(folder, data), other_numbers(folder, data), folder))
    return sources


def split_sources(sources: Sequence[Source], data: Data) -> Split:
    """Every source is split by its own patients, so each of them learns, steers and judges.

    Of several sources, one of a single patient only teaches: the others steer and judge.
    """
    apart = len(sources) > 1
    parts = [
        Split(tuple(source.cases), (), ()) if apart and source.of_one_patient(data) else source.split(data)
        for source in sources
    ]
    if not any(part.val for part in parts):
        raise Usage(
            "every data folder", "holds one patient", "give another: training needs one to learn and one to validate"
        )
    return Split(*(tuple(case for part in parts for case in getattr(part, name)) for name in ("train", "val", "test")))
