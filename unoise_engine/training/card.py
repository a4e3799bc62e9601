"""What a bundle says about itself, written by whoever trained it: a TOML file with flat keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.scope import Scope
from unoise_engine.training.tables import build, read_toml, require


@dataclass(frozen=True)
class Card:
    """What of a bundle no file of a run tells; `export --card` reads it."""

    title: str
    training_data: str  # what the model saw: source, number of CTs, licence
    synthetic: bool = False  # no real CT was used
    intended_use: str = "Research on explaining segmentation models. Not for clinical use."
    licence: str = "Apache-2.0"
    name: str = ""  # empty: the name of the bundle's folder
    attribution: str = ""  # whose data it was trained on, as their licence asks for
    citation: str = ""
    clean_up: CleanUp = field(default_factory=CleanUp)
    scope: Annotated[Mapping[str, Any], get_type_hints(Scope)] = field(default_factory=dict)  # what is not measured

    def __post_init__(self) -> None:
        for name in ("title", "training_data", "intended_use", "licence"):
            require(bool(getattr(self, name).strip()), f"{name} must not be empty")
        Scope(**self.scope)  # checks it


def read_card(path: Path) -> Card:
    """Raises `Usage` with one sentence that names the key."""
    return build(Card, read_toml(path), path.name)
