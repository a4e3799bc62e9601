"""What is asked of an explanation: methods by name, their parameters, and axial slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from unoise_engine.errors import Usage
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.methods import METHODS, answerable, check_answerable, usual
from unoise_engine.models.segmenter import Segmenter
from unoise_engine.typed import to_table

KINDS = {name: type(method) for name, method in METHODS.items()}


@dataclass(frozen=True)
class Settings:
    """Without `methods` those of the usual ones that the model can be explained by. `slices` counts axial slices from
    0 at the feet, the last one excluded; None: all. `parameters` holds the methods, by name, that are not to work as
    usual: ``{"occlusion": Occlusion(patch=9)}``. `focus`: of a model that looks at blocks window by window, one window
    centred on the label is explained, not all. `prove`: whether maps are tried on the CT itself (proof.py); None: where
    that takes less than they did."""

    methods: tuple[str, ...] = ()
    slices: tuple[int, int] | None = None
    focus: bool = False
    parameters: Annotated[Mapping[str, Method], KINDS] = field(default_factory=dict)
    prove: bool | None = None

    def __post_init__(self) -> None:
        for name in (*self.methods, *self.parameters):
            if name not in METHODS:
                raise Usage(f"--methods {name}", "unknown method", f"choose from {', '.join(METHODS)}")
        if self.slices and not 0 <= self.slices[0] < self.slices[1]:
            raise Usage(f"slices {[*self.slices]}", "is no range", "give [first, last + 1], counted from 0 at the feet")

    def for_model(self, model: Segmenter) -> Settings:
        """The same with every method named. Raises Usage if the model cannot be explained by one that is asked for."""
        possible = answerable(model)
        named = replace(self, methods=self.methods or usual(possible) or possible[:1])
        check_answerable(model, named.chosen.values())
        return named

    @property
    def chosen(self) -> dict[str, Method]:
        """The methods that are named, in that order, with their parameters."""
        return {name: self.parameters.get(name, METHODS[name]) for name in self.methods}

    @property
    def told(self) -> dict[str, dict[str, Any]]:
        """What a report tells of the methods that are named and have parameters: these, and of which kind that makes
        the map."""
        kinds = {name: {"kind": m.kind} for name, m in self.chosen.items() if hasattr(m, "kind")}
        return {name: {**to_table(m), **kinds.get(name, {})} for name, m in self.chosen.items() if to_table(m)}
