"""Trains small MONAI nets by plain torch, 2-D and 3-D, on planted phantoms, and saves them as MONAI bundles.

    python -m Testing.foreign.train_monai OUT PHANTOMS [--steps 600] [--only 2d]

PHANTOMS are those that nnunetv2 learnt from (Testing.foreign.train_nnunet writes them). OUT gets monai-2d, monai-3d.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from Testing.foreign.monai_folder import made
from Testing.foreign.train_nnunet import LABELS

WINDOWS = {"2d": [64, 64], "3d": [64, 64, 16]}  # x, y, z
NET = {"channels": [16, 32, 64], "strides": [2, 2], "num_res_units": 2, "norm": "instance"}
CT = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -60, "a_max": 260, "b_min": -1, "b_max": 1}
    | {"clip": True},
]
ENDING = [
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
    | {"nearest_interp": False},
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("phantoms", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", choices=[*WINDOWS], default=None)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    for kind in WINDOWS:
        if chosen.only in (None, kind):
            train(chosen.out, chosen.phantoms, kind, chosen.steps)


def train(out: Path, phantoms: Path, kind: str, steps: int, seed: int = 0) -> Path:
    """The bundle `out`/monai-2d or monai-3d."""
    from monai.networks.nets import UNet

    torch.manual_seed(seed)
    rank = len(WINDOWS[kind])
    net = UNet(rank, 1, len(LABELS), **NET)
    learn(net, [pair(ct) for ct in sorted(phantoms.glob("*-ct.nii.gz"))], WINDOWS[kind], steps)
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": WINDOWS[kind], "sw_batch_size": 2, "overlap": 0.5}
    inferer |= {"mode": "gaussian"} | ({"_target_": "SliceInferer", "spatial_dim": 2} if rank == 2 else {})
    names = {str(number): name for name, number in LABELS.items()}
    given: dict[str, Any] = {"transforms": CT, "inferer": inferer, "ending": ENDING, "labels": names}
    return made(out / f"monai-{kind}", "UNet", rank=rank, arguments=NET, weights=net.state_dict(), **given)


def pair(ct: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """As the bundle prepares it: image (x, y, z) float32, labels (x, y, z) int64."""
    from monai.bundle import ConfigParser

    labels = ct.with_name(ct.name.replace("-ct.", "-labels."))
    image, truth = (
        ConfigParser({"line": {"_target_": "Compose", "transforms": line}})
        .get_parsed_content("line")({"image": str(path)})["image"]
        .as_tensor()[0]
        for path, line in ((ct, CT), (labels, CT[:3]))
    )
    return image, truth.long()


def learn(net: Any, pairs: list[tuple[torch.Tensor, torch.Tensor]], window: list[int], steps: int) -> None:
    """Windows around a voxel of a label drawn at random, flipped at random."""
    from monai.losses import DiceCELoss

    wrong = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    adam = torch.optim.AdamW(net.train().parameters(), 3e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for step in range(1, steps + 1):
        drawn = [crop(*pairs[int(torch.randint(len(pairs), ()))], window) for _ in range(8 if len(window) == 2 else 2)]
        x, y = (torch.stack(column)[:, None] for column in zip(*drawn))
        loss = wrong(net(x), y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        slower.step()
        if not step % 50:
            print(f"step {step}, loss {float(loss.detach()):.3f}", flush=True)
    net.eval()


def crop(image: torch.Tensor, labels: torch.Tensor, window: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A window of the image and of its labels, (*window)."""
    places = torch.nonzero(labels == int(torch.randint(1, len(LABELS), ())))
    middle = places[int(torch.randint(len(places), ()))] if len(places) else torch.tensor(labels.shape) // 2
    wide = [*window, *[1] * (3 - len(window))]
    box = []
    for at, n, most in zip(middle.tolist(), wide, labels.shape):
        first = at - n // 2 + int(torch.randint(-(n // 4), n // 4 + 1, ()))
        first = max(0, min(first, most - n))
        box.append(slice(first, first + n))
    axes = [axis for axis in range(len(window)) if torch.rand(()) < 0.5]
    x, y = (values[tuple(box)].reshape(window).flip(axes) for values in (image, labels))
    return x, y


if __name__ == "__main__":
    main()
