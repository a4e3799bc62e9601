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
from unoise_engine.evaluate.overlap import dice
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.pipeline import explain_volume
from unoise_engine.explanation.settings import Settings
from unoise_engine.foreign import importing
from unoise_engine.foreign.onnx_file import read_onnx
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import Grid, Volume

pytest.importorskip("blast_ct", reason="blast-ct is in the environment of `make test-foreign`")
WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "blast-ct" / "model_1.pt"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"BLAST-CT's weights are not at {WEIGHTS}")
SIDE, MARGIN = 110, 40
LOGITS = 1e-3  # as a share of their range
LABELS = ("iph", "eah", "oedema", "ivh")
torch.set_num_threads(1)

RECIPE = """
outputs = "softmax"
labels = { LABELS }

[model]
name = "blast-ct"
title = "Haemorrhage and oedema on head CT"
licence = "Apache-2.0"
citation = "Monteiro et al., Lancet Digital Health 2020"

[preparation]
axes = "kji"
spacing_mm = [1, 1, 1]
steps = [
    { do = "resample" },
    { do = "clip", values = [-15, 100] },
    { do = "scale", values = [-15, 100, -1, 1] },
]
resampling = { rule = "first" }

[preparation.window]
size = [SIDE, SIDE, SIDE]
margin = [40, 40, 40]
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
def net(tmp_path_factory: Any) -> Path:
    """It takes windows of any side that its three scales fit into: 110, 125, 140."""
    path: Path = tmp_path_factory.mktemp("blast") / "net.onnx"
    sides = {axis: torch.export.Dim.AUTO for axis in (2, 3, 4)}
    torch.onnx.export(
        Logits(), (torch.zeros(1, 1, SIDE, SIDE, SIDE),), path, dynamo=True, opset_version=18, external_data=False,
        verbose=False, dynamic_shapes=(sides,),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def bundle(net: Path) -> Path:
    return imported(net, SIDE)


def imported(net: Path, side: int) -> Path:
    """The bundle whose windows have that side."""
    out, labels = net.parent / f"bundle-{side}", ", ".join(f"{name} = {k}" for k, name in enumerate(LABELS, 1))
    recipe = net.parent / f"recipe-{side}.toml"
    recipe.write_text(RECIPE.replace("SIDE", str(side)).replace("LABELS", labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "try_out", lambda folder: None)  # forth and back through 110^3: minutes
        importing.import_model(read_onnx(net, recipe), out)
    return out


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


HEAD, LESION_MM, RADIUS_MM = 60, (0.0, 0.0, 15.0), 6.0  # mm, from the middle: z, y, x


def places() -> dict[str, np.ndarray]:
    """Of a phantom head of 1 mm voxels: where the lesion is, and what it may be mistaken for."""
    z, y, x = np.mgrid[:HEAD, :HEAD, :HEAD] - (HEAD - 1) / 2

    def ball(side: int) -> np.ndarray:
        dz, dy, dx = LESION_MM
        inside: np.ndarray = (z - dz) ** 2 + (y - dy) ** 2 + (x - side * dx) ** 2 < RADIUS_MM**2
        return inside

    radius = np.sqrt(z**2 + y**2 + x**2)
    ventricles = [(z / 6) ** 2 + (y / 11) ** 2 + ((x - side * 4) / 3) ** 2 < 1 for side in (-1, 1)]
    return {
        "lesion": ball(1), "mirror place": ball(-1), "ventricles": ventricles[0] | ventricles[1],
        "skull": (radius > 26) & (radius < 29), "brain": radius <= 26,
    }  # fmt: skip


def phantom_head(bleeds: bool) -> Volume:
    """A shell of bone, brain of 35 HU, ventricles of 8, and a fresh bleeding of 70 or none, in noise."""
    there = places()
    hu = np.full((HEAD, HEAD, HEAD), -1000.0)
    for name, value in {"skull": 900, "brain": 35, "ventricles": 8, "lesion": 70 if bleeds else 35}.items():
        hu[there[name]] = value
    hu += np.random.default_rng(0).normal(0, 4, hu.shape)
    upright = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return Volume(hu.astype(np.float32), Grid((HEAD,) * 3, (1.0,) * 3, (0.0,) * 3, upright))


@pytest.fixture(scope="module")
def whole_heads(net: Path) -> Path:
    """The bundle whose one window answers for a head."""
    return imported(net, HEAD + 2 * MARGIN)


def explained(bundle: Path, bleeds: bool) -> tuple[np.ndarray, dict[str, float]]:
    """The bleeding that BLAST-CT finds, and what is lost of it, in the mean, where each place is hidden."""
    model = load_bundle(bundle, threads=1, tried=True, label="iph")
    settings = Settings(("occlusion",), parameters={"occlusion": Occlusion(patch=20, stride=20)})
    found = {name: result.volume().voxels for name, result in explain_volume(phantom_head(bleeds), model, settings)}
    lost = {name: float(found["importance-occlusion"][mask].mean()) for name, mask in places().items()}
    return found["segmentation"] > 0, lost


def test_occlusion_finds_a_planted_lesion(whole_heads: Path) -> None:
    lesion = places()["lesion"]
    segmented, lost = explained(whole_heads, bleeds=True)
    assert dice(segmented, lesion) > 0.7, "there is nothing to explain"
    assert lost["lesion"] > 0.5
    for decoy in ("mirror place", "ventricles", "skull", "brain"):
        assert lost["lesion"] > lost[decoy] + 0.2, (decoy, lost)


def test_without_the_lesion_nothing_is_found_there(whole_heads: Path) -> None:
    segmented, lost = explained(whole_heads, bleeds=False)
    assert not segmented.any() and not any(lost.values())
