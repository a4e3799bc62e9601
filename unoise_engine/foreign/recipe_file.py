"""The TOML file that says of a bare net, TorchScript or ONNX, what its file does not: recipe, labels and origin."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unoise_engine.errors import Usage, printable
from unoise_engine.foreign.source import Source
from unoise_engine.models.manifest import check_labels
from unoise_engine.models.preparation import Preparation
from unoise_engine.typed import read

LARGEST = 1 << 20  # bytes
SIDE = 64  # of the window that a net is tried on if it is given whole images


@dataclass(frozen=True)
class About:
    """Where a model comes from."""

    name: str
    title: str = ""
    licence: str = ""
    citation: str = ""
    training_data: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name must not be empty")


@dataclass(frozen=True)
class RecipeFile:
    """`outputs` and `labels` as in a manifest."""

    model: About
    preparation: Preparation
    labels: dict[str, int]
    outputs: str

    def __post_init__(self) -> None:
        check_labels(self.labels, self.outputs)

    @property
    def channels(self) -> int:
        """Of an answer."""
        most = max(self.labels.values())
        return {"softmax": most + 1, "sigmoid": most, "logit": 1}[self.outputs]

    @property
    def example(self) -> tuple[int, ...]:
        """A window's shape (1, 1, *s)."""
        window = self.preparation.window
        side = -(-SIDE // window.multiple_of) * window.multiple_of
        return (1, 1, *(window.size or (side,) * self.preparation.rank))

    def source(self, kind: str, **given: Any) -> Source:
        """With the net itself, and whatever else its reader knows."""
        return Source(
            name=self.model.name,
            title=self.model.title or self.model.name,
            kind=kind,
            preparation=self.preparation,
            labels=self.labels,
            outputs=self.outputs,
            example=self.example,
            licence=self.model.licence,
            citation=self.model.citation,
            training_data=self.model.training_data,
            **given,
        )


def read_recipe(path: Path) -> RecipeFile:
    """Raises Usage, naming the key, for anything that is missing, unknown or contradicts the rest."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        table = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise Usage(path, f"cannot be read ({error.strerror})", "import --template writes one to fill in") from None
    except (ValueError, RecursionError) as error:
        raise Usage(path, f"is no TOML ({printable(str(error))[:200]})", "correct it") from None
    return read(RecipeFile, table, str(path))
