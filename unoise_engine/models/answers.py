"""What a model's answers have to be, whoever made the model: named, of the right shape, and finite everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.errors import Integrity, ModelFault, printable

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime

# Of every model but the occluded patch's own: what it may be given, and what it must answer.
PORTS = {
    "utility": ({"slices", "target"}, {"logits"}),
    "unoise": ({"slices", "logits"}, {"noise_logits"}),
    "unoise-near": ({"slices", "logits"}, {"noise_logits"}),
    "gradcam": ({"slices", "target"}, {"importance"}),
    "occlusion-clean": ({"slices"}, {"logits"}),
}
OPTIONAL = {"utility": {"target"}}  # inputs that it must do without
COARSE = "gradcam"  # the one answer that may be smaller than the item


def check_ports(path: Path, session: onnxruntime.InferenceSession, rank: int, one_pass: bool) -> None:
    """Raises Integrity if the model cannot be given what it will be, does not name what it will be asked, or takes
    items that have not `rank` axes.

    A utility that answers "gradcam" takes a "target" and does without one; one that does not takes slices alone.
    """
    given, wanted = PORTS.get(path.stem, (None, set()))
    needs = {port.name for port in session.get_inputs()}
    takes = needs | {port.name for port in session.get_overridable_initializers()}
    answers = {port.name: port for port in session.get_outputs()}
    explains = path.stem == "utility" and one_pass and COARSE in answers
    optional = OPTIONAL.get(path.stem, set()) if explains else set()
    if given is not None and not explains and path.stem == "utility":
        given = given - {"target"}
    if given is not None and not (needs <= given - optional and "slices" in needs and optional <= takes):
        raise Integrity(path, f"takes {_names(needs)}, not {_names(given)}", "export the model again")
    if missing := wanted - set(answers):
        raise Integrity(path, f"has no output {_names(missing)}", "export the model again")
    for port in [*session.get_inputs(), *(answers[name] for name in wanted)] if given is not None else []:
        if port.shape is not None and len(port.shape) != 2 + rank:
            what = (
                f"{_names({port.name})} has {len(port.shape)} axes instead of {2 + rank} (its recipe is of rank {rank})"
            )
            raise Integrity(path, what, "export the model again")


def ask(
    path: Path, session: onnxruntime.InferenceSession, wanted: Sequence[str] | None, feeds: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """The wanted outputs, or all. Raises MemoryError, or ModelFault with what onnxruntime says."""
    try:
        return session.run(wanted, dict(feeds))
    except Exception as error:
        if out_of_memory(error):
            raise MemoryError(str(path)) from None
        raise ModelFault(path, f"cannot be run ({reason_of(error)})", "do not use this model") from error


def checked(path: Path, name: str, answer: np.ndarray, items: tuple[int, ...]) -> np.ndarray:
    """The output `name` for items of that shape (k, c, *s), as float32 (k, 1, *s), or (k, c, *s) if it is a gradient.
    A coarse one's sides divide the item's. Raises ModelFault."""
    wanted = items if name == "gradient" else (items[0], 1, *items[2:])
    fits = answer.ndim == len(items) and answer.shape[:2] == wanted[:2]
    if name == COARSE:
        fits = fits and all(n > 0 and most % n == 0 for n, most in zip(answer.shape[2:], items[2:]))
    else:
        fits = fits and answer.shape[2:] == items[2:]
    if not fits or answer.dtype.kind != "f":
        what = f"{name} is {answer.dtype} {answer.shape} instead of float32 {wanted}"
        raise ModelFault(path, f"answers in the wrong form: {what}", "do not use this model")
    return finite(path, name, answer.astype(np.float32, copy=False))


def finite(path: Path, name: str, answer: np.ndarray) -> np.ndarray:
    """The answer itself. Raises ModelFault if it is NaN or infinite anywhere."""
    if not np.isfinite(answer).all():
        raise ModelFault(path, f"answers NaN or infinity: {name}", "do not use this model")
    return answer


def _names(some: set[str]) -> str:
    return ", ".join(printable(name)[:40] for name in sorted(some)[:8]) or "nothing"


def reason_of(error: Exception) -> str:
    """The first line of what onnxruntime says, printable: names out of the model's file stand in it."""
    return printable((str(error).splitlines() or [""])[0])[:300] or type(error).__name__


def out_of_memory(error: Exception) -> bool:
    """Whether an error of onnxruntime or numpy says that memory ran out."""
    said = str(error).lower()
    signs = ("bad alloc", "bad_alloc", "failed to allocate", "out of memory", "alloc_failed", "memoryallocation")
    return isinstance(error, MemoryError) or any(sign in said for sign in signs)
