"""bundle.json: what a model is, what it was trained on, what it expects of a CT, and the hash of every file.

A bundle is a folder. `verify` reads and hashes every file before anything opens it; nothing in a bundle is pickled.

    bundle.json            this manifest
    utility.onnx           slices (n, c, h, w), target (n, 1, h, w) or nothing
                           -> logits (n, 1, h, w), gradcam (n, 1, h / k, w / k), k the deepest block's pixel
    occlusion.onnx         optional: one occluded patch where it changes anything, and
    occlusion-clean.onnx   the layers it starts from (occluded.py); both run with the utility's weights
    unoise.onnx            optional: slices -> noise_logits (n, 1, h, w); the paper's algorithm 1
    unoise-near.onnx       optional: slices, logits -> noise_logits; told what was found, it starts from nearness to it
    gradcam.onnx           schema 1 alone: slices, target -> importance (n, 1, h, w); its utility has no gradcam
    utility.safetensors    optional: weights, for further training
    unoise.safetensors, unoise-near.safetensors

Schema 3 is of models from elsewhere: its recipe is a `preparation.Preparation`, and the logits of utility.onnx,
(n, k, *s), have a channel for each label. Its windows are what the model is given, one at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

from unoise_engine.errors import Environment, Integrity, Usage, printable
from unoise_engine.files import INVENTORY, copy, new_folder, sha256, write
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.content import check_content
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.scope import Scope
from unoise_engine.models.segmenter import NEAR, NOISE
from unoise_engine.models.text import LONGEST, LONGEST_ORGAN, fit_for_organ, one_line, plain
from unoise_engine.strict_json import read_json
from unoise_engine.typed import build

SCHEMA_VERSION, FOREIGN_VERSION = 2, 3
READABLE = (1, 2, 3)
OUTPUTS = ("logit", "softmax", "sigmoid")
MANIFEST = "bundle.json"
SIGNATURE = "bundle.json.minisig"  # optional; see signature.py
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # file managers leave these behind; nobody opens them
LARGEST_MANIFEST = 1 << 20  # bytes
UTILITY, UNOISE, UNOISE_NEAR = "utility", "unoise", "unoise-near"  # each an ONNX file; the last two are optional
GRADCAM_FILE = "gradcam.onnx"
PARTS = ("occlusion", "occlusion-clean")  # both or neither
LARGEST_FILE = 1 << 30  # bytes; a manifest that asks for more is refused unread
FILE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
LONGEST_TEXTS = {"name": 200, "title": 200, "engine_version": 200}  # letters; of all other texts text.LONGEST


@dataclass(frozen=True)
class FileEntry:
    """What a file of the bundle has to be: checked before it is opened."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) or not 0 <= self.bytes <= LARGEST_FILE:
            raise ValueError(f"must have a sha256 in hexadecimal, and 0 .. {LARGEST_FILE} bytes")


@dataclass(frozen=True)
class Manifest:
    """The contents of bundle.json. `labels` names the values of the segmentation; `synthetic` is true when no real CT
    was used in training; `architecture` holds depth and first channels of each net.

    `outputs`: "logit", one channel, above 0 where the label is; "softmax", a channel for each label's number, 0 being
    the background; "sigmoid", a channel for each label, its number less one, above 0 where it is. `source` is where an
    imported model came from, `parity` how near its bundle is to it. `chosen` are the labels that are explained as one;
    whoever opens the bundle chooses them (`choosing`), and no file holds them.
    """

    name: str
    title: str
    synthetic: bool
    intended_use: str
    licence: str
    training_data: str
    recipe: Recipe | Preparation
    labels: dict[str, int]
    clean_up: CleanUp = field(default_factory=CleanUp)
    scope: Scope = field(default_factory=Scope)
    attribution: str = ""  # whose data the model was trained on, to be shown wherever the model is
    citation: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    engine_version: str = ""
    files: dict[str, FileEntry] = field(default_factory=dict)
    outputs: str = "logit"
    source: str = ""
    parity: dict[str, Any] = field(default_factory=dict)
    chosen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(self.labels, self.outputs)

    @property
    def organ(self) -> str:
        """What is explained: the label that was chosen, several joined by "+", or else the first."""
        return "+".join(self.chosen) or next(iter(self.labels))

    @property
    def number(self) -> int:
        """Of the organ in the segmentation."""
        return self.labels[self.chosen[0] if self.chosen else self.organ]

    def choosing(self, label: str) -> Manifest:
        """The same model, asked about a label by its name, or about several, joined by commas, as one.

        Without a name the only one there is. Raises Usage.
        """
        there = ", ".join(self.labels)
        if not label and len(self.labels) > 1:
            raise Usage("--label", f"is missing: the model knows {len(self.labels)} labels", f"choose from {there}")
        chosen = tuple(dict.fromkeys(name.strip() for name in label.split(","))) if label else ()
        for name in chosen:
            if name not in self.labels:
                what = "is no label of this model"
                raise Usage(f"--label {printable(name)[:60]}", what, f"choose from {there}")
        return replace(self, chosen=chosen)

    @property
    def noise_models(self) -> dict[str, str]:
        """Of NEAR and NOISE those that the bundle has a net for -> the file's name, without its suffix.

        In bundles made before `unoise-near.onnx` had a name of its own, the net that is told what was found is called
        `unoise.onnx`; its architecture names the side of its cells, or the label it was taught for.
        """
        there = {NEAR: UNOISE_NEAR, NOISE: UNOISE}
        told = self.architecture.get(UNOISE)
        if f"{UNOISE_NEAR}.onnx" not in self.files and isinstance(told, dict) and told.get("near", _was_near(told)):
            there = {NEAR: UNOISE}
        return {kind: stem for kind, stem in there.items() if f"{stem}.onnx" in self.files}

    @property
    def warning(self) -> str:
        """The sentence that stands in every report and on every picture."""
        origin = "Demonstration model trained on synthetic CT. " if self.synthetic else "Research model. "
        return origin + "Not for clinical use."

    def to_json(self) -> str:
        """The text of bundle.json, UTF-8 words unescaped."""
        body = {"schema_version": SCHEMA_VERSION, **asdict(self), "recipe": self.recipe.to_dict()}
        del body["chosen"]
        if isinstance(self.recipe, Preparation):
            body["schema_version"] = FOREIGN_VERSION
        else:
            for name in ("outputs", "source", "parity"):
                del body[name]
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _was_near(told: Mapping[str, Any]) -> bool:
    return "cell" in told or "for" in told


def check_labels(labels: dict[str, int], outputs: str) -> None:
    """Raises ValueError for names that tables, masks or DICOM cannot bear, numbers beyond a byte, unknown `outputs`."""
    if not labels:
        raise ValueError("labels must name at least one organ")
    for organ, label in labels.items():
        if not fit_for_organ(organ):
            what = f"a letter and up to {LONGEST_ORGAN - 1} printable ones, not {ascii(organ)[:60]}"
            raise ValueError(f"labels: an organ's name is {what}")
        if not 1 <= label <= 255:
            raise ValueError(f"labels: {organ} must be a number of 1 .. 255, not {str(label)[:20]}")
    if len(set(labels.values())) < len(labels):
        raise ValueError("labels: two have the same number")
    if outputs not in OUTPUTS:
        raise ValueError(f"outputs must be one of {', '.join(OUTPUTS)}")
    if outputs == "logit" and len(labels) > 1:
        raise ValueError(f"one channel of logits cannot tell {len(labels)} labels apart")


def read_manifest(folder: Path) -> Manifest:
    """Reads bundle.json without opening any other file.

    Raises Environment if there is no bundle, Integrity if the manifest is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise Environment(folder, f"is not a model bundle (no {MANIFEST} in it)", "give a bundle folder or its name")
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_MANIFEST:
            raise ValueError("a link, or too large")
        body = read_json(path.read_bytes(), LARGEST_MANIFEST)
        version = body.pop("schema_version")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Integrity(
            path, f"cannot be read as a bundle manifest ({printable(str(error))})", "get the bundle again"
        ) from None
    if type(version) is not int or version not in READABLE:
        raise Integrity(
            path,
            f"schema version {ascii(version)[:20]}, this engine reads {' and '.join(map(str, READABLE))}",
            "install the engine that belongs to the bundle, or export the bundle again",
        )
    try:
        manifest = build(Manifest, body)
        if (version == FOREIGN_VERSION) != isinstance(manifest.recipe, Preparation) or manifest.chosen:
            raise ValueError(f"is not of schema {version}")
        if version == 1 and GRADCAM_FILE not in manifest.files:
            raise ValueError(f"lists no {GRADCAM_FILE}")
        words: dict[str, Any] = {
            name: one_line(getattr(manifest, name), LONGEST_TEXTS.get(name, LONGEST))
            for name, kind in get_type_hints(Manifest).items()
            if kind is str
        }
        return replace(
            manifest,
            **words,
            metrics=plain(manifest.metrics),
            architecture=plain(manifest.architecture),
            parity=plain(manifest.parity),
        )
    except ValueError as error:
        raise Integrity(path, f"is not a valid bundle manifest ({error})", "get the bundle again") from None


def verify(folder: Path) -> Manifest:
    """Reads the manifest and hashes every file it names, before any of them is opened as a model.

    Raises Integrity naming the first file that is missing, altered, linked elsewhere, not in the manifest's folder, not
    listed, or of a kind or content that no bundle may have (content.py).
    """
    manifest = read_manifest(folder)
    if f"{UTILITY}.onnx" not in manifest.files:
        raise Integrity(folder / MANIFEST, f"lists no {UTILITY}.onnx", "get the bundle again")
    if len({f"{part}.onnx" in manifest.files for part in PARTS}) > 1:
        raise Integrity(folder / MANIFEST, f"lists one of {' and '.join(PARTS)} alone", "get the bundle again")
    for name, entry in manifest.files.items():
        path = folder / name
        if not re.fullmatch(FILE_NAME, name) or path.is_symlink():
            raise Integrity(
                folder, f"its file {ascii(name)[:60]} is a link, or points outside", "do not use this bundle"
            )
        if not path.is_file():
            raise Integrity(path, "is missing", "get the bundle again")
        size = path.stat().st_size
        if size != entry.bytes or size > LARGEST_FILE:
            raise Integrity(path, f"{size} bytes instead of {entry.bytes}", "get the bundle again")
        content = path.read_bytes()  # once: what is hashed is what is looked through
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise Integrity(path, "was altered (its sha256 is not the manifest's)", "get the bundle again")
        check_content(path, content)
    _refuse_unlisted(folder, manifest)
    return manifest


def _refuse_unlisted(folder: Path, manifest: Manifest) -> None:
    """What nobody vouches for must not lie beside what is trusted; texts may."""
    for path in sorted(folder.iterdir()):
        known = path.name in manifest.files or path.name in (MANIFEST, SIGNATURE, INVENTORY, *LITTER)
        if not known and not (path.suffix.lower() in (".txt", ".md") and path.is_file()):
            raise Integrity(path, "is in the bundle but not in its manifest", "do not use this bundle")


def model_hash(manifest: Manifest) -> str:
    """One hash for the whole model: of its recipe, its labels, its clean-up and its files' hashes."""
    files = {k: v.sha256 for k, v in sorted(manifest.files.items())}
    body: list[Any] = [manifest.recipe.to_dict(), manifest.labels, asdict(manifest.clean_up), files]
    if manifest.outputs != "logit":
        body.append(manifest.outputs)
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def write_bundle(out: Path, manifest: Manifest, files: dict[str, Path]) -> Manifest:
    """Copies `files` (name in the bundle -> source) and bundle.json into the new folder `out`, in one rename.

    Returns the manifest with sizes and hashes filled in. Raises Environment if `out` exists or cannot be written.
    """
    try:
        with new_folder(out, inventory=False) as partial:
            for name, source in files.items():
                copy(source, partial / name)
            complete = write_manifest(partial, manifest, files)
    except OSError as error:
        raise Environment(out, f"cannot be written ({error.strerror})", "choose another place") from None
    return complete


def write_manifest(folder: Path, manifest: Manifest, names: Iterable[str]) -> Manifest:
    """Adds bundle.json to a bundle's other files; returns the manifest with their sizes and hashes. Raises OSError."""
    entries = {name: FileEntry(sha256(folder / name), (folder / name).stat().st_size) for name in names}
    complete = Manifest(**{**manifest.__dict__, "files": entries})
    write(folder / MANIFEST, complete.to_json())
    return complete
