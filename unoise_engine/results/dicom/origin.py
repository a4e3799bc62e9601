"""Where results come from: what every object says of the model and the settings that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from unoise_engine.explanation.methods import METHODS
from unoise_engine.results.dicom.uids import stable_uid

MANUFACTURER = "U-Noise for CT"


@dataclass(frozen=True)
class Origin:
    """`slices` are the axial slices asked for, from the feet, the last one excluded. `titles` names the methods for
    people, in the order in which their objects are numbered; `parameters` holds what changes a method's result beyond
    the model."""

    organ: str
    model: str
    model_hash: str
    engine_version: str
    warning: str
    slices: tuple[int, int]
    titles: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def uid(self, sources: tuple[str, ...], result: str, what: object) -> str:
        """The UID of `what` (a series, an instance, ...) of a result.

        Made from the names of the source's slices, this engine's version, the model, the slices and the settings that
        change this result. Not from the device: a GPU's last bits may differ, but it is the same result. Nor from the
        other methods that were asked for, threads or the day.
        """
        made_by = (self.engine_version, self.model_hash, self.slices, self.parameters.get(result, ""))
        return stable_uid(*made_by, *sources, result, what)

    def place(self, method: str) -> int:
        """0 for the first method, whichever others were asked for; what is unknown comes last."""
        return [*self.titles, method].index(method)

    def title(self, method: str) -> str:
        return self.titles.get(method, method)


def settled(told: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Method -> its parameters, as a report tells them: `Origin.parameters`."""
    return {
        f"importance-{method}": " ".join(
            f"{name}={value}" for name, value in table.items() if name in _parameters(method)
        )
        for method, table in told.items()
    }


def _parameters(method: str) -> set[str]:
    """Not what a run found out beside them."""
    return {one.name for one in fields(METHODS[method])} if method in METHODS else set()  # type: ignore[arg-type]


def short(text: str, most: int = 64) -> str:
    """Text for an element that holds so many characters: plain letters, no backslash (it would part values)."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/").replace("\n", " ")
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "."
