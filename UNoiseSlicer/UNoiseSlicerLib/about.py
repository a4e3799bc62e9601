"""What the engine says it has - models, methods, devices - asked in a process of its own, once for each question."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from UNoiseSlicerLib.axial import axial_axis, slice_count
from UNoiseSlicerLib.engine_run import Engine, engine_home, interpreter
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
    voxels: int  # of the block
    models_home: Path  # where it looks for the user's own models
    fills: dict[str, str]  # what may stand in the place of what is hidden: name -> in words

    @staticmethod
    def of(event: Mapping[str, Any]) -> About:
        """Raises KeyError, TypeError or ValueError for what is no answer."""
        models, methods = ({one["name"]: one for one in event[key]} for key in ("models", "methods"))
        return About(models, methods, tuple(event["devices"]), int(event["pixels"]), int(event["voxels"]),
                     Path(event["models_home"]), dict(event.get("fills", {})))  # fmt: skip

    @property
    def titles(self) -> dict[str, str]:
        return {name: method["title"] for name, method in self.methods.items()}

    def usual(self, model: str) -> tuple[str, ...]:
        """The methods that are ticked for a model until somebody chooses; of one that is not known yet, any model's."""
        known = [self.models[model]] if model in self.models else [*self.models.values()]
        usual = {name for one in known for name in one.get("usual", ())}
        return tuple(name for name in self.methods if name in usual and not self.is_slow(name, model))

    def is_slow(self, method: str, model: str) -> bool:
        return self.methods[method]["passes"] * self.repeats(method, model) > QUICK

    def repeats(self, method: str, model: str) -> int:
        """How often the passes of a method are needed."""
        labels = self.models.get(model, {}).get("labels", ())
        return max(1, len(labels) - 1) if self.methods[method]["each_label"] else 1

    def open_to(self, model: str) -> tuple[str, ...]:
        """The methods that a model may be explained by."""
        return tuple(self.models.get(model, {}).get("methods", self.methods))

    def labels_of(self, model: str) -> list[str]:
        """Those to choose from; none for a model that knows one."""
        labels = self.models.get(model, {}).get("labels", [])
        return list(labels) if len(labels) > 1 else []

    def has_windows(self, model: str) -> bool:
        """Whether it looks at a block window by window."""
        return bool(self.models.get(model, {}).get("block", {}).get("window"))


def forget() -> None:
    """After there are other models than the engine has told of."""
    _answers.clear()


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
        asked = [python or "", environment or {}, str(worker), worker.stat().st_mtime_ns, question]
        self.key = json.dumps(asked, sort_keys=True)  # another environment may have other models
        self.answer, self.failed = _answers.get(self.key), False
        self._process: Engine | None = None
        if self.answer is None:
            program, variables = interpreter(python, environment)
            self._process = Engine(program, home, question, variables)

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
    model = about.models.get(choices.model) or next(iter(about.models.values()))
    is_other = report.get("model", {}).get("sha256", model.get("sha256")) != model.get("sha256")
    if is_other or bool(settings.get("focus")) != choices.focus:  # the last run tells nothing of this one
        stop = start
    if stop > start and method in seconds and asked.items() <= settings.get(method, {}).items():
        return slices * seconds[method] / (stop - start)
    if model.get("block"):
        return _seconds_of_block(ct, method, about, choices, model, report)
    repeats = about.repeats(method, choices.model)
    passes = (
        slices * repeats * about.methods[method]["passes"] * _pixels(ct, model.get("spacing_mm", 2.0)) / about.pixels
    )
    if stop > start:
        return passes * seconds["segmentation"] / (stop - start)
    return passes * SECONDS_A_PASS * model.get("bytes", MODEL_BYTES) / MODEL_BYTES


def _seconds_of_block(
    ct: Any, method: str, about: About, choices: Choices, model: dict[str, Any], report: dict[str, Any]
) -> float:
    """The same for a model that looks at blocks: at the speed that the last run had for a window, or at a guess."""
    sides = [n * old / (new or old) for n, old, new in zip(_size(ct), _spacing(ct), model["block"]["spacing_mm"])]
    window = [min(w, n) for w, n in zip(model["block"]["window"] or sides, sides)]
    step = model["block"]["step"]
    windows = math.prod(max(1, math.ceil((n - w) / (w * step)) + 1) for n, w in zip(sides, window))
    a_pass = (
        SECONDS_A_PASS * math.prod(window) / about.pixels * math.sqrt(model.get("bytes", MODEL_BYTES) / MODEL_BYTES)
    )
    if _is_of(report, model):
        a_pass = report["seconds"]["segmentation"] / windows
    touched = 1 if choices.focus else min(windows, math.ceil(1 / step) ** 3)  # by one patch
    seen = window if choices.focus else sides
    told = about.methods[method]
    passes = about.repeats(method, choices.model) * max(1, told["block_passes"] * math.prod(seen) / about.voxels)
    return min(a_pass * touched * passes, told["block_seconds"] or math.inf)


def _is_of(report: dict[str, Any], model: dict[str, Any]) -> bool:
    return report.get("model", {}).get("sha256") == model.get("sha256") and "segmentation" in report.get("seconds", {})


def _size(ct: Any) -> tuple[int, ...]:
    """Voxels (k, j, i) of the patient's axes: k from the feet to the head."""
    axis, size = axial_axis(matrix_of(ct))[0], ct.GetImageData().GetDimensions()
    return (size[axis], *(size[a] for a in (2, 1, 0) if a != axis))


def _spacing(ct: Any) -> tuple[float, ...]:
    """mm, in the same order."""
    axis, spacing = axial_axis(matrix_of(ct))[0], ct.GetSpacing()
    return (spacing[axis], *(spacing[a] for a in (2, 1, 0) if a != axis))


def _pixels(ct: Any, spacing_mm: float) -> float:
    """Of an axial slice as the model is given it, about."""
    axis, area = axial_axis(matrix_of(ct))[0], 1.0
    for a in range(3):
        if a != axis:
            area *= ct.GetImageData().GetDimensions()[a] * (ct.GetSpacing()[a] / spacing_mm if spacing_mm else 1)
    return area
