"""Where the engine and its models are, what a model says of itself, and how long occlusion will take."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from UNoiseSlicerLib.axial import axial_axis, slice_count
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.volumes import matrix_of

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import Choices

SECONDS_A_PASS = 0.05  # of a model of this size on one slice and a laptop's processor, until a run has measured it
ADAPTIVE = 8  # pixels: the stride that takes about as long as an adaptive map
MODEL_BYTES = 2.2e6
LARGEST_MANIFEST, MOST_BRACKETS = 1 << 20, 5000  # bytes; ours has some hundred lists and tables


def engine_home() -> Path:
    """The folder that holds unoise_engine: beside the module when installed, two levels up in a source tree."""
    here = Path(__file__).resolve().parent
    for home in (here.parent, here.parent.parent):
        if (home / "unoise_engine" / "worker.py").is_file():
            return home
    raise Refused(_("The engine is missing beside the module in {folder} - install the extension again.").format(
        folder=here.parent))  # fmt: skip


@dataclass(frozen=True)
class Model:
    """What a bundle says of itself, for the panel."""

    name: str
    title: str
    warning: str
    facts: dict[str, Any]

    @property
    def about(self) -> str:
        """What stands under the model's name: its warning, and whom its data or weights are owed to."""
        return "\n".join(filter(None, (self.warning, self._said("attribution"))))

    @property
    def details(self) -> str:
        """The rest of its card that a reader of its results should know; for a tool tip."""
        lines = (
            (_("Use: {text}"), "intended_use"),
            (_("Trained on: {text}"), "training_data"),
            (_("Licence: {text}"), "licence"),
            (_("Please cite: {text}"), "citation"),
        )
        told = "\n".join(line.format(text=said) for line, key in lines if (said := self._said(key)))
        return told.replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")  # a tool tip takes < for markup

    def _said(self, key: str) -> str:
        value = self.facts.get(key)
        return _shown(value, 4000) if isinstance(value, str) else ""


def shipped_models() -> dict[str, Path]:
    """Name -> folder of the models that came with the extension, the engine's default first."""
    home = engine_home()
    found: dict[str, Path] = {}
    for models in (home / "Resources" / "Models", home / "unoise_engine" / "resources" / "models"):
        if models.is_dir():
            found.update({p.name: p for p in sorted(models.iterdir()) if (p / "bundle.json").is_file()})
    default = engine_default(home)
    return dict(sorted(found.items(), key=lambda item: item[0] != default))


def engine_default(home: Path) -> str:
    """The model that the engine takes by itself, read from its source: importing it would load its packages."""
    source = home / "unoise_engine" / "models" / "session.py"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    named = re.search(r"^DEFAULT_BUNDLE\b[^=]*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return named[1] if named else ""


def find_model(name: str) -> Path:
    """A shipped model, or a folder with a bundle.json; the default if no name is given. Raises Refused."""
    shipped = shipped_models()
    name = name or next(iter(shipped), "")
    if name in shipped:
        return shipped[name]
    folder = Path(name)
    if name and (folder / "bundle.json").is_file():
        return folder
    raise Refused(_("{name} is no model (a folder with a bundle.json) - choose another under Model.").format(
        name=name or _("Nothing")))  # fmt: skip


def describe(name: str) -> Model:
    """Reads a model's card; the engine checks everything when it runs. Raises Refused if it cannot be read."""
    folder = find_model(name)
    try:
        facts = _facts(folder / "bundle.json")
        title, synthetic = _shown(facts["title"], 200), bool(facts["synthetic"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Refused(
            _("{file} cannot be read ({error}) - get the model again.").format(file=folder / "bundle.json", error=error)
        ) from None
    warning = (
        _("Demonstration model trained on synthetic CT. Not for clinical use.")
        if synthetic
        else _("Research model. Not for clinical use.")
    )
    return Model(name, title, warning, facts)


def _facts(path: Path) -> dict[str, Any]:
    """Of a manifest by anybody, bounded. Raises what `describe` expects; the engine says more."""
    with path.open("rb") as f:
        text = f.read(LARGEST_MANIFEST + 1).decode("utf-8")
    if len(text) > LARGEST_MANIFEST or text.count("[") + text.count("{") > MOST_BRACKETS:
        raise ValueError(_("too large"))
    facts: dict[str, Any] = json.loads(text)
    recipe, size = facts.get("recipe", {}), facts.get("files", {}).get("utility.onnx", {}).get("bytes", MODEL_BYTES)
    if not (
        0.1 <= recipe.get("spacing_mm", 2.0) <= 10 and 1 <= recipe.get("multiple_of", 16) <= 512 and 0 <= size < 1e10
    ):
        raise ValueError(_("its recipe or its files are out of range"))
    return facts


def _shown(text: str, most: int) -> str:
    """Printable characters on one line, as the engine shows them."""
    return "".join(c for c in " ".join(text[: 4 * most].split()) if c.isprintable())[:most]


def occlusion_seconds(ct: Any, model: Model, choices: Choices, report: dict[str, Any]) -> float:
    """One pass of the model for each place of the patch, on each slice; slices without the organ cost nothing.

    The speed is that of the last run's occlusion, else of its segmentation (an upper bound), else a guess.
    """
    first, last = choices.slices or (0, slice_count(ct))
    passes = max(0, last - first) * _places(ct, model, choices.patch, choices.stride)
    seconds, settings = report.get("seconds", {}), report.get("settings", {})
    start, stop = settings.get("axial_slices", (0, 0))
    if stop <= start:
        size = model.facts.get("files", {}).get("utility.onnx", {}).get("bytes", MODEL_BYTES)
        return passes * SECONDS_A_PASS * size / MODEL_BYTES
    if "occlusion" in seconds:
        then = settings["occlusion"]
        return passes * seconds["occlusion"] / ((stop - start) * _places(ct, model, then["patch"], then["stride"]))
    return passes * seconds["segmentation"] / (stop - start)


def _places(ct: Any, model: Model, patch: int, stride: int) -> int:
    """How many places the patch visits on one axial slice of the model; an adaptive map visits about as many as 8."""
    recipe = model.facts.get("recipe", {})
    spacing, multiple = float(recipe.get("spacing_mm", 2.0)), int(recipe.get("multiple_of", 16))
    axis, places = axial_axis(matrix_of(ct))[0], 1
    for a in range(3):
        if a != axis:
            pixels = ct.GetImageData().GetDimensions()[a] * ct.GetSpacing()[a] / spacing
            side = -(-math.ceil(round(pixels, 3)) // multiple) * multiple  # as the engine pads
            places *= -(-max(side - patch, 0) // (stride or ADAPTIVE)) + 1
    return places
