"""`explain`, and what is done with its results: `obscure`, `send`, `demo`."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unoise_engine.cli.log import Log, keep_log
from unoise_engine.cli.options import (
    METHOD_NAMES,
    Also,
    Bundle,
    Crop,
    Crops,
    Device,
    Inputs,
    Label,
    Out,
    ProgressMode,
    Show,
    Slices,
    comma,
    given,
)
from unoise_engine.errors import Usage
from unoise_engine.volume.counting import slice_range

if TYPE_CHECKING:
    from unoise_engine.explanation.settings import Settings


class FileFormat(StrEnum):
    nifti = "nifti"
    nrrd = "nrrd"
    dicom = "dicom"


def explain(
    out: Out,
    inputs: Inputs = None,
    also: Also = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated, of {METHOD_NAMES}. Left out: those that take seconds. "
            "`unoise_engine methods` says what each does."
        ),
    ] = None,
    bundle: Bundle = "",
    label: Label = "",
    device: Device = "auto",
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the results.")] = FileFormat.nifti,
    slices: Slices = "",
    focus: Annotated[
        bool, typer.Option("--focus", help="Imported 3-D models: explain one window centred on the label, not all.")
    ] = False,
    patch: Annotated[
        int | None, typer.Option(help="Occlusion: side of the grey square, in the model's pixels; usually 15.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Occlusion: step of the square, 2 is the paper's; usually 0: fine where it matters."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Occlusion: at most for a CT, spent where it tells most; usually 1, for models of blocks 5."),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            help="Also U-Noise refined on this CT by so many gradient steps, 60 are usual; alone without --methods.",
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.NAME=VALUE", help="Any parameter of a method; give it again for more."),
    ] = None,
    progress: Show = ProgressMode.auto,
    log: Log = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results of these cases.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads a case; 0 shares all among the jobs.")] = 0,
    jobs: Annotated[int, typer.Option(help="Cases side by side; 0 is one a core.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on: do the cases that are not done, and those that failed.")
    ] = False,
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", help="A Dask scheduler, as tcp://host:8786.")] = "",
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Name results after their files, not case-0001 (may show names).")
    ] = False,
    fill_gaps: Annotated[bool, typer.Option("--fill-gaps", help="Interpolate slices that are missing.")] = False,
    trust_hu: Annotated[bool, typer.Option("--trust-hu", help="Take values for HU even if they look wrong.")] = False,
    de_identify: Annotated[
        bool, typer.Option("--de-identify", help="DICOM results without the patient: names, dates and UIDs replaced.")
    ] = False,
    prove: Annotated[
        bool | None,
        typer.Option(
            "--prove/--no-prove", help="Try each map on the CT itself; usual where that costs less than it did."
        ),
    ] = None,
    display_maps: Annotated[
        bool, typer.Option("--display-maps", help="DICOM: each map once more, scaled to 0..1 for viewers such as OHIF.")
    ] = False,
    view: Annotated[
        bool,
        typer.Option("--view/--no-view", help="Also view.html beside each case, for any browser; it holds the CT."),
    ] = True,
    crop: Crop = Crops.body,
) -> None:
    """Segment CTs and show what the model looked at: importance maps on each CT's own grid."""
    from unoise_engine.batch.options import BatchSettings, Options
    from unoise_engine.batch.run import Request, explain_all
    from unoise_engine.models.settings import ModelSettings
    from unoise_engine.results.settings import ResultSettings
    from unoise_engine.volume.case import ReadSettings

    square = {"patch": patch, "stride": stride, "minutes": minutes}
    lines = [f"occlusion.{name}={value}" for name, value in square.items() if value is not None]
    if refine is not None:
        lines.append(f"unoise-refined.steps={refine}")
        methods = f"{methods},unoise-refined" if methods else "unoise-refined"
    options = Options(
        reading=ReadSettings(fill_gaps, trust_hu),
        model=ModelSettings(bundle, device, threads, label),
        explanation=replace(_settings(methods, slices, [*lines, *(parameters or [])], focus), prove=prove),
        results=ResultSettings(
            file_format.value, de_identify=de_identify, display_maps=display_maps, view=view, crop=crop.value
        ),
        batch=BatchSettings(overwrite, resume, jobs, cluster, keep_names),
    )
    request = Request(given(inputs, also), out, options)
    keep_log(log)
    if explain_all(request, progress.value, isolate=True):
        raise typer.Exit(1)


def _settings(methods: str | None, slices: str, parameters: list[str], focus: bool = False) -> Settings:
    """The lines of `parameters` are TOML: ``occlusion.patch=9``."""
    from unoise_engine.explanation.settings import Settings
    from unoise_engine.typed import read

    try:
        table: dict[str, Any] = {"parameters": tomllib.loads("\n".join(parameters))}
    except tomllib.TOMLDecodeError as error:
        cure = "write METHOD.NAME=VALUE, for example occlusion.patch=9, each once"
        raise Usage(f"--set {' '.join(parameters)}", f"cannot be read ({error})", cure) from None
    if methods is not None:
        table["methods"] = list(comma(methods))
    if chosen := slice_range(slices):
        table["slices"] = list(chosen)
    if focus:
        table["focus"] = True
    return read(Settings, table, "--set")


def view(
    out: Annotated[Path, typer.Argument(help="Folder that `explain` wrote, or one case's folder in it.")],
    no_open: Annotated[bool, typer.Option("--no-open", help="Make the pages, and open none.")] = False,
    crop: Annotated[Crops | None, typer.Option("--crop", help="Make them again, with this part of the CT.")] = None,
    what_if: Annotated[
        Path | None, typer.Option(help="Folder that `whatif` wrote: its tables go onto the pages of the same CTs.")
    ] = None,
) -> None:
    """Open results in a browser: view.html beside each case, which needs no network and no server."""
    import webbrowser

    from unoise_engine.batch.view import Request, make_pages

    page, missing = make_pages(Request(out, crop.value if crop else "", what_if))
    opened = not no_open and webbrowser.open(page.resolve().as_uri())
    print(page if opened or no_open else f"no browser was found; open this file in one: {page}")
    if missing:
        raise typer.Exit(1)


def methods() -> None:
    """Show the methods: name, title, what each does, how often the model runs for a slice, parameters."""
    from unoise_engine.batch.about import methods as known

    for one in known():
        passes = "one pass" if one["passes"] == 1 else f"about {one['passes']} passes"
        print(f"{one['name']}  {one['title']}, {passes} of the model a slice\n  {one['description']}")
        for parameter in one["parameters"]:
            print(f"  --set {one['name']}.{parameter['name']}={parameter['default']}  {parameter['about']}")


def obscure(
    out: Out,
    inputs: Inputs = None,
    also: Also = None,
    visible: Annotated[float, typer.Option(help="Share of every slice that stays as it is.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the noise: the same seed gives the same file.")] = 0,
    bundle: Bundle = "",
    label: Label = "",
    device: Device = "auto",
    progress: Show = ProgressMode.auto,
) -> None:
    """Keep only what the model needs to see of a CT and replace the rest by noise; report the dice kept."""
    from unoise_engine.errors import CaseRefused
    from unoise_engine.evaluate.obscure import obscure_case
    from unoise_engine.explanation.methods import TITLES
    from unoise_engine.files import refuse_overlap
    from unoise_engine.models.bundles import DEFAULT_BUNDLE, load_bundle
    from unoise_engine.models.given import modality_of
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output
    from unoise_engine.volume.case import ReadSettings
    from unoise_engine.volume.find import find_cases

    paths = [*given(inputs, also)]
    refuse_overlap(out, paths, inside_too=False)
    opened = load_bundle(bundle or DEFAULT_BUNDLE, device, label=label)
    cases = find_cases(paths, ReadSettings(modality=modality_of(opened.recipe)))
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
        shown = f"{told['visible']:.1%} visible by {TITLES[told['method']]}"
        print(f"CASE {name}: OK, {shown}, dice kept {told['dice_kept']:.3f}")
    print(opened.manifest.warning)
    if refused:
        raise typer.Exit(1)


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


def demo(out: Out = Path("demo"), seed: Annotated[int, typer.Option(help="Which synthetic patient.")] = 2026) -> None:
    """Make a synthetic CT, explain it with the model that ships, and compare with the label, which is known."""
    from unoise_engine.lab.demo import run

    run(out, seed)
