"""What is odd in the published pipeline (read in its code), and what either recipe makes of it here."""

from __future__ import annotations

from unoise_engine.lab.reproduce.recipes import Recipes
from unoise_engine.training.recipes import Fit

# (what, published, recipe paper, recipe default)
COMMON = (
    (
        "512 to 256 pixels",
        "every second pixel: aliases",
        "resampled to {spacing:g} mm with an anti-aliasing kernel; not switched back",
        "resampled to {spacing:g} mm with an anti-aliasing kernel",
    ),
    (
        "split",
        "80 / 10 / 10 by slice index: one patient on both sides",
        "by patient; not switched back",
        "by patient",
    ),
    ("curves drawn on", "the split that chose the checkpoint", "test patients", "test patients"),
    ("dice", "pooled over batches of 32 slices", "mean over slices, then patients", "mean over slices, then patients"),
    (
        "Grad-CAM's score",
        "one logit, the first pixel of the true mask",
        "sum over the predicted organ",
        "sum over the predicted organ",
    ),
    (
        "occlusion's score",
        "a 'dice' of raw logits; every patch one stride too far right",
        "dice of masks; patches where they belong",
        "dice of masks; patches where they belong",
    ),
    ("timing", "no synchronisation with the GPU", "synchronised, median of 5", "synchronised, median of 5"),
    (
        "picture of a map with z >= 0 everywhere",
        "0 / 0",
        "all zero",
        "all zero",
    ),
    ("Small's parameters", "printed as 10K", "28,529 with 3 channels", "28,241 with 1 channel"),
    ("baselines on the curve", "none", "random, edges, distance to the prediction", "random, edges, distance"),
)


def rows(recipes: Recipes) -> list[list[str]]:
    """Quirk, published, and what was done in this run, as the recipe says."""
    column = 2 if recipes.kind == "paper" else 3
    utility, published = recipes.utility, recipes.published
    ct, draw, noise = utility.ct, utility.draw, published.noise
    low, high = ct.window_hu
    augmented = utility.augment.rotate_deg or utility.augment.elastic_px
    table = [
        ["channels", "3, the slice tiled", f"{ct.channels}"],
        ["normalisation", "ImageNet mean and spread", f"mean {ct.mean[0]:g}, spread {ct.std[0]:g}"],
        ["window", "min-max over the whole set", f"{low:g} to {high:g} HU"],
        ["slices without organ", "never seen", f"{draw.empty_share:.0%} of those drawn"],
        ["augmentation of the utility", "none told", "turns, scale, shifts, intensity" if augmented else "none"],
        ["utility's loss", "not told", utility.fit.loss],
        ["sigma, lambda", "1 to 5, 1e-3", f"{noise.sigma_min:g} to {noise.sigma_max:g}, {noise.noise_reward:g}"],
        ["length", "100 epochs", length(published.fit)],
    ]
    for row in COMMON:
        table.append([row[0], row[1], row[column].format(spacing=ct.spacing_mm)])
    return table


def length(fit: Fit) -> str:
    """Trainings end with a whole round."""
    return f"{fit.epochs} epochs" if fit.epochs else f"{-(-fit.max_steps // fit.round_steps) * fit.round_steps} steps"
