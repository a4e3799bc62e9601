"""What is asked of an explanation: methods by name, their parameters, and axial slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any

from unoise_engine.errors import Usage
from unoise_engine.explanation.methods import METHODS
from unoise_engine.explanation.protocol import Method
from unoise_engine.typed import to_table
from unoise_engine.volume.volume import AxialView, Volume

KINDS = {name: type(method) for name, method in METHODS.items() if is_dataclass(method)}


@dataclass(frozen=True)
class Settings:
    """`parameters` holds the methods, by name, that are not to work as usual: ``{"occlusion": Occlusion(patch=9)}``.
    `slices` counts axial slices from the feet, the last one excluded; None: all."""

    methods: tuple[str, ...] = tuple(METHODS)
    slices: tuple[int, int] | None = None
    parameters: Annotated[Mapping[str, Method], KINDS] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.methods:
            raise Usage("--methods", "names no method", f"give some of {', '.join(METHODS)}")
        for name in (*self.methods, *self.parameters):
            if name not in METHODS:
                raise Usage(f"--methods {name}", "unknown method", f"choose from {', '.join(METHODS)}")
        if self.slices and not 0 <= self.slices[0] < self.slices[1]:
            first, last = self.slices
            raise Usage(f"--slices {first}:{last}", "is no range", "write it as A:B, A below B, for example 10:20")

    @property
    def chosen(self) -> dict[str, Method]:
        """The methods that are asked for, in that order, with their parameters."""
        return {name: self.parameters.get(name, METHODS[name]) for name in self.methods}

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """What a report tells of the methods that are asked for and have parameters: these, and of which kind that
        makes the map."""
        kinds = {name: {"kind": m.kind} for name, m in self.chosen.items() if hasattr(m, "kind")}
        return {name: {**to_table(m), **kinds.get(name, {})} for name, m in self.chosen.items() if name in KINDS}

    def range_in(self, ct: Volume) -> tuple[int, int]:
        """Raises Usage if the slices asked for are not in the CT."""
        total = AxialView.of(ct.grid).apply(ct.voxels).shape[0]
        start, stop = self.slices or (0, total)
        if stop > total:
            raise Usage(
                f"--slices {start}:{stop}", f"outside the CT's {total} axial slices", f"choose within 0:{total}"
            )
        return start, stop
