"""All that a run can be told, as one tree: each room has a table of its own, which checks itself when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from unoise_engine.errors import Usage
from unoise_engine.explanation.settings import Settings
from unoise_engine.models.settings import ModelSettings
from unoise_engine.results.settings import ResultSettings
from unoise_engine.volume.case import ReadSettings


@dataclass(frozen=True)
class BatchSettings:
    """How many cases are done. `jobs` run side by side, 0: one a core. `cluster` is the address of a Dask scheduler."""

    overwrite: bool = False
    resume: bool = False
    jobs: int = 1
    cluster: str = ""
    keep_names: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise Usage("--resume --overwrite", "contradict each other", "give one of them")
        if self.jobs < 0:
            raise Usage(f"--jobs {self.jobs}", "is no number of processes", "give 1 or more, or 0 for one a core")


@dataclass(frozen=True)
class Options:
    reading: ReadSettings = field(default_factory=ReadSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    explanation: Settings = field(default_factory=Settings)
    results: ResultSettings = field(default_factory=ResultSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
