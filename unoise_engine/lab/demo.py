"""`unoise_engine demo`: a synthetic CT whose pancreas is known, explained by the usual methods, and compared."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.methods import TITLES
from unoise_engine.explanation.settings import Settings
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.models.bundles import load_bundle
from unoise_engine.progress import progress
from unoise_engine.results.case_folder import explain_case, prepare_output
from unoise_engine.results.settings import ResultSettings
from unoise_engine.results.view.page import PAGE
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.read import read_image


def run(out: Path, seed: int) -> None:
    """Writes the CT, its labels and the results under `out`, and prints a table. An earlier demo there is replaced."""
    prepare_output(out)
    show = progress("auto")
    bundle = load_bundle()
    with show.stage("demo", "synthetic CT", 1) as advance:
        (ct_path,) = write_phantoms(out / "synthetic-ct", 1, seed, replace=True)
        advance(1)
    (case,) = find_cases([ct_path])
    report = explain_case(case, out, bundle, Settings(), show, ResultSettings(view=True), overwrite=True)

    organ = bundle.manifest.organ
    truth = read_image(ct_path.with_name(ct_path.name.replace("-ct.", "-labels."))).voxels == LABELS[organ]
    found = read_image(out / case.id / report["files"]["segmentation"]).voxels > 0
    true_ml = float(truth.sum()) * read_image(ct_path).grid.voxel_ml

    table = Table(title=f"{bundle.manifest.title}: synthetic CT, seed {seed}", title_justify="left")
    for heading in ("", "result"):
        table.add_column(heading)
    table.add_row(f"{organ} found", f"{report['organ']['volume_ml']:.1f} ml (known: {true_ml:.1f} ml)")
    table.add_row("dice against the known label", f"{dice(found, truth):.3f}")
    for method in report["settings"]["methods"]:
        table.add_row(TITLES[method], f"{report['seconds'][method]:.1f} s")
    console = Console()
    console.print(table)
    console.print(f"picture: {out / case.id / report['files']['overview']}", highlight=False, soft_wrap=True)
    console.print(f"browser: {out / case.id / PAGE}", highlight=False, soft_wrap=True)
    console.print(f"maps:    {out / case.id}", highlight=False, soft_wrap=True)
    console.print(bundle.manifest.warning)
