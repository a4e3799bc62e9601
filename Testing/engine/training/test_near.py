"""The noise model that is told what the utility found, and starts from nearness to it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from Testing.engine.training.world import unoise_recipe
from unoise_engine.cli.app import app
from unoise_engine.errors import Usage
from unoise_engine.evaluate.sanity import spearman
from unoise_engine.models.bundles import load_bundle
from unoise_engine.training import near
from unoise_engine.training.budgets import Budgets, budget_loss
from unoise_engine.training.card import Card
from unoise_engine.training.checkpoints import network_weights
from unoise_engine.training.export import export_bundle
from unoise_engine.training.fit import train_unoise
from unoise_engine.training.level import raise_top
from unoise_engine.training.near import NearNet
from unoise_engine.training.rebuilt import rebuilt
from unoise_engine.training.runs import UNoiseRun, UtilityRun
from unoise_engine.volume.distance import signed_distance

CARD = Card(title="A ball", training_data="five balls", synthetic=True)


def disc(n: Any = 64, radius: Any = 8) -> Any:
    y, x = np.mgrid[:n, :n]
    return (y - n / 2) ** 2 + (x - n / 2) ** 2 < radius**2


def test_before_any_training_importance_is_nearness_to_what_was_found() -> None:
    organ = disc()
    logits = torch.where(torch.from_numpy(organ), 8.0, -8.0)[None, None]
    torch.manual_seed(0)
    net = NearNet(1, depth=4, first_channels=16, cell=8).eval()
    with torch.no_grad():
        maps = [-net(x, logits)[0, 0] for x in (torch.randn(1, 1, 64, 64), 5 + 3 * torch.randn(1, 1, 64, 64))]
    assert torch.equal(*maps)  # the slice itself says nothing yet
    away = ~torch.from_numpy(organ)
    torch.testing.assert_close(maps[0][away], 4 * near.nearness(logits.sigmoid())[0, 0][away], rtol=0, atol=0.01)
    importance = maps[0].numpy()
    ruler = signed_distance(organ)
    assert spearman(importance, ruler) > 0.97
    assert importance[organ].min() > importance[~organ].max() - 0.1


def test_nearness_lies_where_the_organ_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blurs are enlarged without a shift: of a prediction that rises evenly they rise just as it does."""
    monkeypatch.setattr(near, "SCALES", 2)
    ramp = torch.linspace(0.1, 0.9, 96).expand(1, 1, 96, 96)
    total = (4 * near.nearness(ramp)).exp() - near.FLOOR
    inner = (..., slice(16, -16), slice(16, -16))
    torch.testing.assert_close(total[inner], 3 * ramp[inner], rtol=1e-4, atol=1e-4)


class TwoMarks(nn.Module):
    """Finds the square in the middle, but only where a mark in the corner is seen."""

    def forward(self, x: Any) -> Any:
        mark = x[:, :, 2:6, 2:6].mean((2, 3), keepdim=True)
        organ = torch.zeros_like(x)
        organ[:, :, 28:36, 28:36] = 1
        return 12 * organ * mark.clamp(0, 1) * x.clamp(0, 1) - 6 + 0 * x


def test_training_on_budgets_finds_a_cause_that_nearness_cannot() -> None:
    torch.manual_seed(0)
    utility, x = TwoMarks(), torch.full((4, 1, 64, 64), 1.0)
    found = (utility(x) > 0).float()
    assert found.sum() == 4 * 64
    net = NearNet(1, depth=2, first_channels=8, cell=4).train()
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    ruler = NearNet(1, depth=2, first_channels=8, cell=4).eval()
    for _ in range(120):
        loss = budget_loss(utility, net(x, utility(x)), x, found, 0.0, Budgets(0.02, 0.4), organ_first=True)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    with torch.no_grad():
        raise_top(net, [(net(x, utility(x)), x, found)])
        before, after = (-one(x, utility(x))[0, 0] for one in (ruler, net))
    corner = (slice(2, 6), slice(2, 6))
    assert after[found[0, 0] > 0].min() > torch.quantile(after[found[0, 0] == 0], 0.99)  # the organ comes first
    assert (before > before[corner].mean()).float().mean() > 0.8  # far from the organ: last in the ruler's order
    assert (after > after[corner].mean()).float().mean() < 0.3


def test_it_trains_exports_and_explains(world: Any, utility_run: Any, tmp_path: Path) -> None:
    recipe = unoise_recipe()
    recipe = replace(recipe, noise=replace(recipe.noise, near=True, cell=2, budget_weight=1.0))
    run = train_unoise(world, utility_run, tmp_path / "near", recipe, device="cpu", progress="off")
    bundle = load_bundle(export_bundle(utility_run, run, tmp_path / "bundle", card=CARD), "cpu")
    x = np.random.default_rng(0).normal(0, 1, (2, 1, 40, 24)).astype(np.float32)
    x[:, :, 4:12, 4:12] += 3
    logits = bundle.predict(x)
    with torch.no_grad():
        wanted = UNoiseRun.open(run).net(1)(torch.from_numpy(x), torch.from_numpy(logits)).numpy()
    got = bundle.noise_logits(x, logits)
    assert wanted.std() > 0.1
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert not np.allclose(got, bundle.noise_logits(x, -logits))  # it looks at what the utility found
    again, noise = rebuilt(tmp_path / "bundle", bundle.manifest)
    with torch.no_grad():
        np.testing.assert_allclose(again(torch.from_numpy(x)).numpy(), logits, rtol=0, atol=1e-4)
        z = noise(torch.from_numpy(x), torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(z, got, rtol=0, atol=1e-4 * np.abs(wanted).max())
    with pytest.raises(Usage, match="near"):
        train_unoise(world, utility_run, tmp_path / "init", recipe, init=utility_run, device="cpu", progress="off")


def test_a_noise_model_goes_on_from_its_bundle(world: Any, utility_run: Any, tmp_path: Path) -> None:
    """Unpacked, exported again, and taught further with nothing changed but the norms that the bundle lost."""
    recipe = unoise_recipe()
    recipe = replace(
        recipe, noise=replace(recipe.noise, near=True, cell=2, budget_weight=1.0, noise_reward=2e-3, first_channels=8)
    )
    first = train_unoise(world, utility_run, tmp_path / "first", recipe, device="cpu", progress="off")
    folder = export_bundle(utility_run, first, tmp_path / "bundle", card=CARD)
    utility, noise = tmp_path / "utility", tmp_path / "noise"
    told = ["bundle", "unpack", str(folder), "--split", str(utility_run / "split.json"), "-o", str(utility)]
    answer = CliRunner().invoke(app, [*told, "--near", str(utility)])
    assert isinstance(answer.exception, Usage) and "a folder of its own" in str(answer.exception)
    answer = CliRunner().invoke(app, [*told, "--unoise", str(noise)])
    assert isinstance(answer.exception, Usage) and "has no U-Noise - it has unoise-near" in str(answer.exception)
    answer = CliRunner().invoke(app, [*told, "--near", str(noise)])
    assert answer.exit_code == 0, answer.output
    run = UNoiseRun.open(noise)
    run.check_explains(UtilityRun.open(utility))
    assert run.recipe.noise == replace(recipe.noise, budget_weight=0.0)
    again = export_bundle(utility, noise, tmp_path / "again", card=CARD)
    assert (again / "unoise-near.onnx").read_bytes() == (folder / "unoise-near.onnx").read_bytes()

    still = replace(recipe, noise=replace(recipe.noise, budget_weight=0.0), fit=replace(recipe.fit, lr=1e-30))
    further = train_unoise(world, utility, tmp_path / "further", still, init=noise, device="cpu", progress="off")
    torch.manual_seed(0)
    x, logits = torch.randn(2, 1, 32, 32), torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        before, after = (UNoiseRun.open(one).net(1)(x, logits) for one in (noise, further))
    assert before.std() > 0.1 and (after - before).std() < 0.05 * before.std()
    afresh = train_unoise(world, utility, tmp_path / "afresh", still, device="cpu", progress="off")
    with torch.no_grad():
        other = UNoiseRun.open(afresh).net(1)(x, logits)
    assert (other - before).std() > 0.1 * before.std()


def test_an_earlier_noise_model_is_taught_further(world: Any, utility_run: Any, tmp_path: Path) -> None:
    def recipe(cell: Any = 2, **fit: Any) -> Any:
        plain = unoise_recipe(max_steps=1, round_steps=1, **fit)
        return replace(plain, noise=replace(plain.noise, near=True, cell=cell))

    def learn(out: Any, told: Any, init: Any = None) -> Any:
        return train_unoise(world, utility_run, tmp_path / out, told, init=init, device="cpu", progress="off")

    run = learn("run", recipe())
    again = learn("again", recipe(lr=1e-30), run)
    started, ended = (network_weights(one / "best.ckpt") for one in (run, again))
    other = network_weights(learn("afresh", recipe(lr=1e-30)) / "best.ckpt")
    weights = [name for name in started if name.endswith("weight") and started[name].ndim == 4]
    assert weights and all(torch.equal(started[name], ended[name]) for name in weights)
    assert not all(torch.equal(started[name], other[name]) for name in weights)
    with pytest.raises(Usage, match="another shape"):
        learn("no", recipe(cell=4), run)
    split = json.loads((run / "split.json").read_text("utf-8"))
    (run / "split.json").write_text(json.dumps({"train": split["val"], "val": split["train"], "test": []}), "utf-8")
    with pytest.raises(Usage, match="has learnt"):
        learn("no", recipe(), run)
