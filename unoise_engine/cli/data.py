"""Data to train and evaluate on: `phantom`, `paint`, `prepare ...`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unoise_engine.cli.examples import epilog
from unoise_engine.cli.options import Out, ProgressMode, Show, SplitSeed, TestShare, TrustHU, ValShare, numbers
from unoise_engine.errors import Usage

if TYPE_CHECKING:
    from unoise_engine.lab.prepare.item import Collection


prepare_app = typer.Typer(no_args_is_help=True, help="Turn a data set into a folder to train and evaluate on.")


class Tumour(StrEnum):
    merged = "merged"
    apart = "apart"


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the CTs and their labels.")],
    count: Annotated[int, typer.Option(help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Rows and columns.")] = 256,
    slices: Annotated[int, typer.Option(help="Axial slices a CT.")] = 40,
    jobs: Annotated[int, typer.Option(help="Processes; 0 is one a core.")] = 0,
    planted: Annotated[
        bool, typer.Option("--planted", help="Not an abdomen: organs that count only where a landmark is near.")
    ] = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Make synthetic abdominal CTs with labels, as NIfTI."""
    from unoise_engine.lab.phantom.write import write_phantoms
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output

    prepare_output(out)
    with tell(progress.value).stage("phantoms", "making", count) as advance:
        cores = jobs or os.cpu_count() or 1
        write_phantoms(out, count, seed, size, slices, cores, lambda done, total: advance(1), planted)
    print(f"{count} synthetic CTs in {out}")


def paint(
    labels: Annotated[list[Path], typer.Argument(metavar="LABELS...", help="Folders of multi-organ label maps.")],
    out: Out,
    names: Annotated[
        list[str],
        typer.Option(
            help="Numbers of the structures: a JSON file or a table that ships; one for all, or one a folder."
        ),
    ] = [],  # noqa: B006 - typer makes a new list a call
    per_map: Annotated[int, typer.Option(help="CTs a label map.")] = 6,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    even_phases: Annotated[
        bool, typer.Option("--even-phases", help="All contrast phases equally often; else portal venous prevails.")
    ] = False,
    phase: Annotated[str, typer.Option(help="Only this one: non-contrast, arterial or portal venous.")] = "",
    bent: Annotated[
        bool, typer.Option("--bent", help="Organs bent across slices too: sections that the map does not hold.")
    ] = False,
    first: Annotated[int, typer.Option(help="Number of a map's first CT: so more join a folder that has some.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes; 0 is one a core.")] = 0,
    progress: Show = ProgressMode.auto,
) -> None:
    """Paint synthetic abdominal CTs around the organs of real label maps, as NIfTI."""
    from unoise_engine.files import refuse_overlap
    from unoise_engine.lab.painted.write import find_maps, write_painted
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output

    refuse_overlap(out, labels)
    maps = find_maps(labels, names)
    prepare_output(out)
    with tell(progress.value).stage("paint", "painting", len(maps) * per_map) as advance:
        cores = jobs or os.cpu_count() or 1
        done = write_painted(
            out, maps, per_map, seed, cores, lambda k, total: advance(1), even_phases, first, phase, bent
        )
    print(f"{len(done)} painted CTs in {out}")


@prepare_app.command("slices", epilog=epilog("prepare slices"))
def prepare_slices(
    source: Annotated[Path, typer.Argument(help="Slice archive (.npz) with the arrays image, mask, patient, ...")],
    out: Out,
    organ: Annotated[str, typer.Option(help="What the masks show.")] = "pancreas",
    progress: Show = ProgressMode.auto,
) -> None:
    """Labelled single slices to cases, one a patient; where no spacing is given it is guessed from the torso."""
    from unoise_engine.lab.archive.slices import read_archive
    from unoise_engine.lab.archive.write import write_cases
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output

    archive = read_archive(source)
    prepare_output(out)
    with tell(progress.value).stage("slices", "writing", len(archive.patients)) as advance:
        names = write_cases(archive, out, organ, advance)
    print(f"{len(archive.image)} slices of {len(names)} patients in {out}")


@prepare_app.command("msd", epilog=epilog("prepare msd"))
def prepare_msd(
    source: Annotated[Path, typer.Argument(help="The unpacked folder Task07_Pancreas.")],
    out: Out,
    tumour: Annotated[Tumour, typer.Option(help="Counts as pancreas, or is a label of its own.")] = Tumour.merged,
    val_share: ValShare = 0.15,
    test_share: TestShare = 0.15,
    seed: SplitSeed = 0,
    trust_hu: TrustHU = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Medical Segmentation Decathlon, Task07: CTs, pancreas and tumour. Goes on where it was interrupted."""
    from unoise_engine.files import refuse_overlap
    from unoise_engine.lab.prepare.msd import find_msd

    refuse_overlap(out, [source])
    _prepare(find_msd(source, tumour == Tumour.merged, trust_hu), out, val_share, test_share, seed, progress)


@prepare_app.command("pancreas-ct", epilog=epilog("prepare pancreas-ct"))
def prepare_pancreas_ct(
    source: Annotated[Path, typer.Argument(help="Folder with PANCREAS_0001/... and label0001.nii.gz ... below it.")],
    out: Out,
    val_share: ValShare = 0.15,
    test_share: TestShare = 0.15,
    seed: SplitSeed = 0,
    trust_hu: TrustHU = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """NIH Pancreas-CT: DICOM and labels, whose axes are found by looking at both. Goes on where it was interrupted."""
    from unoise_engine.files import refuse_overlap
    from unoise_engine.lab.prepare.pancreas_ct import find_pancreas_ct

    refuse_overlap(out, [source])
    _prepare(find_pancreas_ct(source, trust_hu), out, val_share, test_share, seed, progress)


@prepare_app.command("pairs", epilog=epilog("prepare pairs"))
def prepare_pairs(
    source: Annotated[Path, typer.Argument(help="Folder of CT / label pairs.")],
    out: Out,
    organ: Annotated[str, typer.Option(help="What the labels show.")] = "pancreas",
    labels: Annotated[str, typer.Option(help="The organ's numbers, where no labels.json names them.")] = "",
    patient: Annotated[str, typer.Option(metavar="REGEX", help="What in a case's name is the patient.")] = "",
    val_share: ValShare = 0.15,
    test_share: TestShare = 0.15,
    seed: SplitSeed = 0,
    trust_hu: TrustHU = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Your own CT / label pairs: checked, in HU, with a split. Goes on where it was interrupted."""
    import re

    from unoise_engine.files import refuse_overlap
    from unoise_engine.lab.prepare.pairs import find_plain

    try:
        re.compile(patient)
    except re.error as error:
        raise Usage(f"--patient {patient}", f"is no regular expression ({error})", "correct it") from None
    refuse_overlap(out, [source])
    found = find_plain(source, organ, numbers(labels), patient, trust_hu)
    _prepare(found, out, val_share, test_share, seed, progress)


def _prepare(
    collection: Collection, out: Path, val_share: float, test_share: float, seed: int, progress: ProgressMode
) -> None:
    from unoise_engine.lab.prepare.write import Shares, prepare
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output

    if not (0 < val_share < 1 and 0 <= test_share < 1 and val_share + test_share < 1):
        raise Usage(f"--val-share {val_share} --test-share {test_share}", "leave nobody to learn from", "give less")
    prepare_output(out)
    show = tell(progress.value)
    n = len(collection.items)
    with show.stage("prepare", "reading", n) as advance:
        count = prepare(collection, out, Shares(val_share, test_share, seed), advance)
    print(f"{n} cases = {count.ok} ok + {count.kept} done before + {count.refused} refused, in {out}")
    if count.refused:
        raise typer.Exit(1)
