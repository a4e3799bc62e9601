"""Which model, and what it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from unoise_engine.errors import Usage

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ModelSettings:
    """`bundle` is the name of a known one or a folder; empty: the default. `threads` = 0 takes every core there is.
    `label` is what a bundle of several labels is asked about; several, joined by commas, are taken as one."""

    bundle: str = ""
    device: str = "auto"
    threads: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise Usage(f"--device {self.device}", "unknown", "choose auto, cpu or cuda")
        if self.threads < 0:
            raise Usage(f"--threads {self.threads}", "is no number of threads", "give 1 or more, or 0 for all")
