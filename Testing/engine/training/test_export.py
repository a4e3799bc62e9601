import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from Testing.engine.training.world import unoise_recipe, utility_recipe
from unoise_engine.cli.app import app
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.explanation.trust import about_scan
from unoise_engine.lab.phantom.abdomen import PROBE, synthesise
from unoise_engine.models.bundles import load_bundle
from unoise_engine.models.scope import Scope
from unoise_engine.training import export
from unoise_engine.training.card import Card, read_card
from unoise_engine.training.export import export_bundle
from unoise_engine.training.fit import train_unoise, train_utility
from unoise_engine.training.fold import rounded
from unoise_engine.training.gradcam_graph import gradcam_by_autograd
from unoise_engine.training.graph import whole_steps
from unoise_engine.training.rebuilt import unpack
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.volume.read import read_image
from unoise_engine.volume.split import Split
from unoise_engine.volume.volume import Volume

CARD = Card(title="A ball", training_data="five balls", synthetic=True)


@pytest.fixture(scope="module")
def bundle_folder(utility_run: Any, unoise_run: Any) -> Any:
    folder, probe = utility_run.parent / "ball", synthesise(**PROBE).ct
    return export_bundle(utility_run, unoise_run, folder, card=CARD, metrics={"test_dice": 0.5}, probe=probe)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 1, 40, 24), (5, 1, 24, 64)])
def test_onnxruntime_agrees_with_torch_at_any_size(
    bundle_folder: Any, utility_run: Any, unoise_run: Any, shape: Any
) -> None:
    bundle = load_bundle(bundle_folder)
    utility, noise = rounded(UtilityRun.open(utility_run).net()), rounded(UNoiseRun.open(unoise_run).net(1))
    x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    x[:, :, 4:12, 4:12] += 3  # a bright ball
    with torch.no_grad():
        logits, z = utility(torch.from_numpy(x)).numpy(), noise(torch.from_numpy(x)).numpy()
    assert logits.std() > 0.1 and z.std() > 0.01
    np.testing.assert_allclose(bundle.predict(x), logits, rtol=0, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(bundle.noise_logits(x), z, rtol=0, atol=1e-4 * np.abs(z).max())
    target = torch.ones(logits.shape)
    for sign in (1, -1):  # one of the two scores has a map
        wanted = gradcam_by_autograd(utility, torch.from_numpy(x), sign * target)
        got = bundle.gradcam(x, sign * target.numpy())
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-3 * max(wanted.max().item(), 1e-6))
        if wanted.max() > 0:
            break
    assert wanted.max() > 0


def test_the_manifest_says_what_it_is(bundle_folder: Any) -> None:
    manifest = load_bundle(bundle_folder).manifest
    assert (manifest.name, manifest.title, manifest.synthetic) == ("ball", "A ball", True)
    assert manifest.labels == {"pancreas": 1}
    assert manifest.architecture["unoise"] == {"depth": 2, "first_channels": 16, "parameters": 28_241}
    assert manifest.architecture["noise"]["sigma_max"] == 5
    assert manifest.metrics["test_dice"] == 0.5 and 0 < manifest.metrics["val_dice"] <= 1
    assert {p.name for p in bundle_folder.iterdir()} == {*manifest.files, "bundle.json"}


def test_the_files_are_plain(bundle_folder: Any) -> None:
    """Weights inside, free axes named, nothing about the machine that wrote them."""
    for path in bundle_folder.glob("*.onnx"):
        model = onnx.load(path, load_external_data=False)
        borrows = path.name.startswith("occlusion")  # runs with the utility's weights, so is no whole model
        if not borrows:
            onnx.checker.check_model(model)
        assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
        for port in [] if borrows else [*model.graph.input, *model.graph.output]:
            dims = port.type.tensor_type.shape.dim
            free = ["n", "deep_h", "deep_w"] if port.name == "gradcam" else ["n", "h", "w"]
            assert [dims[k].dim_param for k in (0, 2, 3)] == free
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        assert b".py" not in path.read_bytes()
        assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_the_weights_load_again(bundle_folder: Any, utility_run: Any) -> None:
    from safetensors.torch import load_file

    net = UtilityRun.open(utility_run).net()
    saved = load_file(bundle_folder / "utility.safetensors")
    assert all(torch.equal(saved[k], v) for k, v in net.state_dict().items())


def test_weights_are_stored_once_and_in_half(bundle_folder: Any, utility_run: Any) -> None:
    net = UtilityRun.open(utility_run).net()
    weights = sum(part.weight.numel() for part in net.modules() if isinstance(part, torch.nn.Conv2d))
    tensors = onnx.load(bundle_folder / "utility.onnx").graph.initializer
    half = [np.prod(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT16]
    assert sum(half) == weights and max(np.prod(t.dims) for t in tensors if t.data_type == 1) <= 64  # biases
    assert 0.5 < load_bundle(bundle_folder).manifest.metrics["float16"].get("dice", 1) <= 1
    rough = load_bundle(bundle_folder).manifest.metrics["float16"]["logits"]
    assert 0 < rough < 0.01  # the weights were rounded, and it matters little


def test_kernels_in_whole_steps_of_a_byte(utility_run: Any, unoise_run: Any, tmp_path: Path) -> None:
    """Each output channel has steps of its own, and both nets come back as the files hold them."""
    folder = export_bundle(utility_run, unoise_run, tmp_path / "small", card=CARD, precision="int8", weights=False)
    bundle, net = load_bundle(folder), rounded(UtilityRun.open(utility_run).net(), "int8")
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(folder / "utility.onnx").graph.initializer}
    kernels = {name: values for name, values in stored.items() if values.dtype == np.int8}
    assert sum(v.size for v in kernels.values()) == sum(v.numel() for v in net.parameters() if v.ndim == 4)
    for name, whole in kernels.items():
        assert set(np.abs(whole.astype(int)).reshape(len(whole), -1).max(axis=1)) <= {0, 127}
        assert stored[f"{name}.step"].shape == (len(whole), 1, 1, 1)
    again = unpack(folder, bundle.manifest, Split(("a",), ("b",), ()), tmp_path / "run")
    x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(UtilityRun.open(again).net()(x), net(x), atol=1e-4)
        fine = UtilityRun.open(utility_run).net()(x)
        assert 1e-4 < float((net(x) - fine).abs().max() / fine.abs().max()) < 0.05


def test_a_net_in_half_precision_is_in_no_steps(utility_run: Any) -> None:
    net = rounded(UtilityRun.open(utility_run).net())
    assert all(whole_steps(v)[0] is None for v in net.parameters() if v.ndim == 4)


def test_a_weight_too_large_for_half_precision(
    utility_run: Any, unoise_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loud(self: Any) -> Any:
        net: Any = whole(self)
        with torch.no_grad():
            net.downs[0][0].weight *= 1e6
        return net

    whole = UtilityRun.net
    monkeypatch.setattr(UtilityRun, "net", loud)
    with pytest.raises(Integrity, match="half precision"):
        export_bundle(utility_run, unoise_run, tmp_path / "bad", card=CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("which", "part"), [("utility.onnx", "head"), ("unoise.onnx", "head"), ("utility.onnx: Grad-CAM", "turned")]
)
def test_a_weight_that_differs_is_noticed(
    which: Any, part: Any, utility_run: Any, unoise_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampering(model: Any, path: Any) -> None:
        """10 % more on the last kernel forwards, or on one kernel of the way back."""
        if path.name == which[: len(path.name)]:
            nodes = list(model.graph.node)
            back = [n for n in nodes if n.op_type == "Conv" and len(n.input) == 2]  # alone without bias
            spoilt = back[2] if part == "turned" else next(n for n in nodes if n.output[0].endswith("logits"))
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1.1, np.float32), "more"))
            place = nodes.index(spoilt)
            model.graph.node.insert(place, onnx.helper.make_node("Mul", [spoilt.input[1], "more"], ["spoilt"]))
            model.graph.node[place + 1].input[1] = "spoilt"
        onnx.save(model, path)

    monkeypatch.setattr(export, "write_onnx", tampering)
    with pytest.raises(Integrity, match=f"^{which} - differs"):
        export_bundle(utility_run, unoise_run, tmp_path / "bad", card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_no_telling_input(utility_run: Any, unoise_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "gradcam_by_autograd", lambda net, x, target, coarse=False: torch.zeros_like(target))
    monkeypatch.setattr(export, "write_onnx", lambda model, path: path.write_bytes(b""))
    monkeypatch.setattr(export, "load_bundle", lambda folder, device: None)
    with pytest.raises(Integrity, match="zero on 20 inputs"):
        export_bundle(utility_run, unoise_run, tmp_path / "bad", card=CARD)
    assert list(tmp_path.iterdir()) == []


def test_wrong_calls(utility_run: Any, unoise_run: Any, bundle_folder: Any, tmp_path: Path) -> None:
    with pytest.raises(Environment, match="exists already"):
        export_bundle(utility_run, unoise_run, bundle_folder, card=CARD)
    with pytest.raises(Environment, match=r"recipe\.toml"):
        export_bundle(tmp_path / "no run", unoise_run, tmp_path / "b", card=CARD)
    (tmp_path / "m.json").write_text(json.dumps([1]))
    with pytest.raises(Usage, match=r"m\.json"):
        export_bundle(utility_run, unoise_run, tmp_path / "b", card=CARD, metrics=tmp_path / "m.json")


def test_an_unpacked_bundle_is_a_run_that_noise_models_learn_on(
    bundle_folder: Any, world: Any, utility_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = load_bundle(bundle_folder).manifest
    run = tmp_path / "unpacked"
    answer = CliRunner().invoke(
        app, ["bundle", "unpack", str(bundle_folder), "-o", str(run), "--split", str(utility_run / "split.json")]
    )
    assert answer.exit_code == 0, answer.output
    before, after = UtilityRun.open(utility_run), UtilityRun.open(run)
    assert (after.split, after.recipe.net, after.recipe.ct) == (before.split, before.recipe.net, manifest.recipe)
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(after.net()(x), rounded(before.net())(x), rtol=1e-4, atol=1e-4)
    noise = train_unoise(world, run, tmp_path / "noise", unoise_recipe(), device="cpu", progress="off")
    again = export_bundle(run, noise, tmp_path / "again", card=CARD)
    assert (again / "utility.onnx").read_bytes() == (bundle_folder / "utility.onnx").read_bytes()
    further = utility_recipe()
    further = replace(further, fit=replace(further.fit, max_steps=2, round_steps=2))
    train_utility(world, tmp_path / "u", further, init=run, device="cpu", progress="off")
    reached = (
        float(list(csv.DictReader((one / "metrics.csv").open()))[-1]["val_dice"])
        for one in (utility_run, tmp_path / "u")
    )
    assert min(reached) > 0.5, "it goes on from where the bundle is"
    wider = replace(further, ct=replace(further.ct, window_hu=(-200.0, 300.0)))
    train_utility(world, tmp_path / "wider", wider, init=run, device="cpu", progress="off")
    assert "window of -160 to 240 HU - learns them in the recipe's anew" in capsys.readouterr().err
    finer = replace(further, ct=replace(further.ct, spacing_mm=1.5))
    with pytest.raises(Usage, match="another shape or pixel size"):
        train_utility(world, tmp_path / "finer", finer, init=run, device="cpu", progress="off")
    with pytest.raises(Environment, match="cannot be read as a split"):
        unpack(bundle_folder, manifest, Split.read(tmp_path / "none.json"), tmp_path / "other")
    with pytest.raises(Usage, match="not an empty folder"):
        unpack(bundle_folder, manifest, after.split, run)


def test_the_scope_is_that_of_the_training_cts(world: Any, utility_run: Any, unoise_run: Any, tmp_path: Path) -> None:
    """The tiny bodies of this world lie far beyond an adult's abdomen, and are what this model knows."""
    folder = export_bundle(utility_run, unoise_run, tmp_path / "bundle", card=CARD)
    scope = load_bundle(folder).manifest.scope
    taught = [read_image(world / f"{case}-ct.nii.gz") for case in UtilityRun.open(utility_run).split.train]
    for ct in taught:
        assert [*about_scan(ct, Scope())] and not [*about_scan(ct, scope)]
    assert scope.pixel_mm == (1.8, 2.2) and scope.slice_mm == (4.5, 5.5)  # 2 and 5 mm, a tenth to both sides
    assert scope.field_mm == (72, 106)  # 40 and 48 pixels
    assert scope.organ_ml[0] < 13 < 250 == scope.organ_ml[1]
    far = Volume(taught[0].voxels, replace(taught[0].grid, spacing_mm=(1.0, 1.0, 9.0)))
    assert sum(", which the model knows" in sentence for sentence in about_scan(far, scope)) == 2


def test_what_the_card_says_of_the_scope_stands(utility_run: Any, unoise_run: Any, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text('title = "t"\ntraining_data = "balls"\n[scope]\nslice_mm = [0.3, 6.0]\norgan_ml = [1.0, 9.0]\n')
    scope = load_bundle(export_bundle(utility_run, unoise_run, tmp_path / "bundle", card=card)).manifest.scope
    assert scope.slice_mm == (0.3, 6.0) and scope.organ_ml == (1.0, 9.0) and scope.pixel_mm == (1.8, 2.2)
    for wrong, said in (
        ("slice_mm = [6.0, 0.3]", "must rise"),
        ("slices = 3", "unknown key"),
        ("organ_ml = 3", "a list"),
    ):
        card.write_text(f'title = "t"\ntraining_data = "balls"\n[scope]\n{wrong}\n')
        with pytest.raises(Usage, match=said):
            read_card(card)


def test_a_run_that_kept_nothing_has_the_usual_scope(utility_run: Any, unoise_run: Any, tmp_path: Path) -> None:
    shutil.copytree(utility_run, tmp_path / "old")
    (tmp_path / "old" / "cases.json").unlink()
    folder = export_bundle(tmp_path / "old", unoise_run, tmp_path / "bundle", card=CARD)
    assert load_bundle(folder).manifest.scope == Scope()


def test_a_utility_that_finds_nothing_is_said_so(
    utility_run: Any, unoise_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = tmp_path / "poor"
    shutil.copytree(utility_run, poor)
    export_bundle(utility_run, unoise_run, tmp_path / "good", card=CARD)
    assert "nearly nothing" not in capsys.readouterr().err
    (poor / "metrics.csv").write_text("step,val_dice\n20,0.02\n40,0.04\n", "utf-8")
    export_bundle(poor, unoise_run, tmp_path / "bundle", card=CARD)
    assert "poor - finds nearly nothing (validation dice 0.04)" in capsys.readouterr().err
