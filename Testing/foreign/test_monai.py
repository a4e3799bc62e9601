"""MONAI bundles, imported, against MONAI's own ConfigParser, transforms, inferers and postprocessing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from Testing.foreign.monai_folder import CT, NEAREST, NETS, SIGMOID, WINDOW, asked_of_monai, made, prepared
from unoise_engine.errors import Usage
from unoise_engine.explanation.segment import segment
from unoise_engine.foreign.importing import import_model
from unoise_engine.foreign.monai_bundle import read_monai
from unoise_engine.foreign.monai_config import Config
from unoise_engine.foreign.monai_pipeline import read_preparation
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest
from unoise_engine.volume.read import read_image

pytest.importorskip("monai", reason="MONAI is in the environment of `make test-foreign`")
LEAST_AGREEMENT = 0.999
LEAST_BETWEEN = 0.999  # where MONAI interpolates probabilities on the way back
SAME = 1e-5  # of values in 0 .. 1, or of deviation 1
LOGITS = 1e-3
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ct(tmp_path_factory: Any) -> sitk.Image:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(folder, 1, 5, 128, 32, 1)
    return sitk.ReadImage(str(next(folder.glob("*-ct.nii.gz"))))


@pytest.fixture
def file(ct: sitk.Image, tmp_path: Path) -> Callable[[str], Path]:
    def write(axes: str) -> Path:
        sitk.WriteImage(sitk.DICOMOrient(ct, axes), str(tmp_path / "ct.nii.gz"))
        return tmp_path / "ct.nii.gz"

    return write


def of(transform: str, **given: Any) -> dict[str, Any]:
    return {"_target_": transform, "keys": "image", **given}


LOADING = CT[:3]
LINES = {
    "usual": CT,
    "coarse": [*LOADING, of("Spacingd", pixdim=[7, 7.5, 11])],
    "fine": [*LOADING, of("Spacingd", pixdim=[2.1, 1.7, 2.5])],
    "nearest": [*LOADING, of("Spacingd", pixdim=[3.7, 3.3, 4.9], mode="nearest")],
    "corners": [*LOADING, of("Spacingd", pixdim=4, align_corners=True)],
    "one axis": [*LOADING, of("Spacingd", pixdim=[-1, -1, 3])],
    "hardly": [*LOADING, of("Spacingd", pixdim=[2.896, 2.897, 4.45])],
    "within tolerance": [*LOADING, of("Spacingd", pixdim=[2.9035, 2.9035, 4.5105])],
    "as stored": [*CT[:2], of("Spacingd", pixdim=[4, 3, 5])],
    "other way": [*CT[:2], of("Orientationd", axcodes="PIL"), of("Spacingd", pixdim=[4, 3, 5])],
    "canonical": [*CT[:2], of("Orientationd", as_closest_canonical=True)],
    "loaded at once": [of("LoadImaged", reader="NibabelReader", ensure_channel_first=True), CT[2]],
    "z-score": [*LOADING, of("NormalizeIntensityd")],
    "of what is there": [
        *LOADING, of("ThresholdIntensityd", threshold=0, cval=0), of("NormalizeIntensityd", nonzero=True),
    ],
    "by numbers": [*LOADING, of("NormalizeIntensityd", subtrahend=40.5, divisor=120)],
    "range": [*LOADING, of("ScaleIntensityd", minv=-1, maxv=1)],
    "unclipped": [*LOADING, of("ScaleIntensityRanged", a_min=-100, a_max=200)],
    "percentiles": [*LOADING, of("ScaleIntensityRangePercentilesd", lower=2, upper=98, b_min=0, b_max=1, clip=True)],
    "foreground": [*CT, of("CropForegroundd", source_key="image")],
    "foreground first": [*LOADING, of("CropForegroundd", source_key="image", margin=3, allow_smaller=True), *CT[3:]],
}  # fmt: skip


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PSL"])
@pytest.mark.parametrize("line", LINES)
def test_what_the_net_is_given(line: str, axes: str, file: Any, tmp_path: Path) -> None:
    """The image as MONAI's own transforms make it, value by value."""
    folder, where = made(tmp_path / "bundle", transforms=LINES[line]), file(axes)
    preparation, _ = read_preparation(Config.read(folder), "image", "pred", "CT")
    ours, theirs = prepared(read_image(where), preparation).image, asked_of_monai(folder, where).numpy()[0]
    assert ours.shape == theirs.shape and theirs.std() > 0
    extent = float(theirs.max() - theirs.min())
    assert np.abs(ours - theirs).max() / extent < SAME


def check_margins(folder: Path, where: Path, bundle: Path) -> None:
    """The stitched answer, label by label, against MONAI's inferer."""
    theirs, manifest = asked_of_monai(folder, where, "inferer").numpy(), read_manifest(bundle)
    exclusive = manifest.outputs == "softmax"
    given = prepared(read_image(where), manifest.recipe)
    order = tuple("RAS".index(letter) for letter in given.recipe.axes)
    for name, number in manifest.labels.items():
        channel = number if exclusive else number - 1
        margin = theirs[channel] - (np.delete(theirs, channel, 0).max(0) if exclusive else 0)
        margin = margin.transpose(order)
        assert margin.std() > 0.01 * (theirs.max() - theirs.min()), "the reference shows too little"
        model = load_bundle(bundle, threads=1, tried=True, label=name)
        found = np.concatenate([given.as_planes(model.predict(given.items(some))) for some in given.steps()])
        assert np.abs(found - margin).max() / (theirs.max() - theirs.min()) < LOGITS
        assert ((found > 0) == (margin > 0)).mean() >= LEAST_AGREEMENT


def imported(folder: Path, **given: Any) -> Path:
    out = folder.with_name("imported")
    import_model(read_monai(folder, **given), out, licence="ours")
    return out


PLANES = {"_target_": "SliceInferer", "roi_size": [48, 64], "overlap": 0.25, "mode": "gaussian"}
INFERERS = {
    "even": {**WINDOW, "mode": "constant", "overlap": 0},
    "quarter": {**WINDOW, "overlap": 0.25, "roi_size": [24, 40, 16], "sigma_scale": 0.25},
    "odd": {**WINDOW, "overlap": 0.7, "roi_size": [20, 28, 36]},
    "larger than the image": {**WINDOW, "roi_size": [64, 160, 96], "padding_mode": "replicate"},
    "padded by a value": {**WINDOW, "roi_size": [144, 16, 48], "cval": 0.5},
    "planes along x": {**PLANES, "spatial_dim": 0},
    "planes along z": {**PLANES, "spatial_dim": 2},
    "whole": {"_target_": "SimpleInferer"},
}  # fmt: skip


@pytest.mark.parametrize("inferer", INFERERS)
def test_every_window_where_monai_has_it(inferer: str, file: Any, tmp_path: Path) -> None:
    """DynUNet has instance norms: its answer tells how windows lie."""
    transforms, planes = list(CT), "planes" in inferer
    if planes:
        transforms[3] = of("Spacingd", pixdim=[-1, 3.5, 4] if "x" in inferer[-1] else [3, 3.5, -1])
    if inferer == "whole":
        transforms = [*transforms, of("DivisiblePadd", k=8)]
    folder = made(tmp_path / "bundle", "DynUNet", transforms=transforms, inferer=INFERERS[inferer], rank=3 - planes)
    bundle = imported(folder)
    if inferer == "whole":  # MONAI's answer is padded as its image is
        check_whole(folder, file("LPS"), bundle)
    else:
        check_margins(folder, file("LPS"), bundle)


def check_whole(folder: Path, where: Path, bundle: Path) -> None:
    theirs, given = (
        asked_of_monai(folder, where, "inferer").numpy(),
        prepared(read_image(where), read_manifest(bundle).recipe),
    )
    model = load_bundle(bundle, threads=1, tried=True, label="liver")
    found = given.as_planes(model.predict(given.items(slice(0, len(given.image)))))
    before = [(p - n) // 2 for p, n in zip(theirs.shape[1:], found.shape)]
    inside = tuple(slice(b, b + n) for b, n in zip(before, found.shape))
    margin = (theirs[1] - np.maximum(theirs[0], theirs[2]))[inside]
    assert np.abs(found - margin).max() / (theirs.max() - theirs.min()) < LOGITS


@pytest.mark.parametrize("net", NETS)
def test_every_net_that_is_known(net: str, file: Any, tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle", net)
    check_margins(folder, file("LPS"), imported(folder))


def test_a_swin_transformer(file: Any, tmp_path: Path) -> None:
    """Its windows must be larger than the other nets', and its export takes a minute. It can be explained, too."""
    arguments = {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    folder = made(tmp_path / "bundle", "SwinUNETR", arguments=arguments, inferer={**WINDOW, "roi_size": [64, 64, 64]})
    bundle = imported(folder)
    check_margins(folder, file("LPS"), bundle)
    assert {"gradcam", "gradient"} <= load_bundle(bundle, tried=True, label="liver").answers


def check_grid(folder: Path, where: Path, bundle: Path, least: float = LEAST_AGREEMENT) -> None:
    """Label by label on the file's own voxels, against MONAI's postprocessing."""
    ct, theirs = read_image(where), asked_of_monai(folder, where, "postprocessing").numpy().transpose(0, 3, 2, 1)
    for name, number in read_manifest(bundle).labels.items():
        model = load_bundle(bundle, threads=1, tried=True, label=name)
        ours = segment(model, prepared(ct, model.recipe)).mask(number).voxels > 0
        wanted = theirs[0] == number if len(theirs) == 1 else theirs[number - 1] > 0
        assert 0.001 < wanted.mean() < 0.999, "the reference shows too little"
        assert (ours == wanted).mean() >= least


@pytest.mark.parametrize(("net", "ending"), [
    ("UNet", NEAREST), ("SegResNet", NEAREST), ("DynUNet", NEAREST), ("SegResNet", SIGMOID), ("DynUNet", SIGMOID),
])  # fmt: skip
def test_from_file_to_grid(net: str, ending: Any, file: Any, tmp_path: Path) -> None:
    folder, where = made(tmp_path / "bundle", net, ending=ending), file("PSL")
    check_grid(folder, where, imported(folder))


def test_a_net_that_has_learnt_something_from_file_to_grid(ct: sitk.Image, file: Any, tmp_path: Path) -> None:
    """MONAI interpolates each label's probability on the way back, the bundle the margin of logits: the same but at
    some borders, and there is nothing but borders in what a net of random weights finds."""
    where = file("RAS")
    image = asked_of_monai(made(tmp_path / "plain"), where)[0]
    organ = ((image > 0.5) & (image < 0.6)).long()
    labels = torch.where(image > 0.7, 2, organ)
    folder = made(tmp_path / "bundle", "UNet", taught=(image, labels))
    check_grid(folder, where, imported(folder), LEAST_BETWEEN)


def test_torchscript_and_weights_say_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle", script=True)
    window = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        by_class, by_script = (
            source.net(window) for source in (read_monai(folder), read_monai(folder, "ts", trust=True))
        )
    assert torch.equal(by_class, by_script)
    import_model(read_monai(folder, "ts", trust=True), tmp_path / "imported", licence="ours")


@pytest.mark.parametrize(("arguments", "word"), [
    ({"channels": [4, 8, 32], "strides": [2, 2]}, "UNet"),
    ({"channels": [4, 8], "strides": [2]}, "UNet"),
    ({"channels": [4, 8, 16], "strides": [2, 2], "surprise": 1}, "surprise"),
    ({"channels": [4096] * 60, "strides": [2] * 59, "num_res_units": 2}, "model.pt"),
    ({"channels": "abc", "strides": {}}, "model.pt"),
])  # fmt: skip
def test_weights_of_another_net(arguments: Any, word: str, tmp_path: Path) -> None:
    """Told in a sentence, and before memory is taken for what the arguments ask for."""
    folder = made(tmp_path / "bundle")
    configuration = folder / "configs" / "inference.json"
    table = json.loads(configuration.read_text())
    table["network_def"] = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3, **arguments}
    configuration.write_text(json.dumps(table))
    with pytest.raises(Usage) as told:
        read_monai(folder)
    assert word in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 900


def test_scripts_of_a_bundle_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = made(tmp_path / "bundle")
    (folder / "scripts").mkdir()
    for name in ("__init__.py", "monai.py", "networks.py"):
        (folder / "scripts" / name).write_text(f"open({str(tmp_path / 'SEEN')!r}, 'w')")
    import_model(read_monai(folder), tmp_path / "imported", licence="ours")
    assert not (tmp_path / "SEEN").exists()
