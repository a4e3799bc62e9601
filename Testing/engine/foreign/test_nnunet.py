"""nnU-Net folders: what becomes of each setting, and what is refused by its name."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from Testing.engine.conftest import SHARED
from Testing.engine.foreign.results_folder import architecture, dataset, net, plans, resolved, write_folder
from unoise_engine.errors import EngineError, Environment, Integrity, Usage
from unoise_engine.foreign.nnunet import read_nnunet
from unoise_engine.models.preparation import Preparation, Resampling, Step, Window

PHANTOM = SHARED / "data" / "models" / "nnunet-phantom"
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}


def test_the_plans_become_a_preparation(tmp_path: Path) -> None:
    source = read_nnunet(write_folder(tmp_path))
    assert source.preparation == Preparation(
        axes="kji",
        rank=3,
        spacing_mm=(3.0, 1.5, 1.5),
        steps=(Step("crop-nonzero"), Step("clip", (-50.0, 250.0)), Step("normalise", (80.5, 40.25)), Step("resample")),
        resampling=Resampling("edges", order=3, order_apart=0, apart="auto", back=1, back_apart=0),
        window=Window((8, 16, 12), 0.5, "nnunet", "gaussian-nnunet"),
        modality="CT",
    )
    assert (source.labels, source.outputs, source.example) == (
        {"liver": 1, "pancreas": 2},
        "softmax",
        (1, 1, 8, 16, 12),
    )
    assert source.kind == "nnU-Net v2" and source.name == "Dataset901_Small-3d_fullres"
    assert "Isensee" in source.citation and source.licence == "" and "6 images" in source.training_data
    assert any("mirroring" in note for note in source.notes) and any("fold 0" in note for note in source.notes)
    assert source.facts["from"].startswith("Dataset901_Small/") and str(tmp_path) not in str(source.facts)


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize(("config", "rank"), [("2d", 2), ("3d_fullres", 3), ("3d_small", 3)])
def test_the_net_answers_as_the_one_that_was_saved(tmp_path: Path, config: str, rank: int, kind: str) -> None:
    def change(made: dict[str, Any]) -> None:
        made["configurations"][config]["architecture"] = architecture(rank, kind)

    source = read_nnunet(write_folder(tmp_path, config, change=change))
    made = plans()
    change(made)
    window = torch.randn(source.example)
    wanted = net(resolved(made, config), 3, seed=0, deep=False)(window)
    assert wanted.std() > 0.01, "the net answers the same everywhere"
    assert torch.equal(source.net(window), wanted)
    assert source.preparation.rank == rank and len(source.preparation.window.size) == rank


def test_planes_keep_their_distance(tmp_path: Path) -> None:
    assert read_nnunet(write_folder(tmp_path, "2d")).preparation.spacing_mm == (0.0, 1.5, 1.5)


def test_folds_are_averaged(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, folds=("0", "1", "all"))
    one, other, both, last = (read_nnunet(folder, fold=f) for f in ("0", "fold_1", "0,1", "all"))
    window = torch.randn(one.example)
    assert not torch.allclose(one.net(window), other.net(window))
    assert torch.allclose(both.net(window), (one.net(window) + other.net(window)) / 2, atol=1e-6)
    assert not torch.allclose(last.net(window), one.net(window))
    assert torch.equal(read_nnunet(folder).net(window), one.net(window)) and "fold_0+fold_1" in both.facts["from"]
    with pytest.raises(Usage, match=r"has no fold 3 - there are: 0, 1, all"):
        read_nnunet(folder, fold="0,3")


def test_the_only_fold_there_is_the_one(tmp_path: Path) -> None:
    assert "fold_all" in read_nnunet(write_folder(tmp_path / "a", folds=("all",))).facts["from"]
    with pytest.raises(Usage, match=r"has no fold 0 - there are: 1, 2"):
        read_nnunet(write_folder(tmp_path / "b", folds=("1", "2")))


def test_regions_are_channels_of_their_own(tmp_path: Path) -> None:
    source = read_nnunet(write_folder(tmp_path, about=dataset(REGIONS, regions_class_order=[1, 2])))
    assert (source.labels, source.outputs) == ({"whole": 1, "core": 2}, "sigmoid")
    assert source.facts["regions"] == {"whole": [1, 2], "core": [2]}
    assert source.net(torch.randn(source.example)).shape[1] == 2


def test_labels_by_number_and_none_for_ignore(tmp_path: Path) -> None:
    about = dataset({"background": 0, "b": 2, "a": [1], "ignore": 3})
    folder = write_folder(tmp_path, about=dataset())
    (folder / "dataset.json").write_text(json.dumps(about))
    assert list(read_nnunet(folder).labels.items()) == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("reader", "asked", "order", "axes"),
    [
        ("SimpleITKIO", "", [0, 1, 2], "kji"),
        ("NibabelIO", "", [2, 0, 1], "ikj"),
        ("NibabelIOWithReorient", "", [0, 1, 2], "SAR"),
        ("SimpleITKIOWithReorient", "", [1, 0, 2], "ASR"),
        ("SimpleITKIO", "RAS", [2, 0, 1], "RSA"),
        ("NibabelIOWithReorient", "stored", [0, 1, 2], "kji"),
    ],
)
def test_axes_are_the_readers_and_then_transposed(
    tmp_path: Path, reader: str, asked: str, order: list[int], axes: str
) -> None:
    change = setting(image_reader_writer=reader, transpose_forward=order)
    source = read_nnunet(write_folder(tmp_path, change=change), orientation=asked)
    assert source.preparation.axes == axes
    assert any("--orientation" in note for note in source.notes) == (
        reader in ("SimpleITKIO", "NibabelIO") and not asked
    )


def setting(config: str = "", **values: Any) -> Callable[[dict[str, Any]], None]:
    """Alters the plans, or a configuration in them; None takes a setting out."""

    def change(made: dict[str, Any]) -> None:
        table = made["configurations"][config] if config else made
        table.update(values)
        for key in [key for key, value in values.items() if value is None]:
            del table[key]

    return change


@pytest.mark.parametrize(
    ("scheme", "masked", "steps"),
    [
        ("ZScoreNormalization", False, (Step("normalise-image"),)),
        ("ZScoreNormalization", True, (Step("normalise-filled"),)),
        ("RescaleTo01Normalization", False, (Step("scale-image", (0.0, 1.0)),)),
        ("NoNormalization", False, ()),
    ],
)
def test_each_normalisation(tmp_path: Path, scheme: str, masked: bool, steps: tuple[Step, ...]) -> None:
    change = setting("3d_fullres", normalization_schemes=[scheme], use_mask_for_norm=[masked])
    found = read_nnunet(write_folder(tmp_path, change=change, about=dataset(channel_names={"0": "T2 (axial)"})))
    assert found.preparation.steps == (Step("crop-nonzero"), *steps, Step("resample"))
    assert found.preparation.modality == "T2axial"


@pytest.mark.parametrize(
    ("name", "kwargs", "wanted"),
    [
        (
            "resample_data_or_seg_to_shape",
            {"is_seg": False, "order": 1, "force_separate_z": False},
            Resampling("edges", order=1, apart="never", back=1),
        ),
        (
            "resample_data_or_seg_to_shape",
            {"is_seg": False, "order": 3, "order_z": 1, "force_separate_z": True},
            Resampling("edges", order=3, order_apart=1, apart="always", back=3, back_apart=1),
        ),
        ("resample_torch_fornnunet", {"is_seg": False}, Resampling("edges", order=1, apart="auto", back=1)),
        ("no_resampling_hack", {}, None),
    ],
)
def test_each_resampling(tmp_path: Path, name: str, kwargs: dict[str, Any], wanted: Resampling | None) -> None:
    both: dict[str, Any] = {f"resampling_fn_{what}": name for what in ("data", "probabilities")}
    both |= {f"resampling_fn_{what}_kwargs": kwargs for what in ("data", "probabilities")}
    found = read_nnunet(write_folder(tmp_path, change=setting("3d_fullres", **both))).preparation
    if wanted:
        assert found.resampling == wanted
    else:
        assert found.spacing_mm == (0.0, 0.0, 0.0) and Step("resample") not in found.steps


OLD = {"UNet_base_num_features": 4, "unet_max_num_features": 8, "num_pool_per_axis": [2, 2, 2]}
OLD |= {"conv_kernel_sizes": [[3] * 3] * 3, "pool_op_kernel_sizes": [[1] * 3, [2] * 3, [2] * 3]}
OLD |= {"n_conv_per_stage_encoder": [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_plans_of_the_first_versions_are_understood(tmp_path: Path, kind: str) -> None:
    own = plans()["configurations"]["3d_fullres"] | {"architecture": architecture(3, kind)}
    folder = write_folder(tmp_path, change=setting("3d_fullres", architecture=own["architecture"]))
    made = plans()
    made["foreground_intensity_properties_by_modality"] = made.pop("foreground_intensity_properties_per_channel")
    setting("3d_fullres", architecture=None, UNet_class_name=kind, **OLD)(made)
    (folder / "plans.json").write_text(json.dumps(made))
    source = read_nnunet(folder)
    window = torch.randn(source.example)
    assert torch.equal(source.net(window), net(own, 3, seed=0, deep=False)(window))
    assert Step("normalise", (80.5, 40.25)) in source.preparation.steps


def test_the_trainer_with_batch_norm(tmp_path: Path) -> None:
    def change(made: dict[str, Any]) -> None:
        about = made["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        about["norm_op"] = "torch.nn.modules.batchnorm.BatchNorm3d"

    folder = write_folder(tmp_path, change=change, trainer="nnUNetTrainerBN")
    (folder / "plans.json").write_text(json.dumps(plans()))  # which say instance norm, as nnU-Net's own do
    layers = [type(one) for one in read_nnunet(folder).net.modules()]
    assert torch.nn.BatchNorm3d in layers and torch.nn.InstanceNorm3d not in layers


def test_a_folder_above_is_enough_if_it_holds_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    assert read_nnunet(tmp_path).facts["configuration"] == "3d_fullres"
    other = write_folder(tmp_path / "other", "2d")
    other.rename(folder.parent / other.name)
    with pytest.raises(Usage, match=r"holds 2 trainings: .*2d.*3d_fullres.* choose by --config"):
        read_nnunet(folder.parent)
    assert read_nnunet(tmp_path, config="2d").preparation.rank == 2
    with pytest.raises(Usage, match="holds 2 trainings"):
        read_nnunet(tmp_path, config="3d_lowres")


def _arguments(made: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = made["configurations"]["3d_fullres"]["architecture"]
    return about


def _network(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda made: _arguments(made).update(network_class_name=name)


def _argument(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda made: _arguments(made)["arch_kwargs"].update(values)


KWARGS = {"is_seg": False, "order": 3, "force_separate_z": None}
REFUSED = [
    (_network("os.system"), "its network is os.system"),
    (_network("dynamic_network_architectures.architectures.primus.Primus"), "primus.Primus"),
    (_network("subprocess.run"), "subprocess.run"),
    (_network(3), "its network is 3"),  # type: ignore[arg-type]
    (_argument(nonlin="os.system"), "layers of os.system"),
    (_argument(norm_op="torch.nn.Module.load_state_dict"), "load_state_dict"),
    (_argument(dropout_op="builtins.eval"), "builtins.eval"),
    (_argument(conv_op="torch.nn.modules.conv.Conv2d"), "windows of 3 dimensions"),
    (_argument(features_per_stage=[10**9, 8, 8]), "no net that can be built"),
    (_argument(n_conv_per_stage=[10**6, 1, 1]), "no net that can be built"),
    (_argument(surprise=1), "cannot be built"),
    (setting("3d_fullres", architecture=None), "no architecture that is known"),
    (setting("3d_fullres", architecture=None, UNet_class_name="Other", **OLD), "no architecture .*Other"),
    (setting("3d_fullres", normalization_schemes=["RGBTo01Normalization"]), "RGBTo01Normalization"),
    (setting("3d_fullres", normalization_schemes=["Mine"]), "normalisation Mine"),
    (setting("3d_fullres", normalization_schemes=["CTNormalization"] * 2), "for 2 channels"),
    (setting("3d_fullres", preprocessor_name="MyPreprocessor"), "MyPreprocessor"),
    (setting("3d_fullres", resampling_fn_data="my_resampling"), "my_resampling"),
    (setting("3d_fullres", resampling_fn_data_kwargs={**KWARGS, "is_seg": True}), "is_seg = True"),
    (setting("3d_fullres", resampling_fn_data_kwargs={**KWARGS, "order": 2}), "order must be"),
    (setting("3d_fullres", resampling_fn_data_kwargs={**KWARGS, "order_z": 3}), "order_z = 3"),
    (
        setting("3d_fullres", resampling_fn_data_kwargs={**KWARGS, "separate_z_anisotropy_threshold": 5}),
        "threshold = 5",
    ),
    (setting("3d_fullres", resampling_fn_data_kwargs={**KWARGS, "force_separate_z": True}), "in another way"),
    (setting("3d_fullres", spacing=[1.0, 1.0]), "do not fit together"),
    (setting("3d_fullres", spacing=["1", "x", "1"]), "what no bundle can do"),
    (setting("3d_fullres", spacing=[1000.0, 1.0, 1.0]), "spacing_mm must lie"),
    (setting("3d_fullres", patch_size=None), "'patch_size' is missing"),
    (setting("3d_fullres", inherits_from="3d_fullres"), "no configuration '3d_fullres' of its own"),
    (setting("3d_fullres", previous_stage="3d_lowres"), "is a cascade: it needs the segmentation of 3d_lowres"),
    (setting(image_reader_writer="Tiff3DIO"), "Tiff3DIO"),
    (setting(image_reader_writer=None), "image_reader_writer"),
    (setting(transpose_forward=[0, 0, 1]), "transpose_forward"),
    (setting(label_manager="MyLabels"), "MyLabels"),
    (setting(configurations=None), "'configurations' is missing"),
    (setting(foreground_intensity_properties_per_channel={"0": {"mean": "x"}}), "percentile_00_5"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED)
def test_plans_that_are_not_understood_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    folder = write_folder(tmp_path)
    made = plans()
    change(made)
    (folder / "plans.json").write_text(json.dumps(made))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Usage, match=words) as refused:
        read_nnunet(folder)
    assert "\n" not in str(refused.value) and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (dataset(channel_names={"0": "CT", "1": "PET"}), r"needs 2 images of a patient \(CT, PET\)"),
        (dataset(channel_names={}), "names no channel"),
        (dataset({"background": 0, "a": 1, "b": 3}), "not numbered 1 to 2"),
        (dataset({"background": 0, "a": 1, "b": 1}), "not numbered 1 to 2"),
        (dataset({"a": 1, "b": 2}), "no background"),
        (dataset({"background": 0, "a": "1", "b": 2}), "its label 'a' is '1'"),
        (dataset({"background": 0, "a": True, "b": 2}), "its label 'a' is True"),
        (dataset(REGIONS), "no regions_class_order"),
        (dataset(REGIONS, regions_class_order=[1]), "no regions_class_order of the same length"),
        (dataset({"0": "background", "1": "liver"}), "no background"),
        ({"labels": [1]}, "its 'labels'"),
    ],
)
def test_labels_that_are_not_understood_are_refused(tmp_path: Path, about: dict[str, Any], words: str) -> None:
    folder = write_folder(tmp_path)
    (folder / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(Usage, match=words):
        read_nnunet(folder)


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, trainer="nnUNetTrainerMine")
    made = plans()
    _argument(features_per_stage=[4, 8, 16])(made)
    (folder / "plans.json").write_text(json.dumps(made))
    with pytest.raises(Integrity, match=r"weights are not of the net .*nnUNetTrainerMine may build a net of its own"):
        read_nnunet(folder)


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    folder = write_folder(tmp_path, logging=Runs())
    with pytest.raises(Integrity, match=r"asks for (posix|nt)\.system"):
        read_nnunet(folder)
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    def fails(kind: type[EngineError], words: str, **options: str) -> None:
        with pytest.raises(kind, match=words):
            read_nnunet(folder, **options)

    folder = write_folder(tmp_path)
    fails(Usage, "there are: checkpoint_final.pth", checkpoint="checkpoint_best.pth")
    fails(Usage, "--orientation LPS", orientation="LPS")
    (folder / "dataset.json").unlink()
    fails(Environment, r"dataset.json - cannot be read")
    (folder / "plans.json").write_text("{" * 100)
    fails(Usage, "cannot be read as JSON")
    (folder / "plans.json").write_text("[]")
    fails(Usage, "holds no table")
    (folder / "plans.json").rename(folder / "plans.pkl")
    fails(Usage, "nnU-Net v1")
    folder = tmp_path / "none"
    fails(Usage, "is no folder")


@pytest.mark.skipif(not PHANTOM.is_dir(), reason=f"no trained nnU-Net at {PHANTOM}")
def test_a_folder_of_nnunets_own() -> None:
    source = read_nnunet(PHANTOM)
    assert source.labels == {"liver": 1, "kidney": 2, "pancreas": 3, "aorta": 4}
    assert source.facts["parameters"] == 351_447 and source.preparation.window.size == (32, 64, 64)
    logits = source.net(torch.randn(source.example))
    assert logits.shape == (1, 5, 32, 64, 64) and logits.std() > 0.1
