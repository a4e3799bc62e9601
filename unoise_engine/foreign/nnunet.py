"""A results folder of nnU-Net v2 as a `Source`, without nnU-Net and without running anything that is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unoise_engine.errors import Integrity, Usage, printable
from unoise_engine.files import sha256
from unoise_engine.foreign import need
from unoise_engine.foreign.checkpoint import read_checkpoint, weights
from unoise_engine.foreign.nnunet_plans import (
    ORIENTATIONS,
    STORED_AXES,
    channel,
    configuration,
    labels,
    preparation,
    read_table,
)
from unoise_engine.foreign.source import Source

CHECKPOINT = "checkpoint_final.pth"
CITATION = (
    "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nature Methods 18, 203-211 (2021)."
)
MOST_FOLDS = 16


def read_nnunet(
    folder: Path, *, config: str = "", fold: str = "", orientation: str = "", checkpoint: str = CHECKPOINT
) -> Source:
    """The model in a folder TRAINER__PLANS__CONFIGURATION, or in a folder that holds exactly one.

    `config` chooses among several. `fold`: a number, "all" for the fold that was trained on all data, or several joined
    by commas, whose logits are averaged; without one it is fold 0, or the only one there is. `orientation`: "RAS" or
    "stored", how the training's images lay; without one it is what the plans' image reader does.

    Raises MissingExtra, Usage, Environment or Integrity, each in a sentence that names what it is about.
    """
    need("torch", "dynamic_network_architectures")
    from unoise_engine.foreign.nnunet_net import Mean, architecture, build

    if orientation and orientation not in ORIENTATIONS:
        raise Usage(f"--orientation {orientation}", "is none", f"choose {' or '.join(ORIENTATIONS)}")
    home = results_folder(folder, config)
    plans_file, dataset_file = home / "plans.json", home / "dataset.json"
    plans, dataset = read_table(plans_file), read_table(dataset_file)
    named, outputs = labels(dataset, dataset_file)
    channel_name = channel(dataset, dataset_file)
    chosen = folds(home, fold)
    nets, hashes = [], []
    used = trainer = ""
    for one in chosen:
        path = home / f"fold_{one}" / checkpoint
        if not path.is_file():
            there = ", ".join(sorted(p.name for p in path.parent.glob("*.pth"))) or "none"
            raise Usage(path, "is missing", f"choose another with --checkpoint; there are: {there}")
        found = read_checkpoint(path)
        name = _configuration_name(found, home)
        if not used:
            used, trainer = name, str(found.get("trainer_name", home.name.partition("__")[0]))
            settings = configuration(plans, used, plans_file)
            prepared = preparation(plans, settings, channel_name, orientation, plans_file)
        if name != used:
            raise Integrity(path, f"is of {printable(name)[:60]}, the first fold of {used}", "choose other folds")
        table = weights(found.get("network_weights"), path)
        nets.append(build(settings, trainer, len(named) + (outputs == "softmax"), table, path))
        hashes.append(sha256(path))
    dataset_name = str(plans.get("dataset_name") or home.parent.name)
    return Source(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", f"{dataset_name}-{used}").strip("-._")[:80] or "nnunet",
        title=f"nnU-Net {used} of {dataset_name}",
        kind="nnU-Net v2",
        preparation=prepared,
        labels=named,
        outputs=outputs,
        example=(1, 1, *prepared.window.size),
        net=nets[0] if len(nets) == 1 else Mean(nets),
        licence=_text(dataset, "licence", "license"),
        citation=" ".join(filter(None, [_text(dataset, "reference"), CITATION])),
        training_data=_training_data(dataset, dataset_name),
        notes=_notes(chosen, fold, prepared.axes, orientation, outputs),
        facts={
            "from": "/".join((*home.absolute().parts[-2:], "+".join(f"fold_{one}" for one in chosen), checkpoint)),
            "sha256": hashes,
            "trainer": trainer,
            "configuration": used,
            "network": str(architecture(settings, plans_file)["network_class_name"]).rpartition(".")[2],
            "parameters": sum(one.numel() for one in nets[0].parameters()) * len(nets),
            "regions": {name: dataset["labels"][name] for name in named} if outputs == "sigmoid" else {},
        },
    )


def results_folder(folder: Path, config: str = "") -> Path:
    """The folder of one training. Raises Usage, listing them, if there is none or more than one."""
    if not folder.is_dir():
        raise Usage(folder, "is no folder", "give a results folder of nnU-Net v2")
    if (folder / "plans.json").is_file():
        found = [folder]
    else:
        depths = (sorted(folder.glob(pattern)) for pattern in ("*__*__*/plans.json", "*/*__*__*/plans.json"))
        found = next(([path.parent for path in paths] for paths in depths if paths), [])
    fit = [one for one in found if not config or one.name.rpartition("__")[2] == config or len(found) == 1]
    if len(fit) == 1:
        return fit[0]
    if found:
        there = ", ".join(printable(str(one.relative_to(folder))) for one in found[:12])
        raise Usage(folder, f"holds {len(found)} trainings: {there}", "give one of them, or choose by --config")
    if any(folder.glob("**/plans.pkl")) or any(folder.glob("**/*.model.pkl")):
        raise Usage(folder, "was written by nnU-Net v1, whose plans are pickles", "only nnU-Net v2 can be imported")
    raise Usage(folder, "holds no plans.json", "give a results folder TRAINER__PLANS__CONFIGURATION of nnU-Net v2")


def folds(home: Path, asked: str) -> list[str]:
    """The folds' names. Raises Usage for one that is not there."""
    there = sorted(path.name.removeprefix("fold_") for path in home.glob("fold_*") if path.is_dir())
    if asked:
        wanted = list(dict.fromkeys(one.strip().removeprefix("fold_") for one in asked.split(",")))
    else:
        wanted = there if len(there) == 1 else ["0"]
    missing = [one for one in wanted if one not in there]
    if missing or len(wanted) > MOST_FOLDS:
        listed = ", ".join(there[:MOST_FOLDS]) or "none"
        raise Usage(home, f"has no fold {printable(missing[0] if missing else asked)[:40]}", f"there are: {listed}")
    return wanted


def _configuration_name(found: dict[str, Any], home: Path) -> str:
    """Of the training, as its checkpoint says; where that was stripped off, as the folder says."""
    arguments = found.get("init_args")
    said = arguments.get("configuration") if isinstance(arguments, dict) else None
    return said if isinstance(said, str) else home.name.rpartition("__")[2]


def _text(table: dict[str, Any], *keys: str) -> str:
    return next((str(table[key]).strip() for key in keys if isinstance(table.get(key), str)), "")


def _training_data(dataset: dict[str, Any], name: str) -> str:
    number = dataset.get("numTraining")
    told = f"{number} images of {name}" if type(number) is int else name
    return ": ".join(filter(None, [told, _text(dataset, "description")]))


def _notes(chosen: list[str], asked: str, axes: str, orientation: str, outputs: str) -> tuple[str, ...]:
    notes = [f"fold {' + '.join(chosen)}{'' if asked else ' (choose others with --fold)'}"]
    notes.append("without mirroring, which nnU-Net adds at test time by default")
    if not orientation and sorted(axes) == sorted(STORED_AXES):
        notes.append(
            "sees images as their files store them, as nnU-Net does; if the training's all lay in one orientation, "
            "others need --orientation"
        )
    if outputs == "sigmoid":
        notes.append("its labels are regions, which overlap")
    return tuple(notes)
