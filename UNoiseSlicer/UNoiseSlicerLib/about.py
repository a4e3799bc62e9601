"""What the engine says it has - models, methods, devices - asked in a process of its own, once for each question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from UNoiseSlicerLib.axial import axial_axis, slice_count
from UNoiseSlicerLib.engine_process import EngineProcess
from UNoiseSlicerLib.engine_run import engine_home, interpreter
from UNoiseSlicerLib.volumes import matrix_of

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import Choices

QUICK = 50  # passes of the model for a slice: what takes more is not ticked by itself, and its time is told
SECONDS_A_PASS = 0.05  # of a model of this size on one slice and a laptop's processor, until a run has measured it
MODEL_BYTES = 2.2e6
_answers: dict[str, About] = {}  # what was asked, of which engine -> its answer


@dataclass(frozen=True)
class About:
    """The engine's own facts, as unoise_engine's worker tells them; models and methods by name."""

    models: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    devices: tuple[str, ...]
    pixels: int  # of the slice that a method's passes are counted on

    @staticmethod
    def of(event: Mapping[str, Any]) -> About:
        """Raises KeyError, TypeError or ValueError for what is no answer."""
        models, methods = ({one["name"]: one for one in event[key]} for key in ("models", "methods"))
        return About(models, methods, tuple(event["devices"]), int(event["pixels"]))

    @property
    def titles(self) -> dict[str, str]:
        return {name: method["title"] for name, method in self.methods.items()}

    @property
    def usual(self) -> tuple[str, ...]:
        """The methods that are ticked until somebody chooses."""
        return tuple(n for n, method in self.methods.items() if method["default"] and method["passes"] <= QUICK)


def title_of(model: Mapping[str, Any]) -> str:
    return _("{name} (damaged)").format(name=model["name"]) if "error" in model else model["title"]


def shown_of(model: Mapping[str, Any]) -> str:
    """What stands under a model's name: its warning, and whom its data or weights are owed to; or what is wrong."""
    if "error" in model:
        return " - ".join(filter(None, (model["error"][part] for part in ("source", "what", "cure"))))
    return "\n".join(filter(None, (model["warning"], model["attribution"])))


def details_of(model: Mapping[str, Any]) -> str:
    """The rest of its card that a reader of its results should know; for a tool tip."""
    lines = (
        (_("Use: {text}"), "intended_use"),
        (_("Trained on: {text}"), "training_data"),
        (_("Licence: {text}"), "licence"),
        (_("Please cite: {text}"), "citation"),
    )
    told = "\n".join(line.format(text=model[key]) for line, key in lines if model.get(key))
    return told.replace("<", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}")  # a tool tip takes < for markup


class Asking:
    """One question under way. `answer` is None until it is there, and stays so if `failed`."""

    def __init__(self, python: str | None, environment: dict[str, str] | None, folders: Sequence[str],
                 parameters: Mapping[str, Any]):  # fmt: skip
        """`folders` are models beside the known ones, `parameters` those of methods that are not the usual ones.

        Raises Refused or OSError if the engine cannot be started.
        """
        home = engine_home()
        question = {"about": {"folders": list(folders), "parameters": dict(parameters)}}
        worker = home / "unoise_engine" / "worker.py"
        self.key = json.dumps([str(worker), worker.stat().st_mtime_ns, question], sort_keys=True)
        self.answer, self.failed = _answers.get(self.key), False
        self._process: EngineProcess | None = None
        if self.answer is None:
            program, variables = interpreter(python, environment)
            self._process = EngineProcess(program, home, question, variables)

    def step(self) -> bool:
        """Takes in what the engine said; True once it is over. Never waits."""
        for event in self._process.poll() if self._process is not None else ():
            if event["event"] == "about":
                try:
                    self.answer = _answers[self.key] = About.of(event)
                except (KeyError, TypeError, ValueError):  # of another version
                    self.failed = True
            elif event["event"] == "end":
                self.failed = self.answer is None
        return self.answer is not None or self.failed

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()


def seconds_of(ct: Any, method: str, about: About, choices: Choices, report: dict[str, Any]) -> float:
    """How long a method will take on a CT; slices without the organ cost nothing.

    From the last run on it if that had the same parameters, else from the passes that the method needs: at the speed of
    the last run's segmentation, which is one pass for each slice, or at a guess.
    """
    first, last = choices.slices or (0, slice_count(ct))
    slices = max(0, last - first)
    seconds, settings = report.get("seconds", {}), report.get("settings", {})
    start, stop = settings.get("axial_slices", (0, 0))
    asked = {one["name"]: one["default"] for one in about.methods[method]["parameters"]}
    asked |= choices.parameters.get(method, {})
    if stop > start and method in seconds and asked.items() <= settings.get(method, {}).items():
        return slices * seconds[method] / (stop - start)
    model = about.models.get(choices.model) or next(iter(about.models.values()))
    passes = slices * about.methods[method]["passes"] * _pixels(ct, model.get("spacing_mm", 2.0)) / about.pixels
    if stop > start:
        return passes * seconds["segmentation"] / (stop - start)
    return passes * SECONDS_A_PASS * model.get("bytes", MODEL_BYTES) / MODEL_BYTES


def _pixels(ct: Any, spacing_mm: float) -> float:
    """Of an axial slice as the model is given it, about."""
    axis, area = axial_axis(matrix_of(ct))[0], 1.0
    for a in range(3):
        if a != axis:
            area *= ct.GetImageData().GetDimensions()[a] * (ct.GetSpacing()[a] / spacing_mm if spacing_mm else 1)
    return area
