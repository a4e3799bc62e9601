"""Trains small nets with nnunetv2 itself, 2d and 3d, on planted phantoms, whose target is there because of a landmark.

    make train-nnunet            (or: python -m Testing.foreign.train_nnunet OUT [--only 2d] [--steps 400] [--seed 1])

OUT gets what nnU-Net writes: nnUNet_raw, nnUNet_preprocessed, nnUNet_results. One thread; about a second a step in 3d.
Without --steps as many as the nets of docs/results-imported.md had.
Data, planner, preprocessing, trainer and checkpoint are nnunetv2's own, but for the size of the nets and of an epoch.
Its usual trainer finds no target within 350 steps; so it is the one without augmentation, with nnunetv2's AdamW, and
every patch shows some label.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
from pathlib import Path
from types import MethodType
from typing import Any

DATASET, NUMBER = "Dataset902_Planted", 902
LABELS = {"background": 0, "target": 1, "landmark": 2, "decoy": 3, "decoy_landmark": 4}
EPOCH = 50  # steps
STEPS = {"2d": (1000, 800), "3d_fullres": (350, 350)}  # over which the rate falls; after how many it is stopped
RATE = 3e-3
PATCHES = {"2d": [64, 64], "3d_fullres": [8, 48, 48]}
FEATURES = [8, 16, 32, 64]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--only", choices=["2d", "3d"], default=None)
    chosen = parser.parse_args()
    prepare(chosen.out, chosen.cases)
    for config in PATCHES:
        if chosen.only in (None, config[:2]):
            steps, stop = (chosen.steps, chosen.steps) if chosen.steps else STEPS[config]
            train(config, steps, stop, chosen.seed)


def prepare(out: Path, cases: int) -> None:
    """Phantoms where nnU-Net looks for them, planned and preprocessed."""
    from unoise_engine.lab.phantom.write import write_phantoms

    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(out.absolute() / name)
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "f", "nnUNet_def_n_proc": "1"}
    raw, phantoms = out / "nnUNet_raw" / DATASET, out / "phantoms"
    for folder in (raw / "imagesTr", raw / "labelsTr", phantoms):
        folder.mkdir(parents=True)
    write_phantoms(phantoms, cases, 0, 96, 24, 1, planted=True)
    for ct in sorted(phantoms.glob("*-ct.nii.gz")):
        name = ct.name.removesuffix("-ct.nii.gz")
        shutil.copy(ct, raw / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(phantoms / f"{name}-labels.nii.gz", raw / "labelsTr" / f"{name}.nii.gz")
    about = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": cases, "file_ending": ".nii.gz"}
    about |= {"licence": "Apache-2.0", "description": "planted phantoms"}
    (raw / "dataset.json").write_text(json.dumps(about))

    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, preprocess
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset as plan

    extract_fingerprint_dataset(NUMBER, num_processes=1, show_progress_bar=False)
    plan(NUMBER)
    file = out / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    for config, patch in PATCHES.items():
        shrink(plans["configurations"][config], patch)
    file.write_text(json.dumps(plans))
    preprocess([NUMBER], configurations=tuple(PATCHES), num_processes=(1,) * len(PATCHES))


def shrink(settings: dict[str, Any], patch: list[int]) -> None:
    """A net of a few hundred thousand parameters instead of tens of millions."""
    rank, stages = len(patch), len(FEATURES)
    settings |= {"patch_size": patch, "batch_size": 8 if rank == 2 else 2}
    settings["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": FEATURES,
        "kernel_sizes": [[3] * rank] * stages,
        "strides": [[1] * rank, *([[2] * rank] * (stages - 2)), [1, 2, 2][-rank:]],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }


class Stopped(Exception):
    """Where the nets of the results were stopped: nnU-Net then leaves its best checkpoint, and no final one."""


def train(config: str, steps: int, stop: int, seed: int) -> None:
    """All cases, as nnU-Net's fold `all`."""
    import numpy as np
    import torch
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA
    from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam

    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112 - batches are made in this process; the planner wants one at least
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - nnunetv2 draws its patches by it
    random.seed(seed)
    home = Path(os.environ["nnUNet_preprocessed"]) / DATASET  # noqa: SIM112
    plans, about = (json.loads((home / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainerNoDA(plans, config, "all", about, device=torch.device("cpu"))
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = min(EPOCH, steps), 1
    trainer.num_epochs = -(-steps // EPOCH)
    trainer.configure_optimizers = MethodType(nnUNetTrainerAdam.configure_optimizers, trainer)
    trainer.initial_lr, trainer.oversample_foreground_percent = RATE, 1.0

    def on_epoch_end(self: Any) -> None:
        nnUNetTrainerNoDA.on_epoch_end(self)
        if stop < steps and self.current_epoch * EPOCH >= stop:
            raise Stopped

    trainer.on_epoch_end = MethodType(on_epoch_end, trainer)
    with contextlib.suppress(Stopped):
        trainer.run_training()


if __name__ == "__main__":
    main()
