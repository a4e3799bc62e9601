"""nnU-Net's networks, built from plans.json by a closed list of classes, and the mean of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn

from unoise_engine.errors import Integrity, Usage, printable

HOME = "dynamic_network_architectures.architectures"
NETWORKS = {
    f"{HOME}.unet.PlainConvUNet": PlainConvUNet,
    f"{HOME}.unet.ResidualEncoderUNet": ResidualEncoderUNet,
    f"{HOME}.residual_unet.ResidualEncoderUNet": ResidualEncoderUNet,  # where it was before
}
LAYERS = (
    nn.Conv2d, nn.Conv3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout2d,
    nn.Dropout3d, nn.LeakyReLU, nn.ReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish,
)  # fmt: skip
BY_NAME = {f"torch.nn.{one.__name__}": one for one in LAYERS} | {
    f"{one.__module__}.{one.__name__}": one for one in LAYERS
}
NAMED = ("conv_op", "norm_op", "dropout_op", "nonlin")  # arguments that are classes
MOST = 4096  # of channels, of layers, of anything: more is no net that anybody trained
UNIFORM = {"conv_bias": True, "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "nonlin_kwargs": {"inplace": True}}


class Mean(nn.Module):
    """The mean of several nets' logits, as nnU-Net joins its folds."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = sum(net(x) for net in self.nets)
        return total / len(self.nets)


def build(
    settings: Mapping[str, Any], trainer: str, channels: int, weights: Mapping[str, Tensor], path: Path
) -> nn.Module:
    """The net of a configuration with these weights, (n, 1, *patch) -> (n, channels, *patch), in evaluation mode.

    Raises Usage for an architecture that is not in the lists above, Integrity if the weights are another net's.
    """
    about = architecture(settings, path)
    name = about.get("network_class_name")
    if not isinstance(name, str) or name not in NETWORKS:
        what = f"its network is {printable(str(name))[:80]}, which is not one that can be imported"
        raise Usage(path, what, "only PlainConvUNet and ResidualEncoderUNet can")
    arguments = about.get("arch_kwargs")
    if not isinstance(arguments, dict) or not _small(arguments):
        raise Usage(path, "its 'arch_kwargs' describe no net that can be built", "get the folder again")
    dimensions = len(settings["patch_size"])
    if trainer == "nnUNetTrainerBN":  # the one trainer of nnunetv2's own that changes the layers
        norm = f"torch.nn.BatchNorm{dimensions}d"
        arguments = {**arguments, "norm_op": norm, "norm_op_kwargs": UNIFORM["norm_op_kwargs"]}
    arguments = {key: _layer(value, path) if key in NAMED and value else value for key, value in arguments.items()}
    if arguments.get("conv_op") is not (nn.Conv2d, nn.Conv3d)[dimensions - 2]:
        raise Usage(path, f"its net does not take windows of {dimensions} dimensions", "get the folder again")
    try:
        with torch.device("meta"):  # nothing is allocated for what the file claims
            net = NETWORKS[name](1, num_classes=channels, **{**arguments, "deep_supervision": False})
    except Exception as error:  # whatever a wrong argument leads to
        what = f"its net cannot be built ({type(error).__name__}: {printable(str(error))[:100]})"
        raise Usage(path, what, "get the folder again") from None
    try:
        net.load_state_dict({name: values.float() for name, values in weights.items()}, strict=True, assign=True)
    except RuntimeError as error:
        first = printable(str(error).splitlines()[-1].strip())[:120]
        what = f"its weights are not of the net that plans.json describes ({first})"
        cure = f"give the plans.json of this training; {printable(trainer)[:60]} may build a net of its own"
        raise Integrity(path, what, cure) from None
    return net.eval().requires_grad_(False)


def architecture(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`architecture` of a configuration; that of plans before nnunetv2 2.2 is put together from what they say.

    Raises Usage if there is neither.
    """
    found = settings.get("architecture")
    if isinstance(found, dict):
        return found
    kind = settings.get("UNet_class_name")
    blocks = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
    try:
        stages, dimensions = len(settings["n_conv_per_stage_encoder"]), len(settings["patch_size"])
        first, most = int(settings["UNet_base_num_features"]), int(settings["unet_max_num_features"])
        arguments = {
            "n_stages": stages,
            "features_per_stage": [min(first * 2**k, most) for k in range(min(stages, 32))],
            "kernel_sizes": settings["conv_kernel_sizes"],
            "strides": settings["pool_op_kernel_sizes"],
            blocks[str(kind)]: settings["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
            "conv_op": f"torch.nn.Conv{dimensions}d",
            "norm_op": f"torch.nn.InstanceNorm{dimensions}d",
            "nonlin": "torch.nn.LeakyReLU",
            **UNIFORM,
        }
    except (KeyError, TypeError, ValueError):
        what = f"describes no architecture that is known ({ascii(kind)[:60]})"
        raise Usage(path, what, "write the plans again with a newer nnU-Net (nnUNetv2_plan_experiment)") from None
    return {"network_class_name": f"{HOME}.unet.{kind}", "arch_kwargs": arguments}


def _layer(name: Any, path: Path) -> type[nn.Module]:
    if not isinstance(name, str) or name not in BY_NAME:
        what = f"its net has layers of {printable(str(name))[:80]}, which is not a layer that can be imported"
        raise Usage(path, what, f"only {', '.join(one.__name__ for one in LAYERS)} can")
    return BY_NAME[name]


def _small(value: Any) -> bool:
    """Whether no number and no list in a table is larger than any net's."""
    if isinstance(value, dict):
        return len(value) <= MOST and all(_small(one) for one in value.values())
    if isinstance(value, list):
        return len(value) <= 64 and all(_small(one) for one in value)
    return not isinstance(value, int | float) or abs(value) <= MOST
