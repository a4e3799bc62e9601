"""The registry of methods: a new one is a file and a name in this list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unoise_engine.errors import Usage
from unoise_engine.explanation.gradcam import GradCAM
from unoise_engine.explanation.input_gradient import InputGradient
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.refine import RefinedUNoise
from unoise_engine.explanation.structures import Structures
from unoise_engine.explanation.unoise import NearUNoise, UNoise
from unoise_engine.models.segmenter import NEAR, NOISE, Segmenter

KNOWN = (NearUNoise(), UNoise(), GradCAM(), Occlusion(), Structures(), InputGradient(), RefinedUNoise())
METHODS: dict[str, Method] = {method.name: method for method in KNOWN}
TITLES = {name: method.title for name, method in METHODS.items()}
LEARNT = (NEAR, NOISE)  # what maps of a noise model need; of a model that has both, the first is used


def usual(names: Iterable[str]) -> tuple[str, ...]:
    """Of the methods that are open to a model those that are used where nobody chooses: quick ones, and one U-Noise.
    Why that one: docs/results.md."""
    chosen = [name for name in names if METHODS[name].chosen]
    learnt = [name for name in chosen if METHODS[name].needs in LEARNT]
    return tuple(name for name in chosen if name not in learnt[1:])


def choose(names: Sequence[str], *configured: Method) -> dict[str, Method]:
    """The methods of those names, in that order; `configured` ones in the place of those with usual parameters.

    Raises Usage for an unknown name.
    """
    available = METHODS | {method.name: method for method in configured}
    for name in names:
        if name not in available:
            raise Usage(f"--methods {name}", "unknown method", f"choose from {', '.join(METHODS)}")
    return {name: available[name] for name in names}


def answerable(model: Segmenter, names: Iterable[str] = tuple(METHODS)) -> tuple[str, ...]:
    """Those of the methods that this model can be explained by."""
    return tuple(name for name in names if METHODS[name].needs in ("", *model.answers))


def check_answerable(model: Segmenter, methods: Iterable[Method]) -> None:
    """Raises Usage if the model cannot be explained by one of them."""
    for method in methods:
        if method.needs not in ("", *model.answers):
            what = f"the model has nothing to answer it with ({method.needs})"
            raise Usage(f"--methods {method.name}", what, f"choose from {', '.join(answerable(model))}")
