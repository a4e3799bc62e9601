"""What an archive is to the sender: it takes one object at a time and answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Unreachable(Exception):
    """No answer at all: the archive is down, the address wrong, or it refuses our title."""


@dataclass(frozen=True)
class Answer:
    """An archive's answer about one object. `passing`: the trouble may pass, so it is worth trying again soon."""

    sent: bool
    reason: str = ""
    passing: bool = False


class Archive(Protocol):
    name: str  # for lines and records; never holds a password

    def prepare(self, paths: list[Path]) -> None:
        """Reads of the objects what a connection must announce."""
        ...

    def send(self, path: Path) -> Answer:
        """Raises Unreachable if the archive does not answer at all."""
        ...

    def close(self) -> None: ...
