"""`import`: a model from elsewhere turned into a bundle. Needs the extra `import`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unoise_engine.errors import Environment, Usage

if TYPE_CHECKING:
    from unoise_engine.foreign.source import Source


class Orientation(StrEnum):
    RAS = "RAS"
    stored = "stored"


EXAMPLES = """Make a model bundle of a segmentation model that you have.

SOURCE is a results folder of nnU-Net v2, a folder or a task of TotalSegmentator's, a MONAI bundle, or a file of
TorchScript or ONNX. The bundle is compared with its source, and then needs none of the source's packages.

Examples:

unoise_engine import nnUNet_results/Dataset007_Pancreas/nnUNetTrainer__nnUNetPlans__3d_fullres -o pancreas
--licence "CC BY-SA 4.0"

unoise_engine import total_fast -o totalsegmentator

unoise_engine import spleen_ct_segmentation -o spleen

unoise_engine import --template > recipe.toml; unoise_engine import net.onnx --recipe recipe.toml -o mine
--licence "mine"
"""


def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, file, or TotalSegmentator's task.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="BUNDLE", help="The new bundle's folder.")] = None,
    name: Annotated[str, typer.Option(help="The bundle's name, instead of the source's.")] = "",
    title: Annotated[str, typer.Option(help="What people read, instead of the source's.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights; asked for where the source does not say.")] = "",
    citation: Annotated[str, typer.Option(help="Instead of the source's.")] = "",
    config: Annotated[str, typer.Option(help="nnU-Net: which configuration of several, such as 3d_fullres.")] = "",
    fold: Annotated[str, typer.Option(help="nnU-Net: a number (usual: 0), all, or several averaged: 0,1,2,3,4.")] = "",
    checkpoint: Annotated[str, typer.Option(help="nnU-Net: the file in each fold.")] = "checkpoint_final.pth",
    orientation: Annotated[
        Orientation | None,
        typer.Option(help="nnU-Net: how the training's images lay; usual: as its image reader gives them."),
    ] = None,
    task: Annotated[str, typer.Option(help="TotalSegmentator's, such as total, total_fast or body.")] = "",
    nnunet: Annotated[bool, typer.Option("--nnunet", help="Take a TotalSegmentator folder for any nnU-Net.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="TOML file, for TorchScript and ONNX; see --template.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Open a TorchScript file, which may run code.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a recipe to fill in, and exit.")] = False,
) -> None:
    if template:
        from unoise_engine.foreign.template import TEMPLATE

        print(TEMPLATE, end="")
        raise typer.Exit
    if not source and not task:
        raise Usage("SOURCE", "is missing", "give a folder, a file or a task of TotalSegmentator's")
    if out is None:
        raise Usage("--out", "is missing", "give the new bundle's folder with -o")
    from unoise_engine.files import exists, new_folder
    from unoise_engine.foreign.importing import import_model

    if out.exists():
        raise exists(out)
    path = Path(source) if source else None
    turned = orientation.value if orientation else ""
    if path and path.exists():
        places = [path]
    else:
        from unoise_engine.foreign.totalsegmentator import TASKS, task_folders

        if source and not task and source not in TASKS and not source.isdecimal():
            what = "is neither a file, nor a folder, nor a task of TotalSegmentator's"
            raise Usage(source, what, "give one of them; tasks are total, total_fast, body and others")
        places = task_folders(task or source)

    def one(place: Path, bundle: Path, several: bool) -> None:
        found = _read(place, config, fold, checkpoint, turned, bool(task), nnunet, recipe, trust)
        made = import_model(
            found,
            bundle / found.name if several else bundle,
            name="" if several else name,
            title="" if several else title,
            licence=licence,
            citation=citation,
            inputs=[place],
        )
        labels = ", ".join(made.labels)
        print(f"{made.name}: {len(made.labels)} labels ({labels[:200]}{'...' if len(labels) > 200 else ''})")
        print("\n".join(f"  {note}" for note in found.notes))
        near = made.parity
        print(f"  differs by {near['largest_difference']:.1e} of the range; {near['agreement']:.2%} of labels agree")

    if len(places) == 1:
        one(places[0], out, False)
    else:
        try:
            with new_folder(out, inventory=False) as partial:  # all nets of a set, or none
                for place in places:
                    one(place, partial, True)
        except OSError as error:
            raise Environment(out, f"cannot be written ({error.strerror})", "choose another place") from None
    print(out)


import_.__doc__ = EXAMPLES


def _read(
    path: Path, config: str, fold: str, checkpoint: str, orientation: str, of_task: bool, nnunet: bool,
    recipe: Path | None, trust: bool,
) -> Source:  # fmt: skip
    """By what lies there."""
    if path.is_dir() and (path / "configs").is_dir():
        from unoise_engine.foreign.monai_bundle import read_monai

        return read_monai(path, trust=trust)
    if path.is_dir():
        from unoise_engine.foreign.nnunet import read_nnunet
        from unoise_engine.foreign.totalsegmentator import is_weights_folder, read_totalsegmentator

        if of_task or (is_weights_folder(path) and not nnunet):
            return read_totalsegmentator(path, config=config, fold=fold, checkpoint=checkpoint)
        return read_nnunet(path, config=config, fold=fold, orientation=orientation, checkpoint=checkpoint)
    if path.suffix.lower() in (".ts", ".pt", ".pth", ".onnx") and recipe is None:
        raise Usage("--recipe", f"is missing: {path.name} does not say what it expects", "see --template")
    if path.suffix.lower() == ".onnx" and recipe:
        from unoise_engine.foreign.onnx_file import read_onnx

        return read_onnx(path, recipe)
    if path.suffix.lower() in (".ts", ".pt", ".pth") and recipe:
        from unoise_engine.foreign.torchscript import read_torchscript

        return read_torchscript(path, recipe, trust)
    raise Usage(path, "is no kind of model that can be imported", "give a folder, or a .ts, .pt or .onnx file")
