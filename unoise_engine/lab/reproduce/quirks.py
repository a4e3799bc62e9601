"""What is odd in the published pipeline (read in its code), and what either recipe makes of it here."""

from __future__ import annotations

from unoise_engine.lab.reproduce.recipes import Recipes
from unoise_engine.training.recipes import Fit

WINDOW = "min-max over the set, in the script published later; by the pictures about -150 to 250 HU (inferred)"
AUGMENTED = "flips, contrast, gamma, brightness; elastic, grid, optical; shift, scale, rotate"

# (what, published, recipe paper, recipe default)
COMMON = (
    (
        "512 to 256 pixels",
        "every second pixel, in the script published later: aliases",
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
        "a 'dice' of raw logits, occluded minus not; every patch one stride too far right; 121 x 121 stretched to 256",
        "dice of masks; patches where they belong",
        "dice of masks; patches where they belong",
    ),
    ("timing", "no synchronisation with the GPU", "synchronised, median of 5", "synchronised, median of 5"),
    (
        "picture of a map with z >= 0 everywhere",
        "all zero; not a number where the largest -z is exactly 0",
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
    rate, kinds = published.fit.lr, "turns, scale, shifts, elastic, intensity; strengths are ours"
    augmented = utility.augment.rotate_deg or utility.augment.elastic_px
    table = [
        ["channels", "3, the slice tiled", f"{ct.channels}"],
        ["normalisation", "ImageNet mean and spread", f"mean {ct.mean[0]:g}, spread {ct.std[0]:g}"],
        ["window", WINDOW, f"{low:g} to {high:g} HU"],
        ["grey values while training", "float32", f"bytes, {(high - low) / 255:.2g} HU a step"],
        ["slices without organ", "never seen", f"{draw.empty_share:.0%} of those drawn"],
        ["augmentation", AUGMENTED, f"{kinds}{', flips' if utility.augment.flip else ''}" if augmented else "none"],
        ["utility's loss", "BCE", utility.fit.loss],
        ["learning rate", "3e-3, U-Noise from a segmenter 1e-3", f"utility {utility.fit.lr:g}, U-Noise {rate:g}"],
        ["precision", "32 bit", utility.fit.precision],
        ["sigma, lambda", "1 to 5, 1e-3", f"{noise.sigma_min:g} to {noise.sigma_max:g}, {noise.noise_reward:g}"],
        ["length", "100 epochs", length(published.fit)],
    ]
    for row in COMMON:
        table.append([row[0], row[1], row[column].format(spacing=ct.spacing_mm)])
    return table


def length(fit: Fit) -> str:
    """Trainings end with a whole round."""
    return f"{fit.epochs} epochs" if fit.epochs else f"{-(-fit.max_steps // fit.round_steps) * fit.round_steps} steps"
