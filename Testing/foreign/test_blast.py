"""A net of somebody's own, by way of ONNX: BLAST-CT's DeepMedic (Monteiro et al., Lancet Digital Health 2020).

Its windows lose 40 voxels on each side, and it comes as code with weights, which no reader here knows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from Testing.foreign.monai_folder import prepared
from unoise_engine.foreign import importing
from unoise_engine.foreign.onnx_file import read_onnx
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest
from unoise_engine.volume.read import read_image

pytest.importorskip("blast_ct", reason="blast-ct is in the environment of `make test-foreign`")
WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "blast-ct" / "model_1.pt"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"BLAST-CT's weights are not at {WEIGHTS}")
SIDE, MARGIN = 110, 40
LOGITS = 1e-3  # as a share of their range
LABELS = ("iph", "eah", "oedema", "ivh")
torch.set_num_threads(1)

RECIPE = f"""
outputs = "softmax"
labels = {{ {", ".join(f"{name} = {number}" for number, name in enumerate(LABELS, 1))} }}

[model]
name = "blast-ct"
title = "Haemorrhage and oedema on head CT"
licence = "Apache-2.0"
citation = "Monteiro et al., Lancet Digital Health 2020"

[preparation]
axes = "kji"
spacing_mm = [1, 1, 1]
steps = [
    {{ do = "resample" }},
    {{ do = "clip", values = [-15, 100] }},
    {{ do = "scale", values = [-15, 100, -1, 1] }},
]
resampling = {{ rule = "first" }}

[preparation.window]
size = [{SIDE}, {SIDE}, {SIDE}]
margin = [{MARGIN}, {MARGIN}, {MARGIN}]
step = 1.0
places = "monai"
fill = -1
"""


class Logits(torch.nn.Module):
    """DeepMedic answers (logits, a table of more)."""

    def __init__(self) -> None:
        from blast_ct.models.deepmedic import DeepMedic

        super().__init__()
        self.net = DeepMedic(1, 5)
        self.net.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(x)[0]
        return logits


def head() -> sitk.Image:
    """A skull with brain and a bleeding in it, 30 x 60 x 50 mm, in noise."""
    z, y, x = np.mgrid[:20, :50, :55].astype(np.float32)
    z, y, x = (z - 10) / 13, (y - 25) / 22, (x - 27) / 24
    radius = np.sqrt(z**2 + y**2 + x**2)
    hu = np.where(radius < 0.9, 32.0, np.where(radius < 1, 900.0, -1000.0))
    hu[(z + 0.1) ** 2 * 30 + (y - 0.3) ** 2 * 30 + (x + 0.3) ** 2 * 30 < 1] = 70
    hu += np.random.default_rng(0).normal(0, 5, hu.shape)
    image = sitk.GetImageFromArray(hu.astype(np.float32))
    image.SetSpacing((0.9, 1.2, 1.5))
    return image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("blast")
    torch.onnx.export(
        Logits(), (torch.zeros(1, 1, SIDE, SIDE, SIDE),), folder / "net.onnx", dynamo=True, opset_version=18,
        external_data=False, verbose=False,
    )  # fmt: skip
    (folder / "recipe.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "try_out", lambda folder: None)  # forth and back through 110^3: minutes
        importing.import_model(read_onnx(folder / "net.onnx", folder / "recipe.toml"), folder / "bundle")
    return folder / "bundle"


def test_its_logits_are_those_of_its_own_code(bundle: Path, tmp_path: Path) -> None:
    """Stitched without overlap, they are what DeepMedic says of each window with its surroundings."""
    sitk.WriteImage(head(), str(tmp_path / "head.nii.gz"))
    given = prepared(read_image(tmp_path / "head.nii.gz"), read_manifest(bundle).recipe)
    image, net, core = given.image, Logits(), SIDE - 2 * MARGIN
    assert image.shape == (30, 60, 50)
    padded = np.pad(image, MARGIN, constant_values=-1)
    theirs = np.zeros((5, *image.shape), np.float32)
    for start in np.ndindex(*(-(-n // core) for n in image.shape)):
        at = [min(k * core, n - core) for k, n in zip(start, image.shape)]
        window = padded[tuple(slice(a, a + SIDE) for a in at)]
        with torch.no_grad():
            answer = net(torch.from_numpy(window[None, None].copy()))[0].numpy()
        theirs[(slice(None), *(slice(a, a + core) for a in at))] = answer
    for number, name in enumerate(LABELS, 1):
        model = load_bundle(bundle, threads=1, tried=True, label=name)
        found = given.as_planes(model.predict(given.items(slice(0, len(image)))))
        margin = theirs[number] - np.delete(theirs, number, 0).max(0)
        inside = overlaps_nowhere(image.shape, core)
        assert margin[inside].std() > 0.1
        assert np.abs(found - margin)[inside].max() / (theirs.max() - theirs.min()) < LOGITS


def overlaps_nowhere(shape: tuple[int, ...], core: int) -> tuple[slice, ...]:
    """Where one window alone answers; the last one of an axis is moved back over its neighbour."""
    return tuple(slice(0, n - core if n % core else n) for n in shape)
