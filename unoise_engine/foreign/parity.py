"""How near a bundle's net, in onnxruntime, is to the source: measured before anything is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unoise_engine.errors import Integrity, Usage, printable
from unoise_engine.foreign.source import Source

LARGEST_DIFFERENCE = 1e-3  # of a logit, as a share of the range of all
LEAST_AGREEMENT = 0.999  # share of voxels with the same label
ROUNDING = 1e-3  # of probabilities in 16 bits whose sum is 1
TOGETHER = 1 << 21  # voxels that are also given in one batch
Answer = Callable[[np.ndarray], np.ndarray]


def measure(source: Source, content: bytes) -> dict[str, Any]:
    """The largest difference of logits and the agreement of labels on windows of the source's size.

    Raises Integrity if they are beyond the bounds above, or if the source's answer is no answer: not finite, of the
    wrong shape, or the same everywhere, where two wrong nets would agree. Raises Usage if the source cannot answer, or
    answers probabilities: with a sigmoid's no voxel would be below 0, and a gradient would vanish where it is sure.
    """
    ours, theirs, against = running(content), *_reference(source)
    windows = probe_windows(source.example)
    wanted = [_answer(source, theirs, window) for window in windows]
    got = [_answer(source, ours, window) for window in windows]
    if np.prod(source.example) * len(windows) <= TOGETHER:
        wanted, got = [*wanted, np.concatenate(wanted)], [*got, _answer(source, ours, np.concatenate(windows))]
    extent = max(float(one.max()) for one in wanted) - min(float(one.min()) for one in wanted)
    if not np.isfinite(extent) or extent == 0:
        raise Integrity(source.name, "its net answers the same everywhere, or no numbers", "give a trained model")
    if activation := _activation(wanted, source.outputs):
        what = f"answers probabilities, behind a {activation}, where a bundle needs the scores before it"
        cure = "take the net without its last layer, or export it to ONNX: a softmax or sigmoid at its end is cut off"
        raise Usage(source.name, what, cure)
    if wanted[0].shape != got[0].shape:
        raise Integrity(source.name, f"gives {got[0].shape} instead of {wanted[0].shape}", "report this")
    difference = max(float(np.abs(a - b).max()) for a, b in zip(got, wanted)) / extent
    equal = [float((_labels(a, source.outputs) == _labels(b, source.outputs)).mean()) for a, b in zip(got, wanted)]
    agreement = min(equal)
    if not (difference <= LARGEST_DIFFERENCE and agreement >= LEAST_AGREEMENT):
        what = f"differs, once exported, by {difference:.1e} of its range, with {agreement:.2%} of labels the same"
        bounds = f"{LARGEST_DIFFERENCE:.0e} and {LEAST_AGREEMENT:.1%} are the bounds"
        raise Integrity(source.name, what, f"nothing was imported ({bounds}); report this with your versions of torch")
    return {
        "largest_difference": float(f"{difference:.3g}"),
        "agreement": round(agreement, 6),
        "bounds": {"largest_difference": LARGEST_DIFFERENCE, "agreement": LEAST_AGREEMENT},
        "windows": len(windows),
        "against": against,
    }


def _activation(answers: list[np.ndarray], outputs: str) -> str:
    """What has made probabilities of the answers; "" for scores."""
    if any(one.min() < 0 or one.max() > 1 for one in answers):
        return ""
    if outputs != "softmax":
        return "sigmoid"
    sums_to_1 = all(np.abs(one.sum(axis=1, dtype=float) - 1).max() < ROUNDING for one in answers)
    return "softmax" if sums_to_1 else "sigmoid"


def probe_windows(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Seeded: noise of mean 0 and deviation 1; noise in 0 .. 1; and a scene of blobs, smooth and of some contrast."""
    chance = np.random.default_rng(0)
    scene = np.zeros(shape, np.float32)
    coordinates = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[2:]), indexing="ij")
    for _ in range(12):
        at, size, height = chance.uniform(-1, 1, len(coordinates)), chance.uniform(0.1, 0.5), chance.normal(0, 1.5)
        scene += height * np.exp(-sum((x - a) ** 2 for x, a in zip(coordinates, at)) / (2 * size**2)).astype(np.float32)
    plain = chance.normal(size=shape).astype(np.float32)
    return [plain, chance.random(shape).astype(np.float32), scene + 0.1 * plain]


def running(content: bytes) -> Answer:
    """An ONNX file's net in onnxruntime, on the CPU. Raises Integrity."""
    from unoise_engine.models.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it raises its errors, too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Integrity("the net", f"onnxruntime cannot open it ({_reason(error)})", "it cannot be imported") from None
    port = session.get_inputs()[0].name
    return lambda windows: session.run(None, {port: windows})[0]


def _reference(source: Source) -> tuple[Answer, str]:
    """How the source itself answers, and by what."""
    if source.reference is not None:
        return source.reference, source.kind
    if source.net is None:
        return running(source.onnx), "the file as it was given, in onnxruntime"
    import torch

    def answer(windows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits: np.ndarray = source.net(torch.from_numpy(windows)).numpy()
        return logits

    return answer, f"torch {torch.__version__}"


def _answer(source: Source, net: Answer, windows: np.ndarray) -> np.ndarray:
    try:
        logits = np.asarray(net(windows))
    except MemoryError:
        raise
    except Exception as error:  # of torch or onnxruntime, whatever the net does
        what = f"its net does not take a window of {' x '.join(map(str, windows.shape[2:]))} ({_reason(error)})"
        raise Usage(source.name, what, "correct the window's size") from None
    channels = max(source.labels.values()) + (source.outputs == "softmax")
    margin = source.preparation.window.margin or (0,) * (windows.ndim - 2)
    shape = (len(windows), channels, *(n - 2 * m for n, m in zip(windows.shape[2:], margin)))
    if logits.shape != shape:
        what = f"its net answers {logits.shape} where its labels and its window ask for {shape}"
        raise Usage(source.name, what, "correct the labels, the outputs or the window's margin")
    return logits


def _labels(logits: np.ndarray, outputs: str) -> np.ndarray:
    return logits.argmax(1) if outputs == "softmax" else logits > 0


def _reason(error: Exception) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])[:120]
