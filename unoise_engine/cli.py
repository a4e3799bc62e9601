"""The command line: one function a command, heavy imports inside each, every failure one line.

Exit codes: 0 all done; 1 some cases refused or failed; 2 usage, or nothing to read; 3 environment (output not
writable, disk full, no model); 4 integrity (manifest, hash); 130 / 143 interrupted.
"""

from __future__ import annotations

import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from unoise_engine import __version__
from unoise_engine.errors import CaseRefused, EngineError, Environment, Interrupted, Usage

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="U-Noise: what did the segmentation model look at? For research only, not for clinical use.",
)
train_app = typer.Typer(no_args_is_help=True, help="Train the utility, then U-Noise on it (extra: train).")
bundle_app = typer.Typer(no_args_is_help=True, help="Look at model bundles.")
app.add_typer(train_app, name="train")
app.add_typer(bundle_app, name="bundle")


class ProgressMode(str, Enum):
    auto = "auto"
    json = "json"
    off = "off"


class FileFormat(str, Enum):
    nifti = "nifti"
    nrrd = "nrrd"


Bundle = Annotated[str, typer.Option("--bundle", help="A shipped model's name, or a bundle folder.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
TrainDevice = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Show = Annotated[ProgressMode, typer.Option("--progress", help="A bar, one JSON object a line, or nothing.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
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
    file_format: Annotated[FileFormat, typer.Option("--format", help="Of the volumes.")] = FileFormat.nifti,
    slices: Annotated[str, typer.Option(metavar="A:B", help="Axial slices A to B-1, counted from the feet.")] = "",
    patch: Annotated[int, typer.Option(help="Occlusion: side of the grey square, in the model's pixels.")] = 15,
    stride: Annotated[int, typer.Option(help="Occlusion: step of the square; 2 is the paper's, and slow.")] = 8,
    progress: Show = ProgressMode.auto,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results of these cases.")] = False,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 is all.")] = 0,
) -> None:
    """Segment CTs and show what the model looked at: importance maps on each CT's own grid."""
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, load_bundle
    from unoise_engine.ct.find import find_cases
    from unoise_engine.explain.occlusion import Occlusion
    from unoise_engine.pipeline import Settings
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import explain_case, prepare_output

    settings = Settings(_comma(methods), _slice_range(slices), Occlusion(patch, stride))
    cases = find_cases(inputs)
    opened = load_bundle(bundle or DEFAULT_BUNDLE, device, threads)
    prepare_output(out)
    if not overwrite and (old := [c.id for c in cases if (out / c.id).exists()]):
        raise Environment(f"{out / old[0]} - exists already - add --overwrite, or choose another output folder")
    show, not_done = tell(progress.value), 0
    for case in cases:
        try:
            report = explain_case(case, out, opened, settings, show, file_format.value, overwrite)
        except CaseRefused as error:
            not_done += 1
            print(f"CASE {case.id}: REFUSED {error.code}: {error}", file=sys.stderr)
            show.event("case", case=case.id, status="REFUSED", code=error.code, message=str(error))
            continue
        show.event("case", case=case.id, status="OK", folder=str(out / case.id), organ=report["organ"])
        if progress is not ProgressMode.json:
            _print_case(report, out / case.id)
    if progress is not ProgressMode.json:
        print(opened.manifest.warning)
    if not_done:
        raise typer.Exit(1)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the CTs and their labels.")],
    count: Annotated[int, typer.Option(help="How many.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Rows and columns.")] = 256,
    slices: Annotated[int, typer.Option(help="Axial slices a CT.")] = 40,
    jobs: Annotated[int, typer.Option(help="Processes; 0 is one a core.")] = 0,
    progress: Show = ProgressMode.auto,
) -> None:
    """Make synthetic abdominal CTs with labels, as NIfTI."""
    from unoise_engine.phantom import write_phantoms
    from unoise_engine.progress import progress as tell
    from unoise_engine.results import prepare_output

    prepare_output(out)
    with tell(progress.value).stage("phantoms", "making", count) as advance:
        write_phantoms(out, count, seed, size=size, slices=slices, jobs=jobs, advance=advance)
    print(f"{count} synthetic CTs in {out}")


@app.command()
def demo(out: Out = Path("demo"), seed: Annotated[int, typer.Option(help="Which synthetic patient.")] = 2026) -> None:
    """Make a synthetic CT, explain it with the shipped model by every method, and compare with the known label."""
    from unoise_engine.demo import run

    run(out, seed)


@train_app.command("utility")
def train_utility_command(
    data: Annotated[Path, typer.Argument(help="Folder of CT / label pairs.")],
    out: Out,
    recipe: RecipeFile = "phantom-utility",
    device: TrainDevice = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Train the U-Net that segments the organ."""
    from unoise_engine.training.fit import train_utility
    from unoise_engine.training.recipes import load_recipe

    print(train_utility(data, out, load_recipe(recipe, "utility"), device=device, resume=resume, progress=progress.value))


@train_app.command("unoise")
def train_unoise_command(
    data: Annotated[Path, typer.Argument(help="Folder of CT / label pairs, the same as the utility's.")],
    utility: Annotated[Path, typer.Option(help="The utility's run.")],
    out: Out,
    recipe: RecipeFile = "phantom-unoise",
    init: Annotated[Path | None, typer.Option(help="Start from this segmenter's run (the paper's 'pretrained').")] = None,
    device: TrainDevice = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Train the small net that learns how much noise each pixel can bear before the utility fails."""
    from unoise_engine.training.fit import train_unoise
    from unoise_engine.training.recipes import load_recipe

    chosen = load_recipe(recipe, "unoise")
    print(train_unoise(data, utility, out, chosen, init=init, device=device, resume=resume, progress=progress.value))


@app.command()
def export(
    utility: Annotated[Path, typer.Argument(help="The utility's run.")],
    unoise: Annotated[Path, typer.Argument(help="The U-Noise run.")],
    out: Out,
    card: Annotated[Path, typer.Option(help="TOML with title, licence, training_data, ...")],
    metrics: Annotated[Path | None, typer.Option(help="JSON with measured figures.")] = None,
) -> None:
    """Turn two runs into a model bundle (ONNX), refused unless onnxruntime agrees with torch."""
    from unoise_engine.training.export import export_bundle

    print(export_bundle(utility, unoise, out, card=card, metrics=metrics))


@bundle_app.command("info")
def bundle_info(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "") -> None:
    """Show what a bundle's manifest says."""
    from unoise_engine.bundle.manifest import model_hash, read_manifest
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, find_bundle

    manifest = read_manifest(find_bundle(bundle or DEFAULT_BUNDLE))
    print(manifest.to_json(), end="")
    print(f"model sha256: {model_hash(manifest)}\n{manifest.warning}")


@bundle_app.command("verify")
def bundle_verify(bundle: Annotated[str, typer.Argument(help="Name or folder.")] = "") -> None:
    """Hash every file of a bundle, then open its models."""
    from unoise_engine.bundle.session import DEFAULT_BUNDLE, load_bundle

    opened = load_bundle(bundle or DEFAULT_BUNDLE, "cpu")
    opened.open_all()
    print(f"{opened.manifest.name}: OK, {len(opened.manifest.files)} files, model sha256 {opened.hash}")


def _comma(names: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    if not chosen:
        raise Usage("--methods - names no method - give some of unoise, gradcam, occlusion")
    return chosen


def _slice_range(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit()):
        raise Usage(f"--slices {text} - is no range - write it as A:B, for example 10:20")
    return int(first), int(last)


def _print_case(report: dict, folder: Path) -> None:
    organ, seconds = report["organ"], report["seconds"]
    size = f"{organ['name']} {organ['volume_ml']:.1f} ml" if organ["found"] else f"no {organ['name']} found"
    times = ", ".join(f"{name} {seconds[name]:.1f} s" for name in ("segmentation", *report["settings"]["methods"]))
    print(f"CASE {report['case']}: OK - {size} - {times} - {folder}")
    for note in report["notes"]:
        print(f"  {note}")


def main() -> NoReturn:
    """Entry point: runs a command, prints any failure as one line, and exits with its code."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]  # accepted anywhere on the line
    debug = len(arguments) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(args=arguments, prog_name="unoise_engine", standalone_mode=False)
    except BaseException as error:
        if debug:
            raise
        code = _say(error, "json" in arguments and "--progress" in arguments or "--progress=json" in arguments)
    sys.exit(code if isinstance(code, int) else 0)


class _Terminated(Exception):
    """SIGTERM: unwinds like any error, so that temporary files go."""


def _terminated(*_: object) -> None:
    raise _Terminated


def _say(error: BaseException, json_lines: bool) -> int:
    """Prints the one line and returns the exit code."""
    code, name, message = 1, type(error).__name__, str(error)
    if isinstance(error, CaseRefused):
        name, message = error.code, f"REFUSED {error.code}: {error}"
    elif isinstance(error, Interrupted):
        code, message = error.exit_code, f"interrupted - {error}"
    elif isinstance(error, EngineError):
        code = error.exit_code
    elif isinstance(error, (KeyboardInterrupt, typer.Abort)):
        code, message = 130, "interrupted - nothing half-written was left"
    elif isinstance(error, _Terminated):
        code, message = 143, "terminated - nothing half-written was left"
    elif isinstance(error, SystemExit):
        return int(error.code or 0)
    elif hasattr(error, "format_message"):  # click's own complaints about the command line
        code, message = 2, f"{error.format_message()} - see unoise_engine --help"
    elif isinstance(error, MemoryError):
        code, message = 3, "out of memory - close other programs, or explain fewer slices with --slices"
    else:
        message = f"internal error ({name}: {message}) - run again with --debug and report it"
    if json_lines:
        from unoise_engine.progress import JsonLines

        JsonLines().event("error", code=name, message=message)
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
