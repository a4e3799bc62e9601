"""MONAI bundles made by MONAI's own tools, with small nets of seeded weights, and what MONAI makes of an image."""

import json
from pathlib import Path
from typing import Any

import torch

from unoise_engine.models.preparation import Preparation
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.volume import Volume

LABELS = {"0": "background", "1": "liver", "2": "pancreas"}
NETS: dict[str, dict[str, Any]] = {
    "UNet": {"channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1, "norm": "batch"},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "DynUNet": {
        "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16],
    },
    "BasicUNet": {"features": [4, 4, 8, 8, 8, 4]},
    "SegResNetDS": {"init_filters": 8, "blocks_down": [1, 1, 1], "dsdepth": 2},
    "AttentionUnet": {"channels": [4, 8, 16], "strides": [2, 2]},
    "VNet": {},
    "UNETR": {"img_size": [32, 32, 32], "feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2},
}  # fmt: skip
CT = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [3.0, 3.5, 4.0], "mode": "bilinear"},
    {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": -160,
        "a_max": 240,
        "b_min": 0,
        "b_max": 1,
        "clip": True,
    },
]
WINDOW = {
    "_target_": "SlidingWindowInferer",
    "roi_size": [32, 32, 32],
    "sw_batch_size": 2,
    "overlap": 0.5,
    "mode": "gaussian",
}
SOFTMAX = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": False,
    },
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
]
NEAREST = [SOFTMAX[0], {**SOFTMAX[1], "nearest_interp": True}, SOFTMAX[2]]
SIGMOID = [
    {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": True,
    },
    {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
]


def made(
    folder: Path,
    net: str = "UNet",
    *,
    transforms: Any = CT,
    inferer: Any = WINDOW,
    ending: Any = SOFTMAX,
    rank: int = 3,
    arguments: Any = None,
    seed: int = 0,
    script: bool = False,
    taught: Any = None,
    labels: dict[str, str] = LABELS,
    weights: Any = None,
) -> Path:
    """A bundle by `init_bundle` with model.pt, and model.ts by `ckpt_export` if `script`. Its weights are given, or
    drawn with the seed."""
    from monai.bundle import ckpt_export, init_bundle
    from monai.networks import nets

    definition = {"_target_": net, "spatial_dims": rank, "in_channels": 1, "out_channels": len(labels)}
    definition |= NETS[net] if arguments is None else arguments
    torch.manual_seed(seed)
    module = getattr(nets, net)(**{key: value for key, value in definition.items() if key != "_target_"}).eval()
    if weights is not None:
        module.load_state_dict(weights)
    if taught is not None:
        teach(module, *taught)
    init_bundle(str(folder))
    configs = folder / "configs"
    for path in configs.iterdir():
        if path.stem in ("inference", "train"):
            path.unlink()
    (folder / "models").mkdir(exist_ok=True)
    torch.save(module.state_dict(), folder / "models" / "model.pt")
    inference = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network_def": definition,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": inferer,
        "postprocessing": {"_target_": "Compose", "transforms": ending},
    }
    (configs / "inference.json").write_text(json.dumps(inference, indent=1))
    metadata = json.loads((configs / "metadata.json").read_text())
    shape = {"num_channels": 1, "spatial_shape": [32] * rank, "dtype": "float32", "value_range": [0, 1]}
    metadata["network_data_format"] = {
        "inputs": {"image": {"type": "image", "format": "hounsfield", "modality": "CT", **shape}},
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                **shape,
                "num_channels": len(labels),
                "channel_def": labels,
            }
        },
    }
    (configs / "metadata.json").write_text(json.dumps(metadata, indent=1))
    if script:
        ckpt_export(
            net_id="network_def", filepath=str(folder / "models" / "model.ts"), key_in_ckpt="",
            ckpt_file=str(folder / "models" / "model.pt"), meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "inference.json"),
        )  # fmt: skip
    return folder


def teach(module: Any, image: torch.Tensor, labels: torch.Tensor, steps: int = 300) -> None:
    """A few seconds of learning to tell three labels apart in an image (*s), both tensors of one shape."""
    optimiser = torch.optim.Adam(module.train().parameters(), 1e-2)
    for step in range(steps):
        found = torch.nonzero(labels == step % 3)
        at = [min(max(0, int(k) - 16), n - 32) for k, n in zip(found[int(torch.randint(len(found), ()))], image.shape)]
        window = tuple(slice(k, k + 32) for k in at)
        loss = torch.nn.functional.cross_entropy(module(image[window][None, None]), labels[window][None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval()


def asked_of_monai(folder: Path, file: Path, until: str = "preprocessing") -> torch.Tensor:
    """By ConfigParser: the image (1, *s) that preprocessing makes, the inferer's logits (k, *s) or, of postprocessing,
    labels (1, x, y, z) on the file's own voxels, of sigmoids (k, x, y, z)."""
    from monai.bundle import ConfigParser
    from monai.data import decollate_batch

    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    data = parser.get_parsed_content("preprocessing")({"image": str(file)})
    if until == "preprocessing":
        return data["image"].as_tensor()
    net = parser.get_parsed_content("network_def")
    net.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    with torch.no_grad():
        found = parser.get_parsed_content("inferer")(data["image"][None], net.eval())
    data["pred"] = decollate_batch(found)[0]
    if until == "postprocessing":
        data = parser.get_parsed_content("postprocessing")(data)
    return data["pred"].as_tensor()


def prepared(ct: Volume, recipe: Recipe | Preparation) -> Prepared:
    assert isinstance(recipe, Preparation)
    return Prepared.of(ct, recipe)
