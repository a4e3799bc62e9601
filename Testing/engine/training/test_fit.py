"""The loop, end to end on tiny worlds."""

import csv
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from Testing.engine.training.world import unoise_recipe, utility_recipe
from unoise_engine.errors import CaseRefused, EngineError, Environment, Integrity, Interrupted, Usage
from unoise_engine.training import fit, learners, unoise
from unoise_engine.training.cases import Case
from unoise_engine.training.checkpoints import network_weights
from unoise_engine.training.fit import train_unoise, train_utility
from unoise_engine.training.learners import SLACK, UtilityLearner, slice_dice_loss, soft_dice_loss
from unoise_engine.training.loop import Rounds
from unoise_engine.training.recipes import Data, Draw, Fit, Net, read_recipe
from unoise_engine.training.runs import UNoiseRun, UtilityRun

QUIET: dict[str, Any] = {"device": "cpu", "progress": "off"}


def rows(run: Any) -> Any:
    with (run / "metrics.csv").open() as f:
        return list(csv.DictReader(f))


def same(a: Any, b: Any, name: Any = "last.ckpt") -> Any:
    a, b = network_weights(a / name), network_weights(b / name)
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_utility_learns_and_leaves_its_papers(utility_run: Any, world: Any) -> None:
    run = UtilityRun.open(utility_run)
    assert run.recipe.data.labels == (7,)  # looked up in labels.json and written down
    assert [row["step"] for row in rows(utility_run)] == ["20", "40"]
    assert max(float(row["val_dice"]) for row in rows(utility_run)) > 0.6
    assert len(run.split.train) == 3 and len(run.split.val) == len(run.split.test) == 1
    assert list((utility_run / "logs").glob("events*"))
    assert not run.net().training
    assert [p.name for p in utility_run.glob(".*")] == [".unoise.sha256"]


def test_validation_dice_is_the_mean_over_whole_cases(utility_run: Any, world: Any) -> None:
    """The same figure along another path: the net on each whole validation volume."""
    from unoise_engine.training.cases import load_case
    from unoise_engine.training.pairs import find_pairs

    run, dices = UtilityRun.open(utility_run), []
    for pair in find_pairs(world):
        if pair.case in run.split.val:
            case = load_case(pair, run.recipe.ct, (7,))
            with torch.no_grad():
                x = torch.from_numpy(run.recipe.ct.normalise(case.image / 255))
                found = run.net()(x)[:, 0].numpy() > 0
            dices.append(2 * (found & case.organ).sum() / (found.sum() + case.organ.sum()))
    best = max(float(row["val_dice"]) for row in rows(utility_run))
    assert sum(dices) / len(dices) == pytest.approx(best, abs=0.01)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: Any, signal_number: Any = signal.SIGINT) -> None:
    """Ctrl-C, or another signal, while that step is computed."""
    plain = learners.UtilityLearner.loss

    def loss(self: Any, x: Any, y: Any, known: Any) -> Any:
        if self.training and self.global_step == step:
            os.kill(os.getpid(), signal_number)
        return plain(self, x, y, known)

    monkeypatch.setattr(learners.UtilityLearner, "loss", loss)


def test_ctrl_c_then_resume_equals_an_unbroken_run(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_utility(world, tmp_path / "whole", utility_recipe(), **QUIET)
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 6)
        with pytest.raises(Interrupted, match=r"step 6 of 8.*--resume"):
            train_utility(world, tmp_path / "cut", utility_recipe(), **QUIET)
    assert signal.getsignal(signal.SIGINT) is handler
    cut = tmp_path / "cut"
    assert torch.load(cut / "last.ckpt", weights_only=True)["global_step"] == 4
    UtilityRun.open(cut).net()  # best.ckpt is usable
    train_utility(world, cut, utility_recipe(), resume=True, **QUIET)
    assert same(whole, cut)
    assert read_recipe(cut / "recipe.toml", type(utility_recipe())) == UtilityRun.open(whole).recipe
    assert [row["step"] for row in rows(cut)] == ["4", "8"]
    assert [row["val_dice"] for row in rows(cut)] == [row["val_dice"] for row in rows(whole)]


def test_the_running_mean_of_the_weights_is_judged_kept_and_resumed(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = utility_recipe()
    recipe = replace(recipe, fit=replace(recipe.fit, average=0.9))
    whole = train_utility(world, tmp_path / "whole", recipe, **QUIET)
    raw = torch.load(whole / "last.ckpt", weights_only=True)["current_model_state"]
    kept = network_weights(whole / "last.ckpt")
    assert any((raw[f"net.{k}"] - v).abs().max() > 1e-4 for k, v in kept.items() if v.is_floating_point())
    with monkeypatch.context() as patch:
        interrupt_at(patch, 6)
        with pytest.raises(Interrupted):
            train_utility(world, tmp_path / "cut", recipe, **QUIET)
    assert same(whole, train_utility(world, tmp_path / "cut", recipe, resume=True, **QUIET))


def test_ctrl_c_in_the_first_round(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        with pytest.raises(Interrupted):
            train_utility(world, tmp_path / "run", utility_recipe(), **QUIET)
    with pytest.raises(Environment, match="no finished round"):
        UtilityRun.open(tmp_path / "run").net()
    train_utility(world, tmp_path / "run", utility_recipe(), resume=True, **QUIET)
    assert [row["step"] for row in rows(tmp_path / "run")] == ["4", "8"]


def test_a_terminate_signal_is_an_interruption_too(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, 6, signal.SIGTERM)
    with pytest.raises(Interrupted, match="--resume"):
        train_utility(world, tmp_path / "run", utility_recipe(), **QUIET)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_loss_that_is_nan_names_the_batch_and_keeps_the_last_good_state(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = learners.UtilityLearner.loss

    def loss(self: Any, x: Any, y: Any, known: Any) -> Any:
        return plain(self, x, y, known) * (float("nan") if self.training and self.global_step == 5 else 1)

    monkeypatch.setattr(learners.UtilityLearner, "loss", loss)
    with pytest.raises(EngineError, match=r"step 5.*nan.*case-\d{4} slice \d") as stop:
        train_utility(world, tmp_path / "run", utility_recipe(), **QUIET)
    assert "\n" not in str(stop.value)
    weights = network_weights(tmp_path / "run" / "last.ckpt")
    assert all(w.isfinite().all() for w in weights.values())


def test_early_stop(world: Any, tmp_path: Path) -> None:
    recipe = utility_recipe(max_steps=40, round_steps=2, lr=1e-12, patience=2)
    train_utility(world, tmp_path / "run", recipe, **QUIET)
    assert len(rows(tmp_path / "run")) < 20


def test_epochs_count_passes_over_the_slices() -> None:
    organ = np.zeros((10, 8, 8), bool)
    organ[:9] = True  # and one slice without: 0.1 of ten
    rounds = Rounds(Fit(epochs=3, round_steps=4), Draw(crop=16, batch=4), [Case("a", organ, organ)], devices=1)
    assert (rounds.length, rounds.number) == (4, 3)  # 3 x ceil(10 / 4) = 9 steps, in whole rounds


def test_a_folder_in_use_and_nothing_to_resume(utility_run: Any, world: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="--resume"):
        train_utility(world, utility_run, utility_recipe(), **QUIET)
    with pytest.raises(Usage, match="another recipe"):
        train_utility(world, utility_run, utility_recipe(), resume=True, **QUIET)
    with pytest.raises(Usage, match="without --resume"):
        train_utility(world, tmp_path, utility_recipe(), resume=True, **QUIET)
    wrong = replace(utility_recipe(), data=Data(labels=(99,)))
    with pytest.raises(CaseRefused, match="not 99"):
        train_utility(world, tmp_path / "never", wrong, **QUIET)
    assert not (tmp_path / "never").exists()


def test_unoise_learns_and_leaves_the_utility_alone(unoise_run: Any, utility_run: Any) -> None:
    noise, utility = UNoiseRun.open(unoise_run), UtilityRun.open(utility_run)
    assert noise.split == utility.split
    noise.check_explains(utility)
    fresh = network_weights(unoise_run / "last.ckpt")
    assert not any(
        key.startswith("frozen") for key in torch.load(unoise_run / "last.ckpt", weights_only=True)["state_dict"]
    )
    assert set(fresh) == set(noise.net(1).state_dict())
    assert len(rows(unoise_run)) == 2


def test_the_frozen_utility_is_bit_identical_after_training(
    world: Any, utility_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def freeze(net: Any) -> Any:
        seen["net"] = unoise.freeze(net)
        seen["before"] = {k: v.clone() for k, v in net.state_dict().items()}
        return net

    monkeypatch.setattr(fit, "freeze", freeze)
    train_unoise(world, utility_run, tmp_path / "run", unoise_recipe(), **QUIET)
    assert all(torch.equal(v, seen["before"][k]) for k, v in seen["net"].state_dict().items())
    assert not seen["net"].training


def test_validation_noise_is_the_same_every_time(
    world: Any, utility_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws: dict[bool, list[float]] = {True: [], False: []}
    plain = learners.NoiseLearner.loss

    def loss(self: Any, x: Any, y: Any, known: Any) -> Any:
        draws[self.training].append(torch.rand(1).item())
        return plain(self, x, y, known)

    monkeypatch.setattr(learners.NoiseLearner, "loss", loss)
    train_unoise(world, utility_run, tmp_path / "run", unoise_recipe(), **QUIET)
    half = len(draws[False]) // 2
    assert half >= 1 and draws[False][:half] == draws[False][half:]
    assert len(set(draws[True])) == 8


def test_a_full_disk_keeps_the_checkpoint_before(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Trainer.save_checkpoint

    def save(self: Any, path: Any, *args: Any) -> None:
        if self.global_step == 8:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        plain(self, path, *args)

    monkeypatch.setattr(Trainer, "save_checkpoint", save)
    with pytest.raises(Environment, match=r"No space left.*--resume"):
        train_utility(world, tmp_path / "run", utility_recipe(), **QUIET)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert not (tmp_path / "run" / ".last.ckpt").exists()


def test_pretrained_starts_from_a_segmenter_of_its_own_shape(world: Any, utility_run: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="depth = 2, first_channels = 16"):
        train_unoise(world, utility_run, tmp_path / "no", unoise_recipe(), init=utility_run, **QUIET)
    small = replace(utility_recipe(), net=Net(depth=2, first_channels=16))
    init = train_utility(world, tmp_path / "init", small, **QUIET)
    recipe = unoise_recipe(max_steps=1, round_steps=1, lr=1e-30)
    run = train_unoise(world, utility_run, tmp_path / "run", recipe, init=init, **QUIET)
    started, ended = network_weights(init / "best.ckpt"), network_weights(run / "best.ckpt")
    assert all(torch.equal(started[k], ended[k]) for k in started if k.endswith("weight"))
    other = replace(small, data=replace(small.data, split_seed=5))
    another = train_utility(world, tmp_path / "other", other, **QUIET)
    with pytest.raises(Usage, match="another split"):
        train_unoise(world, utility_run, tmp_path / "no", unoise_recipe(), init=another, **QUIET)


def test_a_noise_model_of_another_utility(unoise_run: Any, utility_run: Any, world: Any, tmp_path: Path) -> None:
    other = train_utility(world, tmp_path / "other", utility_recipe(), **QUIET)
    with pytest.raises(Integrity, match="another utility"):
        UNoiseRun.open(unoise_run).check_explains(UtilityRun.open(other))


def test_json_lines(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_utility(world, tmp_path / "run", utility_recipe(), device="cpu", progress="json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["step"] for e in events if e["event"] == "round"] == [4, 8]
    assert any(e["event"] == "progress" and e["stage"] == "training" for e in events)


def test_nothing_but_our_own_words(world: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_utility(world, tmp_path / "run", utility_recipe(), device="cpu", progress="lines")
    heard = capfd.readouterr()
    assert heard.out == ""
    first, *rounds = heard.err.splitlines()
    assert re.fullmatch(r"run: on cpu \(\S+\); 3 CTs to learn from, 1 to steer by, \d kept for the test", first)
    assert [line.split(",")[0] for line in rounds] == ["run: step 4/8", "run: step 8/8"]
    assert all(re.search(r"loss [\d.]+, validation dice [\d.]+, [\d.]+ slices/s$", line) for line in rounds)


def test_soft_dice_by_hand() -> None:
    logits = torch.tensor([0.0, 100.0]).reshape(2, 1, 1, 1)  # p = 1/2 and 1
    y = torch.tensor([1.0, 1.0]).reshape(2, 1, 1, 1)
    assert soft_dice_loss(logits, y).item() == pytest.approx(1 - (2 * 1.5 + 1) / (1.5 + 2 + 1))


def test_a_small_section_weighs_as_much_by_slice() -> None:
    """A large section well found and a small one missed: pooled over both that looks fine."""
    y = torch.zeros(2, 1, 64, 64)
    y[0, 0, :40], y[1, 0, :4] = 1, 1
    logits = torch.where(y > 0, 30.0, -30.0)
    logits[1] = -30.0
    small, large = (1 - SLACK / (4 * 64 + SLACK)), 0.0
    assert slice_dice_loss(logits, y).item() == pytest.approx((small + large) / 2, abs=1e-5)
    assert soft_dice_loss(logits, y).item() < 0.06
    nothing = torch.zeros(1, 1, 64, 64)
    assert slice_dice_loss(nothing - 30, nothing).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_the_dice_by_slice(share: float) -> None:
    recipe = utility_recipe()
    fit = replace(recipe.fit, loss="bce+dice", slice_dice=share)
    learner = UtilityLearner(torch.nn.Identity(), recipe.ct, recipe.draw, recipe.augment, fit, 1)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 1, 8, 8, generator=generator), (torch.rand(2, 1, 8, 8, generator=generator) > 0.7).float()
    cross = torch.nn.functional.binary_cross_entropy_with_logits(x, y)
    wanted = cross + (1 - share) * soft_dice_loss(x, y) + share * slice_dice_loss(x, y)
    assert torch.isclose(learner.loss(x, y, torch.ones(2, 1, dtype=torch.bool)), wanted)
