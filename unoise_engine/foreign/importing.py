"""From a source to a bundle: exported, compared with the source, tried out, and only then kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unoise_engine import __version__
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.files import new_folder, refuse_overlap, write
from unoise_engine.foreign.export import to_onnx
from unoise_engine.foreign.parity import measure
from unoise_engine.foreign.source import Source
from unoise_engine.models.manifest import UTILITY, Manifest, write_manifest
from unoise_engine.models.text import one_line
from unoise_engine.models.trial import try_out

INTENDED_USE = "To explain what an imported model does. For research only, not for clinical use."


def import_model(
    source: Source,
    out: Path,
    *,
    name: str = "",
    title: str = "",
    licence: str = "",
    citation: str = "",
    inputs: Sequence[Path] = (),
) -> Manifest:
    """Writes the bundle `out` and returns its manifest. What is given goes before what the source says of itself.

    `inputs` are the files and folders that the source came from; nothing is written into them.

    Raises Usage if nobody says under which licence the model is, or it cannot be exported; Integrity if the net as
    exported is not near enough to the source (parity.py) or does not answer (trial.py); Environment if `out` exists or
    cannot be written. Then nothing is left of it.
    """
    refuse_overlap(out, inputs)
    licence = licence or source.licence
    if not licence:
        cure = "say under which terms you have the model, such as --licence 'CC BY 4.0'"
        raise Usage("--licence", f"is missing: {source.name} does not say", cure)
    if terms := source.facts.get("terms"):
        licence = f"{licence} ({terms})"
    try:
        manifest = Manifest(
            name=name or source.name,
            title=one_line(title or source.title, 200),
            synthetic=False,
            intended_use=INTENDED_USE,
            licence=licence,
            training_data=source.training_data or "unknown",
            recipe=source.preparation,
            labels=dict(source.labels),
            citation=citation or source.citation,
            architecture={**source.facts, "notes": list(source.notes)},
            engine_version=__version__,
            outputs=source.outputs,
            source=": ".join(filter(None, [source.kind, str(source.facts.get("from", ""))])),
        )
    except ValueError as error:
        raise Usage(source.name, str(error), "correct what the source says of its labels") from None
    try:
        with new_folder(out, inventory=False) as partial:  # first, so that a place that exists costs no export
            content = to_onnx(source)
            manifest = replace(manifest, parity=measure(source, content))
            write(partial / f"{UTILITY}.onnx", content)
            manifest = write_manifest(partial, manifest, [f"{UTILITY}.onnx"])
            _try(partial, out)
    except OSError as error:
        raise Environment(out, f"cannot be written ({error.strerror})", "choose another place") from None
    return manifest


def _try(partial: Path, out: Path) -> None:
    """As every bundle is tried before it is trusted; a failure names the place that was asked for."""
    try:
        try_out(partial)
    except Integrity as error:
        raise Integrity(out, f"cannot be used: {error.what}", "nothing was imported; report this") from None
