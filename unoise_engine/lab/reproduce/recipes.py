"""The recipes that ship, at the size that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unoise_engine.errors import Environment, Usage
from unoise_engine.lab.reproduce.scale import Scale
from unoise_engine.shipped import shipped
from unoise_engine.training.recipes import Augment, Net, UNoiseRecipe, UtilityRecipe, read_recipe

KINDS = ("default", "paper")
SIZES = ("small", "medium", "large")
PRETRAINED_LR = 1e-3  # published, where the noise model starts from a segmenter
ROUNDS = 4  # at least so many validations, of which the best is kept


@dataclass(frozen=True)
class Recipes:
    """One preparation and utility; the published noise model in its three sizes; ours on the same utility."""

    kind: str
    utility: UtilityRecipe
    published: UNoiseRecipe
    ours: UNoiseRecipe
    segmenter_steps: int

    def segmenter(self, size: str) -> UtilityRecipe:
        """For "pretrained": the utility's task with the noise model's own shape."""
        recipe = replace(self.utility, net=replace(self.published.noise, size=size).net)
        return replace(recipe, fit=shorter(recipe.fit, self.segmenter_steps))

    def noise(self, size: str, pretrained: bool) -> UNoiseRecipe:
        fit = replace(self.published.fit, lr=PRETRAINED_LR) if pretrained else self.published.fit
        return replace(self.published, noise=replace(self.published.noise, size=size), fit=fit)


def choose_recipes(kind: str, scale: Scale, organ: str, window_hu: tuple[float, float] | None, seed: int) -> Recipes:
    """`window_hu` are the ends of the data, which recipe `paper` takes for its window. Raises Usage."""
    if kind not in KINDS:
        raise Usage(f"--recipe {kind}", "unknown", f"choose from {', '.join(KINDS)}")
    utility = read_recipe(_file(f"{kind}-utility"), UtilityRecipe)
    published = read_recipe(_file("paper-unoise"), UNoiseRecipe)
    ours = read_recipe(_file("default-unoise"), UNoiseRecipe)
    utility = replace(utility, data=replace(utility.data, organ=organ), fit=replace(utility.fit, seed=seed))
    published, ours = (replace(one, fit=replace(one.fit, seed=seed)) for one in (published, ours))
    if kind == "paper" and window_hu is not None:
        utility = replace(utility, ct=replace(utility.ct, window_hu=window_hu))
    crop = utility.draw.crop
    if scale.crop:
        crop = scale.crop
        depth = scale.depth
        ct = replace(utility.ct, spacing_mm=scale.spacing_mm, multiple_of=2 ** max(depth - 1, 3))
        utility = replace(utility, ct=ct, net=Net(depth, scale.channels), draw=replace(utility.draw, crop=crop))
        utility = replace(utility, fit=shorter(utility.fit, scale.utility_steps))
        published = replace(published, fit=shorter(published.fit, scale.unoise_steps))
        ours = replace(ours, fit=shorter(ours.fit, scale.ours_steps))
        utility = replace(utility, augment=gentler(utility.augment))
        published = replace(published, augment=gentler(published.augment))
    published = replace(published, draw=replace(published.draw, crop=crop))
    ours = replace(ours, draw=replace(ours.draw, crop=crop))
    return Recipes(kind, utility, published, ours, scale.segmenter_steps)


def shorter(fit: Any, steps: int) -> Any:
    """The same training in so many steps; 0 leaves it as it is."""
    return replace(fit, epochs=0, max_steps=steps, round_steps=max(1, steps // ROUNDS)) if steps else fit


def gentler(augment: Augment) -> Augment:
    """For slices of few pixels."""
    return replace(augment, shift_px=min(2.0, augment.shift_px), elastic_px=min(1.0, augment.elastic_px))


def _file(name: str) -> Path:
    known = shipped("recipes", "*.toml")
    if name not in known:
        raise Environment(f"recipe {name}", "did not come with this engine", "install it again")
    return known[name]
