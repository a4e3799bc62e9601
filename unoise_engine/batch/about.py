"""What this engine has to offer, for whoever draws a panel or lists it: models, methods, devices, formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from unoise_engine import __version__
from unoise_engine.errors import EngineError, Integrity
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.methods import METHODS
from unoise_engine.explanation.settings import KINDS
from unoise_engine.models.bundles import DEFAULT_BUNDLE, known_bundles
from unoise_engine.models.manifest import model_hash, read_manifest
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.settings import DEVICES
from unoise_engine.results.case_folder import REPORT_VERSION
from unoise_engine.results.settings import FORMATS
from unoise_engine.typed import to_table

SIDE = 256  # pixels of the slice that a method's passes are counted on


@dataclass(frozen=True)
class About:
    """`folders` are bundles to be told of too that neither ship nor were installed. `parameters` are those of methods,
    as in Settings, whose passes are asked for."""

    folders: tuple[Path, ...] = ()
    parameters: Annotated[Mapping[str, Method], KINDS] = field(default_factory=dict)


def about(asked: About) -> dict[str, Any]:
    """Plain facts, as JSON has them. Opens no model, and needs neither onnxruntime nor protobuf."""
    return {
        "engine_version": __version__,
        "report_version": REPORT_VERSION,
        "models": [*models(asked.folders)],
        "methods": [*methods(asked.parameters)],
        "pixels": SIDE * SIDE,
        "devices": [device for device in DEVICES if device != "cuda" or _has_cuda()],
        "formats": list(FORMATS),
    }


def models(folders: tuple[Path, ...] = ()) -> Iterator[dict[str, Any]]:
    """What each bundle says of itself, the default first. A damaged one has an `error` instead: `EngineError.facts`."""
    known = sorted(known_bundles().items(), key=lambda item: item[0] != DEFAULT_BUNDLE)
    for name, folder in (*known, *((str(folder), folder) for folder in folders)):
        here = {"name": name, "folder": str(folder), "default": name == DEFAULT_BUNDLE}
        try:
            manifest = read_manifest(folder)
        except EngineError as error:
            yield {**here, "title": name, "error": error.facts}
            continue
        except OSError as error:
            broken = Integrity(folder, f"cannot be read ({error.strerror})", "check its permissions")
            yield {**here, "title": name, "error": broken.facts}
            continue
        told = ("title", "warning", "intended_use", "training_data", "licence", "attribution", "citation", "synthetic")
        yield {
            **here,
            **{key: getattr(manifest, key) for key in told},
            "labels": list(manifest.labels),
            "sha256": model_hash(manifest),
            "spacing_mm": _pixel_mm(manifest.recipe),
            "rank": manifest.recipe.rank,
            "source": manifest.source,
            "bytes": manifest.files["utility.onnx"].bytes if "utility.onnx" in manifest.files else 0,
        }


def _pixel_mm(recipe: Recipe | Preparation) -> float:
    """Side of a pixel that the model sees; 0: as it is."""
    return min(recipe.spacing_mm[1:]) if isinstance(recipe, Preparation) else recipe.spacing_mm


def methods(parameters: Mapping[str, Method] = MappingProxyType({})) -> Iterator[dict[str, Any]]:
    """`passes` is how often the model runs for one slice of SIDE x SIDE pixels with these `parameters`, about;
    `default` says whether the method is used if none is named; `least` and `most` bound a parameter, None where nothing
    does."""
    for name, method in METHODS.items():
        yield {
            "name": name,
            "title": method.title,
            "description": method.about,
            "default": method.chosen,
            "passes": getattr(parameters.get(name, method), "places", lambda *size: 1)(SIDE, SIDE),
            "parameters": [*_parameters(method)],
        }


def _parameters(method: Method) -> Iterator[dict[str, Any]]:
    for f in fields(method):  # type: ignore[arg-type]
        told = {key: f.metadata.get(key, usual) for key, usual in (("least", None), ("most", None), ("about", ""))}
        yield {"name": f.name, "default": to_table(getattr(method, f.name)), **told}


def _has_cuda() -> bool:
    """Whether the onnxruntime that is installed was made for it. Asked of its files: to load it takes time, and it may
    be missing or damaged."""
    found = find_spec("onnxruntime")
    homes = found.submodule_search_locations if found and found.submodule_search_locations else ()
    return any(True for home in homes for _ in Path(home, "capi").glob("*onnxruntime_providers_cuda.*"))
