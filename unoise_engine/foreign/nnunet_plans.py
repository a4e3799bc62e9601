"""What nnU-Net v2 writes down about a model, plans.json and dataset.json, as a preparation and labels.

Read as data: what they name is looked up in tables here, never imported. Whatever is not understood is refused by its
name. Isensee et al., Nature Methods 18, 203 (2021); the formats are those of nnunetv2 2.0 to 2.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unoise_engine.errors import Environment, Usage, printable
from unoise_engine.files import open_regular
from unoise_engine.models.preparation import Preparation, Resampling, Step, Window
from unoise_engine.strict_json import read_json

LARGEST_JSON = 16 << 20  # bytes
ANISOTROPY = 3.0  # nnunetv2.configuration.ANISO_THRESHOLD
STEP_SHARE = 0.5  # of a window, nnUNetPredictor's default
# Image readers -> the axes of the array that they give: as stored, or turned to the closest of RAS+.
STORED_AXES, TURNED_AXES = "kji", "SAR"
READERS = {
    "SimpleITKIO": STORED_AXES,
    "NibabelIO": STORED_AXES,
    "SimpleITKIOWithReorient": TURNED_AXES,
    "NibabelIOWithReorient": TURNED_AXES,
}
ORIENTATIONS = {"stored": STORED_AXES, "RAS": TURNED_AXES}
ALL = "use every setting as nnunetv2 itself writes it"


def read_table(path: Path) -> dict[str, Any]:
    """A JSON file that holds a table. Raises Environment without the file, Usage for another content."""
    try:
        with open_regular(path) as file:
            table = read_json(file.read(LARGEST_JSON + 1), LARGEST_JSON)
        if not isinstance(table, dict):
            raise ValueError("it holds no table")
        return table
    except OSError as error:
        raise Environment(path, f"cannot be read ({error.strerror})", "give the whole results folder") from None
    except (ValueError, RecursionError) as error:
        raise Usage(path, f"cannot be read as JSON ({printable(str(error))[:120]})", "get the file again") from None


def get(table: Mapping[str, Any], key: str, kind: type | tuple[type, ...], path: Path) -> Any:
    """A value of this kind. Raises Usage."""
    value = table.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        what = f"its {key!r} is missing" if key not in table else f"its {key!r} is {ascii(value)[:60]}"
        raise Usage(path, what, "give a results folder of nnU-Net v2")
    return value


def configuration(plans: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """The settings of a configuration with those that it inherits. Raises Usage, for a cascade too."""
    known = get(plans, "configurations", dict, path)
    settings: dict[str, Any] = {}
    heirs: list[str] = []
    while name:
        if name not in known or name in heirs or not isinstance(known[name], dict):
            there = ", ".join(known)
            raise Usage(path, f"has no configuration {printable(str(name))[:60]!r} of its own", f"choose from {there}")
        heirs.append(name)
        settings = {**known[name], **settings}
        name = known[name].get("inherits_from", "")
    if settings.get("previous_stage"):
        what = (
            f"{heirs[0]} is a cascade: it needs the segmentation of {printable(str(settings['previous_stage']))[:60]}"
        )
        raise Usage(path, what, "import a configuration of one stage, such as 3d_fullres or 3d_lowres")
    return settings


def channel(dataset: Mapping[str, Any], path: Path) -> str:
    """The name of the one channel. Raises Usage if there are several."""
    names = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(names, dict) or not names:
        raise Usage(path, "names no channel", "give a results folder of nnU-Net v2")
    if len(names) > 1:
        several = printable(", ".join(str(name)[:20] for name in list(names.values())[:8]))
        raise Usage(path, f"the model needs {len(names)} images of a patient ({several})", "import one that needs one")
    return str(next(iter(names.values())))


def labels(dataset: Mapping[str, Any], path: Path) -> tuple[dict[str, int], str]:
    """Label -> its number as a bundle counts, and the kind of outputs. Raises Usage.

    softmax: a label's number is that of the output's channel, 0 the background's. Regions overlap; each has a channel
    of its own, and its number here is that channel's, plus one. "ignore" is in no output.
    """
    table = {name: _plain(value) for name, value in get(dataset, "labels", dict, path).items() if name != "ignore"}
    if table.pop("background", None) != 0:
        raise Usage(path, "its labels have no background 0", "give a results folder of nnU-Net v2")
    for name, value in table.items():
        if not all(type(one) is int for one in (value if isinstance(value, list) else [value])):
            raise Usage(path, f"its label {printable(name)[:60]!r} is {ascii(value)[:60]}", "correct dataset.json")
    if any(isinstance(value, list) for value in table.values()):
        order = dataset.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(table):
            what = "its regions have no regions_class_order of the same length"
            raise Usage(path, what, "give the dataset.json that nnU-Net trained with")
        return {name: k for k, name in enumerate(table, 1)}, "sigmoid"
    if sorted(table.values()) != [*range(1, len(table) + 1)]:
        raise Usage(path, f"its labels are not numbered 1 to {len(table)}", "give the dataset.json of the training")
    return dict(sorted(table.items(), key=lambda item: item[1])), "softmax"


def _plain(value: Any) -> Any:
    """A list of one number is that number."""
    return value[0] if isinstance(value, list) and len(set(map(str, value))) == 1 else value


def preparation(
    plans: Mapping[str, Any], settings: Mapping[str, Any], channel_name: str, orientation: str, path: Path
) -> Preparation:
    """What nnU-Net's DefaultPreprocessor and nnUNetPredictor do, in their order: crop, normalise, resample, windows.

    `orientation`: "stored" or "RAS"; without one it is what the plans' image reader does. Raises Usage.
    """
    _only(settings, "preprocessor_name", {"DefaultPreprocessor"}, path)
    _only(plans, "label_manager", {"LabelManager"}, path)
    reader = get(plans, "image_reader_writer", str, path)
    if reader not in READERS:
        what = f"its images are read by {printable(reader)[:60]}"
        raise Usage(path, what, f"only models for {', '.join(READERS)} can be imported")
    stored = ORIENTATIONS[orientation] if orientation else READERS[reader]
    order = get(plans, "transpose_forward", list, path)
    if sorted(map(str, order)) != ["0", "1", "2"]:
        raise Usage(path, f"its 'transpose_forward' is {ascii(order)[:60]}", ALL)
    patch = get(settings, "patch_size", list, path)
    spacing = get(settings, "spacing", list, path)
    if len(patch) not in (2, 3) or len(spacing) != len(patch):
        raise Usage(path, f"its patch {ascii(patch)[:40]} and spacing {ascii(spacing)[:60]} do not fit together", ALL)
    steps = [Step("crop-nonzero"), *_normalisation(plans, settings, path)]
    try:
        resampling = _resampling(settings, path)
        mm = (0.0,) * (3 - len(spacing)) + tuple(float(one) for one in spacing)
        if resampling:
            steps.append(Step("resample"))
        return Preparation(
            axes="".join(stored[int(k)] for k in order),
            rank=len(patch),
            spacing_mm=(mm[0], mm[1], mm[2]) if resampling else (0.0, 0.0, 0.0),
            steps=tuple(steps),
            resampling=resampling or Resampling(),
            window=Window(tuple(map(int, patch)), STEP_SHARE, "nnunet", "gaussian-nnunet"),
            modality=_modality(channel_name, settings),
        )
    except (ValueError, TypeError) as error:
        raise Usage(path, f"describes what no bundle can do ({printable(str(error))[:160]})", ALL) from None


def _modality(channel_name: str, settings: Mapping[str, Any]) -> str:
    """CT where values must be Hounsfield units, else the channel's name, as far as it is a word."""
    if channel_name.casefold() == "ct" or settings["normalization_schemes"] == ["CTNormalization"]:
        return "CT"
    return re.sub("[^A-Za-z0-9]", "", channel_name)[:16] or "other"


def _normalisation(plans: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> list[Step]:
    schemes = get(settings, "normalization_schemes", list, path)
    masked = settings.get("use_mask_for_norm", [False])
    if len(schemes) != 1 or masked not in ([False], [True]):
        raise Usage(path, f"its normalisation is for {len(schemes)} channels", "import a model that needs one image")
    if schemes == ["CTNormalization"]:
        key = "foreground_intensity_properties_per_channel"  # named by_modality until nnunetv2 2.0
        key = key if key in plans else "foreground_intensity_properties_by_modality"
        of = get(get(plans, key, dict, path), "0", dict, path)
        low, high, mean, std = (
            float(get(of, name, (int, float), path)) for name in ("percentile_00_5", "percentile_99_5", "mean", "std")
        )
        try:
            return [Step("clip", (low, high)), Step("normalise", (mean, max(std, 1e-8)))]
        except ValueError as error:
            raise Usage(path, f"its intensities cannot be used ({error})", ALL) from None
    known = {
        "ZScoreNormalization": [Step("normalise-filled" if masked[0] else "normalise-image")],
        "RescaleTo01Normalization": [Step("scale-image", (0.0, 1.0))],
        "NoNormalization": [],
    }
    if not isinstance(schemes[0], str) or schemes[0] not in known:
        what = f"its normalisation {printable(str(schemes[0]))[:60]} is not known here"
        raise Usage(path, what, f"only CTNormalization, {', '.join(known)} can be imported")
    return known[schemes[0]]


def _resampling(settings: Mapping[str, Any], path: Path) -> Resampling | None:
    """None where nothing is resampled. Raises Usage or ValueError."""
    there = _one_resampling(settings, "data", path)
    back = _one_resampling(settings, "probabilities", path)
    if not there and not back:
        return None
    if not there or not back or there["apart"] != back["apart"]:
        raise Usage(path, "resamples images in another way than what the net answers", ALL)
    return Resampling("edges", **there, back=back["order"], back_apart=back["order_apart"])


def _one_resampling(settings: Mapping[str, Any], what: str, path: Path) -> dict[str, Any]:
    """Orders of the spline, and which axis is apart; empty for none. The functions differ in their defaults."""
    name = get(settings, f"resampling_fn_{what}", str, path)
    given = dict(get(settings, f"resampling_fn_{what}_kwargs", dict, path))
    given.pop("num_threads", None), given.pop("memefficient_seg_resampling", None)  # which change no result
    if name == "no_resampling_hack" and not given:
        return {}
    usual: dict[str, Any]
    if name == "resample_data_or_seg_to_shape":
        usual = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": False}
    elif name == "resample_torch_fornnunet":
        usual = {"is_seg": False, "force_separate_z": None, "mode": "linear", "aniso_axis_mode": "nearest-exact"}
    else:
        cure = "only resample_data_or_seg_to_shape, resample_torch_fornnunet and no_resampling_hack can be imported"
        raise Usage(path, f"its resampling {printable(name)[:60]} is not known here", cure)
    usual["separate_z_anisotropy_threshold"] = ANISOTROPY
    chosen = {**usual, **given}
    free = {"order", "order_z", "force_separate_z"}
    for key, value in chosen.items():
        if key not in usual or (key not in free and value != usual[key]):
            raise Usage(path, f"its resampling has {printable(key)[:40]} = {ascii(value)[:40]}", ALL)
    if chosen.get("order_z", 0) not in (0, 1):
        raise Usage(path, f"its resampling has order_z = {ascii(chosen['order_z'])[:20]}", "it must be 0 or 1")
    apart = {None: "auto", False: "never", True: "always"}[chosen["force_separate_z"]]
    return {"order": chosen.get("order", 1), "order_apart": chosen.get("order_z", 0), "apart": apart}


def _only(table: Mapping[str, Any], key: str, known: set[str], path: Path) -> None:
    """Raises Usage for a value that is not known; where there is none, the default is meant."""
    if (value := table.get(key, next(iter(known)))) not in known:
        raise Usage(path, f"its {key} is {ascii(value)[:60]}", f"only {', '.join(known)} can be imported")
