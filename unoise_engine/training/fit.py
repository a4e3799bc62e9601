"""Training, from a folder of labelled CTs to a run's folder.

run = train_utility(Path("data"), Path("runs/utility"), read_recipe(path, UtilityRecipe))
train_unoise(Path("data"), run, Path("runs/unoise"), read_recipe(path, UNoiseRecipe))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import seed_everything

from unoise_engine.errors import Usage
from unoise_engine.files import refuse_overlap
from unoise_engine.training import begun, norms, runs
from unoise_engine.training.cases import load_cases
from unoise_engine.training.checkpoints import BEST, network_weights
from unoise_engine.training.device import choose_device, choose_precision
from unoise_engine.training.draw import Stream
from unoise_engine.training.fold import folded
from unoise_engine.training.leaks import contents_of, read_rest, readers, refuse_leaks, refuse_others, taught_before
from unoise_engine.training.learners import NoiseLearner, Scans, UtilityLearner, evenly
from unoise_engine.training.level import Sample, best_level, raise_top, relevel
from unoise_engine.training.loop import Rounds, run_loop
from unoise_engine.training.near import NearNet
from unoise_engine.training.progress import Kind, choose_progress, say, say_start, teller
from unoise_engine.training.recipes import Data, UNoiseRecipe, UtilityRecipe
from unoise_engine.training.sources import Source, open_sources, split_sources
from unoise_engine.training.split import Split
from unoise_engine.training.unet import UNet
from unoise_engine.training.unlabelled import find_cts, load_unlabelled, split_cts
from unoise_engine.training.unoise import freeze

SETTLED_ON = 16  # batches
MEASURED_ON = 32


def train_utility(
    data: Path | Sequence[Path],
    out: Path,
    recipe: UtilityRecipe,
    *,
    init: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: str = "auto",
    devices: int = 1,
    nodes: int = 1,
) -> Path:
    """Trains the model that segments; returns its run folder `out`. `data` is a folder of pairs, or several.

    `init` is an earlier run of the same shape and pixel size, or an unpacked bundle, whose weights are the start; it
    must not have learnt what steers or judges here. `resume` goes on with a run that was stopped, wherever that was;
    one that is finished stays as it is. Raises Usage or CaseRefused for what is wrong with the call or the data,
    Integrity for a damaged run, Interrupted after Ctrl-C, EngineError for a loss that is not finite. In the last two
    cases the run's folder can be resumed.
    """
    folders = [data] if isinstance(data, Path) else data
    refuse_overlap(out, [*folders, *([init] if init else [])])
    sources = open_sources(folders, recipe.data)
    if len(sources) == 1:
        recipe = replace(recipe, data=replace(recipe.data, labels=sources[0].numbers))  # written down with the run
    with going_on(out, recipe, resume) as state:
        if state.finished:
            return out
        split = split_sources(sources, recipe.data) if state.checkpoint is None else Split.read(out)
        show = choose_progress(progress)
        steers = steering(sources, split, recipe.data)
        say_first(show, out, device, recipe, split, len(steers))
        train = load_cases(sources, split.train, recipe.ct, teller(show))
        val = load_cases(sources, steers, recipe.ct, teller(show))
        seed_everything(recipe.fit.seed, verbose=False)
        net = earlier(init, recipe, split) if init else runs.make_net(recipe.net, recipe.ct.channels, outputs(recipe))
        if leads():
            seen = contents_of([*train, *val])
            if state.checkpoint is None:
                seen = read_rest(seen, readers(sources))
                refuse_leaks(split, seen, [init] if init else [])
                begun.begin(out, recipe, split, seen=seen | (taught_before(init) if init else {}))
            refuse_others(out, seen)
        rounds = Rounds(recipe.fit, recipe.draw, train, devices * nodes, recipe.data.shares)
        learner = UtilityLearner(net, recipe.ct, recipe.draw, recipe.augment, recipe.fit, rounds.steps)
        if init is not None and norms.lost(net):
            restore_norms(learner, rounds)
        scans = Scans(val, evenly(recipe.data.val_slices))
        run_loop(learner, rounds, scans, out, state.checkpoint, device, devices, show, nodes)
        if leads():
            begun.finish(out)
    return out


def train_unoise(
    data: Path | Sequence[Path],
    utility_run: Path,
    out: Path,
    recipe: UNoiseRecipe,
    *,
    init: Path | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: str = "auto",
    devices: int = 1,
    nodes: int = 1,
) -> Path:
    """Trains the noise model against a finished utility, on the utility's cases, preparation and split.

    `init` is an earlier noise model of the same shape, of whatever utility, or a utility run with the noise model's own
    shape: the paper's "pretrained". With the recipe's targets = "predictions" `data` needs no labels, and may be other
    CTs than the utility's. Raises as `train_utility`.
    """
    folders = [data] if isinstance(data, Path) else data
    refuse_overlap(out, [*folders, utility_run, *([init] if init else [])])
    utility = runs.UtilityRun.open(utility_run)
    step = 2 ** (recipe.noise.net.depth - 1)
    if utility.recipe.ct.multiple_of % step:
        raise Usage(
            f"size {recipe.noise.size}",
            f"needs slices in multiples of {step}",
            "choose a utility with such a [ct] multiple_of",
        )
    if utility.recipe.ct.multiple_of % recipe.noise.cell:
        raise Usage(
            f"cell {recipe.noise.cell}",
            "needs slices in multiples of it",
            "choose a utility with such a [ct] multiple_of",
        )
    frozen = freeze(folded(utility.net()))  # the same function without batch norm, so a little faster
    seed_everything(recipe.fit.seed, verbose=False)
    noise = runs.make_noise(recipe.noise, utility.recipe.ct.channels)
    if init is not None:
        start = taught(init, utility, recipe) if (init / runs.UTILITY).is_file() else pretrained(init, utility, recipe)
        noise.load_state_dict(start.state_dict())
    told = utility.recipe.data
    with going_on(out, recipe, resume) as state:
        if state.checkpoint is not None:
            runs.UNoiseRun.open(out).check_explains(utility)
        if state.finished:
            return out
        show = choose_progress(progress)
        if recipe.noise.targets == "predictions":
            cts = find_cts(folders)
            split = split_cts(cts, utility.split, told) if state.checkpoint is None else Split.read(out)
            rest = {one.case: one.read for one in cts if one.case in split.test}
            say_first(show, out, device, recipe, split, len(split.val))
            train, val = (load_unlabelled(cts, part, utility, frozen, device, teller(show))
                          for part in (split.train, split.val))  # fmt: skip
        else:
            sources, split, rest = open_sources(folders, replace(told, others=())), utility.split, {}
            steers = steering(sources, split, told)
            say_first(show, out, device, recipe, split, len(steers))
            train = load_cases(sources, split.train, utility.recipe.ct, teller(show))
            val = load_cases(sources, steers, utility.recipe.ct, teller(show))
        if init is not None and (learnt := set(Split.read(init).train) & {*split.val, *split.test}):
            what = f"has learnt {min(learnt)}, which validates or tests here"
            raise Usage(init, what, "give a run of the same split")
        if leads():
            seen = contents_of([*train, *val])
            if state.checkpoint is None:
                seen = read_rest(seen, rest)
                refuse_leaks(split, seen, [utility_run, *([init] if init else [])])
                begun.begin(out, recipe, split, utility, seen)
            refuse_others(out, seen)
        shares = told.shares if recipe.noise.targets == "labels" else ()
        rounds = Rounds(recipe.fit, recipe.draw, train, devices * nodes, shares)
        common = (utility.recipe.ct, recipe.draw, recipe.augment, recipe.fit, rounds.steps)
        learner = NoiseLearner(noise, frozen, recipe.noise, *common)
        if init is not None and norms.lost(noise):
            restore_norms(learner, rounds)
        scans = Scans(val, lambda case: case.with_organ)
        run_loop(learner, rounds, scans, out, state.checkpoint, device, devices, show, nodes)
        if leads():
            if recipe.noise.budget_weight and not runs.is_settled(out):
                settle(out, learner, rounds, device)
            begun.finish(out)
    return out


def say_first(
    show: Kind, out: Path, device: str, recipe: UtilityRecipe | UNoiseRecipe, split: Split, steers: int
) -> None:
    if leads():
        chosen = choose_device(device)
        say_start(show, out.name, chosen, choose_precision(recipe.fit.precision, chosen), split, steers)


def settle(run: Path, learner: NoiseLearner, rounds: Rounds, device: str) -> None:
    """Gives the best checkpoint's map its top and the level that the published loss likes best, on training slices."""
    learner.to(choose_device(device))
    learner.frozen[0].to(learner.device)
    learner.net.load_state_dict(network_weights(run / BEST))
    learner.eval()
    stream = Stream(rounds.cases, rounds.draw, rounds.seed + 1, lambda: 0, rounds.shares)
    batches = list(islice(stream, SETTLED_ON))

    def samples() -> list[Sample]:
        torch.manual_seed(rounds.seed)
        return [learner.sample(batch) for batch in batches]

    if isinstance(learner.net, NearNet):
        raise_top(learner.net, samples())
    relevel(learner.net, *best_level(learner.frozen[0], samples(), learner.cfg))
    runs.replace_weights(run, learner.net)


def leads() -> bool:
    """Of several processes that train together, the one that makes the run's folder before it starts the others."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def going_on(out: Path, recipe: UtilityRecipe | UNoiseRecipe, resume: bool) -> Iterator[begun.Begun]:
    """Holds the run's folder, and says how far it came. Raises Usage, Integrity, Environment."""
    if resume:
        begun.check_same(out, recipe)
    if not leads():
        yield begun.Begun.of(out) if resume else begun.Begun()
        return
    if not resume:
        begun.check_free(out)
    with begun.claimed(out):
        yield begun.Begun.of(out) if resume else begun.Begun()


def steering(sources: Sequence[Source], split: Split, data: Data) -> list[str]:
    """The validation cases that are looked at after each round: of every source at most so many as the recipe says."""
    chosen: list[str] = []
    for source in sources:
        own = set(source.cases)
        mine = [case for case in split.val if case in own]
        step = max(1, len(mine) // data.val_cases) if data.val_cases else 1
        chosen += mine[::step][: data.val_cases or None]
    return chosen


def outputs(recipe: UtilityRecipe) -> int:
    return 1 + len(recipe.data.others)


def shape(recipe: UtilityRecipe) -> tuple[Any, ...]:
    """What weights cannot be carried across. Another window is learnt from where they stand."""
    return recipe.net, recipe.ct.spacing_mm, recipe.ct.channels


def earlier(init: Path, recipe: UtilityRecipe, split: Split) -> UNet:
    start = runs.UtilityRun.open(init)
    if shape(start.recipe) != shape(recipe):
        what = "[net] and [ct] spacing_mm and channels"
        raise Usage(init, "has another shape or pixel size", f"give the recipe the run's own {what}")
    if (before := start.recipe.ct.window_hu) != recipe.ct.window_hu:
        say(f"{init} - knew CTs in a window of {before[0]:g} to {before[1]:g} HU - learns them in the recipe's anew")
    if learnt := set(start.split.train) & {*split.val, *split.test}:
        known = f"{len(learnt)} of the cases that validate or test here, {min(learnt)} first"
        raise Usage(init, f"has learnt {known}", "give the recipe the run's own [data], or other folders")
    others = start.recipe.data.others
    if others and others != recipe.data.others:
        raise Usage(init, "has other structures as outputs", "give the recipe the run's own [data] others")
    net = runs.make_net(recipe.net, recipe.ct.channels, outputs(recipe))
    learnt_so_far, fresh = start.whole_net().state_dict(), net.state_dict()
    # A run without other structures gives the organ's output; the others begin.
    both = {name: torch.cat([v, fresh[name][len(v) :]]) if v.ndim else v for name, v in learnt_so_far.items()}
    net.load_state_dict(both)
    return net.train()


def restore_norms(learner: UtilityLearner | NoiseLearner, rounds: Rounds) -> None:
    """A net that comes from a bundle gets batch norms by training slices."""
    stream = Stream(rounds.cases, rounds.draw, rounds.seed + 1, lambda: 0, rounds.shares)
    torch.manual_seed(rounds.seed)
    norms.restore(learner.net, (learner.seen(learner.drawn(batch)[0]) for batch in islice(stream, MEASURED_ON)))
    learner.net.train()


def taught(init: Path, utility: runs.UtilityRun, recipe: UNoiseRecipe) -> UNet | NearNet:
    """An earlier noise model, to be taught further."""
    start, told = runs.UNoiseRun.open(init), recipe.noise
    if any(getattr(start.recipe.noise, name) != getattr(told, name) for name in ("net", "cell", "near")):
        raise Usage(init, "has another shape than the noise model", "give the recipe its [noise] size, cell and near")
    return start.net(utility.recipe.ct.channels)


def pretrained(init: Path, utility: runs.UtilityRun, recipe: UNoiseRecipe) -> UNet:
    if recipe.noise.near:
        raise Usage(
            "--init", "does not fit a recipe with [noise] near", "leave it out: such a net has inputs of its own"
        )
    start, shape = runs.UtilityRun.open(init), recipe.noise.net
    if (start.recipe.net, start.recipe.ct) != (shape, utility.recipe.ct):
        need = f"[net] depth = {shape.depth}, first_channels = {shape.first_channels} and the utility's [ct]"
        raise Usage(init, "has another shape than the noise model", f"train a segmenter with {need}")
    if start.split != utility.split:
        raise Usage(init, f"was trained on another split than {utility.folder}", "give both the same [data]")
    return start.net()
