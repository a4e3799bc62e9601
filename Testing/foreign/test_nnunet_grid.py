"""From a file to its own grid: an imported nnU-Net against nnunetv2's own predictor, voxel by voxel."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from unoise_engine.explanation.segment import segment
from unoise_engine.foreign.importing import import_model
from unoise_engine.foreign.nnunet import read_nnunet
from unoise_engine.lab.phantom.write import write_phantoms
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.manifest import read_manifest, write_bundle
from unoise_engine.models.prepared import Prepared, changed
from unoise_engine.models.windowed import Windowed
from unoise_engine.volume.read import read_image

nnunetv2 = pytest.importorskip("nnunetv2", reason="nnunetv2 is in the environment of `make test-foreign`")
HERE = Path(__file__).resolve().parents[2]
PLANTED = HERE / "runs" / "nnunet" / "nnUNet_results"  # of `make train-nnunet`
TRAINED = HERE.parent / "shared" / "data" / "models" / "nnunet-phantom"
needs_trained = pytest.mark.skipif(not TRAINED.is_dir(), reason=f"no trained nnU-Net at {TRAINED}")
needs_planted = pytest.mark.skipif(not PLANTED.is_dir(), reason=f"make train-nnunet has not made {PLANTED}")
LEAST_AGREEMENT = 0.999  # nnunetv2 sums windows in half precision, so not all can be the same
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ct(tmp_path_factory: Any) -> sitk.Image:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantoms(folder, 1, 5, 128, 32, 1)
    return sitk.ReadImage(str(next(folder.glob("*-ct.nii.gz"))))[24:98, 36:104, :]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any, ct: sitk.Image) -> Path:
    """The folder that nnunetv2 trained, so briefly that it finds one label alone: here all of its labels are as likely
    as each other, so that borders of each with each are compared."""
    folder = tmp_path_factory.mktemp("trained") / "results"
    shutil.copytree(next(TRAINED.glob("*/*__*__*")), folder)
    source, path = read_nnunet(folder), folder / "fold_0" / "checkpoint_final.pth"
    window = changed(sitk.GetArrayFromImage(ct).astype(np.float32)[:, :64, :64], source.preparation.steps[1])
    window = changed(window, source.preparation.steps[2])
    logits = source.net(torch.from_numpy(window[None, None]))
    checkpoint = torch.load(path, weights_only=False)
    weights = checkpoint["network_weights"]
    last = sorted(name for name in weights if name.startswith("decoder.seg_layers.") and name.endswith(".bias"))[-1]
    weights[last] -= logits.mean((0, 2, 3, 4))
    torch.save(checkpoint, path)
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory: Any, trained: Path) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "bundle"
    import_model(read_nnunet(trained), folder, licence="ours")
    return folder


def own_predictor(folder: Path) -> Any:
    """nnunetv2's net, preprocessing and predictor; only its search for the trainer, which imports every trainer there
    is and all that those need, is passed by."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    about = json.loads((folder / "dataset.json").read_text())
    checkpoint = torch.load(next(folder.glob("fold_*")) / "checkpoint_final.pth", weights_only=False)
    plans = PlansManager(json.loads((folder / "plans.json").read_text()))
    settings = plans.get_configuration(checkpoint["init_args"]["configuration"])
    name, arguments = settings.network_arch_class_name, settings.network_arch_init_kwargs
    net = get_network_from_plans(
        name, arguments, settings.network_arch_init_kwargs_req_import,
        1, plans.get_label_manager(about).num_segmentation_heads, deep_supervision=False,
    )  # fmt: skip
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False,
        perform_everything_on_device=False,
    )  # fmt: skip
    weights = [checkpoint["network_weights"]]
    predictor.manual_initialization(net, plans, settings, weights, about, checkpoint["trainer_name"], None)
    net.load_state_dict(weights[0])
    return predictor


def predicted(folder: Path, file: Path) -> np.ndarray:
    """nnunetv2's labels on the file's own voxels, (z, y, x)."""
    out = file.with_name("predicted")
    own_predictor(folder).predict_from_files_sequential([[str(file)]], [str(out)])
    found: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(f"{out}.nii.gz"))
    return found


def masks(bundle: Path, file: Path) -> np.ndarray:
    """The bundle's labels, asked for one after the other, as users get them."""
    image = read_image(file)
    whole = np.zeros(image.voxels.shape, np.uint8)
    for label, number in read_manifest(bundle).labels.items():
        model = load_bundle(bundle, threads=1, tried=True, label=label)
        assert isinstance(model, Windowed)
        mask = segment(model, Prepared.of(image, model.recipe)).mask(number).voxels
        whole[mask > 0] = number
    return whole


def with_settings(home: Path, trained: Path, imported: Path, orientation: str, **settings: Any) -> tuple[Path, Path]:
    """The trained folder with other settings, and the bundle of it; the net, which is the same, is imported once."""
    folder, bundle = home / "results", home / "bundle"
    shutil.copytree(trained, folder)
    plans = json.loads((folder / "plans.json").read_text())
    for key, value in settings.items():
        table = plans if key in plans else plans["configurations"]["3d_tiny"]
        table[key] = value
    (folder / "plans.json").write_text(json.dumps(plans))
    source = read_nnunet(folder, orientation=orientation)
    manifest = read_manifest(imported)
    write_bundle(
        bundle, replace(manifest, recipe=source.preparation), {name: imported / name for name in manifest.files}
    )
    return folder, bundle


def agreement(ours: np.ndarray, theirs: np.ndarray, least_labels: int) -> float:
    assert len(np.unique(theirs)) >= least_labels, "the reference shows next to nothing"
    assert ours.shape == theirs.shape
    foreground = (ours > 0) | (theirs > 0)
    same = float((ours == theirs).mean())
    print(f"agree in {same:.5%} of voxels; within the foreground in {(ours == theirs)[foreground].mean():.3%}")
    return same


@needs_trained
@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL"])
def test_masks_of_the_trained_net(axes: str, ct: sitk.Image, imported: Path, tmp_path: Path) -> None:
    file = tmp_path / "ct_0000.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(ct, axes), str(file))
    folder = next(TRAINED.glob("*/*__*__*"))
    import_model(read_nnunet(folder), tmp_path / "bundle", licence="ours")
    assert agreement(masks(tmp_path / "bundle", file), predicted(folder, file), 2) >= LEAST_AGREEMENT


SEPARATE = {"spacing": [9.0, 2.0, 2.5]}  # more than 3 times as coarse along z
KWARGS = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "LPS": ("LPS", "", {}),
    "RAS": ("RAS", "", {}),
    "permuted": ("SPL", "", {}),
    "turned": ("LPI", "RAS", {"image_reader_writer": "NibabelIOWithReorient"}),
    "turned-itk": ("PIR", "RAS", {"image_reader_writer": "SimpleITKIOWithReorient"}),
    "transposed": ("LPS", "", {"transpose_forward": [1, 0, 2], "transpose_backward": [1, 0, 2]}),
    "cyclic": ("RAS", "", {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}),
    "separate": ("LPS", "", SEPARATE),
    "linear": ("LPS", "", {"resampling_fn_data_kwargs": KWARGS, "resampling_fn_probabilities_kwargs": KWARGS}),
    "zscore": ("LPS", "", {"normalization_schemes": ["ZScoreNormalization"]}),
    "masked": ("LPS", "", {"normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [True]}),
}


@needs_trained
@pytest.mark.parametrize("case", CASES)
def test_from_file_to_grid(case: str, ct: sitk.Image, trained: Path, imported: Path, tmp_path: Path) -> None:
    axes, orientation, settings = CASES[case]
    folder, bundle = with_settings(tmp_path, trained, imported, orientation, **settings)
    image = sitk.DICOMOrient(ct, axes)
    if case == "masked":  # as skull stripping leaves it: nothing around, and a hole inside
        voxels = sitk.GetArrayFromImage(image)
        voxels[:, :10], voxels[:, :, -12:], voxels[10:14, 30:34, 30:34] = 0, 0, 0
        masked = sitk.GetImageFromArray(voxels)
        masked.CopyInformation(image)
        image = masked
    file = tmp_path / "ct_0000.nii.gz"
    sitk.WriteImage(image, str(file))
    assert agreement(masks(bundle, file), predicted(folder, file), 3) >= LEAST_AGREEMENT


@needs_planted
@pytest.mark.parametrize("axes", ["LPS", "RAS", "SPL"])
@pytest.mark.parametrize("config", ["2d", "3d_fullres"])
def test_masks_of_nets_trained_here(config: str, axes: str, tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1, 77, 96, 24, 1, planted=True)
    file = tmp_path / "ct_0000.nii.gz"
    ct = sitk.ReadImage(str(next(tmp_path.glob("*-ct.nii.gz"))))
    sitk.WriteImage(sitk.DICOMOrient(ct, axes), str(file))
    folder = next(PLANTED.glob(f"*/*__{config}"))
    import_model(read_nnunet(folder), tmp_path / "bundle")
    assert agreement(masks(tmp_path / "bundle", file), predicted(folder, file), 2) >= LEAST_AGREEMENT
