"""`evaluate`, `benchmark` and `reproduce`: figures, with the command that made them."""

from __future__ import annotations

import sys
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
    TrainDevice,
    comma,
    numbers,
)


def evaluate(
    data: Annotated[list[Path], typer.Option("--data", help="Folder of CT / label pairs; give it again for more.")],
    out: Out,
    bundle: Bundle = "",
    label: Label = "",
    split: Annotated[Path | None, typer.Option(help="A run's split.json: only the cases of its part.")] = None,
    part: Annotated[str, typer.Option(help="Of the split: train, val or test.")] = "test",
    patient: Annotated[str, typer.Option(metavar="REGEX", help="What in a case's name is the patient.")] = "",
    labels: Annotated[str, typer.Option(help="The organ's numbers, where no labels.json names them.")] = "",
    methods: Annotated[
        str,
        typer.Option(
            help="Comma-separated, baselines too; the first is compared with all. By default the usual ones, of slices "
            "occlusion, and all baselines."
        ),
    ] = "",
    maps: Annotated[
        list[Path] | None, typer.Option(help="Folder of importance volumes, <method>/<case>.nii.gz: anyone's method.")
    ] = None,
    landmark: Annotated[
        str, typer.Option(help="Planted CTs: the label that makes the organ the target (phantom --planted: landmark).")
    ] = "",
    decoys: Annotated[str, typer.Option(help="Planted CTs: labels that look the same (decoy,decoy_landmark).")] = "",
    slices_per_case: Annotated[int, typer.Option(help="Slices with organ a case that maps are judged on; 0: all.")] = 8,
    empty_per_case: Annotated[int, typer.Option(help="Slices without organ a case, for false organ.")] = 2,
    checks_per_case: Annotated[int, typer.Option(help="Slices a case for stability and shuffled weights.")] = 1,
    draws: Annotated[int, typer.Option(help="Draws of noise a masked slice.")] = 2,
    patch: Annotated[int, typer.Option(help="Occlusion: side of the grey square.")] = 15,
    stride: Annotated[int, typer.Option(help="Occlusion: step of the square; 0: fine where it matters.")] = 0,
    panels: Annotated[int, typer.Option(help="Worst, middle and best slices to draw a method; 0: none.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the patients.")] = 2000,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    overwrite: Overwrite = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Judge the maps of a model that finds nearly nothing, too.")
    ] = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Judge a model's segmentation and importance maps by numbers, on labelled CTs: tables, curves, a report."""
    import shlex

    from unoise_engine.evaluate.command import Request, run
    from unoise_engine.explanation.occlusion import Occlusion
    from unoise_engine.progress import progress as tell

    request = Request(
        data=tuple(data),
        out=out,
        bundle=bundle,
        label=label,
        split=split,
        part=part,
        patient=patient,
        labels=numbers(labels),
        methods=comma(methods) if methods else (),
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
        overwrite=overwrite,
        anyway=anyway,
    )
    refused = run(request, tell(progress.value))
    print(f"report: {out / 'report.md'}")
    if refused:
        raise typer.Exit(1)


def benchmark(
    out: Out,
    bundle: Bundle = "",
    label: Label = "",
    peers: Annotated[
        bool, typer.Option("--peers", help="Beside captum, MONAI, OpenVINO, if installed (bench).")
    ] = False,
    paper: Annotated[bool, typer.Option("--paper", help="Also nets of the paper's size, untrained (train).")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small samples: shows that all runs, measures little.")
    ] = False,
    repeats: Annotated[int, typer.Option(help="Interleaved repetitions that medians are taken of.")] = 5,
    ct: Annotated[
        Path | None,
        typer.Option(help="A CT to compare default occlusion on too, or to measure an imported model on."),
    ] = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all.")] = 0,
    overwrite: Overwrite = False,
    progress: Show = ProgressMode.auto,
) -> None:
    """Time every method on this machine, beside other programs on the same nets and input, agreement checked first."""
    import shlex

    from unoise_engine.lab.benchmark.command import Request, run
    from unoise_engine.progress import progress as tell

    command = shlex.join(["unoise_engine", *sys.argv[1:]])
    request = Request(out, bundle, peers, paper, quick, repeats, ct, device, threads, command, overwrite, label)
    agreed = run(request, tell(progress.value))
    print(f"report: {out / 'benchmark.md'}")
    if not agreed:
        print("programs disagree - see the rows of the report that say so", file=sys.stderr)
        raise typer.Exit(1)


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

    from unoise_engine.files import refuse_overlap
    from unoise_engine.lab.reproduce.command import Request
    from unoise_engine.lab.reproduce.command import reproduce as run
    from unoise_engine.progress import progress as tell
    from unoise_engine.results.case_folder import prepare_output

    refuse_overlap(out, [data] if data else [])
    prepare_output(out)
    command = shlex.join(["unoise_engine", *sys.argv[1:]])
    request = Request(out, scale, data, recipe, organ, seed, device, jobs, progress.value, planted, command)
    print(f"report: {run(request, tell(progress.value))}")
