"""A MONAI bundle's folder as a `Source`: its net by MONAI's own class, the rest by numbers. Its Python is never run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unoise_engine.errors import Usage, printable
from unoise_engine.foreign import need
from unoise_engine.foreign.checkpoint import read_checkpoint, weights
from unoise_engine.foreign.monai_config import OTHERWISE, Config
from unoise_engine.foreign.monai_pipeline import of_monai, read_preparation
from unoise_engine.foreign.source import Source
from unoise_engine.foreign.torchscript import load_script

# Of monai.networks.nets, those whose ONNX answered as they do.
NETS = ("UNet", "BasicUNet", "SegResNet", "SegResNetDS", "DynUNet", "VNet", "AttentionUnet", "UNETR", "SwinUNETR")
LARGEST_ARGUMENT = 4096  # of a net's sizes
MODALITIES = {"CT": "CT", "HOUNSFIELD": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT"}
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "docs/LICENSE", "docs/LICENSE.txt")
LONGEST_LICENCE = 1 << 16  # bytes read
WRAPPINGS = ("model", "state_dict", "network", "net")  # entries of a checkpoint that hold the weights


def read_monai(folder: Path, prefer: str = "pt", trust: bool = False) -> Source:
    """The bundle in `folder`, with the weights of models/model.pt, or with models/model.ts if `prefer` is "ts".

    A model.ts is code and is only loaded with `trust`. Raises Usage for what is no data, MissingExtra without MONAI.
    """
    config = Config.read(folder)
    image, entry = _only(config, "inputs")
    answer, told = _only(config, "outputs")
    if (channels := entry.get("num_channels", 1)) != 1:
        raise config.refused("metadata.json", f"the net is given {channels!s:.20} channels", "import a model of one")
    modality = MODALITIES.get(str(entry.get("modality") or entry.get("format")).upper(), "")
    if not modality:
        raise config.refused("metadata.json", "does not tell the image's modality", "write CT or MR there")
    preparation, ending = read_preparation(config, image, answer, modality)
    names = _names(config, told.get("channel_def"))
    single = ending.outputs == "sigmoid" and len(names) == 1
    shift = 1 if ending.outputs == "sigmoid" else 0
    labels = {name: number + shift for number, name in names.items() if number + shift}
    if not labels:
        raise config.refused("metadata.json", "channel_def names no label but the background", "name the labels there")
    name, told_of_net = _definition(config, len(names)) if prefer != "ts" else ("TorchScript", {})
    path = folder / "models" / f"model.{prefer}"
    if not path.is_file():
        raise Usage(path, "is missing", "get the bundle's weights too; model.ts is read with --trust")
    size = preparation.window.size or _shape(entry, preparation.rank, preparation.window.multiple_of)
    notes = [f"its post-processing also does {', '.join(ending.besides)}, which is left out"] if ending.besides else []
    if ending.outputs == "softmax" and "background" not in names.get(0, "background").lower():
        notes.append(f"channel 0, {names[0]!r}, is taken for the background")
    meta = config.tables["_meta_"]
    return Source(
        name=_text(meta, "name") or folder.resolve().name,
        title=_text(meta, "task") or _text(meta, "name") or folder.resolve().name,
        kind="MONAI bundle",
        preparation=preparation,
        labels=labels,
        outputs="logit" if single else ending.outputs,
        example=(1, 1, *size),
        net=load_script(path, trust) if prefer == "ts" else _net(name, told_of_net, path),
        licence=_licence(folder) or _text(meta, "license"),
        citation=_text(meta, "references"),
        training_data=_text(meta, "data_source"),
        notes=tuple(notes),
        facts={"net": name, "version": _text(meta, "version")},
    )


def _only(config: Config, which: str) -> tuple[str, dict[str, Any]]:
    """The one input or output in metadata.json: its key, and what is told of it."""
    found = config.at(f"_meta_::network_data_format::{which}", {})
    if not isinstance(found, dict) or len(found) != 1 or not isinstance(one := next(iter(found.values())), dict):
        what = f"network_data_format does not name one of {which}"
        raise config.refused("metadata.json", what, "import a model with one image in and one segmentation out")
    return next(iter(found)), one


def _names(config: Config, channels: Any) -> dict[int, str]:
    """Channel -> label, from channel_def."""
    if not isinstance(channels, dict) or not channels or not all(isinstance(name, str) for name in channels.values()):
        raise config.refused("metadata.json", "channel_def does not name the labels", "name each channel there")
    if sorted(channels) != sorted(map(str, range(len(channels)))) or len(set(channels.values())) < len(channels):
        raise config.refused(
            "metadata.json", "channel_def skips a channel or has a name twice", "name each channel there"
        )
    return {number: channels[str(number)].strip() for number in range(len(channels))}


def _definition(config: Config, channels: int) -> tuple[str, dict[str, Any]]:
    """The net's class, one of `NETS`, and its arguments."""
    found = config.component(config.at("network_def", config.at("network")), "network_def")
    if found is None or found.name not in NETS or not of_monai(found, "monai.networks.nets"):
        name = f"{found.module}.{found.name}".lstrip(".")[:80] if found else "none"
        raise config.refused("network_def", f"the net {name} is none of those that are known ({', '.join(NETS)})")
    told = {key: config.plain(value, f"network_def [{key}]") for key, value in found.arguments.items()}
    if not _modest(told):
        raise config.refused("network_def", f"has a number beyond {LARGEST_ARGUMENT}", "correct it")
    if told.get("in_channels", 1) != 1 or told.get("out_channels", channels) != channels:
        what = f"has not one channel in and the {channels} of channel_def out"
        raise config.refused("network_def", what, "correct metadata.json, or import a model of one channel")
    return found.name, told


def _net(name: str, told: dict[str, Any], path: Path) -> Any:
    """MONAI's net with the checkpoint's weights, in evaluation mode."""
    need("torch", "monai")
    import torch
    from monai.networks import nets
    from torch.overrides import TorchFunctionMode

    class WithNumbers(TorchFunctionMode):
        """SwinUNETR reads numbers off a line that it makes while it is built."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func is torch.linspace else {}))

    table = read_checkpoint(path)
    stored = weights(next((table[key] for key in WRAPPINGS if isinstance(table.get(key), dict)), table), path)
    try:
        with torch.device("meta"), WithNumbers():  # no memory is taken: the checkpoint's own tensors are put in place
            net = getattr(nets, name)(**told)
        net.load_state_dict(stored, assign=True)
        half = [
            key for key, value in net.state_dict().items() if value.is_floating_point() and value.dtype != torch.float32
        ]
        if half:
            raise ValueError(f"{half[0]} is not float32")
    except Exception as error:  # whatever MONAI's classes raise for arguments of any kind
        said = printable(" ".join(str(error).split()))[:300]
        raise Usage(path, f"does not fit network_def ({said})", OTHERWISE) from None
    return net.eval().requires_grad_(False)


def _modest(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(_modest(one) for one in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= LARGEST_ARGUMENT


def _shape(entry: dict[str, Any], rank: int, multiple: int) -> tuple[int, ...]:
    """A window to try the net on, where it is given whole images."""
    told = entry.get("spatial_shape")
    if isinstance(told, list) and len(told) == rank and all(type(side) is int and 0 < side <= 256 for side in told):
        return tuple(told)
    return (-(-64 // multiple) * multiple,) * rank


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key, "")
    return "; ".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def _licence(folder: Path) -> str:
    for name in LICENCES:
        if (path := folder / name).is_file():
            with path.open("rb") as file:
                return " ".join(file.read(LONGEST_LICENCE).decode("utf-8", "replace").split())
    return ""
