"""A results folder as nnU-Net v2 writes it, of a net with few weights, drawn at random."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

HOME = "dynamic_network_architectures.architectures.unet"
NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"
LABELS = {"background": 0, "liver": 1, "pancreas": 2}
KWARGS = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}


def architecture(rank: int, kind: str = "PlainConvUNet") -> dict[str, Any]:
    per_stage = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
    return {
        "network_class_name": f"{HOME}.{kind}",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
            "kernel_sizes": [[3] * rank] * 3,
            "strides": [[1] * rank, [2] * rank, [2] * rank],
            per_stage: [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans() -> dict[str, Any]:
    """With 2d, 3d_fullres, 3d_small, which inherits, and a cascade."""

    def one(patch: list[int], spacing: list[float]) -> dict[str, Any]:
        return {
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": patch,
            "spacing": spacing,
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": KWARGS,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {**KWARGS, "order": 1},
            "architecture": architecture(len(patch)),
        }

    made: dict[str, Any] = {
        "dataset_name": "Dataset901_Small",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 80.5, "std": 40.25, "percentile_00_5": -50.0, "percentile_99_5": 250.0}
        },
        "configurations": {
            "2d": one([24, 16], [1.5, 1.5]),
            "3d_fullres": one([8, 16, 12], [3.0, 1.5, 1.5]),
            "3d_small": {"inherits_from": "3d_fullres", "patch_size": [8, 8, 8]},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }
    return copy.deepcopy(made)


def dataset(labels: dict[str, Any] = LABELS, **more: Any) -> dict[str, Any]:
    made = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 6, "file_ending": ".nii.gz", **more}
    return copy.deepcopy(made)


def net(settings: dict[str, Any], channels: int, seed: int, deep: bool = True) -> torch.nn.Module:
    """As nnU-Net builds it from its plans; by hand, without the importer's tables."""
    about = settings["architecture"]
    given = dict(about["arch_kwargs"])
    for key in ("conv_op", "norm_op", "nonlin"):
        given[key] = getattr(torch.nn, given[key].rpartition(".")[2])
    kind = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}
    torch.manual_seed(seed)
    built = kind[about["network_class_name"].rpartition(".")[2]](
        1, num_classes=channels, deep_supervision=deep, **given
    )
    for values in built.parameters():  # biases and affine weights too, so that one left out is seen
        torch.nn.init.normal_(values, std=0.2)
    return built.eval()


def write_folder(
    home: Path,
    config: str = "3d_fullres",
    folds: tuple[str, ...] = ("0",),
    change: Callable[[dict[str, Any]], Any] = lambda plans: None,
    about: dict[str, Any] | None = None,
    trainer: str = "nnUNetTrainer",
    **entries: Any,
) -> Path:
    """Returns the folder. `change` alters the plans, `entries` the checkpoints. A fold's seed is its number."""
    folder = home / "Dataset901_Small" / f"{trainer}__nnUNetPlans__{config}"
    folder.mkdir(parents=True)
    made, about = plans(), about or dataset()
    change(made)
    (folder / "plans.json").write_text(json.dumps(made))
    (folder / "dataset.json").write_text(json.dumps(about))
    settings = resolved(made, config)
    regions = any(isinstance(value, list) for value in about["labels"].values())
    heads = len(about["labels"]) - regions
    for fold in folds:
        (folder / f"fold_{fold}").mkdir()
        weights = net(settings, heads, int(fold) if fold.isdigit() else 99).state_dict()
        content = {
            "network_weights": weights,
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
            "_best_ema": np.float32(0.5),
            "current_epoch": 1000,
            "init_args": {"plans": made, "configuration": config, "fold": 0, "device": torch.device("cpu")},
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": (0, 1, 2),
            **entries,
        }
        torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def resolved(made: dict[str, Any], config: str) -> dict[str, Any]:
    own = made["configurations"][config]
    return {**made["configurations"].get(own.get("inherits_from"), {}), **own}
