"""What a model's answers have to be, whoever made the model: named, of the right shape, and finite everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.errors import Integrity, ModelFault, printable

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime

# Of every model but the occluded patch's own: what it may be given, what it must do without, what it must answer.
PORTS = {
    "utility": ({"slices", "target"}, {"target"}, {"logits", "gradcam"}),
    "unoise": ({"slices", "logits"}, set(), {"noise_logits"}),
    "gradcam": ({"slices", "target"}, set(), {"importance"}),
    "occlusion-clean": ({"slices"}, set(), {"logits"}),
}
PORTS_OF_SCHEMA_1 = {**PORTS, "utility": ({"slices"}, set(), {"logits"})}
COARSE = "gradcam"  # the one answer that may be smaller than the slice


def check_ports(path: Path, session: onnxruntime.InferenceSession, one_pass: bool) -> None:
    """Raises Integrity if the model cannot be given what it will be given, or does not name what it will be asked."""
    given, optional, wanted = (PORTS if one_pass else PORTS_OF_SCHEMA_1).get(path.stem, (None, set(), set()))
    needs = {port.name for port in session.get_inputs()}
    takes = needs | {port.name for port in session.get_overridable_initializers()}
    answers = {port.name for port in session.get_outputs()}
    if given is not None and not (needs <= given - optional and "slices" in needs and optional <= takes):
        raise Integrity(path, f"takes {_names(needs)}, not {_names(given)}", "export the model again")
    if missing := wanted - answers:
        raise Integrity(path, f"has no output {_names(missing)}", "export the model again")


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


def checked(path: Path, name: str, answer: np.ndarray, slices: tuple[int, ...]) -> np.ndarray:
    """The output `name` for slices of that shape (n, c, h, w), as float32 (n, 1, h, w). Raises ModelFault."""
    n, _, h, w = slices
    fits = answer.ndim == 4 and answer.shape[:2] == (n, 1)
    side = h // max(answer.shape[2], 1) if fits and name == COARSE else 1  # of a pixel
    fits = fits and tuple(side * length for length in answer.shape[2:]) == (h, w)
    if not fits or answer.dtype.kind != "f":
        what = f"{name} is {answer.dtype} {answer.shape} instead of float32 {(n, 1, h, w)}"
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
