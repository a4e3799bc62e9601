"""Time and memory of an imported nnU-Net beside nnunetv2's own predictor, and of Grad-CAM beside nnunetv2-cam (PyPI).

    python -m Testing.foreign.speed RESULTS [--size 192] [--slices 64] [--label NAME] [--repeats 3]

RESULTS is one training's folder, TRAINER__PLANS__CONFIGURATION. Each program runs in a process of its own, on one
thread, from the same phantom's file to labels or map on its grid, in turn; what is told is the least of the repeats:
seconds of the processor from opening the model to the result, without imports, and the process's peak memory, with
them. nnunetv2-cam is left out, and said so, where it cannot be imported; it needs grad-cam, OpenCV and torchvision.

nnunetv2-cam does not do quite the same: it sums all classes' logits where the label is found, not the label's margin
alone, and looks at all windows, not at those alone that show the label.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def ours(results: Path, bundle: Path, ct: Path, label: str) -> None:
    from unoise_engine.explanation.segment import segment
    from unoise_engine.models.bundles import load_bundle
    from unoise_engine.models.given import given_of
    from unoise_engine.volume.read import read_image
    from unoise_engine.volume.write import write_volume

    model = load_bundle(bundle, "cpu", threads=1, tried=True, label=label)
    found = segment(model, given_of(read_image(ct), model.recipe), model.manifest.clean_up)
    write_volume(found.mask(model.manifest.number).volume(), ct.with_name("ours.nii.gz"), True)


def theirs(results: Path, bundle: Path, ct: Path, label: str) -> None:
    from Testing.foreign.test_nnunet_grid import predicted

    predicted(results, ct)


def our_map(results: Path, bundle: Path, ct: Path, label: str) -> None:
    from unoise_engine import explain, load_bundle

    found = explain(ct, ("gradcam",), load_bundle(bundle, "cpu", threads=1, tried=True, label=label))
    if not found.segmentation.any():
        sys.exit(f"the net finds no {label}, so that there is nothing to explain")


def their_map(results: Path, bundle: Path, ct: Path, label: str) -> None:
    import torch
    from nnunetv2_cam.api import run_cam_for_prediction

    from Testing.foreign.test_nnunet_grid import own_predictor

    predictor = own_predictor(results)
    stages = len(predictor.network.encoder.stages)
    number = json.loads((results / "dataset.json").read_text())["labels"][label]
    run_cam_for_prediction(
        predictor, str(ct), str(ct.parent), f"encoder.stages.{stages - 1}", number, device=torch.device("cpu"),
        cam_type="2d" if len(predictor.configuration_manager.patch_size) == 2 else "3d", save_slices=False,
    )  # fmt: skip


PROGRAMS: dict[str, Callable[[Path, Path, Path, str], None]] = {
    "ours": ours,
    "nnunetv2": theirs,
    "ours, Grad-CAM": our_map,
    "nnunetv2-cam": their_map,
}
NEEDS = {"nnunetv2": "nnunetv2.inference.predict_from_raw_data", "nnunetv2-cam": "nnunetv2_cam.api"}


def child(name: str, words: list[str]) -> None:
    """Runs one program, and prints {"seconds", "peak"} as JSON in the last line."""
    import importlib

    import unoise_engine.explanation.pipeline  # noqa: F401 - imports do not count

    if name in NEEDS:
        importlib.import_module(NEEDS[name])
        importlib.import_module("torch").set_num_threads(1)
    results, bundle, ct, label = words
    began = time.process_time()
    PROGRAMS[name](Path(results), Path(bundle), Path(ct), label)
    seconds = time.process_time() - began
    # Not getrusage, whose peak is also that of the process that started this one.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--label", default="target")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        ct, bundle = prepared(chosen, Path(home))
        words = [str(chosen.results), str(bundle), str(ct), chosen.label]
        told = {name: [asked(name, words) for _ in range(chosen.repeats)] for name in PROGRAMS}
    print("| program | cpu-s | peak MiB |\n| --- | ---: | ---: |")
    for name, runs in told.items():
        if isinstance(runs[0], str):
            print(f"| {name} | {runs[0]} | |")
            continue
        least = [min(run[what] for run in runs if isinstance(run, dict)) for what in ("seconds", "peak")]
        print(f"| {name} | {least[0]:.2f} | {least[1]:.0f} |")


def prepared(chosen: argparse.Namespace, home: Path) -> tuple[Path, Path]:
    """The CT as nnU-Net names it, and the bundle."""
    from unoise_engine.foreign.importing import import_model
    from unoise_engine.foreign.nnunet import read_nnunet
    from unoise_engine.lab.phantom.write import write_phantoms

    (made,) = write_phantoms(home / "phantom", 1, chosen.seed, chosen.size, chosen.slices, 1, planted=True)
    ct = home / "ct_0000.nii.gz"
    made.rename(ct)
    import_model(read_nnunet(chosen.results), home / "bundle", licence="Apache-2.0")
    return ct, home / "bundle"


def asked(name: str, words: list[str]) -> dict[str, float] | str:
    """What the child tells, or why it cannot run."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "Testing.foreign.speed", "--child", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        return f"cannot be run: {done.stderr.strip().splitlines()[-1][:120]}"
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
