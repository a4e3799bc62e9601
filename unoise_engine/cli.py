"""The command line: one function a command, heavy imports inside each, every failure one line.

run.py lists the exit codes.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from unoise_engine import __version__
from unoise_engine.errors import Usage

if TYPE_CHECKING:
    from unoise_engine.prepare.item import Collection

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="U-Noise: what did the segmentation model look at? For research only, not for clinical use.",
)
train_app = typer.Typer(no_args_is_help=True, help="Train the utility, then U-Noise on it (extra: train).")
bundle_app = typer.Typer(no_args_is_help=True, help="Model bundles: look at them, verify, install.")
prepare_app = typer.Typer(no_args_is_help=True, help="Turn a data set into a folder to train and evaluate on.")
app.add_typer(prepare_app, name="prepare")
app.add_typer(train_app, name="train")
app.add_typer(bundle_app, name="bundle")


class ProgressMode(StrEnum):
    auto = "auto"
    json = "json"
    off = "off"


class FileFormat(StrEnum):
    nifti = "nifti"
    nrrd = "nrrd"
    dicom = "dicom"


class Targets(StrEnum):
    recipe = "recipe"
    labels = "labels"
    predictions = "predictions"


class Tumour(StrEnum):
    merged = "merged"
    apart = "apart"


Bundle = Annotated[str, typer.Option("--bundle", help="A shipped model's name, or a bundle folder.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Show = Annotated[ProgressMode, typer.Option("--progress", help="A bar, one JSON object a line, or nothing.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Key = Annotated[str, typer.Option("--key", help="Minisign public key that the signature must fit.")]
Devices = Annotated[int, typer.Option(help="GPUs (or CPU processes) that train together on each node.")]
Nodes = Annotated[int, typer.Option(help="Machines that train together, under torchrun or Slurm.")]
RecipeFile = Annotated[str, typer.Option("--recipe", help="A TOML recipe, or the name of one that ships.")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        print(f"unoise_engine {__version__}")
        raise typer.Exit


@app.command()
def explain(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Image files or DICOM folders.")],
    out: Out,
    methods: Annotated[str, typer.Option(help="Comma-separated.")] = "unoise,gradcam,occlusion",
    bundle: Bundle = "",
    device: Device = "auto",
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the results.")] = FileFormat.nifti,
    slices: Annotated[str, typer.Option(metavar="A:B", help="Axial slices A to B-1, counted from the feet.")] = "",
    patch: Annotated[int, typer.Option(help="Occlusion: side of the grey square, in the model's pixels.")] = 15,
    stride: Annotated[
        int, typer.Option(help="Occlusion: step of the square, 2 is the paper's; 0: fine where it matters.")
    ] = 0,
    progress: Show = ProgressMode.auto,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results of these cases.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads a case; 0 shares all among the jobs.")] = 0,
    jobs: Annotated[int, typer.Option(help="Cases side by side; 0 is one a core.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Do only what its record does not call done.")] = False,
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786.")] = "",
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name results after their files, not case-0001 (may show names).")
    ] = False,
    fill_gaps: Annotated[bool, typer.Option("--fill-gaps", help="Interpolate slices that are missing.")] = False,
    trust_hu: Annotated[bool, typer.Option("--trust-hu", help="Take values for HU even if they look wrong.")] = False,
    de_identify: Annotated[
        bool, typer.Option("--de-identify", help="DICOM results without the patient: names, dates and UIDs replaced.")
    ] = False,
) -> None:
    """Segment CTs and show what the model looked at: importance maps on each CT's own grid."""
    from unoise_engine.run import Request, explain_all

    request = Request(
        inputs=tuple(inputs),
        out=out,
        methods=_comma(methods),
        bundle=bundle,
        device=device,
        file_format=file_format.value,
        slices=_slice_range(slices),
        patch=patch,
        stride=stride,
        overwrite=overwrite,
        threads=threads,
        jobs=jobs,
        resume=resume,
        cluster=cluster,
        keep_names=keep_names,
        fill_gaps=fill_gaps,
        trust_hu=trust_hu,
        de_identify=de_identify,
    )
    if explain_all(request, progress.value, isolate=True):
        raise typer.Exit(1)


@app.command()
def evaluate(
    data: Annotated[list[Path], typer.Option("--data", help="Folder of CT / label pairs; give it again for more.")],
    out: Out,
    bundle: Bundle = "",
    split: Annotated[Path | None, typer.Option(help="A run's split.json: only the cases of its part.")] = None,
    part: Annotated[str, typer.Option(help="Of the split: train, val or test.")] = "test",
    patient: Annotated[str, typer.Option(metavar="REGEX", help="What in a case's name is the patient.")] = "",
    labels: Annotated[str, typer.Option(help="The organ's numbers, where no labels.json names them.")] = "",
    methods: Annotated[str, typer.Option(help="Comma-separated, baselines too; the first is compared with all.")] = (
        "unoise,gradcam,occlusion,random,edges,distance"
    ),
    maps: Annotated[
        list[Path] | None, typer.Option(help="Folder of importance volumes, <method>/<case>.nii.gz: anyone's method.")
    ] = None,
    landmark: Annotated[
        str, typer.Option(help="Planted CTs: the label that makes the organ the target (phantom --planted: landmark).")
    ] = "",
    decoys: Annotated[str, typer.Option(help="Planted CTs: labels that look the same (decoy,decoy_landmark).")] = "",
    slices_per_case: Annotated[int, typer.Option(help="Slices with organ a case that maps are judged on; 0: all.")] = 8,
    empty_per_case: Annotated[int, typer.Option(help="Slices without organ a case, for false organ.")] = 2,
    checks_per_case: Annotated[
        int, typer.Option(help="Slices a case for stability and shuffled weights; 0: leave both out.")
    ] = 1,
    draws: Annotated[int, typer.Option(help="Draws of noise a masked slice.")] = 2,
    patch: Annotated[int, typer.Option(help="Occlusion: side of the grey square.")] = 15,
    stride: Annotated[int, typer.Option(help="Occlusion: step of the square; 0: fine where it matters.")] = 0,
    panels: Annotated[int, typer.Option(help="Worst, middle and best slices to draw a method; 0: none.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the patients.")] = 2000,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    progress: Show = ProgressMode.auto,
) -> None:
    """Judge a model's segmentation and importance maps by numbers, on labelled CTs: tables, curves, a report."""
    import shlex

    from unoise_engine.evaluate.command import Request, run
    from unoise_engine.methods.occlusion import Occlusion
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    request = Request(
        data=tuple(data),
        out=out,
        bundle=bundle,
        split=split,
        part=part,
        patient=patient,
        labels=_numbers(labels),
        methods=_comma(methods),
        maps=tuple(maps or ()),
        landmark=landmark,
        decoys=tuple(name.strip() for name in decoys.split(",") if name.strip()),
        slices_per_case=slices_per_case,
        empty_per_case=empty_per_case,
        checks_per_case=checks_per_case,
        occlusion=Occlusion(patch, stride),
        draws=draws,
        panels=panels,
        seed=seed,
        resamples=resamples,
        device=device,
        threads=threads,
        command=shlex.join(["unoise_engine", *sys.argv[1:]]),
    )
    prepare_output(out)
    refused = run(request, tell(progress.value))
    print(f"report: {out / 'report.md'}")
    if refused:
        raise typer.Exit(1)


@app.command()
def benchmark(
    out: Out,
    bundle: Bundle = "",
    peers: Annotated[bool, typer.Option("--peers", help="Beside captum and MONAI, where installed (bench).")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="Also nets of the paper's size, untrained (train).")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small samples: shows that all runs, measures little.")
    ] = False,
    repeats: Annotated[int, typer.Option(help="Interleaved repetitions that medians are taken of.")] = 5,
    ct: Annotated[
        Path | None, typer.Option(help="A CT on whose fullest slice default occlusion is also compared.")
    ] = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    progress: Show = ProgressMode.auto,
) -> None:
    """Time every method on this machine, beside other programs on the same nets and input, agreement checked first."""
    import shlex

    from unoise_engine.benchmark.command import Request, run
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    command = shlex.join(["unoise_engine", *sys.argv[1:]])
    request = Request(out, bundle, peers, paper, quick, repeats, ct, device, threads, command)
    prepare_output(out)
    agreed = run(request, tell(progress.value))
    print(f"report: {out / 'benchmark.md'}")
    if not agreed:
        print("programs disagree - see the rows of the report that say so", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def obscure(
    inputs: Annotated[list[Path], typer.Argument(metavar="CT...", help="Image files or DICOM folders.")],
    out: Out,
    visible: Annotated[float, typer.Option(help="Share of every slice that stays as it is.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the noise: the same seed gives the same file.")] = 0,
    bundle: Bundle = "",
    device: Device = "auto",
    progress: Show = ProgressMode.auto,
) -> None:
    """Keep only what the model needs to see of a CT and replace the rest by noise; report the dice kept."""
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, load_bundle
    from unoise_engine.ct.find import find_cases
    from unoise_engine.errors import CaseRefused
    from unoise_engine.obscure import obscure_case
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    cases = find_cases(inputs)
    opened = load_bundle(bundle or DEFAULT_BUNDLE, device)
    prepare_output(out)
    refused = 0
    for number, case in enumerate(cases, 1):
        name = f"case-{number:04d}"  # never the file's own name, which may be the patient's
        try:
            with tell(progress.value).stage(name, "obscure", 1) as advance:
                told = obscure_case(case, name, opened, visible, seed, out, lambda amount: None)
                advance(1)
        except CaseRefused as error:
            refused += 1
            print(f"CASE {name}: REFUSED {error.code}: {error}", file=sys.stderr)
            continue
        print(f"CASE {name}: OK, {told['visible']:.1%} visible, dice kept {told['dice_kept']:.3f}")
    print(opened.manifest.warning)
    if refused:
        raise typer.Exit(1)


@app.command()
def reproduce(
    out: Annotated[Path, typer.Argument(help="Folder for runs, figures and report.html.")],
    scale: Annotated[str, typer.Option(help="smoke (minutes), demo (an hour on 2 cores) or paper (a GPU).")] = "demo",
    data: Annotated[Path | None, typer.Option(help="Folder of CT / label pairs; without it: phantoms.")] = None,
    recipe: Annotated[str, typer.Option(help="Preparation and utility: default (ours) or paper (as published).")] = (
        "default"
    ),
    organ: Annotated[str, typer.Option(help="With --data: its name in labels.json.")] = "pancreas",
    seed: Annotated[int, typer.Option(help="Of data, weights and noise.")] = 0,
    planted: Annotated[bool, typer.Option(help="Also the study whose cause is known; not at scale smoke.")] = True,
    device: TrainDevice = "auto",
    jobs: Annotated[int, typer.Option(help="Processes that make phantoms; 0 is one a core.")] = 0,
    progress: Show = ProgressMode.auto,
) -> None:
    """Reproduce the paper's figures and tables, with ours beside. The same command goes on after an interruption."""
    import shlex

    from unoise_engine.progress import progress as tell
    from unoise_engine.reproduce.command import Request
    from unoise_engine.reproduce.command import reproduce as run
    from unoise_engine.results import prepare_output

    prepare_output(out)
    command = shlex.join(["unoise_engine", *sys.argv[1:]])
    request = Request(out, scale, data, recipe, organ, seed, device, jobs, progress.value, planted, command)
    print(f"report: {run(request, tell(progress.value))}")


@app.command()
def send(
    out: Annotated[Path, typer.Argument(help="Folder of results written with --format dicom.")],
    to: Annotated[str, typer.Option(metavar="AE@HOST:PORT", help="Send by C-STORE to this archive.")] = "",
    stow: Annotated[str, typer.Option(metavar="URL", help="Send by STOW-RS to this DICOMweb root.")] = "",
    calling_ae: Annotated[str, typer.Option(help="Our own title, as the archive knows us.")] = "UNOISE",
    retries: Annotated[int, typer.Option(help="How often a failed object is tried again, each time later.")] = 3,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent there before.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="C-STORE over TLS.")] = False,
    ca: Annotated[Path | None, typer.Option(help="TLS: trust this certificate authority (PEM).")] = None,
    cert: Annotated[Path | None, typer.Option(help="TLS: our certificate and key (PEM, one file).")] = None,
) -> None:
    """Send DICOM results to an archive. What fails is remembered in OUT/send.jsonl and tried again by the next call."""
    from unoise_engine.send import connect, send_all

    if send_all(out, connect(to, stow, calling_ae, tls or ca is not None, ca, cert), retries=retries, again=again):
        raise typer.Exit(1)


@app.command()
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
    from unoise_engine.phantom import write_phantoms
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    prepare_output(out)
    with tell(progress.value).stage("phantoms", "making", count) as advance:
        cores = jobs or os.cpu_count() or 1
        write_phantoms(out, count, seed, size, slices, cores, lambda done, total: advance(1), planted)
    print(f"{count} synthetic CTs in {out}")


@app.command()
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
    from unoise_engine.painted.write import find_maps, write_painted
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    maps = find_maps(labels, names)
    prepare_output(out)
    with tell(progress.value).stage("paint", "painting", len(maps) * per_map) as advance:
        cores = jobs or os.cpu_count() or 1
        done = write_painted(
            out, maps, per_map, seed, cores, lambda k, total: advance(1), even_phases, first, phase, bent
        )
    print(f"{len(done)} painted CTs in {out}")


@app.command()
def demo(out: Out = Path("demo"), seed: Annotated[int, typer.Option(help="Which synthetic patient.")] = 2026) -> None:
    """Make a synthetic CT, explain it with the shipped model by every method, and compare with the known label."""
    from unoise_engine.demo import run

    run(out, seed)


@prepare_app.command("slices")
def prepare_slices(
    source: Annotated[Path, typer.Argument(help="Slice archive (.npz) with the arrays image, mask, patient, ...")],
    out: Out,
    organ: Annotated[str, typer.Option(help="What the masks show.")] = "pancreas",
    progress: Show = ProgressMode.auto,
) -> None:
    """Labelled single slices to cases, one a patient; where no spacing is given it is guessed from the torso."""
    from unoise_engine.archive.slices import read_archive
    from unoise_engine.archive.write import write_cases
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    archive = read_archive(source)
    prepare_output(out)
    with tell(progress.value).stage("slices", "writing", len(archive.patients)) as advance:
        names = write_cases(archive, out, organ, advance)
    print(f"{len(archive.image)} slices of {len(names)} patients in {out}")


ValShare = Annotated[float, typer.Option(help="Of the patients, to steer training.")]
TestShare = Annotated[float, typer.Option(help="Of the patients, to judge.")]
SplitSeed = Annotated[int, typer.Option(help="Of the split, which is written down in split.json.")]
TrustHU = Annotated[bool, typer.Option("--trust-hu", help="Take values for HU even if they look wrong.")]


@prepare_app.command("msd")
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
    from unoise_engine.prepare.msd import find_msd

    _prepare(find_msd(source, tumour == Tumour.merged, trust_hu), out, val_share, test_share, seed, progress)


@prepare_app.command("pancreas-ct")
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
    from unoise_engine.prepare.pancreas_ct import find_pancreas_ct

    _prepare(find_pancreas_ct(source, trust_hu), out, val_share, test_share, seed, progress)


@prepare_app.command("pairs")
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

    from unoise_engine.prepare.pairs import find_plain

    try:
        re.compile(patient)
    except re.error as error:
        raise Usage(f"--patient {patient} - is no regular expression ({error}) - correct it") from None
    found = find_plain(source, organ, _numbers(labels), patient, trust_hu)
    _prepare(found, out, val_share, test_share, seed, progress)


def _prepare(
    collection: Collection, out: Path, val_share: float, test_share: float, seed: int, progress: ProgressMode
) -> None:
    from unoise_engine.prepare.write import Shares, prepare
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    if not (0 < val_share < 1 and 0 <= test_share < 1 and val_share + test_share < 1):
        raise Usage(f"--val-share {val_share} --test-share {test_share} - leave nobody to learn from - give less")
    prepare_output(out)
    show = tell(progress.value)
    n = len(collection.items)
    with show.stage("prepare", "reading", n) as advance:
        count = prepare(collection, out, Shares(val_share, test_share, seed), advance)
    print(f"{n} cases = {count.ok} ok + {count.kept} done before + {count.refused} refused, in {out}")
    if count.refused:
        raise typer.Exit(1)


@train_app.command("utility")
def train_utility_command(
    data: Annotated[list[Path], typer.Argument(help="Folder of CT / label pairs, or several that are mixed.")],
    out: Out,
    recipe: RecipeFile = "phantom-utility",
    init: Annotated[Path | None, typer.Option(help="Start from this run's weights instead of afresh.")] = None,
    device: TrainDevice = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    progress: Show = ProgressMode.auto,
) -> None:
    """Train the U-Net that segments the organ."""
    from unoise_engine.training.fit import train_utility
    from unoise_engine.training.recipes import UtilityRecipe, read_recipe

    chosen = read_recipe(_recipe_file(recipe), UtilityRecipe)
    how = _together(device, devices, num_nodes)
    run = train_utility(data, out, chosen, init=init, resume=resume, progress=progress.value, **how)
    _say_run(run)


@train_app.command("unoise")
def train_unoise_command(
    data: Annotated[list[Path], typer.Argument(help="Folders of CT / label pairs, the same as the utility's.")],
    utility: Annotated[Path, typer.Option(help="The utility's run.")],
    out: Out,
    recipe: RecipeFile = "pancreas-unoise",
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
    from dataclasses import replace

    from unoise_engine.training.fit import train_unoise
    from unoise_engine.training.recipes import Noise, UNoiseRecipe, read_recipe
    from unoise_engine.training.tables import build

    chosen = read_recipe(_recipe_file(recipe), UNoiseRecipe)
    if size:
        chosen = replace(chosen, noise=build(Noise, {**_table(chosen.noise), "size": size}, "--size"))
    if targets != Targets.recipe:
        chosen = replace(chosen, noise=replace(chosen.noise, targets=targets.value))
    how = _together(device, devices, num_nodes)
    run = train_unoise(data, utility, out, chosen, init=init, resume=resume, progress=progress.value, **how)
    _say_run(run)


@app.command()
def export(
    utility: Annotated[Path, typer.Argument(help="The utility's run.")],
    unoise: Annotated[Path, typer.Argument(help="The U-Noise run.")],
    out: Out,
    card: Annotated[Path, typer.Option(help="TOML with title, licence, training_data, ...")],
    metrics: Annotated[Path | None, typer.Option(help="JSON with measured figures.")] = None,
    weights: Annotated[bool, typer.Option(help="Also the weights for training on (safetensors).")] = True,
) -> None:
    """Turn two runs into a model bundle (ONNX), refused unless onnxruntime agrees with torch."""
    from unoise_engine.training.export import export_bundle

    print(export_bundle(utility, unoise, out, card=card, metrics=metrics, weights=weights))


@bundle_app.command("info")
def bundle_info(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "") -> None:
    """Show what a bundle's manifest says."""
    from unoise_engine.bundle.manifest import model_hash, read_manifest
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, find_bundle

    manifest = read_manifest(find_bundle(bundle or DEFAULT_BUNDLE))
    print(manifest.to_json(), end="")
    print(f"model sha256: {model_hash(manifest)}\n{manifest.warning}")


@bundle_app.command("verify")
def bundle_verify(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "", key: Key = "") -> None:
    """Hash every file of a bundle, look through its content, check its signature, then run its models once."""
    from unoise_engine.bundle.manifest import model_hash, verify
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, find_bundle
    from unoise_engine.bundle.trial import try_out

    folder = find_bundle(bundle or DEFAULT_BUNDLE)
    manifest = verify(folder)
    signed = _signature(folder, key)
    try_out(folder)
    print(f"{manifest.name}: OK, {len(manifest.files)} files, {signed}, model sha256 {model_hash(manifest)}")


@bundle_app.command("install")
def bundle_install(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle's folder, or a zip of it.")],
    key: Key = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an installed one of that name.")] = False,
) -> None:
    """Verify a bundle and add it to your own models. Needs no network."""
    from unoise_engine.bundle.install import install
    from unoise_engine.bundle.signature import read_key

    manifest, folder = install(source, read_key(key) if key else None, overwrite)
    print(f"{manifest.name}: installed in {folder}, {_signature(folder, key)}\n{manifest.warning}")


@bundle_app.command("unpack")
def bundle_unpack(
    bundle: Annotated[str, typer.Argument(help="Name or folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="RUN", help="Folder of the run, new or empty.")],
    split: Annotated[Path, typer.Option(help="split.json of the cases that taught, steered and judge the model.")],
    unoise: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Its U-Noise as a run, too, for `train unoise --init`.")
    ] = None,
) -> None:
    """Make a bundle's utility a run again, so that `train` can go on from it. Needs torch."""
    from unoise_engine.bundle.manifest import verify
    from unoise_engine.bundle.session import find_bundle
    from unoise_engine.training.rebuilt import unpack
    from unoise_engine.training.split import Split

    folder = find_bundle(bundle)
    print(unpack(folder, verify(folder), Split.read(split), out, unoise))


@bundle_app.command("list")
def bundle_list() -> None:
    """Show the models at hand: name, hash, title and folder."""
    from unoise_engine.bundle.manifest import model_hash, read_manifest
    from unoise_engine.bundle.session import known_bundles
    from unoise_engine.errors import Integrity, printable

    damaged = None
    for name, folder in known_bundles().items():
        try:
            manifest = read_manifest(folder)
            print(printable(f"{name}  {model_hash(manifest)[:12]}  {manifest.title}  {folder}"))
        except Integrity as error:  # the others are still listed
            damaged = error
    if damaged:
        raise damaged


def _signature(folder: Path, key: str) -> str:
    from unoise_engine.bundle.manifest import SIGNATURE
    from unoise_engine.bundle.signature import read_key, verify_signature

    if key:
        return f"signature good ({verify_signature(folder, read_key(key))})"
    return "signature not checked (give --key)" if (folder / SIGNATURE).is_file() else "not signed"


def _comma(names: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if not chosen:
        raise Usage("--methods - names no method - give some of unoise, gradcam, occlusion")
    return chosen


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and int(part) for part in parts):
        raise Usage(f"--labels {text} - are no label numbers - write them as 7 or 7,8")
    return tuple(map(int, parts))


def _slice_range(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit()):
        raise Usage(f"--slices {text} - is no range - write it as A:B, for example 10:20")
    return int(first), int(last)


def _table(recipe: Any) -> dict[str, Any]:
    """A recipe's table as TOML would give it: lists, not tuples."""
    from dataclasses import asdict

    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(recipe).items()}


def _together(device: str, devices: int, nodes: int) -> dict[str, Any]:
    if devices < 1 or nodes < 1:
        raise Usage(f"--devices {devices} --num-nodes {nodes} - must be at least 1 each - give how many there are")
    return {"device": device, "devices": devices, "nodes": nodes}


def _say_run(run: Path) -> None:
    """Once, however many processes trained it."""
    from unoise_engine.training.fit import leads

    if leads():
        print(run)


def _recipe_file(name: str) -> Path:
    from unoise_engine.shipped import shipped

    known = shipped("recipes", "*.toml")
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise Usage(f"--recipe {name} - no such recipe - give a TOML file, or one that ships: {', '.join(known)}")
    return Path(name)


def main() -> NoReturn:
    """Entry point: runs a command, prints any failure as one line, and exits with its code."""
    from unoise_engine.run import guarded

    arguments = [a for a in sys.argv[1:] if a != "--debug"]  # accepted anywhere on the line
    text = " ".join(arguments)
    sys.exit(
        guarded(
            lambda: app(args=arguments, prog_name="unoise_engine", standalone_mode=False),
            json_lines="--progress json" in text or "--progress=json" in text,
            debug=len(arguments) < len(sys.argv) - 1,
        )
    )
