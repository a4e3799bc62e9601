"""`whatif`: what the model would find if a structure were hidden."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from unoise_engine.cli.options import (
    Bundle,
    Device,
    Label,
    Out,
    Overwrite,
    ProgressMode,
    Show,
    Slices,
    TrustHU,
    comma,
)
from unoise_engine.volume.counting import slice_range


class Fill(StrEnum):
    noise = "noise"
    mean = "mean"
    fat = "fat"
    blur = "blur"


class Organ(StrEnum):
    keep = "keep"
    hide = "hide"


def whatif(
    out: Out,
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="CT...", help="Image files or DICOM folders.")] = None,
    region: Annotated[
        list[Path] | None,
        typer.Option(help="Structures of the CT: a label map, a folder of masks, a .seg.nrrd; one for each CT."),
    ] = None,
    cohort: Annotated[
        list[Path] | None, typer.Option(help="Folder of <name>-ct.nii.gz and <name>-labels.nii.gz; means over CTs.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="What the numbers mean: JSON, or a colour table of Slicer.")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="NAMES", help="Of the structures, these alone; with commas between.")
    ] = "",
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x0:x1,y0:y1,z0:z1", help="Voxels of the axial slices, z from the feet; or LPS mm: ...mm."
        ),
    ] = None,
    fill: Annotated[
        Fill, typer.Option(help="In its place: the mean around it, noise, fat, the CT blurred.")
    ] = Fill.mean,
    organ: Annotated[
        Organ | None,
        typer.Option(
            help="What a region covers of the organ found: keep it visible, or hide it. Usual: hide for boxes."
        ),
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Also the ten strongest, two at a time.")] = False,
    slices: Slices = "",
    seed: Annotated[int, typer.Option(help="Of the noise: the same seed gives the same figures.")] = 0,
    bundle: Bundle = "",
    label: Label = "",
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    trust_hu: TrustHU = False,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Draw the three strongest.")] = True,
    overwrite: Overwrite = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Hide structures of CTs one after the other, segment again, and tell how much of the organ each costs."""
    from unoise_engine.evaluate.whatif.command import Request, run
    from unoise_engine.evaluate.whatif.settings import HideSettings
    from unoise_engine.models.settings import ModelSettings
    from unoise_engine.volume.case import ReadSettings

    request = Request(
        inputs=tuple(inputs or ()),
        out=out,
        regions=tuple(region or ()),
        cohort=tuple(cohort or ()),
        names=names,
        only=comma(only) if only else (),
        boxes=tuple(box or ()),
        hide=HideSettings(fill.value, organ.value if organ else "", pairs, slice_range(slices), seed),
        reading=ReadSettings(trust_hu=trust_hu),
        model=ModelSettings(bundle, device, threads, label),
        picture=picture,
        overwrite=overwrite,
    )
    if run(request, progress.value):
        raise typer.Exit(1)
