"""Options and readings of options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from unoise_engine.errors import Usage


class ProgressMode(StrEnum):
    auto = "auto"
    json = "json"
    off = "off"


class Crops(StrEnum):
    body = "body"
    organ = "organ"
    none = "none"


# A literal, so that --help needs none of the methods' own imports; a test compares it with them.
METHOD_NAMES = "unoise-near, unoise, gradcam, occlusion, structures, gradient, unoise-refined"
Inputs = Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="Image files or DICOM folders.")]
Also = Annotated[
    list[Path] | None, typer.Option("-i", "--input", metavar="INPUT", help="The same, for those used to it.")
]
Slices = Annotated[
    str, typer.Option(metavar="A:B", help="Axial slices A to B, both included, from 1 at the feet as in pictures.")
]
Bundle = Annotated[str, typer.Option("--bundle", help="A shipped model's name, or a bundle folder.")]
Label = Annotated[
    str, typer.Option("--label", metavar="NAME[,NAME]", help="What a model of several labels is asked about.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Show = Annotated[ProgressMode, typer.Option("--progress", help="A bar, one JSON object a line, or nothing.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report in that folder.")]
Key = Annotated[str, typer.Option("--key", help="Minisign public key that the signature must fit.")]
ValShare = Annotated[float, typer.Option(help="Of the patients, to steer training.")]
TestShare = Annotated[float, typer.Option(help="Of the patients, to judge.")]
SplitSeed = Annotated[int, typer.Option(help="Of the split, which is written down in split.json.")]
Crop = Annotated[Crops, typer.Option("--crop", help="What view.html holds of the CT; none leaves nothing out.")]
TrustHU = Annotated[bool, typer.Option("--trust-hu", help="Take values for HU even if they look wrong.")]


def given(inputs: list[Path] | None, also: list[Path] | None) -> tuple[Path, ...]:
    """All that was named, as arguments or with -i. Raises Usage if nothing was."""
    found = (*(inputs or ()), *(also or ()))
    if not found:
        raise Usage("INPUT", "is missing", "give image files or folders with DICOM series")
    return found


def comma(names: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if not chosen:
        raise Usage("--methods", "names no method", "give some, with commas between")
    return chosen


def numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise Usage(f"--labels {text}", "are no label numbers", "write them as 7 or 7,8")
    return tuple(map(int, parts))


def slice_range(text: str) -> tuple[int, int] | None:
    """A:B as people count, from 1 at the feet and with B -> as arrays do, from 0 and without the last."""
    if not text:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        cure = "write it as A:B, the first and the last slice, from 1 at the feet: 10:20, or 10:10 for one"
        raise Usage(f"--slices {text}", "is no range", cure)
    return int(first) - 1, int(last)
