"""What this engine has to offer, for whoever draws a panel or lists it: models, methods, devices, formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from unoise_engine import __version__
from unoise_engine.errors import EngineError, Integrity
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.methods import LEARNT, METHODS, usual
from unoise_engine.explanation.settings import KINDS
from unoise_engine.models.bundles import DEFAULT_BUNDLE, known_bundles, models_home
from unoise_engine.models.manifest import Manifest, model_hash, read_manifest
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import LABELS
from unoise_engine.models.settings import DEVICES
from unoise_engine.results.case_folder import REPORT_VERSION
from unoise_engine.results.settings import FORMATS
from unoise_engine.typed import to_table

SIDE = 256  # pixels of the slice that a method's passes are counted on
BLOCK = (SIDE // 4, SIDE // 2, SIDE // 2)  # voxels of the block, for models that look at blocks


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
        "voxels": math.prod(BLOCK),
        "models_home": str(models_home()),
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
            "methods": (possible := _open_to(manifest)),
            "usual": [*usual(possible)],
            "block": _block(manifest.recipe),
            "sha256": model_hash(manifest),
            "spacing_mm": _pixel_mm(manifest.recipe),
            "rank": manifest.recipe.rank,
            "source": manifest.source,
            "bytes": manifest.files["utility.onnx"].bytes if "utility.onnx" in manifest.files else 0,
        }


def _open_to(manifest: Manifest) -> list[str]:
    """The methods that the manifest does not rule out. Whether a net's gradient can be had shows when it is opened."""
    ruled_out = {*LEARNT} - {*manifest.noise_models}
    if not isinstance(manifest.recipe, Preparation) or len(manifest.labels) < 2:
        ruled_out.add(LABELS)
    return [name for name, method in METHODS.items() if method.needs not in ruled_out]


def _block(recipe: Recipe | Preparation) -> dict[str, Any]:
    """Of a model that looks at blocks: their spacing, and the window that it is given at a time, none for all at once;
    axes (k, j, i) of the model. Empty for others."""
    if not isinstance(recipe, Preparation) or recipe.rank != 3:
        return {}
    return {"spacing_mm": list(recipe.spacing_mm), "window": list(recipe.window.size), "step": recipe.window.step}


def _pixel_mm(recipe: Recipe | Preparation) -> float:
    """Side of a pixel that the model sees; 0: as it is."""
    return min(recipe.spacing_mm[1:]) if isinstance(recipe, Preparation) else recipe.spacing_mm


def methods(parameters: Mapping[str, Method] = MappingProxyType({})) -> Iterator[dict[str, Any]]:
    """`passes` is how often the model runs for one slice of SIDE x SIDE pixels with these `parameters`, about, and
    `block_passes` for a BLOCK, which is given `block_seconds` at most (None: any time it takes); where `each_label` is
    true, for each of the model's labels. `least` and `most` bound a parameter, None where nothing does."""
    for name, method in METHODS.items():
        asked = parameters.get(name, method)
        places: Callable[..., int] = getattr(asked, "places", lambda *size: 1)
        limit: Callable[[int], float] = getattr(asked, "limit", lambda rank: math.inf)
        yield {
            "name": name,
            "title": method.title,
            "description": method.about,
            "unit": method.unit,
            "each_label": method.needs == LABELS,
            "passes": places(SIDE, SIDE),
            "block_passes": places(*BLOCK),
            "block_seconds": limit(3) if math.isfinite(limit(3)) else None,
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
