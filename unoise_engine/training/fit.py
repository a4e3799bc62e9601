"""Training, from a folder of labelled CTs to a run's folder.

run = train_utility(Path("data"), Path("runs/utility"), read_recipe(path, UtilityRecipe))
train_unoise(Path("data"), run, Path("runs/unoise"), read_recipe(path, UNoiseRecipe))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from unoise_engine.errors import Usage
from unoise_engine.training import runs
from unoise_engine.training.cases import Case, load_cases
from unoise_engine.training.fold import folded
from unoise_engine.training.learners import NoiseLearner, Scans, UtilityLearner
from unoise_engine.training.loop import Rounds, run_loop
from unoise_engine.training.pairs import Pair, find_pairs, organ_numbers
from unoise_engine.training.progress import Kind, choose_progress, teller
from unoise_engine.training.recipes import UNoiseRecipe, UtilityRecipe
from unoise_engine.training.split import Split, split_cases
from unoise_engine.training.unet import UNet
from unoise_engine.training.unoise import freeze


def train_utility(
    data: Path,
    out: Path,
    recipe: UtilityRecipe,
    *,
    init: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: str = "auto",
    devices: int = 1,
) -> Path:
    """Trains the model that segments; returns its run folder `out`.

    `init` is an earlier run of the same shape, preparation and split whose weights are the start. Raises Usage or CaseRefused for what is wrong with the call or the data, Interrupted after Ctrl-C, EngineError for
    a loss that is not finite. In the last two cases the run's folder can be resumed.
    """
    pairs = find_pairs(data)
    recipe = replace(recipe, data=replace(recipe.data, labels=organ_numbers(data, recipe.data)))
    if resume:
        checkpoint, split = runs.check_same(out, recipe), Split.read(out)
    else:
        check_new(out)
        checkpoint, split = None, split_cases([pair.case for pair in pairs], recipe.data)
    show = choose_progress(progress)
    train, val = (load(pairs, part, recipe, show) for part in (split.train, split.val))
    if not resume and leads():
        runs.begin(out, recipe, split)
    rounds = Rounds(recipe.fit, recipe.draw, train, devices)
    seed_everything(recipe.fit.seed, verbose=False)
    net = runs.make_net(recipe.net, recipe.ct.channels) if init is None else earlier(init, recipe, split)
    learner = UtilityLearner(net, recipe.ct, recipe.draw, recipe.augment, recipe.fit, rounds.steps)
    run_loop(learner, rounds, Scans(val), out, checkpoint, device, devices, show)
    return out


def train_unoise(
    data: Path,
    utility_run: Path,
    out: Path,
    recipe: UNoiseRecipe,
    *,
    init: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: str = "auto",
    devices: int = 1,
) -> Path:
    """Trains the noise model against a finished utility, on the utility's cases, preparation and split.

    `init` is a utility run with the noise model's own shape: the paper's "pretrained". Raises as `train_utility`.
    """
    utility = runs.UtilityRun.open(utility_run)
    step = 2 ** (recipe.noise.net.depth - 1)
    if utility.recipe.ct.multiple_of % step:
        raise Usage(f"size {recipe.noise.size} - needs a utility whose [ct] multiple_of is a multiple of {step}")
    frozen = freeze(folded(utility.net()))  # the same function without batch norm, so a little faster
    seed_everything(recipe.fit.seed, verbose=False)
    fresh = runs.make_net(recipe.noise.net, utility.recipe.ct.channels)
    noise = fresh if init is None else pretrained(init, utility, recipe)
    if resume:
        checkpoint = runs.check_same(out, recipe)
        runs.UNoiseRun.open(out).check_explains(utility)
    else:
        check_new(out)
        checkpoint = None
    pairs, show = find_pairs(data), choose_progress(progress)
    train, val = (load(pairs, part, utility.recipe, show) for part in (utility.split.train, utility.split.val))
    if not resume and leads():
        runs.begin(out, recipe, utility.split)
        (out / runs.UTILITY).write_text(json.dumps({"sha256": utility.fingerprint()}) + "\n", "utf-8")
    rounds = Rounds(recipe.fit, recipe.draw, train, devices)
    common = (utility.recipe.ct, recipe.draw, recipe.augment, recipe.fit, rounds.steps)
    learner = NoiseLearner(noise, frozen, recipe.noise.config, *common)
    run_loop(learner, rounds, Scans(val, lambda case: case.with_organ), out, checkpoint, device, devices, show)
    return out


def leads() -> bool:
    """Of several processes that train together, the one that makes the run's folder before it starts the others."""
    return getattr(rank_zero_only, "rank", 0) == 0


def check_new(out: Path) -> None:
    if leads():
        runs.check_free(out)


def load(pairs: Sequence[Pair], names: Sequence[str], recipe: UtilityRecipe, show: Kind) -> list[Case]:
    found = {pair.case: pair for pair in pairs}
    for name in names:
        if name not in found:
            raise Usage(f"case {name} - belongs to the run's split but not to the data - give the folder it began with")
    return load_cases([found[name] for name in names], recipe.ct, recipe.data.labels, teller(show))


def earlier(init: Path, recipe: UtilityRecipe, split: Split) -> UNet:
    start = runs.UtilityRun.open(init)
    if (start.recipe.net, start.recipe.ct) != (recipe.net, recipe.ct):
        raise Usage(f"{init} - has another shape or preparation - give the recipe the run's own [net] and [ct]")
    if start.split != split:
        raise Usage(f"{init} - was trained on another split - give the recipe the run's own [data]")
    return start.net().train()


def pretrained(init: Path, utility: runs.UtilityRun, recipe: UNoiseRecipe) -> UNet:
    start, shape = runs.UtilityRun.open(init), recipe.noise.net
    if (start.recipe.net, start.recipe.ct) != (shape, utility.recipe.ct):
        need = f"[net] depth = {shape.depth}, first_channels = {shape.first_channels} and the utility's [ct]"
        raise Usage(f"{init} - has another shape than the noise model - train a segmenter with {need}")
    if start.split != utility.split:
        raise Usage(f"{init} - was trained on another split than {utility.folder} - give both the same [data]")
    return start.net()
