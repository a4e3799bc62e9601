"""What stands around the net in a MONAI bundle: preprocessing, inferer and postprocessing, as a `Preparation`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unoise_engine.foreign.monai_config import Component, Config
from unoise_engine.foreign.monai_transforms import (
    IGNORED,
    LOADING,
    NUMBER_TYPES,
    TRANSFORMS,
    Line,
    refuse_unless,
    short_name,
)
from unoise_engine.models.preparation import Preparation, Window
from unoise_engine.typed import Misfit, build

PER_KEY = (
    "mode",
    "padding_mode",
    "align_corners",
    "dtype",
    "nearest_interp",
    "softmax",
    "sigmoid",
    "argmax",
    "threshold",
)
INFERERS = ("SlidingWindowInferer", "SliceInferer", "SimpleInferer")
HARDWARE = (
    "sw_batch_size", "sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps",
    "buffer_dim",
)  # fmt: skip
PADDINGS = {"constant": "constant", "replicate": "edge"}
UNSEEN = ("SaveImage", "EnsureType", "ToTensor", "ToDevice", "DeleteItems", "CastToType")  # change no label
TIDYING = ("KeepLargestConnectedComponent", "FillHoles", "RemoveSmallObjects")  # change some; left out
AFTER = ("Activations", "AsDiscrete", "Invert", *TIDYING, *UNSEEN)


@dataclass(frozen=True)
class Ending:
    """What postprocessing makes of the net's answer: `outputs` as in a manifest, what is brought back, by the spline
    `back`, `back_as` logits or probabilities, and what it does besides."""

    outputs: str
    back: int
    besides: tuple[str, ...] = ()
    back_as: str = "logits"


def components(config: Config, value: Any, where: str) -> Iterator[tuple[str, Component]]:
    """Of a Compose, of lists and of Composes within them, in their order."""
    value = config.follow(value, where)
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from components(config, one, f"{where} {number}" if where[-1:].isdigit() else f"{where}, {number}")
    elif (one := config.component(value, where)) and one.name == "Compose" and of_monai(one, "monai.transforms"):
        if config.plain(one.arguments.get("lazy", False), where) not in (False, None):
            raise config.refused(where, "Compose is lazy: it interpolates once for several transforms")
        yield from components(config, one.arguments.get("transforms", []), where)
    elif one:
        yield where, one


def of_monai(component: Component, package: str) -> bool:
    """Whether its name is short, or within the package."""
    return not component.module or (component.module + ".").startswith(package + ".")


def image_key(config: Config, transform: Component, where: str, image: str) -> int | None:
    """Which of a transform's keys is the image; None where it is about something else."""
    keys = config.plain(transform.arguments.get("keys", image), where)
    keys = keys if isinstance(keys, list) else [keys]
    return keys.index(image) if image in keys else None


def arguments(
    config: Config, transform: Component, where: str, position: int | None, ignored: tuple[str, ...]
) -> dict[str, Any]:
    """By name, worked out; of lists with an entry for each key that at `position`."""
    kept = {name: value for name, value in transform.arguments.items() if name not in ignored}
    found = {name: config.plain(value, f"{where}, {transform.name} [{name}]") for name, value in kept.items()}
    for name in PER_KEY:
        if position is not None and isinstance(found.get(name), list) and position < len(found[name]):
            found[name] = found[name][position]
    return found


def read_line(config: Config, image: str) -> Line:
    """The preprocessing, transform by transform."""
    line = Line()
    for where, transform in components(config, config.at("preprocessing", []), "preprocessing"):
        position = image_key(config, transform, where, image)
        if position is None:
            continue
        kind = TRANSFORMS.get(short_name(transform.name))
        if kind is None or not of_monai(transform, "monai.transforms"):
            known = ", ".join(TRANSFORMS)
            name = f"{transform.module}.{transform.name}".lstrip(".")[:80]
            raise config.refused(where, f"the transform {name} is none of those that are known ({known})")
        found = arguments(config, transform, where, position, IGNORED + LOADING)
        try:
            refuse_unless(found.pop("dtype", None) in NUMBER_TYPES, "its dtype is not float32 or float64")
            refuse_unless(found.pop("lazy", False) in (False, None), "it is lazy")
            if kind.__name__ == "CropForeground":
                refuse_unless(found.get("source_key", image) == image, "its source_key is not the image")
            refuse_unless(line.multiple_of == 1, "it stands behind DivisiblePad, which must be the last")
            build(kind, found).onto(line)
        except Misfit as error:
            raise config.refused(where, f"{transform.name} {error.where} {error.what}") from None
        except ValueError as error:
            raise config.refused(where, f"{transform.name}: {error}") from None
    return line


def read_ending(config: Config, answer: str) -> Ending:
    """Softmax with argmax, or sigmoid with a threshold of one half; anything else is refused."""
    activation, decision, back, nearest, besides, back_as = "", "", 1, False, [], "logits"
    for where, transform in components(config, config.at("postprocessing", []), "postprocessing"):
        position = image_key(config, transform, where, answer)
        if position is None:
            continue
        name, at = short_name(transform.name), f"{where}, {transform.name}"
        told = {
            key: config.plain(value, at)
            for key, value in transform.arguments.items()
            if key in ("softmax", "sigmoid", "other", "argmax", "threshold", "nearest_interp", "resample", "rounding")
        }
        told = {key: v[position] if isinstance(v, list) and position < len(v) else v for key, v in told.items()}
        if not of_monai(transform, "monai.transforms"):
            raise config.refused(at, f"of {transform.module[:80]} is not MONAI's own")
        if name == "Activations":
            if told.get("other") is not None or decision:
                raise config.refused(at, "is another function than softmax or sigmoid, or stands too late")
            activation = next((key for key in ("softmax", "sigmoid") if told.get(key)), activation)
        elif name == "AsDiscrete":
            threshold = told.get("threshold")
            half = 0.5 if activation else 0.0
            if told.get("argmax") and threshold is None and activation != "sigmoid":
                decision = "softmax"
            elif not told.get("argmax") and threshold == half and activation != "softmax":
                decision = "sigmoid"
            else:
                raise config.refused(at, "is neither argmax nor a threshold at one half")
        elif name == "Invert":
            nearest = bool(told.get("nearest_interp", True))
            if decision and not nearest:
                raise config.refused(at, "interpolates between labels")
            back = 0 if nearest else 1
            back_as = "probabilities" if activation and back else "logits"
        elif name == "SaveImage" and told.get("resample"):
            back = 0
        elif name in TIDYING:
            besides.append(name)
        elif name not in UNSEEN:
            raise config.refused(at, f"is none of those that are known ({', '.join(AFTER)})")
    if not decision:
        raise config.refused("postprocessing", "says neither argmax nor a threshold, so labels cannot be told")
    return Ending(decision, back, tuple(besides), back_as)


def read_window(config: Config, line: Line) -> tuple[Window, int | None]:
    """The inferer's window, and the axis whose planes are what the net sees; None where it sees blocks."""
    where = "inferer"
    inferer = config.component(config.at("inferer"), where)
    if inferer is None or inferer.name not in INFERERS or not of_monai(inferer, "monai.inferers"):
        name = f"{inferer.module}.{inferer.name}".lstrip(".")[:80] if inferer else "none"
        raise config.refused(where, f"{name} is none of those that are known ({', '.join(INFERERS)})")
    found = arguments(config, inferer, where, None, HARDWARE)
    if inferer.name == "SimpleInferer":
        return Window(step=1.0, places="monai", multiple_of=line.multiple_of, fill=line.fill), None
    if line.multiple_of > 1:
        raise config.refused("preprocessing", "DivisiblePad is known with SimpleInferer alone")
    try:
        plane = found.pop("spatial_dim", 0) if inferer.name == "SliceInferer" else None
        refuse_unless(plane in (None, 0, 1, 2), "its spatial_dim is none of 0, 1, 2")
        refuse_unless(found.pop("with_coord", False) is False, "it tells the net where a window lies")
        return _window(found, 3 if plane is None else 2), plane
    except ValueError as error:
        raise config.refused(where, f"{inferer.name}: {error}") from None


def _window(found: dict[str, Any], rank: int) -> Window:
    """SlidingWindowInferer's arguments with MONAI's defaults. Raises ValueError."""
    size, overlap = found.pop("roi_size", None), _one(found.pop("overlap", 0.25), "overlap")
    mode, sigma = found.pop("mode", "constant"), _one(found.pop("sigma_scale", 0.125), "sigma_scale")
    padding, fill = found.pop("padding_mode", "constant"), _one(found.pop("cval", 0.0), "cval")
    refuse_unless(not found, f"its {', '.join(found)[:60]} is not known")
    sides = size if isinstance(size, list) else [size] * rank
    refuse_unless(
        len(sides) == rank and all(side is None or type(side) is int for side in sides),
        f"its roi_size is no list of {rank} whole numbers",
    )
    whole = [side is None or side <= 0 for side in sides]
    refuse_unless(all(whole) or not any(whole), "its roi_size takes some axes whole and others not")
    refuse_unless(0 <= overlap < 1, "its overlap does not lie in 0 .. 1")
    refuse_unless(mode in ("constant", "gaussian"), "its mode is neither constant nor gaussian")
    refuse_unless(
        isinstance(padding, str) and padding in PADDINGS, "its padding_mode is neither constant nor replicate"
    )
    return Window(
        size=() if all(whole) else tuple(sides),
        step=1 - overlap,
        places="monai",
        weights="gaussian-monai" if mode == "gaussian" else "constant",
        sigma=sigma,
        padding=PADDINGS[padding],
        fill=fill,
    )


def _one(value: Any, name: str) -> float:
    one, *others = value if isinstance(value, list) and value else [value]
    if isinstance(one, bool) or not isinstance(one, int | float) or any(other != one for other in others):
        raise ValueError(f"its {name} is not one number")
    return one


def read_preparation(config: Config, image: str, answer: str, modality: str) -> tuple[Preparation, Ending]:
    """All of it. Raises Usage for whatever cannot be said by numbers."""
    line, ending = read_line(config, image), read_ending(config, answer)
    window, plane = read_window(config, line)
    order = [0, 1, 2] if plane is None else [plane, *(axis for axis in range(3) if axis != plane)]
    spacing = line.pixdim or (0.0, 0.0, 0.0)
    try:
        preparation = Preparation(
            axes="".join(line.axes[axis] for axis in order) if len(line.axes) == 3 else line.axes,
            rank=3 if plane is None else 2,
            spacing_mm=(spacing[order[0]], spacing[order[1]], spacing[order[2]]),
            steps=tuple(line.steps),
            resampling=line.resampling(ending.back, ending.back_as),
            window=window,
            modality=modality,
        )
    except ValueError as error:
        raise config.refused("preprocessing", str(error)) from None
    return preparation, ending
