"""The models of a bundle, running in onnxruntime: numpy in, numpy out."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unoise_engine.child import usable_cores
from unoise_engine.errors import Environment, Integrity, ModelFault, Usage
from unoise_engine.models.answers import COARSE, ask, check_ports, checked, out_of_memory, reason_of
from unoise_engine.models.coarse_gradcam import coarse_gradcam
from unoise_engine.models.content import check_content
from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.manifest import GRADCAM_FILE, PARTS, UNOISE, UNOISE_NEAR, Manifest, model_hash
from unoise_engine.models.occluded import Clean
from unoise_engine.models.parts import with_weights
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.reverse import reversed_graph
from unoise_engine.models.segmenter import GRADCAM, GRADIENT, NEAR, NOISE, OneLabel, Region, occluded_items
from unoise_engine.models.shuffle import shuffle_kernels

if TYPE_CHECKING:
    from unoise_engine.models.runtime import onnxruntime

# Slices of 256 x 256 a call: memory stays bounded, and on a CPU larger batches gain nothing.
PIXELS_A_CALL = 8 * 256 * 256


Provider = str | tuple[str, dict[str, int]]


def _as_it_is(options: onnxruntime.SessionOptions) -> None:
    pass


def _on_one_core(options: onnxruntime.SessionOptions) -> None:
    options.intra_op_num_threads = 1


def providers(device: str, gpu: int = 0) -> list[Provider]:
    """onnxruntime's execution providers for a device's name; `gpu`: which, where there are several."""
    from unoise_engine.models.runtime import onnxruntime

    available = onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda"):
        raise Usage(f"--device {device}", "unknown", "choose auto, cpu or cuda")
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in available):
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise Environment(
            "--device cuda", "this onnxruntime has no CUDA", "install onnxruntime-gpu, or use --device cpu"
        )
    cuda = "CUDAExecutionProvider"
    return [(cuda, {"device_id": gpu}) if gpu else cuda, "CPUExecutionProvider"]


class Bundle(OneLabel):
    """An opened bundle. Sessions start when first used. A `segmenter.Segmenter`.

    Where memory is short, fewer slices go into a call; where a GPU cannot be used or is full, the processor takes over.
    `notes` then says so, a sentence each. `strict`: a GPU that cannot be used is an error. `seconds` is the time that
    whole passes have taken so far.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, providers: Sequence[Provider], threads: int = 0, strict: bool = False
    ):
        self.folder = folder
        self.manifest = manifest
        self.recipe: Recipe | Preparation = manifest.recipe
        self.notes: list[str] = []
        self.seconds = 0.0
        self._providers = list(providers)
        self._threads = threads
        self._strict = strict
        self._fewer = 1  # slices a call are divided by this
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._clean: Clean | None = None
        self._answers: frozenset[str] | None = None
        self._pixel: tuple[int, ...] = ()  # sides of a coarse map's pixel, once seen
        self._shuffle: dict[str, int] = {}  # models whose weights are destroyed, and the seed

    def shuffled(self, models: Sequence[str], seed: int) -> Bundle:
        """The same bundle with the weights of these models in random order: what was learned is lost.

        Raises ValueError if one of them has none that could be shuffled.
        """
        other = type(self)(self.folder, self.manifest, self._providers, self._threads, self._strict)
        other._shuffle = {model: seed for model in models}
        for model in models:
            if f"{model}.onnx" in self.manifest.files:
                other._content(model)
        return other

    @property
    def device(self) -> str:
        return "cpu" if self._providers[0] == "CPUExecutionProvider" else "cuda"

    @property
    def hash(self) -> str:
        return model_hash(self.manifest)

    @property
    def coarse_px(self) -> tuple[int, ...]:
        """The sides of Grad-CAM's own pixels, in the model's; empty where none was made yet."""
        return self._pixel

    @property
    def one_pass(self) -> bool:
        """Whether Grad-CAM comes out of the pass that segments. Bundles of schema 1 have a model of its own for it."""
        return GRADCAM_FILE not in self.manifest.files

    @property
    def answers(self) -> frozenset[str]:
        if self._answers is None:
            asked = {
                GRADCAM: not self.one_pass or self._has("utility", "gradcam"),
                GRADIENT: self._has_gradient(),
            }
            self._answers = frozenset(name for name, there in asked.items() if there).union(self.manifest.noise_models)
        return self._answers

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(k, c, *s) -> logits (k, 1, *s); > 0 means organ."""
        # onnxruntime computes every output of a graph, wanted or not; a Grad-CAM of no pixel costs it least.
        nothing = np.zeros((1,) * x.ndim, np.float32)
        return self._run("utility", {"slices": x}, ["logits"], {"target": nothing} if self._takes_target else {})[0]

    def predict_and_explain(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and Grad-CAM of the predicted organ at the deepest block's size (k, 1, *s / b), in one pass.

        Only where `one_pass`. An item without organ gets zeros.
        """
        logits, coarse = self._run("utility", {"slices": x}, ["logits", "gradcam"])
        return logits, coarse

    def noise_logits(self, x: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
        feeds = {"slices": x} | ({} if scores is None else {"logits": scores})
        return self._run(self.noise_model(NOISE if scores is None else NEAR), feeds, ["noise_logits"])[0]

    def noise_model(self, kind: str) -> str:
        """The file's name, without its suffix, of the net that answers NOISE or NEAR."""
        return self.manifest.noise_models[kind]

    def gradcam(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        feeds = {"slices": x, "target": target.astype(np.float32)}
        if not self.one_pass:
            return self._run("gradcam", feeds, ["importance"])[0]
        return enlarged(self._run("utility", feeds, ["gradcam"])[0], x.shape[2:])

    def gradient(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """By a reverse pass within the graph (models.reverse): no other package is needed."""
        return self._run("reverse", {"slices": x, "target": target.astype(np.float32)}, ["gradient"])[0]

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        """As predicting k items that hold `fill` there; quicker on a processor, if the bundle has the parts: then a
        small window is computed for each place, on a core of its own."""
        if not self.windowed:
            scores = self.predict(occluded_items(image, places, patch, fill))
            if region is None:
                return scores
            kept = np.repeat(self.predict(image[None]), len(places), axis=0)
            inside = (slice(None), slice(None), *region)
            kept[inside] = scores[inside]
            return kept
        clean, patched, path = self.clean(image), self._session("occlusion"), self._path("occlusion")
        region = region or tuple(slice(0, n) for n in image.shape[1:])
        one = partial(clean.occluded, patched, path, patch=patch, fill=fill, region=region)
        with ThreadPoolExecutor(min(self._threads or usable_cores(), len(places))) as pool:
            return np.stack([*pool.map(one, places)])

    @property
    def windowed(self) -> bool:
        """Whether an occluded patch is computed only where it changes anything."""
        return self.device == "cpu" and all(f"{part}.onnx" in self.manifest.files for part in PARTS)

    def clean(self, image: np.ndarray) -> Clean:
        """The layers of a slice (c, h, w) that occluded patches start from; those of the last slice are kept."""
        if self._clean is None or not self._clean.is_of(image):
            self.forget()  # before there are the next layers
            self._clean = Clean(image, self._session("occlusion-clean"), self._path("occlusion-clean"))
        return self._clean

    def forget(self) -> None:
        """Frees the layers of the slice that was occluded last."""
        self._clean = None

    @property
    def _takes_target(self) -> bool:
        return self.one_pass and self._has("utility", "gradcam")

    def _has_gradient(self) -> bool:
        try:
            return bool(reversed_graph(self._content("utility")))
        except ValueError:
            return False

    def _has(self, model: str, output: str) -> bool:
        return any(port.name == output for port in self._session(model).get_outputs())

    def open_all(self) -> None:
        """Opens every model now. Raises Integrity if onnxruntime cannot."""
        for model in ("utility", UNOISE, UNOISE_NEAR, "gradcam", *PARTS):
            if f"{model}.onnx" in self.manifest.files:
                self._session(model)

    def _path(self, model: str) -> Path:
        return self.folder / f"{model}.onnx"

    def _session(self, model: str) -> onnxruntime.InferenceSession:
        if model not in self._sessions:
            self._sessions[model] = self._open(model, _on_one_core if model == "occlusion" else _as_it_is)
        return self._sessions[model]

    def _open(
        self, model: str, adjust: Callable[[onnxruntime.SessionOptions], None] = _as_it_is
    ) -> onnxruntime.InferenceSession:
        from unoise_engine.models.runtime import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = (
            4  # it raises its errors, too; what it prints has names from the model's file in it
        )
        # A model's idle threads would go on spinning, on cores that the next model or another job needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        adjust(options)
        path = self._path(self._file_of(model))
        content = self._made(model, self._content(path.stem))
        try:
            # No fallback of its own, which prints on standard output and tries again: ours is below.
            session = onnxruntime.InferenceSession(content, options, providers=self._providers, enable_fallback=0)
        except Exception as error:
            if out_of_memory(error) and self.device == "cpu":
                raise MemoryError(str(path)) from None
            reason = reason_of(error)
            if self.device == "cuda":
                self._leave_gpu(reason)
                return self._open(model, adjust)
            raise Integrity(path, f"onnxruntime cannot open it ({reason})", "get the bundle again") from error
        if path.stem == model:
            check_ports(path, session, self.recipe.rank, self.one_pass)
        if self.device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
            self._leave_gpu("its driver or libraries are missing")
        return session

    def _file_of(self, model: str) -> str:
        """The file's name, without its suffix, that a model is made from."""
        derived = model == "reverse" or (model == "gradcam" and GRADCAM_FILE not in self.manifest.files)
        return "utility" if derived else model

    def _made(self, model: str, content: bytes) -> bytes:
        """The model itself, from its file. Raises ValueError where it cannot be made."""
        if model in PARTS:
            return with_weights(content, self._content("utility"))
        if model == "reverse":
            return reversed_graph(content)
        if self._file_of(model) != model:
            return coarse_gradcam(content)
        return content

    def _content(self, model: str) -> bytes:
        """The very bytes that the manifest names, looked through, or these with their weights shuffled."""
        path = self._path(model)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.manifest.files[path.name].sha256:
            raise Integrity(path, "was altered since it was checked", "get the bundle again")
        check_content(path, content)
        if model not in self._shuffle:
            return content
        return shuffle_kernels(content, self._shuffle[model], matrices=isinstance(self.recipe, Preparation))

    def _run(
        self, model: str, feeds: dict[str, np.ndarray], wanted: list[str], fixed: dict[str, np.ndarray] | None = None
    ) -> list[np.ndarray]:
        """The outputs `wanted`; `feeds` are given some slices at a time, `fixed` as they are."""
        path, (n, channels, *size) = self._path(self._file_of(model)), feeds["slices"].shape
        parts: list[list[np.ndarray]] = []
        start = 0
        while start < n:
            step = max(1, PIXELS_A_CALL // math.prod(size) // self._fewer)
            some = {name: values[start : start + step] for name, values in feeds.items()} | (fixed or {})
            session = self._session(model)
            began = time.perf_counter()
            try:
                answers = ask(path, session, wanted, some)
            except MemoryError:
                self._make_do(step)
                continue
            self.seconds += time.perf_counter() - began
            shape = some["slices"].shape
            parts.append([self._checked(path, name, answer, shape) for name, answer in zip(wanted, answers)])
            start += step
        if not parts:
            return [np.zeros((0, channels if name == "gradient" else 1, *size), np.float32) for name in wanted]
        return [np.concatenate(column) for column in zip(*parts)]

    def _checked(self, path: Path, name: str, answer: np.ndarray, items: tuple[int, ...]) -> np.ndarray:
        """An answer to items of that shape; coarse maps of one model have pixels of one size. Raises ModelFault."""
        answer = checked(path, name, answer, items)
        if name == COARSE:
            sides = tuple(most // n for most, n in zip(items[2:], answer.shape[2:]))
            if sides != (self._pixel or sides):
                raise ModelFault(path, f"answers with maps of several sizes: {COARSE}", "do not use this model")
            self._pixel = sides
        return answer

    def _make_do(self, step: int) -> None:
        """After memory ran out with `step` slices a call. Raises MemoryError if there is nothing left to try."""
        if step > 1:
            self._fewer *= 2
            self._note("memory was short: fewer slices went through the model at a time")
        elif self.device == "cuda":
            self._providers, self._sessions, self._fewer = ["CPUExecutionProvider"], {}, 1
            self._note("the GPU's memory was too small: the processor did the work")
        else:
            raise MemoryError("not even one slice at a time")

    def _leave_gpu(self, reason: str) -> None:
        if self._strict:
            raise Environment("--device cuda", f"the GPU cannot be used ({reason})", "use --device cpu")
        self._providers = ["CPUExecutionProvider"]
        self._note("the GPU cannot be used: the processor did the work")

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
