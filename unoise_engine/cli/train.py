"""`train ...` and `export`. Needs the extra `train`."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from unoise_engine.cli.examples import epilog
from unoise_engine.cli.options import Label, Out, ProgressMode, Show, TrainDevice
from unoise_engine.errors import MissingExtra, Usage

train_app = typer.Typer(help="Train the utility, then U-Noise on it (extra: train).", epilog=epilog("train utility"))


@train_app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    recipes: Annotated[bool, typer.Option("--list", help="Show the recipes that ship, and exit.")] = False,
) -> None:
    if recipes:
        for name, path in _recipes().items():
            head = itertools.takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
            print(f"{name:18}  {re.split('[.:] ', ' '.join(line.strip('# ') for line in head))[0].strip('.')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


class Precision(StrEnum):
    float16 = "float16"
    int8 = "int8"


class Targets(StrEnum):
    recipe = "recipe"
    labels = "labels"
    predictions = "predictions"


Devices = Annotated[int, typer.Option(help="GPUs (or CPU processes) that train together on each node.")]
Nodes = Annotated[int, typer.Option(help="Machines that train together, under torchrun or Slurm.")]
RecipeFile = Annotated[
    str, typer.Option("--recipe", help="A TOML recipe, or one that ships: `train --list` shows them.")
]
Steps = Annotated[int, typer.Option("--steps", min=0, help="So many batches, instead of the recipe's; 0: as it says.")]


@train_app.command("utility", epilog=epilog("train utility"))
def train_utility_command(
    data: Annotated[list[Path], typer.Argument(help="Folder of CT / label pairs, or several that are mixed.")],
    out: Out,
    recipe: RecipeFile = "default-utility",
    steps: Steps = 0,
    init: Annotated[Path | None, typer.Option(help="Start from this run's weights instead of afresh.")] = None,
    device: TrainDevice = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    progress: Show = ProgressMode.auto,
) -> None:
    """Train the U-Net that segments the organ."""
    file = _recipe_file(recipe)
    how = _together(device, devices, num_nodes)
    _say_loading(progress, f"{out.name}: recipe {recipe}")
    from unoise_engine.training.fit import train_utility
    from unoise_engine.training.recipes import UtilityRecipe, read_recipe

    chosen = so_long(read_recipe(file, UtilityRecipe), steps)
    run = train_utility(data, out, chosen, init=init, resume=resume, progress=progress.value, **how)
    folders = " ".join(shlex.quote(str(one)) for one in data)
    _say_run(run, f"train unoise {folders} --utility {shlex.quote(str(run))} -o {shlex.quote(str(run) + '-unoise')}")


@train_app.command("unoise", epilog=epilog("train unoise"))
def train_unoise_command(
    data: Annotated[list[Path], typer.Argument(help="Folders of CT / label pairs, the same as the utility's.")],
    utility: Annotated[Path, typer.Option(help="The utility's run, or the bundle of an imported model.")],
    out: Out,
    recipe: RecipeFile = "default-unoise",
    steps: Annotated[
        int, typer.Option("--steps", min=0, help="So many batches, instead of the recipe's (imported models: 300).")
    ] = 0,
    label: Label = "",
    patch: Annotated[int, typer.Option(help="Imported models: side of the boxes looked at, in voxels; 0: 64.")] = 0,
    seed: Annotated[int, typer.Option(help="Imported models: of all chance.")] = 0,
    size: Annotated[str, typer.Option(help="small, medium or large, instead of the recipe's.")] = "",
    init: Annotated[
        Path | None,
        typer.Option(help="Start from an earlier U-Noise run, or a segmenter's run (the paper's 'pretrained')."),
    ] = None,
    device: TrainDevice = "auto",
    targets: Annotated[
        Targets,
        typer.Option(help="What must stay right: the labels, or the utility's own prediction (no labels needed)."),
    ] = Targets.recipe,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    progress: Show = ProgressMode.auto,
) -> None:
    """Train the small net that learns how much noise each pixel can bear before the utility fails."""
    how = _together(device, devices, num_nodes)
    if (utility / "bundle.json").is_file():
        from unoise_engine.cli.teaching import teach_imported

        how_long = {"label": label, "steps": steps, "patch": patch, "seed": seed}
        teach_imported(data, utility, out, **how_long, **how, progress=progress.value)  # type: ignore[arg-type]
        return
    file = _recipe_file(recipe)
    _say_loading(progress, f"{out.name}: recipe {recipe}")
    from dataclasses import replace

    from unoise_engine.training.fit import train_unoise
    from unoise_engine.training.recipes import Noise, UNoiseRecipe, read_recipe
    from unoise_engine.training.tables import build
    from unoise_engine.typed import to_table

    chosen = so_long(read_recipe(file, UNoiseRecipe), steps)
    if size:
        chosen = replace(chosen, noise=build(Noise, {**to_table(chosen.noise), "size": size, "depth": 0}, "--size"))
    if targets != Targets.recipe:
        chosen = replace(chosen, noise=replace(chosen.noise, targets=targets.value))
    run = train_unoise(data, utility, out, chosen, init=init, resume=resume, progress=progress.value, **how)
    _say_run(run, f"export {shlex.quote(str(utility))} {shlex.quote(str(run))} -o my-model --card card.toml")


def export(
    utility: Annotated[Path, typer.Argument(help="The utility's run.")],
    unoise: Annotated[list[Path], typer.Argument(help="The U-Noise run; two, if one of them is U-Noise (near).")],
    out: Out,
    card: Annotated[Path, typer.Option(help="TOML with title, licence, training_data, ...")],
    metrics: Annotated[Path | None, typer.Option(help="JSON with measured figures.")] = None,
    weights: Annotated[bool, typer.Option(help="Also the weights for training on (safetensors).")] = True,
    precision: Annotated[
        Precision,
        typer.Option(help="Of the kernels in the ONNX files; what it changes is measured. int8 is half as large."),
    ] = Precision.float16,
) -> None:
    """Turn the runs into a model bundle (ONNX), refused unless onnxruntime agrees with torch."""
    _say_loading(ProgressMode.auto, out.name)
    from unoise_engine.lab.phantom.abdomen import PROBE, synthesise
    from unoise_engine.training.export import export_bundle

    probe = synthesise(**PROBE).ct
    print(
        export_bundle(
            utility, unoise, out, card=card, metrics=metrics, weights=weights, precision=precision.value, probe=probe
        )
    )
    print(f"next: unoise_engine explain ct.nii.gz -o out --bundle {shlex.quote(str(out))}", file=sys.stderr)
    print(f"      unoise_engine evaluate --data DATA --split {shlex.quote(str(utility / 'split.json'))} "
          f"--bundle {shlex.quote(str(out))} -o judged", file=sys.stderr)  # fmt: skip


def _say_loading(progress: ProgressMode, what: str) -> None:
    """Within a blink of the start; what comes next takes seconds. Raises MissingExtra."""
    if find_spec("torch") is None:
        raise MissingExtra("torch", "train")
    if progress == ProgressMode.auto and "RANK" not in os.environ and "LOCAL_RANK" not in os.environ:
        print(f"{what}; loading PyTorch ...", file=sys.stderr, flush=True)


def _together(device: str, devices: int, nodes: int) -> dict[str, Any]:
    if devices < 1 or nodes < 1:
        raise Usage(f"--devices {devices} --num-nodes {nodes}", "must be at least 1 each", "give how many there are")
    if nodes > 1 and not {"MASTER_ADDR", "SLURM_NTASKS"} & {*os.environ}:  # nobody would come: it would wait in vain
        raise Usage(f"--num-nodes {nodes}", "was not started on each machine", "start it there by torchrun or srun")
    if devices > 1 and device != "cpu":
        from unoise_engine.training.device import check_number

        check_number(devices, device)
    return {"device": device, "devices": devices, "nodes": nodes}


def _say_run(run: Path, then: str) -> None:
    """Once, however many processes trained it."""
    from unoise_engine.training.export import LEAST_DICE, best_value
    from unoise_engine.training.fit import leads

    if not leads():
        return
    for column, choose in (("val_dice", max), ("val_loss", min)):
        for name, value in best_value(run, column, choose).items():
            poor = ": it finds nearly nothing, train it longer" if name == "val_dice" and value < LEAST_DICE else ""
            print(f"best {name.replace('val_', 'validation ')} {value:g}{poor}", file=sys.stderr)
    print(f"next: unoise_engine {then}", file=sys.stderr)
    print(run)


def so_long(recipe: Any, steps: int) -> Any:
    """The recipe with that many steps, and rounds of equal length, at most the recipe's: training ends with one."""
    from dataclasses import replace

    if not steps:
        return recipe
    rounds = -(-steps // recipe.fit.round_steps)
    fit = replace(recipe.fit, max_steps=steps, epochs=0, round_steps=-(-steps // rounds))
    return replace(recipe, fit=fit)


def _recipes() -> dict[str, Path]:
    """Those that ship; cards are no recipes."""
    from unoise_engine.shipped import shipped

    return {name: path for name, path in shipped("recipes", "*.toml").items() if not name.endswith("-card")}


def _recipe_file(name: str) -> Path:
    known = _recipes()
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise Usage(f"--recipe {name}", "no such recipe", f"give a TOML file, or one that ships: {', '.join(known)}")
    return Path(name)
